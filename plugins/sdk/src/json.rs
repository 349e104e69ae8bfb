//! JSON, as settings, case files and header fields have it: a value, its reader and its writer.
//!
//! A whole library for it is more than most policies are: it would double the size of their components.

use std::{fmt, iter::Peekable, str::CharIndices};

/// A JSON value (RFC 8259).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    /// In the order of their names, each of which is there once.
    Object(Vec<(String, Json)>),
}

/// Deeper ones are refused: reading them takes stack.
const DEPTH_MAX: usize = 64;

impl Json {
    /// `Err` says what is wrong and where.
    pub fn read(text: &str) -> Result<Json, String> {
        let mut reader = Reader { text, characters: text.char_indices().peekable() };
        match reader.document() {
            Ok(value) => Ok(value),
            Err(what) => {
                let at = reader.characters.peek().map_or(text.len(), |(at, _)| *at);
                let before = text.get(..at).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                Err(["not JSON: ", what, " at line ", &line.to_string(), ", column ", &column.to_string()]
                    .concat())
            }
        }
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        let at = members.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        Some(&members[at].1)
    }
}

struct Reader<'t> {
    text: &'t str,
    characters: Peekable<CharIndices<'t>>,
}

type Read<T> = Result<T, &'static str>;

impl Reader<'_> {
    fn document(&mut self) -> Read<Json> {
        let value = self.value(DEPTH_MAX)?;
        self.skip_blanks();
        if self.peek().is_some() { Err("something behind the end") } else { Ok(value) }
    }

    fn peek(&mut self) -> Option<char> {
        self.characters.peek().map(|(_, character)| *character)
    }

    fn skip_blanks(&mut self) {
        while self
            .characters
            .next_if(|(_, character)| matches!(character, ' ' | '\t' | '\n' | '\r'))
            .is_some()
        {}
    }

    /// Whether it comes next; then it is taken.
    fn takes(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        self.characters.next_if(|(_, character)| *character == wanted).is_some()
    }

    fn value(&mut self, depth_left: usize) -> Read<Json> {
        self.skip_blanks();
        let depth_left = depth_left.checked_sub(1).ok_or("too deep")?;
        match self.peek() {
            Some('{') => self.object(depth_left),
            Some('[') => self.list(depth_left),
            Some('"') => self.string().map(Json::Text),
            Some('-' | '0'..='9') => self.number(),
            Some('a'..='z') => match self.run(|character| character.is_ascii_lowercase()) {
                "null" => Ok(Json::Null),
                "true" => Ok(Json::Bool(true)),
                "false" => Ok(Json::Bool(false)),
                _ => Err("a word that is not one of JSON"),
            },
            Some(_) => Err("a character that begins no value"),
            None => Err("the end where a value should be"),
        }
    }

    fn object(&mut self, depth_left: usize) -> Read<Json> {
        self.takes('{');
        let mut members: Vec<(String, Json)> = Vec::new();
        if self.takes('}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_blanks();
            let name = self.string()?;
            if !self.takes(':') {
                return Err("no colon behind a name");
            }
            // Two readers could take two of one name for different ones.
            match members.binary_search_by(|(known, _)| known.cmp(&name)) {
                Ok(_) => return Err("a name that is there twice"),
                Err(at) => {
                    let value = self.value(depth_left)?;
                    members.insert(at, (name, value));
                }
            }
            if !self.takes(',') {
                break;
            }
        }
        if self.takes('}') { Ok(Json::Object(members)) } else { Err("no comma and no }") }
    }

    fn list(&mut self, depth_left: usize) -> Read<Json> {
        self.takes('[');
        let mut elements = Vec::new();
        if self.takes(']') {
            return Ok(Json::List(elements));
        }
        loop {
            elements.push(self.value(depth_left)?);
            if !self.takes(',') {
                break;
            }
        }
        if self.takes(']') { Ok(Json::List(elements)) } else { Err("no comma and no ]") }
    }

    fn string(&mut self) -> Read<String> {
        if self.characters.next_if(|(_, character)| *character == '"').is_none() {
            return Err("no \" where a text should begin");
        }
        let mut text = String::new();
        loop {
            text.push_str(self.run(|character| !matches!(character, '"' | '\\' | '\0'..='\x1f')));
            match self.characters.next() {
                Some((_, '"')) => return Ok(text),
                Some((_, '\\')) => text.push(self.escaped()?),
                Some(_) => return Err("a control character in a text"),
                None => return Err("the end within a text"),
            }
        }
    }

    fn escaped(&mut self) -> Read<char> {
        Ok(match self.characters.next() {
            Some((_, itself @ ('"' | '\\' | '/'))) => itself,
            Some((_, 'b')) => '\u{8}',
            Some((_, 'f')) => '\u{c}',
            Some((_, 'n')) => '\n',
            Some((_, 'r')) => '\r',
            Some((_, 't')) => '\t',
            Some((_, 'u')) => {
                let first = self.unit()?;
                let code = if (0xd800..0xdc00).contains(&first) {
                    let is_pair = self.characters.next_if(|(_, it)| *it == '\\').is_some()
                        && self.characters.next_if(|(_, it)| *it == 'u').is_some();
                    // Anything but the second half of a pair makes it one that is none.
                    let second = if is_pair { self.unit()? } else { 0 };
                    let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
                    low.map_or(first, |low| 0x1_0000 + ((first - 0xd800) << 10) + low)
                } else {
                    first
                };
                char::from_u32(code).ok_or("half of a surrogate pair")?
            }
            _ => return Err("an escape that is not one of JSON"),
        })
    }

    fn unit(&mut self) -> Read<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.characters.next().and_then(|(_, digit)| digit.to_digit(16));
            unit = unit * 16 + digit.ok_or("not four hexadecimal digits behind \\u")?;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Read<Json> {
        let written = self.run(|character| matches!(character, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
        if is_number(written) { Ok(Json::Number(written.to_owned())) } else { Err("a number that is none") }
    }

    /// As far as they are like this.
    fn run(&mut self, is_like_this: impl Fn(char) -> bool) -> &str {
        let begin = self.characters.peek().map_or(self.text.len(), |(at, _)| *at);
        while self.characters.next_if(|(_, character)| is_like_this(*character)).is_some() {}
        let end = self.characters.peek().map_or(self.text.len(), |(at, _)| *at);
        self.text.get(begin..end).unwrap_or_default()
    }
}

/// RFC 8259 section 6.
fn is_number(written: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = written.strip_prefix('-').unwrap_or(written);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    is_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(is_digits)
}

/// On one line, without blanks.
impl fmt::Display for Json {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => out.write_str("null"),
            Json::Bool(is_true) => out.write_str(if *is_true { "true" } else { "false" }),
            Json::Number(written) => out.write_str(written),
            Json::Text(text) => out.write_str(&quoted(text)),
            Json::List(elements) => {
                out.write_str("[")?;
                for (number, element) in elements.iter().enumerate() {
                    out.write_str(if number == 0 { "" } else { "," })?;
                    element.fmt(out)?;
                }
                out.write_str("]")
            }
            Json::Object(members) => {
                out.write_str("{")?;
                for (number, (name, value)) in members.iter().enumerate() {
                    out.write_str(if number == 0 { "" } else { "," })?;
                    out.write_str(&quoted(name))?;
                    out.write_str(":")?;
                    value.fmt(out)?;
                }
                out.write_str("}")
            }
        }
    }
}

