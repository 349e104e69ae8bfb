//! Which endpoints there are: query files read into plain data. One SQL file is one endpoint.
//!
//! # A query file
//! ```sql
//! -- route: GET /resources
//! -- summary: What everyone may see, newest first, in pages
//! -- param limit: query int8 1..100 = 20
//! -- param type: query text
//! -- rows: cursor
//! -- read: replica; max_lag: 5s
//! -- tags: resources resource:{id}
//! -- cache: max-age=5, s-maxage=60
//! -- index: resource_page resource_page_by_type
//!
//! SELECT json_build_object('publicId', r.public_id) AS body, r.created_at, r.id
//! FROM resources r
//! WHERE NOT r.is_deleted
//!   AND r.resource_type = :type                               -- when type
//!   AND (r.created_at, r.id) < (:after_created_at, :after_id) -- when cursor
//! ORDER BY r.created_at DESC, r.id DESC
//! LIMIT :limit
//! ```
//! **Header.** The comment lines at the top, up to the first line that is none; each is `-- key: value`.
//! - `route` (required): method and path; `{name}` takes one segment. GET also answers HEAD.
//! - `summary`: one line for people.
//! - `param NAME: path TYPE` or `param NAME: query TYPE [LOW..HIGH] [required | = DEFAULT]`, one line each. The type is
//!   checked against the one Postgres infers. An absent query parameter with no default is NULL.
//! - `rows` (required): `one` (404 if there is none), `many` (a JSON array), `cursor` (a page: `items`, `nextCursor`,
//!   `hasNextPage`).
//! - `read`: `replica` (default) or `primary`. `replica; max_lag: 5s` prefers any other server to a replica further behind.
//! - `tags`: separated by spaces; `{name}` stands for a parameter or a column. Each row adds its own; a tag one of whose
//!   values is absent or NULL is left out.
//! - `cache`: the `Cache-Control` of a 200. Without it: `no-store`.
//! - `index`: names of indexes, separated by blanks; each must be used by the plan of at least one of the file's statements.
//!
//! **Parameters** are written `:name` and become `$n`: never spliced, and never looked for in strings, quoted names,
//! dollar quotes and comments (`catalogue/sql.rs`). An array slice needs a blank before its colon: `a[1 : n]`.
//!
//! **Columns.** `body` is the JSON of one row, of type `json` or `text`, and goes to the client as it is. Every other
//! column is the value of a tag or of the cursor; one that is neither is a fault.
//!
//! **Optional lines.** A line that ends in `-- when NAME` is part of the statement only if the query parameter NAME is given;
//! `-- when cursor` only on pages after the first. Each combination is a statement of its own with a plan of its own:
//! `:type IS NULL OR ...` would be one statement that no index serves.
//!
//! **Cursor pages** need `limit` (with a range and a default) and a `-- when cursor` line. `:after_COLUMN` is the value of
//! COLUMN in the last row of the page before. `:limit` is bound as one more than was asked for: the row too many says that
//! there is a next page. Plans are made before `:limit` is known, for a tenth of all rows. `:max_limit` stands for the end of
//! its range (and one more) as a constant: `LIMIT :max_limit` in a subquery has a plan made for few rows.
//!
//! Does not know servers: `catalogue/prepare.rs` holds what Postgres says about a statement against its header.
//! Read next: `catalogue/header.rs`, then `catalogue/sql.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;

use crate::faults::{Faults, Position};
use crate::params::Given;

mod header;
pub(crate) mod sql;
mod route;
pub(crate) mod tags;
pub(crate) mod prepare;
#[cfg(test)]
mod tests;

pub(crate) use route::{Route, Router};
pub(crate) use sql::{Bind, Variant};
pub(crate) use tags::{Piece, TagTemplate};

/// The files that ship, part of the program: it runs without a folder beside it.
const SHIPPED: [(&str, &str); 3] = [
    ("resource_summary.sql", include_str!("../queries/resource_summary.sql")),
    ("resources_page.sql", include_str!("../queries/resources_page.sql")),
    ("user_teams.sql", include_str!("../queries/user_teams.sql")),
];

