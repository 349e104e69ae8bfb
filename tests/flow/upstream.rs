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

#[test]
fn a_body_behind_a_response_that_has_none_is_never_another_ones_answer() {
    // A HEAD whose upstream sends a body all the same, once the proxy has read the head.
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen, answering| match seen.method.as_str() {
        "HEAD" => {
            answering.head(200, &[("content-length", "50")])?;
            held.wait()?;
            answering.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL")
        }
        _ => answering.reply(200, FRESH, "good"),
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let mut client = proxy.client();
    assert_eq!(client.call("HEAD", "/a", &[], b"").unwrap().status, 200);
    gate.open();
    for number in 0..20 {
        assert_eq!(client.get(&format!("/{number}"), &[]).unwrap().text(), "good");
    }
}

#[test]
fn codings_that_nobody_undoes_are_refused() {
    for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity"] {
        let origin = Origin::start(move |_, answering| {
            answering.head(200, &[("transfer-encoding", coding), FRESH[0]])?;
            answering.chunk("x")?;
            answering.last_chunk()?;
            answering.close()
        });
        let proxy = Proxy::in_front_of(&origin, "");
        assert_eq!(proxy.get("/a").status, 502, "{coding}");
        assert_eq!(proxy.shared.memory.len(), 0, "{coding}");
    }
}

#[test]
fn a_length_written_twice_is_passed_on_once() {
    let origin = Origin::start(|_, answering| {
        answering.head(200, &[("content-length", "5, 5"), FRESH[0]])?;
        answering.send(b"12345")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    for _ in 0..2 {
        let answer = proxy.get("/a");
        assert_eq!((answer.field("content-length"), answer.text().as_str()), (Some("5"), "12345"));
    }
}

#[test]
fn a_body_that_ends_with_its_connection_is_not_stored() {
    let origin = Origin::start(|_, answering| {
        answering.head(200, FRESH)?;
        answering.send(b"perhaps not all of it")?;
        answering.close()
    });
    let proxy = Proxy::in_front_of(&origin, "");
    for _ in 0..2 {
        let answer = proxy.get("/a");
        assert_eq!(answer.text(), "perhaps not all of it");
        assert_status(&answer, "larder; fwd=uri-miss; fwd-status=200; detail=length-unknown");
    }
}

#[test]
fn an_upload_that_is_not_read_to_its_end_holds_up_nobody_else() {
    let origin = Origin::start(|seen, answering| answering.reply(200, &[], &seen.target));
    // Answers the head at once, and leaves the rest of the body in the socket.
    let early = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = format!("servers = [\"http://{}\"]", early.local_addr().unwrap());
    let upstream = format!("[[upstream]]\nname = \"early\"\n{servers}\n");
    let route = "[[route]]\nname = \"early\"\nmatch = { path = \"/early/{rest}\" }\nupstream = \"early\"\n\
                 [[route]]\nname = \"rest\"\nupstream = \"app\"";
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in early.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut bytes = [0; 1024];
                // The test ends when it does.
                while stream.read(&mut bytes).is_ok_and(|count| count > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n");
                    if bytes.starts_with(b"POST") {
                        std::thread::park();
                    }
                }
            });
        }
    });
    let proxy = Proxy::with_config(&config(&origin, &format!("{upstream}{route}")));
    let mut uploading = proxy.client();
    uploading
        .send(b"POST /early/a HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\nonly the beginning")
        .unwrap();
    assert_eq!(uploading.response("POST").unwrap().status, 401);
    // Each goes to whatever connection is free: none of them may be the one that still waits for the upload.
    for _ in 0..5 {
        assert_eq!(proxy.get("/early/b").status, 401);
    }
    assert_eq!(proxy.get("/c").text(), "/c");
}

#[test]
fn an_unasked_304_is_no_answer() {
    let origin = Origin::fixed(304, &[("etag", "\"1\"")], "");
    let proxy = Proxy::in_front_of(&origin, "");
    assert_eq!(proxy.get_with("/a", &[("if-none-match", "\"1\"")]).status, 502);
}

#[test]
fn a_request_that_goes_in_a_circle_ends() {
    let origin = Origin::fixed(200, &[], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    let via = ["1.1 larder"; 8].join(", ");
    assert_eq!(proxy.get_with("/a", &[("via", &via)]).status, 508);
    assert_eq!(proxy.get_with("/a", &[("via", "1.1 larder, 1.1 other")]).status, 200);
}
