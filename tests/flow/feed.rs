//! The change feed: what it ends, what it keeps from being stored, and what holds while nobody hears it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use flow_tests::{Client, Feed, Gate, Origin, Proxy, Response, feed::at, feed::epochs, proxy::config, wait};

use crate::{HIT, STORED, assert_status};

const GONE: &str = "larder; fwd=miss; fwd-status=200; stored";
/// Not stored: an event is not in it.
const REFUSED: &str = "larder; fwd=uri-miss; fwd-status=200; detail=stale-fill";
/// Made when all transactions below 900 had ended.
const LATE: &str = "snapshot=900:900:; timeline=1";

/// An upstream whose answers have one tag, and say that they were made from what is set here, if anything. The body counts the
/// requests.
struct Upstream {
    origin: Origin,
    stamp: Arc<Mutex<Option<&'static str>>>,
}

impl Upstream {
    fn stamped(stamp: &'static str) -> Upstream {
        let stamp = Arc::new(Mutex::new(Some(stamp)));
        let (own, count) = (Arc::clone(&stamp), AtomicUsize::new(0));
        let origin = Origin::start(move |_, answering| {
            let stamp = *own.lock().expect("no test has panicked here");
            let mut fields = vec![("cache-control", "max-age=600"), ("cache-tag", "row:1")];
            fields.extend(stamp.map(|stamp| ("larder-version", stamp)));
            answering.reply(200, &fields, &count.fetch_add(1, Ordering::SeqCst).to_string())
        });
        Upstream { origin, stamp }
    }

    fn stamp(&self, stamp: Option<&'static str>) {
        *self.stamp.lock().expect("no test has panicked here") = stamp;
    }
}

fn fed(origin: &Origin, feed: &Feed, in_feed: &str, route: &str) -> Proxy {
    let route = format!("[[route]]\nname = \"all\"\n{route}\n");
    Proxy::with_config(&config(origin, &format!("{}{route}", feed.section(in_feed))))
}

/// Sends a request without waiting for its answer.
fn asked(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.send(&rig::http::head("GET", "/a", "h", &[], b"")).expect("the proxy takes requests");
    client
}

fn answer_of(mut client: Client) -> Response {
    client.response("GET").expect("everybody gets an answer")
}

#[track_caller]
fn assert_detail(response: &Response, expected: &str) {
    let status = response.field("cache-status").expect("every answer says what the cache did");
    assert_eq!(status.split("; detail=").nth(1).unwrap_or(""), expected, "{response:?}");
}

#[test]
fn an_event_ends_exactly_what_has_its_tag() {
    let origin = Origin::start(|seen, answering| {
        let tag = if seen.target == "/other" { "user:2" } else { "user:1, page" };
        let fields = [("cache-control", "max-age=600"), ("cache-tag", tag), ("larder-version", LATE)];
        answering.reply(200, &fields, "x")
    });
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    assert_eq!(telling.asked.target, "/feed");
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

#[test]
fn what_lacks_an_event_is_for_those_alone_who_asked_before_it() {
    let gate = Gate::default();
    let (held, count) = (gate.clone(), AtomicUsize::new(0));
    let origin = Origin::start(move |_, answering| {
        let is_first = count.fetch_add(1, Ordering::SeqCst) == 0;
        // Transaction 500 is running when the first one is made.
        let stamp = if is_first { "snapshot=500:501:500; timeline=1" } else { LATE };
        if is_first {
            held.wait()?;
        }
        let fields = [("cache-control", "max-age=600"), ("cache-tag", "row:1"), ("larder-version", stamp)];
        answering.reply(200, &fields, if is_first { "old" } else { "new" })
    });
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    let leader = asked(&proxy);
    origin.wait_for(1);
    let early = asked(&proxy);
    wait::until("one to wait", || proxy.shared.fills.waiting() == 1);
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    let late = asked(&proxy);
    wait::until("two to wait", || proxy.shared.fills.waiting() == 2);
    gate.open();
    let leader = answer_of(leader);
    assert_eq!(leader.text(), "old");
    assert_status(&leader, REFUSED);
    assert_eq!(answer_of(early).text(), "old");
    assert_eq!(answer_of(late).text(), "new");
    assert_eq!(origin.count(), 2);
    assert_status(&proxy.get_with("/a", &[("host", "h")]), HIT);
}

#[test]
fn who_asks_after_an_event_is_not_fed_from_a_body_that_lacks_it() {
    let gate = Gate::default();
    let (held, count) = (gate.clone(), AtomicUsize::new(0));
    let origin = Origin::start(move |_, answering| {
        let is_first = count.fetch_add(1, Ordering::SeqCst) == 0;
        let stamp = if is_first { "snapshot=500:501:500; timeline=1" } else { LATE };
        let fields = [
            ("cache-control", "max-age=600"),
            ("cache-tag", "row:1"),
            ("larder-version", stamp),
            ("content-length", "3"),
        ];
        answering.head(200, &fields)?;
        if is_first {
            held.wait()?;
        }
        answering.send(if is_first { b"old" } else { b"new" })
    });
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    let mut leader = asked(&proxy);
    // Its head is there, and good for everybody; its body is not.
    assert_status(&leader.head().unwrap(), STORED);
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    assert_eq!(answer_of(asked(&proxy)).text(), "new");
    gate.open();
    assert_eq!(origin.count(), 2);
    // What the first one brings at its end does not take the place of the other.
    drop(leader);
    wait::until("the first to end", || proxy.shared.fills.under_way() == 0);
    let hit = proxy.get_with("/a", &[("host", "h")]);
    assert_status(&hit, HIT);
    assert_eq!(hit.text(), "new");
}

#[test]
fn what_lacks_an_event_that_was_known_is_asked_for_once_more() {
    let origin = Origin::start(|seen, answering| {
        let is_better = seen.field("larder-min-version").is_some();
        let stamp = if is_better { "lsn=0/7D0; timeline=1" } else { "lsn=0/7CF; timeline=1" };
        let fields = [("cache-control", "max-age=600"), ("cache-tag", "row:1"), ("larder-version", stamp)];
        answering.reply(200, &fields, if is_better { "new" } else { "old" })
    });
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    let answer = proxy.get("/a");
    assert_status(&answer, STORED);
    assert_eq!(answer.text(), "new");
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].field("larder-min-version"), None);
    assert_eq!(seen[1].field("larder-min-version"), Some("lsn=0/7D0; timeline=1"));
    assert_status(&proxy.get("/a"), HIT);
}

