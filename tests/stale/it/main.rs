//! Nothing stale, deterministically: each case in which a plausible rule stores what is old already, made to happen with a real
//! Postgres, and each way to lose the feed.

use std::thread;

use rig::{
    http::{Client, head},
    postgres::{query, value},
};
use stale_tests::{World, until};

const PASS: &str = "on_loss = \"pass\"";

#[test]
fn a_change_ends_the_answers_that_were_made_of_the_row_and_no_others() {
    let world = World::start(1, "", PASS);
    let proxy = world.proxy();
    proxy.warm("/things/1", "old");
    proxy.warm("/things/2", "old");
    world.rename(1, "new");
    proxy.catch_up(&world);
    let answer = proxy.get("/things/1");
    assert_eq!((answer.name().as_str(), answer.is_hit()), ("new", false), "{answer:?}");
    assert!(proxy.get("/things/2").is_hit());
    proxy.warm("/things/1", "new");
}

/// Durable and told, and not visible: what a synchronous standby that does not answer makes of a commit.
#[test]
fn what_is_told_before_it_is_visible_is_not_stored_until_it_is() {
    let world = World::start(1, "", PASS);
    let proxy = world.proxy();
    proxy.warm("/primary/1", "old");
    let told = proxy.events();
    let url = world.cluster.primary_url();
    world.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    world.sql("SELECT pg_reload_conf()");
    let writer = thread::spawn(move || {
        query(&url, "SET synchronous_commit = on; UPDATE things SET name = 'new' WHERE id = 1")
    });
    until("the commit to be told", || proxy.events() > told);
    for _ in 0..3 {
        let answer = proxy.get("/primary/1");
        assert_eq!(
            (answer.name().as_str(), answer.is_hit(), answer.is_stored()),
            ("old", false, false),
            "{answer:?}"
        );
    }
    assert!(!writer.is_finished());
    world.sql("ALTER SYSTEM RESET synchronous_standby_names");
    world.sql("SELECT pg_reload_conf()");
    writer.join().expect("the writer does not panic").expect("the commit ends");
    proxy.warm("/primary/1", "new");
}

#[test]
fn what_a_replica_has_not_replayed_is_asked_of_the_primary() {
    let world = World::start(1, "", PASS);
    let proxy = world.proxy();
    proxy.warm("/things/1", "old");
    world.cluster.pause_replay().expect("the replica answers");
    world.rename(1, "new");
    proxy.catch_up(&world);
    let answer = proxy.get("/things/1");
    assert_eq!((answer.name().as_str(), answer.is_hit()), ("new", false), "{answer:?}");
    proxy.warm("/things/1", "new");
    world.cluster.resume_replay().expect("the replica answers");
}

