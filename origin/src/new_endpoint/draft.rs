//! The text of a file: header and statement for what a route asks of its table.
//!
//! Types of parameters are those that Postgres infers, so they are put in after it was asked: `Draft::declare`.
//! Read next: `docs/queries.md`, which says what all of it means.

use std::fmt::Write as _;

use tokio_postgres::types::{Kind, Type};

use super::select::{Selected, another};
use super::shape::{self, Filter, Order, Through};
use super::table::{Column, Index, Table};
use super::tags::{self, Tags};
use super::words::slug;
use crate::catalogue::Route;
use crate::catalogue::prepare::is_tag_type;
use crate::catalogue::sql::is_name;

/// What has a meaning of its own in a file (`catalogue/header/param.rs`).
const RESERVED: [&str; 8] =
    ["cursor", "before", "fields", "offset", "max_limit", "max_total", "if_match", "unless"];

/// A query file that is being written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// `key: value`, in order.
    header: Vec<(&'static str, String)>,
    params: Vec<Param>,
    /// The lines `table NAME: ...`, below `tags`.
    tables: Vec<(String, String)>,
    /// Below the header, for the person who goes on.
    notes: Vec<String>,
    sql: String,
}

#[derive(Debug)]
struct Param {
    name: String,
    from: &'static str,
    type_name: String,
    /// Range, `required`, default.
    more: &'static str,
}

impl Draft {
    fn new(route: &Route, summary: String) -> Self {
        let header = vec![("route", format!("{} {}", route.method, route.path)), ("summary", summary)];
        Self { header, ..Self::default() }
    }

