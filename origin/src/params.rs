//! From the text of a request to what is bound to a statement.
//!
//! Values are bound as text: Postgres reads every type it knows, and what a request may say needs no table here. The common
//! types are checked before, so that the answer can name the parameter and no bad request costs a round trip.
//! Read next: `params/value.rs` for what is checked, `write/members.rs` for what a JSON body gives, `cursor.rs`, whose values are bound in binary.

use std::error::Error as StdError;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use crate::catalogue::prepare::Prepared;
use crate::catalogue::{Absent, Bind, Condition, Endpoint, In, Param, Rows, Variant};
use crate::cursor::{self, Key};
use crate::error::Error;

mod elements;
mod value;

pub(crate) use elements::elements;
use value::check_length;
pub(crate) use value::{check, check_element, has_range, type_name};

/// More pairs than any endpoint has parameters, and than any array has elements, are not a query that someone meant.
const MAX_PAIRS: usize = 1024;
/// Rows that an offset page may skip: each is read, whoever asks. Further on is for cursors.
pub(crate) const MAX_OFFSET: i64 = 10_000;

/// What a request gives an endpoint.
#[derive(Debug, Default, Clone)]
pub(crate) struct Given {
    /// In the order of the endpoint's parameters; `None` is NULL. Arrays are written as Postgres reads them.
    pub(crate) values: Vec<Option<String>>,
    /// Which parameters the request has, if only as JSON's null.
    pub(crate) has: Vec<bool>,
    /// The values of the cursor that the page comes after.
    pub(crate) after: Option<Vec<Bytes>>,
    /// The values of the cursor that the page comes before.
    pub(crate) before: Option<Vec<Bytes>>,
    /// The members that the request wants, if not all.
    pub(crate) fields: Option<Vec<String>>,
    /// The version that the request wants to change.
    pub(crate) if_match: Option<String>,
}

/// One value of a statement.
#[derive(Debug, Clone)]
pub(crate) enum Bound<'v> {
    Null,
    Text(&'v str),
    Int8(i64),
    Bool(bool),
    /// As Postgres itself sent it.
    Binary(Bytes),
}

