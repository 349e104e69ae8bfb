//! Which tags and URLs were invalidated, and when, in the order of one counter.
//!
//! Every fetch takes the number of the moment it began, every purge a new number. A stored response keeps its
//! number and the cells of its tags; it may be used while no cell holds a larger one. So a purge of a million
//! responses is one store, and it also wins over every fetch that began before it: what that brings is dead on
//! arrival. Must not know what a response is. Next: `memory.rs`, `lookup.rs`.
//!
//! A hard purge ends a response. A soft one makes it stale from that moment on: it may be served within its stale windows,
//! and is validated or fetched anew by the first request that needs it. Both win over a fetch that began before them.
//!
//! A purge of a host, of a prefix or of all is an entry of a short list, with a number like any other. A stored response
//! that is older than the newest entry is held against the list once, and then remembers up to which number it is
//! cleared: one comparison for each look-up after that.
//!
//! Cells are found by a keyed hash of their name, 64 bits wide. Should two names ever share one, a purge of
//! the one purges the other too: a wasted fetch, never a stale answer.
//!
//! What the change feed says of a tag ([`Invalidations::changed`]) stands in another order than purges: that of the database's
//! log. A cell has the position of its tag's newest event, for as long as somebody holds it. What is stored later has to hear
//! of events that came before, and nobody could remember all tags that ever changed; so each event is also noted in one of a
//! fixed number of slots, chosen by the tag's hash, and a new cell begins with what its slot has. Two tags that share a slot
//! can cost one of them a fill, never more.

use std::{
    collections::{BTreeMap, HashMap, hash_map::RandomState},
    hash::BuildHasher,
};

use caching::{
    key::{has_chosen_query, host_and_target, is_by_search},
    time::Timestamp,
};

use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError, RwLock};

/// A moment in the order of fetches and purges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Sequence(u64);

impl Sequence {
    pub fn number(self) -> u64 {
        self.0
    }
}

/// When one tag or URL was last invalidated.
#[derive(Debug, Default)]
pub struct Cell {
    hard: AtomicU64,
    soft: AtomicU64,
    /// When the newest soft purge was, in milliseconds. Written before `soft`.
    soft_at_ms: AtomicU64,
    /// The newest event of this tag in the change feed, or a later one.
    changed: AtomicU64,
}

/// How a response is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// Never served again.
    Hard,
    /// Stale since this moment.
    Soft(Timestamp),
}

/// What purges and changes have done to a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    Untouched,
    /// Stale since this moment, however fresh it would be.
    SoftPurged(Timestamp),
    /// No purge has reached it, but the change feed has told an event of one of its tags that it does not have.
    Changed,
    Purged,
}

/// A place in all that the change feed has told since the process began: a later event has a larger one, also where the feed
/// itself has begun anew and counts from somewhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark(u64);

impl Mark {
    /// Beyond every event: of a response that does not go by the feed.
    pub const END: Mark = Mark(u64::MAX);

