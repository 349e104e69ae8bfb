//! The cache key (RFC 9111 section 2): host, method class, target and further parts, each with its length.
//!
//! Lengths in front make the encoding injective: no choice of host, target and parts can meet another one.
//! Two hosts never share a key. Selecting header fields are not part of it: see `vary.rs`.

use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE},
};

/// Which requests may have the same answer, as far as their method goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodClass {
    /// GET also answers HEAD.
    Get,
    /// A GET whose target is without its query: what of that matters is in further parts (`no_vary_search.rs`).
    GetBySearch,
    /// A GET with content, where a route has that in the key: [`KeyWriter::content`].
    GetWithContent,
    /// QUERY (RFC 10008), whose key has the content of the request as well.
    Query,
}

/// In the place of a length, and none that a part has.
const ABSENT: [u8; 4] = u32::MAX.to_le_bytes();
const BY_SEARCH: u8 = b'S';
/// The part that says that the query of the target is not the client's alone.
pub const CHOSEN_QUERY: &[u8] = b" query";

/// Writes a cache key into a buffer that the caller keeps, so that a look-up allocates nothing.
#[derive(Debug)]
pub struct KeyWriter<'a> {
    buffer: &'a mut Vec<u8>,
}

impl<'a> KeyWriter<'a> {
    /// `host` and `target` are to be normalised before: the same form is routed, keyed and sent on.
    pub fn begin(
        buffer: &'a mut Vec<u8>,
        method: MethodClass,
        host: impl AsRef<[u8]>,
        target: &str,
    ) -> KeyWriter<'a> {
        buffer.clear();
        buffer.push(match method {
            MethodClass::Get => b'G',
            MethodClass::GetBySearch => BY_SEARCH,
            MethodClass::GetWithContent => b'C',
            MethodClass::Query => b'Q',
        });
        let mut writer = KeyWriter { buffer };
        writer.part(host.as_ref());
        writer.part(target.as_bytes());
        writer
    }

    /// Goes on with a key that was begun.
    pub fn append_to(buffer: &'a mut Vec<u8>) -> KeyWriter<'a> {
        KeyWriter { buffer }
    }

    /// Adds a part that a function writes.
    pub fn part_by(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        write(self.buffer);
        let length = u32::try_from(self.buffer.len() - at - 4).unwrap_or(u32::MAX);
        self.buffer[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Adds what no part is equal to: that there is none.
    pub fn absent_part(&mut self) {
        self.buffer.extend_from_slice(&ABSENT);
    }

    /// Adds the content of a request, and those of its fields that say what the content is. The bytes are taken as they
    /// are: two ways to write one query are two keys.
    pub fn content(&mut self, fields: &HeaderMap, content: &[u8]) {
        //= https://www.rfc-editor.org/rfc/rfc10008#section-2.7
        //# The cache key for a QUERY request (Section 2 of [HTTP-CACHING]) MUST
        //# incorporate the request content
        // And "related metadata", the sentence goes on: what RFC 9110 section 8 has for content.
        for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION] {
            let lines = fields.get_all(name);
            let count = u32::try_from(lines.iter().count()).unwrap_or(u32::MAX);
            self.part(&count.to_le_bytes());
            lines.iter().for_each(|line| self.part(line.as_bytes()));
        }
        self.part(content);
    }

    /// Adds a part that tells requests for the same target apart.
    pub fn part(&mut self, part: &[u8]) {
        // INVARIANT: no part is as long as 4 GiB; a request head is bounded far below.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(part);
    }
}

/// Host and target of a key that [`KeyWriter`] wrote; `None` for anything else.
pub fn host_and_target(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (host, rest) = first_part(key.get(1..)?)?;
    let (target, _) = first_part(rest)?;
    Some((host, target))
}

/// All parts of a key, host and target first; `None` for one that says that it is absent.
pub fn parts(key: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = key.get(1..).unwrap_or_default();
    std::iter::from_fn(move || {
        if let Some(after) = rest.strip_prefix(&ABSENT) {
            rest = after;
            return Some(None);
        }
        let (part, after) = first_part(rest)?;
        rest = after;
        Some(Some(part))
    })
}

/// Whether a key has its target without the query: see [`MethodClass::GetBySearch`].
pub fn is_by_search(key: &[u8]) -> bool {
    key.first() == Some(&BY_SEARCH)
}

/// Whether somebody has chosen what stays of a query: then other queries may have led to this key. A part that only looks
/// as if it said so counts as well, which costs a fetch at most.
pub fn has_chosen_query(key: &[u8]) -> bool {
    parts(key).any(|part| part == Some(CHOSEN_QUERY))
}

fn first_part(parts: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = parts.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}
