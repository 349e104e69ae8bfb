//! What holds for every input, however strange.

use caching::{
    directives::{RequestDirectives, ResponseDirectives},
    fields::remove_hop_by_hop,
    freshness::{Facts, PolicyLifetimes, Rules},
    key::{KeyWriter, MethodClass},
    precondition::is_not_modified,
    reuse::{Reuse, may_serve_on_error, reuse},
    storable::{RequestFacts, storable},
    tags::upstream_tags,
    time::Timestamp,
    validation::{freshened, make_validation_request, validated},
    vary::SelectingFields,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::{collection::vec, option, prelude::*};

use super::{NOW, s};

const NAMES: [&str; 30] = [
    "age",
    "authorization",
    "cache-control",
    "cache-control",
    "cache-control",
    "cache-tag",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "date",
    "etag",
    "etag",
    "expires",
    "expires",
    "if-modified-since",
    "if-none-match",
    "last-modified",
    "last-modified",
    "location",
    "pragma",
    "set-cookie",
    "surrogate-key",
    "transfer-encoding",
    "vary",
    "vary",
    "x-other",
];

/// Pieces that mean something in one field or another, so that chance puts together what nearly makes sense.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "max-age=",
        "max-age=60",
        "max-age=3600",
        "s-maxage=",
        "s-maxage=30",
        "stale-while-revalidate=60",
        "stale-if-error=60",
        "no-store",
        "no-cache",
        "no-cache=\"",
        "private",
        "private=\"x\"",
        "public",
        "must-revalidate",
        "proxy-revalidate",
        "must-understand",
        "only-if-cached",
        ",",
        ", ",
        "=",
        "\"",
        "\\",
        " ",
        "\t",
        "*",
        "0",
        "1",
        "60",
        "9999999999999999999",
        "-",
        ";",
        "W/",
        "W/\"1\"",
        "\"1\"",
        "\"2\"",
        "accept",
        "cookie",
        "close",
        "x-other",
        "date",
        "gzip",
        "chunked",
        "Tue, 01 Sep 2026 00:00:00 GMT",
        "Mon, 31 Aug 2026 23:00:00 GMT",
        "Tue, 01 Sep 2026 01:00:00 GMT",
        "Tuesday, 01-Sep-26 00:00:00 GMT",
        "Tue Sep  1 00:00:00 2026",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ]);
    prop_oneof![
        6 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ]
}

/// Any value that a field can have: all bytes but the control characters.
fn value() -> impl Strategy<Value = HeaderValue> {
    vec(piece(), 0..5).prop_map(|pieces| {
        let bytes: Vec<u8> = pieces
            .concat()
            .into_iter()
            .filter(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f))
            .collect();
        HeaderValue::from_bytes(&bytes).expect("control characters are filtered out above")
    })
}

fn header_map() -> impl Strategy<Value = HeaderMap> {
    vec((prop::sample::select(NAMES.to_vec()), value()), 0..8).prop_map(|lines| {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(HeaderName::from_static(name), value);
        }
        fields
    })
}

fn status() -> impl Strategy<Value = StatusCode> {
    let usual =
        prop::sample::select(vec![200u16, 203, 204, 206, 301, 302, 304, 308, 404, 410, 429, 500, 503]);
    prop_oneof![usual, 100u16..=999]
        .prop_map(|status| StatusCode::from_u16(status).expect("three digits make a status"))
}

fn ttl() -> impl Strategy<Value = Option<std::time::Duration>> {
    option::of((0u64..200).prop_map(s))
}

prop_compose! {
    fn any_rules()(
        ttl in ttl(), default_ttl in ttl(), min_ttl in ttl(), max_ttl in ttl(),
        stale_while_revalidate in ttl(), stale_if_error in ttl(),
    ) -> Rules {
        Rules { ttl, default_ttl, min_ttl, max_ttl, stale_while_revalidate, stale_if_error }
    }
}

prop_compose! {
    fn any_policy()(
        ttl in ttl(), stale_while_revalidate in ttl(), stale_if_error in ttl(),
    ) -> PolicyLifetimes {
        PolicyLifetimes { ttl, stale_while_revalidate, stale_if_error }
    }
}

/// A stored response, in all that the rules know of it.
#[derive(Debug, Clone)]
struct Response {
    request: RequestFacts,
    status: StatusCode,
    fields: HeaderMap,
    directives: ResponseDirectives,
    facts: Facts,
}

prop_compose! {
    fn any_response()(
        request in header_map(), status in status(), fields in header_map(), policy in any_policy(),
        delay_ms in 0u64..5000,
    ) -> Response {
        let request = RequestFacts::of(&Method::GET, &request, false);
        let directives = ResponseDirectives::of(&fields);
        let response_time = Timestamp::from_ms(NOW.as_ms() + delay_ms);
        let mut facts = Facts::of(request, status, &fields, &directives, NOW, response_time);
        facts.policy = policy;
        Response { request, status, fields, directives, facts }
    }
}

