//! The body of an answer, wherever it comes from.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Frame, SizeHint};

use crate::{
    arriving::Reader, error::Error, live_updates::EventStream, pieces::Pieces, upstream::UpstreamBody,
};

/// What is sent to a client.
#[derive(Debug)]
pub enum Body {
    Whole(Option<Bytes>),
    /// A large one in the pieces that are stored, from this one on.
    Stored(Pieces, usize),
    /// Parts of a stored one, with what stands between them.
    Pieces(VecDeque<Bytes>),
    /// A response that is being stored at this moment.
    Arriving(Reader),
    /// A response that is for this client alone.
    Upstream(Box<UpstreamBody>),
    /// The same, behind a beginning that was stored.
    Completed(VecDeque<Bytes>, Box<UpstreamBody>),
    /// Live updates, for as long as they are read.
    Events(Box<EventStream>),
}

impl Body {
    pub fn empty() -> Body {
        Body::Whole(None)
    }

    pub fn whole(bytes: Bytes) -> Body {
        Body::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// Of what is stored; nothing is copied.
    pub fn stored(pieces: &Pieces) -> Body {
        match pieces {
            Pieces::One(bytes) => Body::whole(bytes.clone()),
            Pieces::Many(_) => Body::Stored(pieces.clone(), 0),
        }
    }

    /// The names of trailer fields that may come behind it.
    pub fn announced_trailers(&self) -> Option<&HeaderValue> {
        match self {
            Body::Whole(_) | Body::Stored(..) | Body::Pieces(_) | Body::Events(_) => None,
            Body::Arriving(reader) => reader.announced_trailers(),
            Body::Upstream(body) | Body::Completed(_, body) => body.announced_trailers(),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Arriving(reader) => reader.poll_chunk(context),
            Body::Stored(pieces, next) => {
                let piece = pieces.iter().nth(*next).cloned();
                *next += 1;
                Poll::Ready(piece.map(|bytes| Ok(Frame::data(bytes))))
            }
            Body::Pieces(pieces) => Poll::Ready(pieces.pop_front().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Events(events) => {
                events.poll_chunk(context).map(|event| event.map(|event| Ok(Frame::data(event))))
            }
            Body::Upstream(body) => Pin::new(body.as_mut()).poll_frame(context),
            Body::Completed(ahead, body) => match ahead.pop_front() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Pin::new(body.as_mut()).poll_frame(context),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_none(),
            Body::Arriving(_) | Body::Events(_) => false,
            Body::Stored(pieces, next) => pieces.iter().nth(*next).is_none(),
            Body::Pieces(pieces) => pieces.is_empty(),
            Body::Upstream(body) => body.is_end_stream(),
            Body::Completed(ahead, body) => ahead.is_empty() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            // The length, if it is known, stands in the fields.
            Body::Arriving(_) | Body::Completed(..) | Body::Events(_) => SizeHint::default(),
            Body::Stored(pieces, next) => {
                SizeHint::with_exact(pieces.iter().skip(*next).map(|bytes| bytes.len() as u64).sum())
            }
            Body::Pieces(pieces) => SizeHint::with_exact(pieces.iter().map(|b| b.len() as u64).sum()),
            Body::Upstream(body) => body.size_hint(),
        }
    }
}
