//! Why a request is answered as it is: route, policy, key, what of a response would be stored, what is stored, each lifetime
//! line by line.
//!
//! Nothing here decides anything: it asks the steps themselves. With a running proxy (`POST /api/explain`) or without one
//! (`larder explain`), it is the same text.

use std::{fmt::Write as _, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use caching::{
    freshness::{Facts, LifetimeSource, Rules},
    reuse::{Reuse, reuse},
    vary::select,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use plugin_host::cases::{request_decision_json, response_decision_json};
use serde::{Deserialize, Serialize};

use crate::{
    config::duration_text,
    feed::{self, Loss, Usable},
    invalidations::Validity,
    live::Proxy,
    lookup::{self, Found},
    memory::{Stored, StoredBody},
    policy::{
        self, CacheUse, Plan, Ruling,
        trace::{self, Asked, Came, Trace},
    },
    request::Request,
    route,
    store::judge::{Head, Judge, Judged, NotKept},
    worker::Worker,
};

/// What is asked about.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Question {
    /// GET if it is left out.
    pub method: String,
    /// As a client writes it.
    pub url: String,
    /// Names and values.
    pub fields: Vec<(String, String)>,
    pub content: String,
    /// A response to judge; without one, only what is stored.
    pub response: Option<Answer>,
}

/// The head of a response.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
}

impl Answer {
    /// A recorded head, as it goes over the wire; the lines after an empty one are left out.
    pub fn recorded(text: &str) -> Result<Answer, String> {
        let mut lines = text.lines().take_while(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let Some(status) = status else {
            return Err(format!("{first:?} is not a status line, as in HTTP/1.1 200 OK"));
        };
        let fields = lines.map(field_line).collect::<Result<_, _>>()?;
        Ok(Answer { status, fields })
    }
}

/// `name: value`.
pub fn field_line(line: &str) -> Result<(String, String), String> {
    let (name, value) =
        line.split_once(':').ok_or_else(|| format!("{line:?} is not a field, as in `name: value`"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Answers a question. Takes as long as a policy does, and must not be called on a worker's thread.
pub fn explain(proxy: &Arc<Proxy>, question: &Question) -> Result<String, String> {
    let worker = Worker::aside(Arc::clone(proxy));
    let method = if question.method.is_empty() { "GET" } else { &question.method };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("{method:?} is not a method"))?;
    let fields = fields(&question.fields)?;
    let content = Bytes::from(question.content.clone());
    let mut request = Request::made_up(method, &question.url, fields, content)
        .map_err(|why| format!("{:?}: {why}", question.url))?;
    let mut text = Text::default();
    let Ok(routed) = route::find(&worker, &request) else {
        text.line("route", "none takes this request: 404");
        return Ok(text.0);
    };
    if let Some(rules) = &routed.route().key.query {
        request.target.normalise_query(rules);
    }
    if !policy::content_is_key(&request, &routed) {
        request.content = None;
    }
    let shown =
        format!("{} http://{}{}", request.method, request.target.host(), request.target.path_and_query());
    text.line("request", &shown);
    let route = routed.route();
    let upstream = &routed.view.live.config.upstreams[route.upstream];
    text.line("route", &format!("{}, matches {}, upstream {}", route.name, route.matcher, upstream.name));
    if routed.chain().is_empty() {
        text.line("policy", "none");
    }
    for link in &routed.chain().links {
        let is_out = link.live.health.breaker.is_open(proxy.clock.now().as_ms());
        let out = if is_out { "; taken out for a while, since it keeps failing" } else { "" };
        let policy = &link.live.policy;
        text.line("policy", &format!("{}, sees {}{out}", policy.label(), inputs(policy.inputs())));
    }
    let trace = Trace::default();
    let ruling = policy::decide_and_tell(&worker, &mut request, routed, Some(&trace));
    asked(&mut text, &trace);
    let plan = match ruling {
        Ok(Ruling::Answer(answer)) => {
            text.line("verdict", &format!("the policy answers by itself: {}", answer.status));
            return Ok(text.0);
        }
        Ok(Ruling::Proceed(plan)) => plan,
        Err(error) => {
            text.line("verdict", &format!("{}: {error}", error.status()));
            return Ok(text.0);
        }
    };
    text.line("verdict", cache_use(plan.cache));
    if plan.upstream_index() != plan.routed.route().upstream {
        let upstreams = &plan.routed.view.live.config.upstreams;
        text.line("upstream", upstreams[plan.upstream_index()].name.as_str());
    }
    if let Some(as_written) = &request.as_written
        && as_written.path_and_query() != request.target.path_and_query()
    {
        text.line("forwarded", request.target.path_and_query().as_str());
    }
    key_parts(&mut text, &plan.key);
    if let Some(response) = &question.response {
        judged(&mut text, &worker, &request, &plan, response)?;
    }
    stored(&mut text, &worker, &request, &plan);
    Ok(text.0)
}

fn fields(lines: &[(String, String)]) -> Result<HeaderMap, String> {
    const MOST: usize = 1000;
    if lines.len() > MOST {
        return Err(format!("{} fields; at most {MOST} are looked at", lines.len()));
    }
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
        let (Ok(name), Ok(value)) = parsed else { return Err(format!("`{name}: {value}` is not a field")) };
        fields.append(name, value);
    }
    Ok(fields)
}

/// Lines of two columns.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, name: &str, value: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{name:<13}{value}");
    }

