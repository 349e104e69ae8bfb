//! Fetches under a permit, and decides what becomes of the answer: kept, freshened, or passed on.
//!
//! A fetch whose response may be stored runs in a task of its own: its client may go away, those who wait for it
//! stay. Uses up the [`FetchPermit`]. Next: `deliver.rs`.

use std::{
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
};

use caching::{
    directives::ResponseDirectives,
    fields::{remove_hop_by_hop, remove_internal},
    freshness::{Facts, PolicyLifetimes},
    invalidation::{further_targets, invalidates_target},
    reuse::{Reuse, may_serve_on_error, reuse},
    storable::{NotStorable, RequestFacts, storable},
    tags::{MAX_TAGS, is_tag, upstream_tags},
    validation::{Validated, freshened, validated},
    vary::SelectingFields,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AGE, CONTENT_LENGTH, DATE, TRANSFER_ENCODING},
};
use http_body::Body as _;
use plugin_host::StoreDecision;
use tokio::sync::oneshot;

use crate::{
    arriving::{Arriving, FailOnDrop, NobodyReads},
    body::Body,
    clock::Stopwatch,
    coalesce::{self, FetchPermit},
    deliver::{self, Delivery, Forwarded},
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
    if !permit.may_store {
        return pass(worker, request, &plan, &permit).await;
    }
    let (deliver, delivered) = oneshot::channel();
    let (worker, request) = (Rc::clone(worker), request.for_everybody());
    tokio::task::spawn_local(async move { fill(&worker, &request, &plan, permit, deliver).await });
    delivered.await.unwrap_or(Err(Error::ProxyInternalError("the fetch gave no answer")))
}

/// Refreshes a stale response that is being served meanwhile. One at a time per key.
pub fn refresh_in_background(worker: &Rc<Worker>, request: &Request, plan: Plan, stale: Arc<Stored>) {
    let Some(permit) = coalesce::refresh(worker, &plan, stale) else { return };
    let (worker, request) = (Rc::clone(worker), request.for_everybody());
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
    let invalidation = (!request.method.is_safe()).then(|| InvalidateUnlessRefused { worker, request });
    let fetched = fetch::send(worker, request, plan, Purpose::ForClient).await?;
    if let Some(invalidation) = invalidation {
        invalidation.answered(fetched.status, &fetched.fields);
    }
    Ok(passed_on(permit, fetched, None))
}

/// Ends what is stored for the target of an unsafe request, unless its answer says that nothing was done. No answer,
/// because the client went away or the upstream broke off, says no such thing.
struct InvalidateUnlessRefused<'a> {
    worker: &'a Worker,
    request: &'a Request,
}

impl InvalidateUnlessRefused<'_> {
    fn answered(self, status: StatusCode, fields: &HeaderMap) {
        if !invalidates_target(&self.request.method, status) {
            std::mem::forget(self);
            return;
        }
        let host = self.request.target.host();
        further_targets(fields, host, self.request.target.path(), |target| {
            self.worker.proxy.invalidations.purge(Subject::Url { host, target });
        });
    }
}

impl Drop for InvalidateUnlessRefused<'_> {
    fn drop(&mut self) {
        let target = &self.request.target;
        let subject = Subject::Url { host: target.host(), target: target.path_and_query().as_str() };
        self.worker.proxy.invalidations.purge(subject);
    }
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
async fn fill(worker: &Rc<Worker>, request: &Request, plan: &Plan, permit: FetchPermit, answer: Deliver) {
    // Nobody is there to hear if the client went away; what is stored is stored all the same.
    let fetched = match fetch_or_freshen(worker, request, plan, &permit).await {
        Ok(End::Fetched(fetched)) => fetched,
        Ok(End::Answered(delivery)) => {
            let _ = answer.send(Ok(delivery));
            return;
        }
        Err(error) => {
            let _ = answer.send(Err(error));
            return;
        }
    };
    let judged = match unkeepable(worker, plan, &fetched) {
        Some(reason) => Err(NotKept { reason, lies_in_the_request: false }),
        None => judge(worker, request, plan, &permit, fetched.head(), &mut fetched.fields.clone()),
    };
    let mut stored = match judged {
        Ok(stored) => stored,
        Err(NotKept { reason, lies_in_the_request }) => {
            forget(worker, plan, &permit, &fetched);
            // An error is likely to be over soon, and says nothing of what comes after it; nor does what lies in one
            // request say anything of the others.
            if !fetched.status.is_server_error() && !lies_in_the_request {
                worker.proxy.fills.remember_unshareable(&plan.key, worker.proxy.clock.now());
                permit.not_shareable();
            }
            let _ = answer.send(Ok(passed_on(&permit, fetched, Some(reason))));
            return;
        }
    };
    let arriving = Arriving::new();
    stored.body = StoredBody::Arriving(Arc::clone(&arriving));
    let Some(reader) = arriving.reader() else { return };
    let mut fields = stored.fields.clone();
    // The first client is told how old it is, as the later ones are; what comes from the origin itself has no age.
    match stored.facts.current_age(stored.facts.response_time).as_s() {
        0 => drop(fields.remove(AGE)),
        age_s => drop(fields.insert(AGE, HeaderValue::from(age_s))),
    }
    let delivery = Delivery::Forwarded(Forwarded {
        status: stored.status,
        fields,
        body: Body::Arriving(reader),
        why: permit.why,
        is_stored: true,
        detail: None,
    });
    let stored = Arc::new(stored);
    remember_if_never_fresh(worker, plan, &stored);
    permit.share(&stored);
    let _ = answer.send(Ok(delivery));
    receive(worker, plan, permit, stored, arriving, fetched.body).await;
}

