//! Trailer fields: passed on to who takes them, cleaned, and neither merged into a head nor stored.

use flow_tests::{Gate, Origin, Proxy, proxy::config, wait};

use crate::{HIT, assert_status};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];
/// What would be believed if it stood in a head, and what was not announced.
const FORBIDDEN: &str = "content-length: 1\r\ntransfer-encoding: gzip\r\nhost: evil\r\nauthorization: evil\r\n\
                         content-type: evil\r\ncontent-encoding: gzip\r\ncontent-range: bytes 0-0/1\r\n\
                         cache-control: max-age=9\r\nset-cookie: evil=1\r\nx-hop: 1\r\nx-unannounced: 1\r\n";
const NAMES: &str = "X-Sum, content-length, transfer-encoding, host, authorization, content-type, content-encoding, \
                     content-range, cache-control, set-cookie, x-hop";

/// Sends a chunked body with trailers, its second part when the gate is open.
fn origin(gate: &Gate) -> Origin {
    let held = gate.clone();
    Origin::start(move |_, answering| {
        let fields =
            [("transfer-encoding", "chunked"), ("trailer", NAMES), ("connection", "x-hop"), FRESH[0]];
        answering.head(200, &fields)?;
        answering.chunk("one")?;
        held.wait()?;
        answering.chunk("two")?;
        answering.send(format!("0\r\nx-sum: 1\r\n{FORBIDDEN}x-sum: 2\r\n\r\n").as_bytes())
    })
}

fn open_gate() -> Gate {
    let gate = Gate::default();
    gate.open();
    gate
}

fn asking(more: &str) -> Vec<u8> {
    format!("GET /a HTTP/1.1\r\nhost: h\r\n{more}\r\n").into_bytes()
}

const TAKES: &str = "te: trailers\r\nconnection: te, close\r\n";

