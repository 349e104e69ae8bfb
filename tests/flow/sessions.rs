//! Who wrote sees it: the session that the answer to a write carries, and what a read with it is answered with.

use std::thread;

use flow_tests::{Feed, Origin, Proxy, Response, proxy::config};

use crate::{HIT, STORED, assert_status};

/// Answers a read with a stamp of before, and a write with where it was committed.
fn database() -> Origin {
    Origin::start(|seen, answering| {
        if seen.method == "PATCH" {
            let commit = [("larder-commit", "lsn=0/2000; timeline=1")];
            return answering.reply(200, &commit, "written");
        }
        let fields = [
            ("cache-control", "max-age=600"),
            ("cache-tag", "user:1"),
            ("larder-version", "snapshot=900:900:; timeline=1"),
        ];
        let asked = seen.field("larder-min-version").unwrap_or("anything");
        let cookie = seen.field("cookie").unwrap_or("none");
        answering.reply(200, &fields, &format!("{asked}, {cookie}"))
    })
}

fn fed(origin: &Origin, feed: &Feed, in_feed: &str) -> Proxy {
    Proxy::with_config(&config(origin, &feed.section(in_feed)))
}

/// The values of cookie and field.
#[track_caller]
fn write(proxy: &Proxy, fields: &[(&str, &str)]) -> (String, String) {
    let written = proxy.client().call("PATCH", "/other", fields, b"x").expect("the proxy answers");
    assert_eq!(written.status, 200);
    let cookie = written.field("set-cookie").expect("a session").to_owned();
    let token = written.field("larder-session").expect("a session").to_owned();
    assert_eq!(cookie, format!("larder-session={token}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"));
    (format!("larder-session={token}"), token)
}

const PAST: &str = "larder; fwd=request; fwd-status=200";
const IN_STORE: &str = "anything, none";
const ASKED: &str = "lsn=0/2000; timeline=1, none";

#[track_caller]
fn assert_is(answer: &Response, status: &str, text: &str) {
    assert_status(answer, status);
    assert_eq!(answer.text(), text);
}

#[test]
fn who_wrote_is_not_answered_from_store_until_the_feed_has_come_there() {
    let (origin, feed) = (database(), Feed::start());
    let proxy = fed(&origin, &feed, "session_max_wait = \"0s\"");
    let mut telling = feed.begun(&proxy, 0x1000);
    assert_is(&proxy.get("/a"), STORED, IN_STORE);
    let (cookie, token) = write(&proxy, &[]);
    for fields in [("cookie", cookie.as_str()), ("larder-session", token.as_str())] {
        assert_is(&proxy.get_with("/a", &[fields]), PAST, ASKED);
    }
    // Nobody else has to wait for it, and what was fetched for it is not kept.
    assert_is(&proxy.get("/a"), HIT, IN_STORE);
    telling.at(&proxy, 0x1fff, None);
    assert_is(&proxy.get_with("/a", &[("cookie", &cookie)]), PAST, ASKED);
    telling.at(&proxy, 0x2000, None);
    assert_is(&proxy.get_with("/a", &[("cookie", &cookie)]), HIT, IN_STORE);
    // What is not there is asked for with what it needs, and kept for everybody.
    assert_is(&proxy.get_with("/b", &[("cookie", &cookie)]), STORED, ASKED);
    assert_is(&proxy.get("/b"), HIT, ASKED);
}

#[test]
fn a_read_waits_a_moment_for_the_feed() {
    let (origin, feed) = (database(), Feed::start());
    let proxy = fed(&origin, &feed, "session_max_wait = \"10s\"");
    let mut telling = feed.begun(&proxy, 0x1000);
    assert_is(&proxy.get("/a"), STORED, IN_STORE);
    let (cookie, _) = write(&proxy, &[]);
    thread::scope(|scope| {
        let reading = scope.spawn(|| proxy.get_with("/a", &[("cookie", &cookie)]));
        telling.at(&proxy, 0x1800, None);
        telling.at(&proxy, 0x2000, None);
        assert_is(&reading.join().expect("no panic"), HIT, IN_STORE);
    });
}

