//! The words of a case file, and the way from them to what is put to a policy and back from what it decided.
//!
//! Whatever is left out is empty or none, and empty in what is made of a decision is left out: so two decisions that mean the same
//! are the same JSON.

use std::{collections::BTreeMap, time::Duration};

use super::{Given, Kind};
use crate::{
    Answer, DoNotStore, FieldChanges, Forward, Json, LookUp, Pass, QueryChange, RequestDecision,
    ResponseDecision, Setting, Store,
    settings::{Fault, Range, members},
};

/// One case. It has been read: what is expected has all its names in lower case.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) settings: String,
    pub(crate) request: Given,
    /// Its status, and the rest.
    pub(crate) response: Option<(u16, Given)>,
    pub(crate) expected_request: Option<Json>,
    pub(crate) expected_response: Option<Json>,
}

#[derive(Setting)]
struct File {
    name: Option<String>,
    #[expect(dead_code, reason = "for whoever reads the file")]
    comment: Option<String>,
    #[setting(default = {})]
    settings: BTreeMap<String, Json>,
    #[setting(default = {})]
    request: FileRequest,
    response: Option<FileResponse>,
    #[setting(default = {})]
    expect: Expect,
}

#[derive(Setting)]
struct FileRequest {
    #[setting(default = "GET")]
    method: String,
    #[setting(default = "http://example.com/")]
    url: String,
    #[setting(default = {})]
    fields: BTreeMap<String, Lines>,
    #[setting(default = {})]
    captures: BTreeMap<String, String>,
    #[setting(default = 0)]
    time: u64,
    #[setting(default = "look-up")]
    decided: BySoFar,
}

#[derive(Setting)]
enum BySoFar {
    LookUp,
    Pass,
}

#[derive(Setting)]
struct FileResponse {
    #[setting(default = 200, minimum = 200, maximum = 599)]
    status: u16,
    #[setting(default = {})]
    fields: BTreeMap<String, Lines>,
    ttl_ms: Option<u64>,
}

/// The lines of one field.
struct Lines(Vec<String>);

#[derive(Setting)]
struct Expect {
    request: Option<RequestDecision>,
    response: Option<ResponseDecision>,
}

#[derive(Setting)]
struct FileLookUp {
    #[setting(default = [])]
    key_parts: Vec<String>,
    #[setting(default = [])]
    tags: Vec<String>,
    #[setting(default = {})]
    forward: FileForward,
}

#[derive(Setting)]
struct FilePass {
    #[setting(default = "")]
    reason: String,
    #[setting(default = {})]
    forward: FileForward,
}

#[derive(Setting)]
struct FileAnswer {
    status: u16,
    #[setting(default = [])]
    fields: Vec<(String, String)>,
    #[setting(default = "")]
    body: String,
    #[setting(default = "")]
    body_hex: String,
}

#[derive(Setting)]
struct FileForward {
    upstream: Option<String>,
    query: Option<QueryChange>,
    #[setting(default = {})]
    fields: FileChanges,
}

#[derive(Setting)]
struct FileChanges {
    #[setting(default = [])]
    remove: Vec<String>,
    #[setting(default = [])]
    set: Vec<(String, String)>,
}

#[derive(Setting)]
struct FileStore {
    ttl_ms: Option<u64>,
    stale_while_revalidate_ms: Option<u64>,
    stale_if_error_ms: Option<u64>,
    #[setting(default = [])]
    tags: Vec<String>,
    #[setting(default = {})]
    fields: FileChanges,
}

#[derive(Setting)]
struct FileDoNotStore {
    #[setting(default = "")]
    reason: String,
    hit_for_miss_ms: Option<u64>,
    #[setting(default = {})]
    fields: FileChanges,
}

/// Reads a file: one case or a list of them. The error names what is unknown or wrong, and where.
pub(crate) fn read(text: &str) -> Result<Vec<Case>, String> {
    let (files, is_one) = match Json::read(text)? {
        Json::List(files) => (files, false),
        one @ (Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Object(_)) => {
            (vec![one], true)
        }
    };
    let read = |(number, file): (usize, &Json)| {
        let place = if is_one { String::new() } else { format!("case {}: ", number + 1) };
        File::read(file, Range::ALL)
            .map_err(String::from)
            .and_then(File::case)
            .map_err(|fault| place + &fault)
    };
    files.iter().enumerate().map(read).collect()
}

