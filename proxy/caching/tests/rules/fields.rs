//! Fields that end at this hop.

use caching::fields::{clean_trailers, remove_hop_by_hop, remove_internal};
use http::HeaderMap;

use super::fields;

fn names(fields: &HeaderMap) -> String {
    let mut names: Vec<&str> = fields.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    names.join(" ")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let mut fields = fields(text);
    remove_hop_by_hop(&mut fields);
    assert_eq!(names(&fields), expected, "{text}");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
//= type=test
//# Intermediaries MUST parse a received Connection header field before a
//# message is forwarded and, for each connection-option in this field,
//# remove any header or trailer field(s) from the message with the same
//# name as the connection-option, and then remove the Connection header
//# field itself (or replace it with the intermediary's own control
//# options for the forwarded message).
#[test]
fn connection_and_what_it_names_is_removed() {
    check("connection: close | a: 1", "a");
    check("connection: X-A, x-b | x-a: 1 | x-b: 2 | x-b: 3 | c: 4", "c");
    check("connection: x-a | connection: x-b | x-a: 1 | x-b: 2 | c: 4", "c");
    check("connection: ,, x-a ,| x-a: 1", "");
    check("connection: not a name, x-a | x-a: 1 | c: 4", "c");
    check("connection: \"x-b, x-a | x-a: 1 | c: 4", "c");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
//= type=test
//# Furthermore, intermediaries SHOULD remove or replace fields that are
//# known to require removal before forwarding, whether or not they
//# appear as a connection-option, after applying those fields'
//# semantics.
#[test]
fn what_is_known_to_end_here_is_removed() {
    check(
        "keep-alive: x | proxy-connection: x | te: trailers | trailer: x | transfer-encoding: chunked | upgrade: h2c",
        "",
    );
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.1
//= type=test
//# Header fields that are specific to the proxy that a cache uses
//# when forwarding a request MUST NOT be stored, unless the cache
//# incorporates the identity of the proxy into the cache key.
#[test]
fn what_is_between_a_client_and_its_proxy_is_removed() {
    check("proxy-authenticate: x | proxy-authentication-info: x | proxy-authorization: x | a: 1", "a");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
//= type=test
//# A sender MUST NOT send a connection option corresponding to a field
//# that is intended for all recipients of the content.  For example,
//# Cache-Control is never appropriate as a connection option
//# (Section 5.2 of [CACHING]).
#[test]
fn connection_cannot_take_away_what_decides_who_may_see_a_response() {
    for name in [
        "age",
        "authorization",
        "cache-control",
        "cache-tag",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "etag",
        "expires",
        "host",
        "last-modified",
        "pragma",
        "set-cookie",
        "surrogate-key",
        "vary",
    ] {
        check(&format!("connection: close, {name} | {name}: 1"), name);
    }
}

#[test]
fn other_fields_stay_as_they_are() {
    check("a: 1 | b: 2 | x-connection: 3", "a b x-connection");
    let mut twice = fields("a: 1 | a: 2");
    remove_hop_by_hop(&mut twice);
    assert_eq!(twice, fields("a: 1 | a: 2"));
}

#[test]
fn what_an_origin_says_to_this_cache_alone_is_removed() {
    let mut response = fields(
        "cache-tag: a | surrogate-key: b | larder-version: lsn=1 | larder-cache-control: max-age=1 | etag: \"1\"
         | cdn-cache-control: max-age=1",
    );
    remove_internal(&mut response);
    assert_eq!(names(&response), "cdn-cache-control etag");
}

#[track_caller]
fn check_trailers(text: &str, expected: &str) {
    let mut trailers = fields(text);
    clean_trailers(&mut trailers);
    assert_eq!(names(&trailers), expected, "{text}");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
//= type=test
//# Many fields cannot be processed outside the header section because
//# their evaluation is necessary prior to receiving the content, such as
//# those that describe message framing, routing, authentication, request
//# modifiers, response controls, or content format.
#[test]
fn what_is_too_late_in_trailers_is_removed() {
    for name in [
        "accept-encoding",
        "access-control-allow-origin",
        "age",
        "authorization",
        "cache-control",
        "cache-tag",
        "cdn-cache-control",
        "content-encoding",
        "content-length",
        "content-range",
        "content-security-policy",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "if-none-match",
        "if-range",
        "larder-cache-control",
        "larder-version",
        "last-modified",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-connection",
        "range",
        "retry-after",
        "sec-fetch-site",
        "set-cookie",
        "strict-transport-security",
        "surrogate-key",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "warning",
        "www-authenticate",
        "x-forwarded-host",
    ] {
        check_trailers(&format!("{name}: 1 | x-a: 2 | {name}: 3"), "x-a");
    }
    check_trailers("connection: x-a, close | x-a: 1 | x-b: 2", "x-b");
}

#[test]
fn what_trailers_are_for_stays() {
    let kept = "accept-ranges content-digest digest etag grpc-message grpc-status repr-digest server-timing signature x-a";
    let text: Vec<String> = kept.split(' ').map(|name| format!("{name}: 1")).collect();
    check_trailers(&text.join(" | "), kept);
}
