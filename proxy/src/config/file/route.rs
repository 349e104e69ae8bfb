//! The sections `[[route]]`: what each matches, where it goes, and how it is cached.

use std::path::Path;
use std::time::Duration;

use caching::freshness::{Allowances, StatusPattern};
use caching::query::{ParameterPattern, QueryRules, TRACKING};
use caching::vary::{VaryMode, VaryRules};
use http::{HeaderName, Method};
use toml::de::DeValue;

use super::super::section::kind;
use super::super::{BadValue, PathPattern, PolicyUse, TagTemplate};
use super::{
    CacheRules, KeyRules, MAX_ROUTES, Matcher, Named, Route, RouteName, Section, Value, policy, quoted,
    suggestion,
};

/// Freshness counts in whole seconds up to this (RFC 9111, section 1.2.2).
const ANY_TIME: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(1 << 31);
/// A response carries these and the upstream's own; each costs a comparison at every lookup.
const MAX_TAGS: usize = 16;
/// Protocols that clients of one route may switch to; more than one is rare.
const MAX_UPGRADES: usize = 16;
/// Hosts or methods of one route.
const MAX_LISTED: usize = 100;
/// One refreshes at the point that wastes least; ten times that is nearly always.
const MOST_EAGER: f32 = 10.0;

/// Of a file without routes.
pub(super) fn default_route() -> Route {
    Route {
        name: RouteName::default_name(),
        matcher: Matcher::default(),
        upstream: 0,
        upstreams: Vec::new(),
        cache: CacheRules::UPSTREAM_DECIDES,
        key: KeyRules::default(),
        vary: VaryRules::default(),
        tags: Vec::new(),
        feed: true,
        upgrade: Vec::new(),
        live: false,
        policies: Vec::new(),
    }
}

pub(super) fn routes(
    value: &Value<'_>,
    upstreams: &[Named],
    file: &Path,
    warnings: &mut Vec<String>,
) -> Vec<Route> {
    let Some(items) = value.list(MAX_ROUTES) else { return Vec::new() };
    if items.is_empty() {
        value.fault("lists no route; leave it out to have one that takes everything");
    }
    let is_only = items.len() == 1;
    let mut routes: Vec<Route> = Vec::new();
    for item in &items {
        let Some(mut section) = item.section() else { continue };
        let name = match section.get("name") {
            Some(value) => value.parse::<RouteName>("\"users\"").inspect(|name| {
                if routes.iter().any(|other| other.name == *name) {
                    value.fault(format!("there are two routes {:?}", name.as_str()));
                }
                section.rename(format!("route {:?}", name.as_str()));
            }),
            None if is_only => None,
            None => {
                section.fault("name", "missing; with more than one route each needs a name");
                None
            }
        };
        let route = route(section, name.unwrap_or_else(RouteName::default_name), upstreams, file, warnings);
        if let Some(earlier) = routes.iter().find(|earlier| earlier.matcher.covers(&route.matcher)) {
            warnings.push(format!(
                "route {:?}: never reached, route {:?} before it takes everything that it matches",
                route.name.as_str(),
                earlier.name.as_str()
            ));
        }
        routes.push(route);
    }
    routes
}

