//! Request bodies: asked for when there is somebody who takes them, and never more of them held than a window.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use flow_tests::{Gate, Origin, Proxy, wait};

use crate::raw::Raw;

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

fn expecting(method: &str, target: &str, length: usize) -> Vec<u8> {
    let length = length.to_string();
    rig::http::head(method, target, "h", &[("expect", "100-continue"), ("content-length", &length)], b"")
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
//= type=test
//# A server MAY omit sending a 100 (Continue) response if it has already
//# received some or all of the content for the corresponding request, or if
//# the framing indicates that there is no content.
#[test]
fn a_body_is_asked_for_once_the_upstream_is_there() {
    let origin =
        Origin::start(|seen, answering| answering.reply(200, &[], &String::from_utf8_lossy(&seen.body)));
    let proxy = Proxy::in_front_of(&origin, "");
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(&expecting("POST", "/a", 4)).unwrap();
        assert_eq!(client.head().unwrap().status, 100);
        client.send(b"body").unwrap();
        let answer = client.head().unwrap();
        assert_eq!((answer.status, client.body("POST", &answer).unwrap()), (200, b"body".to_vec()));
    }
    client.send(&expecting("POST", "/a", 0)).unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    assert!(origin.seen().iter().all(|seen| seen.field("expect").is_none()));
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
//= type=test
//# A server that responds with a final status code instead of reading the
//# entire request content SHOULD indicate whether it intends to close the
//# connection (e.g., see Section 9.6 of [HTTP/1.1]) or continue reading the
//# request content.
#[test]
fn a_body_that_nobody_takes_is_not_asked_for() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "match = { path = \"/known\" }");
    let dead = Origin::fixed(200, &[], "x");
    let in_front_of_nobody = Proxy::in_front_of(&dead, "");
    dead.stop();
    for (proxy, method, target, status) in [
        (&in_front_of_nobody, "POST", "/known", 502),
        (&proxy, "POST", "/unknown", 404),
        (&proxy, "TRACE", "/known", 405),
    ] {
        let mut client = proxy.client();
        client.send(&expecting(method, target, 4)).unwrap();
        assert_eq!(client.head().unwrap().status, status);
        let rest = String::from_utf8(client.rest().unwrap()).unwrap();
        assert!(!rest.contains("HTTP/1.1 "), "{rest}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn an_answer_before_the_end_of_the_body_is_followed_by_no_part_of_it() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n".repeat(1000);
    let length = smuggled.len();
    // Answers behind the head, and reads the body after that.
    let upstream = Raw::start(move |head, stream| {
        stream.write_all(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n")?;
        stream.read_exact(&mut vec![0; if head.starts_with("post") { length } else { 0 }])
    });
    let proxy = upstream.proxy("", "");
    let head = format!("POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n");
    let mut client = proxy.client();
    client.send(head.as_bytes()).unwrap();
    client.send(&smuggled.as_bytes()[..100]).unwrap();
    assert_eq!(client.response("POST").unwrap().status, 401);
    // The proxy may have closed.
    let _ = client.send(&smuggled.as_bytes()[100..]);
    let _ = client.send(b"GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    let rest = String::from_utf8(client.rest().unwrap()).unwrap();
    assert!(rest.matches("HTTP/1.1 ").count() <= 1, "{rest}");
    assert_eq!(proxy.get("/b").status, 401);
    let heads = upstream.heads();
    assert!(heads.iter().all(|head| !head.contains("smuggled")), "{heads:?}");
    let firsts: Vec<_> = heads.iter().filter_map(|head| head.split(' ').nth(1)).collect();
    assert!(firsts == ["/a", "/b"] || firsts == ["/a", "/last", "/b"], "{firsts:?}");
}

#[test]
fn an_upload_that_the_upstream_does_not_take_is_held_back_and_ends() {
    const MOST: usize = 1 << 30;
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Raw::start(move |_, _| held.wait());
    let text = format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\nresponse_timeout = \"100ms\"\n",
        upstream.url
    );
    let proxy = Proxy::with_config(&text);
    let mut stream = TcpStream::connect(proxy.address).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let mut sending = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let head = format!("POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: {MOST}\r\n\r\n");
        sending.write_all(head.as_bytes()).unwrap();
        let mut sent = 0;
        while sent < MOST && sending.write_all(&[b'x'; 64 << 10]).is_ok() {
            sent += 64 << 10;
        }
        sent
    });
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"HTTP/1.1 504");
    // Ends when the proxy has closed. What fits into the sockets between here and there is the kernel's.
    let sent = sender.join().unwrap();
    assert!(sent < 64 << 20, "{sent} bytes were taken for somebody who took none");
    gate.open();
}
