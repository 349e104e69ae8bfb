//! What Postgres says about an endpoint's statements, held against its header.
//!
//! Done on each new connection: a server whose tables differ says so when it connects, not when a request comes.
//! Read next: `database/lane.rs`, which calls this; `plan.rs` for how the statements will run.

use std::sync::Arc;

use futures_util::future;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};
use tokio_postgres::types::{Kind, Type};
use tokio_postgres::{Client, Column, Statement};

use super::{Bind, Body, Endpoint, In, Param, Rows, TagTemplate, Variant};
use crate::error::is_fault_of_statement;
use crate::faults::{Faults, Position, suggestion};
use crate::params::camel_case;
use crate::{answer, cursor};

/// One variant on one connection.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) statement: Statement,
    pub(crate) layout: Layout,
}

/// Which column is what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) body: BodyColumns,
    pub(crate) cursor: Vec<usize>,
    pub(crate) cursor_types: Vec<Type>,
    /// `_total` of an offset page.
    pub(crate) total: Option<usize>,
    /// What the ETag begins with.
    pub(crate) version: Option<usize>,
}

/// Where the members of a row are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BodyColumns {
    /// In one column, as Postgres wrote them.
    Json(usize),
    /// In columns of their own.
    Columns(Arc<[Member]>),
    /// Nowhere: `rows: exec`.
    Nothing,
}

/// A member of a row that the worker writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// `"name":`
    pub(crate) key: String,
    pub(crate) value: MemberValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberValue {
    Column {
        column: usize,
        kind: Type,
    },
    /// Of the columns `object.member`; null if all of them are NULL.
    Object(Vec<Member>),
}

impl Member {
    fn new(name: &str, value: MemberValue) -> Self {
        let name = camel_case(name);
        Self { key: format!("{}:", serde_json::Value::from(name.as_str())), name, value }
    }

    /// Adds a column by its name to the members of a row.
    fn add(members: &mut Vec<Self>, name: &str, column: usize, kind: &Type) {
        let own = MemberValue::Column { column, kind: kind.clone() };
        let Some((object, inner)) = name.split_once('.') else {
            return members.push(Self::new(name, own));
        };
        let inner = Self::new(inner, own);
        let object = Self::new(object, MemberValue::Object(Vec::new()));
        match members.iter_mut().find(|member| member.name == object.name) {
            Some(Self { value: MemberValue::Object(known), .. }) => known.push(inner),
            // Two members of one name: JSON allows it, and nobody wants it. `prepare` says so.
            Some(_) | None => members.push(Self { value: MemberValue::Object(vec![inner]), ..object }),
        }
    }

    pub(crate) fn columns(&self) -> Vec<usize> {
        match &self.value {
            MemberValue::Column { column, .. } => vec![*column],
            MemberValue::Object(members) => members.iter().flat_map(Self::columns).collect(),
        }
    }
}

/// Why an endpoint is not prepared.
#[derive(Debug)]
pub(crate) enum NotPrepared {
    /// The file is wrong, or the server's tables are not those it was written for.
    Faults(Faults),
    Connection(tokio_postgres::Error),
    /// The endpoint has no such statement.
    NoSuch,
}

/// All variants of an endpoint: `result[mask]`.
pub(crate) async fn prepare(client: &Client, endpoint: &Endpoint) -> Result<Vec<Prepared>, NotPrepared> {
    let mut faults = Faults::default();
    let mut prepared = Vec::with_capacity(endpoint.variants.len());
    for mask in 0..endpoint.variants.len() {
        match variant(client, endpoint, mask, false).await {
            Ok(one) => prepared.push(one),
            Err(NotPrepared::Faults(others)) => faults.extend(others),
            Err(other) => return Err(other),
        }
    }
    faults.or(prepared).map_err(NotPrepared::Faults)
}

/// Behind a pooler that shares sessions (`is_pooled`), what is prepared is only described: the next statement may run in another
/// session, and this one must not be left with what others do not expect. All of it is sent at once.
pub(crate) async fn variant(
    client: &Client,
    endpoint: &Endpoint,
    mask: usize,
    is_pooled: bool,
) -> Result<Prepared, NotPrepared> {
    let variant = endpoint.variants.get(mask).ok_or(NotPrepared::NoSuch)?;
    let described = if is_pooled {
        let (began, described, forgotten, ended) = future::join4(
            client.batch_execute("BEGIN"),
            client.prepare(&variant.sql),
            client.batch_execute("DEALLOCATE ALL"),
            client.batch_execute("COMMIT"),
        )
        .await;
        match described {
            Ok(described) => began.and(forgotten).and(ended).map(|()| described),
            Err(e) => Err(e),
        }
    } else {
        client.prepare(&variant.sql).await
    };
    match described {
        Ok(statement) => {
            let layout = layout(endpoint, mask, variant, &statement).map_err(NotPrepared::Faults)?;
            Ok(Prepared { statement, layout })
        }
        Err(e) => Err(match refused(endpoint, variant, &e) {
            Some(faults) => NotPrepared::Faults(faults),
            None => NotPrepared::Connection(e),
        }),
    }
}

