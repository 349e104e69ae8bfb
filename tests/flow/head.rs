//! HEAD where the response to a GET is stored and no longer fresh (RFC 9111 section 4.3.5).

use std::time::Duration;

use flow_tests::{Origin, Proxy, Response};

use crate::{HIT, assert_status};

fn head(proxy: &Proxy) -> Response {
    proxy.client().call("HEAD", "/a", &[], b"").expect("the proxy answers")
}

/// A GET brings `old`; whatever comes to a HEAD has these fields.
fn stored(status: u16, fields: &'static [(&'static str, &'static str)]) -> (Origin, Proxy) {
    let origin = Origin::start(move |seen, answering| {
        if seen.method == "HEAD" {
            return answering.head(status, fields);
        }
        answering.reply(200, &[("etag", "\"1\""), ("cache-control", "max-age=10"), ("x-old", "1")], "old")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(11));
    (origin, proxy)
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.5
//= type=test
//# When a cache makes an inbound HEAD request for a target URI and
//# receives a 200 (OK) response, the cache SHOULD update or invalidate
//# each of its stored GET responses that could have been chosen for that
//# request (see Section 4.1).
#[test]
fn an_answer_to_head_freshens_what_is_stored() {
    let (origin, proxy) = stored(
        200,
        &[("etag", "\"1\""), ("cache-control", "max-age=60"), ("x-new", "1"), ("content-length", "3")],
    );
    let answer = head(&proxy);
    assert_status(&answer, "larder; fwd=stale; fwd-status=200");
    assert_eq!((answer.status, answer.field("x-new")), (200, Some("1")));
    let hit = proxy.get("/a");
    assert_status(&hit, HIT);
    assert_eq!((hit.text().as_str(), hit.field("x-new"), hit.field("x-old")), ("old", Some("1"), Some("1")));
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_304_to_head_freshens_what_is_stored() {
    let (origin, proxy) = stored(304, &[("etag", "\"1\""), ("cache-control", "max-age=60")]);
    let answer = head(&proxy);
    assert_status(&answer, "larder; fwd=stale; fwd-status=304; stored");
    assert_eq!((answer.status, answer.field("content-length"), answer.body.len()), (200, Some("3"), 0));
    assert_eq!(origin.seen()[1].field("if-none-match"), Some("\"1\""));
    assert_status(&proxy.get("/a"), HIT);
}

#[test]
fn an_answer_to_head_that_does_not_fit_ends_what_is_stored() {
    for fields in [
        &[("etag", "\"2\""), ("cache-control", "max-age=60")][..],
        &[("etag", "\"1\""), ("content-length", "4")][..],
    ] {
        let (origin, proxy) = stored(200, fields);
        head(&proxy);
        assert_status(&proxy.get("/a"), "larder; fwd=uri-miss; fwd-status=200; stored");
        assert_eq!(origin.seen()[2].field("if-none-match"), None);
    }
}

#[test]
fn an_error_to_head_leaves_what_is_stored() {
    let (origin, proxy) = stored(503, &[]);
    assert_eq!(head(&proxy).status, 503);
    proxy.get("/a");
    assert_eq!(origin.seen()[2].field("if-none-match"), Some("\"1\""));
}

//= https://www.rfc-editor.org/rfc/rfc5861#section-4
//= type=test
//# a cached stale response MAY be used to satisfy the request
#[test]
fn head_is_answered_stale_where_the_upstream_fails() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=10, stale-if-error=60")], "old");
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    origin.stop();
    proxy.clock.advance(Duration::from_secs(20));
    let stale = head(&proxy);
    assert_eq!((stale.status, stale.field("content-length")), (200, Some("3")));
    assert!(stale.field("cache-status").unwrap().ends_with("detail=stale-if-error"));
}
