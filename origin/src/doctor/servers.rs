//! What is wrong with a server as such: replication, slots, connections, transaction numbers, what we may see.

use std::sync::Arc;

use super::rows::{Facts, Seen, Slot};
use super::text::{bytes, ident, literal};
use super::{Finding, Kind, Report, Server, Severity, Thresholds, seen};

/// Behind by so much, whatever the time.
const LAG_BYTES: i64 = 64 * 1024 * 1024;
/// Of the numbers there are, 2^31, less three million.
const LAST_TRANSACTIONS: i64 = 1_200_000_000;
/// As Postgres has it: from there on it takes no writes any more.
const WRAPAROUND: i64 = 2_147_483_648 - 3_000_000;

pub(super) fn judge(servers: &[Server], thresholds: &Thresholds, report: &mut Report) {
    let primary = seen(servers).find(|(_, seen)| !seen.facts.is_replica);
    let primary_position = primary.and_then(|(_, seen)| seen.facts.position);
    if seen(servers).next().is_some() && primary.is_none() {
        report
            .notes
            .push("no primary was examined: dead rows and how far replicas are behind are not judged".into());
    }
    for (name, seen) in seen(servers) {
        for slot in &seen.slots {
            report.findings.extend(slot_retention(slot).map(|finding| finding.on(name)));
        }
        report.findings.extend(connections(seen, thresholds).map(|finding| finding.on(name)));
        rights(seen, name, report);
        if seen.facts.is_replica {
            replica(&seen.facts, primary_position, name, thresholds, report);
        }
    }
    // Replicas have it from the primary.
    if let Some((name, seen)) = super::main_server(servers) {
        report.findings.extend(wraparound(&seen.facts).map(|finding| finding.on(name)));
    }
}

pub(super) fn lag_bytes(facts: &Facts, primary_position: Option<i64>) -> Option<i64> {
    let (primary, own) = (primary_position?, facts.position?);
    facts.is_replica.then(|| primary.saturating_sub(own).max(0))
}

fn replica(
    facts: &Facts,
    primary_position: Option<i64>,
    name: &Arc<str>,
    thresholds: &Thresholds,
    report: &mut Report,
) {
    if facts.is_paused {
        let what = format!("{name} receives WAL and does not show it");
        let advice = "if nobody is using the pause (a backup, a look at an older state), on the replica:";
        let finding = Finding::new(Severity::Warning, Kind::ReplayPaused, what, advice);
        report.push(finding.run("SELECT pg_wal_replay_resume();").on(name));
    }
    if facts.receivers == 0 {
        let what = format!("{name} has no connection to a primary; it may read WAL from an archive");
        let advice = "see the log of the replica, its primary_conninfo, and on the primary pg_hba.conf, max_wal_senders and:";
        let finding = Finding::new(Severity::Warning, Kind::NotStreaming, what, advice);
        report.push(
            finding
                .run("SELECT application_name, client_addr, state, replay_lsn FROM pg_stat_replication;")
                .on(name),
        );
    }
    let lag_bytes = lag_bytes(facts, primary_position).unwrap_or(0);
    // Where nothing is written, the last change is old on a replica that has all of it.
    let lag_seconds = facts.lag_seconds.unwrap_or(0.0);
    if lag_bytes > LAG_BYTES || lag_seconds > thresholds.lag_seconds {
        let what = format!("{name} is {} and {lag_seconds:.0} s behind", bytes(lag_bytes));
        let advice = "long statements on the replica hold replay up (max_standby_streaming_delay), and so do a slow disk or \
                      network, and bulk writes; which of it, on the replica and on the primary:";
        let finding = Finding::new(Severity::Warning, Kind::ReplicaLag, what, advice);
        let running = "SELECT pid, now() - xact_start AS since, state FROM pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start;";
        let finding = finding
            .run(running)
            .run("SELECT application_name, write_lag, flush_lag, replay_lag FROM pg_stat_replication;");
        report.push(finding.on(name));
    }
}

fn slot_retention(slot: &Slot) -> Option<Finding> {
    let Slot { name, kind, is_active, wal_status, kept_bytes, is_unlimited } = slot;
    let status = wal_status.as_deref().unwrap_or("");
    let drop = format!("SELECT pg_drop_replication_slot({});", literal(name));
    let kept = bytes(*kept_bytes);
    let finding = match (status, is_active) {
        ("lost", _) => {
            let what = format!("the {kind} slot `{name}` is lost: WAL that it had to read is gone");
            let advice = "whoever reads from it has to begin anew; drop the slot and make another one";
            Finding::new(Severity::Critical, Kind::SlotRetention, what, advice).run(drop)
        }
        ("unreserved", _) => {
            let what = format!(
                "the {kind} slot `{name}` keeps {kept}, beyond max_slot_wal_keep_size: it is lost soon"
            );
            let advice = "bring its reader to speed, or drop the slot if nobody is coming back for it";
            Finding::new(Severity::Critical, Kind::SlotRetention, what, advice).run(drop)
        }
        (_, false) => {
            let end = if *is_unlimited { " without an end: max_slot_wal_keep_size is -1" } else { "" };
            let severity = if *is_unlimited { Severity::Critical } else { Severity::Warning };
            let what = format!("nobody reads from the {kind} slot `{name}`, which keeps {kept}{end}");
            let advice = "if its reader is not coming back, drop the slot, on the server that has it";
            let finding = Finding::new(severity, Kind::SlotRetention, what, advice).run(drop);
            if *is_unlimited {
                finding.run("ALTER SYSTEM SET max_slot_wal_keep_size = '10GB';")
            } else {
                finding
            }
        }
        (_, true) => return None,
    };
    Some(finding)
}

