//! Switching protocols: only where a route allows it and the upstream agrees, and not one byte before that.

use std::{
    io::{self, Write as _},
    net::TcpStream,
    sync::atomic::Ordering,
};

use flow_tests::{Client, Gate, Proxy, wait};

use crate::raw::Raw;

const WEBSOCKET: &str = "upgrade = [\"websocket\"]";
const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-accept: 1\r\n\r\n";
const REFUSED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncache-control: max-age=60\r\n\r\nno";

/// Says back what it hears, up to the end.
fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut reader = stream.try_clone()?;
    io::copy(&mut reader, stream)?;
    stream.shutdown(std::net::Shutdown::Both)
}

fn asking(target: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "k")];
    rig::http::head("GET", target, "h", &[&fields, more].concat(), b"")
}

#[track_caller]
fn assert_switched(client: &mut Client) {
    let answer = client.head().expect("the proxy answers");
    assert_eq!(answer.status, 101, "{answer:?}");
    for (name, value) in [("upgrade", "websocket"), ("connection", "upgrade"), ("x-accept", "1")] {
        assert_eq!(answer.field(name), Some(value), "{answer:?}");
    }
    assert_eq!((answer.field("content-length"), answer.field("transfer-encoding")), (None, None));
}

fn tunnels(proxy: &Proxy) -> u64 {
    proxy.shared.worker_metrics().iter().map(|worker| worker.tunnels.load(Ordering::Relaxed)).sum()
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
//= type=test
//# The capabilities and nature of the application-level communication after
//# the protocol change is entirely dependent upon the new protocol(s)
//# chosen.
#[test]
fn those_who_agree_are_joined_and_not_a_byte_is_passed_before() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Raw::start(move |_, stream| {
        held.wait()?;
        stream.set_nonblocking(true)?;
        let early = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        assert_eq!(early.unwrap_err().kind(), io::ErrorKind::WouldBlock, "bytes before the 101");
        // The first bytes of the new protocol may come in one piece with the head.
        stream.write_all(&[SWITCHED, b"hello"].concat())?;
        echo(stream)
    });
    let proxy = upstream.proxy(WEBSOCKET, "");
    let mut client = proxy.client();
    client.send(&[asking("/a?b", &[]), b"early ".to_vec()].concat()).unwrap();
    wait::until("the head at the upstream", || upstream.heads().len() == 1);
    client.send(b"bird").unwrap();
    gate.open();
    assert_switched(&mut client);
    assert_eq!(client.bytes(15).unwrap(), b"helloearly bird");
    assert_eq!(tunnels(&proxy), 1);
    // Both directions, at once, more than any buffer holds.
    let large = vec![b'x'; 1 << 20];
    client.send(&large).unwrap();
    assert_eq!(client.bytes(1 << 20).unwrap(), large);
    client.finish().unwrap();
    assert_eq!(client.rest().unwrap(), b"");
    wait::until("the tunnel to end", || tunnels(&proxy) == 0);
    let head = upstream.heads().remove(0);
    assert!(head.starts_with("get /a?b http/1.1\r\n"), "{head}");
    for line in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-key: k\r\n", "via: "] {
        assert!(head.contains(line), "{head}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
//= type=test
//# A server MAY ignore a received Upgrade header field if it wishes to
//# continue using the current protocol on that connection.
#[test]
fn what_follows_a_refused_switch_is_the_next_request() {
    let upstream = Raw::start(|_, stream| stream.write_all(REFUSED));
    let proxy = upstream.proxy(WEBSOCKET, "");
    let mut client = proxy.client();
    let next = rig::http::head("GET", "/next", "h", &[("connection", "close")], b"");
    client.send(&[asking("/a", &[]), next].concat()).unwrap();
    for _ in 0..2 {
        let answer = client.response("GET").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "no"));
    }
    assert_eq!(client.rest().unwrap(), b"");
    let heads = upstream.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    // Sent on as any other request, not passed through.
    assert!(heads[1].starts_with("get /next http/1.1\r\n") && heads[1].contains("via: 1.1 larder"));
    assert!(!heads[1].contains("upgrade"), "{heads:?}");
    assert_eq!(tunnels(&proxy), 0);
}

