//! What all workers share, and the configuration that serves at this moment.
//!
//! A configuration becomes a [`Live`] in whole or not at all: checked, every policy compiled, then swapped in
//! between two requests. Requests under way finish on the one they began with. Next: `reload.rs`, `worker.rs`.

use std::{
    collections::HashMap,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use plugin_host::{Engine, LoadError, Policy};

use crate::{
    clock::Clock,
    coalesce::{Fills, Unshareable},
    config::{Config, PolicyUse, Route},
    invalidations::{Invalidations, Purge, Sequence, Subject},
    memory::Memory,
    observe::WorkerMetrics,
    request::Target,
    searches::Searches,
};

/// Everything that is shared: one per process, behind an `Arc`.
pub struct Proxy {
    pub clock: Clock,
    pub memory: Arc<Memory>,
    pub invalidations: Arc<Invalidations>,
    pub fills: Arc<Fills>,
    pub unshareable: Unshareable,
    pub searches: Searches,
    pub metrics: Mutex<Vec<Arc<WorkerMetrics>>>,
    pub reload_failures: AtomicU64,
    live: ArcSwap<Live>,
    /// The generation of `live`, so that a worker sees with one load that nothing changed.
    generation: AtomicU64,
    engine: Engine,
}

/// A configuration that serves.
#[derive(Debug)]
pub struct Live {
    pub generation: u64,
    pub config: Config,
    /// One per route of the configuration.
    pub policies: Vec<Option<LivePolicy>>,
}

/// A compiled policy in its place.
#[derive(Debug, Clone)]
pub struct LivePolicy {
    pub policy: Policy,
    /// Another number for another component or other settings; never 0. The same over a reload that changes
    /// neither.
    pub generation: u64,
    identity: Arc<PolicyIdentity>,
}

#[derive(Debug, PartialEq)]
struct PolicyIdentity {
    wasm: Vec<u8>,
    settings: serde_json::Value,
}

/// Why a configuration cannot serve although its text is right.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("{file}:{line}:{column}: route \"{route}\": policy component {component}: {source}")]
    Unreadable {
        file: PathBuf,
        line: usize,
        column: usize,
        route: Box<str>,
        component: PathBuf,
        source: std::io::Error,
    },
    #[error("{file}:{line}:{column}: route \"{route}\": {source}")]
    Policy { file: PathBuf, line: usize, column: usize, route: Box<str>, source: LoadError },
}

/// A component larger than this is a mistake.
const MAX_COMPONENT_BYTES: u64 = 64 * 1024 * 1024;

impl Proxy {
    /// `file` is where the configuration came from, for messages.
    pub fn new(
        config: Config,
        file: &Path,
        clock: Clock,
        engine: Engine,
    ) -> Result<Proxy, Vec<PrepareError>> {
        let policies = prepare(&engine, &config, file, &[])?;
        Ok(Proxy {
            clock,
            memory: Arc::new(Memory::new(config.cache.memory_bytes)),
            invalidations: Arc::default(),
            fills: Arc::default(),
            unshareable: Unshareable::default(),
            searches: Searches::default(),
            metrics: Mutex::default(),
            reload_failures: AtomicU64::new(0),
            live: ArcSwap::from_pointee(Live { generation: 1, config, policies }),
            generation: AtomicU64::new(1),
            engine,
        })
    }

    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Compiles what is new in `config` and swaps it in. On failure nothing has changed. Takes as long as
    /// compiling does: not to be called on a worker's thread.
    pub fn replace(&self, config: Config, file: &Path) -> Result<Arc<Live>, Vec<PrepareError>> {
        let old = self.live();
        let policies = prepare(&self.engine, &config, file, &old.policies)?;
        let live = Arc::new(Live { generation: old.generation + 1, config, policies });
        self.live.store(Arc::clone(&live));
        self.generation.store(live.generation, Ordering::Release);
        Ok(live)
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

/// Compiles the policies of a configuration; all faults at once. What `known` has already is not compiled
/// again, and a component that several routes use with the same settings is compiled once.
fn prepare(
    engine: &Engine,
    config: &Config,
    file: &Path,
    known: &[Option<LivePolicy>],
) -> Result<Vec<Option<LivePolicy>>, Vec<PrepareError>> {
    let mut compiled: Vec<LivePolicy> = known.iter().flatten().cloned().collect();
    let mut read: HashMap<&Path, Vec<u8>> = HashMap::new();
    let mut faults = Vec::new();
    let mut policies = Vec::with_capacity(config.routes.len());
    for route in &config.routes {
        let Some(wanted) = &route.policy else {
            policies.push(None);
            continue;
        };
        match prepare_one(engine, wanted, &mut read, &mut compiled) {
            Ok(policy) => policies.push(Some(policy)),
            Err(fault) => faults.push(fault.at(file, wanted, route.name.as_str())),
        }
    }
    if faults.is_empty() { Ok(policies) } else { Err(faults) }
}

enum PrepareFault {
    Unreadable(std::io::Error),
    Policy(LoadError),
}

impl PrepareFault {
    fn at(self, file: &Path, wanted: &PolicyUse, route: &str) -> PrepareError {
        let (file, route) = (file.to_owned(), route.into());
        let (line, column) = (wanted.position.line, wanted.position.column);
        match self {
            PrepareFault::Unreadable(source) => {
                let component = wanted.component.clone();
                PrepareError::Unreadable { file, line, column, route, component, source }
            }
            PrepareFault::Policy(source) => PrepareError::Policy { file, line, column, route, source },
        }
    }
}

fn prepare_one<'c>(
    engine: &Engine,
    wanted: &'c PolicyUse,
    read: &mut HashMap<&'c Path, Vec<u8>>,
    compiled: &mut Vec<LivePolicy>,
) -> Result<LivePolicy, PrepareFault> {
    let wasm = match read.entry(&wanted.component) {
        std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
        std::collections::hash_map::Entry::Vacant(vacant) => {
            vacant.insert(read_component(&wanted.component).map_err(PrepareFault::Unreadable)?)
        }
    };
    let is_wanted =
        |known: &&LivePolicy| known.identity.wasm == *wasm && known.identity.settings == wanted.settings;
    if let Some(known) = compiled.iter().find(is_wanted) {
        return Ok(known.clone());
    }
    static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);
    let name = wanted.component.display().to_string();
    let policy = engine.load(&name, wasm, &wanted.settings).map_err(PrepareFault::Policy)?;
    let live = LivePolicy {
        policy,
        generation: NEXT_GENERATION.fetch_add(1, Ordering::Relaxed),
        identity: Arc::new(PolicyIdentity { wasm: wasm.clone(), settings: wanted.settings.clone() }),
    };
    compiled.push(live.clone());
    Ok(live)
}

fn read_component(path: &Path) -> Result<Vec<u8>, std::io::Error> {
    // Looked at before it is opened: to open a pipe is to wait for its other end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("is not a regular file"));
    }
    let mut wasm = Vec::new();
    std::fs::File::open(path)?.take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut wasm)?;
    if wasm.len() as u64 > MAX_COMPONENT_BYTES {
        let text = format!("is larger than {MAX_COMPONENT_BYTES} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, text));
    }
    Ok(wasm)
}

/// Validates everything a run would, without running.
pub fn check(config: &Config, file: &Path, engine: &Engine) -> Result<(), Vec<PrepareError>> {
    prepare(engine, config, file, &[]).map(|_| ())
}
