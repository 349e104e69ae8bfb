//! Stored responses in memory: quick_cache, weighted in bytes, under one ceiling.
//!
//! A key leads to the few variants that `Vary` makes of one response; they live and leave together. The weight
//! of each counts body, fields, key and the room of the index. No HTTP rule is known here.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use caching::{freshness::Facts, partial::StoredPart, vary::SelectingFields};
use http::{HeaderMap, StatusCode};
use quick_cache::{
    Equivalent, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::{
    arriving::Arriving,
    feed::Sight,
    invalidations::{Cell, Clearance, Invalidations, Mark, Sequence, Validity, shard_of},
    pieces::Pieces,
};

/// More variants of one key than this, and the oldest leaves.
pub const MAX_VARIANTS: usize = 32;
/// What one key takes besides its own bytes: the index entry, the counted pointers, the list.
const KEY_OVERHEAD_BYTES: usize = 160;
/// What one field takes besides its bytes: its place in the map and the shared buffer's header.
const FIELD_OVERHEAD_BYTES: usize = 104;
/// A cell of a tag, with its counts and its place in the table, as if nobody shared it.
const CELL_BYTES: usize = 72;
const LOCKS: usize = 64;

/// A response that may answer later requests.
#[derive(Debug)]
pub struct Stored {
    pub status: StatusCode,
    /// As clients get them, with a place for `Age` and `Cache-Status`: see [`crate::deliver::kept`].
    pub fields: HeaderMap,
    /// What the upstream said to this cache alone: clients do not get it, a validation looks at it again.
    pub internal: Option<Box<HeaderMap>>,
    /// The fields as the upstream sent them, if a policy has changed any: these are what a 304 is about, and what other
    /// policies judge.
    pub own: Option<Arc<HeaderMap>>,
    pub body: StoredBody,
    pub facts: Facts,
    pub selecting: SelectingFields,
    /// When the fetch that brought it began.
    pub filled: Sequence,
    /// Its URL and its tags.
    pub cells: Box<[Arc<Cell>]>,
    pub clearance: Clearance,
    /// What it has of the change feed. `None`: it does not depend on one, whatever the configuration says.
    pub seen: Option<Sight>,
    /// Which policy judged it; 0 without one.
    pub judged_by: u64,
    /// One of these failed, and did not have its say.
    pub is_provisional: bool,
}

#[derive(Debug, Clone)]
pub enum StoredBody {
    Whole(Pieces),
    /// One part of it. The fields speak of the whole.
    Part(StoredPart, Pieces),
    /// Still being fetched. Never in memory, only in the hands of those who wait.
    Arriving(Arc<Arriving>),
}

impl Stored {
    /// What purges and changes have done to it. `key` is the one it is stored under.
    pub fn validity(&self, invalidations: &Invalidations, key: &[u8]) -> Validity {
        let seen = self.seen.map_or(Mark::END, |seen| seen.mark);
        invalidations.validity(key, &self.cells, self.filled, seen, &self.clearance)
    }

    /// What purges alone have done to it.
    pub fn purged(&self, invalidations: &Invalidations, key: &[u8]) -> Validity {
        invalidations.validity(key, &self.cells, self.filled, Mark::END, &self.clearance)
    }

    /// Whether it may be served, fresh or stale.
    pub fn is_valid(&self, invalidations: &Invalidations, key: &[u8]) -> bool {
        !matches!(self.validity(invalidations, key), Validity::Changed | Validity::Purged)
    }

    /// The same response with its body.
    pub fn with_body(&self, body: StoredBody) -> Stored {
        Stored {
            status: self.status,
            fields: self.fields.clone(),
            internal: self.internal.clone(),
            own: self.own.clone(),
            body,
            facts: self.facts,
            selecting: self.selecting.clone(),
            filled: self.filled,
            cells: self.cells.clone(),
            clearance: Clearance::default(),
            seen: self.seen,
            judged_by: self.judged_by,
            is_provisional: self.is_provisional,
        }
    }

    /// Its cells and these, each once.
    pub fn merged_cells(&self, others: &[Arc<Cell>]) -> Box<[Arc<Cell>]> {
        let mut cells: Vec<_> = self.cells.iter().chain(others).cloned().collect();
        cells.sort_by_key(Arc::as_ptr);
        cells.dedup_by(|a, b| Arc::ptr_eq(a, b));
        cells.into()
    }

    /// The fields as the upstream sent them, as far as clients get them.
    pub fn own_fields(&self) -> &HeaderMap {
        self.own.as_deref().unwrap_or(&self.fields)
    }

    fn weight(&self) -> usize {
        let apart = self.internal.iter().map(|internal| &**internal).chain(self.own.as_deref());
        let fields = self.fields.iter().chain(apart.flat_map(HeaderMap::iter));
        let fields: usize =
            fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD_BYTES).sum();
        let body = match &self.body {
            StoredBody::Whole(body) | StoredBody::Part(_, body) => body.len(),
            StoredBody::Arriving(_) => 0,
        };
        size_of::<Stored>() + fields + body + self.selecting.size_bytes() + self.cells.len() * CELL_BYTES
    }
}

