//! From the text of a request to what is bound to a statement.
//!
//! Values are bound as text: Postgres reads every type it knows, and what a request may say needs no table here. The common
//! types are checked before, so that the answer can name the parameter and no bad request costs a round trip.
//! Read next: `cursor.rs`, whose values are bound in binary.

use std::error::Error as StdError;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use crate::catalogue::{Absent, Condition, Endpoint, In, Param, Rows};
use crate::error::Error;

/// Keys are short; longer texts only make the database work.
const MAX_VALUE_BYTES: usize = 2048;
/// More pairs than any endpoint has parameters are not a query that someone meant.
const MAX_PAIRS: usize = 64;

/// What a request gives an endpoint.
#[derive(Debug)]
pub(crate) struct Given {
    /// In the order of the endpoint's parameters; `None` is NULL.
    pub(crate) values: Vec<Option<String>>,
    pub(crate) cursor: Option<String>,
}

/// One value of a statement.
#[derive(Debug, Clone)]
pub(crate) enum Bound<'v> {
    Null,
    Text(&'v str),
    /// As Postgres itself sent it.
    Binary(Bytes),
}

/// `captures` are the raw texts of the route's variables; `query` is what follows the `?`.
///
/// # Errors
/// The first parameter that is missing, malformed or given twice.
pub(crate) fn read(endpoint: &Endpoint, captures: &[&str], query: &str) -> Result<Given, Error> {
    let mut given = Given { values: vec![None; endpoint.params.len()], cursor: None };
    for (name, capture) in endpoint.route.variables().zip(captures) {
        let index = endpoint.params.iter().position(|param| param.name == name && param.from == In::Path);
        let value = decode(capture, false).ok_or_else(|| bad(name, "is not UTF-8, percent-encoded"))?;
        if let Some(slot) = index.and_then(|index| given.values.get_mut(index)) {
            *slot = Some(value);
        }
    }
    for (count, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if count >= MAX_PAIRS {
            return Err(bad("query", format!("has more than {MAX_PAIRS} parameters")));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = decode(name, true) else { continue };
        let is_it = |param: &Param| param.name == name && param.from == In::Query;
        let slot = match endpoint.params.iter().position(is_it).and_then(|index| given.values.get_mut(index))
        {
            Some(slot) => slot,
            None if name == "cursor" && matches!(endpoint.rows, Rows::Cursor { .. }) => &mut given.cursor,
            // Links carry parameters of others (`utm_source`); an answer does not depend on them.
            None => continue,
        };
        let value = decode(value, true).ok_or_else(|| bad(&name, "is not UTF-8, percent-encoded"))?;
        if slot.replace(value).is_some() {
            return Err(bad(&name, "is given twice"));
        }
    }
    for (param, slot) in endpoint.params.iter().zip(&mut given.values) {
        match (&slot, &param.absent) {
            (None, Absent::Null) => (),
            (None, Absent::Default(default)) => *slot = Some(default.clone()),
            (None, Absent::Refused) => return Err(bad(&param.name, "is missing")),
            (Some(value), _) => {
                check(&param.type_name, param.range, value).map_err(|why| bad(&param.name, why))?
            }
        }
    }
    Ok(given)
}

impl Given {
    pub(crate) fn holds(&self, condition: Condition) -> bool {
        match condition {
            Condition::Cursor => self.cursor.is_some(),
            Condition::Given(param) => self.values.get(param).is_some_and(Option::is_some),
        }
    }
}

fn bad(parameter: &str, why: impl Into<String>) -> Error {
    Error::BadParameter { parameter: parameter.to_owned(), why: why.into() }
}

/// Whether a text is a value of a type. Types that are not known here pass: Postgres reads them.
pub(crate) fn check(type_name: &str, range: Option<(i64, i64)>, text: &str) -> Result<(), String> {
    if text.len() > MAX_VALUE_BYTES {
        return Err(format!("has {} bytes, more than {MAX_VALUE_BYTES}", text.len()));
    }
    if text.contains('\0') {
        return Err("has a zero byte, which no text in Postgres can have".to_owned());
    }
    let (least, most) = match type_name {
        "int2" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "int4" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        "int8" => (i64::MIN, i64::MAX),
        "bool" if !matches!(text, "true" | "false") => return Err("is not `true` or `false`".to_owned()),
        "uuid" if !is_uuid(text) => return Err("is not a UUID".to_owned()),
        _ => return Ok(()),
    };
    let (least, most) = range.map_or((least, most), |(low, high)| (least.max(low), most.min(high)));
    let is_in_range = text.parse::<i64>().is_ok_and(|number| (least..=most).contains(&number));
    if is_in_range { Ok(()) } else { Err(format!("is not a whole number from {least} to {most}")) }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The name that Postgres uses for a type, for the names that people use.
pub(crate) fn type_name(written: &str) -> &str {
    match written {
        "smallint" => "int2",
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "boolean" => "bool",
        "real" => "float4",
        "double" => "float8",
        "decimal" => "numeric",
        other => other,
    }
}

pub(crate) fn is_whole_number(type_name: &str) -> bool {
    matches!(type_name, "int2" | "int4" | "int8")
}

/// Percent-decoding; in a query `+` is a blank (the form encoding that browsers send). `None` if it is not UTF-8.
fn decode(raw: &str, is_query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit =
                    |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                bytes.push(digit(high)? << 4 | digit(low)?);
                rest = after;
            }
            (b'%', _) => return None,
            (b'+', _) if is_query => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

impl ToSql for Bound<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Text(text) => out.put_slice(text.as_bytes()),
            Self::Binary(bytes) => out.put_slice(bytes),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self {
            Self::Text(_) => Format::Text,
            Self::Null | Self::Binary(_) => Format::Binary,
        }
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_once() {
        for (raw, is_query, expected) in [
            ("a%2Fb", false, Some("a/b")),
            ("a+b", false, Some("a+b")),
            ("a+b%2B", true, Some("a b+")),
            ("%2541", true, Some("%41")),
            ("%c3%a4", false, Some("ä")),
            ("%c3", false, None),
            ("%4", false, None),
            ("%zz", false, None),
            ("%+1", false, None),
        ] {
            assert_eq!(decode(raw, is_query).as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn values_of_the_common_types_are_told_from_others() {
        for (type_name, text, is_one) in [
            ("int2", "-32768", true),
            ("int2", "32768", false),
            ("int4", "2147483648", false),
            ("int8", "9223372036854775807", true),
            ("int8", "9223372036854775808", false),
            ("int8", "", false),
            ("int8", " 1", false),
            ("int8", "1; drop table users", false),
            ("bool", "true", true),
            ("bool", "t", false),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", true),
            ("uuid", "123e4567e89b12d3a456426614174000", false),
            ("text", "' or 1=1 --", true),
            ("text", "a\0b", false),
        ] {
            assert_eq!(check(type_name, None, text).is_ok(), is_one, "{type_name} {text:?}");
        }
        assert_eq!(check("int8", Some((1, 100)), "0"), Err("is not a whole number from 1 to 100".to_owned()));
        assert!(check("text", None, &"x".repeat(MAX_VALUE_BYTES + 1)).is_err());
    }
}
