//! Tokens. The first two were made by others: RFC 7515 has one, PyJWT made one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use larder_policy::{
    Json, LookUp, Pass, RequestDecision,
    testing::{Given, Tester},
};
use sha2::Sha256;

use super::{Access, KEY_HEX, NOW_S, refuse, refused, tester};

const HS256: &str = r#"{"alg":"HS256"}"#;
const MALFORMED: &str = "the token is not a JSON Web Token in its compact form";
const ALGORITHM: &str = "the token is not signed as it has to be";
const WRONG: &str = "the signature of the token does not fit";
const NO_END: &str = "the token does not say until when it is good";
const EXPIRED: &str = "the token has expired";
const TOO_EARLY: &str = "the token is not good yet";
const ISSUER: &str = "the token is of another issuer";
const AUDIENCE: &str = "the token is for another audience";
const CLAIM: &str = "the token lacks a claim, or has one that cannot be used here";

fn settings(more: &str) -> String {
    format!(
        r#"{{ "token": {{ "keys": {{ "2026-a": {{ "hex": "{KEY_HEX}" }}, "old": {{ "hex": "{}" }} }}{more} }} }}"#,
        "ff".repeat(32)
    )
}

fn policy(more: &str) -> Tester<Access> {
    tester(&settings(more))
}

