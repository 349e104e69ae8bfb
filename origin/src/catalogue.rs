//! Which endpoints there are: query files read into plain data. One SQL file is one endpoint.
//!
//! What a query file looks like, all of its keys and how it is read is in `docs/queries.md`, which is held against this parser by
//! `catalogue/tests.rs` and against real Postgres by `tests/it/queries_doc.rs`. In short: comment lines `-- key: value` at the
//! top, then one statement in which `:name` is a parameter, and lines that end in `-- when NAME` are optional.
//!
//! Does not know servers: `catalogue/prepare.rs` holds what Postgres says about a statement against its header.
//! Read next: `catalogue/header.rs`, `catalogue/assemble.rs`, then `catalogue/sql.rs`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderValue;

use crate::faults::{Faults, Position};
use crate::params::Given;

mod folder;
mod header;
mod assemble;
pub(crate) mod sql;
mod route;
pub(crate) mod tags;
pub(crate) mod tables;
pub(crate) mod prepare;
#[cfg(test)]
mod tests;

pub(crate) use route::{Found, Route, Router, Segment};
pub(crate) use sql::{Bind, Variant};
pub(crate) use tables::{Mapping, RowPiece, RowTemplate, TableRule, is_table, table_name, table_tag};
pub(crate) use tags::{Piece, TagTemplate};

macro_rules! shipped {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("../queries/", $name)))),*] };
}

/// The files that ship, part of the program: it runs without a folder beside it.
const SHIPPED: &[(&str, &str)] = shipped![
    "chat_messages.sql"
    "counts.sql"
    "member_create.sql"
    "member_delete.sql"
    "message_create.sql"
    "resource_create.sql"
    "resource_delete.sql"
    "resource_details.sql"
    "resource_summary.sql"
    "resource_update.sql"
    "resources_batch.sql"
    "resources_bulk_create.sql"
    "resources_bulk_update.sql"
    "resources_offset.sql"
    "resources_offset_estimated.sql"
    "resources_page.sql"
    "resources_search.sql"
    "run.sql"
    "run_create.sql"
    "run_update.sql"
    "runs_active.sql"
    "runs_failed.sql"
    "team_admins.sql"
    "team_export.sql"
    "trending.sql"
    "user.sql"
    "user_resources.sql"
    "user_teams.sql"
    "user_unread.sql"
    "users_search.sql"
];

/// Each is prepared on every connection.
const MAX_ENDPOINTS: usize = 1024;

/// All endpoints. Never empty; no two answer the same request.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) router: Router,
}

/// One of all the endpoints that this process has ever read. Never used again: another text is another endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EndpointId(u64);

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    /// The file's name without `.sql`: in metrics and messages.
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) route: Route,
    pub(crate) summary: String,
    pub(crate) params: Vec<Param>,
    pub(crate) rows: Rows,
    pub(crate) read: Read,
    pub(crate) lane: LaneKind,
    pub(crate) body: Body,
    /// Whether `?fields=` selects.
    pub(crate) fields: bool,
    /// The column with the version of the row.
    pub(crate) version: Option<(String, Position)>,
    /// Whether a write has to name the version that it changes.
    pub(crate) requires_version: bool,
    /// The members of each row of `body rows`. Empty: whatever the statement makes of them.
    pub(crate) row_members: Vec<Param>,
    pub(crate) idempotency: Idempotency,
    pub(crate) location: Option<TagTemplate>,
    pub(crate) tags: Vec<TagTemplate>,
    /// What the statement reads, as declared. Not of answers that are not stored.
    pub(crate) tables: Vec<TableRule>,
    pub(crate) cache: HeaderValue,
    pub(crate) indexes: Vec<(String, Position)>,
    /// The columns of the cursor, as `:after_COLUMN` and `:before_COLUMN` name them, in order. Empty unless rows are `Cursor`.
    pub(crate) cursor_columns: Vec<String>,
    /// The conditions of `-- when` and `-- unless` lines; bit n of a variant's mask is the nth.
    pub(crate) conditions: Vec<Condition>,
    /// One for each combination of conditions: `variants[mask]`.
    pub(crate) variants: Vec<Variant>,
}

/// A file and its text, for messages.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) from: In,
    /// The name that Postgres itself uses: `int8`, not `bigint`. Of an array that of its elements.
    pub(crate) type_name: String,
    pub(crate) is_array: bool,
    pub(crate) range: Option<(i64, i64)>,
    /// If not empty, what the value has to be one of.
    pub(crate) values: Vec<String>,
    pub(crate) absent: Absent,
    pub(crate) position: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum In {
    Path,
    Query,
    /// A member of the JSON object that is the body.
    Body,
    /// The body itself, an array of objects.
    Rows,
}