impl StoredBody {
    /// How long a whole one is.
    pub fn length(&self) -> Option<u64> {
        match self {
            StoredBody::Whole(body) => Some(body.len() as u64),
            StoredBody::Part(..) | StoredBody::Arriving(_) => None,
        }
    }
}

/// The variants stored under one key, newest first.
pub type Variants = Arc<[Arc<Stored>]>;

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(Box<[u8]>);

impl CacheKey {
    pub fn copied_from(bytes: &[u8]) -> CacheKey {
        CacheKey(bytes.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A key that is looked up without being owned.
#[derive(Debug, PartialEq, Eq, Hash)]
struct KeyRef<'a>(&'a [u8]);

impl Equivalent<CacheKey> for KeyRef<'_> {
    fn equivalent(&self, key: &CacheKey) -> bool {
        *self.0 == *key.0
    }
}

#[derive(Debug, Clone)]
struct Bytewise;

impl Weighter<CacheKey, Variants> for Bytewise {
    fn weight(&self, key: &CacheKey, variants: &Variants) -> u64 {
        let bytes: usize = variants.iter().map(|stored| stored.weight()).sum();
        (KEY_OVERHEAD_BYTES + key.0.len() + bytes) as u64
    }
}

/// All that is stored. Shared by all workers.
#[derive(Debug)]
pub struct Memory {
    cache: Cache<CacheKey, Variants, Bytewise>,
    /// Held while the list of one key is replaced; looking up takes none of them.
    replacing: Box<[Mutex<()>]>,
    hasher: RandomState,
    capacity_bytes: u64,
    arriving_bytes: AtomicU64,
}

/// The part of the budget for bodies that are kept while they arrive; the rest is for what is stored.
const ARRIVING_PART: u64 = 8;

/// What one fetch has kept so far; given back when it ends.
#[derive(Debug)]
pub struct ArrivingBytes {
    memory: Arc<Memory>,
    bytes: u64,
}

impl ArrivingBytes {
    /// Whether so many more may be kept.
    pub fn add(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        let all = self.memory.arriving_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        all <= self.memory.capacity_bytes / ARRIVING_PART
    }
}

impl Drop for ArrivingBytes {
    fn drop(&mut self) {
        self.memory.arriving_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Memory {
    pub fn new(capacity_bytes: u64) -> Memory {
        /// For the first allocation of the index only.
        const TYPICAL_WEIGHT_BYTES: u64 = 8 * 1024;
        let items = usize::try_from(capacity_bytes / TYPICAL_WEIGHT_BYTES).unwrap_or(usize::MAX).max(64);
        let options = OptionsBuilder::new()
            .weight_capacity(capacity_bytes - capacity_bytes / ARRIVING_PART)
            .estimated_items_capacity(items.min(1 << 20))
            // A response must fit into one shard, so a small budget is not split.
            .shards(if capacity_bytes < 64 << 20 { 1 } else { 8 })
            .build()
            .expect("both required options are set on the lines above");
        Memory {
            cache: Cache::with_options(options, Bytewise, Default::default(), DefaultLifecycle::default()),
            replacing: std::iter::repeat_with(Mutex::default).take(LOCKS).collect(),
            hasher: RandomState::new(),
            capacity_bytes,
            arriving_bytes: AtomicU64::new(0),
        }
    }

    /// The variants under a key. No copy of a body, one counted pointer.
    pub fn variants(&self, key: &[u8]) -> Option<Variants> {
        self.cache.get(&KeyRef(key))
    }

    /// Stores, in the place of the variant with the same selecting fields. What is invalid leaves on the way.
    /// A response that a purge has reached, or that is older than the one in its place, is not stored: the last fetch
    /// to end need not be the last that began.
    pub fn insert(&self, key: &[u8], stored: Arc<Stored>, invalidations: &Invalidations) {
        let _replacing = self.replacing(key);
        let known = self.cache.peek(&KeyRef(key));
        // Nor does a part take the place of a whole: that is validated, and answers for every part.
        let is_better = |other: &Stored| {
            other.filled > stored.filled
                || matches!((&other.body, &stored.body), (StoredBody::Whole(_), StoredBody::Part(..)))
        };
        let is_newer = |other: &Arc<Stored>| {
            other.is_valid(invalidations, key) && other.selecting == stored.selecting && is_better(other)
        };
        if !stored.is_valid(invalidations, key)
            || known.iter().flat_map(|variants| variants.iter()).any(is_newer)
        {
            return;
        }
        let others = known
            .iter()
            .flat_map(|variants| variants.iter())
            .filter(|other| other.is_valid(invalidations, key) && other.selecting != stored.selecting)
            .take(MAX_VARIANTS - 1)
            .cloned();
        let mut variants: Vec<Arc<Stored>> = std::iter::once(Arc::clone(&stored)).chain(others).collect();
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4
        //# When more than one suitable response is stored, a cache MUST use the
        //# most recent one (as determined by the Date header field).
        variants.sort_by_key(|stored| std::cmp::Reverse(stored.facts.generated()));
        let variants: Variants = variants.into();
        self.cache.insert(CacheKey::copied_from(key), variants);
    }

    /// Puts the same response, judged anew, in the place of one; nothing happens if that has left meanwhile. A purge of either
    /// wins, also where the new one no longer has the tag.
    pub fn replace(&self, key: &[u8], old: &Arc<Stored>, new: &Arc<Stored>, invalidations: &Invalidations) {
        let _replacing = self.replacing(key);
        let Some(known) = self.cache.peek(&KeyRef(key)) else { return };
        // A tag that only the old one has is purged before this, and then nothing is put there; or after it, when there is
        // nothing left of the tag.
        let _between = invalidations.between_purges();
        let is_valid = old.is_valid(invalidations, key) && new.is_valid(invalidations, key);
        if !is_valid || !known.iter().any(|other| Arc::ptr_eq(other, old)) {
            return;
        }
        let put = |other: &Arc<Stored>| Arc::clone(if Arc::ptr_eq(other, old) { new } else { other });
        self.cache.insert(CacheKey::copied_from(key), known.iter().map(put).collect());
    }

    /// Takes one response away, unless another one has taken its place.
    pub fn remove(&self, key: &[u8], stored: &Arc<Stored>) {
        let _replacing = self.replacing(key);
        let Some(known) = self.cache.peek(&KeyRef(key)) else { return };
        let others: Variants = known.iter().filter(|other| !Arc::ptr_eq(other, stored)).cloned().collect();
        if others.is_empty() {
            self.cache.remove(&KeyRef(key));
        } else if others.len() < known.len() {
            self.cache.insert(CacheKey::copied_from(key), others);
        }
    }

    fn replacing(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        let lock = &self.replacing[shard_of(self.hasher.hash_one(key), LOCKS)];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the bytes that one fetch keeps while they arrive.
    pub fn keep_arriving(self: &Arc<Self>) -> ArrivingBytes {
        ArrivingBytes { memory: Arc::clone(self), bytes: 0 }
    }

    /// All that is held: stored, or kept while it arrives.
    pub fn weight_bytes(&self) -> u64 {
        self.cache.weight() + self.arriving_bytes.load(Ordering::Relaxed)
    }

    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use caching::{directives::ResponseDirectives, storable::RequestFacts, time::Timestamp};
    use http::Method;

    use super::*;
    use crate::invalidations::{Purge, Subject};

    const KEY: &[u8] = b"key";

    fn stored(filled: Sequence, cells: &[Arc<Cell>]) -> Arc<Stored> {
        let (fields, now) = (HeaderMap::new(), Timestamp::from_s(1));
        let request = RequestFacts::of(&Method::GET, &fields, false);
        let directives = ResponseDirectives::of(&fields);
        let facts = Facts::of(request, StatusCode::OK, &fields, &directives, now, now);
        Arc::new(Stored {
            status: StatusCode::OK,
            fields,
            internal: None,
            own: None,
            body: StoredBody::Whole(Pieces::default()),
            facts,
            selecting: SelectingFields::default(),
            filled,
            cells: cells.into(),
            clearance: Clearance::default(),
            seen: None,
            judged_by: 1,
            is_provisional: false,
        })
    }

    #[test]
    fn what_is_judged_anew_without_a_tag_does_not_outlive_a_purge_of_it() {
        let (memory, invalidations) = (Memory::new(1 << 20), Arc::new(Invalidations::default()));
        let filled = invalidations.begin_fetch().sequence();
        let tag = Subject::Tag(b"t");
        for is_purged in [false, true] {
            let old = stored(filled, &[invalidations.cell(tag)]);
            memory.insert(KEY, Arc::clone(&old), &invalidations);
            // Found to be valid, judged anew, and then:
            if is_purged {
                invalidations.purge(tag, Purge::Hard);
            }
            memory.replace(KEY, &old, &stored(filled, &[]), &invalidations);
            let found = memory.variants(KEY).unwrap();
            assert_eq!(found[0].is_valid(&invalidations, KEY), !is_purged);
            memory.remove(KEY, &found[0]);
        }
    }
}