fn route(
    mut section: Section<'_>,
    name: RouteName,
    upstreams: &[Named],
    file: &Path,
    warnings: &mut Vec<String>,
) -> Route {
    let matcher = section.get("match").and_then(|value| value.section());
    let matcher = matcher.map(|section| self::matcher(section, &name, warnings));
    // A faulty pattern is one fault; tags are not blamed for its captures.
    let is_path_known = matcher.as_ref().is_none_or(|(_, is_path_known)| *is_path_known);
    let matcher = matcher.map(|(matcher, _)| matcher).unwrap_or_default();
    let upstream = upstream_index(&mut section, upstreams);
    let choices = section.get("upstreams").map(|value| choices(&value, upstreams)).unwrap_or_default();
    let cache = section.get("cache").map_or(CacheRules::UPSTREAM_DECIDES, |value| cache_rules(&value));
    let key = section.get("key").and_then(|value| value.section()).map(key_rules).unwrap_or_default();
    let vary = section.get("vary").and_then(|value| value.section()).map(vary_rules).unwrap_or_default();
    let tags = section.get("tags").filter(|_| is_path_known);
    let tags = tags.map(|value| tags_of(&value, matcher.path.as_ref())).unwrap_or_default();
    let feed = section.get("feed").and_then(|value| value.bool()).unwrap_or(true);
    let upgrade = section.get("upgrade").and_then(|value| value.list(MAX_UPGRADES)).unwrap_or_default();
    let upgrade = upgrade.iter().filter_map(|item| item.parse("\"websocket\"")).collect();
    let live = section.get("live").and_then(|value| value.bool()).unwrap_or(false);
    let policies = own_policies(&mut section, file);
    section.finish();
    Route {
        name,
        matcher,
        upstream,
        upstreams: choices,
        cache,
        key,
        vary,
        tags,
        feed,
        upgrade,
        live,
        policies,
    }
}

/// The bool is false if there is a path that could not be read.
fn matcher(mut section: Section<'_>, route: &RouteName, warnings: &mut Vec<String>) -> (Matcher, bool) {
    let mut matcher = Matcher::default();
    for item in listed(section.get("hosts")) {
        matcher.hosts.extend(item.parse("\"api.example.com\""));
    }
    let path_value = section.get("path");
    matcher.path = path_value.as_ref().and_then(|value| value.parse("\"/users/{id}\""));
    for item in listed(section.get("methods")) {
        if let Some(method) = method(&item, route, warnings) {
            matcher.methods.push(method);
        }
    }
    section.finish();
    let is_path_known = path_value.is_none() || matcher.path.is_some();
    (matcher, is_path_known)
}