/// What a request without the parameter means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Absent {
    Refused,
    Null,
    Default(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    One,
    Many,
    /// With the index of the parameter `limit`, and whether there are pages in both directions.
    Cursor {
        limit: usize,
        both_ways: bool,
    },
    /// With the indexes of the parameters.
    Page {
        limit: usize,
        page: usize,
        total: Total,
    },
    /// None are wanted.
    Exec,
}

/// What column `_total` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Total {
    /// The number of rows, counted no further than one more than this.
    Exact(i64),
    Estimate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    Primary,
    Replica { max_lag: Option<Lag> },
}

/// How far a replica may be behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lag {
    Time(Duration),
    Bytes(u64),
}

/// Which connections a statement runs on. Postgres answers a connection in order, so that whoever takes long has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LaneKind {
    /// Short reads: few connections that requests share, pipelined.
    #[default]
    Fast,
    /// Long reads, and answers that are streamed: one statement at a time.
    Slow,
    /// Every endpoint that is not for GET: transactions, one at a time, on whichever server is the primary.
    Write,
}

/// Who writes the JSON of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Body {
    /// Postgres, in column `body`.
    #[default]
    Json,
    /// The worker, from all columns.
    Columns,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Idempotency {
    #[default]
    None,
    Optional,
    Required,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The parameter with this index is given.
    Given(usize),
    /// The request has a cursor to go on after.
    Cursor,
    /// The request has a cursor to stop before.
    Before,
    /// The request has an `If-Match` that names a version.
    IfMatch,
}

impl Catalogue {
    /// The query files that ship.
    ///
    /// # Errors
    /// All faults of all files.
    pub(crate) fn shipped() -> Result<Self, Faults> {
        Self::parse(SHIPPED.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect())
    }

    /// Every `*.sql` file of a folder.
    ///
    /// # Errors
    /// All faults of all files; a folder or file that cannot be read is one.
    pub(crate) fn load(directory: &Path) -> Result<Self, Faults> {
        let (files, mut faults) = folder::read(directory)?;
        match Self::parse(files) {
            Ok(catalogue) => faults.or(catalogue),
            Err(others) => {
                faults.extend(others);
                Err(faults)
            }
        }
    }

    /// The file of a folder that is for the same requests as a route. What is wrong with files is for `load` to say.
    pub(crate) fn file_of(directory: &Path, route: &Route) -> Option<PathBuf> {
        let (files, _) = folder::read(directory).ok()?;
        let is_it = |source: &Source| assemble::route(source).is_some_and(|own| own.is_same(route));
        let sources = files.into_iter().map(|(path, text)| Source { path, text: text.into() });
        sources.filter(is_it).map(|source| source.path).min()
    }

    /// Files as path and text.
    pub(crate) fn parse(mut files: Vec<(PathBuf, String)>) -> Result<Self, Faults> {
        files.sort();
        let mut faults = Faults::default();
        if files.len() > MAX_ENDPOINTS {
            let path = files.last().map(|(path, _)| path.clone()).unwrap_or_default();
            return Err(Faults::of_file(
                &path,
                format!("is one of {} query files; at most {MAX_ENDPOINTS} are allowed", files.len()),
            ));
        }
        let mut endpoints: Vec<Arc<Endpoint>> = Vec::new();
        let mut router = Router::default();
        for (path, text) in files {
            match assemble::endpoint(&Source { path, text: text.into() }) {
                Ok(endpoint) => {
                    if let Err(other) = router.add(&endpoint.route, endpoints.len()) {
                        let other = endpoints.get(other).map(|other| other.source.path.display().to_string());
                        let message = format!("answers the same requests as {}", other.unwrap_or_default());
                        faults.push(&endpoint.source.path, Some(endpoint.route.position), message);
                        endpoint.source.quote(&mut faults);
                    }
                    endpoints.push(Arc::new(endpoint));
                }
                Err(others) => faults.extend(others),
            }
        }
        faults.or(Self { endpoints, router })
    }

    /// Which tags a changed row of a table has, of all files together. Without tables that are left to lifetimes alone.
    pub(crate) fn mapping(&self) -> Mapping {
        let mut mapping = Mapping::new();
        for table in self.endpoints.iter().flat_map(|endpoint| &endpoint.tables) {
            for (template, _) in &table.templates {
                let known = mapping.entry(table.name.clone()).or_default();
                if !known.contains(template) {
                    known.push(template.clone());
                }
            }
        }
        mapping
    }

