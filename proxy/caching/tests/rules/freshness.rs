//! How long a response is fresh, how old it is, and how long it may be used stale.

use caching::{
    directives::ResponseDirectives,
    freshness::{Facts, NotAStatusPattern, PolicyLifetimes, Rules, StatusPattern},
    storable::{RequestFacts, RequestKind},
    time::{Age, FreshnessLifetime, Timestamp},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{NOW, date, facts, facts_for, fields, request, rules, s};

fn lifetime_s(facts: &Facts, rules_text: &str) -> Option<u64> {
    let lifetime = facts.freshness_lifetime(&rules(rules_text))?;
    lifetime.remaining(Age::ZERO).map(|left| left.as_secs()).or(Ok::<u64, ()>(0)).ok()
}

#[track_caller]
fn check(response: &str, expected: Option<u64>) {
    assert_eq!(lifetime_s(&facts(response), ""), expected, "{response}");
}

#[track_caller]
fn check_under(rules: &str, response: &str, expected: Option<u64>) {
    assert_eq!(lifetime_s(&facts(response), rules), expected, "{rules}; {response}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
//= type=test
//# A cache can calculate the freshness lifetime (denoted as
//# freshness_lifetime) of a response by evaluating the following rules
//# and using the first match:
#[test]
fn s_maxage_goes_before_max_age_before_expires() {
    check("200 cache-control: s-maxage=10, max-age=20 | expires: {+30}", Some(10));
    check("200 cache-control: max-age=20 | expires: {+30}", Some(20));
    check("200 expires: {+30}", Some(30));
    check("200 cache-control: max-age=20, s-maxage=10", Some(10));
    check("200 cache-control: s-maxage=0, max-age=20", Some(0));
    check("200 content-type: x", None);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.3
//= type=test
//# If a response includes a Cache-Control header field with the max-age
//# directive (Section 5.2.2.1), a recipient MUST ignore the Expires
//# header field.  Likewise, if a response includes the s-maxage
//# directive (Section 5.2.2.10), a shared cache recipient MUST ignore
//# the Expires header field.
#[test]
fn expires_is_ignored_beside_max_age() {
    check("200 cache-control: max-age=20 | expires: 0", Some(20));
    check("200 cache-control: s-maxage=20 | expires: {-10}", Some(20));
    check("200 cache-control: max-age=junk | expires: {+30}", Some(0));
    check("200 cache-control: public | expires: {+30}", Some(30));
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
//= type=test
//# If the Expires response header field (Section 5.3) is present, use
//# its value minus the value of the Date response header field (using
//# the time the message was received if it is not present, as per
//# Section 6.6.1 of [HTTP])
#[test]
fn expires_counts_from_date() {
    check("200 expires: {+30} | date: {-10}", Some(40));
    check("200 expires: {+30} | date: {+10}", Some(20));
    check("200 expires: {+30} | date: {+40}", Some(0));
    check("200 expires: {+30} | date: junk", Some(30));
    check("200 expires: {-30} | date: {-60}", Some(30));
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.3
//= type=test
//# A cache recipient MUST interpret invalid date formats, especially the
//# value "0", as representing a time in the past (i.e., "already
//# expired").
#[test]
fn expires_that_is_no_date_has_expired() {
    for value in ["0", "-1", "", "60", "never", "Thu, 01 Jan 1900 00:00:00 GMT"] {
        check(&format!("200 expires: {value}"), Some(0));
    }
    check(&format!("200 expires: {}", date(30).replace("GMT", "UTC")), Some(0));
    check(&format!("200 expires: {}", date(30).to_lowercase()), Some(30));
    check("200 expires: Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799 - NOW.as_s()));
    let bytes = HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    let response = HeaderMap::from_iter([(header::EXPIRES, bytes)]);
    let directives = ResponseDirectives::of(&response);
    let facts = Facts::of(request(""), StatusCode::OK, &response, &directives, NOW, NOW);
    assert_eq!(lifetime_s(&facts, ""), Some(0));
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
//= type=test
//# When there is more than one value present for a given directive
//# (e.g., two Expires header field lines or multiple Cache-Control: max-
//# age directives), either the first occurrence should be used or the
//# response should be considered stale.
#[test]
fn two_different_lines_of_expires_count_as_expired() {
    check("200 expires: {+30} | expires: {+60}", Some(0));
    check("200 expires: {+30} | expires: {+30}", Some(30));
    check("200 expires: {+30} | expires: 0", Some(0));
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.2
//= type=test
//# If the response has a Last-Modified header field (Section 8.8.2 of
//# [HTTP]), caches are encouraged to use a heuristic expiration value
//# that is no more than some fraction of the interval since that time.
//# A typical setting of this fraction might be 10%.
#[test]
fn a_heuristic_is_a_tenth_of_the_time_since_the_last_modification() {
    check("200 last-modified: {-1000}", Some(100));
    check("200 last-modified: {-1000} | date: {-500}", Some(50));
    check("200 last-modified: {+1000}", Some(0));
    check("200 last-modified: junk", None);
    check("200 etag: \"1\"", None);
    // A guess is not trusted for longer than a day.
    check("200 last-modified: {-100000000}", Some(86_400));
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.2
//= type=test
//# A cache MUST NOT use heuristics to determine freshness when an
//# explicit expiration time is present in the stored response.
#[test]
fn no_heuristic_stands_beside_an_explicit_lifetime() {
    check("200 last-modified: {-1000} | cache-control: max-age=0", Some(0));
    check("200 last-modified: {-1000} | cache-control: max-age=junk", Some(0));
    check("200 last-modified: {-1000} | expires: 0", Some(0));
    check("200 last-modified: {-1000} | cache-control: s-maxage=500", Some(500));
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-15.1
//= type=test
//# Responses with status codes that are defined as heuristically
//# cacheable (e.g., 200, 203, 204, 206, 300, 301, 308, 404, 405, 410,
//# 414, and 501 in this specification) can be reused by a cache with
//# heuristic expiration unless otherwise indicated by the method
//# definition or explicit cache controls [CACHING]; all other status
//# codes are not heuristically cacheable.
#[test]
fn heuristics_are_for_statuses_that_are_heuristically_cacheable() {
    for status in ["200", "203", "204", "206", "300", "404", "405", "410", "414", "501"] {
        check(&format!("{status} last-modified: {{-1000}}"), Some(100));
        check(&format!("{status} etag: \"1\""), None);
    }
    for status in ["302", "303", "307", "400", "403", "451", "500", "502", "503", "299"] {
        check(&format!("{status} last-modified: {{-1000}}"), None);
    }
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.2
//= type=test
//# heuristics can only be used on
//# responses without explicit freshness whose status codes are defined
//# as "heuristically cacheable" (e.g., see Section 15.1 of [HTTP]) and
//# on responses without explicit freshness that have been marked as
//# explicitly cacheable (e.g., with a public response directive).
#[test]
fn public_permits_a_heuristic_for_any_status() {
    for status in ["200", "302", "303", "307", "403", "404", "500", "503", "299"] {
        check(&format!("{status} last-modified: {{-1000}} | cache-control: public"), Some(100));
        check(&format!("{status} last-modified: junk | cache-control: public"), None);
        check(&format!("{status} cache-control: public"), None);
    }
}

#[test]
fn a_redirect_for_good_without_a_target_takes_no_heuristic() {
    for status in ["301", "308"] {
        check(&format!("{status} last-modified: {{-1000}} | location: /"), Some(100));
        check(&format!("{status} last-modified: {{-1000}}"), None);
        check(&format!("{status} last-modified: {{-1000}} | cache-control: public"), None);
    }
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.3
//= type=test
//# corrected_initial_age = max(apparent_age, corrected_age_value);
#[test]
fn the_age_is_the_larger_of_what_date_and_age_say() {
    let check = |response: &str, expected: u64| {
        assert_eq!(facts(response).current_age(NOW).as_s(), expected, "{response}");
    };
    check("200 content-type: x", 0);
    check("200 age: 10", 10);
    check("200 date: {-20}", 20);
    check("200 age: 10 | date: {-20}", 20);
    check("200 age: 30 | date: {-20}", 30);
    // A clock that runs ahead of ours makes nothing younger.
    check("200 date: {+500}", 0);
    check("200 age: 10 | date: {+500}", 10);
    check("200 date: junk | age: 10", 10);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.3
//= type=test
//# A cache MUST
//# interpret this value relative to the time the request was
//# initiated, not the time that the response was received.
#[test]
fn the_time_on_the_way_counts() {
    let response = fields("age: 10 | cache-control: max-age=60");
    let directives = ResponseDirectives::of(&response);
    let facts = Facts::of(request(""), StatusCode::OK, &response, &directives, NOW, NOW + s(7));
    assert_eq!(facts.current_age(NOW + s(7)).as_s(), 17);
    assert_eq!(facts.current_age(NOW + s(10)).as_s(), 20);
    // A clock that was set back meanwhile makes nothing younger than it came.
    assert_eq!(facts.current_age(NOW).as_s(), 17);
    assert_eq!(facts.current_age(Timestamp::default()).as_s(), 17);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.1
//= type=test
//# Although it is defined as a singleton header field, a cache
//# encountering a message with a list-based Age field value SHOULD use
//# the first member of the field value, discarding subsequent ones.
//
//= https://www.rfc-editor.org/rfc/rfc9111#section-5.1
//= type=test
//# If the field value (after discarding additional members, as per
//# above) is invalid (e.g., it contains something other than a non-
//# negative integer), a cache SHOULD ignore the field.
#[test]
fn of_age_the_first_member_counts_if_it_is_a_number() {
    for (value, expected) in [
        ("10", 10),
        ("10, 20", 10),
        ("20,10", 20),
        ("010", 10),
        ("", 0),
        ("-10", 0),
        ("+10", 0),
        ("1.5", 0),
        ("ten", 0),
        ("10 20", 0),
        ("\"10\"", 0),
        ("x, 10", 0),
        ("99999999999999999999", 1 << 31),
    ] {
        assert_eq!(facts(&format!("200 age: {value}")).current_age(NOW).as_s(), expected, "{value:?}");
    }
    assert_eq!(facts("200 age: 10 | age: 20").current_age(NOW).as_s(), 10);
}

#[test]
fn configured_ttls_stand_in_for_what_the_origin_does_not_say() {
    check_under("default_ttl=60", "200 content-type: x", Some(60));
    check_under("default_ttl=60", "200 last-modified: {-1000}", Some(60));
    check_under("default_ttl=60", "200 cache-control: max-age=10", Some(10));
    check_under("default_ttl=60", "200 cache-control: max-age=0", Some(0));
    check_under("default_ttl=60", "200 expires: 0", Some(0));
    check_under("min_ttl=30", "200 cache-control: max-age=10", Some(30));
    check_under("min_ttl=30", "200 cache-control: max-age=40", Some(40));
    check_under("max_ttl=30", "200 cache-control: max-age=40", Some(30));
    check_under("min_ttl=60 max_ttl=30", "200 cache-control: max-age=40", Some(30));
    check_under("max_ttl=30", "200 content-type: x", None);
    check_under("min_ttl=30", "200 content-type: x", None);
    check_under("ttl=5", "200 cache-control: max-age=40", Some(5));
    check_under("ttl=50", "200 cache-control: max-age=40", Some(50));
    check_under("ttl=50 min_ttl=60 max_ttl=40", "200 content-type: x", Some(50));
}

#[test]
fn for_an_error_configured_ttls_only_shorten() {
    for status in ["404", "410", "500", "503"] {
        for rules in ["ttl=600", "default_ttl=600", "min_ttl=600", "max_ttl=600"] {
            check_under(rules, &format!("{status} cache-control: max-age=5"), Some(5));
            check_under(rules, &format!("{status} content-type: x"), None);
        }
        check_under("max_ttl=3", &format!("{status} cache-control: max-age=5"), Some(3));
        check_under("ttl=3", &format!("{status} cache-control: max-age=5"), Some(3));
    }
}

#[test]
fn a_status_by_name_gives_a_ttl_where_the_origin_gives_none() {
    for status in ["200", "204", "302", "404", "500", "503"] {
        let named = format!("{status}=7");
        check_under(&named, &format!("{status} content-type: x"), Some(7));
        check_under(&named, &format!("{status} last-modified: {{-1000}}"), Some(7));
        check_under(&named, &format!("{status} cache-control: max-age=60"), Some(60));
        check_under(&named, &format!("{status} cache-control: max-age=0"), Some(0));
        check_under(&named, &format!("{status} expires: 0"), Some(0));
        // For some statuses the others only shorten it, but none is without effect.
        check_under(&format!("{named} max_ttl=3"), &format!("{status} content-type: x"), Some(3));
        check_under(&format!("{named} ttl=3"), &format!("{status} content-type: x"), Some(3));
        check_under(&format!("{named} default_ttl=3"), &format!("{status} content-type: x"), Some(7));
    }
    check_under("404=7", "410 content-type: x", None);
    check_under("404=7 min_ttl=60 ttl=90", "404 content-type: x", Some(7));
    check_under("200=7 min_ttl=60", "200 content-type: x", Some(60));
    check_under("200=7 ttl=90", "200 content-type: x", Some(90));
}

#[test]
fn an_exact_status_goes_before_its_class_and_the_first_before_its_like() {
    check_under("5xx=1 503=9", "503 content-type: x", Some(9));
    check_under("503=9 5xx=1", "503 content-type: x", Some(9));
    check_under("503=9 5xx=1", "500 content-type: x", Some(1));
    check_under("404=1 404=2 4xx=3 4xx=4", "404 content-type: x", Some(1));
    check_under("404=1 404=2 4xx=3 4xx=4", "410 content-type: x", Some(3));
    check_under("4xx=3", "500 content-type: x", None);
}

#[test]
fn a_status_pattern_is_a_final_status_or_a_class() {
    for text in ["200", "404", "599", "2xx", "5xx"] {
        let pattern: StatusPattern = text.parse().expect(text);
        assert_eq!(pattern.to_string(), text);
    }
    assert_eq!("4XX".parse(), Ok(StatusPattern::Class(4)));
    for text in
        ["", "4", "40", "4x", "4xxx", "4x4", "x04", "100", "1xx", "6xx", "600", "0xx", "-04", " 404", "40٤"]
    {
        assert_eq!(text.parse::<StatusPattern>(), Err(NotAStatusPattern), "{text}");
    }
}

#[test]
fn a_policys_ttl_goes_before_the_routes_within_its_bounds() {
    let check = |response: &str, rules: &str, expected: Option<u64>| {
        let mut facts = facts(response);
        facts.policy = PolicyLifetimes { ttl: Some(s(100)), ..PolicyLifetimes::default() };
        assert_eq!(lifetime_s(&facts, rules), expected, "{response}; {rules}");
    };
    check("200 content-type: x", "", Some(100));
    check("200 cache-control: max-age=5", "ttl=7", Some(100));
    check("200 cache-control: max-age=5", "max_ttl=50", Some(50));
    check("200 cache-control: max-age=5", "min_ttl=200", Some(200));
    // An error stays as short as its origin says.
    check("404 cache-control: max-age=5", "", Some(5));
    check("404 cache-control: max-age=500", "", Some(100));
    check("404 content-type: x", "", None);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.2
//= type=test
//# The must-revalidate directive also permits a shared cache to reuse a
//# response to a request containing an Authorization header field
//# (Section 11.6.2 of [HTTP]), subject to the above requirement on
//# revalidation (Section 3.5).
#[test]
fn for_an_authorized_request_nothing_outlasts_what_its_origin_says() {
    let lifetime = |response: &str, rules: &str| {
        let (.., mut facts) = facts_for("authorization: x", response);
        facts.policy.ttl = Some(s(1000));
        lifetime_s(&facts, rules)
    };
    for rules in ["", "ttl=600", "default_ttl=600", "min_ttl=600"] {
        assert_eq!(lifetime("200 cache-control: max-age=5, must-revalidate", rules), Some(5), "{rules}");
        assert_eq!(lifetime("200 cache-control: s-maxage=5", rules), Some(5), "{rules}");
        assert_eq!(lifetime("200 cache-control: must-revalidate", rules), None, "{rules}");
        assert_eq!(
            lifetime("200 cache-control: must-revalidate | last-modified: {-900}", rules),
            None,
            "{rules}"
        );
    }
    assert_eq!(lifetime("200 cache-control: public, max-age=5", ""), Some(1000));
    assert_eq!(lifetime("200 cache-control: must-revalidate", "200=60 2xx=60"), None);
}

#[test]
fn an_authorized_request_that_is_allowed_is_taken_as_public() {
    for response in [
        "200 content-type: x",
        "200 cache-control: max-age=5",
        "200 cache-control: s-maxage=5",
        "200 cache-control: max-age=5, must-revalidate, stale-if-error=9",
        "200 cache-control: max-age=5, stale-while-revalidate=7, stale-if-error=9",
        "200 last-modified: {-1000}",
        "404 content-type: x",
        "503 last-modified: {-1000}",
    ] {
        let (.., allowed) = facts_for("authorization: x | cookie: a=b", response);
        let said = response.replacen("200 ", "200 cache-control: public | ", 1);
        let said = said.replacen("404 ", "404 cache-control: public | ", 1);
        let said = said.replacen("503 ", "503 cache-control: public | ", 1);
        let (.., public) = facts_for("authorization: x | cookie: a=b", &said);
        for rules_text in ["", "ttl=600", "default_ttl=60 swr=1 sie=2", "404=9 2xx=8", "min_ttl=300"] {
            let allowing = rules(&format!("{rules_text} allow:authorization"));
            let rules = rules(rules_text);
            let of = |facts: &Facts, rules: &Rules<'_>| {
                (
                    facts.freshness_lifetime(rules),
                    facts.stale_while_revalidate(rules),
                    facts.stale_if_error(rules),
                )
            };
            assert_eq!(of(&allowed, &allowing), of(&public, &rules), "{rules_text}; {response}");
        }
    }
}

#[test]
fn the_answer_to_a_post_lives_as_long_as_its_origin_says_and_no_longer() {
    let mut request = RequestFacts::of(&http::Method::POST, &fields(""), true);
    request.kind = RequestKind::PostForGet;
    let lifetime = |response: &str, rules: &str| {
        let response = fields(response);
        let directives = ResponseDirectives::of(&response);
        let facts = Facts::of(request, StatusCode::OK, &response, &directives, NOW, NOW);
        lifetime_s(&facts, rules)
    };
    for rules in ["", "ttl=600", "default_ttl=600", "min_ttl=600", "200=600"] {
        assert_eq!(lifetime("cache-control: max-age=5", rules), Some(5), "{rules}");
        assert_eq!(lifetime("cache-control: public | last-modified: {-1000}", rules), None, "{rules}");
    }
    assert_eq!(lifetime("cache-control: max-age=5", "max_ttl=3"), Some(3));
}

#[test]
fn what_a_response_cost_is_kept() {
    let response = fields("cache-control: max-age=60");
    let directives = ResponseDirectives::of(&response);
    let facts = Facts::of(request(""), StatusCode::NOT_FOUND, &response, &directives, NOW, NOW + s(7));
    assert_eq!((facts.response_delay, facts.status), (s(7), StatusCode::NOT_FOUND));
}

/// Seconds of `stale-while-revalidate` and `stale-if-error` that apply.
#[track_caller]
fn check_stale(rules_text: &str, response: &str, expected: (u64, u64)) {
    let (facts, rules) = (facts(response), rules(rules_text));
    let windows = (facts.stale_while_revalidate(&rules).as_secs(), facts.stale_if_error(&rules).as_secs());
    assert_eq!(windows, expected, "{rules_text}; {response}");
}

#[test]
fn the_origins_stale_windows_go_before_configured_ones() {
    check_stale("", "200 cache-control: max-age=5", (0, 0));
    check_stale("", "200 cache-control: max-age=5, stale-while-revalidate=7, stale-if-error=9", (7, 9));
    check_stale("swr=1 sie=2", "200 cache-control: max-age=5", (1, 2));
    check_stale("swr=1 sie=2", "200 cache-control: max-age=5, stale-if-error=9", (1, 9));
    check_stale("swr=1 sie=2", "200 cache-control: max-age=5, stale-if-error=0", (1, 0));
    check_stale("swr=1 sie=2", "200 cache-control: max-age=5, stale-if-error=x", (1, 0));
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.4
//= type=test
//# A cache MUST NOT generate a stale response if it is prohibited by an
//# explicit in-protocol directive (e.g., by a no-cache response
//# directive, a must-revalidate response directive, or an applicable
//# s-maxage or proxy-revalidate response directive; see Section 5.2.2).
#[test]
fn what_forbids_stale_use_goes_before_every_window() {
    for directive in ["must-revalidate", "proxy-revalidate", "no-cache", "no-cache=\"x\""] {
        let all =
            format!("200 cache-control: max-age=5, stale-while-revalidate=7, stale-if-error=9, {directive}");
        check_stale("swr=1 sie=2", &all, (0, 0));
        check_stale("swr=1 sie=2", &format!("200 cache-control: max-age=5, {directive}"), (0, 0));
    }
    check_stale("swr=1 sie=2", "200 cache-control: s-maxage=5", (0, 0));
    check_stale("swr=1 sie=2", "200 cache-control: s-maxage=5, must-revalidate, stale-if-error=9", (0, 0));
}

#[test]
fn a_policy_cannot_lift_what_forbids_stale_use() {
    let generous =
        PolicyLifetimes { ttl: None, stale_while_revalidate: Some(s(60)), stale_if_error: Some(s(60)) };
    for response in [
        "200 cache-control: max-age=5, must-revalidate",
        "200 cache-control: max-age=5, no-cache",
        "200 cache-control: s-maxage=5",
        "404 cache-control: max-age=5",
    ] {
        let mut facts = facts(response);
        facts.policy = generous;
        assert_eq!(facts.stale_while_revalidate(&rules("")), s(0), "{response}");
        assert_eq!(facts.stale_if_error(&rules("sie=9")), s(0), "{response}");
    }
}

/// A deviation: section 5.2.2.10 forbids stale use with `s-maxage` altogether. An origin that sends
/// `stale-while-revalidate` beside it means this cache, as the CDNs in the world take it: its own windows hold, those
/// of the configuration do not.
#[test]
fn beside_s_maxage_only_the_origins_own_windows_hold() {
    check_stale("", "200 cache-control: s-maxage=5, stale-while-revalidate=7", (7, 0));
    check_stale("swr=1 sie=2", "200 cache-control: s-maxage=5, stale-while-revalidate=7", (7, 0));
    check_stale("swr=1 sie=2", "200 cache-control: s-maxage=5, stale-if-error=9", (0, 9));
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.10
//= type=test
//# This directive also
//# permits a shared cache to reuse a response to a request containing an
//# Authorization header field, subject to the above requirements on
//# maximum age and revalidation (Section 3.5).
#[test]
fn for_an_authorized_request_s_maxage_forbids_stale_use_without_exception() {
    let (.., facts) = facts_for(
        "authorization: x",
        "200 cache-control: s-maxage=5, stale-while-revalidate=7, stale-if-error=9",
    );
    assert_eq!(facts.stale_while_revalidate(&rules("swr=1")), s(0));
    assert_eq!(facts.stale_if_error(&rules("sie=1")), s(0));
}

#[test]
fn an_error_is_used_stale_only_as_its_origin_says() {
    check_stale("swr=1 sie=2", "404 cache-control: max-age=5", (0, 0));
    check_stale("swr=1 sie=2", "503 cache-control: max-age=5, stale-if-error=3", (0, 3));
    check_stale("swr=1 sie=2", "302 cache-control: max-age=5", (1, 2));
}

#[test]
fn ages_and_lifetimes_come_apart_from_each_other() {
    let facts = facts("200 cache-control: max-age=60 | age: 59");
    assert_eq!(facts.explicit_lifetime, Some(FreshnessLifetime::from_s(60)));
    assert_eq!(facts.corrected_initial_age, Age::from_s(59));
    assert_eq!(facts.response_time, NOW);
}
