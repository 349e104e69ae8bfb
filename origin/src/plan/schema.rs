//! The tables that a query file names: their columns, where their foreign keys lead, and what is written down of a row that was.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::look::Kind;
use crate::catalogue::TableRule;

/// Which types have one text form that answers and the log of changes share; a domain is what it is made of. What is in the log of
/// a row that was is its replica identity; of a partitioned table that of its leaves.
const COLUMNS: &str = "SELECT u.n::int4, c.relkind::text, c.relpersistence::text, a.attname::text, \
        y.typtype = 'e' OR CASE y.typtype WHEN 'd' THEN y.typbasetype ELSE y.oid END IN ( \
            'text'::regtype, 'varchar'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype, \
            'bool'::regtype), \
        format_type(a.atttypid, a.atttypmod), \
        CASE CASE WHEN c.relkind = 'p' AND NOT EXISTS ( \
                      SELECT FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid \
                      WHERE t.isleaf AND l.relreplident <> 'f') THEN 'f' ELSE c.relreplident END \
            WHEN 'f' THEN true \
            WHEN 'n' THEN false \
            ELSE EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey) \
                AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END) END \
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY u(s, t, n) \
    JOIN pg_namespace s ON s.nspname = u.s JOIN pg_class c ON c.relnamespace = s.oid AND c.relname = u.t \
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    JOIN pg_type y ON y.oid = a.atttypid \
    WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v')";
/// Foreign keys of one column.
const KEYS: &str = "SELECT u.n::int4, a.attname::text, f.relname::text, \
        ARRAY(SELECT o.attname::text FROM pg_attribute o \
              WHERE o.attrelid = f.oid AND o.attnum > 0 AND NOT o.attisdropped) \
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY u(s, t, n) \
    JOIN pg_namespace s ON s.nspname = u.s JOIN pg_class c ON c.relnamespace = s.oid AND c.relname = u.t \
    JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'f' AND cardinality(k.conkey) = 1 \
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1] JOIN pg_class f ON f.oid = k.confrelid \
    ORDER BY k.conname";

#[derive(Debug)]
pub(super) struct Table {
    pub(super) kind: Kind,
    pub(super) columns: BTreeMap<String, Column>,
    /// By column: the table that is named, and its columns.
    pub(super) keys: Vec<(String, String, Vec<String>)>,
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) is_for_tags: bool,
    pub(super) kind: String,
    /// Whether the log of changes says what it was.
    pub(super) is_kept: bool,
}

/// `None` for a table that is not there.
pub(super) async fn read(
    client: &Client,
    rules: &[TableRule],
) -> Result<Vec<Option<Table>>, tokio_postgres::Error> {
    let mut tables: Vec<Option<Table>> = rules.iter().map(|_| None).collect();
    let names = rules.iter().map(|rule| rule.name.split_once('.').unwrap_or(("public", &rule.name)));
    let (schemas, names): (Vec<&str>, Vec<&str>) = names.unzip();
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let place = |number: i32| usize::try_from(number).unwrap_or(0).saturating_sub(1);
    for row in client.query_typed(COLUMNS, &parameters).await? {
        let Some(slot) = tables.get_mut(place(row.try_get(0)?)) else { continue };
        let kind = Kind::of(row.try_get(1)?, row.try_get(2)?);
        let table = slot.get_or_insert_with(|| Table { kind, columns: BTreeMap::new(), keys: Vec::new() });
        let column = Column { is_for_tags: row.try_get(4)?, kind: row.try_get(5)?, is_kept: row.try_get(6)? };
        table.columns.insert(row.try_get(3)?, column);
    }
    for row in client.query_typed(KEYS, &parameters).await? {
        if let Some(Some(table)) = tables.get_mut(place(row.try_get(0)?)) {
            table.keys.push((row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
        }
    }
    Ok(tables)
}
