//! `[database]`: the servers, and how many connections they get for what. `docs/origin.md` is what operators read.

use std::time::Duration;

use super::section::{Report, Section, Value};
use super::{Environment, ServerUrl};
use crate::catalogue::LaneKind;

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const DEFAULT_STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(10);
/// Longer than any burst, shorter than what anyone would call a copy.
const DEFAULT_MAX_LAG: Duration = Duration::from_secs(60);
/// By kind. Together with the one that watches the server these are twenty. Of fast ones two for each worker are best: more
/// share the server's cores worse.
const DEFAULT_CONNECTIONS: [usize; LaneKind::ALL.len()] = [4, 7, 8];
/// Beyond this a pipeline only gets longer, not faster.
const DEFAULT_PIPELINE: usize = 64;
const DEFAULT_QUEUE: usize = 1000;
/// Sets of servers have a bit for each.
const MAX_SERVERS: usize = 64;
const EXAMPLE: &str = "\"postgres://user@127.0.0.1:5432/app\"";

#[derive(Debug, Clone)]
pub(crate) struct DatabaseConfig {
    /// At least one. The primary is who says it is.
    pub(crate) servers: Vec<NamedServer>,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    /// A replica further behind is left alone, whatever an endpoint says, as long as there is a primary.
    pub(crate) max_lag: Duration,
    /// Whether every server is known to be behind a pooler that shares sessions.
    pub(crate) is_pooled: bool,
    lanes: [LaneConfig; LaneKind::ALL.len()],
}

#[derive(Debug, Clone)]
pub(crate) struct NamedServer {
    pub(crate) name: String,
    pub(crate) url: ServerUrl,
}

/// What one kind of connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneConfig {
    /// To each server, of all workers together.
    pub(crate) connections: usize,
    /// How many may be in flight on one.
    pub(crate) pipeline: usize,
    /// How many may wait, in each worker.
    pub(crate) queue: usize,
    pub(crate) max_wait: Duration,
    pub(crate) statement_timeout: Duration,
}

impl LaneConfig {
    /// Shared out, and at least one.
    pub(crate) fn of_worker(&self, workers: usize) -> usize {
        (self.connections / workers.max(1)).max(1)
    }
}

impl DatabaseConfig {
    pub(crate) fn lane(&self, kind: LaneKind) -> &LaneConfig {
        &self.lanes[kind as usize]
    }
}

pub(super) fn read(
    report: &Report<'_>,
    mut section: Section<'_>,
    environment: &Environment,
) -> Option<DatabaseConfig> {
    let servers = servers(report, &mut section, environment);
    let limits = Duration::from_millis(1)..=Duration::from_secs(3600);
    let mut duration = |key: &'static str, default: Duration| {
        section.get(key).map_or(Some(default), |value| value.duration(limits.clone()))
    };
    let connect_timeout = duration("connect_timeout", DEFAULT_CONNECT_TIMEOUT);
    let statement_timeout = duration("statement_timeout", DEFAULT_STATEMENT_TIMEOUT);
    let max_wait = duration("max_wait", DEFAULT_MAX_WAIT);
    let max_lag = duration("max_lag", DEFAULT_MAX_LAG);
    let pooler = match section.get("pooler") {
        None => Some(false),
        Some(value) => match value.string("\"transaction\"") {
            Some("transaction") => Some(true),
            Some("none") => Some(false),
            Some(_) => {
                value.fault("write \"none\" or \"transaction\"");
                None
            }
            None => None,
        },
    };
    let inherited =
        (max_wait.unwrap_or(DEFAULT_MAX_WAIT), statement_timeout.unwrap_or(DEFAULT_STATEMENT_TIMEOUT));
    let [fast, slow, write] =
        LaneKind::ALL.map(|kind| lane(report, section.get(kind.name()), kind, inherited));
    section.finish();
    let servers = servers?;
    servers.first()?;
    Some(DatabaseConfig {
        servers,
        connect_timeout: connect_timeout?,
        statement_timeout: statement_timeout?,
        max_lag: max_lag?,
        is_pooled: pooler?,
        lanes: [fast?, slow?, write?],
    })
}

