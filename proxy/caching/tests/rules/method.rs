//! Which methods change nothing.

use caching::method::is_safe;
use http::Method;

#[track_caller]
fn check(method: &str, expected: bool) {
    let method = Method::from_bytes(method.as_bytes()).expect("a case names a method");
    assert_eq!(is_safe(&method), expected, "{method}");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1
//= type=test
//# Of the request methods defined by this specification, the GET, HEAD,
//# OPTIONS, and TRACE methods are defined to be safe.
#[test]
fn what_is_registered_as_safe_is_safe() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH"] {
        check(method, true);
    }
}

#[test]
fn everything_else_may_change_something() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "CONNECT", "PROPPATCH", "MKCOL", "LOCK", "PURGE", "X"] {
        check(method, false);
    }
    // Names are case-sensitive (RFC 9110 section 9.1).
    for method in ["get", "Get", "query", "GET2", "QUER"] {
        check(method, false);
    }
}
