//! Several policies on one route, what they change of a request and a response, and what becomes of what is stored when
//! they change. The component does what its settings say: `plugins/guests/examples/scripted.rs`.

use std::{path::PathBuf, time::Duration};

use flow_tests::{Gate, Origin, Proxy, proxy::config, wait};
use serde_json::{Value, json};

use crate::{HIT, STORED, assert_status, status_of};

pub(crate) const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

fn scripted() -> PathBuf {
    let folder = rig::policies::build().unwrap_or_else(|error| panic!("{error}"));
    folder.join("scripted.wasm")
}

/// As TOML: JSON in an inline table differs in its colons alone, and strings are written the same.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<_> =
                members.iter().map(|(key, value)| format!("{key:?} = {}", toml(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

pub(crate) fn policy(settings: &Value, more: &str) -> String {
    format!("{{ component = \"{}\", settings = {}{more} }}", scripted().display(), toml(settings))
}

pub(crate) fn policies(all: &[Value]) -> String {
    let all: Vec<_> = all.iter().map(|settings| policy(settings, "")).collect();
    format!("policies = [{}]", all.join(", "))
}

/// The request goes on with this decision, whatever it is.
pub(crate) fn always(decision: Value) -> Value {
    json!([{ "then": decision }])
}

/// Answers with what it was asked: the target and some fields.
fn echoing() -> Origin {
    Origin::start(|seen, answering| {
        let shown = ["x-a", "x-b", "cookie"].map(|name| seen.field(name).unwrap_or("-").to_owned());
        answering.reply(200, FRESH, &format!("{} {}", seen.target, shown.join(" ")))
    })
}

#[test]
fn each_sees_what_the_one_before_it_has_left() {
    let origin = echoing();
    let first = json!({
        "reads": { "fields": ["x-a"], "parameters": ["keep"] },
        "request": always(json!({ "look_up": {
            "key_parts": ["{0}"],
            "forward": { "query": { "only": ["keep"] }, "fields": { "set": [["x-a", "first {0}"]], "remove": ["cookie"] } }
        } })),
    });
    let second = json!({
        "reads": { "fields": ["x-a", "cookie"], "query": true, "decided": true },
        "request": always(json!({ "look_up": { "forward": { "fields": { "set": [["x-b", "{0}|{1}|{2}|{3}"]] } } } })),
    });
    let proxy = Proxy::in_front_of(&origin, &policies(&[first, second]));
    let get = |target: &str| proxy.get_with(target, &[("x-a", "a"), ("cookie", "c=1"), ("host", "h")]);
    assert_eq!(get("/p?x=1&keep=2").text(), "/p?keep=2 first a first a|none|keep=2|look-up -");
    // What was dropped tells nothing apart.
    assert_status(&get("/p?x=2&keep=2&y"), HIT);
    assert_status(&get("/p?keep=3"), STORED);
}

#[test]
fn parts_of_two_policies_are_never_those_of_one() {
    let origin = Origin::fixed(200, FRESH, "x");
    let with = |parts: &[&str]| json!({ "reads": { "fields": [] }, "request": always(json!({ "look_up": { "key_parts": parts } })) });
    let rows: [&[&[&str]]; 9] = [
        &[&["a", "b"]],
        &[&["a"], &["b"]],
        &[&[], &["a", "b"]],
        &[&["a", "b"], &[]],
        &[&["ab"]],
        &[&["a"], &["", "b"]],
        &[&["scripted 1", "a"]],
        &[&["a"], &["scripted/2 1", "b"]],
        &[&["a", "scripted/2 1", "b"]],
    ];
    let at = |row: &[&[&str]]| {
        let all: Vec<Value> = row.iter().map(|parts| with(parts)).collect();
        config(&origin, &format!("[[route]]\nname = \"all\"\n{}", policies(&all)))
    };
    let proxy = Proxy::with_config(&at(rows[0]));
    for (number, row) in rows.iter().enumerate() {
        proxy.reload(&at(row));
        let answer = proxy.get_with("/a", &[("host", "h")]);
        // One who says nothing leaves the key of the other as it is.
        let expected = if number == 3 { HIT } else { STORED };
        assert_status(&answer, expected);
    }
}

#[test]
fn a_pass_stands_and_an_answer_ends_the_row() {
    let origin = Origin::fixed(200, FRESH, "x");
    let passes = json!({ "reads": { "fields": ["x-pass"] }, "request": [
        { "if": { "0": "yes" }, "then": { "pass": { "reason": "it says so" } } },
        { "then": { "look_up": {} } },
    ] });
    let answers = json!({ "reads": { "decided": true, "fields": ["x-answer"] }, "request": [
        { "if": { "0": "yes" }, "then": { "answer": { "status": 418, "fields": [["x-decided", "{1}"]] } } },
        { "then": { "look_up": { "key_parts": ["k"] } } },
    ] });
    let never = json!({ "reads": { "fields": ["x-answer"] }, "request": [
        { "if": { "0": "yes" }, "then": "trap" },
        { "then": { "look_up": {} } },
    ] });
    let proxy = Proxy::in_front_of(&origin, &policies(&[passes, answers, never]));
    for _ in 0..2 {
        assert_status(&proxy.get_with("/a", &[("x-pass", "yes")]), "larder; fwd=bypass; fwd-status=200");
    }
    let answer = proxy.get_with("/a", &[("x-answer", "yes"), ("x-pass", "yes")]);
    assert_eq!((answer.status, answer.field("x-decided")), (418, Some("pass")));
    assert_eq!(origin.count(), 2);
}

#[test]
fn those_of_every_route_come_first() {
    let origin = echoing();
    let of_all = json!({ "request": always(json!({ "look_up": { "forward": { "fields": { "set": [["x-a", "all"]] } } } })) });
    let own = json!({ "reads": { "fields": ["x-a"] },
        "request": always(json!({ "look_up": { "forward": { "fields": { "set": [["x-b", "after {0}"]] } } } })) });
    let text = format!(
        "[[policy]]\ncomponent = \"{}\"\nsettings = {}\n[[route]]\nname = \"own\"\nmatch = {{ path = \"/own\" }}\npolicy = {}\n[[route]]\nname = \"rest\"\n",
        scripted().display(),
        toml(&of_all),
        policy(&own, "")
    );
    let proxy = Proxy::with_config(&config(&origin, &text));
    assert_eq!(proxy.get("/own").text(), "/own all after all -");
    assert_eq!(proxy.get("/other").text(), "/other all - -");
}

#[test]
fn an_upstream_is_chosen_from_those_that_are_offered() {
    let (app, canary) = (Origin::fixed(200, FRESH, "app"), Origin::fixed(200, FRESH, "canary"));
    let chooses = json!({ "reads": { "fields": ["x-to"] }, "request": [
        { "if": { "0": "none" }, "then": { "look_up": {} } },
        { "then": { "look_up": { "forward": { "upstream": "{0}" } } } },
    ] });
    let text = format!(
        "[[upstream]]\nname = \"canary\"\nservers = [\"{}\"]\n[[upstream]]\nname = \"secret\"\nservers = [\"{}\"]\n\
         [[route]]\nname = \"all\"\nupstream = \"app\"\nupstreams = [\"canary\"]\npolicy = {}\n\
         [[route]]\nname = \"never\"\nupstream = \"secret\"\n",
        canary.url(),
        canary.url(),
        policy(&chooses, "")
    );
    let proxy = Proxy::with_config(&config(&app, &text));
    let get = |to: &str| proxy.get_with("/a", &[("x-to", to), ("host", "h")]);
    assert_eq!(proxy.get_with("/a", &[("host", "h")]).text(), "app");
    assert_eq!(get("canary").text(), "canary");
    assert_status(&get("canary"), HIT);
    assert_eq!(get("app").text(), "app");
    // One that the route does not offer is a fault, and the request is passed on as it came.
    let refused = get("secret");
    assert_status(&refused, "larder; fwd=bypass; fwd-status=200");
    assert_eq!(refused.text(), "app");
    let metrics = proxy.admin("GET", "/metrics", "").text();
    let faults = "larder_policy_faults_total{route=\"all\",policy=\"scripted\",kind=\"refused\"} 1";
    assert!(metrics.contains(faults), "{metrics}");
}

#[test]
fn set_fields_are_in_the_key_as_a_digest_and_nowhere_else() {
    let origin = echoing();
    let sets = json!({ "reads": { "fields": ["authorization"] }, "request": always(json!({ "look_up": {
        "forward": { "fields": { "set": [["x-a", "for {0}"]], "remove": ["authorization"] } } } })) });
    let proxy = Proxy::in_front_of(&origin, &format!("policy = {}", policy(&sets, "")));
    let get = |who: &str| proxy.get_with("/a", &[("authorization", who), ("host", "h")]);
    assert_eq!(get("one").text(), "/a for one - -");
    assert_eq!(get("two").text(), "/a for two - -");
    assert_status(&get("one"), HIT);
    let question = json!({ "url": "http://h/a", "fields": [["authorization", "Bearer hush"]] }).to_string();
    let explained = proxy.admin("POST", "/api/explain", &question).text();
    assert!(explained.contains("field authorization: (11 bytes)"), "{explained}");
    let key = explained.split("\nkey ").nth(1).unwrap();
    assert!(key.contains("\" fields\"") && !key.contains("hush"), "{explained}");
}

#[test]
fn a_purge_by_url_reaches_what_a_policy_changed_the_query_of() {
    let origin = Origin::fixed(200, FRESH, "x");
    let drops = json!({ "reads": { "fields": ["x-raw"] }, "request": [
        { "if": { "0": "yes" }, "then": { "look_up": {} } },
        { "then": { "look_up": { "forward": { "query": { "without": ["utm_*"] } } } } },
    ] });
    let proxy = Proxy::in_front_of(&origin, &format!("policy = {}", policy(&drops, "")));
    let host = proxy.address.to_string();
    // Stored by one URL, answered by another, purged by a third: each is a way to the same response.
    for (stored, purged) in [
        ("/p", "/p?utm_a=1"),
        ("/p?utm_a=1", "/p"),
        ("/p?id=1&utm_b", "/p?id=1&utm_c"),
        ("/p?utm_d", "/p?utm_d"),
    ] {
        proxy.admin("POST", "/api/purge", "{\"all\": true}");
        proxy.get(stored);
        assert_status(&proxy.get(stored), HIT);
        proxy.purge_url(purged);
        assert!(!status_of(&proxy.get(stored)).contains("hit"), "{stored}, purged by {purged}");
    }
    proxy.get("/q?utm_a=1");
    let prefix = json!({ "prefixes": [format!("http://{host}/q?utm_z")] }).to_string();
    assert_eq!(proxy.admin("POST", "/api/purge", &prefix).status, 200);
    assert_status(&proxy.get("/q"), "larder; fwd=miss; fwd-status=200; stored");
    // An unsafe request is a purge of its URL as its client writes it.
    proxy.get("/r?utm_a=1");
    let mut client = proxy.client();
    client.call("POST", "/r?utm_b=1", &[("host", &host)], b"").unwrap();
    assert!(!status_of(&proxy.get("/r")).contains("hit"));
}

#[test]
fn responses_are_judged_one_after_the_other() {
    let origin =
        Origin::fixed(200, &[("cache-control", "max-age=60"), ("x-secret", "s"), ("x-tag", "t1")], "x");
    let first = json!({ "reads": { "response_fields": ["x-tag"], "ttl": true }, "response": always(json!({ "store": {
        "ttl_ms": 30000, "stale_if_error_ms": 1000, "tags": ["{r0}"],
        "fields": { "remove": ["x-secret"], "set": [["x-first", "{r1}"]] } } })) });
    let second = json!({ "reads": { "response_fields": ["x-first", "x-secret"], "ttl": true }, "response": always(json!({ "store": {
        "ttl_ms": 20000, "tags": ["t2"], "fields": { "set": [["x-second", "{r0} {r1} {r2}"]] } } })) });
    let proxy = Proxy::in_front_of(&origin, &policies(&[first, second]));
    for expected in ["larder; fwd=uri-miss; fwd-status=200; stored", "larder; hit; ttl=20"] {
        let answer = proxy.get_with("/a", &[("host", "h")]);
        assert_eq!(answer.field("cache-status"), Some(expected));
        assert_eq!((answer.field("x-secret"), answer.field("x-first")), (None, Some("60000")));
        assert_eq!(answer.field("x-second"), Some("60000 none 30000"));
    }
    for tag in ["t1", "t2"] {
        proxy.purge_tag(tag);
        assert_status(&proxy.get_with("/a", &[("host", "h")]), "larder; fwd=miss; fwd-status=200; stored");
    }
}

#[test]
fn what_is_not_stored_is_changed_all_the_same() {
    let origin = Origin::start(|seen, answering| {
        let status = if seen.target == "/error" { 503 } else { 200 };
        answering.reply(status, &[("cache-control", "max-age=60"), ("x-secret", "s")], "x")
    });
    let settings = json!({ "reads": { "method": true }, "response": [
        { "if": { "status": 503 }, "then": { "do_not_store": { "reason": "an error", "fields": { "set": [["x-why", "error"]], "remove": ["x-secret"] } } } },
        { "then": { "store": { "fields": { "remove": ["x-secret"], "set": [["x-why", "{0}"]] } } } },
    ] });
    let proxy = Proxy::in_front_of(
        &origin,
        &format!("cache = {{ allow = [\"private\"] }}\npolicy = {}", policy(&settings, "")),
    );
    let refused = proxy.get("/error");
    assert_status(&refused, "larder; fwd=uri-miss; fwd-status=503; detail=policy");
    assert_eq!((refused.field("x-why"), refused.field("x-secret")), (Some("error"), None));
    let posted = proxy.client().call("POST", "/a", &[], b"body").unwrap();
    assert_eq!((posted.field("x-why"), posted.field("x-secret")), (Some("POST"), None));
    let asked = proxy.get_with("/a", &[("cache-control", "no-store")]);
    assert_eq!((asked.field("x-why"), asked.field("x-secret")), (Some("GET"), None));
    let part = proxy.get_with("/b", &[("range", "bytes=0-0")]);
    assert_eq!((part.field("x-why"), part.field("x-secret")), (Some("GET"), None));
}

#[test]
fn values_at_the_response_are_those_that_were_seen_before_the_request_was_changed() {
    let origin = Origin::fixed(200, FRESH, "x");
    let first = json!({ "reads": { "fields": ["cookie"], "parameters": ["who"] },
        "request": always(json!({ "look_up": { "key_parts": ["{0}"],
            "forward": { "query": { "without": ["who"] }, "fields": { "remove": ["cookie"] } } } })),
        "response": always(json!({ "store": { "fields": { "set": [["x-first", "{0} {1}"]] } } })) });
    let second = json!({ "reads": { "fields": ["cookie"], "parameters": ["who"] },
        "response": always(json!({ "store": { "fields": { "set": [["x-second", "{0} {1}"]] } } })) });
    let proxy = Proxy::in_front_of(&origin, &policies(&[first, second]));
    for _ in 0..2 {
        let answer = proxy.get_with("/a?who=me", &[("cookie", "c=1"), ("host", "h")]);
        assert_eq!((answer.field("x-first"), answer.field("x-second")), (Some("c=1 me"), Some("none none")));
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_policy_says_how_long_nothing_is_shared() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen, answering| {
        if seen.field("x-held").is_some() {
            held.wait()?;
        }
        answering.reply(200, FRESH, "x")
    });
    let settings = json!({ "response": always(json!({ "do_not_store": { "hit_for_miss_ms": 5000 } })) });
    let route = format!("cache = {{ hit_for_miss = \"1h\" }}\npolicy = {}", policy(&settings, ""));
    let proxy = Proxy::in_front_of(&origin, &route);
    let get = |fields: &[(&str, &str)]| proxy.get_with("/a", &[fields, &[("host", "h")]].concat()).status;
    get(&[]);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| get(&[("x-held", "1")]));
        origin.wait_for(2);
        // Nobody waits for one that brings nothing to share.
        assert_eq!(get(&[]), 200);
        proxy.clock.advance(Duration::from_secs(6));
        let other = scope.spawn(|| get(&[("x-held", "1")]));
        origin.wait_for(4);
        let waits = scope.spawn(|| get(&[]));
        wait::until("one to wait for the other", || proxy.shared.fills.waiting() == 1);
        gate.open();
        for answer in [slow, other, waits] {
            assert_eq!(answer.join().unwrap(), 200);
        }
    });
}

