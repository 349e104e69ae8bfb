//! What tells stored responses apart: queries, cookies, fields, and what an upstream says of its queries.

use flow_tests::{Gate, Origin, Proxy, wait};

use crate::{HIT, STORED, assert_status};

/// Says what it was asked for.
fn echo(fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::start(move |seen, answering| answering.reply(200, fields, &seen.target))
}

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[test]
fn dropped_parameters_reach_neither_key_nor_upstream() {
    let origin = echo(FRESH);
    let proxy = Proxy::in_front_of(&origin, "key = { query = { drop = true } }");
    assert_eq!(proxy.get("/a?utm_source=x&b=1&gclid=y&c=2").text(), "/a?b=1&c=2");
    assert_status(&proxy.get("/a?b=1&c=2&fbclid=z"), HIT);
    assert_status(&proxy.get("/a?%75tm_source=x&b=1&c=2"), HIT);
    assert_status(&proxy.get("/a?c=2&b=1"), STORED);
    assert_eq!(proxy.get("/b?utm_source=x").text(), "/b");
    assert_status(&proxy.get("/b"), HIT);
}

#[test]
fn sorted_parameters_are_one_key() {
    let origin = echo(FRESH);
    let proxy = Proxy::in_front_of(&origin, "key = { query = { sort = true, drop = [\"session*\"] } }");
    assert_eq!(proxy.get("/a?c=1&b=2&b=1&session_id=9").text(), "/a?b=2&b=1&c=1");
    assert_status(&proxy.get("/a?b=2&c=1&b=1"), HIT);
    assert_status(&proxy.get("/a?b=1&b=2&c=1"), STORED);
}

#[test]
fn without_configuration_a_query_is_what_it_is() {
    let origin = echo(FRESH);
    let proxy = Proxy::in_front_of(&origin, "");
    assert_eq!(proxy.get("/a?utm_source=x&b").text(), "/a?utm_source=x&b");
    assert_status(&proxy.get("/a?b&utm_source=x"), STORED);
}

#[test]
fn a_url_purge_reaches_what_is_stored_under_another_form_of_its_query() {
    let origin = echo(FRESH);
    let proxy = Proxy::in_front_of(&origin, "key = { query = { sort = true, drop = true } }");
    let host = ("host", "h");
    proxy.get_with("/a?b=1&c=2", &[host]);
    let purge = proxy.admin("POST", "/api/purge", "{\"urls\": [\"http://h/a?c=2&utm_x=1&b=1\"]}");
    assert_eq!(purge.status, 200, "{}", purge.text());
    assert_status(&proxy.get_with("/a?b=1&c=2", &[host]), "larder; fwd=miss; fwd-status=200; stored");
}

