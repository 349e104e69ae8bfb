//! One server of a cluster and what can happen to it: it dies, comes back, becomes the primary, follows another one, falls
//! behind, loses its connections.
//!
//! Nothing here looks after anything else: an old primary that comes back still believes that it is the primary.

use std::{
    fs,
    path::PathBuf,
    sync::{MutexGuard, PoisonError},
};

use super::{
    Cluster, PostgresError, file_error,
    folder::Folder,
    run,
    server::{self, Server},
    wire::{query, value},
};

/// A name for one server of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Node<'c> {
    cluster: &'c Cluster,
    index: usize,
}

impl<'c> Node<'c> {
    pub(super) fn of(cluster: &'c Cluster, number: usize) -> Node<'c> {
        // The first primary is the last of the list.
        Node { cluster, index: cluster.servers.len().saturating_sub(1).saturating_sub(number) }
    }

    pub(super) fn lock(self) -> MutexGuard<'c, Server> {
        // There is at least one, and the index is below their number.
        self.cluster.servers[self.index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn folder(self) -> &'c Folder {
        &self.cluster.folder
    }

    /// The database `postgres` on it.
    pub fn url(self) -> String {
        self.url_of("postgres")
    }

    pub fn url_of(self, database: &str) -> String {
        self.lock().url(database)
    }

    pub fn log(self) -> PathBuf {
        self.lock().log().to_owned()
    }

    /// As a power cut would, but for what its sessions are doing in this very moment; its port stays its own.
    pub fn kill(self) -> Result<(), PostgresError> {
        self.lock().kill()
    }

    /// Asks it to end and waits for that: connections are told that the administrator ended them.
    pub fn stop(self) -> Result<(), PostgresError> {
        self.lock().stop()
    }

    /// As what it was before, on the same port. Answers when this returns.
    pub fn start(self) -> Result<(), PostgresError> {
        self.lock().start_again(&self.cluster.folder)
    }

    /// Makes a primary of a replica. Takes writes when this returns.
    pub fn promote(self) -> Result<(), PostgresError> {
        query(&self.url(), "SELECT pg_promote(false)")?;
        self.wait_until("SELECT NOT pg_is_in_recovery()", "its promotion")
    }

    /// A replica gets its changes from another server from now on, across the promotion of that one.
    pub fn follow(self, primary: Node<'_>) -> Result<(), PostgresError> {
        let port = primary.lock().port();
        let sql = format!("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port={port} user=postgres'");
        query(&self.url(), &sql)?;
        query(&self.url(), "SELECT pg_reload_conf()")?;
        self.wait_for(primary)
    }

    /// Whatever it was, it is a replica of another server now, with a fresh copy of its data.
    pub fn become_replica_of(self, primary: Node<'_>) -> Result<(), PostgresError> {
        match self.kill() {
            Ok(()) | Err(PostgresError::NotRunning { .. }) => (),
            Err(error) => return Err(error),
        }
        let data = self.lock().data().to_owned();
        fs::remove_dir_all(&data).map_err(file_error("remove", &data))?;
        self.copy_from(primary)?;
        self.start()?;
        self.wait_for(primary)
    }

    pub(super) fn copy_from(self, primary: Node<'_>) -> Result<(), PostgresError> {
        let Cluster { programs, folder, .. } = self.cluster;
        let data = self.lock().data().to_owned();
        let port = primary.lock().port().to_string();
        // `-R` makes it a standby of this primary; `-c fast` does not wait for the next checkpoint.
        run(folder.command(&programs.join("pg_basebackup")).arg("-D").arg(&data).args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
        ]))
        .map(drop)
    }

    /// The replica goes on receiving and shows nothing of it.
    pub fn pause_replay(self) -> Result<(), PostgresError> {
        query(&self.url(), "SELECT pg_wal_replay_pause()")?;
        // The call only asks for it.
        self.wait_until("SELECT pg_get_wal_replay_pause_state() = 'paused'", "the pause of its replay")
    }

    pub fn resume_replay(self) -> Result<(), PostgresError> {
        query(&self.url(), "SELECT pg_wal_replay_resume()").map(drop)
    }

    /// Ends all sessions of clients but the one that asks; says how many there were.
    pub fn cut_sessions(self) -> Result<usize, PostgresError> {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        Ok(value(&self.url(), sql)?.parse().unwrap_or(0))
    }

    /// Returns when the replica shows all that another server has committed by now.
    pub fn wait_for(self, primary: Node<'_>) -> Result<(), PostgresError> {
        // The position after the last record is reached only with a next one, so this makes one, and writes it.
        let sql = "SELECT pg_current_wal_insert_lsn(); SELECT pg_logical_emit_message(true, 'rig', '')";
        let lsn = value(&primary.url(), sql)?;
        self.wait_until(&format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{lsn}', false)"), &lsn)
    }

    fn wait_until(self, sql: &str, what: &str) -> Result<(), PostgresError> {
        let (url, deadline) = (self.url(), server::deadline());
        while value(&url, sql)? != "t" {
            if !server::pause(deadline) {
                let server = self.lock().name();
                return Err(PostgresError::Behind { server, what: what.to_owned() });
            }
        }
        Ok(())
    }
}
