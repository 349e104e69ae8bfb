//! Servers that die, are promoted, come back and lose their connections, under load: no wrong answer, and errors only where
//! there is no primary to write to.
//!
//! Read next: `load.rs` for what the clients do and what of it is checked.

use std::thread;
use std::time::Duration;

use rig::http::Response;
use rig::postgres::{Cluster, Node, query, value};
use rig::relay::Relay;

use crate::load::{self, Load, Task};
use crate::support::{Folder, Serving, now, origin};

/// All that the clients of a failover can do.
const ALL: [Task; 7] =
    [Task::Read, Task::Read, Task::Page, Task::Sure, Task::WriteKeyed, Task::WriteOnce, Task::WriteOnce];
const PATIENCE: Duration = Duration::from_secs(60);
/// What is acknowledged is on a replica too, whichever one comes next.
const SYNCHRONOUS: [(&str, &str); 2] =
    [("synchronous_standby_names", "ANY 1 (*)"), ("synchronous_commit", "remote_apply")];

fn cluster(replicas: usize, settings: &[(&str, &str)]) -> Cluster {
    let cluster = Cluster::start_many(replicas, settings).unwrap();
    load::prepare(&cluster.primary_url());
    cluster.wait_for_replica().unwrap();
    cluster
}

/// The program, told of servers at these addresses, in this order.
fn serve(urls: &[String]) -> Serving {
    let folder = Folder::new();
    let list: Vec<String> = urls.iter().map(|url| format!("{url:?}")).collect();
    let config = format!("workers = 2\n[database]\nservers = [{}]", list.join(", "));
    let config = folder.config(&config, &load::FILES);
    let mut serving =
        Serving::start(&mut origin(&["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()]));
    serving.until("/-/readyz", |response| response.status == 200);
    serving
}

fn urls(cluster: &Cluster, count: usize) -> Vec<String> {
    (0..count).map(|number| cluster.node(number).url()).collect()
}

fn served_by(name: &str) -> impl Fn(&Response) -> bool {
    move |response| response.status == 200 && response.field("larder-served-by") == Some(name)
}

/// Of the replicas that lost their primary, the one that has more of it; and the other one.
fn most_advanced<'c>(replicas: [Node<'c>; 2]) -> [Node<'c>; 2] {
    let position = |node: Node<'_>| {
        // First what is still on its way has to arrive.
        let sql = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'";
        let deadline = now() + PATIENCE;
        while value(&node.url(), sql).unwrap() != "0" {
            assert!(now() < deadline);
        }
        let sql = "SELECT pg_last_wal_receive_lsn() - '0/0'::pg_lsn";
        value(&node.url(), sql).unwrap().parse::<u64>().unwrap()
    };
    let [one, other] = replicas;
    if position(one) >= position(other) { [one, other] } else { [other, one] }
}

#[test]
fn a_replica_that_dies_and_comes_back_costs_nobody_an_answer() {
    let cluster = cluster(2, &[]);
    let mut serving = serve(&urls(&cluster, 3));
    let load = Load::new(&serving, &ALL);
    thread::scope(|scope| {
        let _running = load.start(scope);
        load.until_good(20);
        for number in [1, 2, 1] {
            let name = format!("server-{}", number + 1);
            let other = format!("server-{}", 4 - number);
            cluster.node(number).kill().unwrap();
            load.until_good(50);
            serving.until("/page/1", served_by(&other));
            cluster.node(number).start().unwrap();
            serving.until("/page/1", served_by(&name));
        }
        // As an administrator would, and both.
        cluster.node(1).stop().unwrap();
        cluster.node(2).stop().unwrap();
        load.until_good(50);
        assert!(served_by("server-1")(&serving.get("/page/1")));
        cluster.node(1).start().unwrap();
        serving.until("/page/1", served_by("server-2"));
    });
    let summary = load.verify(&cluster.primary_url());
    assert!(summary.made > 300 && summary.refused == 0 && summary.unknown == 0, "{summary:?}");
}

