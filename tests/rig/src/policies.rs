//! The policies that ship and the guests of the host's tests, built to components.
//!
//! Building is cargo's; this knows where the sources are and puts the results together under their names.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Mutex,
};

use crate::programs::{target_dir, workspace};

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "policy";
/// Folders of `plugins/` that are no policies; `guests` has one in each of its examples.
const NOT_POLICIES: [&str; 3] = ["host", "sdk", "guests"];

#[derive(Debug, thiserror::Error)]
pub enum PoliciesError {
    #[error("run `{command}`: {source}")]
    Run { command: String, source: io::Error },
    #[error("`{command}` ended with {status}:\n{stderr}")]
    Failed { command: String, status: std::process::ExitStatus, stderr: String },
    #[error(
        "the Rust standard library for {TARGET} is not installed, and `rustup target add {TARGET}` did not \
         install it: {why}"
    )]
    Target { why: Box<PoliciesError> },
    #[error("{what} {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
}

/// Builds all of them, once per process, and gives the folder with `<name>.wasm` for each: dashes in the
/// name as in its package or file. Several processes may do it at once.
pub fn build() -> Result<PathBuf, PoliciesError> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    // Whoever comes second waits for the first; one that failed is tried again.
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(folder) = &*built {
        return Ok(folder.clone());
    }
    let folder = build_all(&workspace())?;
    *built = Some(folder.clone());
    Ok(folder)
}

fn build_all(workspace: &Path) -> Result<PathBuf, PoliciesError> {
    ensure_target(workspace)?;
    let target_dir = target_dir();
    let policies = policy_packages(&workspace.join("plugins"))?;

    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace).args(["build", "--quiet", "--profile", PROFILE, "--target", TARGET]);
    cargo.arg("--target-dir").arg(&target_dir).args(["--lib", "--examples", "--package", "guests"]);
    for policy in &policies {
        cargo.args(["--package", policy]);
    }
    run(&mut cargo)?;

    let built = target_dir.join(TARGET).join(PROFILE);
    let folder = target_dir.join("policies");
    fs::create_dir_all(&folder).map_err(file_error("create", &folder))?;
    for policy in &policies {
        publish(&built, policy, &folder)?;
    }
    for guest in names_in(&workspace.join("plugins/guests/examples"))? {
        if let Some(guest) = guest.strip_suffix(".rs") {
            publish(&built.join("examples"), guest, &folder)?;
        }
    }
    Ok(folder)
}

/// The compiler knows best whether it has the standard library of a target, with rustup and without.
fn ensure_target(workspace: &Path) -> Result<(), PoliciesError> {
    let has_target = || {
        let mut rustc = Command::new("rustc");
        let output =
            run(rustc.current_dir(workspace).args(["--print", "target-libdir", "--target", TARGET]))?;
        Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
    };
    if has_target()? {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    run(rustup.current_dir(workspace).args(["target", "add", TARGET]))
        .map(drop)
        .map_err(|why| PoliciesError::Target { why: Box::new(why) })
}

fn policy_packages(plugins: &Path) -> Result<Vec<String>, PoliciesError> {
    let mut packages = names_in(plugins)?;
    packages.retain(|name| {
        !NOT_POLICIES.contains(&name.as_str()) && plugins.join(name).join("Cargo.toml").is_file()
    });
    Ok(packages)
}

/// Copies `<from>/<name_with_underscores>.wasm` to `<folder>/<name>.wasm`, whole or not at all, and only if
/// it has changed: who watches the file sees no change where there is none.
fn publish(from: &Path, name: &str, folder: &Path) -> Result<(), PoliciesError> {
    let source = from.join(format!("{}.wasm", name.replace('-', "_")));
    let component = fs::read(&source).map_err(file_error("read", &source))?;
    let path = folder.join(format!("{name}.wasm"));
    if fs::read(&path).is_ok_and(|present| present == component) {
        return Ok(());
    }
    let partial = folder.join(format!(".{name}.{}", std::process::id()));
    fs::write(&partial, component).map_err(file_error("write", &partial))?;
    fs::rename(&partial, &path).map_err(file_error("rename to", &path))
}

fn names_in(folder: &Path) -> Result<Vec<String>, PoliciesError> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(file_error("list", folder))?;
    let mut names: Vec<_> = entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

fn run(command: &mut Command) -> Result<Output, PoliciesError> {
    let shown = || {
        let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
        words.join(OsStr::new(" ")).to_string_lossy().into_owned()
    };
    let shown = shown();
    match command.output() {
        Ok(output) if output.status.success() => Ok(output),
        Ok(output) => {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(PoliciesError::Failed { command: shown, status: output.status, stderr })
        }
        Err(source) => Err(PoliciesError::Run { command: shown, source }),
    }
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PoliciesError {
    let path = path.to_owned();
    move |source| PoliciesError::File { what, path, source }
}
