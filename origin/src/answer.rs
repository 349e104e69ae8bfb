//! From rows to a response: the body as Postgres made it, and the fields a cache works with.
//!
//! Read next: `catalogue/prepare.rs`, which made sure that the columns are there.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use hyper::{Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use crate::catalogue::prepare;
use crate::catalogue::prepare::Layout;
use crate::catalogue::tags::{MAX_TAG_BYTES, push_escaped};
use crate::catalogue::{Endpoint, Piece, Rows, TagTemplate};
use crate::cursor::Key;
use crate::database::Answered;
use crate::error::Error;
use crate::params::Given;

mod members;
mod page;
mod rows;
pub(crate) mod stream;
mod value;

pub(crate) use page::{Body, body};
pub(crate) use rows::RowWriter;
pub(crate) use value::is_known as can_write;

/// Whole, or sent while its rows are read.
pub(crate) type AnswerBody = Either<Full<Bytes>, stream::Chunks>;

pub(crate) const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("larder-served-by");
pub(crate) const VERSION: HeaderName = HeaderName::from_static("larder-version");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Proxies bound a head; one that does not fit is no answer at all. An answer whose tags do not fit must not be stored, so it says so.
const MAX_TAGS_BYTES: usize = 8 * 1024;

pub(crate) fn response(
    endpoint: &Endpoint,
    layout: &Layout,
    given: &Given,
    answered: &Answered,
    request_fields: &HeaderMap,
    key: &Key,
) -> Result<Response<Full<Bytes>>, Error> {
    let Body { rows, bytes } = body(endpoint, layout, given, &answered.rows, key)?;
    let version = rows.first().zip(layout.version).and_then(|(row, _)| version_of(endpoint, row));
    let etag = etag(version.as_deref(), &bytes);
    let body = Bytes::from(bytes);
    let is_known = request_fields.get_all(IF_NONE_MATCH).iter().any(|field| names(field, &etag));
    let mut response = Response::new(Full::new(if is_known { Bytes::new() } else { body }));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let fields = response.headers_mut();
    match tags(endpoint, given, &rows) {
        Some(tags) => {
            fields.insert(CACHE_CONTROL, endpoint.cache.clone());
            if let Some(tags) = HeaderValue::from_str(&tags).ok().filter(|tags| !tags.is_empty()) {
                fields.insert(CACHE_TAG, tags);
            }
        }
        // No purge could find it.
        None => drop(fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"))),
    }
    if !is_known {
        fields.insert(CONTENT_TYPE, JSON);
    }
    for (name, value) in
        [(ETAG, etag.as_str()), (SERVED_BY, &answered.session.server), (VERSION, &answered.stamp)]
    {
        if let Ok(value) = HeaderValue::from_str(value) {
            fields.insert(name, value);
        }
    }
    Ok(response)
}

/// The value of `Cache-Tag`, or `None` if it would be too long.
fn tags(endpoint: &Endpoint, given: &Given, rows: &[&Row]) -> Option<String> {
    let mut all = String::new();
    let mut seen: HashSet<String> = HashSet::new();
    let per_row = |template: &TagTemplate| template.values().any(|name| !endpoint.is_param(name));
    for template in &endpoint.tags {
        let tags: Vec<String> = if per_row(template) {
            rows.iter().filter_map(|row| render(template, endpoint, given, Some(row))).collect()
        } else {
            render(template, endpoint, given, None).into_iter().collect()
        };
        for tag in tags {
            if tag.len() > MAX_TAG_BYTES || all.len() + tag.len() > MAX_TAGS_BYTES {
                return None;
            }
            if !seen.contains(&tag) {
                if !all.is_empty() {
                    all.push(',');
                }
                all.push_str(&tag);
                seen.insert(tag);
            }
        }
    }
    Some(all)
}

/// `None` if one of the values is absent.
pub(crate) fn render(
    template: &TagTemplate,
    endpoint: &Endpoint,
    given: &Given,
    row: Option<&Row>,
) -> Option<String> {
    let mut tag = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Literal(literal) => tag.push_str(literal),
            Piece::Value(name) => match endpoint.params.iter().position(|param| param.name == *name) {
                Some(param) => push_escaped(given.values.get(param)?.as_ref()?, &mut tag),
                None => push_column(row?, name, &mut tag)?,
            },
        }
    }
    Some(tag)
}

fn push_column(row: &Row, name: &str, tag: &mut String) -> Option<()> {
    let index = prepare::find(row.columns(), name)?;
    let (bytes, kind) = (raw(row, index)?, row.columns().get(index)?.type_());
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

/// The row's version, where the endpoint has one that fits into an ETag.
pub(crate) fn version_of(endpoint: &Endpoint, row: &Row) -> Option<String> {
    if endpoint.rows != Rows::One {
        return None;
    }
    let (name, _) = endpoint.version.as_ref()?;
    let mut version = String::new();
    push_column(row, name, &mut version)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'%');
    version.bytes().all(is_plain).then_some(version)
}

/// A strong validator: the body itself, hashed. SHA-256, cut to 128 bits: what is in a row is often chosen by users, and none of
/// them can make two bodies that a cache takes for one. All workers and servers agree on it without a shared secret.
/// The version in front is for `If-Match`: it is the same for all representations of the row, where the hash is not.
pub(crate) fn etag(version: Option<&str>, body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    let hash = URL_SAFE_NO_PAD.encode(hash.get(..16).unwrap_or_default());
    match version {
        Some(version) => format!("\"{version}.{hash}\""),
        None => format!("\"{hash}\""),
    }
}

/// Weak comparison, as `If-None-Match` wants it.
fn names(field: &HeaderValue, etag: &str) -> bool {
    let Ok(text) = field.to_str() else { return false };
    // Our tags have no comma in them.
    text.trim() == "*" || text.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
}

/// The bytes of a column as Postgres sent them; `None` for NULL.
fn raw(row: &Row, index: usize) -> Option<&[u8]> {
    struct Raw<'r>(&'r [u8]);
    impl<'r> FromSql<'r> for Raw<'r> {
        fn from_sql(_: &Type, bytes: &'r [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
            Ok(Self(bytes))
        }
        fn accepts(_: &Type) -> bool {
            true
        }
    }
    row.try_get::<_, Option<Raw<'_>>>(index).ok().flatten().map(|raw| raw.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_etag_is_recognized_in_every_spelling() {
        let etag = etag(Some("7"), b"{}");
        for (field, is_known) in [
            (etag.clone(), true),
            (format!("W/{etag}"), true),
            (format!("\"x\", {etag} ,\"y\""), true),
            ("*".to_owned(), true),
            ("\"x\"".to_owned(), false),
            (etag.trim_matches('"').to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(names(&HeaderValue::from_str(&field).unwrap(), &etag), is_known, "{field}");
        }
    }
}
