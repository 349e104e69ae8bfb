//! What goes wrong during a soak: one thing after the other, at random, and all of it heals.

use std::{
    collections::BTreeMap,
    sync::PoisonError,
    time::{Duration, Instant},
};

use rig::postgres;

use super::load::Run;
use crate::{
    Error,
    random::Random,
    stack::{Stack, WORKER},
};

/// As a pause between two, and as a length.
const SHORT_MS: u64 = 300;
const LONG_MS: u64 = 3_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    WorkerKilled,
    WorkerStopped,
    ProxyKilled,
    ProxyStopped,
    ReplicaKilled,
    ReplayPaused,
    FeedTerminated,
    SessionsCut,
}

impl Fault {
    const ALL: [Fault; 8] = [
        Fault::WorkerKilled,
        Fault::WorkerStopped,
        Fault::ProxyKilled,
        Fault::ProxyStopped,
        Fault::ReplicaKilled,
        Fault::ReplayPaused,
        Fault::FeedTerminated,
        Fault::SessionsCut,
    ];

    fn name(self) -> &'static str {
        match self {
            Fault::WorkerKilled => "worker killed",
            Fault::WorkerStopped => "worker stopped for a while",
            Fault::ProxyKilled => "proxy killed",
            Fault::ProxyStopped => "proxy stopped for a while",
            Fault::ReplicaKilled => "replica killed",
            Fault::ReplayPaused => "replay paused",
            Fault::FeedTerminated => "feed terminated",
            Fault::SessionsCut => "sessions cut",
        }
    }
}

/// Until the run is over. How often what happened.
pub(super) fn happen(stack: &Stack, run: &Run, seed: u64) -> Result<BTreeMap<&'static str, u64>, Error> {
    let mut random = Random(seed);
    let mut happened = BTreeMap::new();
    let mut last = None;
    while wait(run, &mut random) {
        let fault = Fault::ALL[random.below(Fault::ALL.len())];
        if last.replace(fault) == Some(fault) {
            continue;
        }
        *happened.entry(fault.name()).or_default() += 1;
        *run.last_fault.lock().unwrap_or_else(PoisonError::into_inner) = Some((fault.name(), now()));
        happens(stack, run, fault, &mut random)?;
    }
    Ok(happened)
}

fn happens(stack: &Stack, run: &Run, fault: Fault, random: &mut Random) -> Result<(), Error> {
    let proxy = &run.proxies[random.below(run.proxies.len())];
    match fault {
        Fault::WorkerKilled => {
            stack.with(WORKER, |process| process.kill().map(drop))?;
            if random.next().is_multiple_of(2) {
                wait(run, random);
            }
            stack.launch(WORKER)?;
        }
        Fault::ProxyKilled => {
            stack.with(proxy.at.name, |process| process.kill().map(drop))?;
            proxy.is_another();
            stack.launch(proxy.at.name)?;
        }
        Fault::WorkerStopped => stopped(stack, WORKER, run, random)?,
        Fault::ProxyStopped => stopped(stack, proxy.at.name, run, random)?,
        Fault::ReplicaKilled => {
            stack.cluster.kill_replica()?;
            wait(run, random);
            stack.cluster.start_replica()?;
        }
        Fault::ReplayPaused => {
            stack.cluster.pause_replay()?;
            wait(run, random);
            stack.cluster.resume_replay()?;
        }
        Fault::FeedTerminated => {
            let sql = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_type = 'logical' AND active";
            postgres::query(&stack.cluster.primary_url(), sql)?;
        }
        Fault::SessionsCut => {
            let node = stack.cluster.node(random.below(2));
            node.cut_sessions()?;
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "what is found is told with what happened before it")]
fn now() -> Instant {
    Instant::now()
}

fn stopped(stack: &Stack, name: &str, run: &Run, random: &mut Random) -> Result<(), Error> {
    stack.with(name, |process| process.signal("STOP"))?;
    wait(run, random);
    stack.with(name, |process| process.signal("CONT"))
}

/// For a random while. False: the run is over.
#[expect(clippy::disallowed_methods, reason = "the time between faults is what it is about")]
fn wait(run: &Run, random: &mut Random) -> bool {
    let ms = SHORT_MS + random.next() % (LONG_MS - SHORT_MS);
    std::thread::sleep(Duration::from_millis(ms));
    !run.is_over.load(std::sync::atomic::Ordering::Relaxed)
}