#[test]
fn a_second_answer_is_passed_on_whatever_it_lacks() {
    let upstream = Upstream::stamped("lsn=0/7CF; timeline=1");
    let feed = Feed::start();
    let proxy = fed(&upstream.origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    for requests in [2, 4] {
        assert_status(&proxy.get("/a"), REFUSED);
        assert_eq!(upstream.origin.count(), requests);
    }
    upstream.stamp(Some("lsn=0/7D0; timeline=1"));
    assert_status(&proxy.get("/a"), STORED);
    assert_eq!(upstream.origin.count(), 5);
}

#[test]
fn a_snapshot_that_does_not_show_an_event_is_refused() {
    let upstream = Upstream::stamped("snapshot=500:503:500,502; timeline=1");
    let feed = Feed::start();
    let proxy = fed(&upstream.origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    // 500 has committed, as the log has it, but is in the list of those that run: not visible yet.
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    assert_status(&proxy.get("/a"), REFUSED);
    // Of another transaction it is seen.
    upstream.stamp(Some("snapshot=500:503:502; timeline=1"));
    assert_status(&proxy.get("/a"), STORED);
    assert_status(&proxy.get("/a"), HIT);
    // Of 502 it is not, which does not concern it.
    telling.commit(&proxy, 502, 3000, &["row:2"]);
    assert_status(&proxy.get("/a"), HIT);
}

#[test]
fn stamps_of_another_timeline_say_nothing_that_can_be_stored() {
    let upstream = Upstream::stamped("lsn=0/FFFF; timeline=2");
    let feed = Feed::start();
    let proxy = fed(&upstream.origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    assert_status(&proxy.get("/a"), "larder; fwd=uri-miss; fwd-status=200; detail=feed-gap");
    assert_eq!(upstream.origin.count(), 2, "it may lack what came before the account");
    telling.begin_as(7, 2, 900, false);
    wait::until("the new account", || epochs(&proxy) == 2);
    upstream.stamp(Some("lsn=0/39D; timeline=2"));
    assert_status(&proxy.get("/a"), STORED);
    assert_status(&proxy.get("/a"), HIT);
    // The new account has begun with a smaller position, and its events count all the same.
    telling.commit(&proxy, 500, 950, &["row:1"]);
    upstream.stamp(Some("lsn=0/3B6; timeline=2"));
    assert_status(&proxy.get("/a"), GONE);
}

#[test]
fn what_reaches_back_before_the_account_is_not_stored() {
    let upstream = Upstream::stamped("lsn=0/3E7; timeline=1");
    let feed = Feed::start();
    let proxy = fed(&upstream.origin, &feed, "", "");
    let _telling = feed.begun(&proxy, 1000);
    let refused = "larder; fwd=uri-miss; fwd-status=200; detail=feed-gap";
    assert_status(&proxy.get("/a"), refused);
    // Who asks now is owed what the account began with, and so are all who wait: it is asked for, once.
    let asked: Vec<_> = upstream.origin.seen();
    let wanted: Vec<_> = asked.iter().map(|seen| seen.field("larder-min-version")).collect();
    assert_eq!(wanted, [None, Some("lsn=0/3E8; timeline=1")]);
    upstream.stamp(Some("snapshot=99:99:; timeline=1"));
    assert_status(&proxy.get("/a"), refused);
    upstream.stamp(Some("snapshot=100:100:; timeline=1"));
    assert_status(&proxy.get("/a"), STORED);
}

#[test]
fn a_validation_is_as_new_as_its_304() {
    let stamp = Arc::new(Mutex::new(LATE));
    let own = Arc::clone(&stamp);
    let origin = Origin::start(move |seen, answering| {
        let stamp = *own.lock().unwrap();
        let fields = [
            ("cache-control", "max-age=60"),
            ("cache-tag", "row:1"),
            ("larder-version", stamp),
            ("etag", "\"1\""),
        ];
        let is_known = seen.field("if-none-match").is_some();
        answering.reply(if is_known { 304 } else { 200 }, &fields, "x")
    });
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    assert_status(&proxy.get("/a"), STORED);
    proxy.clock.advance(Duration::from_secs(61));
    telling.at(&proxy, 1500, None);
    // A replica that is further behind than what is stored: its 304 must not make that older than it was known to be.
    *stamp.lock().unwrap() = "lsn=0/5DC; timeline=1";
    let validated = proxy.get("/a");
    assert_status(&validated, "larder; fwd=stale; fwd-status=304; stored");
    assert_status(&proxy.get("/a"), HIT);
    telling.commit(&proxy, 950, 2000, &["row:1"]);
    let after = proxy.get("/a");
    assert!(after.field("cache-status").unwrap().contains("detail=stale-fill"), "{after:?}");
    assert_eq!(origin.seen().last().unwrap().field("larder-min-version"), Some("lsn=0/7D0; timeline=1"));
    *stamp.lock().unwrap() = "lsn=0/7D0; timeline=1";
    assert_status(&proxy.get("/a"), GONE);
}

#[test]
fn a_304_that_lacks_a_known_event_is_asked_for_once_more() {
    let origin = Origin::start(move |seen, answering| {
        let is_better = seen.field("larder-min-version").is_some();
        let stamp = if is_better { "lsn=0/BB8; timeline=1" } else { "lsn=0/7D0; timeline=1" };
        let fields = [
            ("cache-control", "max-age=60"),
            // What is stored first has a tag that no event has; its validation finds another one.
            ("cache-tag", if seen.field("if-none-match").is_some() { "row:1" } else { "row:0" }),
            ("larder-version", stamp),
            ("etag", "\"1\""),
        ];
        answering.reply(if seen.field("if-none-match").is_some() { 304 } else { 200 }, &fields, "x")
    });
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    assert_status(&proxy.get("/a"), STORED);
    telling.commit(&proxy, 500, 3000, &["row:1"]);
    proxy.clock.advance(Duration::from_secs(60));
    telling.at(&proxy, 3000, None);
    assert_status(&proxy.get("/a"), "larder; fwd=stale; fwd-status=304; stored");
    let seen = origin.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2].field("larder-min-version"), Some("lsn=0/BB8; timeline=1"));
    assert_status(&proxy.get("/a"), HIT);
}

#[test]
fn what_depends_on_a_silent_feed_is_as_its_configuration_says() {
    let windows = "cache = { stale_while_revalidate = \"20s\" }";
    for on_loss in ["stale", "pass", "ttl"] {
        let upstream = Upstream::stamped(LATE);
        let feed = Feed::start();
        let proxy = fed(&upstream.origin, &feed, &format!("on_loss = \"{on_loss}\""), windows);
        let mut telling = feed.begun(&proxy, 1000);
        assert_status(&proxy.get("/a"), STORED);
        proxy.clock.advance(Duration::from_secs(60));
        assert_status(&proxy.get("/a"), HIT);
        proxy.clock.advance(Duration::from_secs(1));
        let silent = proxy.get("/a");
        match on_loss {
            "stale" => {
                assert_status(&silent, HIT);
                assert_detail(&silent, "feed-silent");
                // It is refreshed meanwhile, which makes it no fresher.
                upstream.origin.wait_for(2);
                wait::until("the refresh to end", || proxy.shared.fills.under_way() == 0);
                proxy.clock.advance(Duration::from_secs(20));
                let validated = "larder; fwd=stale; fwd-status=200; stored; detail=feed-silent";
                assert_status(&proxy.get("/a"), validated);
            }
            "pass" => assert_status(&silent, "larder; fwd=miss; fwd-status=200; stored; detail=feed-silent"),
            _ => {
                assert_status(&silent, HIT);
                assert_detail(&silent, "");
            }
        }
        telling.at(&proxy, 1001, None);
        let heard = proxy.get("/a");
        assert_status(&heard, HIT);
        assert_detail(&heard, "");
    }
}

#[test]
fn a_gap_makes_stale_what_was_stored_before_it() {
    for on_loss in ["stale", "pass", "ttl"] {
        let upstream = Upstream::stamped(LATE);
        let feed = Feed::start();
        let windows = "cache = { stale_while_revalidate = \"20s\" }";
        let proxy = fed(&upstream.origin, &feed, &format!("on_loss = \"{on_loss}\""), windows);
        let mut telling = feed.begun(&proxy, 1000);
        proxy.get("/a");
        telling.lost(&proxy, "the slot is gone");
        let lost = proxy.get("/a");
        match on_loss {
            "stale" => {
                assert_status(&lost, HIT);
                assert_detail(&lost, "no-feed");
                upstream.origin.wait_for(2);
                wait::until("the refresh to end", || proxy.shared.fills.under_way() == 0);
                proxy.clock.advance(Duration::from_secs(21));
                let after = proxy.get("/a");
                assert_status(&after, "larder; fwd=stale; fwd-status=200; detail=no-feed");
            }
            "pass" => assert_status(&lost, "larder; fwd=miss; fwd-status=200; detail=no-feed"),
            _ => {
                assert_status(&lost, HIT);
                let stored = "larder; fwd=uri-miss; fwd-status=200; stored; detail=no-feed";
                assert_status(&proxy.get("/b"), stored);
                assert_status(&proxy.get("/b"), HIT);
            }
        }
        telling.begin(1500, false);
        wait::until("the new account", || epochs(&proxy) == 2);
        let again = proxy.get("/a");
        match on_loss {
            "ttl" => {
                assert_status(&again, HIT);
                // What is told now ends what was stored before, and while there was no feed.
                telling.commit(&proxy, 500, 2000, &["row:1"]);
                assert_status(&proxy.get("/a"), GONE);
                assert_status(&proxy.get("/b"), GONE);
            }
            _ => assert!(again.field("cache-status").unwrap().ends_with("stored"), "{again:?}"),
        }
        assert_status(&proxy.get("/a"), HIT);
    }
}

#[test]
fn what_an_event_has_ended_is_not_stale_but_gone_when_the_feed_is_lost() {
    let upstream = Upstream::stamped(LATE);
    let feed = Feed::start();
    let proxy = fed(
        &upstream.origin,
        &feed,
        "",
        "cache = { stale_while_revalidate = \"1h\", stale_if_error = \"1h\" }",
    );
    let mut telling = feed.begun(&proxy, 1000);
    proxy.get("/a");
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    telling.lost(&proxy, "x");
    telling.begin(500, false);
    wait::until("the new account", || epochs(&proxy) == 2);
    upstream.origin.stop();
    assert_eq!(proxy.get("/a").status, 502);
}

#[test]
fn a_connection_that_goes_on_where_the_last_one_ended_loses_nothing() {
    let upstream = Upstream::stamped(LATE);
    let feed = Feed::start();
    let proxy = fed(&upstream.origin, &feed, "token = \"a-token-of-the-feed\"", "");
    let mut telling = feed.begun(&proxy, 1000);
    assert_eq!(telling.asked.field("authorization"), Some("Bearer a-token-of-the-feed"));
    proxy.get("/a");
    telling.commit(&proxy, 500, 2000, &["row:2"]);
    drop(telling);
    assert_status(&proxy.get("/a"), HIT);
    let mut telling = feed.next();
    assert_eq!(telling.asked.target, "/feed?from=0/7D0&timeline=1&system=7");
    telling.answer(200);
    telling.begin(2000, true);
    telling.commit(&proxy, 501, 2100, &["row:2"]);
    assert_status(&proxy.get("/a"), HIT);
    telling.commit(&proxy, 502, 2200, &["row:1"]);
    assert_status(&proxy.get("/a"), GONE);
    assert_eq!(epochs(&proxy), 1);
    // The next one cannot: another cluster, or one that does not remember so much.
    for (system, position, resumed) in [(7, 2300, false), (8, 2300, true), (8, 2500, true)] {
        drop(telling);
        let before = epochs(&proxy);
        telling = feed.next();
        telling.answer(200);
        telling.begin_as(system, 1, position, resumed);
        wait::until("a new account", || epochs(&proxy) > before);
        let after = proxy.get("/a");
        assert!(after.field("cache-status").unwrap().contains("fwd="), "{after:?}");
        assert_status(&proxy.get("/a"), HIT);
    }
}

#[test]
fn nothing_is_applied_of_a_line_that_is_malformed_or_cut_off() {
    let upstream = Upstream::stamped(LATE);
    let feed = Feed::start();
    let proxy = fed(&upstream.origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    proxy.get("/a");
    let long = format!("{{\"lost\":{{\"why\":\"{}\"}}}}\n", "x".repeat(1 << 20));
    for line in [
        "{\"commit\":{\"xid\":\"500\",\"end\":\"0/7D0\",\"tags\":[\"row:1\"",
        "{\"commit\":{\"xid\":\"500\",\"end\":\"0/7D0\",\"tags\":[\"row:1\"]},\"x\":1}\n",
        "{\"commit\":{\"xid\":\"-1\",\"end\":\"0/7D0\",\"tags\":[\"row:1\"]}}\n",
        "{\"commit\":{\"xid\":\"500\",\"end\":\"FFFFFFFF/7D0\",\"tags\":[\"row:1\"]}}\n",
        "{\"at\":{\"position\":\"FFFFFFFF/0\"}}\n",
        "\n",
        &long,
    ] {
        telling.say(line);
        if !line.ends_with('\n') {
            drop(telling);
        }
        telling = feed.next();
        telling.answer(200);
        telling.begin(1000, true);
    }
    telling.at(&proxy, 1001, None);
    assert_eq!((epochs(&proxy), at(&proxy)), (1, Some(1001)));
    assert_status(&proxy.get("/a"), HIT);
    // An event of no account is none.
    drop(telling);
    let mut telling = feed.next();
    telling.answer(200);
    telling.say("{\"commit\":{\"xid\":\"500\",\"end\":\"0/7D0\",\"tags\":[\"row:1\"]}}\n");
    let mut telling = feed.next();
    for status in [404, 401, 503] {
        telling.answer(status);
        telling = feed.next();
    }
    assert_status(&proxy.get("/a"), HIT);
}

#[test]
fn tags_that_no_response_can_have_concern_none() {
    let upstream = Upstream::stamped(LATE);
    let feed = Feed::start();
    let proxy = fed(&upstream.origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    proxy.get("/a");
    telling.commit(&proxy, 500, 2000, &["not a tag", &"x".repeat(300), "row:1"]);
    assert_status(&proxy.get("/a"), GONE);
}

#[test]
fn a_route_without_feed_lives_by_its_ttl() {
    let upstream = Upstream::stamped("lsn=0/1; timeline=1");
    let feed = Feed::start();
    let proxy = fed(&upstream.origin, &feed, "", "feed = false");
    let mut telling = feed.begun(&proxy, 1000);
    assert_status(&proxy.get("/a"), STORED);
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    proxy.clock.advance(Duration::from_secs(100));
    assert_status(&proxy.get("/a"), HIT);
    // From now on it goes by the feed, and nobody knows what it has of that.
    upstream.stamp(Some(LATE));
    let route = "[[route]]\nname = \"all\"\n";
    proxy.reload(&config(&upstream.origin, &format!("{}{route}", feed.section(""))));
    telling.at(&proxy, 2000, None);
    assert_status(&proxy.get("/a"), GONE);
    assert_status(&proxy.get("/a"), HIT);
    assert_eq!(epochs(&proxy), 1, "a reload that leaves the feed as it is does not touch it");
}

#[test]
fn what_has_neither_stamp_nor_tag_does_not_depend_on_the_feed() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=600")], "x");
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "", "");
    assert_status(&proxy.get("/a"), STORED);
    let mut telling = feed.begun(&proxy, 1000);
    telling.lost(&proxy, "x");
    assert_status(&proxy.get("/a"), HIT);
}

#[test]
fn an_upstream_without_stamps_is_given_time_to_settle() {
    let upstream = Upstream::stamped(LATE);
    upstream.stamp(None);
    let feed = Feed::start();
    let proxy = fed(&upstream.origin, &feed, "settle = \"5s\"", "");
    let mut telling = feed.begun(&proxy, 1000);
    telling.at(&proxy, 1001, None);
    assert_status(&proxy.get("/a"), "larder; fwd=uri-miss; fwd-status=200; detail=not-settled");
    proxy.clock.advance(Duration::from_secs(5));
    telling.at(&proxy, 1002, None);
    assert_status(&proxy.get("/a"), STORED);
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    // It may still show the row as it was; and there is nothing that it could be asked for.
    assert_status(&proxy.get("/a"), "larder; fwd=miss; fwd-status=200; detail=stale-fill");
    assert_eq!(upstream.origin.count(), 3);
    for position in [2001, 2002] {
        proxy.clock.advance(Duration::from_secs(5));
        telling.at(&proxy, position, None);
    }
    assert_status(&proxy.get("/a"), GONE);
    assert_status(&proxy.get("/a"), HIT);
}

#[test]
fn before_the_first_account_nothing_is_stored() {
    let upstream = Upstream::stamped(LATE);
    let feed = Feed::start();
    let proxy = fed(&upstream.origin, &feed, "", "");
    assert_status(&proxy.get("/a"), "larder; fwd=uri-miss; fwd-status=200; detail=no-feed");
    let _telling = feed.begun(&proxy, 1000);
    assert_status(&proxy.get("/a"), STORED);
}

#[test]
fn a_fetch_that_outlasts_its_account_is_not_stored() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, answering| {
        held.wait()?;
        let fields = [("cache-control", "max-age=600"), ("cache-tag", "row:1"), ("larder-version", LATE)];
        answering.reply(200, &fields, "x")
    });
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    let client = asked(&proxy);
    origin.wait_for(1);
    telling.begin(1000, false);
    wait::until("the new account", || epochs(&proxy) == 2);
    gate.open();
    // What it may lack is asked for with the beginning of the new one, and that can be kept.
    assert_status(&answer_of(client), STORED);
    let wanted: Vec<_> =
        origin.seen().iter().map(|seen| seen.field("larder-min-version").map(str::to_owned)).collect();
    assert_eq!(wanted, [None, Some("lsn=0/3E8; timeline=1".to_owned())]);
    assert_status(&proxy.get_with("/a", &[("host", "h")]), HIT);
}

