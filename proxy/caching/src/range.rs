//! Ranges of a stored, whole response (RFC 9110 section 14): which part of it answers the request.
//!
//! One range is answered with a part; several are answered with the whole, as a server may. Must not know where the
//! body is kept. Before it comes `precondition.rs`: a 304 wins over a range.

use http::{
    HeaderMap,
    header::{DATE, IF_RANGE, LAST_MODIFIED, RANGE},
};

use crate::{time::Timestamp, validation::entity_tag};

/// What of the body answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranged {
    /// All of it: no range is asked for, or none that can be given.
    Whole,
    /// From the first to the last of these bytes, both included, counted from 0.
    Part { first: u64, last: u64 },
    /// 416: there is nothing at the place that is asked for.
    Unsatisfiable,
}

/// For a GET that selected `stored`, a complete 200 with a body of `length` bytes.
pub fn ranged(request: &HeaderMap, stored: &HeaderMap, length: u64) -> Ranged {
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Ranged::Whole };
    if !is_for_this(request, stored) {
        return Ranged::Whole;
    }
    //= https://www.rfc-editor.org/rfc/rfc9110#section-14.2
    //# An origin server MUST ignore a Range header field that contains a
    //# range unit it does not understand.
    let Some((unit, ranges)) = split_at_byte(line.as_bytes(), b'=') else { return Ranged::Whole };
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") || ranges.contains(&b',') {
        return Ranged::Whole;
    }
    part(ranges.trim_ascii(), length).unwrap_or(Ranged::Whole)
}

/// One `first-last`, `first-` or `-suffix`; `None` if it is none of them.
fn part(range: &[u8], length: u64) -> Option<Ranged> {
    let (first, last) = split_at_byte(range, b'-')?;
    if first.is_empty() {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-14.1.2
        //# If the selected representation is shorter than the specified suffix-
        //# length, the entire representation is used.
        let suffix = number(last)?;
        return Some(if suffix == 0 || length == 0 {
            Ranged::Unsatisfiable
        } else {
            Ranged::Part { first: length.saturating_sub(suffix), last: length - 1 }
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    //= https://www.rfc-editor.org/rfc/rfc9110#section-14.1.1
    //# An int-range is invalid if the last-pos value is present and less than first-pos.
    if last < first {
        return None;
    }
    //= https://www.rfc-editor.org/rfc/rfc9110#section-14.1.2
    //# If the last-pos value is absent, or if the value is greater than or
    //# equal to the current length of the representation data, the byte
    //# range is interpreted as the remainder of the representation
    Some(if first < length {
        Ranged::Part { first, last: last.min(length - 1) }
    } else {
        Ranged::Unsatisfiable
    })
}

/// `If-Range` (RFC 9110 section 13.1.5): whether the client's other parts are of this same representation.
fn is_for_this(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let mut lines = request.get_all(IF_RANGE).iter();
    let Some(validator) = lines.next() else { return true };
    if lines.next().is_some() {
        return false;
    }
    let bytes = validator.as_bytes().trim_ascii();
    if bytes.contains(&b'"') {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5
        //# A recipient of an If-Range header field MUST ignore the Range header
        //# field if the If-Range condition evaluates as false.
        //
        // Strong comparison: two weak tags are never the same.
        return !bytes.starts_with(b"W/") && entity_tag(stored).is_some_and(|tag| tag.as_bytes() == bytes);
    }
    let date = |field| stored.get(field).and_then(Timestamp::from_http_date);
    match (Timestamp::from_http_date(validator), date(LAST_MODIFIED), date(DATE)) {
        // A date is strong only if the representation cannot have changed again within the same second
        // (RFC 9110 section 8.8.2.2).
        (Some(asked), Some(modified), Some(generated)) => {
            asked == modified && generated.since(modified).as_secs() >= 1
        }
        _ => false,
    }
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|found| *found == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

/// Digits alone; what is too large to count is larger than any body.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}
