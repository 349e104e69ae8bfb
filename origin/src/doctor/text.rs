//! Names of other people's making, in our sentences and statements: quoted, bounded, and harmless to a terminal.

use std::fmt::Write as _;

/// Of a name or a statement; what is longer is cut.
const MAX_SHOWN: usize = 400;

/// A terminal takes control characters for orders, and marks of direction make a text look like another one.
pub(super) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// One line for a terminal.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) { clean.extend(c.escape_unicode()) } else { clean.push(c) }
    }
    clean
}

/// JSON, for a terminal: what the format leaves as it is. Harmful characters are in strings only, except for ends of lines.
pub(crate) fn clean_json(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if c == '\n' || !is_harmful(c) {
            clean.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut units) {
            // Writing to a String cannot fail.
            let _ = write!(clean, "\\u{unit:04x}");
        }
    }
    clean
}

/// A name in SQL. Always quoted: which words need it differs from version to version.
pub(super) fn ident(name: &str) -> String {
    if !name.chars().any(is_harmful) {
        return format!("\"{}\"", name.replace('"', "\"\""));
    }
    let mut quoted = "U&\"".to_owned();
    for c in name.chars() {
        match c {
            '"' => quoted.push_str("\"\""),
            '\\' => quoted.push_str("\\\\"),
            c if is_harmful(c) => {
                let _ = write!(quoted, "\\+{:06x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

pub(super) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{} ...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

pub(super) fn bytes(count: i64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_never_reach_a_terminal_raw() {
        assert_eq!(ident("weird \"\" name"), r#""weird """" name""#);
        assert_eq!(ident("a\u{1b}[31m\\\"b"), r#"U&"a\+00001b[31m\\""b""#);
        assert_eq!(clean("a\u{1b}]0;b\u{202e}\n"), r"a\u{1b}]0;b\u{202e}\u{a}");
        assert_eq!(clean_json("{\n\"a\": \"\u{9b}1m\u{202e}\"}"), "{\n\"a\": \"\\u009b1m\\u202e\"}");
        assert_eq!(literal("it's"), "'it''s'");
    }

    #[test]
    fn sizes_are_read_by_people() {
        assert_eq!((bytes(0).as_str(), bytes(8192).as_str()), ("0.0 kB", "8.0 kB"));
        assert_eq!(bytes(3 * 1024 * 1024 * 1024), "3.0 GB");
    }
}
