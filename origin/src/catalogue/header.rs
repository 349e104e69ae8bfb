//! One query file to one endpoint: the header line by line, then header and SQL against each other.
//!
//! Finds all faults of the file. Read next: `catalogue/sql.rs`.

use hyper::header::HeaderValue;

use super::sql::{self, Bind, Put, Scan, Variant};
use super::{Absent, Condition, Endpoint, In, Param, Read, Route, Rows, Source, TagTemplate};
use crate::config::duration;
use crate::faults::{Faults, Position, suggestion};
use crate::params;

const KEYS: [&str; 8] = ["route", "summary", "param", "rows", "read", "tags", "cache", "index"];
const NOT_STORED: HeaderValue = HeaderValue::from_static("no-store");

/// What the header says so far. A key that was there but wrong is in `seen` and not in its field.
#[derive(Default)]
struct Header {
    seen: Vec<&'static str>,
    route: Option<Route>,
    summary: String,
    params: Vec<Param>,
    rows: Option<(&'static str, Position)>,
    read: Option<Read>,
    tags: Vec<TagTemplate>,
    cache: Option<HeaderValue>,
    indexes: Vec<(String, Position)>,
}

/// A piece of the file that knows where it is.
#[derive(Clone, Copy)]
struct Words<'t> {
    text: &'t str,
    offset: usize,
}

struct Reader<'s> {
    source: &'s Source,
    faults: Faults,
}

pub(super) fn endpoint(source: &Source) -> Result<Endpoint, Faults> {
    let mut reader = Reader { source, faults: Faults::default() };
    let (header, sql_start) = reader.header();
    let endpoint = reader.assemble(header, sql_start);
    match endpoint {
        Some(endpoint) if reader.faults.is_empty() => Ok(endpoint),
        Some(_) | None => Err(reader.faults),
    }
}

impl<'s> Reader<'s> {
    fn fault(&mut self, offset: usize, message: impl Into<String>) {
        self.faults.push(&self.source.path, Some(self.position(offset)), message);
    }

    fn position(&self, offset: usize) -> Position {
        Position::of(&self.source.text, offset)
    }

    /// The header, and where the SQL begins.
    fn header(&mut self) -> (Header, usize) {
        let source = self.source;
        let mut header = Header::default();
        let mut offset = 0;
        for line in source.text.split_inclusive('\n') {
            let Some(comment) = line.strip_prefix("--") else { break };
            let words = Words { text: comment, offset: offset + 2 }.trim();
            match words.split_once(':') {
                Some((key, value)) => self.entry(&mut header, key, value),
                None => self.fault(
                    words.offset,
                    "not `-- key: value`; other comments go below the header, after an empty line",
                ),
            }
            offset += line.len();
        }
        (header, offset)
    }

    fn entry(&mut self, header: &mut Header, key: Words<'_>, value: Words<'_>) {
        let (word, name) = key.text.split_once(' ').unwrap_or((key.text, ""));
        let Some(known) = KEYS.iter().find(|known| **known == word) else {
            let message = match suggestion(word, KEYS.iter().copied()).as_str() {
                "" => format!("unknown key `{word}`; known are {}", KEYS.join(", ")),
                suggestion => format!("unknown key `{word}`{suggestion}"),
            };
            return self.fault(key.offset, message);
        };
        if *known == "param" {
            let name = Words { text: name, offset: key.offset + word.len() + 1 }.trim();
            return self.param(header, name, value);
        }
        if !name.is_empty() {
            return self.fault(key.offset, format!("`{}:` where `{known}:` should be", key.text));
        }
        if header.seen.contains(known) {
            return self.fault(key.offset, format!("`{known}` is given twice"));
        }
        header.seen.push(known);
        if value.text.is_empty() {
            return self.fault(key.offset, format!("`{known}` has no value"));
        }
        match *known {
            "route" => match Route::parse(value.text, self.position(value.offset)) {
                Ok(route) => header.route = Some(route),
                Err((offset, why)) => self.fault(value.offset + offset, why),
            },
            "summary" => header.summary = value.text.to_owned(),
            "rows" => self.rows(header, value),
            "read" => self.read(header, value),
            "tags" => {
                for word in value.words() {
                    match TagTemplate::parse(word.text, self.position(word.offset)) {
                        Ok(tag) => header.tags.push(tag),
                        Err((offset, why)) => self.fault(word.offset + offset, why),
                    }
                }
            }
            "cache" => match HeaderValue::from_str(value.text) {
                Ok(cache) => header.cache = Some(cache),
                Err(_) => self.fault(value.offset, "not a value of Cache-Control: it has control characters"),
            },
            _ => {
                let names = value.words().map(|word| (word.text.to_owned(), self.position(word.offset)));
                header.indexes = names.collect();
            }
        }
    }

