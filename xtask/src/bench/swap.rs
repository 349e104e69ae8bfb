//! `cargo xtask bench swap`: a policy is replaced a thousand times under a constant load, by `POST /api/policy/deploy` with
//! a component that is new each time. What counts: requests that fail (none may), and the memory of the process after
//! the last swap beside that after the tenth.
//!
//! The load asks at fixed moments, however long answers take, and a request that waits for its turn is late from its moment
//! on: so a pause of the proxy is seen by every request that it should have answered meanwhile.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rig::{
    http::Client,
    policies,
    process::Process,
    programs::{self, Profile},
};

use super::servers::{Folder, start_upstream};
use crate::{Error, stop};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// How often the policy is replaced
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    swaps: u32,
    /// Requests per second, of all connections together
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Connections of the load
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    connections: u32,
    /// Compiled policies are kept on disk: each is new all the same, and stays behind there
    #[arg(long)]
    code_cache: bool,
}

/// Up to this one, buffers and tables grow to what they need.
const SETTLED_AFTER: u32 = 10;
/// The most by which memory may have grown since then.
const MOST_GROWTH_PERCENT: f64 = 5.0;
const TARGETS: u64 = 50;
const TENANTS: [&str; 4] = ["acme", "initech", "hooli", "umbrella"];

/// What the load has seen.
#[derive(Debug, Default)]
struct Seen {
    requests: AtomicU64,
    hits: AtomicU64,
    failed: AtomicU64,
    slowest_us: AtomicU64,
    /// Later than 10 ms.
    late: AtomicU64,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    programs::build(Profile::Release, &["--package", "larder", "--package", "bench_peers", "--bins"])?;
    let component = fs::read(policies::build()?.join("tenant-key.wasm"))?;
    let folder = Folder::create()?;
    fs::write(folder.0.join("policy.wasm"), &component)?;
    let upstream = start_upstream()?;
    let (larder, admin, pid) = start_larder(&folder.0, upstream, options.code_cache)?;

