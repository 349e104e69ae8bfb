//! Fetches under a permit, and decides what becomes of the answer: kept, freshened, or passed on.
//!
//! A fetch whose response may be stored runs in a task of its own: its client may go away, those who wait for it
//! stay. Uses up the [`FetchPermit`]. What may be kept is in `store/judge.rs`, the body in `store/receive.rs`,
//! what an unsafe request ends in `store/unsafe_request.rs`. Next: `deliver.rs`.

use std::{rc::Rc, sync::Arc};

use caching::{
    fields::{remove_hop_by_hop, remove_internal},
    invalidation::is_own_location,
    method::is_safe,
    partial::{StoredPart, combined_fields, may_combine, part_length},
    reuse::{Reuse, may_serve_on_error, reuse},
    storable::RequestKind,
    validation::{HeadVerdict, Validated, freshened, freshened_by_head, replaces_stored, validated},
    version::Stamp,
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, PRAGMA, SET_COOKIE, TRANSFER_ENCODING,
    },
};
use tokio::sync::oneshot;

use crate::{
    arriving::Arriving,
    body::Body,
    coalesce::{self, FetchPermit},
    deliver::{Conditions, Delivery, Forwarded},
    error::Error,
    feed::{self, Loss, Sighted, Usable},
    fetch::{self, Fetched, Purpose},
    invalidations::{Mark, Sequence},
    lookup::Reusable,
    memory::{Stored, StoredBody},
    observe::{Forward, Outcome},
    pieces::Pieces,
    policy::{CacheUse, Plan},
    request::Request,
    worker::Worker,
};

pub mod judge;
mod receive;
mod unsafe_request;

use judge::{Judge, Judged, NotKept, with_date, with_internal};
use receive::receive;
use unsafe_request::InvalidateUnlessRefused;

/// Fetches, and answers as soon as the response head is judged.
pub async fn fetch_and_keep(
    worker: &Rc<Worker>,
    request: &Request,
    plan: Plan,
    permit: FetchPermit,
) -> Result<Delivery, Error> {
    if !permit.may_store {
        return pass(worker, request, plan, permit).await;
    }
    let (deliver, delivered) = oneshot::channel();
    let (worker, interim) = (Rc::clone(worker), request.interim.clone());
    let mut request = request.for_everybody();
    // Interim responses are for the client whose request this is; those who follow come in the middle of them.
    request.interim = interim;
    tokio::task::spawn_local(async move { fill(&worker, &request, plan, permit, deliver).await });
    delivered.await.unwrap_or(Err(Error::ProxyInternalError("the fetch gave no answer")))
}

/// Refreshes a response that is being served meanwhile. One at a time per key.
pub fn refresh_in_background(worker: &Rc<Worker>, request: &Request, plan: Plan, stale: Arc<Stored>) {
    let (worker, mut request) = (Rc::clone(worker), request.for_everybody());
    // What is served to all is not refreshed with what one of them may see, or wants, unless it varies on that, or its key
    // does: then it is not served to all.
    for name in [AUTHORIZATION, CACHE_CONTROL, PRAGMA] {
        if !stale.selecting.names(&name) && !plan.goes_by(&name) {
            request.fields.remove(name);
        }
    }
    let Some(permit) = coalesce::refresh(&worker, &plan, stale) else { return };
    tokio::task::spawn_local(async move {
        let (deliver, _nobody) = oneshot::channel();
        fill(&worker, &request, plan, permit, deliver).await;
    });
}

