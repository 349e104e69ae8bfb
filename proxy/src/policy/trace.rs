//! What policies were asked and what they said, for `explain`: nothing of it is made where nobody asks.

use std::{cell::RefCell, rc::Rc};

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE},
};
use plugin_host::{Inputs, RequestDecision, ResponseDecision, Values};

use super::asking::Unasked;
use crate::{config::OnFault, live::Link};

/// Filled by those who ask.
pub type Trace = RefCell<Vec<Asked>>;

/// One policy, asked about a request or a response.
#[derive(Debug)]
pub struct Asked {
    pub policy: Box<str>,
    /// `None` for a request.
    pub status: Option<StatusCode>,
    /// What it reads, by name, and what that was.
    pub values: Vec<(String, Option<String>)>,
    pub came: Came,
}

/// What came of it.
#[derive(Debug)]
pub enum Came {
    Request(Rc<RequestDecision>),
    Response(Rc<ResponseDecision>),
    NotText,
    Failed(String, OnFault),
}

impl Asked {
    pub(super) fn about_request(link: &Link, values: Option<&[Option<Box<str>>]>, came: Came) -> Asked {
        let values = values.map(|values| values.iter().map(Option::as_deref).collect::<Vec<_>>());
        let values = named(request_names(link.live.policy.inputs()), values.as_deref());
        Asked { policy: (&**link.live.policy.label()).into(), status: None, values, came }
    }

    pub(super) fn about_response(
        link: &Link,
        status: StatusCode,
        values: Option<&[Option<&str>]>,
        fields: &HeaderMap,
        ttl_ms: Option<u64>,
        came: Came,
    ) -> Asked {
        let inputs = link.live.policy.inputs();
        let mut shown = named(request_names(inputs), values);
        let response = Values::of_response(inputs, fields, ttl_ms);
        let response = response.as_ref().map(Values::as_slices);
        shown.extend(named(response_names(inputs), response.as_deref()));
        Asked { policy: (&**link.live.policy.label()).into(), status: Some(status), values: shown, came }
    }
}

impl Came {
    pub(super) fn of(came: &Result<Rc<RequestDecision>, Unasked>, link: &Link) -> Came {
        match came {
            Ok(decision) => Came::Request(Rc::clone(decision)),
            Err(unasked) => Came::not(unasked, link),
        }
    }

    pub(super) fn of_response(came: &Result<Rc<ResponseDecision>, Unasked>, link: &Link) -> Came {
        match came {
            Ok(decision) => Came::Response(Rc::clone(decision)),
            Err(unasked) => Came::not(unasked, link),
        }
    }

    fn not(unasked: &Unasked, link: &Link) -> Came {
        match unasked {
            Unasked::NotText => Came::NotText,
            Unasked::Out => Came::Failed("taken out for a while".to_owned(), link.on_fault),
            Unasked::Fault(fault) => Came::Failed(fault.to_string(), link.on_fault),
        }
    }
}

struct Name {
    text: String,
    is_secret: bool,
}

impl Name {
    fn plain(text: impl Into<String>) -> Name {
        Name { text: text.into(), is_secret: false }
    }

    fn of_field(kind: &str, name: &HeaderName) -> Name {
        Name { text: format!("{kind} {name}"), is_secret: is_secret(name) }
    }
}

/// Whether the values of a field say who somebody is.
pub fn is_secret(name: &HeaderName) -> bool {
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE].contains(name)
}

/// What a policy reads, in words.
pub fn names(inputs: &Inputs) -> Vec<String> {
    request_names(inputs).into_iter().chain(response_names(inputs)).map(|name| name.text).collect()
}

/// In the order of the values.
fn request_names(inputs: &Inputs) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    names.extend(inputs.request_fields.iter().map(|name| Name::of_field("field", name)));
    names.extend(inputs.query_parameters.iter().map(|name| Name::plain(format!("parameter {name}"))));
    let cookie = |name| Name { text: format!("cookie {name}"), is_secret: true };
    names.extend(inputs.cookies.iter().map(cookie));
    names.extend(inputs.captures.iter().map(|name| Name::plain(format!("capture {name}"))));
    let whole = [
        (inputs.method, "the method"),
        (inputs.host, "the host"),
        (inputs.path, "the path"),
        (inputs.query, "the query"),
        (inputs.time, "the time"),
        (inputs.decided, "what was decided"),
    ];
    names.extend(whole.into_iter().filter(|(is_read, _)| *is_read).map(|(_, text)| Name::plain(text)));
    names
}

fn response_names(inputs: &Inputs) -> Vec<Name> {
    let mut names: Vec<Name> =
        inputs.response_fields.iter().map(|name| Name::of_field("response field", name)).collect();
    names.extend(inputs.ttl.then(|| Name::plain("the ttl in ms")));
    names
}

/// Of what says who somebody is, no more than how long it is. `None`: one of the values is no text.
fn named(names: Vec<Name>, values: Option<&[Option<&str>]>) -> Vec<(String, Option<String>)> {
    let Some(values) = values else { return Vec::new() };
    let shown = |(name, value): (Name, &Option<&str>)| {
        let text = value.map(|value| match name.is_secret {
            true => format!("({} bytes)", value.len()),
            false => format!("{value:?}"),
        });
        (name.text, text)
    };
    names.into_iter().zip(values).map(shown).collect()
}
