//! What can go wrong with a request, and the one table from that to a status. Nothing else decides a status.
//!
//! What the client is told names its own mistake and nothing of the database: no SQL, no addresses, no server texts.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tokio_postgres::error::{DbError, SqlState};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no endpoint has this path")]
    NoEndpoint,
    #[error("there is none")]
    NoRow,
    #[error("this path answers {allow}")]
    Method { allow: String },
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("parameter `{parameter}` {why}")]
    BadParameter { parameter: String, why: String },
    /// Postgres could not read a value of a type that is not checked before.
    #[error("a parameter has a value that its type does not allow")]
    BadValue(#[source] tokio_postgres::Error),
    #[error("no database server can be reached")]
    NoServer,
    #[error("no server takes writes now")]
    NoPrimary,
    #[error("the database is busy")]
    Busy,
    #[error("the statement ran too long")]
    TooLong,
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    #[error("the statement failed")]
    Statement(#[source] tokio_postgres::Error),
    #[error("{0}")]
    Endpoint(&'static str),
    /// For the log; the client is told less.
    #[error("the endpoint does not fit the database")]
    NotPrepared(#[source] crate::faults::Faults),
}

/// What a failed statement means for the connection and for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The connection, or its server, is gone: another one can answer.
    Gone,
    /// What is prepared no longer fits the tables, on any connection to this server: it has to be prepared anew.
    Outdated,
    /// The connection is fine, but this server cannot answer this request now: another one can.
    NotHere,
    BadValue,
    TooLong,
    Overloaded,
    /// The endpoint or the database is at fault; another server would say the same.
    Failed,
}

pub(crate) fn meaning(error: &tokio_postgres::Error) -> Meaning {
    let Some(code) = error.code() else {
        // Closed, reset, timed out: all but answers of the server.
        return Meaning::Gone;
    };
    match code.code() {
        // A table was changed in a way that changes the result. Other statements fail with this code for other reasons.
        "0A000" if error.as_db_error().and_then(DbError::routine) == Some("RevalidateCachedQuery") => {
            Meaning::Outdated
        }
        // Statements that are not there: someone between us and the server has forgotten them.
        "26000" => Meaning::Outdated,
        // A standby cancels what is in the way of replay. To try again there makes its lag worse.
        "40001" | "40P01" => Meaning::NotHere,
        "57014" => Meaning::TooLong,
        "57P01" | "57P02" | "57P03" | "57P05" => Meaning::Gone,
        other => match other.get(..2) {
            Some("08") => Meaning::Gone,
            Some("22") => Meaning::BadValue,
            Some("53") => Meaning::Overloaded,
            Some(_) | None => Meaning::Failed,
        },
    }
}

/// Whether preparing failed for what the statement says, and not for the state of the server.
pub(crate) fn is_fault_of_statement(code: &SqlState) -> bool {
    matches!(code.code().get(..2), Some("0A" | "22" | "2F" | "34" | "3D" | "3F" | "42"))
}

impl Error {
    pub(crate) fn of_statement(error: tokio_postgres::Error) -> Self {
        match meaning(&error) {
            Meaning::Gone | Meaning::Outdated | Meaning::NotHere => Self::NoServer,
            Meaning::BadValue => Self::BadValue(error),
            Meaning::TooLong => Self::TooLong,
            Meaning::Overloaded => Self::Busy,
            Meaning::Failed => Self::Statement(error),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoEndpoint | Self::NoRow => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) | Self::BadParameter { .. } | Self::BadValue(_) => StatusCode::BAD_REQUEST,
            Self::NoServer | Self::NoPrimary | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLong => StatusCode::GATEWAY_TIMEOUT,
            Self::TooLarge(_) | Self::Statement(_) | Self::Endpoint(_) | Self::NotPrepared(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// As RFC 9457 has it. Never stored: an absent row may be there in a moment, and has no tag to say so.
    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let status = self.status();
        let mut problem = serde_json::json!({
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        if let (Self::BadParameter { parameter, .. }, Some(members)) = (self, problem.as_object_mut()) {
            members.insert("parameter".to_owned(), parameter.as_str().into());
        }
        let mut response = Response::new(Full::new(Bytes::from(problem.to_string())));
        *response.status_mut() = status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Method { allow } => {
                if let Ok(allow) = HeaderValue::from_str(allow) {
                    fields.insert(ALLOW, allow);
                }
            }
            // What follows on the connection may be a body.
            Self::BadRequest(_) => drop(fields.insert(CONNECTION, HeaderValue::from_static("close"))),
            Self::NoServer | Self::NoPrimary | Self::Busy => {
                drop(fields.insert(RETRY_AFTER, HeaderValue::from_static("1")))
            }
            Self::NoEndpoint
            | Self::NoRow
            | Self::BadParameter { .. }
            | Self::BadValue(_)
            | Self::TooLong
            | Self::TooLarge(_)
            | Self::Statement(_)
            | Self::Endpoint(_)
            | Self::NotPrepared(_) => (),
        }
        response
    }
}

/// An error with all its causes, for the terminal and the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
