//! The rules of HTTP caching as values in, value out: RFC 9111 and what belongs to it.
//!
//! Nothing here can reach a socket, a lock or a clock. Time is an argument, a rule is a function, and what a
//! rule decided is an enum that says why. The modules stand in the order in which a request meets them:
//!
//! - [`time`]: dates, ages and lifetimes, which do not mix
//! - [`directives`]: `Cache-Control` as typed values (RFC 9111 section 5.2)
//! - [`key`]: the cache key (section 2)
//! - [`vary`]: selecting header fields (section 4.1)
//! - [`storable`]: may this response be stored, and if not why not (section 3)
//! - [`freshness`]: lifetime and current age (section 4.2), stale windows (RFC 5861)
//! - [`reuse`]: may this stored response answer now (section 4)
//! - [`validation`]: validators, the validation request, freshening (section 4.3)
//! - [`precondition`]: the client's own `If-None-Match` and `If-Modified-Since` (RFC 9110 section 13)
//! - [`range`]: which part of a stored response answers (RFC 9110 section 14)
//! - [`invalidation`]: what an unsafe request makes invalid (section 4.4)
//! - [`tags`]: tags of a response and how they are invalidated
//! - [`fields`]: fields that belong to one connection, or to caches alone (section 3.1)
//!
//! Where this departs from RFC 9111, it is a decision:
//!
//! - Stale use beside `s-maxage` (section 5.2.2.10): forbidden, unless the origin itself sends
//!   `stale-while-revalidate` or `stale-if-error` beside it. That is how origins and CDNs take the two together.
//! - A 304 without any validator (section 4.3.4) freshens the one response whose validators were sent.
//! - A 304 does not change `Content-Type` or `Content-Encoding` (section 3.2): the stored body stays as it is.
//! - `Connection` cannot take away fields that are for all recipients, such as `Cache-Control` and `Vary`
//!   (RFC 9110 section 7.6.1 has every named field removed, and forbids to name these).
//!
//! And where it is stricter than it must be:
//!
//! - `private` and `no-cache` with field names count for the whole response; `Pragma: no-cache` in a response
//!   counts where there is no `Cache-Control`; a number that cannot be read or contradicts another is zero.
//! - `Set-Cookie` is never stored. Heuristics are for few statuses, and not for an answer to a request with a cookie
//!   unless it is `public` or varies on it. Statuses that speak of one request alone are not stored, whatever they say.
//! - Configuration and policy can shorten, but not lengthen, the life of an error, and of an answer to somebody with
//!   credentials unless it is `public`.
//! - Request directives other than `no-store` and `only-if-cached` are ignored, as section 5.2.1 allows.

pub mod time;
pub mod directives;
pub mod key;
pub mod vary;
pub mod storable;
pub mod freshness;
pub mod reuse;
pub mod validation;
pub mod precondition;
pub mod range;
pub mod invalidation;
pub mod tags;
pub mod fields;
