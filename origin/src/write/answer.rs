//! From the row that a write gives to its answer, in a form that can be kept.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Response, StatusCode};
use tokio_postgres::Row;

use super::idempotency::Kept;
use super::transaction::Answered;
use crate::answer::{self, RowWriter};
use crate::catalogue::prepare::Layout;
use crate::catalogue::{Endpoint, Piece, Rows, TagTemplate};
use crate::error::Error;
use crate::params::Given;

/// Where the log of the primary is after the change: who has replayed that far sees it.
const COMMIT: HeaderName = HeaderName::from_static("larder-commit");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What is answered to who made the change, and to who sends the same again.
pub(super) fn kept(
    endpoint: &Endpoint,
    layout: &Layout,
    given: &Given,
    row: Option<&Row>,
) -> Result<Kept, Error> {
    let (Some(row), Rows::One) = (row, endpoint.rows) else {
        return Ok(Kept { status: StatusCode::NO_CONTENT.as_u16(), ..Kept::default() });
    };
    let mut body = Vec::with_capacity(row.raw_size_bytes());
    let mut writer = RowWriter::new(endpoint, layout, given)?;
    writer.push(row, &mut body)?;
    writer.finish()?;
    let version = answer::version_of(endpoint, row);
    let etag = version.map(|version| answer::etag(Some(&version), &body));
    let location = endpoint.location.as_ref().filter(|_| endpoint.route.method == Method::POST);
    let location = location.map(|template| self::location(template, endpoint, given, row)).transpose()?;
    let status = if location.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let body = String::from_utf8(body).map_err(|_| Error::Endpoint("the answer is not UTF-8"))?;
    Ok(Kept { status: status.as_u16(), location, etag, body: Some(body) })
}

/// A path: what a value has in it that would end a segment of it is escaped.
fn location(template: &TagTemplate, endpoint: &Endpoint, given: &Given, row: &Row) -> Result<String, Error> {
    let mut location = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Literal(literal) => location.push_str(literal),
            Piece::Value(_) => {
                let one = TagTemplate { pieces: vec![piece.clone()], position: template.position };
                let value = answer::render(&one, endpoint, given, Some(row));
                let value = value.ok_or(Error::Endpoint("a value of the location is NULL"))?;
                for c in value.chars() {
                    match c {
                        '/' => location.push_str("%2F"),
                        '?' => location.push_str("%3F"),
                        '#' => location.push_str("%23"),
                        c => location.push(c),
                    }
                }
            }
        }
    }
    Ok(location)
}

pub(super) fn response(answered: Answered, is_replayed: bool) -> Response<Full<Bytes>> {
    let Answered { kept, server, commit } = answered;
    let is_json = kept.body.is_some();
    let mut response = Response::new(Full::new(Bytes::from(kept.body.unwrap_or_default())));
    // What was kept was a status when it was kept.
    *response.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let fields = response.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if is_json {
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in [
        (LOCATION, kept.location.as_deref()),
        (ETAG, kept.etag.as_deref()),
        (COMMIT, commit.as_deref()),
        (answer::SERVED_BY, Some(&*server)),
        (REPLAYED, is_replayed.then_some("true")),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            fields.insert(name, value);
        }
    }
    response
}
