//! What of a response would be stored, or why nothing of it: the veto of the rules, the policy's choice, the tags.
//!
//! Must not know how a body arrives, nor who waits for it. Next: `store/receive.rs`.

use std::{borrow::Cow, sync::Arc, time::Duration};

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
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{AGE, DATE, VARY},
};

use crate::{
    deliver::{self, CACHE_STATUS},
    error::Error,
    feed::{self, LARDER_VERSION, Sight, Sighted, Sighting},
    fetch::Fetched,
    invalidations::{Cell, Clearance, Sequence, Subject},
    memory::{Stored, StoredBody},
    pieces::Pieces,
    policy::{
        Plan,
        response::{self, Refusal, Said},
        trace::Trace,
    },
    request::Request,
    worker::Worker,
};

/// Why a response is not kept, and what is passed on of it all the same.
#[derive(Debug, Default)]
pub struct NotKept {
    /// The `detail` of `Cache-Status`.
    pub reason: &'static str,
    /// The next request may well bring something to keep.
    pub lies_in_the_request: bool,
    /// A policy failed, which says nothing against what is stored.
    pub is_fault: bool,
    /// How long a policy wants it remembered that there is nothing to share.
    pub hit_for_miss: Option<Duration>,
    /// Its fields, if a policy has changed any.
    pub changed: Option<Box<HeaderMap>>,
    /// A policy failed, and its route has it that nothing is passed on then.
    pub failed: Option<Box<Error>>,
    /// As it would have been stored, if all that speaks against it is what the change feed has told.
    pub lacking: Option<Box<Judged>>,
}

impl NotKept {
    fn because(reason: &'static str, lies_in_the_request: bool) -> NotKept {
        NotKept { reason, lies_in_the_request, ..NotKept::default() }
    }
}

impl From<&Refusal> for NotKept {
    fn from(refusal: &Refusal) -> NotKept {
        let why = NotKept::because(refusal.reason, refusal.lies_in_the_request);
        NotKept { is_fault: refusal.is_fault, ..why }
    }
}

impl From<NotStorable> for NotKept {
    fn from(why: NotStorable) -> NotKept {
        NotKept::because(why.as_str(), why.lies_in_the_request())
    }
}

fn of_response(reason: &'static str) -> NotKept {
    NotKept::because(reason, false)
}

/// What of a response besides its fields decides how it is stored.
#[derive(Clone, Copy)]
pub struct Head {
    pub status: StatusCode,
    pub request_time: Timestamp,
    pub response_time: Timestamp,
    /// What it has of the change feed, if anybody asked.
    pub sighting: Option<Sighting>,
}