#[test]
fn a_promoted_replica_takes_the_writes_and_reads_never_stop() {
    let cluster = cluster(2, &SYNCHRONOUS);
    let (old, nodes) = (cluster.node(0), [cluster.node(1), cluster.node(2)]);
    let mut serving = serve(&urls(&cluster, 3));
    let load = Load::new(&serving, &ALL);
    thread::scope(|scope| {
        let _running = load.start(scope);
        load.until_good(20);
        load.may_refuse(true);
        old.kill().unwrap();
        load.until_refused(3);
        let [new, other] = most_advanced(nodes);
        new.promote().unwrap();
        // Until then it has no standby to wait for, and acknowledges nothing.
        other.follow(new).unwrap();
        load.until_good(20);
        load.may_refuse(false);
        load.until_good(50);
        // What is a position of the old history is none of this one.
        serving.until("/page/1", |answer| {
            answer.field("larder-version").is_some_and(|stamp| stamp.ends_with("; timeline=2"))
        });

        // The old one comes back, and knows nothing of that. It is asked for nothing.
        query(&old.url(), "SELECT 1").unwrap_err();
        old.start().unwrap();
        serving.process.wait_for_line("nothing is asked of it").unwrap();
        load.until_good(50);
        // What it has is not the truth any more.
        let sql = "SET synchronous_commit = local; UPDATE ledger SET proof = 'of the past'";
        query(&old.url(), sql).unwrap();
        load.until_good(50);
        // As a replica it is welcome.
        old.become_replica_of(new).unwrap();
        serving.until("/page/1", served_by("server-1"));
        load.until_good(50);
        drop(_running);
        let summary = load.verify(&new.url());
        assert!(summary.made > 300 && summary.refused >= 9, "{summary:?}");
    });
}

/// A setting of one server, in force when this returns.
fn set(node: Node<'_>, name: &str, setting: &str) {
    query(&node.url(), &format!("ALTER SYSTEM SET {name} = '{setting}'")).unwrap();
    query(&node.url(), "SELECT pg_reload_conf()").unwrap();
    let deadline = now() + PATIENCE;
    while value(&node.url(), &format!("SHOW {name}")).unwrap() != setting {
        assert!(now() < deadline);
    }
}

#[test]
fn of_two_primaries_the_newer_one_takes_the_writes() {
    let cluster = cluster(1, &SYNCHRONOUS);
    let (old, new) = (cluster.node(0), cluster.node(1));
    // It is to write alone.
    set(new, "synchronous_standby_names", "");
    let mut serving = serve(&urls(&cluster, 2));
    let load = Load::new(&serving, &ALL);
    thread::scope(|scope| {
        let running = load.start(scope);
        load.until_good(20);
        // The old one lives on, without a standby: what it is given it does not acknowledge.
        load.may_refuse(true);
        new.promote().unwrap();
        serving.process.wait_for_line("nothing is asked of it").unwrap();
        load.until_good(20);
        load.may_refuse(false);
        load.until_good(50);
        drop(running);
    });
    load.verify(&new.url());
    let there = value(&old.url(), "SELECT count(*) FROM ledger").unwrap();
    let response = serving.get("/entries/0/1");
    assert!(served_by("server-2")(&response), "{response:?}");
    assert_eq!(value(&old.url(), "SELECT count(*) FROM ledger").unwrap(), there);
}

#[test]
fn an_old_primary_that_comes_back_first_is_not_believed() {
    let cluster = cluster(1, &SYNCHRONOUS);
    let (old, new) = (cluster.node(0), cluster.node(1));
    set(new, "synchronous_standby_names", "");
    // From its next start on it acknowledges what no one else has.
    query(&old.url(), "ALTER SYSTEM SET synchronous_standby_names = ''").unwrap();
    let mut serving = serve(&urls(&cluster, 2));
    let load = Load::new(&serving, &ALL);
    thread::scope(|scope| {
        let running = load.start(scope);
        load.until_good(20);
        load.may_refuse(true);
        old.kill().unwrap();
        load.until_refused(2);
        // Between two looks at the new one, as likely as not.
        new.promote().unwrap();
        old.start().unwrap();
        serving.process.wait_for_line("nothing is asked of it").unwrap();
        load.until_good(20);
        load.may_refuse(false);
        load.until_good(50);
        drop(running);
    });
    load.verify(&new.url());
}

#[test]
fn connections_that_are_cut_cost_readers_nothing_and_writers_no_doubt_unsaid() {
    let cluster = cluster(2, &[]);
    let relays: Vec<Relay> = (0..3)
        .map(|number| {
            let url = cluster.node(number).url();
            let address = url.split(['@', '/']).nth(3).unwrap();
            Relay::start(address.parse().unwrap()).unwrap()
        })
        .collect();
    let urls: Vec<String> =
        relays.iter().map(|relay| format!("postgres://postgres@{}/postgres", relay.address())).collect();
    let serving = serve(&urls);
    let load = Load::new(&serving, &[&ALL[..], &[Task::Stream, Task::Stream, Task::WriteOnce]].concat());
    thread::scope(|scope| {
        let running = load.start(scope);
        load.until_good(3);
        load.may_cut(true);
        for round in 0.. {
            let (cut, unknown) = load.cut_and_unknown();
            if round >= 8 && cut > 0 && unknown > 0 {
                break;
            }
            assert!(round < 100, "{cut} answers were cut, of {unknown} writes nobody knows the end");
            if round % 2 == 0 {
                relays.iter().for_each(|relay| _ = relay.cut());
            } else {
                (0..3).for_each(|number| _ = cluster.node(number).cut_sessions().unwrap());
            }
            load.until_good(2);
        }
        load.may_cut(false);
        load.until_good(10);
        drop(running);
    });
    let summary = load.verify(&cluster.primary_url());
    assert!(summary.made > 50 && summary.cut > 0, "{summary:?}");
}

