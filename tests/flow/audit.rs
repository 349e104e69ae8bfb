//! The audit: answers from store are held against what the upstream gives, beside the way of the request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use flow_tests::{Feed, Origin, Proxy, proxy::config, wait};

use crate::{HIT, STORED, assert_status};

/// Says how often it was asked, once it is told to change.
struct Database {
    origin: Origin,
    changes: Arc<AtomicBool>,
}

fn database() -> Database {
    let (changes, asked) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
    let is_changing = Arc::clone(&changes);
    let origin = Origin::start(move |_, answering| {
        let nth = asked.fetch_add(1, Ordering::SeqCst);
        let fields = [
            ("cache-control", "max-age=600"),
            ("cache-tag", "user:1"),
            ("larder-version", "snapshot=900:900:; timeline=1"),
        ];
        let number = if is_changing.load(Ordering::SeqCst) { nth } else { 0 };
        answering.reply(200, &fields, &format!("answer {number}"))
    });
    Database { origin, changes }
}

fn audited(database: &Database, feed: &Feed) -> Proxy {
    Proxy::with_config(&config(&database.origin, &feed.section("audit = 1")))
}

fn counts(proxy: &Proxy) -> [u64; 3] {
    let audit = &proxy.shared.audit;
    [&audit.same, &audit.mismatches, &audit.undecided].map(|count| count.load(Ordering::SeqCst))
}

#[test]
fn what_is_the_same_is_counted_and_asked_for_with_what_the_feed_has_told() {
    let (database, feed) = (database(), Feed::start());
    let proxy = audited(&database, &feed);
    let mut telling = feed.begun(&proxy, 0x1000);
    assert_status(&proxy.get("/a"), STORED);
    telling.at(&proxy, 0x2000, None);
    for _ in 0..3 {
        assert_status(&proxy.get("/a"), HIT);
    }
    wait::until("the audit to end", || counts(&proxy) == [1, 0, 0]);
    let seen = database.origin.seen();
    assert_eq!(seen.len(), 2, "one each second, and time stands still");
    assert_eq!(seen[1].field("larder-min-version"), Some("lsn=0/2000; timeline=1"));
    let metrics = proxy.admin("GET", "/metrics", "").text();
    assert!(metrics.contains("larder_audit_total{result=\"same\"} 1\n"), "{metrics}");
    assert!(metrics.contains("larder_audit_mismatch_total 0\n"), "{metrics}");
}

#[test]
fn a_difference_that_no_event_explains_is_a_mismatch() {
    let (database, feed) = (database(), Feed::start());
    let proxy = audited(&database, &feed);
    let _telling = feed.begun(&proxy, 0x1000);
    assert_status(&proxy.get("/a"), STORED);
    database.changes.store(true, Ordering::SeqCst);
    assert_status(&proxy.get("/a"), HIT);
    wait::until("the audit to end", || counts(&proxy) == [0, 1, 0]);
    assert!(proxy.admin("GET", "/metrics", "").text().contains("larder_audit_mismatch_total 1\n"));
}

#[test]
fn a_difference_that_an_event_explains_is_none() {
    let (database, feed) = (database(), Feed::start());
    let proxy = audited(&database, &feed);
    let mut telling = feed.begun(&proxy, 0x1000);
    assert_status(&proxy.get("/a"), STORED);
    database.changes.store(true, Ordering::SeqCst);
    assert_status(&proxy.get("/a"), HIT);
    database.origin.wait_for(2);
    telling.commit(&proxy, 950, 0x2000, &["user:1"]);
    wait::until("the audit to end", || counts(&proxy) == [0, 0, 1]);
}
