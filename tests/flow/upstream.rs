//! Upstreams that are dead, slow, or lie.

use std::sync::atomic::{AtomicUsize, Ordering};

use flow_tests::{Gate, Origin, Proxy, proxy::config};

use crate::{STORED, assert_status};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[test]
fn a_dead_upstream_is_a_502_that_no_cache_keeps() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    origin.stop();
    let answer = proxy.get("/a");
    assert_eq!(answer.status, 502);
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
}

#[test]
fn a_dead_server_of_an_upstream_is_passed_over() {
    let (dead, alive) = (Origin::fixed(200, FRESH, "x"), Origin::fixed(200, FRESH, "alive"));
    let servers = format!("servers = [\"{}\", \"{}\"]", dead.url(), alive.url());
    let proxy = Proxy::with_config(&format!("[[upstream]]\nname = \"app\"\n{servers}"));
    dead.stop();
    for target in ["/a", "/b", "/c", "/d"] {
        assert_eq!(proxy.get(target).text(), "alive");
    }
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_a_504() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, answering| {
        held.wait()?;
        answering.reply(200, FRESH, "late")
    });
    let upstream = config(&origin, "response_timeout = \"50ms\"");
    let proxy = Proxy::with_config(&upstream);
    assert_eq!(proxy.get("/a").status, 504);
    gate.open();
}

#[test]
fn a_kept_connection_that_was_closed_meanwhile_is_not_an_error() {
    let origin = Origin::start(|_, answering| {
        answering.reply(200, &[], "x")?;
        answering.close()
    });
    let proxy = Proxy::in_front_of(&origin, "");
    for _ in 0..20 {
        assert_eq!(proxy.get("/a").status, 200);
    }
}

#[test]
fn a_connection_to_the_upstream_is_used_again() {
    let origin = Origin::fixed(200, &[], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    let mut client = proxy.client();
    for _ in 0..5 {
        client.get("/a", &[]).unwrap();
    }
    assert_eq!(origin.seen().last().map(|seen| seen.connection), Some(0));
}

#[test]
fn surplus_bytes_of_one_response_never_reach_another_client() {
    let origin = Origin::start(|_, answering| {
        answering.head(200, &[("content-length", "2")])?;
        answering.send(b"okHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.get("/a", &[]).unwrap().text(), "ok");
    }
}

#[test]
fn length_beside_chunked_is_repaired_and_the_connection_not_kept() {
    let origin = Origin::start(|_, answering| {
        answering.head(200, &[("content-length", "3"), ("transfer-encoding", "chunked"), FRESH[0]])?;
        answering.chunk("whole body")?;
        answering.last_chunk()
    });
    let proxy = Proxy::in_front_of(&origin, "");
    for target in ["/a", "/b", "/a"] {
        let answer = proxy.get(target);
        assert_eq!(answer.text(), "whole body");
        assert_ne!(answer.field("content-length"), Some("3"));
    }
    let connections: Vec<_> = origin.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1]);
}

#[test]
fn a_broken_response_head_is_a_502_and_is_not_stored() {
    const HEADS: [&str; 6] = [
        "rubbish\r\n\r\n",
        "HTTP/1.1 999999 X\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nx y: z\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 0\r\n\r\n",
    ];
    for head in HEADS {
        let answers = AtomicUsize::new(0);
        let origin = Origin::start(move |_, answering| {
            if answers.fetch_add(1, Ordering::SeqCst) == 0 {
                answering.send(head.as_bytes())?;
                return answering.close();
            }
            answering.reply(200, FRESH, "good")
        });
        let proxy = Proxy::in_front_of(&origin, "");
        assert_eq!(proxy.get("/a").status, 502, "{head:?}");
        assert_status(&proxy.get("/a"), STORED);
    }
}

#[test]
fn a_preliminary_response_is_not_the_answer() {
    let origin = Origin::start(|_, answering| {
        answering.head(103, &[("link", "</x>; rel=preload"), ("x-early", "1")])?;
        answering.reply(200, FRESH, "final")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let answer = proxy.get("/a");
    assert_eq!((answer.status, answer.text().as_str(), answer.field("x-early")), (200, "final", None));
}

#[test]
fn fields_of_one_connection_are_neither_passed_on_nor_stored() {
    let origin = Origin::fixed(
        200,
        &[
            ("cache-control", "max-age=60"),
            ("connection", "x-hop, keep-alive"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("x-end", "1"),
        ],
        "x",
    );
    let proxy = Proxy::in_front_of(&origin, "");
    for _ in 0..2 {
        let answer = proxy.get("/a");
        for name in ["x-hop", "keep-alive", "proxy-authenticate"] {
            assert_eq!(answer.field(name), None, "{name}");
        }
        assert_eq!(answer.field("x-end"), Some("1"));
    }
}