impl File {
    fn case(self) -> Result<Case, String> {
        let File { name, settings, request, response, expect, .. } = self;
        if expect.response.is_some() && response.is_none() {
            return Err("expect.response: there is no response that it could be about".to_owned());
        }
        Ok(Case {
            name: name.unwrap_or_else(|| format!("{} {}", request.method, request.url)),
            settings: Json::Object(settings.into_iter().collect()).to_string(),
            request: request.given()?,
            response: response.map(FileResponse::given),
            expected_request: expect.request.as_ref().map(request_json),
            expected_response: expect.response.as_ref().map(response_json),
        })
    }
}

impl FileRequest {
    fn given(self) -> Result<Given, String> {
        let FileRequest { method, url, fields, captures, time, decided } = self;
        let wrong_url =
            || format!("request.url: {url:?} is not as in http://example.com/path?query or /path?query");
        let lower = url.get(..8).unwrap_or(&url).to_ascii_lowercase();
        let scheme = lower.split_once("://").map(|(scheme, _)| scheme);
        let (host, target) = match url.split_once("://").filter(|_| scheme.is_some()) {
            None => ("example.com".to_owned(), url.as_str()),
            Some((_, rest)) => {
                let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
                let host = authority.to_ascii_lowercase();
                let default_port = match scheme {
                    Some("http") => ":80",
                    Some("https") => ":443",
                    Some(_) | None => return Err(wrong_url()),
                };
                (host.strip_suffix(default_port).map(str::to_owned).unwrap_or(host), target)
            }
        };
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let path = if path.is_empty() && scheme.is_some() { "/" } else { path };
        if host.is_empty() || !path.starts_with('/') {
            return Err(wrong_url());
        }
        let mut given = Given::new().method(&method).host(&host).path(path).time(time);
        if let Some(query) = query {
            given = given.query(query);
            for pair in query.split('&') {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                given = given.query_parameter(name, value);
            }
        }
        for (name, Lines(lines)) in fields {
            given = given.field(&name, &lines.join(", "));
            if name.eq_ignore_ascii_case("cookie") {
                let cookies = lines.iter().flat_map(|line| line.split(';')).map(str::trim_ascii);
                given = cookies.filter(|cookie| !cookie.is_empty()).fold(given, Given::written_cookie);
            }
        }
        given = captures.iter().fold(given, |given, (name, value)| given.capture(name, value));
        let decided = match decided {
            BySoFar::LookUp => "look-up",
            BySoFar::Pass => "pass",
        };
        Ok(given.decided(decided))
    }
}

impl Given {
    /// `name=value`. Where an upstream may take another value than the proxy does, it is none that a policy is asked about.
    fn written_cookie(self, written: &str) -> Given {
        let (name, value) = written.split_once('=').unwrap_or((written, ""));
        let is_odd = !written.contains('=') || name.trim() != name;
        let name = name.trim();
        if is_odd || self.find(Kind::Cookie, name).is_some() {
            return self.with(Kind::OddCookie, name, "");
        }
        self.cookie(name, value)
    }
}

impl FileResponse {
    fn given(self) -> (u16, Given) {
        let FileResponse { status, fields, ttl_ms } = self;
        let mut given = Given::new();
        for (name, Lines(lines)) in fields {
            given = given.response_field(&name, &lines.join(", "));
        }
        if let Some(ttl_ms) = ttl_ms {
            given = given.ttl(Duration::from_millis(ttl_ms));
        }
        (status, given)
    }
}

impl Setting for Lines {
    fn schema(out: &mut String, _: Range) {
        out.push_str("\"type\":[\"string\",\"array\"]");
    }

    fn read(value: &Json, range: Range) -> Result<Self, Fault> {
        if let Json::Text(line) = value {
            return Ok(Lines(vec![line.clone()]));
        }
        Setting::read(value, range).map(Lines)
    }
}