/// A text as it stands in JSON.
pub(crate) fn quoted(text: &str) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\0'..='\x1f' => {
                let code = character as usize;
                quoted.push_str("\\u00");
                quoted.extend([DIGITS[code >> 4], DIGITS[code & 15]]);
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[track_caller]
    fn same(text: &str) {
        assert_eq!(Json::read(text).unwrap().to_string(), text);
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = Json::read(text).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }

    #[test]
    fn what_is_read_is_written_again() {
        for text in ["null", "true", "[]", "{}", "-0.5e+10", "0", r#"{"a":[1,{"b":"c"}],"d":false}"#] {
            same(text);
        }
        same(r#""\"\\ \n\u0001 \u001f ä €""#);
        assert_eq!(
            Json::read(" { \"b\" : 1 ,\n\t\"a\" : [ ] } \r\n").unwrap().to_string(),
            r#"{"a":[],"b":1}"#
        );
        assert_eq!(
            Json::read(r#""\/\b\f\r\t\u00e4\ud83d\ude00""#).unwrap(),
            Json::Text("/\u{8}\u{c}\r\t\u{e4}\u{1f600}".into())
        );
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        refused("", "the end where a value should be at line 1, column 1");
        refused("{\n  \"a\" 1", "no colon behind a name at line 2, column 7");
        refused("[1 2]", "no comma and no ]");
        refused("[1,]", "a character that begins no value");
        refused("{\"a\":1,}", "where a text should begin");
        refused("{\"a\":1,\"a\":1}", "a name that is there twice");
        refused("nul", "a word that is not one of JSON");
        refused("1 1", "something behind the end");
        for number in ["01", "1.", ".5", "-", "1e", "--1", "+1", "1.2.3", "1e5e5"] {
            assert!(Json::read(number).is_err(), "{number}");
        }
        refused("\"a\nb\"", "a control character in a text");
        refused("\"a", "the end within a text");
        refused(r#""\x""#, "an escape that is not one of JSON");
        refused(r#""\u12g4""#, "not four hexadecimal digits");
        for half in [r#""\ud83d""#, r#""\ud83d\u0041""#, r#""\ude00""#, r#""\ud83dx""#] {
            refused(half, "half of a surrogate pair");
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::read(&deep(64)).is_ok());
        refused(&deep(65), "too deep");
        refused(&"[".repeat(100_000), "too deep");
    }

    #[test]
    fn members_are_found_by_name() {
        let value = Json::read(r#"{ "b": 1, "a": { "c": "x" } }"#).unwrap();
        assert_eq!(value.get("a").and_then(|a| a.get("c")), Some(&Json::Text("x".to_owned())));
        assert_eq!(value.get("d"), None);
        assert_eq!(Json::Null.get("d"), None);
    }
}
