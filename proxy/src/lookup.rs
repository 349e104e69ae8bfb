//! Finds the stored response for a request, and judges it now, under the configuration of now.

use std::sync::Arc;

use caching::{
    reuse::{Reuse, Standing, reuse},
    vary::select,
};

use crate::{
    arriving::Reader,
    memory::Stored,
    observe::{Forward, Outcome},
    policy::{CacheUse, Plan},
    request::Request,
    worker::Worker,
};

/// What was found.
pub enum Found {
    Reusable(Reusable),
    /// To be fetched; `stale` may be validated instead of fetched anew, and may help if the upstream fails.
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
    /// If its body still arrives: a place in it.
    pub reader: Option<Reader>,
}

/// Takes no lock that is held for long, copies no body: one look into the index, one counted pointer.
pub fn stored(worker: &Worker, request: &Request, plan: &Plan) -> Found {
    if let CacheUse::No(why) = plan.cache {
        return Found::Forward { why, stale: None };
    }
    let Some(variants) = worker.proxy.memory.variants(&plan.key) else {
        return Found::Forward { why: Forward::UriMiss, stale: None };
    };
    let selected = select(variants.iter(), |stored| &stored.selecting, &request.fields);
    let Some(stored) = selected else { return Found::Forward { why: Forward::VaryMiss, stale: None } };
    judge(worker, plan, stored)
}

/// Whether a response that was selected may answer now.
pub fn judge(worker: &Worker, plan: &Plan, stored: &Arc<Stored>) -> Found {
    // Purged, or judged by a policy that is no more: it is as if it were not there.
    if !stored.is_valid(&worker.proxy.invalidations, &plan.key)
        || stored.judged_by != plan.routed.policy_generation()
    {
        return Found::Forward { why: Forward::Miss, stale: None };
    }
    let (standing, outcome) = match reuse(&stored.facts, &plan.rules(), worker.proxy.clock.now()) {
        Reuse::Fresh(standing) => (standing, Outcome::Hit),
        Reuse::StaleWhileRevalidate(standing) => (standing, Outcome::HitStale),
        Reuse::Validate(_) => {
            return Found::Forward { why: Forward::Stale, stale: Some(Arc::clone(stored)) };
        }
    };
    Found::Reusable(Reusable { stored: Arc::clone(stored), standing, outcome, reader: None })
}
