//! Ranges of a stored response (RFC 9110 section 14): which part of it, or which parts, answer the request.
//!
//! Must not know where the body is kept. Before it comes `precondition.rs`: a 304 wins over a range. What a stored part
//! is: `partial.rs`.

use http::{
    HeaderMap, HeaderValue,
    header::{DATE, IF_RANGE, LAST_MODIFIED, RANGE},
};

use crate::{partial::StoredPart, time::Timestamp, validation::entity_tag};

/// More ranges than this in one request, and the whole is the answer.
const MAX_RANGES: usize = 32;

/// The first and the last of some bytes, both included, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    pub first: u64,
    pub last: u64,
}

impl ByteRange {
    /// Never 0.
    pub const fn length(self) -> u64 {
        self.last - self.first + 1
    }
}

/// What of the body answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranged {
    /// All of it: no range is asked for, or none that can be given.
    Whole,
    Part(ByteRange),
    /// Two or more, in the order in which they were asked for; `multipart/byteranges`.
    Parts(Vec<ByteRange>),
    /// 416: there is nothing at the place that is asked for.
    Unsatisfiable,
}

/// For a GET that selected `stored`, a complete 200 with a body of `length` bytes.
pub fn ranged(request: &HeaderMap, stored: &HeaderMap, length: u64) -> Ranged {
    let Some(specs) = asked(request, stored) else { return Ranged::Whole };
    let mut ranges = Vec::new();
    for spec in &specs {
        match spec.within(length) {
            Some(range) => ranges.push(range),
            None if specs.len() == 1 => return Ranged::Unsatisfiable,
            // One that cannot be satisfied is left out beside others that can.
            None => (),
        }
    }
    let asked_bytes = ranges.iter().map(|range| range.length()).fold(0, u64::saturating_add);
    let ranges = coalesced(ranges);
    match *ranges {
        [] => Ranged::Unsatisfiable,
        [one] => Ranged::Part(one),
        //= https://www.rfc-editor.org/rfc/rfc9110#section-14.2
        //# A server that supports range requests MAY ignore or reject a Range
        //# header field that contains an invalid ranges-specifier (Section
        //# 14.1.1), a ranges-specifier with more than two overlapping ranges, or
        //# a set of many small ranges that are not listed in ascending order,
        //# since these are indications of either a broken client or a deliberate
        //# denial-of-service attack
        _ if asked_bytes > length => Ranged::Whole,
        _ => Ranged::Parts(ranges),
    }
}

/// The range of a stored part that answers the request; `None` unless all of it lies within that part.
pub fn of_partial(request: &HeaderMap, stored: &HeaderMap, part: &StoredPart) -> Option<ByteRange> {
    let specs = asked(request, stored)?;
    let [spec] = specs.as_slice() else { return None };
    let range = match (spec, part.complete) {
        (_, Some(complete)) => spec.within(complete)?,
        // Where nobody knows the end, a range that has none, or is counted from it, could be longer.
        (Spec::From { first, last: Some(last) }, None) => ByteRange { first: *first, last: *last },
        (Spec::From { last: None, .. } | Spec::Suffix(_), None) => return None,
    };
    (part.first <= range.first && range.last <= part.last).then_some(range)
}

/// One `first-last`, `first-` or `-suffix`.
#[derive(Debug, Clone, Copy)]
enum Spec {
    From { first: u64, last: Option<u64> },
    Suffix(u64),
}

/// The ranges that a request asks for; `None`: none, none that is understood, or none of this representation.
fn asked(request: &HeaderMap, stored: &HeaderMap) -> Option<Vec<Spec>> {
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    //= https://www.rfc-editor.org/rfc/rfc9110#section-14.2
    //# An origin server MUST ignore a Range header field that contains a
    //# range unit it does not understand.
    let (unit, set) = split_at_byte(line.as_bytes(), b'=')?;
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") || !is_for_this(request, stored) {
        return None;
    }
    let members = set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    let specs: Vec<Spec> = members.take(MAX_RANGES + 1).map(spec).collect::<Option<_>>()?;
    (1..=MAX_RANGES).contains(&specs.len()).then_some(specs)
}

fn spec(range: &[u8]) -> Option<Spec> {
    let (first, last) = split_at_byte(range, b'-')?;
    if first.is_empty() {
        return Some(Spec::Suffix(number(last)?));
    }
    let first = number(first)?;
    let last = if last.is_empty() { None } else { Some(number(last)?) };
    //= https://www.rfc-editor.org/rfc/rfc9110#section-14.1.1
    //# An int-range is invalid if the last-pos value is present and less than first-pos.
    (last.is_none_or(|last| first <= last)).then_some(Spec::From { first, last })
}

