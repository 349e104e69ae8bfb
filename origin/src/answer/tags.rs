//! The tags of an answer: what a purge, or a change of a row, finds it by.
//!
//! Filled in from parameters and columns; of an array there is a tag for each element. Read next: `catalogue/tags.rs`,
//! `catalogue/tables.rs` for how rows say the same.

use std::collections::HashSet;
use std::fmt::Write as _;

use tokio_postgres::Row;
use tokio_postgres::types::{Kind, Type};

use super::raw;
use crate::catalogue::prepare;
use crate::catalogue::tags::{MAX_TAG_BYTES, push_escaped};
use crate::catalogue::{Endpoint, Param, Piece, TagTemplate};
use crate::params::{Given, elements};

/// Proxies bound a head; one that does not fit is no answer at all. An answer whose tags do not fit must not be stored, so it says so.
const MAX_TAGS_BYTES: usize = 8 * 1024;

/// The value of `Cache-Tag` while it is written.
#[derive(Default)]
struct Tags {
    text: String,
    seen: HashSet<String>,
}

/// They would be too long: no purge could find the answer.
struct TooLong;

impl Tags {
    fn push(&mut self, tag: String) -> Result<(), TooLong> {
        if self.seen.contains(&tag) {
            return Ok(());
        }
        if tag.len() > MAX_TAG_BYTES || self.text.len() + tag.len() > MAX_TAGS_BYTES {
            return Err(TooLong);
        }
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(&tag);
        self.seen.insert(tag);
        Ok(())
    }
}

/// The value of `Cache-Tag`, or `None` if it would be too long.
pub(super) fn tags(endpoint: &Endpoint, given: &Given, rows: &[&Row]) -> Option<String> {
    let mut tags = Tags::default();
    add(&mut tags, endpoint, given, rows).ok()?;
    Some(tags.text)
}

fn add(tags: &mut Tags, endpoint: &Endpoint, given: &Given, rows: &[&Row]) -> Result<(), TooLong> {
    for template in &endpoint.tags {
        if let Some((param, array)) = array_of(template, endpoint, given) {
            for element in array {
                tags.push(fill(template, |_, tag| push_given(param, &element, tag)))?;
            }
        } else if template.values().all(|name| endpoint.is_param(name)) {
            render(template, endpoint, given, None).map_or(Ok(()), |tag| tags.push(tag))?;
        } else if let Some(element) = rows.first().and_then(|row| element_of(template, row)) {
            for array in rows.iter().filter_map(|row| column(row, template.values().next()?)) {
                for value in array_elements(array.0).into_iter().flatten() {
                    let mut text = String::new();
                    if push_value(value, &element, &mut text).is_some() {
                        tags.push(fill(template, |_, tag| tag.push_str(&text)))?;
                    }
                }
            }
        } else {
            for tag in rows.iter().filter_map(|row| render(template, endpoint, given, Some(row))) {
                tags.push(tag)?;
            }
        }
    }
    for table in endpoint.tables.iter().filter(|table| !table.is_ttl()) {
        tags.push(table.tag.clone())?;
    }
    Ok(())
}

/// The elements of the parameter that is an array, if the template has one: it has no other value then.
fn array_of<'e>(
    template: &TagTemplate,
    endpoint: &'e Endpoint,
    given: &Given,
) -> Option<(&'e Param, Vec<String>)> {
    let name = template.values().next()?;
    let index = endpoint.params.iter().position(|param| param.name == name && param.is_array)?;
    let array = elements(given.values.get(index)?.as_deref().unwrap_or_default());
    Some((endpoint.params.get(index)?, array))
}

/// The type of the elements, if the template's column is an array: it has no other value then. All rows have the same columns.
fn element_of(template: &TagTemplate, row: &Row) -> Option<Type> {
    let index = prepare::find(row.columns(), template.values().next()?)?;
    let Kind::Array(element) = row.columns().get(index)?.type_().kind() else { return None };
    Some(element.clone())
}