    pub const fn new(number: u64) -> Mark {
        Mark(number)
    }

    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Belongs to one stored response: up to which wide purge it has been looked at, and since when it is soft-purged.
#[derive(Debug, Default)]
pub struct Clearance {
    looked_up_to: AtomicU64,
    /// 0: not soft-purged. The first such purge that was seen: later ones must not lengthen its stale windows.
    soft_since_ms: AtomicU64,
}

impl Clearance {
    fn soft_purged(&self, at_ms: u64) {
        // Whoever comes second has seen the same purge or a later one.
        let _ = self.soft_since_ms.compare_exchange(0, at_ms.max(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// For the same response, judged anew: what was seen of purges still holds.
    pub fn copied(&self) -> Clearance {
        let copy = |number: &AtomicU64| AtomicU64::new(number.load(Ordering::Relaxed));
        Clearance { looked_up_to: copy(&self.looked_up_to), soft_since_ms: copy(&self.soft_since_ms) }
    }

    fn validity(&self) -> Validity {
        match self.soft_since_ms.load(Ordering::Relaxed) {
            0 => Validity::Untouched,
            since => Validity::SoftPurged(Timestamp::from_ms(since)),
        }
    }
}

impl Cell {
    /// Whether what was fetched since `filled` is untouched by any purge of this cell.
    fn allows(&self, filled: Sequence) -> bool {
        self.hard.load(Ordering::Acquire) <= filled.0 && self.soft.load(Ordering::Acquire) <= filled.0
    }

    /// The newest event of this tag in the change feed, or a later one.
    pub fn changed(&self) -> Mark {
        Mark(self.changed.load(Ordering::Acquire))
    }

    fn purge(&self, purge: Purge, sequence: u64) {
        match purge {
            Purge::Hard => self.hard.fetch_max(sequence, Ordering::SeqCst),
            Purge::Soft(at) => {
                self.soft_at_ms.fetch_max(at.as_ms(), Ordering::SeqCst);
                self.soft.fetch_max(sequence, Ordering::SeqCst)
            }
        };
    }
}

/// What can be invalidated.
#[derive(Debug, Clone, Copy, Hash)]
pub enum Subject<'a> {
    Tag(&'a [u8]),
    /// One target on one host, all its variants and key parts.
    Url {
        host: &'a str,
        target: &'a str,
    },
    /// All responses of a path that answer more than one query.
    Searched {
        host: &'a str,
        path: &'a str,
    },
    /// A cache group of a host (RFC 9875).
    Group {
        host: &'a str,
        name: &'a [u8],
    },
}

/// What many URLs have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    All,
    /// All targets of a host that begin with this; with an empty text, all of the host.
    Prefix {
        host: Box<str>,
        prefix: Box<str>,
    },
}

#[derive(Debug)]
struct WidePurge {
    scope: Scope,
    sequence: u64,
    purge: Purge,
}

/// More wide purges than this are never told apart: the older half of them becomes a purge of all.
const MAX_WIDE_PURGES: usize = 1024;

/// The table of cells. Shared by all workers.
#[derive(Debug)]
pub struct Invalidations {
    now: AtomicU64,
    /// The number of the newest wide purge; 0 if there was none.
    newest_wide: AtomicU64,
    wide: RwLock<Vec<WidePurge>>,
    shards: Box<[Mutex<Shard>]>,
    /// Held while a purge takes its number and notes it, so that [`Self::purge_own`] sees each purge whole or not at all.
    purging: Mutex<()>,
    /// Fetches that may still store something, by the number they began with.
    under_way: Mutex<BTreeMap<u64, usize>>,
    /// The newest event of all tags whose hash leads to the slot.
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    cells: HashMap<u64, Arc<Cell>>,
    /// Unused cells are swept out when there are this many.
    sweep_at: usize,
}

const SHARDS: usize = 64;
const FIRST_SWEEP: usize = 1024;
/// Half a megabyte. A tag finds an event of another one in its slot for as long as its fill lacks that, which is milliseconds: with
/// a hundred events in that time, at one fill of 650.
const SLOTS: usize = 1 << 16;

impl Default for Invalidations {
    fn default() -> Invalidations {
        Invalidations::with_slots(SLOTS)
    }
}

impl Invalidations {
    /// With so many slots for events of the change feed.
    pub fn with_slots(slots: usize) -> Invalidations {
        let shard = || Mutex::new(Shard { cells: HashMap::new(), sweep_at: FIRST_SWEEP });
        Invalidations {
            now: AtomicU64::new(1),
            newest_wide: AtomicU64::new(0),
            wide: RwLock::default(),
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            purging: Mutex::default(),
            under_way: Mutex::default(),
            slots: std::iter::repeat_with(|| AtomicU64::new(0)).take(slots.max(1)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// To be called before a fetch is sent. While the returned value lives, no purge is forgotten that this
    /// fetch has to hear of.
    pub fn begin_fetch(self: &Arc<Self>) -> FetchMark {
        let mut under_way = lock(&self.under_way);
        // Read under the lock, so that a sweep cannot pass between the reading and the noting.
        let sequence = self.now.load(Ordering::SeqCst);
        *under_way.entry(sequence).or_default() += 1;
        FetchMark { sequence: Sequence(sequence), table: Arc::clone(self) }
    }

    /// The cell of a tag or URL; made if there is none. One short lock among many.
    pub fn cell(&self, subject: Subject<'_>) -> Arc<Cell> {
        let hash = self.hasher.hash_one(subject);
        let mut shard = lock(&self.shards[shard_of(hash, SHARDS)]);
        if shard.cells.len() >= shard.sweep_at && !shard.cells.contains_key(&hash) {
            self.sweep(&mut shard);
        }
        let made = || {
            // Under the lock of the shard, which an event takes when it has its slot: it is either here, or finds the cell.
            let changed = match subject {
                Subject::Tag(_) => self.slot(hash).load(Ordering::SeqCst),
                Subject::Url { .. } | Subject::Searched { .. } | Subject::Group { .. } => 0,
            };
            Arc::new(Cell { changed: AtomicU64::new(changed), ..Cell::default() })
        };
        Arc::clone(shard.cells.entry(hash).or_insert_with(made))
    }

    /// The change feed tells an event of a tag. When this returns, no look-up that begins later sees what does not have it.
    pub fn changed(&self, tag: &[u8], event: Mark) {
        let hash = self.hasher.hash_one(Subject::Tag(tag));
        self.slot(hash).fetch_max(event.0, Ordering::SeqCst);
        let shard = lock(&self.shards[shard_of(hash, SHARDS)]);
        if let Some(cell) = shard.cells.get(&hash) {
            cell.changed.fetch_max(event.0, Ordering::SeqCst);
        }
    }

    /// Of other bits of the hash than the shard.
    fn slot(&self, hash: u64) -> &AtomicU64 {
        &self.slots[shard_of(hash >> 32, self.slots.len())]
    }

    /// Invalidates. When this returns, no look-up that begins later, on any thread, sees what was fetched before as it was.
    /// Cost: one lock of a shard and one atomic store, however many responses it concerns.
    pub fn purge(&self, subject: Subject<'_>, purge: Purge) -> Sequence {
        let cell = self.cell(subject);
        let _purging = lock(&self.purging);
        let sequence = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        cell.purge(purge, sequence);
        Sequence(sequence)
    }

    /// The purge of a target by an unsafe request whose answer is itself to be stored for it: ends what was fetched before,
    /// but not that answer, which is as if it had been fetched at the moment that is returned. `None`: another purge has
    /// reached the answer since its request began, and it is not to be stored; the target is purged all the same.
    pub fn purge_own(
        &self,
        target: Subject<'_>,
        key: &[u8],
        cells: &[Arc<Cell>],
        began: Sequence,
        seen: Mark,
    ) -> Option<Sequence> {
        let cell = self.cell(target);
        let _purging = lock(&self.purging);
        let before = self.validity(key, cells, began, seen, &Clearance::default());
        let sequence = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        cell.purge(Purge::Hard, sequence);
        (before == Validity::Untouched).then_some(Sequence(sequence))
    }

    /// Invalidates all URLs of a scope, with the promise of [`Self::purge`]. Cost: one entry of a list.
    pub fn purge_scope(&self, scope: Scope, purge: Purge) -> Sequence {
        let _purging = lock(&self.purging);
        let mut wide = self.wide.write().unwrap_or_else(PoisonError::into_inner);
        let sequence = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        if scope == Scope::All && purge == Purge::Hard {
            wide.clear();
        } else if wide.len() >= MAX_WIDE_PURGES {
            let half = wide.len() / 2;
            let newer = wide.split_off(half);
            let last = wide.last().map_or(0, |purge| purge.sequence);
            wide.clear();
            wide.push(WidePurge { scope: Scope::All, sequence: last, purge: Purge::Hard });
            wide.extend(newer);
        }
        wide.push(WidePurge { scope, sequence, purge });
        self.newest_wide.store(sequence, Ordering::SeqCst);
        Sequence(sequence)
    }

    /// While this is held, no purge takes its place in the order: what is looked at and what is done then is one.
    pub fn between_purges(&self) -> MutexGuard<'_, ()> {
        lock(&self.purging)
    }

    /// What purges and changes have done to a response that is stored under `key`, with these cells, by a fetch that began at
    /// `filled` and has seen so much of the feed. Cost while nothing happens: three loads for each cell, and two more.
    pub fn validity(
        &self,
        key: &[u8],
        cells: &[Arc<Cell>],
        filled: Sequence,
        seen: Mark,
        clearance: &Clearance,
    ) -> Validity {
        let mut newest_change = 0;
        for cell in cells {
            newest_change = cell.changed.load(Ordering::Acquire).max(newest_change);
            if cell.hard.load(Ordering::Acquire) > filled.0 {
                return Validity::Purged;
            }
            if cell.soft.load(Ordering::Acquire) > filled.0 {
                clearance.soft_purged(cell.soft_at_ms.load(Ordering::Acquire));
            }
        }
        let newest = self.newest_wide.load(Ordering::Acquire);
        if newest > filled.0.max(clearance.looked_up_to.load(Ordering::Relaxed))
            && self.look_at_wide(key, filled, clearance, newest) == Validity::Purged
        {
            return Validity::Purged;
        }
        if newest_change > seen.0 {
            return Validity::Changed;
        }
        clearance.validity()
    }

    fn look_at_wide(&self, key: &[u8], filled: Sequence, clearance: &Clearance, newest: u64) -> Validity {
        // A key that cannot be read is none of ours, and nothing is known to allow it.
        let Some((host, target)) = host_and_target(key) else { return Validity::Purged };
        let wide = self.wide.read().unwrap_or_else(PoisonError::into_inner);
        let reaches = |purge: &&WidePurge| {
            purge.sequence > filled.0
                && match &purge.scope {
                    Scope::All => true,
                    Scope::Prefix { host: of_host, prefix } => {
                        let prefix = prefix.as_bytes();
                        // Where the key has only what matters of a query, every prefix of one may be meant.
                        let may_be_of_query =
                            || prefix.strip_prefix(target).is_some_and(|rest| rest.starts_with(b"?"));
                        let is_within = target.starts_with(prefix)
                            || (is_by_search(key) && may_be_of_query())
                            || (has_chosen_query(key)
                                && path_of(prefix) == Some(path_of(target).unwrap_or(target)));
                        host == of_host.as_bytes() && is_within
                    }
                }
        };
        for purge in wide.iter().filter(reaches) {
            match purge.purge {
                Purge::Hard => return Validity::Purged,
                Purge::Soft(at) => clearance.soft_purged(at.as_ms()),
            }
        }
        clearance.looked_up_to.fetch_max(newest, Ordering::Relaxed);
        clearance.validity()
    }

    /// Fetches that may still store something.
    pub fn under_way(&self) -> usize {
        lock(&self.under_way).values().sum()
    }

    /// Number of cells, for the operator.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).cells.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the cells that nobody holds and that no fetch under way could still ask for with an older
    /// number.
    fn sweep(&self, shard: &mut Shard) {
        let oldest = lock(&self.under_way)
            .first_key_value()
            .map_or_else(|| self.now.load(Ordering::SeqCst), |(first, _)| *first);
        // A cell with one owner cannot gain another one meanwhile: that takes the lock of this shard.
        shard.cells.retain(|_, cell| Arc::strong_count(cell) > 1 || !cell.allows(Sequence(oldest)));
        shard.sweep_at = (shard.cells.len() * 2).max(FIRST_SWEEP);
    }
}

/// What stands before a query, if there is one.
fn path_of(target: &[u8]) -> Option<&[u8]> {
    target.iter().position(|byte| *byte == b'?').map(|at| &target[..at])
}

/// A fetch that may end in storing; holds its place in the order.
#[derive(Debug)]
pub struct FetchMark {
    sequence: Sequence,
    table: Arc<Invalidations>,
}

impl FetchMark {
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }
}

impl Drop for FetchMark {
    fn drop(&mut self) {
        let mut under_way = lock(&self.table.under_way);
        if let Some(count) = under_way.get_mut(&self.sequence.0) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.sequence.0);
            }
        }
    }
}

/// Which of so many shards a hash belongs to.
#[expect(clippy::cast_possible_truncation, reason = "the low bits of a hash are as good as all of them")]
pub(crate) fn shard_of(hash: u64, shards: usize) -> usize {
    hash as usize % shards
}

/// The data behind these locks is whole after every statement, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Subject<'static> = Subject::Tag(b"user:1");

