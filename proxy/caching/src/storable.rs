//! May this response be stored, and if not, why not (RFC 9111 section 3, and the stricter floor of a cache
//! that must never show one person's page to another).
//!
//! Must not know how long it would be fresh beyond "has a lifetime or can be validated". Next: `freshness.rs`.

use http::{
    HeaderMap, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, COOKIE, RANGE, SET_COOKIE},
};

use crate::{
    directives::{RequestDirectives, ResponseDirectives},
    freshness::{Facts, Rules, is_heuristically_cacheable},
    validation::has_validator,
};

/// Why a response is not stored. `as_str` is the `detail` of `Cache-Status` and a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStorable {
    Method,
    RequestBody,
    RequestNoStore,
    Status,
    Partial,
    NoStore,
    Private,
    SetCookie,
    Authorization,
    VaryStar,
    NoFreshness,
}

impl NotStorable {
    pub const fn as_str(self) -> &'static str {
        match self {
            NotStorable::Method => "method",
            NotStorable::RequestBody => "request-body",
            NotStorable::RequestNoStore => "request-no-store",
            NotStorable::Status => "status",
            NotStorable::Partial => "partial",
            NotStorable::NoStore => "no-store",
            NotStorable::Private => "private",
            NotStorable::SetCookie => "set-cookie",
            NotStorable::Authorization => "authorization",
            NotStorable::VaryStar => "vary-star",
            NotStorable::NoFreshness => "no-freshness",
        }
    }

    /// Whether the next request for the same target may well bring something to store: the reason is what this
    /// one request carried, or a status that speaks of it alone. It says nothing of what is stored already.
    pub const fn lies_in_the_request(self) -> bool {
        matches!(
            self,
            NotStorable::Method
                | NotStorable::Status
                | NotStorable::RequestBody
                | NotStorable::RequestNoStore
                | NotStorable::Authorization
        )
    }
}

/// What of the request decides whether its response may be stored.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts {
    pub kind: RequestKind,
    pub has_body: bool,
    pub has_range: bool,
    pub has_authorization: bool,
    pub has_cookie: bool,
    pub no_store: bool,
}

/// What a request asks for, as far as storing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    Get,
    /// QUERY (RFC 10008): the caller has its content in the key.
    Query,
    /// A POST whose answer has a `Content-Location` equal to its target, which the caller has compared: stored for a
    /// later GET.
    PostForGet,
    /// Nothing is stored.
    Other,
}

impl RequestFacts {
    /// A POST comes out as [`RequestKind::Other`]: only its answer can make it more.
    pub fn of(method: &Method, fields: &HeaderMap, has_body: bool) -> RequestFacts {
        RequestFacts {
            kind: match method.as_str() {
                "GET" => RequestKind::Get,
                "QUERY" => RequestKind::Query,
                _ => RequestKind::Other,
            },
            has_body,
            has_range: fields.contains_key(RANGE),
            has_authorization: fields.contains_key(AUTHORIZATION),
            has_cookie: fields.contains_key(COOKIE),
            no_store: RequestDirectives::of(fields).no_store,
        }
    }
}

/// The first reason against storing a whole response, if there is one. `Vary` is judged by [`crate::vary`].
pub fn storable(
    request: RequestFacts,
    status: StatusCode,
    fields: &HeaderMap,
    directives: &ResponseDirectives,
    facts: &Facts,
    rules: &Rules<'_>,
) -> Result<(), NotStorable> {
    storable_request(request, rules)?;
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3.3
    //# A cache MUST NOT use an incomplete response to answer requests unless
    //# the response has been made complete, or the request is partial and
    //# specifies a range wholly within the incomplete response.
    if status == StatusCode::PARTIAL_CONTENT || fields.contains_key(CONTENT_RANGE) {
        return Err(NotStorable::Partial);
    }
    storable_response(request, status, fields, directives, facts, rules)
}

