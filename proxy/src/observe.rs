//! What is told about each request: one name for how it ended, counters per worker and route, the access log.
//!
//! Labels come from the enums here and from names in the configuration, never from a request. Counters belong
//! to one worker, so that counting shares no cache line between cores; `observe/metrics.rs` sums them up.

pub mod metrics;

pub use metrics::{PolicyMetrics, RouteMetrics, WorkerMetrics};

/// Why a request went to the upstream: the tokens of RFC 9211 section 2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    /// Something is stored, but a purge or a new policy has ended its use.
    Miss,
    Stale,
    /// What is stored is fresh, but the request's own directives do not accept it.
    Request,
    /// What is stored is a part, and not the one that is asked for.
    Partial,
}

impl Forward {
    pub const fn as_str(self) -> &'static str {
        match self {
            Forward::Bypass => "bypass",
            Forward::Method => "method",
            Forward::UriMiss => "uri-miss",
            Forward::VaryMiss => "vary-miss",
            Forward::Miss => "miss",
            Forward::Stale => "stale",
            Forward::Request => "request",
            Forward::Partial => "partial",
        }
    }
}

/// How a request ended: feeds the metric label and the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Hit,
    /// Stale, while it is refreshed in the background.
    HitStale,
    /// Stale, because the upstream failed.
    HitStaleIfError,
    /// Stale, and its client had said that it takes that.
    HitStaleAccepted,
    /// Stale, and the upstream said that it still holds.
    Validated,
    /// Fed by another request's fetch.
    Collapsed,
    Forwarded(Forward),
    /// The policy answered.
    Policy,
    /// A stream of live updates began.
    Live,
    Error,
}

impl Outcome {
    pub const COUNT: usize = 17;
    pub const ALL: [Outcome; Outcome::COUNT] = [
        Outcome::Hit,
        Outcome::HitStale,
        Outcome::HitStaleIfError,
        Outcome::Validated,
        Outcome::Collapsed,
        Outcome::Policy,
        Outcome::Error,
        Outcome::Forwarded(Forward::Bypass),
        Outcome::Forwarded(Forward::Method),
        Outcome::Forwarded(Forward::UriMiss),
        Outcome::Forwarded(Forward::VaryMiss),
        Outcome::Forwarded(Forward::Miss),
        Outcome::Forwarded(Forward::Stale),
        Outcome::Forwarded(Forward::Request),
        Outcome::Forwarded(Forward::Partial),
        Outcome::HitStaleAccepted,
        Outcome::Live,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Hit => "hit",
            Outcome::HitStale => "hit-stale",
            Outcome::HitStaleIfError => "hit-stale-if-error",
            Outcome::HitStaleAccepted => "hit-stale-accepted",
            Outcome::Validated => "validated",
            Outcome::Collapsed => "collapsed",
            Outcome::Policy => "policy",
            Outcome::Live => "live",
            Outcome::Error => "error",
            Outcome::Forwarded(forward) => forward.as_str(),
        }
    }

    /// Its place in [`Outcome::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Outcome::Hit => 0,
            Outcome::HitStale => 1,
            Outcome::HitStaleIfError => 2,
            Outcome::Validated => 3,
            Outcome::Collapsed => 4,
            Outcome::Policy => 5,
            Outcome::Error => 6,
            Outcome::Forwarded(Forward::Bypass) => 7,
            Outcome::Forwarded(Forward::Method) => 8,
            Outcome::Forwarded(Forward::UriMiss) => 9,
            Outcome::Forwarded(Forward::VaryMiss) => 10,
            Outcome::Forwarded(Forward::Miss) => 11,
            Outcome::Forwarded(Forward::Stale) => 12,
            Outcome::Forwarded(Forward::Request) => 13,
            Outcome::Forwarded(Forward::Partial) => 14,
            Outcome::HitStaleAccepted => 15,
            Outcome::Live => 16,
        }
    }

    /// Whether the upstream had nothing to do with this request.
    pub const fn is_hit(self) -> bool {
        matches!(
            self,
            Outcome::Hit
                | Outcome::HitStale
                | Outcome::HitStaleIfError
                | Outcome::HitStaleAccepted
                | Outcome::Collapsed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_stands_at_its_index() {
        for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), at, "{}", outcome.as_str());
        }
    }
}
