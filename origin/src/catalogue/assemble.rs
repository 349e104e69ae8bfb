//! The header of a query file and its SQL against each other: every name means something on both sides. Gives the endpoint.
//!
//! Finds all faults of the file. Read next: `catalogue/sql.rs`.

use hyper::Method;
use hyper::header::HeaderValue;

use super::header::{Header, Reader};
use super::sql::{self, Bind, Put, Reference, Scan, Variant};
use super::tables::shape;
use super::{
    Absent, Condition, Endpoint, EndpointId, In, LaneKind, Param, Read, Route, Rows, Source, Total, is_stored,
};
use crate::faults::{Faults, Position, suggestion};
use crate::params::MAX_OFFSET;

const NOT_STORED: HeaderValue = HeaderValue::from_static("no-store");
/// The longest page.
const MAX_LIMIT: i64 = 10_000;
/// Of `page`; how deep a page can be depends on its limit too (`params.rs`).
const MAX_PAGE: i64 = 1_000_000;

pub(super) fn endpoint(source: &Source) -> Result<Endpoint, Faults> {
    let mut reader = Reader { source, faults: Faults::default() };
    let (header, sql_start) = reader.header();
    let endpoint = reader.assemble(header, sql_start);
    match endpoint {
        Some(endpoint) if reader.faults.is_empty() => Ok(endpoint),
        Some(_) | None => {
            source.quote(&mut reader.faults);
            Err(reader.faults)
        }
    }
}

/// The route of a file, whatever else is in it.
pub(super) fn route(source: &Source) -> Option<Route> {
    Reader { source, faults: Faults::default() }.header().0.route
}

/// What a `:name` stands for.
#[derive(Clone, Copy)]
enum Name<'t> {
    Param(usize),
    Has(usize),
    After(&'t str),
    Before(&'t str),
    Offset,
    IfMatch,
    MaxLimit,
    MaxTotal,
    Unknown,
}

fn name<'t>(text: &'t str, header: &Header) -> Name<'t> {
    let param = |name: &str| header.params.iter().position(|param| param.name == name);
    let kind = header.rows.map(|(kind, _)| kind);
    let (is_cursor, is_page) = (kind == Some("cursor"), kind == Some("page"));
    if let Some(index) = param(text) {
        return Name::Param(index);
    }
    match text {
        "offset" if is_page => return Name::Offset,
        "max_total" if is_page => return Name::MaxTotal,
        "max_limit" if is_cursor || is_page => return Name::MaxLimit,
        "if_match" if header.place("if_match").is_some() => return Name::IfMatch,
        _ => (),
    }
    if let Some(index) = text.strip_prefix("has_").and_then(param) {
        return Name::Has(index);
    }
    match (text.strip_prefix("after_"), text.strip_prefix("before_")) {
        (Some(column), _) => Name::After(column),
        (_, Some(column)) => Name::Before(column),
        (None, None) => Name::Unknown,
    }
}