    fn put(&mut self, key: &'static str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.header.push((key, value));
        }
    }

    fn param(&mut self, name: &str, from: &'static str, kind: &Type, more: &'static str) {
        let mut param = Param { name: name.to_owned(), from, type_name: String::new(), more };
        param.declare(kind);
        self.params.push(param);
    }

    fn path_params(&mut self, filters: &[Filter<'_>]) {
        for filter in filters {
            let column = filter.through.map_or(filter.column, |through| through.column);
            self.param(filter.param, "path", column.kind(), "");
        }
    }

    fn tags(&mut self, tags: Tags) {
        self.put("tags", tags.line);
        self.tables = tags.tables;
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The type that Postgres takes a parameter for.
    pub(super) fn declare(&mut self, name: &str, kind: &Type) {
        if let Some(param) = self.params.iter_mut().find(|param| param.name == name) {
            param.declare(kind);
        }
    }

    pub(super) fn rename_index(&mut self, index: &str, other: &str) {
        if let Some((_, names)) = self.header.iter_mut().find(|(key, _)| *key == "index") {
            let renamed = names.split(' ').map(|name| if name == index { other } else { name });
            *names = renamed.collect::<Vec<_>>().join(" ");
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for (key, value) in &self.header {
            let _ = writeln!(text, "-- {key}: {value}");
            if *key == "tags" {
                for (name, templates) in &self.tables {
                    let _ = writeln!(text, "-- table {name}: {templates}");
                }
            }
            if *key == "summary" {
                for Param { name, from, type_name, more } in &self.params {
                    let _ = writeln!(text, "-- param {name}: {from} {type_name}{more}");
                }
            }
        }
        text.push('\n');
        for note in &self.notes {
            let _ = writeln!(text, "-- {}", note.replace(['\n', '\r'], " "));
        }
        text + &self.sql + "\n"
    }
}

impl Param {
    fn declare(&mut self, kind: &Type) {
        self.type_name = match (kind.kind(), self.from) {
            (Kind::Array(element), _) => format!("{}[]", element.name()),
            // Any JSON is either.
            (_, "body") if matches!(*kind, Type::JSON | Type::JSONB) => "json".to_owned(),
            _ => kind.name().to_owned(),
        };
    }
}

fn words(name: &str) -> String {
    slug(name).replace('_', " ")
}

fn one_word(table: &Table) -> String {
    shape::one(&table.name).replace('_', " ")
}

/// Such as ` of one team`.
fn of(filters: &[Filter<'_>]) -> String {
    let word = |filter: &Filter<'_>| match filter.of {
        Some(word) => format!("one {}", shape::one(word).replace('_', " ")),
        None => format!("one {}", words(&filter.column.name)),
    };
    let words: Vec<String> = filters.iter().map(word).collect();
    if words.is_empty() { String::new() } else { format!(" of {}", words.join(" and ")) }
}

const EVERY_COLUMN: &str =
    "Every column is here: leave out what not everyone may see. Lifetimes and tags are for you to judge.";

/// One row.
pub(super) fn one(route: &Route, table: &Table, filters: &[Filter<'_>], index: &Index) -> Draft {
    let mut selected = Selected::new(table, filters, &[]);
    let mut draft = Draft::new(route, format!("One {}", one_word(table)));
    draft.path_params(filters);
    draft.put("rows", "one");
    draft.put("body", "columns");
    if selected.version().is_some() {
        draft.put("if_match", "version");
    }
    draft.put("read", "replica; max_lag: 5s");
    draft.tags(tags::of_row(&mut selected));
    draft.put("cache", "max-age=5, s-maxage=60");
    draft.put("index", selected.indexes(Some(index)));
    draft.note(EVERY_COLUMN);
    draft.sql = format!(
        "SELECT {}\nFROM {} {}\nWHERE {}",
        selected.list(7),
        table.sql,
        selected.alias,
        selected.conditions().join("\n  AND ")
    );
    draft
}

/// Pages in both directions.
pub(super) fn page(route: &Route, table: &Table, filters: &[Filter<'_>], order: &Order<'_>) -> Draft {
    let mut selected = Selected::new(table, filters, &order.columns);
    let how = if order.is_descending {
        "newest first".to_owned()
    } else {
        format!("by {}", shape::names(&order.columns))
    };
    let title = words(&table.name);
    let mut letters = title.chars();
    let title: String = letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect();
    let mut draft = Draft::new(route, format!("{title}{}, {how}, in pages", of(filters)));
    draft.path_params(filters);
    draft.param("limit", "query", &Type::INT8, " 1..100 = 20");
    draft.put("rows", "cursor");
    draft.put("body", "columns");
    draft.put("read", "replica; max_lag: 5s");
    draft.tags(tags::of_page(&mut selected));
    draft.put("cache", "max-age=5, s-maxage=60");
    draft.put("index", selected.indexes(Some(order.index)));
    draft.note(EVERY_COLUMN);
    if let Some(partial) = order.partial {
        let condition = partial.predicate.as_deref().unwrap_or_default();
        draft.note(format!(
            "With the condition {condition} the index {} would give them newest first.",
            partial.name
        ));
    }
    let names: Vec<String> = order.columns.iter().map(|column| selected.name_of(column)).collect();
    let alias = &selected.alias;
    let columns: Vec<String> = order.columns.iter().map(|column| selected.sql(column)).collect();
    let row = |values: &[String]| match values {
        [only] => only.clone(),
        values => format!("({})", values.join(", ")),
    };
    let cursor = |word: &str| row(&names.iter().map(|name| format!(":{word}_{name}")).collect::<Vec<_>>());
    let by = |is_descending: bool| {
        let down = if is_descending { " DESC" } else { "" };
        let columns: Vec<String> = columns.iter().map(|column| format!("{column}{down}")).collect();
        format!("ORDER BY {}", columns.join(", "))
    };
    let (forth, back) = if order.is_descending { ("<", ">") } else { (">", "<") };
    let left = row(&columns);
    let mut conditions = selected.conditions();
    let first = if conditions.is_empty() { "true".to_owned() } else { conditions.remove(0) };
    let also: String = conditions.iter().map(|condition| format!("      AND {condition}\n")).collect();
    let inner = aligned(&[
        (format!("      AND {left} {forth} {}", cursor("after")), "when cursor"),
        (format!("      AND {left} {back} {}", cursor("before")), "when before"),
        (format!("    {}", by(order.is_descending)), "unless before"),
        (format!("    {}", by(!order.is_descending)), "when before"),
    ]);
    let outer =
        aligned(&[(by(order.is_descending), "unless before"), (by(!order.is_descending), "when before")]);
    draft.sql = format!(
        "SELECT {}\nFROM (\n    SELECT *\n    FROM {} {alias}\n    WHERE {first}\n{also}{inner}    LIMIT :max_limit) {alias}\n{outer}LIMIT :limit",
        selected.list(7),
        table.sql
    );
    draft
}

/// Lines with what they depend on, one below the other.
fn aligned(lines: &[(String, &str)]) -> String {
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
    lines.iter().map(|(line, when)| format!("{line:width$} -- {when}\n")).collect()
}

/// The name of a member of the body for a column.
fn body_name(column: &Column, table: &Table, filters: &[Filter<'_>], known: &[String]) -> String {
    let is_taken = |name: &str| {
        RESERVED.contains(&name)
            || name.starts_with("after_")
            || name.starts_with("before_")
            || filters.iter().any(|filter| filter.param == name)
            || known.iter().any(|known| known == name)
    };
    let own = slug(&column.name);
    let long = format!("{}_{own}", shape::one(&table.name));
    another(if is_taken(&own) && is_name(&long) { &long } else { &own }, is_taken)
}

/// A new row: what has no default comes from the body.
pub(super) fn insert(route: &Route, table: &Table, filters: &[Filter<'_>]) -> Draft {
    let mut selected = Selected::new(table, filters, &[]);
    let mut draft = Draft::new(route, format!("Makes one {}", one_word(table)));
    draft.path_params(filters);
    let is_fixed = |column: &Column| filters.iter().any(|filter| filter.column.name == column.name);
    let mut columns: Vec<String> = filters.iter().map(|filter| filter.column.sql.clone()).collect();
    let mut values: Vec<String> = filters
        .iter()
        .map(|filter| match filter.through {
            None => format!(":{}", filter.param),
            Some(through) => format!("{}.{}", selected.other_alias(through.table), through.key.sql),
        })
        .collect();
    let mut known = Vec::new();
    for column in
        table.columns.iter().filter(|column| !column.has_default && !column.is_made && !is_fixed(column))
    {
        let name = body_name(column, table, filters, &known);
        draft.param(&name, "body", column.kind(), if column.is_not_null { " required" } else { "" });
        columns.push(column.sql.clone());
        values.push(format!(":{name}"));
        known.push(name);
    }
    draft.put("rows", "one");
    draft.put("body", "columns");
    let key = table.primary_key().filter(|key| key.iter().all(|column| is_tag_type(column.kind())));
    if let Some(key) = key {
        let mut location = route.path.clone();
        for column in key.iter().filter(|column| !is_fixed(column)) {
            let _ = write!(location, "/{{{}}}", selected.name_of(column));
        }
        draft.put("location", location);
    }
    if selected.version().is_some() {
        draft.put("if_match", "version");
    }
    if table.has_idempotency {
        draft.put("idempotency", "optional");
    }
    let by_default: Vec<&Column> = table
        .columns
        .iter()
        .filter(|column| column.has_default && !column.is_made && !is_fixed(column))
        .collect();
    if !by_default.is_empty() {
        draft.note(format!("Left to their defaults: {}.", shape::names(&by_default)));
    }
    let from: Vec<(&Filter<'_>, Through<'_>)> =
        filters.iter().filter_map(|filter| Some((filter, filter.through?))).collect();
    let values = match (from.as_slice(), values.as_slice()) {
        ([], []) => "DEFAULT VALUES".to_owned(),
        ([], values) => format!("VALUES ({})", values.join(", ")),
        (from, values) => {
            let tables: Vec<String> = (from.iter())
                .map(|(_, through)| format!("{} {}", through.table.sql, selected.other_alias(through.table)))
                .collect();
            let conditions: Vec<String> = (from.iter())
                .map(|(filter, through)| {
                    let alias = selected.other_alias(through.table);
                    format!("{alias}.{} = :{}", through.column.sql, filter.param)
                })
                .collect();
            format!(
                "SELECT {}\nFROM {}\nWHERE {}",
                values.join(", "),
                tables.join(", "),
                conditions.join("\n  AND ")
            )
        }
    };
    let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
    draft.sql = format!(
        "INSERT INTO {} AS {}{columns}\n{values}\nRETURNING {}",
        table.sql,
        selected.alias,
        selected.list(10)
    );
    draft
}

/// The members that the body has; `None` if there is nothing that could be changed.
pub(super) fn update(route: &Route, table: &Table, filters: &[Filter<'_>]) -> Option<Draft> {
    let selected = Selected::new(table, filters, &[]);
    let summary = format!("Changes the members of one {} that the body has", one_word(table));
    let mut draft = Draft::new(route, summary);
    draft.path_params(filters);
    let key = table.primary_key().unwrap_or_default();
    let version = selected.version();
    let is_ours = |column: &Column| {
        version.is_some_and(|version| version.name == column.name)
            || key.iter().any(|own| own.name == column.name)
            || filters.iter().any(|filter| filter.column.name == column.name)
            || ["created_at", "updated_at"].contains(&column.name.as_str())
            || column.is_made
    };
    let mut known = Vec::new();
    let mut changes = Vec::new();
    for column in table.columns.iter().filter(|column| !is_ours(column)) {
        let name = body_name(column, table, filters, &known);
        draft.param(&name, "body", column.kind(), "");
        changes.push(format!(
            "{} = CASE WHEN :has_{name} THEN :{name} ELSE {} END",
            column.sql,
            selected.sql(column)
        ));
        known.push(name);
    }
    if changes.is_empty() {
        return None;
    }
    if let Some(column) = table.column("updated_at").filter(|column| *column.kind() == Type::TIMESTAMPTZ) {
        changes.push(format!("{} = now()", column.sql));
    }
    changes.extend(version.map(|version| format!("{} = {} + 1", version.sql, selected.sql(version))));
    draft.put("rows", "one");
    draft.put("body", "columns");
    let conditions = conditions_with_version(&mut draft, &selected, version);
    if table.has_idempotency {
        draft.put("idempotency", "optional");
    }
    draft.note("Leave out what nobody may change.");
    draft.sql = format!(
        "UPDATE {} {}\nSET {}\nWHERE {conditions}RETURNING {}",
        table.sql,
        selected.alias,
        changes.join(",\n    "),
        selected.list(10)
    );
    Some(draft)
}

pub(super) fn delete(route: &Route, table: &Table, filters: &[Filter<'_>]) -> Draft {
    let selected = Selected::new(table, filters, &[]);
    let mut draft = Draft::new(route, format!("Deletes one {}", one_word(table)));
    draft.path_params(filters);
    draft.put("rows", "exec");
    let conditions = conditions_with_version(&mut draft, &selected, selected.version());
    draft.sql =
        format!("DELETE FROM {} {}\nWHERE {}", table.sql, selected.alias, conditions.trim_end_matches('\n'));
    draft
}

/// Lines, the last one for a request that names the version.
fn conditions_with_version(draft: &mut Draft, selected: &Selected<'_>, version: Option<&Column>) -> String {
    let mut conditions = selected.conditions().join("\n  AND ") + "\n";
    if let Some(version) = version {
        draft.put("if_match", "version");
        let _ = writeln!(conditions, "  AND {} = :if_match -- when if_match", selected.sql(version));
    }
    conditions
}
