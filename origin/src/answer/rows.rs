//! Rows as JSON: what Postgres made passed on as it is, columns written here, members selected.
//!
//! Read next: `answer/value.rs`, `answer/members.rs`.

use std::sync::Arc;

use tokio_postgres::Row;

use super::members::members;
use super::{raw, value};
use crate::catalogue::prepare::{BodyColumns, Layout, Member, MemberValue};
use crate::catalogue::{Endpoint, Rows};
use crate::error::Error;
use crate::params::{Given, bad};

/// Writes rows one after the other, all with the same members.
#[derive(Debug)]
pub(crate) struct RowWriter {
    source: Source,
    /// The columns of which a row has at least one, if there can be rows that are none.
    presence: Option<Vec<usize>>,
    /// How many rows were written.
    count: usize,
}

#[derive(Debug)]
enum Source {
    /// The column with the JSON.
    Json(usize),
    /// The same, of which these members are wanted; whether any row had them, and what the first row had.
    Selected {
        column: usize,
        wanted: Vec<(String, bool)>,
        known: Vec<String>,
    },
    Columns(Arc<[Member]>),
    Nothing,
}

impl RowWriter {
    /// # Errors
    /// A name in `?fields=` that no column has.
    pub(crate) fn new(endpoint: &Endpoint, layout: &Layout, given: &Given) -> Result<Self, Error> {
        let source = match (&layout.body, &given.fields) {
            (BodyColumns::Json(column), None) => Source::Json(*column),
            (BodyColumns::Json(column), Some(fields)) => Source::Selected {
                column: *column,
                wanted: fields.iter().map(|name| (name.clone(), false)).collect(),
                known: Vec::new(),
            },
            (BodyColumns::Columns(all), None) => Source::Columns(all.clone()),
            (BodyColumns::Columns(all), Some(fields)) => {
                if let Some(name) = fields.iter().find(|name| !all.iter().any(|member| member.name == **name))
                {
                    return Err(unknown(name, all.iter().map(|member| member.name.as_str())));
                }
                let is_wanted = |member: &&Member| fields.contains(&member.name);
                Source::Columns(all.iter().filter(is_wanted).cloned().collect())
            }
            (BodyColumns::Nothing, _) => Source::Nothing,
        };
        let columns = match &layout.body {
            BodyColumns::Json(column) => vec![*column],
            BodyColumns::Columns(all) => all.iter().flat_map(Member::columns).collect(),
            BodyColumns::Nothing => Vec::new(),
        };
        let presence = matches!(endpoint.rows, Rows::Page { .. }).then_some(columns);
        Ok(Self { source, presence, count: 0 })
    }

    /// Appends a row. One of an offset page that is all NULL, as an outer join makes it, is none.
    pub(crate) fn push(&mut self, row: &Row, out: &mut Vec<u8>) -> Result<(), Error> {
        if self
            .presence
            .as_ref()
            .is_some_and(|columns| columns.iter().all(|column| raw(row, *column).is_none()))
        {
            return Ok(());
        }
        if self.count > 0 {
            out.push(b',');
        }
        self.count += 1;
        let json = |column: usize| raw(row, column).ok_or(Error::Endpoint("column `body` is NULL"));
        match &mut self.source {
            Source::Json(column) => out.extend_from_slice(json(*column)?),
            Source::Selected { column, wanted, known } => select(json(*column)?, wanted, known, out)?,
            Source::Columns(members) => columns(row, members, out)?,
            Source::Nothing => (),
        }
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// # Errors
    /// A name in `?fields=` that no row has. Without rows nobody knows what they would have.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let Source::Selected { wanted, known, .. } = &self.source else { return Ok(()) };
        match wanted.iter().find(|(_, was_there)| !was_there) {
            Some((name, _)) if self.count > 0 => Err(unknown(name, known.iter().map(String::as_str))),
            Some(_) | None => Ok(()),
        }
    }
}

fn unknown<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Error {
    let known: Vec<&str> = known.collect();
    // Only so much of what the client sent as says which one.
    let name: String = name.chars().take(64).collect();
    bad("fields", format!("names `{name}`, which rows here do not have; known are {}", known.join(", ")))
}

fn select(
    json: &[u8],
    wanted: &mut [(String, bool)],
    known: &mut Vec<String>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let members = members(json).ok_or_else(|| bad("fields", "is given, and rows here are not objects"))?;
    if known.is_empty() {
        known.extend(members.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()));
    }
    let start = out.len();
    for (name, value) in members {
        let found = wanted.iter_mut().find(|(wanted, _)| wanted.as_bytes() == name);
        let Some((_, was_there)) = found else { continue };
        *was_there = true;
        out.push(if out.len() == start { b'{' } else { b',' });
        out.push(b'"');
        out.extend_from_slice(name);
        out.extend_from_slice(b"\":");
        out.extend_from_slice(value);
    }
    out.extend_from_slice(if out.len() == start { b"{}" } else { b"}" });
    Ok(())
}

fn columns(row: &Row, members: &[Member], out: &mut Vec<u8>) -> Result<(), Error> {
    for (index, member) in members.iter().enumerate() {
        out.push(if index == 0 { b'{' } else { b',' });
        out.extend_from_slice(member.key.as_bytes());
        match &member.value {
            MemberValue::Column { column, kind } => match raw(row, *column) {
                Some(bytes) => {
                    let written = value::push(kind, bytes, out);
                    written.ok_or(Error::Endpoint("a column has a value that is not of its type"))?;
                }
                None => out.extend_from_slice(b"null"),
            },
            MemberValue::Object(inner) => {
                let is_there = member.columns().into_iter().any(|column| raw(row, column).is_some());
                if is_there { columns(row, inner, out)? } else { out.extend_from_slice(b"null") }
            }
        }
    }
    out.push(b'}');
    Ok(())
}
