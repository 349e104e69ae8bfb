//! Fetches under a permit, and decides what becomes of the answer: kept, freshened, or passed on.
//!
//! A fetch whose response may be stored runs in a task of its own: its client may go away, those who wait for it
//! stay. Uses up the [`FetchPermit`]. Next: `deliver.rs`.

use std::{rc::Rc, sync::Arc};

use caching::{
    directives::{RequestDirectives, ResponseDirectives},
    fields::{remove_hop_by_hop, remove_internal},
    freshness::{Facts, PolicyLifetimes},
    invalidation::invalidates_target,
    reuse::{Reuse, may_serve_on_error, reuse},
    storable::{RequestFacts, storable},
    tags::{CACHE_TAG, MAX_TAGS, SURROGATE_KEY, is_tag, upstream_tags},
    validation::{Validated, freshened, validated},
    vary::SelectingFields,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AGE, CONTENT_LENGTH, DATE},
};
use http_body::Body as _;
use plugin_host::StoreDecision;
use tokio::sync::oneshot;

use crate::{
    arriving::{Arriving, FailOnDrop},
    body::Body,
    coalesce::{self, FetchPermit},
    deliver::{Delivery, Forwarded},
    error::Error,
    fetch::{self, Fetched, Purpose},
    invalidations::{Cell, Subject},
    lookup::Reusable,
    memory::{Stored, StoredBody},
    observe::Outcome,
    policy::{self, Plan},
    request::Request,
    upstream::UpstreamBody,
    worker::Worker,
};

/// Fetches, and answers as soon as the response head is judged.
pub async fn fetch_and_keep(
    worker: &Rc<Worker>,
    request: &Request,
    plan: Plan,
    permit: FetchPermit,
) -> Result<Delivery, Error> {
    if RequestDirectives::of(&request.fields).only_if_cached && permit.may_store {
        return Err(Error::OnlyIfCached);
    }
    if !permit.may_store {
        return pass(worker, request, &plan, &permit).await;
    }
    let (deliver, delivered) = oneshot::channel();
    let (worker, request) = (Rc::clone(worker), request.without_body());
    tokio::task::spawn_local(async move { fill(&worker, &request, &plan, permit, deliver).await });
    delivered.await.unwrap_or(Err(Error::ProxyInternalError("the fetch gave no answer")))
}

/// Refreshes a stale response that is being served meanwhile. One at a time per key.
pub fn refresh_in_background(worker: &Rc<Worker>, request: &Request, plan: Plan, stale: Arc<Stored>) {
    let Some(permit) = coalesce::refresh(worker, &plan, stale) else { return };
    let (worker, request) = (Rc::clone(worker), request.without_body());
    tokio::task::spawn_local(async move {
        let (deliver, _nobody) = oneshot::channel();
        fill(&worker, &request, &plan, permit, deliver).await;
    });
}

/// Nothing of this is stored: the bodies stream both ways, and end when the client goes away.
async fn pass(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    permit: &FetchPermit,
) -> Result<Delivery, Error> {
    let fetched = fetch::send(worker, request, plan, Purpose::ForClient).await?;
    if invalidates_target(&request.method, fetched.status) {
        let target = request.target.path_and_query().as_str();
        worker.proxy.invalidations.purge(Subject::Url { host: request.target.host(), target });
    }
    Ok(passed_on(permit, fetched, None))
}

/// Passed on to the one client who asked.
fn passed_on(permit: &FetchPermit, mut fetched: Fetched, detail: Option<&'static str>) -> Delivery {
    remove_hop_by_hop(&mut fetched.fields);
    remove_internal(&mut fetched.fields);
    Delivery::Forwarded(Forwarded {
        status: fetched.status,
        fields: fetched.fields,
        body: Body::Upstream(Box::new(fetched.body)),
        why: permit.why,
        is_stored: false,
        detail,
    })
}

type Deliver = oneshot::Sender<Result<Delivery, Error>>;

