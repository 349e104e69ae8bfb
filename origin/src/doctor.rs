//! `larder-origin doctor`: what the servers' own statistics say is wrong, or will be, and what to do about it.
//!
//! Each server of the configuration is asked on a connection of its own, read-only and with time limits; nothing is changed
//! anywhere. Then all answers are judged together, since much is only true of all servers: an index that the primary never
//! reads may be what the replicas live on.
//! Read next: `doctor/ask.rs` for what is asked (the SQL is beside it), `doctor/{servers,indexes,tables,statements,plans}.rs` for
//! how it is judged (values in, findings out), `doctor/show.rs` for how it is said.

use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use serde::Serialize;

use crate::Exit;
use crate::catalogue::Catalogue;
use crate::cli;
use crate::config::{Config, Limits};
use crate::database::Target;

mod ask;
mod rows;
mod servers;
mod indexes;
mod tables;
mod statements;
mod plans;
mod show;
mod text;

use rows::Seen;
pub(crate) use show::table;
pub(crate) use text::clean_json;

const EXIT_FOUND: u8 = 1;
const EXIT_NOT_EXAMINED: u8 = 2;
/// With fewer rows a table is read as a whole in a few milliseconds, and often best so.
const BIG_ROWS: f64 = 10_000.0;
/// Of one kind, in the report. A database with ten thousand unused indexes has one problem, not ten thousand.
const MAX_OF_A_KIND: usize = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Critical,
    Warning,
    /// Good to know; nothing has to be done.
    Info,
}

/// What can be found; in this order within a severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Wraparound,
    SlotRetention,
    NotStreaming,
    ReplayPaused,
    ReplicaLag,
    Connections,
    InvalidIndex,
    SequentialScanInPlan,
    SequentialScans,
    SlowStatement,
    DuplicateIndex,
    UnusedIndex,
    DeadRows,
    NeverAnalyzed,
    TableBloat,
    UnplannedStatements,
    NoStatementStatistics,
    HiddenStatistics,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Finding {
    severity: Severity,
    kind: Kind,
    /// Whose answers say so.
    servers: Vec<String>,
    what: String,
    why: &'static str,
    advice: String,
    /// What to run, after a look at it; on the primary, unless the advice says otherwise.
    sql: Vec<String>,
    /// What it was read from.
    source: &'static str,
}

/// A server of the configuration, and what it said.
#[derive(Debug)]
struct Server {
    name: Arc<str>,
    /// Without a password.
    url: String,
    /// On failure: why it said nothing.
    seen: Result<Seen, String>,
}

/// From where on something is worth saying, where the configuration or the command line says so.
#[derive(Debug)]
struct Thresholds {
    unused_days: u32,
    connections_percent: f64,
    lag_seconds: f64,
}

#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
    /// By kind, how many more there were.
    left_out: Vec<(Kind, usize)>,
    /// What was not judged, and why.
    notes: Vec<String>,
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::Wraparound => "transaction numbers run out",
            Self::SlotRetention => "replication slot keeps WAL",
            Self::NotStreaming => "replica receives nothing",
            Self::ReplayPaused => "replay is paused",
            Self::ReplicaLag => "replica is behind",
            Self::Connections => "connections run out",
            Self::InvalidIndex => "invalid index",
            Self::SequentialScanInPlan => "plan reads a whole table",
            Self::SequentialScans => "big table is read as a whole",
            Self::SlowStatement => "slow statement",
            Self::DuplicateIndex => "duplicate index",
            Self::UnusedIndex => "unused index",
            Self::DeadRows => "dead rows",
            Self::NeverAnalyzed => "never analyzed",
            Self::TableBloat => "table bloat (an estimate)",
            Self::UnplannedStatements => "statements without a plan",
            Self::NoStatementStatistics => "no statistics of statements",
            Self::HiddenStatistics => "hidden statistics",
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Wraparound => {
                "rows that are not frozen in time cannot be told from the future: Postgres stops all writes before that happens"
            }
            Self::SlotRetention => {
                "WAL is kept until the slot has read it: the disk fills up, or the slot is lost; and dead rows may be kept as long"
            }
            Self::NotStreaming => {
                "it falls behind from now on, and takes nothing over that the primary did since"
            }
            Self::ReplayPaused => {
                "it answers with an older state from moment to moment, and its disk fills with WAL"
            }
            Self::ReplicaLag => "its answers are as old, and reads go to the other servers meanwhile",
            Self::Connections => {
                "when there are none left, whoever connects next is refused, a replica or an administrator too"
            }
            Self::InvalidIndex => {
                "each write keeps it up, and no read uses it; as a unique index it does not hold"
            }
            Self::SequentialScanInPlan => {
                "it takes longer with each row that is added, whoever asks for however little"
            }
            Self::SequentialScans => {
                "a whole table is read for the few rows that are wanted, out of the memory that others need"
            }
            Self::SlowStatement => "it holds a connection, and what it locked, for as long",
            Self::DuplicateIndex => "each write keeps up both; what one can do the other can",
            Self::UnusedIndex => {
                "each write keeps it up, it takes memory and disk, and keeps updates from being heap-only"
            }
            Self::DeadRows => "reads step over each of them, in the table and in each of its indexes",
            Self::NeverAnalyzed => "the planner guesses how many rows there are and what is in them",
            Self::TableBloat => "empty room is read from the disk and held in memory like rows",
            Self::UnplannedStatements => "their endpoints answer with an error there",
            Self::NoStatementStatistics => "which statements are slow is not known",
            Self::HiddenStatistics => "slow statements and connections of other roles are not seen",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Wraparound => "pg_database",
            Self::SlotRetention => "pg_replication_slots",
            Self::NotStreaming => "pg_stat_wal_receiver",
            Self::ReplayPaused => "pg_is_wal_replay_paused()",
            Self::ReplicaLag => "pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp()",
            Self::Connections => "pg_stat_activity, max_connections",
            Self::InvalidIndex => "pg_index, pg_stat_progress_create_index",
            Self::SequentialScanInPlan | Self::UnplannedStatements => {
                "EXPLAIN of the statements of the query files"
            }
            Self::SequentialScans => "pg_stat_user_tables",
            Self::SlowStatement => "pg_stat_statements",
            Self::DuplicateIndex => "pg_index",
            Self::UnusedIndex => "pg_stat_user_indexes of all servers, pg_constraint",
            Self::DeadRows | Self::NeverAnalyzed => "pg_stat_user_tables, pg_class",
            Self::TableBloat => "pg_class, pg_stats",
            Self::NoStatementStatistics => "pg_extension, shared_preload_libraries",
            Self::HiddenStatistics => "pg_has_role()",
        }
    }
}