    /// The same, where an endpoint whose file is as it was is the one that there was, and not another one like it: what is prepared
    /// for it stays.
    pub(crate) fn keeping(mut self, old: &Self) -> Self {
        let old: HashMap<&Path, _> = old.by(|endpoint| endpoint.source.path.as_path());
        for endpoint in &mut self.endpoints {
            let same = old.get(&*endpoint.source.path).filter(|old| old.source.text == endpoint.source.text);
            if let Some(same) = same {
                *endpoint = Arc::clone(same);
            }
        }
        self
    }

    /// What is not as it was, for an operator.
    pub(crate) fn changes_since(&self, old: &Self) -> Vec<String> {
        let (before, after) = (old.by(|endpoint| &*endpoint.name), self.by(|endpoint| &*endpoint.name));
        let came = self.endpoints.iter().filter_map(|endpoint| match before.get(&*endpoint.name) {
            None => Some(format!("added `{}`", endpoint.name)),
            Some(old) => (old.id != endpoint.id).then(|| format!("changed `{}`", endpoint.name)),
        });
        let is_gone = |endpoint: &&Arc<Endpoint>| !after.contains_key(&*endpoint.name);
        let went =
            old.endpoints.iter().filter(is_gone).map(|endpoint| format!("removed `{}`", endpoint.name));
        came.chain(went).collect()
    }

    fn by<'c, K: Eq + std::hash::Hash>(
        &'c self,
        key: impl Fn(&'c Endpoint) -> K,
    ) -> HashMap<K, &'c Arc<Endpoint>> {
        self.endpoints.iter().map(|endpoint| (key(endpoint), endpoint)).collect()
    }
}

impl EndpointId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Whether a value of `Cache-Control` lets answers be stored.
fn is_stored(cache: &HeaderValue) -> bool {
    cache.to_str().is_ok_and(|cache| !cache.to_ascii_lowercase().contains("no-store"))
}

impl Source {
    /// Shows the lines that faults of this file are about.
    pub(crate) fn quote(&self, faults: &mut Faults) {
        faults.quote(&self.path, &self.text);
    }
}

impl Endpoint {
    /// The statement for what a request gives: `is_given` says of each condition whether it holds.
    pub(crate) fn mask(&self, is_given: impl Fn(Condition) -> bool) -> usize {
        self.conditions
            .iter()
            .enumerate()
            .filter(|(_, condition)| is_given(**condition))
            .map(|(bit, _)| 1 << bit)
            .sum()
    }

    /// Whether it only reads.
    pub(crate) fn is_read(&self) -> bool {
        self.route.method == Method::GET
    }

    /// Whether answers are kept under a key of the request.
    pub(crate) fn keeps_keys(&self) -> bool {
        self.idempotency != Idempotency::None
    }

    /// Whether its answers may be stored.
    pub(crate) fn is_stored(&self) -> bool {
        self.is_read() && is_stored(&self.cache)
    }

    /// How many rows a page of the request has.
    pub(crate) fn limit(&self, given: &Given) -> Option<usize> {
        let (Rows::Cursor { limit, .. } | Rows::Page { limit, .. }) = self.rows else { return None };
        given.values.get(limit)?.as_ref()?.parse().ok()
    }

    /// Whether rows are sent while they come.
    pub(crate) fn is_streamed(&self) -> bool {
        self.lane == LaneKind::Slow && self.rows == Rows::Many
    }

    /// Whether a name stands for a parameter; else it is a column.
    pub(crate) fn is_param(&self, name: &str) -> bool {
        self.params.iter().any(|param| param.name == name)
    }

    /// What a request gives that is answered with a variant.
    pub(crate) fn names_of_mask(&self, mask: usize) -> Vec<&str> {
        let held = self.conditions.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
        let name = |condition: &Condition| match condition {
            Condition::Given(param) => self.params.get(*param).map_or("", |param| param.name.as_str()),
            Condition::Cursor => "cursor",
            Condition::Before => "before",
            Condition::IfMatch => "if_match",
        };
        held.map(|(_, condition)| name(condition)).collect()
    }

    /// Such as ` with type, cursor`, for messages; empty for a statement without optional lines.
    pub(crate) fn describe_mask(&self, mask: usize) -> String {
        let names = self.names_of_mask(mask);
        if names.is_empty() { String::new() } else { format!(" with {}", names.join(", ")) }
    }
}
