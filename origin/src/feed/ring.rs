//! What was told of late, and what everyone who listens is told next.
//!
//! One for the process: the follower puts in, listeners of all workers take out. Bounded by events and by bytes; a listener for
//! which something was thrown away that it had not read is ended, it would have a gap. Lines are made once for all.
//! Knows no socket and no clock. Read next: `feed/listen.rs`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;

use super::position::Position;

/// What a listener is given at once.
const BATCH_BYTES: usize = 64 * 1024;

/// An unbroken account of all commits from a position on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) system: String,
    pub(super) timeline: u32,
    pub(super) position: Position,
    /// Every earlier commit was made by a transaction before this one.
    pub(super) xid: u64,
    /// Of an account that is told as commits are seen, and not in the order of the WAL: no other worker can go on with it.
    pub(super) name: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Ring {
    max_events: usize,
    max_bytes: usize,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    account: Option<Account>,
    /// Of the account, or of the last one.
    number: u64,
    /// Why there is none.
    why: String,
    events: VecDeque<Event>,
    /// The number of the first one that is still there.
    first: u64,
    bytes: usize,
    /// All later commits are there.
    floor: Position,
    /// All up to here was told.
    told: Position,
    /// Of all that was told.
    newest_xid: u64,
    snapshot: Option<Arc<str>>,
    /// Counts heartbeats.
    beat: u64,
    /// Whether heartbeats are given.
    is_current: bool,
    is_stopping: bool,
}

#[derive(Debug)]
struct Event {
    end: Position,
    line: Bytes,
}

/// From where a listener wants to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct From {
    pub(super) system: String,
    pub(super) timeline: u32,
    pub(super) position: Position,
    pub(super) account: Option<String>,
}