#[test]
fn parts_and_answers_to_post_go_by_the_feed_too() {
    let upstream = Arc::new(Mutex::new("lsn=0/7CF; timeline=1"));
    let stamp = Arc::clone(&upstream);
    let origin = Origin::start(move |seen, answering| {
        let stamp = *stamp.lock().unwrap();
        let mut fields =
            vec![("cache-control", "max-age=600"), ("cache-tag", "row:1"), ("larder-version", stamp)];
        if seen.method == "POST" {
            fields.push(("content-location", "/a"));
            return answering.reply(200, &fields, "posted");
        }
        fields.extend([("content-range", "bytes 0-1/4"), ("etag", "\"1\"")]);
        answering.reply(206, &fields, "ab")
    });
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    let range = || proxy.get_with("/part", &[("range", "bytes=0-1")]);
    let post = || {
        let address = proxy.address.to_string();
        proxy.client().call("POST", "/a", &[("host", &address)], b"x").unwrap()
    };
    assert_detail(&range(), "stale-fill");
    assert_eq!(origin.count(), 2, "a range is asked for once more, too");
    assert_detail(&post(), "stale-fill");
    assert_eq!(origin.count(), 3, "and a POST is not");
    *upstream.lock().unwrap() = "lsn=0/7D0; timeline=1";
    assert_status(&range(), "larder; fwd=uri-miss; fwd-status=206; stored");
    assert_status(&range(), HIT);
    assert_status(&post(), "larder; fwd=method; fwd-status=200; stored");
    assert_status(&proxy.get("/a"), HIT);
    telling.commit(&proxy, 501, 3000, &["row:1"]);
    *upstream.lock().unwrap() = "lsn=0/BB8; timeline=1";
    assert_status(&range(), "larder; fwd=miss; fwd-status=206; stored");
    assert_eq!(proxy.get("/a").field("cache-status").unwrap().split("; ").nth(1), Some("fwd=miss"));
}

