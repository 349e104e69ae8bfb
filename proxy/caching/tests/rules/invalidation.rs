//! What the answer to an unsafe request makes invalid.

use caching::invalidation::invalidates_target;
use http::{Method, StatusCode};

#[track_caller]
fn check(method: &str, status: u16, expected: bool) {
    let method = Method::from_bytes(method.as_bytes()).expect("a case names a method");
    assert_eq!(
        invalidates_target(&method, StatusCode::from_u16(status).expect("a case has a status")),
        expected,
        "{method} {status}"
    );
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.4
//= type=test
//# A cache MUST invalidate the target URI (Section 7.1 of [HTTP]) when
//# it receives a non-error status code in response to an unsafe request
//# method (including methods whose safety is unknown).
//
//= https://www.rfc-editor.org/rfc/rfc9111#section-4.4
//= type=test
//# A "non-error response" is one with a 2xx (Successful) or 3xx
//# (Redirection) status code.
#[test]
fn an_unsafe_request_invalidates_unless_it_failed() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "CONNECT", "PURGE", "get"] {
        for status in [200, 201, 202, 204, 205, 226, 301, 303, 304, 307] {
            check(method, status, true);
        }
        for status in [100, 103, 400, 401, 404, 409, 412, 429, 500, 503, 599] {
            check(method, status, false);
        }
    }
}

#[test]
fn a_safe_request_invalidates_nothing() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        check(method, 200, false);
        check(method, 303, false);
    }
}
