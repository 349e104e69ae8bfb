//! The proxy as a client, an upstream and an operator see it: one module for each thing they rely on.
//!
//! Real sockets, a clock moved by hand, an upstream that does what the test says. Nothing sleeps, no port is fixed.

mod freshness;
mod vary;
mod validation;
mod range;
mod partial;
mod head;
mod methods;
mod keys;
mod directives;
mod floor;
mod stale;
mod coalescing;
mod invalidation;
mod groups;
mod feed;
mod streaming;
mod interim;
mod trailers;
mod uploads;
mod upgrade;
mod requests;
mod upstream;
mod access;
mod policies;
mod policy_rows;
mod policy_attacks;
mod deploy;
mod reload;
mod admin;
mod explain;
mod stalled;
mod drain;
mod live_updates;
mod sessions;
mod audit;

mod raw;

use flow_tests::Response;

/// How `Cache-Status` begins: what it says up to the TTL, which most tests have no opinion on.
#[track_caller]
fn status_of(response: &Response) -> &str {
    let status = response.field("cache-status").expect("every answer says what the cache did");
    status.split("; ttl=").next().unwrap_or(status)
}

#[track_caller]
fn assert_status(response: &Response, expected: &str) {
    assert_eq!(status_of(response), expected, "{response:?}");
}

const HIT: &str = "larder; hit";
const STORED: &str = "larder; fwd=uri-miss; fwd-status=200; stored";
