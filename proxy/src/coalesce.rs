//! One fetch per key. The first request gets a [`FetchPermit`]; the others wait until its response head is
//! there, and then are fed from the body while it arrives, or look again and go on their own.
//!
//! A permit ends in one of three ways: what it brought is shared, may not be shared, or it has failed, which is what
//! dropping it means: nobody waits for ever. What may not be shared (private, with a cookie) never reaches a follower:
//! it sees only responses that were judged storable, and judges them once more for itself. After a failure one of those
//! who waited is next. Must not know how to fetch. Next: `fetch.rs`.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use caching::time::Timestamp;
use http::header::AUTHORIZATION;
use tokio::sync::watch;

use crate::{
    error::Error,
    invalidations::{FetchMark, Invalidations, Sequence, shard_of},
    lookup::{self, Found, Reusable},
    memory::{Stored, StoredBody},
    observe::{Forward, Outcome},
    policy::{CacheUse, Plan},
    request::Request,
    worker::Worker,
};

/// How long it is remembered that a key brought nothing to share.
const HIT_FOR_MISS: Duration = Duration::from_secs(120);
const REMEMBERED_KEYS: usize = 64 * 1024;
const SHARDS: usize = 64;

/// The fetches under way, and the keys that are not worth waiting for. Shared by all workers.
#[derive(Debug)]
pub struct Fills {
    shards: Box<[Mutex<ByKey>]>,
    unshareable: quick_cache::sync::Cache<u64, Timestamp>,
    hasher: RandomState,
}

type ByKey = HashMap<Arc<[u8]>, Arc<Fill>>;

/// One fetch that others may wait for.
#[derive(Debug)]
struct Fill {
    state: watch::Sender<State>,
}

#[derive(Debug, Clone)]
enum State {
    Pending,
    /// The head is there and storable; the body arrives, or is there.
    Ready(Arc<Stored>),
    /// It is for its own client alone, and the next one would be, too.
    NotShareable,
    Failed,
}

/// What a request is to do now.
pub enum Turn {
    Fetch(FetchPermit),
    /// Another request's fetch answers this one too.
    Follow(Reusable),
    /// That fetch brought nothing for this request. At most [`MAX_WAITS`] times: after it, `join` answers `Fetch`.
    LookAgain,
}

/// For how many fetches one request waits. Each may fail after a timeout; more would be an endless queue.
const MAX_WAITS: usize = 2;

/// The right, and the duty, to fetch. Dropped without an end, it has failed.
#[derive(Debug)]
pub struct FetchPermit {
    pub why: Forward,
    pub stale: Option<Arc<Stored>>,
    pub may_store: bool,
    mark: FetchMark,
    registered: Option<Registered>,
}

#[derive(Debug)]
struct Registered {
    fills: Arc<Fills>,
    key: Arc<[u8]>,
    fill: Arc<Fill>,
}

impl Default for Fills {
    fn default() -> Fills {
        Fills {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            unshareable: quick_cache::sync::Cache::new(REMEMBERED_KEYS),
            hasher: RandomState::new(),
        }
    }
}

/// Gives the permit to fetch, or waits for the fetch that is under way. `waits`: how often this request has waited.
pub async fn join(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    why: Forward,
    stale: Option<Arc<Stored>>,
    waits: usize,
) -> Result<Turn, Error> {
    // What is fetched with credentials is rarely for others: nobody should wait for it, and it for nobody.
    let is_for_one = plan.cache != CacheUse::Use || request.fields.contains_key(AUTHORIZATION);
    if waits >= MAX_WAITS || is_for_one || is_unshareable(worker, plan) {
        return Ok(Turn::Fetch(alone(worker, plan, why, stale)));
    }
    let mut followed = match begin(worker, plan.key.as_slice().into(), why, stale.clone()) {
        Begin::First(permit) => return Ok(unless_stored_meanwhile(worker, request, plan, permit)),
        Begin::Follow(followed) => followed,
    };
    let limit = plan.routed.view.live.config.limits.max_waiters;
    if followed.waiting() > limit {
        return Err(Error::TooManyWaiters { limit });
    }
    match followed.end(plan.routed.upstream().longest_wait()).await {
        Ended::Shared(stored) if stored.selecting.matches(&request.fields) => {
            Ok(follow(worker, plan, &stored).map_or(Turn::LookAgain, Turn::Follow))
        }
        Ended::Shared(other) => Ok(join_variant(worker, request, plan, why, stale, &other).await),
        Ended::NotShareable | Ended::StillPending => Ok(Turn::Fetch(alone(worker, plan, why, stale))),
        Ended::Failed => Ok(Turn::LookAgain),
    }
}