/// Head and body of the one answer, as they came.
#[track_caller]
fn exchange(proxy: &Proxy, request: &[u8]) -> (String, String) {
    let mut client = proxy.client();
    client.send(request).expect("the proxy reads");
    let answer = client.rest().expect("the proxy answers and closes");
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head has an end");
    (head.to_ascii_lowercase(), body.to_owned())
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
//= type=test
//# The presence of the keyword "trailers" in the TE header field
//# (Section 10.1.4) of a request indicates that the client is willing to
//# accept trailer fields, on behalf of itself and any downstream
//# clients.
#[test]
fn a_client_that_takes_trailers_gets_those_that_may_stand_there() {
    for route in ["", "cache = false"] {
        let origin = origin(&open_gate());
        let proxy = Proxy::in_front_of(&origin, route);
        let (head, body) = exchange(&proxy, &asking(TAKES));
        assert!(head.contains("\r\ntrailer: x-sum\r\n") || head.ends_with("\r\ntrailer: x-sum"), "{head}");
        assert!(!head.contains("x-sum: "), "{head}");
        assert!(body.ends_with("\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\n"), "{body}");
        let seen = origin.seen().remove(0);
        assert_eq!((seen.field("te"), seen.field("connection")), (Some("trailers"), Some("te")));
    }
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.1
//= type=test
//# Caches MAY either store trailer fields separate from header fields or
//# discard them.  Caches MUST NOT combine trailer fields with header
//# fields.
#[test]
fn a_stored_response_has_no_trailers() {
    let origin = origin(&open_gate());
    let proxy = Proxy::in_front_of(&origin, "");
    exchange(&proxy, &asking(TAKES));
    wait::until("the response to be stored", || proxy.shared.memory.len() == 1);
    let mut client = proxy.client();
    client.send(&asking("te: trailers\r\n")).unwrap();
    let hit = client.response("GET").unwrap();
    assert_status(&hit, HIT);
    assert_eq!(hit.text(), "onetwo");
    for name in ["x-sum", "trailer", "set-cookie", "content-encoding", "content-type"] {
        assert_eq!(hit.field(name), None, "{hit:?}");
    }
    assert_eq!(hit.field("cache-control"), Some("max-age=60"));
}

#[test]
fn a_client_that_does_not_take_trailers_gets_none() {
    for (route, te) in [("", ""), ("cache = false", ""), ("cache = false", "te: gzip\r\n")] {
        let origin = origin(&open_gate());
        let proxy = Proxy::in_front_of(&origin, route);
        let (head, body) = exchange(&proxy, &asking(&format!("{te}connection: close\r\n")));
        assert!(!head.contains("trailer: ") && !head.contains("x-sum"), "{head}");
        assert!(body.ends_with("\r\n0\r\n\r\n"), "{body}");
        assert_eq!(origin.seen()[0].field("te"), None);
    }
    let origin = origin(&open_gate());
    let proxy = Proxy::in_front_of(&origin, "cache = false");
    let (head, body) = exchange(&proxy, b"GET /a HTTP/1.0\r\nhost: h\r\nte: trailers\r\n\r\n");
    assert_eq!((head.contains("trailer"), body.as_str()), (false, "onetwo"), "{head}");
}

#[test]
fn those_who_read_a_body_while_it_arrives_get_its_trailers_too() {
    let gate = Gate::default();
    let origin = origin(&gate);
    let proxy = Proxy::in_front_of(&origin, "");
    let (mut leader, mut follower) = (proxy.client(), proxy.client());
    leader.send(&asking(TAKES)).unwrap();
    leader.head().unwrap();
    follower.send(&asking(TAKES)).unwrap();
    let head = follower.head().unwrap();
    assert_eq!((head.status, head.field("trailer")), (200, Some("x-sum")), "{head:?}");
    gate.open();
    for mut client in [leader, follower] {
        let body = String::from_utf8(client.rest().unwrap()).unwrap();
        assert!(body.ends_with("\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\n"), "{body}");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_connection_to_the_upstream_is_used_again_behind_trailers() {
    for (route, te) in
        [("", ""), ("cache = false", ""), ("", "te: trailers\r\n"), ("cache = false", "te: trailers\r\n")]
    {
        let origin = origin(&open_gate());
        let proxy = Proxy::in_front_of(&origin, route);
        let mut client = proxy.client();
        for target in ["/a", "/b", "/c"] {
            client.send(format!("GET {target} HTTP/1.1\r\nhost: h\r\n{te}\r\n").as_bytes()).unwrap();
            assert_eq!(client.response("GET").unwrap().text(), "onetwo");
        }
        let connections: Vec<_> = origin.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [0, 0, 0], "{route} {te}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
//= type=test
//# Many fields cannot be processed outside the header section because
//# their evaluation is necessary prior to receiving the content, such as
//# those that describe message framing, routing, authentication, request
//# modifiers, response controls, or content format.
#[test]
fn trailers_of_a_request_reach_the_upstream_without_those_that_would_be_believed() {
    let origin = Origin::fixed(200, &[], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    let mut client = proxy.client();
    for _ in 0..2 {
        let head = format!(
            "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntrailer: {NAMES}\r\nconnection: x-hop\r\n\r\n"
        );
        let body = format!("4\r\nbody\r\n0\r\nx-sum: 1\r\n{FORBIDDEN}\r\n");
        client.send(&[head, body].concat().into_bytes()).unwrap();
        assert_eq!(client.response("POST").unwrap().status, 200);
    }
    for seen in origin.seen() {
        assert_eq!(
            (seen.body.as_slice(), seen.trailers.as_slice()),
            (b"body".as_slice(), ["x-sum: 1".to_owned()].as_slice())
        );
        assert_eq!(
            (seen.field("trailer"), seen.field("x-sum"), seen.field("host")),
            (Some("x-sum"), None, Some("h"))
        );
    }
}

#[test]
fn the_wait_for_an_answer_begins_behind_the_trailers_too() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, answering| {
        held.wait()?;
        answering.reply(200, &[], "late")
    });
    let proxy = Proxy::with_config(&config(&origin, "response_timeout = \"50ms\""));
    let mut client = proxy.client();
    client
        .send(b"POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n1\r\nx\r\n0\r\nx: 1\r\n\r\n")
        .unwrap();
    assert_eq!(client.response("POST").unwrap().status, 504);
    gate.open();
}

#[test]
fn trailers_without_end_break_their_message_and_nothing_is_stored() {
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = format!("x-large: {}\r\n", "x".repeat(100 << 10));
    for trailers in [many, large] {
        let sent = trailers.clone();
        let origin = Origin::start(move |_, answering| {
            answering.head(200, &[("transfer-encoding", "chunked"), FRESH[0]])?;
            answering.chunk("x")?;
            answering.send(format!("0\r\n{sent}\r\n").as_bytes())
        });
        let proxy = Proxy::in_front_of(&origin, "");
        assert!(proxy.client().get("/a", &[]).is_err(), "a body that is not whole");
        assert_eq!(proxy.shared.memory.len(), 0);
        let mut client = proxy.client();
        let head = "POST /b HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n";
        // The proxy may close in the middle of it.
        let _ = client.send(format!("{head}{trailers}\r\n").as_bytes());
        assert_eq!(client.response("POST").unwrap().status, 400);
    }
}
