//! The client's own conditions against a stored response (RFC 9110 section 13.2.2): does a 304 answer it?

use http::{
    HeaderMap,
    header::{DATE, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED},
};

use crate::{
    time::Timestamp,
    validation::{entity_tag, opaque_tag},
};

/// Whether a GET or HEAD that selected `stored` is answered by 304.
pub fn is_not_modified(request: &HeaderMap, stored: &HeaderMap) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3
    //# A recipient MUST ignore If-Modified-Since if the request contains an
    //# If-None-Match header field
    if request.contains_key(IF_NONE_MATCH) {
        return none_match_fails(request, stored);
    }
    //= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3
    //# A recipient MUST ignore the If-Modified-Since header field if the
    //# received field value is not a valid HTTP-date, the field value has
    //# more than one member, or if the request method is neither GET nor
    //# HEAD.
    let mut lines = request.get_all(IF_MODIFIED_SINCE).iter();
    let (Some(since), None) = (lines.next(), lines.next()) else { return false };
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.2
    //# If a request contains an If-Modified-Since header field and the Last-
    //# Modified header field is not present in a stored response, a cache
    //# SHOULD use the stored response's Date field value (or, if no Date
    //# field is present, the time that the stored response was received) to
    //# evaluate the conditional.
    let modified = stored.get(LAST_MODIFIED).or_else(|| stored.get(DATE)).and_then(Timestamp::from_http_date);
    matches!((modified, Timestamp::from_http_date(since)), (Some(modified), Some(since)) if modified <= since)
}

fn none_match_fails(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let mut lines = request.get_all(IF_NONE_MATCH).iter();
    // The star is not a member of a list: beside tags it has no meaning, and no 304 may come from that.
    if let (Some(line), None) = (lines.next(), lines.next())
        && line.as_bytes().trim_ascii() == b"*"
    {
        return true;
    }
    let Some(tag) = entity_tag(stored) else { return false };
    //= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2
    //# A recipient MUST use the weak comparison function when comparing
    //# entity tags for If-None-Match
    let tag = opaque_tag(tag.as_bytes());
    let lines = request.get_all(IF_NONE_MATCH).iter();
    lines.flat_map(|line| EntityTags(line.as_bytes())).any(|member| opaque_tag(member) == tag)
}

/// The members of a list of entity tags. Not a list as others: within a tag a backslash escapes nothing
/// (RFC 9110 section 8.8.3). What has no quotes is a member as well, since origins exist that send such tags.
struct EntityTags<'l>(&'l [u8]);

impl<'l> Iterator for EntityTags<'l> {
    type Item = &'l [u8];

    fn next(&mut self) -> Option<&'l [u8]> {
        let start = self.0.iter().position(|byte| !b", \t".contains(byte))?;
        let rest = &self.0[start..];
        let opening = if rest.starts_with(b"W/") { 2 } else { 0 };
        let closing = match rest.get(opening) {
            Some(b'"') => {
                rest[opening + 1..].iter().position(|byte| *byte == b'"').map(|at| opening + 1 + at + 1)
            }
            _ => None,
        };
        let end = closing.or_else(|| rest.iter().position(|byte| *byte == b',')).unwrap_or(rest.len());
        let (member, rest) = rest.split_at(end);
        self.0 = rest;
        Some(member.trim_ascii_end())
    }
}
