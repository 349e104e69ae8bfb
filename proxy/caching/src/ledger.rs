//! Whether a response has all that the change feed said of its tags: the rule that nothing stale is served.
//!
//! The feed names each committed transaction in the order of the WAL. It is not the order in which commits become visible, nor
//! has a standby replayed what the feed has already said. So a response that arrives after an event may well have been made
//! before it, and would be stored as if it were new. A [`Version`] says what a response was made from; the ledger knows
//! what the feed has said, and of which commits it is not yet certain that everyone sees them. From the two it finds the
//! position up to which the response has everything ([`Seen`]). A tag keeps the position of its newest event; a response may be
//! served while no tag of it has one beyond what it has seen ([`Seen::has`]).
//!
//! The order of the calls is part of the rule:
//!
//! - [`Ledger::begin_fill`] before the request is sent, [`Ledger::end_fill`] when its head is there.
//! - For an event, first its tags get its position, then it is told by [`Ledger::apply`]. The other way round a look-up between
//!   the two would serve what the position that was reached forbids.
//! - A response that may be stored is stored with what it has seen, and each look-up compares that with the tags. So an event that
//!   comes between the two needs nothing: it is seen by the look-up.
//!
//! Everything here has a bound, and reaching it costs fills, never truth. Knows no clock, no lock, no tags.
//! Tested by a model of Postgres that takes every order of things: `ledger/model.rs`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::{
    time::Timestamp,
    version::{Position, Snapshot, Version, Xid},
};

#[cfg(test)]
mod model;

/// Ways to weaken the rule, each of which the model must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weakness {
    /// What was stored before a gap is used after it.
    KeepsItsEpoch,
    /// What may lack something from before the account is stored.
    OverlooksTheHorizon,
    /// What one snapshot saw is forgotten, while fills are under way that may not.
    ForgetsWhatOldFillsLack,
    /// A full limbo is emptied, and nothing is refused for it.
    ForgetsWhenFull,
    /// What the feed has said is taken for visible.
    TakesDurableForVisible,
}

/// Of commits that are not known to be visible to all. At some thousand commits a second these are seconds.
const MAX_LIMBO: usize = 16_384;
/// Positions that are remembered in one settle time, and for how many.
const REACHED_PER_SETTLE: u32 = 32;
const MAX_REACHED: usize = 64;

/// One unbroken account of the feed. What was found under another one says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    /// Of no account: what nobody has looked at under any.
    pub const NONE: Epoch = Epoch(0);

    /// 0 for none; it grows with each account.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Where an account begins: of what was before nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// Of every later commit the feed tells.
    pub position: Position,
    /// Every earlier commit was made by a transaction before this one: a number that the primary gave out when the position was there
    /// (`pg_current_xact_id()`). The `xmax` of a snapshot would not do: what is in the WAL and not yet visible may lie beyond it.
    pub xid: Xid,
}

/// What a stored response has: all events up to a position, as far as they concern it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub epoch: Epoch,
    pub position: Position,
}

impl Seen {
    /// Whether it has the newest event of a tag.
    pub fn has(self, newest: Position) -> bool {
        newest <= self.position
    }

    /// Whether somebody may have it who has waited since the feed was at `joined`, though it lacks newer events and is not stored.
    pub fn is_as_of(self, joined: Position) -> bool {
        joined <= self.position
    }
}

/// A response that is being fetched. To be given back to [`Ledger::end_fill`] or [`Ledger::drop_fill`].
#[derive(Debug)]
#[must_use]
pub struct Fill {
    number: u64,
    epoch: Epoch,
    /// Up to here all is visible by now to any reader, if the settle time is long enough.
    settled: Option<Position>,
}

/// Why nobody can say what a response has seen. It may be passed on, but not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no feed.
    NoFeed,
    /// The account of the feed broke off while it was fetched.
    Gap,
    /// It may lack something from before the account began.
    BeforeHorizon,
    /// It took so long that what it may lack is no longer known.
    TooSlow,
    /// It says not what it was made from, and the feed has not been heard for as long as it takes for the rest to be certain.
    NotSettled,
}

/// A commit of which it is not certain that every fill will see it.
#[derive(Debug, Clone, Copy)]
struct Limbo {
    end: Position,
    /// Fills with this number or a later one see it.
    seen_from: Option<u64>,
}