impl Reader<'_> {
    /// Header and SQL against each other.
    fn assemble(&mut self, header: Header, sql_start: usize) -> Option<Endpoint> {
        let source = self.source;
        for (key, example) in [("route", "GET /things/{id}"), ("rows", "one")] {
            if header.place(key).is_none() {
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
        self.sources(&header);
        self.reads_and_writes(&header);
        self.streamed(&header);
        self.arrays(&header);
        self.tables(&header);
        let rows = self.rows_of(&header, &scan);
        let cursor_columns = self.references(&header, &scan);
        let conditions = self.conditions(&header, &scan);
        let (Some(route), Some(rows)) = (&header.route, rows) else { return None };
        let put = |reference: &str| match name(reference, &header) {
            Name::Param(index) => Some(Put::Bound(Bind::Param(index))),
            Name::Has(index) => Some(Put::Bound(Bind::Has(index))),
            Name::After(column) | Name::Before(column) => {
                let index = cursor_columns.iter().position(|known| known == column)?;
                let is_after = reference.starts_with("after_");
                Some(Put::Bound(if is_after { Bind::After(index) } else { Bind::Before(index) }))
            }
            Name::Offset => Some(Put::Bound(Bind::Offset)),
            Name::IfMatch => Some(Put::Bound(Bind::IfMatch)),
            Name::MaxLimit => max_limit(rows, &header.params).map(Put::Constant),
            Name::MaxTotal => match rows {
                Rows::Page { total: Total::Exact(most), .. } => Some(Put::Constant(most + 1)),
                Rows::Page { .. } | Rows::One | Rows::Many | Rows::Cursor { .. } | Rows::Exec => None,
            },
            Name::Unknown => None,
        };
        let build = |mask: usize| {
            Variant::build(
                text,
                sql_start,
                sql_end,
                &scan,
                |line| {
                    let bit = conditions.iter().position(|(name, _)| *name == line.name);
                    bit.is_some_and(|bit| (mask & (1 << bit) == 0) != line.is_negated)
                },
                put,
            )
        };
        let variants: Vec<Variant> = (0..1 << conditions.len()).map(build).collect();
        self.always_bound(&conditions, &variants, sql_start);
        let is_read = route.method == Method::GET;
        let by_default = is_read && rows != Rows::Exec;
        let slow = header.lane.unwrap_or_default();
        Some(Endpoint {
            id: EndpointId::next(),
            name: source.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
            source: source.clone(),
            summary: header.summary,
            rows,
            read: if is_read {
                header.read.unwrap_or(Read::Replica { max_lag: None })
            } else {
                Read::Primary
            },
            lane: if is_read { slow } else { LaneKind::Write },
            body: header.body.unwrap_or_default(),
            fields: header.fields.unwrap_or(by_default),
            version: header.version,
            requires_version: header.requires_version,
            row_members: header.row_members,
            idempotency: header.idempotency.unwrap_or_default(),
            location: header.location,
            tags: header.tags,
            tables: header.tables,
            cache: header.cache.unwrap_or(NOT_STORED),
            indexes: header.indexes,
            cursor_columns,
            conditions: conditions.into_iter().map(|(_, condition)| condition).collect(),
            variants,
            route: header.route?,
            params: header.params,
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

    /// Keys that mean something to reads alone, or to writes alone.
    fn reads_and_writes(&mut self, header: &Header) {
        let Some(route) = &header.route else { return };
        let is_read = route.method == Method::GET;
        let mut refuse = |key: &str, why: &str| {
            if let Some(position) = header.place(key) {
                self.faults.push(&self.source.path, Some(position), format!("`{key}` {why}"));
            }
        };
        if is_read {
            refuse("idempotency", "is for writes: GET can be repeated anyway");
        } else {
            refuse("lane", "is for reads: writes have connections of their own");
            refuse("cache", "is for reads: the answer to a write is not stored");
            if header.read != Some(Read::Primary) {
                refuse("read", "is for reads: writes run on the primary");
            }
        }
        if route.method != Method::POST {
            refuse("location", "is for POST, which makes something that has one");
        }
        let Some((kind, position)) = header.rows else { return };
        if is_read && kind != "one" {
            refuse("if_match", "is for `rows: one`: a list has no version");
        }
        match kind {
            "exec" if is_read => {
                self.faults.push(
                    &self.source.path,
                    Some(position),
                    "`rows: exec` gives a GET nothing to answer",
                );
            }
            "cursor" | "page" | "many" if !is_read => {
                let message = format!(
                    "`rows: {kind}` is for GET; a write has `one`, with json_agg if need be, or `exec`"
                );
                self.faults.push(&self.source.path, Some(position), message);
            }
            _ => (),
        }
        if kind != "page"
            && let Some(position) = header.place("total")
        {
            self.faults.push(&self.source.path, Some(position), "`total` needs `rows: page`");
        }
    }

    /// What is sent before all rows are known is sent without what they say.
    fn streamed(&mut self, header: &Header) {
        if header.lane != Some(LaneKind::Slow) || header.rows.is_none_or(|(kind, _)| kind != "many") {
            return;
        }
        for tag in &header.tags {
            if tag.values().any(|name| !header.params.iter().any(|param| param.name == name)) {
                let message =
                    "rows of a slow lane are sent while they come: a tag is made of parameters alone";
                self.faults.push(&self.source.path, Some(tag.position), message);
            }
        }
    }

    /// One tag for each element, not for each pair of them.
    fn arrays(&mut self, header: &Header) {
        let is_array = |name: &str| header.params.iter().any(|param| param.name == name && param.is_array);
        for tag in &header.tags {
            if tag.values().any(is_array) && tag.values().count() > 1 {
                let message = "an array is the only value of its tag: there is one for each element";
                self.faults.push(&self.source.path, Some(tag.position), message);
            }
        }
    }

    /// What a changed row says has to be what an answer can carry.
    fn tables(&mut self, header: &Header) {
        let Some(first) = header.tables.first() else { return };
        let path = &self.source.path;
        if header.route.as_ref().is_some_and(|route| route.method != Method::GET) {
            let message = "`table` is for reads: what a write changes the database says itself";
            return self.faults.push(path, Some(first.position), message);
        }
        if !is_stored(header.cache.as_ref().unwrap_or(&NOT_STORED)) {
            let message = "`table` is for answers that are stored, and this one is not; give it a `cache`";
            return self.faults.push(path, Some(first.position), message);
        }
        for (template, position) in header.tables.iter().flat_map(|table| &table.templates) {
            if header.tags.iter().any(|tag| template.meets(tag)) {
                continue;
            }
            let own = template.shape();
            let shapes: Vec<String> = header.tags.iter().map(shape).collect();
            let hint = match suggestion(&own, shapes.iter().map(String::as_str)) {
                hint if hint.is_empty() => "; add such a tag to `tags`, or write another one here".to_owned(),
                hint => hint,
            };
            let message = format!("no answer has a tag of the form `{own}`, so a change finds none{hint}");
            self.faults.push(path, Some(*position), message);
        }
    }

    fn rows_of(&mut self, header: &Header, scan: &Scan<'_>) -> Option<Rows> {
        let (kind, position) = header.rows?;
        let path = &self.source.path;
        let has_line =
            |name: &str| scan.optional_lines.iter().any(|line| line.name == name && !line.is_negated);
        let is_used = |name: &str| scan.references.iter().any(|reference| reference.name == name);
        let bounded = |name: &str, most: i64| {
            let is_it = |param: &Param| {
                param.name == name
                    && matches!(param.absent, Absent::Default(_))
                    && param.type_name == "int8"
                    && param.range.is_some_and(|(low, high)| low >= 1 && high <= most)
            };
            header.params.iter().position(is_it)
        };
        let limit = bounded("limit", MAX_LIMIT);
        if matches!(kind, "cursor" | "page") && (limit.is_none() || !is_used("limit")) {
            let message =
                format!("`rows: {kind}` needs `-- param limit: query int8 1..100 = 20` and `LIMIT :limit`");
            self.faults.push(path, Some(position), message);
        }
        match kind {
            "one" => Some(Rows::One),
            "many" => Some(Rows::Many),
            "exec" => Some(Rows::Exec),
            "cursor" => {
                if !has_line("cursor") {
                    let message = "`rows: cursor` needs a line such as \
                                   `AND (created_at, id) < (:after_created_at, :after_id) -- when cursor`";
                    self.faults.push(path, Some(position), message);
                }
                limit.map(|limit| Rows::Cursor { limit, both_ways: has_line("before") })
            }
            _ => {
                let page = bounded("page", MAX_PAGE);
                if page.is_none() || !is_used("offset") {
                    let message =
                        "`rows: page` needs `-- param page: query int8 1..10000 = 1` and `OFFSET :offset`";
                    self.faults.push(path, Some(position), message);
                }
                if header.place("total").is_none() {
                    let message = "`rows: page` needs `-- total: exact 10000` or `-- total: estimate`";
                    self.faults.push(path, Some(position), message);
                }
                Some(Rows::Page { limit: limit?, page: page?, total: header.total? })
            }
        }
    }

    /// Each `:name` means something and each parameter is used; gives the columns of the cursor.
    fn references(&mut self, header: &Header, scan: &Scan<'_>) -> Vec<String> {
        let mut cursor_columns: Vec<String> = Vec::new();
        let is_cursor = header.rows.is_some_and(|(kind, _)| kind == "cursor");
        for reference in &scan.references {
            match name(reference.name, header) {
                Name::After(column) | Name::Before(column) if is_cursor => {
                    if !cursor_columns.iter().any(|known| known == column) {
                        cursor_columns.push(column.to_owned());
                    }
                }
                Name::After(_) => self.fault(reference.offset, "`:after_...` needs `rows: cursor`"),
                Name::Before(_) => self.fault(reference.offset, "`:before_...` needs `rows: cursor`"),
                Name::MaxTotal if header.total == Some(Total::Estimate) => {
                    self.fault(reference.offset, "`:max_total` needs `total: exact MAX`");
                }
                Name::Unknown => self.unknown(reference, header),
                Name::Param(_)
                | Name::Has(_)
                | Name::Offset
                | Name::IfMatch
                | Name::MaxLimit
                | Name::MaxTotal => (),
            }
        }
        for param in &header.params {
            // `page` is used as `:offset`.
            let is_page = param.name == "page" && header.rows.is_some_and(|(kind, _)| kind == "page");
            if !is_page && !scan.references.iter().any(|reference| reference.name == param.name) {
                let message = format!("param `{}` is not used: the SQL has no `:{}`", param.name, param.name);
                self.faults.push(&self.source.path, Some(param.position), message);
            }
        }
        let uses_version = scan.references.iter().any(|reference| reference.name == "if_match");
        let is_write = header.route.as_ref().is_some_and(|route| route.method != Method::GET);
        if let Some(position) = header.place("if_match") {
            // What a POST makes has a version from then on.
            let is_post = header.route.as_ref().is_some_and(|route| route.method == Method::POST);
            if is_write && !uses_version && (!is_post || header.requires_version) {
                let message = "`if_match` in a write needs a line such as \
                               `AND version = :if_match -- when if_match`";
                self.faults.push(&self.source.path, Some(position), message);
            }
            if !is_write && header.requires_version {
                let message = "`required` is for writes: a read needs no If-Match";
                self.faults.push(&self.source.path, Some(position), message);
            }
            if !is_write && uses_version {
                let message = "`:if_match` is for writes; a read takes its ETag from the column";
                self.faults.push(&self.source.path, Some(position), message);
            }
        }
        cursor_columns
    }

    fn unknown(&mut self, reference: &Reference<'_>, header: &Header) {
        let hint = match reference.name {
            "if_match" => "; write `-- if_match: version`, the column with the version".to_owned(),
            "offset" | "max_total" => "; it comes with `rows: page`".to_owned(),
            "max_limit" => "; it comes with `rows: cursor` and `rows: page`".to_owned(),
            other => suggestion(other, header.params.iter().map(|param| param.name.as_str())),
        };
        self.fault(reference.offset, format!("`:{}` is not declared{hint}", reference.name));
    }

    fn conditions<'t>(&mut self, header: &Header, scan: &Scan<'t>) -> Vec<(&'t str, Condition)> {
        let mut conditions: Vec<(&str, Condition)> = Vec::new();
        let is_cursor = header.rows.is_some_and(|(kind, _)| kind == "cursor");
        let has_version = header.place("if_match").is_some();
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
                ("before", _) if is_cursor => conditions.push((line.name, Condition::Before)),
                ("if_match", _) if has_version => conditions.push((line.name, Condition::IfMatch)),
                ("cursor" | "before", _) => {
                    self.fault(line.name_offset, format!("`-- when {}` needs `rows: cursor`", line.name));
                }
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

    /// What a request without a cursor cannot bind stands in lines that only those with one have.
    fn always_bound(&mut self, conditions: &[(&str, Condition)], variants: &[Variant], sql_start: usize) {
        let mut check = |condition: Condition, what: &str, is_bound: fn(&Bind) -> bool| {
            let bit = conditions.iter().position(|(_, own)| *own == condition);
            let is_absent = |mask: usize| bit.is_none_or(|bit| mask & (1 << bit) == 0);
            let is_wrong =
                |(mask, variant): (usize, &Variant)| is_absent(mask) && variant.binds.iter().any(is_bound);
            if variants.iter().enumerate().any(is_wrong) {
                self.fault(
                    sql_start,
                    format!(
                        "`{what}` stands in a line that does not end in `-- when {}`",
                        match condition {
                            Condition::Before => "before",
                            Condition::IfMatch => "if_match",
                            Condition::Cursor | Condition::Given(_) => "cursor",
                        }
                    ),
                );
            }
        };
        let is_missing = |condition: Condition| !conditions.iter().any(|(_, own)| *own == condition);
        // Without any such line another fault says so.
        if !is_missing(Condition::Cursor) {
            check(Condition::Cursor, ":after_...", |bind| matches!(bind, Bind::After(_)));
        }
        check(Condition::Before, ":before_...", |bind| matches!(bind, Bind::Before(_)));
        check(Condition::IfMatch, ":if_match", |bind| matches!(bind, Bind::IfMatch));
    }
}

/// As with `:limit`, one more than anyone gets; with offsets, all that is in front of it too.
fn max_limit(rows: Rows, params: &[Param]) -> Option<i64> {
    let (Rows::Cursor { limit, .. } | Rows::Page { limit, .. }) = rows else { return None };
    let before = if matches!(rows, Rows::Page { .. }) { MAX_OFFSET } else { 0 };
    params.get(limit).and_then(|param| param.range).map(|(_, high)| before + high + 1)
}
