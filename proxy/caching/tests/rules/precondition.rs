//! The client's own conditions against a stored response.

use caching::precondition::is_not_modified;

use super::fields;

#[track_caller]
fn check(request: &str, stored: &str, expected: bool) {
    assert_eq!(is_not_modified(&fields(request), &fields(stored)), expected, "{request}; {stored}");
}

#[test]
fn without_a_condition_the_whole_response_answers() {
    check("", "etag: \"1\" | last-modified: {-10}", false);
    check("if-match: \"1\" | if-unmodified-since: {0} | if-range: \"1\"", "etag: \"1\"", false);
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2
//= type=test
//# A recipient MUST use the weak comparison function when comparing
//# entity tags for If-None-Match (Section 8.8.3.2), since weak entity
//# tags can be used for cache validation even if there have been changes
//# to the representation data.
#[test]
fn tags_are_compared_weakly() {
    check("if-none-match: \"1\"", "etag: \"1\"", true);
    check("if-none-match: W/\"1\"", "etag: \"1\"", true);
    check("if-none-match: \"1\"", "etag: W/\"1\"", true);
    check("if-none-match: W/\"1\"", "etag: W/\"1\"", true);
    check("if-none-match: \"1\"", "etag: \"2\"", false);
    check("if-none-match: w/\"1\"", "etag: \"1\"", false);
    check("if-none-match: \"a\"", "etag: \"A\"", false);
    check("if-none-match: \"\"", "etag: \"\"", true);
}

#[test]
fn one_tag_of_a_list_is_enough() {
    check("if-none-match: \"0\", W/\"1\",\"2\"", "etag: \"1\"", true);
    check("if-none-match: \"0\" | if-none-match: \"1\"", "etag: \"1\"", true);
    check("if-none-match: \"0\", \"2\"", "etag: \"1\"", false);
    check("if-none-match: ,, \"1\" ,", "etag: \"1\"", true);
    check("if-none-match: \"a,b\"", "etag: \"a,b\"", true);
    check("if-none-match: \"a,b\"", "etag: \"b\"", false);
    check("if-none-match: \"x, \\\"1\\\"\"", "etag: \"1\"", false);
    // A backslash is a character of a tag as any other (RFC 9110 section 8.8.3).
    check("if-none-match: \"a\\\", \"b\"", "etag: \"b\"", true);
    check("if-none-match: \"a\\\", \"b\"", "etag: \"a\\\"", true);
    check("if-none-match: ", "etag: \"1\"", false);
    check("if-none-match: 1", "etag: \"1\"", false);
    check("if-none-match: \"1", "etag: \"1\"", false);
    // Without quotes it is no entity tag, but an origin that sends such gets it back.
    check("if-none-match: abc, x", "etag: abc", true);
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2
//= type=test
//# If the field value is "*", the condition is false if the origin
//# server has a current representation for the target resource.
#[test]
fn a_star_alone_matches_whatever_is_stored() {
    check("if-none-match: *", "etag: \"1\"", true);
    check("if-none-match:  * ", "date: {0}", true);
    check("if-none-match: \"*\"", "etag: \"1\"", false);
    check("if-none-match: *, \"2\"", "etag: \"1\"", false);
    check("if-none-match: \"2\" | if-none-match: *", "etag: \"1\"", false);
}

#[test]
fn without_a_stored_tag_no_tag_matches() {
    check("if-none-match: \"1\"", "last-modified: {-10}", false);
    check("if-none-match: \"1\" | if-modified-since: {0}", "last-modified: {-10}", false);
    check("if-none-match: ", "etag: ", false);
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3
//= type=test
//# A recipient MUST ignore If-Modified-Since if the request contains an
//# If-None-Match header field; the condition in If-None-Match is
//# considered to be a more accurate replacement for the condition in If-
//# Modified-Since, and the two are only combined for the sake of
//# interoperating with older intermediaries that might not implement
//# If-None-Match.
#[test]
fn if_modified_since_is_ignored_beside_if_none_match() {
    check("if-none-match: \"2\" | if-modified-since: {0}", "etag: \"1\" | last-modified: {-10}", false);
    check("if-none-match: \"1\" | if-modified-since: {-99}", "etag: \"1\" | last-modified: {-10}", true);
}

#[test]
fn a_date_not_before_the_last_modification_is_answered_by_304() {
    check("if-modified-since: {-10}", "last-modified: {-10}", true);
    check("if-modified-since: {-9}", "last-modified: {-10}", true);
    check("if-modified-since: {-11}", "last-modified: {-10}", false);
    check("if-modified-since: {-10}", "etag: \"1\" | last-modified: {-10}", true);
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3
//= type=test
//# A recipient MUST ignore the If-Modified-Since header field if the
//# received field value is not a valid HTTP-date, the field value has
//# more than one member, or if the request method is neither GET nor
//# HEAD.
#[test]
fn a_date_that_is_none_or_two_is_ignored() {
    check("if-modified-since: yesterday", "last-modified: {-10}", false);
    check("if-modified-since: ", "last-modified: {-10}", false);
    check("if-modified-since: {0} | if-modified-since: {0}", "last-modified: {-10}", false);
    check("if-modified-since: {0}, {0}", "last-modified: {-10}", false);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.2
//= type=test
//# If a request contains an If-Modified-Since header field and the Last-
//# Modified header field is not present in a stored response, a cache
//# SHOULD use the stored response's Date field value (or, if no Date
//# field is present, the time that the stored response was received) to
//# evaluate the conditional.
#[test]
fn without_last_modified_the_date_of_the_response_counts() {
    check("if-modified-since: {-10}", "date: {-10}", true);
    check("if-modified-since: {-11}", "date: {-10}", false);
    check("if-modified-since: {0}", "etag: \"1\"", false);
    check("if-modified-since: {-5}", "last-modified: {0} | date: {-10}", false);
    check("if-modified-since: {-5}", "last-modified: junk | date: {-10}", false);
}