/// What the feed has said.
#[derive(Debug)]
pub struct Ledger {
    /// `None`: there is no feed.
    horizon: Option<Horizon>,
    epoch: Epoch,
    position: Position,
    limbo: BTreeMap<Xid, Limbo>,
    /// Where the limbo is looked through for what can leave.
    sweep_at: usize,
    /// All before the transaction are seen by fills with the number or a later one; the second is newer.
    seen_by: [Option<(Xid, u64)>; 2],
    /// Fills that have begun and not ended.
    fills: BTreeSet<u64>,
    next_fill: u64,
    /// Fills before this one have been given up.
    oldest_fill: u64,
    settle: Duration,
    reached: VecDeque<(Timestamp, Position)>,
    max_limbo: usize,
    #[cfg(test)]
    weakness: Option<Weakness>,
}

impl Ledger {
    /// Nothing may be stored before [`Self::begin_epoch`]. `settle`: how long after the feed has said it a commit may be invisible
    /// to an upstream that does not say what its answers were made from.
    pub fn new(settle: Duration) -> Ledger {
        Ledger {
            horizon: None,
            epoch: Epoch(0),
            position: Position::default(),
            limbo: BTreeMap::new(),
            sweep_at: 0,
            seen_by: [None; 2],
            fills: BTreeSet::new(),
            next_fill: 0,
            oldest_fill: 0,
            settle,
            reached: VecDeque::new(),
            max_limbo: MAX_LIMBO,
            #[cfg(test)]
            weakness: None,
        }
    }

    /// From now on with this settle time: see [`Self::new`].
    pub fn set_settle(&mut self, settle: Duration) {
        self.settle = settle;
    }

    /// The account begins, or begins anew after a gap, a failover, a doubt: all that was stored before is of another epoch.
    pub fn begin_epoch(&mut self, horizon: Horizon) -> Epoch {
        self.epoch = Epoch(self.epoch.0 + 1);
        if self.is_weak(Weakness::KeepsItsEpoch) {
            self.epoch = Epoch(1);
        }
        self.horizon = Some(horizon);
        self.position = horizon.position;
        self.limbo.clear();
        self.seen_by = [None; 2];
        self.reached.clear();
        self.epoch
    }

    /// The account broke off. What is stored under its epoch may have changed by now.
    pub fn lose_feed(&mut self) {
        self.horizon = None;
    }

    /// `None` while there is no feed.
    pub fn epoch(&self) -> Option<Epoch> {
        self.horizon.map(|_| self.epoch)
    }

    /// All events up to here were told.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Commits of which it is not certain that everyone sees them.
    pub fn limbo(&self) -> usize {
        self.limbo.len()
    }

    /// A commit, or several of which nobody knows the order, after their tags have their position. What was told before is told
    /// again after a resumption, and passed over.
    pub fn apply(&mut self, xids: impl IntoIterator<Item = Xid>, end: Position, now: Timestamp) {
        if end <= self.position {
            return;
        }
        self.limbo.extend(xids.into_iter().map(|xid| (xid, Limbo { end, seen_from: None })));
        self.reach(end, now);
        if self.limbo.len() > self.max_limbo {
            self.make_room();
        }
    }

    /// The feed has said all up to here.
    pub fn reach(&mut self, position: Position, now: Timestamp) {
        self.position = self.position.max(position);
        let every = self.settle / REACHED_PER_SETTLE;
        let is_due = self.reached.back().is_none_or(|(last, _)| now > *last && now.since(*last) >= every);
        if is_due {
            if self.reached.len() == MAX_REACHED {
                self.reached.pop_front();
            }
            self.reached.push_back((now, self.position));
        }
    }

    /// What the primary has been seen to show. Without it, what is committed while nobody reads from the primary
    /// stays in limbo until there is no more room.
    pub fn primary_shows(&mut self, snapshot: &Snapshot) {
        let next = self.next_fill;
        // Those before xmin need no look at each.
        let newer = &mut self.seen_by[1];
        if newer.is_none_or(|(xmin, _)| xmin < snapshot.xmin()) {
            *newer = Some((snapshot.xmin(), next));
        }
        self.seen_by[0] = self.seen_by[0].or_else(|| self.seen_by[1].take());
        for (xid, limbo) in self.limbo.range_mut(snapshot.xmin()..) {
            if snapshot.sees(*xid) {
                limbo.seen_from.get_or_insert(next);
            }
        }
        self.leave_limbo();
    }

