//! The command line's side of the admin listener: one request, one answer.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::{Secret, Server};

const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// A reload compiles policies, and an interpreted guest takes seconds.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(
        "connect to the admin listener at {server}: {source}; is larder running, and is this its address (--admin)?"
    )]
    Connect { server: Box<str>, source: std::io::Error },
    #[error("the admin listener at {server} did not answer within {} s", PATIENCE.as_secs())]
    Timeout { server: Box<str> },
    #[error("speak to the admin listener at {server}: {source}")]
    Http { server: Box<str>, source: Box<dyn std::error::Error + Send + Sync> },
}

/// Sends one request and returns status and body.
pub async fn call(
    server: &Server,
    token: Option<&Secret>,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), CallError> {
    let timeout = || CallError::Timeout { server: server.authority.clone() };
    tokio::time::timeout(PATIENCE, exchange(server, token, method, path, body))
        .await
        .map_err(|_| timeout())?
}

async fn exchange(
    server: &Server,
    token: Option<&Secret>,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), CallError> {
    let http = |source: Box<dyn std::error::Error + Send + Sync>| CallError::Http {
        server: server.authority.clone(),
        source,
    };
    let host = server.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, server.port))
        .await
        .map_err(|source| CallError::Connect { server: server.authority.clone(), source })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| http(error.into()))?;
    let driving = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, &*server.authority)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| http(error.into()))?;
    let response = sender.send_request(request).await.map_err(|error| http(error.into()))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(http)?.to_bytes();
    driving.abort();
    Ok((status, body))
}