#[test]
fn a_feed_comes_and_goes_with_the_configuration() {
    let upstream = Upstream::stamped(LATE);
    let feed = Feed::start();
    let route = "[[route]]\nname = \"all\"\n";
    let proxy = Proxy::with_config(&config(&upstream.origin, route));
    assert_status(&proxy.get("/a"), STORED);
    proxy.reload(&config(&upstream.origin, &format!("{}{route}", feed.section(""))));
    let mut telling = feed.begun(&proxy, 1000);
    assert_status(&proxy.get("/a"), GONE);
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    assert_status(&proxy.get("/a"), GONE);
    let other = Feed::start();
    proxy.reload(&config(&upstream.origin, &format!("{}{route}", other.section(""))));
    let mut telling = other.next();
    assert_eq!(telling.asked.target, "/feed?from=0/7D0&timeline=1&system=7");
    telling.answer(200);
    telling.begin(2000, true);
    telling.at(&proxy, 2001, None);
    assert_status(&proxy.get("/a"), HIT);
    proxy.reload(&config(&upstream.origin, route));
    assert_status(&proxy.get("/a"), HIT);
    wait::until("the feed to be left", || at(&proxy).is_none());
}

#[test]
fn operators_see_how_the_feed_is() {
    let upstream = Upstream::stamped("lsn=0/7CF; timeline=1");
    let feed = Feed::start();
    let proxy = fed(&upstream.origin, &feed, "", "");
    let status = || proxy.admin("GET", "/api/status", "").text();
    let metrics = || proxy.admin("GET", "/metrics", "").text();
    assert!(status().contains("\"state\": \"none\""), "{}", status());
    assert!(metrics().contains("larder_feed_heard 0\n"), "{}", metrics());
    let mut telling = feed.begun(&proxy, 1000);
    telling.commit(&proxy, 500, 2000, &["row:1", "row:2"]);
    assert_status(&proxy.get("/a"), REFUSED);
    let said = status();
    for part in [
        "\"state\": \"heard\"",
        "\"position\": \"0/7D0\"",
        "\"system\": \"7\"",
        "\"limbo\": 1",
        "\"events\": 1",
        "\"tags\": 2",
        // The first answer was asked for once more, and the second one is passed on.
        "\"event\": 1",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    for line in [
        "larder_feed_heard 1",
        "larder_feed_position_bytes 2000",
        "larder_feed_limbo 1",
        "larder_feed_accounts_total 1",
        "larder_feed_events_total 1",
        "larder_feed_tags_total 2",
        "larder_refused_fills_total{reason=\"event\"} 1",
        "larder_refused_fills_total{reason=\"no-feed\"} 0",
    ] {
        assert!(metrics().contains(&format!("{line}\n")), "no {line} in {}", metrics());
    }
    upstream.stamp(Some("lsn=0/7D0; timeline=1"));
    let host = proxy.address.to_string();
    let explain = || proxy.admin("POST", "/api/explain", &format!("{{\"url\": \"http://{host}/a\"}}")).text();
    proxy.get("/a");
    assert!(explain().contains("has all that the change feed has told of it up to 0/7D0"), "{}", explain());
    telling.commit(&proxy, 501, 3000, &["row:1"]);
    assert!(explain().contains("the change feed has told an event of its tags"), "{}", explain());
    proxy.clock.advance(Duration::from_secs(61));
    assert!(
        status().contains("\"state\": \"silent\"") && metrics().contains("larder_feed_silence_seconds 61\n")
    );
    telling.lost(&proxy, "x");
    assert!(explain().contains("nothing of the account"), "{}", explain());
}

#[test]
fn what_comes_after_an_event_shares_one_new_fetch() {
    let gate = Gate::default();
    let (held, count) = (gate.clone(), AtomicUsize::new(0));
    let origin = Origin::start(move |_, answering| {
        let is_first = count.fetch_add(1, Ordering::SeqCst) == 0;
        let stamp = if is_first { "snapshot=500:501:500; timeline=1" } else { LATE };
        let fields = [
            ("cache-control", "max-age=600"),
            ("cache-tag", "row:1"),
            ("larder-version", stamp),
            ("content-length", "3"),
        ];
        answering.head(200, &fields)?;
        held.wait()?;
        answering.send(if is_first { b"old" } else { b"new" })
    });
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    let mut old = asked(&proxy);
    old.head().unwrap();
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    let mut all = vec![(old, "old")];
    for _ in 0..3 {
        let mut new = asked(&proxy);
        new.head().unwrap();
        all.push((new, "new"));
    }
    assert_eq!(origin.count(), 2);
    gate.open();
    for (mut client, body) in all {
        let head =
            Response { status: 200, fields: vec![("content-length".into(), "3".into())], body: Vec::new() };
        assert_eq!(client.body("GET", &head).unwrap(), body.as_bytes());
    }
}

#[test]
fn what_other_policies_judge_again_keeps_what_it_has_seen() {
    let upstream = Upstream::stamped(LATE);
    let feed = Feed::start();
    let with = |tenant: &str| {
        let settings = format!(", settings = {{ ttl = {{ {tenant} = \"5s\" }} }}");
        let route = crate::policies::route("tenant-key", &settings);
        config(&upstream.origin, &format!("{}[[route]]\nname = \"all\"\n{route}\n", feed.section("")))
    };
    let proxy = Proxy::with_config(&with("acme"));
    let mut telling = feed.begun(&proxy, 1000);
    assert_status(&proxy.get("/a"), STORED);
    proxy.reload(&with("other"));
    assert_status(&proxy.get("/a"), HIT);
    assert_eq!(upstream.origin.count(), 1);
    telling.commit(&proxy, 950, 2000, &["row:1"]);
    upstream.stamp(Some("lsn=0/7D0; timeline=1"));
    assert_status(&proxy.get("/a"), GONE);
}

/// Whatever is passed on, stored or not, has what was told before its request came, if there is a server that has it.
#[test]
fn what_nobody_stores_is_asked_for_once_more_as_well() {
    let origin = Origin::start(|seen, answering| {
        let is_better = seen.field("larder-min-version").is_some();
        let stamp = if is_better { "lsn=0/7D0; timeline=1" } else { "lsn=0/7CF; timeline=1" };
        let control = if seen.target == "/private" { "private" } else { "max-age=600" };
        let fields = [("cache-control", control), ("cache-tag", "row:1"), ("larder-version", stamp)];
        // The client has what there was before.
        let is_known = seen.field("if-none-match") == Some("\"old\"") && !is_better;
        answering.reply(if is_known { 304 } else { 200 }, &fields, if is_better { "new" } else { "old" })
    });
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "", "");
    let mut telling = feed.begun(&proxy, 1000);
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    for (target, fields) in [
        ("/private", &[][..]),
        ("/no-store", &[("cache-control", "no-store")][..]),
        ("/part", &[("range", "bytes=0-9")][..]),
        ("/known", &[("authorization", "x"), ("if-none-match", "\"old\"")][..]),
    ] {
        let before = origin.count();
        let answer = proxy.get_with(target, fields);
        assert_eq!((answer.status, answer.text().as_str()), (200, "new"), "{target}: {answer:?}");
        assert_eq!(origin.count(), before + 2, "{target}");
    }
    let before = origin.count();
    proxy.client().call("HEAD", "/head", &[], b"").unwrap();
    assert_eq!(origin.count(), before + 2);
    // What goes past the cache, and what changes something, is asked for once.
    for method in ["POST", "PATCH"] {
        let before = origin.count();
        proxy.client().call(method, "/past", &[], b"").unwrap();
        assert_eq!(origin.count(), before + 1, "{method}");
    }
}

