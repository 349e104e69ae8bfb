//! From the SQL of a query file to statements: `:name` becomes `$n`, and each combination of optional lines a variant.
//!
//! The lexer knows as much of SQL as it takes to tell a parameter from a colon in a string, a quoted name, a dollar quote,
//! a comment (they nest), a cast or a named argument. Whatever it does not know it copies.
//! Read next: `catalogue/prepare.rs`.

use crate::faults::Position;

/// Each doubles the number of statements that are prepared on every connection.
pub(super) const MAX_CONDITIONS: usize = 4;

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variant {
    /// With `$1`, `$2`, ...
    pub(crate) sql: String,
    /// What is bound: `binds[0]` to `$1`.
    pub(crate) binds: Vec<Bind>,
    /// Pairs of byte offsets: from the first one in `sql` on, text is that from the second one in the file on.
    origins: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bind {
    /// Index of a parameter.
    Param(usize),
    /// Whether the parameter with this index is given, if only as null.
    Has(usize),
    /// Index of a cursor column, of the row that the page comes after.
    After(usize),
    /// The same of the row that the page comes before.
    Before(usize),
    /// How many rows are before the page.
    Offset,
    /// The version that the request wants to change.
    IfMatch,
}

/// What takes the place of a `:name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    Bound(Bind),
    /// A number of the header, written out.
    Constant(i64),
}

/// A `:name` in the text, from the colon on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference<'t> {
    pub(super) offset: usize,
    pub(super) name: &'t str,
}

/// The lines that end in `-- when NAME` or `-- unless NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OptionalLine<'t> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) name: &'t str,
    pub(super) name_offset: usize,
    /// `unless`.
    pub(super) is_negated: bool,
}

/// What the lexer finds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan<'t> {
    pub(super) references: Vec<Reference<'t>>,
    pub(super) optional_lines: Vec<OptionalLine<'t>>,
    /// Where the semicolons are.
    pub(super) semicolons: Vec<usize>,
}

/// The statements of a text, each with where it begins. On failure: where something opens that never closes, and what.
pub(crate) fn statements(text: &str) -> Result<Vec<(usize, &str)>, (usize, &'static str)> {
    let mut found = Vec::new();
    let mut start = 0;
    for end in scan(text, 0)?.semicolons.into_iter().chain([text.len()]) {
        let statement = text.get(start..end).unwrap_or_default();
        let trimmed = statement.trim_start();
        // Comments behind the last semicolon are no statement.
        if trimmed.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--")) {
            found.push((end - trimmed.len(), trimmed));
        }
        start = end + 1;
    }
    Ok(found)
}

/// Reads `text` from `from` on; offsets are those of `text`. On failure: where something opens that never closes, and what.
pub(super) fn scan(text: &str, from: usize) -> Result<Scan<'_>, (usize, &'static str)> {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    let mut found = Scan::default();
    let mut i = from;
    while i < bytes.len() {
        let start = i;
        i = match (at(i), at(i + 1)) {
            (b'-', b'-') => {
                let end =
                    text.get(i..).and_then(|rest| rest.find('\n')).map_or(text.len(), |length| i + length);
                if let Some((name, name_offset, is_negated)) = when(text, i + 2, end) {
                    let line_start =
                        text.get(..i).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
                    found.optional_lines.push(OptionalLine {
                        start: line_start.max(from),
                        end,
                        name,
                        name_offset,
                        is_negated,
                    });
                }
                end
            }
            (b'/', b'*') => block_comment_end(bytes, i).ok_or((start, "a comment that is never closed"))?,
            (b'\'', _) => {
                // In E'...' a backslash escapes the quote.
                let escapes =
                    i > from && at(i - 1).eq_ignore_ascii_case(&b'e') && (i < 2 || !is_word(at(i - 2)));
                quoted_end(bytes, i, b'\'', escapes).ok_or((start, "a string that is never closed"))?
            }
            (b'"', _) => {
                quoted_end(bytes, i, b'"', false).ok_or((start, "a quoted name that is never closed"))?
            }
            (b'$', _) if i == from || !is_word(at(i - 1)) => match dollar_tag(bytes, i) {
                Some(tag_end) => {
                    let tag = text.get(i..tag_end).unwrap_or_default();
                    let rest = text.get(tag_end..).unwrap_or_default();
                    tag_end
                        + rest.find(tag).ok_or((start, "a dollar quote that is never closed"))?
                        + tag.len()
                }
                None => i + 1,
            },
            (b';', _) => {
                found.semicolons.push(i);
                i + 1
            }
            (b':', b':' | b'=') => i + 2,
            (b':', b'a'..=b'z' | b'_') if i == from || !is_word(at(i - 1)) && at(i - 1) != b']' => {
                let mut end = i + 1;
                while is_word(at(end)) {
                    end += 1;
                }
                found
                    .references
                    .push(Reference { offset: i, name: text.get(i + 1..end).unwrap_or_default() });
                end
            }
            _ => i + 1,
        };
    }
    Ok(found)
}

