//! From the acknowledgement of a write to the event at each subscriber: lists of rows are changed, and each row has somebody who
//! listens to it through the proxy.
//!
//! An event names a place in the WAL and no value, and belongs to the first change of its row that was acknowledged at that place
//! or later. Changes of one row are half a second apart, so that the next one begins after the last is acknowledged.

use std::{
    sync::{Mutex, PoisonError, mpsc::RecvTimeoutError},
    time::{Duration, Instant},
};

use super::{
    Asked, line, load_line, none_line,
    subscribers::{Heard, Subscribers, What},
    title,
};
use crate::{
    Error,
    bench::{
        paced::{self, Answer, Class, Request},
        times::Times,
    },
    call::committed,
    stack::{Proxy, Stack, Subject},
};

const GOAL: Asked = Asked { name: "p95", share: 0.95, below_ms: 50.0 };
const SUBSCRIBERS: usize = 1_000;
const ROWS_OF_ONE: u64 = 20;
const WRITES_PER_S: u32 = 100;
/// Until all listen, and until all have heard the last.
const PATIENCE: Duration = Duration::from_secs(10);

/// Changes of one row that were acknowledged, in their order: where in the WAL, and when.
type Acknowledged = Vec<(u64, Instant)>;

pub(super) fn run(stack: &Stack, proxy: Proxy, seconds: u32) -> Result<bool, Error> {
    let subjects = stack.subjects(SUBSCRIBERS)?;
    let subscribers = Subscribers::start(proxy.address, &subjects)?;
    let mut account = Account::of(subjects.len());
    account.hear(&subscribers, |account| account.ready == SUBSCRIBERS);
    if account.ready < SUBSCRIBERS {
        let why = account.ended.first().map_or("", String::as_str);
        return Err(
            format!("only {} of {SUBSCRIBERS} subscribers are listening; {why}", account.ready).into()
        );
    }

    let acknowledged: Vec<Mutex<Acknowledged>> = subjects.iter().map(|_| Mutex::default()).collect();
    let writes = Class {
        name: "lists",
        per_s: WRITES_PER_S,
        connections: 8,
        request: &|nth| bulk(&subjects, nth),
        answered: &|answer| acknowledge(&acknowledged, answer),
    };
    let seen = paced::run_one(stack.origin, &writes, seconds);
    let acknowledged: Vec<Acknowledged> = (acknowledged.into_iter())
        .map(|row| row.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect();
    account.hear(&subscribers, |account| account.lost(&acknowledged) == 0);
    drop(subscribers);

    let written = acknowledged.iter().map(Vec::len).sum::<usize>();
    let mut took = account.times(&acknowledged);
    title("from a commit to the event at its subscriber");
    let mut is_met = line("events", &mut took, Some(&GOAL));
    println!("{:34} {written:>8}", "changes of rows acknowledged");
    println!("{:34} {:>8}", "changes without their own event", written.saturating_sub(took.count()));
    println!("{:34} {:>8}", "streams that ended", account.ended.len());
    println!("{:34} {:>8}", "resets", account.resets);
    is_met &= none_line("subscribers without the last change", account.lost(&acknowledged));
    is_met &= load_line("lists of 20 rows", WRITES_PER_S, &seen, seconds);
    Ok(is_met)
}

/// The rows that the nth write changes.
fn rows_of(nth: u64, count: usize) -> impl Iterator<Item = usize> {
    (nth * ROWS_OF_ONE..(nth + 1) * ROWS_OF_ONE)
        .map(move |row| usize::try_from(row % count.max(1) as u64).unwrap_or(0))
}

fn bulk(subjects: &[Subject], nth: u64) -> Request {
    let rows: Vec<String> = rows_of(nth, subjects.len())
        .filter_map(|row| subjects.get(row))
        .map(|subject| format!("{{\"publicId\": \"{}\", \"score\": {nth}}}", subject.resource))
        .collect();
    Request { method: "PATCH", target: "/bulk/resources".to_owned(), body: format!("[{}]", rows.join(", ")) }
}

#[expect(clippy::disallowed_methods, reason = "measures")]
fn acknowledge(acknowledged: &[Mutex<Acknowledged>], answer: &Answer<'_>) {
    let now = Instant::now();
    let Some(position) = committed(answer.response) else { return };
    for row in rows_of(answer.nth, acknowledged.len()).filter_map(|row| acknowledged.get(row)) {
        row.lock().unwrap_or_else(PoisonError::into_inner).push((position, now));
    }
}

/// What all have heard.
#[derive(Debug, Default)]
struct Account {
    ready: usize,
    /// Why.
    ended: Vec<String>,
    resets: u64,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Default)]
