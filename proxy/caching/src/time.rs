//! Dates, ages and lifetimes: three types that do not mix, all saturating, all in milliseconds inside.
//!
//! No clock is read here. Next: `directives.rs`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// A point in time: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp(u64);

/// How old a response is (RFC 9111 section 4.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Age(u64);

/// How long after its generation a response is fresh (RFC 9111 section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FreshnessLifetime(u64);

fn saturating_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Timestamp {
    pub const fn from_ms(ms: u64) -> Timestamp {
        Timestamp(ms)
    }

    pub const fn from_s(s: u64) -> Timestamp {
        Timestamp(s.saturating_mul(1000))
    }

    /// A time before the epoch is the epoch.
    pub fn from_system(time: SystemTime) -> Timestamp {
        Timestamp(saturating_ms(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    /// An HTTP-date in any of its three forms (RFC 9110 section 5.6.7); `None` for anything else.
    pub fn from_http_date(value: &HeaderValue) -> Option<Timestamp> {
        let text = value.to_str().ok()?.trim();
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2
        //# Although all date formats are specified to be case-sensitive, a
        //# cache recipient SHOULD match the field value case-insensitively.
        httpdate::parse_http_date(text)
            .or_else(|_| httpdate::parse_http_date(&in_usual_case(text)))
            .ok()
            .map(Timestamp::from_system)
    }

    pub const fn as_ms(self) -> u64 {
        self.0
    }

    pub const fn as_s(self) -> u64 {
        self.0 / 1000
    }

    /// The time that lies so long before this one.
    pub const fn less(self, age: Age) -> Timestamp {
        Timestamp(self.0.saturating_sub(age.0))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A date with its letters as the grammar has them: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn in_usual_case(text: &str) -> String {
    let mut usual = String::with_capacity(text.len());
    let mut is_inside_word = false;
    for letter in text.chars() {
        usual.push(if is_inside_word { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() });
        is_inside_word = letter.is_ascii_alphabetic();
    }
    if usual.ends_with("Gmt") {
        usual.truncate(usual.len() - 3);
        usual.push_str("GMT");
    }
    usual
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(saturating_ms(duration)))
    }
}

impl Age {
    pub const ZERO: Age = Age(0);

    pub const fn from_s(s: u64) -> Age {
        Age(s.saturating_mul(1000))
    }

    pub fn from_duration(duration: Duration) -> Age {
        Age(saturating_ms(duration))
    }

    /// Whole seconds, as the `Age` field has it.
    pub const fn as_s(self) -> u64 {
        self.0 / 1000
    }
}

impl std::ops::Add<Duration> for Age {
    type Output = Age;
    fn add(self, duration: Duration) -> Age {
        Age(self.0.saturating_add(saturating_ms(duration)))
    }
}

impl FreshnessLifetime {
    pub const ZERO: FreshnessLifetime = FreshnessLifetime(0);

    pub const fn from_s(s: u64) -> FreshnessLifetime {
        FreshnessLifetime(s.saturating_mul(1000))
    }

    pub fn from_duration(duration: Duration) -> FreshnessLifetime {
        FreshnessLifetime(saturating_ms(duration))
    }

    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// What is left of the lifetime at this age; `Err` holds how far it is past.
    pub const fn remaining(self, age: Age) -> Result<Duration, Duration> {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2
        //# The calculation to determine if a response is fresh is:
        //#    response_is_fresh = (freshness_lifetime > current_age)
        if self.0 > age.0 {
            Ok(Duration::from_millis(self.0 - age.0))
        } else {
            Err(Duration::from_millis(age.0 - self.0))
        }
    }
}