/// An empty list would match nothing or everything, depending on who reads it.
fn listed(value: Option<Value<'_>>) -> Vec<Value<'_>> {
    let Some(value) = value else { return Vec::new() };
    let items = value.list(MAX_LISTED);
    if items.as_ref().is_some_and(Vec::is_empty) {
        value.fault("is empty; leave it out to match all");
    }
    items.unwrap_or_default()
}

fn method(value: &Value<'_>, route: &RouteName, warnings: &mut Vec<String>) -> Option<Method> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"];
    let text = value.string("\"GET\"")?;
    let upper = text.to_ascii_uppercase();
    let Ok(method) = Method::from_bytes(text.as_bytes()) else {
        value.fault(format!("{} is not a method; write for example \"GET\"", quoted(text)));
        return None;
    };
    if KNOWN.contains(&text) {
        return Some(method);
    }
    if KNOWN.contains(&&*upper) {
        value.fault(format!("methods are written in upper case; write {upper:?}"));
        return None;
    }
    // Extension methods are legal, and so is their misspelling.
    let suggestion = suggestion(&upper, KNOWN.into_iter());
    if !suggestion.is_empty() {
        warnings.push(format!(
            "route {:?}: {} is no standard method{suggestion}",
            route.as_str(),
            quoted(text)
        ));
    }
    Some(method)
}

fn upstream_index(section: &mut Section<'_>, upstreams: &[Named]) -> usize {
    let Some(value) = section.get("upstream") else {
        if upstreams.len() > 1 {
            section.fault("upstream", "missing; with more than one upstream a route names its own");
        }
        return 0;
    };
    upstream_called(&value, upstreams).unwrap_or(0)
}

fn upstream_called(value: &Value<'_>, upstreams: &[Named]) -> Option<usize> {
    let wanted = value.string("\"app\"")?;
    let names = || upstreams.iter().filter_map(|named| named.name.as_ref()).map(|name| name.as_str());
    let is_wanted = |named: &Named| named.name.as_ref().is_some_and(|name| name.as_str() == wanted);
    let index = upstreams.iter().position(is_wanted);
    if index.is_none() {
        value.fault(format!("no upstream {}{}", quoted(wanted), suggestion(wanted, names())));
    }
    index
}

/// What policies may choose besides the route's own upstream.
fn choices(value: &Value<'_>, upstreams: &[Named]) -> Vec<usize> {
    let mut choices = Vec::new();
    for item in value.list(MAX_LISTED).unwrap_or_default() {
        let Some(index) = upstream_called(&item, upstreams) else { continue };
        if choices.contains(&index) {
            item.fault("is listed twice");
        }
        choices.push(index);
    }
    choices
}

/// One under `policy`, or several under `policies`.
fn own_policies(section: &mut Section<'_>, file: &Path) -> Vec<PolicyUse> {
    let (one, several) = (section.get("policy"), section.get("policies"));
    if let (Some(_), Some(several)) = (&one, &several) {
        several.fault("stands beside \"policy\"; write all of them here, in their order");
    }
    match (one, several) {
        (_, Some(several)) => policy::policies(&several, file),
        (Some(one), None) => {
            one.section().and_then(|section| policy::policy(section, file)).into_iter().collect()
        }
        (None, None) => Vec::new(),
    }
}

fn cache_rules(value: &Value<'_>) -> CacheRules {
    match value.raw() {
        DeValue::Boolean(true) => return CacheRules::UPSTREAM_DECIDES,
        DeValue::Boolean(false) => return CacheRules::disabled(),
        DeValue::Table(_) => (),
        other @ (DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)) => {
            value.fault(format!(
                "expected a table, true or false, found {}; write for example {{ default_ttl = \"30m\" }}",
                kind(other)
            ));
            return CacheRules::UPSTREAM_DECIDES;
        }
    }
    let Some(mut section) = value.section() else { return CacheRules::UPSTREAM_DECIDES };
    let mut time = |key| section.get(key).and_then(|value| Some((value.duration(ANY_TIME)?, value)));
    let (ttl, default_ttl, min_ttl, max_ttl) =
        (time("ttl"), time("default_ttl"), time("min_ttl"), time("max_ttl"));
    let (stale_while_revalidate, stale_if_error) = (time("stale_while_revalidate"), time("stale_if_error"));
    if ttl.is_some() {
        for (_, value) in [&default_ttl, &min_ttl, &max_ttl].into_iter().flatten() {
            value.fault(
                "has no effect beside \"ttl\", which overrides what the upstream says; keep one of them",
            );
        }
    }
    if let (Some((min, value)), Some((max, _))) = (&min_ttl, &max_ttl)
        && min > max
    {
        let text = super::super::units::duration_text;
        value.fault(format!("{:?} is more than max_ttl, {:?}", text(*min), text(*max)));
    }
    let status_ttls = section.get("status_ttl").and_then(|value| value.section());
    let status_ttls = status_ttls.map(self::status_ttls).unwrap_or_default();
    let hit_for_miss = section.get("hit_for_miss").and_then(|value| value.duration(ANY_TIME));
    let early_refresh = section.get("early_refresh").and_then(|value| value.factor(MOST_EAGER));
    let honours_requests =
        section.get("request_directives").and_then(|value| value.word(&[("ignore", false), ("honor", true)]));
    let mut allow = Allowances::default();
    for item in section.get("allow").and_then(|value| value.list(MAX_LISTED)).unwrap_or_default() {
        if let Some(one) = item.word(&ALLOWANCES) {
            *one(&mut allow) = true;
        }
    }
    section.finish();
    let duration = |read: Option<(Duration, Value<'_>)>| read.map(|(duration, _)| duration);
    CacheRules {
        enabled: true,
        ttl: duration(ttl),
        default_ttl: duration(default_ttl),
        min_ttl: duration(min_ttl),
        max_ttl: duration(max_ttl),
        stale_while_revalidate: duration(stale_while_revalidate),
        stale_if_error: duration(stale_if_error),
        status_ttls,
        hit_for_miss: hit_for_miss.unwrap_or(CacheRules::UPSTREAM_DECIDES.hit_for_miss),
        early_refresh: early_refresh.filter(|factor| *factor > 0.0),
        honours_requests: honours_requests.unwrap_or(false),
        allow,
    }
}

/// What a route may store although it is not safe for everybody, by the names that the file has for it.
const ALLOWANCES: [(&str, Allowance); 5] = [
    ("set-cookie", |all| &mut all.set_cookie),
    ("private", |all| &mut all.private),
    ("no-store", |all| &mut all.no_store),
    ("authorization", |all| &mut all.authorization),
    ("request-body", |all| &mut all.request_body),
];

type Allowance = fn(&mut Allowances) -> &mut bool;

fn status_ttls(section: Section<'_>) -> Vec<(StatusPattern, Duration)> {
    let entry = |(status, value): (&str, Value<'_>)| {
        let Ok(pattern) = status.parse::<StatusPattern>() else {
            value.fault(format!(
                "{} is not a final status; write for example \"404\" or \"5xx\"",
                quoted(status)
            ));
            return None;
        };
        Some((pattern, value.duration(ANY_TIME)?))
    };
    section.entries().into_iter().filter_map(entry).collect()
}

fn key_rules(mut section: Section<'_>) -> KeyRules {
    let query = section.get("query").and_then(|value| value.section()).map(query_rules);
    let text = |item: &Value<'_>| {
        let name = item.string("\"theme\"")?;
        // What no cookie can be called (RFC 6265 section 4.1.1).
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && !b";=,\"\\".contains(&byte))
        {
            item.fault(format!("{} is not the name of a cookie", quoted(name)));
        }
        Some(name.into())
    };
    let cookies = listed(section.get("cookies")).iter().filter_map(text).collect();
    let fields = listed(section.get("fields"));
    let fields = fields.iter().filter_map(|item| item.field_name("\"x-device\"")).collect();
    section.finish();
    KeyRules { query, cookies, fields }
}

