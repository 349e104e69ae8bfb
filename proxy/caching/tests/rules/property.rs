//! What holds for every input, however strange.

use caching::{
    directives::{MaxStale, RequestDirectives, ResponseDirectives},
    fields::remove_hop_by_hop,
    freshness::{Allowances, Facts, PolicyLifetimes, Rules, StatusPattern, StatusTtls},
    groups::{CACHE_GROUP_INVALIDATION, CACHE_GROUPS, groups, invalidated_groups},
    key::{KeyWriter, MethodClass},
    no_vary_search::{NO_VARY_SEARCH, NoVarySearch},
    precondition::is_not_modified,
    reuse::{Demands, Reuse, may_serve_on_error, refreshes_early, reuse},
    storable::{RequestFacts, storable, storable_partial},
    tags::upstream_tags,
    targeted::{CDN_CACHE_CONTROL, LARDER_CACHE_CONTROL, default_targets},
    time::{FreshnessLifetime, Timestamp},
    validation::{freshened, make_validation_request, validated},
    vary::{SelectingFields, VaryRules},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::{collection::vec, option, prelude::*};

use super::{NOW, s};

const NAMES: [&str; 33] = [
    "age",
    "authorization",
    "cache-control",
    "cache-control",
    "cache-control",
    "cache-tag",
    "cdn-cache-control",
    "larder-cache-control",
    "range",
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
        "immutable",
        "min-fresh=5",
        "max-stale",
        "max-stale=5",
        "?0",
        "bytes 0-1/2",
        "params",
        "except=",
        "(\"a\" \"b\")",
        "\"group\"",
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

fn status_ttls() -> impl Strategy<Value = StatusTtls<'static>> {
    const CHOICES: [&[(StatusPattern, std::time::Duration)]; 4] = [
        &[],
        &[(StatusPattern::Exact(StatusCode::NOT_FOUND), s(50))],
        &[(StatusPattern::Class(5), s(10)), (StatusPattern::Exact(StatusCode::OK), s(90))],
        &[
            (StatusPattern::Class(4), s(0)),
            (StatusPattern::Class(3), s(120)),
            (StatusPattern::Class(2), s(7)),
        ],
    ];
    prop::sample::select(CHOICES.to_vec()).prop_map(StatusTtls)
}

/// Rules without any exception to the safety floor.
fn any_rules() -> impl Strategy<Value = Rules<'static>> {
    (ttl(), ttl(), ttl(), ttl(), ttl(), ttl(), status_ttls(), option::of(any::<f32>())).prop_map(
        |(
            ttl,
            default_ttl,
            min_ttl,
            max_ttl,
            stale_while_revalidate,
            stale_if_error,
            status_ttls,
            early_refresh,
        )| Rules {
            ttl,
            default_ttl,
            min_ttl,
            max_ttl,
            stale_while_revalidate,
            stale_if_error,
            status_ttls,
            allow: Allowances::default(),
            early_refresh,
        },
    )
}

prop_compose! {
    fn any_allowances()(flags in any::<[bool; 5]>()) -> Allowances {
        let [set_cookie, private, no_store, authorization, request_body] = flags;
        Allowances { set_cookie, private, no_store, authorization, request_body }
    }
}

