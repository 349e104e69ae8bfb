//! Bodies on their way to and from an upstream: bounded in size, in the time between two pieces, and the reason why a
//! connection goes back to its pool or not.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use caching::fields::clean_trailers;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::{
    Tunnel,
    connection::{Connection, Pool},
};
use crate::{error::Error, request::ReceivedBody};

/// What is sent to an upstream.
pub enum RequestBody {
    Empty,
    /// The client's body as it comes in, up to a limit.
    Client(ClientBody),
}

/// What is left of a client's body.
pub struct ClientBody {
    /// What was read of it before it was known where it goes.
    ahead: Bytes,
    /// The rest, if there is more.
    incoming: Option<Incoming>,
    left_bytes: u64,
    limit_bytes: u64,
    patience: Patience,
    upload: Rc<Upload>,
}

/// How far a client's body has come, for who waits for the answer to it. Told beside the errors of the body, which
/// hyper wraps into one of its own.
#[derive(Debug, Default)]
pub(super) struct Upload {
    is_over: Cell<bool>,
    /// It is the client's turn: its own patience bounds how long.
    waits_for_client: Cell<bool>,
    /// Something was sent since somebody last looked.
    has_moved: Cell<bool>,
    failure: Cell<Option<Failure>>,
}

impl Upload {
    /// More is to be said, and it is not the upstream that is waited for.
    pub(super) fn goes_on(&self) -> bool {
        let has_moved = self.has_moved.replace(false);
        !self.is_over.get() && (has_moved || self.waits_for_client.get())
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.get()
    }

    fn fail(&self, failure: Failure) {
        self.is_over.set(true);
        self.failure.set(Some(failure));
    }
}

/// Why a client's body did not reach its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    TooLarge {
        limit_bytes: u64,
    },
    Stalled {
        after_ms: u128,
    },
    /// Its framing is wrong, or it ended early.
    Broken,
}

/// How long may pass between two pieces of a body.
pub struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub fn new(limit: Duration) -> Patience {
        Patience { limit, timer: None }
    }

    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        timer.as_mut().poll(context).map(|()| Error::BodyTimeout { after_ms: self.limit.as_millis() })
    }

    fn begin_again(&mut self) {
        self.timer = None;
    }
}

impl RequestBody {
    pub fn of_client(received: ReceivedBody, limit_bytes: u64, patience: Patience) -> RequestBody {
        let ReceivedBody { ahead, incoming } = received;
        RequestBody::Client(ClientBody {
            ahead,
            incoming,
            left_bytes: limit_bytes,
            limit_bytes,
            patience,
            upload: Rc::default(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, RequestBody::Empty)
    }

    pub(super) fn upload(&self) -> Rc<Upload> {
        match self {
            RequestBody::Empty => Rc::new(Upload { is_over: Cell::new(true), ..Upload::default() }),
            RequestBody::Client(body) => Rc::clone(&body.upload),
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
            RequestBody::Client(body) => {
                let polled = body.poll_next(context);
                let ClientBody { incoming, left_bytes, limit_bytes, patience, upload, .. } = body;
                upload.waits_for_client.set(polled.is_pending());
                upload.has_moved.set(true);
                match polled {
                    Poll::Ready(Some(Ok(frame))) => {
                        patience.begin_again();
                        let frame = match frame.into_trailers() {
                            Ok(trailers) => {
                                // hyper asks for nothing more behind them.
                                upload.is_over.set(true);
                                return Poll::Ready(Some(Ok(cleaned(trailers))));
                            }
                            Err(data) => data,
                        };
                        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                        if let Some(left) = left_bytes.checked_sub(length) {
                            *left_bytes = left;
                            upload.is_over.set(is_over(incoming.as_ref()));
                            return Poll::Ready(Some(Ok(frame)));
                        }
                        let limit_bytes = *limit_bytes;
                        upload.fail(Failure::TooLarge { limit_bytes });
                        Poll::Ready(Some(Err(Error::RequestBodyTooLarge { limit_bytes })))
                    }
                    Poll::Pending => patience.poll_over(context).map(|error| {
                        upload.fail(Failure::Stalled { after_ms: patience.limit.as_millis() });
                        Some(Err(error))
                    }),
                    Poll::Ready(Some(Err(error))) => {
                        upload.fail(Failure::Broken);
                        Poll::Ready(Some(Err(error)))
                    }
                    Poll::Ready(None) => {
                        upload.is_over.set(true);
                        Poll::Ready(None)
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Client(body) => body.ahead.is_empty() && is_over(body.incoming.as_ref()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Client(body) => {
                let ahead = body.ahead.len() as u64;
                let rest = body.incoming.as_ref().map_or(Some(0), |incoming| incoming.size_hint().exact());
                rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(ahead + rest))
            }
        }
    }
}

impl ClientBody {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.ahead)))));
        }
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(context).map_err(Error::Body),
            None => Poll::Ready(None),
        }
    }
}