/// For one client: the bodies stream both ways, and end when it goes away. What of it may be kept all the same (a part, the
/// answer to a POST) is received for everybody.
async fn pass(
    worker: &Rc<Worker>,
    request: &Request,
    plan: Plan,
    mut permit: FetchPermit,
) -> Result<Delivery, Error> {
    fetch::check(request, &plan)?;
    let invalidation = (!is_safe(&request.method)).then(|| InvalidateUnlessRefused::new(worker, request));
    let is_of_use = |stale: &Arc<Stored>| {
        plan.search.is_none() && matches!(stale.body, StoredBody::Whole(_)) && is_valid(worker, &plan, stale)
    };
    let stale = permit.stale.clone().filter(is_of_use);
    if let (CacheUse::Head, Some(stale)) = (plan.cache, stale) {
        return head(worker, request, &plan, &permit, &stale).await;
    }
    let mut fetched = match fetch::send(worker, request, &plan, Purpose::ForClient, None).await {
        Ok(fetched) => fetched,
        Err(error) => {
            if error.is_before_sending() {
                // Nobody has done anything.
                if let Some(invalidation) = invalidation {
                    invalidation.nothing_done();
                }
            }
            return Err(error);
        }
    };
    if invalidation.is_none()
        && let Some(min_version) = better_answer(worker, request, &plan, &permit, &fetched)
    {
        fetched = fetch::send(worker, request, &plan, Purpose::ForClient, Some(&min_version)).await?;
        permit.min_version = Some(min_version);
    }
    let judged = match plan.cache {
        CacheUse::Part => judged_part(worker, request, &plan, &permit, &fetched),
        // Not where its route or its policy has it go past the cache.
        CacheUse::No(Forward::Method) if request.method == Method::POST => {
            judged_post(worker, request, &plan, &permit, &fetched)
        }
        CacheUse::Use | CacheUse::Head | CacheUse::LookUpOnly | CacheUse::No(_) => {
            Err(Judge::of(worker, request, &plan, permit.began()).passed_on(fetched.head(), &fetched.fields))
        }
    };
    let mut detail = None;
    let (kept, not_kept) = match judged {
        Ok(mut kept) => {
            let changed = kept.changed.take().map(Box::new);
            (Some(kept), NotKept { changed, ..NotKept::default() })
        }
        Err(not_kept) => {
            let lacking = not_kept.lacking.as_deref();
            detail = lacking.map(|lacking| lacking_detail(worker, &permit, lacking, not_kept.reason));
            (None, not_kept)
        }
    };
    let kept = match (kept, invalidation) {
        (Some(kept), Some(invalidation)) => invalidation.answered_and_kept(kept, &fetched, permit.began()),
        (kept, Some(invalidation)) => {
            invalidation.answered(fetched.status, &fetched.fields);
            kept
        }
        (kept, None) => kept,
    };
    match kept {
        Some(kept) => {
            let kept = learnt(worker, request, kept);
            Ok(keep_and_pass(worker, plan, permit, kept, with_changes(fetched, not_kept)?))
        }
        None => Ok(passed_on(&permit, with_changes(fetched, not_kept)?, detail)),
    }
}

/// What is passed on, as policies would have it.
fn with_changes(mut fetched: Fetched, not_kept: NotKept) -> Result<Fetched, Error> {
    if let Some(error) = not_kept.failed {
        return Err(*error);
    }
    if let Some(changed) = not_kept.changed {
        fetched.fields = *changed;
    }
    Ok(fetched)
}