struct Row {
    changes: Vec<(u64, Instant)>,
    /// After which anything that changed before is known to its subscriber.
    newest: u64,
}

impl Account {
    fn of(rows: usize) -> Account {
        Account { rows: vec![Row::default(); rows], ..Account::default() }
    }

    /// Until it is as wanted, or nobody has the patience.
    #[expect(clippy::disallowed_methods, reason = "waits with a bound")]
    fn hear(&mut self, subscribers: &Subscribers, is_enough: impl Fn(&Account) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            // All that is there, before the account is looked at.
            while let Ok(heard) = subscribers.heard.try_recv() {
                self.add(heard);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || is_enough(self) {
                return;
            }
            match subscribers.heard.recv_timeout(left) {
                Ok(heard) => self.add(heard),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn add(&mut self, heard: Heard) {
        let Some(row) = self.rows.get_mut(heard.row) else { return };
        match heard.what {
            What::Ready(_) => self.ready += 1,
            What::Change(position) => {
                row.changes.push((position, heard.at));
                row.newest = row.newest.max(position);
            }
            What::Reset(position) => {
                self.resets += 1;
                row.newest = row.newest.max(position);
            }
            What::Ended(why) => self.ended.push(why),
        }
    }

    /// Subscribers that do not know that their row was changed for the last time.
    fn lost(&self, acknowledged: &[Acknowledged]) -> u64 {
        let knows = |row: &Row, changes: &Acknowledged| match changes[..] {
            [] => true,
            [_] => row.newest > 0,
            // The last commit came after the one before it was acknowledged.
            [.., (before, _), _] => row.newest > before,
        };
        self.rows.iter().zip(acknowledged).filter(|(row, changes)| !knows(row, changes)).count() as u64
    }

    /// From each acknowledgement to its first event; nothing, if that came first.
    fn times(&self, acknowledged: &[Acknowledged]) -> Times {
        let mut times = Times::default();
        for (row, changes) in self.rows.iter().zip(acknowledged) {
            let mut events = row.changes.iter().peekable();
            for (position, acknowledged_at) in changes {
                let own = events.next_if(|(event, _)| event <= position);
                if let Some((_, heard_at)) = own {
                    times.add(heard_at.saturating_duration_since(*acknowledged_at));
                }
                // Told twice.
                while events.next_if(|(event, _)| event <= position).is_some() {}
            }
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "times of a test")]
    #[test]
    fn an_event_belongs_to_the_first_acknowledgement_after_it() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let acknowledged = vec![vec![(100, at(10)), (200, at(20)), (300, at(30))]];
        let mut account = Account::of(1);
        let mut hear = |what, ms| account.add(Heard { row: 0, what, at: at(ms) });
        hear(What::Ready(50), 0);
        hear(What::Change(95), 13);
        hear(What::Change(200), 19);
        assert_eq!(account.lost(&acknowledged), 1);
        let mut times = account.times(&acknowledged);
        times.sort();
        assert_eq!((times.count(), times.percentile_ms(1.0), times.percentile_ms(0.0)), (2, 3.0, 0.0));
        account.add(Heard { row: 0, what: What::Reset(300), at: at(50) });
        assert_eq!(account.lost(&acknowledged), 0);
    }

    #[test]
    fn rows_of_one_write_are_all_different_and_those_of_the_next_are_others() {
        let rows: Vec<usize> = (0..50).flat_map(|nth| rows_of(nth, 1_000)).collect();
        assert_eq!(rows, (0..1_000).collect::<Vec<_>>());
        assert_eq!(rows_of(50, 1_000).next(), Some(0));
    }
}
