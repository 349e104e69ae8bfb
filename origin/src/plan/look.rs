//! What the server says of one statement that it does not run: its plan, what is called in it, and the tables it touches.
//!
//! A statement that is prepared and planned holds a lock on every relation that it names, in views, in the bodies of SQL functions that
//! are inlined and in policies too, whatever the plan leaves out; and the server shows who holds which. Read next: `plan/tables.rs`.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{Plan, volatile};
use crate::catalogue::Variant;
use crate::catalogue::tables::table_name;

/// Partitions are their root, other children their parent, if that is there.
const TOUCHED: &str = "WITH held AS ( \
        SELECT l.relation AS oid FROM pg_locks l \
        WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' \
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) \
    SELECT DISTINCT n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text \
    FROM held h JOIN pg_class o ON o.oid = h.oid \
    JOIN pg_class c ON c.oid = CASE WHEN o.relispartition THEN pg_partition_root(o.oid) ELSE o.oid END \
    JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
      AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%' \
      AND NOT EXISTS (SELECT FROM pg_inherits i JOIN held p ON p.oid = i.inhparent WHERE i.inhrelid = c.oid)";

/// A table that a statement reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Touched {
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Table,
    /// Of which the log of changes says nothing, and why.
    Silent(&'static str),
}

impl Kind {
    pub(super) fn of(kind: &str, persistence: &str) -> Self {
        match (kind, persistence) {
            ("m", _) => Self::Silent("a materialized view"),
            ("f", _) => Self::Silent("a foreign table"),
            ("v", _) => Self::Silent("a view"),
            (_, "u") => Self::Silent("unlogged"),
            _ => Self::Table,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) plan: Plan,
    pub(super) touched: BTreeSet<Touched>,
    pub(super) called: BTreeSet<String>,
}

/// In a transaction of its own, which is rolled back.
pub(super) async fn look(client: &Client, variant: &Variant) -> Result<Looked, tokio_postgres::Error> {
    client.batch_execute("BEGIN").await?;
    let looked = in_transaction(client, variant).await;
    // What is prepared outlives the transaction, unless preparing it was what failed.
    let ended = client.batch_execute("ROLLBACK").await;
    let forgotten = client.batch_execute("DEALLOCATE larder_plan").await;
    let looked = looked?;
    ended.and(forgotten)?;
    Ok(looked)
}

async fn in_transaction(client: &Client, variant: &Variant) -> Result<Looked, tokio_postgres::Error> {
    client.batch_execute(&format!("PREPARE larder_plan AS {}", variant.sql)).await?;
    let shown = explain_prepared(client, variant, "VERBOSE, ").await?;
    let mut looked = Looked { plan: Plan::of(&shown), ..Looked::default() };
    volatile::called(&shown, &mut looked.called);
    for row in client.query_typed(TOUCHED, &[]).await? {
        let (schema, name, kind): (&str, &str, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let kind = Kind::of(kind, row.try_get(3)?);
        looked.touched.insert(Touched { name: table_name(schema, name), kind });
    }
    Ok(looked)
}

/// Nothing is executed.
pub(super) async fn explain(
    client: &Client,
    variant: &Variant,
    options: &str,
) -> Result<Value, tokio_postgres::Error> {
    client.batch_execute(&format!("PREPARE larder_plan AS {}", variant.sql)).await?;
    let shown = explain_prepared(client, variant, options).await;
    client.batch_execute("DEALLOCATE larder_plan").await?;
    shown
}

/// A server that says something else is no server of ours: its plan is one that uses nothing.
async fn explain_prepared(
    client: &Client,
    variant: &Variant,
    options: &str,
) -> Result<Value, tokio_postgres::Error> {
    let nulls = vec!["NULL"; variant.binds.len()].join(", ");
    let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let sql = format!("EXPLAIN ({options}FORMAT JSON) EXECUTE larder_plan{arguments}");
    let shown = client.simple_query(&sql).await?;
    let text: String = (shown.iter())
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            SimpleQueryMessage::CommandComplete(_) | SimpleQueryMessage::RowDescription(_) | _ => None,
        })
        .collect();
    Ok(serde_json::from_str(&text).unwrap_or_default())
}
