//! `Cache-Control` in every spelling.

use std::fmt::Write as _;

use caching::directives::{MaxStale, RequestDirectives, ResponseDirectives};
use http::{HeaderMap, HeaderValue, header::CACHE_CONTROL};

use super::fields;

/// The directives that were understood, as one line: `max-age=60 private`.
pub(super) fn text_of(directives: &ResponseDirectives) -> String {
    let mut text = String::new();
    let numbers = [
        ("max-age", directives.max_age),
        ("s-maxage", directives.s_maxage),
        ("stale-while-revalidate", directives.stale_while_revalidate),
        ("stale-if-error", directives.stale_if_error),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            let _ = write!(text, " {name}={}", value.as_secs());
        }
    }
    let flags = [
        ("no-store", directives.no_store),
        ("no-cache", directives.no_cache),
        ("private", directives.private),
        ("public", directives.public),
        ("must-revalidate", directives.must_revalidate),
        ("proxy-revalidate", directives.proxy_revalidate),
        ("must-understand", directives.must_understand),
        ("immutable", directives.immutable),
        ("(targeted)", directives.is_targeted),
    ];
    for (name, _) in flags.iter().filter(|(_, is_set)| *is_set) {
        text.push(' ');
        text.push_str(name);
    }
    text.trim_start().to_owned()
}

