//! Signed URLs. The signatures here are those of `openssl dgst` and of Python's `hmac`, by the lines in `lib.rs`.

use hmac::{Hmac, KeyInit as _, Mac as _};
use larder_policy::{
    LookUp, RequestDecision,
    testing::{Given, Tester},
};
use sha2::Sha256;

use super::{Access, KEY_HEX, NOW_S, refuse, refused, tester};

/// What `lib.rs` shows how to sign, good for an hour.
pub(super) const EXAMPLE: (&str, &str) = (
    "/reports/7?page=2&key=2026-a&expires=1767229200",
    "38f79da9aad44c42a412108b95dce07e01034a5ad0ca3dbfc437b493599fe358",
);

fn policy(more: &str) -> Tester<Access> {
    tester(&format!(
        r#"{{ "url": {{ "keys": {{ "2026-a": {{ "hex": "{KEY_HEX}" }}, "k": {{ "hex": "{}" }} }}{more} }} }}"#,
        "ff".repeat(32)
    ))
}

pub(super) fn get(target: &str) -> Given {
    let given = Given::new().method("GET").host("example.com").time(NOW_S);
    match target.split_once('?') {
        Some((path, query)) => given.path(path).query(query),
        None => given.path(target),
    }
}

pub(super) fn let_in() -> RequestDecision {
    LookUp::new().without_parameters(["expires", "signature", "key"]).into()
}

/// In place of what `get` has for the same.
fn instead(of: &str, target: &str) -> Given {
    let (path, query) = target.split_once('?').unwrap();
    let given = match of.split_once(' ') {
        Some((method, host)) => Given::new().method(method).host(host),
        None => Given::new().method(of).host("example.com"),
    };
    given.time(NOW_S).path(path).query(query)
}

/// By the first key, as a signer would do it who may sign anything.
fn signature(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"0123456789abcdef0123456789abcdef").unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn signed(target: &str) -> String {
    format!("{target}&signature={}", signature(&format!("GET\nexample.com\n{target}")))
}

#[track_caller]
fn check(policy: &Tester<Access>, given: &Given, expected: Result<(), &str>) {
    let decision = policy.on_request(given);
    match expected {
        Ok(()) => assert_eq!(decision, let_in(), "{given:?}"),
        Err(detail) => assert_eq!(refused(&decision), (403, None, detail.to_owned()), "{given:?}"),
    }
}

const INCOMPLETE: Result<(), &str> = Err("the URL is not signed as it has to be");
const WRONG: Result<(), &str> = Err("the signature does not fit");
const EXPIRED: Result<(), &str> = Err("the URL has expired");
const UNSIGNED: Result<(), &str> = Err("a signed URL is needed");