/// A proxy whose one route has a policy with these settings, and how to give it others.
fn with(settings: &Value, origin: &Origin) -> String {
    config(origin, &format!("[[route]]\nname = \"all\"\npolicy = {}", policy(settings, "")))
}

#[test]
fn what_other_policies_judged_is_judged_again_and_not_fetched() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60"), ("x-own", "o")], "body");
    let stores = |ttl_ms: u64, tag: &str, field: &str| {
        json!({ "reads": { "response_fields": ["x-own", "x-set"] },
            "request": always(json!({ "look_up": { "tags": [format!("request-{tag}")] } })),
            "response": always(json!({ "store": { "ttl_ms": ttl_ms, "tags": [tag],
                "fields": { "remove": ["x-own"], "set": [["x-set", format!("{field} {{r0}} {{r1}}")]] } } })) })
    };
    let proxy = Proxy::with_config(&with(&stores(5000, "old", "one"), &origin));
    let get = || proxy.get_with("/a", &[("host", "h")]);
    get();
    assert_eq!(get().field("x-set"), Some("one o none"));
    proxy.reload(&with(&stores(7000, "new", "two"), &origin));
    let again = get();
    assert_eq!(again.field("cache-status"), Some("larder; hit; ttl=7"));
    // What the old one had put there and taken away has left no trace.
    assert_eq!(
        (again.field("x-set"), again.field("x-own"), again.text().as_str()),
        (Some("two o none"), None, "body")
    );
    assert_eq!(get().field("x-set"), Some("two o none"));
    assert_eq!(origin.count(), 1);
    // The tags are the new ones.
    for tag in ["old", "request-old"] {
        proxy.purge_tag(tag);
        assert_status(&get(), HIT);
    }
    proxy.purge_tag("request-new");
    assert_status(&get(), "larder; fwd=miss; fwd-status=200; stored");

    // Without any policy it is what its upstream sent.
    proxy.reload(&config(&origin, "[[route]]\nname = \"all\""));
    let plain = get();
    assert_eq!((plain.field("cache-status"), plain.field("x-own")), (Some("larder; hit; ttl=60"), Some("o")));
    assert_eq!((plain.field("x-set"), origin.count()), (None, 2));

    // One that does not want it ends it.
    let refuses = json!({ "response": always(json!({ "do_not_store": {} })) });
    proxy.reload(&with(&refuses, &origin));
    assert_status(&get(), "larder; fwd=miss; fwd-status=200; detail=policy");
    proxy.reload(&with(&stores(7000, "new", "two"), &origin));
    assert_status(&get(), STORED);
}

