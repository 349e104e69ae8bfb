//! Cache groups (RFC 9875): which groups a response belongs to, and which a response to an unsafe request invalidates.
//!
//! A group is the origin's own: the same name on two origins is two groups, and the caller keeps them apart. Must not
//! know how groups are kept. Beside it stands `tags.rs`, which is the same in the words of the CDNs.

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, List, ListEntry};

use crate::structured::parsed;

pub const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
pub const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

//= https://www.rfc-editor.org/rfc/rfc9875#section-2
//# Implementations MUST support at least 32 groups in a field value,
//# with up to at least 32 characters in each member.
/// Groups of one field.
pub const MAX_GROUPS: usize = 128;
pub const MAX_GROUP_BYTES: usize = 128;

/// A field names more groups, or longer ones, than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyGroups;

/// Calls `each` with every group that a response belongs to. Beyond the bounds it calls nothing: such a response is
/// not to be stored, for it would outlive the invalidation of a group that was dropped.
pub fn groups(fields: &HeaderMap, each: impl FnMut(&str)) -> Result<(), TooManyGroups> {
    let Some(list) = strings(fields, &CACHE_GROUPS) else { return Ok(()) };
    if list.len() > MAX_GROUPS || list.iter().any(|group| group.len() > MAX_GROUP_BYTES) {
        return Err(TooManyGroups);
    }
    list.iter().map(String::as_str).for_each(each);
    Ok(())
}

/// Calls `each` with every group that a response invalidates. It has to come from the origin itself, for a request
/// with a method that `is_safe` or not; a stored response invalidates nothing. Of more than [`MAX_GROUPS`] it calls the
/// first and then fails: the caller takes all groups of that origin for invalidated, or goes without the rest, for the
/// RFC only permits this. A name longer than any that is stored is left out.
pub fn invalidated_groups(
    fields: &HeaderMap,
    is_safe: bool,
    each: impl FnMut(&str),
) -> Result<(), TooManyGroups> {
    //= https://www.rfc-editor.org/rfc/rfc9875#section-3
    //# The Cache-Group-Invalidation header field MUST be ignored on
    //# responses to requests that have a safe method (e.g., GET; see
    //# Section 9.2.1 of [HTTP]).
    if is_safe {
        return Ok(());
    }
    let Some(list) = strings(fields, &CACHE_GROUP_INVALIDATION) else { return Ok(()) };
    let stored = list.iter().map(String::as_str).filter(|group| group.len() <= MAX_GROUP_BYTES);
    stored.clone().take(MAX_GROUPS).for_each(each);
    if stored.count() > MAX_GROUPS { Err(TooManyGroups) } else { Ok(()) }
}

/// The members of a List of Strings; `None` if the field is not there or is anything else.
fn strings(fields: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let members = parsed::<List>(fields, name)?.into_iter();
    //= https://www.rfc-editor.org/rfc/rfc9875#section-2
    //# Each member of the List is a value that identifies a
    //# group that the response belongs to.
    // Parameters are ignored, as section 2 says too.
    members
        .map(|member| match member {
            ListEntry::Item(item) => match item.bare_item {
                BareItem::String(group) => Some(group.into()),
                BareItem::Integer(_)
                | BareItem::Decimal(_)
                | BareItem::Token(_)
                | BareItem::ByteSequence(_)
                | BareItem::Boolean(_)
                | BareItem::Date(_)
                | BareItem::DisplayString(_) => None,
            },
            ListEntry::InnerList(_) => None,
        })
        .collect()
}
