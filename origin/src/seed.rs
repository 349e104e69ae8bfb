//! `larder-origin seed`: fills the tables of the catalogue that ships, by binary COPY, in one transaction.
//!
//! Indexes that are no constraint's are taken away first and made at the end: sorting once is several times faster than finding
//! the place of each row, and leaves them packed.
//!
//! Read next: `seed/tables.rs` for the columns, `seed/rows.rs` and `seed/talk.rs` for what the rows are like,
//! `seed/progress.rs` for what the terminal shows.

use std::pin::pin;

use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};

use crate::Exit;
use crate::cli;
use crate::clock::{Day, Stopwatch};
use crate::config::Config;
use crate::migrate::{connect, failed};

mod tables;
mod rows;
mod talk;
mod random;
mod progress;

use progress::Progress;
use rows::Sizes;

/// In the order in which they refer to each other.
const TABLES: [&str; 12] = [
    "users",
    "teams",
    "members",
    "resources",
    "resource_versions",
    "runs",
    "tags",
    "resource_tags",
    "chats",
    "chat_participants",
    "chat_messages",
    "sessions",
];
/// Of these the keys are those of others.
const WITHOUT_ID: &str = "resource_tags";

#[expect(clippy::print_stdout, reason = "the answer to the command")]
pub(crate) async fn run(config: &Config, wanted: &cli::Seed) -> Result<(), Exit> {
    let (mut client, database) = connect(config).await?;
    let full = tables_with_rows(&client).await?;
    if !full.is_empty() {
        if wanted.if_empty {
            println!("{database}: nothing to do, {} already have rows", full.join(", "));
            return Ok(());
        }
        if !wanted.force {
            return Err(Exit::failed(format!(
                "{database}: {} already have rows, and nothing was done; --if-empty takes that for success, \
                 --force deletes all rows of {} first",
                full.join(", "),
                TABLES.join(", ")
            )));
        }
    }
    let watch = Stopwatch::start();
    let until = wanted.until.unwrap_or_else(Day::today);
    let sizes = Sizes::of(wanted.resources, until);
    let mut progress = Progress::new();
    let counts = fill(&mut client, sizes, wanted.force, &mut progress).await;
    progress.clear();
    let counts = counts.map_err(|e| failed("write the rows", &e))?;
    // Without statistics plans are guesses; without a visibility map no index alone can answer.
    client
        .batch_execute(&format!("VACUUM (ANALYZE) {}", TABLES.join(", ")))
        .await
        .map_err(|e| failed("vacuum and analyze the tables, which are filled", &e))?;
    let counts: Vec<_> = TABLES.iter().zip(counts).map(|(table, count)| format!("{count} {table}")).collect();
    println!("{database}: {} in {:.1} s", counts.join(", "), watch.elapsed().as_secs_f64());
    Ok(())
}

async fn tables_with_rows(client: &Client) -> Result<Vec<&'static str>, Exit> {
    let mut full = Vec::new();
    for table in TABLES {
        let row = client.query_one(&format!("SELECT EXISTS (SELECT FROM {table})"), &[]).await;
        match row.and_then(|row| row.try_get(0)) {
            Ok(true) => full.push(table),
            Ok(false) => (),
            Err(e) if e.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                let message = format!("there is no table `{table}`: run `larder-origin migrate` first");
                return Err(Exit::failed(message));
            }
            Err(e) => return Err(failed(&format!("look into `{table}`"), &e)),
        }
    }
    Ok(full)
}

