//! How long a response is fresh, how old it is, and how long it may be used stale (RFC 9111 section 4.2,
//! RFC 5861).
//!
//! [`Facts`] are what the response itself says, read once when it is stored. [`Rules`] are what the
//! configuration says now. A lifetime is made from both at each look-up, so that an edited TTL holds at once for
//! everything stored. Which of all the lifetimes counts is said at [`Facts::freshness_lifetime`]. Next: `reuse.rs`.

use std::{fmt, str::FromStr, time::Duration};

use http::{
    HeaderMap, StatusCode,
    header::{AGE, COOKIE, DATE, EXPIRES, LAST_MODIFIED, LOCATION, VARY},
};

use crate::{
    directives::{ResponseDirectives, delta_seconds, list_members},
    storable::{RequestFacts, RequestKind},
    time::{Age, FreshnessLifetime, Timestamp},
};

/// A heuristic lifetime is this part of the time since the last modification (section 4.2.2 suggests 10%).
const HEURISTIC_DIVISOR: u32 = 10;
/// A heuristic is a guess, and a guess is not trusted for longer than a day.
const LONGEST_HEURISTIC: Duration = Duration::from_secs(24 * 60 * 60);

/// What the configuration of a route says now. `None`: says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rules<'r> {
    /// Overrides what the origin says.
    pub ttl: Option<Duration>,
    /// Serves where the origin says nothing.
    pub default_ttl: Option<Duration>,
    pub min_ttl: Option<Duration>,
    pub max_ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// Serve where the origin says nothing for a status that is named.
    pub status_ttls: StatusTtls<'r>,
    pub allow: Allowances,
    /// How eagerly a response is refreshed before its end: the beta of [`crate::reuse::refreshes_early`], usually 1.
    pub early_refresh: Option<f32>,
}

/// The exceptions to the safety floor that a route makes by name. Each lifts just what its name says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowances {
    /// A response with `Set-Cookie` is stored, and its cookie given to everybody.
    pub set_cookie: bool,
    /// `private` in a response does not keep it from being stored.
    pub private: bool,
    /// `no-store` in a response does not keep it from being stored. In a request it still does.
    pub no_store: bool,
    /// An answer to somebody with credentials is taken as if it were `public`.
    pub authorization: bool,
    /// The answer to a GET with content is stored: the caller has that content in the key.
    pub request_body: bool,
}

/// Lifetimes for statuses that are named, as the configuration keeps them. An exact status goes before its class, and
/// of equal ones the first counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatusTtls<'r>(pub &'r [(StatusPattern, Duration)]);

impl StatusTtls<'_> {
    pub fn ttl(self, status: StatusCode) -> Option<Duration> {
        let of = |wanted| self.0.iter().find(|(pattern, _)| *pattern == wanted).map(|(_, ttl)| *ttl);
        of(StatusPattern::Exact(status)).or_else(|| of(StatusPattern::Class(status.as_u16() / 100)))
    }
}

/// A status, or all of one class: `404`, `5xx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusPattern {
    Exact(StatusCode),
    /// Its first digit.
    Class(u16),
}

impl FromStr for StatusPattern {
    type Err = NotAStatusPattern;

    /// A final status of three digits (`404`), or a class of them (`2xx` to `5xx`).
    fn from_str(text: &str) -> Result<StatusPattern, NotAStatusPattern> {
        match *text.as_bytes() {
            [class @ b'2'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                Ok(StatusPattern::Class(u16::from(class - b'0')))
            }
            [b'2'..=b'5', _, _] => {
                StatusCode::from_bytes(text.as_bytes()).map(StatusPattern::Exact).or(Err(NotAStatusPattern))
            }
            _ => Err(NotAStatusPattern),
        }
    }
}

impl fmt::Display for StatusPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusPattern::Exact(status) => formatter.write_str(status.as_str()),
            StatusPattern::Class(class) => write!(formatter, "{class}xx"),
        }
    }
}