fn lane(
    report: &Report<'_>,
    value: Option<Value<'_>>,
    kind: LaneKind,
    (max_wait, statement_timeout): (Duration, Duration),
) -> Option<LaneConfig> {
    let mut section = match value {
        Some(value) => value.section()?,
        None => Section::empty(report, kind.name()),
    };
    let mut count = |key: &'static str, default: usize, range| {
        section.get(key).map_or(Some(default), |value| value.count(range))
    };
    let connections = count("connections", DEFAULT_CONNECTIONS[kind as usize], 1..=1000);
    let queue = count("queue", DEFAULT_QUEUE, 0..=100_000);
    let pipeline = match kind {
        LaneKind::Fast => count("pipeline", DEFAULT_PIPELINE, 1..=1000),
        LaneKind::Slow | LaneKind::Write => Some(1),
    };
    let limits = Duration::from_millis(1)..=Duration::from_secs(3600);
    let mut duration = |key: &'static str, default: Duration| {
        section.get(key).map_or(Some(default), |value| value.duration(limits.clone()))
    };
    let max_wait = duration("max_wait", max_wait);
    let statement_timeout = duration("statement_timeout", statement_timeout);
    section.finish();
    Some(LaneConfig {
        connections: connections?,
        pipeline: pipeline?,
        queue: queue?,
        max_wait: max_wait?,
        statement_timeout: statement_timeout?,
    })
}

/// In the order of the file: `servers`, or `primary` and `replicas`.
fn servers(
    report: &Report<'_>,
    section: &mut Section<'_>,
    environment: &Environment,
) -> Option<Vec<NamedServer>> {
    let all = section.get("servers");
    let (primary, replicas) = (section.get("primary"), section.get("replicas"));
    if let Some(all) = all {
        if let Some(other) = primary.or(replicas) {
            other.fault("`servers` names them all; which one is the primary is asked, not written");
            return None;
        }
        let list = all.list()?;
        if list.is_empty() {
            all.fault("names no server");
            return None;
        }
        let urls: Vec<ServerUrl> = list.iter().filter_map(|value| value.parse(EXAMPLE)).collect();
        let named = |(index, url)| NamedServer { name: format!("server-{}", index + 1), url };
        return bounded(report, urls.into_iter().enumerate().map(named).collect());
    }
    let primary = match (primary, &environment.database_url) {
        (Some(value), _) => value.parse(EXAMPLE),
        (None, Some(url)) => {
            url.parse().map_err(|why| report.fault_of_file(format!("DATABASE_URL: {why}"))).ok()
        }
        (None, None) => {
            report.fault_of_file(format!(
                "no database: write `primary = {EXAMPLE}` under [database], or set DATABASE_URL"
            ));
            None
        }
    };
    let replicas: Vec<ServerUrl> = match (replicas, &environment.replica_urls) {
        (Some(value), _) => value.list()?.iter().filter_map(|value| value.parse(EXAMPLE)).collect(),
        (None, Some(urls)) => {
            let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
            let parse = |url: &str| {
                url.parse().map_err(|why| report.fault_of_file(format!("REPLICA_URLS: {why}"))).ok()
            };
            urls.filter_map(parse).collect()
        }
        (None, None) => Vec::new(),
    };
    let primary = NamedServer { name: "primary".to_owned(), url: primary? };
    let named = |(index, url)| NamedServer { name: format!("replica-{}", index + 1), url };
    bounded(report, std::iter::once(primary).chain(replicas.into_iter().enumerate().map(named)).collect())
}

fn bounded(report: &Report<'_>, servers: Vec<NamedServer>) -> Option<Vec<NamedServer>> {
    if servers.len() > MAX_SERVERS {
        report.fault_of_file(format!("more than {MAX_SERVERS} servers"));
        return None;
    }
    Some(servers)
}
