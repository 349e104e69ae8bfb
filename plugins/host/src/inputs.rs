//! The values of a policy's inputs, taken out of a message, in the order in which a call takes them.
//!
//! A value that is not text, or that two readers could take for different ones, is none that a decision may rest on: then there
//! are no values at all, and what is asked about must not be shared.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method, header::COOKIE};

use crate::{decision::Inputs, remembered::InputWriter};

/// What of a request a policy may read, as the policies before it have left it.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'r> {
    pub method: &'r Method,
    /// In its normal form.
    pub host: &'r str,
    pub path: &'r str,
    pub query: Option<&'r str>,
    pub fields: &'r HeaderMap,
    /// Whole seconds since 1970.
    pub time_s: u64,
    /// `look-up` or `pass`.
    pub decided: &'static str,
}

/// One value for each input; none for what the message does not have.
#[derive(Debug, Clone, Default)]
pub struct Values<'r>(Vec<Option<Cow<'r, str>>>);

impl Inputs {
    /// Writes what a request says as [`crate::Instances::recall_request`] looks it up. False: not to be told apart, see
    /// [`Values::of_request`]. It does not ask whether a value is text, since nothing is remembered of what is none.
    pub fn write_request<'r>(
        &self,
        view: &RequestView<'r>,
        capture: impl Fn(&str) -> Option<&'r str>,
        buffer: &mut Vec<u8>,
    ) -> bool {
        let mut writer = InputWriter::begin(buffer, None);
        self.each_of_request(view, capture, |value| {
            writer.value(value.as_deref());
            Some(())
        })
        .is_some()
    }

    /// Calls `each` with every value, in the order of the contract, until it gives `None` or a value cannot be told apart.
    fn each_of_request<'r>(
        &self,
        view: &RequestView<'r>,
        capture: impl Fn(&str) -> Option<&'r str>,
        mut each: impl FnMut(Option<Cow<'r, [u8]>>) -> Option<()>,
    ) -> Option<()> {
        let text = |value: Option<&'r str>| value.map(|value| Cow::Borrowed(value.as_bytes()));
        for name in &self.request_fields {
            each(lines(view.fields, name))?;
        }
        for name in &self.query_parameters {
            each(text(query_parameter(view.query, name)))?;
        }
        for name in &self.cookies {
            each(text(cookie(view.fields, name)?))?;
        }
        for name in &self.captures {
            each(text(capture(name)))?;
        }
        for (is_wanted, value) in [
            (self.method, Some(view.method.as_str())),
            (self.host, Some(view.host)),
            (self.path, Some(view.path)),
            (self.query, view.query),
        ] {
            if is_wanted {
                each(text(value))?;
            }
        }
        if self.time {
            each(Some(Cow::Owned(view.time_s.to_string().into_bytes())))?;
        }
        if self.decided {
            each(text(Some(view.decided)))?;
        }
        Some(())
    }
}

impl<'r> Values<'r> {
    /// `capture` gives those of the route's pattern. `None`: one of the values is not text, or a cookie is there twice.
    pub fn of_request(
        inputs: &Inputs,
        view: &RequestView<'r>,
        capture: impl Fn(&str) -> Option<&'r str>,
    ) -> Option<Values<'r>> {
        let mut values = Vec::with_capacity(inputs.request_values());
        inputs.each_of_request(view, capture, |value| {
            values.push(match value {
                Some(value) => Some(as_text(value)?),
                None => None,
            });
            Some(())
        })?;
        Some(Values(values))
    }

    /// `ttl_ms` is the lifetime so far. `None`: one of the values is not text.
    pub fn of_response(inputs: &Inputs, fields: &'r HeaderMap, ttl_ms: Option<u64>) -> Option<Values<'r>> {
        let named = inputs.response_fields.iter().map(|name| field(fields, name));
        let mut values = named.collect::<Option<Vec<_>>>()?;
        if inputs.ttl {
            values.push(ttl_ms.map(|ttl_ms| Cow::Owned(ttl_ms.to_string())));
        }
        Some(Values(values))
    }

    pub fn as_slices(&self) -> Vec<Option<&str>> {
        self.0.iter().map(Option::as_deref).collect()
    }

    /// The same, beyond the life of the message.
    pub fn into_owned(self) -> Values<'static> {
        let owned = |value: Option<Cow<'r, str>>| value.map(|value| Cow::Owned(value.into_owned()));
        Values(self.0.into_iter().map(owned).collect())
    }
}