#[test]
fn who_signs_as_the_documentation_says_is_let_in() {
    let (url, signature) = EXAMPLE;
    check(&policy(""), &get(&format!("{url}&signature={signature}")), Ok(()));
    let documentation = include_str!("../lib.rs");
    assert!(documentation.contains(&format!("https://example.com{url}&signature={signature}")));
    assert!(documentation.contains(KEY_HEX));
    // Other requests, signed by the same two programs.
    for (of, target, signature) in [
        ("POST", url, "a30cc8f521b7bcc351d2a66bad8ee352ab1d356596d6707a9010acb663b7b578"),
        ("GET example.com:8080", url, "37577530d9375ac7c40afe269cf4137aa3636eb10da02d850737cf8993398e1b"),
    ] {
        check(&policy(""), &instead(of, &format!("{target}&signature={signature}")), Ok(()));
        check(&policy(""), &get(&format!("{target}&signature={signature}")), WRONG);
    }
    let other_host = instead("GET elsewhere.example", &format!("{url}&signature={signature}"));
    check(&policy(""), &other_host, WRONG);
    let unhosted =
        format!("{url}&signature=594541bb9c6ea14860170fa9aec7ee5f7855c8afe20de913b62815634cc87e6d");
    check(&policy(r#", "sign_host": false"#), &instead("GET elsewhere.example", &unhosted), Ok(()));
    check(&policy(""), &get(&unhosted), WRONG);
}

#[test]
fn a_signature_is_for_one_method_and_for_asking_about_it() {
    let target = signed(EXAMPLE.0);
    check(&policy(""), &instead("HEAD", &target), Ok(()));
    for method in ["POST", "get", "DELETE", "OPTIONS", "QUERY", "GETS"] {
        check(&policy(""), &instead(method, &target), WRONG);
    }
}

#[test]
fn it_is_good_until_the_second_in_which_it_expires() {
    let given = |now_s: u64| {
        let target = signed(EXAMPLE.0);
        let (path, query) = target.split_once('?').unwrap();
        Given::new().method("GET").host("example.com").path(path).query(query).time(now_s)
    };
    check(&policy(""), &given(0), Ok(()));
    check(&policy(""), &given(1_767_229_199), Ok(()));
    check(&policy(""), &given(1_767_229_200), EXPIRED);
    check(&policy(""), &given(u64::MAX), EXPIRED);
    // Without a time nothing is good.
    let target = signed(EXAMPLE.0);
    let (path, query) = target.split_once('?').unwrap();
    let timeless = Given::new().method("GET").host("example.com").path(path).query(query);
    check(&policy(""), &timeless, EXPIRED);
    // Only who has signed it is told that it has expired.
    check(&policy(""), &get(&format!("/a?key=2026-a&expires=1&signature={}", "0".repeat(64))), WRONG);
}

#[test]
fn whatever_is_changed_does_not_fit() {
    let (url, tag) = EXAMPLE;
    let query = "page=2&key=2026-a&expires=1767229200";
    for changed in [
        // The path, and how it is spelled.
        format!("/reports/8?{query}"),
        format!("/reports/7/?{query}"),
        format!("//reports/7?{query}"),
        format!("/reports/./7?{query}"),
        format!("/reports/%37?{query}"),
        format!("/reports%2F7?{query}"),
        format!("/Reports/7?{query}"),
        format!("/reports/7;a?{query}"),
        // The rest of the query: values, names, spelling, order, additions.
        url.replace("page=2", "page=3"),
        url.replace("page=2", "page=%32"),
        url.replace("page=2", "p%61ge=2"),
        url.replace("page=2", "PAGE=2"),
        url.replace("page=2", "page=2&page=3"),
        url.replace("page=2&", ""),
        url.replace("page=2&", "page=2&&"),
        "/reports/7?key=2026-a&page=2&expires=1767229200".to_owned(),
        format!("{url}&"),
        format!("{url}&utm_source=x"),
        url.replace("7?page", "7?x=1&page"),
        // When it ends.
        url.replace("1767229200", "1767229201"),
        url.replace("1767229200", "999999999999"),
        // Whose key it is: of another key, of none, in another spelling.
        url.replace("2026-a", "k"),
        url.replace("2026-a", "K"),
        url.replace("2026-a", "2026-A"),
        url.replace("2026-a", "2026%2Da"),
        url.replace("2026-a", ""),
    ] {
        check(&policy(""), &get(&format!("{changed}&signature={tag}")), WRONG);
    }
    for (at, digit) in [(0, "0"), (63, "0")] {
        let mut other = tag.to_owned();
        other.replace_range(at..=at, digit);
        check(&policy(""), &get(&format!("{url}&signature={other}")), WRONG);
    }
}

#[test]
fn the_signature_may_stand_anywhere_and_once() {
    let (url, tag) = EXAMPLE;
    check(&policy(""), &get(&url.replace("7?", &format!("7?signature={tag}&"))), Ok(()));
    check(&policy(""), &get(&url.replace("&key", &format!("&signature={tag}&key"))), Ok(()));
    // Two of what decides, equal or not, whichever comes first, even if somebody signed them.
    for twice in [
        format!("{url}&signature={tag}&signature={tag}"),
        format!("{url}&signature=&signature={tag}"),
        format!("{url}&signature&signature={tag}"),
        signed(&format!("{url}&expires=1767229200")),
        signed(&format!("{url}&expires=999999999999")),
        signed(&format!("{url}&key=2026-a")),
        signed(&format!("{url}&key=k")),
    ] {
        check(&policy(""), &get(&twice), INCOMPLETE);
    }
}

#[test]
fn a_signature_that_is_none_is_no_signature() {
    let (url, tag) = EXAMPLE;
    let upper = tag.to_uppercase();
    for odd in [
        "",
        "0",
        &tag[1..],
        &tag[..62],
        &format!("{tag}00"),
        &format!("%33{}", &tag[1..]),
        &upper,
        &"+".repeat(64),
        &"é".repeat(32),
    ] {
        check(&policy(""), &get(&format!("{url}&signature={odd}")), INCOMPLETE);
    }
    check(&policy(""), &get(&format!("{url}&signature")), INCOMPLETE);
    // Other names than the one that is set are parts of what is signed.
    for odd in [
        "Signature",
        "%73ignature",
        "signature%20",
        "signature%00",
        "+signature",
        "signature[]",
        "x;signature",
    ] {
        check(&policy(""), &get(&format!("{url}&{odd}={tag}")), UNSIGNED);
    }
    check(&policy(""), &get("/reports/7"), UNSIGNED);
    check(&policy(""), &get("/reports/7?"), UNSIGNED);
    check(&policy(""), &get(url), UNSIGNED);
}

#[test]
fn an_end_is_a_number_of_seconds_and_nothing_else() {
    for odd in [
        "",
        "0",
        "01767229200",
        "+1767229200",
        "%2B1767229200",
        "-1",
        "-1767229200",
        "1767229200.5",
        "1e12",
        "0x69",
        "1767229200 ",
        "1767229200%00",
        "9999999999999",
        "18446744073709551616",
        "99999999999999999999999",
        "１７６７",
        "NaN",
        "inf",
    ] {
        check(&policy(""), &get(&signed(&format!("/a?key=2026-a&expires={odd}"))), INCOMPLETE);
    }
    for missing in ["/a?key=2026-a", "/a?expires=1767229200", "/a?key=2026-a&expires", "/a?x=1"] {
        check(&policy(""), &get(&signed(missing)), INCOMPLETE);
    }
    check(&policy(""), &get(&signed("/a?key=2026-a&expires=999999999999")), Ok(()));
    check(&policy(""), &get(&signed("/a?key=2026-a&expires=1767225600")), EXPIRED);
    check(&policy(""), &get(&signed("/a?key=2026-a&expires=1")), EXPIRED);
}

#[test]
fn long_urls_are_not_computed_with() {
    let long = |bytes: usize| signed(&format!("/a?key=2026-a&expires=1767229200&x={}", "x".repeat(bytes)));
    check(&policy(""), &get(&long(8 << 10)), Ok(()));
    check(&policy(""), &get(&long(16 << 10)), INCOMPLETE);
}

#[test]
fn the_parameters_may_have_other_names() {
    let policy = policy(r#", "parameters": { "expires": "e", "signature": "s", "key": "k" }"#);
    let target = "/a?k=2026-a&e=1767229200&signature=1&expires=x";
    let given = get(&format!("{target}&s={}", signature(&format!("GET\nexample.com\n{target}"))));
    let expected = LookUp::new().without_parameters(["e", "s", "k"]);
    assert_eq!(policy.on_request(&given), expected.into());
    let with = |parameters: &str| {
        format!(
            r#"{{ "url": {{ "keys": {{ "a": {{ "hex": "{KEY_HEX}" }} }}, "parameters": {parameters} }} }}"#
        )
    };
    for odd in ["", "a*", "a=b", "a&b", "a%62", "ä", "a b", "a;b", &"a".repeat(65)] {
        refuse(&with(&format!(r#"{{ "key": "{odd}" }}"#)), "is not 1 to 64 of");
    }
    refuse(&with(r#"{ "key": "expires" }"#), "two of them have one name");
    refuse(&with(r#"{ "signature": "a", "key": "a" }"#), "two of them have one name");
    refuse(
        &format!(r#"{{ "url": {{ "keys": {{ "a b": {{ "hex": "{KEY_HEX}" }} }} }} }}"#),
        "cannot be the name of a key",
    );
}
