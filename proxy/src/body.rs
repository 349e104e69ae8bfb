//! The body of an answer, wherever it comes from.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::{arriving::Reader, error::Error, upstream::UpstreamBody};

/// What is sent to a client.
#[derive(Debug)]
pub enum Body {
    Whole(Option<Bytes>),
    /// A response that is being stored at this moment.
    Arriving(Reader),
    /// A response that is for this client alone.
    Upstream(Box<UpstreamBody>),
}

impl Body {
    pub fn empty() -> Body {
        Body::Whole(None)
    }

    pub fn whole(bytes: Bytes) -> Body {
        Body::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
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
            Body::Upstream(body) => Pin::new(body.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_none(),
            Body::Arriving(_) => false,
            Body::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            // The length, if it is known, stands in the fields.
            Body::Arriving(_) => SizeHint::default(),
            Body::Upstream(body) => body.size_hint(),
        }
    }
}
