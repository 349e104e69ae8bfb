//! Structured fields (RFC 9651): all lines of a field as one value of the type that its definition says.
//!
//! The parser is the crate `sfv`. Must not know what a field means. Next: `targeted.rs`.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use sfv::{FieldType, Parser};

/// A field as a List or a Dictionary; `None` if it is not there, or any of it cannot be read.
pub(crate) fn parsed<T: FieldType>(fields: &HeaderMap, name: &HeaderName) -> Option<T> {
    let mut lines = fields.get_all(name).iter().map(http::HeaderValue::as_bytes);
    let first = lines.next()?;
    //= https://www.rfc-editor.org/rfc/rfc9651#section-4.2
    //# When generating input_bytes, parsers MUST combine all field lines in
    //# the same section (header or trailer) that case-insensitively match
    //# the field name into one comma-separated field-value, as per
    //# Section 5.2 of [HTTP]; this assures that the entire field value is
    //# processed correctly.
    let value = lines.fold(Cow::Borrowed(first), |mut value, line| {
        value.to_mut().extend_from_slice(b", ");
        value.to_mut().extend_from_slice(line);
        value
    });
    //= https://www.rfc-editor.org/rfc/rfc9651#section-4.2
    //# If parsing fails, either the entire field value MUST be ignored
    //# (i.e., treated as if the field were not present in the section), or
    //# alternatively the complete HTTP message MUST be treated as
    //# malformed.
    Parser::new(value.as_ref()).parse().ok()
}