/// HEAD where a response to GET is stored and may not be reused as it is.
async fn head(
    worker: &Rc<Worker>,
    request: &Request,
    plan: &Plan,
    permit: &FetchPermit,
    stale: &Arc<Stored>,
) -> Result<Delivery, Error> {
    let mut fetched = match fetch::send(worker, request, plan, Purpose::ToValidate(stale), None).await {
        Ok(fetched) => fetched,
        Err(error) => return stale_if_error(worker, plan, stale).ok_or(error),
    };
    if let Some(min_version) = better_answer(worker, request, plan, permit, &fetched) {
        fetched = fetch::send(worker, request, plan, Purpose::ToValidate(stale), Some(&min_version)).await?;
    }
    let get = request.for_everybody();
    match validated(fetched.status, &fetched.fields, stale.own_fields()) {
        Validated::NotModified => {
            return match freshen(worker, &get, plan, permit, stale, &fetched)? {
                End::Answered(delivery) => Ok(delivery),
                End::Fetched(_) | End::Completed(..) | End::Again(_) => {
                    Err(Error::ProxyInternalError("a 304 to HEAD that was no answer"))
                }
            };
        }
        Validated::Error => {
            if let Some(delivery) = stale_if_error(worker, plan, stale) {
                return Ok(delivery);
            }
        }
        Validated::Full => {
            // What somebody with credentials is told says nothing of what everybody gets.
            let verdict = if request.fields.contains_key(AUTHORIZATION) {
                HeadVerdict::Ignore
            } else {
                freshened_by_head(stale.own_fields(), stale.body.length(), fetched.status, &fetched.fields)
            };
            match verdict {
                HeadVerdict::Freshen => drop(freshen(worker, &get, plan, permit, stale, &fetched)?),
                HeadVerdict::Ignore => (),
                HeadVerdict::Invalidate => worker.proxy.memory.remove(&plan.key, stale),
            }
        }
        // It is about something that nobody has: the client has to be told of the response itself.
        Validated::Mismatch => {
            worker.proxy.memory.remove(&plan.key, stale);
            let fetched = fetch::send(worker, request, plan, Purpose::ForStore, None).await?;
            return Ok(passed_on(
                permit,
                as_policies_have_it(worker, request, plan, permit.began(), fetched)?,
                None,
            ));
        }
    }
    Ok(passed_on(permit, as_policies_have_it(worker, request, plan, permit.began(), fetched)?, None))
}

/// A response that nobody thinks of keeping.
pub fn as_policies_have_it(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    began: Sequence,
    fetched: Fetched,
) -> Result<Fetched, Error> {
    let judge = Judge::of(worker, request, plan, began);
    let not_kept = judge.passed_on(fetched.head(), &fetched.fields);
    with_changes(fetched, not_kept)
}

/// What may be stored of the answer to a range: a part, or the whole if the upstream does not cut parts out.
fn judged_part(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    permit: &FetchPermit,
    fetched: &Fetched,
) -> Result<Judged, NotKept> {
    let judge = Judge::of(worker, request, plan, permit.began());
    if let Some(reason) = unkeepable(worker, plan, fetched) {
        return Err(judge.not_kept(fetched.head(), &fetched.fields, reason));
    }
    if fetched.status == StatusCode::OK {
        return judge.whole(fetched.head(), fetched.fields.clone());
    }
    let Some(part) = part_length(&fetched.fields, fetched.body.known_length()) else {
        return Err(judge.passed_on(fetched.head(), &fetched.fields));
    };
    let mut judged = judge.part(fetched.head(), fetched.fields.clone(), part)?;
    // From here on they speak of the whole representation.
    for fields in
        std::iter::once(&mut judged.stored.fields).chain(judged.stored.own.as_mut().map(Arc::make_mut))
    {
        fields.remove(CONTENT_RANGE);
        fields.remove(CONTENT_LENGTH);
    }
    Ok(judged)
}

/// The answer to a POST that is what a GET of the same target would bring (RFC 9110 section 9.3.3).
fn judged_post(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    permit: &FetchPermit,
    fetched: &Fetched,
) -> Result<Judged, NotKept> {
    let judge = Judge { kind: RequestKind::PostForGet, ..Judge::of(worker, request, plan, permit.began()) };
    if !answers_get(worker, request, plan, fetched) {
        return Err(judge.passed_on(fetched.head(), &fetched.fields));
    }
    judge.whole(fetched.head(), fetched.fields.clone())
}

