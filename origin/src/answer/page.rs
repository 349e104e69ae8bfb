//! The body of an answer: one row, a list, or a page and what goes on around it.
//!
//! Read next: `answer/rows.rs` for the rows themselves.

use tokio_postgres::Row;

use super::raw;
use super::rows::RowWriter;
use crate::catalogue::prepare::Layout;
use crate::catalogue::{Endpoint, Rows, Total};
use crate::cursor::{self, Key};
use crate::error::Error;
use crate::params::Given;

/// What is around the rows of a page.
const AROUND_BYTES: usize = 512;

/// An answer's bytes, and the rows that are in it, in its order.
pub(crate) struct Body<'r> {
    pub(crate) rows: Vec<&'r Row>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn body<'r>(
    endpoint: &Endpoint,
    layout: &Layout,
    given: &Given,
    rows: &'r [Row],
    key: &Key,
) -> Result<Body<'r>, Error> {
    let mut writer = RowWriter::new(endpoint, layout, given)?;
    let mut body = Body { rows: rows.iter().collect(), bytes: Vec::new() };
    match endpoint.rows {
        Rows::One => {
            let row = rows.first().ok_or(Error::NoRow)?;
            body.rows.truncate(1);
            writer.push(row, &mut body.bytes)?;
        }
        Rows::Many => body.list(&mut writer, b"")?,
        Rows::Cursor { .. } => body.cursor_page(&mut writer, endpoint, layout, given, key)?,
        Rows::Page { total, .. } => body.offset_page(&mut writer, endpoint, layout, given, total)?,
        Rows::Exec => (),
    }
    writer.finish()?;
    Ok(body)
}

impl Body<'_> {
    fn list(&mut self, writer: &mut RowWriter, before: &[u8]) -> Result<(), Error> {
        self.bytes.reserve(AROUND_BYTES + self.rows.iter().map(|row| row.raw_size_bytes()).sum::<usize>());
        self.bytes.extend_from_slice(before);
        self.bytes.push(b'[');
        for row in &self.rows {
            writer.push(row, &mut self.bytes)?;
        }
        self.bytes.push(b']');
        Ok(())
    }

    fn cursor_page(
        &mut self,
        writer: &mut RowWriter,
        endpoint: &Endpoint,
        layout: &Layout,
        given: &Given,
        key: &Key,
    ) -> Result<(), Error> {
        let limit = endpoint.limit(given).ok_or(Error::Endpoint("the page has no limit"))?;
        // The row too many says that it goes on in the direction in which rows were read.
        let goes_on = self.rows.len() > limit;
        self.rows.truncate(limit);
        let is_backward = given.before.is_some();
        if is_backward {
            self.rows.reverse();
        }
        // The other way there is at least the row that the cursor is of.
        let came_from = (is_backward || given.after.is_some()) && !self.rows.is_empty();
        let (has_previous, has_next) = if is_backward { (goes_on, came_from) } else { (came_from, goes_on) };
        self.list(writer, b"{\"items\":")?;
        let mut link = |name: &str, flag: &str, row: Option<&&Row>| -> Result<(), Error> {
            let cursor = row.map(|row| cursor_of(endpoint, layout, given, row, key)).transpose()?;
            // base64url needs no escaping.
            let cursor = cursor.map_or("null".to_owned(), |cursor| format!("\"{cursor}\""));
            let text = format!(",\"{name}\":{cursor},\"{flag}\":{}", row.is_some());
            self.bytes.extend_from_slice(text.as_bytes());
            Ok(())
        };
        link("nextCursor", "hasNextPage", self.rows.last().filter(|_| has_next))?;
        if matches!(endpoint.rows, Rows::Cursor { both_ways: true, .. }) {
            link("previousCursor", "hasPreviousPage", self.rows.first().filter(|_| has_previous))?;
        }
        self.bytes.push(b'}');
        Ok(())
    }

    fn offset_page(
        &mut self,
        writer: &mut RowWriter,
        endpoint: &Endpoint,
        layout: &Layout,
        given: &Given,
        total: Total,
    ) -> Result<(), Error> {
        let limit = endpoint.limit(given).ok_or(Error::Endpoint("the page has no limit"))?;
        let column = layout.total.ok_or(Error::Endpoint("the page has no column `_total`"))?;
        let counted = self.rows.first().and_then(|row| raw(row, column));
        let counted = counted.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)));
        let counted = counted.ok_or(Error::Endpoint("the page has no row with a `_total`"))?;
        let has_next = self.rows.len() > limit;
        self.rows.truncate(limit);
        self.list(writer, b"{\"items\":")?;
        let shown = i64::try_from(writer.count()).unwrap_or(i64::MAX);
        let seen = given.offset(endpoint).saturating_add(shown);
        // The last page knows better than any estimate.
        let is_last = !has_next && (shown > 0 || seen == 0);
        let (total, is_exact) = match total {
            _ if is_last => (seen, true),
            Total::Exact(most) if counted > most => (most.max(seen), false),
            Total::Exact(_) => (counted, true),
            Total::Estimate => (counted.max(seen.saturating_add(i64::from(has_next))), false),
        };
        let page = given.page(endpoint);
        let per_page = i64::try_from(limit).unwrap_or(i64::MAX).max(1);
        let pages = total / per_page + i64::from(total % per_page > 0);
        let text = format!(
            ",\"page\":{page},\"limit\":{limit},\"total\":{total},\"totalPages\":{pages},\
             \"totalIsExact\":{is_exact},\"hasNextPage\":{has_next}}}"
        );
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn cursor_of(
    endpoint: &Endpoint,
    layout: &Layout,
    given: &Given,
    row: &Row,
    key: &Key,
) -> Result<String, Error> {
    let values: Option<Vec<&[u8]>> = layout.cursor.iter().map(|column| raw(row, *column)).collect();
    let values = values.ok_or(Error::Endpoint("a column of the cursor is NULL"))?;
    cursor::encode(key, endpoint, given, &values).ok_or(Error::Endpoint("the cursor is too long"))
}
