//! The elements of an array as Postgres reads it: the other way of `array`.

/// Of one dimension; NULLs are left out.
pub(crate) fn elements(array: &str) -> Vec<String> {
    let inner = array.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    let mut elements = Vec::new();
    let (mut element, mut is_quoted, mut is_open) = (String::new(), false, false);
    let mut end = |element: &mut String, is_quoted: &mut bool| {
        let text = std::mem::take(element);
        // Blanks around what has no quotes are none of it.
        let text = if *is_quoted { text } else { text.trim().to_owned() };
        if *is_quoted || !(text.is_empty() || text.eq_ignore_ascii_case("null")) {
            elements.push(text);
        }
        *is_quoted = false;
    };
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => element.extend(characters.next()),
            '"' => {
                // Blanks in front of the quote are none of it.
                if !is_quoted && element.trim().is_empty() {
                    element.clear();
                }
                (is_open, is_quoted) = (!is_open, true);
            }
            ',' if !is_open => end(&mut element, &mut is_quoted),
            // Blanks between a quote and a comma.
            c if is_quoted && !is_open && c.is_whitespace() => (),
            c => element.push(c),
        }
    }
    end(&mut element, &mut is_quoted);
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_what_postgres_reads() {
        for (array, expected) in [
            ("{}", vec![]),
            ("", vec![]),
            (r#"{"a","b,c"}"#, vec!["a", "b,c"]),
            (r#"{"\"},{\"","\\","NULL",""}"#, vec!["\"},{\"", "\\", "NULL", ""]),
            ("{1, 2,NULL,3}", vec!["1", "2", "3"]),
            (r#"{ "a" , b }"#, vec!["a", "b"]),
        ] {
            assert_eq!(elements(array), expected, "{array}");
        }
    }
}
