//! Benchmarks. Each compares with its peers in one run on this machine: servers pinned to one core, the load to
//! another, rounds that alternate, medians of ratios. An absolute figure says nothing about another machine.
//!
//! Read next: `bench/hit.rs` and `bench/policy.rs`; what the peers are is in the crate `tests/bench`.

use std::process::ExitCode;

use crate::{Error, stop};

mod hit;
mod policy;
mod swap;
mod servers;
mod rounds;
mod load;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Benchmark {
    /// A hit of 1 KiB beside a bare hyper server that sends the same bytes, and nginx `proxy_cache`
    Hit(hit::Options),
    /// A policy replaced a thousand times under load: no request may fail, and memory has to stay
    Swap(swap::Options),
    /// What policies cost: a call, a remembered decision, and hits beside nginx with njs and Envoy with a Wasm filter
    Policy(policy::Options),
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    stop::on_signals()?;
    let _stopped_at_end = stop::AtEnd;
    match &options.benchmark {
        Benchmark::Hit(options) => hit::run(options),
        Benchmark::Swap(options) => swap::run(options),
        Benchmark::Policy(options) => policy::run(options),
    }
}
