//! Dates in every form that a peer may send.

use caching::time::{Age, FreshnessLifetime, Timestamp};
use http::HeaderValue;

use super::{NOW, s};

#[track_caller]
fn check(date: &str, expected: Option<u64>) {
    let value = HeaderValue::from_str(date).expect("a case is a field value");
    assert_eq!(Timestamp::from_http_date(&value).map(Timestamp::as_s), expected, "{date}");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7
//= type=test
//# A recipient that parses a timestamp value in an HTTP field MUST accept
//# all three HTTP-date formats.
#[test]
fn all_three_forms_of_a_date_are_read() {
    check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
    check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
    check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2
//= type=test
//# Although all date formats are specified to be case-sensitive, a
//# cache recipient SHOULD match the field value case-insensitively.
#[test]
fn the_case_of_a_date_does_not_matter() {
    check("sun, 06 nov 1994 08:49:37 gmt", Some(784_111_777));
    check("SUN, 06 NOV 1994 08:49:37 GMT", Some(784_111_777));
    check("sunday, 06-NOV-94 08:49:37 Gmt", Some(784_111_777));
    check("SUN NOV  6 08:49:37 1994", Some(784_111_777));
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2
//= type=test
//# A cache recipient SHOULD consider a date with a zone abbreviation
//# other than "GMT" to be invalid for calculating expiration.
#[test]
fn another_zone_than_gmt_is_no_date() {
    check("Sun, 06 Nov 1994 08:49:37 UTC", None);
    check("Sun, 06 Nov 1994 08:49:37 EST", None);
    check("Sun, 06 Nov 1994 08:49:37 +0000", None);
    check("Sun, 06 Nov 1994 08:49:37", None);
}

#[test]
fn what_is_no_date_is_none() {
    for text in ["", "0", "-1", "now", "1994-11-06T08:49:37Z", "784111777", "Sun, 06 Nov 94 08:49:37 GMT"] {
        check(text, None);
    }
    // No such day, hour or second; and the wrong name for a day.
    check("Sun, 31 Nov 1994 08:49:37 GMT", None);
    check("Sun, 06 Nov 1994 24:49:37 GMT", None);
    check("Sun, 06 Nov 1994 08:49:60 GMT", None);
    check("Mon, 06 Nov 1994 08:49:37 GMT", None);
    check("Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", None);
}

#[test]
fn the_ends_of_time_saturate() {
    check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
    check("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799));
    let end = Timestamp::from_s(u64::MAX);
    assert_eq!(end + s(1), end);
    assert_eq!(NOW.since(NOW + s(5)), s(0));
    assert_eq!((Age::from_s(u64::MAX) + s(1)).as_s(), u64::MAX / 1000);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2
//= type=test
//# response_is_fresh = (freshness_lifetime > current_age)
#[test]
fn at_the_age_of_its_lifetime_a_response_is_stale() {
    let lifetime = FreshnessLifetime::from_s(60);
    assert_eq!(lifetime.remaining(Age::from_s(59)), Ok(s(1)));
    assert_eq!(lifetime.remaining(Age::from_s(60)), Err(s(0)));
    assert_eq!(lifetime.remaining(Age::from_s(61)), Err(s(1)));
    assert_eq!(FreshnessLifetime::ZERO.remaining(Age::ZERO), Err(s(0)));
}
