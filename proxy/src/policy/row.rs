//! Asks the policies of a route about a request, one after the other, and applies what each changes before the next is asked.
//!
//! What comes of it is a [`Row`]: what each said, and what it saw, as far as a later one has changed that. Must not know
//! how a response is judged: that is `policy/response.rs`.

use std::rc::Rc;

use caching::{
    key::{CHOSEN_QUERY, KeyWriter},
    query::{Keep, selected},
};
use http::HeaderName;
use plugin_host::{
    Answer, Fault, FaultKind, Forward, Inputs, Permission, QueryChange, RequestDecision, RequestView, Values,
};
use sha2::{Digest as _, Sha256};

use super::{
    asking::{Unasked, faulted, is_in, may_ask, succeeded},
    trace::{Asked, Came, Trace},
};
use crate::{
    config::{Captures, OnFault},
    error::Error,
    live::Link,
    request::Request,
    route::Routed,
    worker::Worker,
};

/// All key parts of a row of policies: each stored response has its key beside it.
const MAX_PARTS_BYTES: usize = 32 * 1024;

/// What a client is told whose request a policy cannot be asked about.
const NOT_TEXT: &str = "a field that this route goes by is not text, or a cookie is there twice";

/// How asking a row of policies ended.
pub(super) enum Asking {
    Answer(Answer),
    GoOn(Row),
}

/// What a row of policies made of a request.
#[derive(Default)]
pub struct Row {
    /// What the first one said that said anything; in most rows it is the only one.
    first: Option<Said>,
    more: Vec<Said>,
    /// Which policy was the first to send the request past the cache.
    passed_at: Option<usize>,
    upstream: Option<usize>,
    /// Whether one of them wanted something done to the query, even if there was nothing to do.
    changes_query: bool,
    /// Fields that were set, whatever became of them later.
    set_fields: Vec<HeaderName>,
    /// What each of them saw, if one of them has changed the request since.
    seen: Option<Vec<Seen>>,
    /// When the request was asked about, if a policy wants to know.
    time_s: u64,
}

struct Said {
    /// Its place in the row.
    at: usize,
    what: What,
}

enum What {
    Decided(Rc<RequestDecision>),
    /// It failed, and the request goes on as if it were not there.
    Missing,
}

/// Values of a request, kept. `None`: one of them is no text.
type Seen = Option<Vec<Option<Box<str>>>>;

/// Asks one after the other. Costs nothing on a route without policies.
pub(super) fn ask(
    worker: &Worker,
    request: &mut Request,
    routed: &Routed,
    trace: Option<&Trace>,
) -> Result<Asking, Error> {
    let chain = routed.chain();
    let mut row = Row::default();
    if chain.links.iter().any(|link| link.live.policy.inputs().time) {
        row.time_s = worker.proxy.clock.now().as_s();
    }
    for (at, link) in chain.links.iter().enumerate() {
        if row.seen.is_some() {
            let seen = row.now_seen(request, routed, at, link);
            row.seen.get_or_insert_default().push(seen);
        }
        if !link.live.policy.decides_requests() {
            continue;
        }
        let came = row.decision(worker, request, routed, at, link);
        if let Some(trace) = trace {
            let seen = row.now_seen(request, routed, at, link);
            trace.borrow_mut().push(Asked::about_request(link, seen.as_deref(), Came::of(&came, link)));
        }
        match came {
            Ok(decision) => {
                let forward = match &*decision {
                    RequestDecision::Answer(answer) => return Ok(Asking::Answer(answer.clone())),
                    RequestDecision::LookUp(look_up) => &look_up.forward,
                    RequestDecision::Pass(pass) => {
                        tracing::debug!(policy.name = &**link.live.policy.label(), "pass: {}", pass.reason);
                        row.pass(at);
                        &pass.forward
                    }
                };
                if !forward.is_unchanged() {
                    row.apply(request, routed, at, forward);
                }
                row.say(at, What::Decided(decision));
            }
            // What cannot be told apart as text must not share a key; nor may it get past a policy that must not fail.
            Err(Unasked::NotText) => match link.on_fault {
                OnFault::Pass | OnFault::Default => row.pass(at),
                OnFault::Fail => return Err(Error::HttpRequestError(NOT_TEXT)),
            },
            Err(Unasked::Out | Unasked::Fault(_)) => match link.on_fault {
                OnFault::Pass => row.pass(at),
                OnFault::Fail => return Err(Error::PolicyFailed(link.live.policy.label().clone())),
                OnFault::Default => row.say(at, What::Missing),
            },
        }
    }
    Ok(Asking::GoOn(row))
}

impl Row {
    /// Whether the request goes past the cache.
    pub(super) fn passes(&self) -> bool {
        self.passed_at.is_some()
    }

    /// Whether a policy has set this field of the request.
    pub(super) fn has_set(&self, name: &HeaderName) -> bool {
        self.set_fields.contains(name)
    }

    /// The upstream that was chosen, if one was.
    pub(super) fn upstream(&self) -> Option<usize> {
        self.upstream
    }

