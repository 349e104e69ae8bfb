//! What the stream of a client's connection and the request that is served on it have to tell each other past hyper:
//! interim responses, for which hyper's server has no place, and the stream that it is to be joined with.
//!
//! One for each connection, made once. Knows the bytes that are to be written, not what asks for them.
//! Read next: `accept/stream.rs`, which writes them; `upstream/interim.rs`, where they come from.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
};

use bytes::BytesMut;
use caching::fields::{remove_hop_by_hop, remove_internal};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use crate::upstream::Tunnel;

/// Shared by a connection's stream and the request under way on it.
pub struct Link {
    /// Of the connection's task: it writes what is queued.
    task: Waker,
    /// To be written ahead of what hyper writes next. Empty unless [`Link::is_clean`] was true when it was filled.
    pub(super) queued: RefCell<BytesMut>,
    // INVARIANT: true only while hyper holds no byte that it has not written. hyper ends every turn with a flush, and
    // takes the next request only when the last answer is in its buffer in whole: so a flush that was the last thing
    // it did, and did in full, has left nothing behind.
    pub(super) is_clean: Cell<bool>,
    /// Goes up when a request begins and when its answer is given: whoever holds an older number is too late.
    turn: Cell<u64>,
    // hyper ends a connection on which somebody asked to switch as if the switch were made, without a last flush.
    may_end_early: Cell<bool>,
    /// Where the bytes of the client go once its last answer is written.
    tunnel: Cell<Option<Box<Tunnel>>>,
}

/// The way of interim responses to the client of one request, while it waits for its answer.
#[derive(Clone)]
pub struct InterimSink {
    link: Rc<Link>,
    turn: u64,
}

impl Link {
    /// To be called in the connection's task, whose waker it is.
    pub(super) fn new(task: Waker) -> Rc<Link> {
        Rc::new(Link {
            task,
            queued: RefCell::default(),
            is_clean: Cell::new(true),
            turn: Cell::new(0),
            may_end_early: Cell::new(false),
            tunnel: Cell::new(None),
        })
    }

    /// A request begins.
    pub fn interim_sink(self: &Rc<Link>) -> InterimSink {
        InterimSink { link: Rc::clone(self), turn: self.turn.get() }
    }

    /// The answer that is given next is the last one: behind it come the bytes of this tunnel.
    pub fn switch(&self, tunnel: Box<Tunnel>) {
        self.tunnel.set(Some(tunnel));
    }

    pub(super) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    /// hyper has no more to say, and the stream goes on.
    pub(super) fn is_to_be_joined(&self) -> bool {
        let tunnel = self.tunnel.take();
        let is_there = tunnel.is_some();
        self.tunnel.set(tunnel);
        is_there
    }

    pub(super) fn may_end_early(&self) -> bool {
        self.may_end_early.get()
    }

    pub(super) fn somebody_asks_to_switch(&self) {
        self.may_end_early.set(true);
    }

    /// The answer is given to hyper: from here on nothing may be said ahead of it.
    pub fn end_turn(&self) {
        self.turn.set(self.turn.get().wrapping_add(1));
    }
}

impl InterimSink {
    /// Writes an interim response to the client, as soon as its connection's task runs.
    ///
    /// It is passed over where that could come out of place: when the answer is given already, and when something of
    /// the answer before it is not written yet because the client is slow to read. Nobody may count on getting one.
    pub fn send(&self, status: StatusCode, mut fields: HeaderMap) {
        if self.turn != self.link.turn.get() || !self.link.is_clean.get() {
            return;
        }
        remove_hop_by_hop(&mut fields);
        remove_internal(&mut fields);
        //= https://www.rfc-editor.org/rfc/rfc9110#section-8.6
        //# A server MUST NOT send a Content-Length header field in any response
        //# with a status code of 1xx (Informational) or 204 (No Content).
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
            fields.remove(name);
        }
        let mut queued = self.link.queued.borrow_mut();
        queued.extend_from_slice(b"HTTP/1.1 ");
        queued.extend_from_slice(status.as_str().as_bytes());
        queued.extend_from_slice(b" ");
        queued.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        queued.extend_from_slice(b"\r\n");
        for (name, value) in &fields {
            queued.extend_from_slice(name.as_str().as_bytes());
            queued.extend_from_slice(b": ");
            queued.extend_from_slice(value.as_bytes());
            queued.extend_from_slice(b"\r\n");
        }
        queued.extend_from_slice(b"\r\n");
        // hyper flushes whenever its task runs, also while it has nothing to say itself.
        self.link.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::LINK};

    use super::*;

    fn queued_of(link: &Link) -> String {
        String::from_utf8(link.queued.borrow().to_vec()).unwrap()
    }

    fn hint() -> HeaderMap {
        HeaderMap::from_iter([(LINK, HeaderValue::from_static("</a>; rel=preload"))])
    }

    #[test]
    fn an_interim_response_is_queued_with_its_fields() {
        let link = Link::new(Waker::noop().clone());
        let mut fields = hint();
        fields.insert("connection", HeaderValue::from_static("x-hop"));
        fields.insert("x-hop", HeaderValue::from_static("1"));
        fields.insert("content-length", HeaderValue::from_static("1"));
        link.interim_sink().send(StatusCode::EARLY_HINTS, fields);
        assert_eq!(queued_of(&link), "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n");
    }

    #[test]
    fn nothing_is_said_behind_bytes_that_hyper_still_has() {
        let link = Link::new(Waker::noop().clone());
        link.is_clean.set(false);
        link.interim_sink().send(StatusCode::EARLY_HINTS, hint());
        assert_eq!(queued_of(&link), "");
    }

    #[test]
    fn nothing_is_said_once_the_answer_is_given() {
        let link = Link::new(Waker::noop().clone());
        let (late, next) = (link.interim_sink(), {
            link.end_turn();
            link.interim_sink()
        });
        late.send(StatusCode::EARLY_HINTS, hint());
        assert_eq!(queued_of(&link), "");
        next.send(StatusCode::PROCESSING, HeaderMap::new());
        assert_eq!(queued_of(&link), "HTTP/1.1 102 Processing\r\n\r\n");
    }
}
