//! Asking the upstream whether a stored response still holds, and the clients' own conditions.

use std::time::Duration;

use flow_tests::{Origin, Proxy, wait};

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
    wait::until("the response to be stored", || proxy.shared.invalidations.under_way() == 0);
    let hit = proxy.get_with("/a", &[("if-none-match", "W/\"v1\", \"x\"")]);
    assert_eq!((hit.status, hit.field("etag")), (304, Some("\"v1\"")));
    assert_status(&hit, HIT);
    assert_eq!(proxy.get_with("/a", &[("if-none-match", "\"v2\"")]).text(), "body");
    assert_eq!(origin.count(), 1);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3.2
//= type=test
//# When doing so, the cache MUST add each header field in the provided
//# response to the stored response, replacing field values that are
//# already present
#[test]
fn who_asked_gets_what_a_304_says_also_where_that_may_not_be_kept() {
    let origin = Origin::start(|seen, answering| match seen.field("if-none-match") {
        Some(_) => {
            answering.reply(304, &[("etag", "\"1\""), ("cache-control", "private"), ("x-new", "1")], "")
        }
        None => answering.reply(200, &[("etag", "\"1\""), ("cache-control", "public, max-age=10")], "body"),
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(11));
    let validated = proxy.get("/a");
    assert_status(&validated, "larder; fwd=stale; fwd-status=304");
    assert_eq!((validated.field("cache-control"), validated.field("x-new")), (Some("private"), Some("1")));
    assert_eq!((validated.text().as_str(), validated.field("age")), ("body", Some("0")));
    assert_status(&proxy.get("/a"), "larder; fwd=uri-miss; fwd-status=200; stored");
}

#[test]
fn a_cookie_in_a_304_reaches_its_client_and_nobody_else() {
    let origin = Origin::start(|seen, answering| match seen.field("if-none-match") {
        Some(_) => answering.reply(
            304,
            &[("etag", "\"1\""), ("cache-control", "max-age=10"), ("set-cookie", "s=1")],
            "",
        ),
        None => answering.reply(200, &[("etag", "\"1\""), ("cache-control", "max-age=10")], "body"),
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(11));
    assert_eq!(proxy.get("/a").field("set-cookie"), Some("s=1"));
    let hit = proxy.get("/a");
    assert_status(&hit, HIT);
    assert_eq!(hit.field("set-cookie"), None);
}

#[test]
fn one_client_with_credentials_does_not_take_from_the_others_what_is_stored() {
    let origin = Origin::start(|seen, answering| {
        if seen.field("authorization").is_some() {
            return answering.reply(if seen.target == "/refused" { 403 } else { 200 }, &[], "for one");
        }
        if seen.field("if-none-match").is_some() {
            return answering.reply(503, &[], "");
        }
        answering.reply(
            200,
            &[("etag", "\"1\""), ("cache-control", "max-age=10, stale-if-error=600")],
            "for all",
        )
    });
    let proxy = Proxy::in_front_of(&origin, "");
    for target in ["/refused", "/own"] {
        proxy.get(target);
        proxy.clock.advance(Duration::from_secs(11));
        assert_ne!(proxy.get_with(target, &[("authorization", "Basic eDp5")]).text(), "for all");
        let mut head = proxy.client();
        head.call("HEAD", target, &[("authorization", "Basic eDp5")], b"").unwrap();
        assert_eq!(proxy.get(target).text(), "for all", "the upstream fails, and what is stale stands in");
    }
}

#[test]
fn a_refresh_for_all_does_not_speak_for_one() {
    let origin = Origin::fixed(
        200,
        &[("cache-control", "max-age=10, stale-while-revalidate=60"), ("cache-tag", "t")],
        "x",
    );
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(Duration::from_secs(11));
    let asked = [("authorization", "Basic eDp5"), ("cache-control", "no-store")];
    assert!(proxy.get_with("/a", &asked).field("cache-status").unwrap().contains("stale-while-revalidate"));
    origin.wait_for(2);
    let seen = &origin.seen()[1];
    assert_eq!((seen.field("authorization"), seen.field("cache-control")), (None, None));
    wait::until("the refreshed response", || proxy.get("/a").field("age") == Some("0"));
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1
//= type=test
//# A server that is not the origin server for the target resource and
//# cannot act as a cache for requests on the target resource MUST NOT
//# evaluate the conditional request header fields defined by this
//# specification, and it MUST forward them if the request is forwarded
#[test]
fn a_client_that_has_its_own_page_already_is_told_so_by_the_upstream() {
    let origin = Origin::start(|seen, answering| match seen.field("if-none-match") {
        Some("\"mine\"") => answering.reply(304, &[("etag", "\"mine\""), ("cache-control", "private")], ""),
        _ => answering.reply(200, &[("etag", "\"mine\""), ("cache-control", "private")], "mine"),
    });
    let proxy = Proxy::in_front_of(&origin, "");
    assert_eq!(proxy.get("/a").text(), "mine");
    // It is known now that it is for each client alone.
    let again = proxy.get_with("/a", &[("if-none-match", "\"mine\"")]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_status(&again, "larder; fwd=uri-miss; fwd-status=304");
    assert_eq!(proxy.get_with("/a", &[("if-none-match", "\"other\"")]).text(), "mine");
    // So is the answer to somebody with credentials.
    let credentials = ("authorization", "Basic eDp5");
    assert_eq!(proxy.get_with("/b", &[credentials, ("if-none-match", "\"mine\"")]).status, 304);
}
