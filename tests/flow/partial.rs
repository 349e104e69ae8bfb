//! Parts of responses: stored, put together, completed (RFC 9111 sections 3.3 and 3.4, RFC 9110 sections 14 and 15.3.7).

use std::time::Duration;

use flow_tests::{Origin, Proxy, Seen, wait};

use crate::{HIT, assert_status};

const DIGITS: &str = "0123456789";

/// Answers ranges of ten digits, `first-last` or `first-`, as an origin does that takes `If-Range`.
fn ranged(seen: &Seen, tag: &str) -> Option<(usize, usize)> {
    let range = seen.field("range")?.strip_prefix("bytes=")?;
    if seen.field("if-range").is_some_and(|condition| condition != tag) {
        return None;
    }
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, if last.is_empty() { 9 } else { last.parse().ok()? }))
}

fn digits(tag: &'static str) -> Origin {
    Origin::start(move |seen, answering| match ranged(seen, tag) {
        Some((first, last)) => {
            let content_range = format!("bytes {first}-{last}/10");
            let fields = [("content-range", &*content_range), ("cache-control", "max-age=60"), ("etag", tag)];
            answering.reply(206, &fields, &DIGITS[first..=last])
        }
        None => answering.reply(200, &[("cache-control", "max-age=60"), ("etag", tag)], DIGITS),
    })
}