/// `captures` are the raw texts of the route's variables; `query` is what follows the `?`.
///
/// # Errors
/// The first parameter that is missing, malformed or given twice.
pub(crate) fn read(endpoint: &Endpoint, captures: &[&str], query: &str, key: &Key) -> Result<Given, Error> {
    let count = endpoint.params.len();
    let mut given = Given { values: vec![None; count], has: vec![false; count], ..Given::default() };
    for (name, capture) in endpoint.route.variables().zip(captures) {
        let index = endpoint.params.iter().position(|param| param.name == name && param.from == In::Path);
        let value = decode(capture, false).ok_or_else(|| bad(name, "is not UTF-8, percent-encoded"))?;
        if let Some(slot) = index.and_then(|index| given.values.get_mut(index)) {
            *slot = Some(value);
        }
    }
    let is_cursor = matches!(endpoint.rows, Rows::Cursor { .. });
    let is_both_ways = matches!(endpoint.rows, Rows::Cursor { both_ways: true, .. });
    let (mut after, mut before, mut fields) = (None, None, None);
    let mut arrays: Vec<(usize, Vec<String>)> = Vec::new();
    for (count, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if count >= MAX_PAIRS {
            return Err(bad("query", format!("has more than {MAX_PAIRS} parameters")));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = decode(name, true) else { continue };
        let text = || decode(value, true).ok_or_else(|| bad(&name, "is not UTF-8, percent-encoded"));
        let is_it = |param: &Param| param.name == name && param.from == In::Query;
        let index = endpoint.params.iter().position(is_it);
        if let Some((index, param)) = index.and_then(|index| Some((index, endpoint.params.get(index)?)))
            && param.is_array
        {
            let at = arrays.iter().position(|(known, _)| *known == index).unwrap_or_else(|| {
                arrays.push((index, Vec::new()));
                arrays.len() - 1
            });
            if let Some((_, elements)) = arrays.get_mut(at) {
                // A comma that belongs to an element is written %2C and separates none.
                for element in value.split(',').filter(|element| !element.is_empty()) {
                    let element = decode(element, true);
                    elements.push(element.ok_or_else(|| bad(&name, "is not UTF-8, percent-encoded"))?);
                }
            }
            continue;
        }
        let slot = match index.and_then(|index| given.values.get_mut(index)) {
            Some(slot) => slot,
            None if name == "cursor" && is_cursor => &mut after,
            None if name == "before" && is_both_ways => &mut before,
            None if name == "fields" && endpoint.fields => &mut fields,
            // Links carry parameters of others (`utm_source`); an answer does not depend on them.
            None => continue,
        };
        if slot.replace(text()?).is_some() {
            return Err(bad(&name, "is given twice"));
        }
    }
    for (index, elements) in arrays {
        let Some((param, slot)) = endpoint.params.get(index).zip(given.values.get_mut(index)) else {
            continue;
        };
        *slot = Some(array(param, &elements)?);
    }
    for ((param, slot), has) in endpoint.params.iter().zip(&mut given.values).zip(&mut given.has) {
        *has = slot.is_some();
        match (&slot, &param.absent) {
            _ if matches!(param.from, In::Body | In::Rows) => (),
            (None, Absent::Null) => (),
            (None, Absent::Default(default)) => *slot = Some(default.clone()),
            (None, Absent::Refused) => return Err(bad(&param.name, "is missing")),
            (Some(_), _) if param.is_array => (),
            (Some(value), _) => {
                check_length(value)
                    .and_then(|()| check(param, value))
                    .map_err(|why| bad(&param.name, why))?;
            }
        }
    }
    if after.is_some() && before.is_some() {
        return Err(bad("before", "and `cursor` are given: a page comes after one or before one"));
    }
    let decoded = |name: &str, text: Option<String>| match text {
        Some(text) => {
            let values = cursor::decode(key, endpoint, &given, &text);
            let why = "is not a cursor of this endpoint with these parameters; begin without one";
            values.map(Some).ok_or_else(|| bad(name, why))
        }
        None => Ok(None),
    };
    (given.after, given.before) = (decoded("cursor", after)?, decoded("before", before)?);
    given.fields = fields.map(|fields| names(&fields)).transpose()?;
    given.check_offset(endpoint)?;
    Ok(given)
}

/// The names in `?fields=a,b`.
fn names(text: &str) -> Result<Vec<String>, Error> {
    check_length(text).map_err(|why| bad("fields", why))?;
    let names: Vec<String> = text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() { Err(bad("fields", "names no member; leave it out to get all")) } else { Ok(names) }
}

/// Elements as an array that Postgres reads: each in quotes, so that none can end it.
fn array(param: &Param, elements: &[String]) -> Result<String, Error> {
    let (low, high) = param.range.unwrap_or((0, i64::MAX));
    let count = i64::try_from(elements.len()).unwrap_or(i64::MAX);
    if !(low..=high).contains(&count) {
        return Err(bad(&param.name, format!("has {count} elements; it takes {low} to {high}")));
    }
    let mut text = String::from("{");
    for (index, element) in elements.iter().enumerate() {
        check_length(element)
            .and_then(|()| check_element(param, element))
            .map_err(|why| bad(&param.name, format!("has an element that {why}")))?;
        text.push_str(if index > 0 { ",\"" } else { "\"" });
        for c in element.chars() {
            if matches!(c, '"' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('"');
    }
    text.push('}');
    Ok(text)
}

/// What is bound to a statement of an endpoint. `prepared` says which types the values of a cursor must have.
///
/// # Errors
/// A cursor that was made when the columns had other types.
pub(crate) fn bind<'g>(
    endpoint: &Endpoint,
    variant: &Variant,
    prepared: &Prepared,
    given: &'g Given,
) -> Result<Vec<Bound<'g>>, Error> {
    let types = &prepared.layout.cursor_types;
    for (name, values) in [("cursor", &given.after), ("before", &given.before)] {
        if values.as_ref().is_some_and(|values| !cursor::fits(values, types)) {
            return Err(bad(name, "is of an earlier version of this endpoint; begin without one"));
        }
    }
    let (limit_index, one_more) = match (endpoint.rows, endpoint.limit(given)) {
        (Rows::Cursor { limit, .. } | Rows::Page { limit, .. }, Some(rows)) => {
            (Some(limit), i64::try_from(rows).unwrap_or(i64::MAX).saturating_add(1))
        }
        _ => (None, 0),
    };
    let of_cursor = |values: &Option<Vec<Bytes>>, column: usize| {
        let value = values.as_ref().and_then(|values| values.get(column)).cloned();
        value.map_or(Bound::Null, Bound::Binary)
    };
    let text = |value: Option<&'g Option<String>>| match value {
        Some(Some(text)) => Bound::Text(text),
        Some(None) | None => Bound::Null,
    };
    let bound = variant.binds.iter().map(|bind| match *bind {
        Bind::Param(param) if limit_index == Some(param) => Bound::Int8(one_more),
        Bind::Param(param) => text(given.values.get(param)),
        Bind::Has(param) => Bound::Bool(given.has.get(param).copied().unwrap_or(false)),
        Bind::After(column) => of_cursor(&given.after, column),
        Bind::Before(column) => of_cursor(&given.before, column),
        Bind::Offset => Bound::Int8(given.offset(endpoint)),
        Bind::IfMatch => text(Some(&given.if_match)),
    });
    Ok(bound.collect())
}