/// Why a response is not kept, whatever its fields say of caching.
fn unkeepable(worker: &Worker, plan: &Plan, fetched: &Fetched) -> Option<&'static str> {
    match fetched.body.known_length() {
        Some(length) if length > worker.max_response_bytes(plan) => Some("too-large"),
        // It ends where the connection does, and nobody can tell a whole one from one that was cut off.
        None if !fetched.fields.contains_key(TRANSFER_ENCODING) => Some("length-unknown"),
        Some(_) | None => None,
    }
}

/// The upstream has another answer now: the one that it no longer gives must not go on being served.
fn forget(worker: &Worker, plan: &Plan, permit: &FetchPermit, fetched: &Fetched) {
    if let Some(stale) = permit.stale.as_ref().filter(|_| !fetched.status.is_server_error()) {
        worker.proxy.memory.remove(&plan.key, stale);
    }
}

/// Why a response is not kept.
struct NotKept {
    /// The `detail` of `Cache-Status`.
    reason: &'static str,
    /// The next request may well bring something to keep.
    lies_in_the_request: bool,
}

impl From<NotStorable> for NotKept {
    fn from(why: NotStorable) -> NotKept {
        NotKept { reason: why.as_str(), lies_in_the_request: why.lies_in_the_request() }
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
    let Some(stale) = permit.stale.as_ref().filter(|stale| is_valid(worker, plan, stale)) else {
        return fetch_anew(worker, request, plan).await;
    };
    let fetched = match fetch::send(worker, request, plan, Purpose::ToValidate(stale)).await {
        Ok(fetched) => fetched,
        Err(error) => return stale_if_error(worker, plan, stale).ok_or(error),
    };
    match validated(fetched.status, &fetched.fields, &stale.fields) {
        Validated::Full => Ok(End::Fetched(fetched)),
        Validated::NotModified => Ok(End::Answered(freshen(worker, request, plan, permit, stale, &fetched))),
        Validated::Mismatch => fetch_anew(worker, request, plan).await,
        Validated::Error => Ok(stale_if_error(worker, plan, stale).unwrap_or(End::Fetched(fetched))),
    }
}

fn is_valid(worker: &Worker, plan: &Plan, stored: &Stored) -> bool {
    stored.is_valid(&worker.proxy.invalidations, &plan.key)
}

async fn fetch_anew(worker: &Worker, request: &Request, plan: &Plan) -> Result<End, Error> {
    let fetched = fetch::send(worker, request, plan, Purpose::ForStore).await?;
    if fetched.status == StatusCode::NOT_MODIFIED {
        // Nobody has what it would be the same as.
        let upstream = plan.routed.route().name.as_str().into();
        return Err(Error::HttpProtocolError { upstream, reason: "304 to a request without conditions" });
    }
    Ok(End::Fetched(fetched))
}

/// RFC 5861 section 4: the stale response, if it may stand in for the error.
fn stale_if_error(worker: &Worker, plan: &Plan, stale: &Arc<Stored>) -> Option<End> {
    let now = worker.proxy.clock.now();
    let is_allowed = is_valid(worker, plan, stale) && may_serve_on_error(&stale.facts, &plan.rules(), now);
    is_allowed.then(|| End::Answered(reused(worker, plan, stale, Outcome::HitStaleIfError)))
}

fn reused(worker: &Worker, plan: &Plan, stored: &Arc<Stored>, outcome: Outcome) -> Delivery {
    let standing = match reuse(&stored.facts, &plan.rules(), worker.proxy.clock.now()) {
        Reuse::Fresh(standing) | Reuse::StaleWhileRevalidate(standing) | Reuse::Validate(standing) => {
            standing
        }
    };
    Delivery::Reused(Reusable { stored: Arc::clone(stored), standing, outcome, reader: None })
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
            // The upstream's tags were taken off when it was stored, so what the 304 names is not all there is.
            stored.cells = merged(&stale.cells, &stored.cells);
            let stored = Arc::new(stored);
            permit.share(&stored);
            worker.proxy.memory.insert(&plan.key, Arc::clone(&stored), &worker.proxy.invalidations);
            stored
        }
        // It held for this request; for the next one it is not to be kept.
        Err(_) => {
            worker.proxy.memory.remove(&plan.key, stale);
            Arc::clone(stale)
        }
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
) -> Result<Stored, NotKept> {
    let of_response = |reason| NotKept { reason, lies_in_the_request: false };
    let Head { status, request_time, response_time } = head;
    remove_hop_by_hop(fields);
    let directives = ResponseDirectives::of(fields);
    let of_request = RequestFacts::of(&request.method, &request.fields, request.has_body);
    let mut facts = Facts::of(of_request, status, fields, &directives, request_time, response_time);
    let decision = policy::judge_response(worker, request, plan, status.as_u16(), fields)
        .map_err(|reason| NotKept { reason, lies_in_the_request: reason == policy::BAD_INPUT })?;
    facts.policy = PolicyLifetimes {
        // An error stays as short as its origin says: no policy may stretch it without saying so by status.
        ttl: decision.ttl.filter(|_| facts.takes_configured_ttl || facts.explicit_lifetime.is_some()),
        stale_while_revalidate: decision.stale_while_revalidate,
        stale_if_error: decision.stale_if_error,
    };
    storable(of_request, status, fields, &directives, &facts, &plan.rules())?;
    let selecting = SelectingFields::of(fields, &request.fields).map_err(|_| of_response("vary"))?;
    let cells = cells(worker, request, plan, fields, &decision).map_err(of_response)?;
    apply(&decision, fields);
    if !decision.set_fields.is_empty() {
        // What a policy has put there may not be stored either: a cookie for everybody is still a cookie.
        storable(of_request, status, fields, &ResponseDirectives::of(fields), &facts, &plan.rules())?;
    }
    remove_internal(fields);
    ensure_date(fields, response_time);
    Ok(Stored {
        status,
        fields: deliver::kept(fields),
        body: StoredBody::Whole(bytes::Bytes::new()),
        facts,
        selecting,
        filled: permit.began(),
        cells,
        cleared: AtomicU64::new(0),
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

fn merged(old: &[Arc<Cell>], new: &[Arc<Cell>]) -> Box<[Arc<Cell>]> {
    let mut cells: Vec<_> = old.iter().chain(new).cloned().collect();
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
    let upstream = plan.routed.upstream();
    let (memory, limit_bytes) = (&worker.proxy.memory, worker.max_response_bytes(plan));
    let broken_if_dropped = FailOnDrop(Arc::clone(&arriving));
    let mut permit = Some(permit);
    let mut kept = memory.keep_arriving();
    let watch = Stopwatch::start();
    // A body that is empty has ended before its first piece.
    while !body.is_end_stream() {
        match tokio::time::timeout(upstream.read_timeout(), arriving.room()).await {
            Ok(Ok(())) => (),
            Ok(Err(NobodyReads)) => return,
            // One client that has stopped reading must not stop the others.
            Err(_) => {
                arriving.leave_the_slowest_behind();
                continue;
            }
        }
        if !arriving.has_readers() && watch.elapsed() > upstream.longest_wait() {
            tracing::warn!(
                route.name = plan.routed.route().name.as_str(),
                "gave up a response without end that nobody reads"
            );
            return;
        }
        match body.data().await {
            Some(Ok(chunk)) => {
                let has_room = permit.is_none() || kept.add(chunk.len() as u64);
                let is_too_large = arriving.push(chunk) as u64 > limit_bytes;
                if (is_too_large || !has_room) && permit.take().is_some() {
                    if is_too_large {
                        worker.proxy.fills.remember_unshareable(&plan.key, worker.proxy.clock.now());
                    }
                    arriving.stop_keeping();
                    kept = memory.keep_arriving();
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
            cleared: AtomicU64::new(0),
            judged_by: stored.judged_by,
        };
        memory.insert(&plan.key, Arc::new(stored), &worker.proxy.invalidations);
        // Only now: until it is in memory, those who come find it with the permit.
        drop(permit);
    }
}

impl Worker {
    fn max_response_bytes(&self, plan: &Plan) -> u64 {
        plan.routed.view.live.config.cache.max_response_bytes
    }
}
