//! Who writes, who reads, and who looks how far each proxy has come, until the time is over.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rig::http::Response;
use serde_json::Value;

use crate::{
    call::{self, Caller, is_hit},
    history::{History, Verdict},
    random::Random,
    stack::{self, Subject, change},
};

/// A proxy as the load sees it.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) at: stack::Proxy,
    reached: Mutex<Reached>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Reached {
    /// Of the process: a new one has heard of nothing.
    process: u64,
    position: u64,
    /// The last one before it.
    earlier: u64,
}

impl Proxy {
    pub(super) fn new(at: stack::Proxy) -> Proxy {
        Proxy { at, reached: Mutex::default() }
    }

    /// To be called between the end of a process and the start of the next.
    pub(super) fn is_another(&self) {
        let mut reached = self.reached();
        *reached = Reached { process: reached.process + 1, ..Reached::default() };
    }

    /// What it says of one resource.
    pub(super) fn score(&self, subject: &Subject) -> Option<u64> {
        call::score(&Caller::new(self.at.address).get(&subject.target()).ok()?)
    }

    fn reached(&self) -> MutexGuard<'_, Reached> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of what an older process said nothing is kept.
    fn has_reached(&self, process: u64, position: u64) {
        let mut reached = self.reached();
        if reached.process == process && position > reached.position {
            (reached.earlier, reached.position) = (reached.position, position);
        }
    }
}

/// Everything that the threads of a run share.
pub(super) struct Run {
    pub(super) subjects: Vec<Subject>,
    pub(super) history: History,
    pub(super) proxies: Vec<Proxy>,
    pub(super) origin: SocketAddr,
    /// If not, a commit may become visible while the look is under way that names a position behind it; the next look shows it.
    pub(super) tells_in_order_of_wal: bool,
    pub(super) is_over: AtomicBool,
    pub(super) last_fault: Mutex<Option<(&'static str, Instant)>>,
    pub(super) counts: Mutex<Counts>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Values that were held against the history.
    pub(super) checked: u64,
    pub(super) responses: u64,
    pub(super) hits: u64,
    /// Older than the newest write, within what the feed had said.
    pub(super) behind: u64,
    /// The process changed while it was asked, or it was asked while it had no feed and did not answer from what it keeps.
    pub(super) not_judged: u64,
    /// Everything else, by status or error.
    pub(super) others: BTreeMap<String, u64>,
    pub(super) details: BTreeMap<String, u64>,
    pub(super) violations: Vec<String>,
    pub(super) failed_writes: BTreeMap<String, u64>,
}

const MAX_VIOLATIONS: usize = 100;

impl Run {
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Writes the rows whose number is `first` and every `step`th after it, so many each second, each value one above the last.
    #[expect(clippy::disallowed_methods, reason = "keeps a rate")]
    pub(super) fn write(&self, first: usize, step: usize, per_s: u32) {
        let rows: Vec<usize> = (first..self.subjects.len()).step_by(step).collect();
        let mut values = vec![0; self.subjects.len()];
        let mut random = Random(first as u64 + 1);
        let mut origin = Caller::new(self.origin);
        let pause = Duration::from_secs_f64(1.0 / f64::from(per_s));
        while self.goes_on() {
            let began = Instant::now();
            // Few rows are written often.
            let Some(row) = rows.get(random.skewed(rows.len())).copied() else { return };
            let (Some(value), Some(subject)) = (values.get_mut(row), self.subjects.get(row)) else { return };
            *value += 1;
            self.history.attempt(row, *value);
            let answer = origin.call("PATCH", &subject.target(), &change(*value));
            let why = match answer {
                Ok(answer) if answer.status == 200 => match call::committed(&answer) {
                    Some(position) => {
                        self.history.committed(row, *value, position);
                        None
                    }
                    None => Some("200 without Larder-Commit".to_owned()),
                },
                Ok(answer) => Some(answer.status.to_string()),
                Err(error) => Some(error.kind().to_string()),
            };
            if let Some(why) = why {
                *self.counts().failed_writes.entry(why).or_default() += 1;
            }
            std::thread::sleep(pause.saturating_sub(began.elapsed()));
        }
    }

