//! How long a stored response answers, and how old it says it is.

use std::time::Duration;

use flow_tests::{Origin, Proxy, proxy::config};

use crate::{HIT, STORED, assert_status};

#[test]
fn a_second_request_is_a_hit_that_says_its_age() {
    let origin =
        Origin::fixed(200, &[("cache-control", "max-age=60"), ("content-type", "text/plain")], "one");
    let proxy = Proxy::in_front_of(&origin, "");
    let first = proxy.get("/a");
    assert_eq!((first.status, first.text().as_str()), (200, "one"));
    assert_status(&first, STORED);
    assert_eq!(first.field("age"), None);
    proxy.clock.advance(Duration::from_secs(7));
    let second = proxy.get("/a");
    assert_eq!((second.status, second.text().as_str()), (200, "one"));
    assert_eq!(second.field("cache-status"), Some("larder; hit; ttl=53"));
    assert_eq!(second.field("age"), Some("7"));
    assert_eq!(second.field("content-type"), Some("text/plain"));
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_response_is_fetched_again_once_its_lifetime_is_over() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60")], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(59));
    assert_status(&proxy.get("/a"), HIT);
    proxy.clock.advance(Duration::from_secs(1));
    assert_status(&proxy.get("/a"), "larder; fwd=stale; fwd-status=200; stored");
    assert_eq!(origin.count(), 2);
}

#[test]
fn an_age_that_the_upstream_gives_counts() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60"), ("age", "50")], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    assert_eq!(proxy.get("/a").field("age"), Some("50"), "the first client is told, too");
    proxy.clock.advance(Duration::from_secs(9));
    let hit = proxy.get("/a");
    assert_eq!((hit.field("age"), hit.field("cache-status")), (Some("59"), Some("larder; hit; ttl=1")));
}

#[test]
fn nothing_without_freshness_information_is_stored() {
    let origin = Origin::fixed(200, &[], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    for _ in 0..2 {
        assert_status(&proxy.get("/a"), "larder; fwd=uri-miss; fwd-status=200; detail=no-freshness");
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_default_ttl_serves_where_the_upstream_gives_none() {
    let origin = Origin::fixed(200, &[], "x");
    let proxy = Proxy::in_front_of(&origin, "cache = { default_ttl = \"30m\" }");
    proxy.get("/a");
    assert_eq!(proxy.get("/a").field("cache-status"), Some("larder; hit; ttl=1800"));
}

#[test]
fn a_default_ttl_is_not_for_errors() {
    let origin = Origin::fixed(404, &[], "none");
    let proxy = Proxy::in_front_of(&origin, "cache = { default_ttl = \"30m\" }");
    proxy.get("/a");
    assert_status(&proxy.get("/a"), "larder; fwd=uri-miss; fwd-status=404; detail=no-freshness");
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_lowered_ttl_makes_what_is_stored_stale_at_once_and_a_raised_one_fresh_again() {
    let origin = Origin::fixed(200, &[], "x");
    let ttl = |ttl: &str| {
        config(&origin, &format!("[[route]]\nname = \"all\"\ncache = {{ default_ttl = \"{ttl}\" }}"))
    };
    let proxy = Proxy::with_config(&ttl("1h"));
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(100));
    assert_eq!(proxy.get("/a").field("cache-status"), Some("larder; hit; ttl=3500"));
    proxy.reload(&ttl("1m"));
    assert_status(&proxy.get("/a"), "larder; fwd=stale; fwd-status=200; stored");
    proxy.clock.advance(Duration::from_secs(100));
    proxy.reload(&ttl("2m"));
    assert_eq!(proxy.get("/a").field("cache-status"), Some("larder; hit; ttl=20"));
    assert_eq!(origin.count(), 2);
}

#[test]
fn what_is_private_or_has_a_cookie_is_never_stored_whatever_the_route_says() {
    const CASES: [(&str, &str, &str); 4] = [
        ("cache-control", "private, max-age=60", "private"),
        ("cache-control", "no-store", "no-store"),
        ("set-cookie", "session=1", "set-cookie"),
        ("vary", "*", "vary-star"),
    ];
    for (name, value, detail) in CASES {
        let origin = Origin::start(move |_, answering| answering.reply(200, &[(name, value)], "mine"));
        let proxy = Proxy::in_front_of(&origin, "cache = { ttl = \"1h\" }");
        for _ in 0..2 {
            assert_status(
                &proxy.get("/a"),
                &format!("larder; fwd=uri-miss; fwd-status=200; detail={detail}"),
            );
        }
        assert_eq!(origin.count(), 2, "{name}: {value}");
    }
}

#[test]
fn an_answer_to_credentials_is_stored_only_if_its_origin_says_so() {
    let origin = Origin::start(|seen, answering| {
        let public = [("cache-control", "public, max-age=60")];
        let plain = [("cache-control", "max-age=60")];
        answering.reply(200, if seen.target == "/public" { &public } else { &plain }, "x")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let credentials = [("authorization", "Basic eDp5")];
    for _ in 0..2 {
        let own = proxy.get_with("/own", &credentials);
        assert_status(&own, "larder; fwd=uri-miss; fwd-status=200; detail=authorization");
    }
    assert_status(&proxy.get_with("/public", &credentials), STORED);
    assert_status(&proxy.get("/public"), HIT);
}

#[test]
fn hosts_never_share() {
    let origin = Origin::start(|seen, answering| {
        let host = seen.field("host").unwrap_or_default().to_owned();
        answering.reply(200, &[("cache-control", "max-age=60")], &host)
    });
    let proxy = Proxy::in_front_of(&origin, "");
    assert_eq!(proxy.get_with("/a", &[("Host", "one.example")]).text(), "one.example");
    assert_eq!(proxy.get_with("/a", &[("Host", "two.example")]).text(), "two.example");
    let again = proxy.get_with("/a", &[("Host", "ONE.example:80")]);
    assert_eq!(again.text(), "one.example");
    assert_status(&again, HIT);
}

#[test]
fn head_is_answered_from_a_stored_get() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60")], "12345");
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    let head = proxy.client().call("HEAD", "/a", &[], b"").unwrap();
    assert_status(&head, HIT);
    assert_eq!(head.field("content-length"), Some("5"));
    assert_eq!(origin.count(), 1);
}