/// All or nothing. Gives the number of rows of each table.
async fn fill(
    client: &mut Client,
    sizes: Sizes,
    is_forced: bool,
    progress: &mut Progress,
) -> Result<[i64; TABLES.len()], tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let tables = TABLES.join(", ");
    transaction.batch_execute(&format!("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")).await?;
    let is_empty = !is_forced && {
        // Again, now that nobody can write: whoever did since the first look keeps their rows.
        let any: Vec<String> = TABLES.iter().map(|table| format!("EXISTS (SELECT FROM {table})")).collect();
        let row = transaction.query_one(&format!("SELECT NOT ({})", any.join(" OR ")), &[]).await?;
        row.try_get(0)?
    };
    if is_forced || is_empty {
        // Not CASCADE: tables of others that refer to these are not ours to empty. Of tables that are empty, too: only rows of
        // a table that is new or emptied in this very transaction can be written as old ones, see `copy`.
        transaction.batch_execute(&format!("TRUNCATE {tables} RESTART IDENTITY")).await?;
    }
    // References are right by construction, and looking each one up takes half of the time. Only a superuser may say so.
    let is_superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
    if transaction.query_one(is_superuser, &[]).await?.try_get(0)? {
        transaction.batch_execute("SET LOCAL session_replication_role = replica").await?;
    }
    let indexes = take_indexes(&transaction).await?;
    let versions;
    let counts = [
        tables::users(&transaction, sizes, progress).await?,
        tables::teams(&transaction, sizes, progress).await?,
        tables::members(&transaction, sizes, progress).await?,
        tables::resources(&transaction, sizes, progress).await?,
        {
            versions = tables::versions(&transaction, sizes, progress).await?;
            versions
        },
        tables::runs(&transaction, sizes, versions, progress).await?,
        tables::tags(&transaction, sizes, progress).await?,
        tables::resource_tags(&transaction, sizes, progress).await?,
        tables::chats(&transaction, sizes, progress).await?,
        tables::participants(&transaction, sizes, progress).await?,
        tables::messages(&transaction, sizes, progress).await?,
        tables::sessions(&transaction, sizes, progress).await?,
    ];
    for (table, count) in TABLES.iter().zip(counts).filter(|(table, _)| **table != WITHOUT_ID) {
        let sql = format!("SELECT setval(pg_get_serial_sequence('{table}', 'id'), $1)");
        transaction.query(&sql, &[&count.max(1)]).await?;
    }
    // Sorts of a million keys stay in memory.
    transaction.batch_execute("SET LOCAL maintenance_work_mem = '256MB'").await?;
    for (nth, definition) in indexes.iter().enumerate() {
        progress.say("indexes", nth as u64, indexes.len() as u64);
        transaction.batch_execute(definition).await?;
    }
    transaction.commit().await?;
    Ok(counts)
}

/// Drops the indexes that are no constraint's, and gives the statements that make them again. Undone with the transaction.
async fn take_indexes(transaction: &Transaction<'_>) -> Result<Vec<String>, tokio_postgres::Error> {
    const SQL: &str = "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i \
                       WHERE i.indrelid = ANY (SELECT to_regclass(name) FROM unnest($1::text[]) name) \
                         AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid) \
                       ORDER BY i.indexrelid";
    let mut definitions = Vec::new();
    for row in transaction.query(SQL, &[&TABLES.as_slice()]).await? {
        let name: String = row.try_get(0)?;
        definitions.push(row.try_get(1)?);
        transaction.batch_execute(&format!("DROP INDEX {name}")).await?;
    }
    Ok(definitions)
}

/// Copies what `rows` gives for each of `0..steps` into a table, and gives the number of rows.
async fn copy<const N: usize>(
    transaction: &Transaction<'_>,
    table: &'static str,
    columns: [(&str, Type); N],
    steps: u64,
    progress: &mut Progress,
    mut rows: impl FnMut(u64, &mut Vec<[Box<dyn ToSql + Sync + Send>; N]>),
) -> Result<i64, tokio_postgres::Error> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let types: Vec<Type> = columns.iter().map(|(_, kind)| kind.clone()).collect();
    // FREEZE: the rows are seen by everyone from the start. A VACUUM afterwards would not say so as long as a replica reports
    // an older transaction (`hot_standby_feedback`), and without it no index alone can answer a count.
    let sql = format!("COPY {table} ({}) FROM STDIN (FORMAT binary, FREEZE)", names.join(", "));
    let mut writer = pin!(BinaryCopyInWriter::new(transaction.copy_in(&sql).await?, &types));
    let (mut count, mut batch) = (0, Vec::new());
    for step in 0..steps {
        progress.show(table, step, steps);
        rows(step, &mut batch);
        for row in batch.drain(..) {
            let row: [&(dyn ToSql + Sync); N] =
                std::array::from_fn(|index| &*row[index] as &(dyn ToSql + Sync));
            writer.as_mut().write(&row).await?;
            count += 1;
        }
    }
    writer.finish().await?;
    Ok(count)
}
