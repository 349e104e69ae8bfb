//! What a JSON body gives: members of an object, or all of an array, as text that Postgres reads.
//!
//! Knows nothing of how large a body may be, and of statements.

use serde_json::{Map, Value};

use super::{Given, array, bad, check};
use crate::catalogue::{Absent, Endpoint, In, Param};
use crate::error::Error;

/// Adds what the body says.
///
/// # Errors
/// The first member that is missing, unknown or not of its type.
#[allow(dead_code, reason = "for writes")]
pub(crate) fn read_body(endpoint: &Endpoint, body: &[u8], given: &mut Given) -> Result<(), Error> {
    let from = |wanted: In| endpoint.params.iter().enumerate().filter(move |(_, param)| param.from == wanted);
    if let Some((index, param)) = from(In::Rows).next() {
        let rows: Vec<Map<String, Value>> =
            serde_json::from_slice(body).map_err(|_| bad("body", "is not a JSON array of objects"))?;
        let (low, high) = param.range.unwrap_or((1, i64::MAX));
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        if !(low..=high).contains(&count) {
            return Err(bad("body", format!("has {count} rows; it takes {low} to {high}")));
        }
        // JSON is UTF-8, or it would not have been read.
        given.set(index, Some(String::from_utf8_lossy(body).into_owned()));
        return Ok(());
    }
    let known: Vec<(usize, &Param, String)> =
        from(In::Body).map(|(index, param)| (index, param, camel_case(&param.name))).collect();
    if known.is_empty() {
        return if body.is_empty() { Ok(()) } else { Err(bad("body", "is not wanted here: leave it out")) };
    }
    let mut members: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| bad("body", "is not a JSON object"))?;
    for (index, param, name) in &known {
        let value = match (members.remove(name), &param.absent) {
            (Some(Value::Null), Absent::Refused) => return Err(bad(name, "is null; it needs a value")),
            (Some(Value::Null), _) => None,
            (Some(value), _) => Some(text(param, name, value)?),
            (None, Absent::Refused) => return Err(bad(name, "is missing")),
            (None, Absent::Null) => continue,
            (None, Absent::Default(default)) => {
                // Not given: `:has_NAME` is false.
                if let Some(slot) = given.values.get_mut(*index) {
                    *slot = Some(default.clone());
                }
                continue;
            }
        };
        given.set(*index, value);
    }
    if let Some((name, _)) = members.iter().next() {
        // The name is the client's own; only so much of it as says which one.
        let name: String = name.chars().take(64).collect();
        let known: Vec<&str> = known.iter().map(|(_, _, name)| name.as_str()).collect();
        return Err(bad(&name, format!("is not known here; known are {}", known.join(", "))));
    }
    Ok(())
}

/// A value as the text that is bound.
fn text(param: &Param, name: &str, value: Value) -> Result<String, Error> {
    if param.is_array {
        let Value::Array(elements) = value else { return Err(bad(name, "is not an array")) };
        let elements = elements.into_iter().map(|element| scalar(param, name, element));
        return array(param, &elements.collect::<Result<Vec<_>, _>>()?);
    }
    let text = scalar(param, name, value)?;
    check(param, &text).map_err(|why| bad(name, why))?;
    Ok(text)
}

fn scalar(param: &Param, name: &str, value: Value) -> Result<String, Error> {
    let is_json = matches!(param.type_name.as_str(), "json" | "jsonb");
    match (param.type_name.as_str(), value) {
        (_, value) if is_json => Ok(value.to_string()),
        ("int2" | "int4" | "int8" | "float4" | "float8" | "numeric", Value::Number(number)) => {
            Ok(number.to_string())
        }
        ("int2" | "int4" | "int8" | "float4" | "float8", _) => Err(bad(name, "is not a number")),
        ("bool", Value::Bool(value)) => Ok(value.to_string()),
        ("bool", _) => Err(bad(name, "is not true or false")),
        // Of all other types the text is what Postgres reads: times, UUIDs, numbers of any length.
        (_, Value::String(text)) => Ok(text),
        (_, _) => Err(bad(name, "is not a string")),
    }
}

/// As members are written: `public_id` is `publicId`.
pub(crate) fn camel_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut is_first = false;
    for c in name.chars() {
        if c == '_' && !text.is_empty() {
            is_first = true;
        } else if is_first {
            text.push(c.to_ascii_uppercase());
            is_first = false;
        } else {
            text.push(c);
        }
    }
    text
}

