//! Bodies as streams, in both directions.

use flow_tests::{Gate, Origin, Proxy};

use crate::assert_status;

#[test]
fn a_request_body_is_passed_on_while_it_comes() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen, answering| {
        held.open();
        answering.reply(200, &[], &String::from_utf8_lossy(&seen.body))
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let mut client = proxy.client();
    client.send(b"POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").unwrap();
    client.send(b"3\r\ntwo\r\n0\r\n\r\n").unwrap();
    gate.wait().unwrap();
    let answer = client.response("POST").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "onetwo"));
    assert_status(&answer, "larder; fwd=method; fwd-status=200");
}

#[test]
fn a_response_that_may_not_be_stored_is_passed_on_while_it_comes() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, answering| {
        answering.head(200, &[("transfer-encoding", "chunked")])?;
        answering.chunk("first")?;
        held.wait()?;
        answering.chunk("second")?;
        answering.last_chunk()
    });
    let proxy = Proxy::in_front_of(&origin, "cache = false");
    let mut client = proxy.client();
    client.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
    assert_status(&client.head().unwrap(), "larder; fwd=bypass; fwd-status=200");
    assert_eq!(client.chunk().unwrap().as_deref(), Some(b"first".as_slice()));
    gate.open();
    assert_eq!(client.chunk().unwrap().as_deref(), Some(b"second".as_slice()));
}

#[test]
fn a_response_larger_than_the_limit_is_passed_on_whole_and_not_stored() {
    let origin = Origin::start(|seen, answering| {
        if seen.target == "/announced" {
            return answering.reply(200, &[("cache-control", "max-age=60")], &"x".repeat(2 << 20));
        }
        answering.head(200, &[("cache-control", "max-age=60"), ("transfer-encoding", "chunked")])?;
        for _ in 0..64 {
            answering.chunk(&"x".repeat(64 << 10))?;
        }
        answering.last_chunk()
    });
    let proxy = Proxy::with_config(&flow_tests::proxy::config(&origin, "[cache]\nmax_response = \"1MiB\""));
    for (target, bytes) in [("/announced", 2 << 20), ("/chunked", 4 << 20)] {
        for _ in 0..2 {
            let answer = proxy.get(target);
            assert_eq!((answer.status, answer.body.len()), (200, bytes), "{target}");
        }
    }
    assert_eq!(origin.count(), 4);
    assert_eq!(proxy.shared.memory.len(), 0);
}

#[test]
fn a_pipelining_client_gets_its_answers_in_order() {
    let origin = Origin::start(|seen, answering| {
        answering.reply(200, &[("cache-control", "max-age=60")], &seen.target)
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let targets = ["/a", "/b", "/a", "/c", "/b"];
    let mut client = proxy.client();
    let requests: Vec<u8> =
        targets.iter().flat_map(|target| rig::http::head("GET", target, "h", &[], b"")).collect();
    client.send(&requests).unwrap();
    for target in targets {
        assert_eq!(client.response("GET").unwrap().text(), target);
    }
    assert_eq!(origin.count(), 3);
}