#[test]
fn a_purge_wins_over_being_judged_again() {
    let origin = Origin::fixed(200, FRESH, "x");
    let tagged = |tag: &str| json!({ "response": always(json!({ "store": { "tags": [tag] } })) });
    let proxy = Proxy::with_config(&with(&tagged("a"), &origin));
    let get = || proxy.get_with("/a", &[("host", "h")]);
    get();
    proxy.purge_tag("a");
    proxy.reload(&with(&tagged("b"), &origin));
    assert_status(&get(), "larder; fwd=miss; fwd-status=200; stored");
    proxy.admin("POST", "/api/purge", "{\"all\": true, \"soft\": true}");
    proxy.reload(&with(&tagged("c"), &origin));
    assert!(status_of(&get()).starts_with("larder; fwd=stale"));
}

#[test]
fn what_a_policy_put_there_is_not_the_upstreams_word_at_the_next_304() {
    let origin = Origin::start(|seen, answering| {
        if seen.field("if-none-match") == Some("\"own\"") {
            return answering.reply(304, &[("etag", "\"own\""), ("cache-control", "max-age=10")], "");
        }
        answering.reply(200, &[("etag", "\"own\""), ("cache-control", "max-age=10"), ("x-own", "o")], "x")
    });
    let settings = json!({ "reads": { "response_fields": ["x-own", "x-set", "etag"] }, "response": always(json!({ "store": {
        "fields": { "remove": ["x-own"], "set": [["x-set", "{r0} {r1} {r2}"], ["etag", "\"ours\""], ["cache-control", "no-cache"]] } } })) });
    let proxy = Proxy::with_config(&with(&settings, &origin));
    let get = || proxy.get_with("/a", &[("host", "h")]);
    get();
    for _ in 0..2 {
        proxy.clock.advance(Duration::from_secs(11));
        let answer = get();
        assert_status(&answer, "larder; fwd=stale; fwd-status=304; stored");
        assert_eq!((answer.field("x-set"), answer.field("etag")), (Some("o none \"own\""), Some("\"ours\"")));
        assert_status(&get(), HIT);
    }
}

