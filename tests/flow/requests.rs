//! What clients may send: rubbish is refused before it is routed, and never leaves anything behind for the next one.

use flow_tests::{Origin, Proxy, Response};

use crate::{HIT, assert_status};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

/// What one connection gives back for these bytes and a last request behind them, up to its end.
#[track_caller]
fn exchange(proxy: &Proxy, bytes: &[u8]) -> String {
    let mut client = proxy.client();
    // The proxy may close in the middle of it.
    let _ = client.send(bytes);
    let _ = client.send(b"GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    String::from_utf8_lossy(&client.rest().expect("the connection ends")).into_owned()
}

#[test]
fn a_head_that_could_mean_two_things_is_refused_and_reaches_no_upstream() {
    const CASES: [&str; 21] = [
        "GET /a HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: \r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: a,b\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: user@a\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: a/b\r\n\r\n",
        "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\n\r\nabc",
        "POST /a HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc",
        "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 3,3\r\n\r\nabc",
        "GET /a\\b HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET a:80 HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: a\r\nx y: z\r\n\r\n",
        "rubbish\r\n\r\n",
    ];
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    for case in CASES {
        let answer = exchange(&proxy, case.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{case:?}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{case:?}: {answer:?}");
    }
    assert_eq!(origin.count(), 0, "{:?}", origin.seen());
}

#[test]
fn length_beside_chunked_is_repaired_or_refused_and_ends_the_connection() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    for fields in [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 3",
        "content-length: 0\r\ntransfer-encoding: chunked",
    ] {
        let answer =
            exchange(&proxy, format!("POST /a HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n0\r\n\r\n").as_bytes());
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{fields}: {answer:?}");
        assert!(answer.contains("connection: close"), "{fields}: {answer:?}");
    }
    for seen in origin.seen() {
        assert_eq!((seen.target.as_str(), seen.field("content-length")), ("/a", None), "{seen:?}");
    }
}

#[test]
fn a_length_given_twice_is_passed_on_once() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    exchange(&proxy, b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc");
    let seen = origin.seen().remove(0);
    assert_eq!(seen.fields.iter().filter(|(name, _)| name == "content-length").count(), 1, "{seen:?}");
    assert_eq!(seen.body, b"abc");
}

#[test]
fn connect_and_trace_are_refused() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    for head in ["CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n", "TRACE /a HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let answer = exchange(&proxy, head.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 405 "), "{head:?}: {answer:?}");
    }
    assert!(origin.seen().iter().all(|seen| seen.target == "/last"));
}

