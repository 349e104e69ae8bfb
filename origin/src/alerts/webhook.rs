//! News of alerts to an address of the operator, by POST. Nothing here can hold up a request: what is to be sent waits in a
//! short queue, and what does not fit is counted and left out.
//!
//! Also the little HTTP client that this takes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::config::HttpUrl;
use crate::error::chain;

/// Alerts have a dozen kinds: more than this in wait means that nobody takes them.
const QUEUE: usize = 32;
const ATTEMPTS: u32 = 3;
/// Before the second attempt; doubled before the third.
const PAUSE: Duration = Duration::from_secs(2);
/// Of an answer whose body is wanted.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Webhook {
    queue: mpsc::Sender<Bytes>,
    counts: Arc<Counts>,
}

/// What became of the news.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
    left_out: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("HTTP failed")]
    Http(#[source] hyper::Error),
    #[error("the request cannot be made")]
    Request(#[source] hyper::http::Error),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("answered {0}")]
    Refused(StatusCode),
    #[error("the answer is cut short or too long")]
    Body,
}

impl Counts {
    /// By the name of the outcome.
    pub(crate) fn all(&self) -> [(&'static str, u64); 3] {
        [("sent", &self.sent), ("failed", &self.failed), ("left_out", &self.left_out)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

impl Webhook {
    /// Sends from a task of its own, on the runtime of the caller.
    pub(crate) fn start(url: HttpUrl, limit: Duration) -> Self {
        Self::start_with(url, limit, PAUSE)
    }

    fn start_with(url: HttpUrl, limit: Duration, pause: Duration) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Bytes>(QUEUE);
        let counts = Arc::new(Counts::default());
        let own = counts.clone();
        tokio::spawn(async move {
            while let Some(document) = waiting.recv().await {
                match deliver(&url, &document, limit, pause).await {
                    Ok(()) => own.sent.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        warn!("an alert could not be sent to the webhook at {url}: {}", chain(&error));
                        own.failed.fetch_add(1, Ordering::Relaxed)
                    }
                };
            }
        });
        Self { queue, counts }
    }

    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Never waits.
    pub(crate) fn send(&self, document: String) {
        if self.queue.try_send(Bytes::from(document)).is_err() {
            warn!("an alert was not sent to the webhook: {QUEUE} others wait to be");
            self.counts.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn deliver(url: &HttpUrl, document: &Bytes, limit: Duration, pause: Duration) -> Result<(), SendError> {
    let mut attempt = 1;
    loop {
        let Err(error) = call(url, Method::POST, document.clone(), limit).await else { return Ok(()) };
        let is_final = match error {
            // It will not like it better the second time.
            SendError::Refused(status) => {
                status.is_client_error()
                    && status != StatusCode::TOO_MANY_REQUESTS
                    && status != StatusCode::REQUEST_TIMEOUT
            }
            SendError::Request(_) => true,
            SendError::Connect(_) | SendError::Http(_) | SendError::Silent(_) | SendError::Body => false,
        };
        if is_final || attempt == ATTEMPTS {
            return Err(error);
        }
        debug!("attempt {attempt} to send an alert to {url} failed: {}", chain(&error));
        sleep(pause * 2_u32.pow(attempt - 1)).await;
        attempt += 1;
    }
}

/// One request on a connection of its own. An answer other than 2xx is an error: redirects are not followed.
pub(crate) async fn call(
    url: &HttpUrl,
    method: Method,
    body: Bytes,
    limit: Duration,
) -> Result<Bytes, SendError> {
    let is_wanted = method == Method::GET;
    let exchange = async {
        let stream = TcpStream::connect(url.authority()).await.map_err(SendError::Connect)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(SendError::Http)?;
        // Dropped, and with it the connection, whenever this exchange is.
        let driver = async {
            let _ = connection.await;
            std::future::pending::<Result<Bytes, SendError>>().await
        };
        let ask = async {
            let request = Request::builder()
                .method(method)
                .uri(url.path())
                .header(HOST, url.authority())
                .header(USER_AGENT, concat!("larder-origin/", env!("CARGO_PKG_VERSION")))
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(Full::new(body))
                .map_err(SendError::Request)?;
            let response = sender.send_request(request).await.map_err(SendError::Http)?;
            if !response.status().is_success() {
                return Err(SendError::Refused(response.status()));
            }
            if !is_wanted {
                return Ok(Bytes::new());
            }
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            Ok(body.map_err(|_| SendError::Body)?.to_bytes())
        };
        tokio::select! {
            answer = ask => answer,
            never = driver => never,
        }
    };
    timeout(limit, exchange).await.unwrap_or(Err(SendError::Silent(limit)))
}

#[cfg(test)]
mod tests;