    /// All events up to here have been seen to be visible on the primary: whoever hears of them can ask for what they are about.
    pub fn shown(&self) -> Position {
        let xmin = self.seen_by.iter().flatten().map(|(xmin, _)| *xmin).max().unwrap_or_default();
        let hidden = self.limbo.range(xmin..).filter(|(_, limbo)| limbo.seen_from.is_none());
        hidden.map(|(_, limbo)| limbo.end.before()).fold(self.position, Position::min)
    }

    /// Before the request is sent.
    pub fn begin_fill(&mut self, now: Timestamp) -> Fill {
        let number = self.next_fill;
        self.next_fill += 1;
        self.fills.insert(number);
        let settled = |(at, _): &&(Timestamp, Position)| *at <= now && now.since(*at) >= self.settle;
        let settled = self.reached.iter().rev().find(settled).map(|(_, position)| *position);
        Fill { number, epoch: self.epoch, settled }
    }

    /// It brought nothing that could be stored.
    pub fn drop_fill(&mut self, fill: Fill) {
        self.fills.remove(&fill.number);
        self.leave_limbo();
    }

    /// What a response has seen, by the version that it came with; `None`: it came without one.
    pub fn end_fill(&mut self, fill: Fill, version: Option<&Version>) -> Result<Seen, Refusal> {
        let seen = self.seen(&fill, version);
        if let (Some(_), Some(Version::Snapshot(snapshot))) = (self.horizon, version)
            && fill.epoch == self.epoch
        {
            self.primary_shows(snapshot);
        }
        self.drop_fill(fill);
        seen
    }

    fn seen(&self, fill: &Fill, version: Option<&Version>) -> Result<Seen, Refusal> {
        let horizon = self.horizon.ok_or(Refusal::NoFeed)?;
        if fill.epoch != self.epoch {
            return Err(Refusal::Gap);
        }
        if fill.number < self.oldest_fill {
            return Err(Refusal::TooSlow);
        }
        let position = match version {
            Some(Version::Replayed(position)) => {
                (*position >= horizon.position).then_some(*position).ok_or(Refusal::BeforeHorizon)?
            }
            Some(Version::Snapshot(snapshot)) => {
                if snapshot.xmin() < horizon.xid && !self.is_weak(Weakness::OverlooksTheHorizon) {
                    return Err(Refusal::BeforeHorizon);
                }
                let is_unseen = |xid| !snapshot.sees(xid) && !self.is_weak(Weakness::TakesDurableForVisible);
                let unseen = self.limbo.range(snapshot.xmin()..).filter(|(xid, _)| is_unseen(**xid));
                unseen.map(|(_, limbo)| limbo.end.before()).fold(self.position, Position::min)
            }
            None => fill.settled.ok_or(Refusal::NotSettled)?,
        };
        Ok(Seen { epoch: self.epoch, position })
    }

    /// What every fill under way and to come sees need not be remembered.
    fn leave_limbo(&mut self) {
        let mut oldest = self.fills.first().copied().unwrap_or(self.next_fill);
        if self.is_weak(Weakness::ForgetsWhatOldFillsLack) {
            oldest = u64::MAX;
        }
        while let Some((xmin, _)) = self.seen_by[0].filter(|(_, from)| *from <= oldest) {
            self.limbo = self.limbo.split_off(&xmin);
            self.seen_by[0] = self.seen_by[1].take();
        }
        if self.limbo.len() >= self.sweep_at {
            self.limbo.retain(|_, limbo| limbo.seen_from.is_none_or(|from| from > oldest));
            self.sweep_at = (2 * self.limbo.len()).max(256);
        }
    }

    /// First the slowest fills are given up, for which most of it is kept. If that does not do, what does not see all
    /// of the older half is refused from now on.
    fn make_room(&mut self) {
        self.oldest_fill = self.next_fill;
        self.fills.clear();
        self.sweep_at = 0;
        self.leave_limbo();
        if self.limbo.len() <= self.max_limbo / 2 {
            return;
        }
        let Some(middle) = self.limbo.keys().nth(self.limbo.len() / 2).copied() else { return };
        self.limbo = self.limbo.split_off(&middle.next());
        if self.is_weak(Weakness::ForgetsWhenFull) {
            return;
        }
        if let Some(horizon) = &mut self.horizon {
            horizon.xid = horizon.xid.max(middle.next());
        }
    }

    #[cfg(test)]
    fn is_weak(&self, weakness: Weakness) -> bool {
        self.weakness == Some(weakness)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the same call in tests")]
    fn is_weak(&self, _: Weakness) -> bool {
        false
    }
}
