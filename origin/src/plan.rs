//! How a statement will run: its plan, read and judged.
//!
//! The plan is the generic one, which is also the one that runs: connections are made with `plan_cache_mode =
//! force_generic_plan`. Postgres shows it for `EXECUTE` with any values, in every version.
//! Knows nothing of where findings go: `check.rs`. Read next: `plan/look.rs`, which asks, then `plan/tables.rs`.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::Client;

use crate::catalogue::prepare;
use crate::catalogue::{Endpoint, Rows, Source, Variant};
use crate::faults::{Faults, Position, suggestion};

mod look;
mod schema;
mod tables;
mod time;
mod volatile;

use look::{Looked, explain, look};
pub(crate) use tables::{NotKept, not_kept_note};

/// A table with fewer rows is read as a whole in a few milliseconds, and often best so.
const BIG_ROWS: f64 = 10_000.0;

/// With fewer, all indexes of a table cost the same, and which one is used says nothing.
const FEW_ROWS: f64 = 100.0;

/// What the server has, by name. Of tables the rows, as its statistics have them; of indexes the table.
#[derive(Debug)]
pub(crate) struct Sizes {
    tables: BTreeMap<String, f64>,
    indexes: BTreeMap<String, String>,
}

/// What a plan does.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    nodes: Vec<String>,
    pub(crate) indexes: Vec<String>,
    pub(crate) scanned: Vec<Scanned>,
    /// Rows that the planner expects in the biggest sort.
    sorted_rows: f64,
    /// Rows that it expects as the answer.
    rows: f64,
    /// Whether it changes or locks rows.
    is_writing: bool,
}

/// A table that is read as a whole, and which of its rows are kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub(crate) table: String,
    pub(crate) filter: Option<String>,
}

impl Sizes {
    pub(crate) async fn read(client: &Client) -> Result<Self, tokio_postgres::Error> {
        const SQL: &str = "SELECT c.relname::text, c.reltuples::float8, t.relname::text \
                           FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid \
                           LEFT JOIN pg_class t ON t.oid = i.indrelid \
                           WHERE c.relkind IN ('r', 'p', 'm', 'i', 'I') AND pg_table_is_visible(c.oid)";
        let mut sizes = Self { tables: BTreeMap::new(), indexes: BTreeMap::new() };
        for row in client.query(SQL, &[]).await? {
            let name: String = row.try_get(0)?;
            match row.try_get::<_, Option<String>>(2)? {
                Some(table) => drop(sizes.indexes.insert(name, table)),
                None => drop(sizes.tables.insert(name, row.try_get(1)?)),
            }
        }
        Ok(sizes)
    }

    pub(crate) fn table_of(&self, index: &str) -> Option<&str> {
        self.indexes.get(index).map(String::as_str)
    }

    pub(crate) fn is_big(&self, table: &str) -> bool {
        self.rows(table) > BIG_ROWS
    }

    pub(crate) fn rows(&self, table: &str) -> f64 {
        self.tables.get(table).copied().unwrap_or(0.0)
    }
}

/// What is to be said of an endpoint on one server.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) faults: Faults,
    /// What may well be meant.
    pub(crate) notes: Faults,
    pub(crate) not_kept: NotKept,
    /// By variant; `None` where the server refuses to plan.
    pub(crate) statements: Vec<Option<Statement>>,
}

/// How one statement will run, in short.
#[derive(Debug, Default)]
pub(crate) struct Statement {
    pub(crate) nodes: Vec<String>,
    pub(crate) indexes: Vec<String>,
    /// What is read as a whole.
    pub(crate) scanned: Vec<String>,
    pub(crate) rows: f64,
    pub(crate) tables: Vec<String>,
}

