//! Methods other than GET whose answers can be stored: QUERY (RFC 10008), and POST with its own location.

use flow_tests::{Origin, Proxy, Response};

use crate::{HIT, STORED, assert_status};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

fn query(proxy: &Proxy, content: &str, kind: &str) -> Response {
    let fields = [("content-type", kind), ("host", "h")];
    proxy.client().call("QUERY", "/search", &fields, content.as_bytes()).expect("the proxy answers")
}

fn echo() -> Origin {
    Origin::start(|seen, answering| {
        answering.reply(200, FRESH, &format!("{} {}", seen.method, String::from_utf8_lossy(&seen.body)))
    })
}

//= https://www.rfc-editor.org/rfc/rfc10008#section-2.7
//= type=test
//# The cache key for a QUERY request (Section 2 of [HTTP-CACHING]) MUST
//# incorporate the request content
#[test]
fn the_content_of_a_query_is_part_of_its_key() {
    let origin = echo();
    let proxy = Proxy::in_front_of(&origin, "");
    let first = query(&proxy, "a=1", "text/plain");
    assert_status(&first, STORED);
    assert_eq!(first.text(), "QUERY a=1");
    assert_status(&query(&proxy, "a=1", "text/plain"), HIT);
    assert_status(&query(&proxy, "a=2", "text/plain"), STORED);
    assert_status(&query(&proxy, "a=1", "application/sql"), STORED);
    assert_status(&query(&proxy, "", "text/plain"), STORED);
    assert_status(&proxy.get_with("/search", &[("host", "h")]), STORED);
    let purge = proxy.admin("POST", "/api/purge", "{\"urls\": [\"http://h/search\"]}");
    assert_eq!(purge.status, 200);
    assert_status(&query(&proxy, "a=1", "text/plain"), "larder; fwd=miss; fwd-status=200; stored");
}

#[test]
fn a_query_is_safe_and_invalidates_nothing() {
    let origin = echo();
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get_with("/search", &[("host", "h")]);
    query(&proxy, "a", "text/plain");
    assert_status(&proxy.get_with("/search", &[("host", "h")]), HIT);
}

#[test]
fn content_that_is_too_large_for_a_key_is_passed_on_whole() {
    let origin = echo();
    let proxy = Proxy::in_front_of(&origin, "");
    let large = "x".repeat(larder::request::MAX_KEY_CONTENT_BYTES + 1);
    for count in 1..3 {
        let answer = query(&proxy, &large, "text/plain");
        assert_eq!(answer.text(), format!("QUERY {large}"));
        assert_eq!(origin.count(), count);
    }
    let just = "x".repeat(larder::request::MAX_KEY_CONTENT_BYTES);
    query(&proxy, &just, "text/plain");
    assert_status(&query(&proxy, &just, "text/plain"), HIT);
}

fn post(proxy: &Proxy) -> Response {
    proxy.client().call("POST", "/a", &[("host", "h")], b"form").expect("the proxy answers")
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-9.3.3
//= type=test
//# Responses to POST requests are only cacheable when they include
//# explicit freshness information (see Section 4.2.1 of [CACHING]) and a
//# Content-Location header field that has the same value as the POST's
//# target URI (Section 8.7).
#[test]
fn the_answer_to_a_post_may_answer_a_get_of_the_same_target() {
    for (control, location, is_stored) in [
        ("max-age=60", "/a", true),
        ("max-age=60", "http://h/a", true),
        ("max-age=60", "/b", false),
        ("max-age=60", "http://other/a", false),
        ("public", "/a", false),
        ("no-store", "/a", false),
    ] {
        let origin = Origin::start(move |seen, answering| {
            let fields = [("cache-control", control), ("content-location", location)];
            if seen.method == "GET" {
                answering.reply(200, FRESH, "got")
            } else {
                answering.reply(200, &fields, "posted")
            }
        });
        let proxy = Proxy::in_front_of(&origin, "");
        proxy.get_with("/a", &[("host", "h")]);
        assert_eq!(post(&proxy).text(), "posted");
        if is_stored {
            flow_tests::wait::until("the answer to be stored", || {
                proxy.get_with("/a", &[("host", "h")]).text() == "posted"
            });
            assert_status(&proxy.get_with("/a", &[("host", "h")]), HIT);
        } else {
            assert_eq!(proxy.get_with("/a", &[("host", "h")]).text(), "got");
            assert_eq!(origin.count(), 3, "{control} {location}: the POST ended what was stored");
        }
        // A POST itself always goes to the upstream.
        assert_status(
            &post(&proxy),
            if is_stored {
                "larder; fwd=method; fwd-status=200; stored"
            } else {
                "larder; fwd=method; fwd-status=200"
            },
        );
    }
}

#[test]
fn a_query_that_has_to_be_asked_twice_is_asked_whole() {
    let origin = Origin::start(|seen, answering| match seen.field("if-none-match") {
        Some(_) => answering.reply(304, &[("etag", "\"other\"")], ""),
        None => {
            let body = format!("for {}", String::from_utf8_lossy(&seen.body));
            answering.reply(200, &[("etag", "\"1\""), ("cache-control", "max-age=10")], &body)
        }
    });
    let proxy = Proxy::in_front_of(&origin, "");
    query(&proxy, "q", "text/plain");
    proxy.clock.advance(std::time::Duration::from_secs(11));
    assert_eq!(query(&proxy, "q", "text/plain").text(), "for q");
    assert_eq!(origin.count(), 3);
    assert!(origin.seen().iter().all(|seen| seen.body == b"q" && seen.field("content-length") == Some("1")));
}
