//! An upstream for tests: answers by a function, and records each request as it came.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::wait::{self, PATIENCE};

/// A request as it reached the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    /// Names in lower case, in their order.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Fields behind a chunked body, as they came.
    pub trailers: Vec<String>,
    /// Which connection it came by, counted from 0.
    pub connection: usize,
}

impl Seen {
    /// The first field of this name, which is in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The upstream's side of one request.
pub struct Answering {
    stream: TcpStream,
    method: String,
}

impl Answering {
    /// A whole response with its length.
    pub fn reply(&mut self, status: u16, fields: &[(&str, &str)], body: &str) -> io::Result<()> {
        let length = body.len().to_string();
        let with_length: Vec<_> =
            fields.iter().copied().chain([("content-length", length.as_str())]).collect();
        self.head(status, if status == 304 || status == 204 { fields } else { &with_length })?;
        if self.method == "HEAD" || status == 304 || status == 204 {
            return Ok(());
        }
        self.send(body.as_bytes())
    }

    pub fn head(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {status} Status\r\n");
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.send(format!("{head}\r\n").as_bytes())
    }

    pub fn chunk(&mut self, text: &str) -> io::Result<()> {
        self.send(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
    }

    pub fn last_chunk(&mut self) -> io::Result<()> {
        self.send(b"0\r\n\r\n")
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Both)
    }
}

type Answer = dyn Fn(&Seen, &mut Answering) -> io::Result<()> + Send + Sync;

/// A running upstream; ends with its owner.
pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    connections: Mutex<Vec<TcpStream>>,
    is_stopped: AtomicBool,
    answer: Box<Answer>,
}

impl Origin {
    /// # Panics
    /// No socket can be opened.
    pub fn start(answer: impl Fn(&Seen, &mut Answering) -> io::Result<()> + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            connections: Mutex::default(),
            is_stopped: AtomicBool::new(false),
            answer: Box::new(answer),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accepting.accept(&listener));
        Origin { address, shared }
    }

    /// Answers every request with the same response.
    pub fn fixed(status: u16, fields: &'static [(&'static str, &'static str)], body: &'static str) -> Origin {
        Origin::start(move |_, answering| answering.reply(status, fields, body))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    pub fn count(&self) -> usize {
        lock(&self.shared.seen).len()
    }

    /// Returns when so many requests have come.
    #[track_caller]
    pub fn wait_for(&self, count: usize) {
        wait::until(&format!("request {count} at the upstream"), || self.count() >= count);
    }

    /// Takes no more connections and closes those there are.
    pub fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        for connection in lock(&self.shared.connections).drain(..) {
            // It may be closed already.
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        // Wakes `accept`, which then ends and closes the listener.
        let _ = TcpStream::connect(self.address);
        wait::until("the upstream's port to close", || TcpStream::connect(self.address).is_err());
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for (number, stream) in listener.incoming().enumerate() {
            if self.is_stopped.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            if let Ok(copy) = stream.try_clone() {
                lock(&self.connections).push(copy);
            }
            let serving = Arc::clone(&self);
            // A connection that breaks is part of some tests.
            std::thread::spawn(move || drop(serving.serve(stream, number)));
        }
    }

    fn serve(&self, stream: TcpStream, connection: usize) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(mut seen) = head(&mut reader)? {
            seen.connection = connection;
            (seen.body, seen.trailers) = body(&mut reader, &seen)?;
            let mut answering = Answering { stream: stream.try_clone()?, method: seen.method.clone() };
            lock(&self.seen).push(seen.clone());
            (self.answer)(&seen, &mut answering)?;
        }
        Ok(())
    }
}

pub(crate) fn head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Seen>> {
    let Some(first) = line(reader)? else { return Ok(None) };
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut fields = Vec::new();
    while let Some(line) = line(reader)?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Some(Seen { method, target, fields, body: Vec::new(), trailers: Vec::new(), connection: 0 }))
}

fn body(reader: &mut BufReader<TcpStream>, seen: &Seen) -> io::Result<(Vec<u8>, Vec<String>)> {
    let (mut body, mut trailers) = (Vec::new(), Vec::new());
    if seen.field("transfer-encoding").is_some() {
        loop {
            let size =
                line(reader)?.and_then(|line| usize::from_str_radix(&line, 16).ok()).unwrap_or_default();
            if size == 0 {
                while let Some(field) = line(reader)?.filter(|line| !line.is_empty()) {
                    trailers.push(field);
                }
                return Ok((body, trailers));
            }
            let mut chunk = vec![0; size];
            reader.read_exact(&mut chunk)?;
            line(reader)?;
            body.extend_from_slice(&chunk);
        }
    }
    let length = seen.field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    body.resize(length, 0);
    reader.read_exact(&mut body)?;
    Ok((body, trailers))
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds whoever waits at it until it is opened. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    shared: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    pub fn open(&self) {
        *lock(&self.shared.0) = true;
        self.shared.1.notify_all();
    }

    /// # Errors
    /// It was not opened in time: the test has failed, and this ends the upstream's part of it.
    pub fn wait(&self) -> io::Result<()> {
        let opened = self.shared.1.wait_timeout_while(lock(&self.shared.0), PATIENCE, |is_open| !*is_open);
        let (_guard, timeout) = opened.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}
