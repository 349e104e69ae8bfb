//! An upstream for tests that speak past HTTP: it has the bytes themselves.

use std::{
    io::{self, Read as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

use flow_tests::Proxy;

/// An upstream that reads heads byte by byte, so that what comes behind one is there for who wants to see it.
pub(crate) struct Raw {
    pub(crate) url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Raw {
    pub(crate) fn start(
        answer: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Raw {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&heads), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), seen, answer) = (stream, Arc::clone(&seen), Arc::clone(&answer)) else {
                    continue;
                };
                std::thread::spawn(move || {
                    while let Ok(head) = head(&mut stream) {
                        seen.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
                        // The other side may have gone.
                        let _ = answer(&head, &mut stream);
                    }
                });
            }
        });
        Raw { url, heads }
    }

    /// With this line in the one route, and this text behind it.
    pub(crate) fn proxy(&self, route: &str, rest: &str) -> Proxy {
        let upstream = format!("[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n", self.url);
        Proxy::with_config(&format!("{upstream}[[route]]\nname = \"all\"\n{route}\n{rest}"))
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).to_ascii_lowercase())
}
