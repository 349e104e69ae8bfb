//! A worker's change feed for tests: says what it is told to say, to whoever connects, line by line.

use std::{
    io::{self, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    Proxy, Seen,
    origin::{head, lock},
    wait,
};

/// Takes connections until it is dropped.
pub struct Feed {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<(Seen, TcpStream)>>>,
    is_over: Arc<AtomicBool>,
}

/// One connection, on which a test tells.
pub struct Telling {
    pub asked: Seen,
    stream: TcpStream,
}

impl Feed {
    /// # Panics
    /// No socket can be opened.
    pub fn start() -> Feed {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (asked, is_over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (asking, over) = (Arc::clone(&asked), Arc::clone(&is_over));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                // A connection that breaks is part of some tests.
                drop(stream.and_then(|stream| take(stream, &asking)));
            }
        });
        Feed { address, asked, is_over }
    }

    /// The section of a configuration that listens to it, with these further lines.
    pub fn section(&self, rest: &str) -> String {
        format!("[feed]\nservers = [\"http://{}\"]\nmax_silence = \"60s\"\n{rest}\n", self.address)
    }

    /// The next connection that asks for the feed, without an answer yet.
    #[track_caller]
    pub fn next(&self) -> Telling {
        wait::until("somebody to ask for the feed", || !lock(&self.asked).is_empty());
        let (asked, stream) = lock(&self.asked).remove(0);
        Telling { asked, stream }
    }

    /// The same, with an account that begins at `position`.
    #[track_caller]
    pub fn begun(&self, proxy: &Proxy, position: u64) -> Telling {
        let before = epochs(proxy);
        let mut telling = self.next();
        telling.answer(200);
        telling.begin(position, false);
        wait::until("the account to begin", || epochs(proxy) > before);
        telling
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn take(stream: TcpStream, asked: &Mutex<Vec<(Seen, TcpStream)>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(seen) = head(&mut BufReader::new(stream.try_clone()?))? {
        lock(asked).push((seen, stream));
    }
    Ok(())
}

/// How far the proxy has been told.
pub fn at(proxy: &Proxy) -> Option<u64> {
    proxy.shared.feed.resumes_from().map(|(_, position)| position.number())
}

pub fn epochs(proxy: &Proxy) -> u64 {
    proxy.shared.feed.counts.epochs.load(Ordering::SeqCst)
}

pub fn events(proxy: &Proxy) -> u64 {
    proxy.shared.feed.counts.events.load(Ordering::SeqCst)
}

/// `16/B374D848`.
fn lsn(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff)
}

impl Telling {
    /// # Panics
    /// The connection has ended.
    #[track_caller]
    pub fn answer(&mut self, status: u16) {
        let head = format!("HTTP/1.1 {status} Status\r\ntransfer-encoding: chunked\r\n\r\n");
        self.stream.write_all(head.as_bytes()).expect("somebody listens");
    }

    /// Bytes, whole lines or not.
    ///
    /// # Panics
    /// The connection has ended.
    #[track_caller]
    pub fn say(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.stream.write_all(chunk.as_bytes()).expect("somebody listens");
    }

    /// An account of cluster 7, timeline 1. Every earlier commit was made by a transaction before the hundredth.
    #[track_caller]
    pub fn begin(&mut self, position: u64, resumed: bool) {
        self.begin_as(7, 1, position, resumed);
    }

    #[track_caller]
    pub fn begin_as(&mut self, system: u64, timeline: u32, position: u64, resumed: bool) {
        let position = lsn(position);
        self.say(&format!(
            "{{\"begin\":{{\"system\":\"{system}\",\"timeline\":{timeline},\"position\":\"{position}\",\
             \"xid\":\"100\",\"resumed\":{resumed}}}}}\n"
        ));
    }

    /// Says it, and waits until the proxy has heard it.
    #[track_caller]
    pub fn commit(&mut self, proxy: &Proxy, xid: u64, end: u64, tags: &[&str]) {
        let before = events(proxy);
        let tags: Vec<_> = tags.iter().map(|tag| format!("{tag:?}")).collect();
        let (end, tags) = (lsn(end), tags.join(","));
        self.say(&format!("{{\"commit\":{{\"xid\":\"{xid}\",\"end\":\"{end}\",\"tags\":[{tags}]}}}}\n"));
        wait::until("the event to be heard", || events(proxy) > before);
    }

    /// A heartbeat; waits until the proxy has heard it.
    #[track_caller]
    pub fn at(&mut self, proxy: &Proxy, position: u64, snapshot: Option<&str>) {
        let snapshot = snapshot.map(|shown| format!(",\"snapshot\":{shown:?}")).unwrap_or_default();
        self.say(&format!("{{\"at\":{{\"position\":\"{}\"{snapshot}}}}}\n", lsn(position)));
        wait::until("the heartbeat to be heard", || at(proxy).is_some_and(|told| told >= position));
    }

    #[track_caller]
    pub fn lost(&mut self, proxy: &Proxy, why: &str) {
        self.say(&format!("{{\"lost\":{{\"why\":{why:?}}}}}\n"));
        wait::until("the loss to be heard", || at(proxy).is_none());
    }
}