    #[test]
    fn a_purge_concerns_what_was_fetched_before_it_and_not_after() {
        let table = Arc::new(Invalidations::default());
        let before = table.begin_fetch();
        let cell = table.cell(TAG);
        assert!(cell.allows(before.sequence()));
        table.purge(TAG, Purge::Hard);
        assert!(!cell.allows(before.sequence()));
        assert!(cell.allows(table.begin_fetch().sequence()));
    }

    #[test]
    fn a_purge_of_an_unknown_tag_reaches_a_fetch_under_way() {
        let table = Arc::new(Invalidations::default());
        let under_way = table.begin_fetch();
        table.purge(TAG, Purge::Hard);
        for n in 0..SHARDS * FIRST_SWEEP * 3 {
            table.cell(Subject::Tag(n.to_string().as_bytes()));
        }
        assert!(!table.cell(TAG).allows(under_way.sequence()));
    }

    #[test]
    fn cells_that_nobody_holds_are_swept_out() {
        let table = Arc::new(Invalidations::default());
        for n in 0..SHARDS * FIRST_SWEEP * 8 {
            table.purge(Subject::Tag(n.to_string().as_bytes()), Purge::Hard);
        }
        assert!(table.len() <= SHARDS * FIRST_SWEEP * 2, "{} cells", table.len());
    }

