//! Fields that belong to one connection (RFC 9110 section 7.6.1) and fields that are meant for caches alone.

use http::{
    HeaderMap, HeaderName,
    header::{CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};

use crate::{
    directives::list_members,
    tags::{CACHE_TAG, SURROGATE_KEY},
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const LARDER_VERSION: HeaderName = HeaderName::from_static("larder-version");
const LARDER_CACHE_CONTROL: HeaderName = HeaderName::from_static("larder-cache-control");

const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes what concerns one connection only: the known fields, and those that `Connection` names.
pub fn remove_hop_by_hop(fields: &mut HeaderMap) {
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
            .collect();
        for name in named {
            fields.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        fields.remove(name);
    }
}

/// Removes what an origin says to this cache and no client needs to know: tags, stamps, own directives.
pub fn remove_internal(fields: &mut HeaderMap) {
    for name in [CACHE_TAG, SURROGATE_KEY, LARDER_VERSION, LARDER_CACHE_CONTROL] {
        fields.remove(name);
    }
}
