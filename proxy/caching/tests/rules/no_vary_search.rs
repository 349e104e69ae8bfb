//! Which queries are taken for each other.

use caching::no_vary_search::{MAX_PARAMS, NoVarySearch};

use super::fields;

fn rule(written: &str) -> Option<NoVarySearch> {
    NoVarySearch::of(&fields(&format!("no-vary-search: {written}")))
}

fn encoded(rule: &NoVarySearch) -> Vec<u8> {
    let mut buffer = Vec::new();
    rule.append_rule(&mut buffer);
    buffer
}

/// A query as a case writes it: `-` is none at all.
fn canonical(rule: &NoVarySearch, query: &str) -> Vec<u8> {
    let mut buffer = Vec::new();
    rule.append_canonical(Some(query).filter(|query| *query != "-"), &mut buffer);
    buffer
}

#[track_caller]
fn check(written: &str, one: &str, other: &str, are_equivalent: bool) {
    let rule = rule(written).expect("a rule");
    assert_eq!(canonical(&rule, one) == canonical(&rule, other), are_equivalent, "{written}; {one}; {other}");
}

#[track_caller]
fn check_same(one: &str, other: &str) {
    assert!(rule(one).is_some(), "{one}");
    assert_eq!(rule(one), rule(other), "{one}; {other}");
}

//= https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-no-vary-search#section-5.1
//= type=test
//# If any item in paramsList is not a string, then return the
//# default URL variation config.
#[test]
fn what_cannot_be_read_or_says_nothing_is_no_rule() {
    assert_eq!(NoVarySearch::of(&fields("")), None);
    // The table of section 5.2.
    for written in [
        "key-order=\"not a boolean\"",
        "params=\"not an inner list\"",
        "params=(not-a-string)",
        "params=?0",
        "params=(\"a\"), except=(\"x\")",
        "params=(), except=()",
        "params=?0, except=(\"x\")",
        "params=?1, except=(not-a-string)",
        "params=?1, except=?1",
        "except=\"not an inner list\"",
        "except=(not-a-string)",
        "except=(\"a\" 1)",
        "except=?1",
        "key-order=()",
        "key-order=1",
    ] {
        assert_eq!(rule(written), None, "{written}");
    }
    for written in [
        "params=()",
        "key-order=?0",
        "unknown-key",
        "unknown=(\"a\"), params=()",
        "",
        "key-order=?0, params=()",
    ] {
        assert_eq!(rule(written), None, "{written}");
    }
    for written in ["params=(\"a\"", "key-order, &", "Key-Order", "key-order,", "params=(\"ä\")"] {
        assert_eq!(rule(written), None, "{written}");
    }
}

#[test]
fn one_rule_can_be_written_in_several_ways() {
    check_same("key-order", "key-order=?1");
    check_same("key-order, except=(\"x\")", "except=(\"x\");p=1, key-order;q");
    check_same("params=(\"a\" \"b\")", "params=(\"b\" \"a\" \"b\";x), unknown=1");
    check_same("params=(\"a b\")", "params=(\"a+b\" \"a%20b\" \"%61 b\")");
    check_same("params=(\"a\"), params=(\"b\")", "params=(\"b\")");
    // Of older drafts.
    check_same("except=(\"x\")", "params, except=(\"x\")");
    check_same("except=()", "params");
    check_same("params, except=()", "params=?1");
    let lines = NoVarySearch::of(&fields("no-vary-search: key-order | no-vary-search: params=(\"a\")"));
    assert_eq!(lines, rule("key-order, params=(\"a\")"));
}

#[test]
fn more_names_than_are_kept_are_no_rule() {
    let with = |count: usize| {
        let names: Vec<String> = (0..count).map(|at| format!("\"{at}\"")).collect();
        rule(&format!("params=({})", names.join(" ")))
    };
    assert!(with(MAX_PARAMS).is_some());
    assert_eq!(with(MAX_PARAMS + 1), None);
}

