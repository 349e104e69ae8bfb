//! What of a response would be stored, or why nothing of it: the veto of the rules, the policy's choice, the tags.
//!
//! Must not know how a body arrives, nor who waits for it. Next: `store/receive.rs`.

use std::sync::Arc;

use caching::{
    directives::ResponseDirectives,
    fields::{is_internal, remove_hop_by_hop, remove_internal},
    freshness::{Facts, PolicyLifetimes},
    groups,
    no_vary_search::NoVarySearch,
    partial::StoredPart,
    storable::{NotStorable, RequestFacts, RequestKind, storable, storable_partial},
    tags::{MAX_TAGS, is_tag, upstream_tags},
    targeted,
    time::Timestamp,
    vary::SelectingFields,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, DATE},
};
use plugin_host::StoreDecision;

use crate::{
    deliver,
    fetch::Fetched,
    invalidations::{Cell, Clearance, Sequence, Subject},
    memory::{Stored, StoredBody},
    pieces::Pieces,
    policy::{self, Plan},
    request::Request,
    worker::Worker,
};

/// Why a response is not kept.
#[derive(Debug)]
pub struct NotKept {
    /// The `detail` of `Cache-Status`.
    pub reason: &'static str,
    /// The next request may well bring something to keep.
    pub lies_in_the_request: bool,
}

impl From<NotStorable> for NotKept {
    fn from(why: NotStorable) -> NotKept {
        NotKept { reason: why.as_str(), lies_in_the_request: why.lies_in_the_request() }
    }
}

fn of_response(reason: &'static str) -> NotKept {
    NotKept { reason, lies_in_the_request: false }
}

/// What of a response besides its fields decides how it is stored.
#[derive(Clone, Copy)]
pub struct Head {
    pub status: StatusCode,
    pub request_time: Timestamp,
    pub response_time: Timestamp,
}

impl Fetched {
    pub fn head(&self) -> Head {
        Head { status: self.status, request_time: self.request_time, response_time: self.response_time }
    }
}

/// For which request a response is judged.
pub struct Judge<'a> {
    pub worker: &'a Worker,
    pub request: &'a Request,
    pub plan: &'a Plan,
    /// What the response is for later requests.
    pub kind: RequestKind,
    /// When the fetch that brought it began.
    pub filled: Sequence,
}

/// A response that may be stored, still without its body.
pub struct Judged {
    pub stored: Stored,
    /// Where it belongs.
    pub key: Vec<u8>,
    pub tags: Vec<Box<[u8]>>,
    /// What it says of queries.
    pub search: Option<NoVarySearch>,
}

