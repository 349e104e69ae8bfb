//! Groups that a response is in, and groups that it invalidates.

use caching::groups::{MAX_GROUP_BYTES, MAX_GROUPS, TooManyGroups, groups, invalidated_groups};

use super::fields;

#[track_caller]
fn check(written: &str, expected: &[&str]) {
    let mut of_response = Vec::new();
    let response = fields(&format!("cache-groups: {written}"));
    assert_eq!(groups(&response, |group| of_response.push(group.to_owned())), Ok(()), "{written}");
    assert_eq!(of_response, expected, "{written}");
    let mut invalidated = Vec::new();
    let response = fields(&format!("cache-group-invalidation: {written}"));
    assert_eq!(invalidated_groups(&response, false, |group| invalidated.push(group.to_owned())), Ok(()));
    assert_eq!(invalidated, expected, "{written}");
}

//= https://www.rfc-editor.org/rfc/rfc9875#section-2
//= type=test
//# The Cache-Groups response header field is a List of Strings
#[test]
fn groups_are_a_list_of_strings() {
    check("\"scripts\"", &["scripts"]);
    check("\"eurovision-results\", \"australia\"", &["eurovision-results", "australia"]);
    check("\"a\",\"b\"  ,\t\"c\"", &["a", "b", "c"]);
    check("\"a, b\", \"\\\"c\\\\\"", &["a, b", "\"c\\"]);
    check("\"\"", &[""]);
    check("\"A\", \"a\", \"a\"", &["A", "a", "a"]);
    check("", &[]);
}

#[test]
fn parameters_of_a_group_say_nothing() {
    check("\"a\";x;y=\"b\", \"c\";q=1", &["a", "c"]);
}

#[test]
fn lines_of_one_field_are_one_list() {
    let response = fields("cache-groups: \"a\" | cache-groups: \"b\"");
    let mut of_response = Vec::new();
    assert_eq!(groups(&response, |group| of_response.push(group.to_owned())), Ok(()));
    assert_eq!(of_response, ["a", "b"]);
}

#[test]
fn a_field_that_is_no_list_of_strings_is_ignored_whole() {
    for written in [
        "a",
        "\"a\", b",
        "1",
        "\"a\",",
        ",\"a\"",
        "\"a\" \"b\"",
        "\"a",
        "(\"a\")",
        "?1",
        ":YQ==:",
        "\"ä\"",
        "'a'",
        "\"a\", %\"b\"",
        "\"a\", &",
    ] {
        check(written, &[]);
    }
}

//= https://www.rfc-editor.org/rfc/rfc9875#section-3
//= type=test
//# The Cache-Group-Invalidation header field MUST be ignored on
//# responses to requests that have a safe method (e.g., GET; see
//# Section 9.2.1 of [HTTP]).
#[test]
fn a_response_to_a_safe_request_invalidates_no_group() {
    let response = fields("cache-group-invalidation: \"a\"");
    assert_eq!(invalidated_groups(&response, true, |group| panic!("{group}")), Ok(()));
}

#[test]
fn the_two_fields_are_not_taken_for_each_other() {
    assert_eq!(groups(&fields("cache-group-invalidation: \"a\""), |group| panic!("{group}")), Ok(()));
    assert_eq!(invalidated_groups(&fields("cache-groups: \"a\""), false, |group| panic!("{group}")), Ok(()));
}

fn named(field: &str, count: usize, length: usize) -> http::HeaderMap {
    let groups: Vec<String> = (0..count).map(|at| format!("\"{at:0length$}\"")).collect();
    fields(&format!("{field}: {}", groups.join(", ")))
}

//= https://www.rfc-editor.org/rfc/rfc9875#section-2
//= type=test
//# Implementations MUST support at least 32 groups in a field value,
//# with up to at least 32 characters in each member.
#[test]
fn a_response_in_more_groups_than_are_kept_is_refused() {
    let count = |fields| {
        let mut count = 0;
        groups(&fields, |_| count += 1).map(|()| count)
    };
    assert_eq!(count(named("cache-groups", 32, 32)), Ok(32));
    assert_eq!(count(named("cache-groups", MAX_GROUPS, MAX_GROUP_BYTES)), Ok(MAX_GROUPS));
    assert_eq!(count(named("cache-groups", MAX_GROUPS + 1, 3)), Err(TooManyGroups));
    assert_eq!(count(named("cache-groups", 1, MAX_GROUP_BYTES + 1)), Err(TooManyGroups));
}

#[test]
fn of_too_many_invalidations_the_first_are_made() {
    let made = |fields| {
        let mut count = 0;
        (invalidated_groups(&fields, false, |_| count += 1), count)
    };
    assert_eq!(made(named("cache-group-invalidation", MAX_GROUPS, 3)), (Ok(()), MAX_GROUPS));
    assert_eq!(made(named("cache-group-invalidation", MAX_GROUPS + 1, 3)), (Err(TooManyGroups), MAX_GROUPS));
    // No stored response can be in it.
    assert_eq!(made(named("cache-group-invalidation", MAX_GROUPS + 1, MAX_GROUP_BYTES + 1)), (Ok(()), 0));
}
