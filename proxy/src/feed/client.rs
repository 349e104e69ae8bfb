//! Listens to the change feed: one connection for the whole process, to whichever of the configured workers answers.
//!
//! What comes is read line by line, within bounds, and a line is applied whole or not at all. A connection that ends is no loss
//! yet: the next one asks to go on where this one was, and only if nobody can tell the rest the account begins anew. Until then
//! nothing is heard, which look-ups see for themselves (`account.rs`). Next: `lines.rs` for what is said.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use caching::{tags::is_tag, version::Position};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::oneshot, sync::watch};

use super::lines::{Line, MAX_LINE_BYTES, Malformed};
use crate::{
    config::{Feed, Server},
    live::Proxy,
    subscriptions::EventId,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A worker that has no account yet keeps its readers waiting; another one may have one.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two connections, at first and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// No log grows by so much while somebody listens to it: a position further away than this is none of it.
const LONGEST_WAY: u64 = 1 << 50;

/// Why a connection to the feed ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("connect: {0}")]
    Connect(#[source] io::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be written: {0}")]
    Request(#[from] http::Error),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("nothing was heard for too long")]
    Silent,
    #[error("the worker ended it")]
    End,
    #[error("a line is malformed: {0}")]
    Malformed(#[from] Malformed),
    #[error("a line is longer than {MAX_LINE_BYTES} bytes")]
    LineTooLong,
    #[error("an event before the account began")]
    NotBegun,
    #[error("a position far beyond the account")]
    TooFar,
}

/// Ends the listening when it is dropped.
#[derive(Debug)]
pub struct Listener {
    _stop: oneshot::Sender<()>,
}

/// Begins to listen, in a thread of its own: nothing that an operator asks for keeps an event waiting.
///
/// # Errors
/// The system has no thread left.
pub fn start(proxy: Arc<Proxy>) -> io::Result<Listener> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    std::thread::Builder::new().name("feed".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = listen(&proxy) => (),
                _ = stopped => (),
            }
        });
        // A name that is still being resolved must not hold up the end.
        runtime.shutdown_background();
    })?;
    Ok(Listener { _stop: stop })
}

/// To whatever feed is configured, for ever.
async fn listen(proxy: &Proxy) {
    let mut swaps = proxy.swaps();
    let mut turn = 0;
    let mut pause = FIRST_PAUSE;
    let mut is_told = false;
    loop {
        swaps.borrow_and_update();
        let Some(feed) = proxy.live().config.feed.clone() else {
            // What comes later is another account: nobody listens now.
            proxy.feed.lose(proxy.clock.now());
            if swaps.changed().await.is_err() {
                return;
            }
            continue;
        };
        proxy.feed.configure(feed.settle, feed.max_silence);
        let Some(server) = feed.servers.get(turn % feed.servers.len().max(1)) else { return };
        let mut connection = Connection { proxy, has_begun: false };
        let ended = tokio::select! {
            ended = connection.follow(&feed, server) => ended,
            () = changed(proxy, &feed, &mut swaps) => continue,
        };
        if connection.has_begun {
            (pause, is_told) = (FIRST_PAUSE, false);
        }
        let server = &server.authority;
        // Once for each loss, not for each attempt.
        if std::mem::replace(&mut is_told, true) {
            tracing::debug!(%server, "no change feed: {ended}");
        } else {
            tracing::warn!(%server, "the change feed ended, connecting again: {ended}");
        }
        turn = turn.wrapping_add(1);
        // Many proxies lose a worker at the same moment, and should not all come back at one.
        let jittered = pause.mul_f64(0.5 + fastrand::f64());
        pause = (pause * 2).min(LONGEST_PAUSE);
        tokio::select! {
            () = tokio::time::sleep(jittered) => (),
            () = changed(proxy, &feed, &mut swaps) => (),
        }
    }
}

/// Returns when another feed is configured.
async fn changed(proxy: &Proxy, feed: &Feed, swaps: &mut watch::Receiver<u64>) {
    while proxy.live().config.feed.as_ref() == Some(feed) {
        if swaps.changed().await.is_err() {
            return;
        }
    }
}

/// One connection to one worker.
struct Connection<'p> {
    proxy: &'p Proxy,
    /// It has told an account, and not said that this broke off.
    has_begun: bool,
}

