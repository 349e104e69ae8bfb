//! The two programs, built by cargo from the sources beside this crate.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    #[error("run cargo: {0}")]
    Run(#[source] io::Error),
    #[error("building the programs ended with {0}; what is wrong stands above")]
    Failed(ExitStatus),
}

/// How they are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Builds in a minute or two, and is fast enough for everything but benchmarks.
    Dev,
    Release,
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    pub larder: PathBuf,
    pub origin: PathBuf,
}

impl Programs {
    /// Builds both; quick when nothing changed. Progress and compiler messages go to standard error.
    pub fn build(profile: Profile) -> Result<Programs, ProgramsError> {
        // All of the workspace: the features of shared dependencies are then those that tests are built with, and nothing
        // is compiled a second time for other ones.
        build(profile, &["--workspace", "--bins"])?;
        Ok(Programs { larder: built(profile, "larder"), origin: built(profile, "larder-origin") })
    }
}

/// Has cargo build what `what` names.
pub fn build(profile: Profile, what: &[&str]) -> Result<(), ProgramsError> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).arg("build").args(what);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    let status = cargo.stdin(Stdio::null()).status().map_err(ProgramsError::Run)?;
    if status.success() { Ok(()) } else { Err(ProgramsError::Failed(status)) }
}

/// Where cargo puts a program.
pub fn built(profile: Profile, program: &str) -> PathBuf {
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    };
    target_dir().join(folder).join(program)
}

pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(elsewhere) => workspace().join(elsewhere),
        None => workspace().join("target"),
    }
}
