//! May this response be stored, and if not, why not (RFC 9111 section 3, and the stricter floor of a cache
//! that must never show one person's page to another).
//!
//! Must not know how long it would be fresh beyond "has a lifetime or can be validated". Next: `freshness.rs`.

use http::{
    HeaderMap, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_RANGE, COOKIE, SET_COOKIE},
};

use crate::{
    directives::{RequestDirectives, ResponseDirectives},
    freshness::{Facts, Rules},
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
    /// one request carried.
    pub const fn lies_in_the_request(self) -> bool {
        matches!(
            self,
            NotStorable::Method
                | NotStorable::RequestBody
                | NotStorable::RequestNoStore
                | NotStorable::Authorization
        )
    }
}

/// What of the request decides whether its response may be stored.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts {
    pub is_get: bool,
    pub has_body: bool,
    pub has_authorization: bool,
    pub has_cookie: bool,
    pub no_store: bool,
}

impl RequestFacts {
    pub fn of(method: &Method, fields: &HeaderMap, has_body: bool) -> RequestFacts {
        RequestFacts {
            is_get: method == Method::GET,
            has_body,
            has_authorization: fields.contains_key(AUTHORIZATION),
            has_cookie: fields.contains_key(COOKIE),
            no_store: RequestDirectives::of(fields).no_store,
        }
    }
}

/// The first reason against storing, if there is one. `Vary` is judged by [`crate::vary`].
pub fn storable(
    request: RequestFacts,
    status: StatusCode,
    fields: &HeaderMap,
    directives: &ResponseDirectives,
    facts: &Facts,
    rules: &Rules,
) -> Result<(), NotStorable> {
    if !request.is_get {
        return Err(NotStorable::Method);
    }
    // A body on a GET has no meaning that a key could hold (RFC 9110 section 9.3.1).
    if request.has_body {
        return Err(NotStorable::RequestBody);
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.5
    //# The no-store request directive indicates that a cache MUST NOT store
    //# any part of either this request or any response to it.
    if request.no_store {
        return Err(NotStorable::RequestNoStore);
    }
    if status == StatusCode::PARTIAL_CONTENT || fields.contains_key(CONTENT_RANGE) {
        return Err(NotStorable::Partial);
    }
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
    if directives.no_store && !(directives.must_understand && understood) {
        return Err(NotStorable::NoStore);
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.7
    //# The unqualified private response directive indicates that a shared
    //# cache MUST NOT store the response
    if directives.private {
        return Err(NotStorable::Private);
    }
    // Stricter than section 7.3 asks: a cookie is somebody's.
    if fields.contains_key(SET_COOKIE) {
        return Err(NotStorable::SetCookie);
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3.5
    //# A shared cache MUST NOT use a cached response to a request with an
    //# Authorization header field (Section 11.6.2 of [HTTP]) to satisfy any
    //# subsequent request unless the response contains a Cache-Control field
    //# with a response directive (Section 5.2.2) that allows it to be stored
    //# by a shared cache, and the cache conforms to the requirements of that
    //# directive for that response.
    // What the requirements are: `Facts::takes_configured_ttl`.
    let permits_authorization =
        directives.public || directives.must_revalidate || directives.s_maxage.is_some();
    if request.has_authorization && !permits_authorization {
        return Err(NotStorable::Authorization);
    }
    has_use(fields, facts, rules)
}

/// A response that is stale from the start and cannot be validated would only take room.
fn has_use(fields: &HeaderMap, facts: &Facts, rules: &Rules) -> Result<(), NotStorable> {
    // A validator alone is enough only where there is freshness information to go stale, or a status that
    // takes a heuristic: an error without either must not be stored at all.
    match facts.freshness_lifetime(rules) {
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
        // Not forbidden. But the key does not hold the field that brought them about, so anybody could put one in
        // the place of a good page for as long as the origin's own max-age says.
        400 | 401 | 406 | 407 | 408 | 411 | 412 | 413 | 415 | 417 | 421 | 425 | 426 => true,
        _ => false,
    }
}

/// Final statuses whose meaning for caches this crate carries out.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 302 | 303 | 307 | 308 | 404 | 405 | 410 | 414 | 451 | 501
    )
}
