//! `larder-origin seed`: fills the tables of the catalogue that ships, by binary COPY, in one transaction.
//!
//! Read next: `seed/rows.rs` for what the rows are like, `seed/progress.rs` for what the terminal shows.

use std::error::Error as StdError;
use std::pin::pin;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Transaction};

use crate::Exit;
use crate::cli;
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::migrate::{connect, failed};

mod rows;
mod progress;

use progress::Progress;
use rows::{Moment, Sizes};

/// In the order in which they refer to each other.
const TABLES: [&str; 6] = ["users", "teams", "members", "resources", "resource_versions", "runs"];

#[expect(clippy::print_stdout, reason = "the answer to the command")]
pub(crate) async fn run(config: &Config, wanted: &cli::Seed) -> Result<(), Exit> {
    let mut client = connect(config).await?;
    let database = &config.database.primary;
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
    let sizes = Sizes::of(wanted.resources);
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
    if is_forced {
        // Not CASCADE: tables of others that refer to these are not ours to empty.
        transaction.batch_execute(&format!("TRUNCATE {} RESTART IDENTITY", TABLES.join(", "))).await?;
    }
    // References are right by construction, and looking each one up takes half of the time. Only a superuser may say so.
    let is_superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
    if transaction.query_one(is_superuser, &[]).await?.try_get(0)? {
        transaction.batch_execute("SET LOCAL session_replication_role = replica").await?;
    }
    let counts = [
        users(&transaction, sizes, progress).await?,
        teams(&transaction, sizes, progress).await?,
        members(&transaction, sizes, progress).await?,
        resources(&transaction, sizes, progress).await?,
        0,
        0,
    ];
    let [users, teams, members, resources, ..] = counts;
    let versions = versions(&transaction, sizes, progress).await?;
    let runs = runs(&transaction, sizes, versions, progress).await?;
    let counts = [users, teams, members, resources, versions, runs];
    for (table, count) in TABLES.iter().zip(counts) {
        let sql = format!("SELECT setval(pg_get_serial_sequence('{table}', 'id'), $1)");
        transaction.query(&sql, &[&count.max(1)]).await?;
    }
    transaction.commit().await?;
    Ok(counts)
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
    let sql = format!("COPY {table} ({}) FROM STDIN BINARY", names.join(", "));
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

async fn users(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("public_id", Type::TEXT),
        ("name", Type::TEXT),
        ("handle", Type::TEXT),
        ("email", Type::TEXT),
        ("is_bot", Type::BOOL),
        ("is_private", Type::BOOL),
        ("languages", Type::TEXT_ARRAY),
        ("preferences", Type::JSONB),
        ("created_at", Type::TIMESTAMPTZ),
        ("updated_at", Type::TIMESTAMPTZ),
    ];
    copy(to, "users", columns, sizes.users, progress, |index, batch| {
        let user = sizes.user(index + 1);
        batch.push([
            Box::new(key(user.id)),
            Box::new(format!("usr-{}", user.id)),
            Box::new(user.name),
            Box::new(user.handle),
            Box::new(user.email),
            Box::new(user.is_bot),
            Box::new(user.is_private),
            Box::new(user.languages),
            Box::new(Jsonb(user.preferences)),
            Box::new(user.created_at),
            Box::new(user.updated_at),
        ]);
    })
    .await
}

async fn teams(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("public_id", Type::TEXT),
        ("name", Type::TEXT),
        ("handle", Type::TEXT),
        ("is_private", Type::BOOL),
        ("permissions", Type::JSONB),
        ("created_at", Type::TIMESTAMPTZ),
        ("updated_at", Type::TIMESTAMPTZ),
    ];
    copy(to, "teams", columns, sizes.teams, progress, |index, batch| {
        let team = sizes.team(index + 1);
        batch.push([
            Box::new(key(team.id)),
            Box::new(format!("team-{}", team.id)),
            Box::new(team.name),
            Box::new(team.handle),
            Box::new(team.is_private),
            Box::new(Jsonb("{\"resources\": [\"read\", \"write\"]}".to_owned())),
            Box::new(team.created_at),
            Box::new(team.created_at),
        ]);
    })
    .await
}

