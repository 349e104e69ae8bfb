//! `larder-origin migrate`: brings the schema of the primary up to date.
//!
//! Files `NNNN_name.sql`, in order, once each; what was applied is in the table `larder_migrations`, with a checksum, because a
//! file that was changed after it was applied describes a schema that is nowhere. An advisory lock keeps two runs apart.
//! Each file is one transaction with its row in the table. A file with `-- transaction: none` in the comment at its top runs
//! statement by statement, for what cannot be in a transaction (`CREATE INDEX CONCURRENTLY`); it must be written so that it can
//! run again from its first statement, since a failure leaves what was done before. Indexes that such a failure left INVALID
//! are found and made again first: `migrate/invalid.rs`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::error::ErrorPosition;
use tracing::{info, warn};

use crate::Exit;
use crate::catalogue::sql;
use crate::config::{Config, Purpose, ServerUrl};
use crate::database;
use crate::error::chain;
use crate::faults::{Faults, Position};

mod invalid;

use invalid::{Cure, Invalid};

/// Part of the program, as query files are.
const SHIPPED: [(&str, &str); 3] = [
    ("0001_tables.sql", include_str!("../schema/0001_tables.sql")),
    ("0002_indexes.sql", include_str!("../schema/0002_indexes.sql")),
    ("0003_writes.sql", include_str!("../schema/0003_writes.sql")),
];

/// Of everyone who migrates with this program: `larder` in ASCII.
const LOCK: i64 = 0x6c61_7264_6572;
const LOCK_AGAIN: Duration = Duration::from_millis(200);
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS larder_migrations (
    name       text PRIMARY KEY,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)";

/// In order; no two have the same number.
#[derive(Debug)]
pub(crate) struct Migrations(Vec<Migration>);

#[derive(Debug)]
struct Migration {
    number: u64,
    name: String,
    path: PathBuf,
    text: String,
    checksum: String,
    is_transaction: bool,
}

/// What the database says about the files.
#[derive(Debug)]
struct Plan<'m> {
    applied: usize,
    open: Vec<&'m Migration>,
    /// Applied by someone who had files that are not here.
    unknown: Vec<String>,
}

impl Migrations {
    /// Those that ship, or those of the configured folder.
    ///
    /// # Errors
    /// All faults of all files.
    pub(crate) fn of(config: &Config) -> Result<Self, Faults> {
        match &config.schema {
            Some(directory) => Self::load(directory),
            None => Self::parse(SHIPPED.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned()))),
        }
    }

    fn load(directory: &Path) -> Result<Self, Faults> {
        let unreadable = |e: std::io::Error| {
            Faults::of_file(directory, format!("cannot read the folder of migrations: {e}"))
        };
        let mut faults = Faults::default();
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_none_or(|extension| extension != "sql") {
                continue;
            }
            let has_fit = fs::metadata(&path).is_ok_and(|file| file.len() <= MAX_FILE_BYTES);
            match fs::read_to_string(&path) {
                Ok(text) if has_fit => files.push((path, text)),
                Ok(_) => faults.push(&path, None, format!("has more than {MAX_FILE_BYTES} bytes")),
                Err(e) => faults.push(&path, None, format!("cannot be read: {e}")),
            }
        }
        if files.is_empty() && faults.is_empty() {
            return Err(Faults::of_file(
                directory,
                "has no migration: each is a file such as 0001_tables.sql",
            ));
        }
        match Self::parse(files) {
            Ok(migrations) => faults.or(migrations),
            Err(others) => {
                faults.extend(others);
                Err(faults)
            }
        }
    }

    fn parse(files: impl IntoIterator<Item = (PathBuf, String)>) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let mut migrations: Vec<Migration> = Vec::new();
        for (path, text) in files {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let Some(number) = number(&stem) else {
                faults.push(
                    &path,
                    None,
                    "is not called NNNN_name.sql, such as 0001_tables.sql: four digits, then what it does",
                );
                continue;
            };
            let is_transaction = match transaction(&text) {
                Ok(is_transaction) => is_transaction,
                Err(offset) => {
                    let message = "`transaction` is none, or is not said";
                    faults.push(&path, Some(Position::of(&text, offset)), message);
                    continue;
                }
            };
            let checksum = Sha256::digest(&text).iter().fold(String::new(), |mut hex, byte| {
                // Writing to a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            migrations.push(Migration { number, name: stem, path, text, checksum, is_transaction });
        }
        migrations.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
        for pair in migrations.windows(2) {
            if let [first, second] = pair
                && first.number == second.number
            {
                faults.push(&second.path, None, format!("has the number of {}", first.path.display()));
            }
        }
        faults.or(Self(migrations))
    }

    /// Holds the files against what was applied.
    fn plan(&self, applied: &[(String, String)]) -> Result<Plan<'_>, Faults> {
        let mut faults = Faults::default();
        let mut plan = Plan { applied: 0, open: Vec::new(), unknown: Vec::new() };
        let find = |migration: &Migration| applied.iter().find(|(name, _)| *name == migration.name);
        let last = self.0.iter().rfind(|migration| find(migration).is_some());
        for migration in &self.0 {
            match (find(migration), last) {
                (Some((_, checksum)), _) if *checksum != migration.checksum => {
                    let message = "was changed after it was applied to this database; undo the change, \
                                   and put what is to be different into a new file";
                    faults.push(&migration.path, None, message);
                }
                (Some(_), _) => plan.applied += 1,
                (None, Some(last)) if migration.number < last.number => {
                    let message = format!(
                        "comes before {}, which is applied already; give it a number after it",
                        last.name
                    );
                    faults.push(&migration.path, None, message);
                }
                (None, _) => plan.open.push(migration),
            }
        }
        let is_unknown = |name: &&String| !self.0.iter().any(|migration| migration.name == **name);
        plan.unknown = applied.iter().map(|(name, _)| name).filter(is_unknown).cloned().collect();
        faults.or(plan)
    }
}

