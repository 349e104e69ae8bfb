//! What a policy may decide. The bounds on each part are the host's: outside them a decision is a fault.

use std::time::Duration;

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestDecision {
    LookUp(LookUp),
    /// Do not use the cache, and why: a few words for the log.
    Pass(String),
    Answer(Answer),
}

/// Look up under a key with further parts. Their number and order count, also of empty ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookUp {
    pub key_parts: Vec<String>,
    /// What is stored for this request carries them too. No comma, no white space.
    pub tags: Vec<String>,
}

/// Answer now, without cache or upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What to do with a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseDecision {
    /// And why: a few words for the log.
    DoNotStore(String),
    Store(Store),
}

/// How to store. `None` leaves a thing as it would be without the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store {
    pub ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    pub tags: Vec<String>,
    /// In place of fields of the same name.
    pub set_fields: Vec<(String, String)>,
    pub remove_fields: Vec<String>,
}

impl LookUp {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn key_part(mut self, part: impl Into<String>) -> Self {
        self.key_parts.push(part.into());
        self
    }

    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: Vec::new() }
    }

    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

impl From<LookUp> for RequestDecision {
    fn from(look_up: LookUp) -> Self {
        Self::LookUp(look_up)
    }
}

impl From<Answer> for RequestDecision {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl From<Store> for ResponseDecision {
    fn from(store: Store) -> Self {
        Self::Store(store)
    }
}