fn answers_get(worker: &Worker, request: &Request, plan: &Plan, fetched: &Fetched) -> bool {
    let mut locations = fetched.fields.get_all(CONTENT_LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else { return false };
    let target = request.target.path_and_query().as_str();
    plan.routed.route().cache.enabled
        && fetched.status.is_success()
        && is_own_location(location, request.target.host(), target)
        && unkeepable(worker, plan, fetched).is_none()
}

/// Passed on to the one client who asked.
fn passed_on(permit: &FetchPermit, fetched: Fetched, detail: Option<&'static str>) -> Delivery {
    Delivery::Forwarded(forwarded(permit, fetched, detail))
}

fn forwarded(permit: &FetchPermit, mut fetched: Fetched, detail: Option<&'static str>) -> Forwarded {
    remove_hop_by_hop(&mut fetched.fields);
    remove_internal(&mut fetched.fields);
    Forwarded {
        status: fetched.status,
        fields: fetched.fields,
        body: Body::Upstream(Box::new(fetched.body)),
        fwd_status: fetched.status,
        why: permit.why,
        is_stored: false,
        conditions: Conditions::Upstreams,
        detail,
    }
}

/// Passed on as it came, while it is received for everybody.
fn keep_and_pass(
    worker: &Rc<Worker>,
    plan: Plan,
    permit: FetchPermit,
    kept: Judged,
    mut fetched: Fetched,
) -> Delivery {
    let arriving = Arriving::new(fetched.body.known_length(), fetched.body.announced_trailers().cloned());
    let Some(reader) = arriving.reader() else { return passed_on(&permit, fetched, None) };
    remove_hop_by_hop(&mut fetched.fields);
    remove_internal(&mut fetched.fields);
    let delivery = Delivery::Forwarded(Forwarded {
        status: fetched.status,
        fields: fetched.fields,
        body: Body::Arriving(reader),
        fwd_status: fetched.status,
        why: permit.why,
        is_stored: true,
        conditions: Conditions::Upstreams,
        detail: None,
    });
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let Judged { stored, key, .. } = kept;
        receive(&worker, &plan, permit, &key, Arc::new(stored), arriving, fetched.body).await;
    });
    delivery
}

/// Remembers what a response that is going to be stored says of queries: it is looked up by that.
fn learnt(worker: &Worker, request: &Request, judged: Judged) -> Judged {
    worker.proxy.searches.learn(&request.target, judged.search.as_ref());
    judged
}

type Deliver = oneshot::Sender<Result<Delivery, Error>>;

