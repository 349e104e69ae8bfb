//! A client's stream that does not wait for ever to be read: one that takes nothing for a while is closed.
//!
//! hyper bounds how long a head may take; this bounds the other direction, for which it has nothing. And it sends a
//! small answer in one piece, and interim responses ahead of it. Read next: `accept/link.rs`.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf as _;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Sleep};

use super::link::Link;

pub(super) struct ClientStream {
    stream: TokioIo<TcpStream>,
    /// Between two pieces that the client takes.
    patience: Duration,
    /// Set while the client takes nothing.
    timer: Option<Pin<Box<Sleep>>>,
    joined: Scratch,
    link: Rc<Link>,
}

/// Where the pieces of a small answer are put together; one for all connections of a worker.
pub(super) type Scratch = Rc<RefCell<Vec<u8>>>;

/// To copy so much costs less than to have the kernel gather it: one `send` in place of a `writev`.
const SMALL_BYTES: usize = 4096;

impl ClientStream {
    pub(super) fn new(
        stream: TcpStream,
        patience: Duration,
        joined: &Scratch,
        link: &Rc<Link>,
    ) -> ClientStream {
        ClientStream {
            stream: TokioIo::new(stream),
            patience,
            timer: None,
            joined: Rc::clone(joined),
            link: Rc::clone(link),
        }
    }

    /// Writes the interim responses that wait. Pending: not all of them are written, and nothing may pass them.
    fn poll_queued(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let link = Rc::clone(&self.link);
        let mut queued = link.queued.borrow_mut();
        while !queued.is_empty() {
            let written =
                ready!(self.bounded(context, |stream, context| stream.poll_write(context, &queued)))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            queued.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// hyper is about to write bytes of its own.
    fn poll_begin(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.is_clean.set(false);
        if self.link.queued.borrow().is_empty() { Poll::Ready(Ok(())) } else { self.poll_queued(context) }
    }

    /// Passes on what a write came to, and counts the time in which it comes to nothing.
    fn bounded<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TokioIo<TcpStream>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = write(Pin::new(&mut self.stream), context) {
            self.timer = None;
            return Poll::Ready(done);
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.patience)));
        timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Read for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_begin(context))?;
        self.bounded(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.link.queued.borrow().is_empty() {
            ready!(self.poll_queued(context))?;
        }
        ready!(self.bounded(context, |stream, context| stream.poll_flush(context)))?;
        self.link.is_clean.set(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.link.is_to_be_joined() {
            return self.poll_flush(context);
        }
        self.bounded(context, |stream, context| stream.poll_shutdown(context))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_begin(context))?;
        if slices.iter().map(|slice| slice.len()).sum::<usize>() <= SMALL_BYTES {
            let joined = Rc::clone(&self.joined);
            let mut joined = joined.borrow_mut();
            joined.clear();
            slices.iter().for_each(|slice| joined.extend_from_slice(slice));
            return self.bounded(context, |stream, context| stream.poll_write(context, &joined));
        }
        self.bounded(context, |stream, context| stream.poll_write_vectored(context, slices))
    }
}