    #[test]
    fn a_tag_and_a_url_of_the_same_text_are_two() {
        let table = Arc::new(Invalidations::default());
        let fetch = table.begin_fetch();
        table.purge(Subject::Url { host: "a", target: "/" }, Purge::Hard);
        assert!(table.cell(Subject::Url { host: "a", target: "//" }).allows(fetch.sequence()));
        assert!(table.cell(Subject::Tag(b"a/")).allows(fetch.sequence()));
        assert!(!table.cell(Subject::Url { host: "a", target: "/" }).allows(fetch.sequence()));
    }

    fn key(host: &str, target: &str) -> Vec<u8> {
        let mut key = Vec::new();
        caching::key::KeyWriter::begin(&mut key, caching::key::MethodClass::Get, host, target);
        key
    }

    fn validity(table: &Invalidations, host: &str, target: &str, filled: Sequence) -> Validity {
        table.validity(&key(host, target), &[], filled, Mark::END, &Clearance::default())
    }

    #[test]
    fn a_soft_purge_leaves_a_response_stale_since_its_moment() {
        let table = Arc::new(Invalidations::default());
        let at = Timestamp::from_s;
        let before = table.begin_fetch().sequence();
        let cells = [table.cell(TAG)];
        let clearance = Clearance::default();
        let validity = || table.validity(&key("a", "/1"), &cells, before, Mark::END, &clearance);
        assert_eq!(validity(), Validity::Untouched);
        table.purge(TAG, Purge::Soft(at(10)));
        assert_eq!(validity(), Validity::SoftPurged(at(10)));
        // Neither another soft purge nor one of all lengthens its life; a hard one ends it.
        table.purge(TAG, Purge::Soft(at(20)));
        table.purge_scope(Scope::All, Purge::Soft(at(30)));
        assert_eq!(validity(), Validity::SoftPurged(at(10)));
        let after = table.begin_fetch().sequence();
        assert_eq!(
            table.validity(&key("a", "/1"), &cells, after, Mark::END, &Clearance::default()),
            Validity::Untouched
        );
        table.purge(TAG, Purge::Hard);
        assert_eq!(validity(), Validity::Purged);
    }

