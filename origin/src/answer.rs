//! From rows to a response: the body as Postgres made it, and the fields a cache works with.
//!
//! Read next: `catalogue/prepare.rs`, which made sure that the columns are there.

use std::error::Error as StdError;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use hyper::{Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use crate::catalogue::prepare::Layout;
use crate::catalogue::{Endpoint, Rows};
use crate::cursor::Key;
use crate::database::Answered;
use crate::error::Error;
use crate::params::Given;

mod members;
mod page;
mod rows;
pub(crate) mod stream;
mod tags;
mod value;

pub(crate) use page::{Body, body};
pub(crate) use rows::RowWriter;
pub(crate) use tags::render;
use tags::{push_column, tags};
pub(crate) use value::is_known as can_write;

/// Whole, or sent while its rows are read.
pub(crate) type AnswerBody = Either<Full<Bytes>, stream::Chunks>;

pub(crate) const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("larder-served-by");
pub(crate) const VERSION: HeaderName = HeaderName::from_static("larder-version");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

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
    let is_known = is_known(request_fields, &etag);
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

/// Whether the client has it (`If-None-Match`).
pub(crate) fn is_known(request_fields: &HeaderMap, etag: &str) -> bool {
    request_fields.get_all(IF_NONE_MATCH).iter().any(|field| names(field, etag))
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
