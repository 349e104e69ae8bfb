//! What pgbench writes with the feed attached, a worker that follows the WAL and a proxy that listens, for what it writes without:
//! one row by its key, as fast as it goes. Nothing waits for a disk, so that all of it is work for the processors that
//! are shared. What both have is what a feed needs of the server: the WAL with what rows were. The peer is Postgres' own
//! pg_recvlogical, which follows the same publication and throws everything away: less than that no feed can cost.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use rig::{
    postgres::{self, find_programs},
    process::Process,
};

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
    let thrown_away = || -> Result<f64, Error> {
        let consumer = Consumer::start(stack)?;
        let rate = round(&program, &script, stack, seconds)?;
        consumer.end()?;
        Ok(rate)
    };
    stack.end(proxy.name)?;
    stack.end(WORKER)?;
    println!("\nwriters, {CLIENTS} connections: transactions/s");
    // Not counted.
    alone()?;
    let (mut ratios, mut of_peer) = (Vec::new(), Vec::new());
    for nth in 1..=rounds {
        // Each goes first in every other round.
        let ((with, behind), peer, without) = if nth % 2 == 0 {
            let with = attached()?;
            (with, thrown_away()?, alone()?)
        } else {
            let (without, peer) = (alone()?, thrown_away()?);
            (attached()?, peer, without)
        };
        println!(
            "round {nth:2}  with the feed {with:>8.0}   {:.2}   with pg_recvlogical {peer:>8.0}   {:.2}   without {without:>8.0}   \
             behind at the end {behind:.2} s",
            with / without,
            peer / without
        );
        ratios.push(with / without);
        of_peer.push(with / peer);
    }
    let (ratio, of_peer) = (median(ratios), median(of_peer));
    println!("median {ratio:.2}   asked >= {ASKED}: {}", verdict(ratio >= ASKED));
    println!("of what is written with pg_recvlogical attached: {of_peer:.2}");
    // As they were.
    stack.launch(WORKER)?;
    stack.launch(proxy.name)?;
    Ok(ratio >= ASKED)
}

/// pg_recvlogical with a slot of its own.
struct Consumer<'s> {
    stack: &'s Stack,
    process: Process,
}

const SLOT: &str = "thrown_away";

impl<'s> Consumer<'s> {
    fn start(stack: &'s Stack) -> Result<Consumer<'s>, Error> {
        let url = stack.cluster.primary_url();
        postgres::query(&url, &format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')"))?;
        let program = find_programs().map_or("pg_recvlogical".into(), |folder| folder.join("pg_recvlogical"));
        let mut command = Command::new(program);
        command.args(["-v", "--slot", SLOT, "--start", "-f", "/dev/null", "-o", "proto_version=1"]);
        command.args(["-o", "publication_names=larder", "-d", &url]);
        let mut process = Process::start("pg_recvlogical", &mut command)?;
        process.wait_for_line("streaming initiated")?;
        Ok(Consumer { stack, process })
    }

    #[expect(clippy::disallowed_methods, reason = "asks again for a while")]
    fn end(self) -> Result<(), Error> {
        drop(self.process);
        // Once the server has seen that.
        let sql = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{SLOT}' AND NOT active"
        );
        let left = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{SLOT}'");
        let url = self.stack.cluster.primary_url();
        while postgres::value(&url, &left)? != "0" {
            postgres::query(&url, &sql)?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn round(program: &Path, script: &Path, stack: &Stack, seconds: u32) -> Result<f64, Error> {
    let mut command = Command::new(program);
    command.args(["-n", "-M", "prepared", "-j", "1", "-c", CLIENTS, "-T", &seconds.to_string()]);
    command.arg("-f").arg(script).arg(stack.cluster.primary_url());
    pgbench::transactions_per_s(&mut command)
}
