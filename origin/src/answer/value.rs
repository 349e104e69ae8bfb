//! One value as JSON, from the binary form in which Postgres sends it.
//!
//! Says what Postgres' own `to_json` says (times are in UTC). Knows nothing of rows. Values come from a server, so every
//! length is checked; `None` means that the bytes are no value of the type.

use std::io::Write as _;

use tokio_postgres::types::{Kind, Type};

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// From 1970-01-01 to 2000-01-01, where Postgres begins to count.
const DAYS_TO_2000: i64 = 10_957;

/// Whether [`push`] knows the type.
pub(crate) fn is_known(kind: &Type) -> bool {
    if let Kind::Array(element) = kind.kind() {
        return !matches!(element.kind(), Kind::Array(_)) && is_known(element);
    }
    matches!(kind.kind(), Kind::Enum(_))
        || matches!(
            *kind,
            Type::BOOL
                | Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::FLOAT4
                | Type::FLOAT8
                | Type::NUMERIC
                | Type::TEXT
                | Type::VARCHAR
                | Type::BPCHAR
                | Type::NAME
                | Type::UUID
                | Type::JSON
                | Type::JSONB
                | Type::DATE
                | Type::TIMESTAMP
                | Type::TIMESTAMPTZ
        )
}

/// Appends a value that is not NULL.
pub(crate) fn push(kind: &Type, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // Writing to a Vec cannot fail.
    match *kind {
        Type::BOOL => out.extend_from_slice(if bytes == [1] { b"true" } else { b"false" }),
        Type::INT2 => drop(write!(out, "{}", i16::from_be_bytes(bytes.try_into().ok()?))),
        Type::INT4 => drop(write!(out, "{}", i32::from_be_bytes(bytes.try_into().ok()?))),
        Type::INT8 => drop(write!(out, "{}", i64::from_be_bytes(bytes.try_into().ok()?))),
        Type::FLOAT4 => {
            let number = f32::from_be_bytes(bytes.try_into().ok()?);
            push_float(number.is_finite(), &number.to_string(), out);
        }
        Type::FLOAT8 => {
            let number = f64::from_be_bytes(bytes.try_into().ok()?);
            push_float(number.is_finite(), &number.to_string(), out);
        }
        Type::NUMERIC => push_numeric(bytes, out)?,
        Type::JSON => out.extend_from_slice(bytes),
        // A byte with the version of the format is in front.
        Type::JSONB => out.extend_from_slice(bytes.strip_prefix(&[1])?),
        Type::UUID => {
            let bytes: &[u8; 16] = bytes.try_into().ok()?;
            out.push(b'"');
            for (index, byte) in bytes.iter().enumerate() {
                let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
                let _ = write!(out, "{dash}{byte:02x}");
            }
            out.push(b'"');
        }
        Type::DATE => match i32::from_be_bytes(bytes.try_into().ok()?) {
            i32::MAX => out.extend_from_slice(b"\"infinity\""),
            i32::MIN => out.extend_from_slice(b"\"-infinity\""),
            days => {
                out.push(b'"');
                let is_bc = push_date(i64::from(days), out);
                out.extend_from_slice(if is_bc { b" BC\"" } else { b"\"" });
            }
        },
        Type::TIMESTAMP => push_time(bytes, "", out)?,
        Type::TIMESTAMPTZ => push_time(bytes, "+00:00", out)?,
        _ => {
            if let Kind::Array(element) = kind.kind() {
                push_array(element, bytes, out)?;
            } else {
                // Texts, and the names of enums.
                push_text(std::str::from_utf8(bytes).ok()?, out);
            }
        }
    }
    Some(())
}

/// As Postgres does it: what JSON has no number for is a string.
fn push_float(is_finite: bool, text: &str, out: &mut Vec<u8>) {
    match (is_finite, text) {
        (true, text) => out.extend_from_slice(text.as_bytes()),
        (false, "inf") => out.extend_from_slice(b"\"Infinity\""),
        (false, "-inf") => out.extend_from_slice(b"\"-Infinity\""),
        (false, _) => out.extend_from_slice(b"\"NaN\""),
    }
}

/// A string of JSON. Runs of plain bytes are copied as they are.
pub(crate) fn push_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => drop(write!(out, "\\u{byte:04x}")),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Days since 2000-01-01 as `2026-11-26`, without quotes. Says whether the year is one before Christ.
fn push_date(days: i64, out: &mut Vec<u8>) -> bool {
    // The proleptic Gregorian calendar in eras of 400 years that begin on the first of March.
    let from_era = days + DAYS_TO_2000 + 719_468;
    let era = from_era.div_euclid(146_097);
    let day_of_era = from_era.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // The year before 1 is 1 BC.
    let (shown, is_bc) = if year > 0 { (year, false) } else { (1 - year, true) };
    let _ = write!(out, "{shown:04}-{month:02}-{day:02}");
    is_bc
}

fn push_time(bytes: &[u8], zone: &str, out: &mut Vec<u8>) -> Option<()> {
    let micros = match i64::from_be_bytes(bytes.try_into().ok()?) {
        i64::MAX => {
            out.extend_from_slice(b"\"infinity\"");
            return Some(());
        }
        i64::MIN => {
            out.extend_from_slice(b"\"-infinity\"");
            return Some(());
        }
        micros => micros,
    };
    out.push(b'"');
    let is_bc = push_date(micros.div_euclid(MICROS_PER_DAY), out);
    let in_day = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, fraction) = (in_day / 1_000_000, in_day % 1_000_000);
    let _ = write!(out, "T{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        let text = format!(".{fraction:06}");
        out.extend_from_slice(text.trim_end_matches('0').as_bytes());
    }
    out.extend_from_slice(zone.as_bytes());
    out.extend_from_slice(if is_bc { b" BC\"" } else { b"\"" });
    Some(())
}

