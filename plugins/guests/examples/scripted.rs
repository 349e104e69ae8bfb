//! Reads what its settings name, and decides what they say: for tests of what the proxy makes of decisions.
//!
//! `request` and `response` are lists of rules; the first whose `if` holds counts. `if` has values that inputs must
//! have, by their number in the order of the contract, those of a response with an `r` in front: `{ "0": "x", "r1": "y" }`;
//! `none` is one that is not there, `status` is that of the response. `then` is a decision as case files have it, with
//! `{0}` and `{r1}` for values, or `"trap"`.

use std::{collections::BTreeMap, time::Duration};

use larder_policy::{
    Answer, DoNotStore, FieldChanges, Forward, Input, Inputs, LookUp, Pass, Policy, QueryChange,
    ReadSettings, Request, RequestDecision, RequestPolicy, Response, ResponseDecision, ResponseInput,
    ResponsePolicy, Store, TtlInput,
};
use serde::Deserialize;
use serde_json::Value;

pub(crate) struct Scripted {
    request: Vec<Rule>,
    response: Vec<Rule>,
    reads: Vec<Input>,
    of_response: Vec<ResponseInput>,
    ttl: Option<TtlInput>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    #[serde(default)]
    reads: Reads,
    #[serde(default)]
    request: Vec<Rule>,
    #[serde(default)]
    response: Vec<Rule>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Reads {
    fields: Vec<String>,
    parameters: Vec<String>,
    cookies: Vec<String>,
    captures: Vec<String>,
    method: bool,
    host: bool,
    path: bool,
    query: bool,
    time: bool,
    decided: bool,
    response_fields: Vec<String>,
    ttl: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    r#if: BTreeMap<String, Value>,
    then: Value,
}

/// By another library's reader: what rules say may be anything.
impl ReadSettings for Settings {
    fn schema() -> String {
        r#"{ "type": "object" }"#.to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

impl Policy for Scripted {
    const NAME: &'static str = "scripted";
    const VERSION: &'static str = "1.0.0";
    type Settings = Settings;

    fn configure(settings: Settings, inputs: &mut Inputs) -> Result<Self, String> {
        let Settings { reads: wanted, request, response } = settings;
        let mut reads = Vec::new();
        reads.extend(wanted.fields.iter().map(|name| inputs.field(name)));
        reads.extend(wanted.parameters.iter().map(|name| inputs.query_parameter(name)));
        reads.extend(wanted.cookies.iter().map(|name| inputs.cookie(name)));
        reads.extend(wanted.captures.iter().map(|name| inputs.capture(name)));
        reads.extend(wanted.method.then(|| inputs.method()));
        reads.extend(wanted.host.then(|| inputs.host()));
        reads.extend(wanted.path.then(|| inputs.path()));
        reads.extend(wanted.query.then(|| inputs.query()));
        reads.extend(wanted.time.then(|| inputs.time()));
        reads.extend(wanted.decided.then(|| inputs.decided()));
        Ok(Self {
            request,
            response,
            reads,
            of_response: wanted.response_fields.iter().map(|name| inputs.response_field(name)).collect(),
            ttl: wanted.ttl.then(|| inputs.ttl()),
        })
    }
}

/// Values by the names that rules have for them.
type Values = Vec<(String, String)>;

impl Scripted {
    fn values(&self, request: &Request<'_>) -> Values {
        let value = |(number, input): (usize, &Input)| {
            (number.to_string(), request.get(*input).unwrap_or("none").to_owned())
        };
        self.reads.iter().enumerate().map(value).collect()
    }
}

impl RequestPolicy for Scripted {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        let said = said(&self.request, None, &self.values(request));
        let part = |kind: &str| said.get(kind).cloned();
        if let Some(answer) = part("answer") {
            let status = answer["status"].as_u64().and_then(|status| u16::try_from(status).ok());
            let mut made = Answer::new(status.unwrap_or(200)).body(text(&answer["body"]));
            made.fields = pairs(&answer["fields"]);
            return made.into();
        }
        if let Some(pass) = part("pass") {
            return Pass { reason: text(&pass["reason"]), forward: forward(&pass["forward"]) }.into();
        }
        let look_up = part("look_up").unwrap_or_default();
        LookUp {
            key_parts: texts(&look_up["key_parts"]),
            tags: texts(&look_up["tags"]),
            forward: forward(&look_up["forward"]),
        }
        .into()
    }
}

impl ResponsePolicy for Scripted {
    fn on_response(&self, request: &Request<'_>, response: &Response<'_>) -> ResponseDecision {
        let mut values = self.values(request);
        let mut add = |value: Option<String>| {
            let number = values.iter().filter(|(name, _)| name.starts_with('r')).count();
            values.push((format!("r{number}"), value.unwrap_or_else(|| "none".to_owned())));
        };
        self.of_response.iter().for_each(|input| add(response.get(*input).map(str::to_owned)));
        if let Some(ttl) = self.ttl {
            add(response.ttl(ttl).map(|ttl| ttl.as_millis().to_string()));
        }
        let said = said(&self.response, Some(response.status()), &values);
        if let Some(refused) = said.get("do_not_store") {
            return DoNotStore {
                reason: text(&refused["reason"]),
                hit_for_miss: time(&refused["hit_for_miss_ms"]),
                fields: changes(&refused["fields"]),
            }
            .into();
        }
        let store = said.get("store").cloned().unwrap_or_default();
        Store {
            ttl: time(&store["ttl_ms"]),
            stale_while_revalidate: time(&store["stale_while_revalidate_ms"]),
            stale_if_error: time(&store["stale_if_error_ms"]),
            tags: texts(&store["tags"]),
            fields: changes(&store["fields"]),
        }
        .into()
    }
}

/// What the first rule says that holds.
fn said(rules: &[Rule], status: Option<u16>, values: &Values) -> Value {
    let holds = |(name, wanted): (&String, &Value)| match name.as_str() {
        "status" => wanted.as_u64() == status.map(u64::from),
        name => values.iter().any(|(known, value)| known == name && wanted.as_str() == Some(value)),
    };
    let rule = rules.iter().find(|rule| rule.r#if.iter().all(holds));
    let said = rule.map(|rule| filled(&rule.then, values)).unwrap_or_default();
    assert!(said != "trap", "secret words");
    said
}

/// With values in the place of their names.
fn filled(said: &Value, values: &Values) -> Value {
    match said {
        Value::String(text) => {
            let fill =
                |text: String, (name, value): &(String, String)| text.replace(&format!("{{{name}}}"), value);
            values.iter().fold(text.clone(), fill).into()
        }
        Value::Array(items) => items.iter().map(|item| filled(item, values)).collect(),
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, member)| (name.clone(), filled(member, values))).collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => said.clone(),
    }
}

fn forward(said: &Value) -> Forward {
    let query = &said["query"];
    Forward {
        upstream: said["upstream"].as_str().map(str::to_owned),
        query: match (query.get("only"), query.get("without")) {
            (Some(names), _) => QueryChange::Only(texts(names)),
            (None, Some(names)) => QueryChange::Without(texts(names)),
            (None, None) => QueryChange::Unchanged,
        },
        fields: changes(&said["fields"]),
    }
}

fn changes(said: &Value) -> FieldChanges {
    FieldChanges { remove: texts(&said["remove"]), set: pairs(&said["set"]) }
}

fn pairs(said: &Value) -> Vec<(String, String)> {
    said.as_array().into_iter().flatten().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn texts(said: &Value) -> Vec<String> {
    said.as_array().into_iter().flatten().map(text).collect()
}

fn text(said: &Value) -> String {
    said.as_str().unwrap_or_default().to_owned()
}

fn time(said: &Value) -> Option<Duration> {
    said.as_u64().map(Duration::from_millis)
}

larder_policy::export!(Scripted: request, response);
