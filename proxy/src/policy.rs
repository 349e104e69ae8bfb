//! What the route and its policy make of a request: answer now, go past the cache, or a plan with a cache key.

use std::{borrow::Cow, sync::atomic::Ordering};

use caching::{
    freshness::Rules,
    key::{KeyWriter, MethodClass},
};
use http::{
    HeaderMap, HeaderName, Method,
    header::{COOKIE, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE},
};
use plugin_host::{Inputs, RequestDecision, ResponseDecision, StoreDecision};

use crate::{
    config::OnFault, error::Error, observe::Forward, request::Request, route::Routed, worker::Worker,
};

/// What is to be done with a request.
pub enum Ruling {
    Answer(RequestDecision),
    Proceed(Plan),
}

/// How a request is looked up, fetched and stored.
pub struct Plan {
    pub routed: Routed,
    pub key: Vec<u8>,
    pub cache: CacheUse,
    /// From the policy.
    pub tags: Vec<Box<str>>,
}

/// Whether the cache has a part in this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheUse {
    Use,
    /// May be answered from what is stored, but what it fetches is not stored.
    LookUpOnly,
    No(Forward),
}

impl Plan {
    pub fn may_look_up(&self) -> bool {
        matches!(self.cache, CacheUse::Use | CacheUse::LookUpOnly)
    }

    pub fn rules(&self) -> Rules {
        let cache = &self.routed.route().cache;
        Rules {
            ttl: cache.ttl,
            default_ttl: cache.default_ttl,
            min_ttl: cache.min_ttl,
            max_ttl: cache.max_ttl,
            stale_while_revalidate: cache.stale_while_revalidate,
            stale_if_error: cache.stale_if_error,
        }
    }
}

/// Asks the route's policy, if there is one, and writes the cache key.
pub fn decide(worker: &Worker, request: &Request, routed: Routed) -> Result<Ruling, Error> {
    let mut cache = cache_use(request, &routed);
    let mut buffer = worker.take_key_buffer();
    let mut key = KeyWriter::begin(
        &mut buffer,
        MethodClass::Get,
        request.target.host(),
        request.target.path_and_query().as_str(),
    );
    let mut tags = Vec::new();
    match ask_about_request(worker, request, &routed)? {
        None => (),
        Some(RequestDecision::LookUp { key_parts, tags: named }) => {
            key_parts.iter().for_each(|part| key.part(part.as_bytes()));
            tags = named;
        }
        Some(RequestDecision::Pass { .. }) => cache = CacheUse::No(Forward::Bypass),
        Some(answer @ RequestDecision::Answer { .. }) => return Ok(Ruling::Answer(answer)),
    }
    Ok(Ruling::Proceed(Plan { routed, key: buffer, cache, tags }))
}

fn cache_use(request: &Request, routed: &Routed) -> CacheUse {
    if !routed.route().cache.enabled || request.has_body {
        return CacheUse::No(if request.method.is_safe() { Forward::Bypass } else { Forward::Method });
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.2
    //# In summary, the If-Match and If-Unmodified-
    //# Since conditional header fields are not applicable to a cache, and
    //# If-None-Match takes precedence over If-Modified-Since.
    if request.fields.contains_key(IF_MATCH) || request.fields.contains_key(IF_UNMODIFIED_SINCE) {
        return CacheUse::No(if request.method.is_safe() { Forward::Bypass } else { Forward::Method });
    }
    if request.method == Method::GET {
        // A range that is not stored is fetched as a range, and a part is not stored. What a client wants nobody to
        // store is fetched for that client alone.
        let is_for_one = request.fields.contains_key(RANGE) || request.directives().no_store;
        if is_for_one { CacheUse::LookUpOnly } else { CacheUse::Use }
    } else if request.method == Method::HEAD {
        CacheUse::LookUpOnly
    } else {
        CacheUse::No(Forward::Method)
    }
}

/// `None`: the route has no policy for requests.
fn ask_about_request(
    worker: &Worker,
    request: &Request,
    routed: &Routed,
) -> Result<Option<RequestDecision>, Error> {
    let Some(live) = routed.policy().filter(|live| live.policy.decides_requests()) else { return Ok(None) };
    routed.metrics().policy_calls.fetch_add(1, Ordering::Relaxed);
    let Some(values) = Values::of_request(worker, request, routed, live.policy.inputs()) else {
        // What cannot be told apart as text must not share a key.
        return Ok(Some(RequestDecision::Pass { reason: "an input is not text".into() }));
    };
    match worker.instances.borrow_mut().on_request(&live.policy, &values.as_slices()) {
        Ok(decision) => Ok(Some(decision)),
        Err(fault) => {
            count_fault(routed, &fault);
            match on_fault(routed) {
                OnFault::Pass => Ok(Some(RequestDecision::Pass { reason: "policy fault".into() })),
                OnFault::Fail => Err(fault.into()),
            }
        }
    }
}

/// Why a response is not stored whose request, or which itself, has an input that is not text.
pub const BAD_INPUT: &str = "input";

/// What the policy says of a response; `Err` holds why it is not to be stored.
pub fn judge_response(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    status: u16,
    fields: &HeaderMap,
) -> Result<StoreDecision, &'static str> {
    let routed = &plan.routed;
    let Some(live) = routed.policy().filter(|live| live.policy.decides_responses()) else {
        return Ok(StoreDecision::default());
    };
    routed.metrics().policy_calls.fetch_add(1, Ordering::Relaxed);
    let inputs = live.policy.inputs();
    let Some(values) = Values::of_request(worker, request, routed, inputs) else { return Err(BAD_INPUT) };
    let Some(response) = inputs.response_fields.iter().map(|name| field(fields, name)).collect() else {
        return Err(BAD_INPUT);
    };
    let response = Values(response);
    let decided = worker.instances.borrow_mut().on_response(
        &live.policy,
        status,
        &values.as_slices(),
        &response.as_slices(),
    );
    match decided {
        Ok(ResponseDecision::Store(decision)) => Ok(decision),
        Ok(ResponseDecision::DoNotStore { .. }) => Err("policy"),
        // The response itself is good, so the client gets it, whatever `on_fault` says of requests.
        Err(fault) => {
            count_fault(routed, &fault);
            Err("policy-fault")
        }
    }
}

