//! Forwards a request to the upstream, or validates with it. Knows what to send; not what becomes of the answer.

use caching::{
    time::Timestamp,
    validation::{CLIENT_CONDITIONS, make_validation_request},
    version::Stamp,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, HOST, MAX_FORWARDS, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
    },
};

use crate::{
    error::Error,
    feed::{self, LARDER_MIN_VERSION, Sighting},
    memory::Stored,
    policy::{CacheUse, Plan},
    read_your_writes,
    request::Request,
    upstream::{Patience, RequestBody, UpstreamBody, UpstreamHead},
    worker::Worker,
};

/// A response as the upstream sent it, and the times of the exchange.
pub struct Fetched {
    pub status: StatusCode,
    pub fields: HeaderMap,
    pub body: UpstreamBody,
    pub request_time: Timestamp,
    pub response_time: Timestamp,
    /// What it has of the change feed. `None`: nobody asks, since its route does not go by one, or since it is not stored.
    pub sighting: Option<Sighting>,
}

/// For whom a response is fetched.
pub enum Purpose<'s> {
    /// For this client alone: its conditions and ranges go along.
    ForClient,
    /// To be stored for everybody.
    ForStore,
    /// To learn whether a stored response still holds.
    ToValidate(&'s Stored),
    /// To get the rest of a response of which the beginning is stored: these fields ask for it.
    ToComplete(&'s HeaderMap),
    /// To switch to one of these protocols with this client.
    ToSwitch(HeaderValue),
}

/// Larder may stand before Larder; an upstream that leads back to it has no end.
const MAX_PASSES: usize = 8;
static VIA_LARDER: HeaderValue = HeaderValue::from_static("1.1 larder");

/// What can be said of a request before anything of it is sent.
pub fn check(request: &Request, plan: &Plan) -> Result<(), Error> {
    let limit_bytes = limit_bytes(plan);
    if announced_length(request).is_some_and(|length| length > limit_bytes) {
        return Err(Error::RequestBodyTooLarge { limit_bytes });
    }
    Ok(())
}

fn limit_bytes(plan: &Plan) -> u64 {
    plan.routed.view.live.config.limits.max_request_body_bytes
}

/// `min_version`: what whoever answers has to show at least.
pub async fn send(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    purpose: Purpose<'_>,
    min_version: Option<&Stamp>,
) -> Result<Fetched, Error> {
    check(request, plan)?;
    let mut head = upstream_head(request, &purpose)?;
    let session = request.session.filter(|_| plan.feed().is_some());
    let min_version = read_your_writes::min_version(session, min_version);
    if let Some(Ok(value)) = min_version.map(|stamp| HeaderValue::from_str(&stamp.to_string())) {
        head.fields.insert(LARDER_MIN_VERSION, value);
    }
    let limit_bytes = limit_bytes(plan);
    let body = match request.take_body() {
        Some(received) if request.has_body => {
            let patience = Patience::new(plan.routed.view.live.config.limits.idle_timeout);
            RequestBody::of_client(received, limit_bytes, patience)
        }
        Some(_) | None => {
            // A length without its bytes would take them from the next request on the connection.
            head.fields.remove(TRANSFER_ENCODING);
            if announced_length(request).is_some_and(|length| length > 0) {
                head.fields.remove(CONTENT_LENGTH);
            }
            RequestBody::Empty
        }
    };
    let request_time = worker.proxy.clock.now();
    // Before anything is sent: what the feed has told by now may be missing in the answer, and that has to be remembered.
    let filling = goes_by_feed(request, plan).then(|| worker.proxy.feed.begin_fill(request_time));
    let (parts, body) = plan.upstream().send(head, body, request.interim.as_ref()).await?.into_parts();
    let response_time = worker.proxy.clock.now();
    let sighting = filling.map(|filling| filling.end(feed::stamp(&parts.headers).as_ref()));
    Ok(Fetched { status: parts.status, fields: parts.headers, body, request_time, response_time, sighting })
}

/// Whether it matters what the answer has of the change feed: what goes past the cache is between a client and its upstream.
fn goes_by_feed(request: &Request, plan: &Plan) -> bool {
    let is_of_cache = match plan.cache {
        CacheUse::Use | CacheUse::Part | CacheUse::Head | CacheUse::LookUpOnly => true,
        // Its answer may be stored for its target.
        CacheUse::No(_) => request.method == Method::POST,
    };
    is_of_cache && plan.feed().is_some()
}

/// How often the request has been here, by its `Via` (RFC 9110 section 7.6.3).
fn passes_through_here(fields: &HeaderMap) -> usize {
    let lines = fields.get_all(VIA).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    lines.filter(|entry| entry.trim_ascii() == VIA_LARDER.as_bytes()).count()
}

fn announced_length(request: &Request) -> Option<u64> {
    request.fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn upstream_head(request: &Request, purpose: &Purpose<'_>) -> Result<UpstreamHead, Error> {
    let mut fields = request.fields.clone();
    if passes_through_here(&fields) >= MAX_PASSES {
        return Err(Error::ProxyLoopDetected);
    }
    if request.has_body && !fields.contains_key(CONTENT_LENGTH) {
        // hyper would send a GET on without its body.
        fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        if let Some(names) = &request.announced_trailers {
            fields.insert(TRAILER, names.clone());
        }
    }
    if request.takes_trailers {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-10.1.4
        //# A sender of TE MUST also send a "TE" connection option within the
        //# Connection header field (Section 7.6.1) to inform intermediaries not
        //# to forward this field.
        fields.insert(TE, HeaderValue::from_static("trailers"));
        fields.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    // hyper answers `Expect: 100-continue` itself when the body is first asked for.
    fields.remove(EXPECT);
    match purpose {
        Purpose::ForClient => (),
        Purpose::ToSwitch(protocols) => {
            fields.remove(TE);
            fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            fields.insert(UPGRADE, protocols.clone());
        }
        Purpose::ForStore => remove_conditions(&mut fields),
        Purpose::ToValidate(stored) => {
            remove_conditions(&mut fields);
            make_validation_request(&mut fields, stored.own_fields());
        }
        Purpose::ToComplete(asking) => {
            remove_conditions(&mut fields);
            fields.extend(asking.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
    }
    if let Some(left) = request.max_forwards() {
        fields.insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
    fields.insert(HOST, request.target.host_field().clone());
    let client = HeaderValue::from_str(&request.client.to_string())
        .map_err(|_| Error::ProxyInternalError("an address is no field value"))?;
    fields.insert(HeaderName::from_static("x-forwarded-for"), client);
    fields.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("http"));
    fields.insert(HeaderName::from_static("x-forwarded-host"), request.target.host_field().clone());
    fields.append(VIA, VIA_LARDER.clone());
    let uri = Uri::from(request.target.path_and_query().clone());
    Ok(UpstreamHead { method: request.method.clone(), uri, fields })
}

fn remove_conditions(fields: &mut HeaderMap) {
    for name in &CLIENT_CONDITIONS {
        fields.remove(name);
    }
}
