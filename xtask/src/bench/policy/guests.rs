//! Policies in other languages, as `larder policy new` and `larder policy build` make them.
//!
//! What they are built with (packages of npm and of PyPI) is kept beside the results, so that the next run has it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rig::programs::{self, Profile, workspace};

use crate::Error;

/// A language, and the sources that take the place of the template's.
pub(super) struct Guest {
    language: &'static str,
    name: &'static str,
    /// File in `tests/bench/policies`, and in the project.
    sources: &'static [(&'static str, &'static str)],
}

pub(super) const JAVASCRIPT: Guest =
    Guest { language: "js", name: "tenant-js", sources: &[("tenant.js", "policy.js"), ("key.js", "key.js")] };
pub(super) const PYTHON: Guest =
    Guest { language: "python", name: "tenant-py", sources: &[("tenant.py", "policy.py")] };
/// Packages come over a network: then a minute or two is usual.
const PATIENCE_SECONDS: &str = "240";

/// Builds it in a folder of its own in `tools`, and gives the component.
pub(super) fn build(guest: &Guest, folder: &Path, tools: &Path) -> Result<PathBuf, Error> {
    let larder = programs::built(Profile::Release, "larder");
    let (fresh, project) = (folder.join(guest.name), tools.join(guest.name));
    run(Command::new(&larder)
        .args(["policy", "new", guest.name, "--lang", guest.language, "--dir"])
        .arg(&fresh))?;
    for (from, to) in guest.sources {
        fs::copy(workspace().join("tests/bench/policies").join(from), fresh.join(to))?;
    }
    update(&fresh, &project)?;
    let mut build = Command::new("timeout");
    run(build.arg(PATIENCE_SECONDS).arg(&larder).args(["policy", "build"]).arg(&project))?;
    Ok(project.join(format!("{}.wasm", guest.name)))
}

/// Copies what differs, so that what was installed for unchanged files still counts as newer.
fn update(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (source, target) = (entry?.path(), to.to_owned());
        let Some(target) = source.file_name().map(|name| target.join(name)) else { continue };
        if source.is_dir() {
            update(&source, &target)?;
            continue;
        }
        let content = fs::read(&source)?;
        match fs::read(&target) {
            Ok(present) if present == content => (),
            Ok(_) => fs::write(&target, content)?,
            Err(error) if error.kind() == ErrorKind::NotFound => fs::write(&target, content)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Runs a step quietly; what it said is in the error.
pub(super) fn run(command: &mut Command) -> Result<(), Error> {
    let shown = format!("{command:?}").replace('"', "");
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<_> = said.trim().lines().rev().take(5).collect();
    let last: Vec<_> = last.into_iter().rev().collect();
    Err(format!("`{shown}` ended with {}: {}", output.status, last.join("; ")).into())
}
