//! Purges by tag and by URL, and what an unsafe request makes invalid.

use flow_tests::{Gate, Origin, Proxy};

use crate::{HIT, STORED, assert_status};

const GONE: &str = "larder; fwd=miss; fwd-status=200; stored";

#[test]
fn a_tag_purge_ends_all_that_carries_the_tag_and_nothing_else() {
    let origin = Origin::start(|seen, answering| {
        let tags = if seen.target == "/other" { "user:2" } else { "user:1, page" };
        answering.reply(200, &[("cache-control", "max-age=60"), ("cache-tag", tags)], "x")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    for target in ["/a", "/b", "/other"] {
        let first = proxy.get(target);
        assert_status(&first, STORED);
        assert_eq!(first.field("cache-tag"), None, "tags are not for clients");
    }
    proxy.purge_tag("user:1");
    assert_status(&proxy.get("/a"), GONE);
    assert_status(&proxy.get("/b"), GONE);
    assert_status(&proxy.get("/other"), HIT);
    assert_status(&proxy.get("/a"), HIT);
}

#[test]
fn tags_of_the_route_are_made_from_the_path() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60")], "x");
    let proxy = Proxy::in_front_of(&origin, "match = { path = \"/users/{id}\" }\ntags = [\"user:{id}\"]");
    proxy.get("/users/7");
    proxy.get("/users/8");
    proxy.purge_tag("user:7");
    assert_status(&proxy.get("/users/7"), GONE);
    assert_status(&proxy.get("/users/8"), HIT);
}

#[test]
fn a_url_purge_ends_all_variants_of_the_url() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60"), ("vary", "accept")], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    let host = ("host", "shop.example");
    for accept in ["a", "b"] {
        proxy.get_with("/a?b=c", &[host, ("accept", accept)]);
    }
    proxy.get_with("/a?b=d", &[host]);
    let answer = proxy.admin("POST", "/api/purge", "{\"urls\": [\"http://SHOP.example:80/a?b=c\"]}");
    assert_eq!(answer.status, 200, "{}", answer.text());
    for accept in ["a", "b"] {
        let after = proxy.get_with("/a?b=c", &[host, ("accept", accept)]);
        assert!(!after.field("cache-status").unwrap().contains("hit"), "{after:?}");
    }
    assert_status(&proxy.get_with("/a?b=d", &[host]), HIT);
}

#[test]
fn a_purge_wins_over_a_fetch_that_began_before_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, answering| {
        held.wait()?;
        answering.reply(200, &[("cache-control", "max-age=60"), ("cache-tag", "t")], "old")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let mut early = proxy.client();
    early.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
    origin.wait_for(1);
    proxy.purge_tag("t");
    gate.open();
    // Who asked before the purge may get the old answer; nobody after it.
    assert_eq!(early.response("GET").unwrap().text(), "old");
    let after = proxy.get_with("/a", &[("host", "h")]);
    assert!(!after.field("cache-status").unwrap().contains("hit"), "{after:?}");
    assert_eq!(origin.count(), 2);
}

#[test]
fn who_comes_after_a_purge_is_not_fed_from_a_fetch_that_began_before_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen, answering| {
        answering
            .head(200, &[("cache-control", "max-age=60"), ("cache-tag", "t"), ("content-length", "3")])?;
        if seen.connection == 0 {
            held.wait()?;
        }
        answering.send(b"new")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let mut early = proxy.client();
    early.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
    early.head().unwrap();
    proxy.purge_tag("t");
    // The first fetch is still under way, and is not waited for.
    let after = proxy.get_with("/a", &[("host", "h")]);
    assert_eq!(after.text(), "new");
    assert_eq!(origin.count(), 2);
    gate.open();
}

#[test]
fn what_comes_after_a_purge_shares_one_new_fetch() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, answering| {
        answering
            .head(200, &[("cache-control", "max-age=60"), ("cache-tag", "t"), ("content-length", "1")])?;
        held.wait()?;
        answering.send(b"x")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let ask = || {
        let mut client = proxy.client();
        client.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
        client.head().unwrap();
        client
    };
    let mut clients = vec![ask()];
    proxy.purge_tag("t");
    clients.extend((0..10).map(|_| ask()));
    assert_eq!(origin.count(), 2);
    gate.open();
    for mut client in clients {
        assert_eq!(client.bytes(1).unwrap(), b"x");
    }
}

