//! What clients, upstreams and policies could do to each other: a policy that is not asked, one that fails, one that
//! changes what the cache goes by. The component does what its settings say: `plugins/guests/examples/scripted.rs`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use flow_tests::{Gate, Origin, Proxy, proxy::config, wait};
use serde_json::{Value, json};

use crate::{
    HIT, STORED, assert_status,
    policy_rows::{FRESH, always, policies, policy},
    status_of,
};

fn with(origin: &Origin, route: &str) -> String {
    config(origin, &format!("[[route]]\nname = \"all\"\n{route}"))
}

/// Sets a field of the response, so that it shows who was asked.
fn sets(name: &str, value: &str) -> Value {
    always(json!({ "store": { "fields": { "set": [[name, value]] } } }))
}

#[test]
fn what_a_gatekeeper_cannot_read_does_not_get_past_it() {
    let origin = Origin::fixed(200, FRESH, "for members");
    let gatekeeper = json!({ "reads": { "fields": ["x-token"], "cookies": ["token"] }, "request": [
        { "if": { "0": "good" }, "then": { "look_up": {} } },
        { "if": { "1": "good" }, "then": { "look_up": {} } },
        { "then": { "answer": { "status": 401 } } },
    ] });
    let unreadable: [&[u8]; 3] = [
        b"GET /a HTTP/1.1\r\nhost: h\r\nx-token: \xff\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: h\r\ncookie: token=a; token=b\r\n\r\n",
        b"POST /a HTTP/1.1\r\nhost: h\r\ncookie: token\r\ncontent-length: 0\r\n\r\n",
    ];
    for (on_fault, status, count) in [("fail", 400, 0), ("pass", 200, 2), ("default", 200, 2)] {
        let origin_count = origin.count();
        let proxy = Proxy::in_front_of(
            &origin,
            &format!("policy = {}", policy(&gatekeeper, &format!(", on_fault = \"{on_fault}\""))),
        );
        assert_eq!(proxy.get("/a").status, 401);
        // The upstream of these tests reads text alone.
        for request in &unreadable[if on_fault == "fail" { 0 } else { 1 }..] {
            let mut client = proxy.client();
            client.send(request).unwrap();
            let answer = client.response("GET").unwrap();
            assert_eq!(answer.status, status, "{on_fault}: {answer:?}");
            assert!(on_fault == "fail" || !status_of(&answer).contains("stored"), "{answer:?}");
        }
        assert_eq!(origin.count() - origin_count, count, "{on_fault}");
        // It is no fault of the policy.
        assert!(proxy.admin("GET", "/api/policies", "").text().contains("\"faults\": 0"));
        assert_eq!(proxy.get_with("/b", &[("x-token", "good")]).status, 200);
    }
}

#[test]
fn what_a_response_policy_cannot_read_is_not_passed_on_where_it_must_not_fail() {
    let origin = Origin::start(|_, answering| {
        answering.send(b"HTTP/1.1 200 OK\r\nx-kind: \xff\r\nx-secret: s\r\ncache-control: max-age=60\r\ncontent-length: 0\r\n\r\n")
    });
    let removes = json!({ "reads": { "response_fields": ["x-kind"] },
        "response": always(json!({ "store": { "fields": { "remove": ["x-secret"] } } })) });
    for (on_fault, status) in [("fail", 500), ("pass", 200)] {
        let text = policy(&removes, &format!(", on_fault = \"{on_fault}\""));
        let proxy = Proxy::in_front_of(&origin, &format!("policy = {text}"));
        for _ in 0..2 {
            let answer = proxy.get("/a");
            assert_eq!((answer.status, answer.field("x-secret").is_none()), (status, status == 500));
            assert!(status == 500 || !status_of(&answer).contains("stored"), "{answer:?}");
        }
    }
}

