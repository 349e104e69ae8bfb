//! What a failed write means: whether anything can have been changed, and what the client is told. The one place that reads
//! SQLSTATE for writes.
//!
//! An error that the server answers with means that the transaction was rolled back: the server answers before the commit, or
//! not at all. Only the two codes that say so themselves, and a connection that is gone, leave it open.
//! Read next: `error.rs` for statuses.

use std::error::Error as _;

use tokio_postgres::error::DbError;

use crate::error::{Error, Refusal, chain};

/// What can be done after a write that failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was changed, and the same again would end the same.
    Final(Error),
    /// Nothing was changed; the same again may succeed at once.
    Again(Error),
    /// Nothing was changed; what is prepared on the connection no longer fits.
    Outdated,
    /// Nothing was changed, and the connection is of no use any more.
    Elsewhere(String),
    /// Nothing was changed: the server is no primary, or it must not be written to.
    ReadOnly,
    /// The connection was lost when everything had been sent: the write may have happened.
    Unknown(String),
}

impl Failure {
    /// For who does not try again.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Final(error) | Self::Again(error) => error,
            Self::Outdated | Self::Elsewhere(_) | Self::ReadOnly => Error::NoPrimary,
            // Who does not try again has changed nothing for good: it looks.
            Self::Unknown(_) => Error::Unknown { is_repeatable: true },
        }
    }
}

/// `is_sent` says that the commit can have reached the server.
pub(super) fn failure(error: tokio_postgres::Error, is_sent: bool) -> Failure {
    let lost = |error: &tokio_postgres::Error| match is_sent {
        true => Failure::Unknown(chain(error)),
        false => Failure::Elsewhere(chain(error)),
    };
    let Some(refused) = error.as_db_error() else {
        return if is_of_the_connection(&error) {
            lost(&error)
        } else {
            // A value that could not be written, a row that could not be read.
            Failure::Final(Error::Statement(error))
        };
    };
    let code = refused.code().code();
    match (code, code.get(..2)) {
        // transaction_resolution_unknown, statement_completion_unknown; and what poolers say when they lost the server.
        ("40003", _) | (_, Some("08")) => lost(&error),
        // A server that ends says so before it does, and a transaction that it ends is rolled back.
        // So is one that stood still for too long (25P03).
        ("57P01" | "57P02" | "57P03" | "57P05" | "25P03", _) => Failure::Elsewhere(chain(&error)),
        ("40001" | "40P01", _) => Failure::Again(Error::Contention),
        ("55P03", _) => Failure::Final(Error::Contention),
        ("57014", _) => Failure::Final(Error::TooLong),
        ("25006", _) => Failure::ReadOnly,
        ("26000", _) => Failure::Outdated,
        ("0A000", _) if refused.routine() == Some("RevalidateCachedQuery") => Failure::Outdated,
        ("23505" | "23P01", _) => Failure::Final(Error::Conflict(refusal(refused))),
        ("P0001", _) | (_, Some("22" | "23" | "44")) => Failure::Final(Error::Refused(refusal(refused))),
        (_, Some("53")) => Failure::Final(Error::Busy),
        _ => Failure::Final(Error::Statement(error)),
    }
}

/// Resets, ends: all that is neither an answer nor our own mistake.
fn is_of_the_connection(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>())
}

/// What of the server's words may be told: names from the schema and never values. Its message has values in it.
fn refusal(refused: &DbError) -> Refusal {
    let code = refused.code().code();
    let what = match code {
        "23505" => "another row has the same key",
        "23P01" => "it conflicts with another row",
        "23503" => "it refers to a row that is not there, or another row refers to it",
        "23502" => "a value that has to be there is missing",
        "23514" => "a value is not allowed",
        "22001" => "a text is too long",
        "22003" => "a number is out of range",
        "22P02" | "22007" | "22008" => "a value is not of the type that it has to be",
        "22021" | "22P05" => "a text has a character that cannot be stored",
        "P0001" => "a rule of the database forbids it",
        _ => "a value is not allowed",
    };
    Refusal {
        code: code.to_owned(),
        what,
        constraint: refused.constraint().map(str::to_owned),
        column: refused.column().map(str::to_owned),
    }
}
