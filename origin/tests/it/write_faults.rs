//! Writes when the database says no, is not to be written to, or goes away in the middle.

use std::thread;

use rig::http::{Client, Response};
use rig::postgres::{Cluster, query, value};
use serde_json::{Value, json};

use crate::support::{Database, Serving, Session};

fn send(serving: &Serving, method: &str, target: &str, fields: &[(&str, &str)], body: &Value) -> Response {
    let fields = [&[("Content-Type", "application/json")], fields].concat();
    let mut client = Client::connect(serving.address).unwrap();
    client.call(method, target, &fields, body.to_string().as_bytes()).unwrap()
}

#[track_caller]
fn problem(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status, "{response:?}: {}", response.text());
    assert_eq!(response.field("content-type"), Some("application/problem+json"));
    serde_json::from_slice(&response.body).unwrap()
}

const NEW: &str = "/resources";

fn body(name: &str) -> Value {
    json!({"resourceType": "Note", "name": name})
}

fn made(url: &str, name: &str) -> i64 {
    value(url, &format!("SELECT count(*) FROM resource_versions WHERE name = '{name}'"))
        .unwrap()
        .parse()
        .unwrap()
}

const RAISE: &str = "-- route: POST /raise
-- param code: body text required
-- rows: one

SELECT raise_code(:code) AS body
";

/// Fails with 40001 as often as the table says, in spite of the rollback: what a sequence gives is given.
const FLAKY: &str = "-- route: POST /flaky
-- param failures: body int8 required
-- rows: one
-- idempotency: optional

SELECT flaky(:failures) AS body
";

#[test]
fn a_write_never_goes_to_a_replica() {
    let database = Database::seeded_copy();
    // All that it is told of is the replica.
    let mut command = crate::support::origin(&["serve", "--listen", "127.0.0.1:0"]);
    let mut serving = Serving::start(command.env("DATABASE_URL", &database.replica));
    assert_eq!(serving.get("/resources").status, 200);
    let response = send(&serving, "POST", NEW, &[], &body("replica"));
    problem(&response, 503);
    assert_eq!(response.field("retry-after"), Some("1"));
}

#[test]
fn each_sqlstate_has_its_status() {
    let database = Database::seeded_copy();
    database.sql(
        "CREATE FUNCTION raise_code(code text) RETURNS json LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'secret' USING ERRCODE = code, DETAIL = 'secret', HINT = 'secret', CONSTRAINT = 'a_rule'; END $$",
    );
    let serving = database.serve_with("", &[("raise.sql", RAISE)]);
    for (code, status, retry_after) in [
        ("23505", 409, None),
        ("23P01", 409, None),
        ("23503", 422, None),
        ("23514", 422, None),
        ("23502", 422, None),
        ("22P02", 422, None),
        ("22003", 422, None),
        ("P0001", 422, None),
        ("40001", 503, Some("1")),
        ("40P01", 503, Some("1")),
        ("55P03", 503, Some("1")),
        ("53100", 503, Some("1")),
        ("25006", 503, Some("1")),
        ("57014", 504, None),
        ("40003", 503, None),
        ("42501", 500, None),
        ("XX000", 500, None),
    ] {
        let response = send(&serving, "POST", "/raise", &[], &json!({"code": code}));
        let problem = problem(&response, status);
        assert_eq!(response.field("retry-after"), retry_after, "{code}");
        assert!(!problem.to_string().contains("secret"), "{code}: {problem}");
        if matches!(status, 409 | 422) {
            assert_eq!((&problem["constraint"], &problem["sqlstate"]), (&json!("a_rule"), &json!(code)));
        }
        assert_eq!(problem["outcome"] == "unknown", code == "40003", "{code}");
    }
}