    #[test]
    fn a_wide_soft_purge_is_remembered_without_looking_at_it_again() {
        let table = Arc::new(Invalidations::default());
        let filled = table.begin_fetch().sequence();
        let (key, clearance) = (key("a", "/1"), Clearance::default());
        let validity = || table.validity(&key, &[], filled, Mark::END, &clearance);
        table.purge_scope(prefix("a", "/"), Purge::Soft(Timestamp::from_s(10)));
        assert_eq!(validity(), Validity::SoftPurged(Timestamp::from_s(10)));
        table.wide.write().unwrap().clear();
        assert_eq!(validity(), Validity::SoftPurged(Timestamp::from_s(10)));
    }

    #[test]
    fn an_answer_survives_the_purge_that_it_brings_and_no_other() {
        let table = Arc::new(Invalidations::default());
        let url = Subject::Url { host: "a", target: "/1" };
        let cells = [table.cell(url), table.cell(TAG)];
        let key = key("a", "/1");
        let of_old = table.begin_fetch().sequence();
        let began = table.begin_fetch().sequence();
        let filled = table.purge_own(url, &key, &cells, began, Mark::END).unwrap();
        let validity = |filled| table.validity(&key, &cells, filled, Mark::END, &Clearance::default());
        assert_eq!((validity(of_old), validity(filled)), (Validity::Purged, Validity::Untouched));
        table.purge(TAG, Purge::Hard);
        assert_eq!(validity(filled), Validity::Purged);

        let began = table.begin_fetch().sequence();
        table.purge(TAG, Purge::Hard);
        assert_eq!(table.purge_own(url, &key, &cells, began, Mark::END), None);
    }

