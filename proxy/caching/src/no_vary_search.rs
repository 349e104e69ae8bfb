//! `No-Vary-Search` (draft-ietf-httpbis-no-vary-search): which parameters of a query make another response, and
//! whether their order does.
//!
//! Two targets that differ in nothing else have the same key under the rule of a stored response: a query becomes a
//! canonical form, equal exactly for equivalent queries, and beside it stands the rule, so that keys made under
//! different rules never meet. Must not know how a key is looked up. Next: `key.rs`, `vary.rs`.

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, InnerList, ListEntry};

use crate::structured::parsed;

pub const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// A field that names more parameters says nothing: that costs hits, and is never wrong.
pub const MAX_PARAMS: usize = 64;

/// The rule of a response, if it is another than "every byte of the query matters".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoVarySearch {
    significant: Significant,
    ignores_key_order: bool,
}

/// Decoded names, sorted, each of them once.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Significant {
    AllBut(Box<[Box<str>]>),
    Only(Box<[Box<str>]>),
}

impl NoVarySearch {
    /// `None` if a response has no such field, or one that cannot be read, or one that says what holds without it.
    pub fn of(fields: &HeaderMap) -> Option<NoVarySearch> {
        let members = parsed::<Dictionary>(fields, &NO_VARY_SEARCH)?;
        //= https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-no-vary-search#section-5.1
        //# If keyOrderValue is not a boolean, then return the default
        //# URL variation config.
        let ignores_key_order = match members.get("key-order") {
            Some(ListEntry::Item(item)) => item.bare_item.as_boolean()?,
            Some(ListEntry::InnerList(_)) => return None,
            None => false,
        };
        let significant = match (members.get("params"), members.get("except")) {
            (Some(ListEntry::InnerList(names)), None) => Significant::AllBut(decoded(names)?),
            (None, Some(ListEntry::InnerList(names))) => Significant::Only(decoded(names)?),
            (None, None) => Significant::AllBut(Box::default()),
            // Older drafts, and the sites that follow them: `params` alone is for all of them, and `except` needs it
            // beside itself. The newest takes neither; what they mean is plain, so they are taken.
            (Some(ListEntry::Item(params)), None) if params.bare_item == BareItem::Boolean(true) => {
                Significant::Only(Box::default())
            }
            (Some(ListEntry::Item(params)), Some(ListEntry::InnerList(names)))
                if params.bare_item == BareItem::Boolean(true) =>
            {
                Significant::Only(decoded(names)?)
            }
            (Some(ListEntry::Item(_)), _)
            | (Some(ListEntry::InnerList(_)), Some(_))
            | (None, Some(ListEntry::Item(_))) => return None,
        };
        let is_default = significant == Significant::AllBut(Box::default()) && !ignores_key_order;
        (!is_default).then_some(NoVarySearch { significant, ignores_key_order })
    }

    /// Appends what of a query matters, each part with its length: equal for two queries exactly if they are
    /// equivalent under this rule.
    pub fn append_canonical(&self, query: Option<&str>, buffer: &mut Vec<u8>) {
        //= https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-no-vary-search#section-6
        //# If urlA's query is not null, then set searchParamsA to the
        //# result of running the application/x-www-form-urlencoded parser
        let query = query.unwrap_or_default().as_bytes();
        let mut params: Vec<_> =
            form_urlencoded::parse(query).filter(|(name, _)| self.significant.has(name)).collect();
        if self.ignores_key_order {
            //= https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-no-vary-search#section-6
            //# Set searchParamsA to the result of sorting searchParamsA
            //# in ascending order with keyLessThan.
            // Any order of names will do, as long as it is the same for both. The sort is stable: values of one name
            // stay as they are.
            params.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        append_length(params.len(), buffer);
        for (name, value) in &params {
            append_part(name, buffer);
            append_part(value, buffer);
        }
    }

    /// Appends the rule itself: equal exactly for equal rules, however they were written.
    pub fn append_rule(&self, buffer: &mut Vec<u8>) {
        let (kind, names) = match &self.significant {
            Significant::AllBut(names) => (b'-', names),
            Significant::Only(names) => (b'+', names),
        };
        buffer.push(kind);
        buffer.push(u8::from(self.ignores_key_order));
        append_length(names.len(), buffer);
        names.iter().for_each(|name| append_part(name, buffer));
    }

    pub fn size_bytes(&self) -> usize {
        let (Significant::AllBut(names) | Significant::Only(names)) = &self.significant;
        names.iter().map(|name| name.len() + size_of::<Box<str>>()).sum()
    }
}

impl Significant {
    fn has(&self, name: &str) -> bool {
        let is_named = |names: &[Box<str>]| names.binary_search_by(|named| named.as_ref().cmp(name)).is_ok();
        match self {
            Significant::AllBut(names) => !is_named(names),
            Significant::Only(names) => is_named(names),
        }
    }
}

/// The names of a list of Strings; `None` if anything else is in it, or too many.
fn decoded(list: &InnerList) -> Option<Box<[Box<str>]>> {
    if list.items.len() > MAX_PARAMS {
        return None;
    }
    //= https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-no-vary-search#section-5.1
    //# If any item in paramsList is not a string, then return the
    //# default URL variation config.
    let mut names: Vec<_> = list
        .items
        .iter()
        .map(|item| item.bare_item.as_string().map(|name| decoded_name(name.as_str())))
        .collect::<Option<_>>()?;
    names.sort_unstable();
    names.dedup();
    Some(names.into())
}

/// Section 5.3, "parse a key". It is what the parser of queries does to a name, so that is what does it here: with the
/// two bytes that end a name written in their encoded form, all of the text is one.
fn decoded_name(written: &str) -> Box<str> {
    let name = written.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(name.as_bytes()).next().map(|(name, _)| name.into()).unwrap_or_default()
}

fn append_part(part: &str, buffer: &mut Vec<u8>) {
    append_length(part.len(), buffer);
    buffer.extend_from_slice(part.as_bytes());
}

fn append_length(length: usize, buffer: &mut Vec<u8>) {
    // INVARIANT: nothing is as long as 4 GiB; a request head is bounded far below.
    buffer.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}
