//! Unit tests of a policy, natively: what a request has, by name, and the decision.
//!
//! Like the host, it passes only what the policy asked for. [`check_cases`] replays case files.

mod case_file;
mod cases;

use std::time::Duration;

pub use cases::{Exported, Exports, check_cases};

use crate::{
    Inputs, Policy, RequestDecision, RequestPolicy, ResponseDecision, ResponsePolicy,
    glue::{Configured, configure},
};

/// A policy under settings.
pub struct Tester<P> {
    configured: Configured<P>,
    inputs: Inputs,
}

/// What a request, and its response, have.
#[derive(Debug, Clone, Default)]
pub struct Given {
    values: Vec<(Kind, String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Field,
    Query,
    Cookie,
    /// One that cannot be told apart.
    OddCookie,
    Capture,
    Method,
    Host,
    Path,
    WholeQuery,
    Time,
    Decided,
    ResponseField,
    Ttl,
}

impl<P: Policy> Tester<P> {
    /// `settings` is JSON text. Fails as the policy would at load, apart from the check of the schema.
    pub fn new(settings: &str) -> Result<Self, String> {
        let (configured, inputs) = configure(settings)?;
        Ok(Self { configured, inputs })
    }

    #[track_caller]
    fn request_values(&self, given: &Given) -> Vec<Option<String>> {
        // What a test gives one by one cannot be odd.
        request_values(&self.inputs, given).unwrap_or_else(|why| panic!("{why}"))
    }
}

/// What an [`export!`](crate::export!) says of a policy, where the target is not WebAssembly.
impl<P: RequestPolicy> Exports<'_, P> {
    pub fn on_request(&self) -> RequestDecision {
        self.configured.on_request(&self.request_values)
    }
}

impl<P: ResponsePolicy> Exports<'_, P> {
    pub fn on_response(&self, status: u16) -> ResponseDecision {
        self.configured.on_response(status, &self.request_values, &self.response_values)
    }
}

/// One for each input of the request, in the order of the contract.
fn request_values(inputs: &Inputs, given: &Given) -> Result<Vec<Option<String>>, String> {
    let Inputs {
        request_fields,
        query_parameters,
        cookies,
        captures,
        method,
        host,
        path,
        query,
        time,
        decided,
        response_fields: _,
        ttl: _,
    } = inputs;
    if cookies.iter().any(|name| given.find(Kind::OddCookie, name).is_some()) {
        return Err("the request is not put to the policy: a cookie is there twice".to_owned());
    }
    let mut values = Vec::new();
    for (kind, names) in [
        (Kind::Field, request_fields),
        (Kind::Query, query_parameters),
        (Kind::Cookie, cookies),
        (Kind::Capture, captures),
    ] {
        values.extend(names.iter().map(|name| given.find(kind, name)));
    }
    for (kind, wanted) in [
        (Kind::Method, method),
        (Kind::Host, host),
        (Kind::Path, path),
        (Kind::WholeQuery, query),
        (Kind::Time, time),
        (Kind::Decided, decided),
    ] {
        values.extend(wanted.then(|| given.find(kind, "")));
    }
    Ok(values)
}

/// One for each input of the response, in the order of the contract.
fn response_values(inputs: &Inputs, given: &Given) -> Vec<Option<String>> {
    let fields = inputs.response_fields.iter();
    let mut values: Vec<_> = fields.map(|name| given.find(Kind::ResponseField, name)).collect();
    values.extend(inputs.ttl.then(|| given.find(Kind::Ttl, "")));
    values
}

impl<P: RequestPolicy> Tester<P> {
    pub fn on_request(&self, given: &Given) -> RequestDecision {
        self.configured.on_request(&self.request_values(given))
    }
}

impl<P: ResponsePolicy> Tester<P> {
    pub fn on_response(&self, status: u16, given: &Given) -> ResponseDecision {
        self.configured.on_response(
            status,
            &self.request_values(given),
            &response_values(&self.inputs, given),
        )
    }
}

impl Given {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn field(self, name: &str, value: &str) -> Self {
        self.with(Kind::Field, &name.to_ascii_lowercase(), value)
    }

    #[must_use]
    pub fn query_parameter(self, name: &str, value: &str) -> Self {
        self.with(Kind::Query, name, value)
    }

    #[must_use]
    pub fn cookie(self, name: &str, value: &str) -> Self {
        self.with(Kind::Cookie, name, value)
    }

    #[must_use]
    pub fn capture(self, name: &str, value: &str) -> Self {
        self.with(Kind::Capture, name, value)
    }

    #[must_use]
    pub fn method(self, method: &str) -> Self {
        self.with(Kind::Method, "", method)
    }

    #[must_use]
    pub fn host(self, host: &str) -> Self {
        self.with(Kind::Host, "", host)
    }

    /// The whole of it; its parameters are given by [`Self::query_parameter`].
    #[must_use]
    pub fn query(self, query: &str) -> Self {
        self.with(Kind::WholeQuery, "", query)
    }

    /// `look-up` or `pass`.
    #[must_use]
    pub fn decided(self, decided: &str) -> Self {
        self.with(Kind::Decided, "", decided)
    }

    /// The lifetime that the response has so far.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.with(Kind::Ttl, "", &ttl.as_millis().to_string())
    }

    #[must_use]
    pub fn path(self, path: &str) -> Self {
        self.with(Kind::Path, "", path)
    }

    #[must_use]
    pub fn time(self, seconds: u64) -> Self {
        self.with(Kind::Time, "", &seconds.to_string())
    }

    #[must_use]
    pub fn response_field(self, name: &str, value: &str) -> Self {
        self.with(Kind::ResponseField, &name.to_ascii_lowercase(), value)
    }

    fn with(mut self, kind: Kind, name: &str, value: &str) -> Self {
        self.values.push((kind, name.to_owned(), value.to_owned()));
        self
    }

    fn find(&self, kind: Kind, name: &str) -> Option<String> {
        let found = self.values.iter().find(|(of, known, _)| *of == kind && known == name);
        found.map(|(_, _, value)| value.clone())
    }
}
