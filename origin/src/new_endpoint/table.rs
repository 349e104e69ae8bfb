//! Tables as the server describes them, and the one that a route means.
//!
//! Read next: `new_endpoint/shape.rs`, which decides what of it a route asks for.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::words::{is_same, normal, singular};
use crate::Exit;
use crate::error::chain;

const TABLES: &str = include_str!("tables.sql");
const TABLE: &str = include_str!("table.sql");
/// Of names that are near to one that is not there.
const MAX_NEAR: usize = 5;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Relation {
    pub(super) oid: i64,
    schema: String,
    name: String,
    /// Without its schema in front.
    is_visible: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Table {
    #[serde(skip)]
    pub(super) oid: i64,
    pub(super) schema: String,
    pub(super) name: String,
    /// As SQL has it.
    pub(super) sql: String,
    pub(super) is_visible: bool,
    /// Not a view, nor anything else that only looks like one.
    pub(super) is_table: bool,
    /// So that plans name the indexes of its parts.
    pub(super) has_parts: bool,
    pub(super) has_idempotency: bool,
    #[serde(deserialize_with = "or_none")]
    pub(super) columns: Vec<Column>,
    /// The primary key first.
    #[serde(deserialize_with = "or_none")]
    pub(super) indexes: Vec<Index>,
    #[serde(deserialize_with = "or_none")]
    pub(super) foreign_keys: Vec<ForeignKey>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) sql: String,
    pub(super) is_not_null: bool,
    pub(super) has_default: bool,
    /// By Postgres alone: nobody can give it a value.
    pub(super) is_made: bool,
    /// Of a domain, the type that it is made of.
    #[serde(skip)]
    pub(super) described: Option<Type>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Index {
    pub(super) name: String,
    pub(super) is_primary: bool,
    pub(super) is_unique: bool,
    pub(super) predicate: Option<String>,
    #[serde(deserialize_with = "or_none")]
    pub(super) columns: Vec<IndexColumn>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct IndexColumn {
    pub(super) name: Option<String>,
    pub(super) is_descending: bool,
    pub(super) is_plain: bool,
}

/// Of one column.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ForeignKey {
    pub(super) column: String,
    pub(super) table: i64,
    pub(super) other: String,
}

/// `json_agg` of nothing is null.
fn or_none<'d, D: Deserializer<'d>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Column {
    pub(super) fn new(name: &str, kind: Type, is_not_null: bool) -> Self {
        let (name, sql) = (name.to_owned(), name.to_owned());
        Self { name, sql, is_not_null, described: Some(kind), ..Self::default() }
    }

    pub(super) fn kind(&self) -> &Type {
        self.described.as_ref().unwrap_or(&Type::UNKNOWN)
    }
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// By a name of a route.
    pub(super) fn column_called(&self, name: &str) -> Option<&Column> {
        let is_it = |column: &&Column| normal(&column.name) == normal(name);
        self.column(name).or_else(|| self.columns.iter().find(is_it))
    }

    /// The columns of an index, if it is of columns alone, and of all rows.
    pub(super) fn columns_of(&self, index: &Index) -> Option<Vec<&Column>> {
        if index.predicate.is_some() {
            return None;
        }
        index.columns.iter().map(|column| self.column(column.name.as_deref()?)).collect()
    }

    /// Sets of columns of which no two rows have the same values; the primary key first.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&Index, Vec<&Column>)> {
        let unique = self.indexes.iter().filter(|index| index.is_unique);
        unique.filter_map(|index| Some((index, self.columns_of(index)?)))
    }

    pub(super) fn primary_key(&self) -> Option<Vec<&Column>> {
        self.keys().find(|(index, _)| index.is_primary).map(|(_, columns)| columns)
    }
}

/// All tables, and what else rows are read from.
pub(super) async fn all(client: &Client) -> Result<Vec<Relation>, Exit> {
    ask(client, TABLES, &[]).await
}

pub(super) async fn read(client: &Client, relation: &Relation) -> Result<Table, Exit> {
    let oid = relation.oid;
    let mut table: Table = (ask(client, TABLE, &[(&oid, Type::INT8)]).await?.into_iter().next())
        .ok_or_else(|| Exit::failed(format!("the table {} has just been dropped", relation.name)))?;
    table.oid = oid;
    let statement = client.prepare(&format!("SELECT * FROM {}", table.sql)).await;
    let statement = statement.map_err(|e| failed(&table.name, &e))?;
    for (column, described) in table.columns.iter_mut().zip(statement.columns()) {
        column.described = Some(described.type_().clone());
    }
    Ok(table)
}