fn is_over(incoming: Option<&Incoming>) -> bool {
    incoming.is_none_or(Incoming::is_end_stream)
}

/// Trailers without what may not stand there.
fn cleaned(mut trailers: HeaderMap) -> Frame<Bytes> {
    clean_trailers(&mut trailers);
    Frame::trailers(trailers)
}

/// A response body from an upstream. Its connection goes back to the pool when the body has been read to its
/// end, and is closed when it is dropped before that.
pub struct UpstreamBody {
    incoming: Incoming,
    /// Until its end; then it is given back or closed.
    lease: Option<Lease>,
    patience: Patience,
    /// What comes behind the head of a 101 in place of a body.
    tunnel: Option<Box<Tunnel>>,
    /// The names of trailer fields that may come, for the client.
    announced: Option<HeaderValue>,
    /// Those that came, where the data is read by itself.
    trailers: Option<Box<HeaderMap>>,
}

/// The connection that a body comes by.
pub(super) struct Lease {
    pub(super) connection: Connection,
    pub(super) pool: Rc<Pool>,
    pub(super) max_idle: usize,
    pub(super) may_be_used_again: bool,
}

impl std::fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamBody").field("incoming", &self.incoming).finish_non_exhaustive()
    }
}

impl UpstreamBody {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        patience: Patience,
        announced: Option<HeaderValue>,
    ) -> UpstreamBody {
        let lease = Some(lease);
        let mut body = UpstreamBody { incoming, lease, patience, tunnel: None, announced, trailers: None };
        body.release_at_end();
        body
    }

    pub(super) fn switched(incoming: Incoming, tunnel: Tunnel) -> UpstreamBody {
        let patience = Patience::new(Duration::ZERO);
        let tunnel = Some(Box::new(tunnel));
        UpstreamBody { incoming, lease: None, patience, tunnel, announced: None, trailers: None }
    }

    /// The stream of a server that has switched protocols.
    pub fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    /// The length that the upstream announced.
    pub fn known_length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// What to say of trailer fields in the head.
    pub fn announced_trailers(&self) -> Option<&HeaderValue> {
        self.announced.as_ref()
    }

    /// The trailer fields, once the data has been read to its end.
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take().map(|trailers| *trailers)
    }

    /// The next piece of data; trailers are kept for later.
    pub async fn data(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut *self).poll_frame(context)).await?;
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                Ok(Err(other)) => self.trailers = other.into_trailers().ok().map(Box::new),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take().filter(|lease| lease.may_be_used_again) {
            lease.pool.keep(lease.connection, lease.max_idle);
        }
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
                body.patience.begin_again();
                match frame.into_trailers() {
                    Ok(trailers) => {
                        // The last of it, and hyper's server asks for nothing more behind them.
                        body.release();
                        Poll::Ready(Some(Ok(cleaned(trailers))))
                    }
                    Err(data) => {
                        body.release_at_end();
                        Poll::Ready(Some(Ok(data)))
                    }
                }
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
            Poll::Pending => body.patience.poll_over(context).map(|error| {
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