/// Four digits or more, then `_name`.
fn number(stem: &str) -> Option<u64> {
    let (digits, name) = stem.split_once('_')?;
    let is_number = digits.len() >= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && !name.is_empty() { digits.parse().ok() } else { None }
}

/// Whether the file is to run in a transaction. On failure: where the top comment says something else.
fn transaction(text: &str) -> Result<bool, usize> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let Some(comment) = line.strip_prefix("--") else { break };
        if let Some(value) = comment.trim().strip_prefix("transaction:") {
            return if value.trim() == "none" { Ok(false) } else { Err(offset) };
        }
        offset += line.len();
    }
    Ok(true)
}

#[expect(clippy::print_stdout, reason = "the answer to the command")]
pub(crate) async fn run(config: &Config, migrations: &Migrations, is_plan: bool) -> Result<(), Exit> {
    let (mut client, database) = connect(config).await?;
    let plan = if is_plan {
        migrations.plan(&applied(&client).await?)?
    } else {
        lock(&client).await?;
        client.batch_execute(TABLE).await.map_err(|e| failed("make the table larder_migrations", &e))?;
        migrations.plan(&applied(&client).await?)?
    };
    for name in &plan.unknown {
        warn!(
            "{name} was applied to this database and is not among the files: they are older than the database"
        );
    }
    let cured = cure(&client, migrations, &plan, is_plan).await?;
    for migration in &plan.open {
        if is_plan {
            let how =
                if migration.is_transaction { "" } else { " (statement by statement, in no transaction)" };
            println!("would apply {}{how}", migration.name);
        } else {
            apply(&mut client, migration).await?;
            println!("applied {}", migration.name);
        }
    }
    match (plan.open.len(), is_plan) {
        (0, _) if cured > 0 => println!("{database}: {} migrations were applied before", plan.applied),
        (0, _) => println!("{database}: nothing to do, {} migrations were applied before", plan.applied),
        (open, true) => println!("{database}: {open} to apply, {} were applied before", plan.applied),
        (open, false) => println!("{database}: {open} applied now, {} before", plan.applied),
    }
    Ok(())
}

/// Sees to the indexes that are INVALID, and gives the number of those that needed it.
#[expect(clippy::print_stdout, reason = "the answer to the command")]
async fn cure(
    client: &Client,
    migrations: &Migrations,
    plan: &Plan<'_>,
    is_plan: bool,
) -> Result<usize, Exit> {
    let invalid =
        Invalid::all(client).await.map_err(|e| failed("look for indexes that are not valid", &e))?;
    let mut cured = 0;
    for index in &invalid {
        let Invalid { name, table } = index;
        // Not in a transaction, and without a lock that writers of the table would wait for.
        let (what, done, sql) = match index.cure(&migrations.0, &plan.open) {
            Cure::MakeAgain | Cure::Drop => ("drop", "dropped", format!("DROP INDEX CONCURRENTLY {name}")),
            Cure::Rebuild => ("rebuild", "rebuilt", format!("REINDEX INDEX CONCURRENTLY {name}")),
            Cure::LeaveAlone => {
                warn!(
                    "the index {name} on {table} is not valid: it costs writes and serves nothing. No file speaks of it, so it \
                     is left alone; REINDEX INDEX CONCURRENTLY {name} finishes it, DROP INDEX {name} gives it up"
                );
                continue;
            }
        };
        cured += 1;
        if is_plan {
            println!("would {what} the index {name} on {table}, which a build left invalid");
            continue;
        }
        if let Err(e) = client.batch_execute(&sql).await {
            // What this attempt left behind, if it was one to rebuild.
            for half in Invalid::all(client).await.unwrap_or_default() {
                if half.cure(&migrations.0, &plan.open) == Cure::Drop {
                    let _ = client.batch_execute(&format!("DROP INDEX CONCURRENTLY {}", half.name)).await;
                }
            }
            let what = format!("{what} the index {name} on {table}, which a build left invalid");
            return Err(match e.as_db_error() {
                Some(refusal) => Exit::failed(format!(
                    "cannot {what}: {} [SQLSTATE {}]; see to the rows that it cannot hold, and run this again",
                    refusal.message(),
                    refusal.code().code()
                )),
                None => failed(&what, &e),
            });
        }
        println!("{done} the index {name} on {table}, which a build left invalid");
    }
    Ok(cured)
}

