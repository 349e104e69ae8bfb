//! Benchmarks. Each compares with its peers in one run on this machine: servers pinned to one core, the load to
//! another, rounds that alternate, medians of ratios. An absolute figure says nothing about another machine. Those that hold
//! absolute figures against targets are `targets`, those of the performance guide, and `feed`, on whatever machine they run.
//!
//! Read next: `bench/hit.rs`, `bench/policy.rs`, `bench/targets.rs`, `bench/origin.rs` and `bench/feed.rs`; what the peers are is
//! in the crate `tests/bench`.

use std::process::ExitCode;

use crate::{Error, stop};

mod hit;
mod policy;
mod swap;
mod targets;
mod origin;
mod feed;
mod database;
mod paced;
mod times;
mod pgbench;
mod servers;
mod quiet_feed;
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
    /// The origin worker at the rates of the performance guide: reads, writes, aggregations, bulk, and all of them at once
    Targets(targets::Options),
    /// Point reads and pages of the origin worker beside pgbench with the same prepared statements on the same server
    Origin(origin::Options),
    /// The change feed: from a commit to the cache and to subscribers, hits beside a lifetime alone, and what writers pay
    Feed(feed::Options),
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    stop::on_signals()?;
    let _stopped_at_end = stop::AtEnd;
    match &options.benchmark {
        Benchmark::Hit(options) => hit::run(options),
        Benchmark::Swap(options) => swap::run(options),
        Benchmark::Policy(options) => policy::run(options),
        Benchmark::Targets(options) => targets::run(options),
        Benchmark::Origin(options) => origin::run(options),
        Benchmark::Feed(options) => feed::run(options),
    }
}
