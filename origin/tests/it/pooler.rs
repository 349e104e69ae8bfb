//! Through PgBouncer in transaction mode: what one session does is never seen by the next one that gets it.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rig::http::{Client, Response};
use rig::postgres::{Node, Pooler, PostgresError, value};
use serde_json::Value;

use crate::support::{Database, Folder, Serving, cluster};

const ROWS: &str = "-- route: GET /rows/{count}\n-- param count: path int8\n-- rows: many\n-- lane: slow\n-- body: columns\n\n\
                    SELECT n, repeat('x', 80) AS filling FROM generate_series(1::bigint, :count) n";
const SLOW: &str = "-- route: GET /slow\n-- rows: one\n-- read: primary\n\n\
                    SELECT to_json(pg_sleep(600) IS NOT NULL) AS body";
const SLOW_WRITE: &str = "-- route: POST /slow\n-- rows: one\n-- idempotency: optional\n\n\
                          SELECT to_json(pg_sleep(600) IS NOT NULL) AS body";
const SETTINGS: &str = "-- route: GET /settings\n-- rows: one\n-- read: primary\n\n\
                        SELECT json_build_array(current_setting('statement_timeout'), current_setting('plan_cache_mode'), \
                        current_setting('transaction_read_only')) AS body";

/// `None`, and a loud word, where there is no PgBouncer: output of tests that pass is not shown, so it goes past the harness.
fn pooler(node: Node<'static>, settings: &[(&str, &str)]) -> Option<Pooler<'static>> {
    match Pooler::start(node, settings) {
        Ok(pooler) => Some(pooler),
        Err(error @ PostgresError::NoPooler { .. }) => {
            drop(writeln!(std::io::stderr(), "\nSKIPPED: a test through PgBouncer: {error}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The servers of a database, each behind a pooler with few sessions.
struct Pooled {
    direct: Database,
    through: Database,
    primary: Pooler<'static>,
    _replica: Pooler<'static>,
}

impl Pooled {
    fn new(direct: Database, settings: &[(&str, &str)]) -> Option<Pooled> {
        let settings = [&[("default_pool_size", "3")], settings].concat();
        let primary = pooler(cluster().node(0), &settings)?;
        let replica = pooler(cluster().node(1), &settings)?;
        let name = direct.value("SELECT current_database()");
        let through = Database { primary: primary.url_of(&name), replica: replica.url_of(&name) };
        Some(Pooled { direct, through, primary, _replica: replica })
    }

    /// Endpoints of our own beside those that are shown to ship.
    fn serve(&self, more: &str) -> Serving {
        self.through.serve_with(
            more,
            &[
                ("rows.sql", ROWS),
                ("slow.sql", SLOW),
                ("slow_write.sql", SLOW_WRITE),
                ("settings.sql", SETTINGS),
            ],
        )
    }
}

fn write(serving: &Serving, target: &str, fields: &[(&str, &str)], body: &str) -> Response {
    let fields = [&[("Content-Type", "application/json")], fields].concat();
    let mut client = Client::connect(serving.address).unwrap();
    client.call("POST", target, &fields, body.as_bytes()).unwrap()
}

fn reads_and_writes(pooled: &Pooled) {
    // So that the cursors of both are the same.
    let key = "[cursors]\nkey = \"0123456789abcdef0123456789abcdef\"\n";
    let mut direct = pooled.direct.serve_with(key, &[]);
    let mut serving = pooled.through.serve_with(key, &[]);
    for target in [
        "/resources/res-1",
        "/resources/res-1/details?include=steps",
        "/resources?limit=10",
        "/users/usr-1",
        "/trending",
        "/resources/nothing",
    ] {
        let (expected, answer) = (direct.get(target), serving.get(target));
        assert_eq!((answer.status, answer.text()), (expected.status, expected.text()), "{target}");
        assert_eq!(answer.field("etag"), expected.field("etag"), "{target}");
    }
    let answer = serving.get("/resources/res-1");
    assert_eq!(answer.field("larder-served-by"), Some("replica-1"));
    let stamp = answer.field("larder-version").unwrap();
    assert!(stamp.starts_with("lsn=") && stamp.ends_with("; timeline=1"), "{answer:?}");

    let body = r#"{"resourceType": "Note", "name": "through a pooler"}"#;
    let position = || pooled.direct.value("SELECT pg_current_wal_insert_lsn()");
    for fields in [&[][..], &[("Idempotency-Key", "once")]] {
        let before = position();
        let made = write(&serving, "/resources", fields, body);
        assert_eq!(made.status, 201, "{}", made.text());
        let stamp = made.field("larder-commit").unwrap().strip_prefix("lsn=").unwrap();
        let commit = stamp.strip_suffix("; timeline=1").unwrap().to_owned();
        let after = position();
        let is_between = format!("SELECT '{commit}'::pg_lsn BETWEEN '{before}' AND '{after}'");
        assert_eq!(pooled.direct.value(&is_between), "t", "{before} {commit} {after}");
    }
    let again = write(&serving, "/resources", &[("Idempotency-Key", "once")], body);
    assert_eq!((again.status, again.field("idempotency-replayed")), (201, Some("true")));
    let made = "SELECT count(*) FROM resource_versions WHERE name = 'through a pooler'";
    assert_eq!(pooled.direct.value(made), "2");
}

#[test]
fn answers_through_a_pooler_are_those_of_the_server() {
    let Some(pooled) = Pooled::new(Database::seeded_copy(), &[]) else { return };
    reads_and_writes(&pooled);
}

#[test]
fn a_pooler_that_drops_settings_is_found_out() {
    let settings = [("ignore_startup_parameters", "options,extra_float_digits")];
    let Some(pooled) = Pooled::new(Database::seeded_copy(), &settings) else { return };
    let mut serving = pooled.serve("workers = 1");
    serving.process.wait_for_line("does not pass our settings on: taken for a pooler").unwrap();
    assert_eq!(serving.get("/settings").text(), r#"["30s", "force_generic_plan", "on"]"#);
    drop(serving);
    reads_and_writes(&pooled);
    let said = pooled.through.run(&["check"]);
    said.expect_code(1);
    assert!(said.err.contains("give the URL of the server itself"), "{}", said.err);
    // Nothing was prepared or planned in sessions that others get next.
    let through = pooled.primary.url_of(&pooled.direct.value("SELECT current_database()"));
    for _ in 0..10 {
        assert_eq!(value(&through, "SELECT count(*) FROM pg_prepared_statements").unwrap(), "0");
    }
}

#[test]
fn a_pooler_that_keeps_prepared_statements_changes_nothing() {
    let Some(probe) = pooler(cluster().node(0), &[]) else { return };
    if probe.version().unwrap() < (1, 21) {
        let version = probe.version().unwrap();
        drop(writeln!(
            std::io::stderr(),
            "\nSKIPPED: max_prepared_statements needs PgBouncer 1.21; this is {version:?}"
        ));
        return;
    }
    drop(probe);
    let Some(pooled) = Pooled::new(Database::seeded_copy(), &[("max_prepared_statements", "100")]) else {
        return;
    };
    reads_and_writes(&pooled);
}

#[test]
fn many_share_few_sessions_and_large_answers_are_whole() {
    let Some(pooled) = Pooled::new(Database::seeded(), &[]) else { return };
    let mut serving = pooled.serve("workers = 1\n[database.slow]\nconnections = 2");
    let rows: Vec<Value> = serde_json::from_slice(&serving.get("/rows/100000").body).unwrap();
    assert_eq!((rows.len(), &rows[99_999]["n"]), (100_000, &Value::from(100_000)));
    thread::scope(|scope| {
        for client in 0..8_usize {
            let address = serving.address;
            scope.spawn(move || {
                let mut connection = Client::connect(address).unwrap();
                for number in 0..50 {
                    let count = client * 50 + number;
                    let answer = connection.get(&format!("/rows/{count}"), &[]).unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let rows: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
                    assert_eq!(rows.len(), count);
                    assert_eq!(
                        connection.get("/settings", &[]).unwrap().text(),
                        r#"["30s", "force_generic_plan", "on"]"#
                    );
                }
            });
        }
    });
    // Nothing of it stays in the sessions, which others get next.
    let through = pooled.primary.url_of(&pooled.direct.value("SELECT current_database()"));
    for _ in 0..10 {
        let sql = "SELECT current_setting('statement_timeout') || current_setting('default_transaction_read_only') || \
                   (SELECT count(*) FROM pg_prepared_statements)";
        assert_eq!(value(&through, sql).unwrap(), "0off0");
    }
    assert!(!serving.process.log().contains("lost"), "{}", serving.process.log());
}

#[test]
fn a_client_that_goes_leaves_no_transaction_in_the_pool() {
    let Some(pooled) = Pooled::new(Database::seeded_copy(), &[]) else { return };
    let mut serving = pooled.serve("workers = 1\n[database.slow]\nconnections = 1");
    for _ in 0..3 {
        let mut client = Client::connect(serving.address).unwrap();
        client.send(&rig::http::head("GET", "/rows/3000000", "origin", &[], b"")).unwrap();
        assert_eq!(client.head().unwrap().status, 200);
        client.chunk().unwrap().unwrap();
        drop(client);
        assert_eq!(
            serving.get("/rows/1").text(),
            format!("[{{\"n\":1,\"filling\":\"{}\"}}]", "x".repeat(80))
        );
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    for url in [&pooled.direct.primary, &pooled.direct.replica] {
        pooled.direct.until(url, open, |row| row[0] == "0");
    }
}

#[test]
fn statements_have_their_time_through_a_pooler_too() {
    let Some(pooled) = Pooled::new(Database::seeded_copy(), &[]) else { return };
    let serving =
        pooled.serve("workers = 1\n[database]\nstatement_timeout = \"100ms\"\npooler = \"transaction\"");
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event = 'PgSleep'";
    for _ in 0..2 {
        let read = Client::connect(serving.address).unwrap().get("/slow", &[]).unwrap();
        assert_eq!(read.status, 504, "{}", read.text());
        for fields in [&[][..], &[("Idempotency-Key", "slow")]] {
            let written = write(&serving, "/slow", fields, "");
            assert_eq!(written.status, 504, "{fields:?}: {}", written.text());
        }
        assert_eq!(pooled.direct.value(running), "0");
    }
    // Its sessions are as good as before.
    assert_eq!(Client::connect(serving.address).unwrap().get("/settings", &[]).unwrap().status, 200);
    // What needs sessions of its own says so.
    for command in [&["check"] as &[_], &["migrate"], &["seed", "--resources", "10"]] {
        let said = pooled.through.run(command);
        said.expect_code(1);
        assert!(said.err.contains("give the URL of the server itself"), "{command:?}: {}", said.err);
    }
    // As it was told, nothing had to be found out.
    assert!(!serving.process.log().contains("taken for a pooler"), "{}", serving.process.log());
}

#[test]
fn query_files_are_replaced_under_requests_through_a_pooler() {
    let Some(pooled) = Pooled::new(Database::empty(), &[]) else { return };
    let folder = Folder::new();
    let file = |version: u64| {
        format!("-- route: GET /version\n-- rows: one\n-- read: primary\n\nSELECT '{version}'::json AS body")
    };
    let config = folder.config("workers = 1", &[("version.sql", &file(0))]);
    let serve = ["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()];
    let mut serving = Serving::start(&mut pooled.through.command(&serve));
    let (address, is_over) = (serving.address, AtomicBool::new(false));
    let ask = || {
        let mut client = Client::connect(address).unwrap();
        let mut last = 0;
        while !is_over.load(Ordering::Relaxed) {
            let response = client.get("/version", &[]).unwrap();
            assert_eq!(response.status, 200, "{}", response.text());
            let version: u64 = response.text().trim().parse().unwrap();
            assert!(version >= last, "{version} after {last}");
            last = version;
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        for version in 1..=20 {
            folder.write("queries/version.sql", &file(version));
            serving.process.signal("HUP").unwrap();
            let generation = format!("\"generation\": {},\n", version + 1);
            serving.until("/api/status", |response| response.text().contains(&generation));
            assert_eq!(serving.json("/version"), version);
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    // Through the pooler, so of the sessions that it shares.
    let left = value(&pooled.through.primary, "SELECT count(*) FROM pg_prepared_statements");
    assert_eq!(left.unwrap(), "0");
}
