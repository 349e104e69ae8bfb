//! The cache key: what shares, and what must not.

use caching::key::{KeyWriter, MethodClass, has_chosen_query, host_and_target};

use super::fields;

fn key(host: &str, target: &str, parts: &[&str]) -> Vec<u8> {
    let mut buffer = b"left over".to_vec();
    let mut writer = KeyWriter::begin(&mut buffer, MethodClass::Get, host, target);
    parts.iter().for_each(|part| writer.part(part.as_bytes()));
    buffer
}

#[track_caller]
fn check_differ(a: (&str, &str, &[&str]), b: (&str, &str, &[&str])) {
    assert_ne!(key(a.0, a.1, a.2), key(b.0, b.1, b.2), "{a:?} and {b:?}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-2
//= type=test
//# The "cache key" is the information a cache uses to choose a response
//# and is composed from, at a minimum, the request method and target URI
//# used to retrieve the stored response; the method determines under
//# which circumstances that response can be used to satisfy a subsequent
//# request.
#[test]
fn equal_parts_make_equal_keys() {
    assert_eq!(key("h", "/a?b=c", &["x"]), key("h", "/a?b=c", &["x"]));
    assert_eq!(key("h", "/", &[]), key("h", "/", &[]));
}

#[test]
fn two_hosts_never_share() {
    check_differ(("a.example", "/", &[]), ("b.example", "/", &[]));
    check_differ(("a", "b/c", &[]), ("ab", "/c", &[]));
    check_differ(("a:80", "/", &[]), ("a", ":80/", &[]));
}

#[test]
fn no_delimiter_can_be_injected() {
    check_differ(("h", "/a", &["b", "c"]), ("h", "/a", &["bc"]));
    check_differ(("h", "/a", &["b", ""]), ("h", "/a", &["b"]));
    check_differ(("h", "/a", &["", "b"]), ("h", "/a", &["b", ""]));
    check_differ(("h", "/a?b", &["c"]), ("h", "/a", &["?b", "c"]));
    check_differ(("h", "/a\0\0\0", &[]), ("h", "/a", &["\0\0\0"]));
    check_differ(("h", "/a", &["\u{1}\0\0\0b"]), ("h", "/a", &["", "b"]));
}

#[test]
fn host_and_target_are_read_back() {
    let mut buffer = Vec::new();
    KeyWriter::begin(&mut buffer, MethodClass::Get, "h.example", "/a?b").part(b"tenant");
    assert_eq!(host_and_target(&buffer), Some((b"h.example".as_slice(), b"/a?b".as_slice())));
    for end in 0..buffer.len() - 6 - 4 {
        assert_eq!(host_and_target(&buffer[..end]), None, "{end}");
    }
    assert_eq!(host_and_target(b"G\xff\xff\xff\xffx"), None);
}

fn query_key(metadata: &str, content: &str) -> Vec<u8> {
    let mut buffer = Vec::new();
    KeyWriter::begin(&mut buffer, MethodClass::Query, "h", "/")
        .content(&fields(metadata), content.as_bytes());
    buffer
}

//= https://www.rfc-editor.org/rfc/rfc10008#section-2.7
//= type=test
//# The cache key for a QUERY request (Section 2 of [HTTP-CACHING]) MUST
//# incorporate the request content
#[test]
fn a_query_is_keyed_by_its_content_and_what_that_is() {
    let differ = |a: (&str, &str), b: (&str, &str)| {
        assert_ne!(query_key(a.0, a.1), query_key(b.0, b.1), "{a:?} and {b:?}");
    };
    differ(("", "a"), ("", "b"));
    differ(("", ""), ("content-type: a/b", ""));
    differ(("content-type: a/b", "x"), ("content-type: a/c", "x"));
    differ(("content-type: a/b", "x"), ("content-type: a/b | content-encoding: gzip", "x"));
    differ(("content-encoding: gzip", "x"), ("content-encoding: br", "x"));
    differ(("content-language: da", "x"), ("content-language: de", "x"));
    differ(("content-location: /a", "x"), ("content-location: /b", "x"));
    differ(("content-type: ", "x"), ("", "x"));
    differ(("content-type: x", ""), ("content-encoding: x", ""));
    differ(("content-type: a | content-type: b", "x"), ("content-type: a, b", "x"));
    differ(("content-type: a | content-type: b", "x"), ("content-type: a | content-encoding: b", "x"));
    assert_eq!(query_key("content-type: a/b | accept: x", "q"), query_key("content-type: a/b", "q"));
}

#[test]
fn a_query_never_shares_with_a_get() {
    let mut get = Vec::new();
    KeyWriter::begin(&mut get, MethodClass::Get, "h", "/").content(&fields(""), b"");
    assert_ne!(get, query_key("", ""));
    assert_eq!(host_and_target(&query_key("", "x")), Some((b"h".as_slice(), b"/".as_slice())));
}

#[test]
fn a_key_says_whether_its_query_was_chosen() {
    assert!(has_chosen_query(&key("h", "/a", &["x", " query"])));
    assert!(!has_chosen_query(&key("h", "/a?query", &["query", "x query"])));
}