#[test]
fn a_policy_that_keeps_failing_is_taken_out_and_comes_back() {
    let origin = Origin::fixed(200, FRESH, "x");
    let settings = json!({ "reads": { "fields": ["x-trap"] }, "request": [
        { "if": { "0": "yes" }, "then": "trap" },
        { "then": { "look_up": { "key_parts": ["k"] } } },
    ] });
    for (on_fault, while_out) in
        [("pass", "larder; fwd=bypass; fwd-status=200"), ("default", STORED), ("fail", "")]
    {
        let text = policy(&settings, &format!(", on_fault = \"{on_fault}\""));
        let proxy = Proxy::in_front_of(&origin, &format!("policy = {text}"));
        assert_status(&proxy.get_with("/a", &[("host", "h")]), STORED);
        for _ in 0..50 {
            let failed = proxy.get_with("/trap", &[("x-trap", "yes"), ("cache-control", "no-store")]);
            assert_eq!(failed.status == 500, on_fault == "fail", "{failed:?}");
        }
        let is_out = "larder_policy_out{route=\"all\",policy=\"scripted\"} 1";
        let metrics = proxy.admin("GET", "/metrics", "").text();
        assert!(metrics.contains(is_out), "{metrics}");
        assert!(proxy.admin("GET", "/api/status", "").text().contains("\"is_out\": true"));
        assert!(proxy.admin("GET", "/api/policies", "").text().contains("\"state\": \"out\""));
        // A good request is not put to it either.
        let answer = proxy.get_with("/b", &[("host", "h")]);
        if on_fault == "fail" {
            assert_eq!(answer.status, 500);
            assert!(!answer.text().contains("scripted"), "{}", answer.text());
        } else {
            assert_status(&answer, while_out);
        }
        proxy.clock.advance(Duration::from_secs(3600));
        // What was stored without it is not found with it.
        assert_status(&proxy.get_with("/b", &[("host", "h")]), STORED);
        assert!(proxy.admin("GET", "/api/policies", "").text().contains("\"state\": \"in\""));
    }
}

