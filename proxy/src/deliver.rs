//! Makes this client's answer: `Age`, `Cache-Status`, 304, HEAD, the body as a stream.

use std::{collections::VecDeque, fmt::Write as _, io::Write as _};

use bytes::{Bytes, BytesMut};
use caching::{
    fields::remove_internal,
    partial::StoredPart,
    precondition::is_not_modified,
    range::{ByteRange, Multipart, Ranged, of_partial, ranged},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE, TRAILER, TRANSFER_ENCODING,
    },
};
use plugin_host::Answer;

use crate::{
    body::Body,
    error::Error,
    feed::Loss,
    live_updates::{self, EventStream},
    lookup::Reusable,
    memory::StoredBody,
    observe::{Forward, Outcome},
    pieces::Pieces,
    request::Request,
};

/// What a request came to.
pub enum Delivery {
    /// The policy's own answer.
    Made(Answer),
    Reused(Reusable),
    Forwarded(Forwarded),
    /// Of changes, for as long as they are read.
    Live(Box<EventStream>),
}

/// A response that the upstream gave for this request.
pub struct Forwarded {
    pub status: StatusCode,
    pub fields: HeaderMap,
    pub body: Body,
    /// What the upstream answered with, which is not the status of a response that it completed.
    pub fwd_status: StatusCode,
    pub why: Forward,
    pub is_stored: bool,
    pub conditions: Conditions,
    /// Why it was not stored.
    pub detail: Option<&'static str>,
}

pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

impl Delivery {
    pub fn outcome(&self) -> Outcome {
        match self {
            Delivery::Made(_) => Outcome::Policy,
            Delivery::Reused(reusable) => reusable.outcome,
            Delivery::Forwarded(forwarded) => Outcome::Forwarded(forwarded.why),
            Delivery::Live(_) => Outcome::Live,
        }
    }
}

pub fn response(request: &Request, delivery: Delivery) -> Result<Response<Body>, Error> {
    match delivery {
        Delivery::Made(answer) => Ok(made(request, answer)),
        Delivery::Reused(reusable) => reused(request, reusable),
        Delivery::Forwarded(forwarded) => Ok(forward(request, forwarded)),
        Delivery::Live(stream) => Ok(live_updates::response(stream)),
    }
}

/// The fields of a response as they are stored: with a place for what each hit writes into them, so that the copy made for
/// it need not grow; and in memory of their own, which ends where they end: as they came, they keep the whole buffer
/// alive that they were read into.
pub fn kept(fields: &HeaderMap) -> HeaderMap {
    let mut values = BytesMut::with_capacity(fields.values().map(HeaderValue::len).sum());
    fields.values().for_each(|value| values.extend_from_slice(value.as_bytes()));
    let mut values = values.freeze();
    let mut kept = HeaderMap::with_capacity(fields.len() + 2);
    for (name, value) in fields {
        let mut copy = match HeaderValue::from_maybe_shared(values.split_to(value.len())) {
            Ok(copy) => copy,
            // The same bytes were a field value before.
            Err(_) => value.clone(),
        };
        copy.set_sensitive(value.is_sensitive());
        kept.append(name.clone(), copy);
    }
    kept.insert(AGE, HeaderValue::from_static("0"));
    if !kept.contains_key(CACHE_STATUS) {
        kept.insert(CACHE_STATUS, HeaderValue::from_static(""));
    }
    kept
}

/// Puts our own `Cache-Status` behind those of caches on the way here (RFC 9211 section 2).
fn add_cache_status(fields: &mut HeaderMap, own: HeaderValue) {
    match fields.get_mut(CACHE_STATUS) {
        Some(place) if place.is_empty() => *place = own,
        Some(_) | None => drop(fields.append(CACHE_STATUS, own)),
    }
}

