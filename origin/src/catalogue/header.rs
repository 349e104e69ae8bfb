//! The header of one query file, line by line, into plain data.
//!
//! Finds all faults of the file. Read next: `header/param.rs` and `header/table.rs` for lines that come more than once,
//! `catalogue/assemble.rs`, which holds header and SQL against each other.

use hyper::header::HeaderValue;

use super::{Body, Idempotency, Lag, LaneKind, Param, Read, Route, Source, TableRule, TagTemplate, Total};
use crate::config::duration;
use crate::faults::{Faults, Position, suggestion};

mod param;
mod table;

pub(super) const KEYS: [&str; 17] = [
    "route",
    "summary",
    "param",
    "row",
    "rows",
    "read",
    "lane",
    "body",
    "fields",
    "total",
    "if_match",
    "idempotency",
    "location",
    "tags",
    "table",
    "cache",
    "index",
];
pub(super) const ROWS: [&str; 5] = ["one", "many", "cursor", "page", "exec"];
/// Who counts further may as well count all.
const MAX_TOTAL: i64 = 10_000_000;

/// What the header says so far. A key that was there but wrong is in `seen` and not in its field.
#[derive(Default)]
pub(super) struct Header {
    pub(super) seen: Vec<(&'static str, Position)>,
    pub(super) route: Option<Route>,
    pub(super) summary: String,
    pub(super) params: Vec<Param>,
    pub(super) rows: Option<(&'static str, Position)>,
    pub(super) read: Option<Read>,
    pub(super) lane: Option<LaneKind>,
    pub(super) body: Option<Body>,
    pub(super) fields: Option<bool>,
    pub(super) total: Option<Total>,
    pub(super) version: Option<(String, Position)>,
    pub(super) requires_version: bool,
    pub(super) row_members: Vec<Param>,
    pub(super) idempotency: Option<Idempotency>,
    pub(super) location: Option<TagTemplate>,
    pub(super) tags: Vec<TagTemplate>,
    pub(super) tables: Vec<TableRule>,
    pub(super) cache: Option<HeaderValue>,
    pub(super) indexes: Vec<(String, Position)>,
}

/// A piece of the file that knows where it is.
#[derive(Clone, Copy)]
struct Words<'t> {
    text: &'t str,
    offset: usize,
}

pub(super) struct Reader<'s> {
    pub(super) source: &'s Source,
    pub(super) faults: Faults,
}

impl Header {
    pub(super) fn place(&self, key: &str) -> Option<Position> {
        self.seen.iter().find(|(seen, _)| *seen == key).map(|(_, position)| *position)
    }
}

impl<'s> Reader<'s> {
    pub(super) fn fault(&mut self, offset: usize, message: impl Into<String>) {
        self.faults.push(&self.source.path, Some(self.position(offset)), message);
    }

    fn position(&self, offset: usize) -> Position {
        Position::of(&self.source.text, offset)
    }