impl Finding {
    fn new(severity: Severity, kind: Kind, what: String, advice: impl Into<String>) -> Self {
        Self {
            severity,
            kind,
            servers: Vec::new(),
            what,
            why: kind.why(),
            advice: advice.into(),
            sql: Vec::new(),
            source: kind.source(),
        }
    }

    fn on(mut self, server: &Arc<str>) -> Self {
        self.servers.push(server.to_string());
        self
    }

    fn run(mut self, sql: impl Into<String>) -> Self {
        self.sql.push(sql.into());
        self
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Critical => "CRITICAL",
            Self::Warning => "WARNING",
            Self::Info => "INFO",
        })
    }
}

impl Server {
    /// `None` for one that was not examined.
    fn seen(&self) -> Option<&Seen> {
        self.seen.as_ref().ok()
    }

    fn is_whole(&self) -> bool {
        self.seen().is_some_and(|seen| seen.not_examined.is_empty())
    }
}

/// Those that were examined.
fn seen(servers: &[Server]) -> impl Iterator<Item = (&Arc<str>, &Seen)> {
    servers.iter().filter_map(|server| Some((&server.name, server.seen()?)))
}

/// What all servers have in common is read at one of them: the primary, if it answers.
fn main_server(servers: &[Server]) -> Option<(&Arc<str>, &Seen)> {
    let primary = seen(servers).find(|(_, seen)| !seen.facts.is_replica);
    primary.or_else(|| seen(servers).next())
}

#[expect(clippy::print_stdout, reason = "the answer to the command")]
pub(crate) async fn run(config: &Config, catalogue: &Catalogue, wanted: &cli::Doctor) -> Result<(), Exit> {
    let targets = Target::all(&config.database);
    let servers = join_all(targets.iter().map(|target| ask::examine(target, config, catalogue))).await;
    let thresholds = Thresholds::of(&config.monitoring.limits, wanted.unused_days);
    let report = Report::of(&servers, &thresholds);
    if wanted.json {
        println!("{}", show::json(&servers, &report));
    } else {
        print!("{}", show::tables(&servers, &report));
    }
    report.exit(&servers)
}

impl Thresholds {
    fn of(limits: &Limits, unused_days: u32) -> Self {
        let default = Limits::default();
        let or = |own: Option<f64>, default: Option<f64>| own.or(default).unwrap_or(f64::INFINITY);
        Self {
            unused_days,
            connections_percent: or(limits.pool_utilization, default.pool_utilization),
            lag_seconds: or(limits.replica_lag, default.replica_lag) / 1000.0,
        }
    }
}

impl Report {
    fn of(servers: &[Server], thresholds: &Thresholds) -> Self {
        let mut report = Self::default();
        servers::judge(servers, thresholds, &mut report);
        indexes::judge(servers, thresholds, &mut report);
        tables::judge(servers, &mut report);
        statements::judge(servers, &mut report);
        plans::judge(servers, &mut report);
        report.bound();
        report
    }

    fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Of each kind the first, which are the worst: judges begin with those.
    fn bound(&mut self) {
        self.findings.sort_by_key(|finding| (finding.severity, finding.kind));
        let mut counts: Vec<(Kind, usize)> = Vec::new();
        self.findings.retain(|finding| {
            let place = counts.iter().position(|(kind, _)| *kind == finding.kind).unwrap_or_else(|| {
                counts.push((finding.kind, 0));
                counts.len() - 1
            });
            counts.get_mut(place).is_some_and(|(_, count)| {
                *count += 1;
                *count <= MAX_OF_A_KIND
            })
        });
        let beyond = |(kind, count): (Kind, usize)| Some((kind, count.checked_sub(MAX_OF_A_KIND)?));
        self.left_out = counts.into_iter().filter_map(beyond).filter(|(_, count)| *count > 0).collect();
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    fn exit(&self, servers: &[Server]) -> Result<(), Exit> {
        let (critical, warnings) = (self.count(Severity::Critical), self.count(Severity::Warning));
        let found = format!("{critical} critical, {warnings} warnings");
        let missing: Vec<&str> =
            servers.iter().filter(|server| !server.is_whole()).map(|server| &*server.name).collect();
        if !missing.is_empty() {
            let text = format!("{found}; not examined, or not all of it: {}", missing.join(", "));
            return Err(Exit::with_code(EXIT_NOT_EXAMINED, text));
        }
        if critical + warnings > 0 {
            return Err(Exit::with_code(EXIT_FOUND, found));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