fn reused(request: &Request, reusable: Reusable) -> Result<Response<Body>, Error> {
    let stored = &reusable.stored;
    let mut fields = stored.fields.clone();
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4
    //# When a stored response is used to satisfy a request without
    //# validation, a cache MUST generate an Age header field (Section 5.1),
    //# replacing any present in the response with a value equal to the
    //# stored response's current_age; see Section 4.2.3.
    let age = age(reusable.standing.current_age.as_s());
    match fields.get_mut(AGE) {
        Some(place) => *place = age,
        None => drop(fields.insert(AGE, age)),
    }
    add_cache_status(&mut fields, reused_status(&reusable));
    let body = match &stored.body {
        StoredBody::Whole(body) => {
            if request.method == Method::HEAD {
                fields.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(body.len()));
            } else if stored.status == StatusCode::OK
                && request.named.range
                && request.fields.contains_key(RANGE)
                && !answers_not_modified(request, &fields)
            {
                let (status, body) = part(request, &mut fields, body);
                return Ok(finish(request, status, fields, body, Conditions::Upstreams));
            }
            Body::stored(body)
        }
        StoredBody::Part(part, bytes) => {
            if answers_not_modified(request, &fields) {
                return Ok(finish(request, StatusCode::OK, fields, Body::empty(), Conditions::Ours));
            }
            let (status, body) = part_of_part(request, &mut fields, part, bytes)?;
            return Ok(finish(request, status, fields, body, Conditions::Upstreams));
        }
        StoredBody::Arriving(_) => match reusable.reader {
            Some(reader) => Body::Arriving(reader),
            None => return Err(Error::ProxyInternalError("a body that arrives, and no place in it")),
        },
    };
    Ok(finish(request, stored.status, fields, body, Conditions::Ours))
}

fn forward(request: &Request, forwarded: Forwarded) -> Response<Body> {
    let Forwarded { status, mut fields, body, .. } = forwarded;
    fields.remove(TRANSFER_ENCODING);
    let mut text =
        format!("larder; fwd={}; fwd-status={}", forwarded.why.as_str(), forwarded.fwd_status.as_u16());
    if forwarded.is_stored {
        text.push_str("; stored");
    }
    if let Some(detail) = forwarded.detail {
        let _ = write!(text, "; detail={detail}");
    }
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
        add_cache_status(&mut fields, value);
    }
    finish(request, status, fields, body, forwarded.conditions)
}

/// Who is to evaluate the client's conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditions {
    /// The response is, or will be, a stored one.
    Ours,
    //= https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1
    //# A server that is not the origin server for the target resource and
    //# cannot act as a cache for requests on the target resource MUST NOT
    //# evaluate the conditional request header fields defined by this
    //# specification
    Upstreams,
}

fn answers_not_modified(request: &Request, stored: &HeaderMap) -> bool {
    request.named.own_conditions && is_not_modified(&request.fields, stored)
}

/// The client's own conditions, and HEAD.
fn finish(
    request: &Request,
    status: StatusCode,
    mut fields: HeaderMap,
    body: Body,
    conditions: Conditions,
) -> Response<Body> {
    let may_be_304 = conditions == Conditions::Ours
        && status == StatusCode::OK
        && (request.method == Method::GET || request.method == Method::HEAD);
    let (status, body) = if may_be_304 && answers_not_modified(request, &fields) {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5
        //# a sender SHOULD NOT generate representation metadata other than the above listed fields
        for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING] {
            fields.remove(name);
        }
        (StatusCode::NOT_MODIFIED, Body::empty())
    } else if request.method == Method::HEAD {
        (status, Body::empty())
    } else {
        // hyper sends those trailer fields that are named here.
        if request.takes_trailers
            && let Some(names) = body.announced_trailers()
        {
            fields.insert(TRAILER, names.clone());
        }
        (status, body)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

/// What of a stored, whole body answers a request for a range of it.
fn part(request: &Request, fields: &mut HeaderMap, whole: &Pieces) -> (StatusCode, Body) {
    let length = whole.len() as u64;
    match ranged(&request.fields, fields, length) {
        Ranged::Whole => (StatusCode::OK, Body::stored(whole)),
        Ranged::Part(ByteRange { first, last }) => {
            set_content_range(fields, format!("bytes {first}-{last}/{length}"));
            (StatusCode::PARTIAL_CONTENT, Body::Pieces(slice(whole, first, last)))
        }
        Ranged::Parts(ranges) => {
            let boundary = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
            let content_type = fields.remove(CONTENT_TYPE);
            let multipart = Multipart::new(&ranges, length, content_type.as_ref(), &boundary);
            if let Ok(kind) = HeaderValue::from_str(&multipart.content_type()) {
                fields.insert(CONTENT_TYPE, kind);
            }
            fields.remove(CONTENT_LENGTH);
            let parts = multipart.parts().flat_map(|(head, range)| {
                std::iter::once(Bytes::from(head)).chain(slice(whole, range.first, range.last))
            });
            let closing = Bytes::from(multipart.closing());
            (StatusCode::PARTIAL_CONTENT, Body::Pieces(parts.chain([closing]).collect()))
        }
        //= https://www.rfc-editor.org/rfc/rfc9110#section-15.5.17
        //# A server that generates a 416 response to a byte-range request SHOULD
        //# generate a Content-Range header field specifying the current length
        //# of the selected representation
        Ranged::Unsatisfiable => {
            set_content_range(fields, format!("bytes */{length}"));
            (StatusCode::RANGE_NOT_SATISFIABLE, Body::empty())
        }
    }
}

/// What of a stored part answers a request for a range within it.
fn part_of_part(
    request: &Request,
    fields: &mut HeaderMap,
    stored: &StoredPart,
    bytes: &Pieces,
) -> Result<(StatusCode, Body), Error> {
    let Some(ByteRange { first, last }) = of_partial(&request.fields, fields, stored) else {
        return Err(Error::ProxyInternalError("a stored part that does not answer was found to answer"));
    };
    let complete = stored.complete.map_or_else(|| "*".to_owned(), |length| length.to_string());
    set_content_range(fields, format!("bytes {first}-{last}/{complete}"));
    let body = slice(bytes, first.saturating_sub(stored.first), last.saturating_sub(stored.first));
    Ok((StatusCode::PARTIAL_CONTENT, Body::Pieces(body)))
}

fn set_content_range(fields: &mut HeaderMap, text: String) {
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
        fields.insert(CONTENT_RANGE, value);
    }
    // That of the whole; hyper writes the one of the part.
    fields.remove(CONTENT_LENGTH);
}

