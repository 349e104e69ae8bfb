//! Durations and sizes as people write them: `"1h30m"`, `"512MiB"`. Both ways, without overflow.

use std::fmt::Write as _;
use std::time::Duration;

use super::BadValue;

/// What `max-age` can say (RFC 9111, section 1.2.2), 68 years.
const MAX_DURATION: Duration = Duration::from_secs(1 << 31);
/// Largest first: the order in which a duration names its units. Milliseconds in each.
const DURATION_UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const MAX_SIZE_BYTES: u64 = 1 << 50;
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];
pub(super) const DURATION_EXAMPLES: &str = r#""30s", "5m", "1h30m", "1d""#;
pub(super) const SIZE_EXAMPLES: &str = r#""64KiB", "512MiB", "2GB""#;

/// Whole numbers with units, largest unit first, each unit once.
pub(super) fn duration(text: &str) -> Result<Duration, BadValue> {
    let not_one = || {
        BadValue::new(format!("{} is not a duration; write for example {DURATION_EXAMPLES}", quoted(text)))
    };
    let mut rest = text;
    let mut units = DURATION_UNITS.iter();
    let mut total_ms: Option<u64> = Some(0);
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after, |c| c.is_ascii_digit());
        if number.is_empty() {
            return Err(not_one());
        }
        let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or_else(not_one)?;
        // More digits than a u64 holds are too long, not malformed.
        let part_ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*unit_ms));
        total_ms = total_ms.zip(part_ms).and_then(|(total, part)| total.checked_add(part));
        rest = after;
    }
    if text.is_empty() {
        return Err(not_one());
    }
    match total_ms.map(Duration::from_millis) {
        Some(duration) if duration <= MAX_DURATION => Ok(duration),
        Some(_) | None => {
            Err(BadValue::new(format!("{} is too long; the longest duration is 68 years", quoted(text))))
        }
    }
}

/// A whole number with a unit, in any case.
pub(super) fn size(text: &str) -> Result<u64, BadValue> {
    let not_one =
        || BadValue::new(format!("{} is not a size; write for example {SIZE_EXAMPLES}", quoted(text)));
    let (number, unit) = split_where(text, |c| !c.is_ascii_digit());
    if number.is_empty() {
        return Err(not_one());
    }
    let unit = unit.trim_start();
    let (_, unit_bytes) =
        SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(not_one)?;
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(*unit_bytes)) {
        Some(bytes) if bytes <= MAX_SIZE_BYTES => Ok(bytes),
        Some(_) | None => {
            Err(BadValue::new(format!("{} is too large; the largest size is 1024TiB", quoted(text))))
        }
    }
}

/// As [`duration`] reads it back.
pub fn duration_text(duration: Duration) -> String {
    let mut rest_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, unit_ms) in DURATION_UNITS.iter().filter(|(name, _)| *name != "w") {
        if rest_ms >= *unit_ms {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}{name}", rest_ms / unit_ms);
            rest_ms %= unit_ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// As [`size`] reads it back: the largest unit that divides it.
pub(super) fn size_text(bytes: u64) -> String {
    let unit =
        SIZE_UNITS.iter().find(|(_, unit_bytes)| bytes >= *unit_bytes && bytes.is_multiple_of(*unit_bytes));
    let (name, unit_bytes) = unit.unwrap_or(&("B", 1));
    format!("{}{name}", bytes / unit_bytes)
}

/// For messages: no longer than a line, however long the text is.
pub(super) fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    match text.char_indices().nth(MAX_CHARS) {
        Some((cut, _)) => format!("{:?}...", text.get(..cut).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

fn split_where(text: &str, is_after: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(is_after).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_duration(text: &str, expected_ms: Option<u64>) {
        assert_eq!(duration(text).ok(), expected_ms.map(Duration::from_millis), "{text:?}");
    }

    #[test]
    fn durations_are_read() {
        check_duration("0s", Some(0));
        check_duration("500ms", Some(500));
        check_duration("30s", Some(30_000));
        check_duration("5m", Some(300_000));
        check_duration("1h30m", Some(5_400_000));
        check_duration("1d", Some(86_400_000));
        check_duration("1w1ms", Some(604_800_001));
        check_duration("2147483648s", Some(2_147_483_648_000));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "0",
            "30",
            "s",
            "30 s",
            " 30s",
            "30s ",
            "-1s",
            "+1s",
            "1.5h",
            "1m1h",
            "1s1s",
            "30 parsecs",
            "1S",
            "٣s",
        ] {
            check_duration(text, None);
        }
    }

    #[test]
    fn long_durations_are_refused_and_do_not_overflow() {
        for text in
            ["2147483649s", "18446744073709551615w", "99999999999999999999999999d", "30500000w999999999d"]
        {
            let message = duration(text).unwrap_err().to_string();
            assert!(message.contains("too long"), "{message}");
        }
    }

    #[test]
    fn sizes_are_read_in_any_case() {
        for (text, bytes) in [
            ("0B", 0),
            ("512MiB", 512 << 20),
            ("512 mib", 512 << 20),
            ("1GB", 1_000_000_000),
            ("64KiB", 65_536),
            ("64kb", 64_000),
            ("1024TiB", 1 << 50),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "512",
            "512M",
            "MiB",
            "-1MiB",
            "1.5GiB",
            "1025TiB",
            "99999999999999999999B",
            "18446744073709551615GB",
        ] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn written_values_are_read_back() {
        for ms in [0, 1, 999, 1_000, 5_400_000, 86_400_000, 604_800_000, 694_861_001] {
            let text = duration_text(Duration::from_millis(ms));
            assert_eq!(duration(&text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bytes in [0, 1, 1023, 1024, 1000, 512 << 20, 1_000_000_000, (1 << 50) - 1] {
            assert_eq!(size(&size_text(bytes)), Ok(bytes), "{bytes}");
        }
    }

    #[test]
    fn long_texts_are_cut_in_messages() {
        assert!(size(&"é".repeat(10_000)).unwrap_err().to_string().len() < 250);
    }
}
