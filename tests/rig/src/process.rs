//! A program under test as a child process: its log read line by line, signals sent to it, ended with its owner.
//!
//! What the program is: `programs.rs`. Ctrl-C in a terminal reaches children by itself: they are in the
//! foreground group.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a program may take to say what is waited for: a cold machine with both cores busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the last lines of a program that has ended may be on their way.
const LAST_LINES: Duration = Duration::from_secs(5);
/// Lines kept for the message when something goes wrong.
const LOG_LINES: usize = 400;

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("start {program}: {source}")]
    Start { program: String, source: io::Error },
    #[error("{program} ended with {status} before it said {wanted:?}:\n{log}")]
    Ended { program: String, status: ExitStatus, wanted: String, log: String },
    #[error("{program} did not say {wanted:?} within {PATIENCE:?}:\n{log}")]
    Silent { program: String, wanted: String, log: String },
    #[error("{program} said {line:?}, which holds no address")]
    NoAddress { program: String, line: String },
    #[error("{what} {program}: {source}")]
    Control { what: &'static str, program: String, source: io::Error },
}

/// A running child. Killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: VecDeque<String>,
    /// Lines that left `lines` at the front.
    dropped: usize,
    /// Outputs that are not at their end.
    open: usize,
}

impl Process {
    /// Starts a program; its standard error is its log, and its standard output belongs to it too.
    pub fn start(name: &str, command: &mut Command) -> Result<Process, ProcessError> {
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.map_err(|source| ProcessError::Start { program: name.to_owned(), source })?;
        let log = Arc::new(Log::default());
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ];
        for output in outputs.into_iter().flatten() {
            log.lock().open += 1;
            let log = Arc::clone(&log);
            std::thread::spawn(move || log.follow(output));
        }
        Ok(Process { name: name.to_owned(), child, log })
    }

    /// Waits until the program has said a line that contains `wanted`, and gives that line.
    pub fn wait_for_line(&mut self, wanted: &str) -> Result<String, ProcessError> {
        let deadline = deadline();
        let mut next = 0;
        let mut state = self.log.lock();
        loop {
            while let Some(line) = state.lines.get(next.max(state.dropped) - state.dropped) {
                if line.contains(wanted) {
                    return Ok(line.clone());
                }
                next = next.max(state.dropped) + 1;
            }
            let left = deadline.saturating_duration_since(now());
            let (program, wanted) = (self.name.clone(), wanted.to_owned());
            if state.open == 0 {
                drop(state);
                let status = self.wait()?;
                return Err(ProcessError::Ended { program, status, wanted, log: self.log() });
            }
            if left.is_zero() {
                drop(state);
                return Err(ProcessError::Silent { program, wanted, log: self.log() });
            }
            state = self.log.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a log line that contains `wanted` and `address=`, and gives the address in it.
    pub fn wait_for_address(&mut self, wanted: &str) -> Result<SocketAddr, ProcessError> {
        let line = self.wait_for_line(wanted)?;
        let words = line.split_whitespace().filter_map(|word| word.strip_prefix("address="));
        let address = words.filter_map(|text| text.parse().ok()).next();
        address.ok_or(ProcessError::NoAddress { program: self.name.clone(), line })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `TERM`, `HUP`, `KILL`, `STOP`, `CONT`: the names of kill(1).
    pub fn signal(&self, signal: &str) -> Result<(), ProcessError> {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status();
        let failed = |source| ProcessError::Control { what: "signal", program: self.name.clone(), source };
        match sent {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(io::Error::other(format!("kill ended with {status}")))),
            Err(source) => Err(failed(source)),
        }
    }

    pub fn kill(&mut self) -> Result<ExitStatus, ProcessError> {
        let failed = |source| ProcessError::Control { what: "kill", program: self.name.clone(), source };
        self.child.kill().map_err(failed)?;
        self.wait()
    }

    /// Waits until it has ended and all that it said is in the log.
    pub fn wait(&mut self) -> Result<ExitStatus, ProcessError> {
        let waited = self.child.wait();
        let status = waited.map_err(|source| ProcessError::Control {
            what: "wait for",
            program: self.name.clone(),
            source,
        })?;
        // Its last lines may still be in the pipes. A child of its own may hold these open: then what is there will do.
        self.wait_for_outputs(now() + LAST_LINES);
        Ok(status)
    }

    /// Whether both outputs have come to their end, which they do when it ends.
    fn wait_for_outputs(&self, deadline: Instant) -> bool {
        let mut state = self.log.lock();
        while state.open > 0 {
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                return false;
            }
            state = self.log.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Asks it to stop and waits for that; kills it when it takes longer than a patient operator would wait.
    pub fn stop(&mut self) -> Result<ExitStatus, ProcessError> {
        self.signal("TERM")?;
        if self.wait_for_outputs(deadline()) { self.wait() } else { self.kill() }
    }

    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// The last lines it said.
    pub fn log(&self) -> String {
        self.log.lock().lines.iter().map(|line| format!("  {line}\n")).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            // Nothing is left to do if it cannot be killed.
            drop(self.kill());
        }
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, output: Box<dyn Read + Send>) {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { break };
            let mut state = self.lock();
            if state.lines.len() == LOG_LINES {
                state.lines.pop_front();
                state.dropped += 1;
            }
            state.lines.push_back(String::from_utf8_lossy(&line).into_owned());
            self.changed.notify_all();
        }
        self.lock().open -= 1;
        self.changed.notify_all();
    }
}

fn deadline() -> Instant {
    now() + PATIENCE
}

#[expect(clippy::disallowed_methods, reason = "only bounds how long is waited for another process")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_said_last_is_there_when_it_has_ended() {
        for _ in 0..50 {
            let mut process =
                Process::start("sh", Command::new("sh").args(["-c", "echo first; echo last"])).unwrap();
            assert!(process.wait().unwrap().success());
            assert_eq!(process.log(), "  first\n  last\n");
        }
    }
}
