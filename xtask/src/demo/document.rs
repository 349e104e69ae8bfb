//! The walk of `docs/policies.md`: from an empty folder to a policy that serves in the running demo, and back.
//!
//! The commands are those of the document, in each language whose toolchain is here. One that is not here is not walked,
//! which is said loudly; whatever fails after its toolchain is there ends the walk.

use std::{
    fs, os,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rig::{
    programs::workspace,
    toolchains::{JAVASCRIPT, Language, PYTHON, RUST, empty_folder, said, with_caches},
};

use super::{system::System, walk::status};
use crate::Error;

/// The address that the document has for the demo.
const DOCUMENTED: &str = "http://127.0.0.1:8080";

pub(super) fn in_rust(system: &System) -> Result<String, Error> {
    walk(system, &RUST)
}

pub(super) fn in_javascript(system: &System) -> Result<String, Error> {
    walk(system, &JAVASCRIPT)
}

pub(super) fn in_python(system: &System) -> Result<String, Error> {
    walk(system, &PYTHON)
}

fn walk(system: &System, language: &Language) -> Result<String, Error> {
    if let Some(why) = language.missing() {
        return Ok(format!("NOT WALKED: {}: {why}", language.name));
    }
    let folder = empty_folder(&format!("walk-{}", language.lang))?;
    let programs = programs(system, &folder)?;
    let mut here = folder;
    let (mut commands, mut requests) = (0, 0);
    let mut seen = String::new();
    for command in commands_of_document()? {
        let command = command
            .replace("--lang rust", &format!("--lang {}", language.lang))
            .replace("src/lib.rs", language.source);
        if let Some(folder) = command.strip_prefix("cd ") {
            here = here.join(folder);
        } else if command.starts_with("curl ") {
            requests += 1;
            seen.push_str(&request(system, language, &command)?);
        } else {
            commands += usize::from(command.starts_with("larder "));
            run(system, &programs, &command, &here)?;
        }
    }
    // A document in which nothing is found anymore would pass, too.
    if commands < 8 || requests < 5 {
        return Err(format!("only {commands} commands and {requests} requests are in the document").into());
    }
    seen.push_str(&format!("{commands} commands of larder, {requests} requests"));
    Ok(seen)
}

/// A folder to look for programs in, with `larder` under its name.
fn programs(system: &System, folder: &Path) -> Result<PathBuf, Error> {
    let programs = folder.join("programs");
    fs::create_dir_all(&programs)?;
    os::unix::fs::symlink(&system.larder, programs.join("larder"))?;
    Ok(programs)
}

/// In their order: the lines of its blocks in `sh`, a here-document with its command.
fn commands_of_document() -> Result<Vec<String>, Error> {
    let text = fs::read_to_string(workspace().join("docs/policies.md"))?;
    let mut commands = Vec::new();
    for block in text.split("```sh\n").skip(1) {
        let mut lines = block.split("```").next().unwrap_or_default().lines();
        while let Some(line) = lines.next() {
            let mut command = line.to_owned();
            if line.ends_with("<<'END'") {
                for line in lines.by_ref() {
                    command.push_str(&format!("\n{line}"));
                    if line == "END" {
                        break;
                    }
                }
            }
            commands.push(command);
        }
    }
    Ok(commands)
}

/// As it stands in the document, but for the admin listener, which may have another port.
fn run(system: &System, programs: &Path, command: &str, here: &Path) -> Result<(), Error> {
    let speaks_to_proxy = ["deploy", "rollback", "list"]
        .iter()
        .any(|name| command.starts_with(&format!("larder policy {name}")));
    let admin = if speaks_to_proxy { format!(" --admin {}", system.admin_url()) } else { String::new() };
    let path = std::env::var("PATH")?;
    let mut shell = Command::new("sh");
    shell.args(["-ec", &format!("{command}{admin}")]).current_dir(here).stdin(Stdio::null());
    let output = with_caches(&mut shell).env("PATH", format!("{}:{path}", programs.display())).output()?;
    if output.status.success() { Ok(()) } else { Err(format!("{command}:\n{}", said(&output)).into()) }
}

/// `curl -i [-H 'name: value'] URL   # cache-status: what is expected`
fn request(system: &System, language: &Language, command: &str) -> Result<String, Error> {
    let malformed = || format!("not a request as the walk knows them: {command}");
    let (command, expected) = command.split_once("# cache-status: ").ok_or_else(malformed)?;
    let field = command.split('\'').nth(1).and_then(|field| field.split_once(": "));
    let (_, target) = command.trim().split_once(DOCUMENTED).ok_or_else(malformed)?;
    // What one language has left in the cache must not be another's.
    let target = format!("{target}?language={}", language.lang);
    let answer = system.get(&target, field.as_slice())?;
    let fields = field.map(|(name, value)| format!(" with {name}: {value}")).unwrap_or_default();
    if answer.status != 200 || !status(&answer).contains(expected) {
        let seen = (answer.status, status(&answer));
        return Err(format!("GET {target}{fields}: expected 200 and `{expected}`, saw {seen:?}").into());
    }
    Ok(format!("GET {target}{fields}: {}, {}\n", answer.status, status(&answer)))
}
