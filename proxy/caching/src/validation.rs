//! Validators, the validation request, and freshening by a 304 (RFC 9111 section 4.3).

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, SET_COOKIE,
    },
};

/// Whether a response can be validated later.
pub fn has_validator(fields: &HeaderMap) -> bool {
    fields.contains_key(ETAG) || fields.contains_key(LAST_MODIFIED)
}

/// Fields of the client that make a response depend on what this one client already has. A request that is
/// to bring something for everybody goes without them.
pub const CLIENT_CONDITIONS: [HeaderName; 6] =
    [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];

/// Turns a request into one that validates `stored`.
pub fn make_validation_request(request: &mut HeaderMap, stored: &HeaderMap) {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.1
    //# A cache MUST send the relevant entity tags (using If-Match, If-None-Match, or If-Range)
    //# if the entity tags were provided in the stored response(s) being validated.
    if let Some(tag) = stored.get(ETAG) {
        request.insert(IF_NONE_MATCH, tag.clone());
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.1
    //# A cache SHOULD send the Last-Modified value (using If-Modified-Since)
    if let Some(date) = stored.get(LAST_MODIFIED) {
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

pub fn validated(status: StatusCode, fields: &HeaderMap, stored: &HeaderMap) -> Validated {
    if status == StatusCode::NOT_MODIFIED {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.4
        //# If the new response contains one or more "strong validators" (see Section
        //# 8.8.1 of [HTTP]), then each of those strong validators identifies a
        //# selected representation for update.
        return match (fields.get(ETAG), stored.get(ETAG)) {
            (Some(new), Some(old)) if opaque_tag(new.as_bytes()) != opaque_tag(old.as_bytes()) => {
                Validated::Mismatch
            }
            _ => Validated::NotModified,
        };
    }
    if status.is_server_error() { Validated::Error } else { Validated::Full }
}

/// An entity tag without its mark of weakness.
pub(crate) fn opaque_tag(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The stored fields after a 304 (section 3.2): what it brings replaces what was stored, save what describes
/// the stored body itself.
pub fn freshened(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    let mut fields = stored.clone();
    for name in not_modified.keys() {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-3.2
        //# Caches are required to update a stored response's header fields from
        //# another (typically newer) response in several situations
        // A cookie in a 304 is for the one client whose request it answers.
        if [CONTENT_LENGTH, CONTENT_RANGE, CONTENT_ENCODING, CONTENT_TYPE, SET_COOKIE].contains(name) {
            continue;
        }
        fields.remove(name);
        for value in not_modified.get_all(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}
