//! `larder policy new, build, inspect, test, bench`: from an empty folder to a component that is known to do what it
//! should. One file for each.
//!
//! They print to a person and need no running proxy. How a policy gets into one: `admin.rs`. What runs it: the crate
//! `plugin_host`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use plugin_host::{Engine, EngineError, Fault, Limits, LoadError, Policy, cases::CaseError};
use serde_json::Value;

mod new;
mod build;
mod inspect;
mod test;
mod bench;
mod case_files;

pub use bench::bench;
pub use build::build;
pub use inspect::inspect;
pub use new::new;
pub use test::test;

/// Why a command could not do what it was asked for. That a policy failed its cases is none: see [`test()`].
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("{what} {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is there already: nothing was written", .0.display())]
    IsThere(PathBuf),
    #[error("{0:?} is not a name for a policy: small letters, digits and dashes, a letter first, at most 64")]
    Name(String),
    #[error(
        "there is no template for C: Debian's wasi-libc knows wasm32-wasi alone, so that a component needs wit-bindgen \
         and wasm-tools, which Debian has not, and an adapter from elsewhere; the contract is wit/plugin.wit of a \
         project in another language"
    )]
    NoTemplateForC,
    #[error(
        "{}: neither Cargo.toml (Rust) nor package.json (JavaScript) nor pyproject.toml (Python); \
         `larder policy new` writes a project", .0.display()
    )]
    NoProject(PathBuf),
    #[error("{}: {fault}", path.display())]
    Project { path: PathBuf, fault: String },
    #[error("{tool} is not here: {remedy}")]
    Missing { tool: &'static str, remedy: &'static str },
    #[error("run `{command}`: {source}")]
    Run { command: String, source: io::Error },
    #[error("`{command}` ended with {status}; what is wrong stands above")]
    Failed { command: String, status: std::process::ExitStatus },
    #[error("{}: {fault}", path.display())]
    Cases { path: PathBuf, fault: String },
    #[error("{}: no case files (*.json) in it", .0.display())]
    NoCases(PathBuf),
    #[error("--settings: {0}")]
    Settings(#[source] serde_json::Error),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("write the answer: {0}")]
    Out(#[from] io::Error),
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ToolError {
    let path = path.to_owned();
    move |source| ToolError::File { what, path, source }
}

fn read_component(path: &Path) -> Result<Vec<u8>, ToolError> {
    fs::read(path).map_err(file_error("read", path))
}

fn engine() -> Result<Engine, ToolError> {
    Ok(Engine::new(Limits::default())?)
}

/// As a person reads it.
fn size(bytes: usize) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..1_000_000 => format!("{} KiB", bytes / 1024),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20),
    }
}

/// Loads a component once for all cases that have the same settings, and compiles it once for all.
struct Loader {
    engine: Engine,
    name: String,
    wasm: Vec<u8>,
    loaded: Vec<(Value, Policy)>,
}

impl Loader {
    fn new(engine: Engine, name: String, wasm: Vec<u8>) -> Loader {
        Loader { engine, name, wasm, loaded: Vec::new() }
    }

    fn load(&mut self, settings: &Value) -> Result<Policy, ToolError> {
        if let Some((_, policy)) = self.loaded.iter().find(|(known, _)| known == settings) {
            return Ok(policy.clone());
        }
        let policy = match self.loaded.first() {
            Some((_, compiled)) => self.engine.load_again(&self.name, compiled, settings)?,
            None => self.engine.load(&self.name, &self.wasm, settings)?,
        };
        self.loaded.push((settings.clone(), policy.clone()));
        Ok(policy)
    }
}
