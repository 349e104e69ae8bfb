//! Interim responses: they reach the client that waits, and are no part of anything else.

use flow_tests::{Gate, Origin, Proxy, Response, wait};

use crate::{HIT, STORED, assert_status};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];
const HINT: (&str, &str) = ("link", "</style.css>; rel=preload");

/// Sends hints, and the final response once the gate is open.
fn hinting(gate: &Gate) -> Origin {
    let held = gate.clone();
    Origin::start(move |_, answering| {
        answering.head(
            103,
            &[HINT, ("x-early", "1"), ("connection", "x-hop"), ("x-hop", "1"), ("cache-tag", "t")],
        )?;
        held.wait()?;
        answering.reply(200, FRESH, "final")
    })
}

#[track_caller]
fn assert_hint(response: &Response) {
    assert_eq!((response.status, response.field("link")), (103, Some(HINT.1)), "{response:?}");
    for name in ["x-hop", "connection", "cache-tag", "content-length", "age", "cache-status"] {
        assert_eq!(response.field(name), None, "{response:?}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-15.2
//= type=test
//# A proxy MUST forward 1xx responses unless the proxy itself requested
//# the generation of the 1xx response.
#[test]
fn early_hints_reach_the_client_while_the_answer_is_awaited() {
    for route in ["", "cache = false"] {
        let gate = Gate::default();
        let origin = hinting(&gate);
        let proxy = Proxy::in_front_of(&origin, route);
        let mut client = proxy.client();
        client.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
        assert_hint(&client.head().unwrap());
        gate.open();
        let answer = client.response("GET").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "final"));
        assert_eq!((answer.field("x-early"), answer.field("link")), (None, None), "{answer:?}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc8297#section-2
//= type=test
//# Aside from performance optimizations, such
//# evaluation of the 103 (Early Hints) response's header fields MUST NOT
//# affect how the final response is processed.
#[test]
fn an_interim_response_is_not_stored() {
    let gate = Gate::default();
    gate.open();
    let origin = hinting(&gate);
    let proxy = Proxy::in_front_of(&origin, "");
    assert_status(&proxy.get_with("/a", &[("host", "h")]), STORED);
    let mut client = proxy.client();
    client.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
    let hit = client.head().unwrap();
    assert_status(&hit, HIT);
    assert_eq!((hit.status, hit.field("link"), hit.field("x-early")), (200, None, None), "{hit:?}");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-15.2
//= type=test
//# Since HTTP/1.0 did not define any 1xx status codes, a server MUST NOT
//# send a 1xx response to an HTTP/1.0 client.
#[test]
fn a_client_of_http_1_0_gets_no_interim_response() {
    let gate = Gate::default();
    gate.open();
    let origin = hinting(&gate);
    let proxy = Proxy::in_front_of(&origin, "");
    let mut client = proxy.client();
    client.send(b"GET /a HTTP/1.0\r\nhost: h\r\n\r\n").unwrap();
    let answer = String::from_utf8(client.rest().unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    assert!(!answer.contains("103") && answer.ends_with("final"), "{answer}");
}

#[test]
fn interim_responses_keep_their_order_and_none_is_mixed_into_another_answer() {
    let origin = Origin::start(|seen, answering| {
        if seen.target == "/large" {
            return answering.reply(200, FRESH, &"x".repeat(4 << 20));
        }
        answering.head(102, &[("x-n", "1")])?;
        answering.head(103, &[("x-n", "2")])?;
        answering.head(199, &[("x-n", "3")])?;
        answering.reply(200, FRESH, "final")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get_with("/large", &[("host", "h")]);
    let mut client = proxy.client();
    // Nothing of the first answer is read before the last request is sent.
    for target in ["/large", "/a", "/large", "/b"] {
        client.send(&rig::http::head("GET", target, "h", &[], b"")).unwrap();
    }
    for target in ["/large", "/a", "/large", "/b"] {
        if target == "/large" {
            assert_eq!(client.response("GET").unwrap().body.len(), 4 << 20);
            continue;
        }
        let heads: Vec<_> = (0..3).map(|_| client.head().unwrap()).collect();
        let seen: Vec<_> = heads.iter().map(|head| (head.status, head.field("x-n").unwrap())).collect();
        assert_eq!(seen, [(102, "1"), (103, "2"), (199, "3")]);
        assert_eq!(client.response("GET").unwrap().text(), "final");
    }
}

#[test]
fn those_who_follow_get_no_interim_response_of_the_one_they_follow() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, answering| {
        held.wait()?;
        answering.head(103, &[HINT])?;
        answering.reply(200, FRESH, "final")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let (mut leader, mut follower) = (proxy.client(), proxy.client());
    leader.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
    origin.wait_for(1);
    follower.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
    wait::until("the follower to wait", || proxy.shared.fills.waiting() == 1);
    gate.open();
    assert_hint(&leader.head().unwrap());
    assert_eq!(leader.response("GET").unwrap().text(), "final");
    let first = follower.head().unwrap();
    assert_eq!((first.status, follower.body("GET", &first).unwrap()), (200, b"final".to_vec()));
}

#[test]
fn a_refresh_that_nobody_waits_for_tells_nobody_of_its_hints() {
    let origin = Origin::start(|_, answering| {
        answering.head(103, &[HINT])?;
        answering.reply(200, &[("cache-control", "max-age=1, stale-while-revalidate=60")], "final")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let mut client = proxy.client();
    client.get("/a", &[("host", "h")]).unwrap();
    proxy.clock.advance(std::time::Duration::from_secs(2));
    client.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
    let stale = client.head().unwrap();
    assert_eq!((stale.status, client.body("GET", &stale).unwrap()), (200, b"final".to_vec()));
    origin.wait_for(2);
    // The next one waits for its own answer on the same connection, while the hint of the refresh comes in.
    client.send(&rig::http::head("GET", "/a?other", "h", &[], b"")).unwrap();
    let heads = [client.head().unwrap(), client.head().unwrap()];
    assert_eq!(heads.map(|head| head.status), [103, 200]);
}

#[test]
fn a_flood_of_interim_responses_ends_in_a_502_and_is_not_stored() {
    // So many; and so large.
    for (count, padding) in [(40, 1), (usize::MAX, 1), (4, 20_000), (usize::MAX, 20_000)] {
        let origin = Origin::start(move |_, answering| {
            let padding = "x".repeat(padding);
            for _ in 0..count {
                answering.head(103, &[("x-padding", &padding)])?;
            }
            answering.reply(200, FRESH, "final")
        });
        let proxy = Proxy::in_front_of(&origin, "");
        for target in ["/a", "/b"] {
            assert_eq!(proxy.get(target).status, 502, "{count} of {padding}");
        }
        assert_eq!(proxy.shared.memory.len(), 0);
        // Nobody reads on behind it.
        assert_eq!(origin.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0, 1]);
    }
}

#[test]
fn an_upstream_that_only_ever_says_continue_is_a_504() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, answering| {
        answering.head(100, &[])?;
        held.wait()
    });
    let proxy = Proxy::with_config(&flow_tests::proxy::config(&origin, "response_timeout = \"50ms\""));
    let mut client = proxy.client();
    client.send(&rig::http::head("POST", "/a", "h", &[("expect", "100-continue")], b"body")).unwrap();
    // Once, and by us: the upstream was not asked for it.
    assert_eq!(client.head().unwrap().status, 100);
    client.send(b"body").unwrap();
    assert_eq!(client.head().unwrap().status, 504);
    gate.open();
}
