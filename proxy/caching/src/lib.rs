//! The rules of HTTP caching as values in, value out: RFC 9111 and what belongs to it.
//!
//! Nothing here can reach a socket, a lock or a clock. Time is an argument, a rule is a function, and what a
//! rule decided is an enum that says why. The modules stand in the order in which a request meets them:
//!
//! - [`time`]: dates, ages and lifetimes, which do not mix
//! - [`directives`]: `Cache-Control` as typed values (RFC 9111 section 5.2)
//! - [`targeted`]: fields that are meant for this cache in the place of `Cache-Control` (RFC 9213)
//! - [`method`]: which methods change nothing (RFC 9110 section 9.2.1)
//! - [`query`]: which parameters of a query tell responses apart
//! - [`key`]: the cache key (section 2)
//! - [`no_vary_search`]: parts of the query that do not matter, in the key (draft-ietf-httpbis-no-vary-search)
//! - [`vary`]: selecting header fields (section 4.1)
//! - [`storable`]: may this response be stored, and if not why not (section 3)
//! - [`freshness`]: lifetime and current age (section 4.2), stale windows (RFC 5861)
//! - [`reuse`]: may this stored response answer now (section 4)
//! - [`validation`]: validators, the validation request, freshening (section 4.3)
//! - [`precondition`]: the client's own `If-None-Match` and `If-Modified-Since` (RFC 9110 section 13)
//! - [`range`]: which parts of a stored response answer (RFC 9110 section 14)
//! - [`partial`]: parts that are stored, put together and made complete (sections 3.3 and 3.4)
//! - [`invalidation`]: what an unsafe request makes invalid (section 4.4)
//! - [`tags`]: tags of a response and how they are invalidated
//! - [`version`]: which state of a database a response was made from
//! - [`ledger`]: whether a response has all that the change feed said of its tags
//! - [`groups`]: groups of responses, in the origin's own words (RFC 9875)
//! - [`fields`]: fields that belong to one connection, or to caches alone (section 3.1)
//!
//! Where this departs from RFC 9111, it is a decision:
//!
//! - Stale use beside `s-maxage` (section 5.2.2.10): forbidden, unless the origin itself sends
//!   `stale-while-revalidate` or `stale-if-error` beside it. That is how origins and CDNs take the two together.
//! - A 304 without any validator (section 4.3.4) freshens the one response whose validators were sent.
//! - A 304 does not change `Content-Encoding`, `Content-Range` or `Set-Cookie` (section 3.2): the stored body stays as it
//!   is, and a cookie is for the one client whose request the 304 answers.
//! - `http` and `https` of one host are one origin (section 4.4): TLS may end in front of us.
//! - A configured or a policy's TTL may lengthen what the origin says (section 5.2.2), where it is no error and not
//!   somebody's; never against a directive that forbids storing or reuse.
//! - `Connection` cannot take away fields that are for all recipients, such as `Cache-Control` and `Vary`
//!   (RFC 9110 section 7.6.1 has every named field removed, and forbids to name these).
//! - [`vary::VaryMode::Negotiate`], where it is configured for a field, chooses a stored response whose selecting field
//!   does not match. Section 4.1 forbids that ("MUST NOT use that stored response without revalidation unless all the
//!   presented request header fields nominated by that Vary field value match"), as the origin may have something
//!   better that is not stored yet. So it is never the default.
//!
//! And where it is stricter than it must be:
//!
//! - `private` and `no-cache` with field names count for the whole response; `Pragma: no-cache` in a response
//!   counts where there is no `Cache-Control`; a number that cannot be read or contradicts another is zero.
//! - In a targeted field (RFC 9213) what restricts does so whatever its value is, unless that is false; a number of the
//!   wrong type is zero.
//! - `Set-Cookie` is not stored, nor an answer to a GET with content. A heuristic is not for an answer to a request with
//!   a cookie unless it is `public` or varies on it, nor for a redirect without a target. Statuses that speak of one
//!   request alone are not stored, whatever they say.
//! - Configuration and policy can shorten, but not lengthen, the life of an error, of an answer to a POST, and of an
//!   answer to somebody with credentials unless it is `public`. A TTL for a status by name stands in for what the
//!   origin of an error does not say.
//! - `max-stale` of a client does not lift `s-maxage`, and is not for errors, nor for what was purged softly.
//!
//! A route can lift some of it by name: [`freshness::Allowances`]. Request directives other than `no-store` and
//! `only-if-cached` are ignored, as section 5.2.1 allows, unless the caller hands them to [`reuse`] as
//! [`reuse::Demands`].

pub mod time;
mod structured;
pub mod directives;
pub mod targeted;
pub mod method;
pub mod query;
pub mod key;
pub mod no_vary_search;
pub mod vary;
pub mod storable;
pub mod freshness;
pub mod reuse;
pub mod validation;
pub mod precondition;
pub mod range;
pub mod partial;
pub mod invalidation;
pub mod tags;
pub mod version;
pub mod ledger;
pub mod groups;
pub mod fields;