#[test]
fn different_rules_are_encoded_differently() {
    let rules = [
        "key-order",
        "params=(\"a\")",
        "params=(\"a\"), key-order",
        "params=(\"a\" \"b\")",
        "params=(\"ab\")",
        "params=(\"a b\")",
        "except=(\"a\")",
        "except=(\"a\"), key-order",
        "except=()",
        "except=(\"\")",
        "params=(\"\")",
    ]
    .map(|written| rule(written).expect(written));
    for (at, one) in rules.iter().enumerate() {
        for (other_at, other) in rules.iter().enumerate() {
            assert_eq!(encoded(one) == encoded(other), at == other_at, "{one:?}; {other:?}");
        }
    }
}

//= https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-no-vary-search#section-6
//= type=test
//# If urlA's query is not null, then set searchParamsA to the
//# result of running the application/x-www-form-urlencoded parser
#[test]
fn queries_that_are_parsed_to_the_same_are_equivalent() {
    // The table of section 6.1.
    for (one, other) in [
        ("-", ""),
        ("a=x", "%61=%78"),
        ("a=é", "a=%C3%A9"),
        ("a=%f6", "a=%ef%bf%bd"),
        ("a=x&&&&", "a=x"),
        ("a=", "a"),
        ("a=%20", "a= &"),
        ("a=+", "a= &"),
    ] {
        for written in ["key-order", "params=(\"z\")", "except=(\"a\" \"b\")"] {
            check(written, one, other, true);
        }
    }
    // No Unicode normalization is performed.
    check("key-order", "a=%C3%A9", "a=e%CC%81", false);
    check("key-order", "a=b=c", "a=b%3Dc", true);
    check("key-order", "a=b&c", "a=b%26c", false);
    check("key-order", "A=b", "a=b", false);
    check("key-order", "a=1", "a=2", false);
    check("key-order", "ab=c", "a=bc", false);
    check("key-order", "a=1", "a=1&a=1", false);
    check("key-order", "a=%", "a=%25", true);
}

//= https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-no-vary-search#section-6
//= type=test
//# Set searchParamsA to the result of sorting searchParamsA
//# in ascending order with keyLessThan.
#[test]
fn without_key_order_only_the_order_of_one_names_values_matters() {
    check("key-order", "a=1&b=2", "b=2&a=1", true);
    check("key-order", "a=1&b=2&a=3", "b=2&a=1&a=3", true);
    check("key-order", "a=1&a=2", "a=2&a=1", false);
    check("params=(\"z\")", "a=1&b=2", "b=2&a=1", false);
    check("params=(\"z\"), key-order", "a=1&z=0&b=2", "b=2&a=1", true);
}

#[test]
fn parameters_that_do_not_matter_are_left_out() {
    check("params=(\"utm_source\" \"utm_medium\")", "id=1&utm_source=x", "utm_medium=y&id=1", true);
    check("params=(\"utm_source\")", "id=1&utm_source=x", "id=2", false);
    check("params=(\"utm_source\")", "utm_source", "-", true);
    check("params=(\"a\")", "%61=1&b=2", "b=2", true);
    check("params=(\"a\")", "A=1", "", false);
    check("except=(\"id\")", "id=1&x=2&y=3", "z=9&id=1", true);
    check("except=(\"id\")", "id=1&x=2", "id=2&x=2", false);
    check("except=(\"id\" \"v\")", "id=1&x=2&v=3", "v=3&id=1", false);
    check("except=()", "id=1&x=2", "-", true);
    // A parameter without a name has the empty one.
    check("params=(\"\")", "=1&a=2", "a=2", true);
    check("params=(\"\")", "=1", "a=1", false);
}

#[test]
fn a_name_is_decoded_as_the_names_of_a_query_are() {
    for query in ["é 気=1", "é+気=2", "%C3%A9%20気=3", "%C3%A9+%E6%B0%97=4"] {
        check("params=(\"%C3%A9+%E6%B0%97\")", query, "-", true);
    }
    check("params=(\"a&b\")", "a%26b=1", "-", true);
    check("params=(\"a=b\")", "a%3Db=1", "-", true);
    check("params=(\"a=b\")", "a=b", "-", false);
    check("params=(\"a%2Bb\")", "a%2bb=1", "-", true);
    check("params=(\"a%2Bb\")", "a+b=1", "-", false);
    check("params=(\"%ff\")", "%fe=1", "-", true);
    check("params=(\"%EF%BB%BFa\")", "a=1", "-", false);
}
