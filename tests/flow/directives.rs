//! Directives of requests and of upstreams: which count, and what they lead to.

use std::time::Duration;

use flow_tests::{Origin, Proxy};

use crate::{HIT, STORED, assert_status};

fn validating() -> Origin {
    Origin::start(|seen, answering| match seen.field("if-none-match") {
        Some(_) => answering.reply(304, &[("etag", "\"1\""), ("cache-control", "max-age=60")], ""),
        None => answering.reply(200, &[("etag", "\"1\""), ("cache-control", "max-age=60")], "x"),
    })
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1
//= type=test
//# This section defines cache request directives.  They are advisory;
//# caches MAY implement them, but are not required to.
#[test]
fn browsers_do_not_make_the_upstream_work_unless_a_route_lets_them() {
    let origin = validating();
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(10));
    for asked in ["no-cache", "max-age=0", "max-age=5", "min-fresh=100"] {
        assert_status(&proxy.get_with("/a", &[("cache-control", asked)]), HIT);
    }
    assert_status(&proxy.get_with("/a", &[("pragma", "no-cache")]), HIT);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_route_may_honour_what_requests_ask() {
    let origin = validating();
    let proxy = Proxy::in_front_of(&origin, "cache = { request_directives = \"honor\" }");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(10));
    assert_status(&proxy.get_with("/a", &[("cache-control", "max-age=11")]), HIT);
    assert_status(&proxy.get_with("/a", &[("cache-control", "min-fresh=50")]), HIT);
    let mut count = 1;
    for asked in [
        ("cache-control", "no-cache"),
        ("cache-control", "max-age=0"),
        ("cache-control", "min-fresh=61"),
        ("pragma", "no-cache"),
    ] {
        assert_status(&proxy.get_with("/a", &[asked]), "larder; fwd=request; fwd-status=304; stored");
        count += 1;
        assert_eq!(origin.count(), count, "{asked:?}");
        proxy.clock.advance(Duration::from_secs(1));
    }
    proxy.clock.advance(Duration::from_secs(70));
    let stale = proxy.get_with("/a", &[("cache-control", "max-stale=30")]);
    assert!(stale.field("cache-status").unwrap().ends_with("detail=max-stale"), "{stale:?}");
    assert_status(
        &proxy.get_with("/a", &[("cache-control", "max-stale=5")]),
        "larder; fwd=stale; fwd-status=304; stored",
    );
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.7
//= type=test
//# Caches that honor this request
//# directive SHOULD, upon receiving it, respond with either a stored
//# response consistent with the other constraints of the request or a
//# 504 (Gateway Timeout) status code.
#[test]
fn only_if_cached_is_always_honoured() {
    let origin = validating();
    for route in ["", "cache = { request_directives = \"honor\" }"] {
        let proxy = Proxy::in_front_of(&origin, route);
        let asked = [("cache-control", "only-if-cached")];
        assert_eq!(proxy.get_with("/a", &asked).status, 504);
        proxy.get("/a");
        assert_status(&proxy.get_with("/a", &asked), HIT);
    }
}

//= https://www.rfc-editor.org/rfc/rfc8246#section-2
//= type=test
//# Clients SHOULD NOT issue a conditional request during the
//# response's freshness lifetime (e.g., upon a reload) unless explicitly
//# overridden by the user (e.g., a force reload).
#[test]
fn a_reload_does_not_validate_what_is_immutable() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60, immutable"), ("etag", "\"1\"")], "x");
    let proxy = Proxy::in_front_of(&origin, "cache = { request_directives = \"honor\" }");
    proxy.get("/a");
    assert_status(&proxy.get_with("/a", &[("cache-control", "max-age=0")]), HIT);
    assert_status(
        &proxy.get_with("/a", &[("cache-control", "no-cache")]),
        "larder; fwd=request; fwd-status=200; stored",
    );
}