#[test]
fn a_refresh_in_the_background_is_asked_as_its_key_says() {
    const STALE: &[(&str, &str)] = &[("cache-control", "public, max-age=10, stale-while-revalidate=60")];
    let reads = json!({ "reads": { "fields": ["authorization"] },
        "request": always(json!({ "look_up": { "key_parts": ["{0}"] } })) });
    // The upstream's credentials, which clients know nothing of.
    let sets = json!({ "request": always(json!({ "look_up": {
        "forward": { "fields": { "set": [["authorization", "ours"]] } } } })) });
    let by_policy = |settings: &Value| format!("policy = {}", policy(settings, ""));
    let by_route = "key = { fields = [\"authorization\"] }".to_owned();
    for (route, theirs, expected) in
        [(by_policy(&reads), "a", "a"), (by_policy(&sets), "a", "ours"), (by_route, "a", "a")]
    {
        let origin = Origin::start(|seen, answering| {
            answering.reply(200, STALE, seen.field("authorization").unwrap_or("nobody"))
        });
        let proxy = Proxy::in_front_of(&origin, &route);
        let get = || proxy.get_with("/a", &[("authorization", theirs), ("host", "h")]);
        assert_eq!(get().text(), expected, "{route}");
        proxy.clock.advance(Duration::from_secs(11));
        assert_eq!((status_of(&get()), get().text().as_str()), (HIT, expected), "{route}");
        origin.wait_for(2);
        wait::until("the refresh to be stored", || proxy.shared.fills.under_way() == 0);
        assert_eq!(get().text(), expected, "{route}");
        assert_eq!(origin.seen()[1].field("authorization"), Some(expected), "{route}");
    }
}

#[test]
fn what_is_stored_while_a_policy_fails_is_put_to_it_when_it_is_back() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60"), ("x-secret", "s")], "x");
    let settings = json!({ "reads": { "fields": ["x-trap"] }, "response": [
        { "if": { "0": "yes" }, "then": "trap" },
        { "then": { "store": { "ttl_ms": 50000, "tags": ["t"], "fields": { "remove": ["x-secret"] } } } },
    ] });
    let proxy =
        Proxy::in_front_of(&origin, &format!("policy = {}", policy(&settings, ", on_fault = \"default\"")));
    let get = |trap: &str| proxy.get_with("/a", &[("x-trap", trap), ("host", "h")]);
    assert_status(&get("yes"), STORED);
    for _ in 0..2 {
        let again = get("no");
        assert_eq!(
            (again.field("cache-status"), again.field("x-secret")),
            (Some("larder; hit; ttl=50"), None)
        );
    }
    assert_eq!(origin.count(), 1);
    proxy.purge_tag("t");
    // While it is out, what is stored is not taken for what it had a say in.
    for number in 0..25 {
        let _ = proxy.get_with(&format!("/other/{number}"), &[("x-trap", "yes"), ("host", "h")]);
    }
    assert_status(&get("no"), STORED);
    assert_eq!((status_of(&get("no")), get("no").field("x-secret")), (HIT, Some("s")));
    proxy.clock.advance(Duration::from_secs(11));
    let again = get("no");
    assert_status(&again, "larder; fwd=miss; fwd-status=200; stored");
    assert_eq!((again.field("x-secret"), status_of(&get("no"))), (None, HIT));
}

#[test]
fn a_policy_that_fails_takes_nothing_away_that_is_stored() {
    let origin = Origin::fixed(200, FRESH, "x");
    let with = |settings: &Value, on_fault: &str| {
        with(&origin, &format!("policy = {}", policy(settings, &format!(", on_fault = \"{on_fault}\""))))
    };
    let good = json!({ "response": always(json!({ "store": { "ttl_ms": 50000 } })) });
    let bad = json!({ "response": always(json!("trap")) });
    let proxy = Proxy::with_config(&with(&good, "pass"));
    let get = || proxy.get_with("/a", &[("host", "h")]);
    get();
    for (on_fault, status) in [("pass", 200), ("fail", 500)] {
        proxy.reload(&with(&bad, on_fault));
        let answer = get();
        assert_eq!(answer.status, status);
        assert!(status == 500 || status_of(&answer).contains("detail=policy-fault"), "{answer:?}");
        // Back to the one before, which is the remedy.
        proxy.reload(&with(&good, "pass"));
        assert_status(&get(), HIT);
    }
}

#[test]
fn a_policy_that_fails_at_a_304_takes_nothing_away_either() {
    let origin = Origin::start(|seen, answering| {
        let status = if seen.field("if-none-match").is_some() { 304 } else { 200 };
        answering.reply(status, &[("cache-control", "max-age=10"), ("etag", "\"1\"")], "x")
    });
    let settings = json!({ "reads": { "fields": ["x-trap"] }, "response": [
        { "if": { "0": "yes" }, "then": "trap" },
        { "then": { "store": {} } },
    ] });
    let proxy = Proxy::in_front_of(&origin, &format!("policy = {}", policy(&settings, "")));
    let get = |trap: &str| proxy.get_with("/a", &[("x-trap", trap), ("host", "h")]);
    assert_status(&get("no"), STORED);
    proxy.clock.advance(Duration::from_secs(11));
    let failed = get("yes");
    assert_eq!((status_of(&failed), failed.text().as_str()), ("larder; fwd=stale; fwd-status=304", "x"));
    assert_status(&get("no"), "larder; fwd=stale; fwd-status=304; stored");
    assert_status(&get("no"), HIT);
}

