//! What can go wrong with one request: the cause, named as in RFC 9209, and the one table from cause to status.
//!
//! Steps return the cause; nothing but this file decides a status. Next: `respond.rs`.

use std::sync::Arc;

use http::StatusCode;

/// Why a request could not be answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("request refused: {0}")]
    HttpRequestError(&'static str),
    #[error("method {0} is not served here")]
    MethodRefused(http::Method),
    #[error("no route takes this request")]
    NoRoute,
    #[error("request body is larger than {limit_bytes} bytes")]
    RequestBodyTooLarge { limit_bytes: u64 },
    #[error("no byte of the request body within {after_ms} ms")]
    RequestBodyTimeout { after_ms: u128 },
    #[error("expectation {0:?} is not one that can be met")]
    ExpectationFailed(http::HeaderValue),
    #[error("the request has come through here before")]
    ProxyLoopDetected,
    #[error("{limit} requests wait for one fetch already")]
    TooManyWaiters { limit: usize },
    #[error("subscription refused: {0}")]
    BadSubscription(&'static str),
    #[error("live updates without a change feed")]
    NoFeed,
    #[error("{limit} subscribers are there already")]
    TooManySubscribers { limit: usize },
    #[error("`only-if-cached`, and nothing is stored")]
    OnlyIfCached,
    #[error("connect to upstream \"{upstream}\" ({server}): {source}")]
    ConnectionRefused { upstream: Box<str>, server: Box<str>, source: std::io::Error },
    #[error("connect to upstream \"{upstream}\" ({server}): no connection within {after_ms} ms")]
    ConnectionTimeout { upstream: Box<str>, server: Box<str>, after_ms: u128 },
    #[error("upstream \"{upstream}\": its limit of {limit} connections per worker is reached")]
    ConnectionLimitReached { upstream: Box<str>, limit: usize },
    #[error("upstream \"{upstream}\" ({server}): connection ended before a response: {source}")]
    ConnectionTerminated { upstream: Box<str>, server: Box<str>, source: hyper::Error },
    #[error("upstream \"{upstream}\" ({server}): no response within {after_ms} ms")]
    HttpResponseTimeout { upstream: Box<str>, server: Box<str>, after_ms: u128 },
    #[error("upstream \"{upstream}\": response refused: {reason}")]
    HttpProtocolError { upstream: Box<str>, reason: &'static str },
    #[error("body ended early")]
    BodyEndedEarly,
    #[error("no byte of the body within {after_ms} ms")]
    BodyTimeout { after_ms: u128 },
    #[error("read body: {0}")]
    Body(#[from] hyper::Error),
    #[error("policy {0} gave no decision")]
    PolicyFailed(Arc<str>),
    #[error("larder is at fault: {0}")]
    ProxyInternalError(&'static str),
}

/// Who has to look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Upstream,
    Us,
    /// Whoever wrote the policy.
    Policy,
}

impl Error {
    pub fn status(&self) -> StatusCode {
        match self {
            Error::HttpRequestError(_) | Error::BadSubscription(_) | Error::Body(_) => {
                StatusCode::BAD_REQUEST
            }
            Error::MethodRefused(_) => StatusCode::METHOD_NOT_ALLOWED,
            Error::NoRoute => StatusCode::NOT_FOUND,
            Error::RequestBodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::RequestBodyTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Error::ExpectationFailed(_) => StatusCode::EXPECTATION_FAILED,
            Error::ProxyLoopDetected => StatusCode::LOOP_DETECTED,
            Error::ConnectionRefused { .. }
            | Error::ConnectionTerminated { .. }
            | Error::HttpProtocolError { .. }
            | Error::BodyEndedEarly => StatusCode::BAD_GATEWAY,
            Error::ConnectionLimitReached { .. }
            | Error::TooManyWaiters { .. }
            | Error::NoFeed
            | Error::TooManySubscribers { .. } => StatusCode::SERVICE_UNAVAILABLE,
            //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.7
            //# The only-if-cached request directive indicates that the client only
            //# wishes to obtain a stored response.  Caches that honor this request
            //# directive SHOULD, upon receiving it, respond with either a stored
            //# response consistent with the other constraints of the request or a
            //# 504 (Gateway Timeout) status code.
            Error::OnlyIfCached
            | Error::ConnectionTimeout { .. }
            | Error::HttpResponseTimeout { .. }
            | Error::BodyTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Error::PolicyFailed(_) | Error::ProxyInternalError(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether nothing of the request can have reached the upstream.
    pub fn is_before_sending(&self) -> bool {
        matches!(
            self,
            Error::ConnectionRefused { .. }
                | Error::ConnectionTimeout { .. }
                | Error::ConnectionLimitReached { .. }
                | Error::ProxyLoopDetected
        )
    }

    pub fn side(&self) -> Side {
        match self {
            Error::HttpRequestError(_)
            | Error::MethodRefused(_)
            | Error::NoRoute
            | Error::RequestBodyTooLarge { .. }
            | Error::RequestBodyTimeout { .. }
            | Error::ExpectationFailed(_)
            | Error::OnlyIfCached
            | Error::BadSubscription(_)
            | Error::TooManySubscribers { .. }
            | Error::Body(_) => Side::Client,
            Error::ConnectionRefused { .. }
            | Error::ConnectionTimeout { .. }
            | Error::ConnectionLimitReached { .. }
            | Error::ConnectionTerminated { .. }
            | Error::HttpResponseTimeout { .. }
            | Error::HttpProtocolError { .. }
            | Error::BodyEndedEarly
            | Error::TooManyWaiters { .. }
            | Error::ProxyLoopDetected
            | Error::BodyTimeout { .. } => Side::Upstream,
            Error::PolicyFailed(_) => Side::Policy,
            Error::NoFeed | Error::ProxyInternalError(_) => Side::Us,
        }
    }

    /// What the client is told. Names of upstreams and of policies stay inside.
    pub fn public_text(&self) -> &'static str {
        match self {
            Error::HttpRequestError(reason) | Error::BadSubscription(reason) => reason,
            Error::MethodRefused(_) => "this method is not served here",
            Error::NoRoute => "no route takes this request",
            Error::RequestBodyTooLarge { .. } => "the request body is too large",
            Error::RequestBodyTimeout { .. } => "the request body did not come in time",
            Error::ExpectationFailed(_) => "only `100-continue` can be expected",
            Error::ProxyLoopDetected => "the request goes in a circle",
            Error::TooManyWaiters { .. } => "too many requests wait for this",
            Error::NoFeed => "nothing is known of changes here",
            Error::TooManySubscribers { .. } => "too many subscribers",
            Error::OnlyIfCached => "nothing is stored for this request",
            Error::ConnectionRefused { .. } | Error::ConnectionTerminated { .. } => {
                "the upstream could not be reached"
            }
            Error::ConnectionLimitReached { .. } => "the upstream has no connection left",
            Error::ConnectionTimeout { .. }
            | Error::HttpResponseTimeout { .. }
            | Error::BodyTimeout { .. } => "the upstream did not answer in time",
            Error::HttpProtocolError { .. } | Error::BodyEndedEarly => "the upstream's answer was broken",
            Error::Body(_) => "the request body could not be read",
            Error::PolicyFailed(_) => "the policy of this route failed",
            Error::ProxyInternalError(_) => "internal error",
        }
    }
}
