//! The text of a file: header and statement for what a route asks of its table.
//!
//! Types of parameters are those that Postgres infers, so they are put in after it was asked: `Draft::declare`.
//! Read next: `docs/queries.md`, which says what all of it means.

use std::fmt::Write as _;

use super::shape::{self, Filter, Order, Through};
use super::table::{Column, Index, Table};
use super::words::slug;
use crate::answer;
use crate::catalogue::Route;
use crate::catalogue::prepare::is_tag_type;
use crate::catalogue::sql::is_name;
use crate::params::camel_case;
use tokio_postgres::types::{Kind, Type};

/// What has a meaning of its own in a file (`catalogue/header/param.rs`).
const RESERVED: [&str; 8] =
    ["cursor", "before", "fields", "offset", "max_limit", "max_total", "if_match", "unless"];

/// Of a name that `before_` can stand in front of.
const MAX_PLAIN_BYTES: usize = 55;
/// A query file that is being written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// `key: value`, in order.
    header: Vec<(&'static str, String)>,
    params: Vec<Param>,
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

/// What a statement gives of its table, and what the names of that are.
struct Selected<'t> {
    table: &'t Table,
    alias: String,
    /// With the column that it is, so far as it is one.
    members: Vec<(&'t Column, String, String)>,
    /// For tags, cursors and the like alone: expression and name.
    hidden: Vec<(&'t Column, String)>,
    filters: &'t [Filter<'t>],
}

impl<'t> Selected<'t> {
    fn new(table: &'t Table, filters: &'t [Filter<'t>], ordered: &[&Column]) -> Self {
        let alias = slug(&table.name).chars().next().unwrap_or('t').to_string();
        let mut selected = Self { table, alias, members: Vec::new(), hidden: Vec::new(), filters };
        for column in &table.columns {
            // Comparisons take it for a text, and so must the cursor.
            let is_cursor =
                ordered.iter().any(|own| own.name == column.name) && *column.kind() == Type::VARCHAR;
            let is_cast = is_cursor || !answer::can_write(column.kind());
            let sql = selected.sql(column);
            let sql = if is_cast { format!("{sql}::text") } else { sql };
            let plain = column.name.trim_start_matches('_').replace('.', "_");
            let is_taken = |name: &str| {
                selected.members.iter().any(|(_, _, known)| camel_case(known) == camel_case(name))
            };
            let name = another(if camel_case(&plain).is_empty() { "column" } else { &plain }, is_taken);
            selected.members.push((column, sql, name));
        }
        selected
    }

    fn sql(&self, column: &Column) -> String {
        format!("{}.{}", self.alias, column.sql)
    }

    /// The name by which the header has a column. One of a parameter is a parameter there, so that it is not the column's.
    fn name_of(&mut self, column: &'t Column) -> String {
        let is_other = |name: &str| {
            self.filters.iter().any(|filter| {
                filter.param == name && (filter.through.is_some() || filter.column.name != column.name)
            })
        };
        let member = self.members.iter().find(|(own, _, _)| own.name == column.name);
        let hidden = self.hidden.iter().find(|(own, _)| own.name == column.name);
        if let Some((_, name)) = hidden {
            return name.clone();
        }
        if let Some((_, _, name)) = member
            && is_name(name)
            && name.len() <= MAX_PLAIN_BYTES
            && !is_other(name)
        {
            return name.clone();
        }
        let is_taken = |name: &str| is_other(name) || self.members.iter().any(|(_, _, known)| known == name);
        let own = slug(&column.name);
        let long = format!("{}_{own}", shape::one(&self.table.name));
        let name = if is_taken(&own) && is_name(&long) { long } else { own };
        let name = another(&name, is_taken);
        self.hidden.push((column, name.clone()));
        name
    }

    fn list(&self, indent: usize) -> String {
        let members = self.members.iter().map(|(column, sql, name)| {
            // Postgres would call it the same.
            let is_own = *name == column.name && !sql.ends_with("::text");
            if is_own { sql.clone() } else { format!("{sql} AS {}", label(name)) }
        });
        let hidden = self.hidden.iter().map(|(column, name)| format!("{} AS _{name}", self.sql(column)));
        let all: Vec<String> = members.chain(hidden).collect();
        all.join(&format!(",\n{:indent$}", ""))
    }

    /// `run:{id}`, if the columns are such that a tag can have them.
    fn tag(&mut self, columns: &[&'t Column]) -> Option<String> {
        if columns.is_empty() || columns.iter().any(|column| !is_tag_type(column.kind())) {
            return None;
        }
        let mut tag = shape::one(&self.table.name);
        for column in columns {
            let name = self.name_of(column);
            let _ = write!(tag, ":{{{name}}}");
        }
        Some(tag)
    }

    /// Of one row: by its primary key, and by what the route names it.
    fn row_tags(&mut self) -> String {
        let fixed: Vec<&Column> = self
            .filters
            .iter()
            .filter(|filter| filter.through.is_none())
            .map(|filter| filter.column)
            .collect();
        let table = self.table;
        let by_key = table.primary_key().and_then(|key| self.tag(&key));
        let is_key = table.keys().any(|(_, key)| {
            key.len() == fixed.len()
                && key.iter().all(|own| fixed.iter().any(|column| column.name == own.name))
        });
        let by_route = if is_key { self.tag(&fixed) } else { None };
        let by_route = by_route.filter(|tag| Some(tag) != by_key.as_ref());
        let tags: Vec<String> = by_key.into_iter().chain(by_route).collect();
        if tags.is_empty() { slug(&table.name) } else { tags.join(" ") }
    }

    /// Conditions that the variables of the route are.
    fn conditions(&self) -> Vec<String> {
        let one = |filter: &Filter<'_>| match filter.through {
            None => format!("{} = :{}", self.sql(filter.column), filter.param),
            Some(Through { table, column, key, .. }) => {
                let alias = self.other_alias(table);
                format!(
                    "{} = (SELECT {alias}.{} FROM {} {alias} WHERE {alias}.{} = :{})",
                    self.sql(filter.column),
                    key.sql,
                    table.sql,
                    column.sql,
                    filter.param
                )
            }
        };
        self.filters.iter().map(one).collect()
    }

    fn other_alias(&self, table: &Table) -> String {
        let alias = slug(&table.name).chars().next().unwrap_or('p').to_string();
        if alias == self.alias { "parent".to_owned() } else { alias }
    }

    fn version(&self) -> Option<&'t Column> {
        let is_whole = |column: &&Column| matches!(*column.kind(), Type::INT2 | Type::INT4 | Type::INT8);
        self.table.column("version").filter(is_whole).filter(|column| column.is_not_null)
    }

    fn path_params(&self, draft: &mut Draft) {
        for filter in self.filters {
            let column = filter.through.map_or(filter.column, |through| through.column);
            draft.param(filter.param, "path", column.kind(), "");
        }
    }

    /// The `index` line: plans name the indexes of parts, and `check` knows those that are found without a schema.
    fn indexes(&self, own: Option<&Index>) -> String {
        let is_known = |table: &Table, index: &Index| {
            table.is_visible
                && !table.has_parts
                && !index.name.is_empty()
                && !index.name.contains(char::is_whitespace)
        };
        let own = own.filter(|index| is_known(self.table, index));
        let others = self.filters.iter().filter_map(|filter| filter.through);
        let others =
            others.filter(|through| is_known(through.table, through.index)).map(|through| through.index);
        let names: Vec<&str> = others.chain(own).map(|index| index.name.as_str()).collect();
        names.join(" ")
    }
}

/// The name, or that with a number, so that it is not one that there is.
fn another(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = |number: usize| if number == 1 { name.to_owned() } else { format!("{name}_{number}") };
    // There are not as many columns.
    (1..5000).map(numbered).find(|name| !is_taken(name)).unwrap_or_default()
}

fn label(name: &str) -> String {
    if is_name(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
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
    selected.path_params(&mut draft);
    draft.put("rows", "one");
    draft.put("body", "columns");
    if selected.version().is_some() {
        draft.put("if_match", "version");
    }
    draft.put("read", "replica; max_lag: 5s");
    draft.put("tags", selected.row_tags());
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
    selected.path_params(&mut draft);
    draft.param("limit", "query", &Type::INT8, " 1..100 = 20");
    draft.put("rows", "cursor");
    draft.put("body", "columns");
    draft.put("read", "replica; max_lag: 5s");
    let list = list_tag(table, filters);
    let row = table.primary_key().and_then(|key| selected.tag(&key));
    draft.put("tags", [Some(list), row].into_iter().flatten().collect::<Vec<_>>().join(" "));
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

/// What rows that are added to a list are found by.
fn list_tag(table: &Table, filters: &[Filter<'_>]) -> String {
    let mut tag = String::new();
    for filter in filters {
        let of = filter.of.map_or_else(|| slug(&filter.column.name), shape::one);
        let _ = write!(tag, "{of}:{{{}}}:", filter.param);
    }
    tag + &slug(&table.name)
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
    selected.path_params(&mut draft);
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
    let mut selected = Selected::new(table, filters, &[]);
    let summary = format!("Changes the members of one {} that the body has", one_word(table));
    let mut draft = Draft::new(route, summary);
    selected.path_params(&mut draft);
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
    selected.hidden.clear();
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
    selected.path_params(&mut draft);
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
