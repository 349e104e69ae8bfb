//! One server process: started, asked whether it answers, stopped, killed.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{PATIENCE, PostgresError, file_error, folder::Folder, wire};

/// A port that was free a moment ago can be taken by now; five times in a row it is not.
const PORTS_TO_TRY: usize = 5;
/// Between two looks at a server that starts or ends.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// A server that has not ended by then is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
const LOG_END_LINES: usize = 20;

#[derive(Debug)]
pub(super) struct Server {
    name: &'static str,
    program: PathBuf,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Not started. Its data are in `<folder>/<name>`.
    pub(super) fn new(name: &'static str, programs: &Path, folder: &Folder) -> Server {
        Server {
            name,
            program: programs.join("postgres"),
            data: folder.path().join(name),
            log: folder.path().join(format!("{name}.log")),
            port: 0,
            child: None,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    pub(super) fn start_on_a_free_port(&mut self, folder: &Folder) -> Result<(), PostgresError> {
        let mut left = PORTS_TO_TRY;
        loop {
            self.port = free_port()?;
            left -= 1;
            match self.start(folder) {
                Err(PostgresError::Ended { .. }) if left > 0 => (),
                done => return done,
            }
        }
    }

    /// On its port. What a killed server left behind (its children, its shared memory) is there for a moment longer.
    pub(super) fn start_again(&mut self, folder: &Folder) -> Result<(), PostgresError> {
        let deadline = deadline();
        loop {
            match self.start(folder) {
                Err(PostgresError::Ended { .. }) if pause(deadline) => (),
                done => return done,
            }
        }
    }

    fn start(&mut self, folder: &Folder) -> Result<(), PostgresError> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(file_error("open", &self.log))?;
        let errors = log.try_clone().map_err(file_error("open", &self.log))?;
        let mut command = folder.command(&self.program);
        command.arg("-D").arg(&self.data).arg("-p").arg(self.port.to_string()).arg("-k").arg(folder.path());
        let started = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        let command = self.program.display().to_string();
        self.child = Some(started.map_err(|source| PostgresError::Run { command, source })?);
        let answered = self.wait_until_it_answers();
        if answered.is_err() {
            self.end("QUIT");
        }
        answered
    }

    fn wait_until_it_answers(&mut self) -> Result<(), PostgresError> {
        let (deadline, url) = (deadline(), self.url("postgres"));
        let data = self.data.to_string_lossy().into_owned();
        loop {
            // Someone else's server may have got the port; it would answer too.
            let last = match wire::value(&url, "SHOW data_directory") {
                Ok(directory) if directory == data => return Ok(()),
                Ok(directory) => format!("at its port answers the server of {directory}"),
                Err(error) => error.to_string(),
            };
            if !self.is_running() {
                self.child = None;
                let (server, log) = (self.name, self.log.clone());
                return Err(PostgresError::Ended { server, log, log_end: self.log_end() });
            }
            if !pause(deadline) {
                let (server, log) = (self.name, self.log.clone());
                return Err(PostgresError::Silent { server, last, log, log_end: self.log_end() });
            }
        }
    }

    fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    pub(super) fn kill(&mut self) -> Result<(), PostgresError> {
        let mut child = self.child.take().ok_or(PostgresError::NotRunning { server: self.name })?;
        let killed = child.kill().and_then(|()| child.wait());
        killed.map(drop).map_err(|source| PostgresError::Run { command: "kill".to_owned(), source })
    }

    pub(super) fn stop(&mut self) -> Result<(), PostgresError> {
        if self.child.is_none() {
            return Err(PostgresError::NotRunning { server: self.name });
        }
        self.end("INT");
        Ok(())
    }

    /// SIGINT is Postgres's fast shutdown: sessions are ended, data are written. SIGQUIT is the immediate one, which writes
    /// nothing: for data that nobody will read.
    fn end(&mut self, signal: &str) {
        if self.is_running()
            && let Some(child) = &self.child
        {
            // If it cannot be asked it is killed below.
            let (signal, process) = (format!("-{signal}"), child.id().to_string());
            drop(Command::new("kill").arg(signal).arg(process).stderr(Stdio::null()).status());
        }
        let deadline = now() + STOP_PATIENCE;
        while self.is_running() && pause(deadline) {}
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    fn log_end(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.len().saturating_sub(LOG_END_LINES);
        lines.get(start..).unwrap_or_default().iter().map(|line| format!("  {line}\n")).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end("QUIT");
    }
}

pub(super) fn free_port() -> Result<u16, PostgresError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let failed = |source| PostgresError::Connection { address: "127.0.0.1:0".to_owned(), source };
    bound.map(|address| address.port()).map_err(failed)
}

pub(super) fn deadline() -> Instant {
    now() + PATIENCE
}

/// Waits a moment; `false` when the time is up.
#[expect(
    clippy::disallowed_methods,
    reason = "another process's readiness can only be asked for again and again"
)]
pub(super) fn pause(deadline: Instant) -> bool {
    std::thread::sleep(LOOK_AGAIN);
    now() < deadline
}

#[expect(clippy::disallowed_methods, reason = "only bounds how long is waited for another process")]
fn now() -> Instant {
    Instant::now()
}