#[test]
fn an_answer_that_was_under_way_when_its_row_changed_is_not_stored() {
    let world = World::start(1, "", PASS);
    let proxy = world.proxy();
    let lock = Lock::take(&world);
    let address = proxy.address;
    let reader = thread::spawn(move || {
        let mut client = Client::connect(address).expect("the proxy takes connections");
        client.get("/waiting/1", &[]).expect("the proxy answers")
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    until("the statement to wait", || {
        value(&world.cluster.primary_url(), waits).is_ok_and(|count| count == "1")
    });
    world.rename(1, "new");
    proxy.catch_up(&world);
    lock.release();
    let answer = reader.join().expect("the reader does not panic");
    let status = answer.field("cache-status").unwrap_or_default();
    assert!(!status.contains("; stored"), "{status}");
    proxy.warm("/waiting/1", "new");
}

#[test]
fn after_a_gap_nothing_from_before_it_is_used() {
    // With more commits than the ring holds.
    let world = World::start(1, "ring_events = 4", PASS);
    let proxy = world.proxy();
    proxy.warm("/things/1", "old");
    proxy.warm("/things/2", "old");
    let epoch = proxy.epoch();
    proxy.wire.hold();
    for id in 10..30 {
        world.rename(id, "new");
    }
    world.rename(1, "new");
    proxy.wire.cut();
    proxy.wire.release();
    until("another account", || proxy.epoch() > epoch);
    let answer = proxy.get("/things/2");
    assert!(!answer.is_hit(), "{answer:?}");
    proxy.warm("/things/1", "new");
    proxy.warm("/things/2", "old");
}

#[test]
fn what_a_cut_connection_missed_is_told_when_it_is_back() {
    let world = World::start(1, "", PASS);
    let proxy = world.proxy();
    proxy.warm("/things/1", "old");
    proxy.warm("/things/2", "old");
    let epoch = proxy.epoch();
    proxy.wire.cut();
    world.rename(1, "new");
    proxy.wait_for_feed();
    proxy.catch_up(&world);
    assert_eq!(proxy.epoch(), epoch);
    assert!(proxy.get("/things/2").is_hit());
    assert_eq!(proxy.get("/things/1").name(), "new");
}

#[test]
fn silence_is_never_taken_for_no_change() {
    let world = World::start(1, "", PASS);
    let proxy = world.proxy();
    proxy.warm("/things/1", "old");
    proxy.wire.hold();
    world.rename(1, "new");
    until("the silence to be noticed", || proxy.feed()["state"] != "heard");
    for _ in 0..2 {
        let answer = proxy.get("/things/1");
        assert_eq!((answer.name().as_str(), answer.is_hit()), ("new", false), "{answer:?}");
    }
    proxy.wire.release();
    proxy.wait_for_feed();
    proxy.warm("/things/1", "new");
}

#[test]
fn a_feed_whose_connection_to_postgres_is_ended_begins_anew() {
    let world = World::start(1, "", PASS);
    let proxy = world.proxy();
    proxy.warm("/things/1", "old");
    let epoch = proxy.epoch();
    world.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_type = 'logical' AND active");
    world.rename(1, "new");
    until("another account", || proxy.epoch() > epoch);
    proxy.warm("/things/1", "new");
    world.rename(1, "newer");
    proxy.catch_up(&world);
    assert_eq!(proxy.get("/things/1").name(), "newer");
}

#[test]
fn a_promoted_replica_is_followed_and_nothing_of_the_old_history_is_kept() {
    let world = World::start(1, "", PASS);
    let proxy = world.proxy();
    proxy.warm("/things/1", "old");
    let epoch = proxy.epoch();
    world.cluster.wait_for_replica().expect("the replica answers");
    world.cluster.kill_primary().expect("the primary is there");
    world.cluster.node(1).promote().expect("the replica can be promoted");
    until("another account", || proxy.epoch() > epoch && proxy.feed()["state"] == "heard");
    assert_eq!(proxy.feed()["timeline"], 2);
    let url = world.cluster.node(1).url();
    proxy.warm("/things/1", "old");
    let told = proxy.events();
    query(&url, "UPDATE things SET name = 'new' WHERE id = 1").expect("the new primary takes writes");
    until("the change to be told", || proxy.events() > told);
    assert_eq!(proxy.get("/things/1").name(), "new");
}

#[test]
fn whoever_wrote_sees_it_on_a_proxy_that_has_not_heard_of_it() {
    let world = World::start(2, "", &format!("{PASS}\nsession_key = \"0123456789abcdef\""));
    let (writers, other) = (&world.proxies[0], &world.proxies[1]);
    other.warm("/things/1", "old");
    other.wire.hold();
    let json = [("content-type", "application/json")];
    let written = writers.call("PATCH", "/things/1", &json, "{\"name\": \"new\"}");
    assert_eq!(written.name(), "new");
    let cookie = written.0.field("set-cookie").expect("a session");
    let session = cookie.split(';').next().expect("a cookie has a value").to_owned();
    let token = written.0.field("larder-session").expect("a session").to_owned();
    for fields in [[("cookie", session.as_str())], [("larder-session", token.as_str())]] {
        let answer = other.get_with("/things/1", &fields);
        assert_eq!(answer.name(), "new", "{answer:?}");
    }
    other.wire.release();
    other.catch_up(&world);
    assert_eq!(other.get("/things/1").name(), "new");
}

/// What holds by the WAL holds by triggers: for what is stored, for a replica that is behind, and for who wrote.
#[test]
fn without_logical_replication_triggers_tell_the_same() {
    let world = World::start(1, "source = \"triggers\"", PASS);
    let proxy = world.proxy();
    proxy.warm("/things/1", "old");
    proxy.warm("/things/2", "old");
    world.cluster.pause_replay().expect("the replica answers");
    let told = proxy.events();
    world.rename(1, "new");
    until("the change to be told", || proxy.events() > told);
    let answer = proxy.get("/things/1");
    assert_eq!((answer.name().as_str(), answer.is_hit()), ("new", false), "{answer:?}");
    assert!(proxy.get("/things/2").is_hit());
    world.cluster.resume_replay().expect("the replica answers");
    proxy.warm("/things/1", "new");
    let json = [("content-type", "application/json")];
    let written = proxy.call("PATCH", "/things/1", &json, "{\"name\": \"newer\"}");
    let token = written.0.field("larder-session").expect("a session").to_owned();
    assert_eq!(proxy.get_with("/things/1", &[("larder-session", &token)]).name(), "newer");
    let drop = "SELECT format('DROP TRIGGER larder_update_%s ON things', 'things'::regclass::oid)";
    world.sql(&value(&world.cluster.primary_url(), drop).expect("the primary answers"));
    until("the feed to be lost", || proxy.feed()["state"] != "heard");
    world.rename(1, "newest");
    until("the replica to have it", || proxy.get("/things/1").name() == "newest");
}

#[test]
fn a_subscriber_hears_of_a_change_and_finds_it() {
    let live = format!(
        "{PASS}\n[[route]]\nname = \"live\"\nmatch = {{ path = \"/live\" }}\nlive = true\n[[route]]\nname = \"all\""
    );
    let world = World::start(1, "", &live);
    let proxy = world.proxy();
    proxy.warm("/things/1", "old");
    let mut client = Client::connect(proxy.address).expect("the proxy takes connections");
    client.send(&head("GET", "/live?tags=thing:1", "h", &[], b"")).expect("the proxy reads");
    assert_eq!(client.head().expect("the proxy answers").status, 200);
    let mut event = || {
        let event = client.chunk().expect("the stream is whole").expect("the stream goes on");
        String::from_utf8(event).expect("events are text")
    };
    assert!(event().starts_with("event: ready"));
    world.rename(1, "new");
    let told = event();
    assert!(told.starts_with("event: change") && told.contains("thing:1"), "{told}");
    assert_eq!(proxy.get("/things/1").name(), "new");
}

/// Holds the lock that `/waiting` waits for.
struct Lock {
    url: String,
    holder: thread::JoinHandle<()>,
}

impl Lock {
    const HELD: &str = "FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted";

    fn take(world: &World) -> Lock {
        let url = world.cluster.primary_url();
        let own = url.clone();
        // Ended below, which is an error to it.
        let holder =
            thread::spawn(move || drop(query(&own, "SELECT pg_advisory_lock(42); SELECT pg_sleep(600)")));
        until("the lock to be held", || {
            value(&url, &format!("SELECT count(*) {}", Lock::HELD)).is_ok_and(|count| count == "1")
        });
        Lock { url, holder }
    }

    fn release(self) {
        let ended = query(&self.url, &format!("SELECT pg_terminate_backend(pid) {}", Lock::HELD));
        ended.expect("the lock's holder can be ended");
        self.holder.join().expect("the holder does not panic");
    }
}