    fn rows(&mut self, header: &mut Header, value: Words<'_>) {
        const KINDS: [&str; 3] = ["one", "many", "cursor"];
        match KINDS.iter().find(|kind| **kind == value.text) {
            Some(kind) => header.rows = Some((kind, self.position(value.offset))),
            None => {
                let suggestion = suggestion(value.text, KINDS.iter().copied());
                self.fault(
                    value.offset,
                    format!("rows `{}` are not one, many or cursor{suggestion}", value.text),
                );
            }
        }
    }

    fn read(&mut self, header: &mut Header, value: Words<'_>) {
        let (server, option) =
            value.split_once(';').map_or((value, None), |(server, option)| (server, Some(option)));
        let max_lag = match option.map(|option| (option, option.split_once(':'))) {
            None => None,
            Some((_, Some((key, lag)))) if key.text == "max_lag" => match duration(lag.text) {
                Ok(lag) => Some(lag),
                Err(why) => return self.fault(lag.offset, why),
            },
            Some((option, _)) => {
                return self.fault(option.offset, format!("`{}` is not `max_lag: 5s`", option.text));
            }
        };
        header.read = match (server.text, max_lag) {
            ("replica", max_lag) => Some(Read::Replica { max_lag }),
            ("primary", None) => Some(Read::Primary),
            ("primary", Some(_)) => {
                return self.fault(value.offset, "the primary has no lag; leave `max_lag` out");
            }
            (other, _) => {
                let suggestion = suggestion(other, ["replica", "primary"].into_iter());
                return self
                    .fault(server.offset, format!("read `{other}` is not replica or primary{suggestion}"));
            }
        };
    }

    fn param(&mut self, header: &mut Header, name: Words<'_>, value: Words<'_>) {
        if !sql::is_name(name.text) {
            let message =
                format!("`{}` is not a name for a parameter: lower-case letters, digits and _", name.text);
            return self.fault(name.offset, message);
        }
        if header.params.iter().any(|param| param.name == name.text) {
            return self.fault(name.offset, format!("param `{}` is declared twice", name.text));
        }
        if matches!(name.text, "cursor" | "max_limit") || name.text.starts_with("after_") {
            let message = format!("`{}` comes with `rows: cursor` and is not declared", name.text);
            return self.fault(name.offset, message);
        }
        let (declared, default) =
            value.split_once('=').map_or((value, None), |(value, default)| (value, Some(default)));
        let mut words = declared.words();
        let from = match words.next() {
            Some(word) if word.text == "path" => In::Path,
            Some(word) if word.text == "query" => In::Query,
            Some(word) => {
                let suggestion = suggestion(word.text, ["path", "query"].into_iter());
                let message = format!(
                    "param `{}` comes from `{}`, not path or query{suggestion}",
                    name.text, word.text
                );
                return self.fault(word.offset, message);
            }
            None => return self.fault(name.offset, "nothing is said of it; write for example `path text`"),
        };
        let Some(type_word) = words.next() else {
            return self.fault(value.offset, "has no type; write for example `query int8`");
        };
        let mut param = Param {
            name: name.text.to_owned(),
            from,
            type_name: params::type_name(type_word.text).to_owned(),
            range: None,
            absent: if from == In::Path { Absent::Refused } else { Absent::Null },
            position: self.position(name.offset),
        };
        for word in words {
            let range =
                word.text.split_once("..").map(|(low, high)| (low.parse::<i64>(), high.parse::<i64>()));
            match (range, word.text) {
                (Some((Ok(low), Ok(high))), _) if low <= high => param.range = Some((low, high)),
                (None, "required") if from == In::Query && default.is_none() => {
                    param.absent = Absent::Refused
                }
                (Some(_), _) => {
                    self.fault(word.offset, format!("`{}` is not a range such as 1..100", word.text))
                }
                (None, other) => self.fault(word.offset, format!("`{other}` is not understood here")),
            }
        }
        if let Some(default) = default {
            if from == In::Path {
                self.fault(default.offset, "a path parameter is always there and has no default");
            } else if let Err(why) = params::check(&param.type_name, param.range, default.text) {
                self.fault(default.offset, format!("the default of `{}` {why}", param.name));
            } else {
                param.absent = Absent::Default(default.text.to_owned());
            }
        }
        if param.range.is_some() && !params::is_whole_number(&param.type_name) {
            self.fault(
                type_word.offset,
                format!("a range is for whole numbers, not for {}", param.type_name),
            );
        }
        header.params.push(param);
    }