/// A text is neither a final status nor a class of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAStatusPattern;

impl fmt::Display for NotAStatusPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("expected a status such as 404, or a class from 2xx to 5xx")
    }
}

impl std::error::Error for NotAStatusPattern {}

/// What a policy decided about one response; wins over the route's own `ttl`. `None`: says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PolicyLifetimes {
    pub ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

/// A freshness lifetime with where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    pub source: LifetimeSource,
    /// As the source has it.
    pub given: FreshnessLifetime,
    /// As it counts, within the bounds of the configuration.
    pub bounded: FreshnessLifetime,
}

/// Who says how long a response is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifetimeSource {
    Policy,
    /// `ttl` of the route.
    RouteTtl,
    /// The origin: `s-maxage`, `max-age` or `Expires`.
    Explicit,
    /// `status_ttl` of the route.
    StatusTtl,
    /// `default_ttl` of the route.
    DefaultTtl,
    /// A part of the time since the last modification.
    Heuristic,
}

/// What a response says about its own freshness, kept with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub status: StatusCode,
    pub response_time: Timestamp,
    /// How long the origin took to answer (section 4.2.3): what a refresh will cost.
    pub response_delay: Duration,
    pub corrected_initial_age: Age,
    pub explicit_lifetime: Option<FreshnessLifetime>,
    pub heuristic_lifetime: Option<FreshnessLifetime>,
    /// The heuristic lifetime counts only if an allowance makes the response as good as `public`.
    pub heuristic_needs_public: bool,
    /// Whether configuration and policy may give it a lifetime, or a longer one. If not, they can only shorten it,
    /// and a TTL for its status by name is the one that the configuration can give.
    pub takes_configured_ttl: bool,
    /// Whether it is of use only with a lifetime of the origin's own.
    pub needs_explicit_lifetime: bool,
    /// The answer to somebody with credentials, without `public`.
    pub is_personal: bool,
    /// Whether only the origin's own stale windows hold, not those of configuration, policy and client.
    pub takes_own_windows_only: bool,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// `no-cache`: never reused without validation.
    pub always_validate: bool,
    /// `must-revalidate`, `proxy-revalidate`: never used stale.
    pub never_stale: bool,
    /// `immutable`: a client's reload does not ask for its validation while it is fresh.
    pub immutable: bool,
    pub policy: PolicyLifetimes,
}

impl Facts {
    /// `request` is the one that brought the response; `request_time` and `response_time` are those of that
    /// exchange (section 4.2.3).
    pub fn of(
        request: RequestFacts,
        status: StatusCode,
        fields: &HeaderMap,
        directives: &ResponseDirectives,
        request_time: Timestamp,
        response_time: Timestamp,
    ) -> Facts {
        let date_value = fields.get(DATE).and_then(Timestamp::from_http_date).unwrap_or(response_time);
        let is_error = status.is_client_error() || status.is_server_error();
        let needs_explicit_lifetime = request.kind == RequestKind::PostForGet;
        // What is guessed from a date is no reason to share an answer to somebody with a cookie.
        let may_be_for_a_cookie = request.has_cookie && !varies_on_cookie(fields);
        let heuristic_needs_public =
            !directives.public && (may_be_for_a_cookie || !is_heuristically_cacheable(status));
        Facts {
            status,
            response_time,
            response_delay: response_time.since(request_time),
            corrected_initial_age: corrected_initial_age(fields, date_value, request_time, response_time),
            explicit_lifetime: explicit_lifetime(fields, directives, date_value),
            heuristic_lifetime: heuristic_lifetime(fields, date_value)
                .filter(|_| !needs_explicit_lifetime && !is_redirect_to_nowhere(status, fields)),
            heuristic_needs_public,
            takes_configured_ttl: !needs_explicit_lifetime && takes_configured_ttl(status, fields),
            needs_explicit_lifetime,
            // `public` says that the answer is the same for everybody. The other directives that permit sharing an
            // answer to somebody with credentials do so on conditions, and the first is the origin's own lifetime.
            is_personal: request.has_authorization && !directives.public,
            //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.10
            //# The s-maxage directive incorporates the semantics of the
            //# proxy-revalidate response directive (Section 5.2.2.8) for a shared
            //# cache.
            //
            // RFC 5861 windows beside it are the origin's own word on stale use by a shared cache, which is how
            // origins and CDNs take the two together. So they hold; those of the configuration do not.
            takes_own_windows_only: is_error || directives.s_maxage.is_some(),
            stale_while_revalidate: directives.stale_while_revalidate,
            stale_if_error: directives.stale_if_error,
            always_validate: directives.no_cache,
            never_stale: directives.must_revalidate || directives.proxy_revalidate,
            immutable: directives.immutable,
            policy: PolicyLifetimes::default(),
        }
    }

