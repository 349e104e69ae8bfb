use super::*;
use crate::decision::{Answer, FieldChanges, Forward, LookUp, QueryChange, StoreDecision};

#[track_caller]
fn read_one(text: &str) -> Case {
    let cases = Case::read(text).expect(text);
    let [case] = <[Case; 1]>::try_from(cases).expect("one case");
    case
}

#[track_caller]
fn refuse(text: &str, expected: &str) {
    let error = Case::read(text).expect_err(text);
    assert!(error.contains(expected), "{error}");
}

fn values<'v>(values: &'v Values<'_>) -> Vec<Option<&'v str>> {
    values.as_slices().to_vec()
}

fn field(name: &str) -> http::HeaderName {
    name.parse().expect(name)
}

const WHOLE: &str = r#"{
    "name": "a tenant of a canary", "comment": "all members",
    "settings": { "header": "x-tenant" },
    "request": { "method": "POST", "url": "https://Example.com:443/a/7?x=1&x=2",
                 "fields": { "X-Tenant": "acme", "accept": ["a", "b"], "cookie": "c=d; e=f" },
                 "captures": { "id": "7" }, "time": 1767225600, "decided": "pass" },
    "response": { "status": 404, "fields": { "x-kind": "list" }, "ttl_ms": 60000 },
    "expect": { "request": { "pass": { "reason": "no" } }, "response": { "do_not_store": {} } }
}"#;

#[test]
fn what_a_case_says_is_put_to_the_policy_in_its_order() {
    let case = read_one(WHOLE);
    let inputs = Inputs {
        request_fields: vec![field("accept"), field("x-tenant"), field("x-none")],
        query_parameters: vec!["x".to_owned()],
        cookies: vec!["e".to_owned()],
        captures: vec!["id".to_owned()],
        method: true,
        host: true,
        path: true,
        query: true,
        time: true,
        decided: true,
        response_fields: vec![field("x-kind")],
        ttl: true,
    };
    let put = case.values(&inputs).expect("texts");
    assert_eq!(
        values(&put.request),
        [
            Some("a, b"),
            Some("acme"),
            None,
            Some("1"),
            Some("f"),
            Some("7"),
            Some("POST"),
            Some("example.com"),
            Some("/a/7"),
            Some("x=1&x=2"),
            Some("1767225600"),
            Some("pass")
        ]
    );
    let (status, response) = put.response.expect("the case has one");
    assert_eq!((status, values(&response)), (404, vec![Some("list"), Some("60000")]));
    assert_eq!(case.settings(), &serde_json::json!({ "header": "x-tenant" }));
    assert_eq!(case.to_string(), "a tenant of a canary");
}