    /// Header and SQL against each other.
    fn assemble(&mut self, header: Header, sql_start: usize) -> Option<Endpoint> {
        let source = self.source;
        for (key, example) in [("route", "GET /things/{id}"), ("rows", "one")] {
            if !header.seen.contains(&key) {
                let message = format!("the header has no `{key}`; write for example `-- {key}: {example}`");
                self.faults.push(&source.path, Some(Position { line: 1, column: 1 }), message);
            }
        }
        let sql_end = source.text.trim_end().trim_end_matches(';').len().max(sql_start);
        let text = source.text.get(..sql_end).unwrap_or_default();
        if text.get(sql_start..).unwrap_or_default().trim().is_empty() {
            self.fault(sql_end, "no SQL after the header");
            return None;
        }
        let scan = match sql::scan(text, sql_start) {
            Ok(scan) => scan,
            Err((offset, what)) => {
                self.fault(offset, what);
                return None;
            }
        };
        self.route_params(&header);
        let rows = self.rows_and_limit(&header, &scan);
        let cursor_columns = self.references(&header, &scan);
        let conditions = self.conditions(&header, &scan);
        let (Some(route), Some(rows)) = (header.route, rows) else { return None };
        // As with `:limit`, one more than anyone gets.
        let max_limit = match rows {
            Rows::Cursor { limit } => {
                header.params.get(limit).and_then(|param| param.range).map(|(_, high)| high + 1)
            }
            Rows::One | Rows::Many => None,
        };
        let put = |name: &str| match (name, name.strip_prefix("after_")) {
            ("max_limit", _) => max_limit.map(Put::Constant),
            (_, Some(column)) => {
                let index = cursor_columns.iter().position(|known| known == column)?;
                Some(Put::Bound(Bind::After(index)))
            }
            (_, None) => {
                let index = header.params.iter().position(|param| param.name == name)?;
                Some(Put::Bound(Bind::Param(index)))
            }
        };
        let build = |mask: usize| {
            Variant::build(
                text,
                sql_start,
                sql_end,
                &scan,
                |line| {
                    let bit = conditions.iter().position(|(name, _)| *name == line.name);
                    bit.is_some_and(|bit| mask & (1 << bit) == 0)
                },
                put,
            )
        };
        let variants: Vec<Variant> = (0..1 << conditions.len()).map(build).collect();
        if let Some(bit) = conditions.iter().position(|(_, condition)| *condition == Condition::Cursor) {
            let is_after = |bind: &Bind| matches!(bind, Bind::After(_));
            let first_page = |mask: &usize| mask & (1 << bit) == 0;
            if (0..variants.len())
                .filter(first_page)
                .any(|mask| variants.get(mask).is_some_and(|v| v.binds.iter().any(is_after)))
            {
                self.fault(sql_start, "`:after_...` stands in a line that does not end in `-- when cursor`");
            }
        }
        Some(Endpoint {
            name: source.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
            source: source.clone(),
            route,
            summary: header.summary,
            params: header.params,
            rows,
            read: header.read.unwrap_or(Read::Replica { max_lag: None }),
            tags: header.tags,
            cache: header.cache.unwrap_or(NOT_STORED),
            indexes: header.indexes,
            cursor_columns,
            conditions: conditions.into_iter().map(|(_, condition)| condition).collect(),
            variants,
        })
    }

    /// Each variable of the route is a parameter, and the other way round.
    fn route_params(&mut self, header: &Header) {
        let Some(route) = &header.route else { return };
        for variable in route.variables() {
            if !header.params.iter().any(|param| param.name == variable && param.from == In::Path) {
                let message =
                    format!("`{{{variable}}}` is not declared; write `-- param {variable}: path text`");
                self.faults.push(&self.source.path, Some(route.position), message);
            }
        }
        for param in header.params.iter().filter(|param| param.from == In::Path) {
            if !route.variables().any(|variable| variable == param.name) {
                let suggestion = suggestion(&param.name, route.variables());
                let message = format!("the route has no `{{{}}}`{suggestion}", param.name);
                self.faults.push(&self.source.path, Some(param.position), message);
            }
        }
    }