    /// The tags that whatever is stored for this request carries.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.said().filter_map(Said::look_up).flat_map(|look_up| &look_up.tags).map(|tag| &**tag)
    }

    /// What tells this request apart. Each policy's parts stand behind its name and their number, so that no choice of
    /// parts by one policy is that of another; and nothing is a name that configuration has (`write_configured_parts`),
    /// since none of those holds a blank.
    pub(super) fn write_parts(&self, request: &Request, routed: &Routed, key: &mut KeyWriter<'_>) {
        for said in self.said() {
            let marker = &routed.chain().links[said.at].marker;
            match (&said.what, said.look_up()) {
                // What is fetched as if a policy were not there must not be taken for what it had a say in.
                (What::Missing, _) => {
                    key.part_by(|part| part.extend([marker.as_bytes(), b" failed"].concat()))
                }
                (What::Decided(_), Some(look_up)) if !look_up.key_parts.is_empty() => {
                    key.part_by(|part| {
                        part.extend_from_slice(marker.as_bytes());
                        part.push(b' ');
                        part.extend_from_slice(
                            itoa::Buffer::new().format(look_up.key_parts.len()).as_bytes(),
                        );
                    });
                    look_up.key_parts.iter().for_each(|text| key.part(text.as_bytes()));
                }
                (What::Decided(_), _) => (),
            }
        }
        if let Some(upstream) = self.upstream {
            key.part(b" upstream");
            key.part(routed.view.live.config.upstreams[upstream].name.as_str().as_bytes());
        }
        if self.changes_query {
            key.part(CHOSEN_QUERY);
        }
        if !self.set_fields.is_empty() {
            key.part(b" fields");
            key.part(&self.digest_of_set_fields(request));
        }
    }

    /// Calls `with` with what the policy at this place saw, or `None` if one of the values is no text.
    pub(super) fn with_values<R>(
        &self,
        request: &Request,
        routed: &Routed,
        at: usize,
        link: &Link,
        with: impl FnOnce(Option<&[Option<&str>]>) -> R,
    ) -> R {
        if let Some(seen) = &self.seen {
            let values = seen.get(at).and_then(Option::as_ref);
            let values: Option<Vec<Option<&str>>> =
                values.map(|values| values.iter().map(Option::as_deref).collect());
            return with(values.as_deref());
        }
        match self.values(request, routed, at, link.live.policy.inputs()) {
            Some(values) => with(Some(&values.as_slices())),
            None => with(None),
        }
    }

    fn said(&self) -> impl Iterator<Item = &Said> {
        self.first.iter().chain(&self.more)
    }

    fn say(&mut self, at: usize, what: What) {
        match self.first {
            None => self.first = Some(Said { at, what }),
            Some(_) => self.more.push(Said { at, what }),
        }
    }

    fn pass(&mut self, at: usize) {
        self.passed_at.get_or_insert(at);
    }

    fn values<'r>(
        &self,
        request: &'r Request,
        routed: &'r Routed,
        at: usize,
        inputs: &Inputs,
    ) -> Option<Values<'r>> {
        let captures = captures(request, routed, inputs);
        Values::of_request(inputs, &self.view(request, at, inputs), |name| captures.as_ref()?.get(name))
    }

    /// Without what the policy does not read.
    fn view<'r>(&self, request: &'r Request, at: usize, inputs: &Inputs) -> RequestView<'r> {
        let has_passed = self.passed_at.is_some_and(|passed_at| passed_at < at);
        let reads_query = inputs.query || !inputs.query_parameters.is_empty();
        RequestView {
            method: &request.method,
            host: if inputs.host { request.target.host() } else { "" },
            path: if inputs.path { request.target.path() } else { "" },
            query: if reads_query { request.target.query() } else { None },
            fields: &request.fields,
            time_s: self.time_s,
            decided: if has_passed { "pass" } else { "look-up" },
        }
    }

    fn now_seen(&self, request: &Request, routed: &Routed, at: usize, link: &Link) -> Seen {
        let values = self.values(request, routed, at, link.live.policy.inputs())?;
        Some(values.as_slices().iter().map(|value| value.map(Box::from)).collect())
    }

    fn decision(
        &self,
        worker: &Worker,
        request: &Request,
        routed: &Routed,
        at: usize,
        link: &Link,
    ) -> Result<Rc<RequestDecision>, Unasked> {
        let policy = &link.live.policy;
        let mut permission = Permission::Granted;
        if !is_in(worker, link) {
            // What it cannot be asked about is no trial.
            self.values(request, routed, at, policy.inputs()).ok_or(Unasked::NotText)?;
            permission = may_ask(worker, routed, at, link);
        }
        let mut instances = worker.instances.borrow_mut();
        let known = match permission {
            Permission::Refused => return Err(Unasked::Out),
            Permission::Trial => None,
            Permission::Granted => instances.recall_request(policy, |buffer| {
                let (inputs, captures) = (policy.inputs(), captures(request, routed, policy.inputs()));
                let view = self.view(request, at, inputs);
                inputs.write_request(&view, |name| captures.as_ref()?.get(name), buffer)
            }),
        };
        let is_remembered = known.is_some();
        let decided = match known {
            Some(decision) => Ok(decision),
            None => {
                let values = self.values(request, routed, at, policy.inputs()).ok_or(Unasked::NotText)?;
                match permission {
                    Permission::Trial => instances.call_on_request(policy, &values.as_slices()),
                    Permission::Granted | Permission::Refused => {
                        instances.on_request(policy, &values.as_slices())
                    }
                }
            }
        };
        drop(instances);
        routed.policy_metrics(at).decided(is_remembered);
        decided.and_then(|decision| self.allowed(decision, routed, link)).map_or_else(
            |fault| Err(Unasked::Fault(faulted(worker, routed, at, link, permission, fault))),
            |decision| {
                succeeded(worker, link, permission);
                Ok(decision)
            },
        )
    }

    /// What a policy cannot know: which upstreams its route offers, and how much the others have said.
    fn allowed(
        &self,
        decision: Rc<RequestDecision>,
        routed: &Routed,
        link: &Link,
    ) -> Result<Rc<RequestDecision>, Fault> {
        let refused = |detail: String| {
            Err(Fault { policy: link.live.policy.label().clone(), kind: FaultKind::Refused, detail })
        };
        let forward = match &*decision {
            RequestDecision::Answer(_) => return Ok(decision),
            RequestDecision::LookUp(look_up) => &look_up.forward,
            RequestDecision::Pass(pass) => &pass.forward,
        };
        if let Some(name) = &forward.upstream
            && routed.offered_upstream(name).is_none()
        {
            let route = routed.route().name.as_str();
            return refused(format!(
                "chose upstream {name:?}, which route {route:?} does not offer; list it under `upstreams`"
            ));
        }
        // One alone is bounded by the host.
        if self.first.is_some() {
            let others: usize = self.said().filter_map(Said::look_up).map(parts_bytes).sum();
            let own =
                if let RequestDecision::LookUp(look_up) = &*decision { parts_bytes(look_up) } else { 0 };
            if own > 0 && others + own > MAX_PARTS_BYTES {
                return refused(format!(
                    "with those of the policies before it, its key parts have {} bytes; at most {MAX_PARTS_BYTES}",
                    others + own
                ));
            }
        }
        Ok(decision)
    }

    fn apply(&mut self, request: &mut Request, routed: &Routed, at: usize, forward: &Forward) {
        let Forward { upstream, query, fields } = forward;
        let changes_values = *query != QueryChange::Unchanged || !fields.is_empty();
        if changes_values && self.seen.is_none() {
            // Up to here they have all seen the request as it came.
            let links = routed.chain().links.iter().enumerate().take(at + 1);
            self.seen = Some(links.map(|(at, link)| self.now_seen(request, routed, at, link)).collect());
        }
        if let Some(name) = upstream {
            self.upstream = routed.offered_upstream(name);
        }
        match query {
            QueryChange::Unchanged => (),
            QueryChange::Only(names) => self.change_query(request, Keep::Named, names),
            QueryChange::Without(names) => self.change_query(request, Keep::Others, names),
        }
        for name in &fields.remove {
            request.fields.remove(name);
        }
        for (name, value) in &fields.set {
            request.fields.insert(name.clone(), value.clone());
            if !self.set_fields.contains(name) {
                self.set_fields.push(name.clone());
            }
        }
    }

    fn change_query(&mut self, request: &mut Request, keep: Keep, names: &[Box<str>]) {
        self.changes_query = true;
        let changed = request.target.query().and_then(|query| selected(query, keep, names));
        request.change_query(changed.as_deref());
    }

    /// Of the values that they have in the end. A digest: among them may be what only the upstream is to know.
    fn digest_of_set_fields(&self, request: &Request) -> [u8; 32] {
        let mut names: Vec<&HeaderName> = self.set_fields.iter().collect();
        names.sort_unstable_by_key(|name| name.as_str());
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        for name in names {
            let lines = request.fields.get_all(name);
            part(name.as_str().as_bytes());
            part(&lines.iter().count().to_le_bytes());
            lines.iter().for_each(|line| part(line.as_bytes()));
        }
        digest.finalize().into()
    }
}

fn captures<'r>(request: &'r Request, routed: &'r Routed, inputs: &Inputs) -> Option<Captures<'r>> {
    if inputs.captures.is_empty() { None } else { routed.captures(request) }
}

impl Said {
    fn look_up(&self) -> Option<&plugin_host::LookUp> {
        match &self.what {
            What::Decided(decision) => match &**decision {
                RequestDecision::LookUp(look_up) => Some(look_up),
                RequestDecision::Pass(_) | RequestDecision::Answer(_) => None,
            },
            What::Missing => None,
        }
    }
}

fn parts_bytes(look_up: &plugin_host::LookUp) -> usize {
    look_up.key_parts.iter().map(|part| part.len()).sum()
}
