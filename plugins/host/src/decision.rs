//! What a policy reads and what it may decide, in the words of the proxy. Nothing here knows WebAssembly.
//!
//! How these values come out of a guest: `bindings.rs`; which of them are refused: `checks.rs`.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

/// What a policy said that it reads. The values passed to a call stand in exactly this order:
/// `request_fields`, `query_parameters`, `cookies`, `captures`, then `method`, `host`, `path`, `query`, `time`, `decided`
/// where declared; those of a response: `response_fields`, then `ttl` where declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    pub request_fields: Vec<HeaderName>,
    pub query_parameters: Vec<String>,
    pub cookies: Vec<String>,
    pub captures: Vec<String>,
    pub method: bool,
    pub host: bool,
    pub path: bool,
    pub query: bool,
    /// The time in whole seconds since the epoch, in decimal. Decisions are then not remembered.
    pub time: bool,
    /// `look-up` or `pass`: what the policies before this one made of the request.
    pub decided: bool,
    /// Only `on_response` sees these.
    pub response_fields: Vec<HeaderName>,
    /// The lifetime so far, in milliseconds, in decimal.
    pub ttl: bool,
}

impl Inputs {
    /// How many request values a call takes.
    pub fn request_values(&self) -> usize {
        let Self { request_fields, query_parameters, cookies, captures, .. } = self;
        let named = request_fields.len() + query_parameters.len() + cookies.len() + captures.len();
        let wanted = [self.method, self.host, self.path, self.query, self.time, self.decided];
        named + wanted.into_iter().filter(|wanted| *wanted).count()
    }

    /// How many response values a call takes.
    pub fn response_values(&self) -> usize {
        self.response_fields.len() + usize::from(self.ttl)
    }
}

/// What `on_request` decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestDecision {
    LookUp(LookUp),
    Pass(Pass),
    Answer(Answer),
}

/// Look the request up under a key with these further parts; what is stored carries these tags too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookUp {
    pub key_parts: Vec<Box<str>>,
    pub tags: Vec<Box<str>>,
    pub forward: Forward,
}

/// Do not use the cache for this request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    pub reason: Box<str>,
    pub forward: Forward,
}

/// Answer without cache or upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub fields: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

/// How a request goes on if it has to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forward {
    /// A name; whether the route offers it is the proxy's to check.
    pub upstream: Option<Box<str>>,
    pub query: QueryChange,
    pub fields: FieldChanges,
}

/// What becomes of the query. A name that ends in `*` stands for all that begin so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum QueryChange {
    #[default]
    Unchanged,
    Only(Vec<Box<str>>),
    Without(Vec<Box<str>>),
}

/// What is removed from a header section, and then set in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldChanges {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
}

impl FieldChanges {
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty()
    }
}

impl Forward {
    /// Whether the request goes on as it came.
    pub fn is_unchanged(&self) -> bool {
        self.upstream.is_none() && self.query == QueryChange::Unchanged && self.fields.is_empty()
    }
}

/// What `on_response` decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseDecision {
    Store(StoreDecision),
    DoNotStore(DoNotStore),
}

/// How to store. `None` means: as without the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreDecision {
    pub ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    pub tags: Vec<Box<str>>,
    pub fields: FieldChanges,
}

/// What becomes of a response that is not to be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoNotStore {
    pub reason: Box<str>,
    /// How long it is remembered that there is nothing to share; `None`: as the route says.
    pub hit_for_miss: Option<Duration>,
    pub fields: FieldChanges,
}
