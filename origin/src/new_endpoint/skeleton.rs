//! A file for a table that nobody could be asked about: it loads, and says what was guessed.
//!
//! Written as for a table that has just the columns that the route speaks of.

use hyper::Method;
use tokio_postgres::types::Type;

use super::shape::{Filter, Words};
use super::table::{Column, Index, IndexColumn, Table};
use super::words::slug;
use crate::Exit;
use crate::catalogue::Route;

pub(super) fn text(route: &Route, words: &Words<'_>, name: Option<&str>) -> Result<String, Exit> {
    let table = guess(route, words, name)?;
    let filters: Vec<Filter<'_>> = words
        .captures
        .iter()
        .filter_map(|capture| {
            let column = table.column(capture.name)?;
            Some(Filter { param: capture.name, column, through: None, of: capture.of })
        })
        .collect();
    let mut draft = super::draft(route, words, &table, &filters)?;
    draft.note("No server was asked: table, columns and types are guesses. Write what the table has, and the name of");
    draft.note("the index that serves in a line `-- index:`; then `larder-origin check` says what is wrong.");
    let text = draft.text();
    super::loaded(&text).map(|_| text)
}

fn guess(route: &Route, words: &Words<'_>, name: Option<&str>) -> Result<Table, Exit> {
    let name = match (name, words.table) {
        (Some(name), _) => name.to_owned(),
        (None, Some(word)) => slug(word),
        (None, None) => return Err(Exit::failed("the path has no word for a table; --table names it")),
    };
    let mut table = Table {
        // Which words need quotes, the server knows.
        sql: format!("\"{}\"", name.replace('"', "\"\"")),
        name,
        schema: "public".to_owned(),
        is_table: true,
        ..Table::default()
    };
    let is_one = words.ends_with_variable || matches!(route.method, Method::PATCH | Method::DELETE);
    let mut key: Vec<&str> = Vec::new();
    for capture in &words.captures {
        let kind =
            if capture.name == "id" || capture.name.ends_with("_id") { Type::INT8 } else { Type::TEXT };
        table.columns.push(Column::new(capture.name, kind, true));
        key.push(capture.name);
    }
    if !is_one {
        let column = |name: &str, kind| Column { has_default: true, ..Column::new(name, kind, true) };
        if table.column("id").is_none() {
            table.columns.insert(0, column("id", Type::INT8));
        }
        table.columns.push(column("created_at", Type::TIMESTAMPTZ));
        if route.method == Method::POST {
            table.columns.push(Column::new("name", Type::TEXT, true));
        }
        let order = key.iter().copied().chain(["created_at", "id"]);
        table.indexes.push(index(order, false));
        key = vec!["id"];
    } else if route.method == Method::PATCH {
        table.columns.push(Column::new("name", Type::TEXT, true));
    }
    if key.is_empty() {
        return Err(Exit::failed(format!(
            "{} needs a variable for the row, as in `/things/{{id}}`",
            route.method
        )));
    }
    table.indexes.insert(0, index(key.into_iter(), true));
    Ok(table)
}

/// Without a name: there is no telling.
fn index<'n>(columns: impl Iterator<Item = &'n str>, is_key: bool) -> Index {
    let column = |name: &str| IndexColumn {
        name: Some(name.to_owned()),
        is_descending: name == "created_at" || name == "id",
        is_plain: true,
    };
    Index {
        is_primary: is_key,
        is_unique: is_key,
        columns: columns.map(column).collect(),
        ..Index::default()
    }
}