/// Digits to the base of ten thousand, the place of the first, a sign, and how many decimals are shown.
fn push_numeric(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let word = |index: usize| Some(u16::from_be_bytes(bytes.get(index * 2..index * 2 + 2)?.try_into().ok()?));
    let (count, sign, decimals) = (word(0)?, word(2)?, word(3)?);
    let weight = i16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    if bytes.len() != 8 + usize::from(count) * 2 {
        return None;
    }
    match sign {
        0x0000 => (),
        0x4000 => out.push(b'-'),
        0xD000 => {
            out.extend_from_slice(b"\"Infinity\"");
            return Some(());
        }
        0xF000 => {
            out.extend_from_slice(b"\"-Infinity\"");
            return Some(());
        }
        _ => {
            out.extend_from_slice(b"\"NaN\"");
            return Some(());
        }
    }
    // The digit of a place; those that are not sent are zero.
    let digit = |place: i32| {
        let index = i32::from(weight) - place;
        if (0..i32::from(count)).contains(&index) {
            word(4 + usize::try_from(index).unwrap_or(0))
        } else {
            None
        }
    };
    if weight < 0 {
        out.push(b'0');
    }
    for place in (0..=i32::from(weight)).rev() {
        let digit = digit(place).unwrap_or(0);
        let _ = if place == i32::from(weight) { write!(out, "{digit}") } else { write!(out, "{digit:04}") };
    }
    if decimals > 0 {
        out.push(b'.');
        let end = out.len() + usize::from(decimals);
        let mut place = -1;
        while out.len() < end {
            let _ = write!(out, "{:04}", digit(place).unwrap_or(0));
            place -= 1;
        }
        out.truncate(end);
    }
    Some(())
}

/// Of one dimension, or empty.
fn push_array(element: &Type, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let word = |at: usize| Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    out.push(b'[');
    let dimensions = word(0)?;
    if dimensions > 1 {
        return None;
    }
    if dimensions == 1 {
        // Dimensions, whether there are NULLs, the elements' type, how many there are, the first index.
        let mut at = 20;
        for index in 0..word(12)? {
            if index > 0 {
                out.push(b',');
            }
            let length = word(at)?;
            at += 4;
            match usize::try_from(length) {
                Ok(length) => {
                    push(element, bytes.get(at..at.checked_add(length)?)?, out)?;
                    at += length;
                }
                // -1
                Err(_) => out.extend_from_slice(b"null"),
            }
        }
    }
    out.push(b']');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &Type, bytes: &[u8], expected: &str) {
        let mut out = Vec::new();
        push(kind, bytes, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn texts_are_strings_of_json() {
        for text in ["", "plain", "é€😀", "a\"b\\c\n\r\t\u{1}\u{1f}\u{7f}", "\"", "</script>"] {
            let mut out = Vec::new();
            push_text(text, &mut out);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let day = MICROS_PER_DAY;
        for (micros, expected) in [
            (0, "2000-01-01T00:00:00+00:00"),
            (day * 59 + 1, "2000-02-29T00:00:00.000001+00:00"),
            (day * 60 - 500_000, "2000-02-29T23:59:59.5+00:00"),
            (-1_000_000, "1999-12-31T23:59:59+00:00"),
            (-day * DAYS_TO_2000, "1970-01-01T00:00:00+00:00"),
            (849_020_400_123_000, "2026-11-26T15:00:00.123+00:00"),
            (-day * 730_119, "0001-01-01T00:00:00+00:00"),
            (-day * 730_120, "0001-12-31T00:00:00+00:00 BC"),
            (day * 2_921_940, "10000-01-01T00:00:00+00:00"),
            (i64::MAX, "infinity"),
            (i64::MIN, "-infinity"),
        ] {
            check(&Type::TIMESTAMPTZ, &micros.to_be_bytes(), &format!("\"{expected}\""));
        }
        check(&Type::DATE, &366_i32.to_be_bytes(), "\"2001-01-01\"");
    }

    #[test]
    fn bytes_that_are_no_value_are_refused() {
        for kind in [
            Type::INT4,
            Type::INT8,
            Type::TIMESTAMPTZ,
            Type::UUID,
            Type::NUMERIC,
            Type::INT4_ARRAY,
            Type::JSONB,
        ] {
            for bytes in [
                &[][..],
                &[0, 0, 0],
                &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0x7f],
            ] {
                assert!(push(&kind, bytes, &mut Vec::new()).is_none(), "{kind} {bytes:?}");
            }
        }
        assert!(push(&Type::TEXT, &[0xff], &mut Vec::new()).is_none());
    }

    #[test]
    fn infinities_are_strings() {
        check(&Type::FLOAT8, &f64::NEG_INFINITY.to_be_bytes(), "\"-Infinity\"");
        check(&Type::FLOAT4, &f32::NAN.to_be_bytes(), "\"NaN\"");
        check(&Type::FLOAT8, &1.5_f64.to_be_bytes(), "1.5");
    }
}
