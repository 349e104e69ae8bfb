//! The report as tables for people and as JSON for programs. Whatever comes from a database is made harmless here.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::rows::Seen;
use super::servers::lag_bytes;
use super::tables::big;
use super::text::{bytes, clean, clean_json};
use super::{Finding, Report, Server, seen};

/// Of each server.
const MAX_TABLES: usize = 20;
const WIDTH: usize = 110;

pub(super) fn tables(servers: &[Server], report: &Report) -> String {
    let mut out = String::new();
    let position = primary_position(servers);
    let rows = servers.iter().map(|server| match &server.seen {
        Ok(seen) => vec![
            server.name.to_string(),
            server.url.clone(),
            role(seen).to_owned(),
            seen.facts.version.clone(),
            seen.facts.counts_since.clone().unwrap_or_else(|| "unknown".to_owned()),
            format!("{} of {}: {}", used(seen), seen.facts.connection_limit, states(seen)),
            lag_bytes(&seen.facts, position).map_or("-".to_owned(), |lag| {
                format!("{}, {:.0} s", bytes(lag), seen.facts.lag_seconds.unwrap_or(0.0))
            }),
        ],
        Err(why) => vec![server.name.to_string(), server.url.clone(), format!("NOT EXAMINED: {why}")],
    });
    table(
        &mut out,
        &["SERVER", "ADDRESS", "ROLE", "POSTGRES", "COUNTS SINCE", "CONNECTIONS", "BEHIND"],
        rows.collect(),
    );

    let rows = seen(servers).flat_map(|(name, seen)| {
        big(seen).take(MAX_TABLES).map(|table| {
            vec![
                format!("{}.{}", table.schema, table.name),
                name.to_string(),
                format!("{:.0}", table.rows),
                table.sequential_scans.to_string(),
                table.index_scans.to_string(),
                table.index_usage().map_or("-".to_owned(), |usage| format!("{usage:.1} %")),
                table.dead.to_string(),
                table.vacuumed_at.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        out.push('\n');
        let header = [
            "BIG TABLE",
            "SERVER",
            "ROWS",
            "READ WHOLE",
            "BY INDEX",
            "INDEX USAGE",
            "DEAD ROWS",
            "LAST VACUUM",
        ];
        table(&mut out, &header, rows);
    }
    for finding in &report.findings {
        block(&mut out, finding);
    }
    for (kind, count) in &report.left_out {
        let _ = writeln!(out, "\nand {count} more of: {}", kind.title());
    }
    let not_examined = servers.iter().flat_map(|server| {
        let failures = server.seen().map(|seen| seen.not_examined.as_slice()).unwrap_or_default();
        failures.iter().map(|failure| format!("{} did not answer about {failure}", server.name))
    });
    for note in not_examined.chain(report.notes.iter().cloned()) {
        let _ = writeln!(out, "\nnote: {}", clean(&note));
    }
    if report.findings.is_empty() {
        let count = seen(servers).count();
        let _ = writeln!(out, "\nnothing found on {count} server{}", if count == 1 { "" } else { "s" });
    }
    out
}

fn block(out: &mut String, finding: &Finding) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "\n{:<9} {} [{}]",
        finding.severity.to_string(),
        finding.kind.title(),
        finding.servers.join(", ")
    );
    paragraph(out, "what", &finding.what);
    paragraph(out, "why", finding.why);
    paragraph(out, "do", &finding.advice);
    for sql in &finding.sql {
        let _ = writeln!(out, "              {}", clean(sql));
    }
    paragraph(out, "from", finding.source);
}

/// Broken between words; SQL is not, so that it can be copied.
fn paragraph(out: &mut String, label: &str, text: &str) {
    let mut line = format!("    {label:<6}");
    for word in clean(text).split(' ') {
        if line.chars().count() + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{}", line.trim_end());
            line = " ".repeat(10);
        }
        line.push_str(word);
        line.push(' ');
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

pub(crate) fn table(out: &mut String, header: &[&str], rows: Vec<Vec<String>>) {
    let mut lines = vec![header.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows.into_iter().map(|row| row.iter().map(|cell| clean(cell)).collect()));
    // A short row ends in a text that is not to make the column wide.
    let width = |column: usize| {
        let whole = lines.iter().filter(|line| line.len() == header.len());
        whole.filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

pub(super) fn json(servers: &[Server], report: &Report) -> String {
    let position = primary_position(servers);
    let shown = servers.iter().map(|server| match &server.seen {
        Err(why) => json!({"server": &*server.name, "address": server.url, "isExamined": false, "error": why}),
        Ok(seen) => json!({
            "server": &*server.name,
            "address": server.url,
            "isExamined": true,
            "notExamined": seen.not_examined,
            "role": role(seen),
            "version": seen.facts.version,
            "versionNumber": seen.facts.version_number,
            "countsSince": seen.facts.counts_since,
            "connections": {"used": used(seen), "limit": seen.facts.connection_limit, "byState": seen.activity},
            "lagBytes": lag_bytes(&seen.facts, position),
            "lagSeconds": seen.facts.is_replica.then(|| seen.facts.lag_seconds.unwrap_or(0.0)),
            "slots": seen.slots.iter().map(|slot| json!({
                "name": slot.name, "kind": slot.kind, "isActive": slot.is_active, "walStatus": slot.wal_status,
                "keptBytes": slot.kept_bytes,
            })).collect::<Vec<_>>(),
        }),
    });
    let tables = seen(servers).flat_map(|(name, seen)| {
        big(seen).take(MAX_TABLES).map(|table| {
            json!({
                "server": &**name, "schema": table.schema, "table": table.name, "rows": table.rows,
                "sequentialScans": table.sequential_scans, "indexScans": table.index_scans,
                "indexUsage": table.index_usage(), "deadRows": table.dead, "vacuumedAt": table.vacuumed_at,
            })
        })
    });
    let left_out = report.left_out.iter().map(|(kind, count)| json!({"kind": kind, "count": count}));
    let document: Value = json!({
        "servers": shown.collect::<Vec<_>>(),
        "tables": tables.collect::<Vec<_>>(),
        "findings": report.findings,
        "leftOut": left_out.collect::<Vec<_>>(),
        "notes": report.notes,
    });
    clean_json(&format!("{document:#}"))
}

fn role(seen: &Seen) -> &'static str {
    if seen.facts.is_replica { "replica" } else { "primary" }
}

fn used(seen: &Seen) -> i64 {
    seen.activity.iter().map(|activity| activity.connections).sum()
}

fn states(seen: &Seen) -> String {
    let states = seen.activity.iter().map(|activity| format!("{} {}", activity.connections, activity.state));
    states.collect::<Vec<_>>().join(", ")
}

fn primary_position(servers: &[Server]) -> Option<i64> {
    seen(servers).find(|(_, seen)| !seen.facts.is_replica).and_then(|(_, seen)| seen.facts.position)
}
