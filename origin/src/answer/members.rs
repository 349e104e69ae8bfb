//! The members of a JSON object, told apart and not read: for `?fields=`.
//!
//! The JSON is that of Postgres, so it is well-formed; what is not is `None`, never a panic.

/// The members of an object at its top level, in order: the name as it is written, without quotes, and the value.
pub(crate) fn members(json: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut found = Vec::new();
    let mut at = skip_blanks(json, 0);
    at = skip_blanks(json, expect(json, at, b'{')?);
    if json.get(at) == Some(&b'}') {
        return Some(found);
    }
    loop {
        let name_end = string_end(json, at)?;
        let name = json.get(at + 1..name_end - 1)?;
        at = skip_blanks(json, expect(json, skip_blanks(json, name_end), b':')?);
        let end = value_end(json, at)?;
        found.push((name, json.get(at..end)?));
        at = skip_blanks(json, end);
        match json.get(at)? {
            b',' => at = skip_blanks(json, at + 1),
            b'}' => return Some(found),
            _ => return None,
        }
    }
}

fn expect(json: &[u8], at: usize, byte: u8) -> Option<usize> {
    (json.get(at) == Some(&byte)).then_some(at + 1)
}

fn skip_blanks(json: &[u8], mut at: usize) -> usize {
    while matches!(json.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

fn string_end(json: &[u8], start: usize) -> Option<usize> {
    let mut at = expect(json, start, b'"')?;
    loop {
        match json.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn value_end(json: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        match json.get(at) {
            Some(b'"') => at = string_end(json, at)?,
            Some(b'{' | b'[') => {
                depth += 1;
                at += 1;
            }
            Some(b'}' | b']') if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            Some(b',') if depth > 0 => at += 1,
            Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') if depth == 0 => {
                return (at > start).then_some(at);
            }
            Some(_) => at += 1,
            None => return None,
        }
        if depth == 0 && matches!(json.get(at - 1), Some(b'"' | b'}' | b']')) {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_apart_whatever_their_values() {
        let json = r#" {"a" : 1, "b":{"a" : [1, {"x" : "}"}], "c" : "\"},"},"d" : "x\\" , "e":[],"f":null,"é":true } "#;
        let found = members(json.as_bytes()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let found: Vec<(String, String)> =
            found.iter().map(|(name, value)| (text(name), text(value))).collect();
        let expected = [
            ("a", "1"),
            ("b", r#"{"a" : [1, {"x" : "}"}], "c" : "\"},"}"#),
            ("d", r#""x\\""#),
            ("e", "[]"),
            ("f", "null"),
            ("é", "true"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(members(b"{}").unwrap(), []);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let good = br#"{"a" : [1, "x"], "b" : {"c" : 2}}"#;
        for cut in 0..good.len() {
            assert_eq!(members(&good[..cut]), None, "{cut}");
        }
        for json in ["1", "[1]", "null", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1 \"b\":2}", "{\"a\\"] {
            assert_eq!(members(json.as_bytes()), None, "{json}");
        }
    }
}