/// What is wrong with the plans of an endpoint whose statements were prepared on this connection. What the server says of a
/// statement is a fault; any other error ends the reading.
pub(crate) async fn judge(
    client: &Client,
    endpoint: &Endpoint,
    sizes: &Sizes,
) -> Result<Judged, tokio_postgres::Error> {
    let mut judged = Judged::default();
    let mut looked = Vec::new();
    for variant in &endpoint.variants {
        match look(client, variant).await {
            Ok(one) => {
                judged.statements.push(Some(Statement::of(&one)));
                looked.push(one);
            }
            Err(e) => match prepare::refused(endpoint, variant, &e) {
                Some(refused) => {
                    judged.faults.extend(refused);
                    judged.statements.push(None);
                }
                None => return Err(e),
            },
        }
    }
    // What was not planned would be missed by what follows.
    if looked.len() == endpoint.variants.len() {
        let mut faults = plans(client, endpoint, sizes, &looked).await?;
        volatile::judge(client, endpoint, &looked, &mut faults).await?;
        judged.faults.extend(faults);
        time::judge(endpoint, &looked, &mut judged);
        tables::judge(client, endpoint, &looked, &mut judged).await?;
    }
    endpoint.source.quote(&mut judged.faults);
    endpoint.source.quote(&mut judged.notes);
    Ok(judged)
}

impl Statement {
    fn of(looked: &Looked) -> Self {
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort_unstable();
            names.dedup();
            names
        };
        let Plan { nodes, indexes, scanned, rows, .. } = &looked.plan;
        let scanned: Vec<String> = scanned.iter().map(|scan| scan.table.clone()).collect();
        Self {
            nodes: sorted(nodes),
            indexes: sorted(indexes),
            scanned: sorted(&scanned),
            rows: *rows,
            tables: looked.touched.iter().map(|table| table.name.clone()).collect(),
        }
    }
}

async fn plans(
    client: &Client,
    endpoint: &Endpoint,
    sizes: &Sizes,
    looked: &[Looked],
) -> Result<Faults, tokio_postgres::Error> {
    let mut faults = Faults::default();
    let path = &endpoint.source.path;
    let mut used: Vec<String> = Vec::new();
    for (mask, Looked { plan, .. }) in looked.iter().enumerate() {
        for table in plan.scanned.iter().map(|scan| &scan.table).filter(|table| sizes.is_big(table)) {
            let message = format!(
                "the plan{} reads all of `{table}`, about {:.0} rows; an index on what its condition compares would serve",
                endpoint.describe_mask(mask),
                sizes.rows(table)
            );
            faults.push(
                path,
                Some(mention(&endpoint.source, table).unwrap_or(endpoint.route.position)),
                message,
            );
        }
        if plan.sorted_rows > BIG_ROWS {
            let message = format!(
                "the plan{} sorts about {:.0} rows; an index in the order of ORDER BY would give them sorted, and let LIMIT stop early",
                endpoint.describe_mask(mask),
                plan.sorted_rows
            );
            faults.push(
                path,
                Some(mention(&endpoint.source, "ORDER").unwrap_or(endpoint.route.position)),
                message,
            );
        }
        if plan.rows > BIG_ROWS && matches!(endpoint.rows, Rows::Cursor { .. }) {
            let message = format!(
                "the plan{} is made for about {:.0} rows, since :limit is not known when it is made; put what finds the page \
                 into a subquery with LIMIT :max_limit, a constant",
                endpoint.describe_mask(mask),
                plan.rows
            );
            faults.push(
                path,
                Some(mention(&endpoint.source, "LIMIT").unwrap_or(endpoint.route.position)),
                message,
            );
        }
        if plan.is_writing && endpoint.is_read() {
            let message = format!(
                "the plan{} changes or locks rows, and GET only reads; give the route another method",
                endpoint.describe_mask(mask)
            );
            faults.push(path, Some(endpoint.route.position), message);
        }
        used.extend(plan.indexes.iter().cloned());
    }

    let (missing, unused): (Vec<_>, Vec<_>) = (endpoint.indexes.iter())
        .filter(|(index, _)| !used.contains(index))
        .partition(|(index, _)| !sizes.indexes.contains_key(index));
    for (index, position) in missing {
        let suggestion = suggestion(index, sizes.indexes.keys().map(String::as_str));
        faults.push(path, Some(*position), format!("the database has no index `{index}`{suggestion}"));
    }
    if unused.is_empty() {
        return Ok(faults);
    }
    // What is small is best read as a whole. There it only counts whether the index could serve.
    let mut could_be_used = Vec::new();
    client.batch_execute("SET enable_seqscan = off").await?;
    for variant in &endpoint.variants {
        could_be_used.extend(read(client, variant).await?.indexes);
    }
    client.batch_execute("RESET enable_seqscan").await?;
    for (index, position) in unused {
        let table = sizes.indexes.get(index);
        if table.is_some_and(|table| sizes.rows(table) < FEW_ROWS) {
            continue;
        }
        let is_small = table.is_some_and(|table| !sizes.is_big(table));
        if !is_small || !could_be_used.contains(index) {
            let message = match used.as_slice() {
                [] => format!("no plan of this file uses the index `{index}`: they use none"),
                used => format!("no plan of this file uses the index `{index}`: they use {}", listed(used)),
            };
            faults.push(path, Some(*position), message);
        }
    }
    Ok(faults)
}

