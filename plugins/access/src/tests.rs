mod url;
mod token;

use larder_policy::{Json, LookUp, RequestDecision, testing::Tester};

use super::Access;

/// 32 bytes: the text `0123456789abcdef`, twice.
const KEY_HEX: &str = "3031323334353637383961626364656630313233343536373839616263646566";
/// 2026-01-01T00:00:00Z.
const NOW_S: u64 = 1_767_225_600;

fn tester(settings: &str) -> Tester<Access> {
    Tester::new(settings).unwrap_or_else(|why| panic!("{settings}: {why}"))
}

#[track_caller]
fn refuse(settings: &str, expected: &str) -> String {
    let Err(error) = Tester::<Access>::new(settings) else { panic!("took {settings}") };
    assert!(error.contains(expected), "{error}");
    error
}

/// The status, the challenge without its realm, and the detail of the body.
#[track_caller]
fn refused(decision: &RequestDecision) -> (u16, Option<&str>, String) {
    let RequestDecision::Answer(answer) = decision else { panic!("let in: {decision:?}") };
    let field =
        |name: &str| answer.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(field("content-type"), Some("application/problem+json"));
    assert_eq!(field("cache-control"), Some("no-store"));
    let body = Json::read(std::str::from_utf8(&answer.body).unwrap()).expect("a problem is JSON");
    assert_eq!(body.get("status"), Some(&Json::Number(answer.status.to_string())));
    let challenge = field("www-authenticate")
        .map(|challenge| challenge.strip_prefix("Bearer realm=\"larder\"").expect("the realm comes first"));
    let Some(Json::Text(detail)) = body.get("detail") else { panic!("{body}") };
    (answer.status, challenge, detail.clone())
}

#[test]
fn one_of_the_two_ways_has_to_be_open() {
    refuse("{}", "neither url nor token");
    refuse(r#"{ "urls": {} }"#, "urls: unknown; there are: url, token");
}

#[test]
fn no_fault_of_the_keys_shows_a_key() {
    let secret = "hunter2hunter2hunter2hunter2";
    let with = |part: &str, keys: &str| format!(r#"{{ "{part}": {{ "keys": {keys} }} }}"#);
    for part in ["url", "token"] {
        for (keys, expected) in [
            (format!(r#""{secret}""#), "wanted a name for each key"),
            (format!(r#"["{secret}"]"#), "wanted a name for each key"),
            (format!(r#"{{ "a": "{secret}" }}"#), "keys.a: wanted {"),
            (format!(r#"{{ "a": {{ "{secret}": 1 }} }}"#), "keys.a: wanted {"),
            (format!(r#"{{ "a": {{ "{secret}": "{secret}" }} }}"#), "keys.a: wanted {"),
            (format!(r#"{{ "a": {{ "base64": ["{secret}"] }} }}"#), "keys.a: wanted {"),
            (
                format!(r#"{{ "a": {{ "hex": "{secret}" }} }}"#),
                "keys.a: not an even number of hexadecimal digits",
            ),
            (format!(r#"{{ "a": {{ "hex": "{}" }} }}"#, &KEY_HEX[1..]), "keys.a: not an even number"),
            (format!(r#"{{ "a": {{ "base64": "{secret}" }} }}"#), "keys.a: 21 bytes; wanted are 32 to 256"),
            (format!(r#"{{ "a": {{ "base64": "{secret}!" }} }}"#), "keys.a: not base64"),
            (
                format!(r#"{{ "a": {{ "hex": "{}" }} }}"#, &KEY_HEX[2..]),
                "keys.a: 31 bytes; wanted are 32 to 256",
            ),
            (format!(r#"{{ "a": {{ "hex": "{}" }} }}"#, "00".repeat(257)), "keys.a: 257 bytes"),
            (r#"{ "a": { "hex": "" } }"#.to_owned(), "keys.a: 0 bytes"),
            ("{}".to_owned(), "keys: 0 of them; wanted are 1 to 8"),
        ] {
            let error = refuse(&with(part, &keys), expected);
            assert!(!error.contains(secret) && !error.contains(&KEY_HEX[8..]), "{error}");
        }
        let nine: Vec<_> = (0..9).map(|id| format!(r#""k{id}": {{ "hex": "{KEY_HEX}" }}"#)).collect();
        refuse(&with(part, &format!("{{ {} }}", nine.join(", "))), "keys: 9 of them");
    }
}

#[test]
fn keys_are_read_in_every_way_they_are_written() {
    let (url, signature) = url::EXAMPLE;
    for key in [
        r#"{ "base64": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" }"#,
        r#"{ "base64": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" }"#,
        &format!(r#"{{ "hex": "{}" }}"#, KEY_HEX.to_uppercase()),
    ] {
        let policy = tester(&format!(r#"{{ "url": {{ "keys": {{ "2026-a": {key} }} }} }}"#));
        assert_eq!(
            policy.on_request(&url::get(&format!("{url}&signature={signature}"))),
            url::let_in(),
            "{key}"
        );
    }
}

/// Either way is enough, and both lead to the same stored response.
#[test]
fn who_has_no_signed_url_may_have_a_token() {
    let keys = format!(r#""keys": {{ "2026-a": {{ "hex": "{KEY_HEX}" }} }}"#);
    let policy = tester(&format!(
        r#"{{ "url": {{ {keys} }}, "token": {{ {keys}, "forward": false, "claims": [{{ "name": "sub", "field": "X-User" }}] }} }}"#
    ));
    let (url, signature) = url::EXAMPLE;
    let token = token::signed(r#"{"alg":"HS256"}"#, r#"{"exp":1767229200,"sub":"u7"}"#);
    let bearer = format!("Bearer {token}");
    let stripped = LookUp::new().without_parameters(["expires", "signature", "key"]);

    let with_token = url::get("/reports/7?page=2").field("authorization", &bearer);
    let expected =
        stripped.clone().key_part("sub:u7").set_field("X-User", "u7").remove_field("authorization");
    assert_eq!(policy.on_request(&with_token), expected.into());

    // What the client says beside a signed URL is not checked, and must not look as if it were.
    let with_url = url::get(&format!("{url}&signature={signature}")).field("authorization", "Bearer forged");
    let expected = stripped.remove_field("X-User").remove_field("authorization");
    assert_eq!(policy.on_request(&with_url), expected.into());

    // Who shows a signature is judged by it.
    let with_both = url::get(&format!("{url}&signature=0")).field("authorization", &bearer);
    assert_eq!(refused(&policy.on_request(&with_both)).0, 403);
    let with_none = url::get("/reports/7?page=2");
    assert_eq!(refused(&policy.on_request(&with_none)), (401, Some(""), "a token is needed".to_owned()));
}

#[test]
fn the_cases_are_decided_as_they_say() {
    larder_policy::testing::check_cases::<Access>("cases");
}
