//! The fetches under way: one for each key, and those who wait for it.
//!
//! Whoever holds a [`Registered`] has the duty to end its fetch; dropping it is an end, too, so nobody waits for ever. Must not
//! know what is fetched. All locks are from `crate::sync`: see there.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use tokio::sync::watch;

use crate::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 64;

/// The fetches under way. Shared by all workers.
#[derive(Debug)]
pub struct Fills<T> {
    shards: Box<[Mutex<ByKey<T>>]>,
    hasher: RandomState,
}

type ByKey<T> = HashMap<Arc<[u8]>, Arc<Fill<T>>>;

/// One fetch that others may wait for.
#[derive(Debug)]
struct Fill<T> {
    state: watch::Sender<State<T>>,
}

#[derive(Debug)]
enum State<T> {
    Pending,
    /// The head is there and storable; the body arrives, or is there.
    Ready(Arc<T>),
    /// It is for its own client alone, and the next one would be, too.
    NotShareable,
    Failed,
}

/// Whether a request is the first for its key.
pub enum Begin<T> {
    First(Registered<T>),
    Follow(Followed<T>),
}

/// The duty to end a fetch that others may wait for.
#[derive(Debug)]
pub struct Registered<T> {
    fills: Arc<Fills<T>>,
    key: Arc<[u8]>,
    fill: Arc<Fill<T>>,
}

/// A place among those who wait for a fetch.
pub struct Followed<T> {
    fill: Arc<Fill<T>>,
    state: watch::Receiver<State<T>>,
}

/// How a fetch ended, or began to be shared.
pub enum Ended<T> {
    Shared(Arc<T>),
    NotShareable,
    Failed,
}

impl<T> Default for Fills<T> {
    fn default() -> Fills<T> {
        Fills {
            shards: std::iter::repeat_with(|| Mutex::new(HashMap::new())).take(SHARDS).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl<T> Fills<T> {
    /// The first for a key has to fetch; the others wait for it. What is `outdated` in the eyes of this request does not count:
    /// nobody who comes now may have that, and one new fetch is to be made for all of them, not one for each.
    pub fn begin(self: &Arc<Self>, key: Arc<[u8]>, outdated: impl Fn(&T) -> bool) -> Begin<T> {
        let mut shard = self.shard(&key);
        if let Some(known) = shard.get(&key) {
            let state = known.state.subscribe();
            let is_outdated = matches!(&*state.borrow(), State::Ready(shared) if outdated(shared));
            if !is_outdated {
                return Begin::Follow(Followed { fill: Arc::clone(known), state });
            }
        }
        let fill = Arc::new(Fill { state: watch::Sender::new(State::Pending) });
        shard.insert(Arc::clone(&key), Arc::clone(&fill));
        drop(shard);
        Begin::First(Registered { fills: Arc::clone(self), key, fill })
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, ByKey<T>> {
        lock(&self.shards[shard_of(self.hasher.hash_one(key), SHARDS)])
    }

    /// Fetches under way that others may wait for.
    pub fn under_way(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Requests that wait for another one's fetch at this moment.
    pub fn waiting(&self) -> usize {
        let of_shard = |shard: &Mutex<ByKey<T>>| {
            lock(shard).values().map(|fill| fill.state.receiver_count()).sum::<usize>()
        };
        self.shards.iter().map(of_shard).sum()
    }
}

impl<T> Registered<T> {
    /// Followers may have it. The duty stays until the body is there, so that those who come later find it, too.
    pub fn share(&self, shared: Arc<T>) {
        self.fill.state.send_replace(State::Ready(shared));
    }

    /// What it brought is for its own client alone, and what the next request brings would be, too.
    pub fn not_shareable(&self) {
        self.fill.state.send_replace(State::NotShareable);
    }
}

impl<T> Drop for Registered<T> {
    fn drop(&mut self) {
        let mut shard = self.fills.shard(&self.key);
        // Another fetch may have taken the place of this one.
        if shard.get(&self.key).is_some_and(|known| Arc::ptr_eq(known, &self.fill)) {
            shard.remove(&self.key);
        }
        drop(shard);
        self.fill.state.send_if_modified(|state| {
            let is_pending = matches!(state, State::Pending);
            if is_pending {
                *state = State::Failed;
            }
            is_pending
        });
    }
}

impl<T> Followed<T> {
    /// How many wait for the same.
    pub fn waiting(&self) -> usize {
        self.fill.state.receiver_count()
    }

    pub async fn end(&mut self) -> Ended<T> {
        match self.state.wait_for(|state| !matches!(state, State::Pending)).await {
            Ok(state) => match &*state {
                State::Ready(shared) => Ended::Shared(Arc::clone(shared)),
                State::NotShareable => Ended::NotShareable,
                State::Pending | State::Failed => Ended::Failed,
            },
            Err(_) => Ended::Failed,
        }
    }
}

/// Which of so many shards a hash belongs to.
#[expect(clippy::cast_possible_truncation, reason = "the low bits of a hash are as good as all of them")]
fn shard_of(hash: u64, shards: usize) -> usize {
    hash as usize % shards
}

/// The data behind these locks is whole after every statement, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
