//! PgBouncer in front of one server: found on the machine or installed, run as whoever Postgres runs as.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{Node, PostgresError, file_error, programs, server, value};

const PROGRAM: &str = "pgbouncer";
/// Packages put it where the PATH of a user who is not root does not look.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/local/bin"];
/// A port that was free a moment ago can be taken by now.
const PORTS_TO_TRY: usize = 5;

/// A running PgBouncer. Ended when it is dropped, before its cluster is: it lives in the cluster's folder.
#[derive(Debug)]
pub struct Pooler<'c> {
    child: Child,
    port: u16,
    node: Node<'c>,
}

/// The program, if the machine has it.
pub fn find_pooler() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(PROGRAM)).find(|program| program.is_file())
}

/// The program; installs it if the machine has none and we may.
pub fn ensure_pooler() -> Result<PathBuf, PostgresError> {
    static LOOKED: Mutex<()> = Mutex::new(());
    let _turn = LOOKED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(program) = find_pooler() {
        return Ok(program);
    }
    let tried = match programs::install(PROGRAM) {
        Ok(()) => "apt-get: done, and still it is not there".to_owned(),
        Err(error) => format!("apt-get: {error}"),
    };
    find_pooler().ok_or(PostgresError::NoPooler { tried })
}

impl<'c> Pooler<'c> {
    /// In transaction mode, for any database of a server, with settings of one's own: later ones win.
    pub fn start(node: Node<'c>, settings: &[(&str, &str)]) -> Result<Pooler<'c>, PostgresError> {
        let program = ensure_pooler()?;
        let mut left = PORTS_TO_TRY;
        loop {
            left -= 1;
            match Pooler::start_on(&program, node, server::free_port()?, settings) {
                Err(PostgresError::Ended { .. }) if left > 0 => (),
                done => return done,
            }
        }
    }

    fn start_on(
        program: &std::path::Path,
        node: Node<'c>,
        port: u16,
        settings: &[(&str, &str)],
    ) -> Result<Pooler<'c>, PostgresError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = node.folder();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| folder.path().join(format!("pooler-{number}.{kind}"));
        // By the last one the watchdog finds it, should we be killed.
        let (config, users, log, pid) = (file("ini"), file("users"), file("log"), file("pid"));
        folder.write(&users, "\"postgres\" \"\"\n")?;
        let mut text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\npidfile = {}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             admin_users = postgres\nmax_client_conn = 200\n",
            node.lock().port(),
            pid.display(),
            users.display(),
        );
        for (name, value) in settings {
            text.push_str(&format!("{name} = {value}\n"));
        }
        folder.write(&config, &text)?;
        let said = File::create(&log).map_err(file_error("create", &log))?;
        let errors = said.try_clone().map_err(file_error("create", &log))?;
        let started =
            folder.command(program).arg(&config).stdin(Stdio::null()).stdout(said).stderr(errors).spawn();
        let child = started
            .map_err(|source| PostgresError::Run { command: program.display().to_string(), source })?;
        let mut pooler = Pooler { child, port, node };
        let deadline = server::deadline();
        loop {
            let last = match value(&pooler.url_of("pgbouncer"), "SHOW VERSION") {
                Ok(version) if version.starts_with("PgBouncer") => return Ok(pooler),
                Ok(other) => format!("at its port answers {other}"),
                Err(error) => error.to_string(),
            };
            let log_end = || std::fs::read_to_string(&log).unwrap_or_default();
            if !matches!(pooler.child.try_wait(), Ok(None)) {
                return Err(PostgresError::Ended { server: PROGRAM, log: log.clone(), log_end: log_end() });
            }
            if !server::pause(deadline) {
                return Err(PostgresError::Silent {
                    server: PROGRAM,
                    last,
                    log: log.clone(),
                    log_end: log_end(),
                });
            }
        }
    }

    /// A database of the server, through it.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Major and minor number.
    pub fn version(&self) -> Result<(u32, u32), PostgresError> {
        let said = value(&self.url_of("pgbouncer"), "SHOW VERSION")?;
        let mut numbers =
            said.trim_start_matches("PgBouncer ").split('.').map(|part| part.parse().unwrap_or(0));
        Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
    }

    pub fn node(&self) -> Node<'c> {
        self.node
    }
}

impl Drop for Pooler<'_> {
    fn drop(&mut self) {
        // It holds nothing that is worth a farewell.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