    /// When its origin made it, as far as its age tells.
    pub fn generated(&self) -> Timestamp {
        self.response_time.less(self.corrected_initial_age)
    }

    /// Section 4.2.3: the age at `now`. Never falls as `now` rises.
    pub fn current_age(&self, now: Timestamp) -> Age {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.3
        //# resident_time = now - response_time;
        //# current_age = corrected_initial_age + resident_time;
        let resident_time = now.since(self.response_time);
        self.corrected_initial_age + resident_time
    }

    /// The lifetime under the rules of now. `None`: nothing and nobody gives one.
    ///
    /// For an answer that takes a configured TTL (200, 203, 206, 300, and 301 or 308 with a target; none to somebody
    /// with credentials unless it is `public` or that is allowed; none to a POST) the first of these counts:
    /// 1. the policy's `ttl`, within `min_ttl` and `max_ttl`;
    /// 2. the route's `ttl`, as it stands;
    /// 3. the origin's explicit lifetime, then the TTL of the status by name, then `default_ttl`, then the heuristic
    ///    one, each within `min_ttl` and `max_ttl`.
    ///
    /// For every other answer, the shortest of these:
    /// 1. the origin's explicit lifetime, or if there is none the TTL of the status by name (not for credentials, not
    ///    for a POST), or if there is none the heuristic one;
    /// 2. the policy's `ttl`, the route's `ttl`, `max_ttl`.
    #[inline]
    pub fn freshness_lifetime(&self, rules: &Rules<'_>) -> Option<FreshnessLifetime> {
        self.lifetime(rules).map(|lifetime| lifetime.bounded)
    }

    /// The same with where it comes from.
    pub fn lifetime(&self, rules: &Rules<'_>) -> Option<Lifetime> {
        let of = |source| move |given: FreshnessLifetime| (source, given);
        let configured = |ttl: Option<Duration>| ttl.map(FreshnessLifetime::from_duration);
        let policy = configured(self.policy.ttl);
        let ceiling = configured(rules.max_ttl);
        let explicit = self.explicit_lifetime.map(of(LifetimeSource::Explicit));
        let status = || self.status_ttl(rules).map(of(LifetimeSource::StatusTtl));
        let heuristic = || self.heuristic_lifetime(rules).map(of(LifetimeSource::Heuristic));
        let is_personal = self.is_personal(rules);
        if !self.takes_configured_ttl || is_personal {
            let (source, given) =
                explicit.or_else(|| status().filter(|_| !is_personal)).or_else(heuristic)?;
            let limits = [policy, configured(rules.ttl), ceiling].into_iter().flatten();
            return Some(Lifetime { source, given, bounded: limits.fold(given, FreshnessLifetime::min) });
        }
        if let (Some(ttl), None) = (configured(rules.ttl), policy) {
            // `ttl` alone overrides: the bounds are for what others give.
            return Some(Lifetime { source: LifetimeSource::RouteTtl, given: ttl, bounded: ttl });
        }
        let (source, given) = policy
            .map(of(LifetimeSource::Policy))
            .or(explicit)
            .or_else(status)
            .or_else(|| configured(rules.default_ttl).map(of(LifetimeSource::DefaultTtl)))
            .or_else(heuristic)?;
        let floor = configured(rules.min_ttl).unwrap_or_default();
        let raised = given.max(floor);
        let bounded = ceiling.map_or(raised, |ceiling| raised.min(ceiling));
        Some(Lifetime { source, given, bounded })
    }