impl Response {
    fn is_storable(&self, rules: &Rules) -> bool {
        storable(self.request, self.status, &self.fields, &self.directives, &self.facts, rules).is_ok()
    }
}

fn is_fresh(reuse: Reuse) -> bool {
    matches!(reuse, Reuse::Fresh(_))
}

fn key_of(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut key = KeyWriter::begin(&mut buffer, MethodClass::Get, "host", "/target");
    parts.iter().for_each(|part| key.part(part));
    buffer
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn nothing_a_peer_sends_panics(
        request in header_map(), response in any_response(), other in header_map(), rules in any_rules(),
        now_ms in any::<u64>(),
    ) {
        let now = Timestamp::from_ms(now_ms);
        RequestDirectives::of(&request);
        response.is_storable(&rules);
        reuse(&response.facts, &rules, now);
        may_serve_on_error(&response.facts, &rules, now);
        if let Ok(selecting) = SelectingFields::of(&response.fields, &request) {
            selecting.matches(&other);
            selecting.size_bytes();
        }
        validated(response.status, &other, &response.fields);
        validated(StatusCode::NOT_MODIFIED, &other, &response.fields);
        freshened(&response.fields, &other);
        is_not_modified(&request, &response.fields);
        make_validation_request(&mut request.clone(), &response.fields);
        remove_hop_by_hop(&mut request.clone());
        let _ = upstream_tags(&response.fields, |_| ());
    }

    #[test]
    fn cache_control_of_any_bytes_is_read(bytes in vec(any::<u8>(), 0..200)) {
        let bytes: Vec<u8> = bytes.into_iter().filter(|byte| *byte >= 0x20 && *byte != 0x7f).collect();
        let mut fields = HeaderMap::new();
        fields.append(http::header::CACHE_CONTROL, HeaderValue::from_bytes(&bytes).unwrap());
        ResponseDirectives::of(&fields);
        RequestDirectives::of(&fields);
    }

    #[test]
    fn a_directive_at_the_end_of_its_line_is_never_hidden_by_an_open_quote(
        before in "[ -~]{0,40}", directive in prop::sample::select(vec!["no-store", "private", "no-cache"]),
    ) {
        // What is in a closed quoted string is no directive, so only lines with at most one quote are of interest.
        prop_assume!(before.matches('"').count() <= 1);
        let mut fields = HeaderMap::new();
        let line = format!("{before}, {directive}");
        fields.append(http::header::CACHE_CONTROL, HeaderValue::from_str(&line).unwrap());
        let read = ResponseDirectives::of(&fields);
        prop_assert!(read.no_store || read.private || read.no_cache, "{line}");
    }

    #[test]
    fn age_never_falls_as_now_rises(response in any_response(), first_ms in any::<u64>(), later_ms in any::<u64>()) {
        let (first_ms, later_ms) = (first_ms.min(later_ms), first_ms.max(later_ms));
        let first = response.facts.current_age(Timestamp::from_ms(first_ms));
        let later = response.facts.current_age(Timestamp::from_ms(later_ms));
        prop_assert!(first <= later);
        prop_assert!(response.facts.corrected_initial_age <= first);
    }

    #[test]
    fn once_stale_always_stale(
        response in any_response(), rules in any_rules(), first_ms in 0u64..100_000, more_ms in 0u64..1_000_000,
    ) {
        let first = Timestamp::from_ms(NOW.as_ms() + first_ms);
        let later = Timestamp::from_ms(first.as_ms() + more_ms);
        if !is_fresh(reuse(&response.facts, &rules, first)) {
            prop_assert!(!is_fresh(reuse(&response.facts, &rules, later)));
        }
        if !may_serve_on_error(&response.facts, &rules, first) {
            prop_assert!(!may_serve_on_error(&response.facts, &rules, later));
        }
    }

    #[test]
    fn what_is_judged_fresh_has_lifetime_left(
        response in any_response(), rules in any_rules(), after_ms in 0u64..1_000_000,
    ) {
        let now = Timestamp::from_ms(NOW.as_ms() + after_ms);
        if is_fresh(reuse(&response.facts, &rules, now)) {
            let lifetime = response.facts.freshness_lifetime(&rules).expect("what is fresh has a lifetime");
            prop_assert!(lifetime.remaining(response.facts.current_age(now)).is_ok());
            prop_assert!(!response.directives.no_cache);
        }
    }

    #[test]
    fn lowering_a_configured_ttl_makes_nothing_fresher(
        response in any_response(), rules in any_rules(), which in 0usize..4, less in 0u64..200,
        after_ms in 0u64..400_000,
    ) {
        let mut lower = rules;
        let ttl = [&mut lower.ttl, &mut lower.default_ttl, &mut lower.min_ttl, &mut lower.max_ttl];
        for (at, ttl) in ttl.into_iter().enumerate() {
            if at == which && let Some(ttl) = ttl {
                *ttl = ttl.saturating_sub(s(less));
            }
        }
        let now = Timestamp::from_ms(NOW.as_ms() + after_ms);
        if is_fresh(reuse(&response.facts, &lower, now)) {
            prop_assert!(is_fresh(reuse(&response.facts, &rules, now)), "{rules:?} {lower:?}");
        }
        if response.is_storable(&lower) && which == 0 {
            prop_assert!(response.is_storable(&rules) || rules.ttl.is_none());
        }
    }

    #[test]
    fn no_rules_and_no_policy_make_unsafe_things_storable(response in any_response(), rules in any_rules()) {
        if response.is_storable(&rules) {
            let directives = response.directives;
            prop_assert!(!directives.private && !response.request.no_store);
            prop_assert!(!directives.no_store || directives.must_understand);
            prop_assert!(!response.fields.contains_key("set-cookie"));
            prop_assert!(!response.fields.contains_key("content-range"));
            prop_assert!(response.status.as_u16() >= 200 && ![206, 304, 429].contains(&response.status.as_u16()));
            if response.status.as_u16() >= 400 {
                prop_assert!(response.facts.explicit_lifetime.is_some());
            }
            if response.request.has_authorization {
                let permits =
                    directives.public || directives.must_revalidate || directives.s_maxage.is_some();
                prop_assert!(permits);
            }
        }
    }

    #[test]
    fn nothing_outlasts_the_origins_word_for_an_error_or_an_authorized_request(
        response in any_response(), rules in any_rules(), after_ms in 0u64..400_000,
    ) {
        let is_error = response.status.is_client_error() || response.status.is_server_error();
        let is_personal = response.request.has_authorization && !response.directives.public;
        let now = Timestamp::from_ms(NOW.as_ms() + after_ms);
        if (is_error || is_personal) && is_fresh(reuse(&response.facts, &rules, now)) {
            let own = response.facts.explicit_lifetime.expect("the origin gave a lifetime");
            prop_assert!(own.remaining(response.facts.current_age(now)).is_ok());
        }
    }

    #[test]
    fn what_forbids_stale_use_always_does(
        response in any_response(), rules in any_rules(), after_ms in 0u64..400_000,
    ) {
        let directives = response.directives;
        let now = Timestamp::from_ms(NOW.as_ms() + after_ms);
        if directives.must_revalidate || directives.proxy_revalidate || directives.no_cache {
            let verdict = reuse(&response.facts, &rules, now);
            prop_assert!(!matches!(verdict, Reuse::StaleWhileRevalidate(_)));
            prop_assert!(is_fresh(verdict) || !may_serve_on_error(&response.facts, &rules, now));
        }
    }

    #[test]
    fn freshened_twice_is_freshened_once(stored in header_map(), not_modified in header_map()) {
        let once = freshened(&stored, &not_modified);
        prop_assert_eq!(&freshened(&once, &not_modified), &once);
        prop_assert_eq!(once.get("content-length"), stored.get("content-length"));
        prop_assert_eq!(once.get("set-cookie"), stored.get("set-cookie"));
        prop_assert!(!once.contains_key("connection") || stored.contains_key("connection"));
    }

    #[test]
    fn hop_by_hop_fields_are_gone_after_one_removal(fields in header_map()) {
        let mut once = fields.clone();
        remove_hop_by_hop(&mut once);
        prop_assert!(!once.contains_key("connection") && !once.contains_key("transfer-encoding"));
        for name in ["cache-control", "vary", "set-cookie", "cookie", "authorization"] {
            prop_assert_eq!(once.contains_key(name), fields.contains_key(name));
        }
        let mut twice = once.clone();
        remove_hop_by_hop(&mut twice);
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn the_request_that_brought_a_response_selects_it(response in header_map(), request in header_map()) {
        if let Ok(selecting) = SelectingFields::of(&response, &request) {
            prop_assert!(selecting.matches(&request));
        }
    }

    #[test]
    fn what_selects_a_response_would_be_stored_as_the_same_variant(
        response in header_map(), original in header_map(), presented in header_map(),
    ) {
        if let Ok(selecting) = SelectingFields::of(&response, &original) {
            let of_presented = SelectingFields::of(&response, &presented).expect("the same Vary");
            prop_assert_eq!(selecting.matches(&presented), selecting == of_presented);
        }
    }

    #[test]
    fn equal_keys_have_equal_parts(a in vec(vec(any::<u8>(), 0..6), 0..5), b in vec(vec(any::<u8>(), 0..6), 0..5)) {
        prop_assert_eq!(key_of(&a) == key_of(&b), a == b);
    }

    #[test]
    fn one_key_moved_between_its_parts_is_another_key(text in "[a-z/?]{2,12}", at in 1usize..12, other in 1usize..12) {
        let (at, other) = (at.min(text.len() - 1), other.min(text.len() - 1));
        let key = |at: usize| {
            let mut buffer = Vec::new();
            KeyWriter::begin(&mut buffer, MethodClass::Get, &text[..at], &text[at..]);
            buffer
        };
        prop_assert_eq!(key(at) == key(other), at == other);
    }
}
