//! One fetch per key. The first request gets a [`FetchPermit`]; the others wait until its response head is
//! there, and then are fed from the body while it arrives, or look again and go on their own.
//!
//! A permit ends in one of three ways: what it brought is shared, may not be shared, or it has failed, which is what
//! dropping it means: nobody waits for ever. What may not be shared (private, with a cookie) never reaches a follower:
//! it sees only responses that were judged storable, and judges them once more for itself. After a failure one of those
//! who waited is next. Must not know how to fetch. Next: `fetch.rs`.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use caching::{time::Timestamp, version::Stamp};
use http::header::AUTHORIZATION;

pub mod fills;

use fills::{Begin, Ended, Followed, Registered};

use crate::{
    error::Error,
    feed::{self, Usable},
    invalidations::{FetchMark, Mark, Sequence, Validity},
    lookup::{self, Found, Reusable},
    memory::{Stored, StoredBody},
    observe::{Forward, Outcome},
    policy::{CacheUse, Plan},
    request::Request,
    worker::Worker,
};

const REMEMBERED_KEYS: usize = 64 * 1024;

/// The fetches under way.
pub type Fills = fills::Fills<Shared>;

/// What a fetch has brought for all who wait for it.
#[derive(Debug)]
pub struct Shared {
    pub stored: Arc<Stored>,
    /// Who asked when the change feed was no further may have it in any case; `None`: the feed does not matter.
    pub as_of: Option<Mark>,
    /// It is not stored: it lacks an event that the feed has told. Nobody else may have it.
    pub is_refused: bool,
}

/// The keys that brought nothing to share. Shared by all workers.
#[derive(Debug)]
pub struct Unshareable {
    until: quick_cache::sync::Cache<u64, Timestamp>,
    hasher: RandomState,
}

impl Default for Unshareable {
    fn default() -> Unshareable {
        Unshareable { until: quick_cache::sync::Cache::new(REMEMBERED_KEYS), hasher: RandomState::new() }
    }
}

impl Unshareable {
    /// Requests for this key need not wait for each other for a while.
    pub fn remember(&self, key: &[u8], until: Timestamp) {
        self.until.insert(self.hasher.hash_one(key), until);
    }

    /// The key has something to share after all.
    pub fn forget(&self, key: &[u8]) {
        self.until.remove(&self.hasher.hash_one(key));
    }

    fn holds(&self, key: &[u8], now: Timestamp) -> bool {
        self.until.get(&self.hasher.hash_one(key)).is_some_and(|until| now < until)
    }
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
    /// What it brings is stored when it is whole; else it is for those alone who wait for it.
    pub is_kept: bool,
    /// How far the change feed was when the request came.
    pub joined: Mark,
    /// What was fetched lacked an event, and is fetched once more, from who has this.
    pub min_version: Option<Stamp>,
    mark: FetchMark,
    registered: Option<Registered<Shared>>,
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
    let joined = worker.proxy.feed.told_to();
    // What is fetched with credentials is rarely for others: nobody should wait for it, and it for nobody.
    let is_for_one = !is_for_everybody(plan, stale.as_deref()) || request.fields.contains_key(AUTHORIZATION);
    if waits >= MAX_WAITS || is_for_one || worker.proxy.unshareable.holds(&plan.key, worker.proxy.clock.now())
    {
        return Ok(Turn::Fetch(alone(worker, plan, why, stale)));
    }
    let mut followed = match begin(worker, plan, plan.key.as_slice().into(), why, stale.clone()) {
        Ok(permit) => return Ok(unless_stored_meanwhile(worker, request, plan, permit)),
        Err(followed) => followed,
    };
    let limit = plan.routed.view.live.config.limits.max_waiters;
    if followed.waiting() > limit {
        return Err(Error::TooManyWaiters { limit });
    }
    match ended(&mut followed, plan.upstream().longest_wait()).await {
        Some(Ended::Shared(shared)) if selects(plan, request, &shared.stored) => {
            Ok(follow(worker, request, plan, why, &shared, joined).map_or(Turn::LookAgain, Turn::Follow))
        }
        Some(Ended::Shared(other)) => {
            Ok(join_variant(worker, request, plan, why, stale, &other.stored).await)
        }
        Some(Ended::NotShareable) | None => Ok(Turn::Fetch(alone(worker, plan, why, stale))),
        Some(Ended::Failed) => Ok(Turn::LookAgain),
    }
}