async fn members(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("user_id", Type::INT8),
        ("team_id", Type::INT8),
        ("is_admin", Type::BOOL),
        ("created_at", Type::TIMESTAMPTZ),
    ];
    let mut id = 0;
    copy(to, "members", columns, sizes.users, progress, |index, batch| {
        for member in sizes.memberships(index + 1) {
            id += 1;
            batch.push([
                Box::new(key(id)),
                Box::new(key(member.user)),
                Box::new(key(member.team)),
                Box::new(member.is_admin),
                Box::new(member.created_at),
            ]);
        }
    })
    .await
}

async fn resources(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("public_id", Type::TEXT),
        ("created_by_id", Type::INT8),
        ("team_id", Type::INT8),
        ("resource_type", Type::TEXT),
        ("is_private", Type::BOOL),
        ("is_deleted", Type::BOOL),
        ("has_complete_version", Type::BOOL),
        ("score", Type::INT4),
        ("bookmarks", Type::INT4),
        ("views", Type::INT4),
        ("created_at", Type::TIMESTAMPTZ),
        ("updated_at", Type::TIMESTAMPTZ),
    ];
    copy(to, "resources", columns, sizes.resources, progress, |index, batch| {
        let resource = sizes.resource(index + 1);
        batch.push([
            Box::new(key(resource.id)),
            Box::new(format!("res-{}", resource.id)),
            Box::new(resource.creator.map(key)),
            Box::new(resource.team.map(key)),
            Box::new(resource.kind),
            Box::new(resource.is_private),
            Box::new(resource.is_deleted),
            Box::new(resource.has_complete_version),
            Box::new(resource.score),
            Box::new(resource.bookmarks),
            Box::new(resource.views),
            Box::new(resource.created_at),
            Box::new(resource.updated_at),
        ]);
    })
    .await
}

async fn versions(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("public_id", Type::TEXT),
        ("root_id", Type::INT8),
        ("version_index", Type::INT4),
        ("version_label", Type::TEXT),
        ("name", Type::TEXT),
        ("is_latest", Type::BOOL),
        ("is_complete", Type::BOOL),
        ("config", Type::JSONB),
        ("created_at", Type::TIMESTAMPTZ),
    ];
    let mut id = 0;
    copy(to, "resource_versions", columns, sizes.resources, progress, |index, batch| {
        for version in sizes.versions(index + 1) {
            id += 1;
            batch.push([
                Box::new(key(id)),
                Box::new(format!("ver-{id}")),
                Box::new(key(version.resource)),
                Box::new(version.index),
                Box::new(format!("1.{}.0", version.index)),
                Box::new(version.name),
                Box::new(version.is_latest),
                Box::new(version.is_complete),
                Box::new(Jsonb(version.config)),
                Box::new(version.created_at),
            ]);
        }
    })
    .await
}

async fn runs(
    to: &Transaction<'_>,
    sizes: Sizes,
    versions: i64,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("public_id", Type::TEXT),
        ("user_id", Type::INT8),
        ("resource_version_id", Type::INT8),
        ("name", Type::TEXT),
        ("status", Type::TEXT),
        ("started_at", Type::TIMESTAMPTZ),
        ("completed_at", Type::TIMESTAMPTZ),
        ("created_at", Type::TIMESTAMPTZ),
    ];
    let versions = u64::try_from(versions).unwrap_or(0);
    copy(to, "runs", columns, sizes.runs, progress, |index, batch| {
        let run = sizes.run(index + 1, versions);
        batch.push([
            Box::new(key(run.id)),
            Box::new(format!("run-{}", run.id)),
            Box::new(run.user.map(key)),
            Box::new(run.version.map(key)),
            Box::new(run.name),
            Box::new(run.status),
            Box::new(run.started_at),
            Box::new(run.completed_at),
            Box::new(run.created_at),
        ]);
    })
    .await
}

/// Keys count rows, of which no table has that many.
fn key(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// A text that is JSON.
#[derive(Debug)]
struct Jsonb(String);

impl ToSql for Jsonb {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        // The version of the format.
        out.put_u8(1);
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSONB
    }

    to_sql_checked!();
}

impl ToSql for Moment {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.put_i64(self.since_2000_us());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}