fn encoded(text: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn sign(key: &[u8], text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", encoded(&mac.finalize().into_bytes()))
}

/// By the first key, whatever the two say.
pub(super) fn signed(header: &str, claims: &str) -> String {
    let text = format!("{}.{}", encoded(header.as_bytes()), encoded(claims.as_bytes()));
    sign(b"0123456789abcdef0123456789abcdef", &text)
}

fn bearing(token: &str) -> Given {
    Given::new().field("authorization", &format!("Bearer {token}")).time(NOW_S)
}

#[track_caller]
fn check(policy: &Tester<Access>, given: &Given, expected: Result<LookUp, &str>) {
    let decision = policy.on_request(given);
    match expected {
        Ok(look_up) => assert_eq!(decision, look_up.into(), "{given:?}"),
        Err(detail) => {
            let challenge = format!(", error=\"invalid_token\", error_description=\"{detail}\"");
            assert_eq!(refused(&decision), (401, Some(challenge.as_str()), detail.to_owned()), "{given:?}");
        }
    }
}

#[track_caller]
fn check_claims(policy: &Tester<Access>, claims: &str, expected: Result<(), &str>) {
    check(policy, &bearing(&signed(HS256, claims)), expected.map(|()| LookUp::new()));
}

#[test]
fn tokens_that_others_have_made_are_good() {
    // RFC 7515, appendix A.1, with its line ends; good until 2011-03-22T18:43:00Z.
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let of_the_rfc = tester(&format!(
        r#"{{ "token": {{ "keys": {{ "a": {{ "base64": "{key}" }} }}, "issuer": "joe" }} }}"#
    ));
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                 eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                 dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let at = |now_s| Given::new().field("authorization", &format!("Bearer {token}")).time(now_s);
    check(&of_the_rfc, &at(1_300_819_379), Ok(LookUp::new()));
    check(&of_the_rfc, &at(1_300_819_380), Err(EXPIRED));
    check(&policy(""), &at(1_300_819_379), Err(WRONG));

    let of_pyjwt = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjIwMjYtYSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1NyIsInRlbmFudCI6ImFjbWUiLCJleHAiOjE3NjcyMjkyMDB9.dlZska5NMqjHR9HeUVmTuV-6MAU2nA1SLSbbcyvr_Pc";
    check(&policy(""), &bearing(of_pyjwt), Ok(LookUp::new()));
}

#[test]
fn who_has_no_token_is_told_that_one_is_needed() {
    let nothing = (401, Some(""), "a token is needed".to_owned());
    for odd in ["", "Bearer", "Bearer ", "Basic dTpw", "Token abc", "bearerabc"] {
        let given = Given::new().field("authorization", odd).time(NOW_S);
        assert_eq!(refused(&policy("").on_request(&given)), nothing, "{odd}");
    }
    assert_eq!(refused(&policy("").on_request(&Given::new().time(NOW_S))), nothing);
    let other = policy(r#", "realm": "shop & more""#).on_request(&Given::new());
    let RequestDecision::Answer(other) = other else { panic!("let in") };
    assert!(
        other.fields.contains(&("www-authenticate".to_owned(), "Bearer realm=\"shop & more\"".to_owned()))
    );
}

#[test]
fn a_token_is_three_parts_in_their_one_spelling() {
    let good = signed(HS256, r#"{"exp":1767229200}"#);
    let [header, claims, tag] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    check(
        &policy(""),
        &Given::new().field("authorization", &format!("bEARER   {good}")).time(NOW_S),
        Ok(LookUp::new()),
    );
    // The last digit of a tag of 32 bytes holds four bits: the next one of the alphabet would be the same bytes.
    let last = tag.chars().last().unwrap();
    let same_bytes = format!("{}{}", &tag[..42], char::from(u8::try_from(last).unwrap() + 1));
    for odd in [
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{good}."),
        format!(".{good}"),
        format!("{header}..{claims}.{tag}"),
        format!("{good}.{tag}"),
        format!(".{claims}.{tag}"),
        format!("{header}.{claims}.{tag}="),
        format!("{header}=.{claims}.{tag}"),
        format!("{header}.{claims}.{same_bytes}"),
        format!("{header}.{claims}.{} ", &tag[..42]),
        format!("{header}.{claims}.+{}", &tag[1..]),
        format!("{header}.{claims}.%2D{}", &tag[1..]),
        format!("{good}, Bearer {good}"),
        format!("{good},{good}"),
        "a.b.c".to_owned(),
        "...".to_owned(),
        "ä.ö.ü".to_owned(),
        format!("{header}.{claims}.{}", "A".repeat(9000)),
    ] {
        let decision = policy("").on_request(&bearing(&odd));
        let (status, _, detail) = refused(&decision);
        assert_eq!(status, 401);
        assert!([MALFORMED, WRONG].contains(&detail.as_str()), "{odd}: {detail}");
    }
    let padded = |bytes: usize| {
        signed(&format!(r#"{{"alg":"HS256","x":"{}"}}"#, "x".repeat(bytes)), r#"{"exp":1767229200}"#)
    };
    check(&policy(""), &bearing(&padded(700)), Ok(LookUp::new()));
    check(&policy(""), &bearing(&padded(800)), Err(MALFORMED));
    let huge = signed(HS256, &format!(r#"{{"exp":1767229200,"x":"{}"}}"#, "x".repeat(7000)));
    check(&policy(""), &bearing(&huge), Err(MALFORMED));
    check(&policy(""), &bearing(&"A".repeat(1 << 20)), Err(MALFORMED));
    check(
        &policy(""),
        &bearing(&signed(HS256, &format!(r#"{{"exp":1767229200,"x":"{}"}}"#, "x".repeat(5000)))),
        Ok(LookUp::new()),
    );
}

#[test]
fn how_a_token_is_signed_is_not_its_own_to_say() {
    let claims = encoded(br#"{"exp":1767229200}"#);
    for alg in [
        "none",
        "None",
        "NONE",
        "hs256",
        "HS256 ",
        " HS256",
        "HS384",
        "HS512",
        "RS256",
        "ES256",
        "",
        "HS256\u{0}",
        "ＨＳ256",
    ] {
        let header = format!(r#"{{"alg":{}}}"#, Json::Text(alg.to_owned()));
        check(&policy(""), &bearing(&signed(&header, r#"{"exp":1767229200}"#)), Err(ALGORITHM));
        check(&policy(""), &bearing(&format!("{}.{claims}.", encoded(header.as_bytes()))), Err(ALGORITHM));
    }
    for (header, why) in [
        (r#"{}"#, ALGORITHM),
        (r#"{"alg":null}"#, ALGORITHM),
        (r#"{"alg":["HS256"]}"#, ALGORITHM),
        (r#"{"alg":{"alg":"HS256"}}"#, ALGORITHM),
        (r#"{"ALG":"HS256"}"#, ALGORITHM),
        (r#"{"alg":"HS256","crit":["exp"]}"#, ALGORITHM),
        (r#"{"alg":"HS256","crit":[]}"#, ALGORITHM),
        (r#"{"alg":"HS256","crit":null}"#, ALGORITHM),
        (r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#, ALGORITHM),
        // Two of one name, also in two spellings.
        (r#"{"alg":"none","alg":"HS256"}"#, MALFORMED),
        (r#"{"alg":"HS256","alg":"none"}"#, MALFORMED),
        (r#"{"alg":"HS256","\u0061lg":"HS256"}"#, MALFORMED),
        (r#"{"alg":"HS256","x":1,"x":1}"#, MALFORMED),
        (r#"["HS256"]"#, MALFORMED),
        (r#""HS256""#, MALFORMED),
        ("", MALFORMED),
        (r#"{"alg":"HS256"}x"#, MALFORMED),
        (r#"{"alg":"HS256"}{"alg":"HS256"}"#, MALFORMED),
        ("\u{feff}{\"alg\":\"HS256\"}", MALFORMED),
        (r#"{"alg":"HS256",}"#, MALFORMED),
    ] {
        check(&policy(""), &bearing(&signed(header, r#"{"exp":1767229200}"#)), Err(why));
    }
    // As a name may be written in JSON.
    check(
        &policy(""),
        &bearing(&signed(r#"{"\u0061lg":"HS\u003256"}"#, r#"{"exp":1767229200}"#)),
        Ok(LookUp::new()),
    );
    // No key comes from a token, or from where it points.
    let own_key = r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"},"jku":"http://evil.example","x5u":"http://evil.example"}"#;
    let text = format!("{}.{claims}", encoded(own_key.as_bytes()));
    check(&policy(""), &bearing(&sign(b"\0\0\0", &text)), Err(WRONG));
    check(&policy(""), &bearing(&sign(b"", &text)), Err(WRONG));
}

#[test]
fn a_token_that_names_a_key_is_of_that_key() {
    let signed_by = |key: &[u8], kid: &str| {
        let header = format!(r#"{{"alg":"HS256"{kid}}}"#);
        sign(key, &format!("{}.{}", encoded(header.as_bytes()), encoded(br#"{"exp":1767229200}"#)))
    };
    let (new, old) = (b"0123456789abcdef0123456789abcdef".as_slice(), [0xff; 32]);
    for (key, kid, expected) in [
        (new, r#","kid":"2026-a""#, Ok(LookUp::new())),
        (&old, r#","kid":"old""#, Ok(LookUp::new())),
        (new, "", Ok(LookUp::new())),
        (&old, "", Ok(LookUp::new())),
        (new, r#","kid":"old""#, Err(WRONG)),
        (&old, r#","kid":"2026-a""#, Err(WRONG)),
        (new, r#","kid":"2026-A""#, Err(WRONG)),
        (new, r#","kid":"""#, Err(WRONG)),
        (new, r#","kid":"../../dev/null""#, Err(WRONG)),
        (new, r#","kid":null"#, Err(WRONG)),
        (new, r#","kid":["2026-a"]"#, Err(WRONG)),
        (new, r#","kid":0"#, Err(WRONG)),
        (&[0; 32], "", Err(WRONG)),
        // What a key of HMAC is filled up with.
        (b"0123456789abcdef0123456789abcdee", "", Err(WRONG)),
    ] {
        check(&policy(""), &bearing(&signed_by(key, kid)), expected);
    }
}

#[test]
fn claims_that_could_be_read_in_two_ways_are_not_read() {
    for claims in [
        r#"{"exp":1767229200,"exp":1767229200}"#,
        r#"{"exp":1,"\u0065xp":1767229200}"#,
        r#"{"exp":1767229200,"role":"user","role":"admin"}"#,
        r#"{"exp":1767229200,"app":{"role":"user","role":"admin"}}"#,
        r#"[{"exp":1767229200}]"#,
        r#"{"exp":1767229200"#,
        r#"{"exp":1767229200} x"#,
        "",
        "null",
    ] {
        check_claims(&policy(r#", "require_exp": false"#), claims, Err(MALFORMED));
    }
    let deep = format!(r#"{{"exp":1767229200,"x":{}{}}}"#, "[".repeat(2000), "]".repeat(2000));
    check_claims(&policy(""), &deep, Err(MALFORMED));
    let token = sign(
        b"0123456789abcdef0123456789abcdef",
        &format!("{}.{}", encoded(HS256.as_bytes()), encoded(b"{\"exp\":1767229200,\"x\":\"\xff\"}")),
    );
    check(&policy(""), &bearing(&token), Err(MALFORMED));
    // Of names that somebody else reads, whatever is inside them.
    check_claims(
        &policy(""),
        r#"{"exp":1767229200,"x":{"a":[{"a":null,"b":1e9}]},"y":[1,"a",true],"z":"\ud83d\ude00"}"#,
        Ok(()),
    );
}

#[test]
fn a_token_is_good_between_two_times() {
    let plain = policy("");
    for (claims, expected) in [
        (r#"{"exp":1767225601}"#, Ok(())),
        (r#"{"exp":1767225600}"#, Err(EXPIRED)),
        (r#"{"exp":1767225600.5}"#, Ok(())),
        (r#"{"exp":1767225599.5}"#, Err(EXPIRED)),
        (r#"{"exp":1767225600.000}"#, Err(EXPIRED)),
        (r#"{"exp":1.7672292e9}"#, Err(NO_END)),
        (r#"{"exp":17672292E2}"#, Err(NO_END)),
        (r#"{"exp":0}"#, Err(EXPIRED)),
        (r#"{"exp":-1}"#, Err(EXPIRED)),
        (r#"{"exp":-0.0}"#, Err(EXPIRED)),
        (r#"{"exp":-1.5}"#, Err(EXPIRED)),
        (r#"{"exp":-1e300}"#, Err(NO_END)),
        (r#"{"exp":-9223372036854775808}"#, Err(EXPIRED)),
        (r#"{"exp":9223372036854775807}"#, Ok(())),
        (r#"{"exp":9223372036854775807.9}"#, Ok(())),
        (r#"{"exp":1e300}"#, Err(NO_END)),
        (r#"{"exp":18446744073709551615}"#, Err(NO_END)),
        (r#"{"exp":1e999}"#, Err(NO_END)),
        (r#"{"exp":NaN}"#, Err(MALFORMED)),
        (r#"{"exp":01767229200}"#, Err(MALFORMED)),
        (r#"{"exp":+1767229200}"#, Err(MALFORMED)),
        (r#"{"exp":"1767229200"}"#, Err(NO_END)),
        (r#"{"exp":[1767229200]}"#, Err(NO_END)),
        (r#"{"exp":null}"#, Err(NO_END)),
        (r#"{"exp":true}"#, Err(NO_END)),
        (r#"{"EXP":1767229200}"#, Err(NO_END)),
        (r#"{"iat":1767225600}"#, Err(NO_END)),
        (r#"{"exp":1767229200,"nbf":1767225600}"#, Ok(())),
        (r#"{"exp":1767229200,"nbf":1767225601}"#, Err(TOO_EARLY)),
        (r#"{"exp":1767229200,"nbf":1767225600.5}"#, Err(TOO_EARLY)),
        (r#"{"exp":1767229200,"nbf":-1}"#, Ok(())),
        (r#"{"exp":1767229200,"nbf":9223372036854775807}"#, Err(TOO_EARLY)),
        (r#"{"exp":1767229200,"nbf":"0"}"#, Err(TOO_EARLY)),
        (r#"{"exp":1767229200,"nbf":null}"#, Err(TOO_EARLY)),
    ] {
        check_claims(&plain, claims, expected);
    }
    let lenient = policy(r#", "leeway": "30s", "require_exp": false"#);
    for (claims, expected) in [
        (r#"{"exp":1767225571}"#, Ok(())),
        (r#"{"exp":1767225570}"#, Err(EXPIRED)),
        (r#"{"nbf":1767225630}"#, Ok(())),
        (r#"{"nbf":1767225631}"#, Err(TOO_EARLY)),
        (r#"{"exp":9223372036854775807,"nbf":-9223372036854775808}"#, Ok(())),
        ("{}", Ok(())),
        (r#"{"exp":"never"}"#, Err(NO_END)),
    ] {
        check_claims(&lenient, claims, expected);
    }
    let token = signed(HS256, r#"{"exp":9223372036854775807}"#);
    check(&plain, &Given::new().field("authorization", &format!("Bearer {token}")), Err(EXPIRED));
    refuse(&settings(r#", "leeway": 301"#), "leeway: 301 s");
}

#[test]
fn a_token_is_of_its_issuer_and_for_its_audience() {
    let with = |rest: &str| format!(r#"{{"exp":1767229200{rest}}}"#);
    let issued = policy(r#", "issuer": "https://a.example""#);
    for (rest, expected) in [
        (r#","iss":"https://a.example""#, Ok(())),
        (r#","iss":"https://a.example/""#, Err(ISSUER)),
        (r#","iss":"HTTPS://A.EXAMPLE""#, Err(ISSUER)),
        (r#","iss":["https://a.example"]"#, Err(ISSUER)),
        (r#","iss":null"#, Err(ISSUER)),
        ("", Err(ISSUER)),
    ] {
        check_claims(&issued, &with(rest), expected);
    }
    let addressed = policy(r#", "audience": ["shop", "mail"]"#);
    for (rest, expected) in [
        (r#","aud":"shop""#, Ok(())),
        (r#","aud":["x","mail"]"#, Ok(())),
        (r#","aud":"Shop""#, Err(AUDIENCE)),
        (r#","aud":"shop mail""#, Err(AUDIENCE)),
        (r#","aud":[]"#, Err(AUDIENCE)),
        (r#","aud":["x",1]"#, Err(AUDIENCE)),
        (r#","aud":{"shop":1}"#, Err(AUDIENCE)),
        ("", Err(AUDIENCE)),
    ] {
        check_claims(&addressed, &with(rest), expected);
    }
    // Who is nobody is not who is meant.
    check_claims(&policy(""), &with(r#","aud":"shop""#), Err(AUDIENCE));
    check_claims(&policy(""), &with(r#","aud":[]"#), Err(AUDIENCE));
    check_claims(&policy(""), &with(r#","iss":"anybody""#), Ok(()));
}

#[test]
fn claims_tell_responses_apart() {
    let claims =
        r#", "claims": [{ "name": "tenant", "tag": "tenant", "field": "x-tenant" }, { "name": "plan" }]"#;
    let policy = policy(claims);
    let with = |rest: &str| bearing(&signed(HS256, &format!(r#"{{"exp":1767229200{rest}}}"#)));
    let expected = LookUp::new()
        .key_part("tenant:acme")
        .tag("tenant:acme")
        .set_field("x-tenant", "acme")
        .key_part("plan:-3");
    check(&policy, &with(r#","tenant":"acme","plan":-3,"sub":"u7""#), Ok(expected));
    for tenant in [
        r#""""#,
        r#""a b""#,
        r#""a,b""#,
        r#""\u00e4""#,
        r#""a\r\nx: y""#,
        r#""a\u0000""#,
        "1.0",
        "true",
        "null",
        r#"["acme"]"#,
        "{}",
    ] {
        check(&policy, &with(&format!(r#","tenant":{tenant},"plan":1"#)), Err(CLAIM));
    }
    check(&policy, &with(&format!(r#","tenant":"{}","plan":1"#, "x".repeat(129))), Err(CLAIM));
    check(&policy, &with(r#","tenant":"acme""#), Err(CLAIM));

    let twice = r#"{ "name": "a" }, { "name": "a" }"#;
    let one_field = r#"{ "name": "a", "field": "x-a" }, { "name": "b", "field": "x-a" }"#;
    for (claims, expected) in [
        (twice, "claims[1]: its name or its field is that of another"),
        (one_field, "claims[1]: its name or its field is that of another"),
        (r#"{ "name": "" }"#, "claims[0]: name"),
        (r#"{ "name": "a", "tag": "a,b" }"#, "claims[0]: tag"),
        (r#"{ "name": "a", "field": "authorization" }"#, "claims[0]: field"),
        (r#"{ "name": "a", "field": "X-Forwarded-For" }"#, "claims[0]: field"),
        (r#"{ "name": "a", "field": "x a" }"#, "claims[0]: field"),
    ] {
        refuse(&settings(&format!(r#", "claims": [{claims}]"#)), expected);
    }
    let nine: Vec<_> = (0..9).map(|number| format!(r#"{{ "name": "c{number}" }}"#)).collect();
    refuse(&settings(&format!(r#", "claims": [{}]"#, nine.join(","))), "claims: 9 of them");
}

#[test]
fn what_goes_on_to_the_upstream_is_what_the_settings_say() {
    let token = signed(HS256, r#"{"exp":1767229200,"sub":"u7"}"#);
    let in_cookie = Given::new().cookie("session", &token).time(NOW_S);
    check(&policy(""), &bearing(&token), Ok(LookUp::new()));
    check(
        &policy(r#", "forward": false"#),
        &bearing(&token),
        Ok(LookUp::new().remove_field("authorization")),
    );

    let shared = policy(r#", "cookie": "session", "forward": false"#);
    check(&shared, &in_cookie, Ok(LookUp::new().remove_field("cookie")));
    check(&shared, &bearing(&token).cookie("session", "x"), Err(MALFORMED));
    assert_eq!(refused(&shared.on_request(&bearing(&token))).1, Some(""));
    assert_eq!(refused(&shared.on_request(&bearing(&token).cookie("session", ""))).1, Some(""));
    // `Bearer` is of the field alone.
    check(&shared, &Given::new().cookie("session", &format!("Bearer {token}")).time(NOW_S), Err(MALFORMED));

    let claims = r#", "cookie": "session", "claims": [{ "name": "sub", "tag": "user", "field": "x-user" }]"#;
    let passed = Pass::because("its token goes on in a cookie").set_field("x-user", "u7");
    assert_eq!(policy(claims).on_request(&in_cookie), passed.into());
    refuse(&settings(r#", "cookie": "a b""#), "cookie:");
    refuse(&settings(r#", "realm": "a\"b""#), "realm:");
}

/// Nothing of a token or a signature is in what comes of it, but the claims that settings name.
#[test]
fn nothing_secret_is_in_a_decision() {
    let token = signed(HS256, r#"{"exp":1767229200,"sub":"u7","tenant":"acme"}"#);
    let parts: Vec<&str> = token.split('.').collect();
    for more in [
        "",
        r#", "forward": false"#,
        r#", "claims": [{ "name": "tenant", "tag": "t", "field": "x-t" }]"#,
        r#", "issuer": "x""#,
    ] {
        let said = format!("{:?}", policy(more).on_request(&bearing(&token)));
        assert!(parts.iter().all(|part| !said.contains(part)) && !said.contains("u7"), "{said}");
    }
}
