//! An answer that is sent while its rows are read.
//!
//! It has no length and no ETag, which are known at its end. A failure on the way ends the connection: a client that was sent
//! half of the rows must see that they are half. Read next: `database/stream.rs`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::warn;

use super::rows::RowWriter;
use super::{CACHE_TAG, JSON, SERVED_BY, VERSION, tags};
use crate::catalogue::Endpoint;
use crate::database::Streaming;
use crate::error::{Error, chain};
use crate::params::Given;

/// As much as is worth a write to the socket. Two of these and a row are what an answer holds in memory.
const CHUNK_BYTES: usize = 32 * 1024;
/// For a client to read a chunk: meanwhile it has a connection to a server for itself.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

/// The chunks of an answer, in order.
#[derive(Debug)]
pub(crate) struct Chunks {
    receiver: mpsc::Receiver<Chunk>,
    first: Option<Bytes>,
    is_done: bool,
}

pub(crate) type ChunkSender = mpsc::Sender<Chunk>;

#[derive(Debug)]
pub(crate) enum Chunk {
    Bytes(Bytes),
    /// All was said. A sender that goes away without a word has failed.
    End,
    Failed(Error),
}

/// For what is sent bit by bit and is not made of rows.
pub(crate) fn chunks() -> (ChunkSender, Chunks) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Chunks { receiver, first: None, is_done: false })
}

/// What cuts a connection.
#[derive(Debug, thiserror::Error)]
#[error("the answer ended before its last row")]
pub(crate) struct CutOff;

/// Answers when the first chunk is there, so that what fails before it has a status.
pub(crate) async fn response(
    endpoint: &Endpoint,
    given: &Given,
    streaming: Streaming,
) -> Result<Response<Chunks>, Error> {
    let writer = RowWriter::new(endpoint, &streaming.prepared.layout, given)?;
    let (stamp, server) = (streaming.stamp.clone(), streaming.session().server.clone());
    let (sender, mut receiver) = mpsc::channel(1);
    let name = endpoint.name.clone();
    // Ends when the rows do, or when the client goes.
    tokio::spawn(async move {
        if let Err(error) = send(streaming, writer, &sender).await {
            warn!(endpoint.name = name, "endpoint `{name}`, after it began to answer: {}", chain(&error));
            // Where there is no room, the end of this sender says the same.
            let _ = sender.try_send(Chunk::Failed(error));
        }
    });
    let (first, is_done) = match receiver.recv().await {
        Some(Chunk::Bytes(bytes)) => (Some(bytes), false),
        Some(Chunk::End) => (None, true),
        Some(Chunk::Failed(error)) => return Err(error),
        None => return Err(Error::Endpoint("the rows ended without a word")),
    };
    let mut response = Response::new(Chunks { receiver, first, is_done });
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, JSON);
    match tags(endpoint, given, &[]).map(|tags| HeaderValue::from_str(&tags)) {
        Some(Ok(tags)) => {
            fields.insert(CACHE_CONTROL, endpoint.cache.clone());
            if !tags.is_empty() {
                fields.insert(CACHE_TAG, tags);
            }
        }
        Some(Err(_)) | None => drop(fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"))),
    }
    for (name, value) in [(SERVED_BY, &*server), (VERSION, &*stamp)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            fields.insert(name, value);
        }
    }
    Ok(response)
}

/// Reads on only when the client has taken what was read.
async fn send(
    mut streaming: Streaming,
    mut writer: RowWriter,
    sender: &mpsc::Sender<Chunk>,
) -> Result<(), Error> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES * 2);
    chunk.push(b'[');
    while let Some(row) = streaming.next().await? {
        writer.push(&row, &mut chunk)?;
        if chunk.len() >= CHUNK_BYTES {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_BYTES * 2));
            match timeout(CLIENT_PATIENCE, sender.send(Chunk::Bytes(full.into()))).await {
                Ok(Ok(())) => (),
                // The client has gone.
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(Error::Endpoint("the client did not read on")),
            }
        }
    }
    writer.finish()?;
    // Others may have the connection while the client reads the rest.
    drop(streaming);
    chunk.push(b']');
    if sender.send(Chunk::Bytes(chunk.into())).await.is_ok() {
        // As above.
        let _ = sender.send(Chunk::End).await;
    }
    Ok(())
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.is_done {
            return Poll::Ready(None);
        }
        self.receiver.poll_recv(context).map(|chunk| match chunk {
            Some(Chunk::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Chunk::End) => {
                self.is_done = true;
                None
            }
            Some(Chunk::Failed(_)) | None => {
                self.is_done = true;
                Some(Err(CutOff))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_done && self.first.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
