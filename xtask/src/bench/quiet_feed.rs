//! A change feed that tells of no change: what a hit costs that depends on one, without a database beside it.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

const BEAT: Duration = Duration::from_millis(200);
const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
const BEGIN: &str = r#"{"begin":{"system":"1","timeline":1,"position":"0/10","xid":"10","resumed":false}}"#;
const AT: &str = r#"{"at":{"position":"0/10","snapshot":"10:10:"}}"#;

/// For as long as this process lives.
pub(super) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Ends when the listener has gone.
            thread::spawn(|| tell(stream));
        }
    });
    Ok(address)
}

#[expect(clippy::disallowed_methods, reason = "heartbeats have a pace")]
fn tell(mut stream: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    stream.write_all(HEAD)?;
    let mut line = BEGIN;
    loop {
        write!(stream, "{:x}\r\n{line}\n\r\n", line.len() + 1)?;
        line = AT;
        thread::sleep(BEAT);
    }
}
