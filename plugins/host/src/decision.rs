//! What a policy reads and what it may decide, in the words of the proxy. Nothing here knows WebAssembly.
//!
//! How these values come out of a guest: `bindings.rs`; which of them are refused: `checks.rs`.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

/// What a policy said that it reads. The values passed to a call stand in exactly this order:
/// `request_fields`, `query_parameters`, `cookies`, `captures`, then `method`, `path`, `time_s` where declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    pub request_fields: Vec<HeaderName>,
    pub query_parameters: Vec<String>,
    pub cookies: Vec<String>,
    pub captures: Vec<String>,
    pub method: bool,
    pub path: bool,
    /// The time in whole seconds since the epoch, in decimal.
    pub time: bool,
    /// Only `on_response` sees these.
    pub response_fields: Vec<HeaderName>,
}

impl Inputs {
    /// How many request values a call takes.
    pub fn request_values(&self) -> usize {
        self.request_fields.len()
            + self.query_parameters.len()
            + self.cookies.len()
            + self.captures.len()
            + usize::from(self.method)
            + usize::from(self.path)
            + usize::from(self.time)
    }
}

/// What `on_request` decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestDecision {
    /// Look the request up under a key with these further parts; what is stored carries these tags too.
    LookUp { key_parts: Vec<Box<str>>, tags: Vec<Box<str>> },
    /// Do not use the cache for this request.
    Pass { reason: Box<str> },
    /// Answer without cache or upstream.
    Answer { status: StatusCode, fields: Vec<(HeaderName, HeaderValue)>, body: Bytes },
}

/// What `on_response` decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseDecision {
    DoNotStore { reason: Box<str> },
    Store(StoreDecision),
}

/// How to store. `None` means: as without the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreDecision {
    pub ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    pub tags: Vec<Box<str>>,
    pub set_fields: Vec<(HeaderName, HeaderValue)>,
    pub remove_fields: Vec<HeaderName>,
}
