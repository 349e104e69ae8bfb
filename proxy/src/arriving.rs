//! A body that is still coming in, read by any number of clients, on any worker, each at its own pace.
//!
//! While it may still be stored, all of it is kept. Once it has proven too large, only what some reader has yet
//! to read is kept, and the fetch waits for the slowest. It ends in one way for everybody: whole, or failed.
//! Next: `coalesce.rs` for who may read it.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;

use crate::{
    error::Error,
    pieces::{Block, PIECE_OVERHEAD_BYTES, Pieces},
};

/// How far the fetch may run ahead of the slowest reader once the body is not kept any more.
const WINDOW_BYTES: usize = 128 * 1024;

#[derive(Debug, Default)]
pub struct Arriving {
    state: Mutex<State>,
    /// The names of trailer fields that may come behind it.
    announced_trailers: Option<HeaderValue>,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Bytes>,
    /// Number of chunks that were dropped in front of `chunks`.
    dropped: usize,
    buffered_bytes: usize,
    total_bytes: usize,
    is_kept: bool,
    /// Where what is kept is copied to.
    block: Block,
    /// How long it will be, if that was announced.
    expected_bytes: Option<u64>,
    end: Option<End>,
    /// What came behind a whole body. For those who read it now: it is not stored.
    trailers: Option<HeaderMap>,
    readers: slab::Slab<ReaderState>,
    writer: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Failed,
}

#[derive(Debug, Default)]
struct ReaderState {
    /// The chunk it reads next, counted from the first of the body.
    next: usize,
    /// It was too slow, and the rest has gone on without it.
    is_left: bool,
    has_trailers: bool,
    waker: Option<Waker>,
}

impl Arriving {
    /// `expected_bytes`: its length, if that was announced. `announced_trailers`: the names of fields that may come behind it.
    pub fn new(expected_bytes: Option<u64>, announced_trailers: Option<HeaderValue>) -> Arc<Arriving> {
        let state = Mutex::new(State { is_kept: true, expected_bytes, ..State::default() });
        Arc::new(Arriving { state, announced_trailers })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after each statement below, so a panic of another thread does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader from the first byte on; `None` if that byte is gone already.
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.lock();
        if state.dropped > 0 || !state.is_kept {
            return None;
        }
        let id = state.readers.insert(ReaderState::default());
        Some(Reader { arriving: Arc::clone(self), id })
    }

    /// Adds what came. Returns how many bytes there are now.
    pub fn push(&self, chunk: Bytes) -> usize {
        let mut state = self.lock();
        let before = state.total_bytes;
        state.total_bytes += chunk.len();
        let State { chunks, block, expected_bytes, is_kept, buffered_bytes, .. } = &mut *state;
        let mut add = |piece: Bytes| {
            *buffered_bytes += piece.len() + PIECE_OVERHEAD_BYTES;
            chunks.push_back(piece);
        };
        if *is_kept {
            let expected = expected_bytes.map(|all| all.saturating_sub(before as u64));
            block.copied(&chunk, expected, add);
        } else {
            add(chunk);
        }
        state.drop_what_all_have_read();
        state.wake_readers();
        state.total_bytes
    }

    /// How many bytes have come.
    pub fn bytes(&self) -> usize {
        self.lock().total_bytes
    }

    /// It will not be stored: from now on keep only what is yet to be read, and let nobody join.
    pub fn stop_keeping(&self) {
        let mut state = self.lock();
        state.is_kept = false;
        state.drop_what_all_have_read();
    }

    /// Waits until there is room for more. Ready at once while everything is kept. `Err`: nobody reads it and
    /// nothing keeps it, so there is no use in fetching on.
    pub async fn room(&self) -> Result<(), NobodyReads> {
        std::future::poll_fn(|context| {
            let mut state = self.lock();
            if state.is_kept {
                return Poll::Ready(Ok(()));
            }
            if state.readers.iter().all(|(_, reader)| reader.is_left) {
                return Poll::Ready(Err(NobodyReads));
            }
            if state.buffered_bytes < WINDOW_BYTES {
                return Poll::Ready(Ok(()));
            }
            state.writer = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Goes on without the readers that are furthest behind: for them it has ended broken.
    pub fn leave_the_slowest_behind(&self) {
        let mut state = self.lock();
        let slowest =
            state.readers.iter().filter(|(_, reader)| !reader.is_left).map(|(_, reader)| reader.next).min();
        for (_, reader) in &mut state.readers {
            reader.is_left |= Some(reader.next) == slowest;
        }
        state.wake_readers();
        state.drop_what_all_have_read();
    }

    pub fn has_readers(&self) -> bool {
        self.lock().readers.iter().any(|(_, reader)| !reader.is_left)
    }

    /// Ends it whole and returns all of it, if it was kept.
    pub fn finish(&self, trailers: Option<HeaderMap>) -> Option<Pieces> {
        let mut state = self.lock();
        state.trailers = trailers;
        state.end = Some(End::Whole);
        let kept = state.is_kept.then(|| Pieces::of(state.chunks.iter()));
        state.wake_readers();
        kept
    }

    /// Ends it broken, unless it has ended.
    pub fn fail(&self) {
        let mut state = self.lock();
        state.end.get_or_insert(End::Failed);
        state.wake_readers();
    }
}

/// The last reader of a body that is not kept has gone.
#[derive(Debug, Clone, Copy)]
pub struct NobodyReads;

impl State {
    fn wake_readers(&mut self) {
        for (_, reader) in &mut self.readers {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }

    fn drop_what_all_have_read(&mut self) {
        if self.is_kept {
            return;
        }
        let still_reading = self.readers.iter().filter(|(_, reader)| !reader.is_left);
        let all_have_read = still_reading.map(|(_, reader)| reader.next).min();
        let keep_from = all_have_read.unwrap_or(self.dropped + self.chunks.len());
        while self.dropped < keep_from {
            let Some(chunk) = self.chunks.pop_front() else { break };
            self.dropped += 1;
            self.buffered_bytes -= chunk.len() + PIECE_OVERHEAD_BYTES;
        }
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

/// One client's way through the body.
#[derive(Debug)]
pub struct Reader {
    arriving: Arc<Arriving>,
    id: usize,
}

impl Reader {
    pub fn announced_trailers(&self) -> Option<&HeaderValue> {
        self.arriving.announced_trailers.as_ref()
    }

    /// `None` at the end of a whole body, an error at the end of a broken one.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = self.arriving.lock();
        let dropped = state.dropped;
        let reader = &mut state.readers[self.id];
        let next = reader.next;
        reader.waker = None;
        if reader.is_left {
            return Poll::Ready(Some(Err(Error::BodyEndedEarly)));
        }
        if let Some(chunk) = state.chunks.get(next - dropped).cloned() {
            state.readers[self.id].next += 1;
            state.drop_what_all_have_read();
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match state.end {
            Some(End::Whole) => {
                let state = &mut *state;
                let had_trailers = std::mem::replace(&mut state.readers[self.id].has_trailers, true);
                let trailers = state.trailers.clone().filter(|_| !had_trailers);
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Some(End::Failed) => Poll::Ready(Some(Err(Error::BodyEndedEarly))),
            None => {
                state.readers[self.id].waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.arriving.lock();
        state.readers.remove(self.id);
        state.drop_what_all_have_read();
    }
}

/// Ends the body broken if its fetch goes away without having ended it.
#[derive(Debug)]
pub struct FailOnDrop(pub Arc<Arriving>);

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        self.0.fail();
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.get_mut().poll_chunk(context)
    }
}