    fn status_ttl(&self, rules: &Rules<'_>) -> Option<FreshnessLifetime> {
        if self.needs_explicit_lifetime {
            return None;
        }
        rules.status_ttls.ttl(self.status).map(FreshnessLifetime::from_duration)
    }

    fn heuristic_lifetime(&self, rules: &Rules<'_>) -> Option<FreshnessLifetime> {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.2
        //# heuristics can only be used on
        //# responses without explicit freshness whose status codes are defined
        //# as "heuristically cacheable" (e.g., see Section 15.1 of [HTTP]) and
        //# on responses without explicit freshness that have been marked as
        //# explicitly cacheable (e.g., with a public response directive).
        let as_if_public = self.is_personal && rules.allow.authorization;
        let is_enough = !self.is_personal(rules) && (!self.heuristic_needs_public || as_if_public);
        self.heuristic_lifetime.filter(|_| is_enough)
    }

    /// Whether it is the answer to somebody with credentials, and nobody said that it is for all.
    fn is_personal(&self, rules: &Rules<'_>) -> bool {
        self.is_personal && !rules.allow.authorization
    }

    /// Whether it may not be used stale, whoever would take it so.
    pub(crate) fn forbids_stale(&self, rules: &Rules<'_>) -> bool {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.4
        //# A cache MUST NOT generate a stale response if it is prohibited by an
        //# explicit in-protocol directive (e.g., by a no-cache response
        //# directive, a must-revalidate response directive, or an applicable
        //# s-maxage or proxy-revalidate response directive; see Section 5.2.2).
        //
        //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.10
        //# This directive also
        //# permits a shared cache to reuse a response to a request containing an
        //# Authorization header field, subject to the above requirements on
        //# maximum age and revalidation (Section 3.5).
        self.never_stale || self.always_validate || self.is_personal(rules)
    }

    pub fn stale_while_revalidate(&self, rules: &Rules<'_>) -> Duration {
        self.stale_window(
            rules,
            self.policy.stale_while_revalidate,
            rules.stale_while_revalidate,
            self.stale_while_revalidate,
        )
    }

    pub fn stale_if_error(&self, rules: &Rules<'_>) -> Duration {
        self.stale_window(rules, self.policy.stale_if_error, rules.stale_if_error, self.stale_if_error)
    }

    fn stale_window(
        &self,
        rules: &Rules<'_>,
        policy: Option<Duration>,
        configured: Option<Duration>,
        origin: Option<Duration>,
    ) -> Duration {
        if self.forbids_stale(rules) {
            return Duration::ZERO;
        }
        if self.takes_own_windows_only {
            return origin.unwrap_or(Duration::ZERO);
        }
        policy.or(origin).or(configured).unwrap_or(Duration::ZERO)
    }
}

fn corrected_initial_age(
    fields: &HeaderMap,
    date_value: Timestamp,
    request_time: Timestamp,
    response_time: Timestamp,
) -> Age {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.3
    //# apparent_age = max(0, response_time - date_value);
    //# response_delay = response_time - request_time;
    //# corrected_age_value = age_value + response_delay;
    //# corrected_initial_age = max(apparent_age, corrected_age_value);
    // In whole seconds, as `Date` is: else a part of a second would count that the origin has only not written down.
    let apparent_age = Age::from_duration(Timestamp::from_s(response_time.as_s()).since(date_value));
    let response_delay = response_time.since(request_time);
    let corrected_age_value = age_value(fields) + response_delay;
    apparent_age.max(corrected_age_value)
}

