//! Parts of stored responses (RFC 9110 section 14).

use flow_tests::{Origin, Proxy};

use crate::{HIT, assert_status};

fn digits() -> Origin {
    Origin::start(|seen, answering| {
        if seen.field("range").is_some() {
            return answering.reply(
                206,
                &[("content-range", "bytes 0-1/10"), ("cache-control", "max-age=60")],
                "01",
            );
        }
        answering.reply(200, &[("cache-control", "max-age=60"), ("etag", "\"1\"")], "0123456789")
    })
}

#[test]
fn a_part_of_what_is_stored_needs_no_upstream() {
    let origin = digits();
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    for (range, part, content_range) in [
        ("bytes=0-1", "01", "bytes 0-1/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=-1", "9", "bytes 9-9/10"),
    ] {
        let answer = proxy.get_with("/a", &[("range", range)]);
        assert_eq!((answer.status, answer.text().as_str()), (206, part));
        assert_eq!(answer.field("content-range"), Some(content_range));
        assert_eq!(answer.field("content-length"), Some(part.len().to_string().as_str()));
        assert_status(&answer, HIT);
    }
    let beyond = proxy.get_with("/a", &[("range", "bytes=10-")]);
    assert_eq!((beyond.status, beyond.field("content-range")), (416, Some("bytes */10")));
    let other = proxy.get_with("/a", &[("range", "bytes=0-1"), ("if-range", "\"2\"")]);
    assert_eq!((other.status, other.text().as_str()), (200, "0123456789"));
    let known = proxy.get_with("/a", &[("range", "bytes=0-1"), ("if-none-match", "\"1\"")]);
    assert_eq!(known.status, 304, "a condition comes before a range");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_part_that_is_not_stored_is_passed_on_and_never_taken_for_the_whole() {
    let origin = digits();
    let proxy = Proxy::in_front_of(&origin, "");
    let part = proxy.get_with("/a", &[("range", "bytes=0-1")]);
    assert_eq!((part.status, part.text().as_str()), (206, "01"));
    let whole = proxy.get("/a");
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    assert_status(&whole, "larder; fwd=partial; fwd-status=200; stored");
}

#[test]
fn a_condition_that_is_the_origins_to_judge_reaches_it() {
    let origin = digits();
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    for condition in [("if-match", "\"1\""), ("if-unmodified-since", "Thu, 01 Jan 2026 00:00:00 GMT")] {
        assert_status(&proxy.get_with("/a", &[condition]), "larder; fwd=bypass; fwd-status=200");
        assert_eq!(
            origin.seen().last().and_then(|seen| seen.field(condition.0).map(str::to_owned)).as_deref(),
            Some(condition.1)
        );
    }
}
