//! Selecting header fields (RFC 9111 section 4.1): which stored response answers this request.
//!
//! Must not know how variants are kept or bounded: that is the proxy's `memory.rs`.

use http::{HeaderMap, HeaderName, header::VARY};

use crate::directives::list_members;

/// More selecting fields than this in one response, and it is not stored.
const MAX_SELECTING_FIELDS: usize = 16;

/// The fields that a response's `Vary` names, with the values that its request had.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SelectingFields(Box<[SelectingField]>);

/// A field's name, and its value if the request had it.
type SelectingField = (HeaderName, Option<Box<[u8]>>);

/// This response can never be selected by a later request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeverMatches;

/// The one of several stored responses that answers a request. They come newest first.
pub fn select<'s, T: 's>(
    stored: impl IntoIterator<Item = &'s T>,
    selecting: impl Fn(&T) -> &SelectingFields,
    request: &HeaderMap,
) -> Option<&'s T> {
    let mut without_vary = None;
    for response in stored {
        let fields = selecting(response);
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
        //# When a cache has multiple stored responses
        //# for a target URI and one or more omits the Vary header field, the
        //# cache SHOULD choose the most recent (see Section 4.2.3) stored
        //# response with a valid Vary field value.
        if fields.0.is_empty() {
            without_vary = without_vary.or(Some(response));
        } else if fields.matches(request) {
            return Some(response);
        }
    }
    without_vary
}

impl SelectingFields {
    /// Reads `Vary` of the response and the named fields of its request.
    pub fn of(response: &HeaderMap, request: &HeaderMap) -> Result<SelectingFields, NeverMatches> {
        let mut selecting: Vec<SelectingField> = Vec::new();
        for member in response.get_all(VARY).iter().flat_map(|line| list_members(line.as_bytes())) {
            //= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
            //# A stored response with a Vary header field value containing a member
            //# "*" always fails to match.
            if member == b"*" {
                return Err(NeverMatches);
            }
            let Ok(name) = HeaderName::from_bytes(member) else { return Err(NeverMatches) };
            if selecting.iter().any(|(known, _)| *known == name) {
                continue;
            }
            if selecting.len() == MAX_SELECTING_FIELDS {
                return Err(NeverMatches);
            }
            let value = combined(request, &name);
            selecting.push((name, value));
        }
        selecting.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        Ok(SelectingFields(selecting.into()))
    }

    /// Whether a request selects the response these fields belong to.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
        //# the cache MUST NOT use that stored response without revalidation
        //# unless all the presented request header fields nominated by that
        //# Vary field value match those fields in the original request
        self.0.iter().all(|(name, value)| matches_field(request, name, value.as_deref()))
    }

    /// Appends what of this request would select a response with the same `Vary`, each part with its length: equal
    /// for requests that select the same one.
    pub fn append_values(&self, request: &HeaderMap, buffer: &mut Vec<u8>) {
        for (name, _) in &self.0 {
            match combined(request, name) {
                Some(value) => {
                    buffer.push(1);
                    buffer.extend_from_slice(&value.len().to_le_bytes());
                    buffer.extend_from_slice(&value);
                }
                None => buffer.push(0),
            }
        }
    }

    pub fn size_bytes(&self) -> usize {
        self.0
            .iter()
            .map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, |v| v.len()) + 48)
            .sum()
    }
}

/// The usual request has one line of a field, and is compared without a copy.
fn matches_field(request: &HeaderMap, name: &HeaderName, stored: Option<&[u8]>) -> bool {
    let mut lines = request.get_all(name).iter();
    match (lines.next(), lines.next(), stored) {
        (None, _, stored) => stored.is_none(),
        (Some(_), _, None) => false,
        (Some(line), None, Some(stored)) => line.as_bytes().trim_ascii() == stored,
        (Some(_), Some(_), Some(_)) => combined(request, name).as_deref() == stored,
    }
}

/// All lines of a field as one value (RFC 9110 section 5.2); `None` if the request has none.
fn combined(fields: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
    //# If (after any normalization that might take place) a header field is
    //# absent from a request, it can only match another request if it is
    //# also absent there.
    let mut lines = fields.get_all(name).iter();
    let mut value = lines.next()?.as_bytes().trim_ascii().to_vec();
    for line in lines {
        value.extend_from_slice(b", ");
        value.extend_from_slice(line.as_bytes().trim_ascii());
    }
    Some(value.into())
}