/// No statement that a person writes comes near this.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// Each is prepared on every connection.
const MAX_ENDPOINTS: usize = 1024;

/// All endpoints. Never empty; no two answer the same request.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) router: Router,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    /// The file's name without `.sql`: in metrics and messages.
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) route: Route,
    pub(crate) summary: String,
    pub(crate) params: Vec<Param>,
    pub(crate) rows: Rows,
    pub(crate) read: Read,
    pub(crate) tags: Vec<TagTemplate>,
    pub(crate) cache: HeaderValue,
    pub(crate) indexes: Vec<(String, Position)>,
    /// The columns of the cursor, as `:after_COLUMN` names them, in order. Empty unless rows are `Cursor`.
    pub(crate) cursor_columns: Vec<String>,
    /// The conditions of `-- when` lines; bit n of a variant's mask is the nth.
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
    /// The name that Postgres itself uses: `int8`, not `bigint`.
    pub(crate) type_name: String,
    pub(crate) range: Option<(i64, i64)>,
    pub(crate) absent: Absent,
    pub(crate) position: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum In {
    Path,
    Query,
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
    /// With the index of the parameter `limit`.
    Cursor {
        limit: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    Primary,
    Replica { max_lag: Option<Duration> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The parameter with this index is given.
    Given(usize),
    /// The request has a cursor.
    Cursor,
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
        let unreadable = |e: std::io::Error| {
            Faults::of_file(directory, format!("cannot read the folder of query files: {e}"))
        };
        let mut faults = Faults::default();
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_none_or(|extension| extension != "sql") {
                continue;
            }
            match read(&path) {
                Ok(text) => files.push((path, text)),
                Err(message) => faults.push(&path, None, message),
            }
        }
        if files.is_empty() && faults.is_empty() {
            return Err(Faults::of_file(directory, "has no query file: each endpoint is one file NAME.sql"));
        }
        match Self::parse(files) {
            Ok(catalogue) => faults.or(catalogue),
            Err(others) => {
                faults.extend(others);
                Err(faults)
            }
        }
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
            match header::endpoint(&Source { path, text: text.into() }) {
                Ok(endpoint) => {
                    if let Err(other) = router.add(&endpoint.route, endpoints.len()) {
                        let other = endpoints.get(other).map(|other| other.source.path.display().to_string());
                        let message = format!("answers the same requests as {}", other.unwrap_or_default());
                        faults.push(&endpoint.source.path, Some(endpoint.route.position), message);
                    }
                    endpoints.push(Arc::new(endpoint));
                }
                Err(others) => faults.extend(others),
            }
        }
        faults.or(Self { endpoints, router })
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

    /// The parameter `limit` of a cursor page, and one more than the request asks for.
    pub(crate) fn limit_to_fetch(&self, given: &Given) -> Option<(usize, String)> {
        let (index, limit) = self.limit(given)?;
        Some((index, (limit + 1).to_string()))
    }

    /// The parameter `limit` of a cursor page, and what the request asks for.
    pub(crate) fn limit(&self, given: &Given) -> Option<(usize, usize)> {
        let Rows::Cursor { limit } = self.rows else { return None };
        Some((limit, given.values.get(limit)?.as_ref()?.parse().ok()?))
    }

    /// Such as ` with type, cursor`, for messages; empty for a statement without optional lines.
    pub(crate) fn describe_mask(&self, mask: usize) -> String {
        let names: Vec<&str> = (self.conditions.iter().enumerate())
            .filter(|(bit, _)| mask & (1 << bit) != 0)
            .map(|(_, condition)| match condition {
                Condition::Given(param) => self.params.get(*param).map_or("", |param| param.name.as_str()),
                Condition::Cursor => "cursor",
            })
            .collect();
        if names.is_empty() { String::new() } else { format!(" with {}", names.join(", ")) }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(format!("has {bytes} bytes; a query file has at most {MAX_FILE_BYTES}"));
    }
    fs::read_to_string(path).map_err(|e| format!("cannot be read: {e}"))
}
