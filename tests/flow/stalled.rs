//! Clients that stop in the middle of something: they lose their connection, and nobody else notices.

use std::sync::atomic::Ordering;

use flow_tests::{Origin, Proxy, proxy::config, wait};

/// A proxy that waits for nobody for long.
fn impatient(origin: &Origin) -> Proxy {
    Proxy::with_config(&config(origin, "[limits]\nidle_timeout = \"50ms\""))
}

fn connections(proxy: &Proxy) -> u64 {
    proxy.shared.worker_metrics().iter().map(|worker| worker.connections.load(Ordering::Relaxed)).sum()
}

#[test]
fn a_head_that_stops_coming_ends_its_connection() {
    let origin = Origin::fixed(200, &[], "x");
    let proxy = impatient(&origin);
    let mut client = proxy.client();
    client.send(b"GET /a HTTP/1.1\r\nhost: ").unwrap();
    let rest = String::from_utf8(client.rest().unwrap()).unwrap();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408 "), "{rest}");
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_request_body_that_stops_coming_is_a_408() {
    let origin = Origin::fixed(200, &[], "x");
    let proxy = impatient(&origin);
    let mut client = proxy.client();
    client.send(b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
    assert_eq!(client.response("POST").unwrap().status, 408);
    assert!(client.rest().unwrap().is_empty());
}

#[test]
fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let origin = Origin::start(|_, answering| {
        answering.reply(200, &[("cache-control", "max-age=60")], &"x".repeat(16 << 20))
    });
    let proxy = impatient(&origin);
    let mut client = proxy.client();
    client.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
    origin.wait_for(1);
    wait::until("the connection to be cut off", || connections(&proxy) == 0);
}

#[test]
fn a_client_that_stops_reading_does_not_hold_up_those_who_read() {
    let origin = Origin::start(|_, answering| {
        answering.head(200, &[("cache-control", "max-age=60"), ("transfer-encoding", "chunked")])?;
        for _ in 0..256 {
            answering.chunk(&"x".repeat(64 << 10))?;
        }
        answering.last_chunk()
    });
    // Larger than what may be stored: it is passed on to both with a bounded window between them.
    let text = config(&origin, "read_timeout = \"50ms\"\n[cache]\nmax_response = \"1MiB\"");
    let proxy = Proxy::with_config(&text);
    let mut stalled = proxy.client();
    stalled.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
    stalled.head().unwrap();
    let reading = proxy.get_with("/a", &[("host", "h")]);
    assert_eq!(reading.body.len(), 16 << 20);
}