fn query_rules(mut section: Section<'_>) -> QueryRules {
    let sort = section.get("sort").and_then(|value| value.bool()).unwrap_or(false);
    let drop = section.get("drop").map(|value| dropped_parameters(&value)).unwrap_or_default();
    section.finish();
    QueryRules { sort, drop: drop.into() }
}

fn dropped_parameters(value: &Value<'_>) -> Vec<ParameterPattern> {
    if let Some(is_wanted) = value.raw().as_bool() {
        return if is_wanted {
            TRACKING.iter().filter_map(|text| text.parse().ok()).collect()
        } else {
            Vec::new()
        };
    }
    let items = value.list(MAX_LISTED).unwrap_or_default();
    let pattern = |item: &Value<'_>| {
        let text = item.string("\"utm_*\"")?;
        text.parse::<ParameterPattern>().map_err(|why| item.fault(format!("{}: {why}", quoted(text)))).ok()
    };
    items.iter().filter_map(pattern).collect()
}

fn vary_rules(section: Section<'_>) -> VaryRules {
    const MODES: [(&str, VaryMode); 4] = [
        ("normalize", VaryMode::Normalize),
        ("negotiate", VaryMode::Negotiate),
        ("pass-through", VaryMode::Exact),
        ("bypass", VaryMode::Bypass),
    ];
    let entry = |(name, value): (&str, Value<'_>)| {
        let Ok(field) = name.parse::<HeaderName>() else {
            value.fault(format!("{} is not the name of a field", quoted(name)));
            return None;
        };
        Some((field, value.word(&MODES)?))
    };
    VaryRules::of(section.entries().into_iter().filter_map(entry))
}

fn tags_of(value: &Value<'_>, path: Option<&PathPattern>) -> Vec<TagTemplate> {
    let items = value.list(MAX_TAGS).unwrap_or_default();
    let template = |item: &Value<'_>| {
        TagTemplate::parse(item.string("\"user:{id}\"")?, path).map_err(|bad: BadValue| item.bad(&bad)).ok()
    };
    items.iter().filter_map(template).collect()
}
