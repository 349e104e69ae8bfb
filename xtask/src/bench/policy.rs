//! `cargo xtask bench policy`: what policies cost. A decision at the host's interface beside a native function that decides
//! the same; and hits with a policy in Rust, in JavaScript and in Python beside those without, beside nginx whose njs module
//! makes the same key, and beside Envoy whose Wasm filter does.
//!
//! All of them make the key of `plugins/tenant-key` from `x-tenant` and `accept-language`, and are seen doing it before they
//! are measured. It fails where a target is missed. Read next: `policy/peers.rs`.

use std::{
    net::SocketAddr,
    path::Path,
    process::{ExitCode, Stdio},
};

use rig::programs::{self, Profile, target_dir};

use super::{
    load::{ensure, median},
    rounds::{Peer, Rounds, measure},
    servers::{Folder, pinned, start_larder, start_upstream},
};
use crate::Error;

mod guests;
mod peers;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    rounds: Rounds,
    /// Succeed where a target is missed, too: it is only said
    #[arg(long)]
    no_fail: bool,
}

const SECONDS: u32 = 2;
/// What every request of the load carries.
const FIELDS: [(&str, &str); 2] = [("x-tenant", "acme"), ("accept-language", "de-AT,de;q=0.9,en;q=0.8")];

const WITHOUT: &str = "larder, no policy";
const WITH_RUST: &str = "larder, Rust";
const WITH_JAVASCRIPT: &str = "larder, JavaScript";
const WITH_PYTHON: &str = "larder, Python";

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    ensure("wrk", "wrk")?;
    programs::build(Profile::Release, &["--package", "larder", "--package", "bench_peers", "--bins"])?;
    let policies = rig::policies::build()?;
    let rust = policies.join("tenant-key.wasm");
    let (folder, memory) = (Folder::create()?, Folder::in_memory()?);
    let tools = target_dir().join("bench");

    let upstream = start_upstream()?;
    let mut peers =
        vec![start(&folder.0, WITHOUT, upstream, None)?, start(&folder.0, WITH_RUST, upstream, Some(&rust))?];
    for (name, language) in [(WITH_JAVASCRIPT, &guests::JAVASCRIPT), (WITH_PYTHON, &guests::PYTHON)] {
        match guests::build(language, &folder.0, &tools) {
            Ok(component) => peers.push(start(&folder.0, name, upstream, Some(&component))?),
            Err(error) => println!("without {name}: {error}"),
        }
    }
    peers.extend(peers::start_nginx(&folder.0, &memory.0, upstream)?);
    peers.extend(peers::start_envoy(&folder.0, &tools, upstream)?);

    let calls = measure_calls(&rust, &policies.join("two-fields.wasm"), options.rounds.rounds)?;
    measure(&mut peers, &options.rounds, SECONDS, &FIELDS)?;
    let missed = print_calls(&calls) + print_hits(&peers);
    if missed > 0 {
        println!("\n{missed} of the targets missed");
    }
    Ok(if missed == 0 || options.no_fail { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Larder with a policy or without.
fn start(
    folder: &Path,
    name: &'static str,
    upstream: SocketAddr,
    component: Option<&Path>,
) -> Result<Peer, Error> {
    let route = component.map(|component| {
        format!(
            "[[route]]\nname = \"bench\"\nupstream = \"bench\"\n\
             policy = {{ component = {component:?}, settings = {{ languages = [\"en\", \"de\"] }} }}\n"
        )
    });
    let address = start_larder(folder, name, upstream, &route.unwrap_or_default())?;
    peers::check(name, address, component.is_some(), |response| {
        response.field("cache-status").is_some_and(|status| status.starts_with("larder; hit"))
    })?;
    Ok(Peer::new(name, address))
}

/// Nanoseconds, by round.
#[derive(Default)]
struct Calls {
    native: Vec<f64>,
    remembered: Vec<f64>,
    /// Of `plugins/tenant-key`, which weighs languages.
    called: Vec<f64>,
    /// Of the guest `two-fields`, which only passes on what it reads.
    flat: Vec<f64>,
}

fn measure_calls(tenant_key: &Path, two_fields: &Path, rounds: u32) -> Result<Calls, Error> {
    let mut command = pinned(&programs::built(Profile::Release, "policy_calls"));
    let output =
        command.arg(rounds.to_string()).args([tenant_key, two_fields]).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut calls = Calls::default();
    for line in text.lines() {
        let figures: Vec<f64> = line.split(' ').filter_map(|figure| figure.parse().ok()).collect();
        if let [native, remembered, called, flat] = figures[..] {
            calls.native.push(native);
            calls.remembered.push(remembered);
            calls.called.push(called);
            calls.flat.push(flat);
        }
    }
    if output.status.success() && !calls.called.is_empty() {
        return Ok(calls);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("policy_calls ended with {}\n{text}{said}", output.status).into())
}

/// How many targets are missed.
fn print_calls(calls: &Calls) -> u32 {
    println!("\nOne decision from two fields, in Rust (median of rounds)");
    let mut missed = 0;
    let mut row = |what: &str, ns: &[f64], target: Option<f64>| {
        let ns = median(ns.to_vec());
        let target =
            target.map(|target| format!("below {target:.0} ns: {}", verdict(ns < target, &mut missed)));
        println!("{what:44} {ns:>8.0} ns   {}", target.unwrap_or_default());
    };
    row("native function, weighing languages", &calls.native, None);
    row("the same as a policy, remembered", &calls.remembered, Some(100.0));
    row("the same, call of a reused instance", &calls.called, None);
    row("flat policy, call of a reused instance", &calls.flat, Some(1_000.0));
    missed
}

/// How many targets are missed. A peer that is not there misses none.
fn print_hits(peers: &[Peer]) -> u32 {
    let find = |name: &str| peers.iter().find(|peer| peer.name == name);
    let (Some(without), Some(with_rust)) = (find(WITHOUT), find(WITH_RUST)) else { return 0 };
    let mut missed = 0;
    println!("\nHits of 1 KiB (median of rounds, and of the ratios in each)");
    println!("{:22} {:>12} {:>10}", "", "requests/s", "p99 us");
    for peer in peers {
        let compared = match peer.name {
            WITHOUT => String::new(),
            WITH_RUST | WITH_JAVASCRIPT | WITH_PYTHON => {
                let (ratio, target) =
                    (peer.ratio_to(without), if peer.name == WITH_RUST { 0.95 } else { 0.9 });
                format!(
                    "{ratio:.3} of no policy, at least {target}: {}",
                    verdict(ratio >= target, &mut missed)
                )
            }
            _ => {
                let ratio = with_rust.ratio_to(peer);
                format!(
                    "larder with the policy in Rust does {ratio:.2} times that: {}",
                    verdict(ratio > 1.0, &mut missed)
                )
            }
        };
        println!("{:22} {:>12.0} {:>10.0}   {compared}", peer.name, peer.requests_per_s(), peer.p99_us());
    }
    missed
}

/// The word for it; counts those that are missed.
fn verdict(is_met: bool, missed: &mut u32) -> &'static str {
    if is_met {
        return "met";
    }
    *missed += 1;
    "missed"
}
