//! Cache groups (RFC 9875): what an unsafe request makes invalid beyond its own target.

use flow_tests::{Origin, Proxy};

use crate::{HIT, assert_status};

//= https://www.rfc-editor.org/rfc/rfc9875#section-3
//= type=test
//# The Cache-Group-Invalidation header field MUST be ignored on responses
//# to requests that have a safe method
#[test]
fn an_unsafe_request_invalidates_the_groups_that_its_answer_names() {
    let origin = Origin::start(|seen, answering| match (seen.method.as_str(), seen.target.as_str()) {
        ("GET", "/safe") => answering.reply(200, &[("cache-group-invalidation", "\"a\"")], "x"),
        ("GET", "/a") => {
            answering.reply(200, &[("cache-control", "max-age=60"), ("cache-groups", "\"a\", \"c\"")], "x")
        }
        ("GET", _) => {
            answering.reply(200, &[("cache-control", "max-age=60"), ("cache-groups", "\"b\"")], "x")
        }
        (_, "/bad") => answering.reply(200, &[("cache-group-invalidation", "\"a\", b")], "x"),
        (_, "/failed") => answering.reply(500, &[("cache-group-invalidation", "\"a\"")], "x"),
        _ => answering.reply(200, &[("cache-group-invalidation", "\"a\", \"x\"")], "x"),
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let get = |target, host| proxy.get_with(target, &[("host", host)]);
    for host in ["one", "two"] {
        get("/a", host);
        get("/b", host);
    }
    get("/safe", "one");
    for target in ["/bad", "/failed"] {
        proxy.client().call("POST", target, &[("host", "one")], b"").unwrap();
    }
    assert_status(&get("/a", "one"), HIT);
    proxy.client().call("POST", "/other", &[("host", "one")], b"").unwrap();
    assert_status(&get("/a", "one"), "larder; fwd=miss; fwd-status=200; stored");
    assert_status(&get("/b", "one"), HIT);
    assert_status(&get("/a", "two"), HIT);
}
