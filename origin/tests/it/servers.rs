//! Servers that die, come back, and fall behind. On a cluster of their own.

use std::sync::atomic::{AtomicBool, Ordering};

use rig::{
    http::{Client, Response},
    postgres::{Cluster, query},
};

use crate::support::{Folder, Said, Serving, origin};

fn served_by(name: &str) -> impl Fn(&Response) -> bool {
    move |response| response.status == 200 && response.field("larder-served-by") == Some(name)
}

fn filled() -> Cluster {
    let cluster = Cluster::start().unwrap();
    for arguments in [&["migrate"] as &[_], &["seed", "--resources", "100"]] {
        Said::of(origin(arguments).env("DATABASE_URL", cluster.primary_url())).expect_code(0);
    }
    cluster.wait_for_replica().unwrap();
    cluster
}

fn serve(cluster: &Cluster) -> Serving {
    let mut command = origin(&["serve", "--listen", "127.0.0.1:0"]);
    Serving::start(
        command.env("DATABASE_URL", cluster.primary_url()).env("REPLICA_URLS", cluster.replica_url()),
    )
}

#[test]
fn no_request_fails_while_one_server_is_there() {
    let cluster = filled();
    let mut serving = serve(&cluster);
    assert!(served_by("replica-1")(&serving.get("/resources/res-1")));
    let expected = serving.get("/resources/res-1").text();
    let (is_over, address) = (AtomicBool::new(false), serving.address);
    let ask = || {
        let mut client = Client::connect(address).unwrap();
        let mut count = 0;
        while !is_over.load(Ordering::Relaxed) {
            let response = client.get("/resources/res-1", &[]).unwrap();
            assert_eq!((response.status, response.text().as_str()), (200, expected.as_str()));
            count += 1;
        }
        count
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        for _ in 0..2 {
            cluster.kill_replica().unwrap();
            serving.until("/resources/res-1", served_by("primary"));
            cluster.start_replica().unwrap();
            serving.until("/resources/res-1", served_by("replica-1"));
        }
        // Told that it ends, as by an administrator.
        cluster.stop_replica().unwrap();
        serving.until("/resources/res-1", served_by("primary"));
        cluster.start_replica().unwrap();
        serving.until("/resources/res-1", served_by("replica-1"));
        // Reads go on without a primary, once every connection to the replica is back.
        let connections = "larder_origin_server_connections";
        let all = serving.metric(&format!("{connections}{{server=\"primary\"}}"));
        let wanted = format!("{connections}{{server=\"replica-1\"}} {all}\n");
        serving.until("/-/metrics", |response| response.text().contains(&wanted));
        cluster.kill_primary().unwrap();
        for _ in 0..100 {
            assert!(served_by("replica-1")(&serving.get("/resources/res-1")));
        }
        cluster.start_primary().unwrap();
        is_over.store(true, Ordering::Relaxed);
        assert!(clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>() > 0);
    });
}

#[test]
fn with_both_gone_it_says_so_until_one_is_back() {
    let cluster = filled();
    let mut serving = serve(&cluster);
    cluster.kill_replica().unwrap();
    cluster.kill_primary().unwrap();
    let response = serving.until("/resources/res-1", |response| response.status != 200);
    assert_eq!((response.status, response.field("retry-after")), (503, Some("1")));
    assert_eq!(response.field("content-type"), Some("application/problem+json"));
    serving.until("/-/readyz", |response| response.status == 503);
    let is_down = "larder_origin_server_up{server=\"primary\"} 0\n";
    serving.until("/-/metrics", |response| response.text().contains(is_down));
    cluster.start_primary().unwrap();
    serving.until("/resources/res-1", served_by("primary"));
    // The other workers' connections too.
    serving.until("/-/readyz", |response| response.status == 200);
    cluster.start_replica().unwrap();
    serving.until("/resources/res-1", served_by("replica-1"));
}

#[test]
fn a_replica_that_is_down_at_the_start_is_taken_in_later() {
    let cluster = filled();
    cluster.kill_replica().unwrap();
    let mut serving = serve(&cluster);
    assert!(served_by("primary")(&serving.get("/resources/res-1")));
    cluster.start_replica().unwrap();
    serving.until("/resources/res-1", served_by("replica-1"));
}