    let (seen, is_over) = (Seen::default(), AtomicBool::new(false));
    let swapped = std::thread::scope(|scope| {
        for number in 0..options.connections {
            let (seen, is_over) = (&seen, &is_over);
            scope.spawn(move || {
                // A connection that breaks is a failed request; the load goes on with another one.
                while !is_over.load(Ordering::Relaxed) {
                    if let Err(error) = load(larder, number, options, seen, is_over) {
                        eprintln!("a request failed: {error}");
                        seen.failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let swapped = swap(options, admin, pid, &component, &seen);
        is_over.store(true, Ordering::Relaxed);
        swapped
    })?;
    report(options, &seen, &swapped)
}

/// How memory went.
struct Swapped {
    /// After how many swaps, and how much.
    memory_bytes: Vec<(u32, u64)>,
    took: Duration,
}

#[expect(clippy::disallowed_methods, reason = "measures")]
fn swap(
    options: &Options,
    admin: SocketAddr,
    pid: u32,
    component: &[u8],
    seen: &Seen,
) -> Result<Swapped, Error> {
    let began = Instant::now();
    let mut memory_bytes = Vec::new();
    for number in 1..=options.swaps {
        // The admin listener takes one request on a connection.
        let mut client = Client::connect(admin)?;
        let edition = edition(component, number);
        let answer = client.call("POST", "/api/policy/deploy?route=all", &[], &edition)?;
        if answer.status != 200 {
            return Err(format!("swap {number}: {} {}", answer.status, answer.text()).into());
        }
        let is_shown = number == SETTLED_AFTER || number == options.swaps || number % 100 == 0;
        if is_shown {
            let bytes = resident_bytes(pid)?;
            memory_bytes.push((number, bytes));
            println!(
                "swap {number:>6}   {:>7.1} MiB   {:>9} requests   {} failed",
                bytes as f64 / f64::from(1 << 20),
                seen.requests.load(Ordering::Relaxed),
                seen.failed.load(Ordering::Relaxed)
            );
            std::io::stdout().flush()?;
        }
    }
    Ok(Swapped { memory_bytes, took: began.elapsed() })
}

/// The same component with a number in a section that nobody reads: other bytes, and compiled anew.
fn edition(component: &[u8], number: u32) -> Vec<u8> {
    // A custom section: its id 0, its length, then its name with the length of that.
    [component, &[0, 6, 1, b'n'], &number.to_le_bytes()].concat()
}

#[expect(clippy::disallowed_methods, reason = "keeps the rate, and measures")]
fn load(
    larder: SocketAddr,
    number: u32,
    options: &Options,
    seen: &Seen,
    is_over: &AtomicBool,
) -> std::io::Result<()> {
    let mut client = Client::connect(larder)?;
    let every = Duration::from_secs(1) * options.connections / options.rate;
    let mut due = Instant::now() + every * number / options.connections;
    let mut count = u64::from(number);
    while !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let tenant = TENANTS[usize::try_from(count).unwrap_or_default() % TENANTS.len()];
        let target = format!("/{}", count % TARGETS);
        let answer = client.get(&target, &[("x-tenant", tenant), ("host", "bench")])?;
        if answer.status != 200 || answer.body.len() != BODY_BYTES {
            return Err(std::io::Error::other(format!("{}: {} bytes", answer.status, answer.body.len())));
        }
        let took_us = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        seen.requests.fetch_add(1, Ordering::Relaxed);
        seen.slowest_us.fetch_max(took_us, Ordering::Relaxed);
        if took_us > 10_000 {
            seen.late.fetch_add(1, Ordering::Relaxed);
        }
        if answer.field("cache-status").is_some_and(|status| status.starts_with("larder; hit")) {
            seen.hits.fetch_add(1, Ordering::Relaxed);
        }
        due += every;
        count += u64::from(options.connections) + 1;
    }
    Ok(())
}

const BODY_BYTES: usize = 1024;

fn report(options: &Options, seen: &Seen, swapped: &Swapped) -> Result<ExitCode, Error> {
    let at = |wanted: u32| {
        let found = swapped.memory_bytes.iter().find(|(number, _)| *number == wanted);
        found.map(|(_, bytes)| *bytes as f64).ok_or("no memory was read")
    };
    let (settled, last) = (at(SETTLED_AFTER)?, at(options.swaps)?);
    let growth_percent = (last / settled - 1.0) * 100.0;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (requests, failed) = (load(&seen.requests), load(&seen.failed));
    let seconds = swapped.took.as_secs_f64();
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    println!(
        "\nswaps                     {:>10}   {:.0} ms each",
        options.swaps,
        seconds * 1e3 / f64::from(options.swaps)
    );
    println!("requests                  {requests:>10}   {:.0} a second", requests as f64 / seconds);
    println!("failed                    {failed:>10}");
    println!("hits                      {:>9.2}%", load(&seen.hits) as f64 * 100.0 / requests as f64);
    println!(
        "later than 10 ms          {:>10}   the slowest {:.1} ms",
        load(&seen.late),
        load(&seen.slowest_us) as f64 / 1e3
    );
    println!("memory after {SETTLED_AFTER:>4}         {:>10.1} MiB", mib(settled));
    println!("memory after {:>4}         {:>10.1} MiB   {growth_percent:+.1} %", options.swaps, mib(last));
    let is_good = failed == 0 && growth_percent <= MOST_GROWTH_PERCENT;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn start_larder(
    folder: &Path,
    upstream: SocketAddr,
    code_cache: bool,
) -> Result<(SocketAddr, SocketAddr, u32), Error> {
    let config = folder.join("larder.toml");
    let cache = if code_cache { "[policies]\ncode_cache = \"code\"\n" } else { "" };
    fs::write(
        &config,
        format!(
            "listen = [\"127.0.0.1:0\"]\nworkers = 2\n[admin]\nlisten = \"127.0.0.1:0\"\n{cache}\
             [[upstream]]\nname = \"bench\"\nservers = [\"http://{upstream}\"]\n\
             [[route]]\nname = \"all\"\npolicy = {{ component = \"policy.wasm\" }}\n"
        ),
    )?;
    let mut command = Command::new(programs::built(Profile::Release, "larder"));
    // One line for each swap is not what is measured.
    command.args(["serve", "-c"]).arg(config).env("RUST_LOG", "larder=info");
    let mut process = Process::start("larder", &mut command)?;
    let larder = process.wait_for_address("serving")?;
    let admin = process.wait_for_address("admin")?;
    let pid = process.id();
    stop::running().processes.push(process);
    Ok((larder, admin, pid))
}

/// What of a process is in memory.
fn resident_bytes(pid: u32) -> Result<u64, Error> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
