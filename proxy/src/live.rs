//! What all workers share, and the configuration that serves at this moment.
//!
//! A configuration becomes a [`Live`] in whole or not at all: checked, every policy compiled, then swapped in
//! between two requests. Requests under way finish on the one they began with. Next: `reload.rs`, `worker.rs`.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use plugin_host::Engine;
use tokio::sync::Notify;

use crate::{
    audit::Audit,
    clock::Clock,
    coalesce::{Fills, Unshareable},
    config::{Config, Route},
    feed::Account,
    invalidations::{Invalidations, Purge, Sequence, Subject},
    memory::Memory,
    observe::WorkerMetrics,
    request::Target,
    searches::Searches,
    session,
    subscriptions::Subscriptions,
};

mod chain;

pub use chain::{
    Chain, Health, Instead, Link, LivePolicy, MAX_COMPONENT_BYTES, PrepareError, prepare, read_component,
};

/// Everything that is shared: one per process, behind an `Arc`.
pub struct Proxy {
    pub clock: Clock,
    pub memory: Arc<Memory>,
    pub invalidations: Arc<Invalidations>,
    /// What the change feed has told, if there is one.
    pub feed: Arc<Account>,
    pub audit: Audit,
    /// Told with every line of it.
    pub heard: Notify,
    /// For sessions, where the configuration has none.
    pub session_key: session::Key,
    pub fills: Arc<Fills>,
    pub unshareable: Unshareable,
    pub searches: Searches,
    pub subscriptions: Arc<Subscriptions>,
    pub metrics: Mutex<Vec<Arc<WorkerMetrics>>>,
    pub reload_failures: AtomicU64,
    live: ArcSwap<Live>,
    /// The generation of `live`, so that a worker sees with one load that nothing changed.
    generation: AtomicU64,
    /// The same, for those who wait for it to change.
    swapped: tokio::sync::watch::Sender<u64>,
    engine: Engine,
}

/// A configuration that serves.
#[derive(Debug)]
pub struct Live {
    pub generation: u64,
    pub config: Config,
    /// One per route of the configuration.
    pub chains: Vec<Chain>,
}

/// A configuration that could serve.
#[derive(Debug)]
pub struct Prepared {
    pub config: Config,
    chains: Vec<Chain>,
}

impl Proxy {
    /// `file` is where the configuration came from, for messages.
    pub fn new(
        config: Config,
        file: &Path,
        clock: Clock,
        engine: Engine,
    ) -> Result<Proxy, Vec<PrepareError>> {
        let chains = prepare(&engine, &config, file, &[], None)?;
        let invalidations: Arc<Invalidations> = Arc::default();
        Ok(Proxy {
            clock,
            memory: Arc::new(Memory::new(config.cache.memory_bytes)),
            feed: Arc::new(Account::new(Arc::clone(&invalidations))),
            audit: Audit::default(),
            heard: Notify::new(),
            session_key: session::Key::random(),
            invalidations,
            fills: Arc::default(),
            unshareable: Unshareable::default(),
            searches: Searches::default(),
            subscriptions: Arc::default(),
            metrics: Mutex::default(),
            reload_failures: AtomicU64::new(0),
            live: ArcSwap::from_pointee(Live { generation: 1, config, chains }),
            generation: AtomicU64::new(1),
            swapped: tokio::sync::watch::Sender::new(1),
            engine,
        })
    }

    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Tells whoever waits that another configuration serves.
    pub fn swaps(&self) -> tokio::sync::watch::Receiver<u64> {
        self.swapped.subscribe()
    }

    /// Compiles what is new in `config` and swaps it in. On failure nothing has changed. Takes as long as
    /// compiling does: not to be called on a worker's thread.
    pub fn replace(&self, config: Config, file: &Path) -> Result<Arc<Live>, Vec<PrepareError>> {
        let prepared = self.prepare(config, file, None)?;
        Ok(self.swap_in(prepared))
    }

    /// The first half of [`Self::replace`]: compiles, with one component taken from memory.
    pub fn prepare(
        &self,
        config: Config,
        file: &Path,
        instead: Option<Instead<'_>>,
    ) -> Result<Prepared, Vec<PrepareError>> {
        let chains = prepare(&self.engine, &config, file, &self.live().chains, instead)?;
        Ok(Prepared { config, chains })
    }

    /// The other half. Callers see to it that nobody else is between the two.
    pub fn swap_in(&self, prepared: Prepared) -> Arc<Live> {
        let Prepared { config, chains } = prepared;
        let live = Arc::new(Live { generation: self.live().generation + 1, config, chains });
        self.live.store(Arc::clone(&live));
        self.generation.store(live.generation, Ordering::Release);
        self.swapped.send_replace(live.generation);
        live
    }

    /// Ends what is stored for a target of a host. Where queries of its path are equal by a rule of the upstream, all of the
    /// path: which of them are equal may have been said by a response that is under way, or is no longer known.
    pub fn purge_url(&self, host: &str, target: &str, purge: Purge) -> Sequence {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        self.invalidations.purge(Subject::Url { host, target }, purge);
        // A route may have it under a query in another form.
        if target.len() > path.len()
            && let Ok(written) = Target::of_url(&format!("http://{host}{target}"))
        {
            let normal = self.normalised(written);
            let target = normal.path_and_query().as_str();
            self.invalidations.purge(Subject::Url { host, target }, purge);
        }
        self.invalidations.purge(Subject::Searched { host, path }, purge)
    }

    /// A target as the route that takes a GET for it has it.
    pub fn normalised(&self, mut target: Target) -> Target {
        let live = self.live();
        let takes = |route: &&Route| {
            route.matcher.matches(target.host_name(), target.path(), &http::Method::GET).is_some()
        };
        let route = live.config.routes.iter().find(takes);
        if let Some(rules) = route.and_then(|route| route.key.query.as_ref()) {
            target.normalise_query(rules);
        }
        target
    }

    /// The counters of one more worker.
    pub fn register_worker(&self) -> Arc<WorkerMetrics> {
        let metrics = Arc::new(WorkerMetrics::default());
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&metrics));
        metrics
    }

    pub fn worker_metrics(&self) -> Vec<Arc<WorkerMetrics>> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Validates everything a run would, without running.
pub fn check(config: &Config, file: &Path, engine: &Engine) -> Result<(), Vec<PrepareError>> {
    prepare(engine, config, file, &[], None).map(|_| ())
}
