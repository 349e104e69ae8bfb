//! Indexes that nobody needs: invalid, there twice, or used by no server.

use std::collections::BTreeMap;

use super::rows::Index;
use super::text::{bytes, qualified};
use super::{Finding, Kind, Report, Server, Severity, Thresholds, main_server, seen};

/// Smaller ones cost next to nothing.
const SMALL_BYTES: i64 = 1024 * 1024;
const DAY_SECONDS: f64 = 86_400.0;

pub(super) fn judge(servers: &[Server], thresholds: &Thresholds, report: &mut Report) {
    let Some((name, main)) = main_server(servers) else { return };
    let Some(indexes) = &main.indexes else { return };
    for index in indexes.iter().filter(|index| !index.is_valid && !index.is_being_built) {
        report.push(invalid(index).on(name));
    }
    let duplicates = duplicates(indexes);
    for (index, kept) in &duplicates {
        report.push(duplicate(index, kept).on(name));
    }
    match usage(servers, thresholds) {
        Err(why) => report.notes.push(format!("unused indexes are not judged: {why}")),
        Ok(usage) => {
            let can_go = |index: &&Index| {
                index.is_valid
                    && !index.is_unique
                    && !index.has_constraint
                    && !index.is_identity
                    && !index.is_partition
            };
            let is_duplicate = |index: &Index| duplicates.iter().any(|(other, _)| other.is_called(index));
            let unused =
                indexes.iter().filter(can_go).filter(|index| !usage.is_used(index) && !is_duplicate(index));
            report.findings.extend(unused.map(|index| {
                let mut finding = unused_index(index, &usage.since);
                finding.servers = servers.iter().map(|server| server.name.to_string()).collect();
                finding
            }));
        }
    }
}

/// How often all servers together used which index.
struct Usage<'s> {
    scans: BTreeMap<(&'s str, &'s str), i64>,
    /// The latest beginning of any server's statistics.
    since: String,
}

impl Usage<'_> {
    /// What another server did not have is not known well enough to be dropped.
    fn is_used(&self, index: &Index) -> bool {
        self.scans.get(&(index.schema.as_str(), index.name.as_str())).is_none_or(|scans| *scans > 0)
    }
}

/// On failure: why it cannot be told what is unused.
fn usage<'s>(servers: &'s [Server], thresholds: &Thresholds) -> Result<Usage<'s>, String> {
    let mut usage = Usage { scans: BTreeMap::new(), since: String::new() };
    let mut missing = servers.iter().filter(|server| server.seen().is_none_or(|seen| seen.indexes.is_none()));
    if let Some(server) = missing.next() {
        return Err(format!("{} was not examined, and may live on what the others do not use", server.name));
    }
    for (name, seen) in seen(servers) {
        let facts = &seen.facts;
        let (Some(since), Some(seconds)) = (&facts.counts_since, facts.counts_seconds) else {
            return Err(format!(
                "since when {name} counts is not known; `SELECT pg_stat_reset();` begins anew"
            ));
        };
        if seconds < f64::from(thresholds.unused_days) * DAY_SECONDS {
            return Err(format!(
                "{name} counts since {since}, which is not yet {} days (--unused-days)",
                thresholds.unused_days
            ));
        }
        usage.since = usage.since.max(since.clone());
        for index in seen.indexes.iter().flatten() {
            *usage.scans.entry((&index.schema, &index.name)).or_default() += index.scans;
        }
    }
    Ok(usage)
}

fn unused_index(index: &Index, since: &str) -> Finding {
    let Index { schema, table, name, .. } = index;
    let severity = if index.bytes < SMALL_BYTES { Severity::Info } else { Severity::Warning };
    let what = format!(
        "{schema}.{name} on {schema}.{table}, {}: no server used it since {since}, if it was there then",
        bytes(index.bytes)
    );
    let mut advice = "if no job of the month or the year needs it, and no server that is not in the configuration; outside of \
                      a transaction, on the primary:"
        .to_owned();
    if let Some(foreign_key) = &index.foreign_key {
        advice.insert_str(0, &format!("it would serve deletes of what {foreign_key} refers to; "));
    }
    if index.has_expression {
        advice.insert_str(0, "statistics of its expression go with it; ");
    }
    Finding::new(severity, Kind::UnusedIndex, what, advice).run(drop_index(index))
}

fn invalid(index: &Index) -> Finding {
    let Index { schema, table, name, .. } = index;
    let what = format!(
        "{schema}.{name} on {schema}.{table} was left over by CREATE INDEX or REINDEX CONCURRENTLY that failed"
    );
    let advice = "remove what made it fail (a duplicate value, a deadlock, a timeout), then build it again, or drop it; \
                  `larder-origin migrate` does so with those of its files:";
    let rebuild = format!("REINDEX INDEX CONCURRENTLY {};", qualified(schema, name));
    Finding::new(Severity::Warning, Kind::InvalidIndex, what, advice).run(rebuild).run(drop_index(index))
}

/// Indexes that can go, each with the one that does the same and stays.
fn duplicates(indexes: &[Index]) -> Vec<(&Index, &Index)> {
    let mut alike: BTreeMap<&str, Vec<&Index>> = BTreeMap::new();
    for index in indexes.iter().filter(|index| index.is_valid && !index.is_partition) {
        alike.entry(&index.signature).or_default().push(index);
    }
    let mut found = Vec::new();
    for mut group in alike.into_values().filter(|group| group.len() > 1) {
        // The one that does most stays: holds a constraint, is unique, tells rows apart for replication, is known.
        let duties = |index: &Index| (index.has_constraint, index.is_unique, index.is_identity, index.scans);
        group.sort_by(|a, b| duties(b).cmp(&duties(a)).then_with(|| a.name.cmp(&b.name)));
        let Some((kept, others)) = group.split_first() else { continue };
        let is_served = |index: &&&Index| {
            let is_as_unique =
                !index.is_unique || kept.is_unique && index.has_equal_nulls == kept.has_equal_nulls;
            !index.has_constraint && !index.is_identity && is_as_unique
        };
        found.extend(others.iter().filter(is_served).map(|index| (*index, *kept)));
    }
    found
}

fn duplicate(index: &Index, kept: &Index) -> Finding {
    let Index { schema, table, name, .. } = index;
    let what = format!(
        "{schema}.{name} on {schema}.{table}, {}, can do nothing that {}.{} cannot: same columns, order, operators and condition",
        bytes(index.bytes),
        kept.schema,
        kept.name
    );
    let advice = "outside of a transaction, on the primary:";
    Finding::new(Severity::Warning, Kind::DuplicateIndex, what, advice).run(drop_index(index))
}

fn drop_index(index: &Index) -> String {
    format!("DROP INDEX CONCURRENTLY {};", qualified(&index.schema, &index.name))
}
