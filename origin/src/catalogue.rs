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
//! - `route` (required): `GET`, `POST`, `PUT`, `PATCH` or `DELETE` and a path; `{name}` takes one segment. GET also answers HEAD.
//! - `summary`: one line for people.
//! - `param NAME: SOURCE TYPE [LOW..HIGH] [{A,B}] [required | = DEFAULT]`, one line each. The type is checked against the one
//!   Postgres infers. LOW..HIGH bounds whole numbers, the characters of a text, the elements of an array; `{A,B}` are the only
//!   values there are. Absent without default: NULL.
//!   - `path TYPE`: a variable of the route; always there.
//!   - `query TYPE`: of the query. `query TYPE[]`: separated by commas or repeated, bound as an array.
//!   - `body TYPE`: a member of the JSON object that is the body, in camelCase for a NAME in snake_case; not for GET. The type
//!     `json` takes any value. `:has_NAME` (bool) tells JSON's null from absence.
//!   - `body rows`: the body is an array of LOW..HIGH (1..5000) objects and bound as a whole, for `json_to_recordset(:NAME)`.
//! - `rows` (required): `one` (404 if there is none), `many` (a JSON array), `cursor` and `page` (see below), `exec` (none: 204).
//! - `read`: `replica` (default) or `primary`. `replica; max_lag: 5s` (or in bytes, `16MiB`) prefers any other server to a replica
//!   further behind. Writes run on the primary, whatever this says.
//! - `lane`: `fast` (default) shares its connections; `slow` has its own, and `rows: many` is streamed there.
//! - `body`: `json` (default): column `body` is the JSON of one row, of type `json` or `text`, and goes to the client as it is.
//!   `columns`: every column is a member, `public_id` as `publicId`, written by the worker, which is faster for lists. Columns
//!   `"creator.name"`, `"creator.handle"` make an object `creator`, null where all of them are.
//! - `fields`: `all` (default for reads) lets `?fields=a,b` select members of rows; `none` does not.
//! - `total` (for `rows: page`): `exact MAX` or `estimate`, what column `_total` is.
//! - `row NAME: TYPE [LOW..HIGH] [required]`, one line each: a member of each row of `body rows`, in camelCase. With such lines
//!   rows are checked before the database sees them, and unknown members are refused.
//! - `if_match: COLUMN [required]`: the row's version, which its ETag begins with; a whole number. In a write the lines
//!   `-- when if_match` are there if the request has an `If-Match`, and `:if_match` is the version that it names. `required`
//!   refuses requests without.
//! - `idempotency`: `none` (default), `optional` or `required`: whether a write takes an `Idempotency-Key`.
//! - `location: /things/{public_id}`: of what a POST made, from parameters and columns.
//! - `tags`: separated by spaces; `{name}` stands for a parameter or a column. Each row adds its own; a tag one of whose
//!   values is absent or NULL is left out.
//! - `cache`: the `Cache-Control` of a 200. Without it: `no-store`.
//! - `index`: names of indexes, separated by blanks; each must be used by the plan of at least one of the file's statements.
//! - `tables`: names of tables that tags need not cover, separated by blanks.
//!
//! **Parameters** are written `:name` and become `$n`: never spliced, and never looked for in strings, quoted names,
//! dollar quotes and comments (`catalogue/sql.rs`). An array slice needs a blank before its colon: `a[1 : n]`.
//!
//! **Columns** for tags, the cursor, the version and the location are found by their name, with or without a `_` in front: `{id}`
//! is column `id` or `_id`. With `body: columns` those with `_` are not part of the answer. One that serves nothing is a fault.
//!
//! **Optional lines.** A line that ends in `-- when NAME` is part of the statement only if the parameter NAME is given, one that
//! ends in `-- unless NAME` only if it is not. NAME can also be `cursor` (on pages after one), `before` (on pages before one) and
//! `if_match`. Each combination is a statement of its own with a plan of its own: `:type IS NULL OR ...` would be one
//! statement that no index serves.
//!
//! **Cursor pages** need `limit` (with a range and a default) and a `-- when cursor` line. `:after_COLUMN` is the value of
//! COLUMN in the last row of the page before. `:limit` is bound as one more than was asked for: the row too many says that
//! there is a next page. Plans are made before `:limit` is known, for a tenth of all rows. `:max_limit` stands for the end of
//! its range (and one more) as a constant: `LIMIT :max_limit` in a subquery has a plan made for few rows. Lines with
//! `-- when before` and `:before_COLUMN`, and an order turned round, make pages in the other direction; their rows are turned
//! round again. Answers: `items`, `nextCursor`, `hasNextPage`, and `previousCursor`, `hasPreviousPage` where there are such lines.
//!
//! **Offset pages** (`rows: page`) need `limit` and `page`, both with a range and a default, and use `:limit` (one more, too) and
//! `:offset`; `:max_limit` is the last row of the deepest page. Column `_total` is the number of all rows. A page without rows must still give one, with NULLs and `_total`:
//! `FROM (SELECT count(*) ...) t LEFT JOIN (...) p ON true`. With `total: exact MAX`, `:max_total` is a constant, one more than
//! MAX, to count no further. Answers: `items`, `page`, `limit`, `total`, `totalPages`, `totalIsExact`, `hasNextPage`.
//!
//! Does not know servers: `catalogue/prepare.rs` holds what Postgres says about a statement against its header.
//! Read next: `catalogue/header.rs`, `catalogue/assemble.rs`, then `catalogue/sql.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
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
pub(crate) mod prepare;
#[cfg(test)]
mod tests;

pub(crate) use route::{Found, Route, Router};
pub(crate) use sql::{Bind, Variant};
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
    /// Tables that no tag needs to cover.
    #[allow(dead_code, reason = "for the check of tags")]
    pub(crate) tables: Vec<(String, Position)>,
    pub(crate) tags: Vec<TagTemplate>,
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

    /// Such as ` with type, cursor`, for messages; empty for a statement without optional lines.
    pub(crate) fn describe_mask(&self, mask: usize) -> String {
        let names: Vec<&str> = (self.conditions.iter().enumerate())
            .filter(|(bit, _)| mask & (1 << bit) != 0)
            .map(|(_, condition)| match condition {
                Condition::Given(param) => self.params.get(*param).map_or("", |param| param.name.as_str()),
                Condition::Cursor => "cursor",
                Condition::Before => "before",
                Condition::IfMatch => "if_match",
            })
            .collect();
        if names.is_empty() { String::new() } else { format!(" with {}", names.join(", ")) }
    }
}
