//! May this stored response answer now (RFC 9111 section 4, RFC 5861).
//!
//! Judged at each look-up, under the rules of that moment. Must not know where the response is kept.

use std::time::Duration;

use crate::{
    directives::{MaxStale, RequestDirectives},
    freshness::{Facts, Rules},
    time::{Age, Timestamp},
};

/// An early refresh costs at least this much, however quickly the origin answered once.
const SHORTEST_REFRESH: Duration = Duration::from_millis(10);

/// What a look-up may do with a stored response that was selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    Fresh(Standing),
    /// Stale, and may answer while one validation is made in the background.
    StaleWhileRevalidate(Standing),
    /// Stale, and this client takes it so (`max-stale`): it answers, and nothing else has to happen.
    StaleAccepted(Standing),
    /// Fresh, but this client asked for better: ask the origin first.
    Demanded(Standing),
    /// Stale: ask the origin first.
    Validate(Standing),
}

impl Reuse {
    pub const fn standing(self) -> Standing {
        match self {
            Reuse::Fresh(standing)
            | Reuse::StaleWhileRevalidate(standing)
            | Reuse::StaleAccepted(standing)
            | Reuse::Demanded(standing)
            | Reuse::Validate(standing) => standing,
        }
    }
}

/// The numbers behind a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub current_age: Age,
    /// Time left to live in whole seconds, below zero when stale: `ttl` of RFC 9211.
    pub ttl_s: i64,
}

/// What a request asks of the response that answers it (RFC 9111 section 5.2.1). By default nothing: a route has to
/// say that it listens, else anybody could make the origin work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demands {
    pub no_cache: bool,
    pub max_age: Option<Duration>,
    pub min_fresh: Option<Duration>,
    pub max_stale: Option<MaxStale>,
}

impl Demands {
    pub fn of(directives: &RequestDirectives) -> Demands {
        let RequestDirectives { no_cache, max_age, min_fresh, max_stale, .. } = *directives;
        Demands { no_cache, max_age, min_fresh, max_stale }
    }

    /// Whether a fresh response will do that is so old and has so much time left.
    fn accept_fresh(&self, facts: &Facts, current_age: Age, left: Duration) -> bool {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.4
        //# The no-cache request directive indicates that the client prefers a
        //# stored response not be used to satisfy the request without successful
        //# validation on the origin server.
        if self.no_cache {
            return false;
        }
        //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.3
        //# That is, the client wants a
        //# response that will still be fresh for at least the specified number
        //# of seconds.
        if self.min_fresh.is_some_and(|min_fresh| left < min_fresh) {
            return false;
        }
        //= https://www.rfc-editor.org/rfc/rfc8246#section-2.1
        //# proxies SHOULD skip conditionally revalidating fresh
        //# responses containing the immutable extension unless there is a signal
        //# from the client that a validation is necessary
        facts.immutable || self.accept_age(current_age)
    }

    /// Whether a response will do that is so old and has been stale for so long, if it may be used at all.
    fn accept_stale(&self, current_age: Age, past: Duration) -> bool {
        if self.no_cache || self.min_fresh.is_some() || !self.accept_age(current_age) {
            return false;
        }
        match self.max_stale {
            Some(MaxStale::Any) => true,
            //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.2
            //# If a value is
            //# present, then the client is willing to accept a response that has
            //# exceeded its freshness lifetime by no more than the specified number
            //# of seconds.
            Some(MaxStale::Limit(limit)) => past <= limit,
            //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.1
            //# Unless the max-stale request directive is also present, the
            //# client does not wish to receive a stale response.
            None => self.max_age.is_none(),
        }
    }

    fn accept_age(&self, current_age: Age) -> bool {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.1
        //# The max-age request directive indicates that the client prefers a
        //# response whose age is less than or equal to the specified number of
        //# seconds.
        self.max_age.is_none_or(|max_age| current_age <= Age::from_duration(max_age))
    }
}

