//! May this stored response answer now (RFC 9111 section 4, RFC 5861).
//!
//! Judged at each look-up, under the rules of that moment. Must not know where the response is kept.

use std::time::Duration;

use crate::{
    freshness::{Facts, Rules},
    time::{Age, Timestamp},
};

/// What a look-up may do with a stored response that was selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    Fresh(Standing),
    /// Stale, and may answer while one validation is made in the background.
    StaleWhileRevalidate(Standing),
    /// Stale: ask the origin first.
    Validate(Standing),
}

/// The numbers behind a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub current_age: Age,
    /// Time left to live in whole seconds, below zero when stale: `ttl` of RFC 9211.
    pub ttl_s: i64,
}

/// Judges a selected response.
pub fn reuse(facts: &Facts, rules: &Rules, now: Timestamp) -> Reuse {
    let current_age = facts.current_age(now);
    let lifetime = facts.freshness_lifetime(rules).unwrap_or_default();
    let remaining = lifetime.remaining(current_age);
    let ttl_s = match remaining {
        Ok(left) => whole_seconds(left),
        Err(past) => -whole_seconds(past),
    };
    let standing = Standing { current_age, ttl_s };
    let past = match remaining {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.4
        //# The no-cache response directive, in its unqualified form (without an
        //# argument), indicates that the response MUST NOT be used to satisfy
        //# any other request without forwarding it for validation and receiving
        //# a successful response; see Section 4.3.
        Ok(_) if !facts.always_validate => return Reuse::Fresh(standing),
        Ok(_) => return Reuse::Validate(standing),
        Err(past) => past,
    };
    if past < facts.stale_while_revalidate(rules) {
        return Reuse::StaleWhileRevalidate(standing);
    }
    Reuse::Validate(standing)
}

/// May it answer although the origin could not (RFC 5861 section 4)?
pub fn may_serve_on_error(facts: &Facts, rules: &Rules, now: Timestamp) -> bool {
    let lifetime = facts.freshness_lifetime(rules).unwrap_or_default();
    match lifetime.remaining(facts.current_age(now)) {
        Ok(_) => !facts.always_validate,
        Err(past) => past < facts.stale_if_error(rules),
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
