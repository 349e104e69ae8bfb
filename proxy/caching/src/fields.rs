//! Fields that belong to one connection (RFC 9110 section 7.6.1), fields that are meant for caches alone, and fields
//! that have no place in trailers (section 6.5.1).

use http::{
    HeaderMap, HeaderName,
    header::{
        AGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, COOKIE, DATE, ETAG, EXPIRES, HOST, LAST_MODIFIED, PRAGMA, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY,
    },
};

use crate::{
    directives::list_members,
    tags::{CACHE_TAG, SURROGATE_KEY},
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");
const LARDER_VERSION: HeaderName = HeaderName::from_static("larder-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const LARDER_CACHE_CONTROL: HeaderName = HeaderName::from_static("larder-cache-control");

const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3.1
    //# Effectively, this is limited to
    //# Proxy-Authenticate (Section 11.7.1 of [HTTP]), Proxy-
    //# Authentication-Info (Section 11.7.3 of [HTTP]), and Proxy-
    //# Authorization (Section 11.7.2 of [HTTP]).
    PROXY_AUTHENTICATE,
    PROXY_AUTHENTICATION_INFO,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Fields that decide who may see a response, for how long, and what its bytes are. `Connection` cannot take them
/// away: a response whose `private` or `Set-Cookie` was gone before we looked would be shared, a request whose
/// `Cookie` was gone would fetch one person's variant of a page for another.
const FOR_ALL_RECIPIENTS: [HeaderName; 18] = [
    //= https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
    //# A sender MUST NOT send a connection option corresponding to a field
    //# that is intended for all recipients of the content.  For example,
    //# Cache-Control is never appropriate as a connection option
    //# (Section 5.2 of [CACHING]).
    AGE,
    AUTHORIZATION,
    CACHE_CONTROL,
    CACHE_TAG,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    DATE,
    ETAG,
    EXPIRES,
    HOST,
    LAST_MODIFIED,
    PRAGMA,
    SET_COOKIE,
    SURROGATE_KEY,
    VARY,
];

/// Whether there is a field that concerns one connection only. Those that `Connection` names are found by it.
pub fn has_hop_by_hop(fields: &HeaderMap) -> bool {
    fields.keys().any(is_hop_by_hop)
}

/// Removes what concerns one connection only: the known fields, and those that `Connection` names.
pub fn remove_hop_by_hop(fields: &mut HeaderMap) {
    // Most requests have none of them, and one look at each name costs a tenth of looking for each of these.
    if !has_hop_by_hop(fields) {
        return;
    }
    //= https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
    //# Intermediaries MUST parse a received Connection header field before a
    //# message is forwarded and, for each connection-option in this field,
    //# remove any header or trailer field(s) from the message with the same
    //# name as the connection-option, and then remove the Connection header
    //# field itself (or replace it with the intermediary's own control options
    //# for the forwarded message).
    if fields.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = fields
            .get_all(CONNECTION)
            .iter()
            .flat_map(|line| list_members(line.as_bytes()))
            .filter_map(|option| HeaderName::from_bytes(option).ok())
            .filter(|name| !FOR_ALL_RECIPIENTS.contains(name))
            .collect();
        for name in named {
            fields.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        fields.remove(name);
    }
}

/// Whether a name is one of [`HOP_BY_HOP`]. A comparison of texts is a jump by length, then one of bytes.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What an origin says to this cache and no client needs to know.
pub fn is_internal(name: &HeaderName) -> bool {
    [CACHE_TAG, SURROGATE_KEY, LARDER_VERSION, LARDER_CACHE_CONTROL].contains(name)
}

/// Removes what an origin says to this cache and no client needs to know: tags, stamps, own directives.
pub fn remove_internal(fields: &mut HeaderMap) {
    for name in [CACHE_TAG, SURROGATE_KEY, LARDER_VERSION, LARDER_CACHE_CONTROL] {
        fields.remove(name);
    }
}

/// Removes from a trailer section what has no place there; what is left are checksums, signatures, timings, statuses
/// such as `grpc-status`. The rest goes on as trailers, and never into a header section.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
    //# A recipient MUST NOT merge a trailer field into a header section
    //# unless the recipient understands the corresponding header field
    //# definition and that definition explicitly permits and defines how
    //# trailer field values can be safely merged.
    //
    // We do not; but somebody behind us may. So nothing goes on that would do harm if it were taken for a header field.
    remove_hop_by_hop(trailers);
    let refused: Vec<HeaderName> =
        trailers.keys().filter(|name| !is_fit_for_trailers(name)).cloned().collect();
    for name in refused {
        trailers.remove(name);
    }
}

/// `ETag`, `Accept-Ranges` and `Authentication-Info` are fit: their definitions allow it (RFC 9110 sections 8.8.3, 14.3
/// and 11.6.3).
fn is_fit_for_trailers(name: &HeaderName) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
    //# Many fields cannot be processed outside the header section because
    //# their evaluation is necessary prior to receiving the content, such as
    //# those that describe message framing, routing, authentication, request
    //# modifiers, response controls, or content format.
    const PREFIXES: [&str; 7] = [
        "access-control-", // which scripts may read it
        "content-",        // framing and format, and policies for a browser
        "if-",             // request modifiers
        "larder-",         // what an origin says to this cache
        "proxy-",          // framing and authentication
        "sec-",            // who asks, and for what
        "x-forwarded-",    // routing
    ];
    let is_refused = matches!(
        name.as_str(),
        // Framing, routing.
        "connection" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "keep-alive" | "host" | "forwarded"
            | "max-forwards" | "expect" | "http2-settings" | "via" | "x-original-url" | "x-rewrite-url"
            | "x-http-method-override" | "x-real-ip"
            // Authentication.
            | "authorization" | "www-authenticate" | "cookie" | "set-cookie"
            // Request modifiers.
            | "accept" | "accept-charset" | "accept-encoding" | "accept-language" | "range" | "early-data" | "origin"
            // Response controls, caching first.
            | "cache-control" | "cdn-cache-control" | "surrogate-control" | "pragma" | "age" | "expires" | "date"
            | "last-modified" | "vary" | "warning" | "cache-tag" | "surrogate-key" | "cache-groups"
            | "cache-group-invalidation" | "no-vary-search" | "cache-status" | "location" | "retry-after" | "refresh"
            | "clear-site-data" | "strict-transport-security" | "alt-svc" | "x-frame-options" | "status"
    );
    // A checksum is what trailers are for (RFC 9530).
    *name == CONTENT_DIGEST
        || (!is_refused && !PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_one() {
        assert!(HOP_BY_HOP.iter().all(is_hop_by_hop));
        assert!(!FOR_ALL_RECIPIENTS.iter().any(is_hop_by_hop));
    }
}
