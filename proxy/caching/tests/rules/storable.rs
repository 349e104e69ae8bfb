//! What may be stored, and the reason where it may not.

use caching::{
    directives::ResponseDirectives,
    freshness::{Facts, PolicyLifetimes},
    storable::{NotStorable, RequestFacts, RequestKind, storable, storable_partial},
};
use http::{Method, StatusCode};

use super::{NOW, facts_for, fields, request, rules, s};

fn judged(request_text: &str, response: &str, rules_text: &str) -> &'static str {
    let (status, fields, facts) = facts_for(request_text, response);
    let directives = ResponseDirectives::of(&fields);
    match storable(request(request_text), status, &fields, &directives, &facts, &rules(rules_text)) {
        Ok(()) => "stored",
        Err(why) => why.as_str(),
    }
}

/// A response to a plain GET, as `200 cache-control: max-age=60`, without any configuration.
#[track_caller]
fn check(response: &str, expected: &str) {
    assert_eq!(judged("", response, ""), expected, "{response}");
}

#[track_caller]
fn check_for(request: &str, response: &str, expected: &str) {
    assert_eq!(judged(request, response, ""), expected, "{request}; {response}");
}

#[track_caller]
fn check_under(rules: &str, response: &str, expected: &str) {
    assert_eq!(judged("", response, rules), expected, "{rules}; {response}");
}