/// One fetch for everybody, from the request to the last byte of the body.
async fn fill(worker: &Rc<Worker>, request: &Request, plan: Plan, mut permit: FetchPermit, answer: Deliver) {
    // Nobody is there to hear if the client went away; what is stored is stored all the same.
    let (mut fetched, ahead) = match fetch_or_freshen(worker, request, &plan, &permit).await {
        Ok(End::Fetched(fetched)) => (fetched, Pieces::default()),
        Ok(End::Completed(fetched, ahead)) => (fetched, ahead),
        Ok(End::Answered(delivery)) => {
            let _ = answer.send(Ok(delivery));
            return;
        }
        Ok(End::Again(min_version)) => {
            permit.min_version = Some(min_version);
            return Box::pin(fill(worker, request, plan, permit, answer)).await;
        }
        Err(error) => {
            let _ = answer.send(Err(error));
            return;
        }
    };
    if let Some(min_version) = better_answer(worker, request, &plan, &permit, &fetched) {
        permit.min_version = Some(min_version);
        drop(fetched);
        return Box::pin(fill(worker, request, plan, permit, answer)).await;
    }
    // The head of one that was completed is that of the whole; what the upstream answered was a part.
    let fwd_status = if ahead.is_empty() { fetched.status } else { StatusCode::PARTIAL_CONTENT };
    let judge = Judge::of(worker, request, &plan, permit.began());
    let judged = match unkeepable(worker, &plan, &fetched) {
        Some(reason) => Err(judge.not_kept(fetched.head(), &fetched.fields, reason)),
        None => judge.whole(fetched.head(), fetched.fields.clone()),
    };
    let mut refused = None;
    let Judged { mut stored, key, sighted, .. } = match judged {
        Ok(judged) => learnt(worker, request, judged),
        // It may be had by those who are owed nothing that it lacks, and is stored for nobody.
        Err(NotKept { lacking: Some(lacking), reason, .. }) => {
            if let Some(min_version) = better(worker, &permit, &lacking) {
                permit.min_version = Some(min_version);
                drop(fetched);
                return Box::pin(fill(worker, request, plan, permit, answer)).await;
            }
            (permit.is_kept, refused) = (false, Some(lacking_detail(worker, &permit, &lacking, reason)));
            *lacking
        }
        Err(NotKept { failed: Some(error), .. }) => {
            let _ = answer.send(Err(*error));
            return;
        }
        Err(NotKept {
            reason,
            lies_in_the_request,
            hit_for_miss,
            changed,
            failed: None,
            lacking: None,
            ..
        }) => {
            if let Some(changed) = changed {
                fetched.fields = *changed;
            }
            if !lies_in_the_request && replaces_stored(fetched.status) {
                forget(worker, &plan, &permit);
            }
            // An error is likely to be over soon, and says nothing of what comes after it; nor does what lies in one
            // request say anything of the others.
            if !fetched.status.is_server_error() && !lies_in_the_request {
                worker.remember_unshareable(&plan, hit_for_miss);
                permit.not_shareable();
            }
            let mut forwarded = forwarded(&permit, fetched, Some(reason));
            forwarded.fwd_status = fwd_status;
            if !ahead.is_empty()
                && let Body::Upstream(rest) = forwarded.body
            {
                forwarded.body = Body::Completed(ahead.iter().cloned().collect(), rest);
            }
            let _ = answer.send(Ok(Delivery::Forwarded(forwarded)));
            return;
        }
    };
    let expected = fetched.body.known_length().map(|rest| rest.saturating_add(ahead.len() as u64));
    let arriving = Arriving::new(expected, fetched.body.announced_trailers().cloned());
    ahead.iter().for_each(|piece| _ = arriving.push(piece.clone()));
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
        fwd_status,
        why: permit.why,
        is_stored: permit.is_kept,
        conditions: Conditions::Ours,
        detail: refused.or_else(|| feed::loss(worker, &plan, &stored).map(Loss::as_str)),
    });
    let stored = Arc::new(stored);
    if permit.is_kept {
        remember_if_never_fresh(worker, &plan, &stored);
    }
    share(&permit, &plan, &stored, &key, sighted.as_of);
    let _ = answer.send(Ok(delivery));
    receive(worker, &plan, permit, &key, stored, arriving, fetched.body).await;
}

/// What is to be asked for, if a response lacks an event that was known when its request came. Once: the next answer is passed on,
/// whatever it lacks.
fn better(worker: &Worker, permit: &FetchPermit, lacking: &Judged) -> Option<Stamp> {
    owed(permit, lacking).and_then(|event| worker.proxy.feed.min_version(event))
}

/// An event that whoever asked should be shown, and nobody has been asked for.
fn owed(permit: &FetchPermit, lacking: &Judged) -> Option<Mark> {
    let Sighted { as_of, better, .. } = lacking.sighted;
    let is_owed_more = as_of.is_none_or(|as_of| as_of < permit.joined);
    better.filter(|_| is_owed_more && permit.min_version.is_none())
}

/// Why a response is passed on that lacks something. Where the feed was lost since, nobody can be asked for what it had told.
fn lacking_detail(
    worker: &Worker,
    permit: &FetchPermit,
    lacking: &Judged,
    reason: &'static str,
) -> &'static str {
    let is_lost = owed(permit, lacking).is_some_and(|event| worker.proxy.feed.min_version(event).is_none());
    if is_lost { Loss::NoFeed.as_str() } else { reason }
}

