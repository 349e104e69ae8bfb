//! Asks one server: each question in a read-only transaction of its own, with limits for its time and for its wait for locks, and
//! by names of `pg_catalog` only, whatever is in the search path. What fails is said, and the next question is asked.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::rows::{Facts, Seen};
use super::text::qualified;
use super::{Server, plans, statements, tables};
use crate::catalogue::Catalogue;
use crate::config::{Config, Purpose};
use crate::database::{Opened, Target};
use crate::error::chain;

const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// For all questions to one server.
const PATIENCE: Duration = Duration::from_secs(180);

const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '2s'; \
                     SET LOCAL jit = off; SET LOCAL search_path = pg_catalog, pg_temp";

const SERVER: &str = include_str!("server.sql");
const ACTIVITY: &str = include_str!("activity.sql");
const SLOTS: &str = include_str!("slots.sql");
const INDEXES: &str = include_str!("indexes.sql");
const TABLES: &str = include_str!("tables.sql");
const STATEMENTS: &str = include_str!("statements.sql");

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", chain(.0))]
    Server(#[from] tokio_postgres::Error),
    #[error("its answer is not as expected: {0}")]
    Answer(#[from] serde_json::Error),
}

pub(super) async fn examine(target: &Arc<Target>, config: &Config, catalogue: &Catalogue) -> Server {
    let asked = timeout(PATIENCE, ask_all(target, config, catalogue)).await;
    let seen = match asked {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("it took longer than {PATIENCE:?}")),
    };
    Server { name: target.name.clone(), url: target.url.to_string(), seen }
}

async fn ask_all(target: &Target, config: &Config, catalogue: &Catalogue) -> Result<Seen, Failure> {
    let purpose = Purpose::Reads(STATEMENT_TIMEOUT);
    let Opened { client, is_pooled, .. } = target.open(purpose, config.database.connect_timeout).await?;
    let facts = ask::<Facts>(&client, SERVER, &[]).await?.into_iter().next().unwrap_or_default();
    let mut seen = Seen { facts, ..Seen::default() };

    let mut failures = Vec::new();
    let mut note = |what: &str, e: Failure| failures.push(format!("{what}: {e}"));
    ask(&client, ACTIVITY, &[]).await.map_or_else(|e| note("connections", e), |rows| seen.activity = rows);
    ask(&client, SLOTS, &[]).await.map_or_else(|e| note("slots", e), |rows| seen.slots = rows);
    ask(&client, INDEXES, &[]).await.map_or_else(|e| note("indexes", e), |rows| seen.indexes = Some(rows));
    let sql = TABLES.replace("{bloat_pages}", &tables::BLOAT_PAGES.to_string());
    ask(&client, &sql, &[]).await.map_or_else(|e| note("tables", e), |rows| seen.tables = rows);
    if let Some(schema) = &seen.facts.statements_schema {
        let sql = STATEMENTS.replace("{view}", &qualified(schema, "pg_stat_statements"));
        match ask(&client, &sql, &[(&statements::SLOW_MS, Type::FLOAT8)]).await {
            Ok(rows) => seen.statements = Some(rows),
            // Made, and not loaded by this server: found by what is preloaded.
            Err(Failure::Server(e)) if e.code().is_some_and(|code| code.code() == "55000") => (),
            Err(e) => note("statements", e),
        }
    }
    let begin = is_pooled.then(|| purpose.begin());
    match plans::read(&client, begin.as_deref(), catalogue).await {
        Ok((scans, unplanned)) => (seen.scans, seen.unplanned) = (scans, unplanned),
        Err(e) => note("plans", e.into()),
    }
    seen.not_examined = failures;
    Ok(seen)
}

/// Through unnamed statements only, and leaving nothing behind: there may be a pooler between us.
async fn ask<T: DeserializeOwned>(
    client: &Client,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<T>, Failure> {
    client.batch_execute(BEGIN).await?;
    let sql =
        format!("/* larder-origin doctor */ SELECT coalesce(json_agg(r), '[]')::text FROM (\n{sql}\n) r");
    let asked = client.query_typed(&sql, parameters).await;
    client.batch_execute("ROLLBACK").await?;
    let rows = asked?;
    let text = rows.first().map(|row| row.try_get::<_, String>(0)).transpose()?;
    Ok(serde_json::from_str(&text.unwrap_or_default())?)
}