impl Connection<'_> {
    /// Until it ends, and why.
    async fn follow(&mut self, feed: &Feed, server: &Server) -> Ended {
        match self.try_follow(feed, server).await {
            Ok(()) => Ended::End,
            Err(ended) => ended,
        }
    }

    async fn try_follow(&mut self, feed: &Feed, server: &Server) -> Result<(), Ended> {
        let host = server.host.trim_start_matches('[').trim_end_matches(']');
        let connecting = TcpStream::connect((host, server.port));
        let stream = in_time(CONNECT_TIMEOUT, connecting).await?.map_err(Ended::Connect)?;
        stream.set_nodelay(true).map_err(Ended::Connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with this call.
        let mut driving = tokio::task::JoinSet::new();
        driving.spawn(connection);
        let sent = sender.send_request(self.request(feed, server)?);
        let response = in_time(HEAD_TIMEOUT, sent).await??;
        if response.status() != StatusCode::OK {
            return Err(Ended::Status(response.status()));
        }
        let mut body = response.into_body();
        let mut lines = Lines::default();
        loop {
            let patience =
                if self.has_begun { feed.max_silence } else { feed.max_silence.max(BEGIN_TIMEOUT) };
            let Ok(frame) = tokio::time::timeout(patience, body.frame()).await else {
                self.proxy.feed.fall_silent(self.proxy.clock.now());
                return Err(Ended::Silent);
            };
            let Some(frame) = frame.transpose()? else { return Ok(()) };
            if let Ok(data) = frame.into_data() {
                lines.each(&data, |line| self.apply(Line::parse(line)?))?;
            }
        }
    }

    fn request(&self, feed: &Feed, server: &Server) -> Result<Request<Empty<Bytes>>, http::Error> {
        let target = match self.proxy.feed.resumes_from() {
            Some((source, position)) => {
                let (timeline, system) = (source.timeline, source.system);
                let account = match source.account {
                    0 => String::new(),
                    account => format!("&account={account:x}"),
                };
                format!("/feed?from={position}&timeline={timeline}&system={system}{account}")
            }
            None => "/feed".to_owned(),
        };
        let mut request = Request::builder().uri(target).header(header::HOST, &*server.authority);
        if let Some(token) = &feed.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        request.body(Empty::new())
    }

    fn apply(&mut self, line: Line<'_>) -> Result<(), Ended> {
        let now = self.proxy.clock.now();
        match line {
            Line::Begin { source, horizon, is_resumed } => {
                let (system, timeline, position) = (&source.system, source.timeline, horizon.position);
                let account = source.account;
                tracing::info!(%system, %timeline, %position, resumed = is_resumed, "the change feed is told");
                if self.proxy.feed.begin(source, horizon, is_resumed, now) {
                    self.proxy.subscriptions.begin(EventId { timeline, position, account });
                }
                self.has_begun = true;
            }
            Line::Commit { xids, end, tags } => {
                self.check(end)?;
                // What no response can carry concerns none: a tag that is too long, or not text.
                let tags = tags.iter().filter(|tag| is_tag(tag.as_bytes()));
                let names: Arc<[Box<str>]> = tags.map(|tag| Box::from(&**tag)).collect();
                self.proxy.feed.commit(xids, end, names.iter().map(|tag| tag.as_bytes()), now);
                self.proxy.subscriptions.changed(end, &names);
            }
            Line::At { position, shown } => {
                self.check(position)?;
                self.proxy.feed.at(position, shown.as_ref(), now);
                self.proxy.subscriptions.shown(self.proxy.feed.shown());
            }
            Line::Lost { why } => {
                tracing::warn!("the change feed broke off: {why}");
                self.proxy.feed.lose(now);
                self.has_begun = false;
            }
        }
        self.proxy.heard.notify_waiters();
        Ok(())
    }

    /// Whether this can be a position of the account.
    fn check(&self, position: Position) -> Result<(), Ended> {
        let told_to = self.proxy.feed.position().filter(|_| self.has_begun).ok_or(Ended::NotBegun)?;
        if position.number().saturating_sub(told_to.number()) > LONGEST_WAY {
            return Err(Ended::TooFar);
        }
        Ok(())
    }
}

async fn in_time<T>(patience: Duration, future: impl Future<Output = T>) -> Result<T, Ended> {
    tokio::time::timeout(patience, future).await.map_err(|_| Ended::Timeout)
}

/// Cuts what comes into lines.
#[derive(Debug, Default)]
struct Lines {
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
}

impl Lines {
    /// Calls `apply` with every line that is whole now.
    fn each(
        &mut self,
        mut data: &[u8],
        mut apply: impl FnMut(&[u8]) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = data.split_at(end);
            if self.begun.len() + line.len() > MAX_LINE_BYTES {
                return Err(Ended::LineTooLong);
            }
            if self.begun.is_empty() {
                apply(line)?;
            } else {
                self.begun.extend_from_slice(line);
                let whole = std::mem::take(&mut self.begun);
                apply(&whole)?;
            }
            data = rest.get(1..).unwrap_or_default();
        }
        if self.begun.len() + data.len() > MAX_LINE_BYTES {
            return Err(Ended::LineTooLong);
        }
        self.begun.extend_from_slice(data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, Ended> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.each(piece, |line| {
                seen.push(line.to_vec());
                Ok(())
            })?;
        }
        Ok(seen)
    }

    #[test]
    fn lines_are_cut_wherever_the_pieces_end() {
        let expected: Vec<Vec<u8>> = vec![b"one".to_vec(), b"two".to_vec(), Vec::new(), b"three".to_vec()];
        assert_eq!(cut(&[b"one\ntwo\n\nthree\n"]).unwrap(), expected);
        let single: Vec<&[u8]> = b"one\ntwo\n\nthree\nfo".chunks(1).collect();
        assert_eq!(cut(&single).unwrap(), expected);
        assert_eq!(cut(&[b"on", b"e\ntw", b"o\n\nthr", b"ee\n"]).unwrap(), expected);
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let piece = vec![b'x'; MAX_LINE_BYTES / 2 + 1];
        assert!(matches!(cut(&[&piece, &piece]), Err(Ended::LineTooLong)));
        assert!(matches!(cut(&[&piece, &piece[2..], b"\n"]), Ok(lines) if lines.len() == 1));
        assert!(matches!(cut(&[&piece, &piece, b"\n"]), Err(Ended::LineTooLong)));
    }
}
