//! One upstream as one worker sees it: its servers, a pool of connections to each, timeouts, one more try where
//! that is safe. No caching is known here.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Sleep};

use crate::{
    clock::Stopwatch,
    config::{self, Server},
    error::Error,
    observe::metrics::UpstreamMetrics,
};

/// An upstream with this worker's connections to it.
pub struct Upstream {
    config: config::Upstream,
    pools: Vec<Rc<Pool>>,
    next: Cell<usize>,
    metrics: Arc<UpstreamMetrics>,
}

/// Idle connections to one server.
#[derive(Default)]
pub struct Pool {
    idle: RefCell<VecDeque<Idle>>,
    open: Rc<Cell<usize>>,
}

struct Idle {
    sender: SendRequest<RequestBody>,
    since: Stopwatch,
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
    /// A server that cannot be connected to is passed over for the next one. A request without a body is sent
    /// once more if a kept connection ended before any byte of a response, which happens when its server closed
    /// it at that moment.
    pub async fn send(&self, head: UpstreamHead, body: RequestBody) -> Result<Response<UpstreamBody>, Error> {
        let result = self.send_to_some(head, body).await;
        if result.is_err() {
            self.metrics.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    async fn send_to_some(
        &self,
        head: UpstreamHead,
        body: RequestBody,
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
            return self.send_to(server, pool, connection, head, body).await;
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
    ) -> Result<Response<UpstreamBody>, Error> {
        let exceeded = body.exceeded();
        let mut second_body = body.is_empty().then_some(RequestBody::Empty);
        let mut body = Some(body);
        loop {
            let is_reused = connection.is_reused;
            let Some(this_body) = body.take() else {
                return Err(Error::ProxyInternalError("a body was sent twice"));
            };
            let request = head.request(this_body, second_body.is_some())?;
            let watch = Stopwatch::start();
            let sent = connection.sender.send_request(request);
            let response = match tokio::time::timeout(self.config.response_timeout, sent).await {
                Ok(Ok(response)) => response,
                Ok(Err(source)) => {
                    if exceeded.as_ref().is_some_and(|exceeded| exceeded.get()) {
                        return Err(Error::RequestBodyTooLarge { limit_bytes: 0 });
                    }
                    if is_reused && head.method.is_idempotent() && second_body.is_some() {
                        body = second_body.take();
                        connection = self.connect(server, pool).await?;
                        continue;
                    }
                    return Err(Error::ConnectionTerminated {
                        upstream: self.name(),
                        server: server.authority.clone(),
                        source,
                    });
                }
                Err(_) => {
                    return Err(Error::HttpResponseTimeout {
                        upstream: self.name(),
                        server: server.authority.clone(),
                        after_ms: self.config.response_timeout.as_millis(),
                    });
                }
            };
            self.metrics.to_head.record(watch.elapsed());
            return self.received(response, pool, connection.sender);
        }
    }

    fn received(
        &self,
        response: Response<Incoming>,
        pool: &Rc<Pool>,
        sender: SendRequest<RequestBody>,
    ) -> Result<Response<UpstreamBody>, Error> {
        let (mut parts, incoming) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let reason = "101 without an upgrade";
            return Err(Error::HttpProtocolError { upstream: self.name(), reason });
        }
        //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
        //# If a message is received with both a Transfer-Encoding and a
        //# Content-Length header field, the Transfer-Encoding overrides the
        //# Content-Length. Such a message might indicate an attempt to perform
        //# request smuggling (Section 11.2) or response splitting (Section 11.1)
        //# and ought to be handled as an error.
        let is_ambiguous =
            parts.headers.contains_key(TRANSFER_ENCODING) && parts.headers.contains_key(CONTENT_LENGTH);
        if is_ambiguous {
            parts.headers.remove(CONTENT_LENGTH);
        }
        let lease =
            (!is_ambiguous).then(|| Lease { sender, pool: Rc::clone(pool), max_idle: self.config.max_idle });
        let body = UpstreamBody::new(incoming, lease, self.config.read_timeout);
        Ok(Response::from_parts(parts, body))
    }

    async fn connection(&self, server: &Server, pool: &Rc<Pool>) -> Result<Connection, Error> {
        while let Some(mut idle) = pool.take(self.config.idle_timeout) {
            if idle.ready().await.is_ok() {
                return Ok(Connection { sender: idle, is_reused: true });
            }
        }
        self.connect(server, pool).await
    }

    async fn connect(&self, server: &Server, pool: &Rc<Pool>) -> Result<Connection, Error> {
        let limit = self.config.max_connections;
        if pool.open.get() >= limit {
            return Err(Error::ConnectionLimitReached { upstream: self.name(), limit });
        }
        let open = OpenGuard::new(&pool.open);
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
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| refused(std::io::Error::other(error)))?;
        tokio::task::spawn_local(async move {
            // Its end is told to whoever reads from it; here is nothing to add.
            let _ = connection.await;
            drop(open);
        });
        Ok(Connection { sender, is_reused: false })
    }

