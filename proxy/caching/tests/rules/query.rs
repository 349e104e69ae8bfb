//! Which parameters of a query are keyed.

use caching::query::{Keep, MalformedPattern, ParameterPattern, QueryRules, TRACKING, normalised, selected};

/// Rules as a case writes them: `sort a b_*`.
pub(super) fn rules(text: &str) -> QueryRules {
    let drop = text.split_whitespace().filter(|word| *word != "sort");
    QueryRules {
        sort: text.split_whitespace().any(|word| word == "sort"),
        drop: drop.map(|word| word.parse().expect("a case has good patterns")).collect(),
    }
}

#[track_caller]
fn check(text: &str, query: &str, expected: &str) {
    let found = normalised(query, &rules(text));
    assert_eq!(found.as_deref(), (query != expected).then_some(expected), "{text}; {query}");
}

#[test]
fn without_rules_nothing_changes() {
    for query in ["", "a=1", "b=1&a=2", "&&", "utm_source=x", "a;b", "%"] {
        check("", query, query);
    }
}

#[test]
fn what_is_named_is_dropped_and_the_rest_stays_as_it_is_written() {
    check("b", "a=1&b=2&c=3", "a=1&c=3");
    check("b", "b=2", "");
    check("b", "b", "");
    check("b", "b=2&b=3", "");
    check("b", "b=2&a=%7e+&b&c", "a=%7e+&c");
    check("b", "bb=1&B=2&a=b", "bb=1&B=2&a=b");
    check("b", "a=1&&b=2&c", "a=1&&c");
    check("b", "a=1&b=2=3", "a=1");
    check("utm_*", "utm_source=x&utm_=y&utm=z&a", "utm=z&a");
    check("utm_* gclid", "gclid=1&a=1&utm_medium=2", "a=1");
}

#[test]
fn no_spelling_hides_a_name() {
    check("utm_*", "%75tm_source=x&a=1", "a=1");
    check("utm_*", "%75%74%6D%5f%73=x&a=1", "a=1");
    check("b", "%62=1", "");
    check("b", "b%3D=1", "b%3D=1");
    check("b", "%2562=1", "%2562=1");
    check("b", "%6=1&%=2&%zz=3&%b=4&b%=5", "%6=1&%=2&%zz=3&%b=4&b%=5");
}

/// Some servers take a semicolon for a separator. If `utm_x=1;callback=evil` were dropped, what such a server makes of
/// it would be stored for the query without it.
#[test]
fn nothing_is_dropped_that_could_hold_a_second_parameter() {
    check("utm_*", "utm_x=1;callback=evil&a=1", "utm_x=1;callback=evil&a=1");
    check("utm_*", "a=1;utm_x=2", "a=1;utm_x=2");
    check("utm_*", "utm_x;a=1", "utm_x;a=1");
    check("utm_*", "utm_x=1%3Ba=2", "");
}

#[test]
fn parameters_are_sorted_by_name_and_those_of_one_name_keep_their_order() {
    check("sort", "b=1&a=2", "a=2&b=1");
    check("sort", "b=2&a=3&b=1&a=4", "a=3&a=4&b=2&b=1");
    check("sort", "a=1&b=2", "a=1&b=2");
    check("sort", "a=2&a=1", "a=2&a=1");
    check("sort", "b&a=1", "a=1&b");
    check("sort", "ab=1&a=2", "a=2&ab=1");
    check("sort", "b=1&%61=2", "%61=2&b=1");
    check("sort", "%62=1&b=2&a", "a&%62=1&b=2");
    check("sort", "a%20b=1&a+b=2", "a%20b=1&a+b=2");
    check("sort", "a+b=1&a%20b=2", "a+b=1&a%20b=2");
    check("sort", "a%2Bb=1&a+b=2", "a+b=2&a%2Bb=1");
    check("sort", "&b=1&&a=2&", "a=2&b=1");
    check("sort", "&", "");
    check("sort", "a&&b", "a&b");
    check("sort", "=1&=0", "=1&=0");
    check("sort b", "c=1&b=2&a=3", "a=3&c=1");
    check("sort b", "a=1&b=2&c=3", "a=1&c=3");
}

#[test]
fn a_pattern_is_a_name_or_how_names_begin() {
    let refused = |text: &str| text.parse::<ParameterPattern>().expect_err("a case has a bad pattern");
    assert_eq!(refused(""), MalformedPattern::Empty);
    assert_eq!(refused("*"), MalformedPattern::Empty);
    assert_eq!(refused("a*b"), MalformedPattern::StarInside);
    assert_eq!(refused("**"), MalformedPattern::StarInside);
    for text in ["a b", "a=b", "a&b", "%61", "a+b", "a;b", "a#", "é", "a\n"] {
        assert!(matches!(refused(text), MalformedPattern::NotOfAName(_)), "{text}");
    }
    assert_eq!(refused("a\tb").to_string(), "`\\t` cannot be part of a name");
}

#[test]
fn the_list_of_tracking_parameters_is_usable() {
    let rules = rules(&TRACKING.join(" "));
    assert_eq!(rules.drop.len(), TRACKING.len());
    let query = "id=7&utm_source=n&gclid=x&fbclid=y&mc_eid=z&page=2&_gl=1&msclkid=2";
    assert_eq!(normalised(query, &rules).as_deref(), Some("id=7&page=2"));
}

/// `names` stand between blanks.
#[track_caller]
fn check_selected(keep: Keep, names: &str, query: &str, expected: &str) {
    let names: Vec<&str> = names.split_whitespace().collect();
    let found = selected(query, keep, &names);
    assert_eq!(found.as_deref(), (query != expected).then_some(expected), "{keep:?} {names:?}; {query}");
}

#[test]
fn what_is_named_stays_or_all_others_do() {
    check_selected(Keep::Named, "a c", "c=1&b=2&a=3&a", "c=1&a=3&a");
    check_selected(Keep::Named, "a", "a=1", "a=1");
    check_selected(Keep::Named, "a", "b=1&c", "");
    check_selected(Keep::Named, "", "b=1&c", "");
    check_selected(Keep::Named, "u*", "utm=1&u&v=2", "utm=1&u");
    check_selected(Keep::Named, "*", "a=1&b&", "a=1&b&");
    check_selected(Keep::Named, "a", "", "");
    check_selected(Keep::Others, "a utm_*", "a=1&b=2&utm_x=3&utm=4", "b=2&utm=4");
    check_selected(Keep::Others, "", "a=1&&b", "a=1&&b");
    check_selected(Keep::Others, "*", "a=1&b", "");
}

#[test]
fn no_spelling_hides_a_parameter_from_what_is_selected() {
    check_selected(Keep::Others, "ab", "%61b=1&a%62=2&c=3", "c=3");
    check_selected(Keep::Others, "%61b", "ab=1&c", "c");
    check_selected(Keep::Others, "a%5B%5D", "a[]=1&a%5b%5d=2", "");
    check_selected(Keep::Named, "ab", "%61b=1&abc=2", "%61b=1");
    // A part that could hold two is not left out by the name of its first.
    check_selected(Keep::Others, "a", "a=1;b=2&a=3", "a=1;b=2");
    check_selected(Keep::Named, "a", "a=1;b=2&b=3", "a=1;b=2");
}