    fn rows_and_limit(&mut self, header: &Header, scan: &Scan<'_>) -> Option<Rows> {
        let (kind, position) = header.rows?;
        let path = &self.source.path;
        match kind {
            "one" => Some(Rows::One),
            "many" => Some(Rows::Many),
            _ => {
                if !scan.optional_lines.iter().any(|line| line.name == "cursor") {
                    let message = "`rows: cursor` needs a line such as \
                                   `AND (created_at, id) < (:after_created_at, :after_id) -- when cursor`";
                    self.faults.push(path, Some(position), message);
                }
                let is_bounded = |param: &Param| {
                    param.name == "limit"
                        && matches!(param.absent, Absent::Default(_))
                        && param.range.is_some_and(|(low, high)| low >= 1 && high <= 10_000)
                };
                let limit = header.params.iter().position(is_bounded);
                if limit.is_none() || !scan.references.iter().any(|reference| reference.name == "limit") {
                    let message =
                        "`rows: cursor` needs `-- param limit: query int8 1..100 = 20` and `LIMIT :limit`";
                    self.faults.push(path, Some(position), message);
                }
                limit.map(|limit| Rows::Cursor { limit })
            }
        }
    }

    /// Each `:name` is declared and each parameter is used; gives the columns of the cursor.
    fn references(&mut self, header: &Header, scan: &Scan<'_>) -> Vec<String> {
        let mut cursor_columns: Vec<String> = Vec::new();
        let is_cursor = header.rows.is_some_and(|(kind, _)| kind == "cursor");
        for reference in &scan.references {
            match reference.name.strip_prefix("after_") {
                Some(column) if is_cursor => {
                    if !cursor_columns.iter().any(|known| known == column) {
                        cursor_columns.push(column.to_owned());
                    }
                }
                Some(_) => self.fault(reference.offset, "`:after_...` needs `rows: cursor`"),
                None if is_cursor && reference.name == "max_limit" => (),
                None if header.params.iter().any(|param| param.name == reference.name) => (),
                None => {
                    let suggestion =
                        suggestion(reference.name, header.params.iter().map(|param| param.name.as_str()));
                    self.fault(
                        reference.offset,
                        format!("`:{}` is not declared{suggestion}", reference.name),
                    );
                }
            }
        }
        for param in &header.params {
            if !scan.references.iter().any(|reference| reference.name == param.name) {
                let message = format!("param `{}` is not used: the SQL has no `:{}`", param.name, param.name);
                self.faults.push(&self.source.path, Some(param.position), message);
            }
        }
        cursor_columns
    }

    fn conditions<'t>(&mut self, header: &Header, scan: &Scan<'t>) -> Vec<(&'t str, Condition)> {
        let mut conditions: Vec<(&str, Condition)> = Vec::new();
        let is_cursor = header.rows.is_some_and(|(kind, _)| kind == "cursor");
        for line in &scan.optional_lines {
            if conditions.iter().any(|(name, _)| *name == line.name) {
                continue;
            }
            let param = header.params.iter().position(|param| param.name == line.name);
            let is_optional = param
                .and_then(|param| header.params.get(param))
                .is_some_and(|param| param.absent == Absent::Null);
            match (line.name, param) {
                ("cursor", _) if is_cursor => conditions.push((line.name, Condition::Cursor)),
                ("cursor", _) => self.fault(line.name_offset, "`-- when cursor` needs `rows: cursor`"),
                (name, Some(param)) if is_optional => conditions.push((name, Condition::Given(param))),
                (name, Some(_)) => {
                    self.fault(
                        line.name_offset,
                        format!("`{name}` always has a value: the line is never left out"),
                    );
                }
                (name, None) => {
                    let suggestion = suggestion(name, header.params.iter().map(|param| param.name.as_str()));
                    self.fault(line.name_offset, format!("`{name}` is not a declared parameter{suggestion}"));
                }
            }
        }
        if conditions.len() > sql::MAX_CONDITIONS {
            let message = format!(
                "optional lines depend on {} parameters, {} statements; at most {} are allowed",
                conditions.len(),
                1_u64 << conditions.len().min(63),
                sql::MAX_CONDITIONS
            );
            self.faults.push(&self.source.path, None, message);
            conditions.truncate(sql::MAX_CONDITIONS);
        }
        conditions
    }
}

impl<'t> Words<'t> {
    fn trim(self) -> Self {
        let text = self.text.trim_start();
        Self { text: text.trim_end(), offset: self.offset + self.text.len() - text.len() }
    }

    fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let (before, after) = self.text.split_once(separator)?;
        let after_offset = self.offset + self.text.len() - after.len();
        Some((
            Self { text: before, offset: self.offset }.trim(),
            Self { text: after, offset: after_offset }.trim(),
        ))
    }

    fn words(self) -> impl Iterator<Item = Self> {
        self.text.split_whitespace().map(move |word| {
            // `split_whitespace` gives slices of the text, in order.
            let offset = word.as_ptr().addr() - self.text.as_ptr().addr();
            Self { text: word, offset: self.offset + offset }
        })
    }
}
