//! The words of a case file, as serde reads and writes them; and the way from them to what a case is made of.
//!
//! Whatever is left out is empty or none, and is left out again when it is written: so two decisions that mean the
//! same are the same JSON.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Decided, Given, GivenResponse};
use crate::decision;

/// What a case is about if it does not say.
const DEFAULT_URL: &str = "http://example.com/";

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// For whoever reads the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    settings: Map<String, Value>,
    #[serde(default)]
    request: Request,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<Response>,
    #[serde(default)]
    pub(super) expect: Expect,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, Lines>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    captures: BTreeMap<String, String>,
    /// In seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decided: Option<BySoFar>,
}

/// What the policies before this one made of the request.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum BySoFar {
    LookUp,
    Pass,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Response {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, Lines>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
}

/// The lines of one field.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged, expecting = "a field value is a string, or a list of them for several lines")]
enum Lines {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<RequestDecision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<ResponseDecision>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RequestDecision {
    LookUp(LookUp),
    Pass(Pass),
    Answer(Answer),
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LookUp {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    key_parts: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Forward::is_empty")]
    forward: Forward,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pass {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "Forward::is_empty")]
    forward: Forward,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    status: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    body: String,
    /// In place of `body` where that is not text: two digits for each byte.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    body_hex: String,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Forward {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<QueryChange>,
    #[serde(default, skip_serializing_if = "FieldChanges::is_empty")]
    fields: FieldChanges,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum QueryChange {
    Only(Vec<String>),
    Without(Vec<String>),
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FieldChanges {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    remove: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    set: Vec<(String, String)>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResponseDecision {
    Store(Store),
    DoNotStore(DoNotStore),
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale_while_revalidate_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale_if_error_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "FieldChanges::is_empty")]
    fields: FieldChanges,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DoNotStore {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hit_for_miss_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "FieldChanges::is_empty")]
    fields: FieldChanges,
}

impl Case {
    /// From what was written to what is put to a policy, or the first thing that cannot be.
    pub(super) fn check(mut self) -> Result<super::Case, String> {
        if self.expect.response.is_some() && self.response.is_none() {
            return Err("expect.response: there is no response that it could be about".to_owned());
        }
        let request = self.request.given()?;
        let response = self.response.as_ref().map(Response::given).transpose()?;
        self.expect.normalise();
        Ok(super::Case {
            name: self.name.clone(),
            settings: Value::Object(self.settings.clone()),
            request,
            response,
            expected: self.expect.decided(),
            file: self,
        })
    }
}

impl Request {
    fn given(&self) -> Result<Given, String> {
        let method = self.method.as_deref().unwrap_or("GET");
        let url = self.url.as_deref().unwrap_or(DEFAULT_URL);
        let wrong_url =
            || format!("request.url: {url:?} is not as in http://example.com/path?query or /path?query");
        let uri: Uri = url.parse().map_err(|_| wrong_url())?;
        // `*` and `host:port` are request targets, too, but no URL.
        if !uri.path().starts_with('/') {
            return Err(wrong_url());
        }
        let host = match uri.authority() {
            None => "example.com".to_owned(),
            Some(authority) => {
                let default_port = if uri.scheme_str() == Some("https") { ":443" } else { ":80" };
                let host = authority.as_str().to_ascii_lowercase();
                host.strip_suffix(default_port).map(str::to_owned).unwrap_or(host)
            }
        };
        Ok(Given {
            method: Method::from_bytes(method.as_bytes())
                .map_err(|_| format!("request.method: {method:?} is not a method"))?,
            host,
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
            fields: lines(&self.fields, "request.fields")?,
            captures: self.captures.clone(),
            time_s: self.time.unwrap_or_default(),
            decided: match self.decided {
                None | Some(BySoFar::LookUp) => "look-up",
                Some(BySoFar::Pass) => "pass",
            },
        })
    }
}

impl Response {
    fn given(&self) -> Result<GivenResponse, String> {
        let status = self.status.unwrap_or(200);
        if !(200..=599).contains(&status) {
            return Err(format!("response.status: {status} is not from 200 to 599"));
        }
        Ok(GivenResponse { status, fields: lines(&self.fields, "response.fields")?, ttl_ms: self.ttl_ms })
    }
}

fn lines(written: &BTreeMap<String, Lines>, at: &str) -> Result<HeaderMap, String> {
    let mut fields = HeaderMap::new();
    for (name, lines) in written {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("{at}: {name:?} is not a field name"))?;
        let lines = match lines {
            Lines::One(line) => std::slice::from_ref(line),
            Lines::Several(lines) => lines,
        };
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes())
                .map_err(|_| format!("{at}.{name}: {line:?} is not a field value"))?;
            fields.append(parsed.clone(), value);
        }
    }
    Ok(fields)
}