/// The server's own words, at the place in the file that it means. `None` if it is not about the statement.
pub(crate) fn refused(
    endpoint: &Endpoint,
    variant: &Variant,
    error: &tokio_postgres::Error,
) -> Option<Faults> {
    let refusal = error.as_db_error().filter(|refusal| is_fault_of_statement(refusal.code()))?;
    let text = &endpoint.source.text;
    let message = refusal.message();
    let (position, place) = match refusal.position() {
        Some(ErrorPosition::Original(nth)) => (Some(variant.position(text, *nth)), String::new()),
        // In the body of a function that the statement calls.
        Some(ErrorPosition::Internal { position, query }) => {
            let Position { line, column } = Position::of_character(query, *position);
            let what = refusal.where_().unwrap_or("a function that the statement calls");
            (None, format!(" (line {line}, column {column} of: {what})"))
        }
        // What is said of a parameter has no place, but the parameter has one.
        None => (numbers(message).find_map(|(_, number)| variant.place_of(text, number)), String::new()),
    };
    let hint = refusal.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let advice = missing_right(endpoint, refusal);
    let advice = match *refusal.code() {
        SqlState::INSUFFICIENT_PRIVILEGE => &*advice,
        SqlState::UNDEFINED_TABLE => "; `larder-origin migrate` makes the tables of the catalogue that ships",
        SqlState::INDETERMINATE_DATATYPE => "; say which, as in `:name::text`",
        _ => "",
    };
    let message = with_names(variant, text, message);
    let message = format!("{message}{place}{hint} [SQLSTATE {}]{advice}", refusal.code().code());
    let mut faults = Faults::default();
    faults.push(&endpoint.source.path, Some(position.unwrap_or_else(|| variant.position(text, 1))), message);
    endpoint.source.quote(&mut faults);
    Some(faults)
}

/// What the role of the connection lacks, as far as the server's words tell.
fn missing_right(endpoint: &Endpoint, refusal: &DbError) -> String {
    let Some((kind, name)) =
        refusal.message().strip_prefix("permission denied for ").and_then(|what| what.split_once(' '))
    else {
        return String::new();
    };
    let right = match (kind, endpoint.is_read()) {
        ("table" | "view", true) => "SELECT ON",
        ("table" | "view", false) => "SELECT, INSERT, UPDATE, DELETE ON",
        ("schema", _) => "USAGE ON SCHEMA",
        ("function", _) => "EXECUTE ON FUNCTION",
        ("sequence", _) => "USAGE ON SEQUENCE",
        _ => return "; the role of the connection lacks a right".to_owned(),
    };
    format!("; the role of the connection lacks a right: GRANT {right} {name} TO it")
}

/// Each `$n` in a message of the server, and where it is.
fn numbers(message: &str) -> impl Iterator<Item = (usize, usize)> {
    message.match_indices('$').filter_map(|(at, _)| {
        let digits = message.get(at + 1..)?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        Some((at, digits.get(..end)?.parse().ok()?))
    })
}

/// `:name` for `$1`, which the file does not have.
fn with_names(variant: &Variant, file_text: &str, message: &str) -> String {
    let mut text = String::new();
    let mut copied = 0;
    for (at, number) in numbers(message) {
        let Some(name) = variant.name_of(file_text, number) else { continue };
        text.push_str(message.get(copied..at).unwrap_or_default());
        text.push_str(name);
        copied = at + 1 + number.to_string().len();
    }
    text.push_str(message.get(copied..).unwrap_or_default());
    text
}

fn layout(
    endpoint: &Endpoint,
    mask: usize,
    variant: &Variant,
    statement: &Statement,
) -> Result<Layout, Faults> {
    let mut reader = Reader { endpoint, statement, faults: Faults::default() };
    let body = reader.body();
    for tag in &endpoint.tags {
        reader.template("tag", tag);
    }
    if let Some(location) = &endpoint.location {
        reader.template("location", location);
    }
    let version = endpoint.version.as_ref().and_then(|(name, position)| reader.version(name, *position));
    let cursor: Vec<usize> =
        endpoint.cursor_columns.iter().filter_map(|name| reader.cursor_column(name)).collect();
    let cursor_types: Vec<Type> = cursor.iter().map(|index| reader.type_at(*index).clone()).collect();
    let total = reader.total();
    reader.unused();
    reader.binds(mask, variant, &cursor_types);
    if matches!(endpoint.rows, Rows::Cursor { .. }) && endpoint.cursor_columns.is_empty() {
        reader.fault("`rows: cursor` needs `:after_COLUMN` for each column of its order");
    }
    endpoint.source.quote(&mut reader.faults);
    match body {
        Some(body) => reader.faults.or(Layout { body, cursor, cursor_types, total, version }),
        None => Err(reader.faults),
    }
}

