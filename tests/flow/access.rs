//! Who gets in by a signed URL or a token: real signatures (made by `openssl dgst` and by PyJWT), and a clock that runs on.

use std::time::Duration;

use flow_tests::{Origin, Proxy, Response};

use crate::{HIT, STORED, assert_status};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=86400")];
const KEYS: &str = "keys = { 2026-a = { hex = \"3031323334353637383961626364656630313233343536373839616263646566\" }, \
                    old = { hex = \"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\" } }";

/// One hour, two hours, and two hours by another key and in another order.
const SIGNED: [&str; 3] = [
    "/reports/7?page=2&key=2026-a&expires=1767229200&signature=38f79da9aad44c42a412108b95dce07e01034a5ad0ca3dbfc437b493599fe358",
    "/reports/7?page=2&key=2026-a&expires=1767232800&signature=1afd158f680c419b59d85c45f93572206abb7bb10f601b0e8c9ff30f697f6e70",
    "/reports/7?expires=1767232800&page=2&key=old&signature=29bad42d570fb609a8d94172b523e59332c30e5610b7dba6858b11ff7601ce98",
];
/// Of user `u7` in tenant `acme`, for one hour.
const TOKEN: &str = "Bearer eyJhbGciOiJIUzI1NiIsImtpZCI6IjIwMjYtYSIsInR5cCI6IkpXVCJ9.\
                     eyJzdWIiOiJ1NyIsInRlbmFudCI6ImFjbWUiLCJleHAiOjE3NjcyMjkyMDB9.\
                     dlZska5NMqjHR9HeUVmTuV-6MAU2nA1SLSbbcyvr_Pc";

/// Answers with what it was asked: the target and what says who asks.
fn echoing(fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::start(move |seen, answering| {
        let shown =
            ["authorization", "cookie", "x-tenant"].map(|name| seen.field(name).unwrap_or("-").to_owned());
        answering.reply(200, fields, &format!("{} {}", seen.target, shown.join(" ")))
    })
}

#[track_caller]
fn guarded(origin: &Origin, settings: &str) -> Proxy {
    let folder = rig::policies::build().unwrap_or_else(|error| panic!("{error}"));
    let component = folder.join("access.wasm");
    let policy = format!("component = \"{}\", on_fault = \"fail\"", component.display());
    Proxy::in_front_of(origin, &format!("policy = {{ {policy}, settings = {{ {settings} }} }}"))
}

fn get(proxy: &Proxy, target: &str, fields: &[(&str, &str)]) -> Response {
    let host = [("host", "example.com")];
    proxy.get_with(target, &[&host, fields].concat())
}

