//! The cache key: what shares, and what must not.

use caching::key::{KeyWriter, MethodClass, host_and_target};

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