/// To the primary, for writing, whichever of the servers that is now. Ends with the client.
pub(crate) async fn connect(config: &Config) -> Result<(Client, ServerUrl), Exit> {
    let mut primaries = Vec::new();
    let mut others = Vec::new();
    for url in config.database.servers.iter().map(|server| &server.url) {
        let asked = async {
            let (client, _) = url.connect(Purpose::Maintenance, config.database.connect_timeout).await?;
            let timeline = database::timeline_of_primary(&client).await?;
            Ok::<_, tokio_postgres::Error>((client, timeline))
        };
        match asked.await {
            Ok((client, Some(timeline))) => primaries.push((timeline, client, url.clone())),
            Ok((_, None)) => {
                others.push(format!("{url} is a replica, which takes no writes; name its primary"))
            }
            Err(e) => others.push(format!("cannot connect to {url}: {}", database::not_connected(&e))),
        }
    }
    // As for requests: of two primaries the one on the higher timeline is.
    let newest = primaries.iter().map(|(timeline, ..)| *timeline).max();
    primaries.retain(|(timeline, ..)| Some(*timeline) == newest);
    match primaries.pop() {
        Some((_, client, url)) if primaries.is_empty() => Ok((client, url)),
        Some(_) => {
            Err(Exit::failed("more than one server says that it is the primary; nothing was done".to_owned()))
        }
        None => Err(Exit::failed(others.join("\n"))),
    }
}

pub(crate) fn failed(what: &str, error: &tokio_postgres::Error) -> Exit {
    Exit::failed(format!("cannot {what}: {}", chain(error)))
}

/// Released with the connection. Asked for again and again: a statement that waits for it holds a snapshot, and the other run's
/// `CREATE INDEX CONCURRENTLY` would wait for that.
async fn lock(client: &Client) -> Result<(), Exit> {
    let mut has_said = false;
    loop {
        let row = client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]).await;
        if row.and_then(|row| row.try_get(0)).map_err(|e| failed("lock out other migrations", &e))? {
            return Ok(());
        }
        if !has_said {
            info!("another migration is running; waiting for its end");
            has_said = true;
        }
        sleep(LOCK_AGAIN).await;
    }
}