/// The same for whatever comes, to be stored or not, by the tags that its upstream and its route give it. Of most answers it takes a
/// comparison to know that they lack nothing.
fn better_answer(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    permit: &FetchPermit,
    fetched: &Fetched,
) -> Option<Stamp> {
    let sighting = fetched.sighting.filter(|sighting| sighting.may_lack_what_was_told(permit.joined))?;
    if permit.min_version.is_some() {
        return None;
    }
    let cells = Judge::of(worker, request, plan, permit.began()).known_cells(&fetched.fields)?;
    let event = sighting.better(&cells).filter(|_| sighting.as_of(&cells) < permit.joined)?;
    worker.proxy.feed.min_version(event)
}

/// Those who wait have the same key, but where that was written by a rule for queries they may have other targets. So what does
/// not belong under the key that they have in common is for its own client alone.
fn share(permit: &FetchPermit, plan: &Plan, stored: &Arc<Stored>, key: &[u8], as_of: Option<Mark>) {
    if plan.search.is_none() || plan.key == key {
        permit.share(stored, as_of);
    } else {
        permit.not_shareable();
    }
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
fn forget(worker: &Worker, plan: &Plan, permit: &FetchPermit) {
    if let Some(stale) = &permit.stale {
        worker.proxy.memory.remove(&plan.key, stale);
    }
}

/// A response that every request has to validate is stored, but nobody should wait in line for it.
fn remember_if_never_fresh(worker: &Worker, plan: &Plan, stored: &Stored) {
    let now = worker.proxy.clock.now();
    match reuse(&stored.facts, &plan.rules(), Default::default(), None, now) {
        Reuse::Fresh(_) => worker.proxy.unshareable.forget(&plan.key),
        Reuse::StaleWhileRevalidate(_)
        | Reuse::StaleAccepted(_)
        | Reuse::Demanded(_)
        | Reuse::Validate(_) => worker.remember_unshareable(plan, None),
    }
}

enum End {
    Fetched(Fetched),
    /// The rest of a response of which these bytes were stored. Its head is that of the whole.
    Completed(Fetched, Pieces),
    Answered(Delivery),
    /// It lacks an event of which the request could have known: to be fetched once more, from who has this.
    Again(Stamp),
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
        return fetch_anew(worker, request, plan, permit).await;
    };
    // By a rule for queries it may have come from another URL, whose validators and bytes say nothing of this one.
    if plan.search.is_some() {
        let fetched = fetch_anew(worker, request, plan, permit).await;
        let has_failed = match &fetched {
            Ok(End::Fetched(fetched)) => fetched.status.is_server_error(),
            Ok(End::Completed(..) | End::Answered(_) | End::Again(_)) => false,
            Err(_) => true,
        };
        let stands_in = if has_failed { stale_if_error(worker, plan, stale) } else { None };
        return stands_in.map_or(fetched, |delivery| Ok(End::Answered(delivery)));
    }
    if let StoredBody::Part(part, bytes) = &stale.body {
        return complete(worker, request, plan, permit, stale, part, bytes).await;
    }
    let min_version = permit.min_version.as_ref();
    let fetched = match fetch::send(worker, request, plan, Purpose::ToValidate(stale), min_version).await {
        Ok(fetched) => fetched,
        Err(error) => return stale_if_error(worker, plan, stale).map(End::Answered).ok_or(error),
    };
    match validated(fetched.status, &fetched.fields, stale.own_fields()) {
        Validated::Full => Ok(End::Fetched(fetched)),
        Validated::NotModified => freshen(worker, request, plan, permit, stale, &fetched),
        Validated::Mismatch => fetch_anew(worker, request, plan, permit).await,
        Validated::Error => {
            let stale = stale_if_error(worker, plan, stale).map(End::Answered);
            Ok(stale.unwrap_or(End::Fetched(fetched)))
        }
    }
}

fn is_valid(worker: &Worker, plan: &Plan, stored: &Stored) -> bool {
    !matches!(feed::usable(worker, plan, stored, worker.proxy.clock.now()), Usable::No(_))
}