#[test]
fn a_cookie_that_a_policy_takes_away_does_not_come_with_a_304() {
    let origin = Origin::start(|seen, answering| {
        if seen.field("if-none-match").is_some() {
            return answering.reply(
                304,
                &[("etag", "\"1\""), ("set-cookie", "id=1"), ("set-cookie", "b=2")],
                "",
            );
        }
        answering.reply(200, &[("cache-control", "max-age=10"), ("etag", "\"1\"")], "x")
    });
    let removes =
        json!({ "response": always(json!({ "store": { "fields": { "remove": ["set-cookie"] } } })) });
    let other = json!({ "response": always(json!({ "store": { "fields": { "set": [["x-a", "b"]] } } })) });
    for (settings, expected) in [(removes, 0), (other, 2)] {
        let proxy = Proxy::in_front_of(&origin, &format!("policy = {}", policy(&settings, "")));
        let get = || proxy.get_with("/a", &[("host", "h")]);
        get();
        proxy.clock.advance(Duration::from_secs(11));
        let validated = get();
        assert_status(&validated, "larder; fwd=stale; fwd-status=304; stored");
        let cookies = validated.fields.iter().filter(|(name, _)| name == "set-cookie").count();
        assert_eq!(cookies, expected, "{validated:?}");
        // For whoever comes next there is none in any case.
        let hit = get();
        assert_eq!((status_of(&hit), hit.field("set-cookie")), (HIT, None));
    }
}

#[test]
fn what_a_policy_says_a_response_varies_on_is_compared() {
    let origin =
        Origin::start(|seen, answering| answering.reply(200, FRESH, seen.field("x-who").unwrap_or("-")));
    let plain = json!({ "response": sets("x-a", "b") });
    let varies = json!({ "response": sets("vary", "X-Who") });
    let with = |settings: &Value| with(&origin, &format!("policy = {}", policy(settings, "")));
    let proxy = Proxy::with_config(&with(&plain));
    let get = |who: &str| proxy.get_with("/a", &[("x-who", who), ("host", "h")]);
    get("old");
    assert_eq!(get("a").text(), "old");
    // What was stored before says nothing of the request that brought it.
    proxy.reload(&with(&varies));
    assert_eq!(get("a").text(), "a");
    assert_eq!(get("b").text(), "b");
    for who in ["a", "b"] {
        assert_eq!((status_of(&get(who)), get(who).text().as_str()), (HIT, who));
    }
    let star = json!({ "response": sets("vary", "*") });
    proxy.reload(&with(&star));
    assert_status(&get("c"), "larder; fwd=vary-miss; fwd-status=200; detail=vary-star");
}

#[test]
fn an_upgrade_that_is_not_granted_is_answered_as_policies_have_it() {
    let origin = Origin::fixed(200, &[("x-secret", "s")], "no");
    let removes = json!({ "response": always(json!({ "store": { "fields": { "remove": ["x-secret"] } } })) });
    let proxy =
        Proxy::in_front_of(&origin, &format!("upgrade = [\"websocket\"]\npolicy = {}", policy(&removes, "")));
    let answer = proxy.get_with("/a", &[("connection", "upgrade"), ("upgrade", "websocket")]);
    assert_eq!((answer.status, answer.text().as_str(), answer.field("x-secret")), (200, "no", None));
    assert_eq!(origin.seen()[0].field("upgrade"), Some("websocket"));
}

