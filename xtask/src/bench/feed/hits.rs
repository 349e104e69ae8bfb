//! Hits and stale answers of exact invalidation, beside those of a lifetime: the same reads at the same time through both proxies,
//! while rows are changed.
//!
//! A stale answer is one that is older than a change which was acknowledged before the request was sent.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::{load_line, none_line, write};
use crate::{
    Error,
    bench::paced::{self, Answer, Class, Request, Seen},
    call::{is_hit, score},
    history::History,
    random::Random,
    stack::{Proxy, Stack, Subject},
};

const ROWS: usize = 2_000;
const READS_PER_S: u32 = 500;
/// Each has rows of its own and one connection, so that the values of a row only grow.
const WRITERS: usize = 4;
const WRITES_PER_S_OF_EACH: u32 = 25;
/// Reads alone, which are not counted.
const WARM_UP_SECONDS: u32 = 5;
/// How long ago what was read had been overwritten, at least.
const AGES_MS: [u64; 4] = [0, 10, 100, 1_000];

pub(super) fn run(stack: &Stack, fed: Proxy, timed: Proxy, seconds: u32) -> Result<bool, Error> {
    stack.scores_to_zero()?;
    let load = Load { subjects: stack.subjects(ROWS)?, history: History::of_rows(ROWS), begin: now() };
    let sides = || [Side::of(fed), Side::of(timed)];
    load.run(stack.origin, &sides(), 0, WARM_UP_SECONDS);
    let sides = sides();
    let ran = load.run(stack.origin, &sides, WRITERS, seconds);

    let [of_fed, of_timed] =
        sides.map(|side| side.counts.into_inner().unwrap_or_else(PoisonError::into_inner));
    println!("\nhits and stale answers\n{:34} {:>12} {:>12}", "", "feed", "ttl = 30s");
    let row = |name: &str, of: &dyn Fn(&Counts) -> String| {
        println!("{name:34} {:>12} {:>12}", of(&of_fed), of(&of_timed));
    };
    row("reads", &|counts| counts.reads.to_string());
    row("hits", &|counts| format!("{:.1} %", 100.0 * counts.hits as f64 / counts.reads as f64));
    for (nth, age_ms) in AGES_MS.iter().enumerate() {
        let name = match age_ms {
            0 => "stale answers".to_owned(),
            age_ms => format!("  by more than {age_ms} ms"),
        };
        row(&name, &|counts| format!("{} ({})", counts.stale[nth], counts.stale_hits[nth]));
    }
    println!("in brackets: from the cache; the others are of a replica that had not replayed the change");
    let mut is_met = none_line("from the cache, by more than 1 s", of_fed.stale_hits[AGES_MS.len() - 1]);
    for (name, seen) in ["reads, feed", "reads, ttl = 30s"].iter().zip(&ran.reads) {
        is_met &= load_line(name, READS_PER_S, seen, seconds);
    }
    let asked = WRITES_PER_S_OF_EACH * u32::try_from(WRITERS)?;
    is_met &= load_line("writes", asked, &ran.writes, seconds);
    Ok(is_met)
}

struct Side {
    proxy: Proxy,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    reads: u64,
    hits: u64,
    /// By [`AGES_MS`].
    stale: [u64; 4],
    stale_hits: [u64; 4],
}

struct Load {
    subjects: Vec<Subject>,
    /// A place in it is a time.
    history: History,
    begin: Instant,
}

/// What the readers of each proxy saw, and the writers.
struct Ran {
    reads: Vec<Seen>,
    writes: Seen,
}

impl Side {
    fn of(proxy: Proxy) -> Side {
        Side { proxy, counts: Mutex::default() }
    }
}

impl Load {
    fn run(&self, origin: SocketAddr, sides: &[Side], writers: usize, seconds: u32) -> Ran {
        std::thread::scope(|scope| {
            let readers: Vec<_> =
                sides.iter().map(|side| scope.spawn(move || self.read(side, seconds))).collect();
            let writers: Vec<_> =
                (0..writers).map(|writer| scope.spawn(move || self.write(origin, writer, seconds))).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, Seen>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            let mut writes = Seen::default();
            for writer in writers {
                writes.add(join(writer));
            }
            Ran { reads: readers.into_iter().map(join).collect(), writes }
        })
    }

    fn read(&self, side: &Side, seconds: u32) -> Seen {
        let row_of = |nth: u64| Random(nth).skewed(self.subjects.len());
        let class = Class {
            name: "reads",
            per_s: READS_PER_S,
            connections: 16,
            request: &|nth| Request::get(self.subjects[row_of(nth)].target()),
            answered: &|answer| self.judge(side, row_of(answer.nth), answer),
        };
        paced::run_one(side.proxy.address, &class, seconds)
    }

    fn judge(&self, side: &Side, row: usize, answer: &Answer<'_>) {
        let overwritten = score(answer.response).and_then(|value| self.history.overwritten(row, value));
        let age_us = overwritten.and_then(|overwritten| self.micros(answer.sent).checked_sub(overwritten));
        let is_hit = is_hit(answer.response);
        let mut counts = side.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.reads += 1;
        counts.hits += u64::from(is_hit);
        for (nth, age_ms) in AGES_MS.iter().enumerate() {
            if age_us.is_some_and(|age_us| age_us >= age_ms * 1_000) {
                counts.stale[nth] += 1;
                counts.stale_hits[nth] += u64::from(is_hit);
            }
        }
    }

    /// Values are the numbers of the requests.
    fn write(&self, origin: SocketAddr, writer: usize, seconds: u32) -> Seen {
        let row_of = |nth: u64| {
            // Other ones than those that are read at this moment.
            let place = Random(!nth).skewed(self.subjects.len() / WRITERS);
            place * WRITERS + writer
        };
        let class = Class {
            name: "writes",
            per_s: WRITES_PER_S_OF_EACH,
            connections: 1,
            request: &|nth| {
                self.history.attempt(row_of(nth), nth + 1);
                write(&self.subjects[row_of(nth)], nth + 1)
            },
            answered: &|answer| {
                self.history.committed(row_of(answer.nth), answer.nth + 1, self.micros(now()));
            },
        };
        paced::run_one(origin, &class, seconds)
    }

    fn micros(&self, time: Instant) -> u64 {
        u64::try_from(time.duration_since(self.begin).as_micros()).unwrap_or(u64::MAX)
    }
}

#[expect(clippy::disallowed_methods, reason = "measures")]
fn now() -> Instant {
    Instant::now()
}