impl Given {
    fn set(&mut self, index: usize, value: Option<String>) {
        if let Some((slot, has)) = self.values.get_mut(index).zip(self.has.get_mut(index)) {
            (*slot, *has) = (value, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::catalogue::{Catalogue, Endpoint};
    use crate::cursor::Key;
    use crate::params::read;

    const WRITE: &str = "-- route: PATCH /things/{id}
-- param id: path int8
-- param display_name: body text 1..5
-- param size: body int4 0..10 = 3
-- param tags: body text[] 0..2
-- param config: body json
-- param at: body timestamptz required
-- rows: exec

UPDATE things SET name = :display_name, config = :config, at = :at, tags = :tags, size = :size
WHERE id = :id AND :has_display_name AND :has_config
";
    const BULK: &str = "-- route: POST /things
-- param things: body rows 1..2
-- rows: many

INSERT INTO things SELECT * FROM json_to_recordset(:things) AS t (id int8) RETURNING to_json(id) AS body
";

    fn give(file: &str, body: &str) -> Result<Given, String> {
        let files = vec![(PathBuf::from("x.sql"), file.to_owned())];
        let catalogue = Catalogue::parse(files).unwrap();
        let endpoint: &Endpoint = &catalogue.endpoints[0];
        let captures: &[&str] = if file == WRITE { &["7"] } else { &[] };
        let mut given = read(endpoint, captures, "", &Key::random().unwrap()).unwrap();
        match read_body(endpoint, body.as_bytes(), &mut given) {
            Ok(()) => Ok(given),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn members_become_values() {
        let given = give(
            WRITE,
            r#"{"at": "2026-01-01", "displayName": null, "config": {"a": [1, "x"]}, "tags": ["a", "b\"c"]}"#,
        );
        let given = given.unwrap();
        let values: Vec<_> = given.values.iter().map(Option::as_deref).collect();
        let expected = [
            Some("7"),
            None,
            Some("3"),
            Some(r#"{"a","b\"c"}"#),
            Some(r#"{"a":[1,"x"]}"#),
            Some("2026-01-01"),
        ];
        assert_eq!(values, expected);
        assert_eq!(given.has, [true, true, false, true, true, true]);
    }

    #[test]
    fn what_a_body_gets_wrong_is_named() {
        for (body, expected) in [
            ("", "parameter `body` is not a JSON object"),
            ("[]", "parameter `body` is not a JSON object"),
            ("{\"at\": \"\u{1}\"", "parameter `body` is not a JSON object"),
            ("{}", "parameter `at` is missing"),
            (r#"{"at": null}"#, "parameter `at` is null; it needs a value"),
            (r#"{"at": 5}"#, "parameter `at` is not a string"),
            (r#"{"at": "x", "displayName": 5}"#, "parameter `displayName` is not a string"),
            (
                r#"{"at": "x", "displayName": "abcdef"}"#,
                "parameter `displayName` has 6 characters; it takes 1 to 5",
            ),
            (
                r#"{"at": "x", "displayName": "a\u0000"}"#,
                "parameter `displayName` has a zero byte, which no text in Postgres can have",
            ),
            (r#"{"at": "x", "size": "5"}"#, "parameter `size` is not a number"),
            (r#"{"at": "x", "size": 5.5}"#, "parameter `size` is not a whole number from 0 to 10"),
            (r#"{"at": "x", "size": 11}"#, "parameter `size` is not a whole number from 0 to 10"),
            (r#"{"at": "x", "tags": "a"}"#, "parameter `tags` is not an array"),
            (r#"{"at": "x", "tags": ["a", "b", "c"]}"#, "parameter `tags` has 3 elements; it takes 0 to 2"),
            (r#"{"at": "x", "tags": [null]}"#, "parameter `tags` is not a string"),
            (
                r#"{"at": "x", "display_name": "a"}"#,
                "parameter `display_name` is not known here; known are displayName, size, tags, config, at",
            ),
        ] {
            assert_eq!(give(WRITE, body).unwrap_err(), expected, "{body}");
        }
    }

    #[test]
    fn rows_are_bound_as_they_came() {
        let body = r#"[{"id": 1}, {"id": 2.50}]"#;
        assert_eq!(give(BULK, body).unwrap().values, [Some(body.to_owned())]);
        for (body, expected) in [
            ("[]", "parameter `body` has 0 rows; it takes 1 to 2"),
            ("[{},{},{}]", "parameter `body` has 3 rows; it takes 1 to 2"),
            ("[1]", "parameter `body` is not a JSON array of objects"),
            ("{}", "parameter `body` is not a JSON array of objects"),
        ] {
            assert_eq!(give(BULK, body).unwrap_err(), expected, "{body}");
        }
    }

    #[test]
    fn names_are_written_in_camel_case() {
        for (name, expected) in [("public_id", "publicId"), ("a", "a"), ("is_2nd_one", "is2ndOne")] {
            assert_eq!(camel_case(name), expected);
        }
    }
}