#[test]
fn a_policy_that_fails_fails_in_its_phase_as_its_route_says() {
    let trap = always(json!("trap"));
    let about = |phase: &str, what: &Value| json!({ phase: what });
    // In front of it one that works, behind it another.
    let first = json!({ "response": sets("x-first", "1") });
    let last = json!({ "response": sets("x-last", "1"), "request": always(json!({ "look_up": { "key_parts": ["k"] } })) });
    let origin = Origin::fixed(200, FRESH, "x");
    for (phase, on_fault, expected) in [
        ("request", "pass", "larder; fwd=bypass; fwd-status=200"),
        ("request", "default", STORED),
        ("request", "fail", "500"),
        ("response", "pass", "larder; fwd=uri-miss; fwd-status=200; detail=policy-fault"),
        ("response", "default", STORED),
        ("response", "fail", "500"),
    ] {
        let row = [
            policy(&first, ""),
            policy(&about(phase, &trap), &format!(", on_fault = \"{on_fault}\"")),
            policy(&last, ""),
        ];
        let proxy = Proxy::in_front_of(&origin, &format!("policies = [{}]", row.join(", ")));
        // The first ones fail, the later ones find it out: the same for clients.
        for number in 0..25 {
            let answer = proxy.get_with(&format!("/{number}"), &[("host", "h")]);
            if expected == "500" {
                assert_eq!(answer.status, 500, "{phase} {on_fault}");
                assert!(!answer.text().contains("secret words"), "{}", answer.text());
            } else {
                // Taken out, it is not asked about the request either.
                let while_out = "larder; fwd=bypass; fwd-status=200";
                let is_out = (phase, on_fault) == ("response", "pass") && status_of(&answer) == while_out;
                assert!(is_out || status_of(&answer) == expected, "{phase} {on_fault}: {answer:?}");
                // The others have their say all the same.
                assert_eq!((answer.field("x-first"), answer.field("x-last")), (Some("1"), Some("1")));
            }
        }
        let listed = proxy.admin("GET", "/api/policies", "").text();
        assert_eq!(listed.matches("\"state\": \"out\"").count(), 1, "{listed}");
        // Each is counted for itself, of whatever name.
        assert_eq!(listed.matches("\"faults\": 0,").count(), 2, "{listed}");
        let explained = proxy.admin("POST", "/api/explain", "{\"url\": \"http://h/a\"}").text();
        assert!(explained.contains("taken out for a while"), "{explained}");
    }
}

#[test]
fn one_who_looks_does_not_bring_a_policy_back() {
    let origin = Origin::fixed(200, FRESH, "x");
    let settings = json!({ "reads": { "fields": ["x-trap"] }, "request": [
        { "if": { "0": "yes" }, "then": "trap" },
        { "then": { "look_up": { "key_parts": ["k"] } } },
    ] });
    let proxy = Proxy::in_front_of(&origin, &format!("policy = {}", policy(&settings, "")));
    let get = |trap: &str| proxy.get_with("/a", &[("x-trap", trap), ("host", "h")]);
    assert_status(&get("no"), STORED);
    for _ in 0..25 {
        get("yes");
    }
    assert_status(&get("no"), "larder; fwd=bypass; fwd-status=200");
    let explained = proxy.admin("POST", "/api/explain", "{\"url\": \"http://h/a\"}").text();
    assert!(explained.contains("key_parts"), "{explained}");
    assert_status(&get("no"), "larder; fwd=bypass; fwd-status=200");
    // A decision that is only remembered says nothing of how it does: it is asked.
    proxy.clock.advance(Duration::from_secs(11));
    assert_status(&get("yes"), "larder; fwd=bypass; fwd-status=200");
    proxy.clock.advance(Duration::from_secs(11));
    assert_status(&get("no"), "larder; fwd=bypass; fwd-status=200");
    proxy.clock.advance(Duration::from_secs(10));
    assert_status(&get("no"), HIT);
}

#[test]
fn a_chosen_upstream_that_dies_takes_nothing_else_with_it() {
    let (app, canary) = (Origin::fixed(200, FRESH, "app"), Origin::fixed(200, FRESH, "canary"));
    let chooses = json!({ "reads": { "fields": ["x-to"] }, "request": [
        { "if": { "0": "none" }, "then": { "look_up": {} } },
        { "then": { "look_up": { "forward": { "upstream": "{0}" } } } },
    ] });
    let text = format!(
        "[[upstream]]\nname = \"canary\"\nservers = [\"{}\"]\n[[route]]\nname = \"all\"\nupstream = \"app\"\n\
         upstreams = [\"canary\"]\ncache = {{ stale_if_error = \"1h\" }}\npolicy = {}\n",
        canary.url(),
        policy(&chooses, "")
    );
    let proxy = Proxy::with_config(&config(&app, &text));
    let get = |to: &str, target: &str| proxy.get_with(target, &[("x-to", to), ("host", "h")]);
    assert_eq!((get("canary", "/a").text(), get("none", "/a").text()), ("canary".into(), "app".into()));
    canary.stop();
    assert_eq!((status_of(&get("canary", "/a")), get("canary", "/b").status), (HIT, 502));
    proxy.clock.advance(Duration::from_secs(61));
    // What it gave before stands in; what the other gives does not.
    let stale = get("canary", "/a");
    assert_eq!((stale.status, stale.text().as_str()), (200, "canary"));
    assert_eq!(stale.field("cache-status"), Some("larder; hit; ttl=-1; detail=stale-if-error"));
    assert_eq!((get("none", "/a").text().as_str(), get("none", "/b").status), ("app", 200));
    assert_eq!(get("canary", "/b").status, 502);
}

