use super::replay;
use crate::{
    Input, Inputs, LookUp, NoSettings, Pass, Policy, Request, RequestDecision, RequestPolicy, Response,
    ResponseDecision, ResponsePolicy, Store,
};

/// The plan of a cookie is part of the key; nobody without one shares.
struct PerPlan {
    plan: Input,
}

impl Policy for PerPlan {
    const NAME: &'static str = "per-plan";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, inputs: &mut Inputs) -> Result<Self, String> {
        Ok(Self { plan: inputs.cookie("plan") })
    }
}

impl RequestPolicy for PerPlan {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        match request.get(self.plan) {
            Some(plan) => LookUp::new().key_part(plan).key_part("v1").into(),
            None => Pass::because("no plan").into(),
        }
    }
}

impl ResponsePolicy for PerPlan {
    fn on_response(&self, _: &Request<'_>, _: &Response<'_>) -> ResponseDecision {
        Store::new().set_field("X-Plan", "1").into()
    }
}

crate::export!(PerPlan: request, response);

#[track_caller]
fn fails(text: &str, expected: &[&str]) {
    let outcome = replay::<PerPlan>("plans", text).unwrap();
    assert_eq!(outcome.failed, [expected.join("\n")]);
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let Err(fault) = replay::<PerPlan>("plans", text) else { panic!("took {text}") };
    assert_eq!(fault, expected, "{text}");
}

#[test]
fn what_is_expected_is_compared() {
    let text = r#"[
        { "request": { "fields": { "cookie": "plan=gold" } }, "expect": { "request": { "look_up": { "key_parts": ["gold", "v1"] } } } },
        { "expect": { "request": { "pass": { "reason": "no plan" } } } },
        { "response": {}, "expect": { "response": { "store": { "fields": { "set": [["x-plan", "1"]] } } } } }
    ]"#;
    let outcome = replay::<PerPlan>("plans", text).unwrap();
    assert_eq!((outcome.count, outcome.failed), (3, Vec::new()));
}

#[test]
fn a_failed_case_says_where_the_two_part() {
    fails(
        r#"[
            { "name": "gold", "request": { "fields": { "cookie": "plan=gold" } },
              "expect": { "request": { "look_up": { "key_parts": ["silver"], "tags": ["t"] } } } },
            { "expect": { "request": { "pass": { "reason": "no plan" } } } }
        ]"#,
        &[
            "plans[1]: gold",
            "        request.look_up.key_parts[0]",
            "          - expected \"silver\"",
            "          + got      \"gold\"",
            "        request.look_up.key_parts[1]",
            "          - expected nothing",
            "          + got      \"v1\"",
            "        request.look_up.tags",
            "          - expected [\"t\"]",
            "          + got      nothing",
        ],
    );
    // Two of other kinds are shown as a whole.
    fails(
        r#"{ "request": { "url": "/a" }, "expect": { "request": { "look_up": {} } } }"#,
        &[
            "plans: GET /a",
            "        request",
            "          - expected {\"look_up\":{}}",
            "          + got      {\"pass\":{\"reason\":\"no plan\"}}",
        ],
    );
    fails(
        r#"{ "name": "nothing", "request": {} }"#,
        &[
            "plans: nothing",
            "        expect",
            "          - expected something",
            "          + got      {\"pass\":{\"reason\":\"no plan\"}}",
        ],
    );
}

#[test]
fn what_comes_to_no_decision_fails() {
    let expect = r#""expect": { "request": { "pass": {} } }"#;
    let settings = format!(r#"{{ "settings": {{ "a": 1 }}, {expect} }}"#);
    fails(&settings, &["plans: GET http://example.com/", "        a: unknown; there are: none"]);
    for cookie in ["plan=a; plan=b", "plan", "plan =a"] {
        let odd = format!(
            r#"{{ "name": "odd", "request": {{ "fields": {{ "cookie": "{cookie}" }} }}, {expect} }}"#
        );
        fails(&odd, &["plans: odd", "        the request is not put to the policy: a cookie is there twice"]);
    }
    // What the policy does not read may be as odd as it likes.
    let other = r#"{ "request": { "fields": { "cookie": "x; x; plan=a" } }, "expect": { "request": { "look_up": { "key_parts": ["a", "v1"] } } } }"#;
    assert!(replay::<PerPlan>("plans", other).unwrap().failed.is_empty());
}

#[test]
fn what_is_no_case_is_refused() {
    refused("{", "not JSON: no \" where a text should begin at line 1, column 2");
    refused(
        r#"[{}, { "expekt": {} }]"#,
        "case 2: expekt: unknown; there are: name, comment, settings, request, response, expect",
    );
    refused(
        r#"{ "expect": { "request": { "look_up": { "key": [] } } } }"#,
        "expect.request.look_up.key: unknown; there are: key_parts, tags, forward",
    );
    refused(
        r#"{ "expect": { "request": { "look_up": {}, "pass": {} } } }"#,
        "expect.request: wanted one of look_up, pass, answer, found {\"look_up\":{},\"pass\":{}}",
    );
    refused(
        r#"{ "expect": { "response": { "store": {} } } }"#,
        "expect.response: there is no response that it could be about",
    );
    for url in ["example.com/a", "ftp://example.com/", "http:///a", "*"] {
        let text = format!(r#"{{ "request": {{ "url": "{url}" }} }}"#);
        refused(
            &text,
            &format!("request.url: {url:?} is not as in http://example.com/path?query or /path?query"),
        );
    }
    refused(r#"{ "response": { "status": 199 } }"#, "response.status: 199 is below 200");
    refused(
        r#"{ "expect": { "request": { "answer": { "status": 200, "body_hex": "0g" } } } }"#,
        "expect.request.answer.body_hex: not two hexadecimal digits for each byte",
    );
}
