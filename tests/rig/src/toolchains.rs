//! The toolchains of policies that are not in Rust: whether this machine has them, and where what they download is kept.
//!
//! Nothing outside the target folder is written, and a second run downloads nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

use crate::programs::{target_dir, workspace};

/// A language that policies can be written in, and what a new project of it is.
#[derive(Debug)]
pub struct Language {
    pub name: &'static str,
    /// As `larder policy new --lang` has it.
    pub lang: &'static str,
    /// The file of a new project in which the policy is.
    pub source: &'static str,
}

pub const RUST: Language = Language { name: "Rust", lang: "rust", source: "src/lib.rs" };
pub const JAVASCRIPT: Language = Language { name: "JavaScript", lang: "js", source: "policy.js" };
pub const PYTHON: Language = Language { name: "Python", lang: "python", source: "policy.py" };

impl Language {
    /// Why it cannot be built here: a program is missing, or its registry does not answer. Asked once.
    pub fn missing(&self) -> Option<&'static str> {
        static NPM: LazyLock<Option<String>> = LazyLock::new(npm_missing);
        static PIP: LazyLock<Option<String>> = LazyLock::new(pip_missing);
        match self.lang {
            "js" => NPM.as_deref(),
            "python" => PIP.as_deref(),
            // What the project itself is built with is here.
            _ => None,
        }
    }
}

fn npm_missing() -> Option<String> {
    let view = ["view", "componentize-qjs", "version", "--fetch-retries=0", "--fetch-timeout=20000"];
    tool_missing("node", &["--version"]).or_else(|| tool_missing("npm", &view))
}

/// A virtual environment brings a pip of its own, which the one of the system need not have.
fn pip_missing() -> Option<String> {
    let (venv, wheels) = (caches_dir().join("venv"), caches_dir().join("wheels"));
    let requirements = workspace().join("plugins/templates/python/requirements.txt");
    let [venv_text, wheels, requirements] =
        [&venv, &wheels, &requirements].map(|path| path.to_string_lossy().into_owned());
    let pip = venv.join("bin/python").to_string_lossy().into_owned();
    let quietly = ["-m", "pip", "download", "--quiet", "--no-deps", "--retries", "1", "--timeout", "20"];
    let download = [&quietly[..], &["--dest", &wheels, "--requirement", &requirements]].concat();
    tool_missing("python3", &["-m", "venv", &venv_text]).or_else(|| tool_missing(&pip, &download))
}

fn tool_missing(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    match with_caches(command.args(arguments)).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("`{program} {}`: {}", arguments.join(" "), said(&output))),
        Err(error) => Some(format!("`{program}`: {error}")),
    }
}

fn caches_dir() -> PathBuf {
    target_dir().join("policy-walk/caches")
}

/// What the command downloads is kept in the target folder.
pub fn with_caches(command: &mut Command) -> &mut Command {
    command
        .env("npm_config_cache", caches_dir().join("npm"))
        .env("npm_config_update_notifier", "false")
        .env("PIP_CACHE_DIR", caches_dir().join("pip"))
        .env("CARGO_TARGET_DIR", target_dir().join("policy-walk/cargo"))
}

/// All that a command has said.
pub fn said(output: &Output) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// An empty folder of this name, in the target folder.
pub fn empty_folder(name: &str) -> io::Result<PathBuf> {
    let folder = target_dir().join("policy-walk").join(name);
    remove(&folder)?;
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
