//! Which tags and URLs were invalidated, and when, in the order of one counter.
//!
//! Every fetch takes the number of the moment it began, every purge a new number. A stored response keeps its
//! number and the cells of its tags; it may be used while no cell holds a larger one. So a purge of a million
//! responses is one store, and it also wins over every fetch that began before it: what that brings is dead on
//! arrival. Must not know what a response is. Next: `memory.rs`, `lookup.rs`.
//!
//! Cells are found by a keyed hash of their name, 64 bits wide. Should two names ever share one, a purge of
//! the one purges the other too: a wasted fetch, never a stale answer.

use std::{
    collections::{BTreeMap, HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

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

/// The table of cells. Shared by all workers.
#[derive(Debug)]
pub struct Invalidations {
    now: AtomicU64,
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
}
