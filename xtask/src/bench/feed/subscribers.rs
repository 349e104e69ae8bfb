//! Many who listen to live updates, one row each, all in one thread, and what they hear.

use std::{net::SocketAddr, sync::mpsc, thread::JoinHandle, time::Instant};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::oneshot,
};

use crate::{Error, call, stack::Subject};

const MAX_LINE_BYTES: u64 = 4096;

/// What one of them has heard.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) row: usize,
    pub(super) what: What,
    pub(super) at: Instant,
}

/// With the place in the WAL that its id names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Ready(u64),
    Change(u64),
    /// Anything may have changed.
    Reset(u64),
    /// It comes back, and names the last id that it has.
    Ended(String),
}

/// Ends when it is dropped.
pub(super) struct Subscribers {
    pub(super) heard: mpsc::Receiver<Heard>,
    /// Held, and dropped to end them.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Subscribers {
    /// One for each of these rows.
    pub(super) fn start(proxy: SocketAddr, subjects: &[Subject]) -> Result<Subscribers, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tags: Vec<String> =
            subjects.iter().map(|subject| format!("resource:{}", subject.resource)).collect();
        let (tell, heard) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                for (row, tag) in tags.into_iter().enumerate() {
                    tokio::spawn(Subscriber { proxy, row, tag, last: None, tell: tell.clone() }.listen());
                }
                // An error when the other half is dropped, which is what is waited for.
                let _ = ended.await;
            });
        });
        Ok(Subscribers { heard, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed.
            let _ = thread.join();
        }
    }
}

struct Subscriber {
    proxy: SocketAddr,
    row: usize,
    tag: String,
    /// Id of the last event.
    last: Option<String>,
    tell: mpsc::Sender<Heard>,
}

impl Subscriber {
    /// As a browser does it: comes back whenever the stream ends.
    async fn listen(mut self) {
        loop {
            let why = match self.stream().await {
                Ok(()) => "end of the stream".to_owned(),
                Err(error) => error.to_string(),
            };
            if !self.hear(What::Ended(why)) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    async fn stream(&mut self) -> std::io::Result<()> {
        let mut stream = BufReader::new(TcpStream::connect(self.proxy).await?);
        let last = self.last.as_ref().map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
        let head = format!("GET /live?tags={} HTTP/1.1\r\nHost: {}\r\n{last}\r\n", self.tag, self.proxy);
        stream.write_all(head.as_bytes()).await?;
        let status = line(&mut stream).await?;
        if !status.starts_with("HTTP/1.1 200") {
            return Err(std::io::Error::other(status));
        }
        while !line(&mut stream).await?.is_empty() {}
        let mut text = String::new();
        loop {
            let size = line(&mut stream).await?;
            let size = u64::from_str_radix(&size, 16).map_err(std::io::Error::other)?;
            if size == 0 {
                return Ok(());
            }
            (&mut stream).take(size).read_to_string(&mut text).await?;
            line(&mut stream).await?;
            while let Some(end) = text.find("\n\n") {
                let event: String = text.drain(..end + 2).collect();
                if let Some((id, what)) = read(&event) {
                    self.last = Some(id);
                    self.hear(what);
                }
            }
        }
    }

    /// False: nobody wants to know.
    #[expect(clippy::disallowed_methods, reason = "measures")]
    fn hear(&self, what: What) -> bool {
        self.tell.send(Heard { row: self.row, what, at: Instant::now() }).is_ok()
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    stream.take(MAX_LINE_BYTES).read_line(&mut line).await?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Its id, and what it says. `None`: a sign of life.
fn read(event: &str) -> Option<(String, What)> {
    let field = |name| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let id = field("id")?;
    let position = call::position(id.split_once('-')?.1)?;
    let what = match field("event")? {
        "ready" => What::Ready(position),
        "change" => What::Change(position),
        _ => What::Reset(position),
    };
    Some((id.to_owned(), what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_the_proxy_writes_them() {
        let event = "event: change\nid: 1-0/8C\ndata: {\"tags\":[\"resource:res-1\"]}\n\n";
        assert_eq!(read(event), Some(("1-0/8C".to_owned(), What::Change(0x8c))));
        assert_eq!(read(":\n\n"), None);
    }
}
