//! Requests that can be sent again: what was answered under an `Idempotency-Key` is kept with the change, in one transaction.
//!
//! So there is an answer if and only if there is a change, also when the one who made it was never told. A second request
//! with the same key waits, in the unique index, until it is known how the first one ended. Only success is kept: what
//! failed has changed nothing, and may be tried again with the same key.
//! Read next: `transaction.rs`.

use std::error::Error as StdError;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, SimpleQueryMessage};
use tracing::{debug, info};

use crate::error::Error;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_KEY_BYTES: usize = 255;

const CLAIM: &str = "INSERT INTO larder_idempotency (key, endpoint, request) VALUES ($1, $2, $3)";
const KEEP: &str =
    "UPDATE larder_idempotency SET status = $2, location = $3, etag = $4, body = $5 WHERE key = $1";
const FIND: &str = "SELECT request, status, location, etag, body FROM larder_idempotency WHERE key = $1";
/// Bounded, so that no removal is long; rows that another worker removes are left to it.
const REMOVE: &str = "DELETE FROM larder_idempotency WHERE key IN (SELECT key FROM larder_idempotency \
                      WHERE created_at < now() - interval '24 hours' ORDER BY created_at LIMIT 1000 FOR UPDATE SKIP LOCKED)";
const TABLE: &str = "larder_idempotency";
/// Between two looks for keys that are old enough to be removed.
pub(crate) const REMOVAL_INTERVAL: Duration = Duration::from_secs(60);

/// The key of a request, and what the request was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    key: Vec<u8>,
    request: Vec<u8>,
}

/// An answer as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Kept {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) etag: Option<String>,
    pub(crate) body: Option<String>,
}

/// What is known of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Kept(Kept),
    OfAnotherRequest,
}

impl Key {
    /// `parts` are all that the request asks for. `None` without the field.
    ///
    /// # Errors
    /// For a key that is none.
    pub(crate) fn of(fields: &HeaderMap, endpoint: &str, parts: &[&[u8]]) -> Result<Option<Self>, Error> {
        let mut values = fields.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Error::BadKey("Idempotency-Key is there twice"));
        }
        let given = value.as_bytes();
        if given.is_empty() || given.len() > MAX_KEY_BYTES || !given.iter().all(u8::is_ascii_graphic) {
            return Err(Error::BadKey(
                "Idempotency-Key is not 1 to 255 visible ASCII characters; a UUID would do",
            ));
        }
        // Two clients that choose the same key are not each other's.
        let credentials = fields.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        Ok(Some(Self { key: digest(&[endpoint.as_bytes(), credentials, given]), request: digest(parts) }))
    }

    /// Says, in an open transaction, that this request is being done. Waits for another one that says so.
    pub(crate) async fn claim(&self, client: &Client, endpoint: &str) -> Result<(), tokio_postgres::Error> {
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&self.key, Type::BYTEA), (&endpoint, Type::TEXT), (&self.request, Type::BYTEA)];
        client.query_typed(CLAIM, &parameters).await.map(drop)
    }

    /// Keeps the answer, in the same transaction.
    pub(crate) async fn keep(&self, client: &Client, answer: &Kept) -> Result<(), tokio_postgres::Error> {
        let status = i16::try_from(answer.status).unwrap_or_default();
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&self.key, Type::BYTEA),
            (&status, Type::INT2),
            (&answer.location, Type::TEXT),
            (&answer.etag, Type::TEXT),
            (&answer.body, Type::TEXT),
        ];
        client.query_typed(KEEP, &parameters).await.map(drop)
    }

    pub(crate) async fn find(&self, client: &Client) -> Result<Found, tokio_postgres::Error> {
        let rows = client.query_typed(FIND, &[(&self.key, Type::BYTEA)]).await?;
        let Some(row) = rows.first() else { return Ok(Found::Nothing) };
        if row.try_get::<_, &[u8]>(0)? != self.request {
            return Ok(Found::OfAnotherRequest);
        }
        kept(row).map(Found::Kept)
    }
}

fn kept(row: &Row) -> Result<Kept, tokio_postgres::Error> {
    let status = row.try_get::<_, Option<i16>>(1)?.and_then(|status| u16::try_from(status).ok());
    Ok(Kept {
        status: status.unwrap_or(200),
        location: row.try_get(2)?,
        etag: row.try_get(3)?,
        body: row.try_get(4)?,
    })
}

/// Whether a claim failed because the key was used before.
pub(crate) fn is_used(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|refused| refused.code().code() == "23505" && refused.table() == Some(TABLE))
}

/// Whether the table of keys is missing.
pub(crate) fn is_unknown(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|refused| refused.code().code() == "42P01")
}

/// Removes keys that are older than a day, a bounded number at once. `Err` is no trouble of the caller: it comes again.
pub(crate) async fn remove_old(client: &Client) -> Result<(), Box<dyn StdError + Send + Sync>> {
    loop {
        // Not prepared: behind a pooler that would stay in a session of others, and may be looked for in another one.
        let said = client.simple_query(REMOVE).await?;
        let removed = said.iter().find_map(|message| match message {
            SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
            SimpleQueryMessage::Row(_) | SimpleQueryMessage::RowDescription(_) | _ => None,
        });
        let removed = removed.unwrap_or(0);
        if removed > 0 {
            info!(removed, "removed {removed} idempotency keys that are older than a day");
        }
        if removed < 1000 {
            debug!("no more idempotency keys to remove");
            return Ok(());
        }
    }
}

/// Each part with its length in front, so that nothing can pass from one into the next.
fn digest(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn fields(all: &[(HeaderName, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn key(all: &[(HeaderName, &str)], endpoint: &str, parts: &[&[u8]]) -> Key {
        Key::of(&fields(all), endpoint, parts).unwrap().unwrap()
    }

    #[test]
    fn a_key_is_one_of_its_endpoint_and_client() {
        let one = [(IDEMPOTENCY_KEY, "a")];
        let same = key(&one, "x", &[b"1"]);
        assert_eq!(same, key(&one, "x", &[b"1"]));
        assert_ne!(same.key, key(&one, "y", &[b"1"]).key);
        assert_ne!(same.key, key(&[(IDEMPOTENCY_KEY, "b")], "x", &[b"1"]).key);
        assert_ne!(same.key, key(&[(IDEMPOTENCY_KEY, "a"), (AUTHORIZATION, "Bearer q")], "x", &[b"1"]).key);
        let other = key(&one, "x", &[b"2"]);
        assert_eq!(same.key, other.key);
        assert_ne!(same.request, other.request);
        assert_ne!(key(&one, "x", &[b"12", b"3"]).request, key(&one, "x", &[b"1", b"23"]).request);
        assert_eq!(Key::of(&HeaderMap::new(), "x", &[]).unwrap(), None);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", "a b", "\u{e4}", &"x".repeat(256)] {
            let all = fields(&[(IDEMPOTENCY_KEY, bad)]);
            assert!(matches!(Key::of(&all, "x", &[]), Err(Error::BadKey(_))), "{bad:?}");
        }
        let mut twice = fields(&[(IDEMPOTENCY_KEY, "a")]);
        twice.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        assert!(Key::of(&twice, "x", &[]).is_err());
        assert!(Key::of(&fields(&[(IDEMPOTENCY_KEY, &"x".repeat(255))]), "x", &[]).is_ok());
    }
}