/// Fetches the rest of a response of which the beginning is stored (RFC 9111 section 3.3).
async fn complete(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    permit: &FetchPermit,
    stored: &Stored,
    part: &StoredPart,
    bytes: &Pieces,
) -> Result<End, Error> {
    let Some(rest) = caching::partial::completing_request(stored.own_fields(), part) else {
        return fetch_anew(worker, request, plan, permit).await;
    };
    let mut fetched =
        fetch::send(worker, request, plan, Purpose::ToComplete(&rest), permit.min_version.as_ref()).await?;
    match fetched.status {
        StatusCode::PARTIAL_CONTENT => (),
        // Answers to a condition and to a range that the client has not asked for.
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED => {
            return fetch_anew(worker, request, plan, permit).await;
        }
        // The whole of another representation, most likely.
        _ => return Ok(End::Fetched(fetched)),
    }
    let is_rest = part_length(&fetched.fields, fetched.body.known_length()).is_some_and(|range| {
        range.first == bytes.len() as u64 && range.complete == Some(range.last + 1) && part.first == 0
    });
    // Without a length nobody could tell a rest that is cut off; a cookie would be lost on the way, and its veto with it.
    let rest_length = fetched.body.known_length().filter(|_| {
        is_rest
            && !fetched.fields.contains_key(SET_COOKIE)
            && may_combine(stored.own_fields(), &fetched.fields)
    });
    let Some(rest_length) = rest_length else {
        return fetch_anew(worker, request, plan, permit).await;
    };
    fetched.fields = combined_fields(&with_internal(stored), &fetched.fields);
    fetched.status = StatusCode::OK;
    let length = rest_length.saturating_add(bytes.len() as u64);
    fetched.fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(End::Completed(fetched, bytes.clone()))
}

async fn fetch_anew(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    permit: &FetchPermit,
) -> Result<End, Error> {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1
    //# A server that is not the origin server for the target resource and
    //# cannot act as a cache for requests on the target resource MUST NOT
    //# evaluate the conditional request header fields defined by this
    //# specification, and it MUST forward them if the request is forwarded
    // What is most likely for this client alone is asked for as it asks: a page of its own that it has already is a 304.
    let is_for_client = permit.is_alone() && plan.cache == CacheUse::Use;
    let purpose = if is_for_client { Purpose::ForClient } else { Purpose::ForStore };
    let fetched = fetch::send(worker, request, plan, purpose, permit.min_version.as_ref()).await?;
    if fetched.status == StatusCode::NOT_MODIFIED {
        if is_for_client && has_conditions(&request.fields) {
            if let Some(min_version) = better_answer(worker, request, plan, permit, &fetched) {
                return Ok(End::Again(min_version));
            }
            let fetched = as_policies_have_it(worker, request, plan, permit.began(), fetched)?;
            return Ok(End::Answered(passed_on(permit, fetched, None)));
        }
        // Nobody has what it would be the same as.
        let upstream = plan.routed.route().name.as_str().into();
        return Err(Error::HttpProtocolError { upstream, reason: "304 to a request without conditions" });
    }
    Ok(End::Fetched(fetched))
}

fn has_conditions(fields: &HeaderMap) -> bool {
    fields.contains_key(IF_NONE_MATCH) || fields.contains_key(IF_MODIFIED_SINCE)
}

/// RFC 5861 section 4: the stale response, if it may stand in for the error.
fn stale_if_error(worker: &Worker, plan: &Plan, stale: &Arc<Stored>) -> Option<Delivery> {
    let now = worker.proxy.clock.now();
    let soft_purged = match feed::usable(worker, plan, stale, now) {
        Usable::AsItIs => None,
        Usable::StaleSince(since, _) => Some(since),
        Usable::No(_) => return None,
    };
    may_serve_on_error(&stale.facts, &plan.rules(), soft_purged, now)
        .then(|| Delivery::Reused(reused(worker, plan, stale, Outcome::HitStaleIfError, Forward::Stale)))
}

