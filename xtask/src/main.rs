//! What a person runs while working here: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench`.
//!
//! Read next: `demo.rs` for the running system and `demo/walk.rs` for what is shown with it, `test.rs` for what makes a
//! change trusted, `bench.rs` for comparisons with peers. What they stand on (clusters, programs, processes) is the crate
//! `rig`.

#![expect(clippy::print_stdout, reason = "these commands speak to a person at a terminal")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod call;
mod demo;
mod history;
mod random;
mod soak;
mod stack;
mod stop;
mod test;

type Error = Box<dyn std::error::Error>;

/// The commands of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything from nothing: Postgres primary and replica, data, origin worker, policies, proxy
    #[command(after_help = "Examples:
  cargo xtask demo                     until Ctrl-C; nothing is left behind
  cargo xtask demo --check             walk through it, say what was seen, exit 0 or 1
  cargo xtask demo --port-base 18080   proxy on 18080, origin worker on 18081, admin on 18082")]
    Demo(demo::Options),
    /// Everything that makes a change trusted: format, lints, unit tests, guests, end-to-end tests, the walk, faults under load
    Test(test::Options),
    /// One benchmark beside its peers, in one run
    #[command(after_help = "Examples:
  cargo xtask bench hit                a hit beside a bare hyper server and nginx proxy_cache
  cargo xtask bench hit --rounds 9 --seconds 5
  cargo xtask bench policy             policies in three languages beside nginx with njs and Envoy with a Wasm filter
  cargo xtask bench targets            the performance guide's rates and response times, on a million resources
  cargo xtask bench targets --resources 100000 --seconds 10
  cargo xtask bench origin             the origin worker beside pgbench, same statements, same server
  cargo xtask bench feed               how soon a commit is in caches and at subscribers, and what it costs
  cargo xtask bench feed hits --seconds 120")]
    Bench(bench::Options),
    /// Readers, writers and faults for a while, every answer checked
    #[command(after_help = "Examples:
  cargo xtask soak stale --minutes 30  two proxies, a lagging replica, kills: nothing stale, nothing lost")]
    Soak(soak::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Soak(options) => soak::run(&options),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
