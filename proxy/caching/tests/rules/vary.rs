//! Which stored response answers which request.

use caching::vary::{SelectingFields, select};
use http::{HeaderMap, HeaderValue, header::VARY};

use super::fields;

/// What a request with `presented` fields makes of a response with `response` fields, stored for `original`.
#[track_caller]
fn check(response: &str, original: &str, presented: &str, expected: bool) {
    let selecting = SelectingFields::of(&fields(response), &fields(original)).expect("it may be selected");
    assert_eq!(selecting.matches(&fields(presented)), expected, "{response}; {original}; {presented}");
}

#[track_caller]
fn check_never(response: &str) {
    assert!(SelectingFields::of(&fields(response), &fields("a: 1")).is_err(), "{response}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
//= type=test
//# When a cache receives a request that can be satisfied by a stored
//# response and that stored response contains a Vary header field
//# (Section 12.5.5 of [HTTP]), the cache MUST NOT use that stored
//# response without revalidation unless all the presented request header
//# fields nominated by that Vary field value match those fields in the
//# original request (i.e., the request that caused the cached response
//# to be stored).
#[test]
fn all_nominated_fields_must_match() {
    check("vary: accept", "accept: x", "accept: x", true);
    check("vary: accept", "accept: x", "accept: y", false);
    check("vary: accept", "accept: x", "accept: X", false);
    check("vary: accept, origin", "accept: x | origin: o", "origin: o | accept: x", true);
    check("vary: accept, origin", "accept: x | origin: o", "accept: x | origin: p", false);
    check("vary: accept, origin", "accept: x | origin: o", "accept: x", false);
    check("vary: accept", "accept: x | other: 1", "accept: x | other: 2", true);
}

#[test]
fn without_vary_every_request_matches() {
    check("", "accept: x", "", true);
    check("vary: ", "accept: x", "accept: y", true);
    check("vary: , ,", "accept: x", "accept: y", true);
}

#[test]
fn vary_is_a_list_in_any_number_of_lines() {
    check("vary: a | vary: b", "a: 1 | b: 2", "a: 1 | b: 2", true);
    check("vary: a | vary: b", "a: 1 | b: 2", "a: 1 | b: 3", false);
    check("vary: A,b ,, B", "a: 1 | b: 2", "a: 1 | b: 3", false);
    check("vary: a, A, a", "a: 1", "a: 1", true);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
//= type=test
//# A stored response with a Vary header field value containing a member
//# "*" always fails to match.
#[test]
fn vary_star_never_matches() {
    check_never("vary: *");
    check_never("vary:  * ");
    check_never("vary: a, *");
    check_never("vary: *, a");
    check_never("vary: *,*");
    check_never("vary: ,*");
    check_never("vary: a | vary: *");
    check_never("vary: * | vary: a");
    check_never("vary: a, b,\t*\t, c");
}

#[test]
fn what_cannot_be_a_field_name_never_matches() {
    check_never("vary: \"*\"");
    check_never("vary: \"a, *\"");
    check_never("vary: a b");
    check_never("vary: a; b");
    check_never("vary: \"a, *");
    let mut response = HeaderMap::new();
    response.append(VARY, HeaderValue::from_bytes(b"accept\xff").unwrap());
    assert!(SelectingFields::of(&response, &HeaderMap::new()).is_err());
}

#[test]
fn more_fields_than_are_kept_never_match() {
    let names = |count: usize| (0..count).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(", ");
    check(&format!("vary: {}", names(16)), "", "", true);
    check_never(&format!("vary: {}", names(17)));
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
//= type=test
//# If (after any normalization that might take place) a header field is
//# absent from a request, it can only match another request if it is
//# also absent there.
#[test]
fn absent_matches_only_absent() {
    check("vary: a", "", "", true);
    check("vary: a", "", "a: 1", false);
    check("vary: a", "a: 1", "", false);
    check("vary: a", "a: ", "", false);
    check("vary: a", "", "a: ", false);
    check("vary: a", "a: ", "a: ", true);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
//= type=test
//# combining multiple header field lines with the same field name
//# (see Section 5.2 of [HTTP])
#[test]
fn lines_of_one_field_are_combined() {
    check("vary: a", "a: 1 | a: 2", "a: 1 | a: 2", true);
    check("vary: a", "a: 1 | a: 2", "a: 1, 2", true);
    check("vary: a", "a: 1, 2", "a: 1 | a: 2", true);
    check("vary: a", "a: 1 | a: 2", "a: 2 | a: 1", false);
    check("vary: a", "a: 1 | a: 2", "a: 1", false);
    check("vary: a", "a: 1", "a: 1 | a: 1", false);
    check("vary: a", "a: 1", "a: 1 | a: ", false);
}

#[test]
fn the_order_of_vary_does_not_make_another_variant() {
    let of = |vary: &str| SelectingFields::of(&fields(vary), &fields("a: 1 | b: 2")).unwrap();
    assert_eq!(of("vary: a, b"), of("vary: B | vary: A, b"));
    assert_ne!(of("vary: a"), of("vary: a, b"));
}

/// Which of the responses, each `vary / original request`, newest first, answers the presented request.
#[track_caller]
fn check_select(stored: &[&str], presented: &str, expected: Option<usize>) {
    let selecting: Vec<(usize, SelectingFields)> = stored
        .iter()
        .enumerate()
        .map(|(at, text)| {
            let (vary, original) = text.split_once('/').expect("a slash parts response and request");
            (at, SelectingFields::of(&fields(vary), &fields(original)).expect("it may be selected"))
        })
        .collect();
    let selected = select(&selecting, |(_, selecting)| selecting, &fields(presented));
    assert_eq!(selected.map(|(at, _)| *at), expected, "{stored:?}; {presented}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4
//= type=test
//# When more than one suitable response is stored, a cache MUST use the
//# most recent one (as determined by the Date header field).
//
//= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
//= type=test
//# When a cache has multiple stored responses
//# for a target URI and one or more omits the Vary header field, the
//# cache SHOULD choose the most recent (see Section 4.2.3) stored
//# response with a valid Vary field value.
#[test]
fn the_newest_that_matches_is_selected_and_one_with_vary_before_one_without() {
    check_select(&[], "", None);
    check_select(&["/"], "a: 1", Some(0));
    check_select(&["/", "/"], "a: 1", Some(0));
    check_select(&["vary: a / a: 1", "vary: a / a: 2"], "a: 2", Some(1));
    check_select(&["vary: a / a: 1", "vary: a / a: 2"], "a: 3", None);
    check_select(&["vary: a / a: 1", "vary: b / b: 1"], "a: 1 | b: 1", Some(0));
    check_select(&["vary: a / a: 2", "vary: b / b: 1"], "a: 1 | b: 1", Some(1));
    check_select(&["/", "vary: a / a: 1"], "a: 1", Some(1));
    check_select(&["/", "vary: a / a: 1"], "a: 2", Some(0));
    check_select(&["vary: a / a: 1", "/"], "a: 1", Some(0));
}