    fn prefix(host: &str, prefix: &str) -> Scope {
        Scope::Prefix { host: host.into(), prefix: prefix.into() }
    }

    #[test]
    fn a_wide_purge_reaches_its_scope_and_only_what_was_fetched_before_it() {
        let table = Arc::new(Invalidations::default());
        let before = table.begin_fetch().sequence();
        table.purge_scope(prefix("a", "/shop/"), Purge::Hard);
        let after = table.begin_fetch().sequence();
        let allows = |host, target, filled| validity(&table, host, target, filled) == Validity::Untouched;
        assert!(!allows("a", "/shop/1", before));
        assert!(!allows("a", "/shop/?x", before));
        assert!(
            allows("a", "/shop", before) && allows("a", "/other", before) && allows("b", "/shop/1", before)
        );
        assert!(allows("a", "/shop/1", after));
        table.purge_scope(prefix("a", ""), Purge::Hard);
        assert!(!allows("a", "/other", after) && allows("b", "/shop/1", after));
        table.purge_scope(Scope::All, Purge::Hard);
        assert!(!allows("b", "/shop/1", after));
        assert!(allows("b", "/shop/1", table.begin_fetch().sequence()));
    }

    #[test]
    fn what_was_cleared_is_reached_by_a_later_purge_all_the_same() {
        let table = Arc::new(Invalidations::default());
        let filled = table.begin_fetch().sequence();
        let (key, clearance) = (key("a", "/1"), Clearance::default());
        let validity = || table.validity(&key, &[], filled, Mark::END, &clearance);
        table.purge_scope(prefix("b", ""), Purge::Hard);
        assert_eq!(validity(), Validity::Untouched);
        let looked_up_to = clearance.looked_up_to.load(Ordering::Relaxed);
        assert_eq!(looked_up_to, table.newest_wide.load(Ordering::Relaxed));
        table.purge_scope(prefix("a", ""), Purge::Hard);
        assert_eq!(validity(), Validity::Purged);
    }