fn listed(names: &[String]) -> String {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

pub(crate) async fn read(client: &Client, variant: &Variant) -> Result<Plan, tokio_postgres::Error> {
    Ok(Plan::of(&explain(client, variant, "").await?))
}

impl Plan {
    fn of(shown: &Value) -> Self {
        let top = &shown[0]["Plan"];
        let mut plan = Self { rows: top["Plan Rows"].as_f64().unwrap_or(0.0), ..Self::default() };
        plan.add(top);
        plan
    }

    fn add(&mut self, node: &Value) {
        let text = |key: &str| node[key].as_str().map(str::to_owned);
        let kind = node["Node Type"].as_str().unwrap_or_default();
        self.nodes.push(kind.to_owned());
        self.indexes.extend(text("Index Name"));
        if kind == "Seq Scan" {
            let filter = text("Filter");
            self.scanned.extend(text("Relation Name").map(|table| Scanned { table, filter }));
        }
        self.is_writing |= matches!(kind, "ModifyTable" | "LockRows");
        if kind == "Sort" {
            self.sorted_rows = self.sorted_rows.max(node["Plan Rows"].as_f64().unwrap_or(0.0));
        }
        for child in node["Plans"].as_array().into_iter().flatten() {
            self.add(child);
        }
    }
}

/// Where the SQL first says a word.
fn mention(source: &Source, word: &str) -> Option<Position> {
    let header: usize =
        source.text.split_inclusive('\n').take_while(|line| line.starts_with("--")).map(str::len).sum();
    let sql = source.text.get(header..)?;
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let found = sql.match_indices(word).find(|(at, _)| {
        let (before, after) = (sql.get(..*at), sql.get(at + word.len()..));
        !before.unwrap_or_default().ends_with(is_part) && !after.unwrap_or_default().starts_with(is_part)
    });
    found.map(|(at, _)| Position::of(&source.text, header + at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_to_its_leaves() {
        let node = serde_json::json!({
            "Node Type": "Limit",
            "Plans": [
                {"Node Type": "Sort", "Plan Rows": 12, "Plans": [
                    {"Node Type": "Seq Scan", "Relation Name": "resources", "Filter": "(a = 1)"},
                    {"Node Type": "Sort", "Plan Rows": 7}]},
                {"Node Type": "Bitmap Heap Scan", "Relation Name": "members", "Plans": [
                    {"Node Type": "Bitmap Index Scan", "Index Name": "member_by_user"}]}]
        });
        let mut plan = Plan::default();
        plan.add(&node);
        assert_eq!(plan.scanned, [Scanned { table: "resources".into(), filter: Some("(a = 1)".into()) }]);
        assert_eq!(plan.indexes, ["member_by_user"]);
        assert!((plan.sorted_rows - 12.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_word_is_found_whole_and_below_the_header() {
        let text = "-- tags: resources\n\nSELECT my_resources\nFROM resources";
        let source = Source { path: "x.sql".into(), text: text.into() };
        assert_eq!(mention(&source, "resources"), Some(Position { line: 4, column: 6 }));
        assert_eq!(mention(&source, "users"), None);
    }
}
