//! The tags that an upstream gives its responses.

use caching::tags::{MAX_TAG_BYTES, MAX_TAGS, is_tag, upstream_tags};

use super::fields;

#[track_caller]
fn check(response: &str, expected: Result<&[&str], ()>) {
    let fields = fields(response);
    let mut tags = Vec::new();
    let read = upstream_tags(&fields, |tag| tags.push(std::str::from_utf8(tag).expect("cases are text")));
    match expected {
        Ok(expected) => assert_eq!((read, tags.as_slice()), (Ok(()), expected), "{response}"),
        Err(()) => assert!(read.is_err(), "{response}: {tags:?}"),
    }
}

#[test]
fn one_field_is_split_at_commas_and_the_other_at_blanks() {
    check("", Ok(&[]));
    check("cache-tag: user:1", Ok(&["user:1"]));
    check("cache-tag: a, b,,c ,", Ok(&["a", "b", "c"]));
    check("cache-tag: a | cache-tag: b", Ok(&["a", "b"]));
    check("surrogate-key: a b  c", Ok(&["a", "b", "c"]));
    check("surrogate-key: a\tb", Ok(&["a", "b"]));
    check("cache-tag: a | surrogate-key: b", Ok(&["a", "b"]));
}

#[test]
fn a_tag_that_could_not_be_purged_refuses_all() {
    check("cache-tag: a b", Err(()));
    check("surrogate-key: a,b", Err(()));
    check(&format!("cache-tag: {}", "x".repeat(MAX_TAG_BYTES)), Ok(&[&"x".repeat(MAX_TAG_BYTES)]));
    check(&format!("cache-tag: {}", "x".repeat(MAX_TAG_BYTES + 1)), Err(()));
}

#[test]
fn more_tags_than_are_kept_refuse_all() {
    let many = |count: usize| format!("surrogate-key: {}", vec!["x"; count].join(" "));
    check(&many(MAX_TAGS), Ok(&vec!["x"; MAX_TAGS]));
    check(&many(MAX_TAGS + 1), Err(()));
    // Both fields together.
    check(&format!("{} | cache-tag: y", many(MAX_TAGS)), Err(()));
}

#[test]
fn a_tag_is_visible_ascii_without_commas() {
    for tag in ["user:1", "a", "~!@#$%^&*()", "table:column=value"] {
        assert!(is_tag(tag.as_bytes()), "{tag}");
    }
    for tag in ["", " ", "a b", "a,b", "a\n", "ä", "\u{7f}"] {
        assert!(!is_tag(tag.as_bytes()), "{tag:?}");
    }
}
