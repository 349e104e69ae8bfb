//! The change feed: what it ends, what it keeps from being stored, and what holds while nobody hears it.

use flow_tests::{Feed, Origin, Proxy, proxy::config};

use crate::{HIT, STORED, assert_status};

const GONE: &str = "larder; fwd=miss; fwd-status=200; stored";

fn fed(origin: &Origin, feed: &Feed, in_feed: &str, route: &str) -> Proxy {
    let route = format!("[[route]]\nname = \"all\"\n{route}\n");
    Proxy::with_config(&config(origin, &format!("{}{route}", feed.section(in_feed))))
}

#[test]
fn an_event_ends_exactly_what_has_its_tag() {
    let origin = Origin::start(|seen, answering| {
        let tag = if seen.target == "/other" { "user:2" } else { "user:1, page" };
        let stamp = "snapshot=900:900:; timeline=1";
        let fields = [("cache-control", "max-age=600"), ("cache-tag", tag), ("larder-version", stamp)];
        answering.reply(200, &fields, "x")
    });
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    for target in ["/a", "/b", "/other"] {
        let first = proxy.get(target);
        assert_status(&first, STORED);
        assert_eq!(first.field("larder-version"), None, "stamps are not for clients");
        assert_status(&proxy.get(target), HIT);
    }
    telling.commit(&proxy, 500, 2000, &["user:1"]);
    assert_status(&proxy.get("/a"), GONE);
    assert_status(&proxy.get("/b"), GONE);
    assert_status(&proxy.get("/other"), HIT);
    assert_status(&proxy.get("/a"), HIT);
}