fn age_value(fields: &HeaderMap) -> Age {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-5.1
    //# If the field value (after discarding additional members, as per
    //# above) is invalid (e.g., it contains something other than a
    //# non-negative integer), a cache SHOULD ignore the field.
    fields
        .get(AGE)
        .and_then(|value| list_members(value.as_bytes()).next())
        .and_then(delta_seconds)
        .map_or(Age::ZERO, Age::from_duration)
}

fn explicit_lifetime(
    fields: &HeaderMap,
    directives: &ResponseDirectives,
    date_value: Timestamp,
) -> Option<FreshnessLifetime> {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
    //# *  If the cache is shared and the s-maxage response directive
    //#    (Section 5.2.2.10) is present, use its value, or
    //# *  If the max-age response directive (Section 5.2.2.1) is present,
    //#    use its value, or
    //# *  If the Expires response header field (Section 5.3) is present, use
    //#    its value minus the value of the Date response header field
    if let Some(lifetime) = directives.s_maxage.or(directives.max_age) {
        return Some(FreshnessLifetime::from_duration(lifetime));
    }
    if directives.is_targeted {
        return None; // RFC 9213 section 2.2: `Expires` is ignored, as `Cache-Control` is.
    }
    let mut lines = fields.get_all(EXPIRES).iter();
    let first = lines.next()?;
    if lines.any(|other| other != first) {
        return Some(FreshnessLifetime::ZERO);
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-5.3
    //# A cache recipient MUST interpret invalid date formats, especially the
    //# value "0", as representing a time in the past (i.e., "already expired").
    let expires = Timestamp::from_http_date(first).unwrap_or_default();
    Some(FreshnessLifetime::from_duration(expires.since(date_value)))
}

fn heuristic_lifetime(fields: &HeaderMap, date_value: Timestamp) -> Option<FreshnessLifetime> {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.2
    //# A cache MUST NOT use heuristics to determine freshness when an
    //# explicit expiration time is present in the stored response.
    // (Explicit lifetimes are looked at first.)
    let last_modified = Timestamp::from_http_date(fields.get(LAST_MODIFIED)?)?;
    let since = date_value.since(last_modified);
    Some(FreshnessLifetime::from_duration((since / HEURISTIC_DIVISOR).min(LONGEST_HEURISTIC)))
}

/// Responses to which a lifetime applies that the origin did not give. Errors are left out: one of them must not
/// stay for the time that was meant for a good answer. So are redirects that may pass, and empty answers.
fn takes_configured_ttl(status: StatusCode, fields: &HeaderMap) -> bool {
    matches!(status.as_u16(), 200 | 203 | 206 | 300 | 301 | 308) && !is_redirect_to_nowhere(status, fields)
}

pub(crate) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-15.1
    //# Responses with status codes that are defined as heuristically
    //# cacheable (e.g., 200, 203, 204, 206, 300, 301, 308, 404, 405, 410,
    //# 414, and 501 in this specification) can be reused by a cache with
    //# heuristic expiration unless otherwise indicated by the method
    //# definition or explicit cache controls [CACHING]; all other status
    //# codes are not heuristically cacheable.
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// A redirect for good without a target is an error in all but its number.
fn is_redirect_to_nowhere(status: StatusCode, fields: &HeaderMap) -> bool {
    matches!(status.as_u16(), 301 | 308) && !fields.contains_key(LOCATION)
}

fn varies_on_cookie(fields: &HeaderMap) -> bool {
    let mut members = fields.get_all(VARY).iter().flat_map(|line| list_members(line.as_bytes()));
    members.any(|member| member.eq_ignore_ascii_case(COOKIE.as_str().as_bytes()))
}