/// Whether what is fetched is the whole response. A range of one that is stored whole validates that.
fn is_for_everybody(plan: &Plan, stale: Option<&Stored>) -> bool {
    match plan.cache {
        CacheUse::Use => true,
        CacheUse::Part => stale.is_some_and(|stale| stale.body.length().is_some()),
        CacheUse::Head | CacheUse::LookUpOnly | CacheUse::No(_) => false,
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
    other.selecting.append_values(&request.fields, &plan.routed.route().vary, &mut key);
    let joined = worker.proxy.feed.told_to();
    let mut followed = match begin(worker, plan, key.into(), why, stale.clone()) {
        Ok(permit) => return unless_stored_meanwhile(worker, request, plan, permit),
        Err(followed) => followed,
    };
    match ended(&mut followed, plan.upstream().longest_wait()).await {
        Some(Ended::Shared(shared)) if selects(plan, request, &shared.stored) => {
            follow(worker, request, plan, why, &shared, joined).map_or(Turn::LookAgain, Turn::Follow)
        }
        Some(Ended::Shared(_) | Ended::NotShareable) | None => Turn::Fetch(alone(worker, plan, why, stale)),
        Some(Ended::Failed) => Turn::LookAgain,
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

fn selects(plan: &Plan, request: &Request, stored: &Stored) -> bool {
    stored.selecting.matches(&request.fields, &plan.routed.route().vary)
}

/// A place in the body of a response that another request fetches; `None` if it is not for this one, or has outgrown
/// what is kept.
fn follow(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    why: Forward,
    shared: &Shared,
    joined: Mark,
) -> Option<Reusable> {
    let (stored, now) = (&shared.stored, worker.proxy.clock.now());
    let usable = standing(worker, plan, shared, joined, now);
    let found = lookup::judge_as(worker, request, plan, stored, usable, now);
    let Found::Reusable(reusable) = found else { return None };
    let reader = match &stored.body {
        StoredBody::Whole(_) | StoredBody::Part(..) => None,
        StoredBody::Arriving(arriving) => Some(arriving.reader()?),
    };
    let loss = feed::loss(worker, plan, stored);
    Some(Reusable { outcome: Outcome::Collapsed, why, wants_refresh: false, reader, loss, ..reusable })
}

/// Whether a request that came when the change feed was at `joined` may have what another one fetches. What is not, or no longer,
/// good for all is so for those who are owed nothing that it lacks: they could have sent that request themselves.
fn standing(worker: &Worker, plan: &Plan, shared: &Shared, joined: Mark, now: Timestamp) -> Usable {
    let stored = &*shared.stored;
    let usable = if shared.is_refused { Usable::No(None) } else { feed::usable(worker, plan, stored, now) };
    let is_purged = || stored.purged(&worker.proxy.invalidations, &plan.key) != Validity::Untouched;
    let is_owed_no_more = shared.as_of.is_some_and(|as_of| joined <= as_of);
    if usable != Usable::AsItIs && is_owed_no_more && !is_purged() { Usable::AsItIs } else { usable }
}

/// The permit to refresh in the background, unless somebody does already.
pub fn refresh(worker: &Worker, plan: &Plan, stale: Arc<Stored>) -> Option<FetchPermit> {
    begin(worker, plan, plan.key.as_slice().into(), Forward::Stale, Some(stale)).ok()
}

/// The permit for the first, a place among those who wait for the others.
fn begin(
    worker: &Worker,
    plan: &Plan,
    key: Arc<[u8]>,
    why: Forward,
    stale: Option<Arc<Stored>>,
) -> Result<FetchPermit, Followed<Shared>> {
    let (joined, now) = (worker.proxy.feed.told_to(), worker.proxy.clock.now());
    // A purge has reached it, or it lacks an event: what comes now must not be answered with it.
    let outdated = |shared: &Shared| standing(worker, plan, shared, joined, now) != Usable::AsItIs;
    match worker.proxy.fills.begin(key, outdated) {
        Begin::First(registered) => Ok(FetchPermit {
            registered: Some(registered),
            may_store: true,
            ..alone(worker, plan, why, stale)
        }),
        Begin::Follow(followed) => Err(followed),
    }
}

/// How the fetch of another one ended; `None`: it takes longer than a fetch of one's own would.
async fn ended(followed: &mut Followed<Shared>, patience: Duration) -> Option<Ended<Shared>> {
    tokio::time::timeout(patience, followed.end()).await.ok()
}

/// A permit that nobody waits for.
fn alone(worker: &Worker, plan: &Plan, why: Forward, stale: Option<Arc<Stored>>) -> FetchPermit {
    let mark = worker.proxy.invalidations.begin_fetch();
    let may_store = is_for_everybody(plan, stale.as_deref());
    let joined = worker.proxy.feed.told_to();
    FetchPermit { why, stale, may_store, is_kept: true, joined, min_version: None, mark, registered: None }
}

impl FetchPermit {
    /// When this fetch began, in the order of purges.
    pub fn began(&self) -> Sequence {
        self.mark.sequence()
    }

    /// Whether nobody can wait for it.
    pub fn is_alone(&self) -> bool {
        self.registered.is_none()
    }

    /// The head is storable: followers may have it.
    pub fn share(&self, stored: &Arc<Stored>, as_of: Option<Mark>) {
        if let Some(registered) = &self.registered {
            let shared = Shared { stored: Arc::clone(stored), as_of, is_refused: !self.is_kept };
            registered.share(Arc::new(shared));
        }
    }

    /// What it brought is for its own client alone, and what the next request brings would be, too.
    pub fn not_shareable(&self) {
        if let Some(registered) = &self.registered {
            registered.not_shareable();
        }
    }
}
