//! The tables that the statements of a file read, held against those that it names: a stored answer that depends on a table of
//! which nothing is said goes stale without a word.
//!
//! Read next: `plan/look.rs` for how it is known what a statement reads, `catalogue/tables.rs` for what a file says.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::look::{Kind, Looked, Touched};
use super::schema::{self, Table};
use super::{Judged, mention};
use crate::catalogue::tables::{RowPiece, RowTemplate};
use crate::catalogue::{Endpoint, Piece, TableRule, TagTemplate};
use crate::faults::suggestion;

/// Columns, by table, that tags are made of and of which the log of changes does not say what they were.
pub(crate) type NotKept = BTreeMap<String, BTreeSet<String>>;

pub(super) async fn judge(
    client: &Client,
    endpoint: &Endpoint,
    looked: &[Looked],
    judged: &mut Judged,
) -> Result<(), tokio_postgres::Error> {
    if !endpoint.is_stored() {
        return Ok(());
    }
    let called: BTreeSet<&String> = looked.iter().flat_map(|looked| &looked.called).collect();
    let opaque = opaque(client, &called).await?;
    let path = &endpoint.source.path;
    for function in &opaque {
        let message = format!(
            "`{function}` is not of SQL that the planner can look into, so the tables that it reads are not known: name them all \
             in `table` lines"
        );
        let position = mention(&endpoint.source, function).unwrap_or(endpoint.route.position);
        judged.notes.push(path, Some(position), message);
    }
    let touched: BTreeSet<&Touched> = looked.iter().flat_map(|looked| &looked.touched).collect();
    for table in &touched {
        if !endpoint.tables.iter().any(|rule| rule.name == table.name) {
            let bare = table.name.split_once('.').map_or(&*table.name, |(_, name)| name);
            let position = mention(&endpoint.source, bare).unwrap_or(endpoint.route.position);
            let message = format!(
                "the answer is stored and depends on `{}`, and nothing says what a change there does; add the line\n    \
                 -- table {}: {}",
                table.name,
                table.name,
                proposal(endpoint, table)
            );
            judged.faults.push(path, Some(position), message);
        }
    }
    let tables = schema::read(client, &endpoint.tables).await?;
    for (rule, table) in endpoint.tables.iter().zip(&tables) {
        let is_touched = touched.iter().any(|touched| touched.name == rule.name);
        match table {
            None => {
                let others = touched.iter().map(|touched| touched.name.as_str());
                let message =
                    format!("the database has no table `{}`{}", rule.name, suggestion(&rule.name, others));
                judged.faults.push(path, Some(rule.position), message);
            }
            // A function may read it.
            Some(_) if !is_touched && opaque.is_empty() => {
                let read: Vec<&str> = touched.iter().map(|touched| touched.name.as_str()).collect();
                let message = match read.as_slice() {
                    [] => format!("no statement of this file reads `{}`: they read no table", rule.name),
                    read => format!(
                        "no statement of this file reads `{}`: they read {}",
                        rule.name,
                        read.join(", ")
                    ),
                };
                judged.faults.push(path, Some(rule.position), message);
            }
            Some(table) => of_table(endpoint, rule, table, judged),
        }
    }
    Ok(())
}

/// The tags of a rule against the table that is there.
fn of_table(endpoint: &Endpoint, rule: &TableRule, table: &Table, judged: &mut Judged) {
    let path = &endpoint.source.path;
    if let (Kind::Silent(what), Some((_, position))) = (table.kind, rule.templates.first()) {
        let message = format!(
            "`{}` is {what}, whose changes are told to nobody; write `ttl`, and name the tables behind it if there are any",
            rule.name
        );
        return judged.faults.push(path, Some(*position), message);
    }
    for (template, position) in &rule.templates {
        for why in faults_of(template, rule, table) {
            judged.faults.push(path, Some(*position), why);
        }
        let not_kept =
            template.columns().filter(|name| table.columns.get(*name).is_some_and(|column| !column.is_kept));
        for column in not_kept {
            judged.not_kept.entry(rule.name.clone()).or_default().insert(column.to_owned());
        }
    }
}