/// All lines of a field as one value, so that a policy sees what the upstream sees. The outer `None`: not text.
pub fn field<'f>(fields: &'f HeaderMap, name: &HeaderName) -> Option<Option<Cow<'f, str>>> {
    match lines(fields, name) {
        Some(value) => as_text(value).map(Some),
        None => Some(None),
    }
}

fn lines<'f>(fields: &'f HeaderMap, name: &HeaderName) -> Option<Cow<'f, [u8]>> {
    let mut lines = fields.get_all(name).iter();
    let mut value = Cow::Borrowed(lines.next()?.as_bytes());
    for line in lines {
        let value = value.to_mut();
        value.extend_from_slice(b", ");
        value.extend_from_slice(line.as_bytes());
    }
    Some(value)
}

fn as_text(value: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    match value {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// The first value of a parameter, as it is written.
fn query_parameter<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    query?.split('&').find_map(|pair| match pair.split_once('=') {
        Some((key, value)) => (key == name).then_some(value),
        None => (pair == name).then_some(""),
    })
}

/// The cookie of a name (RFC 6265 section 4.2). The outer `None`: not text, or not to be told apart: where it is there twice,
/// or with blanks around it, an upstream may take another value than we do.
pub fn cookie<'f>(fields: &'f HeaderMap, name: &str) -> Option<Option<&'f str>> {
    let mut found = None;
    for line in fields.get_all(COOKIE) {
        let text = std::str::from_utf8(line.as_bytes()).ok()?;
        for pair in text.split(';').map(str::trim_ascii) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if key.trim() != name {
                continue;
            }
            if key != name || !pair.contains('=') || found.is_some() {
                return None;
            }
            found = Some(value);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::ACCEPT};

    use super::*;
    use crate::remembered::write_inputs;

    fn view(fields: &HeaderMap) -> RequestView<'_> {
        RequestView {
            method: &Method::GET,
            host: "example.com:8080",
            path: "/a",
            query: Some("x=1&y&x=2"),
            fields,
            time_s: 7,
            decided: "look-up",
        }
    }

    fn fields(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        fields
    }

    #[test]
    fn values_come_in_the_order_of_the_contract() {
        let inputs = Inputs {
            request_fields: vec![ACCEPT],
            query_parameters: vec!["x".into(), "y".into(), "z".into()],
            cookies: vec!["c".into()],
            captures: vec!["id".into()],
            method: true,
            host: true,
            path: true,
            query: true,
            time: true,
            decided: true,
            ..Inputs::default()
        };
        let fields = fields(&[("accept", b"a"), ("accept", b"b"), ("cookie", b"b=1; c=2")]);
        let values =
            Values::of_request(&inputs, &view(&fields), |name| (name == "id").then_some("9")).unwrap();
        let expected = [
            Some("a, b"),
            Some("1"),
            Some(""),
            None,
            Some("2"),
            Some("9"),
            Some("GET"),
            Some("example.com:8080"),
            Some("/a"),
            Some("x=1&y&x=2"),
            Some("7"),
            Some("look-up"),
        ];
        assert_eq!(values.as_slices(), expected);
        assert_eq!(values.as_slices().len(), inputs.request_values());
        // What is looked up is what is remembered.
        let (mut looked_up, mut remembered) = (Vec::new(), Vec::new());
        assert!(inputs.write_request(&view(&fields), |name| (name == "id").then_some("9"), &mut looked_up));
        write_inputs(&mut remembered, None, values.as_slices().iter());
        assert_eq!(looked_up, remembered);
    }

    #[test]
    fn a_lifetime_comes_behind_the_fields() {
        let inputs = Inputs { response_fields: vec![ACCEPT], ttl: true, ..Inputs::default() };
        let fields = HeaderMap::new();
        let values = Values::of_response(&inputs, &fields, Some(5)).unwrap();
        assert_eq!(values.as_slices(), [None, Some("5")]);
        assert_eq!(Values::of_response(&inputs, &fields, None).unwrap().as_slices(), [None, None]);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        let inputs = Inputs { cookies: vec!["c".into()], ..Inputs::default() };
        for line in [b"c=1; c=2".as_slice(), b"c =1", b"c", b"\xff"] {
            let fields = fields(&[("cookie", line)]);
            assert!(Values::of_request(&inputs, &view(&fields), |_| None).is_none(), "{line:?}");
        }
        let inputs = Inputs { request_fields: vec![ACCEPT], ..Inputs::default() };
        let fields = fields(&[("accept", b"\xff")]);
        assert!(Values::of_request(&inputs, &view(&fields), |_| None).is_none());
    }
}
