//! The one place that reads the clock: for how long something took, and for what day it is.

use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// For documents that leave the program.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Microseconds since a time that Postgres says, in microseconds since 2000. None if its clock is ahead of ours.
pub(crate) fn since(postgres_us: i64) -> u64 {
    let now = i64::try_from(unix_time().as_micros()).unwrap_or(i64::MAX).saturating_sub(MICROS_TO_2000);
    u64::try_from(now.saturating_sub(postgres_us)).unwrap_or(0)
}

/// From 1970 to 2000.
pub(crate) const MICROS_TO_2000: i64 = 946_684_800_000_000;

/// A day of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day {
    since_1970: u64,
}

impl Day {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub(crate) fn today() -> Self {
        // A clock before 1970 is as wrong as one that stands at 1970.
        let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { since_1970: elapsed.as_secs() / 86_400 }
    }

    /// Where Postgres begins to count. What is before 2000 is at its beginning.
    pub(crate) fn since_2000(self) -> u64 {
        self.since_1970.saturating_sub(10_957)
    }
}

impl FromStr for Day {
    type Err = &'static str;

    /// As in 2026-01-31, from 2010 on.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "is not a day such as 2026-01-31, from 2010 to 2199";
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts.as_slice() else { return Err(WHAT) };
        let number = |text: &str, digits: usize| {
            let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
            if is_number { text.parse::<u64>().map_err(|_| WHAT) } else { Err(WHAT) }
        };
        let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
        let is_leap =
            |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days_of = |month| match month {
            2 if is_leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if !(2010..2200).contains(&year) || !(1..=12).contains(&month) || !(1..=days_of(month)).contains(&day)
        {
            return Err(WHAT);
        }
        let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
        let months: u64 = (1..month).map(days_of).sum();
        Ok(Self { since_1970: years + months + day - 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_counted_from_1970() {
        for (text, expected) in [("2010-01-01", 14_610), ("2024-02-29", 19_782), ("2026-11-26", 20_783)] {
            assert_eq!(text.parse(), Ok(Day { since_1970: expected }), "{text}");
        }
        for text in
            ["", "2026", "2026-13-01", "2026-02-29", "2026-1-1", "2026-00-10", "1999-01-01", "2026-01-01x"]
        {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }
}
