//! Load that is paced: requests are due at a rate, whether or not earlier ones were answered, and the time of one counts from
//! when it was due. A server that stalls is then seen by all that were due meanwhile, not only by the few that were sent.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rig::http::Client;

/// One kind of load. Its connections bound how many requests can be under way; a request that finds none free waits, and the
/// wait counts.
pub(super) struct Class<'a> {
    pub(super) name: &'static str,
    pub(super) per_s: u32,
    pub(super) connections: u32,
    /// The nth request.
    pub(super) request: &'a (dyn Fn(u64) -> Request + Sync),
}

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
    took_us: Vec<u64>,
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
        self.took_us.len() as f64 / f64::from(seconds).max(self.last_s - may_take_ms / 1e3)
    }

    /// In milliseconds; `share` is 0.95 for the 95th percentile.
    pub(super) fn percentile_ms(&self, share: f64) -> f64 {
        let last = self.took_us.len().saturating_sub(1);
        // Sorted, and the rank is within.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank in a list")]
        let rank = (last as f64 * share).ceil() as usize;
        self.took_us.get(rank).map_or(f64::NAN, |took_us| *took_us as f64 / 1e3)
    }

    fn add(&mut self, other: Seen) {
        self.took_us.extend(other.took_us);
        for (what, count) in other.failed {
            *self.failed.entry(what).or_default() += count;
        }
        self.last_s = self.last_s.max(other.last_s);
    }
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
            all.took_us.sort_unstable();
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
    let mut client = None;
    loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        if nth >= total {
            return seen;
        }
        let due = begin + Duration::from_secs_f64(nth as f64 / f64::from(class.per_s));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let Request { method, target, body } = (class.request)(nth);
        let fields = [("content-type", "application/json")];
        let fields: &[_] = if body.is_empty() { &[] } else { &fields };
        let mut call = || {
            let client = match &mut client {
                Some(client) => client,
                free => free.insert(Client::connect(address)?),
            };
            client.call(method, &target, fields, body.as_bytes())
        };
        let outcome = match call() {
            Ok(answer) if answer.status / 100 == 2 => {
                seen.took_us.push(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX));
                seen.last_s = begin.elapsed().as_secs_f64();
                continue;
            }
            Ok(answer) => answer.status.to_string(),
            Err(error) => {
                client = None;
                error.kind().to_string()
            }
        };
        let head: String = target.split(['/', '?']).take(2).collect::<Vec<_>>().join("/");
        *seen.failed.entry(format!("{method} {head}: {outcome}")).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_seen() {
        let seen = Seen { took_us: (1..=100).map(|ms| ms * 1000).collect(), ..Seen::default() };
        assert_eq!(seen.percentile_ms(0.95), 96.0);
        assert_eq!(seen.percentile_ms(1.0), 100.0);
        assert!(Seen::default().percentile_ms(0.95).is_nan());
        let late = |last_s| Seen { took_us: vec![1; 100], last_s, ..Seen::default() }.per_s(10, 500.0);
        assert_eq!((late(9.0), late(10.4), late(20.5)), (10.0, 10.0, 5.0));
    }
}
