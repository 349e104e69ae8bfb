//! Which tags and URLs were invalidated, and when, in the order of one counter.
//!
//! Every fetch takes the number of the moment it began, every purge a new number. A stored response keeps its
//! number and the cells of its tags; it may be used while no cell holds a larger one. So a purge of a million
//! responses is one store, and it also wins over every fetch that began before it: what that brings is dead on
//! arrival. Must not know what a response is. Next: `memory.rs`, `lookup.rs`.
//!
//! A purge of a host, of a prefix or of all is an entry of a short list, with a number like any other. A stored response
//! that is older than the newest entry is held against the list once, and then remembers up to which number it is
//! cleared: one comparison for each look-up after that.
//!
//! Cells are found by a keyed hash of their name, 64 bits wide. Should two names ever share one, a purge of
//! the one purges the other too: a wasted fetch, never a stale answer.

use std::{
    collections::{BTreeMap, HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use caching::key::host_and_target;

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
pub struct Cell(AtomicU64);

impl Cell {
    /// Whether what was fetched since `filled` is untouched by any purge of this cell.
    pub fn allows(&self, filled: Sequence) -> bool {
        self.0.load(Ordering::Acquire) <= filled.0
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
    /// Fetches that may still store something, by the number they began with.
    under_way: Mutex<BTreeMap<u64, usize>>,
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

impl Default for Invalidations {
    fn default() -> Invalidations {
        let shard = || Mutex::new(Shard { cells: HashMap::new(), sweep_at: FIRST_SWEEP });
        Invalidations {
            now: AtomicU64::new(1),
            newest_wide: AtomicU64::new(0),
            wide: RwLock::default(),
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            under_way: Mutex::default(),
            hasher: RandomState::new(),
        }
    }
}

impl Invalidations {
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
        Arc::clone(shard.cells.entry(hash).or_default())
    }

    /// Invalidates. When this returns, no look-up that begins later, on any thread, sees what was fetched
    /// before. Cost: one lock of a shard and one atomic store, however many responses it concerns.
    pub fn purge(&self, subject: Subject<'_>) -> Sequence {
        let cell = self.cell(subject);
        let sequence = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        cell.0.fetch_max(sequence, Ordering::SeqCst);
        Sequence(sequence)
    }

    /// Invalidates all URLs of a scope, with the promise of [`Self::purge`]. Cost: one entry of a list.
    pub fn purge_scope(&self, scope: Scope) -> Sequence {
        let mut wide = self.wide.write().unwrap_or_else(PoisonError::into_inner);
        let sequence = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        if scope == Scope::All {
            wide.clear();
        } else if wide.len() >= MAX_WIDE_PURGES {
            let half = wide.len() / 2;
            let newer = wide.split_off(half);
            let last = wide.last().map_or(0, |purge| purge.sequence);
            wide.clear();
            wide.push(WidePurge { scope: Scope::All, sequence: last });
            wide.extend(newer);
        }
        wide.push(WidePurge { scope, sequence });
        self.newest_wide.store(sequence, Ordering::SeqCst);
        Sequence(sequence)
    }

    /// Whether no wide purge has reached what was stored under `key` by a fetch that began at `filled`. `cleared` belongs
    /// to that response, and is where this remembers how far it has looked.
    pub fn allows(&self, key: &[u8], filled: Sequence, cleared: &AtomicU64) -> bool {
        let newest = self.newest_wide.load(Ordering::Acquire);
        if newest <= filled.0.max(cleared.load(Ordering::Relaxed)) {
            return true;
        }
        // A key that cannot be read is none of ours, and nothing is known to allow it.
        let Some((host, target)) = host_and_target(key) else { return false };
        let wide = self.wide.read().unwrap_or_else(PoisonError::into_inner);
        let reaches = |purge: &WidePurge| {
            purge.sequence > filled.0
                && match &purge.scope {
                    Scope::All => true,
                    Scope::Prefix { host: of_host, prefix } => {
                        host == of_host.as_bytes() && target.starts_with(prefix.as_bytes())
                    }
                }
        };
        let is_allowed = !wide.iter().any(reaches);
        if is_allowed {
            cleared.fetch_max(newest, Ordering::Relaxed);
        }
        is_allowed
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
        table.purge(TAG);
        assert!(!cell.allows(before.sequence()));
        assert!(cell.allows(table.begin_fetch().sequence()));
    }

    #[test]
    fn a_purge_of_an_unknown_tag_reaches_a_fetch_under_way() {
        let table = Arc::new(Invalidations::default());
        let under_way = table.begin_fetch();
        table.purge(TAG);
        for n in 0..SHARDS * FIRST_SWEEP * 3 {
            table.cell(Subject::Tag(n.to_string().as_bytes()));
        }
        assert!(!table.cell(TAG).allows(under_way.sequence()));
    }

    #[test]
    fn cells_that_nobody_holds_are_swept_out() {
        let table = Arc::new(Invalidations::default());
        for n in 0..SHARDS * FIRST_SWEEP * 8 {
            table.purge(Subject::Tag(n.to_string().as_bytes()));
        }
        assert!(table.len() <= SHARDS * FIRST_SWEEP * 2, "{} cells", table.len());
    }

    #[test]
    fn a_tag_and_a_url_of_the_same_text_are_two() {
        let table = Arc::new(Invalidations::default());
        let fetch = table.begin_fetch();
        table.purge(Subject::Url { host: "a", target: "/" });
        assert!(table.cell(Subject::Url { host: "a", target: "//" }).allows(fetch.sequence()));
        assert!(table.cell(Subject::Tag(b"a/")).allows(fetch.sequence()));
        assert!(!table.cell(Subject::Url { host: "a", target: "/" }).allows(fetch.sequence()));
    }

    fn key(host: &str, target: &str) -> Vec<u8> {
        let mut key = Vec::new();
        caching::key::KeyWriter::begin(&mut key, caching::key::MethodClass::Get, host, target);
        key
    }

    fn prefix(host: &str, prefix: &str) -> Scope {
        Scope::Prefix { host: host.into(), prefix: prefix.into() }
    }

    #[test]
    fn a_wide_purge_reaches_its_scope_and_only_what_was_fetched_before_it() {
        let table = Arc::new(Invalidations::default());
        let before = table.begin_fetch().sequence();
        table.purge_scope(prefix("a", "/shop/"));
        let after = table.begin_fetch().sequence();
        let allows = |host, target, filled| table.allows(&key(host, target), filled, &AtomicU64::new(0));
        assert!(!allows("a", "/shop/1", before));
        assert!(!allows("a", "/shop/?x", before));
        assert!(
            allows("a", "/shop", before) && allows("a", "/other", before) && allows("b", "/shop/1", before)
        );
        assert!(allows("a", "/shop/1", after));
        table.purge_scope(prefix("a", ""));
        assert!(!allows("a", "/other", after) && allows("b", "/shop/1", after));
        table.purge_scope(Scope::All);
        assert!(!allows("b", "/shop/1", after));
        assert!(allows("b", "/shop/1", table.begin_fetch().sequence()));
    }

    #[test]
    fn what_was_cleared_is_reached_by_a_later_purge_all_the_same() {
        let table = Arc::new(Invalidations::default());
        let filled = table.begin_fetch().sequence();
        let (key, cleared) = (key("a", "/1"), AtomicU64::new(0));
        table.purge_scope(prefix("b", ""));
        assert!(table.allows(&key, filled, &cleared));
        assert_eq!(cleared.load(Ordering::Relaxed), table.newest_wide.load(Ordering::Relaxed));
        table.purge_scope(prefix("a", ""));
        assert!(!table.allows(&key, filled, &cleared));
    }

    #[test]
    fn wide_purges_are_bounded_and_none_is_forgotten() {
        let table = Arc::new(Invalidations::default());
        let filled = table.begin_fetch().sequence();
        table.purge_scope(prefix("a", "/1"));
        for number in 0..MAX_WIDE_PURGES * 3 {
            table.purge_scope(prefix("b", &number.to_string()));
        }
        assert!(table.wide.read().unwrap().len() <= MAX_WIDE_PURGES + 1);
        assert!(!table.allows(&key("a", "/1"), filled, &AtomicU64::new(0)));
    }
}