/// `written` is the value of `Cache-Control`; ` | ` begins a second line of it.
#[track_caller]
fn check(written: &str, expected: &str) {
    let mut fields = HeaderMap::new();
    for line in written.split(" | ") {
        fields.append(
            CACHE_CONTROL,
            HeaderValue::from_bytes(line.as_bytes()).expect("a case is a field value"),
        );
    }
    assert_eq!(text_of(&ResponseDirectives::of(&fields)), expected, "{written}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2
//= type=test
//# Cache directives are identified by a token, to
//# be compared case-insensitively, and have an optional argument that can
//# use both token and quoted-string syntax.
#[test]
fn directives_are_read_in_any_case_order_and_number_of_lines() {
    check("", "");
    check("max-age=60", "max-age=60");
    check("MAX-AGE=60, No-Store", "max-age=60 no-store");
    check("private,max-age=60,,  ,public", "max-age=60 private public");
    check("max-age=60 | must-revalidate | proxy-revalidate", "max-age=60 must-revalidate proxy-revalidate");
    check("\tmax-age=60 ,\tno-cache\t", "max-age=60 no-cache");
    check(
        "s-maxage=1, stale-while-revalidate=2, stale-if-error=3, must-understand",
        "s-maxage=1 stale-while-revalidate=2 stale-if-error=3 must-understand",
    );
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.3
//= type=test
//# A cache MUST ignore unrecognized cache directives.
#[test]
fn what_is_not_known_is_ignored() {
    check("community=\"UCI\", max-age=60", "max-age=60");
    check("max-age-x=60, x-max-age=60, no-stores, =60, max_age=60", "");
    check("no-transform, only-if-cached, max-stale=60", "");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2
//= type=test
//# For the directives defined below that define arguments,
//# recipients ought to accept both forms, even if a specific form is
//# required for generation.
#[test]
fn a_number_may_stand_in_quotes() {
    check("max-age=\"60\"", "max-age=60");
    check("s-maxage=\"0\", max-age=\"60\"", "max-age=60 s-maxage=0");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
//= type=test
//# Caches are encouraged to consider
//# responses that have invalid freshness information (e.g., a max-age
//# directive with non-integer content) to be stale.
#[test]
fn a_number_that_is_none_counts_as_zero() {
    for argument in [
        "", "=", "=\"\"", "=-1", "=+60", "=6 0", "=60s", "=1e3", "=60.0", "=0x3c", "='60'", "=\"60", "=60\"",
        "=\" 60\"",
    ] {
        check(&format!("max-age{argument}"), "max-age=0");
    }
    // Whitespace has no place around the equals sign: what that means is anybody's guess.
    check("max-age =60", "max-age=0");
    check("max-age= 60", "max-age=0");
    check("max-age=6\\0", "max-age=0");
    check("max-age=٦", "max-age=0");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-1.2.2
//= type=test
//# If a cache receives a delta-seconds value greater than the greatest
//# integer it can represent, or if any of its subsequent calculations
//# overflows, the cache MUST consider the value to be 2147483648 (2^31)
//# or the greatest positive integer it can conveniently represent.
#[test]
fn a_number_too_large_is_very_large() {
    check("max-age=2147483647", "max-age=2147483647");
    check("max-age=2147483648", "max-age=2147483648");
    check("max-age=2147483649", "max-age=2147483648");
    check("max-age=18446744073709551616", "max-age=2147483648");
    check("max-age=00000000000000000000000000000000000060", "max-age=60");
    check(&format!("max-age={}", "9".repeat(500)), "max-age=2147483648");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
//= type=test
//# When there is more than one value present for a given directive
//# (e.g., two Expires header field lines or multiple Cache-Control: max-
//# age directives), either the first occurrence should be used or the
//# response should be considered stale.
#[test]
fn contradictory_numbers_count_as_zero() {
    check("max-age=60, max-age=60", "max-age=60");
    check("max-age=60, max-age=30", "max-age=0");
    check("max-age=60, max-age=0, max-age=60", "max-age=0");
    check("max-age=10, max-age=20, max-age=10", "max-age=0");
    check("max-age=60 | max-age=30", "max-age=0");
    check("max-age, max-age=60", "max-age=0");
    check("stale-if-error=60, stale-if-error=30", "stale-if-error=0");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.7
//= type=test
//# Also, the qualified form of the directive is
//# often handled by caches as if an unqualified private directive
//# was received; that is, the special handling for the qualified
//# form is not widely implemented.
#[test]
fn a_restriction_with_an_argument_restricts_the_whole_response() {
    check("private=\"set-cookie\", max-age=60", "max-age=60 private");
    check("private=\"a, no-store, max-age=60\"", "private");
    check("no-cache=\"set-cookie, x\", max-age=60", "max-age=60 no-cache");
    check("no-cache=x", "no-cache");
    check(
        "no-store=x, must-revalidate=x, proxy-revalidate=\"\"",
        "no-store must-revalidate proxy-revalidate",
    );
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2
//= type=test
//# For the cache directives defined below, no argument is defined (nor
//# allowed) unless stated otherwise.
#[test]
fn a_permission_with_an_argument_permits_nothing() {
    check("public=x", "");
    check("public=\"set-cookie\", max-age=60", "max-age=60");
    check("no-store, must-understand=x", "no-store");
    check("public, public=x, must-understand, must-understand=x", "public must-understand");
}

#[test]
fn a_comma_in_quotes_does_not_end_a_directive() {
    check("ext=\"max-age=60, no-store\"", "");
    check("ext=\"a\\\"b, no-store\", max-age=60", "max-age=60");
    check("ext=\"a\\\\\", no-store", "no-store");
}

#[test]
fn a_quote_that_does_not_close_hides_no_restriction_and_gives_no_permission() {
    check("ext=\"abc, no-store, max-age=60", "max-age=0 no-store");
    check("ext=\"abc, private, public", "private");
    check("ext=\"abc\", y=\"z, no-cache", "no-cache");
    check("max-age=60, ext=\"abc\\\", private", "max-age=60 private");
    check("ext=\"abc | no-store, x\"", "no-store");
    check("no-store, must-understand\", must-understand", "no-store");
}

#[test]
fn a_line_of_open_quotes_costs_no_more_than_its_length() {
    // Read anew from each comma on, this would take minutes.
    check(&format!("\"{},no-store", ",\\\"".repeat(200_000)), "no-store");
}

#[test]
fn bytes_that_are_no_text_spoil_only_their_own_directive() {
    let mut fields = HeaderMap::new();
    fields.append(CACHE_CONTROL, HeaderValue::from_bytes(b"max-age=60, \xff\xfe=1, no-cache").unwrap());
    assert_eq!(text_of(&ResponseDirectives::of(&fields)), "max-age=60 no-cache");
}

#[test]
fn pragma_counts_where_there_is_no_cache_control() {
    let of = |text| text_of(&ResponseDirectives::of(&fields(text)));
    assert_eq!(of("pragma: no-cache"), "no-cache");
    assert_eq!(of("pragma: x, No-Cache"), "no-cache");
    assert_eq!(of("pragma: no-cache | cache-control: max-age=60"), "max-age=60");
    assert_eq!(of("pragma: no-cache-x"), "");
}

//= https://www.rfc-editor.org/rfc/rfc8246#section-2
//= type=test
//# The immutable extension takes no arguments.  If any arguments are
//# present, they have no meaning
#[test]
fn immutable_is_read_whatever_stands_behind_it() {
    check("max-age=60, Immutable", "max-age=60 immutable");
    check("immutable=x, immutable=\"0\"", "immutable");
}

/// What was understood of a request's `Cache-Control`, as one line: `max-age=5 max-stale no-cache`.
fn text_of_request(directives: &RequestDirectives) -> String {
    let mut text = String::new();
    for (name, value) in [("max-age", directives.max_age), ("min-fresh", directives.min_fresh)] {
        if let Some(value) = value {
            let _ = write!(text, " {name}={}", value.as_secs());
        }
    }
    match directives.max_stale {
        None => (),
        Some(MaxStale::Any) => text.push_str(" max-stale"),
        Some(MaxStale::Limit(limit)) => {
            let _ = write!(text, " max-stale={}", limit.as_secs());
        }
    }
    let flags = [
        ("no-store", directives.no_store),
        ("no-cache", directives.no_cache),
        ("only-if-cached", directives.only_if_cached),
    ];
    for (name, _) in flags.iter().filter(|(_, is_set)| *is_set) {
        text.push(' ');
        text.push_str(name);
    }
    text.trim_start().to_owned()
}

#[track_caller]
fn check_request(request: &str, expected: &str) {
    assert_eq!(text_of_request(&RequestDirectives::of(&fields(request))), expected, "{request}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1
//= type=test
//# This section defines cache request directives.  They are advisory;
//# caches MAY implement them, but are not required to.
#[test]
fn what_a_request_asks_for_is_read() {
    check_request("", "");
    check_request("cache-control: No-Store", "no-store");
    check_request("cache-control: max-age=0 | cache-control: only-if-cached", "max-age=0 only-if-cached");
    check_request(
        "cache-control: no-cache, MAX-AGE=1, max-stale=2, min-fresh=\"3\"",
        "max-age=1 min-fresh=3 max-stale=2 no-cache",
    );
    check_request("cache-control: immutable, public, s-maxage=5, x", "");
    check_request("cache-control: x=\"y, no-store", "no-store");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.2
//= type=test
//# If no value is assigned to max-stale, then the client
//# will accept a stale response of any age.
#[test]
fn max_stale_without_a_number_takes_any_age() {
    check_request("cache-control: max-stale", "max-stale");
    check_request("cache-control: max-stale=0", "max-stale=0");
    check_request("cache-control: max-stale=99999999999999999999", "max-stale=2147483648");
}

#[test]
fn in_doubt_a_request_asks_for_more_and_permits_less() {
    check_request("cache-control: max-age", "max-age=0");
    check_request("cache-control: max-age=junk, max-age=5", "max-age=0");
    check_request("cache-control: max-age=7, max-age=5", "max-age=5");
    check_request("cache-control: no-cache=x", "no-cache");
    check_request("cache-control: max-stale=junk", "");
    check_request("cache-control: max-stale= 5", "");
    check_request("cache-control: max-stale=", "");
    check_request("cache-control: max-stale, max-stale=5, max-stale=7, max-stale", "max-stale=5");
    check_request("cache-control: max-stale=5, max-stale=junk", "max-stale=5");
    check_request("cache-control: min-fresh=5, min-fresh=7, min-fresh=6", "min-fresh=7");
    // There is no number that it could stand for.
    check_request("cache-control: min-fresh, min-fresh=junk", "");
}

//= https://www.rfc-editor.org/rfc/rfc7234#section-5.4
//= type=test
//# When the Cache-Control header field is not present in a request,
//# caches MUST consider the no-cache request pragma-directive as having
//# the same effect as if "Cache-Control: no-cache" were present
#[test]
fn pragma_in_a_request_counts_where_there_is_no_cache_control() {
    check_request("pragma: No-Cache", "no-cache");
    check_request("pragma: x, no-cache", "no-cache");
    check_request("pragma: no-cache=x", "");
    check_request("pragma: no-cache | cache-control: max-age=5", "max-age=5");
    check_request("pragma: no-cache | cache-control: ", "");
}