/// Names and checksums.
async fn applied(client: &Client) -> Result<Vec<(String, String)>, Exit> {
    let read = async {
        let exists = client.query_one("SELECT to_regclass('larder_migrations') IS NOT NULL", &[]).await?;
        if !exists.try_get::<_, bool>(0)? {
            return Ok(Vec::new());
        }
        let rows = client.query("SELECT name, checksum FROM larder_migrations ORDER BY name", &[]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    };
    read.await.map_err(|e| failed("read the table larder_migrations", &e))
}

async fn apply(client: &mut Client, migration: &Migration) -> Result<(), Exit> {
    const DONE: &str = "INSERT INTO larder_migrations (name, checksum) VALUES ($1, $2)";
    let broken = |e| failed(&format!("apply {}", migration.name), &e);
    if migration.is_transaction {
        // Rolled back when it is dropped.
        let transaction = client.transaction().await.map_err(broken)?;
        transaction.batch_execute(&migration.text).await.map_err(|e| refused(migration, 0, &e))?;
        transaction.execute(DONE, &[&migration.name, &migration.checksum]).await.map_err(broken)?;
        return transaction.commit().await.map_err(broken);
    }
    let statements = sql::statements(&migration.text).map_err(|(offset, what)| {
        let mut faults = Faults::default();
        faults.push(&migration.path, Some(Position::of(&migration.text, offset)), what);
        faults
    })?;
    for (start, statement) in statements {
        client.batch_execute(statement).await.map_err(|e| refused(migration, start, &e))?;
    }
    client.execute(DONE, &[&migration.name, &migration.checksum]).await.map(drop).map_err(broken)
}

/// The server's own words at the place in the file. `start` is where in the file the statement is that was sent.
fn refused(migration: &Migration, start: usize, error: &tokio_postgres::Error) -> Exit {
    let Some(refusal) = error.as_db_error() else {
        return failed(&format!("apply {}", migration.name), error);
    };
    let sent = migration.text.get(start..).unwrap_or_default();
    let position = match refusal.position() {
        Some(ErrorPosition::Original(nth)) => {
            let nth = usize::try_from(*nth).unwrap_or(usize::MAX).saturating_sub(1);
            let offset = sent.char_indices().nth(nth).map_or(sent.len(), |(offset, _)| offset);
            Some(Position::of(&migration.text, start + offset))
        }
        Some(ErrorPosition::Internal { .. }) | None => None,
    };
    let what_now = if migration.is_transaction {
        "nothing of this file was applied"
    } else {
        "what stands before it in this file was done; the file will run again from its start"
    };
    let message = format!("{} [SQLSTATE {}]; {what_now}", refusal.message(), refusal.code().code());
    let mut faults = Faults::default();
    faults.push(&migration.path, position, message);
    Exit::failed(faults.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(files: &[(&str, &str)]) -> Result<Migrations, Faults> {
        Migrations::parse(files.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())))
    }

    fn applied(migrations: &Migrations, names: &[&str]) -> Vec<(String, String)> {
        let of = |name: &&str| migrations.0.iter().find(|migration| migration.name == **name).unwrap();
        names.iter().map(of).map(|migration| (migration.name.clone(), migration.checksum.clone())).collect()
    }

    #[test]
    fn all_files_that_ship_are_in_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.retain(|path| path.is_file());
        names.sort();
        let names: Vec<_> = names.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, SHIPPED.map(|(name, _)| name));
    }

    #[test]
    fn files_run_in_the_order_of_their_numbers() {
        let migrations = parse(&[("0010_c.sql", "c"), ("0002_b.sql", "b"), ("0001_a.sql", "a")]).unwrap();
        let names: Vec<_> =
            migrations.plan(&[]).unwrap().open.iter().map(|migration| &*migration.name).collect();
        assert_eq!(names, ["0001_a", "0002_b", "0010_c"]);
        let plan = migrations.plan(&applied(&migrations, &["0001_a", "0002_b"])).unwrap();
        assert_eq!((plan.applied, plan.open.len()), (2, 1));
    }

    #[test]
    fn what_history_forbids_is_refused() {
        let old = parse(&[("0001_a.sql", "a"), ("0003_c.sql", "c")]).unwrap();
        let history = applied(&old, &["0001_a", "0003_c"]);
        let new = parse(&[("0001_a.sql", "A"), ("0002_b.sql", "b"), ("0003_c.sql", "c")]).unwrap();
        let said = new.plan(&history).unwrap_err().to_string();
        let expected = "0001_a.sql: was changed after it was applied to this database; undo the change, \
                        and put what is to be different into a new file\n\
                        0002_b.sql: comes before 0003_c, which is applied already; give it a number after it";
        assert_eq!(said, expected);
        let plan = parse(&[("0001_a.sql", "a")]).unwrap();
        assert_eq!(plan.plan(&history).unwrap().unknown, ["0003_c"]);
    }

    #[test]
    fn bad_names_and_headers_are_refused() {
        let bad = [
            ("1_a.sql", ""),
            ("0001.sql", ""),
            ("0002_a.sql", ""),
            ("0002_b.sql", ""),
            ("0003_c.sql", "-- x\n-- transaction: no\n"),
        ];
        let said = parse(&bad).unwrap_err().to_string();
        let expected = "0001.sql: is not called NNNN_name.sql, such as 0001_tables.sql: four digits, then what it does\n\
                        0002_b.sql: has the number of 0002_a.sql\n\
                        0003_c.sql:2:1: `transaction` is none, or is not said\n\
                        1_a.sql: is not called NNNN_name.sql, such as 0001_tables.sql: four digits, then what it does";
        assert_eq!(said, expected);
        assert!(!parse(&[("0001_a.sql", "-- why\n-- transaction: none\nx")]).unwrap().0[0].is_transaction);
        assert!(parse(&[("0001_a.sql", "\n-- transaction: none\nx")]).unwrap().0[0].is_transaction);
    }
}
