//! Fields that are meant for this cache, and what they leave of `Cache-Control`.

use caching::{
    directives::ResponseDirectives,
    freshness::Facts,
    targeted::{CDN_CACHE_CONTROL, default_targets, directives},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{NOW, directives::text_of, fields, request};

#[track_caller]
fn check(response: &str, expected: &str) {
    assert_eq!(text_of(&directives(&fields(response), &default_targets())), expected, "{response}");
}

//= https://www.rfc-editor.org/rfc/rfc9213#section-2.2
//= type=test
//# When a cache that implements this specification receives a response
//# with one or more of the header field names on its target list, the
//# cache MUST select the first (in target-list order) field with a
//# valid, non-empty value and use its value to determine the caching
//# policy for the response, and it MUST ignore the Cache-Control and
//# Expires header fields in that response, unless no valid, non-empty
//# value is available from the listed header fields.
#[test]
fn the_first_target_that_says_anything_decides_alone() {
    check("cache-control: max-age=1", "max-age=1");
    check("cdn-cache-control: max-age=2", "max-age=2 (targeted)");
    check("cdn-cache-control: max-age=2 | cache-control: no-store, private", "max-age=2 (targeted)");
    check("cdn-cache-control: none | cache-control: no-store", "(targeted)");
    check("cdn-cache-control: max-age=2 | pragma: no-cache", "max-age=2 (targeted)");
    check("cache-control: max-age=1 | cdn-cache-control: no-store", "no-store (targeted)");
    check("cdn-cache-control: max-age=2 | larder-cache-control: max-age=3", "max-age=3 (targeted)");
    check("larder-cache-control: x | cdn-cache-control: no-store", "(targeted)");
}

#[test]
fn the_order_is_that_of_the_target_list_and_what_is_not_on_it_says_nothing() {
    let response =
        fields("cdn-cache-control: max-age=2 | edge-cache-control: max-age=4 | cache-control: max-age=1");
    let edge = HeaderName::from_static("edge-cache-control");
    let of = |targets: &[HeaderName]| text_of(&directives(&response, targets));
    assert_eq!(of(&[edge.clone(), CDN_CACHE_CONTROL]), "max-age=4 (targeted)");
    assert_eq!(of(&[CDN_CACHE_CONTROL, edge]), "max-age=2 (targeted)");
    assert_eq!(of(&[]), "max-age=1");
}

//= https://www.rfc-editor.org/rfc/rfc9213#section-2.1
//= type=test
//# If a targeted field in a given response is empty, or a parsing error
//# is encountered, that field MUST be ignored by the cache (i.e., it
//# behaves as if the field were not present, likely falling back to
//# other cache-control mechanisms present).
#[test]
fn a_field_that_is_empty_or_cannot_be_read_is_not_there() {
    for written in [
        "",
        " ",
        "max-age=60, &&&&&",
        "max-age=60,",
        ",max-age=60",
        "Max-Age=60",
        "max-age =60",
        "max-age= 60",
        "max-age=",
        "max-age=60 no-store",
        "max-age=60; ",
        "no-cache=\"x",
        "max-age='60'",
        "max-age=1000000000000000",
        "(a b)",
        "private=x,\u{e4}",
    ] {
        check(&format!("cdn-cache-control: {written} | cache-control: no-store"), "no-store");
        check(
            &format!(
                "larder-cache-control: {written} | cdn-cache-control: max-age=2 | cache-control: no-store"
            ),
            "max-age=2 (targeted)",
        );
    }
    let mut response = HeaderMap::new();
    response.append(CDN_CACHE_CONTROL, HeaderValue::from_bytes(b"max-age=60, x=\xff").unwrap());
    assert_eq!(text_of(&directives(&response, &default_targets())), "");
}

#[test]
fn lines_of_one_field_are_one_dictionary() {
    check(
        "cdn-cache-control: max-age=60 | cdn-cache-control: must-revalidate",
        "max-age=60 must-revalidate (targeted)",
    );
    check("cdn-cache-control: max-age=60 | cdn-cache-control: &", "");
    check("cdn-cache-control: max-age=60 | cdn-cache-control: max-age=30", "max-age=30 (targeted)");
}

//= https://www.rfc-editor.org/rfc/rfc9213#section-2.2
//= type=test
//# Caches that use a targeted field MUST implement the semantics of the
//# following cache directives:
#[test]
fn every_directive_of_cache_control_is_read() {
    check(
        "cdn-cache-control: max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4, no-store, no-cache, \
         private, public, must-revalidate, proxy-revalidate, must-understand, immutable",
        "max-age=1 s-maxage=2 stale-while-revalidate=3 stale-if-error=4 no-store no-cache private public \
         must-revalidate proxy-revalidate must-understand immutable (targeted)",
    );
    check("cdn-cache-control: max-age=60, x=y, no-transform", "max-age=60 (targeted)");
    check("cdn-cache-control: private=\"x\", no-cache=\"a, b\"", "no-cache private (targeted)");
}

//= https://www.rfc-editor.org/rfc/rfc9213#section-2.1
//= type=test
//# Parameters received on cache directives are to be ignored, unless
//# other handling is explicitly specified.
#[test]
fn parameters_say_nothing() {
    check("cdn-cache-control: max-age=60;x=1;no-store, public;q=?0", "max-age=60 public (targeted)");
}

//= https://www.rfc-editor.org/rfc/rfc9213#section-2.1
//= type=test
//# Implementations SHOULD NOT consume values that violate these inferred
//# constraints.
#[test]
fn a_value_of_another_type_is_not_taken_for_what_it_might_mean() {
    for value in ["60.5", "60.0", "\"60\"", "sixty", "-60", "?1", "?0", ":NjA=:", "(60)", "@60"] {
        check(&format!("cdn-cache-control: max-age={value}"), "max-age=0 (targeted)");
    }
    check("cdn-cache-control: max-age", "max-age=0 (targeted)");
    check("cdn-cache-control: max-age=999999999999999", "max-age=2147483648 (targeted)");
    // What restricts does so unless it is said not to; what permits has to be said as it is written.
    for value in ["1", "\"x\"", "x", "1.5", "()"] {
        check(
            &format!("cdn-cache-control: no-store={value}, private={value}"),
            "no-store private (targeted)",
        );
        check(&format!("cdn-cache-control: public={value}, must-understand={value}"), "(targeted)");
    }
    check(
        "cdn-cache-control: no-store=?0, private=?0, no-cache=?0, public=?0, must-revalidate=?0",
        "(targeted)",
    );
    check("cdn-cache-control: no-store=?1, public=?1", "no-store public (targeted)");
}

#[test]
fn beside_a_targeted_field_expires_says_nothing() {
    let lifetime = |response: &str| {
        let response = fields(response);
        let directives = directives(&response, &default_targets());
        let facts = Facts::of(request(""), StatusCode::OK, &response, &directives, NOW, NOW);
        (facts.explicit_lifetime.is_some(), facts.heuristic_lifetime.is_some())
    };
    assert_eq!(lifetime("expires: {+60} | cdn-cache-control: max-age=5"), (true, false));
    assert_eq!(lifetime("expires: {+60} | cdn-cache-control: public"), (false, false));
    // As with a `Cache-Control` that gives no lifetime, one may then be guessed.
    assert_eq!(lifetime("expires: 0 | cdn-cache-control: public | last-modified: {-1000}"), (false, true));
    assert_eq!(lifetime("expires: {+60} | cdn-cache-control: &"), (true, false));
    assert!(ResponseDirectives::of(&fields("cdn-cache-control: max-age=5")).max_age.is_none());
}