fn connections(seen: &Seen, thresholds: &Thresholds) -> Option<Finding> {
    let used: i64 = seen.activity.iter().map(|activity| activity.connections).sum();
    let limit = seen.facts.connection_limit;
    let percent = used as f64 * 100.0 / limit.max(1) as f64;
    if percent < thresholds.connections_percent {
        return None;
    }
    let states: Vec<String> =
        seen.activity.iter().map(|activity| format!("{} {}", activity.connections, activity.state)).collect();
    let what = format!("{used} of {limit} connections are taken ({percent:.0} %): {}", states.join(", "));
    let advice = "end what is idle, lower `connections` under [database.fast], [database.slow] and [database.write] or put a \
                  pooler in between, rather than raise max_connections; who has them, on that server:";
    let sql = "SELECT usename, application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC;";
    Some(Finding::new(Severity::Warning, Kind::Connections, what, advice).run(sql))
}

fn rights(seen: &Seen, name: &Arc<str>, report: &mut Report) {
    let facts = &seen.facts;
    if !facts.sees_all {
        let what = format!("the role `{}` sees its own statements and sessions only", facts.role);
        let finding =
            Finding::new(Severity::Info, Kind::HiddenStatistics, what, "as a superuser, on the primary:");
        report.push(finding.run(format!("GRANT pg_monitor TO {};", ident(&facts.role))).on(name));
    }
    if seen.statements.is_some() {
        return;
    }
    // A list of libraries, perhaps with quotes, perhaps with paths.
    let is_loaded = facts.preloaded.as_deref().map(|list| list.contains("pg_stat_statements"));
    let create = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements;";
    let (what, advice, sql): (_, _, Vec<String>) = if !facts.has_statements_library {
        let advice = "the extension comes with the server's package of additional modules (Debian: in postgresql-NN; elsewhere \
                      postgresql-contrib); install that on each server, then run doctor again";
        ("the library of pg_stat_statements is not installed", advice, Vec::new())
    } else if is_loaded == Some(false) {
        let libraries = facts.preloaded.as_deref().unwrap_or_default();
        let list = libraries.split(',').map(str::trim).filter(|library| !library.is_empty());
        let list: Vec<String> =
            list.chain(["pg_stat_statements"]).map(|library| literal(library.trim_matches('"'))).collect();
        let set = format!("ALTER SYSTEM SET shared_preload_libraries = {};", list.join(", "));
        let advice = "as a superuser on each server, replicas too, since what is set is not replicated; restart it, and then on \
                      the primary, in this database, once:";
        ("pg_stat_statements is not in shared_preload_libraries", advice, vec![set, create.to_owned()])
    } else {
        let advice = "as a superuser on the primary, in this database, once (if it answers that the library must be loaded: add it to \
                      shared_preload_libraries and restart):";
        ("the extension pg_stat_statements was not made in this database", advice, vec![create.to_owned()])
    };
    let mut finding = Finding::new(Severity::Info, Kind::NoStatementStatistics, what.to_owned(), advice);
    finding.sql = sql;
    report.push(finding.on(name));
}

fn wraparound(facts: &Facts) -> Option<Finding> {
    let ages = [
        ("transaction", facts.transactions, facts.freeze_max_age),
        ("multixact", facts.multixacts, facts.multixact_freeze_max_age),
    ];
    // Autovacuum begins at the limit; half as much again says that it does not get done.
    let (what, age, _) = ages.into_iter().find(|(_, age, limit)| *age > limit + limit / 2)?;
    let severity = if age > LAST_TRANSACTIONS { Severity::Critical } else { Severity::Warning };
    let left = (WRAPAROUND - age).max(0);
    let what = format!(
        "the oldest {what} number that is not frozen, in the database `{}`, is {age} old; writes end in {left}",
        facts.oldest_database
    );
    let advice = "look for what holds it back (old transactions, prepared ones, replication slots), then vacuum the oldest tables:";
    let sql = "SELECT oid::regclass, age(relfrozenxid) FROM pg_class WHERE relkind IN ('r', 'm', 't') ORDER BY 2 DESC LIMIT 10;";
    Some(Finding::new(severity, Kind::Wraparound, what, advice).run(sql).run("VACUUM (FREEZE, VERBOSE);"))
}
