//! Reading the query files again while serving, by SIGHUP: read, check, prepare on every server that can be reached, swap. Files
//! with a fault change nothing, and neither do files that one server prepares and another one does not.
//!
//! Requests do not wait for it and do not fail for it: they end with the endpoints that they began with. Knows nothing of
//! the rest of the configuration, which is read at the start. Read next: `live.rs`; `database/lane.rs` for what becomes of
//! prepared statements.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future;
use tokio::signal::unix::Signal;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::catalogue::Catalogue;
use crate::catalogue::prepare::{self, NotPrepared};
use crate::check;
use crate::clock::Stopwatch;
use crate::config::{Config, Purpose};
use crate::database::{Opened, Target};
use crate::error::chain;
use crate::faults::Faults;
use crate::live::Live;
use crate::serve::Shared;

/// For a replica to replay the migration that ended just before the signal.
const REPLAY_PATIENCE: Duration = Duration::from_secs(3);
const REPLAY_PAUSE: Duration = Duration::from_millis(500);

/// Between two looks for requests that began with files that were replaced.
const END_PAUSE: Duration = Duration::from_millis(200);

/// What a reload did.
struct Reloaded {
    generation: u64,
    changes: Vec<String>,
    /// The servers that could not be asked, and why.
    not_asked: Vec<String>,
    replaced: Weak<Live>,
}

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Faults(#[from] Faults),
    #[error("no server could be asked whether it takes the statements:\n{}", .0.join("\n"))]
    NoServer(Vec<String>),
    #[error("reading them ended in a panic")]
    Panic,
}

/// Reads again at each signal, one after the other; signals that come meanwhile are one more. Never returns; ends with whoever
/// polls it.
pub(crate) async fn run(config: Config, shared: Arc<Shared>, mut hangup: Signal) {
    let read_plans = || check::warn_of_plans(config.clone(), catalogue(&shared), shared.targets.clone());
    // Ends with the set that serves.
    let mut reading = JoinSet::new();
    reading.spawn(read_plans());
    let (mut settling, mut replaced) = (JoinSet::new(), Vec::new());
    while hangup.recv().await.is_some() {
        if config.queries.is_none() {
            warn!(
                "SIGHUP: the query files that ship are part of the program: there is nothing to read again; \
                 `[queries] directory` names a folder of your own"
            );
            continue;
        }
        // It would take back what the next set has the feed tell.
        settling.shutdown().await;
        match reload(&config, &shared).await {
            Ok(Reloaded { generation, changes, not_asked, replaced: last }) => {
                info!(generation, ?changes, "query files reloaded");
                for server in not_asked {
                    warn!(
                        "was not asked whether it takes the statements, and will be when it is there: {server}"
                    );
                }
                replaced.push(last);
                reading.shutdown().await;
                reading.spawn(read_plans());
            }
            Err(refused) => {
                shared.metrics.reloads.refuse();
                error!("the new set of query files was refused, the old one goes on serving:\n{refused}");
            }
        }
        replaced.retain(|live: &Weak<Live>| live.strong_count() > 0);
        settling.spawn(settle(shared.clone(), replaced.clone()));
    }
    future::pending().await
}

async fn reload(config: &Config, shared: &Shared) -> Result<Reloaded, Refused> {
    let old = shared.live.load_full();
    let directory = config.queries.clone().unwrap_or_default();
    let catalogue =
        spawn_blocking(move || Catalogue::load(&directory)).await.map_err(|_| Refused::Panic)??;
    let catalogue = Arc::new(catalogue.keeping(&old.catalogue));
    let not_asked = ask_servers(config, &catalogue, &shared.targets).await?;
    let changes = catalogue.changes_since(&old.catalogue);
    let live = Arc::new(old.next(catalogue, &shared.metrics));
    shared.live.store(live.clone());
    if let Some(feed) = &shared.feed {
        feed.tell_also(&live.catalogue.mapping());
    }
    for session in shared.ready().flat_map(|database| database.sessions()) {
        session.forget_gone();
    }
    // What is counted is what serves: who waits for the generation meets it.
    shared.metrics.reloads.accept();
    let replaced = Arc::downgrade(&old);
    Ok(Reloaded { generation: live.generation, changes, not_asked, replaced })
}

fn catalogue(shared: &Shared) -> Arc<Catalogue> {
    shared.live.load().catalogue.clone()
}

/// When the last request has its answer that began with a set that was replaced, the feed need not tell of its tables any more.
async fn settle(shared: Arc<Shared>, replaced: Vec<Weak<Live>>) {
    let Some(feed) = &shared.feed else { return };
    while replaced.iter().any(|live| live.strong_count() > 0) {
        sleep(END_PAUSE).await;
    }
    feed.tell_only(&catalogue(&shared).mapping());
}

/// Whether every server takes every statement. Gives those that could not be asked; at least one was.
async fn ask_servers(
    config: &Config,
    catalogue: &Catalogue,
    targets: &[Arc<Target>],
) -> Result<Vec<String>, Refused> {
    let watch = Stopwatch::start();
    let (found, not_asked) = loop {
        let answers = future::join_all(targets.iter().map(|target| ask(target, config, catalogue))).await;
        let (mut found, mut not_asked) = (Vec::new(), Vec::new());
        for (target, answer) in targets.iter().zip(answers) {
            match answer {
                Ok(faults) => found.push((&*target.name, faults)),
                Err(why) => not_asked.push(format!("{} ({}): {why}", target.name, target.url)),
            }
        }
        let refusing: Vec<_> = found.iter().filter(|(_, faults)| !faults.is_empty()).collect();
        if refusing.is_empty() || refusing.len() == found.len() || watch.elapsed() > REPLAY_PATIENCE {
            break (found, not_asked);
        }
        let names: Vec<_> = refusing.iter().map(|(name, _)| *name).collect();
        info!("not every server takes the new query files, asking again for a moment: {}", names.join(", "));
        sleep(REPLAY_PAUSE).await;
    };
    Faults::of_servers(&found).or(())?;
    match found.is_empty() {
        true => Err(Refused::NoServer(not_asked)),
        false => Ok(not_asked),
    }
}

/// On a connection of its own: those that serve are not held up, and a server on which none serves, perhaps because of the very
/// file that was mended, is asked as well. `Err`: it says nothing, and why.
async fn ask(target: &Target, config: &Config, catalogue: &Catalogue) -> Result<Faults, String> {
    let connect_timeout = config.database.connect_timeout;
    // As long as a connection that serves may take for the same.
    let limit = connect_timeout * 2;
    let purpose = Purpose::Reads(config.database.statement_timeout);
    let asked = async {
        let Opened { client, is_pooled, .. } = target.open(purpose, connect_timeout).await?;
        let mut faults = Faults::default();
        for endpoint in &catalogue.endpoints {
            for mask in 0..endpoint.variants.len() {
                match prepare::variant(&client, endpoint, mask, is_pooled).await {
                    Ok(_) | Err(NotPrepared::NoSuch) => (),
                    Err(NotPrepared::Faults(others)) => faults.extend(others),
                    Err(NotPrepared::Connection(e)) => return Err(e),
                }
            }
        }
        Ok(faults)
    };
    let silent = |_| format!("no answer within {limit:?}");
    timeout(limit, asked).await.map_err(silent)?.map_err(|e: tokio_postgres::Error| chain(&e))
}
