//! What the worker runs on: `origin.toml` and the environment, checked into plain data.
//!
//! ```toml
//! listen = "127.0.0.1:8081"
//! workers = 2                      # default: one for each core
//!
//! [database]
//! primary = "postgres://app@10.0.0.1/app"
//! replicas = ["postgres://app@10.0.0.2/app"]
//! statement_timeout = "30s"        # all keys and their defaults: docs/origin.md
//!
//! [database.slow]
//! connections = 7                  # to each server, of all workers
//!
//! [queries]
//! directory = "queries"            # default: the catalogue that ships
//!
//! [schema]
//! directory = "schema"             # migrations; default: those of the catalogue that ships
//!
//! [cursors]
//! key = "..."                      # what cursors are signed with; default: one of the process's own, lost with it
//! ```
//! What is measured and what raises an alert: `config/monitoring.rs`. The change feed: `config/feed.rs`.
//! `DATABASE_URL`, `REPLICA_URLS` (separated by commas) and `LARDER_CURSOR_KEY` stand in for `primary`, `replicas` and `key`, so
//! that secrets need no file.
//! All faults are found before any is reported. Read next: `config/section.rs`.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeTable;

use crate::faults::{Faults, Position};

mod database;
mod feed;
mod http_url;
mod monitoring;
mod section;
mod server_url;
mod socket;
mod tls;
#[cfg(test)]
mod tests;

pub(crate) use database::DatabaseConfig;
pub(crate) use feed::{FeedConfig, FeedSource};
pub(crate) use http_url::HttpUrl;
pub(crate) use monitoring::{Limits, Monitoring};
use section::{Report, Section};
pub(crate) use server_url::{Driver, PLAN_CACHE_MODE, Purpose, ServerUrl};
pub(crate) use socket::Socket;

/// Reached by the proxy on the same machine, by no one else.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8081);
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Of the key for cursors: whoever guesses it can make cursors, so nobody shall.
const MIN_KEY_BYTES: usize = 32;

#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) workers: NonZeroUsize,
    pub(crate) database: DatabaseConfig,
    /// `None`: the catalogue that ships.
    pub(crate) queries: Option<PathBuf>,
    /// `None`: the migrations that ship.
    pub(crate) schema: Option<PathBuf>,
    /// What cursors are signed with. `None`: each process makes its own, so its cursors end with it.
    pub(crate) cursor_key: Option<Secret>,
    pub(crate) monitoring: Monitoring,
    /// `None`: there is none.
    pub(crate) feed: Option<FeedConfig>,
}

/// A text that no log shows.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() < MIN_KEY_BYTES {
            return Err(format!("has fewer than {MIN_KEY_BYTES} bytes, so that it could be guessed"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What the environment says; empty variables are absent ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    pub(crate) database_url: Option<String>,
    pub(crate) replica_urls: Option<String>,
    pub(crate) cursor_key: Option<String>,
    pub(crate) alert_webhook: Option<String>,
}

impl Environment {
    #[must_use]
    pub(crate) fn of_process() -> Self {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            database_url: read("DATABASE_URL"),
            replica_urls: read("REPLICA_URLS"),
            cursor_key: read("LARDER_CURSOR_KEY"),
            alert_webhook: read("LARDER_ALERT_WEBHOOK"),
        }
    }
}

impl Config {
    /// Reads the file, if there is one, and the environment.
    ///
    /// # Errors
    /// All faults of both.
    pub(crate) fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, Faults> {
        let Some(path) = file else { return Self::parse("", Path::new("environment"), environment) };
        let unreadable = |e: std::io::Error| Faults::of_file(path, format!("cannot be read: {e}"));
        if fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE_BYTES {
            return Err(Faults::of_file(
                path,
                format!("has more than {MAX_FILE_BYTES} bytes, too many for a configuration"),
            ));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text, path, environment)
    }

    /// Checks the text of a file. `path` is for messages and for the folder that relative paths start from.
    ///
    /// # Errors
    /// All faults.
    pub(crate) fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Self, Faults> {
        let (tree, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let mut faults = Faults::default();
            for error in errors {
                let position = error.span().map(|span| Position::of(text, span.start));
                faults.push(path, position, error.message().trim_end().replace('\n', "; "));
            }
            return Err(faults);
        }
        let report = Report::new(path, text);
        let config = read(&report, Section::root(&report, tree.get_ref()), path, environment);
        let faults = report.into_faults();
        match config {
            Some(config) => faults.or(config),
            None => Err(faults),
        }
    }
}

fn read(
    report: &Report<'_>,
    mut root: Section<'_>,
    path: &Path,
    environment: &Environment,
) -> Option<Config> {
    let listen = root.get("listen").map_or(Some(DEFAULT_LISTEN), |value| value.parse("\"127.0.0.1:8081\""));
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let workers = root.get("workers").map_or(Some(cores), |value| NonZeroUsize::new(value.count(1..=1024)?));
    let database = match root.get("database") {
        Some(value) => value.section().and_then(|section| database::read(report, section, environment)),
        None => database::read(report, Section::empty(report, "database"), environment),
    };
    let mut directory = |key: &'static str, example: &str| match root.get(key) {
        Some(value) => value.section().map(|mut section| {
            let directory = section.get("directory").and_then(|value| value.string(example));
            section.finish();
            directory.map(|directory| path.parent().unwrap_or(Path::new("")).join(directory))
        }),
        None => Some(None),
    };
    let queries = directory("queries", "\"queries\"");
    let schema = directory("schema", "\"schema\"");
    let cursor_key = match root.get("cursors") {
        Some(value) => value.section().and_then(|section| cursors(report, section, environment)),
        None => cursors(report, Section::empty(report, "cursors"), environment),
    };
    let monitoring = match root.get("monitoring") {
        Some(value) => {
            value.section().and_then(|section| monitoring::read(report, Some(section), environment))
        }
        None => monitoring::read(report, None, environment),
    };
    let feed = match root.get("feed") {
        Some(value) => value.section().and_then(|section| feed::read(section, path)).map(Some),
        None => Some(None),
    };
    root.finish();
    Some(Config {
        listen: listen?,
        workers: workers?,
        database: database?,
        queries: queries?,
        schema: schema?,
        cursor_key: cursor_key?,
        monitoring: monitoring?,
        feed: feed?,
    })
}

fn cursors(
    report: &Report<'_>,
    mut section: Section<'_>,
    environment: &Environment,
) -> Option<Option<Secret>> {
    let key = match (section.get("key"), &environment.cursor_key) {
        (Some(value), _) => value.parse("what `openssl rand -hex 32` says").map(Some),
        (None, Some(key)) => {
            let parsed = key.parse().map_err(|why| report.fault_of_file(format!("LARDER_CURSOR_KEY: {why}")));
            parsed.ok().map(Some)
        }
        (None, None) => Some(None),
    };
    section.finish();
    key
}

/// A whole number with a unit: `500ms`, `30s`, `5m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let malformed = || format!("{text:?} is not a duration; write for example \"500ms\", \"30s\", \"5m\"");
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(malformed)?;
    let ms =
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(*unit_ms)).ok_or_else(malformed)?;
    Ok(Duration::from_millis(ms))
}

impl fmt::Display for Config {
    /// For the log: without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, server) in self.database.servers.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{} {}", server.name, server.url)?;
        }
        Ok(())
    }
}