/// One statement held against its endpoint.
struct Reader<'e> {
    endpoint: &'e Endpoint,
    statement: &'e Statement,
    faults: Faults,
}

/// A column by the name that tags, cursors and the like use: with or without a `_` in front.
pub(crate) fn find(columns: &[Column], name: &str) -> Option<usize> {
    let exact = columns.iter().position(|column| column.name() == name);
    exact.or_else(|| columns.iter().position(|column| column.name().strip_prefix('_') == Some(name)))
}

impl<'e> Reader<'e> {
    fn fault(&mut self, message: impl Into<String>) {
        self.faults.push(&self.endpoint.source.path, Some(self.endpoint.route.position), message);
    }

    fn fault_at(&mut self, position: Position, message: String) {
        self.faults.push(&self.endpoint.source.path, Some(position), message);
    }

    fn columns(&self) -> &'e [Column] {
        self.statement.columns()
    }

    fn type_at(&self, index: usize) -> &'e Type {
        self.columns().get(index).map_or(&Type::UNKNOWN, Column::type_)
    }

    fn body(&mut self) -> Option<BodyColumns> {
        if self.endpoint.rows == Rows::Exec {
            return Some(BodyColumns::Nothing);
        }
        if self.endpoint.body == Body::Columns {
            let mut members = Vec::new();
            for (index, column) in self.columns().iter().enumerate() {
                let (name, kind) = (column.name(), column.type_());
                if name.starts_with('_') {
                    continue;
                }
                if !answer::can_write(kind) {
                    let message = format!(
                        "column `{name}` is {kind}, which `body: columns` cannot write; cast it to text"
                    );
                    self.fault(message);
                }
                Member::add(&mut members, name, index, kind);
            }
            for (index, member) in members.iter().enumerate() {
                if members.iter().skip(index + 1).any(|other| other.name == member.name) {
                    self.fault(format!("two columns are called `{}`", member.name));
                }
            }
            if members.is_empty() {
                self.fault("the statement has no column for a member of its rows");
                return None;
            }
            return Some(BodyColumns::Columns(members.into()));
        }
        let body = self.columns().iter().position(|column| column.name() == "body");
        match body.map(|index| self.type_at(index)) {
            Some(&(Type::JSON | Type::TEXT | Type::VARCHAR)) => (),
            Some(other) => {
                self.fault(format!("column `body` is {other}; make it json, for example with `::json`"));
            }
            None => self.fault("the statement has no column `body`, the JSON of a row"),
        }
        body.map(BodyColumns::Json)
    }

    fn template(&mut self, what: &str, template: &TagTemplate) {
        for name in template.values().filter(|name| !self.endpoint.is_param(name)) {
            match find(self.columns(), name).map(|index| self.type_at(index)) {
                Some(kind) if is_tag_type(kind) => (),
                Some(kind) if what == "tag" && is_array_of_tags(kind) => {
                    // One tag for each element, not for each pair of them.
                    if template.values().count() > 1 {
                        let message = format!(
                            "`{{{name}}}` is an array, which is the only value of its tag: there is one for each element"
                        );
                        self.fault_at(template.position, message);
                    }
                }
                Some(other) => {
                    let message = format!(
                        "`{{{name}}}` is {other}; a {what} is made of text, whole numbers, UUIDs or booleans"
                    );
                    self.fault_at(template.position, message);
                }
                None => {
                    let names = self.columns().iter().map(Column::name);
                    let params = self.endpoint.params.iter().map(|param| param.name.as_str());
                    let suggestion = suggestion(name, names.chain(params));
                    let message = format!("`{{{name}}}` is neither a parameter nor a column{suggestion}");
                    self.fault_at(template.position, message);
                }
            }
        }
    }

    fn version(&mut self, name: &str, position: Position) -> Option<usize> {
        // A write that gives no row has no ETag.
        if self.endpoint.rows == Rows::Exec {
            return None;
        }
        let index = find(self.columns(), name);
        match index.map(|index| self.type_at(index)) {
            Some(kind) if is_tag_type(kind) => (),
            Some(other) => {
                self.fault_at(
                    position,
                    format!("`{name}` is {other}; a version is a whole number or a text"),
                );
            }
            None => self.fault_at(position, format!("the statement has no column `{name}` or `_{name}`")),
        }
        index
    }

    fn cursor_column(&mut self, name: &str) -> Option<usize> {
        let index = find(self.columns(), name);
        match index.map(|index| self.type_at(index)) {
            Some(kind) if cursor::value_length(kind).is_some() => (),
            Some(kind) => self.fault(format!("cursor column `{name}` is {kind}, which a cursor cannot hold")),
            None => self.fault(format!("`:after_{name}` needs a column `{name}` or `_{name}` in the result")),
        }
        index
    }

    fn total(&mut self) -> Option<usize> {
        let Rows::Page { .. } = self.endpoint.rows else { return None };
        let index = self.columns().iter().position(|column| column.name() == "_total");
        match index.map(|index| self.type_at(index)) {
            Some(&Type::INT8) => (),
            Some(other) => self.fault(format!("column `_total` is {other}, not int8")),
            None => self.fault("`rows: page` needs a column `_total`, the number of all rows"),
        }
        index
    }

    fn unused(&mut self) {
        let endpoint = self.endpoint;
        for column in self.columns() {
            let name = column.name();
            let is_member = match endpoint.body {
                Body::Json => name == "body",
                Body::Columns => !name.starts_with('_'),
            };
            let bare = name.strip_prefix('_').unwrap_or(name);
            let is_it = |other: &str| other == name || other == bare;
            let is_used = is_member
                || endpoint.cursor_columns.iter().any(|name| is_it(name))
                || endpoint.tags.iter().chain(&endpoint.location).any(|tag| tag.values().any(is_it))
                || endpoint.version.as_ref().is_some_and(|(name, _)| is_it(name))
                || (name == "_total" && matches!(endpoint.rows, Rows::Page { .. }));
            if !is_used {
                let but = if endpoint.body == Body::Json { "neither `body` nor" } else { "not" };
                self.fault(format!("column `{name}` is {but} the value of a tag or the cursor"));
            }
        }
    }

    fn binds(&mut self, mask: usize, variant: &Variant, cursor_types: &[Type]) {
        let endpoint = self.endpoint;
        for (bind, inferred) in variant.binds.iter().zip(self.statement.params()) {
            let (what, wanted) = match *bind {
                Bind::Param(index) => {
                    let Some(param) = endpoint.params.get(index) else { continue };
                    if !is_type_of(param, inferred) {
                        let message = format!(
                            "param `{}` is declared {}{}, but Postgres takes it for {}{}",
                            param.name,
                            param.type_name,
                            if param.is_array { "[]" } else { "" },
                            inferred.name(),
                            endpoint.describe_mask(mask)
                        );
                        self.fault_at(param.position, message);
                    }
                    continue;
                }
                Bind::After(index) | Bind::Before(index) => {
                    let (name, column) = (endpoint.cursor_columns.get(index), cursor_types.get(index));
                    let word = if matches!(bind, Bind::After(_)) { "after" } else { "before" };
                    if let (Some(name), Some(column)) = (name, column)
                        && column != inferred
                    {
                        let message = format!(
                            "column `{name}` is {column}, but Postgres takes `:{word}_{name}` for {inferred}"
                        );
                        self.fault(message);
                    }
                    continue;
                }
                Bind::Has(index) => {
                    let name = endpoint.params.get(index).map_or("", |param| param.name.as_str());
                    (format!("has_{name}"), Type::BOOL)
                }
                Bind::Offset => ("offset".to_owned(), Type::INT8),
                // Bound as text, whatever it is.
                Bind::IfMatch => continue,
            };
            if *inferred != wanted {
                self.fault(format!("`:{what}` is {wanted}, but Postgres takes it for {inferred}"));
            }
        }
    }
}

fn is_type_of(param: &Param, inferred: &Type) -> bool {
    let inferred = inferred.name();
    match (param.from, param.is_array) {
        (In::Rows, _) => matches!(inferred, "json" | "jsonb"),
        (_, true) => inferred.strip_prefix('_') == Some(&param.type_name),
        // Any JSON is either.
        (In::Body, false) if param.type_name == "json" => matches!(inferred, "json" | "jsonb"),
        (_, false) => inferred == param.type_name,
    }
}

fn is_array_of_tags(kind: &Type) -> bool {
    matches!(kind.kind(), Kind::Array(element) if is_tag_type(element))
}

/// Whether its values are the same text wherever they are written.
pub(crate) fn is_tag_type(kind: &Type) -> bool {
    matches!(
        *kind,
        Type::TEXT | Type::VARCHAR | Type::INT2 | Type::INT4 | Type::INT8 | Type::UUID | Type::BOOL
    )
}
