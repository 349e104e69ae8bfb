//! Slow statements. Their texts come from everyone who uses the database: constants are left out by pg_stat_statements, and
//! again here where it could not; of commands other than queries and writes, which may have passwords in them, there are only
//! the figures.

use super::rows::Statement;
use super::text::shortened;
use super::{Finding, Kind, Report, Server, Severity, seen};
use crate::catalogue::sql::{block_comment_end, dollar_tag, quoted_end};

/// On average, as the guide has it.
pub(super) const SLOW_MS: f64 = 100.0;
/// Commands whose constants pg_stat_statements replaces.
const SHOWN: [&str; 8] = ["select", "insert", "update", "delete", "merge", "with", "values", "table"];
/// Of each server, as the guide has it.
const MAX_STATEMENTS: usize = 20;

pub(super) fn judge(servers: &[Server], report: &mut Report) {
    for (name, seen) in seen(servers) {
        let (mut said, mut not_shown) = (0, 0);
        for statement in seen.statements.iter().flatten() {
            match shown(&statement.query) {
                Some(text) if said < MAX_STATEMENTS => {
                    said += 1;
                    report.push(slow(statement, &text).on(name));
                }
                Some(_) => (),
                None => not_shown += 1,
            }
        }
        if not_shown > 0 {
            report.notes.push(format!(
                "{name}: {not_shown} other commands take longer than {SLOW_MS} ms on average (COPY, CREATE INDEX, those of other \
                 roles, ...); their texts are not shown, as there may be passwords in them"
            ));
        }
    }
}

fn slow(statement: &Statement, text: &str) -> Finding {
    let Statement { calls, rows, mean_ms, max_ms, total_ms, hit_percent, .. } = statement;
    // Once may have been by hand.
    let severity = if *calls > 1 { Severity::Warning } else { Severity::Info };
    let hits =
        hit_percent.map_or(String::new(), |percent| format!(", {percent:.0} % of its blocks from memory"));
    let what = format!(
        "{mean_ms:.0} ms on average, {max_ms:.0} at most, {:.1} s in all; {calls} calls, {rows} rows{hits}: {}",
        total_ms / 1000.0,
        shortened(text)
    );
    let advice = "with values of every day in place of $1, $2, ..., on that server; then an index, or fewer rows. When it is \
                  better, `SELECT pg_stat_statements_reset();` begins to count anew";
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS) {};", shortened(text));
    Finding::new(severity, Kind::SlowStatement, what, advice).run(explain)
}

/// On one line, without comments and without what is between quotes. `None`: not to be shown.
fn shown(query: &str) -> Option<String> {
    let text = without_constants(query)?;
    let first = text.trim_start_matches(['(', ' ']).split([' ', '(']).next().unwrap_or_default();
    SHOWN.iter().any(|word| first.eq_ignore_ascii_case(word)).then_some(text)
}

fn without_constants(query: &str) -> Option<String> {
    // Whether a backslash hides a quote depends on settings of another time.
    if query.contains('\\') && query.contains('\'') {
        return None;
    }
    let bytes = query.as_bytes();
    let mut text = String::with_capacity(query.len());
    let mut at = 0;
    while let Some(rest) = query.get(at..) {
        let Some(first) = rest.chars().next() else { break };
        let (end, instead) = match (first, rest.as_bytes().get(1)) {
            ('-', Some(b'-')) => (rest.find('\n').map(|length| at + length), " "),
            ('/', Some(b'*')) => (block_comment_end(bytes, at), " "),
            ('\'', _) => (quoted_end(bytes, at, b'\'', false), "'...'"),
            ('"', _) => {
                let end = quoted_end(bytes, at, b'"', false)?;
                (Some(end), query.get(at..end)?)
            }
            ('$', _) => match dollar_tag(bytes, at) {
                Some(tag_end) => {
                    let (tag, body) = (query.get(at..tag_end)?, query.get(tag_end..)?);
                    (body.find(tag).map(|length| tag_end + length + tag.len()), "'...'")
                }
                None => (Some(at + 1), "$"),
            },
            (c, _) if c.is_whitespace() => (Some(at + c.len_utf8()), " "),
            (c, _) => (Some(at + c.len_utf8()), rest.get(..c.len_utf8())?),
        };
        if instead != " " || !text.ends_with(' ') {
            text.push_str(instead);
        }
        // What opens and never closes was cut off, and goes on to the end.
        let Some(end) = end else { break };
        at = end;
    }
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queries_and_writes_are_shown_and_no_constants() {
        let shown = |text| shown(text).unwrap_or_default();
        assert_eq!(
            shown("SELECT  a,\n\t$1 FROM t -- s3cret\nWHERE b = 's3''cret'"),
            "SELECT a, $1 FROM t WHERE b = '...'"
        );
        assert_eq!(
            shown("/* s3cret */ (select \"a'b\" from t where x = $tag$s3cret$tag$ or y = $2)"),
            "(select \"a'b\" from t where x = '...' or y = $2)"
        );
        assert_eq!(shown("UPDATE t SET a = 's3cret that was cut"), "UPDATE t SET a = '...'");
        for hidden in [
            "ALTER ROLE app PASSWORD 's3cret'",
            "CREATE USER MAPPING FOR app SERVER s OPTIONS (password 's3cret')",
            "COPY t FROM PROGRAM 's3cret'",
            "SELECT E'a\\'', 's3cret'",
            "<insufficient privilege>",
            "DO $$ s3cret $$",
            "",
        ] {
            assert_eq!(shown(hidden), "", "{hidden}");
        }
    }
}
