//! Tags that a route gives its responses: `user:{id}` with the captures of the path filled in.
//!
//! Read next: `config/pattern.rs`, where the captures come from.

use std::fmt;

use super::pattern::{Captures, PathPattern, is_capture_name};
use super::units::quoted;
use super::{BadValue, section};

/// As long as other caches allow a tag to be. Longer ones could come from a path and name nothing.
pub const MAX_TAG_BYTES: usize = 1024;

/// A tag with captures in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTemplate {
    text: Box<str>,
    pieces: Box<[Piece]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    /// Index of a capture of the route's pattern.
    Capture(usize),
}

impl TagTemplate {
    /// Appends the tag for one request to `tag`.
    ///
    /// Captures are raw text of the path, and `/users/42` has many spellings, such as `/users/%34%32`. A purge knows
    /// one: so percent-encoded letters, digits, `-`, `.`, `_` and `~` are decoded here and other encodings written in
    /// upper case, as in RFC 3986, section 6.2.2.
    ///
    /// False if the tag would be longer than [`MAX_TAG_BYTES`]; then `tag` is as it was. No purge can name such a tag,
    /// so a response that should carry it is not to be stored.
    #[must_use]
    pub fn render(&self, captures: &Captures<'_>, tag: &mut String) -> bool {
        let start = tag.len();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => tag.push_str(literal),
                Piece::Capture(index) => push_normalized(captures.at(*index), tag),
            }
            if tag.len() - start > MAX_TAG_BYTES {
                tag.truncate(start);
                return false;
            }
        }
        true
    }

    /// Reads a template for a route whose pattern is `path`.
    pub(super) fn parse(text: &str, path: Option<&PathPattern>) -> Result<Self, BadValue> {
        let names = path.map(PathPattern::names).unwrap_or_default();
        if text.is_empty() {
            return Err(BadValue::new("a tag cannot be empty"));
        }
        if text.len() > MAX_TAG_BYTES {
            return Err(BadValue::new(format!(
                "a tag has at most {MAX_TAG_BYTES} bytes, this has {}",
                text.len()
            )));
        }
        // A comma or a space ends a tag in `Cache-Tag` and `Surrogate-Key`.
        if let Some((offset, c)) = text.char_indices().find(|(_, c)| !c.is_ascii_graphic() || *c == ',') {
            return Err(BadValue::at(
                offset,
                format!("{} is not a tag: {c:?} is not allowed in one", quoted(text)),
            ));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            let (literal, from_brace) = rest.split_at(brace);
            let offset = text.len() - from_brace.len();
            let variable = from_brace.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let Some((name, after)) = variable.filter(|(name, _)| is_capture_name(name)) else {
                return Err(BadValue::at(
                    offset,
                    format!(
                        "{} is not a tag: braces hold the name of a capture, as in \"user:{{id}}\"",
                        quoted(text)
                    ),
                ));
            };
            let Some(index) = names.iter().position(|own| **own == *name) else {
                return Err(BadValue::at(offset, unknown_capture(name, path)));
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.into()));
            }
            pieces.push(Piece::Capture(index));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.into()));
        }
        Ok(Self { text: text.into(), pieces: pieces.into() })
    }
}

fn unknown_capture(name: &str, path: Option<&PathPattern>) -> String {
    match path {
        None => format!("no capture {name:?}: the route's match has no path"),
        Some(path) => {
            let names = path.names().iter().map(|name| &**name);
            format!("no capture {name:?} in \"{path}\"{}", section::suggestion(name, names))
        }
    }
}

fn push_normalized(raw: &str, to: &mut String) {
    let mut rest = raw;
    while let Some(percent) = rest.find('%') {
        let (plain, encoded) = rest.split_at(percent);
        to.push_str(plain);
        let digits = encoded.get(1..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(digits) = digits else {
            // Not an encoding: stays as it came.
            to.push('%');
            rest = &encoded[1..];
            continue;
        };
        match u8::from_str_radix(digits, 16) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => to.push(char::from(byte)),
            Ok(_) | Err(_) => {
                to.push('%');
                to.extend(digits.chars().map(|digit| digit.to_ascii_uppercase()));
            }
        }
        rest = &encoded[3..];
    }
    to.push_str(rest);
}

impl fmt::Display for TagTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::config::Matcher;

    fn render(template: &str, pattern: &str, path: &str) -> Option<String> {
        let matcher = Matcher { path: Some(pattern.parse().unwrap()), ..Matcher::default() };
        let template = TagTemplate::parse(template, matcher.path.as_ref()).unwrap();
        let mut tag = "before ".to_owned();
        let is_whole = template.render(&matcher.matches("", path, &Method::GET).unwrap(), &mut tag);
        let tag = tag.strip_prefix("before ").unwrap().to_owned();
        assert!(is_whole || tag.is_empty());
        is_whole.then_some(tag)
    }

    #[test]
    fn captures_are_filled_in() {
        assert_eq!(render("user:{id}", "/users/{id}", "/users/42").unwrap(), "user:42");
        assert_eq!(render("{b}-{a}", "/{a}/{b}", "/1/2").unwrap(), "2-1");
        assert_eq!(render("all", "/{a}", "/1").unwrap(), "all");
    }

    #[test]
    fn all_spellings_of_a_path_give_one_tag() {
        assert_eq!(render("user:{id}", "/users/{id}", "/users/%34%32").unwrap(), "user:42");
        assert_eq!(render("f:{n}", "/{n}", "/a%2fb%c3%A4%7e").unwrap(), "f:a%2Fb%C3%A4~");
        assert_eq!(render("f:{n}", "/{n}", "/%").unwrap(), "f:%");
        assert_eq!(render("f:{n}", "/{n}", "/%4%zz%é%2").unwrap(), "f:%4%zz%é%2");
    }

    #[test]
    fn a_tag_that_no_purge_could_name_is_not_made() {
        let longest = "x".repeat(MAX_TAG_BYTES - 2);
        assert!(render("u:{id}", "/{id}", &format!("/{longest}")).is_some());
        assert_eq!(render("u:{id}", "/{id}", &format!("/{longest}x")), None);
        assert_eq!(render("u:{id}:tail", "/{id}", &format!("/{longest}")), None);
    }

    #[test]
    fn what_is_no_template_is_refused_at_its_place() {
        let pattern: PathPattern = "/users/{id}".parse().unwrap();
        for (text, offset, part) in [
            ("user:{idd}", Some(5), "did you mean \"id\""),
            ("user:{zebra}", Some(5), "no capture \"zebra\" in \"/users/{id}\""),
            ("user:{", Some(5), "braces"),
            ("user:}", Some(5), "braces"),
            ("user:{}", Some(5), "braces"),
            ("user:{*id}", Some(5), "braces"),
            ("a,b", Some(1), "','"),
            ("a b", Some(1), "' '"),
            ("", None, "empty"),
        ] {
            let bad = TagTemplate::parse(text, Some(&pattern)).unwrap_err();
            assert!(bad.to_string().contains(part), "{text}: {bad}");
            assert_eq!(bad.offset(), offset, "{text}");
        }
        assert!(TagTemplate::parse("user:{id}", None).unwrap_err().to_string().contains("no path"));
    }
}
