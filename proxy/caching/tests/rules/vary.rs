//! Which stored response answers which request.

use caching::vary::{NeverMatches, SelectingFields, VaryMode, VaryRules, select};
use http::{HeaderMap, HeaderName, HeaderValue, header::VARY};

use super::fields;

/// Rules as a case writes them: `accept: normalize, user-agent: bypass`.
fn rules(text: &str) -> VaryRules {
    VaryRules::of(text.split(',').filter(|rule| !rule.trim().is_empty()).map(|rule| {
        let (name, mode) = rule.split_once(':').expect("a rule is a field and a mode");
        let name: HeaderName = name.trim().parse().expect("a rule names a field");
        let mode = match mode.trim() {
            "exact" => VaryMode::Exact,
            "normalize" => VaryMode::Normalize,
            "negotiate" => VaryMode::Negotiate,
            "bypass" => VaryMode::Bypass,
            other => panic!("no mode is called {other}"),
        };
        (name, mode)
    }))
}

/// What a request with `presented` fields makes of a response with `response` fields, stored for `original`.
#[track_caller]
fn check(response: &str, original: &str, presented: &str, expected: bool) {
    check_under("", response, original, presented, expected);
}

#[track_caller]
fn check_under(modes: &str, response: &str, original: &str, presented: &str, expected: bool) {
    let rules = rules(modes);
    let selecting =
        SelectingFields::of(&fields(response), &fields(original), &rules).expect("it may be selected");
    assert_eq!(
        selecting.matches(&fields(presented), &rules),
        expected,
        "{response}; {original}; {presented}"
    );
    // Followers of one fetch are told apart by the values, so those are equal if and only if it would match.
    let values = |request: &str| {
        let mut buffer = Vec::new();
        selecting.append_values(&fields(request), &rules, &mut buffer);
        buffer
    };
    assert_eq!(values(original) == values(presented), expected, "{response}; {original}; {presented}");
}

#[track_caller]
fn check_never(response: &str, expected: NeverMatches) {
    let found = SelectingFields::of(&fields(response), &fields("a: 1"), &rules("user-agent: bypass"));
    assert_eq!(found, Err(expected), "{response}");
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
    check_never("vary: *", NeverMatches::Star);
    check_never("vary:  * ", NeverMatches::Star);
    check_never("vary: a, *", NeverMatches::Star);
    check_never("vary: *, a", NeverMatches::Star);
    check_never("vary: *,*", NeverMatches::Star);
    check_never("vary: ,*", NeverMatches::Star);
    check_never("vary: a | vary: *", NeverMatches::Star);
    check_never("vary: * | vary: a", NeverMatches::Star);
    check_never("vary: a, b,\t*\t, c", NeverMatches::Star);
}

#[test]
fn what_cannot_be_a_field_name_never_matches() {
    check_never("vary: \"*\"", NeverMatches::Malformed);
    check_never("vary: \"a, *\"", NeverMatches::Malformed);
    check_never("vary: a b", NeverMatches::Malformed);
    check_never("vary: a; b", NeverMatches::Malformed);
    check_never("vary: \"a, *", NeverMatches::Malformed);
    let mut response = HeaderMap::new();
    response.append(VARY, HeaderValue::from_bytes(b"accept\xff").unwrap());
    assert_eq!(SelectingFields::of(&response, &HeaderMap::new(), &rules("")), Err(NeverMatches::Malformed));
}

#[test]
fn more_fields_than_are_kept_never_match() {
    let names = |count: usize| (0..count).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(", ");
    check(&format!("vary: {}", names(16)), "", "", true);
    check_never(&format!("vary: {}", names(17)), NeverMatches::TooMany);
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
    let of = |vary: &str| SelectingFields::of(&fields(vary), &fields("a: 1 | b: 2"), &rules("")).unwrap();
    assert_eq!(of("vary: a, b"), of("vary: B | vary: A, b"));
    assert_ne!(of("vary: a"), of("vary: a, b"));
}

#[test]
fn a_response_that_varies_on_a_bypass_field_is_not_stored() {
    check_never("vary: user-agent", NeverMatches::Bypass);
    check_never("vary: accept, User-Agent", NeverMatches::Bypass);
    // Stored before the configuration said so: not served any more.
    let before = SelectingFields::of(&fields("vary: a"), &fields("a: 1"), &rules("")).unwrap();
    assert!(before.matches(&fields("a: 1"), &rules("")));
    assert!(!before.matches(&fields("a: 1"), &rules("a: bypass")));
    assert!(!before.matches(&fields(""), &rules("a: bypass")));
}

