//! What a look-up may do with a stored response, from its first second to long after its last.

use caching::reuse::{Reuse, may_serve_on_error, reuse};

use super::{NOW, facts, facts_for, rules, s};

fn verdict(request: &str, response: &str, rules_text: &str, after_s: u64) -> &'static str {
    let (.., facts) = facts_for(request, response);
    match reuse(&facts, &rules(rules_text), NOW + s(after_s)) {
        Reuse::Fresh(_) => "fresh",
        Reuse::StaleWhileRevalidate(_) => "stale",
        Reuse::Validate(_) => "validate",
    }
}

/// The verdict at each of some seconds after the response came: `0 fresh, 60 validate`.
#[track_caller]
fn check(rules: &str, response: &str, expected: &str) {
    for at in expected.split(',').map(str::trim) {
        let (after_s, expected) = at.split_once(' ').expect("a verdict stands behind its time");
        let verdict = verdict("", response, rules, after_s.parse().expect("a time is a number of seconds"));
        assert_eq!(verdict, expected, "after {after_s} s; {rules}; {response}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4
//= type=test
//# the stored response is one of the following:
#[test]
fn a_response_is_fresh_until_its_age_reaches_its_lifetime() {
    check("", "200 cache-control: max-age=60", "0 fresh, 59 fresh, 60 validate, 6000 validate");
    check("", "200 cache-control: max-age=60 | age: 50", "9 fresh, 10 validate");
    check("", "200 expires: {+60} | date: {-30}", "0 fresh, 59 fresh, 60 validate");
    check("", "200 last-modified: {-1000}", "99 fresh, 100 validate");
    check("", "200 cache-control: max-age=0", "0 validate");
}

//= https://www.rfc-editor.org/rfc/rfc5861#section-3
//= type=test
//# When present in an HTTP response, the stale-while-revalidate Cache-
//# Control extension indicates that caches MAY serve the response in
//# which it appears after it becomes stale, up to the indicated number
//# of seconds.
#[test]
fn within_its_window_a_stale_response_answers_while_it_is_validated() {
    check(
        "",
        "200 cache-control: max-age=60, stale-while-revalidate=30",
        "59 fresh, 60 stale, 89 stale, 90 validate",
    );
    check("swr=30", "200 cache-control: max-age=60", "60 stale, 89 stale, 90 validate");
    check("swr=30", "200 cache-control: max-age=60, must-revalidate", "60 validate");
    check("swr=30", "200 cache-control: s-maxage=60", "60 validate");
    check("swr=30", "404 cache-control: max-age=60", "59 fresh, 60 validate");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.4
//= type=test
//# The no-cache response directive, in its unqualified form (without an
//# argument), indicates that the response MUST NOT be used to satisfy
//# any other request without forwarding it for validation and receiving
//# a successful response; see Section 4.3.
#[test]
fn no_cache_is_never_reused_without_validation() {
    for response in [
        "200 cache-control: no-cache, max-age=60",
        "200 cache-control: no-cache, max-age=60, stale-while-revalidate=60, stale-if-error=60",
        "200 cache-control: no-cache=\"set-cookie\", s-maxage=60",
        "200 pragma: no-cache | expires: {+60}",
    ] {
        check("", response, "0 validate, 30 validate, 90 validate");
        check("ttl=60 swr=60 sie=60", response, "0 validate, 30 validate, 90 validate");
        assert!(!may_serve_on_error(&facts(response), &rules("ttl=60 sie=60"), NOW), "{response}");
    }
}

#[test]
fn an_edited_ttl_holds_for_what_is_stored_already() {
    const RESPONSE: &str = "200 cache-control: max-age=60";
    check("ttl=10", RESPONSE, "9 fresh, 10 validate");
    check("ttl=600", RESPONSE, "599 fresh, 600 validate");
    check("max_ttl=10", RESPONSE, "9 fresh, 10 validate");
    check("min_ttl=600", RESPONSE, "599 fresh, 600 validate");
    check("ttl=0", RESPONSE, "0 validate");
    check("", "200 content-type: x", "0 validate");
}

//= https://www.rfc-editor.org/rfc/rfc5861#section-4
//= type=test
//# The stale-if-error Cache-Control extension indicates that when an
//# error is encountered, a cached stale response MAY be used to satisfy
//# the request, regardless of other freshness information.
#[test]
fn on_an_error_a_stale_response_answers_within_its_window() {
    let check = |rules_text: &str, response: &str, after_s: u64, expected: bool| {
        let serves = may_serve_on_error(&facts(response), &rules(rules_text), NOW + s(after_s));
        assert_eq!(serves, expected, "after {after_s} s; {rules_text}; {response}");
    };
    check("", "200 cache-control: max-age=60, stale-if-error=30", 10, true);
    check("", "200 cache-control: max-age=60, stale-if-error=30", 60, true);
    check("", "200 cache-control: max-age=60, stale-if-error=30", 89, true);
    check("", "200 cache-control: max-age=60, stale-if-error=30", 90, false);
    check("", "200 cache-control: max-age=60", 60, false);
    check("sie=30", "200 cache-control: max-age=60", 89, true);
    check("sie=30", "404 cache-control: max-age=60", 60, false);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.2
//= type=test
//# In all circumstances, a cache MUST NOT ignore the must-revalidate
//# directive; in particular, if a cache is disconnected, the cache MUST
//# generate an error response rather than reuse the stale response.
#[test]
fn must_revalidate_goes_before_stale_if_error() {
    for directive in ["must-revalidate", "proxy-revalidate", "no-cache"] {
        let facts = facts(&format!("200 cache-control: max-age=60, stale-if-error=600, {directive}"));
        assert!(!may_serve_on_error(&facts, &rules("sie=600"), NOW + s(60)), "{directive}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.10
//= type=test
//# A shared cache MUST NOT reuse a stale response with s-maxage
//# to satisfy another request until it has been successfully validated
//# by the origin, as defined by Section 4.3.
#[test]
fn s_maxage_forbids_stale_use_to_the_configuration() {
    assert!(!may_serve_on_error(&facts("200 cache-control: s-maxage=60"), &rules("sie=600"), NOW + s(60)));
    assert_eq!(verdict("", "200 cache-control: s-maxage=60", "swr=600", 60), "validate");
}

#[test]
fn for_an_authorized_request_no_rule_makes_anything_fresher() {
    const WITH: &str = "authorization: x";
    for rules in ["ttl=600", "min_ttl=600", "default_ttl=600 swr=600"] {
        let response = "200 cache-control: max-age=60, must-revalidate";
        assert_eq!(verdict(WITH, response, rules, 59), "fresh", "{rules}");
        assert_eq!(verdict(WITH, response, rules, 60), "validate", "{rules}");
    }
}

#[test]
fn the_standing_counts_down_and_on_below_zero() {
    let check = |after_ms: u64, expected: (u64, i64)| {
        let facts = facts("200 cache-control: max-age=60 | age: 5");
        let standing = match reuse(&facts, &rules(""), NOW + std::time::Duration::from_millis(after_ms)) {
            Reuse::Fresh(standing) | Reuse::StaleWhileRevalidate(standing) | Reuse::Validate(standing) => {
                standing
            }
        };
        assert_eq!((standing.current_age.as_s(), standing.ttl_s), expected, "after {after_ms} ms");
    };
    check(0, (5, 55));
    check(999, (5, 54));
    check(55_000, (60, 0));
    check(55_999, (60, 0));
    check(65_000, (70, -10));
}