/// One fetch for everybody, from the request to the last byte of the body.
async fn fill(worker: &Rc<Worker>, request: &Request, plan: &Plan, permit: FetchPermit, deliver: Deliver) {
    // Nobody is there to hear if the client went away; what is stored is stored all the same.
    let fetched = match fetch_or_freshen(worker, request, plan, &permit).await {
        Ok(End::Fetched(fetched)) => fetched,
        Ok(End::Answered(delivery)) => {
            let _ = deliver.send(Ok(delivery));
            return;
        }
        Err(error) => {
            let _ = deliver.send(Err(error));
            return;
        }
    };
    match judge(worker, request, plan, &permit, fetched.head(), &mut fetched.fields.clone()) {
        Ok(mut stored) => {
            let limit = worker.max_response_bytes(plan);
            if fetched.body.known_length().is_some_and(|length| length > limit) {
                let _ = deliver.send(Ok(passed_on(&permit, fetched, Some("too-large"))));
                return;
            }
            let arriving = Arriving::new();
            stored.body = StoredBody::Arriving(Arc::clone(&arriving));
            let Some(reader) = arriving.reader() else { return };
            let delivery = Delivery::Forwarded(Forwarded {
                status: stored.status,
                fields: stored.fields.clone(),
                body: Body::Arriving(reader),
                why: permit.why,
                is_stored: true,
                detail: None,
            });
            let stored = Arc::new(stored);
            remember_if_never_fresh(worker, plan, &stored);
            permit.share(&stored);
            let _ = deliver.send(Ok(delivery));
            receive(worker, plan, permit, stored, arriving, fetched.body).await;
        }
        Err(reason) => {
            // An error is likely to be over soon, and says nothing of what comes after it.
            if !fetched.status.is_server_error() {
                worker.proxy.fills.remember_unshareable(&plan.key, worker.proxy.clock.now());
            }
            let _ = deliver.send(Ok(passed_on(&permit, fetched, Some(reason))));
        }
    }
}

/// A response that every request has to validate is stored, but nobody should wait in line for it.
fn remember_if_never_fresh(worker: &Worker, plan: &Plan, stored: &Stored) {
    let now = worker.proxy.clock.now();
    match reuse(&stored.facts, &plan.rules(), now) {
        Reuse::Fresh(_) => worker.proxy.fills.forget_unshareable(&plan.key),
        Reuse::StaleWhileRevalidate(_) | Reuse::Validate(_) => {
            worker.proxy.fills.remember_unshareable(&plan.key, now);
        }
    }
}

enum End {
    Fetched(Fetched),
    Answered(Delivery),
}

/// A full response; or the answer made from the stale one, which still holds or has to do.
async fn fetch_or_freshen(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    permit: &FetchPermit,
) -> Result<End, Error> {
    // Looked at again now that the permit has its place in the order of purges: a purge before that is seen here,
    // a purge after it ends what this fetch brings.
    let Some(stale) = permit.stale.as_ref().filter(|stale| stale.is_valid()) else {
        return Ok(End::Fetched(fetch::send(worker, request, plan, Purpose::ForStore).await?));
    };
    let fetched = match fetch::send(worker, request, plan, Purpose::ToValidate(stale)).await {
        Ok(fetched) => fetched,
        Err(error) => return stale_if_error(worker, plan, stale).ok_or(error),
    };
    match validated(fetched.status, &fetched.fields, &stale.fields) {
        Validated::Full => Ok(End::Fetched(fetched)),
        Validated::NotModified => Ok(End::Answered(freshen(worker, request, plan, permit, stale, &fetched))),
        Validated::Mismatch => Ok(End::Fetched(fetch::send(worker, request, plan, Purpose::ForStore).await?)),
        Validated::Error => Ok(stale_if_error(worker, plan, stale).unwrap_or(End::Fetched(fetched))),
    }
}

/// RFC 5861 section 4: the stale response, if it may stand in for the error.
fn stale_if_error(worker: &Worker, plan: &Plan, stale: &Arc<Stored>) -> Option<End> {
    let now = worker.proxy.clock.now();
    let is_allowed = stale.is_valid() && may_serve_on_error(&stale.facts, &plan.rules(), now);
    is_allowed.then(|| End::Answered(reused(worker, plan, stale, Outcome::HitStaleIfError)))
}

