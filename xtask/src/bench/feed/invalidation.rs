//! From the acknowledgement of a write until nothing older comes from the cache.
//!
//! One prober has a row stored, changes it at the worker, and asks the proxy for it again and again, on one connection, from the
//! moment the change is acknowledged. The first answer that is no hit on the old value ends the measurement: the time includes
//! that answer's own way to the replica, so it errs upwards. Others write all the while.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Asked, line, load_line, none_line, title, verdict, write};
use crate::{
    Error,
    bench::{
        paced::{self, Class, unseen},
        times::Times,
    },
    call::{Caller, detail, is_hit, score},
    random::Random,
    stack::{Proxy, Stack, Subject, change},
};

const GOAL: Asked = Asked { name: "p99", share: 0.99, below_ms: 10.0 };
const OTHER_WRITES_PER_S: u32 = 500;
const PROBES: usize = 500;
/// Rows that are probed, in turn, and those that others change.
const PROBED: usize = 50;
const OTHERS: usize = 1_000;
/// For one probe.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn run(stack: &Stack, proxy: Proxy, seconds: u32) -> Result<bool, Error> {
    let subjects = stack.subjects(PROBED + OTHERS)?;
    let (probed, others) = subjects.split_at(PROBED);
    let others = Class {
        name: "other writes",
        per_s: OTHER_WRITES_PER_S,
        connections: 16,
        request: &|nth| write(&others[Random(nth).below(OTHERS)], nth),
        answered: &unseen,
    };
    let (seen, probes) = std::thread::scope(|scope| {
        let load = scope.spawn(|| paced::run_one(stack.origin, &others, seconds));
        let probes = Probes::make(stack, proxy, probed, || !load.is_finished());
        (load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), probes)
    });
    let mut probes = probes?;

    title("from a commit to the cache");
    let mut is_met = line("no hit on what was there", &mut probes.gone, Some(&GOAL));
    line("the new value, from a replica", &mut probes.shown, None);
    println!("{:34} {:>8}", "old hits after the commit", probes.old_hits);
    println!("{:34} {:>8}", "old answers of a replica", probes.from_replica);
    for (why, count) in &probes.not_stored {
        println!("{:34} {count:>8}", format!("not stored yet: {why}"));
    }
    is_met &= none_line("old hits after that", probes.hits_after_gone);
    is_met &= none_line("not shown, or not stored, in 2 s", probes.failed);
    let is_enough = probes.gone.count() >= PROBES;
    println!("{:34} {:>8}   asked {PROBES}: {}", "probes", probes.gone.count(), verdict(is_enough));
    is_met &= is_enough;
    is_met &= load_line(others.name, others.per_s, &seen, seconds);
    Ok(is_met)
}

#[derive(Debug, Default)]
struct Probes {
    gone: Times,
    shown: Times,
    old_hits: u64,
    /// It had not replayed the commit. Such an answer is passed on, and must not be stored.
    from_replica: u64,
    hits_after_gone: u64,
    /// Answers until a row is stored again, by what the proxy says.
    not_stored: BTreeMap<String, u64>,
    failed: u64,
}

impl Probes {
    fn make(
        stack: &Stack,
        proxy: Proxy,
        rows: &[Subject],
        goes_on: impl Fn() -> bool,
    ) -> Result<Probes, Error> {
        let (mut origin, mut front) = (Caller::new(stack.origin), Caller::new(proxy.address));
        let mut probes = Probes::default();
        // Above all that is there.
        for (value, row) in (1_000_000..).zip(rows.iter().cycle()) {
            if !goes_on() {
                break;
            }
            if probes.is_stored(&mut front, row)? {
                let changed = origin.call("PATCH", &row.target(), &change(value))?;
                if changed.status != 200 {
                    return Err(format!("a change was answered with {}", changed.status).into());
                }
                probes.watch(&mut front, row, value)?;
            } else {
                probes.failed += 1;
            }
        }
        Ok(probes)
    }

    /// From now on: the change is acknowledged.
    #[expect(clippy::disallowed_methods, reason = "measures")]
    fn watch(&mut self, front: &mut Caller, row: &Subject, value: u64) -> Result<(), Error> {
        let acknowledged = Instant::now();
        let mut is_gone = false;
        while acknowledged.elapsed() < PATIENCE {
            let answer = front.get(&row.target())?;
            let took = acknowledged.elapsed();
            let (is_new, is_hit) = (score(&answer) == Some(value), is_hit(&answer));
            if !is_gone && (is_new || !is_hit) {
                is_gone = true;
                self.gone.add(took);
            }
            match (is_new, is_hit) {
                (true, _) => {
                    self.shown.add(took);
                    return Ok(());
                }
                (false, true) if is_gone => self.hits_after_gone += 1,
                (false, true) => self.old_hits += 1,
                (false, false) => self.from_replica += 1,
            }
        }
        self.failed += 1;
        Ok(())
    }

    /// Asks until it is answered from the cache.
    #[expect(clippy::disallowed_methods, reason = "asks again for a while")]
    fn is_stored(&mut self, front: &mut Caller, row: &Subject) -> Result<bool, Error> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let answer = front.get(&row.target())?;
            if is_hit(&answer) {
                return Ok(true);
            }
            *self.not_stored.entry(detail(&answer).unwrap_or("stored now").to_owned()).or_default() += 1;
        }
        Ok(false)
    }
}
