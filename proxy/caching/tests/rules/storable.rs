//! What may be stored, and the reason where it may not.

use caching::{
    directives::ResponseDirectives,
    freshness::{Facts, PolicyLifetimes},
    storable::{NotStorable, RequestFacts, storable},
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

//= https://www.rfc-editor.org/rfc/rfc9111#section-3
//= type=test
//# the request method is understood by the cache;
#[test]
fn only_what_a_get_brought_is_stored() {
    for (method, expected) in [
        (Method::GET, None),
        (Method::HEAD, Some(NotStorable::Method)),
        (Method::POST, Some(NotStorable::Method)),
        (Method::OPTIONS, Some(NotStorable::Method)),
        (Method::from_bytes(b"QUERY").unwrap(), Some(NotStorable::Method)),
    ] {
        let request = RequestFacts::of(&method, &fields(""), false);
        let response = fields("cache-control: max-age=60");
        let directives = ResponseDirectives::of(&response);
        let facts = Facts::of(request, StatusCode::OK, &response, &directives, NOW, NOW);
        let judged = storable(request, StatusCode::OK, &response, &directives, &facts, &rules(""));
        assert_eq!(judged.err(), expected, "{method}");
    }
}

#[test]
fn what_a_get_with_a_body_brought_is_not_stored() {
    let request = RequestFacts::of(&Method::GET, &fields(""), true);
    let (status, response, facts) = facts_for("", "200 cache-control: max-age=60");
    let directives = ResponseDirectives::of(&response);
    assert_eq!(
        storable(request, status, &response, &directives, &facts, &rules("ttl=60")),
        Err(NotStorable::RequestBody)
    );
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
    for status in ["403", "404", "405", "410", "414", "451", "500", "501", "502", "503", "504"] {
        check(&format!("{status} cache-control: max-age=5"), "stored");
        check(&format!("{status} last-modified: {{-10000}} | etag: \"1\""), "no-freshness");
        check_under("ttl=60", &format!("{status} etag: \"1\""), "no-freshness");
        check_under("default_ttl=60 min_ttl=60", &format!("{status} content-type: x"), "no-freshness");
    }
}

#[test]
fn a_redirect_that_may_pass_and_an_empty_answer_need_freshness_information_of_their_own() {
    for status in ["204", "302", "303", "307"] {
        check(&format!("{status} cache-control: max-age=5 | location: /"), "stored");
        check_under("ttl=60", &format!("{status} location: /"), "no-freshness");
        check_under(
            "default_ttl=60",
            &format!("{status} location: / | last-modified: {{-10}}"),
            "no-freshness",
        );
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
    // No RFC forbids these, but anybody could make them with fields that the key does not hold.
    for status in ["400", "401", "406", "407", "408", "411", "412", "413", "415", "417", "421", "425", "426"]
    {
        check(&format!("{status} cache-control: public, max-age=60"), "status");
        check_under("ttl=60", &format!("{status} cache-control: max-age=60"), "status");
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
        (NotStorable::Status, false),
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