prop_compose! {
    fn any_demands()(
        no_cache in any::<bool>(), max_age in ttl(), min_fresh in ttl(),
        max_stale in option::of(ttl()),
    ) -> Demands {
        let max_stale = max_stale.map(|limit| limit.map_or(MaxStale::Any, MaxStale::Limit));
        Demands { no_cache, max_age, min_fresh, max_stale }
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
    fn is_storable(&self, rules: &Rules<'_>) -> bool {
        storable(self.request, self.status, &self.fields, &self.directives, &self.facts, rules).is_ok()
    }
}

/// The verdict for a client that asks for nothing, on what was not purged.
fn verdict(facts: &Facts, rules: &Rules<'_>, now: Timestamp) -> Reuse {
    reuse(facts, rules, Demands::default(), None, now)
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

/// The rule of a `No-Vary-Search` as its draft has it, for a slow comparison of queries.
#[derive(Debug, Clone)]
struct SearchRule {
    except: bool,
    names: Vec<String>,
    key_order: bool,
}

impl SearchRule {
    /// The rule as a field, each byte of a name that is no letter percent-encoded.
    fn written(&self) -> String {
        let encoded = |name: &String| {
            let bytes = name.bytes().map(|byte| match byte {
                b'a'..=b'z' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            });
            format!("\"{}\"", bytes.collect::<String>())
        };
        let names = self.names.iter().map(encoded).collect::<Vec<_>>().join(" ");
        let name = if self.except { "except" } else { "params" };
        format!("{name}=({names}), key-order=?{}", u8::from(!self.key_order))
    }

    /// "Equivalent modulo variation config", step by step.
    fn finds_equivalent(&self, one: &str, other: &str) -> bool {
        let params = |query: &str| {
            let mut params: Vec<(String, String)> = query
                .split('&')
                .filter(|param| !param.is_empty())
                .map(|param| param.split_once('=').unwrap_or((param, "")))
                .map(|(name, value)| (decoded(name), decoded(value)))
                .filter(|(name, _)| self.names.contains(name) == self.except)
                .collect();
            if !self.key_order {
                params.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<u16>>());
            }
            params
        };
        params(one) == params(other)
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = rest.get(1..3).and_then(|hex| std::str::from_utf8(hex).ok());
        let is_hex = |hex: &&str| hex.bytes().all(|digit| digit.is_ascii_hexdigit());
        let (decoded, undecoded) = match (byte, hex.filter(is_hex)) {
            (b'%', Some(hex)) => (u8::from_str_radix(hex, 16).expect("two digits"), &rest[3..]),
            (b'+', _) => (b' ', after),
            (byte, _) => (byte, after),
        };
        bytes.push(decoded);
        rest = undecoded;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

prop_compose! {
    fn search_rule()(
        except in any::<bool>(), key_order in any::<bool>(),
        names in vec(prop::sample::select(vec!["", "a", "b", "ab", "a b", "a+b", "a&b", "a=b", "é", "\u{fffd}", "%"]), 0..4),
    ) -> SearchRule {
        SearchRule { except, key_order, names: names.into_iter().map(str::to_owned).collect() }
    }
}

/// Parameters of a query, in pieces that mean the same in more than one way.
fn params() -> impl Strategy<Value = Vec<String>> {
    let piece = prop::sample::select(vec![
        "a",
        "a",
        "b",
        "ab",
        "=",
        "=",
        "+",
        " ",
        "%20",
        "%61",
        "%62=",
        "%C3%A9",
        "é",
        "%f6",
        "%EF%BF%BD",
        "%",
        "%2",
        "%26",
        "%2B",
        "%3d",
        "1",
        "2",
        "\u{10000}",
        "\u{ffff}",
    ]);
    vec(vec(piece, 0..4).prop_map(|pieces| pieces.concat()), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn nothing_a_peer_sends_panics(
        request in header_map(), response in any_response(), other in header_map(), rules in any_rules(),
        allow in any_allowances(), demands in any_demands(), soft_purged_ms in option::of(any::<u64>()),
        random in any::<f64>(), now_ms in any::<u64>(),
    ) {
        let now = Timestamp::from_ms(now_ms);
        RequestDirectives::of(&request);
        response.is_storable(&rules);
        let rules = Rules { allow, ..rules };
        response.is_storable(&rules);
        let _ = storable_partial(
            response.request, response.status, &response.fields, &response.directives, &response.facts, &rules,
        );
        Demands::of(&RequestDirectives::of(&request));
        reuse(&response.facts, &rules, demands, soft_purged_ms.map(Timestamp::from_ms), now);
        may_serve_on_error(&response.facts, &rules, soft_purged_ms.map(Timestamp::from_ms), now);
        refreshes_early(&response.facts, &rules, now, random);
        caching::targeted::directives(&response.fields, &default_targets());
        if let Ok(selecting) = SelectingFields::of(&response.fields, &request, &VaryRules::default()) {
            selecting.matches(&other, &VaryRules::default());
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
        if !is_fresh(verdict(&response.facts, &rules, first)) {
            prop_assert!(!is_fresh(verdict(&response.facts, &rules, later)));
        }
        if !may_serve_on_error(&response.facts, &rules, None, first) {
            prop_assert!(!may_serve_on_error(&response.facts, &rules, None, later));
        }
    }

    #[test]
    fn what_is_judged_fresh_has_lifetime_left(
        response in any_response(), rules in any_rules(), after_ms in 0u64..1_000_000,
    ) {
        let now = Timestamp::from_ms(NOW.as_ms() + after_ms);
        if is_fresh(verdict(&response.facts, &rules, now)) {
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
        if is_fresh(verdict(&response.facts, &lower, now)) {
            prop_assert!(is_fresh(verdict(&response.facts, &rules, now)), "{rules:?} {lower:?}");
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
            if response.status.as_u16() >= 400 && rules.status_ttls.ttl(response.status).is_none() {
                let facts = response.facts;
                // What `no-cache` lets be stored is validated at each use.
                let has_lifetime = facts.explicit_lifetime.is_some() || facts.heuristic_lifetime.is_some();
                prop_assert!(has_lifetime || facts.always_validate);
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
        if (is_error || is_personal) && is_fresh(verdict(&response.facts, &rules, now)) {
            let facts = response.facts;
            let named = rules.status_ttls.ttl(response.status).map(FreshnessLifetime::from_duration);
            let own = facts.explicit_lifetime.or(named.filter(|_| !is_personal)).or(facts.heuristic_lifetime);
            prop_assert!(own.expect("it is fresh").remaining(facts.current_age(now)).is_ok());
            prop_assert!(!is_personal || facts.explicit_lifetime.is_some());
        }
    }

    #[test]
    fn what_forbids_stale_use_always_does(
        response in any_response(), rules in any_rules(), after_ms in 0u64..400_000,
    ) {
        let directives = response.directives;
        let now = Timestamp::from_ms(NOW.as_ms() + after_ms);
        if directives.must_revalidate || directives.proxy_revalidate || directives.no_cache {
            let verdict = verdict(&response.facts, &rules, now);
            prop_assert!(!matches!(verdict, Reuse::StaleWhileRevalidate(_)));
            prop_assert!(is_fresh(verdict) || !may_serve_on_error(&response.facts, &rules, None, now));
        }
    }

    #[test]
    fn allowances_change_nothing_but_what_they_name(
        response in any_response(), rules in any_rules(), allow in any_allowances(),
    ) {
        let allowing = Rules { allow, ..rules };
        prop_assert!(!response.is_storable(&rules) || response.is_storable(&allowing));
        if response.is_storable(&allowing) {
            let directives = response.directives;
            prop_assert!(allow.private || !directives.private);
            prop_assert!(allow.set_cookie || !response.fields.contains_key("set-cookie"));
            prop_assert!(allow.no_store || !directives.no_store || directives.must_understand);
            let permits = directives.public || directives.must_revalidate || directives.s_maxage.is_some();
            prop_assert!(allow.authorization || !response.request.has_authorization || permits);
        }
    }

    #[test]
    fn a_client_that_asks_for_something_gets_nothing_staler_than_it_takes(
        response in any_response(), rules in any_rules(), demands in any_demands(), after_ms in 0u64..400_000,
    ) {
        let now = Timestamp::from_ms(NOW.as_ms() + after_ms);
        let asked = reuse(&response.facts, &rules, demands, None, now);
        let plain = verdict(&response.facts, &rules, now);
        match asked {
            Reuse::Fresh(_) | Reuse::Demanded(_) => prop_assert!(is_fresh(plain)),
            Reuse::StaleWhileRevalidate(_) => prop_assert_eq!(asked, plain),
            Reuse::StaleAccepted(_) => {
                prop_assert!(demands.max_stale.is_some() && matches!(plain, Reuse::Validate(_)));
                let directives = response.directives;
                prop_assert!(!directives.must_revalidate && !directives.no_cache && directives.s_maxage.is_none());
            }
            Reuse::Validate(_) => prop_assert!(!is_fresh(plain)),
        }
        if demands.no_cache {
            prop_assert!(matches!(asked, Reuse::Demanded(_) | Reuse::Validate(_)));
        }
    }

    #[test]
    fn a_soft_purge_makes_nothing_fresher_and_leaves_nothing_fresh(
        response in any_response(), rules in any_rules(), demands in any_demands(),
        purged_ms in 0u64..400_000, after_ms in 0u64..400_000,
    ) {
        let now = Timestamp::from_ms(NOW.as_ms() + after_ms);
        let purged = Some(Timestamp::from_ms(NOW.as_ms() + purged_ms));
        let after = reuse(&response.facts, &rules, demands, purged, now);
        prop_assert!(matches!(after, Reuse::StaleWhileRevalidate(_) | Reuse::Validate(_)));
        if may_serve_on_error(&response.facts, &rules, purged, now) {
            prop_assert!(response.facts.stale_if_error(&rules) > s(0));
            prop_assert!(may_serve_on_error(&response.facts, &rules, None, now));
        }
    }

    #[test]
    fn an_early_refresh_is_the_likelier_the_nearer_the_end_and_the_smaller_the_number(
        response in any_response(), rules in any_rules(), first_ms in 0u64..200_000, more_ms in 0u64..10_000,
        random in 0.0f64..=1.0, less in 0.0f64..=1.0, delay_ms in 0u64..100_000,
    ) {
        let mut facts = response.facts;
        facts.response_delay = std::time::Duration::from_millis(delay_ms);
        let at = Timestamp::from_ms(NOW.as_ms() + first_ms);
        if refreshes_early(&facts, &rules, at, random) {
            prop_assert!(is_fresh(verdict(&facts, &rules, at)));
            let smaller = (random * less).max(f64::MIN_POSITIVE);
            prop_assert!(refreshes_early(&facts, &rules, at, smaller));
            let later = Timestamp::from_ms(at.as_ms() + more_ms);
            prop_assert!(
                refreshes_early(&facts, &rules, later, random) || !is_fresh(verdict(&facts, &rules, later))
            );
        }
    }

    #[test]
    fn a_targeted_field_counts_wholly_or_not_at_all(mut fields in header_map(), written in value()) {
        fields.remove(LARDER_CACHE_CONTROL);
        let plain = ResponseDirectives::of(&fields);
        fields.insert(CDN_CACHE_CONTROL, written);
        let read = caching::targeted::directives(&fields, &default_targets());
        if read.is_targeted {
            // Then nothing else has a part in it.
            let alone = HeaderMap::from_iter([(CDN_CACHE_CONTROL, fields[CDN_CACHE_CONTROL].clone())]);
            prop_assert_eq!(read, caching::targeted::directives(&alone, &default_targets()));
        } else {
            prop_assert_eq!(read, plain);
        }
    }

    #[test]
    fn two_queries_have_one_canonical_form_exactly_if_they_are_equivalent(
        rule in search_rule(), one in params(), unrelated in params(), shuffled in params().prop_flat_map(|params| {
            (Just(params.clone()), Just(params).prop_shuffle())
        }),
    ) {
        let fields = HeaderMap::from_iter([(NO_VARY_SEARCH, HeaderValue::from_str(&rule.written()).unwrap())]);
        let Some(read) = NoVarySearch::of(&fields) else {
            prop_assert!(rule.key_order && !rule.except && rule.names.is_empty());
            return Ok(());
        };
        let canonical = |query: &str| {
            let mut buffer = Vec::new();
            read.append_canonical(Some(query), &mut buffer);
            buffer
        };
        for (one, other) in [(&one, &unrelated), (&shuffled.0, &shuffled.1)] {
            let (one, other) = (one.join("&"), other.join("&"));
            prop_assert_eq!(
                canonical(&one) == canonical(&other), rule.finds_equivalent(&one, &other), "{} {}", one, other
            );
        }
    }

    #[test]
    fn two_search_rules_are_encoded_alike_exactly_if_they_are_equal(one in search_rule(), other in search_rule()) {
        let read = |rule: &SearchRule| {
            NoVarySearch::of(&HeaderMap::from_iter([(NO_VARY_SEARCH, HeaderValue::from_str(&rule.written()).unwrap())]))
        };
        let encoded = |rule: &Option<NoVarySearch>| {
            let mut buffer = Vec::new();
            rule.iter().for_each(|rule| rule.append_rule(&mut buffer));
            buffer
        };
        let (one, other) = (read(&one), read(&other));
        prop_assert_eq!(encoded(&one) == encoded(&other), one == other);
    }

    #[test]
    fn structured_fields_of_any_bytes_are_read_or_ignored_whole(lines in vec(value(), 0..3), query in "[ -~]{0,30}") {
        let mut fields = HeaderMap::new();
        for line in lines {
            for name in [CACHE_GROUPS, CACHE_GROUP_INVALIDATION, NO_VARY_SEARCH, CDN_CACHE_CONTROL] {
                fields.append(name, line.clone());
            }
        }
        let (mut of_response, mut invalidated) = (Vec::new(), Vec::new());
        let kept = groups(&fields, |group| of_response.push(group.to_owned()));
        let _ = invalidated_groups(&fields, false, |group| invalidated.push(group.to_owned()));
        if kept.is_ok() {
            prop_assert_eq!(of_response, invalidated);
        }
        invalidated_groups(&fields, true, |_| panic!("a safe request invalidates nothing")).unwrap();
        if let Some(rule) = NoVarySearch::of(&fields) {
            let mut buffer = Vec::new();
            rule.append_rule(&mut buffer);
            rule.append_canonical(Some(&query), &mut buffer);
            rule.append_canonical(None, &mut buffer);
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
        if let Ok(selecting) = SelectingFields::of(&response, &request, &VaryRules::default()) {
            prop_assert!(selecting.matches(&request, &VaryRules::default()));
        }
    }

    #[test]
    fn what_selects_a_response_would_be_stored_as_the_same_variant(
        response in header_map(), original in header_map(), presented in header_map(),
    ) {
        if let Ok(selecting) = SelectingFields::of(&response, &original, &VaryRules::default()) {
            let of_presented = SelectingFields::of(&response, &presented, &VaryRules::default()).expect("the same Vary");
            prop_assert_eq!(selecting.matches(&presented, &VaryRules::default()), selecting == of_presented);
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
