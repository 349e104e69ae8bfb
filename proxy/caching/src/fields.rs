//! Fields that belong to one connection (RFC 9110 section 7.6.1) and fields that are meant for caches alone.

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

/// Removes what concerns one connection only: the known fields, and those that `Connection` names.
pub fn remove_hop_by_hop(fields: &mut HeaderMap) {
    // Most requests have none of them, and one look at each name costs a tenth of looking for each of these.
    if !fields.keys().any(is_hop_by_hop) {
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

/// Removes what an origin says to this cache and no client needs to know: tags, stamps, own directives.
pub fn remove_internal(fields: &mut HeaderMap) {
    for name in [CACHE_TAG, SURROGATE_KEY, LARDER_VERSION, LARDER_CACHE_CONTROL] {
        fields.remove(name);
    }
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
