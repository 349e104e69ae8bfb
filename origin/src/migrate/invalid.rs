//! Indexes that a build left unfinished: `CREATE INDEX CONCURRENTLY` that fails, or whose connection is cut, leaves an index
//! that costs every write and serves no read, and `IF NOT EXISTS` then takes it for one that is there.
//!
//! Knows which index is to be dropped, rebuilt, or left alone; `migrate.rs` says when.

use tokio_postgres::Client;

use super::{Migration, sql};

/// An index that is marked INVALID, and that nobody is building at this moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    /// As SQL writes it, quoted where it must be.
    pub(super) name: String,
    pub(super) table: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cure {
    /// A file that has not been applied makes it.
    MakeAgain,
    Rebuild,
    /// Half of a `REINDEX CONCURRENTLY` that failed; the index itself is another one.
    Drop,
    /// None of the files speaks of it.
    LeaveAlone,
}

impl Invalid {
    /// Partitioned indexes (`I`) are left out: they are invalid until each partition has its own, which is no failure.
    pub(super) async fn all(client: &Client) -> Result<Vec<Self>, tokio_postgres::Error> {
        const SQL: &str = "SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text \
                           FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                           WHERE NOT i.indisvalid AND c.relkind = 'i' AND pg_table_is_visible(c.oid) \
                             AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p \
                                             WHERE p.index_relid = i.indexrelid) \
                           ORDER BY 1";
        let rows = client.query(SQL, &[]).await?;
        rows.iter().map(|row| Ok(Self { name: row.try_get(0)?, table: row.try_get(1)? })).collect()
    }

    pub(super) fn cure(&self, files: &[Migration], open: &[&Migration]) -> Cure {
        let of_reindex = of_reindex(&self.name);
        let is_ours = |name: &str| files.iter().any(|file| mentions(&file.text, bare(name)));
        if open.iter().any(|file| creates(file, &self.name)) {
            Cure::MakeAgain
        } else if is_ours(&self.name) {
            Cure::Rebuild
        } else if of_reindex.is_some_and(is_ours) {
            Cure::Drop
        } else {
            Cure::LeaveAlone
        }
    }
}

/// The name without the suffix that Postgres gives to the halves of a `REINDEX CONCURRENTLY`.
fn of_reindex(name: &str) -> Option<&str> {
    let rest = name.trim_end_matches(|c: char| c.is_ascii_digit());
    rest.strip_suffix("_ccnew").or_else(|| rest.strip_suffix("_ccold"))
}

fn creates(file: &Migration, index: &str) -> bool {
    !file.is_transaction
        && sql::statements(&file.text).is_ok_and(|statements| {
            statements.iter().any(|(_, statement)| {
                created_concurrently(statement).is_some_and(|name| bare(name) == bare(index))
            })
        })
}

/// The name in `CREATE [UNIQUE] INDEX CONCURRENTLY [IF NOT EXISTS] name ON ...`.
pub(super) fn created_concurrently(statement: &str) -> Option<&str> {
    let code = statement.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    let mut words = code.flat_map(str::split_whitespace).peekable();
    let mut is_next = |wanted: &str| words.next_if(|word| word.eq_ignore_ascii_case(wanted)).is_some();
    if !is_next("create") {
        return None;
    }
    is_next("unique");
    if !(is_next("index") && is_next("concurrently")) {
        return None;
    }
    if is_next("if") && !(is_next("not") && is_next("exists")) {
        return None;
    }
    // Without a name Postgres makes one up, and makes up another one next time.
    words.next().filter(|name| !name.eq_ignore_ascii_case("on"))
}

fn bare(name: &str) -> &str {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.trim_matches('"')
}

fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (text.get(..at), text.get(at + name.len()..));
        !before.unwrap_or_default().ends_with(is_part) && !after.unwrap_or_default().starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn file(text: &str, is_transaction: bool) -> Migration {
        Migration {
            number: 1,
            name: "0001_a".into(),
            path: PathBuf::from("0001_a.sql"),
            text: text.into(),
            checksum: String::new(),
            is_transaction,
        }
    }

    #[test]
    fn the_index_of_a_statement_is_found() {
        for (statement, expected) in [
            ("CREATE INDEX CONCURRENTLY a_n ON a (n)", Some("a_n")),
            ("-- why\ncreate unique index concurrently\n  if not exists a_n on a (n)", Some("a_n")),
            ("CREATE INDEX a_n ON a (n)", None),
            ("CREATE INDEX CONCURRENTLY ON a (n)", None),
            ("CREATE TABLE a (n int)", None),
            ("", None),
        ] {
            assert_eq!(created_concurrently(statement), expected, "{statement}");
        }
    }

    #[test]
    fn only_what_the_files_speak_of_is_touched() {
        let files = [
            file("CREATE INDEX a_n ON a (n);", true),
            file("CREATE INDEX CONCURRENTLY \"b_n\" ON b (n);", false),
        ];
        let cure = |name: &str, open: &[&Migration]| {
            Invalid { name: name.into(), table: "a".into() }.cure(&files, open)
        };
        assert_eq!(cure("a_n", &[]), Cure::Rebuild);
        assert_eq!(cure("b_n", &[&files[1]]), Cure::MakeAgain);
        assert_eq!(cure("b_n", &[]), Cure::Rebuild);
        assert_eq!(cure("a_n_ccnew", &[]), Cure::Drop);
        assert_eq!(cure("a_n_ccold12", &[]), Cure::Drop);
        assert_eq!(cure("a_n_other", &[]), Cure::LeaveAlone);
        assert_eq!(cure("a", &[]), Cure::Rebuild);
    }
}