//= https://www.rfc-editor.org/rfc/rfc9213#section-2.2
//= type=test
//# When a cache that implements this specification receives a response
//# with one or more of the header field names on its target list, the
//# cache MUST select the first (in target-list order) field with a valid,
//# non-empty value and use its value to determine the caching policy for
//# the response
#[test]
fn the_field_for_this_cache_takes_the_place_of_cache_control() {
    let origin = Origin::start(|seen, answering| {
        let fields: &[(&str, &str)] = match seen.target.as_str() {
            "/own" => &[
                ("larder-cache-control", "max-age=60"),
                ("cdn-cache-control", "no-store"),
                ("cache-control", "private"),
            ],
            "/cdn" => &[("cdn-cache-control", "max-age=60"), ("cache-control", "no-store"), ("expires", "0")],
            "/invalid" => &[("cdn-cache-control", "max-age=60, &"), ("cache-control", "no-store")],
            _ => &[("cdn-cache-control", "no-store"), ("cache-control", "max-age=60")],
        };
        answering.reply(200, fields, "x")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    for target in ["/own", "/cdn"] {
        let first = proxy.get(target);
        assert_status(&first, STORED);
        assert_eq!(first.field("larder-cache-control"), None, "it is for this cache alone");
        let hit = proxy.get(target);
        assert_eq!(hit.field("cache-status"), Some("larder; hit; ttl=60"));
        assert!(hit.field("cdn-cache-control").is_some(), "caches on the way to the client may need it");
    }
    for target in ["/invalid", "/none"] {
        proxy.get(target);
        assert_status(&proxy.get(target), "larder; fwd=uri-miss; fwd-status=200; detail=no-store");
    }
    let plain = Proxy::in_front_of(&origin, "");
    plain.reload(&format!("[cache]\ntargets = []\n{}", flow_tests::proxy::config(&origin, "")));
    plain.get("/cdn");
    assert_status(&plain.get("/cdn"), "larder; fwd=uri-miss; fwd-status=200; detail=no-store");
}

#[test]
fn what_the_field_for_this_cache_said_holds_after_a_validation() {
    let origin = Origin::start(|seen, answering| match seen.field("if-none-match") {
        Some(_) => answering.reply(304, &[("etag", "\"1\"")], ""),
        None => answering.reply(
            200,
            &[
                ("etag", "\"1\""),
                ("larder-cache-control", "max-age=60"),
                ("cache-control", "no-store"),
                ("cache-tag", "t"),
            ],
            "x",
        ),
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(61));
    assert_status(&proxy.get("/a"), "larder; fwd=stale; fwd-status=304; stored");
    assert_status(&proxy.get("/a"), HIT);
    proxy.purge_tag("t");
    assert_status(&proxy.get("/a"), "larder; fwd=miss; fwd-status=200; stored");
}

#[test]
fn statuses_are_given_lifetimes_by_name() {
    let origin = Origin::start(|seen, answering| {
        let status = seen.target.get(1..4).and_then(|status| status.parse().ok()).unwrap_or(200);
        answering.reply(status, &[], "x")
    });
    let proxy = Proxy::in_front_of(
        &origin,
        "cache = { default_ttl = \"1h\", status_ttl = { 404 = \"10s\", 5xx = \"1s\", 503 = \"5s\" } }",
    );
    for (target, lifetime) in [
        ("/404", Some("10")),
        ("/500", Some("1")),
        ("/503", Some("5")),
        ("/200", Some("3600")),
        ("/403", None),
    ] {
        proxy.get(target);
        let again = proxy.get(target);
        match lifetime {
            Some(lifetime) => {
                assert_eq!(again.field("cache-status"), Some(&*format!("larder; hit; ttl={lifetime}")))
            }
            None => assert!(!again.field("cache-status").unwrap().contains("hit"), "{target}"),
        }
    }
}

#[test]
fn a_popular_response_is_refreshed_before_it_is_stale() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=600")], "x");
    let proxy = Proxy::in_front_of(&origin, "cache = { early_refresh = 10 }");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_millis(599_999));
    // At random, and the nearer the end the more likely: here nearly always.
    flow_tests::wait::until("the refresh", || {
        assert_status(&proxy.get("/a"), HIT);
        origin.count() > 1
    });
    let late = Proxy::in_front_of(&origin, "");
    late.get("/a");
    let count = origin.count();
    late.clock.advance(Duration::from_millis(599_999));
    for _ in 0..20 {
        assert_status(&late.get("/a"), HIT);
    }
    assert_eq!(origin.count(), count);
}