fn reused(worker: &Worker, plan: &Plan, stored: &Arc<Stored>, outcome: Outcome) -> Delivery {
    let standing = match reuse(&stored.facts, &plan.rules(), worker.proxy.clock.now()) {
        Reuse::Fresh(standing) | Reuse::StaleWhileRevalidate(standing) | Reuse::Validate(standing) => {
            standing
        }
    };
    Delivery::Reused(Reusable { stored: Arc::clone(stored), standing, outcome })
}

/// The stored response with what a 304 said of it (RFC 9111 section 4.3.4).
fn freshen(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    permit: &FetchPermit,
    stale: &Arc<Stored>,
    not_modified: &Fetched,
) -> Delivery {
    let mut update = not_modified.fields.clone();
    remove_hop_by_hop(&mut update);
    // Else the stored `Date` would make it as old as it was.
    ensure_date(&mut update, not_modified.response_time);
    let mut fields = freshened(&stale.fields, &update);
    // The age is that of the 304, not the one that was stored with the old head.
    if !update.contains_key(AGE) {
        fields.remove(AGE);
    }
    let head = Head { status: stale.status, ..not_modified.head() };
    let kept = match judge(worker, request, plan, permit, head, &mut fields) {
        Ok(mut stored) => {
            stored.body = stale.body.clone();
            if !update.contains_key(CACHE_TAG) && !update.contains_key(SURROGATE_KEY) {
                // The tags of the upstream were taken off when it was stored, and the 304 names none: they still hold.
                stored.cells = stale.cells.iter().chain(&stored.cells).cloned().collect();
                stored.cells = without_repetitions(stored.cells);
            }
            let stored = Arc::new(stored);
            permit.share(&stored);
            worker.proxy.memory.insert(&plan.key, Arc::clone(&stored));
            stored
        }
        // It held for this request; for the next one it is not to be kept. The old one stays, stale.
        Err(_) => Arc::clone(stale),
    };
    reused(worker, plan, &kept, Outcome::Validated)
}

/// What of a response besides its fields decides how it is stored.
#[derive(Clone, Copy)]
struct Head {
    status: StatusCode,
    request_time: caching::time::Timestamp,
    response_time: caching::time::Timestamp,
}

impl Fetched {
    fn head(&self) -> Head {
        Head { status: self.status, request_time: self.request_time, response_time: self.response_time }
    }
}

/// The response as it would be stored, still without its body; or why it may not be.
fn judge(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    permit: &FetchPermit,
    head: Head,
    fields: &mut HeaderMap,
) -> Result<Stored, &'static str> {
    let Head { status, request_time, response_time } = head;
    remove_hop_by_hop(fields);
    let directives = ResponseDirectives::of(fields);
    let of_request = RequestFacts::of(&request.method, &request.fields, request.has_body);
    let mut facts = Facts::of(of_request, status, fields, &directives, request_time, response_time);
    let decision = policy::judge_response(worker, request, plan, status.as_u16(), fields)?;
    facts.policy = PolicyLifetimes {
        // An error stays as short as its origin says: no policy may stretch it without saying so by status.
        ttl: decision.ttl.filter(|_| facts.takes_configured_ttl || facts.explicit_lifetime.is_some()),
        stale_while_revalidate: decision.stale_while_revalidate,
        stale_if_error: decision.stale_if_error,
    };
    storable(of_request, status, fields, &directives, &facts, &plan.rules()).map_err(|why| why.as_str())?;
    let selecting = SelectingFields::of(fields, &request.fields).map_err(|_| "vary")?;
    let cells = cells(worker, request, plan, fields, &decision)?;
    apply(&decision, fields);
    remove_internal(fields);
    fields.remove(AGE);
    ensure_date(fields, response_time);
    Ok(Stored {
        status,
        fields: fields.clone(),
        body: StoredBody::Whole(bytes::Bytes::new()),
        facts,
        selecting,
        filled: permit.began(),
        cells,
        judged_by: plan.routed.policy_generation(),
    })
}

