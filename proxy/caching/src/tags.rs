//! Tags that a response carries, as its upstream names them.
//!
//! `Cache-Tag` is a comma-separated list, `Surrogate-Key` one separated by spaces; both are read, and both are
//! removed before a client sees them. Count and length are bounded here.

use http::{HeaderMap, HeaderName};

pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// Tags of one response, all sources together. A response with more is not stored: serving it after one of
/// the tags that were dropped was purged would be worse.
pub const MAX_TAGS: usize = 256;
pub const MAX_TAG_BYTES: usize = 256;

/// The response names more tags, or longer ones, than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyTags;

/// Whether a text may be a tag: visible ASCII without the separators of the two fields.
pub fn is_tag(text: &[u8]) -> bool {
    !text.is_empty() && text.len() <= MAX_TAG_BYTES && text.iter().all(|b| b.is_ascii_graphic() && *b != b',')
}

/// Calls `each` with every tag of the upstream's fields.
pub fn upstream_tags<'f>(fields: &'f HeaderMap, mut each: impl FnMut(&'f [u8])) -> Result<(), TooManyTags> {
    let listed = fields.get_all(CACHE_TAG).iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    let spaced =
        fields.get_all(SURROGATE_KEY).iter().flat_map(|line| line.as_bytes().split(u8::is_ascii_whitespace));
    let tags = listed.chain(spaced).map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty());
    for (count, tag) in tags.enumerate() {
        if count == MAX_TAGS || !is_tag(tag) {
            return Err(TooManyTags);
        }
        each(tag);
    }
    Ok(())
}
