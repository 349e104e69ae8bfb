//! The rules of the RFCs, case by case: one module for each file of `src`, with the same name.
//!
//! A case is one line of text, and the sentence that it shows stands above it. `property.rs` says what holds for
//! every input. Nothing here reads a clock: [`NOW`] is the present.

mod time;
mod directives;
mod targeted;
mod method;
mod query;
mod key;
mod no_vary_search;
mod vary;
mod storable;
mod freshness;
mod reuse;
mod validation;
mod precondition;
mod range;
mod partial;
mod invalidation;
mod tags;
mod version;
mod ledger;
mod groups;
mod fields;
mod property;

use std::time::{Duration, UNIX_EPOCH};

use caching::{
    directives::ResponseDirectives,
    freshness::{Facts, Rules, StatusPattern, StatusTtls},
    storable::RequestFacts,
    time::Timestamp,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// Tue, 01 Sep 2026 00:00:00 GMT.
const NOW: Timestamp = Timestamp::from_s(1_788_220_800);

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The HTTP-date that lies `seconds` after [`NOW`], or before it.
fn date(seconds: i64) -> String {
    let at = NOW.as_s().checked_add_signed(seconds).expect("cases stay near the present");
    httpdate::fmt_http_date(UNIX_EPOCH + s(at))
}

/// Fields as a case writes them: `cache-control: max-age=60 | age: 3 | date: {-10}`, where `{-10}` is the date ten
/// seconds ago. A field may come more than once.
fn fields(text: &str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in text.split('|').map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').expect("a field has a colon");
        let name: HeaderName = name.trim().parse().expect("a field has a name");
        fields.append(name, HeaderValue::from_str(&with_dates(value.trim())).expect("a field has a value"));
    }
    fields
}

fn with_dates(value: &str) -> String {
    match value.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (seconds, after))) => {
            let seconds = seconds.parse().expect("braces hold a number of seconds");
            format!("{before}{}{after}", date(seconds))
        }
        None => value.to_owned(),
    }
}

fn request(text: &str) -> RequestFacts {
    RequestFacts::of(&Method::GET, &fields(text), false)
}

/// What a response of now says to a request: `200 cache-control: max-age=60 | age: 3`.
fn facts_for(request_text: &str, response: &str) -> (StatusCode, HeaderMap, Facts) {
    let (status, response) = response.split_at(3);
    let status: StatusCode = status.parse().expect("a response begins with its status");
    let fields = fields(response);
    let directives = ResponseDirectives::of(&fields);
    let facts = Facts::of(request(request_text), status, &fields, &directives, NOW, NOW);
    (status, fields, facts)
}

fn facts(response: &str) -> Facts {
    facts_for("", response).2
}

/// Rules as a case writes them: `ttl=60 swr=10 404=5 5xx=1 allow:set_cookie`.
fn rules(text: &str) -> Rules<'static> {
    let mut rules = Rules::default();
    let mut status_ttls = Vec::new();
    for word in text.split_whitespace() {
        if let Some(name) = word.strip_prefix("allow:") {
            let allow = &mut rules.allow;
            match name {
                "set_cookie" => allow.set_cookie = true,
                "private" => allow.private = true,
                "no_store" => allow.no_store = true,
                "authorization" => allow.authorization = true,
                "request_body" => allow.request_body = true,
                _ => panic!("no allowance is called {name}"),
            }
            continue;
        }
        let (name, seconds) = word.split_once('=').expect("a rule is a name and a number of seconds");
        let ttl = s(seconds.parse().expect("a rule holds a number of seconds"));
        match (name, name.parse::<StatusPattern>()) {
            ("ttl", _) => rules.ttl = Some(ttl),
            ("default_ttl", _) => rules.default_ttl = Some(ttl),
            ("min_ttl", _) => rules.min_ttl = Some(ttl),
            ("max_ttl", _) => rules.max_ttl = Some(ttl),
            ("swr", _) => rules.stale_while_revalidate = Some(ttl),
            ("sie", _) => rules.stale_if_error = Some(ttl),
            (_, Ok(pattern)) => status_ttls.push((pattern, ttl)),
            _ => panic!("no rule is called {name}"),
        }
    }
    // The rules borrow them; a test is short.
    rules.status_ttls = StatusTtls(status_ttls.leak());
    rules
}