#[test]
fn a_read_in_the_way_of_replay_is_answered_elsewhere() {
    let settings = [("hot_standby_feedback", "off"), ("max_standby_streaming_delay", "0")];
    let cluster = cluster(1, &settings);
    let serving = serve(&urls(&cluster, 2));
    let load = Load::new(&serving, &[Task::Busy, Task::Busy, Task::Busy, Task::Read, Task::WriteOnce]);
    let conflicts = || -> u64 {
        let sql = "SELECT coalesce(sum(confl_snapshot + confl_lock + confl_bufferpin), 0) FROM pg_stat_database_conflicts";
        value(&cluster.replica_url(), sql).unwrap().parse().unwrap()
    };
    thread::scope(|scope| {
        let _running = load.start(scope);
        let deadline = now() + PATIENCE;
        while conflicts() < 10 {
            query(&cluster.primary_url(), "UPDATE ledger SET proof = proof WHERE writer = 0 AND n <= 10")
                .unwrap();
            query(&cluster.primary_url(), "VACUUM ledger").unwrap();
            load.until_good(1);
            assert!(now() < deadline, "{} conflicts", conflicts());
        }
    });
    load.verify(&cluster.primary_url());
}

#[test]
fn replicas_that_are_behind_are_passed_over_until_they_are_not() {
    let cluster = cluster(2, &[]);
    let folder = Folder::new();
    let file = |name: &str, lag: &str| {
        format!(
            "-- route: GET /{name}\n-- rows: one\n-- read: replica; max_lag: {lag}\n\n\
             SELECT to_json(count(*)) AS body FROM ledger WHERE writer = 7"
        )
    };
    let (time, bytes) = (file("time", "500ms"), file("bytes", "1MiB"));
    let list: Vec<String> = urls(&cluster, 3).iter().map(|url| format!("{url:?}")).collect();
    let config = folder.config(
        &format!("workers = 2\n[database]\nservers = [{}]", list.join(", ")),
        &[("time.sql", &time), ("bytes.sql", &bytes)],
    );
    let mut command = origin(&["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()]);
    let mut serving = Serving::start(&mut command);
    let [one, other] = [cluster.node(1), cluster.node(2)];
    // Not one answer comes from who is behind, once that is known.
    let only = |serving: &mut Serving, name: &str, count: &str| {
        for target in ["/time", "/bytes"] {
            serving.until(target, |response| served_by(name)(response) && response.text() == count);
            for _ in 0..20 {
                let response = serving.get(target);
                assert!(served_by(name)(&response) && response.text() == count, "{response:?}");
            }
        }
    };
    let write = || {
        let sql = "INSERT INTO ledger VALUES (7, 7, ''); \
                   SELECT length(pg_logical_emit_message(false, 'filling', repeat('x', 2097152))::text)";
        query(&cluster.primary_url(), sql).unwrap();
    };
    for target in ["/time", "/bytes"] {
        serving.until(target, served_by("server-2"));
        serving.until(target, served_by("server-3"));
    }
    one.pause_replay().unwrap();
    write();
    until_behind(&mut serving, "server-2");
    only(&mut serving, "server-3", "1");
    other.pause_replay().unwrap();
    write();
    until_behind(&mut serving, "server-3");
    only(&mut serving, "server-1", "2");
    other.resume_replay().unwrap();
    only(&mut serving, "server-3", "2");
    one.resume_replay().unwrap();
    for target in ["/time", "/bytes"] {
        serving.until(target, served_by("server-2"));
    }
}

/// Neither endpoint asks it any more.
fn until_behind(serving: &mut Serving, name: &str) {
    let deadline = now() + PATIENCE;
    for target in ["/time", "/bytes"] {
        let mut others = 0;
        while others < 20 {
            let is_other = !served_by(name)(&serving.get(target));
            others = if is_other { others + 1 } else { 0 };
            assert!(now() < deadline, "{name} still answers {target}");
        }
    }
}