#[test]
fn cookies_and_fields_that_are_named_are_part_of_the_key() {
    let origin = Origin::start(|seen, answering| {
        answering.reply(200, FRESH, &format!("{:?} {:?}", seen.field("cookie"), seen.field("x-device")))
    });
    let proxy = Proxy::in_front_of(&origin, "key = { cookies = [\"theme\"], fields = [\"x-device\"] }");
    let get = |cookie, device| proxy.get_with("/a", &[("cookie", cookie), ("x-device", device)]);
    assert_status(&get("theme=dark; id=1", "phone"), STORED);
    assert_status(&get("id=2; theme=dark", "phone"), HIT);
    assert_status(&get("theme=light", "phone"), STORED);
    assert_status(&get("theme=dark", "desk"), STORED);
    assert_status(&get("id=3", "phone"), STORED);
    assert_status(&get("theme=", "phone"), STORED);
    // A value that looks like the next part is not one.
    assert_status(&proxy.get_with("/a", &[("x-device", "phone")]), HIT);
    assert_eq!(origin.count(), 5);
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
//= type=test
//# normalizing both header field values in a way that is known to have
//# identical semantics, according to the header field's specification
#[test]
fn encodings_and_languages_are_compared_by_their_meaning() {
    let origin = Origin::fixed(
        200,
        &[("cache-control", "max-age=60"), ("vary", "accept-encoding, accept-language")],
        "x",
    );
    let proxy = Proxy::in_front_of(&origin, "");
    let get = |encoding, language| {
        proxy.get_with("/a", &[("accept-encoding", encoding), ("accept-language", language)])
    };
    assert_status(&get("gzip, br", "en, de;q=0.5"), STORED);
    assert_status(&get("BR,gzip;q=1.0", "EN,de;q=0.50"), HIT);
    assert_status(&get("gzip", "en, de;q=0.5"), "larder; fwd=vary-miss; fwd-status=200; stored");
}

#[test]
fn a_route_chooses_how_a_field_is_compared() {
    let origin = Origin::start(|seen, answering| {
        let language =
            if seen.field("accept-language").is_some_and(|l| l.contains("de")) { "de" } else { "fr" };
        let fields =
            [("cache-control", "max-age=60"), ("vary", "accept-language"), ("content-language", language)];
        answering.reply(200, &fields, language)
    });
    let get = |proxy: &Proxy, language| proxy.get_with("/a", &[("accept-language", language)]);
    let negotiating = Proxy::in_front_of(&origin, "vary = { accept-language = \"negotiate\" }");
    get(&negotiating, "de, en;q=0.5");
    assert_status(&get(&negotiating, "de, es;q=0.1"), HIT);
    assert_status(&get(&negotiating, "fr, de;q=0.9"), "larder; fwd=vary-miss; fwd-status=200; stored");

    let exact = Proxy::in_front_of(&origin, "vary = { accept-language = \"pass-through\" }");
    get(&exact, "de, en");
    assert_status(&get(&exact, "en, de"), "larder; fwd=vary-miss; fwd-status=200; stored");

    let bypass = Proxy::in_front_of(&origin, "vary = { accept-language = \"bypass\" }");
    get(&bypass, "de");
    assert!(!get(&bypass, "de").field("cache-status").unwrap().contains("hit"));
}

#[test]
fn parameters_that_do_not_matter_to_the_upstream_select_nothing() {
    let origin = echo(&[("cache-control", "max-age=60"), ("no-vary-search", "params=(\"id\"), key-order")]);
    let proxy = Proxy::in_front_of(&origin, "");
    assert_status(&proxy.get("/a?b=1&c=2&id=9"), STORED);
    for target in ["/a?c=2&b=1", "/a?id=3&b=1&c=2", "/a?b=1&c=2&id=9"] {
        assert_status(&proxy.get(target), HIT);
    }
    assert_status(&proxy.get("/a?b=1&c=3"), STORED);
    assert_status(&proxy.get("/b?b=1"), STORED);
    let host = ("host", "h");
    proxy.get_with("/a?b=1", &[host]);
    assert_status(&proxy.get_with("/a?id=1&b=1", &[host]), HIT);
    for purge in [
        "{\"urls\": [\"http://h/a?id=7&b=1\"]}",
        "{\"prefixes\": [\"http://h/a\"]}",
        "{\"prefixes\": [\"http://h/a?b\"]}",
    ] {
        assert_eq!(proxy.admin("POST", "/api/purge", purge).status, 200);
        assert_status(&proxy.get_with("/a?b=1&id=2", &[host]), "larder; fwd=miss; fwd-status=200; stored");
    }
}

#[test]
fn an_upstream_that_no_longer_says_so_is_believed() {
    let origin = Origin::start(|seen, answering| {
        let search = ("no-vary-search", if seen.target.contains("old") { "params" } else { "params=?0" });
        answering.reply(200, &[("cache-control", "max-age=60"), search], &seen.target)
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a?old");
    assert_eq!(proxy.get("/a?x").text(), "/a?old");
    assert_eq!(proxy.get("/b?x").text(), "/b?x");
    proxy.purge_url("/a?old");
    assert_eq!(proxy.get("/a?x").text(), "/a?x");
    assert_eq!(proxy.get("/a?y").text(), "/a?y");
    assert_status(&proxy.get("/a?x"), HIT);
}

/// Two requests have one key by the rule of an earlier response. What one of them brings says that the rule no longer holds:
/// it must not reach the other.
#[test]
fn who_waits_by_a_rule_that_no_longer_holds_gets_an_answer_of_its_own() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen, answering| {
        if seen.target == "/a?id=0" {
            return answering.reply(
                200,
                &[("cache-control", "max-age=1"), ("no-vary-search", "params=(\"id\")")],
                "all",
            );
        }
        held.wait()?;
        answering.reply(200, &[("cache-control", "max-age=60")], &seen.target)
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get_with("/a?id=0", &[("host", "h")]);
    proxy.clock.advance(std::time::Duration::from_secs(2));
    let ask = |target: &str| {
        let mut client = proxy.client();
        client.send(&rig::http::head("GET", target, "h", &[], b"")).unwrap();
        client
    };
    let mut clients = vec![("/a?id=1", ask("/a?id=1"))];
    origin.wait_for(2);
    clients.extend(["/a?id=2", "/a?id=3"].map(|target| (target, ask(target))));
    wait::until("two to wait", || proxy.shared.fills.waiting() == 2);
    gate.open();
    for (target, mut client) in clients {
        assert_eq!(client.response("GET").unwrap().text(), target);
    }
}

#[test]
fn a_purge_reaches_what_a_rule_makes_equal_also_while_the_rule_is_not_known() {
    let origin = Origin::start(|seen, answering| {
        let rule = if seen.target.contains("none") { "params=?0" } else { "params=(\"utm\")" };
        answering.reply(200, &[("cache-control", "max-age=60"), ("no-vary-search", rule)], &seen.target)
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a?id=1&utm=x");
    assert_eq!(proxy.get("/a?id=1").text(), "/a?id=1&utm=x");
    proxy.get("/a?none");
    proxy.purge_url("/a?id=1");
    proxy.get("/a?id=9");
    assert_eq!(proxy.get("/a?id=1").text(), "/a?id=1");
}

#[test]
fn a_cookie_that_could_be_read_in_two_ways_is_no_key() {
    let origin = Origin::start(|seen, answering| {
        answering.reply(200, &[("cache-control", "max-age=60")], seen.field("cookie").unwrap_or("none"))
    });
    let proxy = Proxy::in_front_of(&origin, "key = { cookies = [\"lang\"] }");
    for cookie in ["lang=en; lang=evil", "lang=en; lang =evil", "lang =evil", "lang", "lang=en; a=b; lang"] {
        let answer = proxy.get_with("/a", &[("cookie", cookie)]);
        assert_status(&answer, "larder; fwd=bypass; fwd-status=200");
    }
    assert_status(&proxy.get_with("/a", &[("cookie", "lang=en")]), STORED);
    assert_status(&proxy.get_with("/a", &[("cookie", "a=b; lang=en")]), HIT);
    assert_status(&proxy.get("/a"), STORED);
}

/// An entity tag is one of its own URL: what another URL's says is no answer.
#[test]
fn what_another_url_brought_is_not_validated_for_this_one() {
    let origin = Origin::start(|seen, answering| {
        let is_first = seen.target == "/a?id=1";
        if seen.field("if-none-match").is_some() {
            return answering.reply(304, &[("etag", "\"1\""), ("cache-control", "max-age=60")], "");
        }
        let rule = if is_first { "params=(\"id\")" } else { "params=?0" };
        let fields = [("etag", "\"1\""), ("cache-control", "max-age=10"), ("no-vary-search", rule)];
        answering.reply(200, &fields, &seen.target)
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a?id=1");
    proxy.clock.advance(std::time::Duration::from_secs(11));
    assert_eq!(proxy.get("/a?id=2").text(), "/a?id=2");
    assert_eq!(origin.seen()[1].field("if-none-match"), None);
}

#[test]
fn an_unsafe_request_reaches_what_is_stored_under_another_form_of_its_query() {
    let origin = echo(FRESH);
    let proxy = Proxy::in_front_of(
        &origin,
        "match = { methods = [\"GET\"] }\nkey = { query = { sort = true, drop = true } }\n[[route]]\nname = \"rest\"",
    );
    let host = ("host", "h");
    proxy.get_with("/a?a=1&b=2", &[host]);
    assert_status(&proxy.get_with("/a?b=2&a=1", &[host]), HIT);
    proxy.client().call("DELETE", "/a?b=2&utm_x=1&a=1", &[host], b"").unwrap();
    assert_status(&proxy.get_with("/a?a=1&b=2", &[host]), "larder; fwd=miss; fwd-status=200; stored");
}