    /// Reads through one proxy, one request after the other.
    #[expect(clippy::disallowed_methods, reason = "does not hammer at a proxy that is not there")]
    pub(super) fn read(&self, proxy: &Proxy, seed: u64, per_s: u32) {
        let mut random = Random(seed);
        let mut caller = Caller::new(proxy.at.address);
        let pause = Duration::from_secs_f64(1.0 / f64::from(per_s));
        while self.goes_on() {
            let began = Instant::now();
            let row = random.skewed(self.subjects.len());
            let Some(subject) = self.subjects.get(row) else { return };
            let is_list = random.next().is_multiple_of(8);
            let target = if is_list {
                format!("/users/{}/resources?limit=100", subject.user)
            } else {
                subject.target()
            };
            let before = *proxy.reached();
            let answer = caller.get(&target);
            let after = proxy.reached().process;
            let mut counts = self.counts();
            match answer {
                Ok(answer) if answer.status == 200 => {
                    counts.responses += 1;
                    self.judge(
                        &mut counts,
                        proxy,
                        row,
                        &answer,
                        &target,
                        if self.tells_in_order_of_wal { before.position } else { before.earlier },
                        after == before.process,
                    );
                }
                Ok(answer) => *counts.others.entry(answer.status.to_string()).or_default() += 1,
                Err(error) => *counts.others.entry(error.kind().to_string()).or_default() += 1,
            }
            drop(counts);
            std::thread::sleep(pause.saturating_sub(began.elapsed()));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call")]
    fn judge(
        &self,
        counts: &mut Counts,
        proxy: &Proxy,
        row: usize,
        answer: &Response,
        target: &str,
        position: u64,
        is_same: bool,
    ) {
        let status = answer.field("cache-status").unwrap_or_default();
        let is_hit = is_hit(answer);
        counts.hits += u64::from(is_hit);
        let detail = call::detail(answer);
        if let Some(detail) = detail {
            *counts.details.entry(detail.to_owned()).or_default() += 1;
        }
        let has_no_feed = matches!(detail, Some("no-feed" | "feed-gap" | "feed-silent"));
        if !is_same || (has_no_feed && !is_hit) {
            counts.not_judged += 1;
            return;
        }
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
            counts.violations.push(format!("{} {target}: no JSON", proxy.at.name));
            return;
        };
        let mut values = Vec::new();
        if let Some(score) = body["score"].as_u64() {
            values.push((row, score));
        }
        for item in body["items"].as_array().into_iter().flatten() {
            let place = |subject: &Subject| item["publicId"].as_str() == Some(&subject.resource);
            if let (Some(row), Some(score)) = (self.subjects.iter().position(place), item["score"].as_u64()) {
                values.push((row, score));
            }
        }
        for (row, value) in values {
            counts.checked += 1;
            let why = match self.history.judge(row, value, position) {
                Verdict::Newest => continue,
                Verdict::Allowed => {
                    counts.behind += 1;
                    continue;
                }
                Verdict::Stale { at_least } => {
                    format!("{value}, though {at_least} was there at the proxy's position")
                }
                Verdict::Invented => format!("{value}, which nobody wrote"),
            };
            if counts.violations.len() < MAX_VIOLATIONS {
                let resource = self.subjects.get(row).map_or("", |subject| &subject.resource);
                let position = format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff);
                let served_by = answer.field("larder-served-by").unwrap_or("nobody");
                let fault = *self.last_fault.lock().unwrap_or_else(PoisonError::into_inner);
                let fault =
                    fault.map_or(String::new(), |(name, at)| format!("; {name} {:?} ago", at.elapsed()));
                let text = format!(
                    "{} {target}: {resource} is {why} {position}; {status}; served by {served_by}{fault}",
                    proxy.at.name
                );
                eprintln!("VIOLATION {text}");
                counts.violations.push(text);
            }
        }
    }

    /// Asks a proxy again and again how far it has come.
    #[expect(clippy::disallowed_methods, reason = "leaves the proxy some time for others")]
    pub(super) fn look(&self, proxy: &Proxy) {
        let mut admin = Caller::new(proxy.at.admin);
        while self.goes_on() {
            let process = proxy.reached().process;
            if let Some(position) = call::heard(&mut admin) {
                proxy.has_reached(process, position);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_process_said_is_not_kept() {
        let nowhere: SocketAddr = ([127, 0, 0, 1], 0).into();
        let proxy = Proxy::new(stack::Proxy { name: "a", address: nowhere, admin: nowhere });
        proxy.has_reached(0, 7);
        assert_eq!(proxy.reached().position, 7);
        proxy.is_another();
        proxy.has_reached(0, 9);
        assert_eq!(proxy.reached().position, 0);
    }
}
