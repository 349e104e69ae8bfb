//! Parts of responses (RFC 9111 sections 3.3 and 3.4, RFC 9110 sections 14.4 and 15.3.7): which may be stored, put
//! together, and made complete.
//!
//! Knows positions, not bytes. Which part of a stored one answers a request: `range.rs`.

use std::ops::Range;

use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, IF_RANGE, LAST_MODIFIED, RANGE},
};

use crate::{
    range::{number, strong_date},
    validation::{entity_tag, freshened},
};

/// A `Content-Range` that says where a part belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    pub first: u64,
    pub last: u64,
    /// Of the whole, if the origin knows it.
    pub complete: Option<u64>,
}

/// Where the bytes that are stored of a response belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPart {
    // INVARIANT: first <= last, and last < complete.
    pub first: u64,
    pub last: u64,
    pub complete: Option<u64>,
}

impl ContentRange {
    /// `None`: there is none, or one that cannot be made sense of, or of more than one range.
    pub fn of(fields: &HeaderMap) -> Option<ContentRange> {
        let mut lines = fields.get_all(CONTENT_RANGE).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let text = line.as_bytes().trim_ascii();
        let (unit, rest) = text.split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let slash = rest.iter().position(|byte| *byte == b'/')?;
        let (range, complete) = (&rest[..slash], &rest[slash + 1..]);
        let dash = range.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (number(&range[..dash])?, number(&range[dash + 1..])?);
        let complete = if complete == b"*" { None } else { Some(number(complete)?) };
        //= https://www.rfc-editor.org/rfc/rfc9110#section-14.4
        //# A Content-Range field value is invalid if it contains a range-resp
        //# that has a last-pos value less than its first-pos value, or a
        //# complete-length value less than or equal to its last-pos value.  The
        //# recipient of an invalid Content-Range MUST NOT attempt to recombine
        //# the received content with a stored representation.
        let is_valid = first <= last && complete.is_none_or(|complete| last < complete) && last < u64::MAX;
        is_valid.then_some(ContentRange { first, last, complete })
    }
}

/// Where the body of a 206 belongs; `None` if its `Content-Range` is not valid or does not fit to the length of the body.
pub fn part_length(fields: &HeaderMap, body_bytes: Option<u64>) -> Option<StoredPart> {
    let ContentRange { first, last, complete } = ContentRange::of(fields)?;
    let part = StoredPart { first, last, complete };
    body_bytes.is_none_or(|bytes| bytes == part.length()).then_some(part)
}

impl StoredPart {
    /// Never 0.
    pub const fn length(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.first == 0 && self.complete == Some(self.last + 1)
    }
}

/// Whether two parts are of the same representation.
pub fn may_combine(stored: &HeaderMap, new: &HeaderMap) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3.4
    //# A response might transfer only a partial representation if the
    //# connection closed prematurely or if the request used one or more
    //# Range specifiers (Section 14.2 of [HTTP]).  After several such
    //# transfers, a cache might have received several ranges of the same
    //# representation.  A cache MAY combine these ranges into a single
    //# stored response, and reuse that response to satisfy later requests,
    //# if they all share the same strong validator and the cache complies
    //# with the client requirements in Section 15.3.7.3 of [HTTP].
    // Bytes of another coding are other bytes, whatever the tag says.
    if stored.get(CONTENT_ENCODING) != new.get(CONTENT_ENCODING) {
        return false;
    }
    match (entity_tag(stored), entity_tag(new)) {
        (Some(stored), Some(new)) => stored == new && is_strong_tag(stored),
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => strong_date(stored).is_some_and(|date| strong_date(new) == Some(date)),
    }
}

fn is_strong_tag(tag: &HeaderValue) -> bool {
    let bytes = tag.as_bytes();
    bytes.len() >= 2 && bytes.starts_with(b"\"") && bytes.ends_with(b"\"")
}

/// Two parts as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Union {
    pub part: StoredPart,
    /// Of the older bytes, what stands before the newer ones, and after them.
    pub before: Range<usize>,
    pub after: Range<usize>,
}

/// Puts two parts together that overlap or touch; where both have a byte, the newer one counts. `None` if there is a gap
/// between them, or they contradict each other.
pub fn union(old: &StoredPart, new: &StoredPart) -> Option<Union> {
    let complete = match (old.complete, new.complete) {
        (Some(old), Some(new)) if old != new => return None,
        (old, new) => new.or(old),
    };
    let touch = old.first <= new.last.saturating_add(1) && new.first <= old.last.saturating_add(1);
    let part = StoredPart { first: old.first.min(new.first), last: old.last.max(new.last), complete };
    if !touch || complete.is_some_and(|complete| part.last >= complete) {
        return None;
    }
    let length = usize::try_from(old.length()).ok()?;
    let at = |position: u64| {
        usize::try_from(position.saturating_sub(old.first)).map_or(length, |at| at.min(length))
    };
    Some(Union { part, before: 0..at(new.first), after: at(new.last.saturating_add(1))..length })
}

/// The fields of two parts of one representation that were put together; they speak of the whole.
pub fn combined_fields(stored: &HeaderMap, new: &HeaderMap) -> HeaderMap {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3.4
    //# When combining the new response with one or more stored responses, a
    //# cache MUST update the stored response header fields using the header
    //# fields provided in the new response, as per Section 3.2.
    let mut fields = freshened(stored, new);
    fields.remove(CONTENT_RANGE);
    fields.remove(CONTENT_LENGTH);
    fields
}

/// The fields that ask for the rest of a response whose beginning is stored; `None` if that cannot be done safely.
pub fn completing_request(stored: &HeaderMap, part: &StoredPart) -> Option<HeaderMap> {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3.3
    //# A cache MAY complete a stored incomplete response by making a
    //# subsequent range request (Section 14.2 of [HTTP]) and combining the
    //# successful response with the stored response, as defined in
    //# Section 3.4.
    let validator = match entity_tag(stored) {
        Some(tag) => Some(tag).filter(|tag| is_strong_tag(tag)),
        None => stored.get(LAST_MODIFIED).filter(|_| strong_date(stored).is_some()),
    };
    let validator = validator.filter(|_| part.first == 0 && !part.is_whole())?;
    let mut asking = HeaderMap::new();
    asking.insert(RANGE, HeaderValue::from_str(&format!("bytes={}-", part.last + 1)).ok()?);
    asking.insert(IF_RANGE, validator.clone());
    Some(asking)
}
