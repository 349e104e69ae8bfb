//! JSON as it comes from outside, cut into pieces without being rebuilt: what goes to Postgres is the client's own text.
//!
//! Stricter than the grammar, where a lax reading would let two readers see different things, or a few bytes become very
//! many: no member twice in an object, at any depth; no zero characters and no halves of surrogate pairs; bounds on depth,
//! on members, and on the size that a number would have when it is written out. Postgres stores `1e131071` in a few bytes
//! and writes it as 131,072 digits.
//! Knows nothing of endpoints. Read next: `members.rs`.

use std::borrow::Cow;

const MAX_DEPTH: usize = 64;
/// Of one object.
const MAX_MEMBERS: usize = 4096;
/// What a double can be, with room.
const MAX_EXPONENT: u32 = 400;
const MAX_NUMBER_BYTES: usize = 400;
/// Of what a client sent, in what it is told.
const MAX_SHOWN_CHARACTERS: usize = 60;

/// One value, as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'t> {
    pub(crate) kind: Kind,
    /// From its first to its last byte; valid JSON.
    pub(crate) text: &'t str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// Where the text stops being acceptable, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) offset: usize,
    pub(crate) why: String,
}

/// A whole text, its outermost layer taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Document<'t> {
    Object(Vec<(Cow<'t, str>, Value<'t>)>),
    Array(Vec<Value<'t>>),
    Other(Value<'t>),
}

/// Reads a text. Of an array, no more than `max_items` items are kept, and one more says that there are more.
pub(crate) fn document(text: &str, max_items: usize) -> Result<Document<'_>, Bad> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.blanks();
    let document = match scanner.peek() {
        Some(b'{') => {
            let mut members = Vec::new();
            scanner.object(1, |name, value| members.push((name, value)))?;
            Document::Object(members)
        }
        Some(b'[') => {
            let mut items = Vec::new();
            scanner.array(1, |item| {
                if items.len() <= max_items {
                    items.push(item);
                }
            })?;
            Document::Array(items)
        }
        _ => Document::Other(scanner.value(0)?),
    };
    scanner.blanks();
    match scanner.peek() {
        None => Ok(document),
        Some(_) => Err(scanner.bad("something follows the end of the JSON text")),
    }
}

impl<'t> Value<'t> {
    /// The text that a string stands for.
    pub(crate) fn string(self) -> Option<Cow<'t, str>> {
        (self.kind == Kind::String).then(|| decoded(self.text))
    }

    /// The members of an object.
    pub(crate) fn members(self) -> Option<Vec<(Cow<'t, str>, Self)>> {
        if self.kind != Kind::Object {
            return None;
        }
        let mut members = Vec::new();
        let mut scanner = Scanner { text: self.text, at: 0 };
        scanner.object(1, |name, value| members.push((name, value))).ok()?;
        Some(members)
    }

    /// The items of an array.
    pub(crate) fn items(self) -> Option<Vec<Self>> {
        if self.kind != Kind::Array {
            return None;
        }
        let mut items = Vec::new();
        Scanner { text: self.text, at: 0 }.array(1, |item| items.push(item)).ok()?;
        Some(items)
    }
}