#[test]
fn a_freshened_response_keeps_its_tags() {
    let origin = Origin::start(|seen, answering| match seen.field("if-none-match") {
        Some(_) => answering.reply(304, &[("etag", "\"1\""), ("cache-control", "max-age=60")], ""),
        None => answering.reply(
            200,
            &[("etag", "\"1\""), ("cache-control", "max-age=60"), ("cache-tag", "t")],
            "x",
        ),
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(std::time::Duration::from_secs(60));
    assert_status(&proxy.get("/a"), "larder; fwd=stale; fwd-status=304; stored");
    assert_status(&proxy.get("/a"), HIT);
    proxy.purge_tag("t");
    assert_status(&proxy.get("/a"), GONE);
}

#[test]
fn an_unsafe_request_ends_what_is_stored_for_its_target() {
    let origin = Origin::start(|seen, answering| match seen.method.as_str() {
        "POST" => answering.reply(204, &[], ""),
        "PUT" => answering.reply(409, &[], ""),
        _ => answering.reply(200, &[("cache-control", "max-age=60")], "x"),
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    let refused = proxy.client().call("PUT", "/a", &[], b"new").unwrap();
    assert_eq!(refused.status, 409);
    assert_status(&proxy.get("/a"), HIT);
    let done = proxy.client().call("POST", "/a", &[], b"new").unwrap();
    assert_status(&done, "larder; fwd=method; fwd-status=204");
    assert_status(&proxy.get("/a"), GONE);
}

#[test]
fn a_response_with_too_many_tags_is_not_stored() {
    let origin = Origin::start(|_, answering| {
        let tags: Vec<_> = (0..=caching::tags::MAX_TAGS).map(|n| format!("t{n}")).collect();
        answering.reply(200, &[("cache-control", "max-age=60"), ("cache-tag", &tags.join(","))], "x")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    assert_status(&proxy.get("/a"), "larder; fwd=uri-miss; fwd-status=200; detail=tags");
}

#[test]
fn an_unsafe_request_whose_client_goes_away_still_ends_what_is_stored() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen, answering| {
        if seen.method == "POST" {
            held.wait()?;
        }
        answering.reply(200, &[("cache-control", "max-age=60")], "x")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get_with("/a", &[("host", "h")]);
    let mut client = proxy.client();
    client.send(&rig::http::head("POST", "/a", "h", &[], b"")).unwrap();
    origin.wait_for(2);
    drop(client);
    flow_tests::wait::until("the stored response to be gone", || {
        !proxy.get_with("/a", &[("host", "h")]).field("cache-status").unwrap().contains("hit")
    });
    gate.open();
}

#[test]
fn a_fetch_that_ends_late_does_not_take_the_place_of_a_newer_one() {
    let gate = Gate::default();
    let (held, answers) = (gate.clone(), std::sync::atomic::AtomicUsize::new(0));
    let origin = Origin::start(move |_, answering| {
        let number = answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        answering
            .head(200, &[("cache-control", "max-age=60"), ("cache-tag", "t"), ("content-length", "1")])?;
        if number == 0 {
            held.wait()?;
        }
        answering.send(number.to_string().as_bytes())
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let mut early = proxy.client();
    early.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
    let head = early.head().unwrap();
    proxy.purge_tag("t");
    assert_eq!(proxy.get_with("/a", &[("host", "h")]).text(), "1");
    gate.open();
    assert_eq!(early.body("GET", &head).unwrap(), b"0");
    flow_tests::wait::until("the old fetch to be over", || proxy.shared.fills.under_way() == 0);
    let hit = proxy.get_with("/a", &[("host", "h")]);
    assert_status(&hit, HIT);
    assert_eq!(hit.text(), "1");
}

#[test]
fn what_the_upstream_no_longer_gives_is_no_longer_served_stale() {
    let answers = std::sync::atomic::AtomicUsize::new(0);
    let origin = Origin::start(move |_, answering| {
        if answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            return answering.reply(
                200,
                &[("cache-control", "max-age=10, stale-while-revalidate=600")],
                "old",
            );
        }
        answering.reply(404, &[], "gone")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.clock.advance(std::time::Duration::from_secs(20));
    assert_eq!(proxy.get("/a").text(), "old");
    flow_tests::wait::until("the old response to be gone", || proxy.get("/a").status == 404);
}

#[test]
fn what_an_unsafe_request_made_or_changed_is_invalid_too() {
    let origin = Origin::start(|seen, answering| match seen.method.as_str() {
        "POST" => {
            answering.reply(201, &[("location", "/made"), ("content-location", "http://other.example/b")], "")
        }
        _ => answering.reply(200, &[("cache-control", "max-age=60")], "x"),
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let hosts = [("own.example", "/made"), ("own.example", "/b"), ("other.example", "/b")];
    for (host, target) in hosts {
        proxy.get_with(target, &[("host", host)]);
    }
    proxy.client().call("POST", "/all", &[("host", "own.example")], b"new").unwrap();
    assert_status(&proxy.get_with("/made", &[("host", "own.example")]), GONE);
    assert_status(&proxy.get_with("/b", &[("host", "own.example")]), HIT);
    assert_status(&proxy.get_with("/b", &[("host", "other.example")]), HIT);
}

#[test]
fn prefixes_hosts_and_everything_can_be_purged() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60")], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    let stored = [("one.example", "/shop/1"), ("one.example", "/other"), ("two.example", "/shop/1")];
    let fill = || stored.map(|(host, target)| drop(proxy.get_with(target, &[("host", host)])));
    let purge = |body: &str| {
        let answer = proxy.admin("POST", "/api/purge", body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        stored.map(|(host, target)| {
            let answer = proxy.get_with(target, &[("host", host)]);
            answer.field("cache-status").is_some_and(|status| status.contains("hit"))
        })
    };
    fill();
    assert_eq!(purge("{\"prefixes\": [\"http://ONE.example:80/shop/\"]}"), [false, true, true]);
    assert_eq!(purge("{\"hosts\": [\"one.example\"]}"), [false, false, true]);
    assert_eq!(purge("{\"hosts\": [\"none.example\"]}"), [true, true, true]);
    assert_eq!(purge("{\"all\": true}"), [false, false, false]);
    assert_eq!(purge("{\"tags\": [\"none\"]}"), [true, true, true]);
    for body in
        ["{\"hosts\": [\"a/b\"]}", "{\"hosts\": [\"\"]}", "{\"prefixes\": [\"/shop/\"]}", "{\"all\": false}"]
    {
        assert_eq!(proxy.admin("POST", "/api/purge", body).status, 400, "{body}");
    }
}

#[test]
fn a_wide_purge_wins_over_a_fetch_that_began_before_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, answering| {
        held.wait()?;
        answering.reply(200, &[("cache-control", "max-age=60")], "old")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let mut early = proxy.client();
    early.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
    origin.wait_for(1);
    assert_eq!(proxy.admin("POST", "/api/purge", "{\"hosts\": [\"h\"]}").status, 200);
    gate.open();
    assert_eq!(early.response("GET").unwrap().text(), "old");
    let after = proxy.get_with("/a", &[("host", "h")]);
    assert!(!after.field("cache-status").unwrap().contains("hit"), "{after:?}");
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_soft_purge_leaves_what_is_served_while_it_is_refreshed() {
    let origin = Origin::fixed(
        200,
        &[("cache-control", "max-age=600, stale-while-revalidate=60"), ("cache-tag", "t"), ("etag", "\"1\"")],
        "x",
    );
    let proxy = Proxy::in_front_of(&origin, "");
    let purge = |what: &str| {
        let answer = proxy.admin("POST", "/api/purge", what);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    proxy.get("/a");
    for (count, what) in [(2, "{\"tags\": [\"t\"], \"soft\": true}"), (3, "{\"all\": true, \"soft\": true}")]
    {
        purge(what);
        let stale = proxy.get("/a");
        assert!(stale.field("cache-status").unwrap().ends_with("detail=stale-while-revalidate"), "{stale:?}");
        origin.wait_for(count);
        flow_tests::wait::until("the refreshed response", || {
            crate::status_of(&proxy.get("/a")) == HIT
                && !proxy.get("/a").field("cache-status").unwrap().contains("detail")
        });
    }
    purge("{\"tags\": [\"t\"], \"soft\": true}");
    proxy.clock.advance(std::time::Duration::from_secs(61));
    assert_status(&proxy.get("/a"), "larder; fwd=stale; fwd-status=200; stored");
}

#[test]
fn purges_of_varnish_and_fastly_are_taken_by_the_admin_listener_alone() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60"), ("surrogate-key", "k l")], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    let host = ("host", "shop.example");
    let admin = |method: &str, target: &str, fields: &[(&str, &str)]| {
        let mut client = flow_tests::Client::connect(proxy.admin).unwrap();
        client.call(method, target, fields, b"").unwrap()
    };
    let service = ("host", "localhost");
    for (method, target, fields) in [
        ("PURGE", "/a", &[host][..]),
        ("PURGE", "/", &[host, ("surrogate-key", "x k")][..]),
        ("PURGE", "/", &[service, ("xkey-purge", "l")][..]),
        ("POST", "/service/s/purge/k", &[service][..]),
        ("POST", "/service/s/purge", &[service, ("surrogate-key", "k")][..]),
        ("POST", "/service/s/purge_all", &[service][..]),
    ] {
        proxy.get_with("/a", &[host]);
        assert_status(&proxy.get_with("/a", &[host]), HIT);
        let answer = admin(method, target, fields);
        assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
        assert!(answer.text().contains("\"purge\""));
        assert_status(&proxy.get_with("/a", &[host]), GONE);
    }
    // A page in a browser says where it comes from, and is refused.
    assert_eq!(admin("PURGE", "/a", &[host, ("origin", "http://shop.example")]).status, 403);
    // On the public side it is a method like any other, and goes to the upstream.
    proxy.client().call("PURGE", "/a", &[host], b"").unwrap();
    assert_eq!(origin.seen().last().map(|seen| seen.method.clone()).as_deref(), Some("PURGE"));
}

#[test]
fn an_unsafe_request_that_was_never_sent_ends_nothing() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60")], "x");
    let config = format!("[limits]\nmax_request_body = \"10B\"\n{}", flow_tests::proxy::config(&origin, ""));
    let proxy = Proxy::with_config(&config);
    let host = ("host", "h");
    proxy.get_with("/a", &[host]);
    assert_eq!(proxy.client().call("POST", "/a", &[host], b"more than ten bytes").unwrap().status, 413);
    let circle = ["1.1 larder"; 8].join(", ");
    assert_eq!(proxy.client().call("DELETE", "/a", &[host, ("via", &circle)], b"").unwrap().status, 508);
    assert_status(&proxy.get_with("/a", &[host]), HIT);
    assert_eq!(origin.count(), 1);
}