#[test]
fn the_cookie_is_between_the_client_and_this_cache() {
    let (origin, feed) = (database(), Feed::start());
    let proxy = fed(&origin, &feed, "session_max_wait = \"0s\"");
    let _telling = feed.begun(&proxy, 0x1000);
    let (cookie, token) = write(&proxy, &[]);
    let among_others = format!("a=1; {cookie}; b=2");
    let answer = proxy.get_with("/a", &[("cookie", &among_others)]);
    assert_eq!(answer.text(), "lsn=0/2000; timeline=1, a=1; b=2");
    // One that is not ours goes no further either, and asks for nothing; nor can a client ask by itself.
    for forged in [format!("{token}A"), token.replace(|c: char| c.is_ascii_digit(), "x"), String::new()] {
        let forged = format!("larder-session={forged}; c=3");
        let asking = ("larder-min-version", "lsn=0/9999; timeline=1");
        let answer = proxy.get_with(&format!("/{}", forged.len()), &[("cookie", &forged), asking]);
        assert_is(&answer, STORED, "anything, c=3");
    }
}

#[test]
fn sessions_end_and_those_of_two_proxies_are_one() {
    let (origin, feed) = (database(), [Feed::start(), Feed::start()]);
    let rules = "session_key = \"0123456789abcdef\"\nsession_max_wait = \"0s\"";
    let proxies = [fed(&origin, &feed[0], rules), fed(&origin, &feed[1], rules)];
    let _telling = [feed[0].begun(&proxies[0], 0x1000), feed[1].begun(&proxies[1], 0x1000)];
    let (cookie, token) = write(&proxies[0], &[]);
    assert_is(&proxies[1].get("/a"), STORED, IN_STORE);
    assert_is(&proxies[1].get_with("/a", &[("cookie", &cookie)]), PAST, ASKED);
    // The next write brings the first along.
    let (again, _) = write(&proxies[1], &[("larder-session", &token)]);
    assert_is(&proxies[0].get_with("/a", &[("cookie", &again)]), PAST, ASKED);
    proxies[1].clock.advance(std::time::Duration::from_secs(59));
    assert_ne!(proxies[1].get_with("/a", &[("cookie", &cookie)]).text(), IN_STORE);
    proxies[1].clock.advance(std::time::Duration::from_secs(1));
    assert_is(&proxies[1].get_with("/a", &[("cookie", &cookie)]), HIT, IN_STORE);
}

#[test]
fn a_route_that_does_not_go_by_the_feed_knows_no_sessions() {
    let (origin, feed) = (database(), Feed::start());
    let proxy = fed(&origin, &feed, "[[route]]\nname = \"all\"\nfeed = false");
    let _telling = feed.begun(&proxy, 0x1000);
    let written = proxy.client().call("PATCH", "/other", &[], b"x").expect("the proxy answers");
    assert_eq!((written.field("set-cookie"), written.field("larder-session")), (None, None));
}

/// A worker without logical replication tells commits when it sees them: that it has told a position says nothing of a commit
/// that is there.
#[test]
fn where_positions_say_nothing_a_session_goes_to_the_database_without_waiting() {
    let (origin, feed) = (database(), Feed::start());
    let proxy = fed(&origin, &feed, "session_max_wait = \"10s\"");
    let begin = r#"{"begin":{"system":"7","timeline":1,"position":"0/1000","xid":"100","account":"1f"}}"#;
    let tell = |from: Option<&str>| {
        let mut telling = feed.next();
        let target = from
            .map_or("/feed".to_owned(), |from| format!("/feed?from={from}&timeline=1&system=7&account=1f"));
        assert_eq!(telling.asked.target, target);
        telling.answer(200);
        telling
    };
    let mut telling = tell(None);
    telling.say(&format!("{begin}\n"));
    telling.at(&proxy, 0x1000, None);
    assert_is(&proxy.get("/a"), STORED, IN_STORE);
    let (cookie, _) = write(&proxy, &[]);
    telling.at(&proxy, 0x3000, None);
    assert_is(&proxy.get("/a"), HIT, IN_STORE);
    assert_is(&proxy.get_with("/a", &[("cookie", &cookie)]), PAST, ASKED);
    // Several of one look; whoever connects again says whose account it is.
    telling
        .say("{\"commit\":{\"xid\":\"950\",\"also\":[\"940\"],\"end\":\"0/3001\",\"tags\":[\"user:1\"]}}\n");
    telling.at(&proxy, 0x3002, None);
    assert_status(&proxy.get("/a"), "larder; fwd=miss; fwd-status=200; detail=stale-fill");
    drop(telling);
    drop(tell(Some("0/3002")));
}
