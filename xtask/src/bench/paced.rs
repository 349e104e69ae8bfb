//! Load that is paced: requests are due at a rate, whether or not earlier ones were answered, and the time of one counts from
//! when it was due. A server that stalls is then seen by all that were due meanwhile, not only by the few that were sent.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rig::http::Response;

use super::times::Times;
use crate::call::Caller;

/// One kind of load. Its connections bound how many requests can be under way; a request that finds none free waits, and the
/// wait counts.
pub(super) struct Class<'a> {
    pub(super) name: &'static str,
    pub(super) per_s: u32,
    pub(super) connections: u32,
    /// The nth request.
    pub(super) request: &'a (dyn Fn(u64) -> Request + Sync),
    /// Is shown each answer that is as wanted.
    pub(super) answered: &'a (dyn Fn(&Answer<'_>) + Sync),
}

pub(super) struct Answer<'a> {
    /// Of which request.
    pub(super) nth: u64,
    /// When that request was sent, and not when it was due.
    pub(super) sent: Instant,
    pub(super) response: &'a Response,
}

/// For [`Class::answered`], where the time alone is of interest.
pub(super) fn unseen(_: &Answer<'_>) {}

pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) body: String,
}

impl Request {
    pub(super) fn get(target: String) -> Request {
        Request { method: "GET", target, body: String::new() }
    }
}

/// What a class saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Of all requests that were answered as wanted, in order.
    pub(super) took: Times,
    /// Everything else, by method, the head of the path, and status or error.
    pub(super) failed: BTreeMap<String, u64>,
    last_s: f64,
}

impl Seen {
    pub(super) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Answers in each of so many seconds, if the last answer came no later after their end than it may take; else in each
    /// second until then.
    pub(super) fn per_s(&self, seconds: u32, may_take_ms: f64) -> f64 {
        self.took.count() as f64 / f64::from(seconds).max(self.last_s - may_take_ms / 1e3)
    }

    pub(super) fn add(&mut self, other: Seen) {
        self.took.extend(other.took);
        for (what, count) in other.failed {
            *self.failed.entry(what).or_default() += count;
        }
        self.last_s = self.last_s.max(other.last_s);
    }
}

/// One class, for so long.
pub(super) fn run_one(address: SocketAddr, class: &Class<'_>, seconds: u32) -> Seen {
    run(address, std::slice::from_ref(class), seconds).pop().unwrap_or_default()
}

/// All classes at the same time, for so long. What they saw, in their order.
#[expect(clippy::disallowed_methods, reason = "measures")]
pub(super) fn run(address: SocketAddr, classes: &[Class<'_>], seconds: u32) -> Vec<Seen> {
    let next: Vec<AtomicU64> = classes.iter().map(|_| AtomicU64::new(0)).collect();
    let begin = Instant::now() + Duration::from_millis(100);
    std::thread::scope(|scope| {
        let running: Vec<Vec<_>> = (classes.iter().zip(&next))
            .map(|(class, next)| {
                let connection = || scope.spawn(move || connection(address, class, next, begin, seconds));
                (0..class.connections).map(|_| connection()).collect()
            })
            .collect();
        let sum = |threads: Vec<std::thread::ScopedJoinHandle<'_, Seen>>| {
            let mut all = Seen::default();
            for thread in threads {
                match thread.join() {
                    Ok(seen) => all.add(seen),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            all.took.sort();
            all
        };
        running.into_iter().map(sum).collect()
    })
}

/// Takes the next request that is due, again and again.
#[expect(clippy::disallowed_methods, reason = "keeps the rate, and measures")]
fn connection(
    address: SocketAddr,
    class: &Class<'_>,
    next: &AtomicU64,
    begin: Instant,
    seconds: u32,
) -> Seen {
    let total = u64::from(class.per_s) * u64::from(seconds);
    let mut seen = Seen::default();
    let mut caller = Caller::new(address);
    loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        if nth >= total {
            return seen;
        }
        let due = begin + Duration::from_secs_f64(nth as f64 / f64::from(class.per_s));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let Request { method, target, body } = (class.request)(nth);
        let sent = Instant::now();
        let outcome = match caller.call(method, &target, &body) {
            Ok(response) if response.status / 100 == 2 => {
                seen.took.add(due.elapsed());
                seen.last_s = begin.elapsed().as_secs_f64();
                (class.answered)(&Answer { nth, sent, response: &response });
                continue;
            }
            Ok(answer) => answer.status.to_string(),
            Err(error) => error.kind().to_string(),
        };
        let head: String = target.split(['/', '?']).take(2).collect::<Vec<_>>().join("/");
        *seen.failed.entry(format!("{method} {head}: {outcome}")).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_late_is_a_lower_rate() {
        let late = |last_s| {
            let mut seen = Seen { last_s, ..Seen::default() };
            (0..100).for_each(|_| seen.took.add(Duration::from_micros(1)));
            seen.per_s(10, 500.0)
        };
        assert_eq!((late(9.0), late(10.4), late(20.5)), (10.0, 10.0, 5.0));
    }
}
