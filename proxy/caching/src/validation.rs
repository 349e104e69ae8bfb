//! Validators, the validation request, and freshening by a 304 (RFC 9111 section 4.3).

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, SET_COOKIE,
    },
};

use crate::{fields::remove_hop_by_hop, time::Timestamp};

/// Whether a response can be validated later.
pub fn has_validator(fields: &HeaderMap) -> bool {
    entity_tag(fields).is_some() || last_modified(fields).is_some()
}

/// The entity tag of a response. An empty field is none.
pub(crate) fn entity_tag(fields: &HeaderMap) -> Option<&HeaderValue> {
    fields.get(ETAG).filter(|tag| !tag.is_empty())
}

/// `Last-Modified`, if it is a date: anything else is ignored by the origin when it comes back.
fn last_modified(fields: &HeaderMap) -> Option<(&HeaderValue, Timestamp)> {
    let value = fields.get(LAST_MODIFIED)?;
    Some((value, Timestamp::from_http_date(value)?))
}

/// Fields of the client that make a response depend on what this one client already has. A request that is
/// to bring something for everybody goes without them.
pub const CLIENT_CONDITIONS: [HeaderName; 6] =
    [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];

/// Turns a request into one that validates `stored`.
pub fn make_validation_request(request: &mut HeaderMap, stored: &HeaderMap) {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.1
    //# MUST send the relevant entity tags (using If-Match, If-None-Match,
    //# or If-Range) if the entity tags were provided in the stored
    //# response(s) being validated.
    if let Some(tag) = entity_tag(stored) {
        request.insert(IF_NONE_MATCH, tag.clone());
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.1
    //# SHOULD send the Last-Modified value (using If-Modified-Since) if
    //# the request is not for a subrange, a single stored response is
    //# being validated, and that response contains a Last-Modified value.
    if let Some((date, _)) = last_modified(stored) {
        request.insert(IF_MODIFIED_SINCE, date.clone());
    }
}

/// What the answer to a validation request means for the stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validated {
    /// 304 for this stored response: freshen it.
    NotModified,
    /// 304 for something else: the stored response is of no use, ask again without conditions.
    Mismatch,
    /// 5xx: the origin failed to say.
    Error,
    /// A new response.
    Full,
}

/// Whether a full response with this status, to a validation, says that the stored one is no more. Other statuses speak of the
/// request, or of the moment: anybody could bring one about and take from all others what still serves them.
pub fn replaces_stored(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection() || matches!(status.as_u16(), 404 | 410 | 451)
}

/// Reads the answer to a request that [`make_validation_request`] made for `stored`.
pub fn validated(status: StatusCode, fields: &HeaderMap, stored: &HeaderMap) -> Validated {
    if status == StatusCode::NOT_MODIFIED {
        return if is_about(fields, stored) { Validated::NotModified } else { Validated::Mismatch };
    }
    if status.is_server_error() { Validated::Error } else { Validated::Full }
}

/// Whether a 304 is about `stored` (section 4.3.4).
fn is_about(not_modified: &HeaderMap, stored: &HeaderMap) -> bool {
    // Without a validator nothing was asked, so nothing was answered.
    if !has_validator(stored) {
        return false;
    }
    let dates = (last_modified(not_modified), last_modified(stored));
    match (entity_tag(not_modified), entity_tag(stored)) {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.4
        //# If none of the initial set
        //# contains at least one of the same strong validators, then the
        //# cache MUST NOT use the new response to update any stored
        //# responses.
        (Some(new), stored) if !is_weak(new.as_bytes()) => stored == Some(new),
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.4
        //# If the new response contains no strong validators but does contain
        //# one or more "weak validators", and those validators correspond to
        //# one of the initial set's stored responses, then the most recent of
        //# those matching stored responses is identified for update.
        (Some(new), Some(stored)) => opaque_tag(new.as_bytes()) == opaque_tag(stored.as_bytes()),
        (Some(_), None) | (None, _) => match dates {
            (Some((_, new)), Some((_, stored))) => new == stored,
            (Some(_), None) => false,
            // Section 4.3.4 takes such a 304 only for a stored response without a validator. But our request had
            // the validators of just one, so it can be about no other; and many origins leave the tag out.
            (None, _) => entity_tag(not_modified).is_none(),
        },
    }
}

fn is_weak(tag: &[u8]) -> bool {
    tag.starts_with(b"W/")
}

/// An entity tag without its mark of weakness.
pub(crate) fn opaque_tag(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.2
//# Caches in this situation MAY omit these header fields from updating stored
//# responses on an exceptional basis but SHOULD limit such omission to
//# those fields necessary to assure integrity of the stored response.
/// What a 304 does not change: how the bytes of the stored body are to be read. And a cookie in a 304 is for the one client
/// whose request it answers.
const NOT_UPDATED: [HeaderName; 4] = [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, SET_COOKIE];

/// The stored fields after a 304 (section 3.2): what it brings replaces what was stored, save what describes
/// the stored body itself. The result has no `Date` and no `Age` but those of the 304; without them, it counts from
/// the time it was received.
pub fn freshened(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    let mut update = not_modified.clone();
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3.2
    //# Header fields excepted from storage in Section 3.1,
    remove_hop_by_hop(&mut update);
    for name in &NOT_UPDATED {
        update.remove(name);
    }
    let mut fields = stored.clone();
    // Else the response would be as old after its validation as it was before.
    fields.remove(DATE);
    fields.remove(AGE);
    for name in update.keys() {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-3.2
        //# When doing so, the cache MUST add each header field in the provided
        //# response to the stored response, replacing field values that are
        //# already present
        fields.remove(name);
        for value in update.get_all(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

/// What the answer to a HEAD means for a stored response to GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadVerdict {
    /// It is about the stored response: freshen that with its fields.
    Freshen,
    /// The stored response is not what a GET would bring now.
    Invalidate,
    /// It says nothing of the stored response.
    Ignore,
}

/// Holds the answer to a HEAD against the stored response that the request selected. `stored_length`: of its body.
pub fn freshened_by_head(
    stored: &HeaderMap,
    stored_length: Option<u64>,
    status: StatusCode,
    fields: &HeaderMap,
) -> HeadVerdict {
    if !replaces_stored(status) {
        return HeadVerdict::Ignore;
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.5
    //# When a cache makes an inbound HEAD request for a target URI and
    //# receives a 200 (OK) response, the cache SHOULD update or invalidate
    //# each of its stored GET responses that could have been chosen for that
    //# request (see Section 4.1).
    if status != StatusCode::OK {
        return HeadVerdict::Invalidate;
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.5
    //# For each of the stored responses that could have been chosen, if the
    //# stored response and HEAD response have matching values for any
    //# received validator fields (ETag and Last-Modified) and, if the HEAD
    //# response has a Content-Length header field, the value of Content-
    //# Length matches that of the stored response, the cache SHOULD update
    //# the stored response as described below; otherwise, the cache SHOULD
    //# consider the stored response to be stale.
    let is_same = |name: &HeaderName| fields.get(name).is_none_or(|new| stored.get(name) == Some(new));
    let length =
        fields.get(CONTENT_LENGTH).map(|value| value.to_str().ok().and_then(|text| text.parse::<u64>().ok()));
    let has_length = match (length, stored_length) {
        (None, _) => true,
        (Some(length), stored) => length.is_some() && length == stored,
    };
    if is_same(&ETAG) && is_same(&LAST_MODIFIED) && has_length {
        HeadVerdict::Freshen
    } else {
        HeadVerdict::Invalidate
    }
}