#[test]
fn a_head_without_end_is_refused() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    // Twice the limit and more: hyper looks at the size only between two reads.
    let answer =
        exchange(&proxy, format!("GET /a HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(300 << 10)).as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
    let many: String = (0..500).map(|n| format!("x{n}: y\r\n")).collect();
    let answer = exchange(&proxy, format!("GET /a HTTP/1.1\r\nhost: a\r\n{many}\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
}

#[test]
fn a_body_on_a_hit_is_not_taken_for_the_next_request() {
    let origin = Origin::start(|seen, answering| answering.reply(200, FRESH, &seen.target));
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get_with("/a", &[("host", "h")]);
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    for method in ["GET", "HEAD"] {
        let head = format!("{method} /a HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n", smuggled.len());
        let answer = exchange(&proxy, format!("{head}{smuggled}").as_bytes());
        assert!(!answer.contains("/smuggled"), "{answer:?}");
    }
    assert!(origin.seen().iter().all(|seen| seen.target != "/smuggled"));
}

#[test]
fn a_body_on_an_answer_of_our_own_is_not_taken_for_the_next_request() {
    let origin = Origin::start(|seen, answering| answering.reply(200, FRESH, &seen.target));
    let proxy = Proxy::in_front_of(&origin, "match = { path = \"/known\" }");
    let smuggled = "GET /known HTTP/1.1\r\nhost: h\r\n\r\n";
    let head = format!("POST /none HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n", smuggled.len());
    let answer = exchange(&proxy, format!("{head}{smuggled}").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer:?}");
    assert!(!answer.contains("/known"), "{answer:?}");
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_body_on_a_get_is_neither_stored_nor_answered_from_the_store() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    for count in 1..3 {
        let answer = proxy.client().call("GET", "/a", &[], b"body").unwrap();
        assert_status(&answer, "larder; fwd=bypass; fwd-status=200");
        assert_eq!(origin.count(), count);
    }
}

#[test]
fn an_absolute_target_wins_over_the_host_field() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    exchange(&proxy, b"GET http://real.example/a HTTP/1.1\r\nhost: fake.example\r\n\r\n");
    exchange(&proxy, b"GET http://real.example HTTP/1.1\r\nhost: fake.example\r\n\r\n");
    let seen = origin.seen();
    let targets: Vec<_> =
        seen.iter().map(|seen| (seen.field("host").unwrap(), seen.target.as_str())).collect();
    assert_eq!(targets, [("real.example", "/a"), ("h", "/last"), ("real.example", "/")]);
    assert_status(&proxy.get_with("/a", &[("host", "real.example")]), HIT);
}

#[test]
fn a_client_cannot_speak_for_a_proxy() {
    let origin = Origin::fixed(200, &[], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    let forged = [
        ("x-forwarded-for", "9.9.9.9"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=9.9.9.9"),
        ("x-original-url", "/admin"),
        ("connection", "x-forwarded-for, x-secret"),
        ("x-secret", "1"),
    ];
    proxy.get_with("/a", &[&[("host", "good.example")], forged.as_slice()].concat());
    let seen = origin.seen().remove(0);
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-host"), Some("good.example"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    for name in ["forwarded", "x-original-url", "x-secret"] {
        assert_eq!(seen.field(name), None, "{name}");
    }
}

#[test]
fn spellings_of_a_path_are_never_confused() {
    let origin = Origin::start(|seen, answering| answering.reply(200, FRESH, &seen.target));
    let proxy = Proxy::in_front_of(&origin, "");
    for target in
        ["/a/b", "/a%2fb", "/a%2Fb", "/a//b", "/a/./b", "/x/../a/b", "/a/b;x", "/a/b?", "/a/b%00", "/A/b"]
    {
        assert_eq!(proxy.get(target).text(), target, "what is routed, keyed and sent on is one thing");
    }
}

#[test]
fn a_request_body_has_a_limit() {
    let origin = Origin::fixed(200, &[], "x");
    let proxy =
        Proxy::with_config(&flow_tests::proxy::config(&origin, "[limits]\nmax_request_body = \"1KiB\""));
    let announced: Response = proxy.client().call("POST", "/a", &[], &[b'x'; 1025]).unwrap();
    assert_eq!(announced.status, 413);
    let chunked = format!(
        "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n800\r\n{}\r\n0\r\n\r\n",
        "x".repeat(0x800)
    );
    let answer = exchange(&proxy, chunked.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer:?}");
    assert_eq!(proxy.client().call("POST", "/a", &[], &[b'x'; 1024]).unwrap().status, 200);
}

#[test]
fn an_expectation_that_cannot_be_met_is_refused() {
    let origin = Origin::fixed(200, &[], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    let answer = exchange(
        &proxy,
        b"POST /a HTTP/1.1\r\nhost: a\r\nexpect: y 100-continue\r\ncontent-length: 0\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 417 "), "{answer:?}");
    assert!(origin.seen().iter().all(|seen| seen.target == "/last"));
}

#[test]
fn a_body_on_a_get_reaches_the_upstream_whole() {
    let origin =
        Origin::start(|seen, answering| answering.reply(200, &[], &String::from_utf8_lossy(&seen.body)));
    let proxy = Proxy::in_front_of(&origin, "");
    let answer = exchange(
        &proxy,
        b"GET /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    );
    assert!(answer.contains("body"), "{answer:?}");
}

#[test]
fn a_target_without_a_path_is_purged_like_the_root() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    exchange(&proxy, b"GET http://h.example?x=1 HTTP/1.1\r\nhost: h.example\r\n\r\n");
    assert_eq!(origin.seen()[0].target, "/?x=1");
    assert_status(&proxy.get_with("/?x=1", &[("host", "h.example")]), HIT);
}

#[test]
fn only_if_cached_never_reaches_the_upstream() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    let only = ("cache-control", "only-if-cached");
    for method in ["GET", "HEAD"] {
        assert_eq!(proxy.client().call(method, "/a", &[only], b"").unwrap().status, 504);
    }
    assert_eq!(origin.count(), 0);
    proxy.get_with("/a", &[("host", "h")]);
    assert_status(&proxy.get_with("/a", &[("host", "h"), only]), HIT);
}

#[test]
fn what_a_client_wants_nobody_to_store_is_not_stored() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    for _ in 0..2 {
        proxy.get_with("/a", &[("cache-control", "no-store")]);
    }
    assert_eq!((origin.count(), proxy.shared.memory.len()), (2, 0));
}

#[test]
fn a_body_with_broken_framing_is_the_clients_fault() {
    let origin = Origin::fixed(200, &[], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    for body in ["ZZ\r\nhello", "5\rhello", "fffffffffffffffff\r\nx"] {
        let mut client = proxy.client();
        client
            .send(
                format!("POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n{body}").as_bytes(),
            )
            .unwrap();
        assert_eq!(client.response("POST").unwrap().status, 400, "{body:?}");
    }
    assert!(
        proxy
            .admin("GET", "/metrics", "")
            .text()
            .contains("larder_upstream_failures_total{upstream=\"app\"} 0")
    );
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-7.6.2
//= type=test
//# If the received value is zero (0), the
//# intermediary MUST NOT forward the request; instead, the intermediary
//# MUST respond as the final recipient.
#[test]
fn an_options_request_goes_as_far_as_it_says() {
    let origin = Origin::fixed(200, &[], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    let options = |left| proxy.client().call("OPTIONS", "/a", &[("max-forwards", left)], b"").unwrap();
    let ours = options("0");
    assert_eq!((ours.status, origin.count()), (204, 0));
    assert!(ours.field("allow").unwrap().contains("OPTIONS"));
    assert_eq!(options("5").status, 200);
    assert_eq!(origin.seen()[0].field("max-forwards"), Some("4"));
    proxy.get_with("/a", &[("max-forwards", "0")]);
    assert_eq!(origin.count(), 2, "for a GET the field says nothing");
}