/// A text of a client, short enough to be shown to it.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn bad(&self, why: impl Into<String>) -> Bad {
        Bad { offset: self.at.min(self.text.len()), why: why.into() }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Bad> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected(&format!("`{}`", char::from(byte))));
        }
        self.at += 1;
        Ok(())
    }

    fn unexpected(&self, wanted: &str) -> Bad {
        match self.peek() {
            Some(_) => self.bad(format!("{wanted} should stand here")),
            None => self.bad(format!("the text ends where {wanted} should stand")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'t>, Bad> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => {
                self.object(depth + 1, |_, _| ())?;
                Kind::Object
            }
            Some(b'[') => {
                self.array(depth + 1, |_| ())?;
                Kind::Array
            }
            Some(b'"') => {
                self.string()?;
                Kind::String
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                Kind::Number
            }
            _ => self.word()?,
        };
        Ok(Value { kind, text: self.text.get(start..self.at).unwrap_or_default() })
    }

    fn word(&mut self) -> Result<Kind, Bad> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (word, kind) in [("null", Kind::Null), ("true", Kind::Bool), ("false", Kind::Bool)] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(kind);
            }
        }
        Err(self.unexpected("a value"))
    }

    fn enter(&mut self, depth: usize, open: u8) -> Result<(), Bad> {
        if depth > MAX_DEPTH {
            return Err(self.bad(format!("more than {MAX_DEPTH} arrays and objects inside of each other")));
        }
        self.expect(open)?;
        self.blanks();
        Ok(())
    }

    /// Behind a member or an item: whether another one follows.
    fn another(&mut self, close: u8) -> Result<bool, Bad> {
        self.blanks();
        if self.peek() == Some(b',') {
            self.at += 1;
            self.blanks();
            return Ok(true);
        }
        self.expect(close)?;
        Ok(false)
    }

    fn array(&mut self, depth: usize, mut each: impl FnMut(Value<'t>)) -> Result<(), Bad> {
        self.enter(depth, b'[')?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            each(self.value(depth)?);
            if !self.another(b']')? {
                return Ok(());
            }
        }
    }

    fn object(&mut self, depth: usize, mut each: impl FnMut(Cow<'t, str>, Value<'t>)) -> Result<(), Bad> {
        self.enter(depth, b'{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut names: Vec<(Cow<'t, str>, usize)> = Vec::new();
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("the name of a member, in double quotes,"));
            }
            self.string()?;
            let name = decoded(self.text.get(start..self.at).unwrap_or_default());
            if names.len() >= MAX_MEMBERS {
                return Err(self.bad(format!("an object has more than {MAX_MEMBERS} members")));
            }
            names.push((name.clone(), start));
            self.blanks();
            self.expect(b':')?;
            self.blanks();
            each(name, self.value(depth)?);
            if !self.another(b'}')? {
                break;
            }
        }
        names.sort_unstable();
        for pair in names.windows(2) {
            if let [(first, _), (second, offset)] = pair
                && first == second
            {
                let why = format!("member \"{}\" is there twice", shown(second));
                return Err(Bad { offset: *offset, why });
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Bad> {
        self.expect(b'"')?;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) => return Err(self.bad("a control character stands in a string as it is")),
                Some(_) => self.at += 1,
                None => return Err(self.unexpected("the end of a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Bad> {
        let start = self.at;
        let bad = |why: &str| Bad { offset: start, why: why.to_owned() };
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match self.unit().ok_or_else(|| bad("not an escape such as \\u00e4"))? {
                0 => return Err(bad("a zero character, which no text in Postgres can have")),
                0xd800..=0xdbff => match self.unit() {
                    Some(0xdc00..=0xdfff) => (),
                    _ => return Err(bad("half of a surrogate pair")),
                },
                0xdc00..=0xdfff => return Err(bad("half of a surrogate pair")),
                _ => (),
            },
            _ => return Err(bad("not an escape that JSON knows")),
        }
        Ok(())
    }

    /// `\uXXXX`, if that is what comes next.
    fn unit(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 6)?.strip_prefix("\\u")?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 6;
        u16::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) -> Result<(), Bad> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            let digits = self.digits()?;
            if digits.parse::<u32>().is_ok_and(|exponent| exponent > MAX_EXPONENT) || digits.len() > 9 {
                return Err(Bad { offset: start, why: "a number of a size that no one can mean".to_owned() });
            }
        }
        if self.at - start > MAX_NUMBER_BYTES {
            return Err(Bad {
                offset: start,
                why: format!("a number of more than {MAX_NUMBER_BYTES} digits"),
            });
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<&'t str, Bad> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.unexpected("a digit"));
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }
}

