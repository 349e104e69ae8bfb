//! Missing indexes, by the plans of the catalogue's own statements: the generic plans, which are those that run.

use tokio_postgres::Client;

use super::rows::PlanScan;
use super::text::{ident, shortened};
use super::{Finding, Kind, Report, Server, Severity, seen};
use crate::catalogue::{Catalogue, Endpoint};
use crate::error::is_fault_of_statement;
use crate::plan::{self, Plan, Sizes};

/// Of an index that is suggested.
const MAX_COLUMNS: usize = 3;

/// Big tables that are read as a whole, and the endpoints that have no plan here.
///
/// `begin`: how a transaction begins in a session that is shared.
pub(super) async fn read(
    client: &Client,
    begin: Option<&str>,
    catalogue: &Catalogue,
) -> Result<(Vec<PlanScan>, Vec<String>), tokio_postgres::Error> {
    let sizes = Sizes::read(client).await?;
    let (mut scans, mut unplanned) = (Vec::new(), Vec::new());
    for endpoint in &catalogue.endpoints {
        for variant in &endpoint.variants {
            if let Some(begin) = begin {
                client.batch_execute(begin).await?;
            }
            let planned = plan::read(client, variant).await;
            if begin.is_some() {
                client.batch_execute("ROLLBACK").await?;
            }
            match planned {
                Ok(plan) => add(&mut scans, endpoint, &plan, &sizes),
                Err(e) if e.code().is_some_and(is_fault_of_statement) => {
                    unplanned.push(endpoint.name.clone());
                    break;
                }
                Err(e) => return Err(e),
            }
        }
    }
    Ok((scans, unplanned))
}

fn add(scans: &mut Vec<PlanScan>, endpoint: &Endpoint, plan: &Plan, sizes: &Sizes) {
    for scanned in plan.scanned.iter().filter(|scanned| sizes.is_big(&scanned.table)) {
        let scan = PlanScan {
            endpoint: endpoint.name.clone(),
            route: format!("{} {}", endpoint.route.method, endpoint.route.path),
            table: scanned.table.clone(),
            rows: sizes.rows(&scanned.table),
            filter: scanned.filter.clone(),
        };
        let is_known = |known: &PlanScan| {
            (&known.endpoint, &known.table, &known.filter) == (&scan.endpoint, &scan.table, &scan.filter)
        };
        if !scans.iter().any(is_known) {
            scans.push(scan);
        }
    }
}

pub(super) fn judge(servers: &[Server], report: &mut Report) {
    let mut findings: Vec<Finding> = Vec::new();
    let mut all: Vec<Finding> = Vec::new();
    for (name, seen) in seen(servers) {
        all.extend(seen.scans.iter().map(|scan| scanned(scan).on(name)));
        if !seen.unplanned.is_empty() {
            let what = format!("no plan for {} of the query files: {}", seen.unplanned.len(), {
                shortened(&seen.unplanned.join(", "))
            });
            let advice = "`larder-origin check` says why, with the place in each file";
            all.push(Finding::new(Severity::Info, Kind::UnplannedStatements, what, advice).on(name));
        }
    }
    // What is the same on several servers is said once.
    for mut finding in all {
        match findings.iter_mut().find(|known| known.kind == finding.kind && known.what == finding.what) {
            Some(known) => known.servers.append(&mut finding.servers),
            None => findings.push(finding),
        }
    }
    report.findings.extend(findings);
}

fn scanned(scan: &PlanScan) -> Finding {
    let PlanScan { endpoint, route, table, rows, filter } = scan;
    let condition = filter
        .as_deref()
        .map_or("no condition at all".to_owned(), |filter| format!("the condition {}", shortened(filter)));
    let what = format!("`{endpoint}` ({route}) reads all of {table}, about {rows:.0} rows, with {condition}");
    let columns = filter.as_deref().map(compared_columns).unwrap_or_default();
    let advice = match (filter, columns.as_slice()) {
        (None, _) => {
            "a condition, or a LIMIT under an ORDER BY that an index has, would keep it from growing"
        }
        (Some(_), []) => {
            "an index that fits the condition; `larder-origin check` says where the statement is"
        }
        (Some(_), _) => {
            "an index that begins with what is compared for equality, and goes on with the columns of ORDER BY; for example, \
             outside of a transaction:"
        }
    };
    let finding = Finding::new(Severity::Warning, Kind::SequentialScanInPlan, what, advice);
    if columns.is_empty() {
        return finding;
    }
    let columns: Vec<String> = columns.iter().map(|column| ident(column)).collect();
    finding.run(format!("CREATE INDEX CONCURRENTLY ON {} ({});", ident(table), columns.join(", ")))
}

/// Columns that a condition of a plan compares with a value for equality. Names that need quotes are passed over.
fn compared_columns(filter: &str) -> Vec<&str> {
    let mut columns: Vec<&str> = Vec::new();
    for (at, _) in filter.match_indices(" = ") {
        let (before, after) =
            (filter.get(..at).unwrap_or_default(), filter.get(at + 3..).unwrap_or_default());
        let is_value = after.starts_with(['$', '\'', '('])
            || after.starts_with("ANY ")
            || after.starts_with(|c: char| c.is_ascii_digit());
        // Postgres writes `(column)::text` where it compares another type.
        let before = before.strip_suffix("::text").and_then(|cast| cast.strip_suffix(')')).unwrap_or(before);
        let start = before.rfind(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
        let (opening, column) = before.split_at(start.map_or(0, |start| start + 1));
        if is_value && opening.ends_with('(') && !column.is_empty() && !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns.truncate(MAX_COLUMNS);
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_compared_with_values() {
        let filter = "((NOT is_deleted) AND (team_id = $1) AND ((kind)::text = 'Api'::text) AND (a = b) AND (t.x = $2))";
        assert_eq!(compared_columns(filter), ["team_id", "kind"]);
        assert_eq!(compared_columns("(public_id = ANY ($1))"), ["public_id"]);
        assert!(compared_columns("(lower(name) = $1) OR (score > 3)").is_empty());
    }
}
