use std::time::Duration;

use larder_policy::{
    LookUp, Pass, RequestDecision, ResponseDecision, Store,
    testing::{Given, Tester},
};

use super::TenantKey;

fn tester(settings: &str) -> Tester<TenantKey> {
    Tester::new(settings).expect(settings)
}

#[track_caller]
fn check_key(settings: &str, given: &Given, key_parts: &[&str], tags: &[&str]) {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let expected = LookUp { key_parts: owned(key_parts), tags: owned(tags), ..LookUp::default() };
    assert_eq!(tester(settings).on_request(given), RequestDecision::LookUp(expected));
}

#[track_caller]
fn check_ttl(settings: &str, given: &Given, ttl: Option<Duration>) {
    let expected = ResponseDecision::Store(Store { ttl, ..Store::default() });
    assert_eq!(tester(settings).on_response(200, given), expected);
}

#[track_caller]
fn refuse(settings: &str, expected: &str) {
    let Err(error) = Tester::<TenantKey>::new(settings) else { panic!("took {settings}") };
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_tenant_is_part_of_the_key_and_a_tag() {
    check_key("{}", &Given::new().field("X-Tenant", "acme"), &["tenant:acme"], &["tenant:acme"]);
    check_key(
        r#"{ "header": "X-Org" }"#,
        &Given::new().field("x-org", " acme ").field("x-tenant", "other"),
        &["tenant:acme"],
        &["tenant:acme"],
    );
}

#[test]
fn nobody_is_anonymous_and_shares_with_no_tenant() {
    check_key("{}", &Given::new(), &["anonymous"], &[]);
    check_key("{}", &Given::new().field("x-tenant", ""), &["anonymous"], &[]);
    check_key(
        "{}",
        &Given::new().field("x-tenant", "anonymous"),
        &["tenant:anonymous"],
        &["tenant:anonymous"],
    );
}

#[test]
fn a_name_that_is_no_tenant_does_not_use_the_cache() {
    for odd in ["a b", "a,b", "ä", "a\u{7f}", &"x".repeat(129)] {
        let decision = tester("{}").on_request(&Given::new().field("x-tenant", odd));
        assert_eq!(decision, Pass::because("not a tenant's name").into(), "{odd}");
    }
}

#[test]
fn the_language_is_part_of_the_key_where_languages_are_offered() {
    let settings = r#"{ "languages": ["en", "DE"] }"#;
    let speaks = |accept_language| Given::new().field("accept-language", accept_language);
    check_key(settings, &speaks("de-AT,de;q=0.9,en;q=0.8"), &["anonymous", "de"], &[]);
    check_key(settings, &speaks("it"), &["anonymous", "*"], &[]);
    check_key(settings, &Given::new(), &["anonymous", "*"], &[]);
    check_key("{}", &speaks("de"), &["anonymous"], &[]);
}

#[test]
fn named_tenants_have_a_ttl_of_their_own() {
    let settings = |ttl| format!(r#"{{ "ttl": {{ "acme": {ttl}, "b": 1 }} }}"#);
    let acme = Given::new().field("x-tenant", "acme");
    check_ttl(&settings("7"), &acme, Some(Duration::from_secs(7)));
    check_ttl(&settings(r#""250ms""#), &acme, Some(Duration::from_millis(250)));
    check_ttl(&settings(r#""2m""#), &acme, Some(Duration::from_secs(120)));
    check_ttl(&settings(r#""1d""#), &acme, Some(Duration::from_secs(86_400)));
    check_ttl(&settings("0"), &acme, Some(Duration::ZERO));
    check_ttl(&settings("7"), &Given::new().field("x-tenant", "other"), None);
    check_ttl(&settings("7"), &Given::new(), None);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    refuse(r#"{ "ttl": { "acme": "5 s" } }"#, r#""5 s" is not a time"#);
    refuse(r#"{ "ttl": { "acme": "s" } }"#, "is not a time");
    refuse(r#"{ "ttl": { "acme": "99999999999s" } }"#, "is not a time");
    refuse(r#"{ "languages": ["de-AT"] }"#, r#"languages: "de-at" is not a primary subtag"#);
    refuse(r#"{ "ttl": { "a b": 1 } }"#, r#"ttl: "a b" is not a tenant"#);
    refuse(r#"{ "heder": "x" }"#, "heder: unknown; there are: header, languages, ttl");
}

#[test]
fn the_cases_are_decided_as_they_say() {
    larder_policy::testing::check_cases::<TenantKey>("cases");
}
