//! Which tables an answer depends on, and how a changed row finds it: `table members: team:{team_id.public_id}:members`.
//!
//! A template here is filled in from a row of the table, one of `tags` from what was asked and answered; where both give the same
//! bytes the change reaches the answer. Does not know tables: that names and columns are there is for `plan/tables.rs`.

use std::collections::BTreeMap;
use std::fmt;

use super::tags::{MAX_TAG_BYTES, Piece, TagTemplate, push_escaped};
use crate::faults::Position;

/// What Postgres allows a name to have.
const MAX_NAME_BYTES: usize = 63;

/// A table that an endpoint's statement reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableRule {
    /// As declared; a table outside of `public` has its schema in front.
    pub(crate) name: String,
    /// `table:NAME`.
    pub(crate) tag: String,
    pub(crate) position: Position,
    /// What a change of a row makes invalid. Empty: `ttl`, nothing, answers are left to their lifetime.
    pub(crate) templates: Vec<(RowTemplate, Position)>,
}

/// A tag that is made of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowTemplate {
    pub(crate) pieces: Vec<RowPiece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowPiece {
    Literal(String),
    Column(String),
    /// `{column.other}`: of the row that the foreign key `column` names, its column `other`.
    Through {
        column: String,
        other: String,
    },
}

/// The tags of a changed row, by the name of its table as `table_name` writes it. Of all query files together.
pub(crate) type Mapping = BTreeMap<String, Vec<RowTemplate>>;

/// What a table is called in a header, in the mapping and in `table:NAME`.
pub(crate) fn table_name(schema: &str, name: &str) -> String {
    if schema == "public" { name.to_owned() } else { format!("{schema}.{name}") }
}

/// The tag of what cannot be told row by row: TRUNCATE, a change of the table itself, too many rows.
pub(crate) fn table_tag(name: &str) -> String {
    let mut tag = "table:".to_owned();
    push_escaped(name, &mut tag);
    tag
}

/// Whether a text names a table: `name` or `schema.name`, as it is in the catalogue, without quotes.
pub(crate) fn is_table(text: &str) -> bool {
    let is_part = |part: &str| {
        let is_plain = |c: char| {
            (c == ' ' || !c.is_whitespace()) && !c.is_control() && !matches!(c, '"' | '.' | '{' | '}')
        };
        (1..=MAX_NAME_BYTES).contains(&part.len()) && part.trim() == part && part.chars().all(is_plain)
    };
    match text.split_once('.') {
        Some((schema, name)) => is_part(schema) && is_part(name),
        None => is_part(text),
    }
}

impl TableRule {
    pub(super) fn new(declared: &str, position: Position) -> Self {
        let name = declared.strip_prefix("public.").unwrap_or(declared).to_owned();
        Self { tag: table_tag(&name), name, position, templates: Vec::new() }
    }

    /// Whether changes of the table are knowingly left to the lifetime of answers.
    pub(crate) fn is_ttl(&self) -> bool {
        self.templates.is_empty()
    }
}

impl RowTemplate {
    /// On failure: the byte in `text` that is to blame, and why.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
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
            let Some((piece, after)) = variable.and_then(|(name, after)| Some((column(name)?, after))) else {
                let why = format!(
                    "tag `{text}`: braces hold a column of the table, as in `user:{{id}}`, or one of the table that its \
                     foreign key names, as in `user:{{user_id.public_id}}`"
                );
                return Err((offset, why));
            };
            if !literal.is_empty() {
                pieces.push(RowPiece::Literal(literal.to_owned()));
            }
            pieces.push(piece);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(RowPiece::Literal(rest.to_owned()));
        }
        Ok(Self { pieces })
    }

    /// The columns of the table itself that it is made of.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            RowPiece::Literal(_) => None,
            RowPiece::Column(column) | RowPiece::Through { column, .. } => Some(column.as_str()),
        })
    }

    /// Columns with a foreign key, and what is taken of the rows that they name.
    pub(crate) fn throughs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pieces.iter().filter_map(|piece| match piece {
            RowPiece::Through { column, other } => Some((column.as_str(), other.as_str())),
            RowPiece::Literal(_) | RowPiece::Column(_) => None,
        })
    }

    /// Whether it can give what a tag of an answer can be.
    pub(super) fn meets(&self, tag: &TagTemplate) -> bool {
        let (own, other) = (self.shape(), shape(tag));
        let (own, other) = (own.split(':'), other.split(':'));
        let is_same = |(own, other): (&str, &str)| own == other || own == VALUE || other == VALUE;
        own.clone().count() == other.clone().count() && own.zip(other).all(is_same)
    }

    /// Its literals, with `{}` for each value.
    pub(super) fn shape(&self) -> String {
        let text = |piece: &RowPiece| match piece {
            RowPiece::Literal(literal) => literal.clone(),
            RowPiece::Column(_) | RowPiece::Through { .. } => VALUE.to_owned(),
        };
        self.pieces.iter().map(text).collect()
    }
}