impl Given {
    pub(crate) fn holds(&self, condition: Condition) -> bool {
        match condition {
            Condition::Cursor => self.after.is_some(),
            Condition::Before => self.before.is_some(),
            Condition::IfMatch => self.if_match.is_some(),
            Condition::Given(param) => self.has.get(param).copied().unwrap_or(false),
        }
    }

    /// A value that the request has, if only as null.
    pub(crate) fn set(&mut self, index: usize, value: Option<String>) {
        if let Some((slot, has)) = self.values.get_mut(index).zip(self.has.get_mut(index)) {
            (*slot, *has) = (value, true);
        }
    }

    /// The same for one version of a row.
    pub(crate) fn of_version(&self, version: &str) -> Self {
        Self { if_match: Some(version.to_owned()), ..self.clone() }
    }

    /// Which page, from 1.
    pub(crate) fn page(&self, endpoint: &Endpoint) -> i64 {
        let Rows::Page { page, .. } = endpoint.rows else { return 1 };
        self.values.get(page).and_then(|page| page.as_ref()?.parse().ok()).unwrap_or(1)
    }

    /// How many rows are before the page.
    pub(crate) fn offset(&self, endpoint: &Endpoint) -> i64 {
        let limit = endpoint.limit(self).and_then(|limit| i64::try_from(limit).ok()).unwrap_or(0);
        self.page(endpoint).saturating_sub(1).saturating_mul(limit)
    }

    fn check_offset(&self, endpoint: &Endpoint) -> Result<(), Error> {
        if !matches!(endpoint.rows, Rows::Page { .. }) || self.offset(endpoint) <= MAX_OFFSET {
            return Ok(());
        }
        let why = format!(
            "begins after row {MAX_OFFSET}; so deep only pages with a cursor go, which cost the same everywhere"
        );
        Err(bad("page", why))
    }
}

pub(crate) fn bad(parameter: &str, why: impl Into<String>) -> Error {
    Error::BadParameter { parameter: parameter.to_owned(), why: why.into() }
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
        } else if c != '_' {
            text.push(c);
        }
    }
    text
}

/// Percent-decoding; in a query `+` is a blank (the form encoding that browsers send). `None` if it is not UTF-8.
pub(crate) fn decode(raw: &str, is_query: bool) -> Option<String> {
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
            Self::Int8(number) => out.put_i64(*number),
            Self::Bool(value) => out.put_u8(u8::from(*value)),
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
            Self::Null | Self::Int8(_) | Self::Bool(_) | Self::Binary(_) => Format::Binary,
        }
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_in_camel_case() {
        for (name, expected) in [
            ("public_id", "publicId"),
            ("a", "a"),
            ("is_2nd_one", "is2ndOne"),
            ("_id", "id"),
            ("a_b_c", "aBC"),
        ] {
            assert_eq!(camel_case(name), expected);
        }
    }

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
    fn no_element_can_end_its_array() {
        let param = Param {
            name: "ids".to_owned(),
            from: In::Query,
            type_name: "text".to_owned(),
            is_array: true,
            range: Some((1, 3)),
            values: Vec::new(),
            absent: Absent::Refused,
            position: crate::faults::Position { line: 1, column: 1 },
        };
        let of = |elements: &[&str]| {
            array(&param, &elements.iter().map(|element| (*element).to_owned()).collect::<Vec<_>>()).ok()
        };
        assert_eq!(of(&["a", "b,c"]).unwrap(), r#"{"a","b,c"}"#);
        assert_eq!(of(&["\"},{\"", "\\", "NULL"]).unwrap(), r#"{"\"},{\"","\\","NULL"}"#);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["1", "2", "3", "4"]), None);
        assert_eq!(of(&["a\0"]), None);
    }
}
