//! One upstream as one worker sees it: its servers, a pool of connections to each, timeouts, one more try where
//! that is safe. No caching is known here.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
};
use http_body::Body as _;
use hyper::{body::Incoming, upgrade::Upgraded};
use tokio::net::TcpStream;

mod body;
mod connection;
mod interim;

pub use body::{ClientBody, Patience, RequestBody, UpstreamBody};
pub use connection::{OpenGuard, Pool};

use body::{Failure, Lease};
use connection::Connection;
use interim::Interims;

use crate::{
    accept::InterimSink,
    clock::Stopwatch,
    config::{self, Server},
    error::{Error, Side},
    observe::metrics::UpstreamMetrics,
    trailers::announced,
    upgrade::is_fitting,
};

/// An upstream with this worker's connections to it.
pub struct Upstream {
    config: config::Upstream,
    pools: Vec<Rc<Pool>>,
    next: Cell<usize>,
    metrics: Arc<UpstreamMetrics>,
}

/// A connection to a server that has switched to another protocol.
#[derive(Debug)]
pub struct Tunnel {
    pub upgraded: Upgraded,
    /// It counts as one of the upstream's connections for as long as it lives.
    pub open: OpenGuard,
}

/// A request head for an upstream.
pub struct UpstreamHead {
    pub method: Method,
    pub uri: Uri,
    pub fields: HeaderMap,
}

impl Upstream {
    pub fn new(config: &config::Upstream, pools: Vec<Rc<Pool>>, metrics: Arc<UpstreamMetrics>) -> Upstream {
        Upstream { config: config.clone(), pools, next: Cell::new(0), metrics }
    }

