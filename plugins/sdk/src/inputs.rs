//! What a policy reads: asked for by name once, then read through a handle without a search.
//!
//! The order in which values are passed is the contract's (`wit/plugin.wit`); only this file knows it.

use std::time::Duration;

/// Collects what a policy reads, while it is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    pub(crate) request_fields: Vec<String>,
    pub(crate) query_parameters: Vec<String>,
    pub(crate) cookies: Vec<String>,
    pub(crate) captures: Vec<String>,
    pub(crate) method: bool,
    pub(crate) host: bool,
    pub(crate) path: bool,
    pub(crate) query: bool,
    pub(crate) time: bool,
    pub(crate) decided: bool,
    pub(crate) response_fields: Vec<String>,
    pub(crate) ttl: bool,
}

/// Something of the request, for [`Request::get`]. Good for the policy that was configured with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    kind: Kind,
    position: usize,
}

/// A header field of the response, for [`Response::get`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseInput(usize);

/// The lifetime that a response has so far, for [`Response::ttl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlInput(());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Field,
    Parameter,
    Cookie,
    Capture,
    Method,
    Host,
    Path,
    Query,
    Time,
    Decided,
}

impl Inputs {
    /// A header field of the request.
    pub fn field(&mut self, name: &str) -> Input {
        Input { kind: Kind::Field, position: declare(&mut self.request_fields, &name.to_ascii_lowercase()) }
    }

    pub fn query_parameter(&mut self, name: &str) -> Input {
        Input { kind: Kind::Parameter, position: declare(&mut self.query_parameters, name) }
    }

    pub fn cookie(&mut self, name: &str) -> Input {
        Input { kind: Kind::Cookie, position: declare(&mut self.cookies, name) }
    }

    /// A capture of the route's pattern: `id` of `/users/{id}`.
    pub fn capture(&mut self, name: &str) -> Input {
        Input { kind: Kind::Capture, position: declare(&mut self.captures, name) }
    }

    pub fn method(&mut self) -> Input {
        self.method = true;
        Input { kind: Kind::Method, position: 0 }
    }

    /// The authority that is asked, in lower case, with a port that is not the default.
    pub fn host(&mut self) -> Input {
        self.host = true;
        Input { kind: Kind::Host, position: 0 }
    }

    /// The path without the query.
    pub fn path(&mut self) -> Input {
        self.path = true;
        Input { kind: Kind::Path, position: 0 }
    }

    /// The query without its `?`, if there is one.
    pub fn query(&mut self) -> Input {
        self.query = true;
        Input { kind: Kind::Query, position: 0 }
    }

    /// What the policies before this one made of the request: `look-up` or `pass`.
    pub fn decided(&mut self) -> Input {
        self.decided = true;
        Input { kind: Kind::Decided, position: 0 }
    }

    /// Whole seconds since 1970, in decimal. Decisions are then not remembered.
    pub fn time(&mut self) -> Input {
        self.time = true;
        Input { kind: Kind::Time, position: 0 }
    }

    /// A header field of the response, for [`crate::ResponsePolicy`] alone.
    pub fn response_field(&mut self, name: &str) -> ResponseInput {
        ResponseInput(declare(&mut self.response_fields, &name.to_ascii_lowercase()))
    }

    /// The lifetime that the response has so far, for [`crate::ResponsePolicy`] alone.
    pub fn ttl(&mut self) -> TtlInput {
        self.ttl = true;
        TtlInput(())
    }

    /// Where the values of each kind begin.
    pub(crate) fn offsets(&self) -> Offsets {
        let query = self.request_fields.len();
        let cookie = query + self.query_parameters.len();
        let capture = cookie + self.cookies.len();
        let method = capture + self.captures.len();
        let host = method + usize::from(self.method);
        let path = host + usize::from(self.host);
        let whole_query = path + usize::from(self.path);
        let time = whole_query + usize::from(self.query);
        let decided = time + usize::from(self.time);
        Offsets([0, query, cookie, capture, method, host, path, whole_query, time, decided])
    }
}

/// Where a name stands, added if it is new: asking twice reads the same value.
fn declare(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

/// By [`Kind`], in its order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offsets([usize; 10]);

/// What the policy asked for, of one request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub(crate) values: &'a [Option<String>],
    pub(crate) offsets: Offsets,
}

impl<'a> Request<'a> {
    /// The value, if the request has it.
    pub fn get(&self, input: Input) -> Option<&'a str> {
        let Offsets(offsets) = self.offsets;
        self.values.get(offsets[input.kind as usize] + input.position)?.as_deref()
    }
}

/// What the policy asked for, of one response.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) values: &'a [Option<String>],
}

impl<'a> Response<'a> {
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The lifetime that it has by its own fields, the route and the policies before this one; `None`: it has none.
    pub fn ttl(&self, _: TtlInput) -> Option<Duration> {
        // It comes behind all fields.
        self.values.last()?.as_ref()?.parse().ok().map(Duration::from_millis)
    }

    /// The value, if the response has it.
    pub fn get(&self, input: ResponseInput) -> Option<&'a str> {
        self.values.get(input.0)?.as_deref()
    }
}
