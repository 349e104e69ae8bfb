//! Tables that are read as a whole, or that are more dead than alive.

use std::sync::Arc;

use super::rows::{Seen, Table};
use super::text::{bytes, qualified};
use super::{BIG_ROWS, Finding, Kind, Report, Server, Severity, main_server, seen};

/// Smaller ones are not worth an estimate: 10 MB of blocks of eight kilobytes.
pub(super) const BLOAT_PAGES: i64 = 1280;
/// Fewer scans may have been a dump, or the making of an index.
const MANY_SCANS: i64 = 50;
const GOOD_USAGE_PERCENT: f64 = 95.0;
const MANY_DEAD: i64 = 1000;
/// Of the number of dead rows that autovacuum begins at: it does not get done.
const TOO_LATE: f64 = 2.0;
/// Of a table that is empty room.
const BLOAT_RATIO: f64 = 0.5;

pub(super) fn judge(servers: &[Server], report: &mut Report) {
    for (name, seen) in seen(servers) {
        for table in &seen.tables {
            report.findings.extend(sequential_scans(table, name));
        }
    }
    let Some((name, main)) = main_server(servers) else { return };
    for table in &main.tables {
        report.findings.extend(never_analyzed(table).map(|finding| finding.on(name)));
        report.findings.extend(bloat(table).map(|finding| finding.on(name)));
        if !main.facts.is_replica {
            report.findings.extend(dead_rows(table).map(|finding| finding.on(name)));
        }
    }
}

/// The big ones, of which it matters how they are read.
pub(super) fn big(seen: &Seen) -> impl Iterator<Item = &Table> {
    seen.tables.iter().filter(|table| table.rows >= BIG_ROWS)
}

fn sequential_scans(table: &Table, server: &Arc<str>) -> Option<Finding> {
    let usage = table.index_usage()?;
    let each = table.rows_scanned as f64 / table.sequential_scans.max(1) as f64;
    if table.rows < BIG_ROWS
        || table.sequential_scans < MANY_SCANS
        || usage >= GOOD_USAGE_PERCENT
        || each < BIG_ROWS
    {
        return None;
    }
    let Table { schema, name, .. } = table;
    let what = format!(
        "{schema}.{name}, about {:.0} rows, was read as a whole {} times on {server}, {each:.0} rows each time; index usage is \
         {usage:.0} %",
        table.rows, table.sequential_scans
    );
    let advice = "find the statement, and make an index on what its condition compares: `larder-origin check` reads the plans of \
                  the query files; of others, on that server, if pg_stat_statements is there:";
    let sql = "SELECT calls, rows, shared_blks_hit + shared_blks_read AS blocks, query FROM pg_stat_statements ORDER BY 3 DESC LIMIT 20;";
    Some(Finding::new(Severity::Warning, Kind::SequentialScans, what, advice).run(sql).on(server))
}

fn dead_rows(table: &Table) -> Option<Finding> {
    if table.dead <= MANY_DEAD || table.dead as f64 <= table.vacuum_from * TOO_LATE {
        return None;
    }
    let Table { schema, name, dead, live, .. } = table;
    let vacuumed = table.vacuumed_at.as_deref().map_or("never".to_owned(), |at| format!("at {at}"));
    let (why, turn_on) = if table.is_vacuumed {
        (
            "autovacuum does not get done: long transactions and replication slots hold it back, or it is too slow \
          (autovacuum_vacuum_cost_limit, autovacuum_max_workers); now, and for this table from now on:",
            None,
        )
    } else {
        let turn_on = format!("ALTER TABLE {} RESET (autovacuum_enabled);", qualified(schema, name));
        ("autovacuum is switched off, for this table or for the server (autovacuum):", Some(turn_on))
    };
    let what = format!(
        "{schema}.{name} has {dead} dead rows beside {live} live ones; it was last vacuumed {vacuumed}"
    );
    let finding = Finding::new(Severity::Warning, Kind::DeadRows, what, why);
    let finding = finding.run(format!("VACUUM (ANALYZE) {};", qualified(schema, name)));
    Some(match turn_on {
        Some(sql) => finding.run(sql),
        None => finding.run(format!(
            "ALTER TABLE {} SET (autovacuum_vacuum_scale_factor = 0.02);",
            qualified(schema, name)
        )),
    })
}

fn never_analyzed(table: &Table) -> Option<Finding> {
    if !table.is_never_analyzed || (table.live as f64) < BIG_ROWS {
        return None;
    }
    let Table { schema, name, live, .. } = table;
    let what = format!("{schema}.{name} has {live} rows that the planner knows nothing of");
    let advice = "after a restore or a bulk load, before anything is asked:";
    let finding = Finding::new(Severity::Warning, Kind::NeverAnalyzed, what, advice);
    Some(finding.run(format!("ANALYZE {};", qualified(schema, name))))
}

fn bloat(table: &Table) -> Option<Finding> {
    let needed = table.needed_pages?;
    let pages = table.pages as f64;
    let empty = pages - needed;
    if table.pages <= BLOAT_PAGES || empty < BLOAT_PAGES as f64 || empty < pages * BLOAT_RATIO {
        return None;
    }
    let Table { schema, name, block_bytes, .. } = table;
    let size = bytes(table.pages.saturating_mul(*block_bytes));
    let what = format!(
        "{schema}.{name} takes {size}, of which about {:.0} % is empty, by the number of its rows ({:.0}) and the average \
         width of its columns; padding between columns counts as empty, too",
        empty * 100.0 / pages,
        table.rows
    );
    let advice = "VACUUM lets new rows have the room; only a rewrite gives it back, which locks the table for as long as it takes \
                  (pg_repack does without the lock). Exactly, with the extension pgstattuple, then:";
    let name = qualified(schema, name);
    let exactly = format!("SELECT * FROM pgstattuple_approx({});", super::text::literal(&name));
    Some(
        Finding::new(Severity::Warning, Kind::TableBloat, what, advice)
            .run(exactly)
            .run(format!("VACUUM (FULL, ANALYZE) {name};")),
    )
}