/// The name after `-- when` or `-- unless`, if the comment is nothing else.
fn when(text: &str, start: usize, end: usize) -> Option<(&str, usize, bool)> {
    let comment = text.get(start..end)?.trim_start();
    let (word, rest) = comment.split_once(' ')?;
    let is_negated = match word {
        "when" => false,
        "unless" => true,
        _ => return None,
    };
    let rest = rest.trim_start();
    Some((rest.trim_end(), end - rest.len(), is_negated))
}

pub(crate) fn block_comment_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut i = start;
    while let Some(pair) = bytes.get(i..i + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" if depth == 1 => return Some(i + 2),
            b"*/" => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
    }
    None
}

pub(crate) fn quoted_end(bytes: &[u8], start: usize, quote: u8, escapes: bool) -> Option<usize> {
    let mut i = start + 1;
    loop {
        match bytes.get(i)? {
            b'\\' if escapes => i += 2,
            byte if *byte == quote => {
                if bytes.get(i + 1) != Some(&quote) {
                    return Some(i + 1);
                }
                i += 2;
            }
            _ => i += 1,
        }
    }
}

/// The end of `$tag$` or `$$`; `$1` is none.
pub(crate) fn dollar_tag(bytes: &[u8], start: usize) -> Option<usize> {
    let mut i = start + 1;
    loop {
        match bytes.get(i)? {
            b'$' => return Some(i + 1),
            byte if is_word(*byte) && !(i == start + 1 && byte.is_ascii_digit()) => i += 1,
            _ => return None,
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// What parameters, columns and route variables may be called.
pub(crate) fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=63).contains(&name.len()) && name.bytes().all(is_part) && !name.as_bytes()[0].is_ascii_digit()
}

impl Variant {
    /// The text from `from` to `end` without the lines that `is_left_out` says, with `:name` rewritten as `bind` says.
    pub(super) fn build(
        text: &str,
        from: usize,
        end: usize,
        scan: &Scan<'_>,
        is_left_out: impl Fn(&OptionalLine<'_>) -> bool,
        put: impl Fn(&str) -> Option<Put>,
    ) -> Self {
        let mut variant = Self { sql: String::new(), binds: Vec::new(), origins: Vec::new() };
        // Both kinds of cut in one list: where, until where, and what takes its place.
        let left_out: Vec<_> = scan.optional_lines.iter().filter(|line| is_left_out(line)).collect();
        let mut cuts: Vec<(usize, usize, Option<Put>)> =
            left_out.iter().map(|line| (line.start, line.end, None)).collect();
        for reference in &scan.references {
            if !left_out.iter().any(|line| (line.start..line.end).contains(&reference.offset)) {
                cuts.push((
                    reference.offset,
                    reference.offset + 1 + reference.name.len(),
                    put(reference.name),
                ));
            }
        }
        cuts.sort_by_key(|(start, ..)| *start);
        let mut copied = from;
        for (cut_start, cut_end, put) in cuts {
            variant.copy(text, copied, cut_start.min(end));
            copied = cut_end;
            let Some(put) = put else { continue };
            variant.origins.push((variant.sql.len(), cut_start));
            let bind = match put {
                Put::Bound(bind) => bind,
                Put::Constant(number) => {
                    variant.sql.push_str(&number.to_string());
                    continue;
                }
            };
            let number = variant.binds.iter().position(|known| *known == bind).unwrap_or_else(|| {
                variant.binds.push(bind);
                variant.binds.len() - 1
            });
            variant.sql.push_str(&format!("${}", number + 1));
        }
        variant.copy(text, copied, end);
        variant
    }

    fn copy(&mut self, text: &str, start: usize, end: usize) {
        self.origins.push((self.sql.len(), start));
        self.sql.push_str(text.get(start..end).unwrap_or_default());
    }

    /// Where in the file, as an offset, something of the statement comes from.
    fn origin(&self, offset: usize) -> usize {
        let origin = self.origins.iter().rev().find(|(start, _)| *start <= offset);
        origin.map_or(0, |(start, in_file)| in_file + offset - start)
    }

    /// Where in the file `$number` has its name for the first time.
    fn reference(&self, number: usize) -> Option<usize> {
        let text = format!("${number}");
        let is_whole = |at: usize| !self.sql.as_bytes().get(at + text.len()).is_some_and(u8::is_ascii_digit);
        // Only what takes the place of a `:name` begins a piece: `$1` in a string does not.
        let begins = |at: usize| self.origins.iter().any(|(start, _)| *start == at);
        let (at, _) = self.sql.match_indices(&text).find(|(at, _)| is_whole(*at) && begins(*at))?;
        Some(self.origin(at))
    }

    /// The place of `$number` in the file.
    pub(super) fn place_of(&self, file_text: &str, number: usize) -> Option<Position> {
        self.reference(number).map(|offset| Position::of(file_text, offset))
    }

    /// What the file calls `$number`: `:name`.
    pub(super) fn name_of<'t>(&self, file_text: &'t str, number: usize) -> Option<&'t str> {
        let rest = file_text.get(self.reference(number)?..)?;
        let end =
            rest.bytes().skip(1).position(|byte| !is_word(byte)).map_or(rest.len(), |length| length + 1);
        rest.get(..end).filter(|name| name.starts_with(':'))
    }

    /// The place in the file of the nth character (from 1) of the statement, as Postgres counts.
    pub(crate) fn position(&self, file_text: &str, nth_character: u32) -> Position {
        let nth = usize::try_from(nth_character).unwrap_or(usize::MAX).saturating_sub(1);
        let offset = self.sql.char_indices().nth(nth).map_or(self.sql.len(), |(offset, _)| offset);
        Position::of(file_text, self.origin(offset).min(file_text.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: &[&str]) {
        let found = scan(sql, 0).unwrap();
        let names: Vec<_> = found.references.iter().map(|reference| reference.name).collect();
        assert_eq!(names, expected, "{sql}");
    }

    #[test]
    fn parameters_are_found_where_postgres_would_read_code() {
        check("SELECT :a, :b_2 + :a", &["a", "b_2", "a"]);
        check("(:a)", &["a"]);
        check("a=:a", &["a"]);
        check(":a::int", &["a"]);
        check("'x'::text || :a", &["a"]);
        check("f(a := :a, b => :b)", &["a", "b"]);
        check("-- :no\n:a", &["a"]);
        check("/* :no /* :no */ :no */ :a", &["a"]);
        check("'it''s :no' || :a", &["a"]);
        check("'\\' || :a || ' :no'", &["a"]);
        check("E'\\' :no' || :a", &["a"]);
        check("e'\\\\' || :a", &["a"]);
        check("name'\\' || :a || ''", &["a"]);
        check("\"col:no\" \":no\"\":no\" :a", &["a"]);
        check("$$ :no $$ :a", &["a"]);
        check("$q$ :no $$ :no $q$ :a", &["a"]);
        check("$1 :a $2", &["a"]);
        check("a$b$ :a", &["a"]);
        check("x[1:2] x[lo:hi] x[lo : :hi]", &["hi"]);
        check("12:30 :é", &[]);
        check("U&'d\\0061' :a", &["a"]);
        check("é'x' :a", &["a"]);
    }

    #[test]
    fn what_never_closes_is_found_where_it_opens() {
        for (sql, offset) in
            [("a 'b", 2), ("a \"b", 2), ("a $$b", 2), ("a $x$ $$", 2), ("a /* /* */", 2), ("E'\\'", 1)]
        {
            assert_eq!(scan(sql, 0).unwrap_err().0, offset, "{sql}");
        }
    }

    #[test]
    fn statements_end_where_postgres_would_end_them() {
        let text = "-- a; b\nCREATE TABLE t (c text DEFAULT ';');\n DO $$ x; y $$;\n\n-- c;\n";
        let found = statements(text).unwrap();
        let expected = ["-- a; b\nCREATE TABLE t (c text DEFAULT ';')", "DO $$ x; y $$"];
        assert_eq!(found.iter().map(|(_, statement)| *statement).collect::<Vec<_>>(), expected);
        for (start, statement) in found {
            assert!(text[start..].starts_with(statement));
        }
    }

    #[test]
    fn a_variant_keeps_the_places_of_the_file() {
        let text = "é SELECT :a\nAND x = :b -- when b\nAND :a < :c";
        let scan = scan(text, 0).unwrap();
        let bind = |name: &str| Some(Put::Bound(Bind::Param(usize::from(name.as_bytes()[0] - b'a'))));
        let whole = Variant::build(text, 0, text.len(), &scan, |_| false, bind);
        assert_eq!(whole.sql, "é SELECT $1\nAND x = $2 -- when b\nAND $1 < $3");
        assert_eq!(whole.binds, [Bind::Param(0), Bind::Param(1), Bind::Param(2)]);
        let without = Variant::build(text, 0, text.len(), &scan, |line| line.name == "b", bind);
        assert_eq!(without.sql, "é SELECT $1\n\nAND $1 < $2");
        assert_eq!(without.binds, [Bind::Param(0), Bind::Param(2)]);
        // The second parameter of the short statement is the `:c` of the third line.
        let nth = u32::try_from(without.sql.chars().count() - 1).unwrap();
        assert_eq!(without.position(text, nth), Position { line: 3, column: 10 });
        assert_eq!(without.position(text, 3), Position { line: 1, column: 3 });
        assert_eq!(without.position(text, u32::MAX).line, 3);
    }
}
