//! The only place where the proxy makes up a response of its own.

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};

use crate::{body::Body, error::Error};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, QUERY");

/// The answer to a request that failed. No cache may keep it.
pub fn to_error(error: &Error, method: &Method) -> Response<Body> {
    let status = error.status();
    let body = if method == Method::HEAD { String::new() } else { problem(status, error.public_text()) };
    let mut response = Response::new(Body::whole(Bytes::from(body)));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        fields.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if matches!(error, Error::HttpRequestError(_)) {
        // Where a head is not to be trusted, neither is the place where it ends.
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        fields.insert(ALLOW, METHODS);
    }
    response
}

/// The answer to an OPTIONS that is to go no further.
pub fn to_options() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, METHODS);
    response
}

/// RFC 9457 in its smallest form. `detail` is one of our own texts and needs no escaping.
fn problem(status: StatusCode, detail: &'static str) -> String {
    let title = status.canonical_reason().unwrap_or("Error");
    format!("{{\"title\":\"{title}\",\"status\":{},\"detail\":\"{detail}\"}}\n", status.as_u16())
}
