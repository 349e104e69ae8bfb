//! What the answer to an unsafe request makes invalid.

use caching::invalidation::{further_targets, invalidates_target, is_own_location};
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
    for method in ["POST", "PUT", "DELETE", "PATCH", "CONNECT", "PURGE", "get", "query"] {
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
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND"] {
        check(method, 200, false);
        check(method, 303, false);
    }
}

/// What a POST to `http://h.example/a/b?q` makes invalid besides its own target.
#[track_caller]
fn check_further(response: &str, expected: &[&str]) {
    let mut found = Vec::new();
    further_targets(&super::fields(response), "h.example", "/a/b", |target| found.push(target.to_owned()));
    assert_eq!(found, expected, "{response}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.4
//= type=test
//# In particular, the URI(s) in the Location and
//# Content-Location response header fields (if present) are candidates
//# for invalidation
#[test]
fn what_was_made_or_changed_is_invalid_too() {
    check_further("", &[]);
    check_further("location: /new?x=1", &["/new?x=1"]);
    check_further("location: /new | content-location: /old", &["/new", "/old"]);
    check_further("location: http://h.example/new", &["/new"]);
    check_further("location: http://H.EXAMPLE:80/new#part", &["/new"]);
    check_further("location: https://h.example", &["/"]);
    check_further("location: //h.example/new", &["/new"]);
}

#[test]
fn relative_references_are_resolved() {
    check_further("location: c", &["/a/c"]);
    check_further("location: ./c?d=../e", &["/a/c?d=../e"]);
    check_further("location: ../c", &["/c"]);
    check_further("location: ../../../c", &["/c"]);
    check_further("location: ..", &["/"]);
    check_further("location: .", &["/a/"]);
    check_further("location: ?y=2", &["/a/b?y=2"]);
    check_further("location: #part", &[]);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.4
//= type=test
//# However, a cache MUST NOT trigger an
//# invalidation under these conditions if the origin (Section 4.3.1 of
//# [HTTP]) of the URI to be invalidated differs from that of the target
//# URI (Section 7.1 of [HTTP]).
#[test]
fn another_host_is_left_alone() {
    for location in [
        "http://other.example/new",
        "http://h.example:8080/new",
        "//other.example/new",
        "http://h.example@other.example/new",
        "http://",
        "ftp://[",
    ] {
        check_further(&format!("location: {location}"), &[]);
    }
}

/// The target is `/a/b?c` on `h`.
#[track_caller]
fn check_own(location: &str, expected: bool) {
    let value = http::HeaderValue::from_str(location).expect("a case is a field value");
    assert_eq!(is_own_location(&value, "h", "/a/b?c"), expected, "{location}");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-9.3.3
//= type=test
//# Responses to POST requests are only cacheable when they include
//# explicit freshness information (see Section 4.2.1 of [CACHING]) and a
//# Content-Location header field that has the same value as the POST's
//# target URI (Section 8.7).
#[test]
fn a_location_is_compared_as_a_reference() {
    for own in
        ["/a/b?c", "http://h/a/b?c", "HTTP://H:80/a/b?c", "//h/a/b?c", "b?c", "?c", "../a/b?c", "/a/b?c#part"]
    {
        check_own(own, true);
    }
    for other in
        ["", "/a/b", "/a/b?d", "/a/c?c", "http://i/a/b?c", "http://h:81/a/b?c", "//i/a/b?c", "/A/b?c"]
    {
        check_own(other, false);
    }
}

#[test]
fn a_url_in_a_query_is_no_scheme() {
    let value = http::HeaderValue::from_static("/a?u=http://other/");
    assert!(is_own_location(&value, "h", "/a?u=http://other/"));
    assert!(is_own_location(&http::HeaderValue::from_static("a?u=http://other/"), "h", "/a?u=http://other/"));
}
