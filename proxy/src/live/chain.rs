//! The policies of each route, compiled and in their row.
//!
//! What the configuration already had is taken over as it is: its generation, its breaker and what was logged of it. Must
//! not know what a policy is asked. Next: `policy/row.rs`.

use std::{
    collections::HashMap,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use plugin_host::{Breaker, Engine, FaultKind, LoadError, Policy};
use sha2::{Digest as _, Sha256};

use crate::config::{Config, OnFault, PolicyUse};

/// A component larger than this is a mistake.
pub const MAX_COMPONENT_BYTES: u64 = 64 * 1024 * 1024;

/// The policies that a route's requests are put to, in their order.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    pub links: Box<[Link]>,
    /// Another number for another row of policies; 0 for an empty one. The same over a reload that changes none of them.
    pub generation: u64,
    pub decides_requests: bool,
    pub decides_responses: bool,
}

/// A policy in its place.
#[derive(Debug, Clone)]
pub struct Link {
    pub live: LivePolicy,
    pub on_fault: OnFault,
    /// What its parts of a key stand behind, and what it is counted as: its name, and a number if it is not the first of
    /// that name.
    pub marker: Box<str>,
    /// The file it came from.
    pub component: PathBuf,
}

/// A policy with its settings.
#[derive(Debug, Clone)]
pub struct LivePolicy {
    pub policy: Policy,
    /// Another number for another component or other settings; never 0. The same over a reload that changes
    /// neither.
    pub generation: u64,
    pub health: Arc<Health>,
    identity: Arc<PolicyIdentity>,
}

/// How a policy has done so far, in all its places and on all workers.
#[derive(Debug, Default)]
pub struct Health {
    pub breaker: Breaker,
    /// A bit for each kind of fault that was logged.
    logged: AtomicU8,
}

#[derive(Debug, PartialEq)]
struct PolicyIdentity {
    component: [u8; 32],
    settings: serde_json::Value,
}

/// Why a configuration cannot serve although its text is right.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("{file}:{line}:{column}: {place}: policy component {component}: {source}")]
    Unreadable {
        file: PathBuf,
        line: usize,
        column: usize,
        place: Box<str>,
        component: PathBuf,
        source: std::io::Error,
    },
    #[error("{file}:{line}:{column}: {place}: {source}")]
    Policy { file: PathBuf, line: usize, column: usize, place: Box<str>, source: LoadError },
    #[error(
        "{file}: {policies} policies on {workers} workers are more than there is room for ({room} instances, one for each \
         policy on each worker); give routes the same settings for a policy, or set fewer `workers`"
    )]
    NoRoom { file: PathBuf, policies: usize, workers: usize, room: u32 },
}

impl Health {
    /// Whether a fault of this kind is the first one.
    pub fn is_first(&self, kind: FaultKind) -> bool {
        let bit = 1 << kind as u8;
        self.logged.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}

/// A component that is not to be read from where it stands, under each of these names.
#[derive(Clone, Copy)]
pub struct Instead<'a> {
    pub files: &'a [PathBuf],
    pub wasm: &'a [u8],
}

/// Compiles the policies of a configuration, a row for each route; all faults at once. What `known` has already is not
/// compiled again, and a component that several routes use with the same settings is compiled once.
pub fn prepare(
    engine: &Engine,
    config: &Config,
    file: &Path,
    known: &[Chain],
    instead: Option<Instead<'_>>,
) -> Result<Vec<Chain>, Vec<PrepareError>> {
    let mut loader = Loader {
        engine,
        file,
        loaded: known.iter().flat_map(|chain| &chain.links).map(|link| link.live.clone()).collect(),
        read: HashMap::new(),
        faults: Vec::new(),
    };
    if let Some(Instead { files, wasm }) = instead {
        loader.read.extend(files.iter().map(|file| (file.clone(), Component::of(wasm.to_owned()))));
    }
    let of_all = loader.list(&config.policies, "every route");
    let mut chains: Vec<Chain> = Vec::with_capacity(config.routes.len());
    for route in &config.routes {
        let own = loader.list(&route.policies, &format!("route \"{}\"", route.name.as_str()));
        let uses = config.policies_of(route);
        let chain = Chain::of(uses.zip(of_all.iter().cloned().chain(own)), known.iter().chain(&chains));
        chains.push(chain);
    }
    let mut generations: Vec<u64> =
        chains.iter().flat_map(|chain| &chain.links).map(|link| link.live.generation).collect();
    generations.sort_unstable();
    generations.dedup();
    let (policies, workers, room) = (generations.len(), config.workers.get(), engine.instances_max());
    // One more for each while somebody asks for an explanation, and one while a policy is loaded.
    if policies * (workers + 1) >= usize::try_from(room).unwrap_or(usize::MAX) {
        loader.faults.push(PrepareError::NoRoom { file: file.to_owned(), policies, workers, room });
    }
    if loader.faults.is_empty() { Ok(chains) } else { Err(loader.faults) }
}

