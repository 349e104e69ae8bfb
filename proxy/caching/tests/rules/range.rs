//! Which part of a stored response answers.

use caching::{
    partial::part_length,
    range::{ByteRange, Multipart, Ranged, of_partial, ranged},
};
use http::HeaderValue;

use super::fields;

const STORED: &str = "etag: \"1\" | last-modified: {-100} | date: {-10}";

/// `expected`: `0-4`, `whole` or `416`, of a body of ten bytes.
#[track_caller]
fn check_stored(request: &str, stored: &str, expected: &str) {
    let found = match ranged(&fields(request), &fields(stored), 10) {
        Ranged::Whole => "whole".to_owned(),
        Ranged::Part(ByteRange { first, last }) => format!("{first}-{last}"),
        Ranged::Parts(ranges) => {
            let text = ranges.iter().map(|ByteRange { first, last }| format!("{first}-{last}"));
            text.collect::<Vec<_>>().join(" ")
        }
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

//= https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7.2
//= type=test
//# When multiple ranges are requested, a server MAY coalesce any of the
//# ranges that overlap, or that are separated by a gap that is smaller
//# than the overhead of sending multiple parts, regardless of the order
//# in which the corresponding range-spec appeared in the received Range
//# header field.
#[test]
fn several_ranges_are_several_parts_in_their_order() {
    check("range: bytes=0-1,3-4", "0-1 3-4");
    check("range: bytes=8-, 0-1", "8-9 0-1");
    check("range: bytes=0-0,-1", "0-0 9-9");
    check("range: bytes=0-1,, 4-5 ,", "0-1 4-5");
    check("range: bytes=0-1, ", "0-1");
    check("range: bytes=0-2,3-4", "0-4");
    check("range: bytes=0-2,6-7,2-3", "0-3 6-7");
    check("range: bytes=0-1,3-4,1-3", "0-4");
    check("range: bytes=0-1,20-30", "0-1");
    check("range: bytes=20-30,40-", "416");
    check("range: bytes=0-1,x", "whole");
    check("range: bytes=0-1,4-3", "whole");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-14.2
//= type=test
//# A server that supports range requests MAY ignore or reject a Range
//# header field that contains an invalid ranges-specifier (Section
//# 14.1.1), a ranges-specifier with more than two overlapping ranges, or
//# a set of many small ranges that are not listed in ascending order,
//# since these are indications of either a broken client or a deliberate
//# denial-of-service attack
#[test]
fn what_asks_for_more_than_there_is_gets_the_whole() {
    check("range: bytes=0-5,7-9,0-5", "whole");
    let many: Vec<String> = (0..40).map(|at| format!("{at}-{at}")).collect();
    check(&format!("range: bytes={}", many.join(",")), "whole");
}

#[test]
fn parts_are_framed_as_multipart() {
    let ranges = [ByteRange { first: 0, last: 1 }, ByteRange { first: 8, last: 9 }];
    let kind = HeaderValue::from_static("text/plain");
    let multipart = Multipart::new(&ranges, 10, Some(&kind), "b0");
    let mut text = String::new();
    for (head, range) in multipart.parts() {
        text.push_str(std::str::from_utf8(&head).unwrap());
        text.push_str(if range.first == 0 { "01" } else { "89" });
    }
    text.push_str(&multipart.closing());
    let expected = "--b0\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
                    --b0\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--b0--\r\n";
    assert_eq!(text, expected);
    assert_eq!(multipart.content_type(), "multipart/byteranges; boundary=b0");
}

/// `part`: `2-6/10` or `2-6/*`.
#[track_caller]
fn check_partial(request: &str, part: &str, expected: Option<(u64, u64)>) {
    let part =
        part_length(&fields(&format!("content-range: bytes {part}")), None).expect("a case has a range");
    let found = of_partial(&fields(request), &fields(STORED), &part);
    assert_eq!(found.map(|range| (range.first, range.last)), expected, "{request}; {part:?}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.3
//= type=test
//# A cache MUST NOT use an incomplete response to answer requests unless
//# the response has been made complete, or the request is partial and
//# specifies a range wholly within the incomplete response.
#[test]
fn a_stored_part_answers_what_lies_within_it() {
    check_partial("range: bytes=2-6", "2-6/10", Some((2, 6)));
    check_partial("range: bytes=3-4", "2-6/10", Some((3, 4)));
    check_partial("range: bytes=1-4", "2-6/10", None);
    check_partial("range: bytes=3-7", "2-6/10", None);
    check_partial("range: bytes=3-", "2-6/10", None);
    check_partial("range: bytes=3-", "2-9/10", Some((3, 9)));
    check_partial("range: bytes=-2", "2-9/10", Some((8, 9)));
    check_partial("range: bytes=-9", "2-9/10", None);
    check_partial("range: bytes=3-99", "2-9/10", Some((3, 9)));
    check_partial("range: bytes=3-4", "2-6/*", Some((3, 4)));
    check_partial("range: bytes=3-", "2-9/*", None);
    check_partial("range: bytes=-1", "2-9/*", None);
    check_partial("range: bytes=2-3,5-6", "2-6/10", None);
    check_partial("range: bytes=2-3 | if-range: \"2\"", "2-6/10", None);
    check_partial("", "2-6/10", None);
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