/// The first reason against storing a response as a part: it has to be a 206 with one range, which a GET asked for.
/// That the part fits to others, and that its body is as long as it says, is for the caller to see.
pub fn storable_partial(
    request: RequestFacts,
    status: StatusCode,
    fields: &HeaderMap,
    directives: &ResponseDirectives,
    facts: &Facts,
    rules: &Rules<'_>,
) -> Result<(), NotStorable> {
    storable_request(request, rules)?;
    let was_asked_for = request.kind == RequestKind::Get && request.has_range;
    if status != StatusCode::PARTIAL_CONTENT || !was_asked_for || !has_one_range(fields) {
        return Err(NotStorable::Partial);
    }
    storable_response(request, status, fields, directives, facts, rules)
}

fn has_one_range(fields: &HeaderMap) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3.3
    //# However, a cache MUST NOT store incomplete
    //# or partial-content responses if it does not support the Range and
    //# Content-Range header fields or if it does not understand the range
    //# units used in those fields.
    let mut lines = fields.get_all(CONTENT_RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let has_bytes = line.as_bytes().get(..6).is_some_and(|unit| unit.eq_ignore_ascii_case(b"bytes "));
    // `bytes */1234` is what a 416 says: there is nothing here.
    let has_place = line.as_bytes().get(6).is_some_and(u8::is_ascii_digit);
    // Several ranges come as parts of the body, and with no `Content-Range` in the head (RFC 9110 section 15.3.7.2).
    let content_type = fields.get(CONTENT_TYPE).map(|value| value.as_bytes().trim_ascii_start());
    const MULTIPART: &[u8] = b"multipart/byteranges";
    let is_multipart = content_type
        .and_then(|media_type| media_type.get(..MULTIPART.len()))
        .is_some_and(|media_type| media_type.eq_ignore_ascii_case(MULTIPART));
    has_bytes && has_place && !is_multipart
}