impl<'a> Judge<'a> {
    /// For the request that is fetched, as it is.
    pub fn of(worker: &'a Worker, request: &'a Request, plan: &'a Plan, filled: Sequence) -> Judge<'a> {
        let kind = RequestFacts::of(&request.method, &request.fields, request.has_body).kind;
        Judge { worker, request, plan, kind, filled }
    }

    /// The whole response as it would be stored; or why it may not be.
    pub fn whole(&self, head: Head, fields: HeaderMap) -> Result<Judged, NotKept> {
        self.judged(head, fields, None)
    }

    /// A part of a response: `fields` are those of a 206.
    pub fn part(&self, head: Head, fields: HeaderMap, part: StoredPart) -> Result<Judged, NotKept> {
        self.judged(head, fields, Some(part))
    }

    /// A response that answers one request and is not stored: nothing is asked of it.
    pub fn for_one(&self, head: Head, mut fields: HeaderMap, body: StoredBody) -> Stored {
        let Head { status, request_time, response_time } = head;
        let of_request = RequestFacts::of(&self.request.method, &self.request.fields, self.request.has_body);
        let directives = self.directives(&fields);
        let facts = Facts::of(of_request, status, &fields, &directives, request_time, response_time);
        remove_internal(&mut fields);
        ensure_date(&mut fields, response_time);
        Stored {
            status,
            fields: deliver::kept(&fields),
            internal: None,
            body,
            facts,
            selecting: SelectingFields::default(),
            filled: self.filled,
            cells: Box::default(),
            clearance: Clearance::default(),
            judged_by: self.plan.routed.policy_generation(),
        }
    }

    fn judged(&self, head: Head, mut fields: HeaderMap, part: Option<StoredPart>) -> Result<Judged, NotKept> {
        let Judge { worker, request, plan, kind, filled } = *self;
        let Head { status, request_time, response_time } = head;
        remove_hop_by_hop(&mut fields);
        let directives = self.directives(&fields);
        let of_request =
            RequestFacts { kind, ..RequestFacts::of(&request.method, &request.fields, request.has_body) };
        let mut facts = Facts::of(of_request, status, &fields, &directives, request_time, response_time);
        let decision = policy::judge_response(worker, request, plan, status.as_u16(), &fields)
            .map_err(|reason| NotKept { reason, lies_in_the_request: reason == policy::BAD_INPUT })?;
        facts.policy = PolicyLifetimes {
            ttl: decision.ttl,
            stale_while_revalidate: decision.stale_while_revalidate,
            stale_if_error: decision.stale_if_error,
        };
        let rules = plan.rules();
        let veto = |fields: &HeaderMap, directives: &ResponseDirectives| match part {
            None => storable(of_request, status, fields, directives, &facts, &rules),
            Some(_) => storable_partial(of_request, status, fields, directives, &facts, &rules),
        };
        veto(&fields, &directives)?;
        let vary = &plan.routed.route().vary;
        let selecting =
            SelectingFields::of(&fields, &request.fields, vary).map_err(|why| of_response(why.as_str()))?;
        let tags = self.tags(&fields, &decision)?;
        let cells = self.cells(&fields, &tags)?;
        let search = search_rule(&fields);
        apply(&decision, &mut fields);
        if !decision.set_fields.is_empty() {
            // What a policy has put there may not be stored either: a cookie for everybody is still a cookie.
            veto(&fields, &self.directives(&fields))?;
        }
        let internal = internal(&fields);
        remove_internal(&mut fields);
        ensure_date(&mut fields, response_time);
        let key = if search.as_ref() == plan.search.as_deref() {
            plan.key.clone()
        } else {
            plan.key_under(request, search.as_ref())
        };
        let stored = Stored {
            status,
            fields: deliver::kept(&fields),
            internal,
            body: match part {
                None => StoredBody::Whole(Pieces::default()),
                Some(part) => StoredBody::Part(part, Pieces::default()),
            },
            facts,
            selecting,
            filled,
            cells,
            clearance: Clearance::default(),
            judged_by: plan.routed.policy_generation(),
        };
        Ok(Judged { stored, key, tags, search })
    }

    fn directives(&self, fields: &HeaderMap) -> ResponseDirectives {
        targeted::directives(fields, &self.plan.routed.view.live.config.cache.targets)
    }

    /// All tags: the upstream's, the route's, and the policy's.
    fn tags(&self, fields: &HeaderMap, decision: &StoreDecision) -> Result<Vec<Box<[u8]>>, TooMany> {
        let Judge { request, plan, .. } = *self;
        let mut tags: Vec<Box<[u8]>> = Vec::new();
        upstream_tags(fields, |tag| tags.push(tag.into())).map_err(|_| TooMany)?;
        if let Some(captures) = plan.routed.captures(request) {
            for template in &plan.routed.route().tags {
                let mut tag = String::new();
                if !template.render(&captures, &mut tag) {
                    return Err(TooMany);
                }
                tags.push(tag.into_bytes().into());
            }
        }
        tags.extend(plan.tags.iter().chain(&decision.tags).map(|tag| tag.as_bytes().into()));
        if tags.len() > MAX_TAGS || !tags.iter().all(|tag| is_tag(tag)) {
            return Err(TooMany);
        }
        Ok(tags)
    }

    /// The cells of the URL, of these tags, and of all groups.
    fn cells(&self, fields: &HeaderMap, tags: &[Box<[u8]>]) -> Result<Box<[Arc<Cell>]>, TooMany> {
        let Judge { worker, request, .. } = *self;
        let invalidations = &worker.proxy.invalidations;
        let (host, target) = (request.target.host(), request.target.path_and_query().as_str());
        let mut cells = vec![invalidations.cell(Subject::Url { host, target })];
        cells.extend(tags.iter().map(|tag| invalidations.cell(Subject::Tag(tag))));
        groups::groups(fields, |name| {
            cells.push(invalidations.cell(Subject::Group { host, name: name.as_bytes() }));
        })
        .map_err(|_| TooMany)?;
        // A purge of any URL that is answered by the same response reaches it.
        if search_rule(fields).is_some() {
            cells.push(invalidations.cell(Subject::Searched { host, path: request.target.path() }));
        }
        Ok(cells.into())
    }
}

/// More tags or groups than are kept, or one that is none.
struct TooMany;

impl From<TooMany> for NotKept {
    fn from(_: TooMany) -> NotKept {
        of_response("tags")
    }
}

/// What a response says of queries. A rule that is larger than one that a person writes is none.
fn search_rule(fields: &HeaderMap) -> Option<NoVarySearch> {
    const MAX_RULE_BYTES: usize = 1024;
    NoVarySearch::of(fields).filter(|rule| rule.size_bytes() <= MAX_RULE_BYTES)
}

/// What no client gets to see and a later validation has to: directives for this cache, tags, stamps.
fn internal(fields: &HeaderMap) -> Option<Box<HeaderMap>> {
    let mut internal = HeaderMap::new();
    for (name, value) in fields.iter().filter(|(name, _)| is_internal(name)) {
        internal.append(name.clone(), value.clone());
    }
    (!internal.is_empty()).then(|| Box::new(internal))
}

fn ensure_date(fields: &mut HeaderMap, response_time: Timestamp) {
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

/// The same for the fields of a 304, whose `Date` takes the place of the stored one.
pub fn with_date(mut update: HeaderMap, response_time: Timestamp) -> HeaderMap {
    ensure_date(&mut update, response_time);
    update
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