/// From the first to the last of these bytes, as far as they are there.
fn slice(bytes: &Pieces, first: u64, last: u64) -> VecDeque<Bytes> {
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    bytes.slice(at(first)..at(last.saturating_add(1)))
}

/// `Cache-Status` (RFC 9211) of an answer from the store.
fn reused_status(reusable: &Reusable) -> HeaderValue {
    let ttl_s = reusable.standing.ttl_s;
    let why = reusable.why.as_str();
    // Made where it costs nothing, then copied once: a buffer that grows into a value is allocated twice.
    let mut text = [0; 96];
    let mut rest = text.as_mut_slice();
    let written = match reusable.outcome {
        Outcome::Collapsed => {
            let (begin, why_not) = match reusable.loss {
                Some(loss) => ("; detail=", loss.as_str()),
                None => ("", ""),
            };
            write!(rest, "larder; fwd={why}; collapsed; ttl={ttl_s}{begin}{why_not}")
        }
        Outcome::Validated => {
            let stored = if reusable.is_stored { "; stored" } else { "" };
            write!(rest, "larder; fwd={why}; fwd-status=304{stored}; ttl={ttl_s}")
        }
        Outcome::HitStaleIfError => write!(rest, "larder; hit; ttl={ttl_s}; detail=stale-if-error"),
        Outcome::HitStaleAccepted => write!(rest, "larder; hit; ttl={ttl_s}; detail=max-stale"),
        Outcome::HitStale => {
            let why = reusable.loss.map_or("stale-while-revalidate", Loss::as_str);
            write!(rest, "larder; hit; ttl={ttl_s}; detail={why}")
        }
        Outcome::Hit | Outcome::Forwarded(_) | Outcome::Policy | Outcome::Live | Outcome::Error => rest
            .write_all(b"larder; hit; ttl=")
            .and_then(|()| rest.write_all(itoa::Buffer::new().format(ttl_s).as_bytes())),
    };
    let left = rest.len();
    match written.map(|()| HeaderValue::from_bytes(&text[..text.len() - left])) {
        Ok(Ok(value)) => value,
        Ok(Err(_)) | Err(_) => HeaderValue::from_static("larder; hit"),
    }
}

fn age(age_s: u64) -> HeaderValue {
    // Digits are a field value; and this way it is allocated once, not twice.
    HeaderValue::from_str(itoa::Buffer::new().format(age_s)).unwrap_or_else(|_| HeaderValue::from(age_s))
}

fn made(request: &Request, answer: Answer) -> Response<Body> {
    let Answer { status, fields, body } = answer;
    let mut map = HeaderMap::with_capacity(fields.len() + 1);
    for (name, value) in fields {
        if name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
            map.append(name, value);
        }
    }
    // As with what upstreams say: tags are for this cache alone.
    remove_internal(&mut map);
    map.append(CACHE_STATUS, HeaderValue::from_static("larder; detail=policy"));
    finish(request, status, map, Body::whole(body), Conditions::Ours)
}
