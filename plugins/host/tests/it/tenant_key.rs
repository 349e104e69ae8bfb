//! The policy that ships, as the component that ships. Its rules have native tests of their own.

use std::time::Duration;

use plugin_host::{Instances, LoadError, Pass, RequestDecision, ResponseDecision, StoreDecision};

use crate::support::{decided, engine, load_with, loaded, look_up, refused};

const SETTINGS: &str =
    r#"{ "header": "X-Org", "languages": ["en", "de"], "ttl": { "acme": "5s", "b": 60 } }"#;

#[test]
fn tenants_and_languages_are_told_apart() {
    let policy = load_with(engine(), "tenant-key", SETTINGS).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(&**policy.label(), "tenant-key@0.1.0");
    assert_eq!(policy.inputs().request_fields, ["x-org", "accept-language"]);
    assert_eq!(policy.inputs().request_values(), 2);
    let mut instances = Instances::new();
    for (tenant, language, expected) in [
        (Some("acme"), Some("de-AT,de;q=0.9,en;q=0.8"), look_up(&["tenant:acme", "de"], &["tenant:acme"])),
        (Some("other"), Some("fr"), look_up(&["tenant:other", "*"], &["tenant:other"])),
        (None, None, look_up(&["anonymous", "*"], &[])),
        (Some("anonymous"), Some("en"), look_up(&["tenant:anonymous", "en"], &["tenant:anonymous"])),
        (
            Some("a b"),
            Some("en"),
            RequestDecision::Pass(Pass { reason: "not a tenant's name".into(), ..Pass::default() }),
        ),
    ] {
        assert_eq!(decided(instances.call_on_request(&policy, &[tenant, language])), expected);
    }
}

#[test]
fn named_tenants_have_a_ttl_of_their_own() {
    let policy = load_with(engine(), "tenant-key", SETTINGS).unwrap_or_else(|error| panic!("{error}"));
    let mut instances = Instances::new();
    for (tenant, ttl) in [(Some("acme"), Some(5)), (Some("b"), Some(60)), (Some("other"), None), (None, None)]
    {
        let decision = decided(instances.call_on_response(&policy, 200, &[tenant, None], &[]));
        let ttl = ttl.map(Duration::from_secs);
        assert_eq!(decision, ResponseDecision::Store(StoreDecision { ttl, ..StoreDecision::default() }));
    }
}

#[test]
fn without_settings_the_tenant_alone_counts() {
    let policy = loaded(engine(), "tenant-key");
    assert_eq!(policy.inputs().request_fields, ["x-tenant"]);
    let decision = decided(Instances::new().call_on_request(&policy, &[Some("acme")]));
    assert_eq!(decision, look_up(&["tenant:acme"], &["tenant:acme"]));
}

#[test]
fn settings_are_checked_against_the_schema_then_by_the_policy() {
    let refuse = |settings: &str, expected: &str| {
        let error = refused(load_with(engine(), "tenant-key", settings));
        assert!(matches!(error, LoadError::Settings { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("tenant-key.wasm: settings for tenant-key: {expected}"));
    };
    refuse(
        r#"{ "heder": "x", "languages": "en", "ttl": { "acme": true } }"#,
        "settings.heder: unknown; there are: header, languages, ttl; settings.languages: wanted array, found \
         \"en\"; settings.ttl.acme: wanted integer or string, found true",
    );
    refuse("[]", "settings: wanted object, found []");
    refuse(r#"{ "ttl": { "acme": -1 } }"#, "settings.ttl.acme: -1 is below 0");
    refuse(r#"{ "languages": ["de-AT"] }"#, "languages: \"de-at\" is not a primary subtag such as \"en\"");
    let error = refused(load_with(engine(), "tenant-key", r#"{ "header": "x tenant" }"#)).to_string();
    assert_eq!(error, "tenant-key.wasm: configure: input \"x tenant\": not a field name");
}
