//! Each kind of connection at its limits: too many at once, too long a wait, too long a statement, no connection to be had.

use std::thread;

use rig::http::{Client, Response};
use rig::postgres::{Cluster, query};

use crate::support::{Database, Folder, Said, Serving, Session, cluster, origin};

/// Waits while a session of the test holds the lock.
fn held(route: &str, more: &str) -> String {
    format!(
        "-- route: {route}\n-- rows: one\n{more}\n\nSELECT to_json(pg_advisory_xact_lock_shared(42) IS NOT NULL) AS body"
    )
}

/// For longer than anyone has patience.
const SLEEP: &str = "SELECT to_json(pg_sleep(600) IS NOT NULL) AS body";

fn files() -> Vec<(&'static str, String)> {
    vec![
        ("fast_sleep.sql", format!("-- route: GET /fast/sleep\n-- rows: one\n-- read: primary\n\n{SLEEP}")),
        (
            "slow_sleep.sql",
            format!("-- route: GET /slow/sleep\n-- rows: one\n-- read: primary\n-- lane: slow\n\n{SLEEP}"),
        ),
        (
            "write_sleep.sql",
            format!("-- route: POST /write/sleep\n-- rows: one\n-- idempotency: none\n\n{SLEEP}"),
        ),
        ("fast.sql", held("GET /fast", "-- read: primary")),
        ("slow.sql", held("GET /slow", "-- read: primary\n-- lane: slow")),
        ("write.sql", held("POST /write", "-- idempotency: none")),
    ]
}

fn serve(database: &Database, config: &str) -> Serving {
    let files = files();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    database.serve_with(&format!("workers = 1\n{config}"), &files)
}

fn ask(serving: &Serving, kind: &str) -> Response {
    let method = if kind.starts_with("write") { "POST" } else { "GET" };
    let mut client = Client::connect(serving.address).unwrap();
    client.call(method, &format!("/{kind}"), &[], b"").unwrap()
}

#[track_caller]
fn assert_problem(response: &Response, status: u16, detail: &str) {
    assert_eq!(response.status, status, "{response:?}: {}", response.text());
    assert_eq!(response.field("content-type"), Some("application/problem+json"));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    assert!(response.text().contains(detail), "{}", response.text());
    let retry_after = (status == 503).then_some("1");
    assert_eq!(response.field("retry-after"), retry_after);
}

fn running(database: &Database) -> String {
    database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' \
         AND application_name = 'larder-origin' AND wait_event = 'PgSleep'",
    )
}

#[test]
fn one_more_than_fits_in_the_queue_is_told_to_come_back() {
    let database = Database::empty();
    for kind in ["fast", "slow", "write"] {
        let pipeline = if kind == "fast" { "pipeline = 1\n" } else { "" };
        let config = format!("[database.{kind}]\nconnections = 1\nqueue = 2\n{pipeline}");
        let mut serving = serve(&database, &config);
        let mut session = Session::new(&database.primary);
        session.run("SELECT pg_advisory_lock(42)");
        thread::scope(|scope| {
            let serving_now = &serving;
            let first = scope.spawn(|| ask(serving_now, kind));
            database.until_waiting("Lock", 1);
            let others: Vec<_> = (0..2).map(|_| scope.spawn(|| ask(serving_now, kind))).collect();
            until_metric(serving_now, &format!("larder_origin_pool_queued{{lane=\"{kind}\"}} 2\n"));
            assert_problem(&ask(serving_now, kind), 503, "the database is busy");
            session.run("SELECT pg_advisory_unlock(42)");
            for answer in [first].into_iter().chain(others) {
                assert!((200..300).contains(&answer.join().unwrap().status));
            }
        });
        let refused = format!("larder_origin_pool_refused_total{{lane=\"{kind}\",reason=\"full\"}}");
        assert_eq!(serving.metric(&refused), 1);
        assert!((200..300).contains(&ask(&serving, kind).status));
    }
}

/// On a connection of its own: that of the tests' client may be in use.
#[track_caller]
fn until_metric(serving: &Serving, line: &str) {
    let mut client = Client::connect(serving.address).unwrap();
    let deadline = crate::support::now() + std::time::Duration::from_secs(60);
    loop {
        let text = client.get("/-/metrics", &[]).unwrap().text();
        if text.contains(line) {
            return;
        }
        assert!(crate::support::now() < deadline, "no {line} in\n{text}");
        thread::yield_now();
    }
}

