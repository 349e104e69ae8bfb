//! The values of a policy's inputs, taken out of a message, in the order in which a call takes them.
//!
//! A value that is not text, or that two readers could take for different ones, is none that a decision may rest on: then there
//! are no values at all, and what is asked about must not be shared.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method, header::COOKIE};

use crate::decision::Inputs;

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

impl<'r> Values<'r> {
    /// `capture` gives those of the route's pattern. `None`: one of the values is not text, or a cookie is there twice.
    pub fn of_request(
        inputs: &Inputs,
        view: &RequestView<'r>,
        capture: impl Fn(&str) -> Option<&'r str>,
    ) -> Option<Values<'r>> {
        let mut values = Vec::with_capacity(inputs.request_values());
        for name in &inputs.request_fields {
            values.push(field(view.fields, name)?);
        }
        for name in &inputs.query_parameters {
            values.push(query_parameter(view.query, name).map(Cow::Borrowed));
        }
        for name in &inputs.cookies {
            values.push(cookie(view.fields, name)?.map(Cow::Borrowed));
        }
        values.extend(inputs.captures.iter().map(|name| capture(name).map(Cow::Borrowed)));
        for (is_wanted, value) in [
            (inputs.method, Some(view.method.as_str())),
            (inputs.host, Some(view.host)),
            (inputs.path, Some(view.path)),
            (inputs.query, view.query),
        ] {
            if is_wanted {
                values.push(value.map(Cow::Borrowed));
            }
        }
        if inputs.time {
            values.push(Some(Cow::Owned(view.time_s.to_string())));
        }
        if inputs.decided {
            values.push(Some(Cow::Borrowed(view.decided)));
        }
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
    let mut lines = fields.get_all(name).iter();
    let Some(first) = lines.next() else { return Some(None) };
    let mut value = Cow::Borrowed(std::str::from_utf8(first.as_bytes()).ok()?);
    for line in lines {
        let value = value.to_mut();
        value.push_str(", ");
        value.push_str(std::str::from_utf8(line.as_bytes()).ok()?);
    }
    Some(Some(value))
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