/// The one of these members that an object has.
fn the_one<'v>(value: &'v Json, names: &[&'static str]) -> Result<(&'static str, &'v Json), Fault> {
    let found: Vec<_> =
        names.iter().filter_map(|name| members(value, names).ok()?.get(name).map(|it| (*name, it))).collect();
    match (members(value, names)?, found.as_slice()) {
        (_, [one]) => Ok(*one),
        _ => Err(Fault::new(format!("wanted one of {}, found {value}", names.join(", ")))),
    }
}

fn of<T: Setting>((name, value): (&str, &Json)) -> Result<T, Fault> {
    T::read(value, Range::ALL).map_err(|fault| fault.in_member(name))
}

impl Setting for RequestDecision {
    fn schema(out: &mut String, _: Range) {
        out.push_str("\"type\":\"object\"");
    }

    fn read(value: &Json, _: Range) -> Result<Self, Fault> {
        let said = the_one(value, &["look_up", "pass", "answer"])?;
        Ok(match said.0 {
            "look_up" => {
                let FileLookUp { key_parts, tags, forward } = of(said)?;
                LookUp { key_parts, tags, forward: forward.into() }.into()
            }
            "pass" => {
                let FilePass { reason, forward } = of(said)?;
                Pass { reason, forward: forward.into() }.into()
            }
            _ => {
                let FileAnswer { status, fields, body, body_hex } = of(said)?;
                let body = if body.is_empty() {
                    bytes(&body_hex).map_err(|fault| fault.in_member("answer"))?
                } else {
                    body.into_bytes()
                };
                Answer { status, fields, body }.into()
            }
        })
    }
}

impl Setting for ResponseDecision {
    fn schema(out: &mut String, _: Range) {
        out.push_str("\"type\":\"object\"");
    }

    fn read(value: &Json, _: Range) -> Result<Self, Fault> {
        let said = the_one(value, &["store", "do_not_store"])?;
        Ok(match said.0 {
            "store" => {
                let FileStore { ttl_ms, stale_while_revalidate_ms, stale_if_error_ms, tags, fields } =
                    of(said)?;
                Store {
                    ttl: ttl_ms.map(Duration::from_millis),
                    stale_while_revalidate: stale_while_revalidate_ms.map(Duration::from_millis),
                    stale_if_error: stale_if_error_ms.map(Duration::from_millis),
                    tags,
                    fields: fields.into(),
                }
                .into()
            }
            _ => {
                let FileDoNotStore { reason, hit_for_miss_ms, fields } = of(said)?;
                let hit_for_miss = hit_for_miss_ms.map(Duration::from_millis);
                DoNotStore { reason, hit_for_miss, fields: fields.into() }.into()
            }
        })
    }
}

impl Setting for QueryChange {
    fn schema(out: &mut String, _: Range) {
        out.push_str("\"type\":\"object\"");
    }

    fn read(value: &Json, _: Range) -> Result<Self, Fault> {
        let said = the_one(value, &["only", "without"])?;
        Ok(if said.0 == "only" { QueryChange::Only(of(said)?) } else { QueryChange::Without(of(said)?) })
    }
}

impl From<FileForward> for Forward {
    fn from(FileForward { upstream, query, fields }: FileForward) -> Forward {
        Forward { upstream, query: query.unwrap_or_default(), fields: fields.into() }
    }
}

impl From<FileChanges> for FieldChanges {
    fn from(FileChanges { remove, set }: FileChanges) -> FieldChanges {
        FieldChanges { remove, set }
    }
}

fn bytes(hex: &str) -> Result<Vec<u8>, Fault> {
    let wrong = || Fault::new("not two hexadecimal digits for each byte").in_member("body_hex");
    let digits: Vec<_> =
        hex.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>().ok_or_else(wrong)?;
    let byte = |pair: &[u32]| match *pair {
        [high, low] => u8::try_from(high * 16 + low).map_err(|_| wrong()),
        _ => Err(wrong()),
    };
    digits.chunks(2).map(byte).collect()
}