#[test]
fn every_reason_has_its_own_name() {
    use NeverMatches::{Bypass, Malformed, Star, TooMany};
    let names = [Star, Malformed, TooMany, Bypass].map(NeverMatches::as_str);
    assert_eq!(names, ["vary-star", "vary-malformed", "vary-too-many", "vary-bypass"]);
}

/// What two values of a field are to a response that varies on it.
#[track_caller]
fn check_values(modes: &str, field: &str, a: &str, b: &str, expected: bool) {
    let (vary, a, b) = (format!("vary: {field}"), format!("{field}: {a}"), format!("{field}: {b}"));
    check_under(modes, &vary, &a, &b, expected);
    check_under(modes, &vary, &b, &a, expected);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
//= type=test
//# normalizing both header field values in a way that is known to
//# have identical semantics, according to the header field's
//# specification (e.g., reordering field values when order is not
//# significant; case-normalization, where values are defined to be
//# case-insensitive)
#[test]
fn encodings_are_compared_by_their_meaning() {
    let same = |a, b| check_values("", "accept-encoding", a, b, true);
    same("gzip, br", "gzip,br");
    same("gzip, br", "br ,\tgzip");
    same("gzip, br", "GZIP, Br");
    same("gzip, br", ", gzip,, br,");
    same("gzip, br", "gzip, br, gzip");
    same("gzip;q=1, br", "gzip, br;q=1.000");
    same("gzip;q=0.5", "gzip ; Q=0.50");
    same("gzip;q=0.5", "gzip;q=0.500");
    same("gzip;q=0", "gzip;q=0.000");
    same("gzip;q=0", "gzip;q=0.");
    same("x-gzip, x-compress", "compress, gzip");
    same("gzip, x-gzip", "gzip");
    same("*;q=0.1, identity", "identity, *;q=0.1");
    same("", ",");
    same("", " , , ");
    let differ = |a, b| check_values("", "accept-encoding", a, b, false);
    differ("gzip", "br");
    differ("gzip", "gzip, br");
    differ("gzip", "gzip;q=0.5");
    differ("gzip;q=0", "gzip;q=0.001");
    differ("gzip", "");
    differ("gzip", "*");
    differ("identity", "");
    // Which of two weights counts is not said anywhere.
    differ("gzip, gzip;q=0.5", "gzip;q=0.5, gzip");
    differ("gzip;q=0.5, x-gzip", "x-gzip, gzip;q=0.5");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-12.5.4
//= type=test
//# Note that some recipients treat the order in which language tags are
//# listed as an indication of descending priority, particularly for tags
//# that are assigned equal quality values (no value is the same as q=1).
//# However, this behavior cannot be relied upon.
#[test]
fn languages_are_compared_by_their_meaning() {
    let same = |a, b| check_values("", "accept-language", a, b, true);
    same("da, en-gb;q=0.8, en;q=0.7", "en;q=0.7,en-GB;q=0.8,DA");
    same("da, en;q=0.7", "da;q=1.0, en; q=0.70");
    same("da, en, da", "da,en");
    let differ = |a, b| check_values("", "accept-language", a, b, false);
    same("da, en", "en, da");
    differ("da, en;q=0.7", "da, en;q=0.8");
    differ("da, en;q=0.7", "en, da;q=0.7");
    differ("en", "en-gb");
}

#[test]
fn a_value_that_does_not_parse_is_compared_as_it_is() {
    for value in [
        "gzip;q=1.001",
        "gzip;q=2",
        "gzip;q=",
        "gzip;q",
        "gzip;q=0.1234",
        "gzip;q=.5",
        "gzip;q =1",
        "gzip;level=1",
        "gzip;q=1;x=y",
        "gzip;",
        ";q=1",
        "g zip",
        "\"gzip\"",
        "gzip/br",
        "gzip;q=-1",
        "gzip;q=0.x",
    ] {
        check_values("", "accept-encoding", value, value, true);
        check_values("", "accept-encoding", value, "gzip", false);
        check_values("", "accept-encoding", value, &format!("{value} ,"), false);
    }
    check_values("", "accept-encoding", "gzip, b r", "b r, gzip", false);
}

#[test]
fn a_long_value_is_compared_as_it_is() {
    let list = |count: usize| (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>();
    let reversed = |mut list: Vec<String>| {
        list.reverse();
        list.join(",")
    };
    for (count, expected) in [(2, true), (32, true), (33, false)] {
        let (a, b) = (list(count).join(","), reversed(list(count)));
        check_values("", "accept-encoding", &a, &b, expected);
        check_values("", "accept-encoding", &a, &a, true);
    }
    for (length, expected) in [(505, true), (506, false)] {
        let long = "x".repeat(length);
        check_values("", "accept-encoding", &format!("{long}, gzip"), &format!("gzip, {long}"), expected);
    }
    check_values(
        "a: normalize",
        "a",
        &format!("{},b", "x".repeat(600)),
        &format!("{}, b", "x".repeat(600)),
        false,
    );
}

#[test]
fn of_a_field_that_is_not_known_only_blanks_are_normalized() {
    check_values("accept: normalize", "accept", "a/b, c/d", "a/b ,, c/d,", true);
    check_values("accept: normalize", "accept", "a/b, c/d", "c/d, a/b", false);
    check_values("accept: normalize", "accept", "a/b", "A/b", false);
    check_values("accept: normalize", "accept", "a/b;q=1", "a/b", false);
    check_values("accept: normalize", "accept", "a;b=\"x, y\"", "a;b=\"x,y\"", false);
    check_values("accept: negotiate", "accept", "a/b, c/d", "a/b,c/d", true);
    check_values("", "accept", "a/b, c/d", "a/b,c/d", false);
    check_under("a: normalize", "vary: a", "a: 1 | a: 2", "a: 1,2", true);
    check_under("a: normalize", "vary: a", "a: ", "", false);
    check_under(
        "",
        "vary: accept-encoding",
        "accept-encoding: gzip | accept-encoding: br",
        "accept-encoding: br,gzip",
        true,
    );
}

#[test]
fn a_default_can_be_configured_away() {
    check_values("accept-encoding: exact", "accept-encoding", "gzip, br", "br, gzip", false);
    check_values("accept-encoding: exact", "accept-encoding", "gzip, br", "gzip, br", true);
    check_values(
        "accept-encoding: exact, accept-encoding: normalize",
        "accept-encoding",
        "a, b",
        "b, a",
        true,
    );
    assert_eq!(rules("a: bypass").mode(&HeaderName::from_static("accept-language")), VaryMode::Normalize);
    assert_eq!(rules("a: bypass").mode(&HeaderName::from_static("b")), VaryMode::Exact);
}

/// Which of the responses, each `response / original request`, newest first, answers the presented request.
#[track_caller]
fn check_select(stored: &[&str], presented: &str, expected: Option<usize>) {
    check_select_under("", stored, presented, expected);
}

#[track_caller]
fn check_select_under(modes: &str, stored: &[&str], presented: &str, expected: Option<usize>) {
    let rules = rules(modes);
    let variants: Vec<(usize, SelectingFields, HeaderMap)> = stored
        .iter()
        .enumerate()
        .map(|(at, text)| {
            let (response, original) = text.split_once('/').expect("a slash parts response and request");
            let response = fields(response);
            let selecting = SelectingFields::of(&response, &fields(original), &rules);
            (at, selecting.expect("it may be selected"), response)
        })
        .collect();
    let presented_fields = fields(presented);
    let selected = select(&variants, |(_, s, _)| s, |(_, _, content)| content, &presented_fields, &rules);
    assert_eq!(selected.map(|(at, _, _)| *at), expected, "{stored:?}; {presented}");
}

const LANGUAGES: &[&str] = &[
    "vary: accept-language | content-language: de / accept-language: de-DE,de;q=0.9",
    "vary: accept-language | content-language: en-GB / accept-language: en-GB,en;q=0.9",
    "vary: accept-language | content-language: de / accept-language: de",
    "vary: accept-language / accept-language: fr",
    "vary: accept-language | content-language: da, fi / accept-language: da",
];

//= https://www.rfc-editor.org/rfc/rfc4647#section-3.3.1
//= type=test
//# A language range matches a
//# particular language tag if, in a case-insensitive comparison, it
//# exactly equals the tag, or if it exactly equals a prefix of the tag
//# such that the first character following the prefix is "-".
#[test]
fn a_language_is_negotiated_only_where_it_is_configured() {
    let check = |languages: &str, expected| {
        let presented = format!("accept-language: {languages}");
        check_select_under("accept-language: negotiate", LANGUAGES, &presented, expected);
    };
    check("de", Some(2)); // The one that was stored for just this.
    check("de, fr;q=0.5", Some(0)); // Of equals the newest.
    check("DE, en;q=0.9", Some(0));
    check("en, de;q=0.9", Some(1));
    check("en;q=0.5, de;q=0.4", Some(1));
    check("en-gb", Some(1));
    check("en-us", None);
    check("en-g", None);
    check("e", None);
    check("fr", Some(3));
    check("it, de;q=0.9", None); // Italian may exist.
    check("de;q=0", None);
    check("en, en-gb;q=0", None);
    check("en, en-gb;q=0.5", None);
    check("*", None);
    check("*, de;q=0.5", None);
    check("de, *", Some(0));
    check("fi", None); // For both, Danes and Finns, is not for Finns.
    check("d e", None);
    check("", None);
    check_select_under("accept-language: negotiate", LANGUAGES, "", None);
    check_select(LANGUAGES, "accept-language: de, fr;q=0.5", None);
    check_select(LANGUAGES, "accept-language: de", Some(2));
}

const ENCODINGS: &[&str] = &[
    "vary: accept-encoding | content-encoding: br / accept-encoding: gzip, br",
    "vary: accept-encoding | content-encoding: x-gzip / accept-encoding: gzip",
    "vary: accept-encoding / accept-encoding: ",
    "vary: accept-encoding | content-encoding: zstd, br / accept-encoding: zstd, br",
];

//= https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
//= type=test
//# If the representation has no content coding, then it is
//# acceptable by default unless specifically excluded by the Accept-
//# Encoding header field stating either "identity;q=0" or "*;q=0"
//# without a more specific entry for "identity".
//
//= https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
//= type=test
//# The asterisk "*" symbol in an Accept-Encoding field
//# matches any available content coding not explicitly listed in the
//# field.
#[test]
fn an_encoding_is_negotiated_only_where_it_is_configured() {
    let check = |encodings: &str, expected| {
        let presented = format!("accept-encoding: {encodings}");
        check_select_under("accept-encoding: negotiate", ENCODINGS, &presented, expected);
    };
    check("br, gzip", Some(0)); // The one that was stored for just this.
    check("br, zstd", Some(3)); // And this.
    check("br, deflate", Some(0));
    check("gzip, deflate", Some(1));
    check("br;q=0.5, gzip", Some(1));
    check("br;q=0.5, gzip;q=0.5, deflate", None); // Deflate may exist.
    check("identity", Some(2));
    check("identity, gzip;q=0.5", Some(2));
    check("gzip;q=0.5, identity;q=0.1", Some(1));
    check("deflate", None); // Identity is acceptable, but not what is preferred.
    check("gzip;q=0, br;q=0", Some(2));
    check("gzip;q=0, br;q=0, *;q=0", None);
    check("gzip;q=0, br;q=0, identity;q=0", None);
    check("*;q=0, identity", Some(2));
    check("*", Some(0));
    check("*, br;q=0", Some(1));
    check("zstd", None); // Zstandard of Brotli is more than was asked for.
    check_select_under("accept-encoding: negotiate", ENCODINGS, "", None);
    check_select(ENCODINGS, "accept-encoding: br, deflate", None);
}

#[test]
fn what_is_not_negotiated_has_to_match_all_the_same() {
    let stored = &[
        "vary: accept-language, a | content-language: de / accept-language: de, fr | a: 1",
        "vary: accept-language, a | content-language: de / accept-language: de, fr | a: 2",
    ];
    check_select_under("accept-language: negotiate", stored, "accept-language: de | a: 2", Some(1));
    check_select_under("accept-language: negotiate", stored, "accept-language: de | a: 3", None);
    check_select_under(
        "accept-language: negotiate, a: negotiate",
        stored,
        "accept-language: de | a: 3",
        None,
    );
    // One that was made for the client's language, before one that says nothing of languages.
    let stored = &["/", "vary: accept-language | content-language: de / accept-language: de, fr"];
    check_select_under("accept-language: negotiate", stored, "accept-language: de", Some(1));
    check_select_under("accept-language: negotiate", stored, "accept-language: fi", Some(0));
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