/// What nobody can tell the age of is taken by proxies for whatever it may be.
#[test]
fn answers_say_their_version_also_right_after_a_replica_has_come_back() {
    let cluster = filled();
    let mut serving = serve(&cluster);
    serving.until("/resources/res-1", served_by("replica-1"));
    let is_over = AtomicBool::new(false);
    let address = serving.address;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(address).unwrap();
                    while !is_over.load(Ordering::Relaxed) {
                        let response = client.get("/resources/res-1", &[]).unwrap();
                        let is_stamped = response.field("larder-version").is_some();
                        assert!(is_stamped || response.status != 200, "{response:?}");
                    }
                })
            })
            .collect();
        for _ in 0..8 {
            cluster.kill_replica().unwrap();
            cluster.start_replica().unwrap();
            serving.until("/resources/res-1", served_by("replica-1"));
        }
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn a_replica_that_is_behind_is_passed_over() {
    let cluster = filled();
    let folder = Folder::new();
    let file = |name: &str, read: &str| {
        format!(
            "-- route: GET /{name}\n-- rows: one\n-- read: {read}\n\nSELECT to_json(name) AS body FROM users WHERE id = 1"
        )
    };
    let files = [("soon.sql", file("soon", "replica; max_lag: 300ms")), ("any.sql", file("any", "replica"))];
    let config = folder.config("", &[(files[0].0, &files[0].1), (files[1].0, &files[1].1)]);
    let mut command = origin(&["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()]);
    command.env("DATABASE_URL", cluster.primary_url()).env("REPLICA_URLS", cluster.replica_url());
    let mut serving = Serving::start(&mut command);
    serving.until("/soon", served_by("replica-1"));

    cluster.pause_replay().unwrap();
    query(&cluster.primary_url(), "UPDATE users SET name = 'late' WHERE id = 1").unwrap();
    let answer = serving.until("/soon", served_by("primary"));
    assert_eq!(answer.text(), "\"late\"");
    // Who names no limit gets the replica, as it is.
    let answer = serving.get("/any");
    assert!(served_by("replica-1")(&answer) && answer.text() != "\"late\"", "{answer:?}");
    cluster.resume_replay().unwrap();
    let answer = serving.until("/soon", served_by("replica-1"));
    assert_eq!(answer.text(), "\"late\"");
}

#[test]
fn who_wrote_is_answered_by_a_server_that_shows_it() {
    let cluster = filled();
    let folder = Folder::new();
    let read = |name: &str, more: &str, select: &str| {
        format!("-- route: GET /{name}\n{more}\n\nSELECT {select} AS body FROM users WHERE id = 1")
    };
    let files = [
        ("one.sql", read("one", "-- rows: one", "to_json(name)")),
        ("all.sql", read("all", "-- rows: many\n-- lane: slow", "to_json(name)")),
        (
            "write.sql",
            "-- route: PUT /name/{name}\n-- param name: path text\n-- rows: one\n\n\
             UPDATE users SET name = :name WHERE id = 1 RETURNING to_json(name) AS body"
                .to_owned(),
        ),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let config = folder.config("", &files);
    let mut command = origin(&["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()]);
    command.env("DATABASE_URL", cluster.primary_url()).env("REPLICA_URLS", cluster.replica_url());
    let mut serving = Serving::start(&mut command);
    serving.until("/one", served_by("replica-1"));

    cluster.pause_replay().unwrap();
    let commit = serving.call("PUT", "/name/new", &[]).field("larder-commit").unwrap().to_owned();
    let wanted = [("Larder-Min-Version", commit.as_str())];
    for (target, text) in [("/one", "\"new\""), ("/all", "[\"new\"]")] {
        // Who wants nothing gets what the replica shows.
        assert!(served_by("replica-1")(&serving.get(target)), "{target}");
        assert_ne!(serving.get(target).text(), text);
        let answer = serving.get_with(target, &wanted);
        assert_eq!((answer.text().as_str(), answer.field("larder-served-by")), (text, Some("primary")));
        assert!(answer.field("larder-version").unwrap().ends_with("; timeline=1"));
    }
    cluster.resume_replay().unwrap();
    for (target, text) in [("/one", "\"new\""), ("/all", "[\"new\"]")] {
        let mut answer = serving.get_with(target, &wanted);
        let deadline = crate::support::now() + std::time::Duration::from_secs(60);
        while answer.field("larder-served-by") != Some("replica-1") {
            assert_eq!((answer.status, answer.text().as_str()), (200, text));
            assert!(crate::support::now() < deadline);
            answer = serving.get_with(target, &wanted);
        }
        assert_eq!(answer.text(), text);
    }

    let mut get = |version: &str| serving.get_with("/one", &[("Larder-Min-Version", version)]);
    // What nobody has replayed the primary shows, as far as anyone knows; of a later history it knows nothing.
    assert!(served_by("primary")(&get("lsn=FFFFFFFF/0; timeline=1")));
    let unknown = get("lsn=0/1; timeline=2");
    assert_eq!((unknown.status, unknown.field("retry-after")), (503, Some("1")), "{}", unknown.text());
    for bad in
        ["", "0/1", "lsn=0/1", "lsn=0/1; timeline=0", "snapshot=1:1:; timeline=1", "lsn=0/g; timeline=1"]
    {
        let answer = get(bad);
        assert_eq!(answer.status, 400, "{bad:?}: {}", answer.text());
        assert!(answer.text().contains("Larder-Min-Version"), "{}", answer.text());
    }
    let twice = [("Larder-Min-Version", "lsn=0/1; timeline=1"); 2];
    assert_eq!(serving.get_with("/one", &twice).status, 400);

    // Without a primary only what a replica shows is an answer.
    cluster.kill_primary().unwrap();
    let answer = serving.get_with("/one", &wanted);
    assert_eq!((answer.text().as_str(), answer.field("larder-served-by")), ("\"new\"", Some("replica-1")));
    let answer = serving.get_with("/one", &[("Larder-Min-Version", "lsn=FFFFFFFF/0; timeline=1")]);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(served_by("replica-1")(&serving.get("/one")));
}

#[test]
fn what_happens_to_a_server_is_said_once_and_not_for_each_connection() {
    let cluster = filled();
    let mut serving = serve(&cluster);
    cluster.kill_replica().unwrap();
    serving.process.wait_for_line("cannot connect to replica-1").unwrap();
    cluster.start_replica().unwrap();
    serving.process.wait_for_line("replica-1 is back").unwrap();
    let connections = serving.metric("larder_origin_server_connections{server=\"primary\"}");
    let wanted = format!("larder_origin_server_connections{{server=\"replica-1\"}} {connections}\n");
    serving.until("/-/metrics", |response| response.text().contains(&wanted));
    let log = serving.process.log();
    assert!(connections > 1);
    assert_eq!(log.matches("lost replica-1").count(), 1, "{log}");
    assert!(!log.contains("lost primary"), "{log}");
}