impl Expect {
    /// Of decisions that came out of [`super::request_decision_json`] and its like.
    pub(super) fn of(decided: &Decided) -> Expect {
        fn read<T: serde::de::DeserializeOwned>(json: &Option<Value>) -> Option<T> {
            json.as_ref().and_then(|json| serde_json::from_value(json.clone()).ok())
        }
        Expect { request: read(&decided.request), response: read(&decided.response) }
    }

    fn decided(&self) -> Decided {
        fn json<T: Serialize>(decision: &Option<T>) -> Option<Value> {
            decision.as_ref().and_then(|decision| serde_json::to_value(decision).ok())
        }
        Decided { request: json(&self.request), response: json(&self.response) }
    }

    /// Field names are the same in any case; the host's are in lower case.
    fn normalise(&mut self) {
        let lower = |name: &mut String| name.make_ascii_lowercase();
        let changes = |changes: &mut FieldChanges| {
            changes.remove.iter_mut().for_each(lower);
            changes.set.iter_mut().for_each(|(name, _)| lower(name));
        };
        match &mut self.request {
            None => (),
            Some(
                RequestDecision::LookUp(LookUp { forward, .. }) | RequestDecision::Pass(Pass { forward, .. }),
            ) => {
                changes(&mut forward.fields);
            }
            Some(RequestDecision::Answer(answer)) => {
                answer.fields.iter_mut().for_each(|(name, _)| lower(name))
            }
        }
        match &mut self.response {
            None => (),
            Some(ResponseDecision::Store(Store { fields, .. }))
            | Some(ResponseDecision::DoNotStore(DoNotStore { fields, .. })) => changes(fields),
        }
    }
}

impl Forward {
    fn is_empty(&self) -> bool {
        self.upstream.is_none() && self.query.is_none() && self.fields.is_empty()
    }
}

impl FieldChanges {
    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty()
    }
}

impl From<&decision::RequestDecision> for RequestDecision {
    fn from(decision: &decision::RequestDecision) -> Self {
        match decision {
            decision::RequestDecision::LookUp(look_up) => Self::LookUp(LookUp {
                key_parts: texts(&look_up.key_parts),
                tags: texts(&look_up.tags),
                forward: (&look_up.forward).into(),
            }),
            decision::RequestDecision::Pass(pass) => {
                Self::Pass(Pass { reason: pass.reason.to_string(), forward: (&pass.forward).into() })
            }
            decision::RequestDecision::Answer(answer) => {
                let (body, body_hex) = match std::str::from_utf8(&answer.body) {
                    Ok(text) => (text.to_owned(), String::new()),
                    Err(_) => (String::new(), hex(&answer.body)),
                };
                Self::Answer(Answer {
                    status: answer.status.as_u16(),
                    fields: fields(&answer.fields),
                    body,
                    body_hex,
                })
            }
        }
    }
}

impl From<&decision::ResponseDecision> for ResponseDecision {
    fn from(decision: &decision::ResponseDecision) -> Self {
        match decision {
            decision::ResponseDecision::Store(store) => Self::Store(Store {
                ttl_ms: store.ttl.map(milliseconds),
                stale_while_revalidate_ms: store.stale_while_revalidate.map(milliseconds),
                stale_if_error_ms: store.stale_if_error.map(milliseconds),
                tags: texts(&store.tags),
                fields: (&store.fields).into(),
            }),
            decision::ResponseDecision::DoNotStore(do_not_store) => Self::DoNotStore(DoNotStore {
                reason: do_not_store.reason.to_string(),
                hit_for_miss_ms: do_not_store.hit_for_miss.map(milliseconds),
                fields: (&do_not_store.fields).into(),
            }),
        }
    }
}

impl From<&decision::Forward> for Forward {
    fn from(forward: &decision::Forward) -> Self {
        Self {
            upstream: forward.upstream.as_deref().map(str::to_owned),
            query: match &forward.query {
                decision::QueryChange::Unchanged => None,
                decision::QueryChange::Only(names) => Some(QueryChange::Only(texts(names))),
                decision::QueryChange::Without(names) => Some(QueryChange::Without(texts(names))),
            },
            fields: (&forward.fields).into(),
        }
    }
}

impl From<&decision::FieldChanges> for FieldChanges {
    fn from(changes: &decision::FieldChanges) -> Self {
        Self {
            remove: changes.remove.iter().map(|name| name.as_str().to_owned()).collect(),
            set: fields(&changes.set),
        }
    }
}

fn texts(texts: &[Box<str>]) -> Vec<String> {
    texts.iter().map(|text| text.to_string()).collect()
}

fn fields(fields: &[(HeaderName, HeaderValue)]) -> Vec<(String, String)> {
    let text = |(name, value): &(HeaderName, HeaderValue)| {
        // The host takes texts only.
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    fields.iter().map(text).collect()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
