//! Asking the upstream whether a stored response still holds, and the clients' own conditions.

use std::time::Duration;

use flow_tests::{Origin, Proxy};

use crate::{HIT, assert_status};

/// Answers 304 to the one entity tag it has.
fn with_an_etag() -> Origin {
    Origin::start(|seen, answering| {
        if seen.field("if-none-match") == Some("\"v1\"") {
            return answering.reply(
                304,
                &[("etag", "\"v1\""), ("cache-control", "max-age=10"), ("x-new", "1")],
                "",
            );
        }
        answering.reply(200, &[("etag", "\"v1\""), ("cache-control", "max-age=10")], "body")
    })
}

#[test]
fn a_stale_response_is_validated_and_freshened() {
    let origin = with_an_etag();
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(11));
    let validated = proxy.get("/a");
    assert_status(&validated, "larder; fwd=stale; fwd-status=304; stored");
    assert_eq!((validated.status, validated.text().as_str()), (200, "body"));
    assert_eq!(validated.field("x-new"), Some("1"));
    assert_eq!(origin.seen()[1].field("if-none-match"), Some("\"v1\""));
    proxy.clock.advance(Duration::from_secs(9));
    let hit = proxy.get("/a");
    assert_eq!(hit.field("cache-status"), Some("larder; hit; ttl=1"));
    assert_eq!((hit.field("age"), hit.field("x-new")), (Some("9"), Some("1")));
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_304_for_another_entity_tag_leads_to_a_full_fetch() {
    let origin = Origin::start(|seen, answering| match seen.field("if-none-match") {
        Some(_) => answering.reply(304, &[("etag", "\"other\"")], ""),
        None => answering.reply(200, &[("etag", "\"v1\""), ("cache-control", "max-age=10")], "body"),
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(11));
    assert_eq!(proxy.get("/a").text(), "body");
    assert_eq!(origin.count(), 3);
    assert_status(&proxy.get("/a"), HIT);
}

#[test]
fn no_cache_is_stored_and_validated_each_time() {
    let origin = Origin::start(|seen, answering| match seen.field("if-none-match") {
        Some(_) => answering.reply(304, &[("etag", "\"v1\""), ("cache-control", "no-cache, max-age=60")], ""),
        None => {
            answering.reply(200, &[("etag", "\"v1\""), ("cache-control", "no-cache, max-age=60")], "body")
        }
    });
    let proxy = Proxy::in_front_of(&origin, "cache = { stale_while_revalidate = \"1h\" }");
    proxy.get("/a");
    for count in 2..4 {
        let validated = proxy.get("/a");
        assert_eq!((validated.status, validated.text().as_str()), (200, "body"));
        assert_eq!(origin.count(), count);
        assert!(origin.seen()[count - 1].field("if-none-match").is_some());
    }
}

#[test]
fn a_clients_condition_is_answered_from_what_is_stored() {
    let origin = with_an_etag();
    let proxy = Proxy::in_front_of(&origin, "");
    // It must not reach the upstream: what comes back is for everybody.
    let first = proxy.get_with("/a", &[("if-none-match", "\"v1\"")]);
    assert_eq!((first.status, first.body.len()), (304, 0));
    assert_eq!(origin.seen()[0].field("if-none-match"), None);
    let hit = proxy.get_with("/a", &[("if-none-match", "W/\"v1\", \"x\"")]);
    assert_eq!((hit.status, hit.field("etag")), (304, Some("\"v1\"")));
    assert_status(&hit, HIT);
    assert_eq!(proxy.get_with("/a", &[("if-none-match", "\"v2\"")]).text(), "body");
    assert_eq!(origin.count(), 1);
}
