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
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::connection::{Connection, Pool};
use crate::error::Error;

/// What is sent to an upstream.
pub enum RequestBody {
    Empty,
    /// The client's body as it comes in, up to a limit.
    Client(ClientBody),
}

/// What is left of a client's body.
pub struct ClientBody {
    incoming: Incoming,
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
    failure: Cell<Option<Failure>>,
}

impl Upload {
    /// Nothing more is said.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
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
    pub fn of_client(incoming: Incoming, limit_bytes: u64, patience: Patience) -> RequestBody {
        RequestBody::Client(ClientBody {
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
            RequestBody::Empty => Rc::new(Upload { is_over: Cell::new(true), failure: Cell::new(None) }),
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
            RequestBody::Client(ClientBody { incoming, left_bytes, limit_bytes, patience, upload }) => {
                match Pin::new(&mut *incoming).poll_frame(context).map_err(Error::Body) {
                    Poll::Ready(Some(Ok(frame))) => {
                        patience.begin_again();
                        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                        if let Some(left) = left_bytes.checked_sub(length) {
                            *left_bytes = left;
                            upload.is_over.set(incoming.is_end_stream());
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
            RequestBody::Client(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Client(body) => body.incoming.size_hint(),
        }
    }
}

/// A response body from an upstream. Its connection goes back to the pool when the body has been read to its
/// end, and is closed when it is dropped before that.
pub struct UpstreamBody {
    incoming: Incoming,
    lease: Option<Lease>,
    patience: Patience,
}

/// A connection that can be used again once this body has ended.
pub(super) struct Lease {
    pub(super) connection: Connection,
    pub(super) pool: Rc<Pool>,
    pub(super) max_idle: usize,
}

impl std::fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamBody").field("incoming", &self.incoming).finish_non_exhaustive()
    }
}

impl UpstreamBody {
    pub(super) fn new(incoming: Incoming, lease: Option<Lease>, patience: Patience) -> UpstreamBody {
        let mut body = UpstreamBody { incoming, lease, patience };
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
