//! The tags of an answer, and which of them a changed row has.
//!
//! Read next: `catalogue/tables.rs` for what `table` lines mean.

use std::fmt::Write as _;

use tokio_postgres::types::{Kind, Type};

use super::select::Selected;
use super::shape::{self, Filter};
use super::table::{Column, Table};
use super::words::slug;
use crate::catalogue::prepare::is_tag_type;
use crate::catalogue::tables::{is_column, is_table, table_name};

#[derive(Debug, Default)]
pub(super) struct Tags {
    /// The value of `tags`.
    pub(super) line: String,
    /// Names of tables, and the tags that a changed row of each has.
    pub(super) tables: Vec<(String, String)>,
}

/// A tag, and what a row of a table makes it of. `None`: a header cannot have the name of a column.
type Tag<'t> = (String, Vec<(&'t Table, Option<String>)>);

/// Of one row: by its primary key, by what the route names it, and by what it is looked up through.
pub(super) fn of_row(selected: &mut Selected<'_>) -> Tags {
    let (table, filters) = (selected.table, selected.filters);
    let fixed: Vec<&Column> =
        filters.iter().filter(|filter| filter.through.is_none()).map(|filter| filter.column).collect();
    let is_key = table.keys().any(|(_, key)| {
        key.len() == fixed.len() && key.iter().all(|own| fixed.iter().any(|column| column.name == own.name))
    });
    let mut tags: Vec<Tag<'_>> = Vec::new();
    tags.extend(table.primary_key().and_then(|key| by_columns(selected, &key)));
    if is_key {
        let by_route = by_columns(selected, &fixed);
        tags.extend(by_route.filter(|(tag, _)| tags.iter().all(|(known, _)| known != tag)));
    }
    if tags.is_empty() {
        let word = slug(&table.name);
        tags.push((word.clone(), vec![(table, Some(word))]));
    }
    for filter in filters {
        let Some(through) = filter.through else { continue };
        let one = shape::one(&through.table.name);
        let of_row = piece(through.column).map(|column| format!("{one}:{column}"));
        tags.push((format!("{one}:{{{}}}", filter.param), vec![(through.table, of_row)]));
    }
    finish(tags)
}

/// Of a page: what rows that are added to it are found by, and each row by its primary key.
pub(super) fn of_page(selected: &mut Selected<'_>) -> Tags {
    let table = selected.table;
    let mut tags = vec![list(selected)];
    tags.extend(table.primary_key().and_then(|key| by_columns(selected, &key)));
    finish(tags)
}

/// Such as `run:{id}`.
fn by_columns<'t>(selected: &mut Selected<'t>, columns: &[&'t Column]) -> Option<Tag<'t>> {
    if columns.is_empty() || columns.iter().any(|column| !is_tag_type(column.kind())) {
        return None;
    }
    let mut tag = shape::one(&selected.table.name);
    let mut of_row = Some(tag.clone());
    for column in columns {
        let name = selected.name_of(column);
        // Writing to a String cannot fail.
        let _ = write!(tag, ":{{{name}}}");
        of_row = of_row.zip(piece(column)).map(|(of_row, column)| format!("{of_row}:{column}"));
    }
    Some((tag, vec![(selected.table, of_row)]))
}

/// Such as `team:{public_id}:chats`; of the row that the variable is looked up in as well, if it alone says all of it.
fn list<'t>(selected: &Selected<'t>) -> Tag<'t> {
    let (table, filters) = (selected.table, selected.filters);
    let word = slug(&table.name);
    let value =
        |filter: &Filter<'_>| filter.through.map_or(filter.column, |through| through.column).kind().clone();
    let is_same_text = |kind: &Type| is_tag_type(kind) || matches!(kind.kind(), Kind::Enum(_));
    if !filters.iter().all(|filter| is_same_text(&value(filter))) {
        // Of a date there are many spellings, of which the row has one.
        return (word.clone(), vec![(table, Some(word))]);
    }
    let (mut tag, mut of_row, mut of_other) = (String::new(), Some(String::new()), Some(String::new()));
    let mut others = Vec::new();
    for filter in filters {
        let of = filter.of.map_or_else(|| slug(&filter.column.name), shape::one);
        let _ = write!(tag, "{of}:{{{}}}:", filter.param);
        let own = match filter.through {
            None => piece(filter.column),
            Some(through) => {
                others.push(through.table);
                of_other = piece(through.column)
                    .map(|column| format!("{of}:{column}:"))
                    .filter(|_| filters.len() == 1);
                let (column, other) = (&filter.column.name, &through.column.name);
                (is_column(column) && is_column(other)).then(|| format!("{{{column}.{other}}}"))
            }
        };
        of_row = of_row.zip(own).map(|(of_row, own)| format!("{of_row}{of}:{own}:"));
    }
    let mut rows = vec![(table, of_row.map(|of_row| of_row + &word))];
    rows.extend(others.into_iter().map(|other| (other, of_other.clone().map(|of_other| of_other + &word))));
    (tag + &word, rows)
}

fn piece(column: &Column) -> Option<String> {
    is_column(&column.name).then(|| format!("{{{}}}", column.name))
}

fn finish(tags: Vec<Tag<'_>>) -> Tags {
    let mut all = Tags {
        line: tags.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>().join(" "),
        ..Tags::default()
    };
    for (table, of_row) in tags.into_iter().flat_map(|(_, rows)| rows) {
        let name = table_name(&table.schema, &table.name);
        // One that no header can name is left to the lifetime.
        if !is_table(&name) {
            continue;
        }
        let place = all.tables.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            all.tables.push((name, String::new()));
            all.tables.len() - 1
        });
        if let (Some((_, templates)), Some(of_row)) = (all.tables.get_mut(place), of_row) {
            let separator = if templates.is_empty() { "" } else { " " };
            let _ = write!(templates, "{separator}{of_row}");
        }
    }
    for (_, templates) in all.tables.iter_mut().filter(|(_, templates)| templates.is_empty()) {
        "ttl".clone_into(templates);
    }
    all
}