    /// Sends a request and returns when the response head is there.
    ///
    /// A server that cannot be connected to is passed over for the next one. A kept connection may have been closed by
    /// its server at the moment at which it is used again: then the request is sent once more, if nothing of it was
    /// sent, or if it has no body and may be repeated.
    /// Interim responses go to `interim` as they come.
    pub async fn send(
        &self,
        head: UpstreamHead,
        body: RequestBody,
        interim: Option<&InterimSink>,
    ) -> Result<Response<UpstreamBody>, Error> {
        let result = self.send_to_some(head, body, interim).await;
        if result.as_ref().is_err_and(|error| error.side() == Side::Upstream) {
            self.metrics.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    async fn send_to_some(
        &self,
        head: UpstreamHead,
        body: RequestBody,
        interim: Option<&InterimSink>,
    ) -> Result<Response<UpstreamBody>, Error> {
        let count = self.config.servers.len();
        let first = self.next.get();
        self.next.set((first + 1) % count.max(1));
        let mut failure = Error::ProxyInternalError("an upstream without servers");
        for turn in 0..count {
            let at = (first + turn) % count;
            let (server, pool) = (&self.config.servers[at], &self.pools[at]);
            let connection = match self.connection(server, pool).await {
                Ok(connection) => connection,
                Err(error) => {
                    failure = error;
                    continue;
                }
            };
            return self.send_to(server, pool, connection, head, body, interim).await;
        }
        Err(failure)
    }

    async fn send_to(
        &self,
        server: &Server,
        pool: &Rc<Pool>,
        mut connection: Connection,
        head: UpstreamHead,
        body: RequestBody,
        interim: Option<&InterimSink>,
    ) -> Result<Response<UpstreamBody>, Error> {
        let interims = Interims::default();
        let upload = body.upload();
        let may_be_repeated = body.is_empty() && head.method.is_idempotent();
        let mut request = head.request(body, &interims);
        loop {
            let is_reused = connection.is_reused;
            let watch = Stopwatch::start();
            let mut sent = std::pin::pin!(connection.sender.try_send_request(request));
            let answered = loop {
                // An interim response is no answer: the wait goes on as if it had not come.
                let answer_or_flood = async {
                    tokio::select! {
                        biased;
                        flood = interims.pass_on(interim) => Err(flood),
                        answered = sent.as_mut() => Ok(answered),
                    }
                };
                match tokio::time::timeout(self.config.response_timeout, answer_or_flood).await {
                    Ok(Ok(answered)) => break answered,
                    Ok(Err(interim::Flood)) => {
                        let reason = "too many interim responses, or too large";
                        return Err(Error::HttpProtocolError { upstream: self.name(), reason });
                    }
                    // The wait for an answer begins when all was said; or when the upstream takes no more of it.
                    Err(_) if upload.goes_on() => (),
                    Err(_) => {
                        return Err(Error::HttpResponseTimeout {
                            upstream: self.name(),
                            server: server.authority.clone(),
                            after_ms: self.config.response_timeout.as_millis(),
                        });
                    }
                }
            };
            let mut refused = match answered {
                Ok(response) => {
                    self.metrics.to_head.record(watch.elapsed());
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        return self.switched(response, &head, pool).await;
                    }
                    return self.received(response, &head.method, pool, connection);
                }
                Err(refused) => refused,
            };
            match upload.failure() {
                Some(Failure::TooLarge { limit_bytes }) => {
                    return Err(Error::RequestBodyTooLarge { limit_bytes });
                }
                Some(Failure::Stalled { after_ms }) => return Err(Error::RequestBodyTimeout { after_ms }),
                Some(Failure::Broken) => {
                    return Err(Error::HttpRequestError("the request body is malformed or ended early"));
                }
                None => (),
            }
            request = match refused.take_message() {
                Some(unsent) if is_reused => unsent,
                None if is_reused && may_be_repeated && !refused.error().is_parse() => {
                    head.request(RequestBody::Empty, &interims)
                }
                Some(_) | None => {
                    return Err(Error::ConnectionTerminated {
                        upstream: self.name(),
                        server: server.authority.clone(),
                        source: refused.into_error(),
                    });
                }
            };
            connection = self.connect(server, pool).await?;
        }
    }

    /// A server that wants to switch: only if it was asked to, and to what it was asked for.
    async fn switched(
        &self,
        mut response: Response<Incoming>,
        head: &UpstreamHead,
        pool: &Rc<Pool>,
    ) -> Result<Response<UpstreamBody>, Error> {
        let broken = |reason| Error::HttpProtocolError { upstream: self.name(), reason };
        let Some(asked) = head.fields.get(UPGRADE) else { return Err(broken("101 without an upgrade")) };
        if !is_fitting(asked, response.headers()) {
            return Err(broken("101 to a protocol that was not asked for"));
        }
        // hyper hands the stream over in the turn in which it hands over the head.
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(|_| broken("101 and no stream"))?;
        let tunnel = Tunnel { upgraded, open: pool.one_more() };
        let (parts, incoming) = response.into_parts();
        Ok(Response::from_parts(parts, UpstreamBody::switched(incoming, tunnel)))
    }

    /// Refuses or repairs what hyper lets through and a cache must not.
    fn received(
        &self,
        response: Response<Incoming>,
        method: &Method,
        pool: &Rc<Pool>,
        connection: Connection,
    ) -> Result<Response<UpstreamBody>, Error> {
        let (mut parts, incoming) = response.into_parts();
        let broken = |reason| Error::HttpProtocolError { upstream: self.name(), reason };
        let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
        let is_chunked = match (codings.next(), codings.next()) {
            (None, _) => false,
            (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
            // hyper undoes `chunked` alone: what is left would be passed for the body itself.
            _ => return Err(broken("Transfer-Encoding is not `chunked`")),
        };
        let announces_length = parts.headers.contains_key(CONTENT_LENGTH);
        let has_no_body = method == Method::HEAD
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
        //# If a message is received with both a Transfer-Encoding and a
        //# Content-Length header field, the Transfer-Encoding overrides the
        //# Content-Length. Such a message might indicate an attempt to perform
        //# request smuggling (Section 11.2) or response splitting (Section 11.1)
        //# and ought to be handled as an error.
        if is_chunked {
            parts.headers.remove(CONTENT_LENGTH);
        } else if let Some(length) = incoming.size_hint().exact().filter(|_| announces_length && !has_no_body)
        {
            // `5, 5` and two equal lines are one length (RFC 9110 section 8.6), and are said as one.
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        // Where it is not certain that nothing follows, nobody may read on: a body that was announced for a response
        // that has none would be taken for the answer to the next request.
        let is_certain =
            !(is_chunked && announces_length) && !(has_no_body && (is_chunked || announces_length));
        let lease = Lease {
            connection,
            pool: Rc::clone(pool),
            max_idle: self.config.max_idle,
            may_be_used_again: is_certain,
        };
        let patience = Patience::new(self.config.read_timeout);
        let announced = if is_chunked && !has_no_body { announced(&parts.headers) } else { None };
        let body = UpstreamBody::new(incoming, lease, patience, announced);
        Ok(Response::from_parts(parts, body))
    }

    async fn connection(&self, server: &Server, pool: &Rc<Pool>) -> Result<Connection, Error> {
        match pool.take(self.config.idle_timeout).await {
            Some(connection) => Ok(connection),
            None => self.connect(server, pool).await,
        }
    }

    async fn connect(&self, server: &Server, pool: &Rc<Pool>) -> Result<Connection, Error> {
        let limit = self.config.max_connections;
        if pool.open() >= limit {
            return Err(Error::ConnectionLimitReached { upstream: self.name(), limit });
        }
        let open = pool.one_more();
        let refused = |source| Error::ConnectionRefused {
            upstream: self.name(),
            server: server.authority.clone(),
            source,
        };
        let host = server.host.trim_start_matches('[').trim_end_matches(']');
        let connecting = TcpStream::connect((host, server.port));
        let stream = tokio::time::timeout(self.config.connect_timeout, connecting)
            .await
            .map_err(|_| Error::ConnectionTimeout {
                upstream: self.name(),
                server: server.authority.clone(),
                after_ms: self.config.connect_timeout.as_millis(),
            })?
            .map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        Connection::start(stream, open).await.map_err(refused)
    }

    /// Tunnels last, and each has a connection to the upstream: so many are open on this worker, and with more than half of
    /// all connections nothing would be left for requests.
    pub fn admit_one_more_tunnel(&self, open: u64) -> Result<(), Error> {
        let limit = self.config.max_connections.div_ceil(2);
        if open < limit as u64 {
            return Ok(());
        }
        Err(Error::ConnectionLimitReached { upstream: self.name(), limit })
    }

    /// From the connection to the head of the response, for the first server: who waits longer had better go itself.
    pub fn longest_wait(&self) -> std::time::Duration {
        self.config.connect_timeout + self.config.response_timeout
    }

    /// Between two pieces of a body.
    pub fn read_timeout(&self) -> std::time::Duration {
        self.config.read_timeout
    }

    fn name(&self) -> Box<str> {
        self.config.name.as_str().into()
    }
}

impl UpstreamHead {
    fn request(&self, body: RequestBody, interims: &Interims) -> http::Request<RequestBody> {
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.fields.clone();
        interims.listen(&mut request);
        request
    }
}
