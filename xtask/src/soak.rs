//! `cargo xtask soak stale`: writers, readers through two proxies, a lagging replica, and one thing after the other that is killed;
//! every answer is held against what the database may have shown at the position that the proxy's feed had reached.
//!
//! Read next: `history.rs` for the judgement, `soak/load.rs` for who asks, `soak/faults.rs` for what goes wrong.

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rig::programs::Profile;

use crate::{
    Error,
    history::History,
    stack::Stack,
    stop::{self, AtEnd},
};

mod faults;
mod load;

use load::{Counts, Proxy, Run};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// No answer is older than what the proxy's feed had told, and no acknowledged write is lost
    Stale(Stale),
}

#[derive(Debug, Clone, clap::Args)]
struct Stale {
    /// How long, in minutes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1440))]
    minutes: u32,
    /// Which faults happen in which order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes in each second
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    writes: u32,
    /// Reads in each second, through both proxies together
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    reads: u32,
    /// What tells the feed
    #[arg(long, default_value = "replication")]
    source: Source,
    /// Nothing goes wrong
    #[arg(long)]
    no_faults: bool,
    /// Programs built without optimizations
    #[arg(long)]
    dev: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Source {
    Replication,
    Triggers,
}

impl Options {
    /// On a machine that has other things to do, with programs as they are built for tests.
    pub(crate) fn gentle(minutes: u32) -> Options {
        Options {
            what: What::Stale(Stale {
                minutes,
                seed: 1,
                writes: 40,
                reads: 300,
                source: Source::Replication,
                no_faults: false,
                dev: true,
            }),
        }
    }
}

const PROXY: &str = r#"[feed]
servers = ["http://ORIGIN"]
max_silence = "1s"
on_loss = "pass"

[[route]]
name = "all"
upstream = "origin"
"#;
const PROXIES: [(&str, &str); 2] = [("proxy-a", PROXY), ("proxy-b", PROXY)];
const RESOURCES: u32 = 2_000;
const SUBJECTS: usize = 200;
const WRITERS: u32 = 4;
const READERS_OF_EACH: u32 = 4;
/// For the feeds to come to the end of what was written, when nothing goes wrong any more.
const SETTLE: Duration = Duration::from_secs(30);

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    let What::Stale(options) = &options.what;
    stop::on_signals()?;
    let _stopped_at_end = AtEnd;
    stale(options).map(stop::code)
}

/// Whether it ended without a violation.
#[expect(clippy::disallowed_methods, reason = "it lasts as long as was asked for")]
fn stale(options: &Stale) -> Result<bool, Error> {
    let profile = if options.dev { Profile::Dev } else { Profile::Release };
    let worker = match options.source {
        Source::Replication => "[feed]\n",
        Source::Triggers => "[feed]\nsource = \"triggers\"\n",
    };
    let stack = Stack::start(profile, RESOURCES, worker, &PROXIES)?;
    let subjects = stack.subjects(SUBJECTS)?;
    let run = Run {
        history: History::of_rows(subjects.len()),
        subjects,
        proxies: stack.proxies.iter().copied().map(Proxy::new).collect(),
        origin: stack.origin,
        tells_in_order_of_wal: options.source == Source::Replication,
        is_over: AtomicBool::new(false),
        last_fault: Mutex::new(None),
        counts: Mutex::new(Counts::default()),
    };
    let readers = READERS_OF_EACH * u32::try_from(run.proxies.len())?;
    let happened = std::thread::scope(|scope| {
        let run = &run;
        for nth in 0..WRITERS {
            let per_s = (options.writes / WRITERS).max(1);
            scope.spawn(move || run.write(nth as usize, WRITERS as usize, per_s));
        }
        for (nth, proxy) in run.proxies.iter().enumerate() {
            scope.spawn(move || run.look(proxy));
            for reader in 0..READERS_OF_EACH {
                let seed = options.seed ^ (nth as u64 * 1_000 + u64::from(reader) + 7);
                let per_s = (options.reads / readers).max(1);
                scope.spawn(move || run.read(proxy, seed, per_s));
            }
        }
        let faults = (!options.no_faults).then(|| {
            scope.spawn(|| faults::happen(&stack, run, options.seed).map_err(|error| error.to_string()))
        });
        let end = Instant::now() + Duration::from_secs(60 * u64::from(options.minutes));
        let mut minute = 0;
        while Instant::now() < end && faults.as_ref().is_none_or(|faults| !faults.is_finished()) {
            std::thread::sleep(Duration::from_secs(1));
            minute += 1;
            if minute % 60 == 0 {
                report(run);
            }
        }
        run.is_over.store(true, Ordering::Relaxed);
        faults.map(|faults| faults.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let happened = happened.transpose()?.unwrap_or_default();
    println!();
    for (fault, times) in &happened {
        println!("{times:>8}  {fault}");
    }
    report(&run);
    let lost = lost_writes(&stack, &run)?;
    let behind = left_behind(&stack, &run)?;
    let counts = run.counts();
    for violation in counts.violations.iter().chain(&lost).chain(&behind) {
        println!("VIOLATION {violation}");
    }
    let is_good = counts.violations.is_empty() && lost.is_empty() && behind.is_empty() && counts.checked > 0;
    println!("{}", if is_good { "nothing stale, nothing lost" } else { "NOT GOOD" });
    Ok(is_good)
}

fn report(run: &Run) {
    let counts = run.counts();
    println!(
        "{} responses ({} hits), {} values checked: {} violations; {} older than the newest write, as they may be; {} not judged; \
         {} writes acknowledged",
        counts.responses,
        counts.hits,
        counts.checked,
        counts.violations.len(),
        counts.behind,
        counts.not_judged,
        run.history.writes()
    );
    let list = |what: &str, counted: &std::collections::BTreeMap<String, u64>| {
        let all: Vec<String> = counted.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        if !all.is_empty() {
            println!("    {what}: {}", all.join(", "));
        }
    };
    list("details", &counts.details);
    list("other answers", &counts.others);
    list("writes not acknowledged", &counts.failed_writes);
}

/// What was acknowledged and is not there.
fn lost_writes(stack: &Stack, run: &Run) -> Result<Vec<String>, Error> {
    let mut lost = Vec::new();
    for (row, subject) in run.subjects.iter().enumerate() {
        let (acknowledged, is) = (run.history.acknowledged(row), stack.score(&subject.resource)?);
        if is < acknowledged {
            lost.push(format!("{}: {acknowledged} was acknowledged, and it is {is}", subject.resource));
        }
    }
    Ok(lost)
}

/// When all is well again, each proxy comes to serve what the primary has.
#[expect(clippy::disallowed_methods, reason = "asks again for a while")]
fn left_behind(stack: &Stack, run: &Run) -> Result<Vec<String>, Error> {
    let mut behind = Vec::new();
    for proxy in &run.proxies {
        let end = Instant::now() + SETTLE;
        for subject in &run.subjects {
            let is = stack.score(&subject.resource)?;
            loop {
                match proxy.score(subject) {
                    Some(shown) if shown == is => break,
                    shown if Instant::now() > end => {
                        behind.push(format!(
                            "{} still says {shown:?} of {}, which is {is}",
                            proxy.at.name, subject.resource
                        ));
                        break;
                    }
                    _ => std::thread::sleep(Duration::from_millis(20)),
                }
            }
        }
    }
    Ok(behind)
}