    fn name(&self) -> Box<str> {
        self.config.name.as_str().into()
    }
}

struct Connection {
    sender: SendRequest<RequestBody>,
    is_reused: bool,
}

/// Counts one open connection for as long as it lives.
struct OpenGuard(Rc<Cell<usize>>);

impl OpenGuard {
    fn new(open: &Rc<Cell<usize>>) -> OpenGuard {
        open.set(open.get() + 1);
        OpenGuard(Rc::clone(open))
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Pool {
    /// The connection used last: it is the least likely to have been closed.
    fn take(&self, idle_timeout: Duration) -> Option<SendRequest<RequestBody>> {
        let mut idle = self.idle.borrow_mut();
        while idle.front().is_some_and(|oldest| oldest.since.elapsed() > idle_timeout) {
            idle.pop_front();
        }
        while let Some(last) = idle.pop_back() {
            if !last.sender.is_closed() {
                return Some(last.sender);
            }
        }
        None
    }

    fn keep(&self, sender: SendRequest<RequestBody>, max_idle: usize) {
        let mut idle = self.idle.borrow_mut();
        if !sender.is_closed() && idle.len() < max_idle {
            idle.push_back(Idle { sender, since: Stopwatch::start() });
        }
    }
}

impl UpstreamHead {
    fn request(&self, body: RequestBody, _may_repeat: bool) -> Result<http::Request<RequestBody>, Error> {
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.fields.clone();
        Ok(request)
    }
}

/// What is sent to an upstream.
pub enum RequestBody {
    Empty,
    /// The client's body as it comes in, up to a limit.
    Client {
        incoming: Incoming,
        left_bytes: u64,
        limit_bytes: u64,
        exceeded: Rc<Cell<bool>>,
    },
}

impl RequestBody {
    pub fn of_client(incoming: Incoming, limit_bytes: u64) -> RequestBody {
        RequestBody::Client { incoming, left_bytes: limit_bytes, limit_bytes, exceeded: Rc::default() }
    }

    fn is_empty(&self) -> bool {
        matches!(self, RequestBody::Empty)
    }

    fn exceeded(&self) -> Option<Rc<Cell<bool>>> {
        match self {
            RequestBody::Empty => None,
            RequestBody::Client { exceeded, .. } => Some(Rc::clone(exceeded)),
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Client { incoming, left_bytes, limit_bytes, exceeded } => {
                let polled = Pin::new(incoming).poll_frame(context).map_err(Error::Body);
                if let Poll::Ready(Some(Ok(frame))) = &polled {
                    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                    match left_bytes.checked_sub(length) {
                        Some(left) => *left_bytes = left,
                        None => {
                            exceeded.set(true);
                            let limit_bytes = *limit_bytes;
                            return Poll::Ready(Some(Err(Error::RequestBodyTooLarge { limit_bytes })));
                        }
                    }
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Client { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Client { incoming, .. } => incoming.size_hint(),
        }
    }
}

/// A response body from an upstream. Its connection goes back to the pool when the body has been read to its
/// end, and is closed when it is dropped before that.
pub struct UpstreamBody {
    incoming: Incoming,
    lease: Option<Lease>,
    read_timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

struct Lease {
    sender: SendRequest<RequestBody>,
    pool: Rc<Pool>,
    max_idle: usize,
}

impl std::fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamBody").field("incoming", &self.incoming).finish_non_exhaustive()
    }
}

impl UpstreamBody {
    fn new(incoming: Incoming, lease: Option<Lease>, read_timeout: Duration) -> UpstreamBody {
        let mut body = UpstreamBody { incoming, lease, read_timeout, timer: None };
        body.release_at_end();
        body
    }

    /// The length that the upstream announced.
    pub fn known_length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// The next piece of data; trailers are passed over.
    pub async fn data(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut *self).poll_frame(context)).await?;
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                Ok(Err(_trailers)) => (),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.pool.keep(lease.sender, lease.max_idle);
        }
    }

    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.read_timeout)));
        timer.as_mut().poll(context).map(|()| Error::BodyTimeout { after_ms: self.read_timeout.as_millis() })
    }
}

impl http_body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let body = self.get_mut();
        match Pin::new(&mut body.incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                body.timer = None;
                body.release_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                body.lease = None;
                let cause =
                    if error.is_incomplete_message() { Error::BodyEndedEarly } else { Error::Body(error) };
                Poll::Ready(Some(Err(cause)))
            }
            Poll::Ready(None) => {
                body.release_at_end();
                Poll::Ready(None)
            }
            Poll::Pending => body.poll_timeout(context).map(|error| {
                body.lease = None;
                Some(Err(error))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