#[test]
fn what_several_say_together_has_a_bound() {
    let origin = Origin::fixed(200, FRESH, "x");
    let tags = |from: usize| {
        let tags: Vec<_> = (from..from + 60).map(|number| format!("t{number}")).collect();
        json!({ "response": always(json!({ "store": { "tags": tags } })) })
    };
    let parts = || {
        let parts = vec!["x".repeat(1024); 16];
        json!({ "request": always(json!({ "look_up": { "key_parts": parts } })) })
    };
    let many: Vec<Value> = (0..5).map(|number| tags(number * 60)).collect();
    let proxy = Proxy::in_front_of(&origin, &policies(&many));
    for _ in 0..2 {
        let answer = proxy.get("/a");
        assert!(status_of(&answer).ends_with("; detail=tags"), "{answer:?}");
    }
    let proxy = Proxy::in_front_of(&origin, &policies(&[parts(), parts(), parts()]));
    assert_status(&proxy.get("/a"), "larder; fwd=bypass; fwd-status=200");
    let metrics = proxy.admin("GET", "/metrics", "").text();
    assert!(metrics.contains("kind=\"refused\"} 1"), "{metrics}");
}

#[test]
fn an_answer_of_a_policy_is_framed_by_the_proxy_whatever_it_is() {
    let origin = Origin::fixed(200, FRESH, "upstream");
    let settings = json!({ "reads": { "path": true }, "request": [
        { "if": { "0": "/upstream" }, "then": { "look_up": {} } },
        { "if": { "0": "/204" }, "then": { "answer": { "status": 204 } } },
        { "if": { "0": "/304" }, "then": { "answer": { "status": 304, "fields": [["etag", "\"1\""]] } } },
        { "if": { "0": "/empty" }, "then": { "answer": { "status": 403 } } },
        { "if": { "0": "/cookies" }, "then": { "answer": { "status": 200, "fields": [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["surrogate-key", "hush"]] } } },
        { "if": { "0": "/tagged" }, "then": { "answer": { "status": 200, "fields": [["etag", "\"1\""]], "body": "tagged" } } },
        { "then": { "answer": { "status": 200, "body": "made" } } },
    ] });
    let proxy = Proxy::in_front_of(&origin, &format!("policy = {}", policy(&settings, "")));
    let mut client = proxy.client();
    // One connection: what is framed wrongly shows in what comes after it.
    for round in 0..2 {
        for (method, target, status, length) in [
            ("GET", "/made", 200, Some("4")),
            ("HEAD", "/made", 200, None),
            ("POST", "/made", 200, Some("4")),
            ("GET", "/204", 204, None),
            ("GET", "/304", 304, None),
            ("HEAD", "/304", 304, None),
            ("GET", "/empty", 403, Some("0")),
            ("HEAD", "/empty", 403, None),
            ("GET", "/cookies", 200, Some("0")),
            ("GET", "/upstream", 200, Some("8")),
        ] {
            let answer = client.call(method, target, &[("range", "bytes=0-0")], b"").unwrap();
            assert_eq!(
                answer.status,
                if target == "/upstream" && round == 1 { 206 } else { status },
                "{method} {target}"
            );
            if target != "/upstream" {
                assert_eq!(answer.field("content-length"), length, "{method} {target}: {answer:?}");
                assert_eq!(answer.field("transfer-encoding"), None, "{method} {target}");
            }
            if target == "/cookies" {
                let cookies = answer.fields.iter().filter(|(name, _)| name == "set-cookie").count();
                assert_eq!((cookies, answer.field("surrogate-key")), (2, None), "{answer:?}");
            }
        }
    }
    let same = client.get("/tagged", &[("if-none-match", "\"1\"")]).unwrap();
    assert_eq!((same.status, same.text().as_str()), (304, ""));
    // A body that nobody read is not the next request.
    let count = origin.count();
    let mut client = proxy.client();
    let hidden = b"GET /upstream?hidden HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut sent =
        format!("POST /made HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n", hidden.len()).into_bytes();
    sent.extend_from_slice(hidden);
    client.send(&sent).unwrap();
    assert_eq!(client.response("POST").unwrap().text(), "made");
    client.send(b"GET /made HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").unwrap();
    let rest = String::from_utf8_lossy(&client.rest().unwrap()).into_owned();
    assert!(!rest.contains("upstream") && rest.matches("HTTP/1.1 ").count() <= 1, "{rest}");
    assert_eq!(origin.count(), count);
}

