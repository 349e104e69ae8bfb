//! What can go wrong with a request, and the one table from that to a status. Nothing else decides a status.
//!
//! What the client is told names its own mistake and nothing of the database: no SQL, no addresses, no server texts.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
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
    /// The body is no JSON, or JSON that could be read in two ways.
    #[error("the body is not acceptable JSON: at byte {offset}: {why}")]
    BadJson { offset: usize, why: String },
    #[error("{}", of_members(.0))]
    BadMembers(Vec<MemberFault>),
    #[error("{0}")]
    ContentType(&'static str),
    #[error("the body has more than {0} bytes")]
    BodyTooLarge(usize),
    #[error("the body did not arrive in time")]
    BodyTimeout,
    #[error("too many large requests are arriving at once")]
    BodiesBusy,
    #[error("{0}")]
    BadCondition(&'static str),
    #[error("what is there is not what If-Match names: read it again, and send its ETag")]
    PreconditionFailed,
    #[error("send If-Match with the ETag of what you want to change, or `*` if its state does not matter")]
    PreconditionRequired,
    #[error("{0}")]
    BadKey(&'static str),
    #[error("this Idempotency-Key was used for another request; a new request needs a new key")]
    KeyReused,
    /// Such as a key that exists already. Nothing was changed.
    #[error("{0}")]
    Conflict(Refusal),
    /// A rule of the database says no. Nothing was changed.
    #[error("{0}")]
    Refused(Refusal),
    #[error("another transaction was in the way; nothing was changed, try again")]
    Contention,
    #[error("no database server is the primary at this moment; nothing was changed, try again")]
    NoPrimary,
    /// A write that may have happened; whether to send it again changes nothing if it has.
    #[error(
        "the connection to the database was lost while the change was made: it is unknown whether it was made. {}",
        what_to_do(*.is_repeatable)
    )]
    Unknown { is_repeatable: bool },
    /// Postgres could not read a value of a type that is not checked before.
    #[error("a parameter has a value that its type does not allow")]
    BadValue(#[source] tokio_postgres::Error),
    #[error("no database server can be reached")]
    NoServer,
    /// What the request has to have seen.
    #[error("no database server shows yet what Larder-Min-Version asks for; try again")]
    NotYet,
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

/// What is wrong with a member of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberFault {
    /// A JSON pointer, as a fragment.
    pub(crate) pointer: String,
    pub(crate) why: String,
}

fn what_to_do(is_repeatable: bool) -> &'static str {
    if is_repeatable {
        "Send the same request again: it is made once, whatever became of the first one"
    } else {
        "Read what is there before you send it again, or send it with an Idempotency-Key, which makes it safe to repeat"
    }
}

fn of_members(faults: &[MemberFault]) -> String {
    let all: Vec<String> = faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.why)).collect();
    all.join("; ")
}

/// Why the database refused a write: names of the schema, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) what: &'static str,
    pub(crate) constraint: Option<String>,
    pub(crate) column: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.what)?;
        match (&self.constraint, &self.column) {
            (Some(constraint), _) => write!(f, " (constraint {constraint})"),
            (None, Some(column)) => write!(f, " (column {column})"),
            (None, None) => write!(f, " (SQLSTATE {})", self.code),
        }
    }
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
            Self::BadRequest(_)
            | Self::BadParameter { .. }
            | Self::BadValue(_)
            | Self::BadJson { .. }
            | Self::BadCondition(_)
            | Self::BadKey(_) => StatusCode::BAD_REQUEST,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadMembers(_) | Self::Refused(_) | Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::NoServer
            | Self::NoPrimary
            | Self::NotYet
            | Self::Busy
            | Self::BodiesBusy
            | Self::Contention
            | Self::Unknown { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLong => StatusCode::GATEWAY_TIMEOUT,
            Self::TooLarge(_) | Self::Statement(_) | Self::Endpoint(_) | Self::NotPrepared(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// Whether the database has judged what was to be written, and said no.
    pub(crate) fn is_verdict(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Refused(_) | Self::KeyReused)
    }

    /// As RFC 9457 has it. Never stored: an absent row may be there in a moment, and has no tag to say so.
    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let status = self.status();
        let mut problem = json!({
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        if let Some(members) = problem.as_object_mut() {
            for (name, value) in self.more() {
                members.insert(name.to_owned(), value);
            }
        }
        let mut response = Response::new(Full::new(Bytes::from(problem.to_string())));
        *response.status_mut() = status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.field()
            && let Ok(value) = HeaderValue::from_str(value)
        {
            fields.insert(name, value);
        }
        response
    }

    /// Members of the problem that programs can use.
    fn more(&self) -> Vec<(&'static str, Value)> {
        if let Self::BadParameter { parameter, .. } = self {
            return vec![("parameter", parameter.as_str().into())];
        }
        if let Self::BadMembers(faults) = self {
            let all = faults.iter().map(|fault| json!({"pointer": fault.pointer, "detail": fault.why}));
            return vec![("errors", all.collect())];
        }
        if let Self::Conflict(refusal) | Self::Refused(refusal) = self {
            let mut more = vec![("sqlstate", refusal.code.as_str().into())];
            more.extend(refusal.constraint.as_deref().map(|name| ("constraint", name.into())));
            more.extend(refusal.column.as_deref().map(|name| ("column", name.into())));
            return more;
        }
        if let Self::Unknown { .. } = self {
            return vec![("outcome", "unknown".into())];
        }
        Vec::new()
    }

    /// The field that says what to do.
    fn field(&self) -> Option<(HeaderName, &str)> {
        match self {
            Self::Method { allow } => Some((ALLOW, allow.as_str())),
            // What follows on the connection may be a body.
            Self::BadRequest(_) | Self::BodyTooLarge(_) | Self::BodyTimeout => Some((CONNECTION, "close")),
            Self::ContentType(_) => Some((ACCEPT, "application/json")),
            Self::NoServer
            | Self::NoPrimary
            | Self::NotYet
            | Self::Busy
            | Self::BodiesBusy
            | Self::Contention
            | Self::Unknown { is_repeatable: true } => Some((RETRY_AFTER, "1")),
            Self::NoEndpoint
            | Self::NoRow
            | Self::BadParameter { .. }
            | Self::BadJson { .. }
            | Self::BadMembers(_)
            | Self::BadCondition(_)
            | Self::PreconditionFailed
            | Self::PreconditionRequired
            | Self::BadKey(_)
            | Self::KeyReused
            | Self::Conflict(_)
            | Self::Refused(_)
            // To repeat that without a look is what must not happen.
            | Self::Unknown { is_repeatable: false }
            | Self::BadValue(_)
            | Self::TooLong
            | Self::TooLarge(_)
            | Self::Statement(_)
            | Self::Endpoint(_)
            | Self::NotPrepared(_) => None,
        }
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