impl Chain {
    fn of<'k>(
        links: impl Iterator<Item = (&'k PolicyUse, LivePolicy)>,
        known: impl Iterator<Item = &'k Chain>,
    ) -> Chain {
        static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);
        let mut row: Vec<Link> = Vec::new();
        for (wanted, live) in links {
            let name = live.policy.name();
            let before = row.iter().filter(|link| link.live.policy.name() == name).count();
            let marker =
                if before == 0 { name.into() } else { format!("{name}/{}", before + 1).into_boxed_str() };
            row.push(Link { live, on_fault: wanted.on_fault, marker, component: wanted.component.clone() });
        }
        if row.is_empty() {
            return Chain::default();
        }
        let generations = |links: &[Link]| links.iter().map(|link| link.live.generation).collect::<Vec<_>>();
        let same = known.into_iter().find(|known| generations(&known.links) == generations(&row));
        let generation =
            same.map_or_else(|| NEXT_GENERATION.fetch_add(1, Ordering::Relaxed), |same| same.generation);
        Chain {
            generation,
            decides_requests: row.iter().any(|link| link.live.policy.decides_requests()),
            decides_responses: row.iter().any(|link| link.live.policy.decides_responses()),
            links: row.into(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }
}

/// What is read and loaded for one configuration.
struct Loader<'a> {
    engine: &'a Engine,
    file: &'a Path,
    loaded: Vec<LivePolicy>,
    read: HashMap<PathBuf, Component>,
    faults: Vec<PrepareError>,
}

struct Component {
    wasm: Vec<u8>,
    digest: [u8; 32],
}

impl Component {
    fn of(wasm: Vec<u8>) -> Component {
        Component { digest: Sha256::digest(&wasm).into(), wasm }
    }
}

impl Loader<'_> {
    fn list(&mut self, wanted: &[PolicyUse], place: &str) -> Vec<LivePolicy> {
        wanted.iter().filter_map(|wanted| self.one(wanted, place)).collect()
    }

    fn one(&mut self, wanted: &PolicyUse, place: &str) -> Option<LivePolicy> {
        let (file, place) = (self.file.to_owned(), place.into());
        let (line, column) = (wanted.position.line, wanted.position.column);
        if !self.read.contains_key(&wanted.component) {
            match read_component(&wanted.component) {
                Ok(wasm) => drop(self.read.insert(wanted.component.clone(), Component::of(wasm))),
                Err(source) => {
                    let component = wanted.component.clone();
                    self.faults.push(PrepareError::Unreadable {
                        file,
                        line,
                        column,
                        place,
                        component,
                        source,
                    });
                    return None;
                }
            }
        }
        let component = self.read.get(&wanted.component)?;
        let identity = PolicyIdentity { component: component.digest, settings: wanted.settings.clone() };
        if let Some(known) = self.loaded.iter().find(|known| *known.identity == identity) {
            return Some(known.clone());
        }
        static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);
        let name = wanted.component.display().to_string();
        match self.engine.load(&name, &component.wasm, &wanted.settings) {
            Ok(policy) => {
                let generation = NEXT_GENERATION.fetch_add(1, Ordering::Relaxed);
                let identity = Arc::new(identity);
                let live = LivePolicy { policy, generation, health: Arc::default(), identity };
                self.loaded.push(live.clone());
                Some(live)
            }
            Err(source) => {
                self.faults.push(PrepareError::Policy { file, line, column, place, source });
                None
            }
        }
    }
}

pub fn read_component(path: &Path) -> Result<Vec<u8>, std::io::Error> {
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

#[cfg(test)]
mod tests {
    use plugin_host::Limits;

    use super::*;

    #[test]
    fn more_policies_than_there_is_room_for_are_refused() {
        let built = rig::policies::build().unwrap_or_else(|error| panic!("{error}"));
        let folder = std::env::temp_dir().join(format!("larder-chain-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("larder.toml");
        let prepared = |instances: u32, name: &str| {
            let text = format!(
                "listen = [\"127.0.0.1:0\"]\nworkers = 2\n[[upstream]]\nservers = [\"http://127.0.0.1:1\"]\n\
                 [[policy]]\ncomponent = \"{0}/pass.wasm\"\n[[route]]\nname = \"all\"\npolicy = {{ component = \"{0}/{name}.wasm\" }}\n",
                built.display()
            );
            std::fs::write(&file, text).unwrap();
            let engine = Engine::new(Limits { instances, ..Limits::default() }).unwrap();
            prepare(&engine, &Config::load(&file).unwrap(), &file, &[], None).map(|_| ())
        };
        // Two for each worker, two for whoever asks why, and one to load them.
        assert!(prepared(7, "answer").is_ok());
        let refused = prepared(6, "answer").unwrap_err();
        let text = refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(
            text.contains("2 policies on 2 workers are more than there is room for (6 instances"),
            "{text}"
        );
        // The same with the same settings is one.
        assert!(prepared(6, "pass").is_ok());
        let _ = std::fs::remove_dir_all(&folder);
    }
}
