//! What `check` found, as a table for people and as JSON for programs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Server;
use crate::catalogue::{Catalogue, Endpoint};
use crate::doctor::{clean_json, table};
use crate::faults::{Fault, Faults, Position};
use crate::plan::Statement;

/// One line for each endpoint, and more where it has several indexes or tables.
pub(super) fn endpoints(catalogue: &Catalogue, servers: &[Server]) -> String {
    let mut out = String::new();
    let mut lines = Vec::new();
    for (index, endpoint) in catalogue.endpoints.iter().enumerate() {
        let statements: Vec<&Statement> =
            servers.iter().flat_map(|server| server.statements(index)).collect();
        let used: BTreeSet<&String> = statements.iter().flat_map(|statement| &statement.indexes).collect();
        let used: Vec<String> = used.into_iter().cloned().collect();
        let depends = tables_of(endpoint, &statements);
        let count = endpoint.variants.len().to_string();
        let route = format!("{} {}", endpoint.route.method, endpoint.route.path);
        let mut first = [endpoint.name.clone(), route, count];
        for line in 0..used.len().max(depends.len()).max(1) {
            let cell = |cells: &[String]| cells.get(line).cloned().unwrap_or_default();
            let start = std::mem::take(&mut first);
            lines.push(start.into_iter().chain([cell(&used), cell(&depends)]).collect());
        }
    }
    table(&mut out, &["ENDPOINT", "ROUTE", "STATEMENTS", "INDEXES", "TABLES: WHAT A CHANGE ENDS"], lines);
    out
}

/// As the file has them; of answers that are not stored what is touched.
fn tables_of(endpoint: &Endpoint, statements: &[&Statement]) -> Vec<String> {
    let touched: BTreeSet<&String> = statements.iter().flat_map(|statement| &statement.tables).collect();
    let said = endpoint.tables.iter().map(|rule| {
        let tags: Vec<String> = rule.templates.iter().map(|(template, _)| template.to_string()).collect();
        format!("{}: {}", rule.name, if rule.is_ttl() { "ttl".to_owned() } else { tags.join(" ") })
    });
    let others = touched.into_iter().filter(|name| !endpoint.tables.iter().any(|rule| rule.name == **name));
    said.chain(others.cloned()).collect()
}

pub(super) fn notes(notes: &Faults, general: &[String]) -> String {
    let said = |fault: &Fault| {
        let message = format!("note: {}", fault.message);
        format!("{}\n", Fault { message, ..fault.clone() })
    };
    let of_files: String = notes.iter().map(said).collect();
    let of_all: String = general.iter().map(|note| format!("note: {note}\n")).collect();
    of_files + &of_all
}

pub(super) fn json(
    catalogue: Option<&Catalogue>,
    servers: &[Server],
    faults: &Faults,
    notes: &Faults,
    general: &[String],
) -> String {
    let endpoints = catalogue.into_iter().flat_map(|catalogue| catalogue.endpoints.iter().enumerate());
    let mapping = catalogue.map(Catalogue::mapping).unwrap_or_default();
    let mapping = mapping.iter().map(|(name, templates)| {
        (name.clone(), templates.iter().map(ToString::to_string).collect::<Vec<_>>().into())
    });
    let general =
        general.iter().map(|message| json!({"file": null, "line": null, "column": null, "message": message}));
    let document = json!({
        "isGood": faults.is_empty() && servers.iter().all(|server| server.said.is_ok()),
        "servers": servers.iter().map(server).collect::<Vec<_>>(),
        "endpoints": endpoints.map(|(index, endpoint)| self::endpoint(endpoint, index, servers)).collect::<Vec<_>>(),
        "tables": Value::Object(mapping.collect()),
        "faults": faults.iter().map(place).collect::<Vec<_>>(),
        "notes": notes.iter().map(place).chain(general).collect::<Vec<_>>(),
    });
    clean_json(&format!("{document:#}\n"))
}

fn server(server: &Server) -> Value {
    json!({
        "server": &*server.name,
        "address": server.address,
        "isAsked": server.said.is_ok(),
        "error": server.said.as_ref().err(),
    })
}

fn place(fault: &Fault) -> Value {
    let Fault { file, position, message, .. } = fault;
    let place = |of: fn(&Position) -> usize| position.as_ref().map(of);
    json!({
        "file": file.display().to_string(),
        "line": place(|position| position.line),
        "column": place(|position| position.column),
        "message": message,
    })
}

fn endpoint(endpoint: &Endpoint, index: usize, servers: &[Server]) -> Value {
    let statements = (0..endpoint.variants.len()).map(|mask| {
        let plans = servers.iter().filter_map(|server| {
            let Statement { nodes, indexes, scanned, rows, tables } = server.statement(index, mask)?;
            Some(json!({
                "server": &*server.name,
                "nodes": nodes,
                "indexes": indexes,
                "readsWhole": scanned,
                "estimatedRows": rows,
                "tables": tables,
            }))
        });
        json!({"given": endpoint.names_of_mask(mask), "plans": plans.collect::<Vec<_>>()})
    });
    let tables = endpoint.tables.iter().map(|rule| {
        let tags: Vec<String> = rule.templates.iter().map(|(template, _)| template.to_string()).collect();
        json!({"table": rule.name, "isTtl": rule.is_ttl(), "tags": tags})
    });
    json!({
        "endpoint": endpoint.name,
        "file": endpoint.source.path.display().to_string(),
        "method": endpoint.route.method.as_str(),
        "path": endpoint.route.path,
        "summary": endpoint.summary,
        "cache": endpoint.is_read().then(|| endpoint.cache.to_str().unwrap_or_default()),
        "tags": endpoint.tags.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "tables": tables.collect::<Vec<_>>(),
        "statements": statements.collect::<Vec<_>>(),
    })
}