fn reused(worker: &Worker, plan: &Plan, stored: &Arc<Stored>, outcome: Outcome, why: Forward) -> Reusable {
    let now = worker.proxy.clock.now();
    let standing = reuse(&stored.facts, &plan.rules(), Default::default(), None, now).standing();
    let stored = Arc::clone(stored);
    Reusable {
        stored,
        standing,
        outcome,
        why,
        is_stored: true,
        wants_refresh: false,
        reader: None,
        loss: None,
    }
}

/// The stored response with what a 304, or the answer to a HEAD, said of it (RFC 9111 section 4.3.4 and 4.3.5).
fn freshen(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    permit: &FetchPermit,
    stale: &Arc<Stored>,
    fetched: &Fetched,
) -> Result<End, Error> {
    let mut update = with_date(fetched.fields.clone(), fetched.response_time);
    remove_hop_by_hop(&mut update);
    let mut fields = freshened(&with_internal(stale), &update);
    // The age is that of the 304, not the one that was stored with the old head.
    if !update.contains_key(AGE) {
        fields.remove(AGE);
    }
    let head = judge::Head { status: stale.status, ..fetched.head() };
    let judge = Judge::of(worker, request, plan, permit.began());
    // A cookie is for the client whose request the 304 answers, and for nobody after it.
    let cookies =
        update.contains_key(SET_COOKIE).then(|| cookies(&judge, head, &fields, &update)).transpose()?;
    let mut is_stored = true;
    let mut answer = match judge.whole(head, fields.clone()) {
        Ok(judged) => {
            let Judged { mut stored, key, sighted, .. } = learnt(worker, request, judged);
            stored.body = stale.body.clone();
            let stored = Arc::new(stored);
            share(permit, plan, &stored, &key, sighted.as_of);
            worker.proxy.memory.insert(&key, Arc::clone(&stored), &worker.proxy.invalidations);
            stored
        }
        // It held for this request, with what was said to it; for others it is not to be kept so.
        Err(NotKept { failed: Some(error), .. }) => return Err(*error),
        Err(why) => {
            let again = why.lacking.as_deref().and_then(|lacking| better(worker, permit, lacking));
            if let Some(min_version) = again.filter(|_| permit.may_store) {
                return Ok(End::Again(min_version));
            }
            if !why.lies_in_the_request && !why.is_fault {
                worker.proxy.memory.remove(&plan.key, stale);
            }
            is_stored = false;
            Arc::new(judge.for_one(head, fields, why.changed.map(|changed| *changed), stale.body.clone()))
        }
    };
    if let Some(cookies) = cookies {
        let mut for_client = answer.with_body(answer.body.clone());
        for_client.fields.remove(SET_COOKIE);
        for cookie in cookies {
            for_client.fields.append(SET_COOKIE, cookie);
        }
        answer = Arc::new(for_client);
    }
    let reused = reused(worker, plan, &answer, Outcome::Validated, permit.why);
    Ok(End::Answered(Delivery::Reused(Reusable { is_stored, ..reused })))
}

/// The cookies of a 304, as far as policies leave them to the client.
fn cookies(
    judge: &Judge<'_>,
    head: judge::Head,
    fields: &HeaderMap,
    update: &HeaderMap,
) -> Result<Vec<HeaderValue>, Error> {
    let mut fields = fields.clone();
    fields.remove(SET_COOKIE);
    for cookie in update.get_all(SET_COOKIE) {
        fields.append(SET_COOKIE, cookie.clone());
    }
    let NotKept { changed, failed, .. } = judge.passed_on(head, &fields);
    match failed {
        Some(error) => Err(*error),
        None => Ok(changed.as_deref().unwrap_or(&fields).get_all(SET_COOKIE).iter().cloned().collect()),
    }
}
