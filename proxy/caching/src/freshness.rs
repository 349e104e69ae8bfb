//! How long a response is fresh, how old it is, and how long it may be used stale (RFC 9111 section 4.2,
//! RFC 5861).
//!
//! [`Facts`] are what the response itself says, read once when it is stored. [`Rules`] are what the
//! configuration says now. A lifetime is made from both at each look-up, so that an edited TTL holds at once for
//! everything stored. Next: `reuse.rs`.

use std::time::Duration;

use http::{
    HeaderMap, StatusCode,
    header::{AGE, COOKIE, DATE, EXPIRES, LAST_MODIFIED, LOCATION, VARY},
};

use crate::{
    directives::{ResponseDirectives, delta_seconds, list_members},
    storable::RequestFacts,
    time::{Age, FreshnessLifetime, Timestamp},
};

/// A heuristic lifetime is this part of the time since the last modification (section 4.2.2 suggests 10%).
const HEURISTIC_DIVISOR: u32 = 10;
/// A heuristic is a guess, and a guess is not trusted for longer than a day.
const LONGEST_HEURISTIC: Duration = Duration::from_secs(24 * 60 * 60);

/// What the configuration of a route says about lifetimes. `None`: says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Overrides what the origin says.
    pub ttl: Option<Duration>,
    /// Serves where the origin says nothing.
    pub default_ttl: Option<Duration>,
    pub min_ttl: Option<Duration>,
    pub max_ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

/// What a policy decided about one response; wins over the route's own `ttl`. `None`: says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PolicyLifetimes {
    pub ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

/// What a response says about its own freshness, kept with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub response_time: Timestamp,
    pub corrected_initial_age: Age,
    pub explicit_lifetime: Option<FreshnessLifetime>,
    pub heuristic_lifetime: Option<FreshnessLifetime>,
    /// Whether configuration and policy may give it a lifetime, or a longer one. If not, the origin's explicit
    /// lifetime is the longest, and they can only shorten it.
    pub takes_configured_ttl: bool,
    /// Whether only the origin's own stale windows hold, not those of configuration and policy.
    pub takes_own_windows_only: bool,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// `no-cache`: never reused without validation.
    pub always_validate: bool,
    /// `must-revalidate`, `proxy-revalidate`: never used stale.
    pub never_stale: bool,
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
        // `public` says that the answer is the same for everybody. The other directives that permit sharing an
        // answer to somebody with credentials do so on conditions, and the first is the origin's own lifetime.
        let is_personal = request.has_authorization && !directives.public;
        let takes_configured_ttl = takes_configured_ttl(status, fields) && !is_personal;
        // What is guessed from a date is no reason to share an answer to somebody with a cookie.
        let takes_heuristic =
            takes_configured_ttl && (!request.has_cookie || directives.public || varies_on_cookie(fields));
        Facts {
            response_time,
            corrected_initial_age: corrected_initial_age(fields, date_value, request_time, response_time),
            explicit_lifetime: explicit_lifetime(fields, directives, date_value),
            heuristic_lifetime: heuristic_lifetime(fields, date_value).filter(|_| takes_heuristic),
            takes_configured_ttl,
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
            //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.10
            //# This directive also
            //# permits a shared cache to reuse a response to a request containing an
            //# Authorization header field, subject to the above requirements on
            //# maximum age and revalidation (Section 3.5).
            never_stale: directives.must_revalidate || directives.proxy_revalidate || is_personal,
            policy: PolicyLifetimes::default(),
        }
    }

    /// Section 4.2.3: the age at `now`. Never falls as `now` rises.
    pub fn current_age(&self, now: Timestamp) -> Age {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.3
        //# resident_time = now - response_time;
        //# current_age = corrected_initial_age + resident_time;
        let resident_time = now.since(self.response_time);
        self.corrected_initial_age + resident_time
    }

    /// The lifetime under the rules of now. `None`: neither the response, nor a policy, nor the
    /// configuration gives one.
    pub fn freshness_lifetime(&self, rules: &Rules) -> Option<FreshnessLifetime> {
        let policy_ttl = self.policy.ttl.map(FreshnessLifetime::from_duration);
        let ttl = rules.ttl.map(FreshnessLifetime::from_duration);
        let ceiling = rules.max_ttl.map(FreshnessLifetime::from_duration);
        if !self.takes_configured_ttl {
            let limits = [policy_ttl, ttl, ceiling].into_iter().flatten();
            return Some(limits.fold(self.explicit_lifetime?, FreshnessLifetime::min));
        }
        if let (Some(ttl), None) = (ttl, policy_ttl) {
            return Some(ttl); // `ttl` alone overrides: the bounds are for what others give.
        }
        let lifetime = policy_ttl
            .or(self.explicit_lifetime)
            .or_else(|| rules.default_ttl.map(FreshnessLifetime::from_duration))
            .or(self.heuristic_lifetime)?;
        let floor = rules.min_ttl.map(FreshnessLifetime::from_duration).unwrap_or_default();
        Some(ceiling.map_or(lifetime.max(floor), |ceiling| lifetime.max(floor).min(ceiling)))
    }

    pub fn stale_while_revalidate(&self, rules: &Rules) -> Duration {
        self.stale_window(
            self.policy.stale_while_revalidate,
            rules.stale_while_revalidate,
            self.stale_while_revalidate,
        )
    }

    pub fn stale_if_error(&self, rules: &Rules) -> Duration {
        self.stale_window(self.policy.stale_if_error, rules.stale_if_error, self.stale_if_error)
    }

    fn stale_window(
        &self,
        policy: Option<Duration>,
        configured: Option<Duration>,
        origin: Option<Duration>,
    ) -> Duration {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.4
        //# A cache MUST NOT generate a stale response if it is prohibited by an
        //# explicit in-protocol directive (e.g., by a no-cache response
        //# directive, a must-revalidate response directive, or an applicable
        //# s-maxage or proxy-revalidate response directive; see Section 5.2.2).
        if self.never_stale || self.always_validate {
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
    let apparent_age = Age::from_duration(response_time.since(date_value));
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
/// stay for the time that was meant for a good answer. So are redirects that may pass, empty answers, and a
/// redirect without a target, which is an error in all but its number.
fn takes_configured_ttl(status: StatusCode, fields: &HeaderMap) -> bool {
    match status.as_u16() {
        200 | 203 | 300 => true,
        301 | 308 => fields.contains_key(LOCATION),
        _ => false,
    }
}

fn varies_on_cookie(fields: &HeaderMap) -> bool {
    let mut members = fields.get_all(VARY).iter().flat_map(|line| list_members(line.as_bytes()));
    members.any(|member| member.eq_ignore_ascii_case(COOKIE.as_str().as_bytes()))
}