/// What a string that was scanned stands for.
fn decoded(quoted: &str) -> Cow<'_, str> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    // Scanned: it is a string of JSON.
    Cow::Owned(serde_json::from_str(quoted).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, offset: usize, why: &str) {
        let bad = document(text, 10).unwrap_err();
        assert_eq!(bad.offset, offset, "{text}: {}", bad.why);
        assert!(bad.why.contains(why), "{text}: {}", bad.why);
    }

    #[test]
    fn accepts_what_the_grammar_accepts_and_no_more() {
        let alphabet = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"b\\n\\u00e4\\ud83d\\ude00\"",
            "0",
            "-1.5e+3",
            "01",
            "1.",
            "tru",
            "true",
            "null",
            " ",
            "\"",
            "\\",
            "\u{1}",
            "é",
            "-",
        ];
        // Every text of up to four pieces; of five, every seventh.
        let count = alphabet.len();
        for number in (0..count.pow(4)).chain((count.pow(4)..count.pow(5)).step_by(7)) {
            let mut text = String::new();
            let mut rest = number;
            while rest > 0 {
                text.push_str(alphabet[rest % count]);
                rest /= count;
            }
            let known: Result<serde_json::Value, _> = serde_json::from_str(&text);
            assert_eq!(document(&text, 10).is_ok(), known.is_ok(), "{text:?}: {known:?}");
        }
    }

    #[test]
    fn pieces_are_the_clients_own_text() {
        let text = r#" {"a": 1.50, "b\u0062": {"x": [1, 2]}, "c":"q\"" } "#;
        let Document::Object(members) = document(text, 10).unwrap() else { panic!() };
        let seen: Vec<_> = members.iter().map(|(name, value)| (name.as_ref(), value.text)).collect();
        assert_eq!(seen, [("a", "1.50"), ("bb", r#"{"x": [1, 2]}"#), ("c", r#""q\"""#)]);
        assert_eq!(members[2].1.string().unwrap(), "q\"");
        let Document::Array(items) = document("[1,[2],{}]", 10).unwrap() else { panic!() };
        assert_eq!(items.iter().map(|item| item.text).collect::<Vec<_>>(), ["1", "[2]", "{}"]);
        assert_eq!(items[1].items().unwrap().len(), 1);
    }

    #[test]
    fn of_a_long_array_only_so_much_is_kept() {
        let text = format!("[{}]", vec!["0"; 1000].join(","));
        assert!(matches!(document(&text, 10).unwrap(), Document::Array(items) if items.len() == 11));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        refused(r#"{"a": 1, "b": 2, "a": 3}"#, 17, "\"a\" is there twice");
        refused(r#"{"a": 1, "\u0061": 3}"#, 9, "\"a\" is there twice");
        refused(r#"[{"x": {"a": 1, "a": 1}}]"#, 16, "twice");
        refused(r#""\u0000""#, 1, "zero character");
        refused(r#""\ud800""#, 1, "surrogate");
        refused(r#""\udc00\ud800""#, 1, "surrogate");
        refused("{} {}", 3, "follows");
        refused("", 0, "ends");
        refused("{\"a\": }", 6, "a value should stand here");
        refused("[1 2]", 3, "`]` should stand here");
        refused("{a: 1}", 1, "double quotes");
    }

    #[test]
    fn little_text_never_becomes_very_much() {
        refused(&"[".repeat(100_000), MAX_DEPTH, "inside of each other");
        refused("1e131071", 0, "size");
        refused("[1e-16383]", 1, "size");
        refused("1e99999999999999999999", 0, "size");
        refused(&"1".repeat(MAX_NUMBER_BYTES + 1), 0, "digits");
        assert!(document("[1e308, -2.5E-300]", 10).is_ok());
        let many: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("\"{n}\":0")).collect();
        assert!(document(&format!("{{{}}}", many.join(",")), 10).unwrap_err().why.contains("members"));
    }
}
