//! What is asked of the origin, and what its answer means for the stored response.

use caching::validation::{
    CLIENT_CONDITIONS, HeadVerdict, Validated, freshened, freshened_by_head, has_validator,
    make_validation_request, validated,
};
use http::{HeaderMap, HeaderValue, StatusCode, header::ETAG};

use super::fields;

/// All fields as one line, sorted: `a: 1 | b: 2`.
fn text_of(fields: &HeaderMap) -> String {
    let mut lines: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().expect("cases are text")))
        .collect();
    lines.sort_by(|a, b| a.split(':').next().cmp(&b.split(':').next()));
    lines.join(" | ")
}

#[track_caller]
fn check_request(stored: &str, expected: &str) {
    let mut request = HeaderMap::new();
    make_validation_request(&mut request, &fields(stored));
    assert_eq!(text_of(&request), text_of(&fields(expected)), "{stored}");
    assert_eq!(has_validator(&fields(stored)), !expected.is_empty(), "{stored}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.1
//= type=test
//# MUST send the relevant entity tags (using If-Match, If-None-Match,
//# or If-Range) if the entity tags were provided in the stored
//# response(s) being validated.
//
//= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.1
//= type=test
//# SHOULD send the Last-Modified value (using If-Modified-Since) if
//# the request is not for a subrange, a single stored response is
//# being validated, and that response contains a Last-Modified value.
#[test]
fn the_validators_that_are_stored_are_sent() {
    check_request("etag: \"1\"", "if-none-match: \"1\"");
    check_request("etag: W/\"1\"", "if-none-match: W/\"1\"");
    check_request("last-modified: {-10}", "if-modified-since: {-10}");
    check_request("etag: \"1\" | last-modified: {-10}", "if-none-match: \"1\" | if-modified-since: {-10}");
    check_request("date: {-10} | expires: {+10}", "");
}

#[test]
fn what_cannot_validate_is_no_validator() {
    check_request("etag: ", "");
    check_request("last-modified: junk", "");
    check_request("last-modified: 0 | etag: \"1\"", "if-none-match: \"1\"");
}

#[test]
fn conditions_of_the_client_give_way() {
    let mut request = fields("if-none-match: \"client\" | if-modified-since: {-99} | accept: x");
    make_validation_request(&mut request, &fields("etag: \"1\" | last-modified: {-10}"));
    let expected = fields("accept: x | if-modified-since: {-10} | if-none-match: \"1\"");
    assert_eq!(text_of(&request), text_of(&expected));
    for name in ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"]
    {
        assert!(CLIENT_CONDITIONS.iter().any(|known| known == name), "{name}");
    }
}

#[track_caller]
fn check(stored: &str, not_modified: &str, expected: Validated) {
    let judged = validated(StatusCode::NOT_MODIFIED, &fields(not_modified), &fields(stored));
    assert_eq!(judged, expected, "stored {stored}; 304 {not_modified}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.4
//= type=test
//# If the new response contains one or more "strong validators" (see
//# Section 8.8.1 of [HTTP]), then each of those strong validators
//# identifies a selected representation for update.  All the stored
//# responses in the initial set with one of those same strong
//# validators are identified for update.  If none of the initial set
//# contains at least one of the same strong validators, then the
//# cache MUST NOT use the new response to update any stored
//# responses.
#[test]
fn a_304_with_a_strong_validator_is_for_the_response_that_has_it() {
    check("etag: \"1\"", "etag: \"1\"", Validated::NotModified);
    check("etag: \"1\" | last-modified: {-10}", "etag: \"1\" | last-modified: {-5}", Validated::NotModified);
    check("etag: \"1\"", "etag: \"2\"", Validated::Mismatch);
    check("etag: W/\"1\"", "etag: \"1\"", Validated::Mismatch);
    check("last-modified: {-10}", "etag: \"1\"", Validated::Mismatch);
    check("last-modified: {-10}", "etag: \"1\" | last-modified: {-10}", Validated::Mismatch);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.4
//= type=test
//# If the new response contains no strong validators but does contain
//# one or more "weak validators", and those validators correspond to
//# one of the initial set's stored responses, then the most recent of
//# those matching stored responses is identified for update.
#[test]
fn a_304_with_weak_validators_is_for_the_response_they_correspond_to() {
    check("etag: W/\"1\"", "etag: W/\"1\"", Validated::NotModified);
    check("etag: \"1\"", "etag: W/\"1\"", Validated::NotModified);
    check("etag: W/\"1\"", "etag: W/\"2\"", Validated::Mismatch);
    check("last-modified: {-10}", "last-modified: {-10}", Validated::NotModified);
    check("last-modified: {-10}", "last-modified: {-5}", Validated::Mismatch);
    check("etag: \"1\" | last-modified: {-10}", "last-modified: {-10}", Validated::NotModified);
    check("etag: \"1\" | last-modified: {-10}", "last-modified: {-5}", Validated::Mismatch);
    check("etag: \"1\"", "last-modified: {-5}", Validated::Mismatch);
    check("last-modified: {-10}", "etag: W/\"1\" | last-modified: {-10}", Validated::NotModified);
    check("last-modified: {-10}", "etag: W/\"1\"", Validated::Mismatch);
}

/// A deviation: section 4.3.4 accepts a 304 without any validator only for a stored response without one. But we
/// sent the validators of just one response, so a 304 can be about no other, and origins that leave the tag out of
/// a 304 are many.
#[test]
fn a_304_without_validators_is_for_the_response_that_was_asked_about() {
    check("etag: \"1\"", "cache-control: max-age=60", Validated::NotModified);
    check("last-modified: {-10}", "", Validated::NotModified);
    check("etag: \"1\" | last-modified: {-10}", "etag: ", Validated::NotModified);
}

#[test]
fn a_304_that_was_not_asked_for_is_for_nothing() {
    check("date: {-10}", "", Validated::Mismatch);
    check("date: {-10}", "cache-control: max-age=60", Validated::Mismatch);
    check("", "etag: \"1\"", Validated::Mismatch);
    check("etag: ", "", Validated::Mismatch);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.3
//= type=test
//# A full response (i.e., one containing content) indicates that none
//# of the stored responses nominated in the conditional request are
//# suitable.  Instead, the cache MUST use the full response to
//# satisfy the request.
//
//= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.3
//= type=test
//# However, if a cache receives a 5xx (Server Error) response while
//# attempting to validate a response, it can either forward this
//# response to the requesting client or act as if the server failed
//# to respond.
#[test]
fn other_answers_are_full_responses_or_errors() {
    let of = |status: u16| {
        let stored = fields("etag: \"1\"");
        validated(StatusCode::from_u16(status).unwrap(), &stored, &stored)
    };
    for status in [200, 204, 206, 301, 400, 404, 410, 412, 499] {
        assert_eq!(of(status), Validated::Full, "{status}");
    }
    for status in [500, 502, 503, 504, 599] {
        assert_eq!(of(status), Validated::Error, "{status}");
    }
    assert_eq!(of(304), Validated::NotModified);
}

#[track_caller]
fn check_freshened(stored: &str, not_modified: &str, expected: &str) {
    let updated = freshened(&fields(stored), &fields(not_modified));
    assert_eq!(text_of(&updated), text_of(&fields(expected)), "stored {stored}; 304 {not_modified}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.2
//= type=test
//# When doing so, the cache MUST add each header field in the provided
//# response to the stored response, replacing field values that are
//# already present, with the following exceptions:
#[test]
fn a_304_replaces_and_adds_fields() {
    check_freshened("a: 1 | b: 2", "date: {0} | b: 3 | c: 4", "a: 1 | b: 3 | c: 4 | date: {0}");
    check_freshened("a: 1 | a: 2", "date: {0} | a: 3", "a: 3 | date: {0}");
    check_freshened("a: 1", "date: {0} | a: 2 | a: 3", "a: 2 | a: 3 | date: {0}");
    check_freshened(
        "cache-control: max-age=1 | expires: {-5} | date: {-9}",
        "cache-control: max-age=60 | expires: {+60} | date: {0}",
        "cache-control: max-age=60 | date: {0} | expires: {+60}",
    );
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.2
//= type=test
//# The Content-Length header field.
#[test]
fn a_304_does_not_touch_how_the_stored_body_is_read() {
    check_freshened(
        "content-length: 5 | content-encoding: gzip | content-type: text/plain | content-location: /a",
        "date: {0} | content-length: 0 | content-encoding: br | content-type: text/html | content-range: bytes 0-1/2",
        "content-encoding: gzip | content-length: 5 | content-location: /a | content-type: text/html | date: {0}",
    );
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.1
//= type=test
//# The Connection header field and fields whose names are listed in
//# it are required by Section 7.6.1 of [HTTP] to be removed before
//# forwarding the message.
#[test]
fn a_304_brings_no_fields_of_its_connection() {
    check_freshened(
        "a: 1",
        "date: {0} | connection: x-this, close | x-this: 1 | keep-alive: timeout=5 | transfer-encoding: chunked",
        "a: 1 | date: {0}",
    );
    check_freshened(
        "a: 1",
        "date: {0} | proxy-authenticate: Basic | proxy-authentication-info: x",
        "a: 1 | date: {0}",
    );
    // What was stored under that name is for everybody, and stays.
    check_freshened("x-this: 1", "date: {0} | connection: x-this | x-this: 2", "date: {0} | x-this: 1");
}

#[test]
fn a_cookie_in_a_304_is_for_one_client() {
    check_freshened("a: 1", "date: {0} | set-cookie: s=1", "a: 1 | date: {0}");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1
//= type=test
//# A recipient with a clock that receives a response message without a
//# Date header field MUST record the time it was received and append a
//# corresponding Date header field to the message's header section if it
//# is cached or forwarded downstream.
#[test]
fn a_304_without_date_or_age_does_not_take_over_the_old_ones() {
    check_freshened("a: 1 | date: {-500} | age: 300", "b: 2", "a: 1 | b: 2");
    check_freshened("a: 1 | date: {-500} | age: 300", "date: {0} | age: 7", "a: 1 | age: 7 | date: {0}");
}

#[test]
fn a_tag_of_odd_bytes_is_compared_as_bytes() {
    let tag = |bytes: &[u8]| HeaderMap::from_iter([(ETAG, HeaderValue::from_bytes(bytes).unwrap())]);
    let of = |stored: &[u8], new: &[u8]| validated(StatusCode::NOT_MODIFIED, &tag(new), &tag(stored));
    assert_eq!(of(b"\"\xff\"", b"\"\xff\""), Validated::NotModified);
    assert_eq!(of(b"\"\xff\"", b"\"\xfe\""), Validated::Mismatch);
    // Without quotes it is no entity tag, but origins send such and mean it.
    assert_eq!(of(b"abc", b"abc"), Validated::NotModified);
    assert_eq!(of(b"w/\"1\"", b"W/\"1\""), Validated::Mismatch);
}

/// `head`: the answer to a HEAD, as `200 etag: "1"`; the stored body has three bytes.
#[track_caller]
fn check_head(stored: &str, head: &str, expected: HeadVerdict) {
    let (status, head_fields) = head.split_at(3);
    let status: StatusCode = status.parse().expect("a response begins with its status");
    let verdict = freshened_by_head(&fields(stored), Some(3), status, &fields(head_fields));
    assert_eq!(verdict, expected, "{stored}; {head}");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.5
//= type=test
//# For each of the stored responses that could have been chosen, if the
//# stored response and HEAD response have matching values for any
//# received validator fields (ETag and Last-Modified) and, if the HEAD
//# response has a Content-Length header field, the value of Content-
//# Length matches that of the stored response, the cache SHOULD update
//# the stored response as described below; otherwise, the cache SHOULD
//# consider the stored response to be stale.
#[test]
fn a_head_freshens_what_it_matches() {
    let stored = "etag: \"1\" | last-modified: {-10}";
    for same in
        ["", "etag: \"1\"", "last-modified: {-10}", "content-length: 3", "etag: \"1\" | content-length: 3"]
    {
        check_head(stored, &format!("200 {same}"), HeadVerdict::Freshen);
    }
    for other in
        ["etag: \"2\"", "etag: W/\"1\"", "last-modified: {-9}", "content-length: 4", "content-length: x"]
    {
        check_head(stored, &format!("200 {other}"), HeadVerdict::Invalidate);
    }
    check_head("", "200 etag: \"1\"", HeadVerdict::Invalidate);
    for gone in ["404", "410", "301", "204"] {
        check_head(stored, gone, HeadVerdict::Invalidate);
    }
    for failed in ["500", "503", "400", "401", "403", "429"] {
        check_head(stored, failed, HeadVerdict::Ignore);
    }
}