/// What the ring has, for who watches.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    pub(super) account: Option<Account>,
    pub(super) why: String,
    pub(super) told: Position,
    pub(super) floor: Position,
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Ring {
    pub(super) fn new(max_events: usize, max_bytes: usize) -> Self {
        let state = State { why: "there was none yet".to_owned(), ..State::default() };
        Self { max_events, max_bytes, state: Mutex::new(state), changed: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The account begins, or begins anew.
    pub(super) fn begin(&self, account: Account) {
        self.change(|state| {
            state.forget();
            if state.account.is_some() {
                "it could not go on where it was".clone_into(&mut state.why);
            }
            state.number += 1;
            (state.floor, state.told) = (account.position, account.position);
            state.newest_xid = 0;
            state.snapshot = None;
            state.is_current = false;
            state.account = Some(account);
        });
    }

    /// The account broke off.
    pub(super) fn lose(&self, why: &str) {
        self.change(|state| {
            state.forget();
            state.account = None;
            state.is_current = false;
            why.clone_into(&mut state.why);
        });
    }

    /// A commit, or several of which nobody knows the order, and their tags.
    pub(super) fn tell(&self, xids: &[u64], end: Position, tags: &[String]) {
        let Some((xid, others)) = xids.split_last() else { return };
        let mut commit = json!({ "xid": xid.to_string(), "end": end.to_string(), "tags": tags });
        if !others.is_empty() {
            commit["also"] = others.iter().map(u64::to_string).collect();
        }
        let line = Bytes::from(format!("{}\n", json!({ "commit": commit })));
        let xid = xids.iter().copied().fold(0, u64::max);
        self.change(|state| {
            state.told = state.told.max(end);
            state.newest_xid = state.newest_xid.max(xid);
            state.bytes += line.len();
            state.events.push_back(Event { end, line });
            while state.events.len() > self.max_events || state.bytes > self.max_bytes {
                let Some(event) = state.events.pop_front() else { break };
                state.bytes -= event.line.len();
                state.first += 1;
                state.floor = state.floor.max(event.end);
            }
        });
    }

    /// All up to here was told. Nobody is woken for that alone: a heartbeat comes soon.
    pub(super) fn reach(&self, position: Position) {
        let mut state = self.lock();
        state.told = state.told.max(position);
    }

    /// A sign of life, with what the primary has been seen to show if that is news.
    pub(super) fn beat(&self, snapshot: Option<&str>) {
        self.change(|state| {
            state.is_current = true;
            state.beat += 1;
            if let Some(snapshot) = snapshot {
                state.snapshot = Some(snapshot.into());
            }
        });
    }

    /// There may be more in the WAL than is told: until the next heartbeat nobody is told that an account begins, or goes on, which
    /// they would take for a sign of life.
    pub(super) fn fall_behind(&self) {
        self.lock().is_current = false;
    }

    pub(super) fn told(&self) -> Position {
        self.lock().told
    }

    /// The process ends.
    pub(super) fn stop(&self) {
        self.change(|state| state.is_stopping = true);
    }

    pub(super) fn look(&self) -> Look {
        let state = self.lock();
        Look {
            account: state.account.clone(),
            why: state.why.clone(),
            told: state.told,
            floor: state.floor,
            events: state.events.len(),
            bytes: state.bytes,
        }
    }
}

impl State {
    fn forget(&mut self) {
        self.first += u64::try_from(self.events.len()).unwrap_or(0);
        self.events.clear();
        self.bytes = 0;
    }
}

/// One who listens.
#[derive(Debug)]
pub(super) struct Listener {
    ring: Arc<Ring>,
    changed: watch::Receiver<u64>,
    from: Option<From>,
    /// The account it is told, and the number of its next event.
    place: Option<(u64, u64)>,
    /// It knows all up to here.
    knows: Position,
    beat: u64,
}

/// What it is told next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Lines(Bytes),
    Nothing,
    /// As well; it knows more than was told here so far.
    Waits,
    /// It was too slow, or the process ends.
    End {
        is_whole: bool,
    },
}

impl Listener {
    pub(super) fn new(ring: &Arc<Ring>, from: Option<From>) -> Self {
        let (ring, changed) = (ring.clone(), ring.changed.subscribe());
        Self { ring, changed, from, place: None, knows: Position::default(), beat: 0 }
    }

    /// Returns when there may be something new.
    pub(super) async fn changed(&mut self) {
        // The sender is the ring's own.
        let _ = self.changed.changed().await;
    }

    /// `may_wait`: whether what it knows already may still be reached here (it comes from a worker that was ahead of this one).
    pub(super) fn next(&mut self, may_wait: bool) -> Next {
        // What changes from here on wakes it.
        self.changed.mark_unchanged();
        let ring = self.ring.clone();
        let state = ring.lock();
        if state.is_stopping {
            return Next::End { is_whole: true };
        }
        let mut lines = Vec::new();
        if let Some((number, _)) = self.place
            && (state.account.is_none() || number != state.number)
        {
            self.place = None;
            push(&mut lines, &json!({ "lost": { "why": state.why } }));
        }
        if let (None, Some(account), true) = (self.place, &state.account, state.is_current) {
            match self.begin(&state, account, may_wait) {
                Some(begin) => push(&mut lines, &begin),
                None => return Next::Waits,
            }
        }
        let Some((number, mut next)) = self.place else { return said(lines) };
        let Some(start) = next.checked_sub(state.first) else { return Next::End { is_whole: false } };
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        for event in state.events.iter().skip(start) {
            if lines.len() >= BATCH_BYTES {
                break;
            }
            next += 1;
            self.knows = self.knows.max(event.end);
            lines.extend_from_slice(&event.line);
        }
        self.place = Some((number, next));
        if self.beat != state.beat {
            self.beat = state.beat;
            let all = state.first + u64::try_from(state.events.len()).unwrap_or(0);
            if next == all {
                self.knows = self.knows.max(state.told);
            }
            let position = self.knows.to_string();
            push(
                &mut lines,
                &match &state.snapshot {
                    Some(snapshot) => json!({ "at": { "position": position, "snapshot": &**snapshot } }),
                    None => json!({ "at": { "position": position } }),
                },
            );
        }
        said(lines)
    }

    /// `None`: it has to wait.
    fn begin(&mut self, state: &State, account: &Account, may_wait: bool) -> Option<serde_json::Value> {
        let all = state.first + u64::try_from(state.events.len()).unwrap_or(0);
        // Of what is there is told who went on from further back, and nobody else; all commits before were made by transactions
        // before this one.
        let xid = account.xid.max(state.newest_xid + 1);
        let of_account = |from: &&From| {
            let is_same = from.system == account.system && from.timeline == account.timeline;
            is_same && from.account == account.name && state.floor <= from.position
        };
        let (position, next, resumed) = match self.from.as_ref().filter(of_account) {
            Some(from) if from.position <= state.told => {
                let known = state.events.partition_point(|event| event.end <= from.position);
                (from.position, state.first + u64::try_from(known).unwrap_or(0), true)
            }
            Some(_) if may_wait => return None,
            Some(_) | None => (state.told, all, false),
        };
        // It holds for the first account alone.
        self.from = None;
        self.place = Some((state.number, next));
        self.knows = position;
        self.beat = state.beat;
        let mut begin = json!({
            "system": account.system,
            "timeline": account.timeline,
            "position": position.to_string(),
            "xid": xid.to_string(),
            "resumed": resumed,
        });
        if let Some(name) = &account.name {
            begin["account"] = name.as_str().into();
        }
        Some(json!({ "begin": begin }))
    }
}

fn push(lines: &mut Vec<u8>, line: &serde_json::Value) {
    lines.extend_from_slice(line.to_string().as_bytes());
    lines.push(b'\n');
}

fn said(lines: Vec<u8>) -> Next {
    if lines.is_empty() { Next::Nothing } else { Next::Lines(lines.into()) }
}

#[cfg(test)]
mod tests;