#[test]
fn a_commit_is_no_sign_that_the_feed_is_where_the_database_is() {
    let origin = Origin::start(|_, answering| {
        let fields = [
            ("cache-control", "max-age=600"),
            ("cache-tag", "user:1"),
            ("larder-version", "snapshot=900:900:; timeline=1"),
        ];
        answering.reply(200, &fields, "x")
    });
    let feed = Feed::start();
    let proxy = fed(&origin, &feed, "on_loss = \"pass\"", "");
    let mut telling = feed.begun(&proxy, 1000);
    assert_status(&proxy.get("/a"), STORED);
    proxy.clock.advance(Duration::from_secs(61));
    // It may be of a minute ago.
    telling.commit(&proxy, 500, 2000, &["user:2"]);
    assert_ne!(proxy.get("/a").field("cache-status").map(|status| status.contains("; hit")), Some(true));
    telling.at(&proxy, 2001, None);
    proxy.get("/a");
    assert_status(&proxy.get("/a"), HIT);
}

/// What an earlier account has told was there when the next one began: a server that shows its beginning shows that.
#[test]
fn an_event_of_an_earlier_account_can_be_asked_for() {
    let upstream = Upstream::stamped(LATE);
    let feed = Feed::start();
    let proxy = fed(&upstream.origin, &feed, "", "");
    let told = &proxy.shared.feed;
    let mut telling = feed.begun(&proxy, 1000);
    telling.commit(&proxy, 500, 2000, &["row:1"]);
    let event = told.told_to();
    let asked = || told.min_version(event).map(|stamp| stamp.to_string());
    assert_eq!(asked().as_deref(), Some("lsn=0/7D0; timeline=1"));
    telling.lost(&proxy, "slot gone");
    assert_eq!(asked(), None);
    telling.begin_as(7, 2, 3000, false);
    telling.at(&proxy, 3000, None);
    assert_eq!(asked().as_deref(), Some("lsn=0/BB8; timeline=2"));
}