#[test]
fn a_request_to_switch_is_neither_looked_up_nor_stored() {
    let upstream = Raw::start(|_, stream| stream.write_all(REFUSED));
    let proxy = upstream.proxy(WEBSOCKET, "");
    let mut client = proxy.client();
    client.send(&asking("/a", &[])).unwrap();
    assert_eq!(
        client.response("GET").unwrap().field("cache-status"),
        Some("larder; fwd=bypass; fwd-status=200")
    );
    assert_eq!(proxy.shared.memory.len(), 0);
    proxy.get_with("/a", &[("host", "h")]);
    assert_eq!((proxy.shared.memory.len(), upstream.heads().len()), (1, 2));
    client.send(&asking("/a", &[])).unwrap();
    assert_eq!(client.response("GET").unwrap().status, 200);
    assert_eq!(upstream.heads().len(), 3);
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
//= type=test
//# A server that receives an Upgrade header field in an HTTP/1.0 request
//# MUST ignore that Upgrade field.
#[test]
fn a_wish_that_cannot_be_granted_is_not_passed_on() {
    let fields = "host: h\r\nupgrade: websocket\r\n";
    let both = format!("{fields}connection: upgrade\r\n");
    let cases = [
        ("", format!("GET /a HTTP/1.1\r\n{both}\r\n")),
        (WEBSOCKET, format!("GET /a HTTP/1.0\r\n{both}\r\n")),
        (WEBSOCKET, format!("GET /a HTTP/1.1\r\n{fields}\r\n")),
        (WEBSOCKET, format!("POST /a HTTP/1.1\r\n{both}content-length: 0\r\n\r\n")),
        (WEBSOCKET, "GET /a HTTP/1.1\r\nhost: h\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n".to_owned()),
        (WEBSOCKET, "GET /a HTTP/1.1\r\nhost: h\r\nupgrade: ,\r\nconnection: upgrade\r\n\r\n".to_owned()),
    ];
    for (route, request) in cases {
        let upstream = Raw::start(|_, stream| stream.write_all(REFUSED));
        let proxy = upstream.proxy(route, "");
        let mut client = proxy.client();
        client.send(request.as_bytes()).unwrap();
        assert_eq!(client.response("GET").unwrap().status, 200, "{request}");
        let head = upstream.heads().remove(0);
        assert!(!head.contains("upgrade") && !head.contains("h2c"), "{request}: {head}");
    }
}

#[test]
fn of_several_protocols_only_those_that_are_allowed_reach_the_upstream() {
    let upstream = Raw::start(|_, stream| {
        stream.write_all(SWITCHED)?;
        echo(stream)
    });
    let proxy = upstream.proxy(WEBSOCKET, "");
    let mut client = proxy.client();
    let fields = [("connection", "HTTP2-Settings, upgrade"), ("http2-settings", "s")];
    let fields = [&fields[..], &[("upgrade", "h2c, WebSocket, x"), ("upgrade", "y")]].concat();
    client.send(&rig::http::head("GET", "/a", "h", &fields, b"")).unwrap();
    assert_switched(&mut client);
    let head = upstream.heads().remove(0);
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(!head.contains("h2c") && !head.contains("http2-settings"), "{head}");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
//= type=test
//# A server MUST NOT switch to a protocol that was not indicated by the
//# client in the corresponding request's Upgrade header field.
#[test]
fn a_switch_that_nobody_asked_for_is_a_502() {
    let to = |field: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{field}connection: upgrade\r\n\r\nx");
    let cases = [
        ("", to("upgrade: websocket\r\n")),
        (WEBSOCKET, to("upgrade: h2c\r\n")),
        (WEBSOCKET, to("upgrade: websocket, h2c\r\n")),
        (WEBSOCKET, to("")),
    ];
    for (route, answer) in cases {
        let sent = answer.clone();
        let upstream = Raw::start(move |_, stream| stream.write_all(sent.as_bytes()));
        let proxy = upstream.proxy(route, "");
        let mut client = proxy.client();
        for _ in 0..2 {
            client.send(&asking("/a", &[])).unwrap();
            assert_eq!(client.response("GET").unwrap().status, 502, "{answer}");
        }
        assert_eq!((tunnels(&proxy), proxy.shared.memory.len()), (0, 0), "{answer}");
    }
}

#[test]
fn a_tunnel_in_which_nobody_speaks_ends() {
    let upstream = Raw::start(|_, stream| {
        stream.write_all(SWITCHED)?;
        echo(stream)
    });
    let proxy = upstream.proxy(WEBSOCKET, "[limits]\nidle_timeout = \"50ms\"");
    let mut client = proxy.client();
    client.send(&asking("/a", &[])).unwrap();
    assert_switched(&mut client);
    assert_eq!(client.rest().unwrap(), b"");
    wait::until("the tunnel to end", || tunnels(&proxy) == 0);
}

#[test]
fn a_tunnel_ends_when_the_proxy_drains() {
    let upstream = Raw::start(|_, stream| {
        stream.write_all(SWITCHED)?;
        echo(stream)
    });
    let mut proxy = upstream.proxy(WEBSOCKET, "");
    let mut client = proxy.client();
    client.send(&asking("/a", &[])).unwrap();
    assert_switched(&mut client);
    client.send(b"x").unwrap();
    assert_eq!(client.bytes(1).unwrap(), b"x");
    proxy.stop();
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn a_tunnel_counts_as_a_connection_of_its_client_and_of_its_upstream() {
    let upstream = Raw::start(|_, stream| {
        stream.write_all(SWITCHED)?;
        echo(stream)
    });
    let text = format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\nmax_connections = 1\n[[route]]\nname = \"all\"\n{WEBSOCKET}\n",
        upstream.url
    );
    let proxy = Proxy::with_config(&text);
    let (mut first, mut answers) = (proxy.client(), Vec::new());
    first.send(&asking("/a", &[])).unwrap();
    assert_switched(&mut first);
    let connections = |proxy: &Proxy| -> u64 {
        proxy.shared.worker_metrics().iter().map(|worker| worker.connections.load(Ordering::Relaxed)).sum()
    };
    assert_eq!(connections(&proxy), 1);
    // There are two workers with a connection each: of so many clients some come to the one that has none left.
    for _ in 0..64 {
        let mut client = proxy.client();
        client.send(&asking("/a", &[])).unwrap();
        answers.push((client.head().unwrap().status, client));
    }
    let switched = answers.iter().filter(|(status, _)| *status == 101).count();
    assert!(switched <= 1, "{switched}");
    assert!(answers.iter().all(|(status, _)| matches!(status, 101 | 503)));
}

#[test]
fn tunnels_leave_connections_for_requests() {
    let upstream = Raw::start(|_, stream| {
        stream.write_all(SWITCHED)?;
        echo(stream)
    });
    let text = format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\nmax_connections = 4\n[[route]]\nname = \"all\"\n{WEBSOCKET}\n",
        upstream.url
    );
    let proxy = Proxy::with_config(&text);
    let tunnels = |proxy: &Proxy| -> u64 {
        proxy.shared.worker_metrics().iter().map(|worker| worker.tunnels.load(Ordering::Relaxed)).sum()
    };
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..64 {
        let mut client = proxy.client();
        client.send(&asking("/a", &[])).unwrap();
        match client.head().unwrap().status {
            101 => {
                open.push(client);
                wait::until("the tunnel to be counted", || tunnels(&proxy) == open.len() as u64);
            }
            503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    // Two workers, and half of four connections on each.
    assert!(open.len() <= 4 && refused >= 60, "{} open, {refused} refused", open.len());
}
