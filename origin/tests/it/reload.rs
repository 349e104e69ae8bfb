//! Query files that are replaced while the program serves.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rig::http::Client;
use rig::postgres::{Cluster, query};
use rig::relay::Relay;
use serde_json::json;

use crate::support::{Database, Folder, Serving, Session, cluster};

/// A program and the folder that it reads.
struct Site {
    folder: Folder,
    serving: Serving,
}

impl Site {
    fn start(database: &Database, config: &str, files: &[(&str, &str)]) -> Site {
        let folder = Folder::new();
        let path = folder.config(config, files);
        let serve = ["serve", "--listen", "127.0.0.1:0", "-c", path.to_str().unwrap()];
        let serving = Serving::start(&mut database.command(&serve));
        Site { folder, serving }
    }

    fn write(&self, name: &str, text: &str) {
        self.folder.write(&format!("queries/{name}"), text);
    }

    fn remove(&self, name: &str) {
        let path = self.folder.write(&format!("queries/{name}"), "");
        fs::remove_file(path).unwrap();
    }

    fn hang_up(&self) {
        self.serving.process.signal("HUP").unwrap();
    }

    fn count(&mut self, name: &str) -> u64 {
        self.serving.json("/api/status")[name].as_u64().unwrap()
    }

    /// Has the files read again, which are good.
    #[track_caller]
    fn reload(&mut self) {
        let before = self.count("generation");
        self.hang_up();
        self.until("generation", before + 1);
    }

    /// Has the files read again, which are not.
    #[track_caller]
    fn refused(&mut self, what: &str) -> String {
        let (generation, before) = (self.count("generation"), self.count("reloadFailures"));
        self.hang_up();
        self.until("reloadFailures", before + 1);
        assert_eq!(self.count("generation"), generation, "{}", self.serving.process.log());
        self.serving.process.wait_for_line(what).unwrap()
    }

    #[track_caller]
    fn until(&mut self, name: &str, wanted: u64) {
        let text = format!("\"{name}\": {wanted},\n");
        self.serving.until("/api/status", |response| response.text().contains(&text));
    }
}

fn constant(route: &str, value: &str) -> String {
    format!("-- route: {route}\n-- rows: one\n\nSELECT '{value}'::json AS body")
}