#[test]
fn what_lost_against_another_transaction_is_tried_once_more() {
    let database = Database::seeded_copy();
    database.sql(
        "CREATE SEQUENCE tries MINVALUE 0; CREATE FUNCTION flaky(failures int8) RETURNS json LANGUAGE plpgsql AS \
         $$ BEGIN IF nextval('tries') < failures THEN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END IF; RETURN '{}'; END $$",
    );
    let serving = database.serve_with("", &[("flaky.sql", FLAKY)]);
    for fields in [&[][..], &[("Idempotency-Key", "a")]] {
        for (failures, status, tries) in [(0, 200, 1), (1, 200, 2), (2, 503, 2)] {
            if failures > 0 && !fields.is_empty() {
                database.sql("DELETE FROM larder_idempotency");
            }
            database.sql("ALTER SEQUENCE tries RESTART");
            let response = send(&serving, "POST", "/flaky", fields, &json!({"failures": failures}));
            assert_eq!(response.status, status, "{}", response.text());
            assert_eq!(database.value("SELECT last_value + 1 FROM tries"), tries.to_string());
        }
    }
}

/// Whoever makes a resource of this user has inserted all its rows, and waits to check that the user is still there.
const LOCK_USER: &str = "BEGIN; SELECT FROM users WHERE id = 1 FOR UPDATE";

fn body_of_user(database: &Database, name: &str) -> Value {
    let user = database.value("SELECT public_id FROM users WHERE id = 1");
    json!({"resourceType": "Note", "name": name, "createdBy": user})
}

#[test]
fn a_connection_that_is_killed_leaves_nothing_half_done() {
    let database = Database::seeded_copy();
    let serving = database.serve();
    let resources = database.value("SELECT count(*) FROM resources").parse::<i64>().unwrap();
    let kill = |pid: &str| database.value(&format!("SELECT pg_terminate_backend({pid}, 60000)"));
    for (nth, fields) in [&[][..], &[("Idempotency-Key", "killed")]].into_iter().enumerate() {
        let name = format!("killed {nth}");
        let body = body_of_user(&database, &name);
        let mut lock = Session::new(&database.primary);
        lock.run(LOCK_USER);
        thread::scope(|scope| {
            let (serving, body) = (&serving, &body);
            let post = scope.spawn(move || send(serving, "POST", NEW, fields, body));
            for _ in 0..3 {
                kill(&database.until_waiting("Lock", 1));
            }
            let response = post.join().unwrap();
            problem(&response, 503);
            assert_eq!(response.field("retry-after"), Some("1"));
        });
        lock.run("COMMIT");
        assert_eq!(made(&database.primary, &name), 0);
        let now = database.value("SELECT count(*) FROM resources").parse::<i64>().unwrap();
        assert_eq!(now, resources + i64::try_from(nth).unwrap());

        // Killed once, it is done by another connection.
        lock.run(LOCK_USER);
        thread::scope(|scope| {
            let (serving, body) = (&serving, &body);
            let post = scope.spawn(move || send(serving, "POST", NEW, fields, body));
            kill(&database.until_waiting("Lock", 1));
            database.until_waiting("Lock", 1);
            lock.run("COMMIT");
            let response = post.join().unwrap();
            assert_eq!(response.status, 201, "{}", response.text());
        });
        assert_eq!(made(&database.primary, &name), 1);
    }
}

#[test]
fn a_client_that_goes_away_leaves_no_transaction_behind() {
    let database = Database::seeded_copy();
    let serving = database.serve();
    let mut lock = Session::new(&database.primary);
    lock.run(LOCK_USER);
    let body = body_of_user(&database, "gone");
    let text = body.to_string();
    let fields = [("Content-Type", "application/json"), ("Idempotency-Key", "gone")];
    let mut client = Client::connect(serving.address).unwrap();
    client.send(&rig::http::head("POST", NEW, "x", &fields, text.as_bytes())).unwrap();
    client.send(text.as_bytes()).unwrap();
    database.until_waiting("Lock", 1);
    drop(client);
    lock.run("COMMIT");
    // It was taken on, and is done; who asks again is told so.
    let again = send(&serving, "POST", NEW, &[("Idempotency-Key", "gone")], &body);
    assert_eq!((again.status, again.field("idempotency-replayed")), (201, Some("true")));
    assert_eq!(made(&database.primary, "gone"), 1);
    let idle =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
    database.until(&database.primary, idle, |row| row[0] == "0");
}

