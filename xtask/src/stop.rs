//! Ctrl-C and termination: everything that was started is stopped, in whatever phase the command is.
//!
//! Children do not get the signal by themselves when it was sent to this process alone, so they are kept here.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rig::{postgres::Cluster, process::Process};
use tokio::signal::unix::{SignalKind, signal};

/// What runs.
#[derive(Debug, Default)]
pub(crate) struct Running {
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// Stopped from the last to the first.
    pub(crate) processes: Vec<Process>,
}

static RUNNING: Mutex<Running> = Mutex::new(Running { cluster: None, processes: Vec::new() });

pub(crate) fn running() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on a signal stops everything and ends this process.
pub(crate) fn on_signals() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let caught = runtime.block_on(async {
            let listened = signal(SignalKind::interrupt())
                .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
            match listened {
                Ok((mut interrupt, mut terminate)) => {
                    // The other side waits for it.
                    let _ = ready.send(Ok(()));
                    tokio::select! {
                        _ = interrupt.recv() => true,
                        _ = terminate.recv() => true,
                    }
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    false
                }
            }
        });
        if caught {
            eprintln!("\nstopping");
            everything();
            std::process::exit(0);
        }
    });
    is_ready.recv().unwrap_or_else(|_| Err(std::io::Error::other("the signal thread ended")))
}

/// Stops all that runs, last started first. What cannot be stopped is killed.
pub(crate) fn everything() {
    let mut running = running();
    while let Some(mut process) = running.processes.pop() {
        if let Err(error) = process.stop() {
            eprintln!("{error}");
        }
    }
    if let Some(cluster) = running.cluster.take() {
        // Whoever else holds it may go on holding it; the servers end here, their folder goes with this process.
        let stopped = [cluster.stop_replica(), cluster.stop_primary()];
        for error in stopped.into_iter().filter_map(Result::err) {
            if !matches!(error, rig::postgres::PostgresError::NotRunning { .. }) {
                eprintln!("{error}");
            }
        }
    }
}

/// Stops everything at the end of a command that ran to its end.
pub(crate) struct AtEnd;

impl Drop for AtEnd {
    fn drop(&mut self) {
        everything();
    }
}

pub(crate) fn code(is_good: bool) -> ExitCode {
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