fn on_fault(routed: &Routed) -> OnFault {
    routed.route().policy.as_ref().map_or(OnFault::Pass, |policy| policy.on_fault)
}

fn count_fault(routed: &Routed, fault: &plugin_host::Fault) {
    let before = routed.metrics().policy_faults.fetch_add(1, Ordering::Relaxed);
    // The first of a worker and then ever fewer: a policy that always faults must not fill the disk.
    if before.is_power_of_two() || before == 0 {
        tracing::error!(route.name = routed.route().name.as_str(), faults = before + 1, "{fault}");
    }
}

/// The values of a policy's declared inputs, in the declared order.
struct Values<'r>(Vec<Option<Cow<'r, str>>>);

impl<'r> Values<'r> {
    /// `None`: one of them is not text.
    fn of_request(
        worker: &Worker,
        request: &'r Request,
        routed: &'r Routed,
        inputs: &Inputs,
    ) -> Option<Values<'r>> {
        let mut values = Vec::with_capacity(8);
        for name in &inputs.request_fields {
            values.push(field(&request.fields, name)?);
        }
        for name in &inputs.query_parameters {
            values.push(query_parameter(request.target.query(), name).map(Cow::Borrowed));
        }
        for name in &inputs.cookies {
            values.push(cookie(&request.fields, name)?.map(Cow::Borrowed));
        }
        if !inputs.captures.is_empty() {
            let captures = routed.captures(request);
            for name in &inputs.captures {
                values.push(captures.as_ref().and_then(|all| all.get(name)).map(Cow::Borrowed));
            }
        }
        if inputs.method {
            values.push(Some(Cow::Borrowed(request.method.as_str())));
        }
        if inputs.path {
            values.push(Some(Cow::Borrowed(request.target.path())));
        }
        if inputs.time {
            values.push(Some(Cow::Owned(worker.proxy.clock.now().as_s().to_string())));
        }
        Some(Values(values))
    }

    fn as_slices(&self) -> Vec<Option<&str>> {
        self.0.iter().map(Option::as_deref).collect()
    }
}

/// All lines of a field as one value, so that a policy sees what the upstream sees. The outer `None`: not text.
fn field<'f>(fields: &'f HeaderMap, name: &HeaderName) -> Option<Option<Cow<'f, str>>> {
    let mut lines = fields.get_all(name).iter();
    let Some(first) = lines.next() else { return Some(None) };
    let mut value = Cow::Borrowed(std::str::from_utf8(first.as_bytes()).ok()?);
    for line in lines {
        let value = value.to_mut();
        value.push_str(", ");
        value.push_str(std::str::from_utf8(line.as_bytes()).ok()?);
    }
    Some(Some(value))
}

/// The first value of a parameter, as it is written.
fn query_parameter<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    query?.split('&').find_map(|pair| match pair.split_once('=') {
        Some((key, value)) => (key == name).then_some(value),
        None => (pair == name).then_some(""),
    })
}

/// The first cookie of a name (RFC 6265 section 4.2). The outer `None`: not text.
fn cookie<'f>(fields: &'f HeaderMap, name: &str) -> Option<Option<&'f str>> {
    for line in fields.get_all(COOKIE) {
        let text = std::str::from_utf8(line.as_bytes()).ok()?;
        let mut pairs = text.split(';').filter_map(|pair| pair.trim().split_once('='));
        if let Some((_, value)) = pairs.find(|(key, _)| *key == name) {
            return Some(Some(value));
        }
    }
    Some(None)
}
