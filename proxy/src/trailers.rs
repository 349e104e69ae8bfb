//! Trailer fields: which of them a message says it will have, and which of those are passed on.
//!
//! hyper sends only trailer fields that the head of the message names, and to a client only if it said `TE: trailers`;
//! it reads at most 100 of them and 16 KiB. What remains is to name those that are passed on, and to say in our own
//! name what a client said to us. Nothing of them is merged into a head or stored.

use caching::fields::clean_trailers;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, TE, TRAILER},
};

/// The `Trailer` field to send on in place of the one that came: without names that may not stand in a trailer
/// section, or that concern one connection alone.
pub fn announced(fields: &HeaderMap) -> Option<HeaderValue> {
    let mut named = HeaderMap::new();
    for line in fields.get_all(TRAILER) {
        for name in line.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) {
                named.insert(name, HeaderValue::from_static(""));
            }
        }
    }
    if named.is_empty() {
        return None;
    }
    //= https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
    //# for each connection-option in this field,
    //# remove any header or trailer field(s) from the message with the same
    //# name as the connection-option
    for line in fields.get_all(CONNECTION) {
        named.append(CONNECTION, line.clone());
    }
    clean_trailers(&mut named);
    let names: Vec<&str> = named.keys().map(HeaderName::as_str).collect();
    HeaderValue::from_str(&names.join(", ")).ok().filter(|names| !names.is_empty())
}

/// Whether a client takes trailer fields.
pub fn are_taken(fields: &HeaderMap) -> bool {
    let members = fields.get_all(TE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).any(|member| member.eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(trailer: &[&'static str], connection: &'static str, expected: Option<&str>) {
        let mut fields = HeaderMap::from_iter([(CONNECTION, HeaderValue::from_static(connection))]);
        for line in trailer {
            fields.append(TRAILER, HeaderValue::from_static(line));
        }
        assert_eq!(announced(&fields).as_ref().map(|names| names.to_str().unwrap()), expected, "{trailer:?}");
    }

    #[test]
    fn only_what_may_stand_in_a_trailer_section_is_announced() {
        check(&[], "close", None);
        check(&["x-sum"], "close", Some("x-sum"));
        check(&["X-Sum , x-sum,, no name, y"], "close", Some("x-sum, y"));
        check(&["x-sum", "x-other, Content-Length"], "close", Some("x-sum, x-other"));
        check(&["x-sum, x-hop"], "close, X-Hop", Some("x-sum"));
        check(&["content-length, set-cookie"], "close", None);
    }
}