fn faults_of(template: &RowTemplate, rule: &TableRule, table: &Table) -> Vec<String> {
    let mut faults = Vec::new();
    for piece in &template.pieces {
        let (name, other) = match piece {
            RowPiece::Literal(_) => continue,
            RowPiece::Column(column) => (column, None),
            RowPiece::Through { column, other } => (column, Some(other)),
        };
        let Some(column) = table.columns.get(name) else {
            let suggestion = suggestion(name, table.columns.keys().map(String::as_str));
            faults.push(format!("table `{}` has no column `{name}`{suggestion}", rule.name));
            continue;
        };
        let Some(other) = other else {
            if !column.is_for_tags {
                faults.push(format!(
                    "`{name}` is {}; a tag is made of text, whole numbers, UUIDs or booleans",
                    column.kind
                ));
            }
            continue;
        };
        let keys: Vec<_> = table.keys.iter().filter(|(column, ..)| column == name).collect();
        match keys.as_slice() {
            [] => faults.push(format!(
                "`{{{name}.{other}}}` follows a foreign key, and `{name}` of `{}` has none of its own",
                rule.name
            )),
            [(_, target, columns), ..] if !keys.iter().any(|(.., columns)| columns.contains(other)) => {
                let suggestion = suggestion(other, columns.iter().map(String::as_str));
                faults.push(format!(
                    "`{name}` leads to table `{target}`, which has no column `{other}`{suggestion}"
                ));
            }
            [..] => (),
        }
    }
    faults
}

/// Functions whose body the planner does not see: calls that are left in the plan, and are not the server's own.
async fn opaque(client: &Client, called: &BTreeSet<&String>) -> Result<Vec<String>, tokio_postgres::Error> {
    const SQL: &str = "SELECT DISTINCT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
                       JOIN pg_language l ON l.oid = p.prolang \
                       WHERE l.lanname NOT IN ('internal', 'c') AND p.provolatile <> 'i' AND p.prokind IN ('f', 'w') \
                       AND n.nspname <> 'pg_catalog' AND (n.nspname || '.' || p.proname = ANY ($1) \
                       OR pg_function_is_visible(p.oid) AND p.proname = ANY ($1)) ORDER BY 1";
    if called.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = called.iter().map(|name| name.as_str()).collect();
    let rows = client.query(SQL, &[&names]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// A line that would do, if only as a beginning: the tags that are named after the table, else `ttl`.
fn proposal(endpoint: &Endpoint, table: &Touched) -> String {
    let name = table.name.as_str();
    let is_of_it = |tag: &&TagTemplate| match tag.pieces.as_slice() {
        [Piece::Literal(literal), Piece::Value(_)] => {
            let word = literal.trim_end_matches(':');
            literal.ends_with(':') && (word == name || name.strip_suffix('s') == Some(word))
        }
        [Piece::Literal(literal)] => literal == name,
        _ => false,
    };
    let text = |tag: &TagTemplate| {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(literal) => literal.clone(),
            Piece::Value(value) => {
                format!("{{{}}}", if value.ends_with("_id") && value != "public_id" { "id" } else { value })
            }
        };
        tag.pieces.iter().map(piece).collect::<String>()
    };
    let mut own: Vec<String> = match table.kind {
        Kind::Table => endpoint.tags.iter().filter(is_of_it).map(text).collect(),
        Kind::Silent(_) => Vec::new(),
    };
    own.dedup();
    if own.is_empty() { "ttl".to_owned() } else { own.join(" ") }
}

/// For people: which tables should write down more.
pub(crate) fn not_kept_note(not_kept: &NotKept) -> Option<String> {
    let tables: Vec<String> = (not_kept.iter())
        .map(|(table, columns)| {
            format!("{table} ({})", columns.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
        })
        .collect();
    (!tables.is_empty()).then(|| {
        format!(
            "of rows that are changed or deleted the log does not say what columns were that tags are made of: {}. Such a change \
             ends every answer that depends on the table; ALTER TABLE ... REPLICA IDENTITY FULL, and only those that it is about end",
            tables.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proposed_is_named_after_the_table() {
        let text = "-- route: GET /x/{public_id}\n-- param public_id: path text\n-- rows: one\n\
                    -- tags: user:{public_id} user:{creator_id} team:{public_id}:members things\n-- cache: max-age=5\n\n\
                    SELECT :public_id AS body, 1 AS creator_id";
        let files = vec![("x.sql".into(), text.to_owned())];
        let catalogue = crate::catalogue::Catalogue::parse(files).unwrap();
        let proposed = |name: &str, kind: Kind| {
            proposal(&catalogue.endpoints[0], &Touched { name: name.to_owned(), kind })
        };
        assert_eq!(proposed("users", Kind::Table), "user:{public_id} user:{id}");
        assert_eq!(proposed("things", Kind::Table), "things");
        assert_eq!(proposed("teams", Kind::Table), "ttl");
        assert_eq!(proposed("users", Kind::Silent("a view")), "ttl");
    }
}
