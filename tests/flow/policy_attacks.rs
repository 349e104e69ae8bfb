//! What clients, upstreams and policies could do to each other: a policy that is not asked, one that fails, one that
//! changes what the cache goes by. The component does what its settings say: `plugins/guests/examples/scripted.rs`.

use std::time::Duration;

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
