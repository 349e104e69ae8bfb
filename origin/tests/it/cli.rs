//! Arguments, exit codes, the life of `serve`.

use std::net::TcpListener;

use crate::support::{Database, Folder, Said, Serving, origin};

#[test]
fn help_names_every_command_and_has_examples() {
    let said = Said::of(&mut origin(&["--help"]));
    said.expect_code(0);
    for word in ["serve", "check", "migrate", "seed", "new", "DATABASE_URL", "curl -i"] {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
    Said::of(&mut origin(&[])).expect_code(2);
    Said::of(&mut origin(&["serve", "--listen", "here"])).expect_code(2);
}

#[test]
fn a_bad_configuration_is_said_with_its_place_and_ends_every_command_with_64() {
    let folder = Folder::new();
    let config = folder.write("origin.toml", "lisen = 1\n[database]\nprimary = \"mysql://a@b/c\"\n");
    for command in ["serve", "check", "migrate", "seed"] {
        let said = Said::of(&mut origin(&[command, "-c", config.to_str().unwrap()]));
        said.expect_code(64);
        assert!(
            said.err.contains("origin.toml:1:1: lisen: unknown key; did you mean \"listen\"?"),
            "{}",
            said.err
        );
        assert!(said.err.contains("origin.toml:3:11: database.primary: not the URL"), "{}", said.err);

        let said = Said::of(&mut origin(&[command]));
        said.expect_code(64);
        assert!(said.err.contains("set DATABASE_URL"), "{}", said.err);
    }
}

#[test]
fn a_bad_query_file_ends_serve_and_check_with_64() {
    let folder = Folder::new();
    let config = folder.config("", &[("bad.sql", "-- route: GET /x\n-- rows: lots\nSELECT 1 AS body")]);
    for command in ["serve", "check"] {
        let mut command = origin(&[command, "-c", config.to_str().unwrap()]);
        let said = Said::of(command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"));
        said.expect_code(64);
        assert!(
            said.err.contains("bad.sql:2:10: rows `lots` are not one, many, cursor, page or exec"),
            "{}",
            said.err
        );
    }
}

#[test]
fn an_address_that_is_taken_ends_serve_with_1() {
    let database = Database::empty();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = database.run(&["serve", "--listen", &address]);
    said.expect_code(1);
    assert!(said.err.contains(&format!("cannot listen on {address}: ")), "{}", said.err);

    // Not even by one of its own kind, with which the kernel would share requests out.
    drop(taken);
    let first = Serving::start(&mut database.command(&["serve", "--listen", &address]));
    database.run(&["serve", "--listen", &address]).expect_code(1);
    drop(first);
}

#[test]
fn without_any_server_it_serves_and_says_so() {
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = origin(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("DATABASE_URL", format!("postgres://nobody@{nowhere}/none"));
    let mut serving = Serving::start(&mut command);
    assert_eq!(serving.get("/-/healthz").status, 200);
    assert_eq!(serving.get("/-/readyz").status, 503);
    let response = serving.get("/resources/res-1");
    assert_eq!((response.status, response.field("retry-after")), (503, Some("1")));
    assert_eq!(response.field("content-type"), Some("application/problem+json"));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    // What is wrong with the request is said first.
    assert_eq!(serving.get("/resources?limit=x").status, 400);
}

#[test]
fn it_becomes_ready_when_its_tables_are_there() {
    let database = Database::empty();
    let mut serving = database.serve();
    assert_eq!(serving.get("/-/readyz").status, 503);
    serving.process.wait_for_line("`larder-origin migrate` makes the tables").unwrap();
    database.run(&["migrate"]).expect_code(0);
    serving.until("/-/readyz", |response| response.status == 200);
    assert_eq!(serving.json("/resources")["items"], serde_json::json!([]));
    assert_eq!(serving.get("/resources/res-1").status, 404);
}

#[test]
fn it_stops_when_asked_to() {
    let database = Database::empty();
    for signal in ["TERM", "INT"] {
        let mut serving = database.serve();
        serving.process.signal(signal).unwrap();
        assert_eq!(serving.process.wait().unwrap().code(), Some(0), "{}", serving.process.log());
        assert!(serving.process.log().contains("stopped"));
    }
}

#[test]
fn a_request_that_is_running_is_answered_before_the_end() {
    let file = "-- route: GET /slow\n-- rows: one\n-- read: primary\n\nSELECT '1'::json AS body FROM (SELECT pg_sleep(1)) s";
    let mut serving = Database::empty().serve_with("workers = 1", &[("slow.sql", file)]);
    let mut client = rig::http::Client::connect(serving.address).unwrap();
    let answer = std::thread::scope(|scope| {
        let answer = scope.spawn(move || client.get("/slow", &[]).unwrap());
        let is_running = "larder_origin_statements_in_flight{server=\"primary\"} 1\n";
        serving.until("/-/metrics", |response| response.text().contains(is_running));
        serving.process.signal("TERM").unwrap();
        answer.join().unwrap()
    });
    assert_eq!((answer.status, answer.text().as_str()), (200, "1"));
    assert_eq!(serving.process.wait().unwrap().code(), Some(0), "{}", serving.process.log());
}

#[test]
fn a_second_signal_does_not_wait() {
    let file = "-- route: GET /slow\n-- rows: one\n-- read: primary\n\nSELECT '1'::json AS body FROM (SELECT pg_sleep(600)) s";
    let mut serving = Database::empty().serve_with("workers = 1", &[("slow.sql", file)]);
    let mut client = rig::http::Client::connect(serving.address).unwrap();
    client.send(&rig::http::head("GET", "/slow", "x", &[], b"")).unwrap();
    let is_running = "larder_origin_statements_in_flight{server=\"primary\"} 1\n";
    serving.until("/-/metrics", |response| response.text().contains(is_running));
    serving.process.signal("TERM").unwrap();
    serving.process.wait_for_line("requests that are running may finish").unwrap();
    serving.process.signal("INT").unwrap();
    assert_eq!(serving.process.wait().unwrap().code(), Some(1), "{}", serving.process.log());
}
