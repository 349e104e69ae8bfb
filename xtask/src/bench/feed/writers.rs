//! What pgbench writes with the feed attached, a worker that follows the WAL and a proxy that listens, for what it writes without:
//! one row by its key, as fast as it goes. Nothing waits for a disk, so that all of it is work for the processors that
//! are shared. What both have is what a feed needs of the server: the WAL with what rows were.

use std::{fs, path::Path, process::Command};

use rig::postgres;

use super::verdict;
use crate::{
    Error,
    bench::{load::median, pgbench},
    stack::{Proxy, Stack, WORKER},
};

const ASKED: f64 = 0.9;
const CLIENTS: &str = "8";

pub(super) fn run(stack: &Stack, proxy: Proxy, rounds: u32, seconds: u32) -> Result<bool, Error> {
    let program = pgbench::program()?;
    let script = stack.cluster.dir().join("update.sql");
    let last = postgres::value(&stack.cluster.primary_url(), "SELECT max(id) FROM resources")?;
    fs::write(
        &script,
        format!(
            "\\set id random(1, {last})\nUPDATE resources SET score = score + 1, updated_at = now(), version = version + 1 \
             WHERE id = :id;\n"
        ),
    )?;
    let alone = || round(&program, &script, stack, seconds);
    let attached = || -> Result<(f64, f64), Error> {
        stack.launch(WORKER)?;
        stack.launch(proxy.name)?;
        stack.wait_for_feed(proxy)?;
        let rate = round(&program, &script, stack, seconds)?;
        // The rest of what was written, of which nothing may be missing.
        let behind = stack.wait_for_feed(proxy)?;
        stack.end(proxy.name)?;
        stack.end(WORKER)?;
        Ok((rate, behind.as_secs_f64()))
    };
    stack.end(proxy.name)?;
    stack.end(WORKER)?;
    println!("\nwriters, {CLIENTS} connections: transactions/s");
    // Not counted.
    alone()?;
    let mut ratios = Vec::new();
    for nth in 1..=rounds {
        // Each goes first in every other round.
        let ((with, behind), without) = if nth % 2 == 0 {
            (attached()?, alone()?)
        } else {
            let without = alone()?;
            (attached()?, without)
        };
        println!(
            "round {nth:2}  with the feed {with:>8.0}   without {without:>8.0}   {:.2}   behind at the end {behind:.2} s",
            with / without
        );
        ratios.push(with / without);
    }
    let ratio = median(ratios);
    println!("median {ratio:.2}   asked >= {ASKED}: {}", verdict(ratio >= ASKED));
    // As they were.
    stack.launch(WORKER)?;
    stack.launch(proxy.name)?;
    Ok(ratio >= ASKED)
}

fn round(program: &Path, script: &Path, stack: &Stack, seconds: u32) -> Result<f64, Error> {
    let mut command = Command::new(program);
    command.args(["-n", "-M", "prepared", "-j", "1", "-c", CLIENTS, "-T", &seconds.to_string()]);
    command.arg("-f").arg(script).arg(stack.cluster.primary_url());
    pgbench::transactions_per_s(&mut command)
}
