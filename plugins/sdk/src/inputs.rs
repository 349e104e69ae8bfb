//! What a policy reads: asked for by name once, then read through a handle without a search.
//!
//! The order in which values are passed is the contract's (`wit/plugin.wit`); only this file knows it.

/// Collects what a policy reads, while it is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    pub(crate) request_fields: Vec<String>,
    pub(crate) query_parameters: Vec<String>,
    pub(crate) cookies: Vec<String>,
    pub(crate) captures: Vec<String>,
    pub(crate) method: bool,
    pub(crate) path: bool,
    pub(crate) time: bool,
    pub(crate) response_fields: Vec<String>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Field,
    Query,
    Cookie,
    Capture,
    Method,
    Path,
    Time,
}

impl Inputs {
    /// A header field of the request.
    pub fn field(&mut self, name: &str) -> Input {
        Input { kind: Kind::Field, position: declare(&mut self.request_fields, &name.to_ascii_lowercase()) }
    }

    pub fn query_parameter(&mut self, name: &str) -> Input {
        Input { kind: Kind::Query, position: declare(&mut self.query_parameters, name) }
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

    /// The path without the query.
    pub fn path(&mut self) -> Input {
        self.path = true;
        Input { kind: Kind::Path, position: 0 }
    }

    /// Whole seconds since 1970, in decimal. Decisions are then remembered for no longer than a second.
    pub fn time(&mut self) -> Input {
        self.time = true;
        Input { kind: Kind::Time, position: 0 }
    }

    /// A header field of the response, for [`crate::ResponsePolicy`] alone.
    pub fn response_field(&mut self, name: &str) -> ResponseInput {
        ResponseInput(declare(&mut self.response_fields, &name.to_ascii_lowercase()))
    }

    /// Where the values of each kind begin.
    pub(crate) fn offsets(&self) -> Offsets {
        let query = self.request_fields.len();
        let cookie = query + self.query_parameters.len();
        let capture = cookie + self.cookies.len();
        let method = capture + self.captures.len();
        let path = method + usize::from(self.method);
        let time = path + usize::from(self.path);
        Offsets([0, query, cookie, capture, method, path, time])
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
pub(crate) struct Offsets([usize; 7]);

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

    /// The value, if the response has it.
    pub fn get(&self, input: ResponseInput) -> Option<&'a str> {
        self.values.get(input.0)?.as_deref()
    }
}