#[test]
fn what_a_case_leaves_out_is_the_default() {
    let case = read_one(r#"{ "response": {} }"#);
    let inputs = Inputs {
        method: true,
        host: true,
        path: true,
        query: true,
        decided: true,
        ttl: true,
        ..Inputs::default()
    };
    let put = case.values(&inputs).expect("texts");
    assert_eq!(values(&put.request), [Some("GET"), Some("example.com"), Some("/"), None, Some("look-up")]);
    let (status, response) = put.response.expect("the case has one");
    assert_eq!((status, values(&response)), (200, vec![None]));
    assert_eq!(case.to_string(), "GET http://example.com/");
    assert_eq!(read_one(r#"{ "request": { "url": "/b?c" } }"#).to_string(), "GET http://example.com/b?c");
    assert!(!read_one("{}").has_response());
}

#[test]
fn what_is_unknown_or_cannot_be_is_named() {
    refuse(r#"{ "reqest": {} }"#, "unknown field `reqest`, expected one of `name`");
    refuse(r#"{ "request": { "header": {} } }"#, "unknown field `header`");
    refuse(r#"{ "expect": { "request": { "look_up": { "key": [] } } } }"#, "unknown field `key`");
    refuse(r#"{ "expect": { "request": { "lookup": {} } } }"#, "unknown variant `lookup`");
    refuse(r#"{ "request": { "decided": "answer" } }"#, "unknown variant `answer`");
    refuse(r#"{ "request": { "url": "a b" } }"#, r#"request.url: "a b" is not"#);
    refuse(r#"{ "request": { "url": "example.com:80" } }"#, "request.url");
    refuse(r#"{ "request": { "method": "a b" } }"#, "request.method");
    refuse(r#"{ "request": { "fields": { "a b": "c" } } }"#, r#"request.fields: "a b""#);
    refuse(r#"{ "request": { "fields": { "a": 1 } } }"#, "a field value is a string, or a list");
    refuse(r#"{ "response": { "fields": { "a": "b\n" } } }"#, "response.fields.a");
    refuse(r#"{ "response": { "status": 99 } }"#, "response.status: 99");
    refuse(r#"{ "expect": { "response": { "store": {} } } }"#, "expect.response");
    refuse(r#"[{}, { "request": { "method": "" } }]"#, "case 2: request.method");
    refuse("[{}, {}", "EOF");
    refuse(&format!("[{}{{}}]", "{},".repeat(1_000)), "1001 cases");
    refuse(&" ".repeat(FILE_BYTES_MAX + 1), "at most");
}

#[test]
fn a_cookie_that_is_there_twice_is_not_put_to_the_policy() {
    let case = read_one(r#"{ "request": { "fields": { "cookie": "a=1; a=2" } } }"#);
    let inputs = Inputs { cookies: vec!["a".to_owned()], ..Inputs::default() };
    assert!(matches!(case.values(&inputs), Err(CaseError::NotAsked("request"))));
}

fn canary() -> RequestDecision {
    RequestDecision::LookUp(LookUp {
        key_parts: vec!["tenant:acme".into(), "".into()],
        tags: vec!["t".into()],
        forward: Forward {
            upstream: Some("canary".into()),
            query: QueryChange::Only(vec!["page".into()]),
            fields: FieldChanges {
                remove: vec![field("cookie")],
                set: vec![(field("x-a"), "b".parse().expect("a value"))],
            },
        },
    })
}

const CANARY: &str = r#"{ "look_up": { "key_parts": ["tenant:acme", ""], "tags": ["t"], "forward": {
    "upstream": "canary", "query": { "only": ["page"] },
    "fields": { "remove": ["Cookie"], "set": [["X-A", "b"]] } } } }"#;

fn decided(request: &RequestDecision) -> Decided {
    Decided { request: Some(request_decision_json(request)), response: None }
}

#[track_caller]
fn check_differences(expect: &str, decided: &Decided, expected: &[&str]) {
    let case = read_one(&format!(r#"{{ "response": {{}}, "expect": {expect} }}"#));
    let found: Vec<_> = case.differences(decided).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn decisions_are_compared_whole_and_differences_have_a_path() {
    check_differences(&format!(r#"{{ "request": {CANARY} }}"#), &decided(&canary()), &[]);
    check_differences(
        r#"{ "request": { "look_up": { "key_parts": ["tenant:b"], "forward": { "query": { "without": [] } } } } }"#,
        &decided(&canary()),
        &[
            r#"request.look_up.forward.fields: expected nothing, got {"remove":["cookie"],"set":[["x-a","b"]]}"#,
            r#"request.look_up.forward.query: expected {"without":[]}, got {"only":["page"]}"#,
            r#"request.look_up.forward.upstream: expected nothing, got "canary""#,
            r#"request.look_up.key_parts[0]: expected "tenant:b", got "tenant:acme""#,
            r#"request.look_up.key_parts[1]: expected nothing, got """#,
            r#"request.look_up.tags: expected nothing, got ["t"]"#,
        ],
    );
    let plain = RequestDecision::LookUp(LookUp::default());
    check_differences(
        r#"{ "request": { "look_up": { "tags": [], "forward": { "fields": {} } } } }"#,
        &decided(&plain),
        &[],
    );
    check_differences(
        r#"{ "request": { "pass": { "reason": "x" } } }"#,
        &decided(&plain),
        &[r#"request: expected {"pass":{"reason":"x"}}, got {"look_up":{}}"#],
    );
}

#[test]
fn a_case_that_expects_nothing_fails_and_half_an_expectation_is_half_a_comparison() {
    check_differences(
        "{}",
        &decided(&RequestDecision::LookUp(LookUp::default())),
        &[r#"expect: expected nothing, got {"request":{"look_up":{}}}"#],
    );
    let both = Decided {
        response: Some(response_decision_json(&ResponseDecision::Store(StoreDecision::default()))),
        ..decided(&canary())
    };
    check_differences(r#"{ "response": { "store": {} } }"#, &both, &[]);
    let neither = Decided::default();
    let missing = r#"response: expected {"store":{}}, got nothing"#;
    check_differences(r#"{ "response": { "store": {} } }"#, &neither, &[missing]);
}

#[test]
fn bodies_that_are_no_text_are_written_in_hexadecimal() {
    let answer = |body: &'static [u8]| {
        let fields = vec![(field("location"), "/x".parse().expect("a value"))];
        let status = http::StatusCode::FOUND;
        request_decision_json(&RequestDecision::Answer(Answer { status, fields, body: body.into() }))
    };
    assert_eq!(
        answer(b"moved"),
        serde_json::json!({ "answer": { "status": 302, "fields": [["location", "/x"]], "body": "moved" } })
    );
    assert_eq!(answer(&[0xff, 0x0a])["answer"]["body_hex"], "ff0a");
}

#[test]
fn a_case_is_written_with_what_was_decided_and_read_again() {
    let case = read_one(WHOLE).expecting(&decided(&canary()));
    let text = Case::write(std::slice::from_ref(&case));
    let again = read_one(&text);
    assert!(again.differences(&decided(&canary())).is_empty());
    assert_eq!(Case::write(&[again]), text);
    for kept in [
        r#""comment": "all members""#,
        r#""url": "https://Example.com:443/a/7?x=1&x=2""#,
        r#""time": 1767225600"#,
    ] {
        assert!(text.contains(kept), "{text}");
    }
    assert_eq!(Case::read(&Case::write(&[case.clone(), case])).map(|cases| cases.len()), Ok(2));
}