    /// One more under the same name.
    fn more(&mut self, value: &str) {
        self.line("", value);
    }
}

fn inputs(inputs: &plugin_host::Inputs) -> String {
    let names = trace::names(inputs);
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// Who saw what, and said what to it. Empties the record.
fn asked(text: &mut Text, trace: &Trace) {
    for Asked { policy, status, values, came } in trace.take() {
        let about =
            status.map_or_else(|| "the request".to_owned(), |status| format!("the response, {status}"));
        text.line("asked", &format!("{policy}, about {about}"));
        for (name, value) in values {
            text.more(&format!("{name}: {}", value.as_deref().unwrap_or("none")));
        }
        text.more(&match came {
            Came::Request(decision) => format!("-> {}", without_secrets(request_decision_json(&decision))),
            Came::Response(decision) => format!("-> {}", without_secrets(response_decision_json(&decision))),
            Came::NotText => {
                "-> not asked: a value is not text, or there twice; nothing is stored".to_owned()
            }
            Came::Failed(why, on_fault) => format!("-> {why}; on_fault = \"{on_fault}\""),
        });
    }
}

/// What a policy puts into a field that says who somebody is, is not for others to read.
fn without_secrets(mut decision: serde_json::Value) -> serde_json::Value {
    if let serde_json::Value::Array(pair) = &mut decision
        && let [serde_json::Value::String(name), serde_json::Value::String(value)] = pair.as_mut_slice()
        && name.parse().is_ok_and(|name| trace::is_secret(&name))
    {
        *value = format!("({} bytes)", value.len());
        return decision;
    }
    match decision {
        serde_json::Value::Array(items) => items.into_iter().map(without_secrets).collect(),
        serde_json::Value::Object(members) => serde_json::Value::Object(
            members.into_iter().map(|(name, value)| (name, without_secrets(value))).collect(),
        ),
        other @ (serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_)) => other,
    }
}

const fn cache_use(cache: CacheUse) -> &'static str {
    match cache {
        CacheUse::Use => "looked up, and what is fetched may be stored",
        CacheUse::Part => "a range: looked up, and the part that is fetched may be stored",
        CacheUse::Head => "looked up; what is fetched may freshen what is stored",
        CacheUse::LookUpOnly => "looked up, but what is fetched is not stored (the request says no-store)",
        CacheUse::No(_) => {
            "goes past the cache: its route, its policy, its method, a condition or a body says so"
        }
    }
}