/// The verdict on a 200 to a request of this method.
fn judged_for(request: RequestFacts, response: &str, rules_text: &str) -> Option<NotStorable> {
    let response = fields(response);
    let directives = ResponseDirectives::of(&response);
    let facts = Facts::of(request, StatusCode::OK, &response, &directives, NOW, NOW);
    storable(request, StatusCode::OK, &response, &directives, &facts, &rules(rules_text)).err()
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3
//= type=test
//# the request method is understood by the cache;
#[test]
fn only_what_a_get_or_a_query_brought_is_stored() {
    for (method, expected) in [
        ("GET", None),
        ("QUERY", None),
        ("HEAD", Some(NotStorable::Method)),
        ("POST", Some(NotStorable::Method)),
        ("OPTIONS", Some(NotStorable::Method)),
        ("get", Some(NotStorable::Method)),
        ("PROPFIND", Some(NotStorable::Method)),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = RequestFacts::of(&method, &fields(""), false);
        assert_eq!(
            judged_for(request, "cache-control: max-age=60", "allow:request_body"),
            expected,
            "{method}"
        );
    }
}

#[test]
fn what_a_get_with_a_body_brought_is_stored_only_by_name() {
    let request = RequestFacts::of(&Method::GET, &fields(""), true);
    const RESPONSE: &str = "cache-control: max-age=60";
    assert_eq!(judged_for(request, RESPONSE, "ttl=60"), Some(NotStorable::RequestBody));
    assert_eq!(judged_for(request, RESPONSE, "allow:request_body"), None);
}

//= https://www.rfc-editor.org/rfc/rfc10008#section-2.7
//= type=test
//# The response to a QUERY method is cacheable; a cache MAY use it to
//# satisfy subsequent QUERY requests
#[test]
fn what_a_query_brought_is_stored_as_what_a_get_brought() {
    let request = RequestFacts::of(&Method::from_bytes(b"QUERY").unwrap(), &fields(""), true);
    for (response, rules, expected) in [
        ("cache-control: max-age=60", "", None),
        ("last-modified: {-1000}", "", None),
        ("content-type: x", "default_ttl=60", None),
        ("content-type: x", "", Some(NotStorable::NoFreshness)),
        ("cache-control: private, max-age=60", "", Some(NotStorable::Private)),
        ("cache-control: max-age=60 | set-cookie: a=b", "", Some(NotStorable::SetCookie)),
    ] {
        assert_eq!(judged_for(request, response, rules), expected, "{response}; {rules}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-9.3.3
//= type=test
//# Responses to POST requests are only cacheable when they include
//# explicit freshness information (see Section 4.2.1 of [CACHING]) and a
//# Content-Location header field that has the same value as the POST's
//# target URI (Section 8.7).
#[test]
fn what_a_post_brought_for_a_get_needs_freshness_information_of_its_own() {
    let mut request = RequestFacts::of(&Method::POST, &fields(""), true);
    request.kind = RequestKind::PostForGet;
    for (response, rules, expected) in [
        ("cache-control: max-age=60", "", None),
        ("expires: {+60}", "", None),
        ("cache-control: max-age=0 | etag: \"1\"", "ttl=60", None),
        ("last-modified: {-1000}", "", Some(NotStorable::NoFreshness)),
        ("last-modified: {-1000} | cache-control: public", "ttl=60 200=60", Some(NotStorable::NoFreshness)),
        ("content-type: x", "default_ttl=60", Some(NotStorable::NoFreshness)),
        ("cache-control: no-store, max-age=60", "", Some(NotStorable::NoStore)),
    ] {
        assert_eq!(judged_for(request, response, rules), expected, "{response}; {rules}");
    }
}

/// The verdict on a part that came for a GET with a range.
#[track_caller]
fn check_partial(response: &str, expected: &str) {
    let (status, fields, facts) = facts_for("range: bytes=0-1", response);
    let directives = ResponseDirectives::of(&fields);
    let request = request("range: bytes=0-1");
    let judged = storable_partial(request, status, &fields, &directives, &facts, &rules(""));
    assert_eq!(judged.err().map_or("stored", NotStorable::as_str), expected, "{response}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.3
//= type=test
//# However, a cache MUST NOT store incomplete
//# or partial-content responses if it does not support the Range and
//# Content-Range header fields or if it does not understand the range
//# units used in those fields.
#[test]
fn a_part_that_was_asked_for_is_stored_as_a_part() {
    const PART: &str = "content-range: bytes 0-1/2";
    check_partial(&format!("206 cache-control: max-age=60 | {PART}"), "stored");
    check_partial(&format!("206 last-modified: {{-1000}} | {PART}"), "stored");
    check_partial("206 cache-control: max-age=60 | content-range: Bytes 0-1/*", "stored");
    for place in ["", "bytes", "bytes */2", "lines 0-1/2", "bytes=0-1/2", "0-1/2"] {
        check_partial(&format!("206 cache-control: max-age=60 | content-range: {place}"), "partial");
    }
    check_partial("206 cache-control: max-age=60", "partial");
    check_partial(&format!("206 cache-control: max-age=60 | {PART} | {PART}"), "partial");
    check_partial(
        &format!("206 cache-control: max-age=60 | {PART} | content-type: Multipart/ByteRanges; boundary=x"),
        "partial",
    );
    check_partial(&format!("200 cache-control: max-age=60 | {PART}"), "partial");
    check_partial("200 cache-control: max-age=60", "partial");
    check_partial(&format!("206 etag: \"1\" | {PART}"), "no-freshness");
    check_partial(&format!("206 cache-control: no-store | {PART}"), "no-store");
    check_partial(&format!("206 cache-control: private, max-age=60 | {PART}"), "private");
    check_partial(&format!("206 cache-control: max-age=60 | set-cookie: a=b | {PART}"), "set-cookie");
}

#[test]
fn a_part_that_nobody_asked_for_is_not_stored() {
    let (status, fields, facts) = facts_for("", "206 cache-control: max-age=60 | content-range: bytes 0-1/2");
    let directives = ResponseDirectives::of(&fields);
    let mut with_range = request("range: bytes=0-1");
    let judged = |request| storable_partial(request, status, &fields, &directives, &facts, &rules("")).err();
    assert_eq!(judged(request("")), Some(NotStorable::Partial));
    assert_eq!(judged(with_range), None);
    with_range.kind = RequestKind::Query;
    assert_eq!(judged(with_range), Some(NotStorable::Partial));
    with_range.kind = RequestKind::Other;
    assert_eq!(judged(with_range), Some(NotStorable::Method));
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.5
//= type=test
//# The no-store request directive indicates that a cache MUST NOT store
//# any part of either this request or any response to it.
#[test]
fn a_request_with_no_store_leaves_nothing() {
    check_for("cache-control: no-store", "200 cache-control: max-age=60", "request-no-store");
    check_for("cache-control: no-cache", "200 cache-control: max-age=60", "stored");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3
//= type=test
//# the response status code is final (see Section 15 of [HTTP]);
#[test]
fn informational_responses_and_a_304_are_not_stored() {
    check("100 cache-control: max-age=60", "status");
    check("103 cache-control: max-age=60", "status");
    check("304 cache-control: max-age=60", "status");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.3
//= type=test
//# However, a cache MUST NOT store incomplete
//# or partial-content responses if it does not support the Range and
//# Content-Range header fields or if it does not understand the range
//# units used in those fields.
#[test]
fn a_part_is_not_stored() {
    check("206 cache-control: max-age=60 | content-range: bytes 0-1/2", "partial");
    check("206 cache-control: max-age=60", "partial");
    check("200 cache-control: max-age=60 | content-range: bytes 0-1/2", "partial");
    check("200 cache-control: max-age=60 | content-range: junk", "partial");
    check("416 cache-control: max-age=60 | content-range: bytes */2", "partial");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.5
//= type=test
//# The no-store response directive indicates that a cache MUST NOT store
//# any part of either the immediate request or the response and MUST NOT
//# use the response to satisfy any other request.
#[test]
fn no_store_is_not_stored() {
    check("200 cache-control: no-store", "no-store");
    check("200 cache-control: max-age=60, no-store, public", "no-store");
    check("200 cache-control: public, max-age=60 | cache-control: No-Store", "no-store");
    check_under("ttl=60", "200 cache-control: no-store", "no-store");
    check_under("default_ttl=60 min_ttl=60", "200 cache-control: no-store", "no-store");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.3
//= type=test
//# When a cache that implements the
//# must-understand directive receives a response that includes it, the
//# cache SHOULD ignore the no-store directive if it understands and
//# implements the status code's caching requirements.
#[test]
fn must_understand_lifts_no_store_for_statuses_that_are_understood() {
    check("200 cache-control: no-store, must-understand, max-age=60", "stored");
    check("404 cache-control: no-store, must-understand, max-age=60", "stored");
    check("299 cache-control: no-store, must-understand, max-age=60", "status");
    check("299 cache-control: must-understand, max-age=60", "status");
    check("599 cache-control: must-understand, max-age=60", "status");
    check("299 cache-control: max-age=60", "stored");
    check("200 cache-control: no-store, must-understand, private, max-age=60", "private");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.7
//= type=test
//# The unqualified private response directive indicates that a shared
//# cache MUST NOT store the response (i.e., the response is intended for
//# a single user).
#[test]
fn private_is_not_stored() {
    check("200 cache-control: private", "private");
    check("200 cache-control: private, max-age=60", "private");
    check("200 cache-control: private, public, s-maxage=60", "private");
    check("200 cache-control: private=\"set-cookie\", max-age=60", "private");
    check_under("ttl=60", "200 cache-control: private", "private");
}

#[test]
fn a_response_with_a_cookie_is_not_stored() {
    check("200 cache-control: public, max-age=60 | set-cookie: a=b", "set-cookie");
    check(
        "200 cache-control: max-age=60, no-cache=\"set-cookie\" | set-cookie: a=b | etag: \"1\"",
        "set-cookie",
    );
    check_under("ttl=60", "200 set-cookie: a=b", "set-cookie");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.5
//= type=test
//# A shared cache MUST NOT use a cached response to a request with an
//# Authorization header field (Section 11.6.2 of [HTTP]) to satisfy any
//# subsequent request unless the response contains a Cache-Control field
//# with a response directive (Section 5.2.2) that allows it to be stored
//# by a shared cache, and the cache conforms to the requirements of that
//# directive for that response.
#[test]
fn with_authorization_the_origin_has_to_permit_it() {
    const WITH: &str = "authorization: Basic eA==";
    check_for(WITH, "200 cache-control: max-age=60", "authorization");
    check_for(WITH, "200 cache-control: max-age=60, proxy-revalidate", "authorization");
    check_for(WITH, "200 expires: {+60}", "authorization");
    check_for(WITH, "200 last-modified: {-10000}", "authorization");
    check_for(WITH, "200 cache-control: max-age=60, public", "stored");
    check_for(WITH, "200 cache-control: max-age=60, must-revalidate", "stored");
    check_for(WITH, "200 cache-control: s-maxage=60", "stored");
    check_for(WITH, "200 cache-control: public, private, max-age=60", "private");
    check_for("authorization: ", "200 cache-control: max-age=60", "authorization");
}

#[test]
fn with_authorization_no_configuration_takes_the_place_of_the_origins_word() {
    const WITH: &str = "authorization: Basic eA==";
    for rules in ["ttl=60", "default_ttl=60", "min_ttl=60"] {
        assert_eq!(judged(WITH, "200 content-type: x", rules), "authorization", "{rules}");
        assert_eq!(judged(WITH, "200 cache-control: must-revalidate", rules), "no-freshness", "{rules}");
        assert_eq!(
            judged(WITH, "200 cache-control: max-age=0, must-revalidate", rules),
            "no-freshness",
            "{rules}"
        );
        // An argument that cannot be read is no permission.
        assert_eq!(judged(WITH, "200 cache-control: s-maxage", rules), "no-freshness", "{rules}");
    }
    // `public` says that it is the same for everybody: then it takes a TTL as any other.
    assert_eq!(judged(WITH, "200 cache-control: public", "default_ttl=60"), "stored");
}

#[test]
fn with_a_cookie_in_the_request_a_guess_is_not_enough() {
    const WITH: &str = "cookie: session=1";
    check_for(WITH, "200 last-modified: {-10000}", "no-freshness");
    check_for(WITH, "200 last-modified: {-10000} | etag: \"1\"", "no-freshness");
    check_for(WITH, "200 last-modified: {-10000} | cache-control: public", "stored");
    check_for(WITH, "200 last-modified: {-10000} | vary: accept, Cookie", "stored");
    check_for(WITH, "200 last-modified: {-10000} | vary: accept", "no-freshness");
    check_for(WITH, "200 cache-control: max-age=60", "stored");
    check_for("", "200 last-modified: {-10000}", "stored");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3
//= type=test
//# Note that, in normal operation, some caches will not store a response
//# that has neither a cache validator nor an explicit expiration time, as
//# such responses are not usually useful to store.
#[test]
fn without_freshness_information_nothing_is_stored() {
    check("200 content-type: text/html", "no-freshness");
    check("200 etag: \"1\"", "no-freshness");
    check("200 cache-control: public", "no-freshness");
    check("200 cache-control: must-revalidate", "no-freshness");
    check("200 cache-control: stale-while-revalidate=60", "no-freshness");
    check("200 last-modified: yesterday", "no-freshness");
    check("200 last-modified: {-10000}", "stored");
    check_under("default_ttl=60", "200 content-type: text/html", "stored");
    check_under("ttl=60", "200 content-type: text/html", "stored");
    check_under("min_ttl=60 max_ttl=90 swr=60 sie=60", "200 content-type: text/html", "no-freshness");
}

#[test]
fn what_is_stale_from_the_start_is_stored_if_it_has_a_use() {
    check("200 cache-control: max-age=0", "no-freshness");
    check("200 cache-control: max-age=0 | etag: \"1\"", "stored");
    check("200 cache-control: max-age=0 | last-modified: {-10}", "stored");
    check("200 cache-control: max-age=0 | etag: ", "no-freshness");
    check("200 cache-control: max-age=0 | last-modified: 0", "no-freshness");
    check("200 cache-control: no-cache, max-age=60", "no-freshness");
    check("200 cache-control: no-cache, max-age=60 | etag: \"1\"", "stored");
    // It need not say how long: it is validated before each use.
    check("200 cache-control: no-cache | etag: \"1\"", "stored");
    check("200 cache-control: no-cache | last-modified: {-10}", "stored");
    check("200 cache-control: no-cache", "no-freshness");
    check("404 cache-control: no-cache | etag: \"1\"", "stored");
    check("403 cache-control: no-cache | etag: \"1\"", "no-freshness");
    check_for("authorization: x", "200 cache-control: no-cache | etag: \"1\"", "authorization");
    check("200 cache-control: max-age=0, stale-while-revalidate=9", "stored");
    check("200 cache-control: max-age=0, stale-if-error=9", "stored");
    check("200 cache-control: max-age=0, stale-if-error=9, must-revalidate", "no-freshness");
    check("200 cache-control: no-cache, stale-while-revalidate=9", "no-freshness");
    check("200 cache-control: max-age=60 | age: 60", "no-freshness");
    check("200 expires: 0", "no-freshness");
    check_under("swr=9", "200 cache-control: max-age=60 | age: 60", "stored");
    check_under("swr=9", "200 cache-control: max-age=60 | age: 69", "no-freshness");
}

#[test]
fn an_error_needs_freshness_information_of_its_own() {
    for status in ["400", "403", "404", "405", "410", "414", "451", "500", "501", "502", "503", "504"] {
        check(&format!("{status} cache-control: max-age=5"), "stored");
        check(&format!("{status} etag: \"1\""), "no-freshness");
        check_under("ttl=60", &format!("{status} etag: \"1\""), "no-freshness");
        check_under("default_ttl=60 min_ttl=60", &format!("{status} content-type: x"), "no-freshness");
        check_under(&format!("{status}=60"), &format!("{status} content-type: x"), "stored");
        check(&format!("{status} cache-control: public | last-modified: {{-10000}}"), "stored");
    }
    for status in ["404", "405", "410", "414", "501"] {
        check(&format!("{status} last-modified: {{-10000}}"), "stored");
    }
    for status in ["400", "403", "451", "500", "502", "503", "504"] {
        check(&format!("{status} last-modified: {{-10000}} | etag: \"1\""), "no-freshness");
    }
}

#[test]
fn a_redirect_that_may_pass_and_an_empty_answer_take_no_ttl_that_is_meant_for_others() {
    for status in ["204", "302", "303", "307"] {
        check(&format!("{status} cache-control: max-age=5 | location: /"), "stored");
        check_under("ttl=60", &format!("{status} location: /"), "no-freshness");
        check_under("default_ttl=60", &format!("{status} location: /"), "no-freshness");
        check_under("3xx=60 2xx=60", &format!("{status} location: /"), "stored");
    }
}

#[test]
fn a_permanent_redirect_without_a_target_takes_no_configured_ttl() {
    for status in ["301", "308"] {
        check_under("ttl=60", &format!("{status} location: /"), "stored");
        check_under("default_ttl=60", &format!("{status} content-type: x"), "no-freshness");
        check(&format!("{status} last-modified: {{-10000}}"), "no-freshness");
    }
}

//= https://www.rfc-editor.org/rfc/rfc6585#section-4
//= type=test
//# Responses with the 429 status code MUST NOT be stored by a cache.
//
//= https://www.rfc-editor.org/rfc/rfc6585#section-3
//= type=test
//# Responses with the 428 status code MUST NOT be stored by a cache.
//
//= https://www.rfc-editor.org/rfc/rfc6585#section-5
//= type=test
//# Responses with the 431 status code MUST NOT be stored by a cache.
//
//= https://www.rfc-editor.org/rfc/rfc6585#section-6
//= type=test
//# Responses with the 511 status code MUST NOT be stored by a cache.
#[test]
fn what_speaks_of_one_request_alone_is_not_stored() {
    for status in ["428", "429", "431", "511"] {
        check(&format!("{status} cache-control: public, max-age=60"), "status");
    }
    // No RFC forbids these, but they are about credentials, framing or negotiation of one request.
    for status in ["401", "406", "407", "408", "411", "412", "413", "415", "416", "417", "421", "425", "426"]
    {
        check(&format!("{status} cache-control: public, max-age=60"), "status");
        check_under(
            &format!("ttl=60 {status}=60 4xx=60"),
            &format!("{status} cache-control: max-age=60"),
            "status",
        );
    }
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3
//= type=test
//# A cache MUST NOT store a response to a request unless:
#[test]
fn with_a_lifetime_of_the_origins_every_other_final_status_is_stored() {
    const ABOUT_ONE_REQUEST: [u16; 18] =
        [206, 304, 401, 406, 407, 408, 411, 412, 413, 415, 416, 417, 421, 425, 426, 428, 429, 431];
    for status in (200..=599).filter(|status| !ABOUT_ONE_REQUEST.contains(status) && *status != 511) {
        check(&format!("{status} cache-control: max-age=60"), "stored");
    }
}

/// Each allowance, what it lifts, and that it lifts nothing else.
#[test]
fn an_allowance_lifts_what_its_name_says_and_nothing_else() {
    const ALL: [&str; 5] = ["set_cookie", "private", "no_store", "authorization", "request_body"];
    let cases = [
        ("", "200 cache-control: max-age=60 | set-cookie: a=b", "set-cookie", "set_cookie"),
        ("", "200 cache-control: max-age=60, private", "private", "private"),
        ("", "200 cache-control: max-age=60, no-store", "no-store", "no_store"),
        ("authorization: x", "200 cache-control: max-age=60", "authorization", "authorization"),
    ];
    for (request, response, why, lifted_by) in cases {
        assert_eq!(judged(request, response, ""), why, "{response}");
        for name in ALL {
            let expected = if name == lifted_by { "stored" } else { why };
            assert_eq!(judged(request, response, &format!("allow:{name}")), expected, "{name}; {response}");
        }
    }
    let all = ALL.map(|name| format!("allow:{name}")).join(" ");
    for (request, response, why) in [
        ("cache-control: no-store", "200 cache-control: max-age=60", "request-no-store"),
        ("", "429 cache-control: max-age=60", "status"),
        ("", "401 cache-control: max-age=60", "status"),
        ("", "299 cache-control: max-age=60, no-store, must-understand", "status"),
        ("", "206 cache-control: max-age=60 | content-range: bytes 0-1/2", "partial"),
        ("", "200 content-type: x", "no-freshness"),
        ("", "200 cache-control: no-store, no-cache", "no-freshness"),
        ("authorization: x", "200 cache-control: must-revalidate", "no-freshness"),
    ] {
        assert_eq!(judged(request, response, &all), why, "{request}; {response}");
    }
}

#[test]
fn a_policy_cannot_make_storable_what_is_unsafe() {
    let generous = PolicyLifetimes {
        ttl: Some(s(3600)),
        stale_while_revalidate: Some(s(3600)),
        stale_if_error: Some(s(3600)),
    };
    let judged = |request_text: &str, response: &str| {
        let (status, fields, mut facts) = facts_for(request_text, response);
        facts.policy = generous;
        let directives = ResponseDirectives::of(&fields);
        storable(request(request_text), status, &fields, &directives, &facts, &rules("ttl=3600")).err()
    };
    assert_eq!(judged("", "200 content-type: x"), None);
    assert_eq!(judged("", "200 cache-control: private"), Some(NotStorable::Private));
    assert_eq!(judged("", "200 cache-control: no-store"), Some(NotStorable::NoStore));
    assert_eq!(judged("", "200 set-cookie: a=b"), Some(NotStorable::SetCookie));
    assert_eq!(judged("", "206 content-range: bytes 0-1/2"), Some(NotStorable::Partial));
    assert_eq!(judged("", "304 etag: \"1\""), Some(NotStorable::Status));
    assert_eq!(judged("", "429 content-type: x"), Some(NotStorable::Status));
    assert_eq!(judged("", "404 content-type: x"), Some(NotStorable::NoFreshness));
    assert_eq!(judged("", "503 content-type: x"), Some(NotStorable::NoFreshness));
    assert_eq!(judged("", "200 cache-control: no-cache"), Some(NotStorable::NoFreshness));
    assert_eq!(judged("cache-control: no-store", "200 content-type: x"), Some(NotStorable::RequestNoStore));
    assert_eq!(judged("authorization: x", "200 content-type: x"), Some(NotStorable::Authorization));
    assert_eq!(
        judged("authorization: x", "200 cache-control: must-revalidate"),
        Some(NotStorable::NoFreshness)
    );
}

#[test]
fn reasons_that_lie_in_the_request_say_nothing_of_the_target() {
    let all = [
        (NotStorable::Method, true),
        (NotStorable::RequestBody, true),
        (NotStorable::RequestNoStore, true),
        (NotStorable::Authorization, true),
        (NotStorable::Status, true),
        (NotStorable::Partial, false),
        (NotStorable::NoStore, false),
        (NotStorable::Private, false),
        (NotStorable::SetCookie, false),
        (NotStorable::VaryStar, false),
        (NotStorable::NoFreshness, false),
    ];
    for (why, expected) in all {
        assert_eq!(why.lies_in_the_request(), expected, "{why:?}");
    }
}