fn ensure_date(fields: &mut HeaderMap, response_time: caching::time::Timestamp) {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1
    //# A recipient with a clock that receives a response message without a
    //# Date header field MUST record the time it was received and append a
    //# corresponding Date header field to the message's header section if it
    //# is cached or forwarded downstream.
    if !fields.contains_key(DATE) {
        let received = std::time::UNIX_EPOCH + std::time::Duration::from_secs(response_time.as_s());
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(received)) {
            fields.insert(DATE, date);
        }
    }
}

/// The cells of the URL and of all tags: the upstream's, the route's, and the policy's.
fn cells(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    fields: &HeaderMap,
    decision: &StoreDecision,
) -> Result<Box<[Arc<Cell>]>, &'static str> {
    const TOO_MANY: &str = "tags";
    let invalidations = &worker.proxy.invalidations;
    let target = request.target.path_and_query().as_str();
    let mut cells = vec![invalidations.cell(Subject::Url { host: request.target.host(), target })];
    upstream_tags(fields, |tag| cells.push(invalidations.cell(Subject::Tag(tag)))).map_err(|_| TOO_MANY)?;
    if let Some(captures) = plan.routed.captures(request) {
        let mut tag = String::new();
        for template in &plan.routed.route().tags {
            tag.clear();
            if !template.render(&captures, &mut tag) || !is_tag(tag.as_bytes()) {
                return Err(TOO_MANY);
            }
            cells.push(invalidations.cell(Subject::Tag(tag.as_bytes())));
        }
    }
    for tag in plan.tags.iter().chain(&decision.tags) {
        if !is_tag(tag.as_bytes()) {
            return Err(TOO_MANY);
        }
        cells.push(invalidations.cell(Subject::Tag(tag.as_bytes())));
    }
    if cells.len() > MAX_TAGS + 1 {
        return Err(TOO_MANY);
    }
    Ok(cells.into())
}

fn without_repetitions(cells: Box<[Arc<Cell>]>) -> Box<[Arc<Cell>]> {
    let mut cells = cells.into_vec();
    cells.sort_by_key(Arc::as_ptr);
    cells.dedup_by(|a, b| Arc::ptr_eq(a, b));
    cells.into()
}

fn apply(decision: &StoreDecision, fields: &mut HeaderMap) {
    for name in &decision.remove_fields {
        fields.remove(name);
    }
    for (name, value) in &decision.set_fields {
        // The framing of a body is not a policy's to decide.
        if *name != CONTENT_LENGTH {
            fields.insert(name.clone(), value.clone());
        }
    }
}

/// Takes the body in, for those who read it as it arrives, and stores the response when it is whole.
async fn receive(
    worker: &Worker,
    plan: &Plan,
    permit: FetchPermit,
    stored: Arc<Stored>,
    arriving: Arc<Arriving>,
    mut body: UpstreamBody,
) {
    let limit_bytes = worker.max_response_bytes(plan);
    let broken_if_dropped = FailOnDrop(Arc::clone(&arriving));
    let mut permit = Some(permit);
    // A body that is empty has ended before its first piece.
    loop {
        if body.is_end_stream() {
            break;
        }
        if arriving.room().await.is_err() {
            return;
        }
        match body.data().await {
            Some(Ok(chunk)) => {
                if arriving.push(chunk) as u64 > limit_bytes && permit.take().is_some() {
                    arriving.stop_keeping();
                }
            }
            Some(Err(error)) => {
                tracing::warn!(upstream.cause = %error, "a response ended early and is not stored");
                return;
            }
            None => break,
        }
    }
    let whole = arriving.finish();
    drop(broken_if_dropped);
    if let (Some(whole), Some(permit)) = (whole, permit) {
        let stored = Stored {
            status: stored.status,
            fields: stored.fields.clone(),
            body: StoredBody::Whole(whole),
            facts: stored.facts,
            selecting: stored.selecting.clone(),
            filled: stored.filled,
            cells: stored.cells.clone(),
            judged_by: stored.judged_by,
        };
        worker.proxy.memory.insert(&plan.key, Arc::new(stored));
        // Only now: until it is in memory, those who come find it with the permit.
        drop(permit);
    }
}

impl Worker {
    fn max_response_bytes(&self, plan: &Plan) -> u64 {
        plan.routed.view.live.config.cache.max_response_bytes
    }
}
