//! The client's own conditions against a stored response (RFC 9110 section 13.2.2): does a 304 answer it?

use http::{
    HeaderMap,
    header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED},
};

use crate::{directives::list_members, time::Timestamp, validation::opaque_tag};

/// Whether a GET or HEAD that selected `stored` is answered by 304.
pub fn is_not_modified(request: &HeaderMap, stored: &HeaderMap) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3
    //# A recipient MUST ignore If-Modified-Since if the request contains an
    //# If-None-Match header field
    if request.contains_key(IF_NONE_MATCH) {
        return none_match_fails(request, stored);
    }
    let since = request.get(IF_MODIFIED_SINCE).and_then(Timestamp::from_http_date);
    let modified = stored.get(LAST_MODIFIED).and_then(Timestamp::from_http_date);
    matches!((modified, since), (Some(modified), Some(since)) if modified <= since)
}

fn none_match_fails(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(tag) = stored.get(ETAG) else {
        return request.get_all(IF_NONE_MATCH).iter().any(|line| line.as_bytes().trim_ascii() == b"*");
    };
    //= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2
    //# A recipient MUST use the weak comparison function when comparing
    //# entity tags for If-None-Match
    let tag = opaque_tag(tag.as_bytes());
    request
        .get_all(IF_NONE_MATCH)
        .iter()
        .flat_map(|line| list_members(line.as_bytes()))
        .any(|member| member == b"*" || opaque_tag(member) == tag)
}