    /// The header, and where the SQL begins.
    pub(super) fn header(&mut self) -> (Header, usize) {
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
        let name_after = || Words { text: name, offset: key.offset + word.len() + 1 }.trim();
        match *known {
            "param" => return self.param(header, name_after(), value),
            "row" => return self.row(header, name_after(), value),
            "table" => return self.table(header, name_after(), value),
            _ => (),
        }
        if !name.is_empty() {
            return self.fault(key.offset, format!("`{}:` where `{known}:` should be", key.text));
        }
        if header.place(known).is_some() {
            return self.fault(key.offset, format!("`{known}` is given twice"));
        }
        header.seen.push((known, self.position(key.offset)));
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
            "lane" => {
                let kinds = [("fast", LaneKind::Fast), ("slow", LaneKind::Slow)];
                header.lane = self.one_of("lane", value, &kinds);
            }
            "body" => {
                let kinds = [("json", Body::Json), ("columns", Body::Columns)];
                header.body = self.one_of("body", value, &kinds);
            }
            "fields" => header.fields = self.one_of("fields", value, &[("all", true), ("none", false)]),
            "total" => self.total(header, value),
            "if_match" => {
                let (column, option) = value.text.split_once(' ').unwrap_or((value.text, ""));
                if !super::sql::is_name(column) || !matches!(option.trim(), "" | "required") {
                    let message =
                        format!("`{}` is not the name of a column, or that and `required`", value.text);
                    return self.fault(value.offset, message);
                }
                header.version = Some((column.to_owned(), self.position(value.offset)));
                header.requires_version = !option.is_empty();
            }
            "idempotency" => {
                let kinds = [
                    ("none", Idempotency::None),
                    ("optional", Idempotency::Optional),
                    ("required", Idempotency::Required),
                ];
                header.idempotency = self.one_of("idempotency", value, &kinds);
            }
            "location" => self.location(header, value),
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
            _ => header.indexes = self.names(value),
        }
    }

    fn names(&self, value: Words<'_>) -> Vec<(String, Position)> {
        value.words().map(|word| (word.text.to_owned(), self.position(word.offset))).collect()
    }

    fn one_of<T: Copy>(&mut self, key: &str, value: Words<'_>, kinds: &[(&str, T)]) -> Option<T> {
        let found = kinds.iter().find(|(name, _)| *name == value.text);
        if found.is_none() {
            let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
            let suggestion = suggestion(value.text, names.iter().copied());
            let names = names.join(" or ");
            self.fault(value.offset, format!("{key} `{}` is not {names}{suggestion}", value.text));
        }
        found.map(|(_, kind)| *kind)
    }

    fn total(&mut self, header: &mut Header, value: Words<'_>) {
        let words: Vec<Words<'_>> = value.words().collect();
        header.total = match words.as_slice() {
            [estimate] if estimate.text == "estimate" => Some(Total::Estimate),
            [exact, most] if exact.text == "exact" => match most.text.parse::<i64>() {
                Ok(number) if (1..=MAX_TOTAL).contains(&number) => Some(Total::Exact(number)),
                Ok(_) | Err(_) => {
                    let message = format!("`{}` is not a whole number from 1 to {MAX_TOTAL}", most.text);
                    return self.fault(most.offset, message);
                }
            },
            _ => {
                let message = format!("`{}` is neither `exact 10000` nor `estimate`", value.text);
                return self.fault(value.offset, message);
            }
        };
    }

    fn location(&mut self, header: &mut Header, value: Words<'_>) {
        if !value.text.starts_with('/') {
            let message = format!("`{}` is not a path such as `/things/{{public_id}}`", value.text);
            return self.fault(value.offset, message);
        }
        match TagTemplate::parse(value.text, self.position(value.offset)) {
            Ok(location) => header.location = Some(location),
            Err((offset, why)) => self.fault(value.offset + offset, why.replace("tag", "location")),
        }
    }

    fn rows(&mut self, header: &mut Header, value: Words<'_>) {
        match ROWS.iter().find(|kind| **kind == value.text) {
            Some(kind) => header.rows = Some((kind, self.position(value.offset))),
            None => {
                let suggestion = suggestion(value.text, ROWS.iter().copied());
                self.fault(
                    value.offset,
                    format!("rows `{}` are not one, many, cursor, page or exec{suggestion}", value.text),
                );
            }
        }
    }

    fn read(&mut self, header: &mut Header, value: Words<'_>) {
        let (server, option) =
            value.split_once(';').map_or((value, None), |(server, option)| (server, Some(option)));
        let max_lag = match option.map(|option| (option, option.split_once(':'))) {
            None => None,
            Some((_, Some((key, lag)))) if key.text == "max_lag" => match max_lag(lag.text) {
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
}

fn max_lag(text: &str) -> Result<Lag, String> {
    const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let size = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.parse::<u64>(), *bytes)));
    match size {
        Some((number, unit)) => (number.ok())
            .and_then(|number| number.checked_mul(unit))
            .map(Lag::Bytes)
            .ok_or_else(|| format!("{text:?} is not a size; write for example `16MiB`")),
        None => duration(text).map(Lag::Time),
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
