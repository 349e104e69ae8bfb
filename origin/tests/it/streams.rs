//! Answers that are sent while their rows are read: whole or visibly cut off, in flat memory.

use std::fs;

use rig::http::{Client, head};
use serde_json::Value;

use crate::support::{Database, Serving};

/// Rows of about a hundred bytes; the statement fails at the row that it is told, if it is told one.
const ROWS: &str = "-- route: GET /rows/{count}\n-- param count: path int8\n-- param fails_at: query int8\n\
                    -- rows: many\n-- lane: slow\n-- body: columns\n-- cache: max-age=5\n-- tags: rows rows:{count}\n\n\
                    SELECT n, repeat('x', 80) AS filling\n\
                    , 1 / (n - :fails_at) AS fraction -- when fails_at\n\
                    FROM generate_series(1::bigint, :count) n";

fn serve(database: &Database) -> Serving {
    database.serve_with("workers = 1\n[database.slow]\nconnections = 1", &[("rows.sql", ROWS)])
}

/// The most memory that the process ever had.
fn peak_kib(serving: &Serving) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", serving.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_large_answer_is_whole_and_takes_no_memory() {
    let mut serving = serve(&Database::seeded());
    let small = serving.get("/rows/3");
    assert_eq!(small.status, 200);
    let rows: Value = serde_json::from_slice(&small.body).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 3);
    assert_eq!(rows[2]["n"], 3);
    // An ETag would have to be known at the end.
    for (field, expected) in [
        ("etag", None),
        ("transfer-encoding", Some("chunked")),
        ("content-length", None),
        ("cache-control", Some("max-age=5")),
        ("cache-tag", Some("rows,rows:3")),
        ("content-type", Some("application/json")),
    ] {
        assert_eq!(small.field(field), expected, "{field}");
    }
    assert!(small.field("larder-version").is_some());
    assert_eq!(serving.get("/rows/0").text(), "[]");

    let before = peak_kib(&serving);
    let large = serving.get("/rows/400000");
    assert!(large.body.len() > 36_000_000, "{}", large.body.len());
    let rows: Vec<Value> = serde_json::from_slice(&large.body).unwrap();
    assert_eq!((rows.len(), &rows[399_999]["n"]), (400_000, &Value::from(400_000)));
    let grown = peak_kib(&serving) - before;
    assert!(grown < 8 * 1024, "{grown} KiB more");
}

#[test]
fn a_failure_on_the_way_cuts_the_connection() {
    let database = Database::seeded();
    let mut serving = serve(&database);
    for at in [2000, 200_000] {
        let mut client = Client::connect(serving.address).unwrap();
        client.send(&head("GET", &format!("/rows/300000?fails_at={at}"), "origin", &[], b"")).unwrap();
        let response = client.head().unwrap();
        assert_eq!(response.status, 200);
        let mut said = Vec::new();
        let end = loop {
            match client.chunk() {
                Ok(Some(chunk)) => said.extend(chunk),
                end => break end,
            }
        };
        assert!(end.is_err(), "{end:?}: {} bytes look whole", said.len());
        assert!(serde_json::from_slice::<Value>(&said).is_err());
        serving.process.wait_for_line("after it began to answer").unwrap();
        // The connection to the server is as good as before.
        assert_eq!(serving.get("/rows/1").status, 200);
    }
    assert!(!serving.process.log().contains("fails_at"));
}

#[test]
fn a_server_that_goes_on_the_way_cuts_the_connection() {
    // A database of its own: all its connections are ended.
    let database = Database::seeded_copy();
    let name = database.value("SELECT current_database()");
    let mut serving = serve(&database);
    let mut client = Client::connect(serving.address).unwrap();
    client.send(&head("GET", "/rows/3000000", "origin", &[], b"")).unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    client.chunk().unwrap().unwrap();
    let ended = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    );
    rig::postgres::value(&database.replica, &ended).unwrap();
    let end = loop {
        match client.chunk() {
            Ok(Some(_)) => (),
            end => break end,
        }
    };
    assert!(end.is_err(), "{end:?}");
    serving.process.wait_for_line("after it began to answer").unwrap();
    serving.until("/rows/1", |response| response.status == 200);
}

#[test]
fn a_failure_before_the_first_chunk_is_an_error_like_any_other() {
    let mut serving = serve(&Database::seeded());
    for (target, status) in [
        ("/rows/10?fails_at=1", 400),
        ("/rows/10?fails_at=7", 400),
        ("/rows/ten", 400),
        ("/rows/10?fields=none", 400),
    ] {
        let response = serving.get(target);
        assert_eq!(
            (response.status, response.field("cache-control")),
            (status, Some("no-store")),
            "{target}"
        );
        assert_eq!(response.field("content-type"), Some("application/problem+json"), "{target}");
    }
    assert_eq!(serving.get("/rows/2?fields=n").text(), "[{\"n\":1},{\"n\":2}]");
}

#[test]
fn a_client_that_goes_gives_back_the_connection() {
    let mut serving = serve(&Database::seeded());
    for _ in 0..3 {
        let mut client = Client::connect(serving.address).unwrap();
        // Far more than sockets buffer: the only slow connection is in use until the client is gone.
        client.send(&head("GET", "/rows/3000000", "origin", &[], b"")).unwrap();
        assert_eq!(client.head().unwrap().status, 200);
        client.chunk().unwrap().unwrap();
        drop(client);
        assert_eq!(serving.get("/rows/1").status, 200);
    }
    let head = serving.call("HEAD", "/rows/3", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(serving.get("/rows/1").status, 200);
}