/// The fetch that was followed brought another variant: now it is known which fields select, and those who want the
/// same variant share one fetch of it.
async fn join_variant(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    why: Forward,
    stale: Option<Arc<Stored>>,
    other: &Stored,
) -> Turn {
    let mut key = plan.key.clone();
    other.selecting.append_values(&request.fields, &mut key);
    let mut followed = match begin(worker, key.into(), why, stale.clone()) {
        Begin::First(permit) => return unless_stored_meanwhile(worker, request, plan, permit),
        Begin::Follow(followed) => followed,
    };
    match followed.end(plan.routed.upstream().longest_wait()).await {
        Ended::Shared(stored) if stored.selecting.matches(&request.fields) => {
            follow(worker, plan, &stored).map_or(Turn::LookAgain, Turn::Follow)
        }
        Ended::Shared(_) | Ended::NotShareable | Ended::StillPending => {
            Turn::Fetch(alone(worker, plan, why, stale))
        }
        Ended::Failed => Turn::LookAgain,
    }
}

/// Another fetch may have ended between the look and the turn.
fn unless_stored_meanwhile(worker: &Worker, request: &Request, plan: &Plan, permit: FetchPermit) -> Turn {
    match lookup::stored(worker, request, plan) {
        Found::Reusable(reusable) if reusable.outcome == Outcome::Hit => Turn::Follow(reusable),
        // To be looked at where its refresh is begun, which takes a permit of its own.
        Found::Reusable(_) => Turn::LookAgain,
        Found::Forward { .. } => Turn::Fetch(permit),
    }
}

/// A place in the body of a response that another request fetches; `None` if it is not for this one, or has outgrown
/// what is kept.
fn follow(worker: &Worker, plan: &Plan, stored: &Arc<Stored>) -> Option<Reusable> {
    let Found::Reusable(reusable) = lookup::judge(worker, plan, stored) else { return None };
    let reader = match &stored.body {
        StoredBody::Whole(_) => None,
        StoredBody::Arriving(arriving) => Some(arriving.reader()?),
    };
    Some(Reusable { outcome: Outcome::Collapsed, reader, ..reusable })
}

/// The permit to refresh in the background, unless somebody does already.
pub fn refresh(worker: &Worker, plan: &Plan, stale: Arc<Stored>) -> Option<FetchPermit> {
    match begin(worker, plan.key.as_slice().into(), Forward::Stale, Some(stale)) {
        Begin::First(permit) => Some(permit),
        Begin::Follow(_) => None,
    }
}

enum Begin {
    First(FetchPermit),
    Follow(Followed),
}

struct Followed {
    fill: Arc<Fill>,
    state: watch::Receiver<State>,
}

impl Followed {
    fn waiting(&self) -> usize {
        self.fill.state.receiver_count()
    }

    /// How the fetch ended, or began to be shared.
    async fn end(&mut self, patience: Duration) -> Ended {
        let changed = self.state.wait_for(|state| !matches!(state, State::Pending));
        match tokio::time::timeout(patience, changed).await {
            Ok(Ok(state)) => match &*state {
                State::Ready(stored) => Ended::Shared(Arc::clone(stored)),
                State::NotShareable => Ended::NotShareable,
                State::Pending | State::Failed => Ended::Failed,
            },
            Ok(Err(_)) => Ended::Failed,
            Err(_) => Ended::StillPending,
        }
    }
}