#[test]
fn who_waits_too_long_for_a_lock_gives_its_connection_back() {
    let database = Database::seeded_copy();
    let serving = database.serve_with("[database.write]\nstatement_timeout = \"3s\"", &[]);
    let mut lock = Session::new(&database.primary);
    lock.run(LOCK_USER);
    let body = body_of_user(&database, "locked out");
    let response = send(&serving, "POST", NEW, &[], &body);
    problem(&response, 503);
    assert_eq!(response.field("retry-after"), Some("1"));
    assert_eq!(made(&database.primary, "locked out"), 0);
    lock.run("COMMIT");
    assert_eq!(send(&serving, "POST", NEW, &[], &body).status, 201);
}

/// A cluster of its own, since what is done to it would disturb others.
fn own_cluster() -> (Cluster, Database) {
    let cluster = Cluster::start().unwrap();
    let database = Database::of(&cluster, "postgres");
    database.run(&["migrate"]).expect_code(0);
    cluster.wait_for_replica().unwrap();
    (cluster, database)
}

#[test]
fn a_write_whose_end_is_not_known_says_so_or_finds_out() {
    let (_cluster, database) = own_cluster();
    let serving = database.serve();
    assert_eq!(send(&serving, "POST", NEW, &[], &body("first")).status, 201);
    // From here on a commit is durable and waits for a standby that does not exist before it is told.
    let nobody = |is_wanted: bool| {
        let name = if is_wanted { "nobody" } else { "" };
        query(&database.primary, &format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'")).unwrap();
        query(&database.primary, "SELECT pg_reload_conf()").unwrap();
        let wanted = format!("SELECT current_setting('synchronous_standby_names') = '{name}'");
        database.until(&database.primary, &wanted, |row| row[0] == "t");
    };
    for (name, fields) in [("no key", &[][..]), ("with key", &[("Idempotency-Key", "lost")])] {
        nobody(true);
        let response = thread::scope(|scope| {
            let serving = &serving;
            let post = scope.spawn(move || send(serving, "POST", NEW, fields, &body(name)));
            let pid = database.until_waiting("IPC", 1);
            query(&database.primary, &format!("SELECT pg_terminate_backend({pid})")).unwrap();
            post.join().unwrap()
        });
        nobody(false);
        if fields.is_empty() {
            let problem = problem(&response, 503);
            assert_eq!((&problem["outcome"], response.field("retry-after")), (&json!("unknown"), None));
        } else {
            assert_eq!((response.status, response.field("idempotency-replayed")), (201, Some("true")));
        }
        assert_eq!(made(&database.primary, name), 1);
    }
}

#[test]
fn without_a_primary_that_takes_writes_they_are_refused_and_can_be_sent_again() {
    let (cluster, database) = own_cluster();
    query(&database.primary, "ALTER SYSTEM SET default_transaction_read_only = on").unwrap();
    query(&database.primary, "SELECT pg_reload_conf()").unwrap();
    let read_only = "SELECT current_setting('default_transaction_read_only')";
    database.until(&database.primary, read_only, |row| row[0] == "on");
    let mut serving = database.serve();
    let refused = |serving: &Serving, fields: &[(&str, &str)]| {
        let response = send(serving, "POST", NEW, fields, &body("refused"));
        problem(&response, 503);
        assert_eq!(response.field("retry-after"), Some("1"));
    };
    refused(&serving, &[]);
    refused(&serving, &[("Idempotency-Key", "a")]);
    assert_eq!(serving.get("/resources").status, 200);

    query(&database.primary, "ALTER SYSTEM RESET default_transaction_read_only").unwrap();
    query(&database.primary, "SELECT pg_reload_conf()").unwrap();
    database.until(&database.primary, read_only, |row| row[0] == "off");
    assert_eq!(send(&serving, "POST", NEW, &[("Idempotency-Key", "a")], &body("there")).status, 201);
    assert_eq!(made(&database.primary, "refused"), 0);

    cluster.wait_for_replica().unwrap();
    cluster.kill_primary().unwrap();
    refused(&serving, &[]);
    // The replica reads on, and takes no write.
    assert_eq!(serving.get("/resources").status, 200);
    cluster.start_primary().unwrap();
    serving.until("/-/readyz", |response| response.status == 200);
    let mut again = send(&serving, "POST", NEW, &[], &body("back"));
    while again.status == 503 {
        thread::yield_now();
        again = send(&serving, "POST", NEW, &[], &body("back"));
    }
    assert_eq!(again.status, 201);
    assert_eq!(made(&database.primary, "back"), 1);
}
