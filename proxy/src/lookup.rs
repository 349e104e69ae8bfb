//! Finds the stored response for a request, and judges it now, under the configuration of now.

use std::sync::Arc;

use caching::{
    range::of_partial,
    reuse::{Reuse, Standing, refreshes_early, reuse},
    time::Timestamp,
    vary::select,
};
use http::Method;

use crate::{
    arriving::Reader,
    feed::{Loss, Usable, usable},
    memory::{Stored, StoredBody},
    observe::{Forward, Outcome},
    policy::{CacheUse, Plan},
    request::Request,
    store::judge::Judge,
    worker::Worker,
};

/// What was found.
pub enum Found {
    Reusable(Reusable),
    /// To be fetched; `stale` may be validated or completed instead of fetched anew, and may help if the upstream fails.
    Forward {
        why: Forward,
        stale: Option<Arc<Stored>>,
    },
}

/// A stored response that may answer.
pub struct Reusable {
    pub stored: Arc<Stored>,
    pub standing: Standing,
    pub outcome: Outcome,
    /// Why it was asked of the upstream, if it was.
    pub why: Forward,
    /// False for the answer to a validation that is for one client alone.
    pub is_stored: bool,
    /// A new one is to be fetched while this one is served.
    pub wants_refresh: bool,
    /// If its body still arrives: a place in it.
    pub reader: Option<Reader>,
    /// It is stale because the change feed is lost.
    pub loss: Option<Loss>,
}

/// Takes no lock that is held for long, copies no body: one look into the index, one counted pointer.
pub fn stored(worker: &Worker, request: &Request, plan: &Plan) -> Found {
    if let CacheUse::No(why) = plan.cache {
        return Found::Forward { why, stale: None };
    }
    let Some(variants) = worker.proxy.memory.variants(&plan.key) else {
        return Found::Forward { why: Forward::UriMiss, stale: None };
    };
    let vary = &plan.routed.route().vary;
    let selected =
        select(variants.iter(), |stored| &stored.selecting, |stored| &stored.fields, &request.fields, vary);
    let Some(stored) = selected else { return Found::Forward { why: Forward::VaryMiss, stale: None } };
    judge(worker, request, plan, stored)
}

/// Whether a response that was selected may answer now.
pub fn judge(worker: &Worker, request: &Request, plan: &Plan, stored: &Arc<Stored>) -> Found {
    let now = worker.proxy.clock.now();
    let usable = usable(worker, plan, stored, now);
    judge_as(worker, request, plan, stored, usable, now)
}

/// The same, for one of which it is known what purges and the change feed have left of it.
pub fn judge_as(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    stored: &Arc<Stored>,
    usable: Usable,
    now: Timestamp,
) -> Found {
    if !is_to_be_judged(worker, plan, stored) {
        return by_rules(request, plan, stored, usable, now);
    }
    // A purge wins over it.
    if matches!(usable, Usable::No(_)) {
        return Found::Forward { why: Forward::Miss, stale: None };
    }
    match judged_again(worker, request, plan, stored) {
        Some(stored) => {
            let usable = self::usable(worker, plan, &stored, now);
            by_rules(request, plan, &stored, usable, now)
        }
        None => Found::Forward { why: Forward::Miss, stale: None },
    }
}

/// Whether policies have a say in it that they did not have: there are others now, or one of them failed and is there again.
fn is_to_be_judged(worker: &Worker, plan: &Plan, stored: &Stored) -> bool {
    if stored.judged_by != plan.routed.policy_generation() {
        return true;
    }
    let is_out = |now_ms| {
        let mut links = plan.routed.chain().links.iter();
        links.any(|link| link.live.policy.decides_responses() && link.live.health.breaker.is_open(now_ms))
    };
    stored.is_provisional
        && !matches!(stored.body, StoredBody::Arriving(_))
        && !is_out(worker.proxy.clock.now().as_ms())
}

fn by_rules(request: &Request, plan: &Plan, stored: &Arc<Stored>, usable: Usable, now: Timestamp) -> Found {
    let forward = |why| Found::Forward { why, stale: Some(Arc::clone(stored)) };
    let (soft_purged, loss) = match usable {
        Usable::AsItIs => (None, None),
        Usable::StaleSince(since, loss) => (Some(since), loss),
        Usable::No(_) => return Found::Forward { why: Forward::Miss, stale: None },
    };
    let rules = plan.rules();
    let (standing, outcome) = match reuse(&stored.facts, &rules, plan.demands(request), soft_purged, now) {
        Reuse::Fresh(standing) => (standing, Outcome::Hit),
        Reuse::StaleWhileRevalidate(standing) => (standing, Outcome::HitStale),
        Reuse::StaleAccepted(standing) => (standing, Outcome::HitStaleAccepted),
        Reuse::Demanded(_) => return forward(Forward::Request),
        Reuse::Validate(_) => return forward(Forward::Stale),
    };
    if let StoredBody::Part(part, _) = &stored.body
        && (request.method != Method::GET || of_partial(&request.fields, &stored.fields, part).is_none())
    {
        return forward(Forward::Partial);
    }
    let is_early = || {
        let random = 1.0 - fastrand::f64();
        rules.early_refresh.is_some() && refreshes_early(&stored.facts, &rules, now, random)
    };
    let wants_refresh = outcome == Outcome::HitStale || (outcome == Outcome::Hit && is_early());
    Found::Reusable(Reusable {
        stored: Arc::clone(stored),
        standing,
        outcome,
        why: Forward::Stale,
        is_stored: true,
        wants_refresh,
        reader: None,
        loss,
    })
}

/// A stored response that policies have judged which are no more, judged by those of now. `None`: they do not want it, and it
/// is gone; or one of them fails; or its body still arrives, and whoever brings it goes by the old ones.
#[cold]
fn judged_again(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    stored: &Arc<Stored>,
) -> Option<Arc<Stored>> {
    if matches!(stored.body, StoredBody::Arriving(_)) {
        return None;
    }
    match Judge::of(worker, request, plan, stored.filled).again(stored) {
        Ok(again) => {
            let again = Arc::new(again);
            if !worker.is_aside {
                worker.proxy.memory.replace(&plan.key, stored, &again, &worker.proxy.invalidations);
            }
            Some(again)
        }
        Err(why) => {
            if !why.lies_in_the_request && !why.is_fault && !worker.is_aside {
                worker.proxy.memory.remove(&plan.key, stored);
            }
            None
        }
    }
}