fn key_parts(text: &mut Text, key: &[u8]) {
    let parts = caching::key::parts(key).map(|part| match part.map(std::str::from_utf8) {
        Some(Ok(text)) => format!("{text:?}"),
        // Of fields that a policy has set.
        Some(Err(_)) => "a digest".to_owned(),
        None => "absent".to_owned(),
    });
    for (number, part) in parts.enumerate() {
        text.line(if number == 0 { "key" } else { "" }, &part);
    }
}

fn judged(
    text: &mut Text,
    worker: &Rc<Worker>,
    request: &Request,
    plan: &Plan,
    response: &Answer,
) -> Result<(), String> {
    let status = StatusCode::from_u16(response.status)
        .ok()
        .filter(|status| !status.is_informational())
        .ok_or_else(|| format!("{} is not a final status", response.status))?;
    let now = worker.proxy.clock.now();
    let mark = worker.proxy.invalidations.begin_fetch();
    let head = Head { status, request_time: now, response_time: now, sighting: None };
    let trace = Trace::default();
    let judge = Judge { trace: Some(&trace), ..Judge::of(worker, request, plan, mark.sequence()) };
    text.line("response", &format!("{status}, as if it came now"));
    let judged = judge.whole(head, fields(&response.fields)?);
    asked(text, &trace);
    match judged {
        Ok(Judged { stored, tags, .. }) => {
            let would = match plan.cache {
                CacheUse::Use => "yes",
                CacheUse::Part | CacheUse::Head | CacheUse::LookUpOnly | CacheUse::No(_) => {
                    "it could be, but not for this request"
                }
            };
            text.line("stored", would);
            let tags: Vec<_> = tags.iter().map(|tag| String::from_utf8_lossy(tag)).collect();
            text.line("tags", &if tags.is_empty() { "none".to_owned() } else { tags.join(" ") });
            if plan.feed().is_some() && stored.seen.is_some() {
                text.line("feed", "depends on it: stored unless it lacks an event of its tags");
            }
            lifetime(text, &stored.facts, &plan.rules());
            text.line("age", &format!("{} s at its arrival", stored.facts.corrected_initial_age.as_s()));
        }
        Err(NotKept { failed: Some(error), .. }) => {
            text.line("stored", &format!("no, and the answer is {}: {error}", error.status()));
        }
        Err(why) => text.line("stored", &format!("no: {}", why.reason)),
    }
    Ok(())
}

/// Where a lifetime comes from, what the bounds make of it, and what is left when it is over.
fn lifetime(text: &mut Text, facts: &Facts, rules: &Rules<'_>) {
    let Some(lifetime) = facts.lifetime(rules) else {
        text.line("lifetime", "none");
        return;
    };
    let source = match lifetime.source {
        LifetimeSource::Policy => "the policy",
        LifetimeSource::RouteTtl => "ttl of the route, which overrides the upstream",
        LifetimeSource::Explicit => "the upstream (s-maxage, max-age or Expires)",
        LifetimeSource::StatusTtl => "status_ttl of the route",
        LifetimeSource::DefaultTtl => "default_ttl of the route",
        LifetimeSource::Heuristic => "a tenth of the time since Last-Modified, at most a day",
    };
    let of = |lifetime: caching::time::FreshnessLifetime| duration_text(lifetime.as_duration());
    text.line("lifetime", &format!("{}: {source}", of(lifetime.given)));
    if lifetime.bounded != lifetime.given {
        let bound = if lifetime.bounded > lifetime.given {
            "min_ttl raises"
        } else {
            "max_ttl, ttl or policy lowers"
        };
        text.more(&format!("{}: {bound} it", of(lifetime.bounded)));
    }
    if facts.always_validate {
        text.more("no-cache: validated before every use");
    }
    for (name, window) in [
        ("stale-while-revalidate", facts.stale_while_revalidate(rules)),
        ("stale-if-error", facts.stale_if_error(rules)),
    ] {
        if window > Duration::ZERO {
            text.more(&format!("then {} of {name}", duration_text(window)));
        }
    }
}