    #[test]
    fn wide_purges_are_bounded_and_none_is_forgotten() {
        let table = Arc::new(Invalidations::default());
        let filled = table.begin_fetch().sequence();
        table.purge_scope(prefix("a", "/1"), Purge::Hard);
        for number in 0..MAX_WIDE_PURGES * 3 {
            table.purge_scope(prefix("b", &number.to_string()), Purge::Hard);
        }
        assert!(table.wide.read().unwrap().len() <= MAX_WIDE_PURGES + 1);
        assert_eq!(validity(&table, "a", "/1", filled), Validity::Purged);
    }

    fn changed(table: &Invalidations, cells: &[Arc<Cell>], seen: u64) -> bool {
        let filled = Sequence(table.now.load(Ordering::SeqCst));
        let validity = table.validity(&key("a", "/1"), cells, filled, Mark::new(seen), &Clearance::default());
        validity == Validity::Changed
    }

    #[test]
    fn an_event_ends_what_does_not_have_it_and_nothing_else() {
        let table = Invalidations::with_slots(1);
        let cells = [table.cell(TAG), table.cell(Subject::Tag(b"other"))];
        assert!(!changed(&table, &cells, 0));
        table.changed(b"user:1", Mark::new(10));
        assert!(changed(&table, &cells, 9));
        assert!(!changed(&table, &cells, 10), "it has the event");
        // What is told again changes nothing.
        table.changed(b"user:1", Mark::new(5));
        assert!(!changed(&table, &cells, 10));
        // In the same slot, and somebody had it before: an event of another tag is none of its.
        assert!(!changed(&table, &cells[1..], 0));
        assert!(!changed(&table, &cells, Mark::END.number()));
    }

    #[test]
    fn what_is_stored_later_hears_of_events_that_nobody_remembers_by_their_tag() {
        let table = Invalidations::with_slots(1);
        table.changed(b"user:1", Mark::new(10));
        let cells = [table.cell(TAG)];
        assert!(changed(&table, &cells, 9) && !changed(&table, &cells, 10));
        // Another tag of the slot can only be taken for changed, too; what is no tag has no events.
        assert!(changed(&table, &[table.cell(Subject::Tag(b"other"))], 9));
        assert!(!changed(&table, &[table.cell(Subject::Url { host: "a", target: "/1" })], 0));
        assert!(!changed(&table, &[table.cell(Subject::Group { host: "a", name: b"user:1" })], 0));
    }

    #[test]
    fn a_cell_that_was_swept_out_is_made_again_with_its_events() {
        let table = Arc::new(Invalidations::default());
        drop(table.cell(TAG));
        table.changed(b"user:1", Mark::new(10));
        for n in 0..SHARDS * FIRST_SWEEP * 3 {
            table.cell(Subject::Url { host: "a", target: &n.to_string() });
        }
        let hash = table.hasher.hash_one(TAG);
        assert!(!lock(&table.shards[shard_of(hash, SHARDS)]).cells.contains_key(&hash));
        assert!(changed(&table, &[table.cell(TAG)], 9));
    }

    #[test]
    fn a_purge_goes_before_a_change() {
        let table = Arc::new(Invalidations::default());
        let before = table.begin_fetch().sequence();
        let cells = [table.cell(TAG)];
        table.changed(b"user:1", Mark::new(10));
        let validity =
            |seen| table.validity(&key("a", "/1"), &cells, before, Mark::new(seen), &Clearance::default());
        table.purge(TAG, Purge::Soft(Timestamp::from_s(1)));
        assert_eq!(
            (validity(9), validity(10)),
            (Validity::Changed, Validity::SoftPurged(Timestamp::from_s(1)))
        );
        table.purge_scope(Scope::All, Purge::Hard);
        assert_eq!((validity(9), validity(10)), (Validity::Purged, Validity::Purged));
    }
}
