//! Two hundred clients for one large response that comes slowly.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use rig::{http::Client, process::Process};

use crate::Folder;

const CLIENTS: usize = 200;
const BODY_BYTES: usize = 20 << 20;
const FIRST_BYTES: usize = 64 << 10;
/// Of which the body is made: long enough, and prime, so that a piece in the wrong place is seen.
const PATTERN_BYTES: usize = 65_521;

fn pattern() -> Vec<u8> {
    (0..PATTERN_BYTES).map(|at| u8::try_from(at.wrapping_mul(31) % 251).unwrap()).collect()
}

/// Answers one request after another: the beginning of the body, then nothing until it is told, then the rest.
fn upstream(requests: Arc<AtomicUsize>, go_on: mpsc::Receiver<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A second request would be a failure that the test sees in the count.
            requests.fetch_add(1, Ordering::SeqCst);
            let _ = answer(stream.unwrap(), &go_on);
        }
    });
    address
}

fn answer(mut stream: TcpStream, go_on: &mpsc::Receiver<()>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
    }
    let body: Vec<u8> = pattern().into_iter().cycle().take(BODY_BYTES).collect();
    write!(stream, "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: {BODY_BYTES}\r\n\r\n")?;
    stream.write_all(&body[..FIRST_BYTES])?;
    go_on.recv().map_err(std::io::Error::other)?;
    stream.write_all(&body[FIRST_BYTES..])
}

/// Reads to the end and compares, without keeping it.
fn read_rest(client: &mut Client, from: usize) {
    let pattern = pattern();
    let mut at = from;
    while at < BODY_BYTES {
        let bytes = client.bytes((BODY_BYTES - at).min(PATTERN_BYTES - at % PATTERN_BYTES)).unwrap();
        assert!(pattern[at % PATTERN_BYTES..].starts_with(&bytes), "another byte after {at}");
        at += bytes.len();
    }
}

/// In KiB: `VmRSS`, or `VmHWM` for the most there ever was.
pub(crate) fn memory_kib(process: &Process, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4
//= type=test
//# A cache can use a response that is stored or storable to satisfy
//# multiple requests, provided that it is allowed to reuse that response
//# for the requests in question.
#[test]
fn two_hundred_clients_share_one_slow_response_as_it_arrives() {
    let requests = Arc::new(AtomicUsize::new(0));
    let (go_on, held) = mpsc::channel();
    let upstream = upstream(Arc::clone(&requests), held);
    let (_folder, file) = Folder::with_config(&format!(
        "listen = [\"127.0.0.1:0\"]\nworkers = 2\n[admin]\nlisten = \"off\"\n[[upstream]]\nservers = [\"http://{upstream}\"]\n"
    ));
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    let mut larder = Process::start("larder", command.args(["serve", "-c"]).arg(&file)).unwrap();
    let address = larder.wait_for_address("serving").unwrap();
    let before_kib = memory_kib(&larder, "VmRSS");

    // Everybody has the first bytes before the upstream sends more than these.
    let all_have_begun = Arc::new(Barrier::new(CLIENTS + 1));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let all_have_begun = Arc::clone(&all_have_begun);
            std::thread::spawn(move || {
                let mut client = Client::connect(address).unwrap();
                client.send(b"GET /large HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
                let head = client.head().unwrap();
                let status = head.field("cache-status").unwrap().to_owned();
                let first = client.bytes(FIRST_BYTES).unwrap();
                all_have_begun.wait();
                assert!(first == pattern().into_iter().cycle().take(FIRST_BYTES).collect::<Vec<u8>>());
                read_rest(&mut client, FIRST_BYTES);
                status
            })
        })
        .collect();
    all_have_begun.wait();
    go_on.send(()).unwrap();
    let statuses: Vec<String> = clients.into_iter().map(|client| client.join().unwrap()).collect();

    let collapsed = statuses.iter().filter(|status| status.contains("collapsed")).count();
    assert_eq!((requests.load(Ordering::SeqCst), collapsed), (1, CLIENTS - 1), "{statuses:?}");
    let most_kib = memory_kib(&larder, "VmHWM") - before_kib;
    assert!(most_kib < 2 * BODY_BYTES / 1024, "{most_kib} KiB for a body of {} KiB", BODY_BYTES / 1024);
    let mut later = Client::connect(address).unwrap();
    later.send(b"GET /large HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    assert!(later.head().unwrap().field("cache-status").unwrap().starts_with("larder; hit"));
    read_rest(&mut later, 0);
}
