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
//! - [`invalidation`]: what an unsafe request makes invalid (section 4.4)
//! - [`tags`]: tags of a response and how they are invalidated
//! - [`fields`]: fields that belong to one connection, or to caches alone (section 3.1)

pub mod time;
pub mod directives;
pub mod key;
pub mod vary;
pub mod storable;
pub mod freshness;
pub mod reuse;
pub mod validation;
pub mod precondition;
pub mod invalidation;
pub mod tags;
pub mod fields;