fn storable_request(request: RequestFacts, rules: &Rules<'_>) -> Result<(), NotStorable> {
    match request.kind {
        // Content of a GET has no meaning that a key could hold (RFC 9110 section 9.3.1), unless a route says so.
        RequestKind::Get if request.has_body && !rules.allow.request_body => {
            return Err(NotStorable::RequestBody);
        }
        //= https://www.rfc-editor.org/rfc/rfc10008#section-2.7
        //# The response to a QUERY method is cacheable; a cache MAY use it to
        //# satisfy subsequent QUERY requests
        // Its key holds the content, so that is no reason against it.
        RequestKind::Get | RequestKind::Query | RequestKind::PostForGet => (),
        RequestKind::Other => return Err(NotStorable::Method),
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.5
    //# The no-store request directive indicates that a cache MUST NOT store
    //# any part of either this request or any response to it.
    if request.no_store {
        return Err(NotStorable::RequestNoStore);
    }
    Ok(())
}

/// What whole and partial responses have in common.
fn storable_response(
    request: RequestFacts,
    status: StatusCode,
    fields: &HeaderMap,
    directives: &ResponseDirectives,
    facts: &Facts,
    rules: &Rules<'_>,
) -> Result<(), NotStorable> {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3
    //# the response status code is final (see Section 15 of [HTTP]);
    if status.is_informational() || status == StatusCode::NOT_MODIFIED || is_about_one_request(status) {
        return Err(NotStorable::Status);
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.3
    //# When a cache that implements the must-understand directive receives a
    //# response that includes it, the cache SHOULD ignore the no-store
    //# directive if it understands and implements the status code's caching
    //# requirements.
    let understood = is_understood(status);
    if directives.must_understand && !understood {
        return Err(NotStorable::Status);
    }
    if directives.no_store && !(directives.must_understand && understood) && !rules.allow.no_store {
        return Err(NotStorable::NoStore);
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.7
    //# The unqualified private response directive indicates that a shared
    //# cache MUST NOT store the response
    if directives.private && !rules.allow.private {
        return Err(NotStorable::Private);
    }
    // Stricter than section 7.3 asks: a cookie is somebody's.
    if fields.contains_key(SET_COOKIE) && !rules.allow.set_cookie {
        return Err(NotStorable::SetCookie);
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3.5
    //# A shared cache MUST NOT use a cached response to a request with an
    //# Authorization header field (Section 11.6.2 of [HTTP]) to satisfy any
    //# subsequent request unless the response contains a Cache-Control field
    //# with a response directive (Section 5.2.2) that allows it to be stored
    //# by a shared cache, and the cache conforms to the requirements of that
    //# directive for that response.
    // What the requirements are: `Facts::is_personal`.
    let permits_authorization = directives.public
        || directives.must_revalidate
        || directives.s_maxage.is_some()
        || rules.allow.authorization;
    if request.has_authorization && !permits_authorization {
        return Err(NotStorable::Authorization);
    }
    has_use(fields, facts, rules)
}

/// A response that is stale from the start and cannot be validated would only take room.
fn has_use(fields: &HeaderMap, facts: &Facts, rules: &Rules<'_>) -> Result<(), NotStorable> {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-9.3.3
    //# Responses to POST requests are only cacheable when they include
    //# explicit freshness information (see Section 4.2.1 of [CACHING]) and a
    //# Content-Location header field that has the same value as the POST's
    //# target URI (Section 8.7).
    if facts.needs_explicit_lifetime && facts.explicit_lifetime.is_none() {
        return Err(NotStorable::NoFreshness);
    }
    // A validator alone is enough only where there is freshness information to go stale, or a status that
    // takes a heuristic: an error without either must not be stored at all.
    match facts.freshness_lifetime(rules) {
        // `no-cache` says for itself that it may be stored, and how it may be used: validated, each time.
        None if facts.always_validate
            && has_validator(fields)
            && is_heuristically_cacheable(facts.status) =>
        {
            Ok(())
        }
        None => Err(NotStorable::NoFreshness),
        Some(_) if has_validator(fields) => Ok(()),
        Some(_) if facts.always_validate => Err(NotStorable::NoFreshness),
        Some(lifetime) => {
            let age = facts.current_age(facts.response_time);
            let stale = facts.stale_while_revalidate(rules).max(facts.stale_if_error(rules));
            match lifetime.remaining(age) {
                Ok(_) => Ok(()),
                Err(past) if past < stale => Ok(()),
                Err(_) => Err(NotStorable::NoFreshness),
            }
        }
    }
}

/// Statuses that say something of one request, not of its target: of its fields, its credentials, or the moment.
fn is_about_one_request(status: StatusCode) -> bool {
    match status.as_u16() {
        //= https://www.rfc-editor.org/rfc/rfc6585#section-3
        //# Responses with the 428 status code MUST NOT be stored by a cache.
        //
        //= https://www.rfc-editor.org/rfc/rfc6585#section-4
        //# Responses with the 429 status code MUST NOT be stored by a cache.
        //
        //= https://www.rfc-editor.org/rfc/rfc6585#section-5
        //# Responses with the 431 status code MUST NOT be stored by a cache.
        //
        //= https://www.rfc-editor.org/rfc/rfc6585#section-6
        //# Responses with the 511 status code MUST NOT be stored by a cache.
        428 | 429 | 431 | 511 => true,
        // Not forbidden. But they are about credentials, framing or negotiation of one request, and the key does not
        // hold what brought them about: anybody could put one in the place of a good page for as long as the origin's
        // own max-age says. (A 400 can be brought about too, but an origin that gives it a lifetime means it.)
        401 | 406 | 407 | 408 | 411 | 412 | 413 | 415 | 416 | 417 | 421 | 425 | 426 => true,
        _ => false,
    }
}

/// Final statuses whose meaning for caches this crate carries out.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 302 | 303 | 307 | 308 | 404 | 405 | 410 | 414 | 451 | 501
    )
}
