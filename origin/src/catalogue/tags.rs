//! Tag templates: `resource:{id}`, filled in from parameters and columns.

use std::fmt::{self, Write as _};

use crate::faults::Position;

/// As long as caches allow a tag to be.
pub(crate) const MAX_TAG_BYTES: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagTemplate {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) position: Position,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(String),
    /// The name of a parameter or of a column.
    Value(String),
}

impl TagTemplate {
    /// On failure: the byte in `text` that is to blame, and why.
    pub(super) fn parse(text: &str, position: Position) -> Result<Self, (usize, String)> {
        if text.len() > MAX_TAG_BYTES {
            return Err((0, format!("a tag has at most {MAX_TAG_BYTES} bytes")));
        }
        if let Some((offset, c)) = text.char_indices().find(|(_, c)| !c.is_ascii_graphic() || *c == ',') {
            return Err((offset, format!("{c:?} cannot be part of a tag; tags are separated by blanks")));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            let (literal, from_brace) = rest.split_at(brace);
            let offset = text.len() - from_brace.len();
            let variable = from_brace.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let Some((name, after)) = variable.filter(|(name, _)| super::sql::is_name(name)) else {
                let why = format!(
                    "tag `{text}`: braces hold the name of a parameter or a column, as in `resource:{{id}}`"
                );
                return Err((offset, why));
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            pieces.push(Piece::Value(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Self { pieces, position })
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(name) => Some(name.as_str()),
            Piece::Literal(_) => None,
        })
    }
}

impl fmt::Display for TagTemplate {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Literal(literal) => f.write_str(literal),
            Piece::Value(name) => write!(f, "{{{name}}}"),
        })
    }
}

/// Appends a value to a tag, so that no value can end the tag or look like another one.
pub(crate) fn push_escaped(value: &str, tag: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b',' && byte != b'%' {
            tag.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(tag, "%{byte:02X}");
        }
    }
}