enum Ended {
    Shared(Arc<Stored>),
    NotShareable,
    Failed,
    /// It takes longer than a fetch of one's own would.
    StillPending,
}

fn begin(worker: &Worker, key: Arc<[u8]>, why: Forward, stale: Option<Arc<Stored>>) -> Begin {
    let fills = &worker.proxy.fills;
    let mut shard = fills.shard(&key);
    if let Some(known) = shard.get(&key).filter(|known| !known.is_outdated(&worker.proxy.invalidations, &key))
    {
        let state = known.state.subscribe();
        return Begin::Follow(Followed { fill: Arc::clone(known), state });
    }
    let fill = Arc::new(Fill { state: watch::Sender::new(State::Pending) });
    shard.insert(Arc::clone(&key), Arc::clone(&fill));
    drop(shard);
    let registered = Registered { fills: Arc::clone(fills), key, fill };
    let mark = worker.proxy.invalidations.begin_fetch();
    Begin::First(FetchPermit { why, stale, may_store: true, mark, registered: Some(registered) })
}

impl Fill {
    /// A purge has reached what it brings: nobody who comes now may have that, and one new fetch is to be made for
    /// all of them, not one for each.
    fn is_outdated(&self, invalidations: &Invalidations, key: &[u8]) -> bool {
        matches!(&*self.state.borrow(), State::Ready(stored) if !stored.is_valid(invalidations, key))
    }
}

/// A permit that nobody waits for.
fn alone(worker: &Worker, plan: &Plan, why: Forward, stale: Option<Arc<Stored>>) -> FetchPermit {
    let mark = worker.proxy.invalidations.begin_fetch();
    FetchPermit { why, stale, may_store: plan.cache == CacheUse::Use, mark, registered: None }
}

fn is_unshareable(worker: &Worker, plan: &Plan) -> bool {
    let fills = &worker.proxy.fills;
    let until = fills.unshareable.get(&fills.hasher.hash_one(plan.key.as_slice()));
    until.is_some_and(|until| worker.proxy.clock.now() < until)
}

impl Fills {
    fn shard(&self, key: &[u8]) -> MutexGuard<'_, ByKey> {
        let shard = &self.shards[shard_of(self.hasher.hash_one(key), SHARDS)];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests for this key need not wait for each other for a while.
    pub fn remember_unshareable(&self, key: &[u8], now: Timestamp) {
        self.unshareable.insert(self.hasher.hash_one(key), now + HIT_FOR_MISS);
    }

    /// The key has something to share after all.
    pub fn forget_unshareable(&self, key: &[u8]) {
        self.unshareable.remove(&self.hasher.hash_one(key));
    }

    /// Fetches under way that others may wait for.
    pub fn under_way(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Requests that wait for another one's fetch at this moment.
    pub fn waiting(&self) -> usize {
        let of_shard = |shard: &Mutex<ByKey>| {
            let fills = shard.lock().unwrap_or_else(PoisonError::into_inner);
            fills.values().map(|fill| fill.state.receiver_count()).sum::<usize>()
        };
        self.shards.iter().map(of_shard).sum()
    }
}

impl FetchPermit {
    /// When this fetch began, in the order of purges.
    pub fn began(&self) -> Sequence {
        self.mark.sequence()
    }

    /// The head is storable: followers may have it. The permit stays until the body is there, so that those
    /// who come later find it too.
    pub fn share(&self, stored: &Arc<Stored>) {
        if let Some(registered) = &self.registered {
            registered.fill.state.send_replace(State::Ready(Arc::clone(stored)));
        }
    }
}

impl FetchPermit {
    /// What it brought is for its own client alone, and what the next request brings would be, too.
    pub fn not_shareable(&self) {
        if let Some(registered) = &self.registered {
            registered.fill.state.send_replace(State::NotShareable);
        }
    }
}

impl Drop for Registered {
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