#[test]
fn who_said_what_is_told() {
    let origin = Origin::fixed(200, FRESH, "x");
    let first = json!({ "reads": { "fields": ["x-a", "cookie"], "cookies": ["session"] },
        "request": always(json!({ "look_up": { "key_parts": ["{0}"], "forward": { "query": { "only": ["p"] } } } })) });
    let second = json!({ "reads": { "response_fields": ["x-r"], "ttl": true, "query": true },
        "request": always(json!({ "pass": { "reason": "no" } })),
        "response": always(json!({ "store": { "ttl_ms": 5000, "fields": { "set": [["x-s", "{r0}"]] } } })) });
    let proxy = Proxy::in_front_of(&origin, &policies(&[first, second]));
    let question = json!({ "url": "http://h/a?p=1&q=2", "fields": [["x-a", "A"], ["cookie", "session=hush"]],
        "response": { "status": 200, "fields": [["x-r", "R"], ["cache-control", "max-age=60"]] } });
    let text = proxy.admin("POST", "/api/explain", &question.to_string()).text();
    let version = "1.0.0";
    for line in [
        format!("policy       scripted@{version}, sees field x-a, field cookie, cookie session"),
        format!("asked        scripted@{version}, about the request"),
        "             field x-a: \"A\"".to_owned(),
        "             field cookie: (12 bytes)".to_owned(),
        "             cookie session: (4 bytes)".to_owned(),
        "             -> {\"look_up\":{\"forward\":{\"query\":{\"only\":[\"p\"]}},\"key_parts\":[\"A\"]}}"
            .to_owned(),
        "             the query: \"p=1\"".to_owned(),
        "             -> {\"pass\":{\"reason\":\"no\"}}".to_owned(),
        "forwarded    /a?p=1".to_owned(),
        format!("asked        scripted@{version}, about the response, 200 OK"),
        "             response field x-r: \"R\"".to_owned(),
        "             the ttl in ms: \"60000\"".to_owned(),
        "             -> {\"store\":{\"fields\":{\"set\":[[\"x-s\",\"R\"]]},\"ttl_ms\":5000}}".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in:\n{text}");
    }
    assert!(!text.contains("hush"), "{text}");
    assert_eq!(origin.count(), 0);
}
