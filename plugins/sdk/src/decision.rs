//! What a policy may decide. The bounds on each part are the host's: outside them a decision is a fault.

use std::time::Duration;

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestDecision {
    LookUp(LookUp),
    Pass(Pass),
    Answer(Answer),
}

/// Look up under a key with further parts. Their number and order count, also of empty ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookUp {
    pub key_parts: Vec<String>,
    /// What is stored for this request carries them too. No comma, no white space.
    pub tags: Vec<String>,
    pub forward: Forward,
}

/// Do not use the cache for this request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// A few words for the log.
    pub reason: String,
    pub forward: Forward,
}

/// Answer now, without cache or upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// How the request goes on to the upstream if it has to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forward {
    /// One of those that the route lets policies choose from. What is chosen is part of the key.
    pub upstream: Option<String>,
    pub query: QueryChange,
    /// What is set is part of the key.
    pub fields: FieldChanges,
}

/// What becomes of the query, in the key and in what is forwarded alike. A name that ends in `*` stands for all that begin
/// so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum QueryChange {
    #[default]
    Unchanged,
    /// All other parameters are dropped.
    Only(Vec<String>),
    /// These parameters are dropped.
    Without(Vec<String>),
}

/// What is taken away from the fields of a message, and then put there in place of fields of the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldChanges {
    pub remove: Vec<String>,
    pub set: Vec<(String, String)>,
}

/// What to do with a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseDecision {
    Store(Store),
    DoNotStore(DoNotStore),
}

/// It is delivered and not stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoNotStore {
    /// A few words for the log.
    pub reason: String,
    /// How long it is remembered that requests like this one need not wait for each other. `None`: as the route says.
    pub hit_for_miss: Option<Duration>,
    pub fields: FieldChanges,
}

/// How to store. `None` leaves a thing as it would be without the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store {
    pub ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    pub tags: Vec<String>,
    pub fields: FieldChanges,
}

/// Those that go on to the upstream have these.
macro_rules! forwarded {
    ($kind:ty) => {
        impl $kind {
            /// Sends it to this upstream, which the route has to offer.
            #[must_use]
            pub fn upstream(mut self, name: impl Into<String>) -> Self {
                self.forward.upstream = Some(name.into());
                self
            }

            /// Drops all parameters of the query but these.
            #[must_use]
            pub fn only_parameters<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
                self.forward.query = QueryChange::Only(names.into_iter().map(Into::into).collect());
                self
            }

            /// Drops these parameters of the query.
            #[must_use]
            pub fn without_parameters<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
                self.forward.query = QueryChange::Without(names.into_iter().map(Into::into).collect());
                self
            }

            /// Sets a field of the request; it becomes a part of the key.
            #[must_use]
            pub fn set_field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
                self.forward.fields.set.push((name.into(), value.into()));
                self
            }

            /// Removes a field of the request.
            #[must_use]
            pub fn remove_field(mut self, name: impl Into<String>) -> Self {
                self.forward.fields.remove.push(name.into());
                self
            }
        }
    };
}

/// Those that say something of a response have these.
macro_rules! delivered {
    ($kind:ty) => {
        impl $kind {
            /// Sets a field of the response.
            #[must_use]
            pub fn set_field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
                self.fields.set.push((name.into(), value.into()));
                self
            }

            /// Removes a field of the response.
            #[must_use]
            pub fn remove_field(mut self, name: impl Into<String>) -> Self {
                self.fields.remove.push(name.into());
                self
            }
        }
    };
}

forwarded!(LookUp);
forwarded!(Pass);
delivered!(Store);
delivered!(DoNotStore);

impl Pass {
    /// A few words for the log.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), forward: Forward::default() }
    }
}

impl Store {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = Some(window);
        self
    }

    #[must_use]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = Some(window);
        self
    }

    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }
}

impl DoNotStore {
    /// A few words for the log.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::default() }
    }

    /// For so long it is remembered that requests like this one need not wait for each other.
    #[must_use]
    pub fn hit_for_miss(mut self, time: Duration) -> Self {
        self.hit_for_miss = Some(time);
        self
    }
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

impl From<Pass> for RequestDecision {
    fn from(pass: Pass) -> Self {
        Self::Pass(pass)
    }
}

impl From<DoNotStore> for ResponseDecision {
    fn from(do_not_store: DoNotStore) -> Self {
        Self::DoNotStore(do_not_store)
    }
}
