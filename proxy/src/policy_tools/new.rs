//! `larder policy new`: a project that builds, from templates that are in this program.
//!
//! A template is itself a project, in `plugins/templates/`, of a policy called `per-currency`; here its name is replaced.

use std::{fs, io::Write, path::PathBuf};

use super::{ToolError, file_error};
use crate::cli::{Language, PolicyNew};

/// What a template's policy is called, in the three ways in which it is written.
const TEMPLATE_NAMES: [&str; 3] = ["per-currency", "per_currency", "PerCurrency"];
const NAME_BYTES_MAX: usize = 64;

/// Path in the project, and text.
type File = (&'static str, &'static str);

macro_rules! files {
    ($folder:literal: $($to:literal = $from:literal),+ $(,)?) => {
        &[$(($to, include_str!(concat!("../../../", $folder, "/", $from)))),+]
    };
}

/// The contract, in every project.
const WIT: &[File] = files!("wit": "wit/plugin.wit" = "plugin.wit");

const RUST: &[File] = files!("plugins/templates/rust":
    ".gitignore" = "gitignore",
    "Cargo.toml" = "Cargo.toml",
    "README.md" = "README.md",
    "src/lib.rs" = "src/lib.rs",
    "cases/per-currency.json" = "cases/per-currency.json",
    "larder/sdk/Cargo.toml" = "larder/sdk/Cargo.toml",
    "larder/sdk/derive/Cargo.toml" = "larder/sdk/derive/Cargo.toml",
);
/// The SDK as this program's own policies are built with it.
const SDK: &[File] = files!("plugins/sdk/src":
    "larder/sdk/src/bindings.rs" = "bindings.rs",
    "larder/sdk/src/decision.rs" = "decision.rs",
    "larder/sdk/src/glue.rs" = "glue.rs",
    "larder/sdk/src/inputs.rs" = "inputs.rs",
    "larder/sdk/src/json.rs" = "json.rs",
    "larder/sdk/src/lib.rs" = "lib.rs",
    "larder/sdk/src/settings.rs" = "settings.rs",
    "larder/sdk/src/settings/tests.rs" = "settings/tests.rs",
    "larder/sdk/src/testing.rs" = "testing.rs",
    "larder/sdk/src/testing/case_file.rs" = "testing/case_file.rs",
    "larder/sdk/src/testing/cases.rs" = "testing/cases.rs",
    "larder/sdk/src/testing/cases/tests.rs" = "testing/cases/tests.rs",
    "larder/sdk/src/tests.rs" = "tests.rs",
    "larder/sdk/src/time.rs" = "time.rs",
);
/// Its macro.
const DERIVE: &[File] = files!("plugins/sdk/derive/src": "larder/sdk/derive/src/lib.rs" = "lib.rs");
/// The versions that this program's own policies are built with; cargo takes out what the project does not need.
const LOCK: &[File] = &[("Cargo.lock", include_str!("../../../Cargo.lock"))];

const JS: &[File] = files!("plugins/templates/js":
    ".gitignore" = "gitignore",
    "README.md" = "README.md",
    "package.json" = "package.json",
    "package-lock.json" = "package-lock.json",
    "policy.js" = "policy.js",
    "larder.js" = "larder.js",
    "cases/per-currency.json" = "cases/per-currency.json",
);

const PYTHON: &[File] = files!("plugins/templates/python":
    ".gitignore" = "gitignore",
    "README.md" = "README.md",
    "pyproject.toml" = "pyproject.toml",
    "requirements.txt" = "requirements.txt",
    "policy.py" = "policy.py",
    "larder.py" = "larder.py",
    "cases/per-currency.json" = "cases/per-currency.json",
);

/// Writes the project and says what to do next.
///
/// # Errors
/// The name is none, or something is where the project would be: then nothing is written.
pub fn new(wanted: &PolicyNew, out: &mut dyn Write) -> Result<(), ToolError> {
    let parts: &[&[File]] = match wanted.lang {
        Language::Rust => &[RUST, WIT, SDK, DERIVE, LOCK],
        Language::Js => &[JS, WIT],
        Language::Python => &[PYTHON, WIT],
        Language::C => return Err(ToolError::NoTemplateForC),
    };
    let names = names(&wanted.name)?;
    let folder = wanted.dir.clone().unwrap_or_else(|| PathBuf::from(&wanted.name));
    // An empty folder is what somebody made for this.
    let is_empty = fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_none());
    if folder.symlink_metadata().is_ok() && !is_empty {
        return Err(ToolError::IsThere(folder));
    }
    for (to, text) in parts.iter().copied().flatten() {
        let path = folder.join(named(to, &names));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(file_error("create", parent))?;
        }
        // What this program's own crates are called is not the template's name.
        let text = if is_of_template(to) { named(text, &names) } else { (*text).to_owned() };
        fs::write(&path, text).map_err(file_error("write", &path))?;
    }
    let (name, folder) = (&wanted.name, folder.display());
    writeln!(out, "{folder}: a policy in {}", language(wanted.lang))?;
    writeln!(out, "\nNext:")?;
    writeln!(out, "  cd {folder}")?;
    writeln!(out, "  larder policy build                                build it to {name}.wasm")?;
    writeln!(out, "  larder policy test {name}.wasm --cases cases")?;
    writeln!(out, "  larder policy deploy {name}.wasm --route ROUTE     put it to use in a running proxy")?;
    Ok(())
}

const fn language(language: Language) -> &'static str {
    match language {
        Language::Rust => "Rust",
        Language::Js => "JavaScript",
        Language::Python => "Python",
        Language::C => "C",
    }
}

fn is_of_template(path: &str) -> bool {
    !path.starts_with("wit/") && !path.starts_with("larder/sdk/") && path != "Cargo.lock"
}

/// A name in the three ways in which it is written, or why it is none.
fn names(name: &str) -> Result<[String; 3], ToolError> {
    let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.ends_with('-')
        && !name.contains("--")
        && name.len() <= NAME_BYTES_MAX;
    if !is_name {
        return Err(ToolError::Name(name.to_owned()));
    }
    let capital = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    };
    Ok([name.to_owned(), name.replace('-', "_"), name.split('-').map(capital).collect()])
}

fn named(text: &str, names: &[String; 3]) -> String {
    TEMPLATE_NAMES.iter().zip(names).fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests;