/// A range; returns when what it brought can be found.
fn part(proxy: &Proxy, range: &str) {
    let answer = proxy.get_with("/a", &[("range", range)]);
    assert_eq!(answer.status, 206, "{answer:?}");
    wait::until("the part to be stored", || {
        !proxy.shared.memory.is_empty() && proxy.shared.invalidations.under_way() == 0
    });
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.3
//= type=test
//# A cache MUST NOT use an incomplete response to answer requests unless
//# the response has been made complete, or the request is partial and
//# specifies a range wholly within the incomplete response.
#[test]
fn a_stored_part_answers_ranges_within_it_and_nothing_else() {
    let origin = digits("\"1\"");
    let proxy = Proxy::in_front_of(&origin, "");
    let first = proxy.get_with("/a", &[("range", "bytes=2-6")]);
    assert_status(&first, "larder; fwd=uri-miss; fwd-status=206; stored");
    assert_eq!((first.text().as_str(), first.field("content-range")), ("23456", Some("bytes 2-6/10")));
    wait::until("the part to be stored", || !proxy.shared.memory.is_empty());
    for (range, expected, content_range) in
        [("bytes=2-6", "23456", "bytes 2-6/10"), ("bytes=3-4", "34", "bytes 3-4/10")]
    {
        let hit = proxy.get_with("/a", &[("range", range)]);
        assert_status(&hit, HIT);
        assert_eq!((hit.status, hit.text().as_str()), (206, expected));
        assert_eq!((hit.field("content-range"), hit.field("age")), (Some(content_range), Some("0")));
    }
    assert_eq!(origin.count(), 1);
    let beyond = proxy.get_with("/a", &[("range", "bytes=6-8")]);
    assert_status(&beyond, "larder; fwd=partial; fwd-status=206; stored");
    assert_eq!(beyond.text(), "678");
    assert_eq!(origin.count(), 2);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.4
//= type=test
//# When combining the new response with one or more stored responses, a
//# cache MUST update the stored response header fields using the header
//# fields provided in the new response
#[test]
fn parts_with_the_same_strong_validator_become_one_and_the_whole() {
    let origin = digits("\"1\"");
    let proxy = Proxy::in_front_of(&origin, "");
    part(&proxy, "bytes=0-3");
    part(&proxy, "bytes=4-6");
    let hit = proxy.get_with("/a", &[("range", "bytes=2-5")]);
    assert_status(&hit, HIT);
    assert_eq!(hit.text(), "2345");
    part(&proxy, "bytes=5-9");
    let whole = proxy.get("/a");
    assert_status(&whole, HIT);
    assert_eq!((whole.status, whole.text().as_str()), (200, DIGITS));
    assert_eq!((whole.field("content-length"), whole.field("content-range")), (Some("10"), None));
    assert_eq!(origin.count(), 3);
}

#[test]
fn the_rest_of_a_stored_beginning_is_asked_for_and_the_whole_is_stored() {
    let origin = digits("\"1\"");
    let proxy = Proxy::in_front_of(&origin, "");
    part(&proxy, "bytes=0-3");
    let whole = proxy.get("/a");
    assert_eq!((whole.status, whole.text().as_str()), (200, DIGITS));
    assert_status(&whole, "larder; fwd=partial; fwd-status=206; stored");
    let asked = &origin.seen()[1];
    assert_eq!((asked.field("range"), asked.field("if-range")), (Some("bytes=4-"), Some("\"1\"")));
    wait::until("the whole to be stored", || proxy.get("/a").field("cache-status").unwrap().contains("hit"));
    assert_eq!(proxy.get("/a").text(), DIGITS);
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_beginning_of_what_has_changed_is_not_completed() {
    let origin = Origin::start(|seen, answering| {
        if seen.field("range") == Some("bytes=0-3") {
            let fields =
                [("content-range", "bytes 0-3/10"), ("cache-control", "max-age=60"), ("etag", "\"1\"")];
            return answering.reply(206, &fields, "0123");
        }
        assert!(seen.field("if-range") == Some("\"1\""));
        answering.reply(200, &[("cache-control", "max-age=60"), ("etag", "\"2\"")], "abcdefghij")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    part(&proxy, "bytes=0-3");
    assert_eq!(proxy.get("/a").text(), "abcdefghij");
    assert_eq!(proxy.get_with("/a", &[("range", "bytes=0-3")]).text(), "abcd");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7.3
//= type=test
//# A client that has received multiple partial responses to GET requests
//# on a target resource MAY combine those responses into a larger
//# continuous range if they share the same strong validator.
#[test]
fn parts_with_weak_validators_are_not_put_together() {
    let origin = digits("W/\"1\"");
    let proxy = Proxy::in_front_of(&origin, "");
    part(&proxy, "bytes=0-3");
    part(&proxy, "bytes=4-9");
    assert_eq!(proxy.get("/a").text(), DIGITS);
    assert_eq!(origin.seen()[2].field("range"), None);
}

#[test]
fn a_part_that_is_not_as_long_as_it_says_is_not_stored() {
    let origin = Origin::start(|_, answering| {
        let fields = [("content-range", "bytes 0-5/10"), ("cache-control", "max-age=60"), ("etag", "\"1\"")];
        answering.reply(206, &fields, "0123")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    for count in 1..3 {
        proxy.get_with("/a", &[("range", "bytes=0-5")]);
        assert_eq!(origin.count(), count);
    }
    assert!(proxy.shared.memory.is_empty());
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7.2
//= type=test
//# If multiple parts are being transferred, the server generating the
//# 206 response MUST generate "multipart/byteranges" content, as defined
//# in Section 14.6
#[test]
fn several_ranges_of_what_is_stored_are_several_parts() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60"), ("content-type", "text/x")], DIGITS);
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    let answer = proxy.get_with("/a", &[("range", "bytes=0-1, -2")]);
    assert_status(&answer, HIT);
    assert_eq!(answer.status, 206);
    let boundary =
        answer.field("content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range: &str, bytes: &str| {
        format!("--{boundary}\r\nContent-Type: text/x\r\nContent-Range: bytes {range}/10\r\n\r\n{bytes}\r\n")
    };
    let expected = format!("{}{}--{boundary}--\r\n", part("0-1", "01"), part("8-9", "89"));
    assert_eq!(answer.text().replace("\r\n\r\n--", "\r\n--"), expected.replace("\r\n\r\n--", "\r\n--"));
    assert_eq!(answer.field("content-range"), None);
    assert_eq!(answer.field("content-length"), Some(&*answer.body.len().to_string()));
}

#[test]
fn a_range_that_is_all_of_it_is_the_whole() {
    let origin = digits("\"1\"");
    let proxy = Proxy::in_front_of(&origin, "");
    part(&proxy, "bytes=0-9");
    let whole = proxy.get("/a");
    assert_status(&whole, HIT);
    assert_eq!((whole.status, whole.text().as_str(), whole.field("content-range")), (200, DIGITS, None));
}

#[test]
fn an_upstream_that_cuts_no_parts_out_leaves_that_to_the_cache() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60")], DIGITS);
    let proxy = Proxy::in_front_of(&origin, "");
    let first = proxy.get_with("/a", &[("range", "bytes=0-1")]);
    assert_status(&first, "larder; fwd=uri-miss; fwd-status=200; stored");
    assert_eq!(first.text(), DIGITS);
    wait::until("the response to be stored", || proxy.shared.invalidations.under_way() == 0);
    let part = proxy.get_with("/a", &[("range", "bytes=0-1")]);
    assert_status(&part, HIT);
    assert_eq!((part.status, part.text().as_str()), (206, "01"));
    assert_status(&proxy.get("/a"), HIT);
}

#[test]
fn a_range_of_what_is_stale_validates_the_whole() {
    let origin = Origin::start(|seen, answering| match seen.field("if-none-match") {
        Some(_) => answering.reply(304, &[("etag", "\"1\""), ("cache-control", "max-age=60")], ""),
        None => answering.reply(200, &[("etag", "\"1\""), ("cache-control", "max-age=60")], DIGITS),
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(61));
    let part = proxy.get_with("/a", &[("range", "bytes=1-2")]);
    assert_status(&part, "larder; fwd=stale; fwd-status=304; stored");
    assert_eq!((part.status, part.text().as_str()), (206, "12"));
    assert_eq!(origin.seen()[1].field("range"), None);
    assert_status(&proxy.get("/a"), HIT);
}

#[test]
fn what_is_put_together_keeps_its_tags_and_what_its_upstream_said_to_the_cache() {
    let origin = Origin::start(|seen, answering| {
        let Some((first, last)) = ranged(seen, "\"1\"") else { return answering.reply(500, &[], "") };
        let content_range = format!("bytes {first}-{last}/10");
        let mut fields =
            vec![("content-range", &*content_range), ("cache-control", "max-age=60"), ("etag", "\"1\"")];
        if first == 0 {
            fields.extend([("cache-tag", "t"), ("larder-cache-control", "max-age=5")]);
        }
        answering.reply(206, &fields, &DIGITS[first..=last])
    });
    let proxy = Proxy::in_front_of(&origin, "");
    // Completed: the tag of the beginning is that of the whole.
    part(&proxy, "bytes=0-3");
    assert_eq!(proxy.get("/a").text(), DIGITS);
    wait::until("the whole to be stored", || proxy.shared.invalidations.under_way() == 0);
    assert_eq!(proxy.get("/a").field("cache-status"), Some("larder; hit; ttl=5"));
    proxy.purge_tag("t");
    assert!(!crate::status_of(&proxy.get("/a")).contains("hit"));
    // Parts to which different things were said are not put together.
    part(&proxy, "bytes=0-3");
    part(&proxy, "bytes=4-9");
    assert!(!crate::status_of(&proxy.get_with("/a", &[("range", "bytes=0-3")])).contains("hit"));
}

#[test]
fn a_rest_that_is_longer_than_can_be_counted_is_no_rest() {
    let origin = Origin::start(|seen, answering| match seen.field("range") {
        Some("bytes=0-3") => {
            let fields =
                [("content-range", "bytes 0-3/10"), ("cache-control", "max-age=60"), ("etag", "\"1\"")];
            answering.reply(206, &fields, "0123")
        }
        None => answering.reply(200, &[("cache-control", "max-age=60"), ("etag", "\"1\"")], DIGITS),
        Some(_) => {
            let fields = [
                ("content-range", "bytes 4-9/10"),
                ("cache-control", "max-age=60"),
                ("etag", "\"1\""),
                ("content-length", "18446744073709551613"),
            ];
            answering.head(206, &fields)?;
            answering.send(b"456789")?;
            answering.close()
        }
    });
    let proxy = Proxy::in_front_of(&origin, "");
    part(&proxy, "bytes=0-3");
    assert_eq!(proxy.get("/a").text(), DIGITS);
    assert_eq!(origin.count(), 3);
}
