//! Which part of a stored response answers.

use caching::range::{Ranged, ranged};

use super::fields;

const STORED: &str = "etag: \"1\" | last-modified: {-100} | date: {-10}";

/// `expected`: `0-4`, `whole` or `416`, of a body of ten bytes.
#[track_caller]
fn check_stored(request: &str, stored: &str, expected: &str) {
    let found = match ranged(&fields(request), &fields(stored), 10) {
        Ranged::Whole => "whole".to_owned(),
        Ranged::Part { first, last } => format!("{first}-{last}"),
        Ranged::Unsatisfiable => "416".to_owned(),
    };
    assert_eq!(found, expected, "{request}; {stored}");
}

#[track_caller]
fn check(request: &str, expected: &str) {
    check_stored(request, STORED, expected);
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-14.1.2
//= type=test
//# If the last-pos value is absent, or if the value is greater than or
//# equal to the current length of the representation data, the byte
//# range is interpreted as the remainder of the representation
#[test]
fn one_range_is_a_part() {
    check("range: bytes=0-4", "0-4");
    check("range: bytes=0-0", "0-0");
    check("range: bytes=9-9", "9-9");
    check("range: bytes=5-", "5-9");
    check("range: bytes=5-9", "5-9");
    check("range: bytes=5-10", "5-9");
    check("range: bytes=5-99999999999999999999999", "5-9");
    check("range: BYTES=1-2", "1-2");
    check("range: bytes= 1-2", "1-2");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-14.1.2
//= type=test
//# If the selected representation is shorter than the specified suffix-
//# length, the entire representation is used.
#[test]
fn a_suffix_is_counted_from_the_end() {
    check("range: bytes=-3", "7-9");
    check("range: bytes=-10", "0-9");
    check("range: bytes=-11", "0-9");
    check("range: bytes=-0", "416");
}

#[test]
fn what_lies_behind_the_end_cannot_be_given() {
    check("range: bytes=10-", "416");
    check("range: bytes=10-20", "416");
    check("range: bytes=99999999999999999999999-", "416");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-14.2
//= type=test
//# An origin server MUST ignore a Range header field that contains a
//# range unit it does not understand.
#[test]
fn what_is_not_understood_is_ignored() {
    for range in [
        "",
        "x",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=3-2",
        "bytes=+1-2",
        "bytes=1-2x",
        "items=1-2",
        "bytes=1.0-2",
        "bytes=1 -2",
        "bytes=--1",
    ] {
        check(&format!("range: {range}"), "whole");
    }
    check("", "whole");
    check("range: bytes=1-2 | range: bytes=3-4", "whole");
}

#[test]
fn several_ranges_are_answered_with_the_whole() {
    check("range: bytes=0-1,3-4", "whole");
    check("range: bytes=0-1, ", "whole");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5
//= type=test
//# A recipient of an If-Range header field MUST ignore the Range header
//# field if the If-Range condition evaluates as false.
#[test]
fn a_part_is_only_for_who_has_the_same_representation() {
    check("range: bytes=0-1 | if-range: \"1\"", "0-1");
    check("range: bytes=0-1 | if-range: \"2\"", "whole");
    check("range: bytes=0-1 | if-range: W/\"1\"", "whole");
    check("range: bytes=0-1 | if-range: {-100}", "0-1");
    check("range: bytes=0-1 | if-range: {-99}", "whole");
    check("range: bytes=0-1 | if-range: {-101}", "whole");
    check("range: bytes=0-1 | if-range: yesterday", "whole");
    check("range: bytes=0-1 | if-range: \"1\" | if-range: \"1\"", "whole");
    check_stored("range: bytes=0-1 | if-range: W/\"1\"", "etag: W/\"1\"", "whole");
    check_stored("range: bytes=0-1 | if-range: \"1\"", "", "whole");
    // It may have changed again within the second.
    check_stored("range: bytes=0-1 | if-range: {-100}", "last-modified: {-100} | date: {-100}", "whole");
    check_stored("range: bytes=0-1 | if-range: {-100}", "last-modified: {-100}", "whole");
}

#[test]
fn an_empty_body_has_no_parts() {
    for (range, expected) in [("bytes=0-", Ranged::Unsatisfiable), ("bytes=-1", Ranged::Unsatisfiable)] {
        assert_eq!(ranged(&fields(&format!("range: {range}")), &fields(STORED), 0), expected);
    }
}
