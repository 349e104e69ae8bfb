//! `larder-origin check`: every statement prepared and planned on every server, everything that is wrong said at once. The
//! plans are also read while serving, where what is wrong with them is a warning.
//!
//! Read next: `catalogue/prepare.rs`, `plan.rs`.

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
use crate::plan::{Sizes, judge};

/// While serving, for a server that was not there: when it is, its plans are read.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// What one server says.
struct Findings {
    /// Files that do not fit the server's tables.
    statements: Faults,
    plans: Faults,
}

#[expect(clippy::print_stdout, reason = "the answer to the command")]
pub(crate) async fn run(config: &Config, catalogue: &Catalogue) -> Result<(), Exit> {
    let targets = Target::all(&config.database);
    let mut found = Vec::new();
    let mut unreachable = Vec::new();
    let mut count = 0;
    for target in &targets {
        let Target { name, url, .. } = &**target;
        count += 1;
        match ask(target, config, catalogue).await {
            Ok(Some(Findings { mut statements, plans })) => {
                statements.extend(plans);
                found.push((&**name, statements));
            }
            Ok(None) => unreachable.push(format!("{name} ({url}): {POOLER_ADVICE}")),
            Err(e) => unreachable.push(format!("{name} ({url}): {}", not_connected(&e))),
        }
    }
    let mut exit = match Faults::of_servers(&found).or(()) {
        Err(faults) => Exit::from(faults),
        Ok(()) if unreachable.is_empty() => {
            let endpoints = catalogue.endpoints.len();
            let statements: usize = catalogue.endpoints.iter().map(|endpoint| endpoint.variants.len()).sum();
            for endpoint in &catalogue.endpoints {
                println!("{} {}\n    {}", endpoint.route.method, endpoint.route.path, endpoint.summary);
            }
            println!(
                "{}, {} on {}: good",
                many(endpoints, "endpoint"),
                many(statements, "statement"),
                many(count, "server")
            );
            return Ok(());
        }
        Ok(()) => Exit::failed(String::new()),
    };
    for server in unreachable {
        exit.text = format!("{}\n{server}", exit.text).trim_start().to_owned();
    }
    Err(exit)
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
                        warn!(server.name = %name, "on {name} there are plans that will be slow:\n{}", findings.plans);
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
    let mut findings = Findings { statements: Faults::default(), plans: Faults::default() };
    let sizes = Sizes::read(&client).await?;
    for endpoint in &catalogue.endpoints {
        match prepare::prepare(&client, endpoint).await {
            Ok(_) => findings.plans.extend(judge(&client, endpoint, &sizes).await?),
            Err(NotPrepared::Faults(faults)) => findings.statements.extend(faults),
            Err(NotPrepared::Connection(e)) => return Err(e),
            Err(NotPrepared::NoSuch) => (),
        }
    }
    Ok(Some(findings))
}
