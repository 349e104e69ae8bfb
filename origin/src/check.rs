//! `larder-origin check`: every statement prepared and planned on every server, everything that is wrong said at once. The
//! plans are also read while serving, where what is wrong with them is a warning.
//!
//! Read next: `catalogue/prepare.rs`, `plan.rs`, then `check/show.rs` for how it is said.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, warn};

use crate::Exit;
use crate::catalogue::Catalogue;
use crate::catalogue::prepare::{self, NotPrepared};
use crate::config::{Config, Purpose};
use crate::database::{Opened, POOLER_ADVICE, Target, not_connected};
use crate::error::chain;
use crate::faults::Faults;
use crate::plan::{NotKept, Sizes, Statement, judge, not_kept_note};

mod show;

/// While serving, for a server that was not there: when it is, its plans are read.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// What one server says.
#[derive(Default)]
struct Findings {
    /// Files that do not fit the server's tables.
    statements: Faults,
    plans: Faults,
    /// What may well be meant.
    notes: Faults,
    not_kept: NotKept,
    /// Of each endpoint.
    planned: Vec<Vec<Option<Statement>>>,
}

/// A server of the configuration, and what it said.
struct Server {
    name: Arc<str>,
    /// Without a password.
    address: String,
    /// On failure: why it said nothing.
    said: Result<Findings, String>,
}

impl Server {
    fn statement(&self, endpoint: usize, mask: usize) -> Option<&Statement> {
        self.said.as_ref().ok()?.planned.get(endpoint)?.get(mask)?.as_ref()
    }

    fn statements(&self, endpoint: usize) -> impl Iterator<Item = &Statement> {
        let planned = self.said.as_ref().ok().and_then(|findings| findings.planned.get(endpoint));
        planned.into_iter().flatten().flatten()
    }

    fn findings(servers: &[Self]) -> impl Iterator<Item = (&str, &Findings)> {
        servers.iter().filter_map(|server| Some((&*server.name, server.said.as_ref().ok()?)))
    }
}

/// `catalogue` may be wrong in itself: then no server is asked.
pub(crate) async fn run(
    config: &Config,
    catalogue: Result<Catalogue, Faults>,
    as_json: bool,
) -> Result<(), Exit> {
    let catalogue = match catalogue {
        Ok(catalogue) => catalogue,
        Err(faults) if as_json => {
            crate::print(&show::json(None, &[], &faults, &Faults::default(), &[]))?;
            return Err(in_document(&faults));
        }
        Err(faults) => return Err(faults.into()),
    };
    let mut servers = Vec::new();
    for target in Target::all(&config.database) {
        let said = match ask(&target, config, &catalogue).await {
            Ok(Some(findings)) => Ok(findings),
            Ok(None) => Err(POOLER_ADVICE.to_owned()),
            Err(e) => Err(not_connected(&e)),
        };
        servers.push(Server { name: target.name.clone(), address: target.url.to_string(), said });
    }
    let all = |of: fn(&Findings) -> Faults| {
        let found: Vec<_> = Server::findings(&servers).map(|(name, findings)| (name, of(findings))).collect();
        Faults::of_servers(&found)
    };
    let faults = all(|findings| {
        let mut faults = findings.statements.clone();
        faults.extend(findings.plans.clone());
        faults
    });
    let notes = all(|findings| findings.notes.clone());
    let mut not_kept = NotKept::new();
    for (_, findings) in Server::findings(&servers) {
        not_kept.extend(findings.not_kept.clone());
    }
    let general: Vec<String> = not_kept_note(&not_kept).into_iter().collect();
    let unreachable: Vec<String> = (servers.iter())
        .filter_map(|Server { name, address, said }| {
            Some(format!("{name} ({address}): {}", said.as_ref().err()?))
        })
        .collect();
    if as_json {
        crate::print(&show::json(Some(&catalogue), &servers, &faults, &notes, &general))?;
        return match (faults.is_empty(), unreachable.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(Exit::failed(unreachable.join("\n"))),
            (false, _) => Err(in_document(&faults)),
        };
    }
    if faults.is_empty() {
        crate::print(&show::endpoints(&catalogue, &servers))?;
    }
    crate::print(&show::notes(&notes, &general))?;
    let mut exit = match faults.or(()) {
        Err(faults) => Exit::from(faults),
        Ok(()) if unreachable.is_empty() => {
            let statements: usize = catalogue.endpoints.iter().map(|endpoint| endpoint.variants.len()).sum();
            return crate::print(&format!(
                "{}, {} on {}: good\n",
                many(catalogue.endpoints.len(), "endpoint"),
                many(statements, "statement"),
                many(servers.len(), "server")
            ));
        }
        Ok(()) => Exit::failed(String::new()),
    };
    for server in unreachable {
        exit.text = format!("{}\n{server}", exit.text).trim_start().to_owned();
    }
    Err(exit)
}

fn in_document(faults: &Faults) -> Exit {
    let text = format!("{}, in the document", many(faults.iter().count(), "fault"));
    Exit { text, ..Exit::from(Faults::default()) }
}

fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Logs what is wrong with the plans, once for each server, when it can be reached. Never fails, and ends when all were.
pub(crate) async fn warn_of_plans(config: Config, catalogue: Arc<Catalogue>, targets: Vec<Arc<Target>>) {
    let mut left = targets;
    loop {
        let mut unreachable = Vec::new();
        for target in left {
            let name = &target.name;
            match ask(&target, &config, &catalogue).await {
                // Connections that serve say so, and say it again: tables can still be made.
                Ok(Some(findings)) if !findings.statements.is_empty() => unreachable.push(target),
                // There no session is ours to plan in.
                Ok(None) => debug!(server.name = %name, "no plans are read through the pooler of {name}"),
                Ok(Some(findings)) => {
                    if !findings.plans.is_empty() {
                        warn!(server.name = %name, "on {name} there are statements that `check` refuses:\n{}", findings.plans);
                    }
                }
                Err(e) => {
                    debug!(server.name = %name, "cannot read plans on {name}: {}", chain(&e));
                    unreachable.push(target);
                }
            }
        }
        if unreachable.is_empty() {
            return;
        }
        left = unreachable;
        sleep(TRY_AGAIN).await;
    }
}

/// `None`: it is a pooler, in whose sessions nothing is to be left.
async fn ask(
    target: &Target,
    config: &Config,
    catalogue: &Catalogue,
) -> Result<Option<Findings>, tokio_postgres::Error> {
    let purpose = Purpose::Reads(config.database.statement_timeout);
    let Opened { client, is_pooled, .. } = target.open(purpose, config.database.connect_timeout).await?;
    if is_pooled {
        return Ok(None);
    }
    let mut findings = Findings::default();
    let sizes = Sizes::read(&client).await?;
    for endpoint in &catalogue.endpoints {
        let mut planned = Vec::new();
        match prepare::prepare(&client, endpoint).await {
            Ok(_) => {
                let judged = judge(&client, endpoint, &sizes).await?;
                findings.plans.extend(judged.faults);
                findings.notes.extend(judged.notes);
                for (table, columns) in judged.not_kept {
                    findings.not_kept.entry(table).or_default().extend(columns);
                }
                planned = judged.statements;
            }
            Err(NotPrepared::Faults(faults)) => findings.statements.extend(faults),
            Err(NotPrepared::Connection(e)) => return Err(e),
            Err(NotPrepared::NoSuch) => (),
        }
        findings.planned.push(planned);
    }
    Ok(Some(findings))
}
