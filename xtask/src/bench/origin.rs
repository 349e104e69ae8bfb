//! `cargo xtask bench origin`: requests of the origin worker for one execution of the same prepared statement by pgbench, on the
//! same replica. What the worker adds is HTTP, the stamp of each answer, headers; what it saves is connections. Rounds alternate,
//! nothing is pinned: both have the whole machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use rig::programs;

use super::{
    database::{Data, System},
    load::{ensure, median, wrk_script},
    pgbench,
    servers::Folder,
};
use crate::Error;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    data: Data,
    /// Rounds of each; they alternate
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of one round
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Connections of wrk to the worker
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// Connections of pgbench to Postgres; around 16 it is fastest on two cores
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=200))]
    clients: u32,
}

/// Requests for one transaction.
const ASKED: f64 = 0.7;
/// As many different rows are asked for.
const IDS: usize = 16;

/// An endpoint, and the statement that it is.
struct Subject {
    name: &'static str,
    file: &'static str,
    /// What is asked for; `{}` is an id.
    target: &'static str,
    /// What the worker binds besides the id.
    binds: &'static [(&'static str, &'static str)],
}

const SUBJECTS: [Subject; 2] = [
    Subject { name: "point read", file: "resource_summary.sql", target: "/resources/{}", binds: &[] },
    Subject {
        name: "page of 20",
        file: "resources_page.sql",
        target: "/resources?limit=20",
        // One more says whether there is a next page.
        binds: &[("limit", "21")],
    },
];

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    ensure("wrk", "wrk")?;
    let pgbench = pgbench::program()?;
    let folder = Folder::create()?;
    let system = System::start(&options.data, &[])?;
    let sql = "SELECT public_id FROM resources WHERE NOT is_deleted AND NOT is_private AND id % 61 = 0 ORDER BY id LIMIT 16";
    let ids = system.column(sql)?;
    if ids.len() < IDS {
        return Err("there are too few resources to ask for".into());
    }
    let mut is_good = true;
    for subject in &SUBJECTS {
        println!("\n{}", subject.name);
        let lua = folder.0.join("requests.lua");
        fs::write(&lua, requests(subject, &ids))?;
        let scripts = transactions(subject, &folder.0, &ids)?;
        let own =
            || wrk_script(&format!("http://{}/", system.origin), &lua, options.connections, options.seconds);
        let peer = || pgbench_round(&pgbench, &system, subject, &scripts, &ids, options);
        // Not counted: prepared statements, caches.
        own()?;
        peer()?;
        let mut rounds = Vec::new();
        for round in 1..=options.rounds {
            // Each goes first in every other round.
            let (requests, transactions) = if round % 2 == 0 {
                let requests = own()?.requests_per_s;
                (requests, peer()?)
            } else {
                let transactions = peer()?;
                (own()?.requests_per_s, transactions)
            };
            println!(
                "round {round:2}  {requests:>9.0} requests/s   {transactions:>9.0} transactions/s   {:.2}",
                requests / transactions
            );
            rounds.push((requests, transactions));
        }
        let of = |value: fn(&(f64, f64)) -> f64| median(rounds.iter().map(value).collect());
        let ratio = of(|(requests, transactions)| requests / transactions);
        is_good &= ratio >= ASKED;
        println!(
            "median    {:>9.0} requests/s   {:>9.0} transactions/s   {ratio:.2}   asked {ASKED}: {}",
            of(|(requests, _)| *requests),
            of(|(_, transactions)| *transactions),
            if ratio >= ASKED { "met" } else { "NOT MET" }
        );
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// For wrk: the ids in turn.
fn requests(subject: &Subject, ids: &[String]) -> String {
    let targets: Vec<String> = ids
        .iter()
        .map(|id| format!("wrk.format(\"GET\", \"{}\")", subject.target.replace("{}", id)))
        .collect();
    format!(
        "local all\nlocal nth = 0\nfunction init() all = {{ {} }} end\n\
         function request() nth = nth % #all + 1; return all[nth] end\n",
        targets.join(", ")
    )
}

/// For pgbench: one script for each id, since its variables that are texts are set from outside.
fn transactions(subject: &Subject, folder: &Path, ids: &[String]) -> Result<Vec<PathBuf>, Error> {
    let file = programs::workspace().join("origin/queries").join(subject.file);
    let sql = statement(&fs::read_to_string(&file)?);
    let mut scripts = Vec::new();
    for nth in 0..ids.len() {
        let script = folder.join(format!("transaction-{nth}.sql"));
        fs::write(&script, format!("{};\n", sql.replace(":public_id", &format!(":public_id_{nth}"))))?;
        scripts.push(script);
    }
    Ok(scripts)
}

/// What the worker prepares when no optional parameter is given, with its names.
fn statement(file: &str) -> String {
    let is_left_out = |line: &&str| {
        let comment = line.rsplit_once("--").map(|(_, comment)| comment.trim());
        comment.is_some_and(|comment| comment.starts_with("when "))
    };
    let lines = file.lines().filter(|line| !is_left_out(line));
    let code = lines.map(|line| line.split_once("--").map_or(line, |(code, _)| code).trim());
    let code: Vec<&str> = code.filter(|line| !line.is_empty()).collect();
    code.join(" ").replace(":max_limit", "101")
}

/// Transactions in a second.
fn pgbench_round(
    program: &Path,
    system: &System,
    subject: &Subject,
    scripts: &[PathBuf],
    ids: &[String],
    options: &Options,
) -> Result<f64, Error> {
    let mut command = Command::new(program);
    // The settings of the worker's own connections.
    command.env(
        "PGOPTIONS",
        "-c jit=off -c plan_cache_mode=force_generic_plan -c default_transaction_read_only=on",
    );
    command.args(["-n", "-M", "prepared", "-j", "1", "-c", &options.clients.to_string()]);
    command.args(["-T", &options.seconds.to_string()]);
    for (nth, id) in ids.iter().enumerate() {
        command.arg("-D").arg(format!("public_id_{nth}={id}"));
    }
    for (name, value) in subject.binds {
        command.arg("-D").arg(format!("{name}={value}"));
    }
    for script in scripts {
        command.arg("-f").arg(script);
    }
    pgbench::transactions_per_s(command.arg(system.cluster.replica_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_is_that_without_optional_parameters() {
        let file = "-- route: GET /x\n-- rows: cursor\n\n-- Why.\nSELECT a\nFROM t\nWHERE true\n  AND b = :b -- when b\n\
                    ORDER BY a DESC -- unless before\nORDER BY a -- when before\nLIMIT :max_limit\n";
        assert_eq!(statement(file), "SELECT a FROM t WHERE true ORDER BY a DESC LIMIT 101");
    }

    #[test]
    fn every_file_is_there() {
        for subject in &SUBJECTS {
            let file = programs::workspace().join("origin/queries").join(subject.file);
            let text = fs::read_to_string(file).unwrap();
            let head = subject.target.split(['{', '?']).next().unwrap();
            assert!(
                text.contains(&format!("-- route: GET {}", head.trim_end_matches('/'))),
                "{}",
                subject.file
            );
        }
    }
}
