//! Real components on a route: what they decide happens, and what they do wrong hurts nobody.

use std::path::PathBuf;

use flow_tests::{Origin, Proxy, proxy::config};

use crate::{HIT, STORED, assert_status};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[track_caller]
fn component(name: &str) -> PathBuf {
    let folder = rig::policies::build().unwrap_or_else(|error| panic!("{error}"));
    folder.join(format!("{name}.wasm"))
}

pub(super) fn route(name: &str, rest: &str) -> String {
    format!("policy = {{ component = \"{}\"{rest} }}", component(name).display())
}

#[test]
fn tenants_and_languages_have_their_own_stored_responses() {
    let origin = Origin::start(|seen, answering| {
        let tenant = seen.field("x-tenant").unwrap_or("none").to_owned();
        answering.reply(200, FRESH, &tenant)
    });
    let settings = ", settings = { languages = [\"en\", \"de\"], ttl = { acme = \"5s\" } }";
    let proxy = Proxy::in_front_of(&origin, &route("tenant-key", settings));
    let get = |tenant: &str, language: &str| {
        proxy.get_with("/a", &[("x-tenant", tenant), ("accept-language", language), ("host", "h")])
    };
    assert_status(&get("one", "en"), STORED);
    assert_status(&get("one", "en-US,en;q=0.9"), HIT);
    assert_status(&get("one", "de"), STORED);
    assert_eq!(get("two", "en").text(), "two");
    assert_eq!(get("one", "en").text(), "one");
    assert_status(&get("acme", "en"), STORED);
    let acme = get("acme", "en");
    assert_eq!(acme.field("cache-status"), Some("larder; hit; ttl=5"));
    assert_eq!(get("one", "en").field("cache-status"), Some("larder; hit; ttl=60"));
}

#[test]
fn a_policy_that_never_ends_is_cut_off_and_the_route_still_answers() {
    let origin = Origin::fixed(200, FRESH, "still here");
    let proxy = Proxy::in_front_of(&origin, &route("spin-forever", ""));
    for count in 1..4 {
        let answer = proxy.get("/a");
        assert_eq!((answer.status, answer.text().as_str()), (200, "still here"));
        assert_status(&answer, "larder; fwd=bypass; fwd-status=200");
        assert_eq!(origin.count(), count);
    }
    let metrics = proxy.admin("GET", "/metrics", "").text();
    let faults = "larder_policy_faults_total{route=\"all\",policy=\"spin-forever\",kind=\"deadline\"} 3";
    assert!(metrics.contains(faults), "{metrics}");
}

#[test]
fn a_trap_fails_the_request_where_the_route_says_so() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, &route("trap", ", on_fault = \"fail\""));
    let answer = proxy.get("/a");
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("trap"), "the policy's own words are not for clients: {}", answer.text());
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_policy_can_answer_by_itself() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, &route("answer", ""));
    let answer = proxy.get("/a");
    assert_status(&answer, "larder; detail=policy");
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_component_that_cannot_serve_is_refused_at_its_place_and_the_old_one_goes_on() {
    let origin = Origin::fixed(200, FRESH, "x");
    let with = |route: &str| config(&origin, &format!("[[route]]\nname = \"all\"\n{route}"));
    let proxy = Proxy::with_config(&with(""));
    for name in ["no-such", "spin-in-describe", "imports-host", "other-version"] {
        proxy.write_config(&with(&route(name, "")));
        let refused = proxy.admin("POST", "/api/reload", "");
        assert_eq!(refused.status, 422, "{name}: {}", refused.text());
        let text = refused.text();
        assert!(text.contains("larder.toml:9:") && text.contains(&format!("{name}.wasm")), "{text}");
    }
    assert_eq!(proxy.get("/a").status, 200);
}

#[test]
fn what_an_older_policy_judged_is_judged_again() {
    let origin = Origin::fixed(200, FRESH, "x");
    let with = |tenant: &str| {
        let settings = format!(", settings = {{ ttl = {{ {tenant} = \"5s\" }} }}");
        config(&origin, &format!("[[route]]\nname = \"all\"\n{}", route("tenant-key", &settings)))
    };
    let proxy = Proxy::with_config(&with("acme"));
    proxy.get("/a");
    assert_status(&proxy.get("/a"), HIT);
    proxy.reload(&with("other"));
    assert_status(&proxy.get("/a"), HIT);
    assert_eq!(origin.count(), 1);
}