async fn ask<T: DeserializeOwned>(
    client: &Client,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<T>, Exit> {
    let sql = format!("SELECT coalesce(json_agg(r), '[]')::text FROM (\n{sql}\n) r");
    let rows = client.query_typed(&sql, parameters).await.map_err(|e| failed("the catalogue", &e))?;
    let text = rows.first().map(|row| row.try_get::<_, String>(0)).transpose();
    let text = text.map_err(|e| failed("the catalogue", &e))?.unwrap_or_default();
    serde_json::from_str(&text)
        .map_err(|e| Exit::failed(format!("what the server says of its tables is not as expected: {e}")))
}

fn failed(what: &str, error: &tokio_postgres::Error) -> Exit {
    Exit::failed(format!("cannot read {what}: {}", chain(error)))
}

/// The one that `--table` names, with its schema or without.
pub(super) fn named<'r>(relations: &'r [Relation], name: &str) -> Result<&'r Relation, Exit> {
    let own: Vec<&Relation> = relations.iter().filter(|relation| relation.name == name).collect();
    let with_schema = |relation: &&Relation| format!("{}.{}", relation.schema, relation.name) == name;
    if let Some(relation) = relations.iter().find(with_schema).filter(|_| own.is_empty()) {
        return Ok(relation);
    }
    one_of(&own)?.ok_or_else(|| Exit::failed(format!("there is no table `{name}`{}", near(relations, name))))
}

/// The one that a word of a route means, with the words before it: `/chats/{id}/messages` can be `chat_messages`.
pub(super) fn meant<'r>(
    relations: &'r [Relation],
    word: &str,
    before: Option<&str>,
) -> Result<Option<&'r Relation>, Exit> {
    let longer = before.map(|before| format!("{}_{word}", singular(before)));
    let whole = |relation: &&Relation| normal(&relation.name) == normal(word);
    let same = |relation: &&Relation| is_same(word, &relation.name);
    let long = |relation: &&Relation| longer.as_ref().is_some_and(|long| is_same(long, &relation.name));
    let ways: [&dyn Fn(&&Relation) -> bool; 3] = [&whole, &same, &long];
    for is_it in ways {
        let found: Vec<&Relation> = relations.iter().filter(is_it).collect();
        if let Some(relation) = one_of(&found)? {
            return Ok(Some(relation));
        }
    }
    Ok(None)
}

pub(super) fn none_meant(relations: &[Relation], word: &str) -> Exit {
    Exit::failed(format!("no table is called like `{word}`{}; --table names it", near(relations, word)))
}

fn one_of<'r>(found: &[&'r Relation]) -> Result<Option<&'r Relation>, Exit> {
    let visible: Vec<&&Relation> = found.iter().filter(|relation| relation.is_visible).collect();
    match (visible.as_slice(), found) {
        ([only], _) => Ok(Some(*only)),
        ([], [only]) => Ok(Some(*only)),
        (_, []) => Ok(None),
        _ => {
            let names: Vec<String> =
                found.iter().map(|relation| format!("{}.{}", relation.schema, relation.name)).collect();
            Err(Exit::failed(format!("it could be {}; --table says which", names.join(" or "))))
        }
    }
}

/// Such as `; there are thing, things and thongs`.
fn near(relations: &[Relation], word: &str) -> String {
    let word = normal(word);
    let distance = |relation: &Relation| -> Option<(usize, String)> {
        let name = normal(&relation.name);
        let is_part = !word.is_empty() && (name.contains(&word) || word.contains(&name));
        let distance = strsim::damerau_levenshtein(&word, &name);
        (distance <= word.chars().count().min(64) / 2 || is_part).then(|| (distance, relation.name.clone()))
    };
    let mut names: Vec<(usize, String)> =
        relations.iter().filter(|_| word.len() <= 256).filter_map(distance).collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<String> = names.iter().take(MAX_NEAR).map(|(_, name)| format!("`{name}`")).collect();
    match (names.as_slice(), relations.len()) {
        (_, 0) => "; the database has no tables".to_owned(),
        ([], many) => format!("; none of {many} tables has a name that is near"),
        (names, _) => format!("; near are {}", names.join(", ")),
    }
}