impl Spec {
    /// Its bytes in a representation of so many; `None`: it cannot be satisfied.
    fn within(self, length: u64) -> Option<ByteRange> {
        match self {
            //= https://www.rfc-editor.org/rfc/rfc9110#section-14.1.2
            //# If the last-pos value is absent, or if the value is greater than or
            //# equal to the current length of the representation data, the byte
            //# range is interpreted as the remainder of the representation
            Spec::From { first, last } => {
                (first < length).then(|| ByteRange { first, last: last.unwrap_or(u64::MAX).min(length - 1) })
            }
            //= https://www.rfc-editor.org/rfc/rfc9110#section-14.1.2
            //# If the selected representation is shorter than the specified suffix-
            //# length, the entire representation is used.
            Spec::Suffix(suffix) => (suffix > 0 && length > 0)
                .then(|| ByteRange { first: length.saturating_sub(suffix), last: length - 1 }),
        }
    }
}

/// Those that overlap or touch as one, in the place of the first of them.
fn coalesced(ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7.2
    //# When multiple ranges are requested, a server MAY coalesce any of the
    //# ranges that overlap, or that are separated by a gap that is smaller
    //# than the overhead of sending multiple parts, regardless of the order
    //# in which the corresponding range-spec appeared in the received Range
    //# header field.
    let mut whole: Vec<ByteRange> = Vec::with_capacity(ranges.len());
    for mut range in ranges {
        let mut place = whole.len();
        // What it takes in may reach further ones.
        while let Some(at) = whole.iter().position(|known| do_touch(*known, range)) {
            let known = whole.remove(at);
            range = ByteRange { first: known.first.min(range.first), last: known.last.max(range.last) };
            place = place.min(at);
        }
        whole.insert(place.min(whole.len()), range);
    }
    whole
}

fn do_touch(a: ByteRange, b: ByteRange) -> bool {
    a.first <= b.last.saturating_add(1) && b.first <= a.last.saturating_add(1)
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
    match (Timestamp::from_http_date(validator), strong_date(stored)) {
        (Some(asked), Some(modified)) => asked == modified,
        _ => false,
    }
}

/// `Last-Modified` where it is a strong validator.
pub(crate) fn strong_date(fields: &HeaderMap) -> Option<Timestamp> {
    let date = |field| fields.get(field).and_then(Timestamp::from_http_date);
    // It is strong where the representation cannot have changed again within the same second (RFC 9110 section
    // 8.8.2.2): the response was generated at least one second after the modification.
    let (modified, generated) = (date(LAST_MODIFIED)?, date(DATE)?);
    (generated.since(modified).as_secs() >= 1).then_some(modified)
}

/// The content of a 206 with several parts (RFC 9110 section 15.3.7.2, RFC 2046 section 5.1).
#[derive(Debug)]
pub struct Multipart<'r> {
    ranges: &'r [ByteRange],
    complete: u64,
    content_type: Option<&'r HeaderValue>,
    boundary: &'r str,
}

impl<'r> Multipart<'r> {
    /// `complete` is the length of the whole, `content_type` that of the whole, too. `boundary` must not stand in the
    /// bytes: a random one of many letters does not.
    pub fn new(
        ranges: &'r [ByteRange],
        complete: u64,
        content_type: Option<&'r HeaderValue>,
        boundary: &'r str,
    ) -> Multipart<'r> {
        Multipart { ranges, complete, content_type, boundary }
    }

    /// The `Content-Type` of the response.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// What stands before the bytes of each range.
    pub fn parts(&self) -> impl Iterator<Item = (Vec<u8>, ByteRange)> {
        self.ranges.iter().enumerate().map(|(number, range)| {
            let line_end = if number == 0 { "" } else { "\r\n" };
            let mut head = format!("{line_end}--{}\r\n", self.boundary).into_bytes();
            //= https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7.2
            //# Within the header area of each body part in the multipart content, the
            //# server MUST generate a Content-Range header field corresponding to
            //# the range being enclosed in that body part.  If the selected
            //# representation would have had a Content-Type header field in a 200
            //# (OK) response, the server SHOULD generate that same Content-Type
            //# header field in the header area of each body part.
            if let Some(content_type) = self.content_type {
                head.extend_from_slice(b"Content-Type: ");
                head.extend_from_slice(content_type.as_bytes());
                head.extend_from_slice(b"\r\n");
            }
            let ByteRange { first, last } = range;
            let content_range = format!("Content-Range: bytes {first}-{last}/{}\r\n\r\n", self.complete);
            head.extend_from_slice(content_range.as_bytes());
            (head, *range)
        })
    }

    /// What stands after the bytes of the last one.
    pub fn closing(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|found| *found == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

/// Digits alone; what is too large to count is larger than any body.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}
