//! Parts that are stored, put together, and made complete.

use caching::partial::{
    ContentRange, StoredPart, combined_fields, completing_request, may_combine, part_length, union,
};

use super::fields;

/// `expected`: `first-last/complete`, or nothing.
#[track_caller]
fn check(content_range: &str, expected: Option<&str>) {
    let found = ContentRange::of(&fields(content_range)).map(|range| {
        let complete = range.complete.map_or_else(|| "*".to_owned(), |complete| complete.to_string());
        format!("{}-{}/{complete}", range.first, range.last)
    });
    assert_eq!(found.as_deref(), expected, "{content_range}");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-14.4
//= type=test
//# A Content-Range field value is invalid if it contains a range-resp
//# that has a last-pos value less than its first-pos value, or a
//# complete-length value less than or equal to its last-pos value.  The
//# recipient of an invalid Content-Range MUST NOT attempt to recombine
//# the received content with a stored representation.
#[test]
fn a_content_range_is_read_or_it_is_none() {
    check("content-range: bytes 0-4/10", Some("0-4/10"));
    check("content-range: BYTES 0-4/*", Some("0-4/*"));
    check("content-range: bytes 9-9/10", Some("9-9/10"));
    for invalid in [
        "bytes 4-3/10",
        "bytes 0-10/10",
        "bytes 0-4/4",
        "bytes */10",
        "bytes 0-4",
        "bytes 0-/10",
        "bytes -4/10",
        "bytes 0-4/x",
        "bytes 0-4/10, bytes 5-6/10",
        "items 0-4/10",
        "bytes=0-4/10",
        "bytes 0 - 4/10",
        "",
        "bytes",
        "bytes 0-99999999999999999999/*",
        "bytes +0-4/10",
    ] {
        check(&format!("content-range: {invalid}"), None);
    }
    check("", None);
    check("content-range: bytes 0-4/10 | content-range: bytes 0-4/10", None);
}

#[test]
fn a_part_is_as_long_as_its_range_says() {
    let range = fields("content-range: bytes 2-6/10");
    assert!(part_length(&range, Some(5)).is_some() && part_length(&range, None).is_some());
    assert!(part_length(&range, Some(4)).is_none() && part_length(&range, Some(6)).is_none());
}

fn part(text: &str) -> StoredPart {
    part_length(&fields(&format!("content-range: bytes {text}")), None).expect("a case has a range")
}

/// The union as `0-9/10 before 0..2 after 3..5`; `None` if there is none.
#[track_caller]
fn check_union(old: &str, new: &str, expected: Option<&str>) {
    let found = union(&part(old), &part(new)).map(|union| {
        let complete = union.part.complete.map_or_else(|| "*".to_owned(), |complete| complete.to_string());
        format!("{}-{}/{complete} {:?} {:?}", union.part.first, union.part.last, union.before, union.after)
    });
    assert_eq!(found.as_deref(), expected, "{old} and {new}");
}

#[test]
fn parts_that_overlap_or_touch_become_one() {
    check_union("0-3/10", "4-9/10", Some("0-9/10 0..4 4..4"));
    check_union("4-9/10", "0-3/10", Some("0-9/10 0..0 0..6"));
    check_union("0-5/10", "4-9/10", Some("0-9/10 0..4 6..6"));
    check_union("0-9/10", "3-4/10", Some("0-9/10 0..3 5..10"));
    check_union("3-4/10", "0-9/10", Some("0-9/10 0..0 2..2"));
    check_union("0-3/*", "4-9/10", Some("0-9/10 0..4 4..4"));
    check_union("0-3/*", "4-5/*", Some("0-5/* 0..4 4..4"));
    check_union("0-3/10", "5-9/10", None);
    check_union("0-3/10", "4-9/11", None);
    check_union("0-9/*", "2-3/5", None);
}

/// `expected`: whether two parts with these fields may be put together.
#[track_caller]
fn check_combine(stored: &str, new: &str, expected: bool) {
    assert_eq!(may_combine(&fields(stored), &fields(new)), expected, "{stored}; {new}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.4
//= type=test
//# A cache MAY combine these ranges into a single
//# stored response, and reuse that response to satisfy later requests,
//# if they all share the same strong validator and the cache complies
//# with the client requirements in Section 15.3.7.3 of [HTTP].
#[test]
fn parts_need_the_same_strong_validator() {
    check_combine("etag: \"1\"", "etag: \"1\"", true);
    check_combine("etag: \"1\"", "etag: \"2\"", false);
    check_combine("etag: W/\"1\"", "etag: W/\"1\"", false);
    check_combine("etag: \"1\"", "etag: W/\"1\"", false);
    check_combine("etag: \"1\"", "", false);
    check_combine("", "", false);
    check_combine("etag: 1", "etag: 1", false);
    check_combine("etag: \"1\" | content-encoding: gzip", "etag: \"1\"", false);
    let dated = "last-modified: {-100} | date: {-10}";
    check_combine(dated, "last-modified: {-100} | date: {-5}", true);
    check_combine(dated, "last-modified: {-99} | date: {-5}", false);
    check_combine("last-modified: {-100} | date: {-100}", "last-modified: {-100} | date: {-100}", false);
    check_combine("last-modified: {-100} | date: {-10} | etag: \"1\"", dated, false);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.4
//= type=test
//# When combining the new response with one or more stored responses, a
//# cache MUST update the stored response header fields using the header
//# fields provided in the new response, as per Section 3.2.
#[test]
fn combined_fields_are_those_of_the_whole() {
    let stored = fields("etag: \"1\" | x-old: 1 | x-both: old | content-length: 4");
    let new =
        fields("etag: \"1\" | x-both: new | content-range: bytes 4-9/10 | content-length: 6 | date: {0}");
    let combined = combined_fields(&stored, &new);
    assert_eq!(combined, fields("etag: \"1\" | x-old: 1 | x-both: new | date: {0}"));
}

/// `expected`: the `Range` and the `If-Range` that ask for the rest.
#[track_caller]
fn check_completing(stored: &str, range: &str, expected: Option<&str>) {
    let asking = completing_request(&fields(stored), &part(range));
    assert_eq!(asking, expected.map(fields), "{stored}; {range}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.3
//= type=test
//# A cache MAY complete a stored incomplete response by making a
//# subsequent range request (Section 14.2 of [HTTP]) and combining the
//# successful response with the stored response, as defined in
//# Section 3.4.
#[test]
fn the_rest_of_a_beginning_is_asked_for_by_a_strong_validator() {
    check_completing("etag: \"1\"", "0-3/10", Some("range: bytes=4- | if-range: \"1\""));
    check_completing("etag: \"1\"", "0-3/*", Some("range: bytes=4- | if-range: \"1\""));
    let dated = "last-modified: {-100} | date: {-10}";
    check_completing(dated, "0-3/10", Some("range: bytes=4- | if-range: {-100}"));
    check_completing("etag: W/\"1\" | last-modified: {-100} | date: {-10}", "0-3/10", None);
    check_completing("last-modified: {-100} | date: {-100}", "0-3/10", None);
    check_completing("etag: \"1\"", "1-3/10", None);
    check_completing("etag: \"1\"", "0-9/10", None);
    check_completing("", "0-3/10", None);
}

proptest::proptest! {
    #[test]
    fn a_union_is_what_writing_one_over_the_other_gives(
        a in 0u64..20, a_length in 1u64..20, b in 0u64..20, b_length in 1u64..20,
    ) {
        let part = |first, length| StoredPart { first, last: first + length - 1, complete: Some(64) };
        let (old, new) = (part(a, a_length), part(b, b_length));
        let mut bytes = [0u8; 64];
        let place = |part: &StoredPart| usize::try_from(part.first).unwrap()..usize::try_from(part.last + 1).unwrap();
        bytes[place(&old)].fill(1);
        bytes[place(&new)].fill(2);
        match union(&old, &new) {
            None => proptest::prop_assert!(old.last + 1 < new.first || new.last + 1 < old.first),
            Some(union) => {
                let old_bytes = vec![1; usize::try_from(a_length).unwrap()];
                let mut joined = old_bytes[union.before].to_vec();
                joined.extend(vec![2; usize::try_from(b_length).unwrap()]);
                joined.extend(&old_bytes[union.after]);
                proptest::prop_assert_eq!(&joined[..], &bytes[place(&union.part)]);
            }
        }
    }

    #[test]
    fn no_content_range_makes_it_panic(value in proptest::collection::vec(32u8..127, 0..60), length in 0u64..100) {
        let mut fields = http::HeaderMap::new();
        fields.insert("content-range", http::HeaderValue::from_bytes(&value).unwrap());
        if let Some(part) = part_length(&fields, Some(length)) {
            proptest::prop_assert_eq!(part.length(), length);
        }
    }
}