#[test]
fn a_changed_file_answers_anew_and_files_come_and_go() {
    let files = [
        ("kept.sql", &*constant("GET /kept", "1")),
        ("changed.sql", &constant("GET /changed", "1")),
        ("removed.sql", &constant("GET /removed", "1")),
    ];
    let mut site = Site::start(&Database::empty(), "workers = 2", &files);
    assert_eq!(site.serving.json("/changed"), 1);
    assert_eq!(site.serving.json("/removed"), 1);
    site.write("changed.sql", &constant("GET /changed", "2"));
    site.write("added.sql", &constant("GET /added", "3"));
    site.remove("removed.sql");
    site.reload();
    let said = site.serving.process.wait_for_line("query files reloaded").unwrap();
    assert!(said.contains("generation=2"), "{said}");
    assert!(said.contains(r#"["added `added`", "changed `changed`", "removed `removed`"]"#), "{said}");
    assert_eq!(site.serving.json("/changed"), 2);
    assert_eq!(site.serving.json("/added"), 3);
    assert_eq!(site.serving.json("/kept"), 1);
    assert_eq!(site.serving.get("/removed").status, 404);
    // So say the documents, and the metrics.
    let paths = site.serving.json("/openapi.json")["paths"].as_object().unwrap().clone();
    assert_eq!(paths.keys().collect::<Vec<_>>(), ["/added", "/changed", "/kept"]);
    assert!(!site.serving.get("/-/docs").text().contains("/removed"));
    let metrics = site.serving.get("/metrics").text();
    assert!(!metrics.contains("removed"), "{metrics}");
    for line in [
        // Counted on under its name.
        "larder_origin_requests_total{endpoint=\"changed\",status=\"2xx\"} 2\n",
        "larder_origin_statements_total{endpoint=\"changed\"} 2\n",
        "larder_origin_statements_total{endpoint=\"added\"} 1\n",
        "larder_origin_configuration_generation 2\n",
        "larder_origin_reloads_total 1\n",
        "larder_origin_reload_failures_total 0\n",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    // Of the servers all that was sent, whoever asked for it.
    let sent: u64 = ["primary", "replica-1"]
        .map(|name| {
            site.serving.metric(&format!("larder_origin_statements_by_server_total{{server=\"{name}\"}}"))
        })
        .iter()
        .sum();
    assert_eq!(sent, 5);
    // What went can come back.
    site.write("removed.sql", &constant("GET /removed", "4"));
    site.reload();
    assert_eq!(site.serving.json("/removed"), 4);
}

#[test]
fn files_with_faults_change_nothing_and_all_faults_are_said() {
    let (one, other) = (constant("GET /one", "1"), constant("GET /other", "1"));
    let mut site =
        Site::start(&Database::empty(), "workers = 1", &[("one.sql", &one), ("other.sql", &other)]);
    let refusal = "the new set of query files was refused, the old one goes on serving:";
    // By the reader of headers.
    site.write("one.sql", &constant("GET /one", "2"));
    site.write("other.sql", "-- route: GET /other\n-- rows: few\n\nSELECT '2'::json AS body");
    site.refused("other.sql:2:10:");
    // By Postgres, in two files.
    site.write("other.sql", "-- route: GET /other\n-- rows: one\n\nSELECT nothing AS body");
    site.write("third.sql", "-- route: GET /third\n-- rows: one\n\nSELECT '1'::json\n  AS body FROM nowhere");
    site.refused("third.sql:5:16: relation \"nowhere\" does not exist [SQLSTATE 42P01]");
    let log = site.serving.process.log();
    for line in [refusal, "other.sql:4:8: column \"nothing\" does not exist", "    SELECT nothing AS body"] {
        assert!(log.contains(line), "{line} in\n{log}");
    }
    assert!(log.contains(&format!("{:14}^\n", "")), "{log}");
    assert!(!log.contains("only)"), "{log}");
    for target in ["/one", "/other"] {
        assert_eq!(site.serving.json(target), 1);
    }
    assert_eq!(site.serving.get("/third").status, 404);
    // A folder that is empty, or gone.
    for name in ["one.sql", "other.sql", "third.sql"] {
        site.remove(name);
    }
    site.refused("has no query file");
    assert_eq!(site.serving.json("/one"), 1);
    assert_eq!(site.serving.metric("larder_origin_reload_failures_total"), 3);
    site.write("one.sql", &constant("GET /one", "2"));
    site.reload();
    assert_eq!(site.serving.json("/one"), 2);
}

#[test]
fn what_only_one_server_takes_is_refused_and_the_server_is_named() {
    let cluster = Cluster::start().unwrap();
    let database = Database { primary: cluster.primary_url(), replica: cluster.replica_url() };
    let mut site = Site::start(&database, "", &[("one.sql", &constant("GET /one", "1"))]);
    let file = "-- route: GET /one\n-- rows: one\n\nSELECT to_json(count(*)) AS body FROM news";
    // A replica that hears of a table in the next moment is asked again.
    cluster.pause_replay().unwrap();
    query(&cluster.primary_url(), "CREATE TABLE more (n int)").unwrap();
    site.write("one.sql", &file.replace("news", "more"));
    site.hang_up();
    site.serving.process.wait_for_line("asking again for a moment: replica-1").unwrap();
    cluster.resume_replay().unwrap();
    site.until("generation", 2);
    assert_eq!(site.serving.json("/one"), 0);
    // And one that does not is not waited for.
    query(&cluster.primary_url(), "INSERT INTO more VALUES (1)").unwrap();
    cluster.wait_for_replica().unwrap();
    cluster.pause_replay().unwrap();
    query(&cluster.primary_url(), "CREATE TABLE news (n int)").unwrap();
    site.write("one.sql", file);
    site.refused(
        "one.sql:4:39: relation \"news\" does not exist [SQLSTATE 42P01]; `larder-origin migrate` makes the tables of \
         the catalogue that ships (on replica-1 only)",
    );
    assert_eq!(site.serving.json("/one"), 1);
    cluster.resume_replay().unwrap();
    cluster.wait_for_replica().unwrap();
    site.reload();
    assert_eq!(site.serving.json("/one"), 0);
}

#[test]
fn a_server_that_is_not_there_or_says_nothing_is_not_waited_for() {
    let database = Database::empty();
    let address = database.replica.split(['@', '/']).nth(3).unwrap();
    let relay = Relay::start(address.parse().unwrap()).unwrap();
    let through = Database {
        primary: database.primary.clone(),
        replica: database.replica.replace(address, &relay.address().to_string()),
    };
    let file = |value| constant("GET /one", value).replace("rows: one", "rows: one\n-- read: primary");
    let any = |value| constant("GET /any", value);
    let config = "workers = 1\n[database]\nconnect_timeout = \"500ms\"\nstatement_timeout = \"1s\"";
    let mut site = Site::start(&through, config, &[("one.sql", &file("1")), ("any.sql", &any("1"))]);
    assert_eq!(site.serving.get("/any").field("larder-served-by"), Some("replica-1"));
    relay.hold();
    site.write("one.sql", &file("2"));
    site.write("any.sql", &any("2"));
    site.reload();
    assert_eq!(site.serving.json("/one"), 2);
    // Its connections are still there, and do not prepare it.
    let answer = site.serving.get("/any");
    assert_eq!((answer.status, answer.text().as_str()), (200, "2"));
    assert_eq!(answer.field("larder-served-by"), Some("primary"));
    site.serving.process.wait_for_line("and will be when it is there: replica-1 (").unwrap();
    // Nobody is at the other end.
    drop(relay);
    site.write("one.sql", &file("3"));
    site.reload();
    assert_eq!(site.serving.json("/one"), 3);
}

#[test]
fn where_no_server_can_be_asked_nothing_changes() {
    let cluster = Cluster::start().unwrap();
    let database = Database { primary: cluster.primary_url(), replica: cluster.replica_url() };
    let mut site = Site::start(&database, "", &[("one.sql", &constant("GET /one", "1"))]);
    cluster.stop_replica().unwrap();
    cluster.stop_primary().unwrap();
    site.write("one.sql", &constant("GET /one", "2"));
    site.refused("no server could be asked whether it takes the statements:");
    cluster.start_primary().unwrap();
    site.serving.until("/one", |response| response.status == 200);
    assert_eq!(site.serving.json("/one"), 1);
    site.reload();
    assert_eq!(site.serving.json("/one"), 2);
}

#[test]
fn the_files_that_ship_are_not_read_again() {
    let mut serving = Database::seeded().serve();
    serving.process.signal("HUP").unwrap();
    serving.process.wait_for_line("there is nothing to read again").unwrap();
    assert_eq!(serving.get("/resources/res-1").status, 200);
    assert_eq!(serving.json("/api/status")["generation"], 1);
}

#[test]
fn a_request_ends_with_the_endpoint_that_it_began_with() {
    let database = Database::empty();
    let waiting = "-- route: GET /wait\n-- rows: one\n-- read: primary\n\n\
                   SELECT to_json('old' || pg_advisory_xact_lock_shared(7)::text) AS body";
    let mut site = Site::start(&database, "workers = 1", &[("wait.sql", waiting)]);
    let mut session = Session::new(&database.primary);
    session.run("SELECT pg_advisory_lock(7)");
    let mut client = Client::connect(site.serving.address).unwrap();
    client.send(&rig::http::head("GET", "/wait", "x", &[], b"")).unwrap();
    database.until_waiting("Lock", 1);
    site.remove("wait.sql");
    site.write("other.sql", &constant("GET /other", "1"));
    site.reload();
    assert_eq!(site.serving.get("/wait").status, 404);
    session.run("SELECT pg_advisory_unlock(7)");
    let response = client.response("GET").unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "\"old\""));
}

#[test]
fn who_waits_in_line_meanwhile_is_answered_by_the_file_it_began_with_and_leaves_nothing_prepared() {
    let database = Database::empty();
    let slow = |route: &str, select: &str| {
        format!("-- route: GET {route}\n-- rows: one\n-- read: primary\n-- lane: slow\n\nSELECT {select}")
    };
    let files = [
        ("wait.sql", slow("/wait", "to_json('waited' || pg_advisory_xact_lock_shared(8)::text) AS body")),
        ("gone.sql", slow("/gone", "'\"old\"'::json AS body")),
        ("prepared.sql", slow("/prepared", "to_json(count(*)) AS body FROM pg_prepared_statements")),
    ];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut site = Site::start(&database, "workers = 1\n[database.slow]\nconnections = 1", &files);
    let mut session = Session::new(&database.primary);
    session.run("SELECT pg_advisory_lock(8)");
    let mut clients = ["/wait", "/gone"].map(|target| {
        let mut client = Client::connect(site.serving.address).unwrap();
        client.send(&rig::http::head("GET", target, "x", &[], b"")).unwrap();
        if target == "/wait" {
            database.until_waiting("Lock", 1);
        }
        client
    });
    let is_in_line = "larder_origin_pool_queued{lane=\"slow\"} 1\n";
    site.serving.until("/metrics", |response| response.text().contains(is_in_line));
    site.remove("gone.sql");
    site.remove("wait.sql");
    site.reload();
    session.run("SELECT pg_advisory_unlock(8)");
    let answers = clients.each_mut().map(|client| client.response("GET").unwrap());
    assert_eq!(
        answers.map(|answer| (answer.status, answer.text())),
        [(200, "\"waited\"".to_owned()), (200, "\"old\"".to_owned())]
    );
    // The stamp's, and its own.
    assert_eq!(site.serving.json("/prepared"), 2);
}

/// With all kinds of connections: shared, streamed, written. Each says its version.
fn versioned(version: u64) -> [(&'static str, String); 3] {
    [
        ("fast.sql", constant("GET /fast", &version.to_string())),
        (
            "slow.sql",
            format!(
                "-- route: GET /slow\n-- rows: many\n-- lane: slow\n\n\
                 SELECT '{version}'::json AS body FROM generate_series(1, 200)"
            ),
        ),
        (
            "write.sql",
            format!(
                "-- route: POST /write\n-- rows: one\n-- idempotency: none\n\n\
                 INSERT INTO written VALUES ({version}) RETURNING to_json(version) AS body"
            ),
        ),
    ]
}

#[test]
fn no_request_fails_while_files_are_replaced_and_each_answer_is_of_one_version() {
    const SWAPS: u64 = 50;
    let database = Database::empty();
    database.sql("CREATE TABLE written (version int)");
    cluster().wait_for_replica().unwrap();
    let files = versioned(0);
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut site = Site::start(&database, "workers = 2\n[database.slow]\nconnections = 4", &files);
    // Versions that certainly serve, and those that perhaps do.
    let (serving, written, is_over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let address = site.serving.address;
    let ask = |method: &'static str, target: &'static str| {
        let (serving, written, is_over) = (&serving, &written, &is_over);
        move || {
            // One connection to the end: none is dropped.
            let mut client = Client::connect(address).unwrap();
            let (mut last, mut seen, mut count) = (0, 0, 0_u64);
            while !is_over.load(Ordering::SeqCst) {
                let least = serving.load(Ordering::SeqCst);
                let response = client.call(method, target, &[], b"").unwrap();
                let most = written.load(Ordering::SeqCst);
                assert!(matches!(response.status, 200 | 201), "{target}: {response:?} {}", response.text());
                let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
                let values = body.as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
                let version = values[0].as_u64().unwrap();
                assert!(values.iter().all(|value| *value == json!(version)), "{target}: {body}");
                assert!((least..=most).contains(&version), "{target}: {version} in {least}..={most}");
                assert!(version >= last, "{target}: {version} after {last}");
                seen += u64::from(version > last);
                (last, count) = (version, count + 1);
            }
            (seen, count)
        }
    };
    let kinds = [("GET", "/fast"), ("GET", "/fast"), ("GET", "/fast"), ("GET", "/slow"), ("POST", "/write")];
    thread::scope(|scope| {
        let clients: Vec<_> = kinds.iter().map(|(method, target)| scope.spawn(ask(method, target))).collect();
        for version in 1..=SWAPS {
            written.store(version, Ordering::SeqCst);
            for (name, text) in versioned(version) {
                site.write(name, &text);
            }
            site.reload();
            serving.store(version, Ordering::SeqCst);
        }
        is_over.store(true, Ordering::SeqCst);
        for (client, (_, target)) in clients.into_iter().zip(kinds) {
            let (seen, count) = client.join().unwrap();
            assert!(seen > SWAPS / 5 && count > seen, "{target}: {seen} versions in {count} answers");
        }
    });
    let classes = ["3xx", "4xx", "5xx"];
    for (name, class) in ["fast", "slow", "write"].iter().flat_map(|name| classes.map(|class| (name, class)))
    {
        let metric = format!("larder_origin_requests_total{{endpoint=\"{name}\",status=\"{class}\"}}");
        assert_eq!(site.serving.metric(&metric), 0);
    }
}

/// In kilobytes.
fn resident(site: &Site) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", site.serving.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_thousand_reloads_leave_nothing_behind() {
    let database = Database::empty();
    let prepared = "-- route: GET /prepared\n-- rows: one\n\n\
                    SELECT to_json(count(*)) AS body FROM pg_prepared_statements";
    // Each with an optional line: two statements.
    let file = |version: u64| {
        format!(
            "-- route: GET /changed\n-- param more: query int8\n-- rows: one\n\n\
             SELECT to_json({version}::int8\n  + :more -- when more\n) AS body"
        )
    };
    let files = [("prepared.sql", prepared), ("changed.sql", &*file(0))];
    let config = "workers = 1\n[database.fast]\nconnections = 1";
    let mut site = Site::start(&Database { replica: String::new(), ..database }, config, &files);
    let mut seen = Vec::new();
    for version in 1..=1000 {
        site.write("changed.sql", &file(version));
        // A name of its own each time.
        site.write(&format!("endpoint_{version}.sql"), &constant("GET /renamed", &version.to_string()));
        if version > 1 {
            site.remove(&format!("endpoint_{}.sql", version - 1));
        }
        site.reload();
        for (target, expected) in
            [("/changed", version), ("/changed?more=1", version + 1), ("/renamed", version)]
        {
            assert_eq!(site.serving.json(target), expected);
        }
        if version % 100 == 0 {
            let statements = site.serving.json("/prepared").as_u64().unwrap();
            let lines = site.serving.get("/metrics").text().lines().count();
            seen.push((statements, lines, resident(&site)));
        }
    }
    let (statements, lines, _) = seen[0];
    // The stamp's and those of the three endpoints.
    assert_eq!(statements, 5, "{seen:?}");
    assert!(seen.iter().all(|later| (later.0, later.1) == (statements, lines)), "{seen:?}");
    // After the first few, when every buffer has its size.
    let (early, late) = (seen[2].2, seen[9].2);
    assert!(late < early + 1024, "{seen:?}");
}

#[test]
fn plans_of_new_files_are_read_too() {
    let scan = "-- route: GET /scan\n-- param name: query text required\n-- rows: many\n\n\
                SELECT to_json(r.id) AS body\nFROM resources r WHERE upper(r.public_id) = :name";
    let mut site =
        Site::start(&Database::seeded(), "workers = 1", &[("one.sql", &constant("GET /one", "1"))]);
    site.write("scan.sql", scan);
    site.reload();
    site.serving.process.wait_for_line("scan.sql:6:6: the plan reads all of `resources`").unwrap();
}

#[test]
fn old_keys_are_removed_from_the_time_on_when_a_file_keeps_some() {
    let database = Database::seeded_copy();
    database.sql(
        "INSERT INTO larder_idempotency (key, endpoint, request, created_at) VALUES ('x', 'x', 'x', now() - interval '2 days')",
    );
    let file = "-- route: POST /one\n-- rows: one\n-- idempotency: none\n\nSELECT '1'::json AS body";
    let mut site = Site::start(&database, "workers = 1", &[("one.sql", file)]);
    site.write("one.sql", &file.replace("none", "optional"));
    site.reload();
    database.until(&database.primary, "SELECT count(*) FROM larder_idempotency", |row| row[0] == "0");
}
