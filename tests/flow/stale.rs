//! Stale answers, where the upstream or the route allows them (RFC 5861).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use flow_tests::{Gate, Origin, Proxy, wait};

use crate::{HIT, assert_status};

#[test]
fn a_stale_response_answers_while_it_is_refreshed_once() {
    let gate = Gate::default();
    let (held, answers) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let origin = Origin::start(move |_, answering| {
        let number = answers.fetch_add(1, Ordering::SeqCst);
        if number > 0 {
            held.wait()?;
        }
        let control = [("cache-control", "max-age=10, stale-while-revalidate=60")];
        answering.reply(200, &control, &format!("v{number}"))
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(15));
    for _ in 0..5 {
        let stale = proxy.get("/a");
        assert_eq!(stale.field("cache-status"), Some("larder; hit; ttl=-5; detail=stale-while-revalidate"));
        assert_eq!(stale.text(), "v0");
    }
    origin.wait_for(2);
    gate.open();
    wait::until("the refreshed response", || proxy.get("/a").text() == "v1");
    assert_eq!(origin.count(), 2);
    assert_status(&proxy.get("/a"), HIT);
}

#[test]
fn a_stale_response_stands_in_for_an_upstream_that_fails() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=10, stale-if-error=60")], "old");
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    origin.stop();
    proxy.clock.advance(Duration::from_secs(20));
    let stale = proxy.get("/a");
    assert_eq!(stale.field("cache-status"), Some("larder; hit; ttl=-10; detail=stale-if-error"));
    assert_eq!(stale.text(), "old");
    proxy.clock.advance(Duration::from_secs(60));
    assert_eq!(proxy.get("/a").status, 502);
}

#[test]
fn must_revalidate_is_never_served_stale() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=10, must-revalidate")], "old");
    let route = "cache = { stale_while_revalidate = \"1h\", stale_if_error = \"1h\" }";
    let proxy = Proxy::in_front_of(&origin, route);
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(20));
    assert_status(&proxy.get("/a"), "larder; fwd=stale; fwd-status=200; stored");
    origin.stop();
    proxy.clock.advance(Duration::from_secs(20));
    assert_eq!(proxy.get("/a").status, 502);
}

#[test]
fn a_head_request_refreshes_what_a_get_needs() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=10, stale-while-revalidate=60")], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(15));
    assert_eq!(proxy.client().call("HEAD", "/a", &[], b"").unwrap().status, 200);
    origin.wait_for(2);
    assert_eq!(origin.seen()[1].method, "GET");
    wait::until("the refreshed response", || proxy.get("/a").field("age") == Some("0"));
}

#[test]
fn an_error_that_one_request_brings_about_does_not_end_what_stands_in_for_others() {
    let origin = Origin::start(|seen, answering| match seen.field("x-bad") {
        Some("1") => answering.reply(400, &[], "bad"),
        Some(_) => answering.reply(503, &[], "down"),
        None => answering.reply(200, &[("cache-control", "max-age=10, stale-if-error=600")], "good"),
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(11));
    assert_eq!(proxy.get_with("/a", &[("x-bad", "1")]).status, 400);
    assert_eq!(proxy.get_with("/a", &[("x-bad", "2")]).text(), "good");
}