/// Judges a selected response. `soft_purged` is when it was purged without being dead, if it was: it has been stale
/// since then at the latest, and answers only within its own stale windows.
pub fn reuse(
    facts: &Facts,
    rules: &Rules<'_>,
    demands: Demands,
    soft_purged: Option<Timestamp>,
    now: Timestamp,
) -> Reuse {
    let current_age = facts.current_age(now);
    let lifetime = facts.freshness_lifetime(rules).unwrap_or_default();
    // Nearly every look-up ends here. What follows is kept out of it, so that it stays a few nanoseconds.
    if let Ok(left) = lifetime.remaining(current_age)
        && soft_purged.is_none()
        && !facts.always_validate
        && demands.accept_fresh(facts, current_age, left)
    {
        return Reuse::Fresh(Standing { current_age, ttl_s: whole_seconds(left) });
    }
    reuse_unless_fresh(facts, rules, &demands, soft_purged, now)
}

/// [`reuse`] for what is not simply fresh.
#[inline(never)]
fn reuse_unless_fresh(
    facts: &Facts,
    rules: &Rules<'_>,
    demands: &Demands,
    soft_purged: Option<Timestamp>,
    now: Timestamp,
) -> Reuse {
    let current_age = facts.current_age(now);
    let remaining = remaining(facts, rules, soft_purged, now);
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
        Ok(_) if facts.always_validate => return Reuse::Validate(standing),
        Ok(_) => return Reuse::Demanded(standing),
        Err(past) => past,
    };
    if !demands.accept_stale(current_age, past) {
        return Reuse::Validate(standing);
    }
    if past < facts.stale_while_revalidate(rules) {
        return Reuse::StaleWhileRevalidate(standing);
    }
    // A client can take what is stale for itself, but not lift what the origin forbids, nor a purge.
    let is_forbidden = facts.forbids_stale(rules) || facts.takes_own_windows_only || soft_purged.is_some();
    if demands.max_stale.is_some() && !is_forbidden {
        return Reuse::StaleAccepted(standing);
    }
    Reuse::Validate(standing)
}

/// May it answer although the origin could not (RFC 5861 section 4)? `soft_purged` is as in [`reuse`].
pub fn may_serve_on_error(
    facts: &Facts,
    rules: &Rules<'_>,
    soft_purged: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    match remaining(facts, rules, soft_purged, now) {
        Ok(_) => !facts.always_validate,
        Err(past) => past < facts.stale_if_error(rules),
    }
}

/// Whether this request should refresh a fresh response in the background, before it ends for all at once: XFetch
/// (Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015). `random` is
/// even over (0, 1]; the smaller it is, and the nearer the end, the sooner the answer is yes. For anything that is not
/// fresh it is no.
pub fn refreshes_early(facts: &Facts, rules: &Rules<'_>, now: Timestamp, random: f64) -> bool {
    let Some(beta) = rules.early_refresh.filter(|beta| *beta > 0.0) else { return false };
    let Ok(left) = remaining(facts, rules, None, now) else { return false };
    if facts.always_validate || !(random > 0.0 && random <= 1.0) {
        return false;
    }
    let delta_s = facts.response_delay.max(SHORTEST_REFRESH).as_secs_f64();
    -delta_s * f64::from(beta) * random.ln() >= left.as_secs_f64()
}

/// What is left of the lifetime; `Err` holds how far it is past. For what was purged softly it never is `Ok`.
fn remaining(
    facts: &Facts,
    rules: &Rules<'_>,
    soft_purged: Option<Timestamp>,
    now: Timestamp,
) -> Result<Duration, Duration> {
    let lifetime = facts.freshness_lifetime(rules).unwrap_or_default();
    let remaining = lifetime.remaining(facts.current_age(now));
    match soft_purged {
        None => remaining,
        Some(purged) => Err(remaining.err().unwrap_or_default().max(now.since(purged))),
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