#[test]
fn followers_get_what_policies_made_of_it_and_nobody_what_is_for_one() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen, answering| {
        held.wait()?;
        answering.reply(200, FRESH, seen.field("x-who").unwrap_or("-"))
    });
    // Who it is for is in the key of the one, and a reason not to store it of the other.
    let settings = json!({ "reads": { "fields": ["x-who", "x-private"] },
        "request": always(json!({ "look_up": { "key_parts": ["{0}"] } })),
        "response": [
            { "if": { "1": "yes" }, "then": { "do_not_store": { "fields": { "set": [["set-cookie", "for={0}"], ["x-for", "{0}"]] } } } },
            { "then": { "store": { "fields": { "set": [["x-for", "{0}"]] } } } },
        ] });
    let proxy = Proxy::in_front_of(&origin, &format!("policy = {}", policy(&settings, "")));
    let get = |who: &str, private: &str| {
        proxy.get_with("/a", &[("x-who", who), ("x-private", private), ("host", "h")])
    };
    std::thread::scope(|scope| {
        let get = &get;
        let all: Vec<_> = ["a", "b"]
            .into_iter()
            .flat_map(|who| (0..4).map(move |_| (who, scope.spawn(move || get(who, "no")))))
            .collect();
        origin.wait_for(2);
        wait::until("the others to wait", || proxy.shared.fills.waiting() == 6);
        gate.open();
        for (who, answer) in all {
            let answer = answer.join().unwrap();
            assert_eq!((answer.text().as_str(), answer.field("x-for")), (who, Some(who)));
        }
        assert_eq!(origin.count(), 2);
    });
    proxy.admin("POST", "/api/purge", "{\"all\": true}");
    std::thread::scope(|scope| {
        let get = &get;
        let all: Vec<_> = (0..4).map(|_| scope.spawn(move || get("c", "yes"))).collect();
        for answer in all {
            let answer = answer.join().unwrap();
            assert!(!status_of(&answer).contains("stored") && !status_of(&answer).contains("collapsed"));
            assert_eq!(answer.field("set-cookie"), Some("for=c"));
        }
    });
    assert_eq!(origin.count(), 6);
}

#[test]
fn no_swap_of_policies_brings_back_what_was_purged() {
    const SWAPS: usize = 8;
    let version = Arc::new(AtomicU64::new(0));
    let now = Arc::clone(&version);
    let origin = Origin::start(move |_, answering| {
        answering.reply(200, FRESH, &now.load(Ordering::SeqCst).to_string())
    });
    let tagged = |tag: &str| {
        let settings = json!({ "response": always(json!({ "store": { "tags": [tag] } })) });
        with(&origin, &format!("policy = {}", policy(&settings, "")))
    };
    let proxy = Proxy::with_config(&tagged("a"));
    let (purged, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (proxy, purged, is_over) = (&proxy, &purged, &is_over);
        for _ in 0..2 {
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    let oldest = purged.load(Ordering::SeqCst);
                    let answer = proxy.get_with("/a", &[("host", "h")]);
                    let served: u64 = answer.text().parse().unwrap();
                    assert!(served >= oldest, "{served} after {oldest} was purged: {answer:?}");
                }
            });
        }
        scope.spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                let next = version.fetch_add(1, Ordering::SeqCst) + 1;
                // Whichever of them it has.
                for tag in ["a", "b"] {
                    proxy.purge_tag(tag);
                }
                purged.store(next, Ordering::SeqCst);
            }
        });
        let _over = wait::OverAtEnd(is_over);
        for number in 0..SWAPS {
            proxy.reload(&tagged(if number % 2 == 0 { "b" } else { "a" }));
        }
    });
}