#[test]
fn who_waits_for_too_long_is_told_to_come_back() {
    let database = Database::empty();
    for kind in ["fast", "slow", "write"] {
        let pipeline = if kind == "fast" { "pipeline = 1\n" } else { "" };
        let config = format!("[database.{kind}]\nconnections = 1\nmax_wait = \"50ms\"\n{pipeline}");
        let mut serving = serve(&database, &config);
        let mut session = Session::new(&database.primary);
        session.run("SELECT pg_advisory_lock(42)");
        thread::scope(|scope| {
            let serving = &serving;
            let first = scope.spawn(|| ask(serving, kind));
            database.until_waiting("Lock", 1);
            assert_problem(&ask(serving, kind), 503, "the database is busy");
            session.run("SELECT pg_advisory_unlock(42)");
            assert!((200..300).contains(&first.join().unwrap().status));
        });
        let refused = format!("larder_origin_pool_refused_total{{lane=\"{kind}\",reason=\"max_wait\"}}");
        assert_eq!(serving.metric(&refused), 1);
        assert!((200..300).contains(&ask(&serving, kind).status));
    }
}

#[test]
fn a_statement_that_takes_too_long_ends_on_the_server_too() {
    let database = Database::empty();
    for kind in ["fast", "slow", "write"] {
        // The others have time.
        let config = format!("[database.{kind}]\nconnections = 1\nstatement_timeout = \"100ms\"\n");
        let serving = serve(&database, &config);
        for _ in 0..3 {
            assert_problem(&ask(&serving, &format!("{kind}/sleep")), 504, "the statement ran too long");
            assert_eq!(running(&database), "0", "{kind}");
        }
        // The connection was not lost by it.
        assert!((200..300).contains(&ask(&serving, kind).status));
        assert!(!serving.process.log().contains("lost"), "{}", serving.process.log());
    }
}

#[test]
fn a_server_without_free_connections_is_waited_for() {
    let cluster = Cluster::start().unwrap();
    let url = cluster.primary_url();
    // The same SQLSTATE (53300) as for all connections of a server, without the others that a test makes by the way.
    query(&url, "CREATE ROLE app LOGIN CONNECTION LIMIT 0").unwrap();
    let folder = Folder::new();
    let file = "-- route: GET /one\n-- rows: one\n-- read: primary\n\nSELECT to_json(1) AS body";
    let config = folder.config("workers = 1", &[("one.sql", file)]);
    let mut command = origin(&["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()]);
    let mut serving = Serving::start(command.env("DATABASE_URL", url.replace("postgres@", "app@")));
    let line = serving.process.wait_for_line("cannot connect to primary").unwrap();
    assert!(line.contains("too many connections") && line.contains("trying again until it works"), "{line}");
    assert_problem(&serving.get("/one"), 503, "no database server");

    let all = "larder_origin_server_connections{server=\"primary\"} 4\n";
    query(&url, "ALTER ROLE app CONNECTION LIMIT -1").unwrap();
    serving.until("/-/metrics", |answer| answer.text().contains(all));
    assert_eq!(serving.get("/one").status, 200);

    // While it serves: what is there goes on, what is lost waits.
    query(&url, "ALTER ROLE app CONNECTION LIMIT 0").unwrap();
    assert_eq!(serving.get("/one").status, 200);
    cluster.node(0).cut_sessions().unwrap();
    serving.until("/one", |answer| answer.status == 503);
    query(&url, "ALTER ROLE app CONNECTION LIMIT -1").unwrap();
    serving.until("/-/metrics", |answer| answer.text().contains(all));
    assert_eq!(serving.get("/one").status, 200);
    // It asks again and again, and says so when there is news, not each time.
    let log = serving.process.log();
    assert!((2..=6).contains(&log.matches("cannot connect to primary").count()), "{log}");
}

#[test]
fn a_file_that_one_server_cannot_prepare_is_named_with_that_server() {
    // Two databases: what a migration that reached one server only leaves behind.
    let (whole, lacking) = (Database::empty(), Database::empty());
    // (The first one is the primary's, the second one the replica's.)
    whole.sql("CREATE TABLE notes (id int8, note text); INSERT INTO notes VALUES (1, 'here')");
    lacking.sql("CREATE TABLE notes (id int8)");
    cluster().wait_for_replica().unwrap();
    let file =
        "-- route: GET /note\n-- rows: one\n-- read: primary\n\nSELECT to_json(note) AS body FROM notes";
    let folder = Folder::new();
    let config = folder.config("workers = 1", &[("note.sql", file)]);
    let run = |command: &[&str]| {
        let mut command = origin(&[command, &["-c", config.to_str().unwrap()]].concat());
        command.env("DATABASE_URL", &whole.primary).env("REPLICA_URLS", &lacking.replica);
        command
    };
    let said = Said::of(&mut run(&["check"]));
    said.expect_code(64);
    assert!(said.err.contains("(on replica-1 only)") && said.err.contains("note.sql:5:16"), "{}", said.err);
    assert!(said.err.contains("column \"note\" does not exist"), "{}", said.err);

    // The server that can serves.
    let mut serving = Serving::start(&mut run(&["serve", "--listen", "127.0.0.1:0"]));
    serving.process.wait_for_line("replica-1 cannot prepare the endpoints").unwrap();
    serving.process.wait_for_line("note.sql:5:16").unwrap();
    assert_eq!(serving.get("/note").text(), "\"here\"");
}