impl Fetched {
    pub fn head(&self) -> Head {
        let Fetched { status, request_time, response_time, sighting, .. } = *self;
        Head { status, request_time, response_time, sighting }
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
    /// Where it is noted down what policies said, if somebody wants to know.
    pub trace: Option<&'a Trace>,
}

/// A response that may be stored, still without its body.
#[derive(Debug)]
pub struct Judged {
    pub stored: Stored,
    /// Where it belongs.
    pub key: Vec<u8>,
    pub tags: Vec<Box<[u8]>>,
    /// What it says of queries.
    pub search: Option<NoVarySearch>,
    /// Its fields with what is for this cache alone, if a policy has changed any.
    pub changed: Option<HeaderMap>,
    pub sighted: Sighted,
}

impl<'a> Judge<'a> {
    /// For the request that is fetched, as it is.
    pub fn of(worker: &'a Worker, request: &'a Request, plan: &'a Plan, filled: Sequence) -> Judge<'a> {
        let kind = RequestFacts::of(&request.method, &request.fields, request.has_body).kind;
        Judge { worker, request, plan, kind, filled, trace: None }
    }

    /// The whole response as it would be stored; or why it may not be.
    pub fn whole(&self, head: Head, fields: HeaderMap) -> Result<Judged, NotKept> {
        self.judged(head, fields, None)
    }

    /// A part of a response: `fields` are those of a 206.
    pub fn part(&self, head: Head, fields: HeaderMap, part: StoredPart) -> Result<Judged, NotKept> {
        self.judged(head, fields, Some(part))
    }

    /// One that is not kept, for a reason that has nothing to do with its fields. Policies have a say in what is passed on.
    pub fn not_kept(&self, head: Head, fields: &HeaderMap, reason: &'static str) -> NotKept {
        NotKept { reason, ..self.passed_on(head, fields) }
    }

    /// What policies make of a response that nobody thinks of keeping.
    pub fn passed_on(&self, head: Head, fields: &HeaderMap) -> NotKept {
        let mut not_kept = of_response("");
        if !self.plan.routed.chain().decides_responses {
            return not_kept;
        }
        let mut own = fields.clone();
        remove_hop_by_hop(&mut own);
        match self.ask(head, &own, &self.facts(head, &own, &self.directives(&own))) {
            Ok(Said { changed, refusal, .. }) => {
                not_kept.hit_for_miss = refusal.and_then(|refusal| refusal.hit_for_miss);
                not_kept.changed = changed.map(Box::new);
            }
            Err(error) => not_kept.failed = Some(Box::new(error)),
        }
        not_kept
    }

    /// A response that answers one request and is not stored. `changed`: its fields as policies would have them.
    pub fn for_one(
        &self,
        head: Head,
        fields: HeaderMap,
        changed: Option<HeaderMap>,
        body: StoredBody,
    ) -> Stored {
        let facts = self.facts(head, &fields, &self.directives(&fields));
        let mut fields = changed.unwrap_or(fields);
        remove_internal(&mut fields);
        ensure_date(&mut fields, head.response_time);
        Stored {
            status: head.status,
            fields: deliver::kept(&fields),
            internal: None,
            own: None,
            body,
            facts,
            selecting: SelectingFields::default(),
            filled: self.filled,
            cells: Box::default(),
            clearance: Clearance::default(),
            seen: None,
            judged_by: self.plan.routed.policy_generation(),
            is_provisional: false,
        }
    }

    fn judged(&self, head: Head, mut own: HeaderMap, part: Option<StoredPart>) -> Result<Judged, NotKept> {
        let Judge { request, plan, filled, .. } = *self;
        remove_hop_by_hop(&mut own);
        let directives = self.directives(&own);
        let mut facts = self.facts(head, &own, &directives);
        let said = match self.ask(head, &own, &facts) {
            Ok(said) => said,
            Err(error) => {
                return Err(NotKept { failed: Some(Box::new(error)), ..of_response("policy-fault") });
            }
        };
        let veto = |fields: &HeaderMap, directives: &ResponseDirectives, facts: &Facts| {
            let (of_request, rules) = (self.request_facts(), plan.rules());
            match part {
                None => storable(of_request, head.status, fields, directives, facts, &rules),
                Some(_) => storable_partial(of_request, head.status, fields, directives, facts, &rules),
            }
        };
        facts.policy = said.lifetimes;
        let (selecting, tags, cells) = match self.kept(&own, &directives, &facts, &said, veto) {
            Ok(kept) => kept,
            Err(why) => return Err(NotKept { changed: said.changed.map(Box::new), ..why }),
        };
        let depends = !tags.is_empty() || own.contains_key(LARDER_VERSION);
        let sighted = feed::sighted(plan, head.sighting, depends, &cells);
        let search = search_rule(&own);
        let key = if search.as_ref() == plan.search.as_deref() {
            plan.key.clone()
        } else {
            plan.key_under(request, search.as_ref())
        };
        // What the upstream itself said is needed again: by the next 304, and by the policies that come after these.
        let (mut fields, own) = match &said.changed {
            None => (own, None),
            Some(changed) => {
                ensure_date(&mut own, head.response_time);
                (changed.clone(), Some(Arc::new(deliver::kept(&own))))
            }
        };
        let internal = internal(&fields);
        remove_internal(&mut fields);
        ensure_date(&mut fields, head.response_time);
        let stored = Stored {
            status: head.status,
            fields: deliver::kept(&fields),
            internal,
            own,
            body: match part {
                None => StoredBody::Whole(Pieces::default()),
                Some(part) => StoredBody::Part(part, Pieces::default()),
            },
            facts,
            selecting,
            filled,
            cells,
            clearance: Clearance::default(),
            seen: sighted.seen,
            judged_by: plan.routed.policy_generation(),
            is_provisional: said.is_provisional,
        };
        let mut judged = Judged { stored, key, tags, search, changed: said.changed, sighted };
        let Some(unseen) = sighted.lacks else { return Ok(judged) };
        self.worker.proxy.feed.refused(unseen);
        let changed = judged.changed.take().map(Box::new);
        let why = NotKept::because(unseen.detail(), true);
        Err(NotKept { changed, lacking: Some(Box::new(judged)), ..why })
    }

    /// What the rules and the policies' own wishes leave of a response: by what it is selected, and how it is purged.
    fn kept(
        &self,
        own: &HeaderMap,
        directives: &ResponseDirectives,
        facts: &Facts,
        said: &Said,
        veto: impl Fn(&HeaderMap, &ResponseDirectives, &Facts) -> Result<(), NotStorable>,
    ) -> Result<(SelectingFields, Tags, Cells), NotKept> {
        if let Some(refusal) = &said.refusal {
            return Err(NotKept { hit_for_miss: refusal.hit_for_miss, ..NotKept::from(refusal) });
        }
        veto(own, directives, facts)?;
        let vary = &self.plan.routed.route().vary;
        let selecting = SelectingFields::of(&varying(own, said), &self.request.fields, vary)
            .map_err(|why| of_response(why.as_str()))?;
        let tags = self.tags(own, said)?;
        let cells = self.cells(own, &tags)?;
        if let Some(changed) = said.changed.as_ref().filter(|_| said.sets_fields) {
            // What a policy has put there may not be stored either: a cookie for everybody is still a cookie.
            veto(changed, &self.directives(changed), facts)?;
        }
        Ok((selecting, tags, cells))
    }

    /// A stored response that other policies have judged, as those of now would have it: for this request, whose
    /// values stand in for those of the one that brought it.
    pub fn again(&self, stored: &Stored) -> Result<Stored, NotKept> {
        let mut own = with_internal(stored);
        // These places are ours. An age that it came with counts from then on.
        match stored.facts.corrected_initial_age.as_s() {
            0 => drop(own.remove(AGE)),
            age_s => drop(own.insert(AGE, HeaderValue::from(age_s))),
        }
        if own.get(CACHE_STATUS).is_some_and(HeaderValue::is_empty) {
            own.remove(CACHE_STATUS);
        }
        let response_time = stored.facts.response_time;
        let head = Head { status: stored.status, request_time: response_time, response_time, sighting: None };
        let before = Facts { policy: PolicyLifetimes::default(), ..stored.facts };
        let said = match self.ask(head, &own, &before) {
            Ok(said) => said,
            Err(error) => {
                let why = of_response("policy-fault");
                return Err(NotKept { is_fault: true, failed: Some(Box::new(error)), ..why });
            }
        };
        let facts = Facts { policy: said.lifetimes, ..stored.facts };
        if let Some(refusal) = &said.refusal {
            return Err(refusal.into());
        }
        if let Some(changed) = said.changed.as_ref().filter(|_| said.sets_fields) {
            // What the request that brought it had in another field is not known any more.
            let vary = &self.plan.routed.route().vary;
            let selecting = SelectingFields::of(changed, &self.request.fields, vary)
                .map_err(|why| of_response(why.as_str()))?;
            if !stored.selecting.covers(&selecting) {
                return Err(of_response("vary"));
            }
            // It was storable as it came, whoever asked for it. What is put there now has to be so for anybody.
            let anybody = RequestFacts::of(&Method::GET, &HeaderMap::new(), false);
            let (directives, rules) = (self.directives(changed), self.plan.rules());
            match stored.body {
                StoredBody::Part(..) => {
                    storable_partial(anybody, stored.status, changed, &directives, &facts, &rules)?;
                }
                StoredBody::Whole(_) | StoredBody::Arriving(_) => {
                    storable(anybody, stored.status, changed, &directives, &facts, &rules)?;
                }
            }
        }
        let tags = self.tags(&own, &said)?;
        let cells = self.cells(&own, &tags)?;
        let mut fields = said.changed.clone().unwrap_or_else(|| own.clone());
        let internal = internal(&fields);
        remove_internal(&mut fields);
        Ok(Stored {
            fields: deliver::kept(&fields),
            internal,
            own: said.changed.is_some().then(|| match &stored.own {
                Some(own) => Arc::clone(own),
                None => Arc::new(deliver::kept(&own)),
            }),
            facts,
            cells,
            clearance: stored.clearance.copied(),
            // Of one that had no tag before nobody knows what it has seen.
            seen: stored.seen.or_else(|| (!tags.is_empty()).then_some(Sight::NONE)),
            judged_by: self.plan.routed.policy_generation(),
            is_provisional: said.is_provisional,
            ..stored.with_body(stored.body.clone())
        })
    }

    fn ask(&self, head: Head, own: &HeaderMap, facts: &Facts) -> Result<Said, Error> {
        let Judge { worker, request, plan, trace, .. } = *self;
        response::ask(worker, request, plan, head.status, own, facts, trace)
    }

    fn request_facts(&self) -> RequestFacts {
        let Judge { request, kind, .. } = *self;
        RequestFacts { kind, ..RequestFacts::of(&request.method, &request.fields, request.has_body) }
    }

    fn facts(&self, head: Head, fields: &HeaderMap, directives: &ResponseDirectives) -> Facts {
        let Head { status, request_time, response_time, .. } = head;
        Facts::of(self.request_facts(), status, fields, directives, request_time, response_time)
    }

    fn directives(&self, fields: &HeaderMap) -> ResponseDirectives {
        targeted::directives(fields, &self.plan.routed.view.live.config.cache.targets)
    }

    /// All tags: the upstream's, the route's, and the policy's.
    fn tags(&self, fields: &HeaderMap, said: &Said) -> Result<Tags, TooMany> {
        let Judge { request, plan, .. } = *self;
        let mut tags = Tags::new();
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
        let of_policies = plan.row.tags().chain(said.tags.iter().map(|tag| &**tag));
        tags.extend(of_policies.map(|tag| tag.as_bytes().into()));
        if tags.len() > MAX_TAGS || !tags.iter().all(|tag| is_tag(tag)) {
            return Err(TooMany);
        }
        Ok(tags)
    }

    /// The cells of the tags that a response has whatever policies say of it; `None`: more than there may be.
    pub fn known_cells(&self, fields: &HeaderMap) -> Option<Cells> {
        let tags = self.tags(fields, &Said::default()).ok()?;
        let invalidations = &self.worker.proxy.invalidations;
        Some(tags.iter().map(|tag| invalidations.cell(Subject::Tag(tag))).collect())
    }

    /// The cells of the URL, of these tags, and of all groups.
    fn cells(&self, fields: &HeaderMap, tags: &[Box<[u8]>]) -> Result<Cells, TooMany> {
        let Judge { worker, request, .. } = *self;
        let invalidations = &worker.proxy.invalidations;
        let (host, target) = (request.target.host(), request.target.path_and_query().as_str());
        let mut cells = vec![invalidations.cell(Subject::Url { host, target })];
        cells.extend(tags.iter().map(|tag| invalidations.cell(Subject::Tag(tag))));
        groups::groups(fields, |name| {
            cells.push(invalidations.cell(Subject::Group { host, name: name.as_bytes() }));
        })
        .map_err(|_| TooMany)?;
        // A purge of any URL that is answered by the same response reaches it: by the rule of its upstream, or of a policy.
        if search_rule(fields).is_some() || request.as_written.is_some() {
            cells.push(invalidations.cell(Subject::Searched { host, path: request.target.path() }));
        }
        Ok(cells.into())
    }
}

/// What a response varies on: by its upstream's word, and by that of policies.
fn varying<'f>(own: &'f HeaderMap, said: &Said) -> Cow<'f, HeaderMap> {
    let Some(changed) = said.changed.as_ref().filter(|_| said.sets_fields) else { return Cow::Borrowed(own) };
    let mut both = HeaderMap::new();
    for line in own.get_all(VARY).iter().chain(changed.get_all(VARY)) {
        both.append(VARY, line.clone());
    }
    Cow::Owned(both)
}

type Tags = Vec<Box<[u8]>>;
type Cells = Box<[Arc<Cell>]>;

/// The fields of a stored response as its upstream sent them, with what clients do not get: what is not named again by a
/// later answer still holds.
pub fn with_internal(stored: &Stored) -> HeaderMap {
    if let Some(own) = &stored.own {
        return HeaderMap::clone(own);
    }
    let mut fields = stored.fields.clone();
    for (name, value) in stored.internal.iter().flat_map(|internal| internal.iter()) {
        fields.append(name.clone(), value.clone());
    }
    fields
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
        let received = std::time::UNIX_EPOCH + Duration::from_secs(response_time.as_s());
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
