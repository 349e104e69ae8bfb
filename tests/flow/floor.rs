//! What is never stored, unless its route says so by name: one test for each line of the floor.

use flow_tests::{Origin, Proxy};

use crate::{HIT, assert_status};

type Fields = &'static [(&'static str, &'static str)];

/// Stored only with the allowance; the other ones do not help.
#[track_caller]
fn check(allowance: &str, method: &str, body: &[u8], request: &[(&str, &str)], response: Fields) {
    const ALL: [&str; 5] = ["set-cookie", "private", "no-store", "authorization", "request-body"];
    let origin = Origin::fixed(200, response, "x");
    let ask = |proxy: &Proxy| proxy.client().call(method, "/a", request, body).expect("the proxy answers");
    for other in ALL.iter().filter(|other| **other != allowance) {
        let route = format!("cache = {{ ttl = \"1h\", allow = [\"{other}\"] }}");
        let proxy = Proxy::in_front_of(&origin, &route);
        ask(&proxy);
        let again = ask(&proxy);
        assert!(!crate::status_of(&again).contains("hit"), "allowed by {other}: {again:?}");
        assert!(proxy.shared.memory.is_empty());
    }
    let proxy = Proxy::in_front_of(&origin, &format!("cache = {{ allow = [\"{allowance}\"] }}"));
    ask(&proxy);
    let hit = ask(&proxy);
    assert_status(&hit, HIT);
    for (name, value) in response {
        assert_eq!(hit.field(name), Some(*value), "replayed as it was stored");
    }
}

const FRESH: Fields = &[("cache-control", "max-age=60")];

#[test]
fn set_cookie() {
    check("set-cookie", "GET", b"", &[], &[("cache-control", "max-age=60"), ("set-cookie", "a=b")]);
}

#[test]
fn private() {
    check("private", "GET", b"", &[], &[("cache-control", "private, max-age=60")]);
}

#[test]
fn no_store() {
    check("no-store", "GET", b"", &[], &[("cache-control", "no-store, max-age=60")]);
}

#[test]
fn authorization() {
    check("authorization", "GET", b"", &[("authorization", "Basic eDp5")], FRESH);
}

#[test]
fn the_answer_to_a_get_with_a_body() {
    check("request-body", "GET", b"a body", &[], FRESH);
    let origin =
        Origin::start(|seen, answering| answering.reply(200, FRESH, &String::from_utf8_lossy(&seen.body)));
    let proxy = Proxy::in_front_of(&origin, "cache = { allow = [\"request-body\"] }");
    for body in ["one", "two", ""] {
        for _ in 0..2 {
            let answer = proxy.client().call("GET", "/a", &[], body.as_bytes()).unwrap();
            assert_eq!(answer.text(), body, "each body has its own answer");
        }
    }
    assert_eq!(origin.count(), 3);
}

#[test]
fn errors_without_freshness_of_their_own() {
    for status in [400, 403, 404, 410, 500, 502, 503] {
        let origin = Origin::fixed(status, &[], "x");
        let proxy = Proxy::in_front_of(&origin, "cache = { default_ttl = \"1h\", min_ttl = \"1h\" }");
        proxy.get("/a");
        assert!(!proxy.get("/a").field("cache-status").unwrap().contains("hit"), "{status}");
        let fresh = Origin::fixed(status, FRESH, "x");
        let proxy = Proxy::in_front_of(&fresh, "");
        proxy.get("/a");
        assert_status(&proxy.get("/a"), HIT);
    }
}