fn stored(text: &mut Text, worker: &Rc<Worker>, request: &Request, plan: &Plan) {
    let Some(variants) = worker.proxy.memory.variants(&plan.key) else {
        text.line("in memory", "nothing under this key");
        return;
    };
    let selected = select(
        variants.iter(),
        |stored| &stored.selecting,
        |stored| &stored.fields,
        &request.fields,
        &plan.routed.route().vary,
    );
    for (number, variant) in variants.iter().enumerate() {
        let is_selected = selected.is_some_and(|selected| Arc::ptr_eq(selected, variant));
        let name = if number == 0 { "in memory" } else { "" };
        text.line(name, &format!("{}{}", of_stored(variant), if is_selected { ", selected" } else { "" }));
        let vary = variant.selecting.to_string();
        if !vary.is_empty() {
            text.more(&format!("varies on {vary}"));
        }
        standing(text, worker, request, plan, variant);
        lifetime(text, &variant.facts, &plan.rules());
    }
    text.line(
        "now",
        &match lookup::stored(worker, request, plan) {
            Found::Reusable(reusable) => reusable.outcome.as_str().to_owned(),
            Found::Forward { why, .. } => format!("forwarded: {}", why.as_str()),
        },
    );
}

fn of_stored(stored: &Stored) -> String {
    match &stored.body {
        StoredBody::Whole(body) => format!("{}, {} bytes", stored.status, body.len()),
        StoredBody::Part(part, _) => {
            let complete = part.complete.map_or_else(|| "*".to_owned(), |length| length.to_string());
            format!("a part, bytes {}-{}/{complete}", part.first, part.last)
        }
        StoredBody::Arriving(_) => format!("{}, still arriving", stored.status),
    }
}

fn standing(text: &mut Text, worker: &Rc<Worker>, request: &Request, plan: &Plan, stored: &Stored) {
    let now = worker.proxy.clock.now();
    if let (Some(_), Some(seen)) = (plan.feed(), stored.seen) {
        text.more(&match worker.proxy.feed.position_of(seen) {
            Some(position) => format!("has all that the change feed has told of it up to {position}"),
            None => "has nothing of the account that the change feed gives now".to_owned(),
        });
    }
    let soft_purged = match feed::usable(worker, plan, stored, now) {
        Usable::AsItIs => None,
        Usable::StaleSince(since, loss) => {
            let why = loss.map_or("soft-purged", Loss::as_str);
            text.more(&format!("{why} {} ago", duration_text(now.since(since))));
            Some(since)
        }
        Usable::No(Some(loss)) => {
            text.more(&format!("{}: not used", loss.as_str()));
            return;
        }
        Usable::No(None) => {
            let is_changed = stored.purged(&worker.proxy.invalidations, &plan.key) != Validity::Purged;
            text.more(if is_changed {
                "the change feed has told an event of its tags: never used again"
            } else {
                "purged: never used again"
            });
            return;
        }
    };
    if stored.judged_by != plan.routed.policy_generation() {
        text.more("judged by policies that are no more: judged again when it is next used");
        return;
    }
    let verdict = reuse(&stored.facts, &plan.rules(), plan.demands(request), soft_purged, now);
    let standing = verdict.standing();
    let meaning = match verdict {
        Reuse::Fresh(_) => "fresh",
        Reuse::StaleWhileRevalidate(_) => "stale, served while it is refreshed",
        Reuse::StaleAccepted(_) => "stale, and the client takes it",
        Reuse::Demanded(_) => "fresh, but the client asks for a validation",
        Reuse::Validate(_) => "to be validated first",
    };
    text.more(&format!("age {} s, ttl {} s: {meaning}", standing.current_age.as_s(), standing.ttl_s));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_head_is_read() {
        let answer =
            Answer::recorded("HTTP/1.1 404 Not Found\r\nage: 1\r\nx:y:z\r\n\r\nbody: no\r\n").unwrap();
        assert_eq!(answer.status, 404);
        assert_eq!(answer.fields, [("age".into(), "1".into()), ("x".into(), "y:z".into())]);
        assert!(Answer::recorded("404").is_err());
        assert!(Answer::recorded("HTTP/1.1 200 OK\nno field").is_err());
    }
}