/// `None` if one of the values is absent. Values are no arrays.
pub(crate) fn render(
    template: &TagTemplate,
    endpoint: &Endpoint,
    given: &Given,
    row: Option<&Row>,
) -> Option<String> {
    let mut is_whole = true;
    let tag = fill(template, |name, tag| {
        let mut params = endpoint.params.iter().zip(&given.values);
        let pushed = match params.find(|(param, _)| param.name == *name) {
            Some((param, value)) => value.as_ref().map(|value| push_given(param, value, tag)),
            None => row.and_then(|row| push_column(row, name, tag)),
        };
        is_whole &= pushed.is_some();
    });
    is_whole.then_some(tag)
}

fn fill(template: &TagTemplate, mut push: impl FnMut(&str, &mut String)) -> String {
    let mut tag = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Literal(literal) => tag.push_str(literal),
            Piece::Value(name) => push(name, &mut tag),
        }
    }
    tag
}

/// As Postgres writes it: to ask for `007` is to ask for `7`, and a change of that row has to find the answer.
fn push_given(param: &Param, value: &str, tag: &mut String) {
    match (param.type_name.as_str(), value.parse::<i64>()) {
        // Writing to a String cannot fail.
        ("int2" | "int4" | "int8", Ok(number)) => drop(write!(tag, "{number}")),
        ("uuid", _) => push_escaped(&value.to_ascii_lowercase(), tag),
        _ => push_escaped(value, tag),
    }
}

/// `None` for NULL, and for what is not there.
fn column<'r>(row: &'r Row, name: &str) -> Option<(&'r [u8], &'r Type)> {
    let index = prepare::find(row.columns(), name)?;
    Some((raw(row, index)?, row.columns().get(index)?.type_()))
}

pub(super) fn push_column(row: &Row, name: &str, tag: &mut String) -> Option<()> {
    let (bytes, kind) = column(row, name)?;
    push_value(bytes, kind, tag)
}

/// As Postgres writes it in text, but for booleans, which it writes `t` and `f`: these are `true` and `false` here.
fn push_value(bytes: &[u8], kind: &Type, tag: &mut String) -> Option<()> {
    // Writing to a String cannot fail.
    match *kind {
        Type::INT2 => drop(write!(tag, "{}", i16::from_be_bytes(bytes.try_into().ok()?))),
        Type::INT4 => drop(write!(tag, "{}", i32::from_be_bytes(bytes.try_into().ok()?))),
        Type::INT8 => drop(write!(tag, "{}", i64::from_be_bytes(bytes.try_into().ok()?))),
        Type::BOOL => tag.push_str(if bytes == [1] { "true" } else { "false" }),
        Type::UUID => {
            for (index, byte) in bytes.iter().enumerate() {
                let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
                let _ = write!(tag, "{dash}{byte:02x}");
            }
        }
        _ => push_escaped(std::str::from_utf8(bytes).ok()?, tag),
    }
    Some(())
}

/// The elements of an array as Postgres sends it, without those that are NULL. `None` if it is none.
fn array_elements(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (dimensions, rest) = number(bytes)?;
    // Whether there are NULLs, and the type; then a length and a first index for each dimension.
    let mut rest = rest.get(8_usize.checked_add(usize::try_from(dimensions).ok()?.checked_mul(8)?)?..)?;
    let mut elements = Vec::new();
    while let Some((length, after)) = number(rest) {
        rest = after;
        if let Ok(length) = usize::try_from(length) {
            let (element, after) = rest.split_at_checked(length)?;
            elements.push(element);
            rest = after;
        }
    }
    Some(elements)
}

fn number(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((i32::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_an_array_are_those_that_postgres_sent() {
        let sent = |numbers: &[i32]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
        let two = sent(&[1, 1, 20, 3, 1, 4, 7, -1, 4, 9]);
        assert_eq!(array_elements(&two).unwrap(), [7_i32.to_be_bytes(), 9_i32.to_be_bytes()]);
        assert!(array_elements(&sent(&[0, 0, 20])).unwrap().is_empty());
        for bad in
            [vec![], sent(&[1]), sent(&[-1, 0, 20]), sent(&[1, 0, 20, 1, 1, 5, 7]), sent(&[i32::MAX, 0, 20])]
        {
            assert_eq!(array_elements(&bad), None, "{bad:?}");
        }
    }
}
