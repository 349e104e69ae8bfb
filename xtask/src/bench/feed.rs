//! `cargo xtask bench feed`: how soon a commit is known in the cache and to subscribers, what exact invalidation does to hits,
//! and what it costs those who write. Everything shares this machine: primary, replica, worker, two proxies and the load.
//!
//! Read next: `feed/invalidation.rs`, `feed/live.rs`, `feed/hits.rs`, `feed/writers.rs`; what they run on is `stack.rs`.

use std::process::ExitCode;

use rig::programs::Profile;

use super::{
    paced::{Request, Seen},
    times::Times,
};
use crate::{
    Error,
    stack::{Stack, Subject, change},
    stop,
};

mod invalidation;
mod live;
mod subscribers;
mod hits;
mod writers;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// One of them; without it all, one after the other
    part: Option<Part>,
    /// Length of one load; what each part needs unless it is said
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: Option<u32>,
    /// How many resources there are; everything else is in proportion
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(5_000..=20_000_000))]
    resources: u32,
    /// Rounds of `writers`, with the feed and without; they alternate
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Programs built without optimizations: to see that it runs, not how fast
    #[arg(long)]
    dev: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// From the acknowledgement of a write until nothing older comes from the cache, while others write
    Invalidation,
    /// From the acknowledgement of a write to the event at each of a thousand subscribers
    Live,
    /// Hits and stale answers, beside a second proxy that knows a lifetime and no feed
    Hits,
    /// What pgbench writes with the feed attached, for what it writes without
    Writers,
}

impl Part {
    const ALL: [Part; 4] = [Part::Invalidation, Part::Live, Part::Hits, Part::Writers];

    /// Unless it is said.
    fn seconds(self) -> u32 {
        match self {
            Part::Invalidation | Part::Live => 10,
            // Twice the lifetime that it is compared with.
            Part::Hits => 60,
            Part::Writers => 4,
        }
    }
}

/// Of the rate that is asked for: the last answers come after the last second.
const ENOUGH: f64 = 0.98;
const MAY_TAKE_MS: f64 = 200.0;

/// Listens to the feed. What comes before this is the same for all (`stack.rs`).
const FED: &str = r#"[feed]
servers = ["http://ORIGIN"]

[[route]]
name = "live"
match = { path = "/live" }
upstream = "origin"
live = true

[[route]]
name = "all"
upstream = "origin"
"#;

/// Knows how long an answer lives, and nothing else.
const TIMED: &str = r#"[[route]]
name = "all"
upstream = "origin"
cache = { ttl = "30s" }
"#;

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    let profile = if options.dev { Profile::Dev } else { Profile::Release };
    let stack = Stack::start(profile, options.resources, "[feed]\n", &[("fed", FED), ("timed", TIMED)])?;
    let [fed, timed] = stack.proxies[..] else { return Err("two proxies were asked for".into()) };
    stack.wait_for_feed(fed)?;
    let parts = options.part.map_or(Part::ALL.to_vec(), |part| vec![part]);
    let mut is_met = true;
    for part in parts {
        let seconds = options.seconds.unwrap_or(part.seconds());
        is_met &= match part {
            Part::Invalidation => invalidation::run(&stack, fed, seconds)?,
            Part::Live => live::run(&stack, fed, seconds)?,
            Part::Hits => hits::run(&stack, fed, timed, seconds)?,
            Part::Writers => writers::run(&stack, fed, options.rounds, seconds)?,
        };
    }
    println!("\n{} resources: all that was asked for is {}", options.resources, verdict(is_met));
    Ok(stop::code(is_met))
}

/// A change of one row.
fn write(subject: &Subject, score: u64) -> Request {
    Request { method: "PATCH", target: subject.target(), body: change(score) }
}

/// Of a percentile, in milliseconds.
struct Asked {
    name: &'static str,
    share: f64,
    below_ms: f64,
}

fn title(text: &str) {
    println!(
        "\n{text}\n{:34} {:>8} {:>9} {:>9} {:>9} {:>9}   asked",
        "", "seen", "p50 ms", "p95 ms", "p99 ms", "max ms"
    );
}

/// One line of a table, and whether it is as asked.
fn line(name: &str, times: &mut Times, asked: Option<&Asked>) -> bool {
    times.sort();
    let is_met = asked.is_none_or(|asked| times.percentile_ms(asked.share) < asked.below_ms);
    let asked = asked.map_or(String::new(), |asked| {
        format!("{} < {} ms: {}", asked.name, asked.below_ms, verdict(is_met))
    });
    println!(
        "{name:34} {:>8} {:>9.2} {:>9.2} {:>9.2} {:>9.2}   {asked}",
        times.count(),
        times.percentile_ms(0.5),
        times.percentile_ms(0.95),
        times.percentile_ms(0.99),
        times.percentile_ms(1.0)
    );
    is_met
}

/// One line about a load, and whether it was what it should have been: without it the other figures say nothing.
fn load_line(name: &str, asked_per_s: u32, seen: &Seen, seconds: u32) -> bool {
    let per_s = seen.per_s(seconds, MAY_TAKE_MS);
    let is_met = per_s >= f64::from(asked_per_s) * ENOUGH && seen.failures() == 0;
    println!(
        "{name:34} {per_s:>6.0}/s   asked {asked_per_s}/s, none failed: {} ({} failed)",
        verdict(is_met),
        seen.failures()
    );
    for (what, count) in &seen.failed {
        println!("    {count} of {what}");
    }
    is_met
}

/// A number that should be 0.
fn none_line(name: &str, count: u64) -> bool {
    println!("{name:34} {count:>8}   asked 0: {}", verdict(count == 0));
    count == 0
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "NOT MET" }
}
