//! What a look-up may do with a stored response, from its first second to long after its last.

use std::time::Duration;

use caching::{
    directives::RequestDirectives,
    freshness::{Facts, Rules},
    reuse::{Demands, Reuse, may_serve_on_error, refreshes_early, reuse},
    time::Timestamp,
};

use super::{NOW, facts, facts_for, fields, rules, s};

fn text_of(reuse: Reuse) -> &'static str {
    match reuse {
        Reuse::Fresh(_) => "fresh",
        Reuse::StaleWhileRevalidate(_) => "stale",
        Reuse::StaleAccepted(_) => "accepted",
        Reuse::Demanded(_) => "demanded",
        Reuse::Validate(_) => "validate",
    }
}

fn verdict(request: &str, response: &str, rules_text: &str, after_s: u64) -> &'static str {
    let (.., facts) = facts_for(request, response);
    text_of(reuse(&facts, &rules(rules_text), Demands::default(), None, NOW + s(after_s)))
}

fn serves_on_error(facts: &Facts, rules: &Rules<'_>, now: Timestamp) -> bool {
    may_serve_on_error(facts, rules, None, now)
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
        assert!(!serves_on_error(&facts(response), &rules("ttl=60 sie=60"), NOW), "{response}");
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
        let serves = serves_on_error(&facts(response), &rules(rules_text), NOW + s(after_s));
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
        assert!(!serves_on_error(&facts, &rules("sie=600"), NOW + s(60)), "{directive}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.10
//= type=test
//# A shared cache MUST NOT reuse a stale response with s-maxage
//# to satisfy another request until it has been successfully validated
//# by the origin, as defined by Section 4.3.
#[test]
fn s_maxage_forbids_stale_use_to_the_configuration() {
    assert!(!serves_on_error(&facts("200 cache-control: s-maxage=60"), &rules("sie=600"), NOW + s(60)));
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
        let now = NOW + Duration::from_millis(after_ms);
        let standing = match reuse(&facts, &rules(""), Demands::default(), None, now) {
            Reuse::Fresh(standing)
            | Reuse::StaleWhileRevalidate(standing)
            | Reuse::StaleAccepted(standing)
            | Reuse::Demanded(standing)
            | Reuse::Validate(standing) => standing,
        };
        assert_eq!((standing.current_age.as_s(), standing.ttl_s), expected, "after {after_ms} ms");
    };
    check(0, (5, 55));
    check(999, (5, 54));
    check(55_000, (60, 0));
    check(55_999, (60, 0));
    check(65_000, (70, -10));
}

/// The verdict on a request with this `Cache-Control`, at each of some seconds: `0 fresh, 60 validate`.
#[track_caller]
fn check_demands(asked: &str, response: &str, expected: &str) {
    let demands = Demands::of(&RequestDirectives::of(&fields(&format!("cache-control: {asked}"))));
    for at in expected.split(',').map(str::trim) {
        let (after_s, expected) = at.split_once(' ').expect("a verdict stands behind its time");
        let now = NOW + s(after_s.parse().expect("a time is a number of seconds"));
        let verdict = text_of(reuse(&facts(response), &rules(""), demands, None, now));
        assert_eq!(verdict, expected, "after {after_s} s; {asked}; {response}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.4
//= type=test
//# The no-cache request directive indicates that the client prefers a
//# stored response not be used to satisfy the request without successful
//# validation on the origin server.
#[test]
fn a_client_with_no_cache_gets_nothing_without_validation() {
    check_demands("no-cache", "200 cache-control: max-age=60", "0 demanded, 59 demanded, 60 validate");
    check_demands("no-cache", "200 cache-control: max-age=60, stale-while-revalidate=60", "60 validate");
    check_demands("no-cache, max-stale", "200 cache-control: max-age=60", "0 demanded, 60 validate");
    check_demands("no-store, only-if-cached", "200 cache-control: max-age=60", "0 fresh, 60 validate");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.1
//= type=test
//# The max-age request directive indicates that the client prefers a
//# response whose age is less than or equal to the specified number of
//# seconds.  Unless the max-stale request directive is also present, the
//# client does not wish to receive a stale response.
#[test]
fn a_client_with_max_age_gets_nothing_older() {
    check_demands(
        "max-age=10",
        "200 cache-control: max-age=60",
        "0 fresh, 10 fresh, 11 demanded, 60 validate",
    );
    check_demands("max-age=10", "200 cache-control: max-age=60 | age: 8", "2 fresh, 3 demanded");
    check_demands("max-age=0", "200 cache-control: max-age=60", "1 demanded");
    check_demands("max-age=90", "200 cache-control: max-age=60", "59 fresh, 60 validate");
    const WITH_WINDOW: &str = "200 cache-control: max-age=60, stale-while-revalidate=30";
    check_demands("max-age=90", WITH_WINDOW, "59 fresh, 60 validate");
    check_demands("max-age=70, max-stale", WITH_WINDOW, "60 stale, 70 stale, 71 validate");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.3
//= type=test
//# That is, the client wants a
//# response that will still be fresh for at least the specified number
//# of seconds.
#[test]
fn a_client_with_min_fresh_gets_what_will_last() {
    check_demands("min-fresh=10", "200 cache-control: max-age=60", "50 fresh, 51 demanded, 60 validate");
    check_demands(
        "min-fresh=0",
        "200 cache-control: max-age=60, stale-while-revalidate=9",
        "59 fresh, 60 validate",
    );
    check_demands("min-fresh=5, max-stale", "200 cache-control: max-age=60", "60 validate");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.2
//= type=test
//# If a value is
//# present, then the client is willing to accept a response that has
//# exceeded its freshness lifetime by no more than the specified number
//# of seconds.  If no value is assigned to max-stale, then the client
//# will accept a stale response of any age.
#[test]
fn a_client_with_max_stale_takes_what_is_stale() {
    check_demands("max-stale", "200 cache-control: max-age=60", "59 fresh, 60 accepted, 9000 accepted");
    check_demands("max-stale=10", "200 cache-control: max-age=60", "60 accepted, 70 accepted, 71 validate");
    check_demands("max-stale=0", "200 cache-control: max-age=60", "59 fresh, 60 accepted, 61 validate");
    // What may be used stale anyway is refreshed behind it, unless it is more stale than this client takes.
    const WITH_WINDOW: &str = "200 cache-control: max-age=60, stale-while-revalidate=30";
    check_demands("max-stale=50", WITH_WINDOW, "60 stale, 89 stale, 90 accepted, 110 accepted, 111 validate");
    check_demands("max-stale=5", WITH_WINDOW, "65 stale, 66 validate");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.2
//= type=test
//# The must-revalidate response directive indicates that once the
//# response has become stale, a cache MUST NOT reuse that response to
//# satisfy another request until it has been successfully validated by
//# the origin, as defined by Section 4.3.
#[test]
fn no_client_can_lift_what_forbids_stale_use() {
    for directive in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        check_demands("max-stale", &format!("200 cache-control: max-age=60, {directive}"), "60 validate");
    }
    check_demands("max-stale", "404 cache-control: max-age=60", "59 fresh, 60 validate");
    let (.., facts) = facts_for("authorization: x", "200 cache-control: max-age=60");
    let demands = Demands::of(&RequestDirectives::of(&fields("cache-control: max-stale")));
    assert_eq!(text_of(reuse(&facts, &rules(""), demands, None, NOW + s(60))), "validate");
    let allowing = rules("allow:authorization");
    assert_eq!(text_of(reuse(&facts, &allowing, demands, None, NOW + s(60))), "accepted");
}

//= https://www.rfc-editor.org/rfc/rfc8246#section-2.1
//= type=test
//# proxies SHOULD skip conditionally revalidating fresh
//# responses containing the immutable extension unless there is a signal
//# from the client that a validation is necessary
#[test]
fn a_reload_does_not_validate_what_is_immutable_while_it_is_fresh() {
    const IMMUTABLE: &str = "200 cache-control: max-age=60, immutable";
    check_demands("max-age=0", IMMUTABLE, "0 fresh, 59 fresh, 60 validate");
    check_demands("max-age=5", IMMUTABLE, "59 fresh, 60 validate");
    check_demands("no-cache", IMMUTABLE, "0 demanded, 60 validate");
    check_demands("no-cache, max-age=0", IMMUTABLE, "0 demanded");
    check_demands("min-fresh=10", IMMUTABLE, "50 fresh, 51 demanded");
    check_demands("max-age=0", "200 cache-control: max-age=60, immutable, no-cache", "0 validate");
}

/// The verdict at some seconds on what was purged softly at `purged_s`.
#[track_caller]
fn check_purged(purged_s: u64, response: &str, expected: &str) {
    let accepting = Demands::of(&RequestDirectives::of(&fields("cache-control: max-stale")));
    for at in expected.split(',').map(str::trim) {
        let (after_s, expected) = at.split_once(' ').expect("a verdict stands behind its time");
        let now = NOW + s(after_s.parse().expect("a time is a number of seconds"));
        for demands in [Demands::default(), accepting] {
            let verdict = reuse(&facts(response), &rules(""), demands, Some(NOW + s(purged_s)), now);
            assert_eq!(text_of(verdict), expected, "after {after_s} s; {response}");
        }
    }
}

#[test]
fn what_is_purged_softly_is_stale_from_then_on_and_answers_only_within_its_windows() {
    check_purged(10, "200 cache-control: max-age=60", "0 validate, 10 validate, 59 validate, 60 validate");
    check_purged(
        10,
        "200 cache-control: max-age=60, stale-while-revalidate=30",
        "9 stale, 10 stale, 39 stale, 40 validate, 60 validate",
    );
    // It had been stale before.
    check_purged(
        80,
        "200 cache-control: max-age=60, stale-while-revalidate=30",
        "80 stale, 89 stale, 90 validate",
    );
    check_purged(10, "200 cache-control: max-age=60, immutable", "10 validate");
    check_purged(
        10,
        "200 cache-control: max-age=60, stale-while-revalidate=30, must-revalidate",
        "10 validate",
    );
}

#[test]
fn on_an_error_what_is_purged_softly_answers_within_its_window() {
    let facts = facts("200 cache-control: max-age=60, stale-if-error=30");
    let serves = |after_s| may_serve_on_error(&facts, &rules(""), Some(NOW + s(10)), NOW + s(after_s));
    assert_eq!([10, 39, 40, 60].map(serves), [true, true, false, false]);
}

#[test]
fn the_time_since_a_soft_purge_counts_below_zero() {
    let facts = facts("200 cache-control: max-age=60 | age: 5");
    let verdict = reuse(&facts, &rules(""), Demands::default(), Some(NOW + s(10)), NOW + s(25));
    let Reuse::Validate(standing) = verdict else { panic!("{verdict:?}") };
    assert_eq!((standing.current_age.as_s(), standing.ttl_s), (30, -15));
}

/// A response that took a second to make and is fresh for a minute; whether it is refreshed at this many seconds.
fn refreshes(beta: Option<f32>, response: &str, after_s: f64, random: f64) -> bool {
    let mut facts = facts(response);
    facts.response_delay = s(1);
    let rules = Rules { early_refresh: beta, ..rules("") };
    refreshes_early(&facts, &rules, NOW + Duration::from_secs_f64(after_s), random)
}

/// Vattani et al. 2015: `time() - delta * beta * log(rand()) >= expiry`.
#[test]
fn a_refresh_comes_early_by_chance_and_the_likelier_the_nearer_the_end() {
    const RESPONSE: &str = "200 cache-control: max-age=60";
    // At ten seconds before the end, one of e^10 requests refreshes.
    let one_in_e_10 = (-10.0f64).exp();
    assert!(refreshes(Some(1.0), RESPONSE, 50.0, one_in_e_10 * 0.999));
    assert!(!refreshes(Some(1.0), RESPONSE, 50.0, one_in_e_10 * 1.001));
    assert!(refreshes(Some(2.0), RESPONSE, 40.0, one_in_e_10 * 0.999));
    assert!(refreshes(Some(1.0), RESPONSE, 59.5, 0.6));
    assert!(!refreshes(Some(1.0), RESPONSE, 59.5, 0.7));
    assert!(!refreshes(Some(1.0), RESPONSE, 59.9, 1.0));
}

#[test]
fn nothing_is_refreshed_early_that_is_not_fresh_or_where_no_rule_says_so() {
    const RESPONSE: &str = "200 cache-control: max-age=60";
    for beta in [None, Some(0.0), Some(-1.0), Some(f32::NAN), Some(f32::NEG_INFINITY)] {
        assert!(!refreshes(beta, RESPONSE, 59.9, 1e-300), "{beta:?}");
    }
    assert!(!refreshes(Some(1.0), RESPONSE, 60.0, 1e-300));
    assert!(!refreshes(Some(1.0), "200 cache-control: max-age=60, no-cache", 59.9, 1e-300));
    for random in [0.0, -1.0, 1.1, f64::NAN, f64::INFINITY] {
        assert!(!refreshes(Some(1.0), RESPONSE, 59.9, random), "{random}");
    }
}

#[test]
fn an_origin_that_answers_at_once_is_still_asked_early() {
    let facts = facts("200 cache-control: max-age=60");
    assert_eq!(facts.response_delay, s(0));
    let rules = Rules { early_refresh: Some(1.0), ..rules("") };
    assert!(refreshes_early(&facts, &rules, NOW + Duration::from_millis(59_990), 0.3));
    assert!(!refreshes_early(&facts, &rules, NOW + Duration::from_millis(59_900), 0.3));
}