impl fmt::Display for RowTemplate {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            RowPiece::Literal(literal) => f.write_str(literal),
            RowPiece::Column(column) => write!(f, "{{{column}}}"),
            RowPiece::Through { column, other } => write!(f, "{{{column}.{other}}}"),
        })
    }
}

const VALUE: &str = "{}";

pub(super) fn shape(tag: &TagTemplate) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Literal(literal) => literal.clone(),
        Piece::Value(_) => VALUE.to_owned(),
    };
    tag.pieces.iter().map(text).collect()
}

/// Whether braces can hold the name of a column.
pub(crate) fn is_column(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_plain)
}

fn column(text: &str) -> Option<RowPiece> {
    match text.split_once('.') {
        Some((column, other)) if is_column(column) && is_column(other) => {
            Some(RowPiece::Through { column: column.to_owned(), other: other.to_owned() })
        }
        None if is_column(text) => Some(RowPiece::Column(text.to_owned())),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> RowTemplate {
        RowTemplate::parse(text).unwrap()
    }

    #[test]
    fn a_template_is_literals_columns_and_what_keys_lead_to() {
        let through = |column: &str, other: &str| RowPiece::Through {
            column: column.to_owned(),
            other: other.to_owned(),
        };
        let literal = |text: &str| RowPiece::Literal(text.to_owned());
        assert_eq!(row("resources").pieces, [literal("resources")]);
        assert_eq!(
            row("team:{team_id.public_id}:{createdAt}").pieces,
            [
                literal("team:"),
                through("team_id", "public_id"),
                literal(":"),
                RowPiece::Column("createdAt".to_owned())
            ]
        );
        assert_eq!(row("a:{b}{c.d}").columns().collect::<Vec<_>>(), ["b", "c"]);
        for (text, offset) in [
            ("a:{}", 2),
            ("a:{b", 2),
            ("a:b}", 3),
            ("a:{b.}", 2),
            ("a:{b.c.d}", 2),
            ("a:{b c}", 4),
            ("a,b", 1),
        ] {
            assert_eq!(RowTemplate::parse(text).unwrap_err().0, offset, "{text}");
        }
    }

    #[test]
    fn a_template_meets_tags_that_it_can_give() {
        let position = Position { line: 1, column: 1 };
        for (template, tag, does_meet) in [
            ("user:{id}", "user:{public_id}", true),
            ("user:{user_id.public_id}:teams", "user:{public_id}:teams", true),
            ("resources", "resources", true),
            ("runs:{status}", "runs:Failed", true),
            ("resource:{id}:steps", "resource:{id}:{include}", true),
            ("user:{id}", "user:{id}:teams", false),
            ("user:{id}", "users:{id}", false),
            ("resources", "resource", false),
            ("user-{id}", "user:{id}", false),
        ] {
            let tag = TagTemplate::parse(tag, position).unwrap();
            assert_eq!(row(template).meets(&tag), does_meet, "{template} and {tag:?}");
        }
    }

    #[test]
    fn tables_of_public_go_without_it() {
        assert_eq!(table_name("public", "users"), "users");
        assert_eq!(table_name("shop", "Orders"), "shop.Orders");
        assert_eq!(table_tag("shop.Bestellungen, alt"), "table:shop.Bestellungen%2C%20alt");
        for (text, is_one) in [
            ("users", true),
            ("shop.Orders", true),
            ("größe", true),
            ("Order Lines", true),
            (" a", false),
            ("", false),
            (".a", false),
            ("a.", false),
            ("a.b.c", false),
            ("\"A\"", false),
        ] {
            assert_eq!(is_table(text), is_one, "{text}");
        }
    }
}