/// As it stands in a case file.
pub(crate) fn request_json(decision: &RequestDecision) -> Json {
    match decision {
        RequestDecision::LookUp(LookUp { key_parts, tags, forward }) => named(
            "look_up",
            object([
                ("key_parts", texts(key_parts)),
                ("tags", texts(tags)),
                ("forward", forward_json(forward)),
            ]),
        ),
        RequestDecision::Pass(Pass { reason, forward }) => {
            named("pass", object([("reason", text(reason)), ("forward", forward_json(forward))]))
        }
        RequestDecision::Answer(Answer { status, fields, body }) => {
            let (body, hex) = match std::str::from_utf8(body) {
                Ok(body) => (body.to_owned(), String::new()),
                Err(_) => (String::new(), body.iter().map(|byte| format!("{byte:02x}")).collect()),
            };
            named(
                "answer",
                object([
                    ("status", Some(Json::Number(status.to_string()))),
                    ("fields", pairs(fields)),
                    ("body", text(&body)),
                    ("body_hex", text(&hex)),
                ]),
            )
        }
    }
}

/// As it stands in a case file.
pub(crate) fn response_json(decision: &ResponseDecision) -> Json {
    match decision {
        ResponseDecision::Store(store) => named(
            "store",
            object([
                ("ttl_ms", milliseconds(store.ttl)),
                ("stale_while_revalidate_ms", milliseconds(store.stale_while_revalidate)),
                ("stale_if_error_ms", milliseconds(store.stale_if_error)),
                ("tags", texts(&store.tags)),
                ("fields", changes_json(&store.fields)),
            ]),
        ),
        ResponseDecision::DoNotStore(DoNotStore { reason, hit_for_miss, fields }) => named(
            "do_not_store",
            object([
                ("reason", text(reason)),
                ("hit_for_miss_ms", milliseconds(*hit_for_miss)),
                ("fields", changes_json(fields)),
            ]),
        ),
    }
}

fn named(name: &str, value: Json) -> Json {
    Json::Object(vec![(name.to_owned(), value)])
}

fn object<const N: usize>(members: [(&str, Option<Json>); N]) -> Json {
    let there = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut there: Vec<_> = there.collect();
    there.sort_unstable_by(|(one, _), (two, _)| one.cmp(two));
    Json::Object(there)
}

/// Nothing in the place of an object without members.
fn unless_empty(object: Json) -> Option<Json> {
    if object == Json::Object(Vec::new()) { None } else { Some(object) }
}

fn text(text: &str) -> Option<Json> {
    if text.is_empty() { None } else { Some(Json::Text(text.to_owned())) }
}

fn texts(texts: &[String]) -> Option<Json> {
    let list = |texts: &[String]| Json::List(texts.iter().cloned().map(Json::Text).collect());
    if texts.is_empty() { None } else { Some(list(texts)) }
}

/// Field names are the same in any case.
fn pairs(fields: &[(String, String)]) -> Option<Json> {
    let pair = |(name, value): &(String, String)| {
        Json::List(vec![Json::Text(name.to_ascii_lowercase()), Json::Text(value.clone())])
    };
    if fields.is_empty() { None } else { Some(Json::List(fields.iter().map(pair).collect())) }
}

fn forward_json(Forward { upstream, query, fields }: &Forward) -> Option<Json> {
    let list = |names: &[String]| Json::List(names.iter().cloned().map(Json::Text).collect());
    let query = match query {
        QueryChange::Unchanged => None,
        QueryChange::Only(names) => Some(named("only", list(names))),
        QueryChange::Without(names) => Some(named("without", list(names))),
    };
    let upstream = upstream.clone().map(Json::Text);
    unless_empty(object([("upstream", upstream), ("query", query), ("fields", changes_json(fields))]))
}

fn changes_json(FieldChanges { remove, set }: &FieldChanges) -> Option<Json> {
    let remove: Vec<_> = remove.iter().map(|name| name.to_ascii_lowercase()).collect();
    unless_empty(object([("remove", texts(&remove)), ("set", pairs(set))]))
}

fn milliseconds(time: Option<Duration>) -> Option<Json> {
    time.map(|time| Json::Number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).to_string()))
}