#[test]
fn all_who_have_a_signed_url_share_a_stored_response_until_theirs_is_over() {
    let origin = echoing(FRESH);
    let proxy = guarded(&origin, &format!("url = {{ {KEYS} }}"));
    let first = get(&proxy, SIGNED[0], &[]);
    assert_status(&first, STORED);
    assert_eq!(first.text(), "/reports/7?page=2 - - -");
    for signed in SIGNED {
        assert_status(&get(&proxy, signed, &[]), HIT);
    }

    let refuse = |target: &str, detail: &str| {
        let refused = get(&proxy, target, &[]);
        assert_eq!(refused.status, 403, "{target}");
        assert_status(&refused, "larder; detail=policy");
        assert_eq!(refused.field("cache-control"), Some("no-store"));
        assert!(refused.text().contains(detail), "{}", refused.text());
    };
    // It is there, and it is not theirs.
    refuse("/reports/7?page=2", "a signed URL is needed");
    refuse(&SIGNED[0].replace("1767229200", "1767232800"), "the signature does not fit");
    refuse(&SIGNED[0].replace("/7", "/%37"), "the signature does not fit");
    refuse(&format!("{}&signature=0", SIGNED[0]), "the URL is not signed as it has to be");
    let elsewhere = proxy.get_with(SIGNED[0], &[("host", "example.org")]);
    assert_eq!(elsewhere.status, 403);
    let mut client = proxy.client();
    assert_eq!(client.call("HEAD", SIGNED[0], &[("host", "example.com")], b"").unwrap().status, 200);
    assert_eq!(client.call("POST", SIGNED[0], &[("host", "example.com")], b"").unwrap().status, 403);
    // In absolute form, the host is that of the target.
    let absolute = format!("http://EXAMPLE.com:80{}", SIGNED[0]);
    assert_status(&proxy.get_with(&absolute, &[("host", "example.org")]), HIT);

    proxy.clock.advance(Duration::from_secs(3_599));
    assert_status(&get(&proxy, SIGNED[0], &[]), HIT);
    proxy.clock.advance(Duration::from_secs(1));
    refuse(SIGNED[0], "the URL has expired");
    assert_status(&get(&proxy, SIGNED[1], &[]), HIT);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_route_that_sorts_its_query_takes_signatures_of_the_sorted_one() {
    let origin = echoing(FRESH);
    let folder = rig::policies::build().unwrap_or_else(|error| panic!("{error}"));
    let proxy = Proxy::in_front_of(
        &origin,
        &format!(
            "key = {{ query = {{ sort = true, drop = [\"utm_*\"] }} }}\n\
             policy = {{ component = \"{}\", on_fault = \"fail\", settings = {{ url = {{ {KEYS} }} }} }}",
            folder.join("access.wasm").display()
        ),
    );
    let signed = "/reports/7?expires=1767232800&key=2026-a&page=2&signature=80606cb0b9da25eee5192c5fb719ff570b0ddddbaa29d509df511d75e3fe18c3";
    assert_status(&get(&proxy, signed, &[]), STORED);
    assert_status(&get(&proxy, &signed.replace("?expires", "?utm_source=x&expires"), &[]), HIT);
    assert_eq!(get(&proxy, SIGNED[1], &[]).status, 403);
}

#[test]
fn a_token_that_goes_on_leaves_what_is_stored_to_the_upstream() {
    let origin = echoing(FRESH);
    let proxy = guarded(&origin, &format!("token = {{ {KEYS} }}"));
    for _ in 0..2 {
        let answer = get(&proxy, "/a", &[("authorization", TOKEN)]);
        assert_eq!(answer.text(), format!("/a {TOKEN} - -"));
    }
    assert_eq!(origin.count(), 2, "RFC 9111 section 3.5");

    let open = echoing(&[("cache-control", "public, max-age=60")]);
    let proxy = guarded(&open, &format!("token = {{ {KEYS} }}"));
    assert_status(&get(&proxy, "/a", &[("authorization", TOKEN)]), STORED);
    assert_status(&get(&proxy, "/a", &[("authorization", TOKEN)]), HIT);
    let refused = get(&proxy, "/a", &[]);
    assert_eq!((refused.status, refused.field("www-authenticate")), (401, Some("Bearer realm=\"larder\"")));
}

#[test]
fn a_token_that_stays_here_opens_what_is_stored_for_its_claims() {
    let origin = echoing(FRESH);
    let claims = "claims = [{ name = \"tenant\", tag = \"tenant\", field = \"x-tenant\" }]";
    let proxy = guarded(&origin, &format!("token = {{ {KEYS}, forward = false, {claims} }}"));
    let with_token = |more: &[(&str, &str)]| get(&proxy, "/a", &[&[("authorization", TOKEN)], more].concat());
    assert_eq!(with_token(&[("x-tenant", "other")]).text(), "/a - - acme");
    assert_status(&with_token(&[]), HIT);
    proxy.purge_tag("tenant:acme");
    assert_status(&with_token(&[]), "larder; fwd=miss; fwd-status=200; stored");

    let forged = TOKEN.replace(".dlZ", ".dlY");
    let twice = [("authorization", TOKEN), ("authorization", TOKEN)];
    let basic = [("authorization", "Basic dTpw")];
    for fields in [&[][..], &basic, &[("authorization", forged.as_str())], &twice, &[("x-tenant", "acme")]] {
        assert_eq!(get(&proxy, "/a", fields).status, 401, "{fields:?}");
    }
    proxy.clock.advance(Duration::from_secs(3_600));
    let late = with_token(&[]);
    let challenge = late.field("www-authenticate").unwrap();
    assert!(late.status == 401 && challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_token_in_a_cookie_stays_here_or_goes_past_the_cache() {
    let origin = echoing(FRESH);
    let cookie = format!("theme=dark; session={}", TOKEN.strip_prefix("Bearer ").unwrap());
    let proxy = guarded(&origin, &format!("token = {{ {KEYS}, cookie = \"session\" }}"));
    for _ in 0..2 {
        let answer = get(&proxy, "/a", &[("cookie", &cookie)]);
        assert_status(&answer, "larder; fwd=bypass; fwd-status=200");
        assert_eq!(answer.text(), format!("/a - {cookie} -"));
    }
    let proxy = guarded(&origin, &format!("token = {{ {KEYS}, cookie = \"session\", forward = false }}"));
    assert_eq!(get(&proxy, "/a", &[("cookie", &cookie)]).text(), "/a - - -");
    assert_status(&get(&proxy, "/a", &[("cookie", &cookie)]), HIT);
    assert_eq!(get(&proxy, "/a", &[("cookie", "session=x")]).status, 401);
}

/// What cannot be given to the policy is not put to it, and must not get in for that.
#[test]
fn what_the_policy_cannot_read_does_not_pass_by_it() {
    let origin = echoing(FRESH);
    let proxy = guarded(&origin, &format!("token = {{ {KEYS} }}"));
    let odd = b"GET /a HTTP/1.1\r\nhost: example.com\r\nauthorization: Bearer \xff\r\n\r\n";
    let mut client = proxy.client();
    client.send(odd).unwrap();
    assert_eq!(client.response("GET").unwrap().status, 400);

    let token = TOKEN.strip_prefix("Bearer ").unwrap();
    let proxy = guarded(&origin, &format!("token = {{ {KEYS}, cookie = \"session\", forward = false }}"));
    for twice in
        [format!("session={token}; session={token}"), format!("session ={token}"), "session".to_owned()]
    {
        assert_eq!(get(&proxy, "/a", &[("cookie", &twice)]).status, 400, "{twice}");
    }
    let lines = [("cookie", "session=a"), ("cookie", "session=b")];
    assert_eq!(get(&proxy, "/a", &lines).status, 400);
    assert_eq!(origin.count(), 0);
}

/// Whoever makes it fail often enough has it taken out, and then nobody gets in.
#[test]
fn nothing_that_a_stranger_sends_makes_the_policy_fail() {
    let origin = echoing(FRESH);
    let proxy = guarded(&origin, &format!("url = {{ {KEYS} }}, token = {{ {KEYS} }}"));
    // `{"a":` and hundreds of `[`, as a header that is read before anybody knows who wrote it.
    let deep = format!("eyJhIjpb{}", "W1tb".repeat(250));
    let huge = "A".repeat(50_000);
    for token in [format!("{deep}.e30.AAAA"), format!("e30.{deep}.AAAA"), ".".repeat(8_000), huge.clone()] {
        assert_eq!(get(&proxy, "/a", &[("authorization", &format!("Bearer {token}"))]).status, 401);
    }
    for query in
        ["&".repeat(50_000), "signature=&".repeat(5_000), format!("signature={huge}"), "%".repeat(50_000)]
    {
        let status = get(&proxy, &format!("/a?{query}"), &[]).status;
        assert!([401, 403].contains(&status), "{status}");
    }
    let metrics = proxy.admin("GET", "/metrics", "").text();
    let mut faults = metrics.lines().filter(|line| line.starts_with("larder_policy_faults_total{"));
    assert!(faults.all(|line| line.ends_with(" 0")), "{metrics}");
    assert_eq!(origin.count(), 0);
}

#[test]
fn neither_keys_nor_tokens_are_in_what_operators_read() {
    let origin = echoing(FRESH);
    let settings = format!(
        "url = {{ {KEYS} }}, token = {{ {KEYS}, forward = false, claims = [{{ name = \"tenant\" }}] }}"
    );
    let proxy = guarded(&origin, &settings);
    let question = format!(r#"{{"url": "http://example.com/a", "fields": [["authorization", "{TOKEN}"]]}}"#);
    let token = proxy.admin("POST", "/api/explain", &question).text();
    assert!(token.contains("\"tenant:acme\""), "{token}");
    let question = format!(r#"{{"url": "http://example.com{}"}}"#, SIGNED[0]);
    let signed = proxy.admin("POST", "/api/explain", &question).text();
    let (_, key) = signed.split_once("\nkey ").expect("it is looked up");
    assert!(key.contains("\"/reports/7?page=2\"") && !key.contains("38f79da9"), "{signed}");
    for text in [
        token,
        signed,
        proxy.admin("GET", "/api/policies", "").text(),
        proxy.admin("GET", "/api/status", "").text(),
    ] {
        for secret in ["dlZska5N", "eyJzdWIi", "30313233", "ffffffff"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    // Nor in what is said of a configuration that is wrong.
    for keys in ["\"hush-hush-hush\"", "{ a = \"hush-hush-hush\" }", "{ a = { hex = \"hush-hush-hush\" } }"] {
        let broken = flow_tests::proxy::config(
            &origin,
            &format!(
                "[[route]]\nname = \"all\"\npolicy = {{ component = \"{}\", settings = {{ url = {{ keys = {keys} }} }} }}",
                rig::policies::build().unwrap().join("access.wasm").display()
            ),
        );
        proxy.write_config(&broken);
        let refused = proxy.admin("POST", "/api/reload", "");
        assert!(refused.status == 422 && refused.text().contains("keys"), "{}", refused.text());
        assert!(!refused.text().contains("hush"), "{}", refused.text());
    }
}
