//! `larder-origin new endpoint`: what it writes loads and passes `check`, and answers.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Database, Folder, Said, Serving, origin};

/// A folder with a configuration whose folder of query files is there, with nothing in it that is answered.
fn begun() -> (Folder, PathBuf) {
    let folder = Folder::new();
    let first = "-- route: GET /there\n-- rows: one\n\nSELECT '1'::json AS body\n";
    let config = folder.config("", &[("there.sql", first)]);
    (folder, config)
}

fn new(database: &Database, config: &Path, route: &str, more: &[&str]) -> Said {
    let mut arguments = vec!["new", "endpoint", route, "-c", config.to_str().unwrap()];
    arguments.extend(more);
    database.run(&arguments)
}

#[track_caller]
fn written(config: &Path, name: &str) -> String {
    fs::read_to_string(config.parent().unwrap().join("queries").join(name)).unwrap()
}

#[test]
fn a_row_and_a_page_of_every_table_that_ships_pass_check() {
    let (_folder, config) = begun();
    let database = Database::seeded();
    let tables = database.sql(
        "SELECT c.relname, string_agg('{' || a.attname || '}', '/' ORDER BY array_position(i.indkey::int2[], a.attnum)) \
         FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) \
         WHERE c.relnamespace = 'public'::regnamespace GROUP BY 1 ORDER BY 1",
    );
    assert!(tables.len() >= 14, "{tables:?}");
    let mut files = 1;
    for row in &tables {
        let [Some(table), Some(key)] = row.as_slice() else { panic!("{row:?}") };
        let said = new(&database, &config, &format!("GET /{table}/{key}"), &[]);
        said.expect_code(0);
        assert_eq!(said.err, "", "{table}");
        files += 1;
        let page = new(&database, &config, &format!("GET /{table}"), &[]);
        if table == "larder_idempotency" {
            page.expect_code(1);
            assert!(page.err.contains("`key` of `larder_idempotency` is bytea, which a cursor cannot hold"));
            continue;
        }
        page.expect_code(0);
        assert_eq!(page.err, "", "{table}");
        files += 1;
        for (route, name) in [
            (format!("POST /{table}"), "create"),
            (format!("PATCH /{table}/{key}"), "update"),
            (format!("DELETE /{table}/{key}"), "delete"),
        ] {
            let said = new(&database, &config, &route, &[]);
            if name == "update" && table == "resource_tags" {
                assert!(
                    said.expect_code(1).err.contains("has no column that a PATCH could change"),
                    "{said:?}"
                );
                continue;
            }
            said.expect_code(0);
            assert_eq!(said.err, "", "{route}");
            files += 1;
        }
    }
    for (route, name, expected) in [
        ("GET /users/by-name/{handle}", "user_by_handle.sql", "-- tags: user:{id} user:{handle}"),
        ("GET /chats/{chat_id}/messages", "chat_messages.sql", "-- index: chat_message_page\n"),
        (
            "GET /teams/{public_id}/chats",
            "team_chats.sql",
            "-- table chats: team:{team_id.public_id}:chats chat:{id}\n-- table teams: team:{public_id}:chats\n",
        ),
        ("GET /resource-tags", "tags_of_resources.sql", "    ORDER BY r.resource_id, r.tag_id  "),
        (
            "GET /teams/{public_id}/members/{user_id}",
            "team_member.sql",
            "-- tags: member:{id} team:{public_id}\n-- table members: member:{id}\n-- table teams: team:{public_id}\n",
        ),
        ("GET /users/{id}/runs", "user_runs.sql", "-- tags: user:{id}:runs run:{run_id}\n"),
    ] {
        let table = if name == "user_by_handle.sql" { vec!["--table", "users"] } else { vec![] };
        let output = config.parent().unwrap().join("queries").join(name);
        let mut more = vec!["-o", output.to_str().unwrap()];
        more.extend(table);
        let said = new(&database, &config, route, &more);
        said.expect_code(0);
        assert_eq!(said.err, "", "{route}");
        assert!(written(&config, name).contains(expected), "{}", written(&config, name));
        files += 1;
    }
    let said = database.run(&["check", "-c", config.to_str().unwrap()]);
    said.expect_code(0);
    assert!(said.out.contains(&format!("{files} endpoints, ")), "{said:?}");
}

#[test]
fn a_page_has_the_order_of_the_index_that_serves_it() {
    let (_folder, config) = begun();
    let database = Database::seeded();
    new(&database, &config, "GET /resources", &[]).expect_code(0);
    let page = written(&config, "resources_page.sql");
    // The index of the newest has a condition, and a page of all rows does not.
    assert!(page.contains("    ORDER BY r.id      "), "{page}");
    assert!(page.contains("\n-- index: resources_pkey\n"), "{page}");
    assert!(page.contains("the index resource_page would give them newest first."), "{page}");
    new(&database, &config, "GET /teams/{team_id}/chats", &[]).expect_code(0);
    let page = written(&config, "team_chats.sql");
    for expected in [
        "\n-- summary: Chats of one team, newest first, in pages\n",
        "\n-- param team_id: path int8\n-- param limit: query int8 1..100 = 20\n",
        "\n-- tags: team:{team_id}:chats chat:{id}\n-- table chats: team:{team_id}:chats chat:{id}\n-- cache: ",
        "\n-- index: chat_by_team\n",
        "\n    WHERE c.team_id = :team_id\n      AND (c.created_at, c.id) < (:after_created_at, :after_id)   -- when cursor\n",
    ] {
        assert!(page.contains(expected), "{page}");
    }
    let said = new(&database, &config, "GET /teams/{team_id}/resources", &[]);
    let advice = "no index of `resources` begins with (team_id) and goes on in an order for pages; this one would:\n  \
                  CREATE INDEX ON resources (team_id, created_at DESC, id DESC)\n";
    assert!(said.expect_code(1).err.contains(advice), "{said:?}");
}

#[test]
fn odd_names_and_keys_of_several_columns_answer() {
    let (_folder, config) = begun();
    let database = Database::empty();
    database.sql("CREATE TYPE mood AS ENUM ('sad', 'glad')");
    database.sql("CREATE DOMAIN sku AS text CHECK (value <> '')");
    database.sql(
        "CREATE TABLE \"Order Lines\" (\"Order No\" int, \"select\" varchar(20), sku sku NOT NULL, _secret text, \"a.b\" int, mood mood, \
         took interval, tags text[], data jsonb, doubled int GENERATED ALWAYS AS (\"Order No\" * 2) STORED, \
         version int NOT NULL DEFAULT 1, PRIMARY KEY (\"Order No\", \"select\"))",
    );
    database.sql("INSERT INTO \"Order Lines\" SELECT 1, n, 's', 'x', 2, 'glad', '1 day' FROM generate_series(101, 105) n");
    let line = "/order-lines/{order_no}/{select}";
    for (route, more) in [
        ("GET /order-lines".to_owned(), vec![]),
        (format!("GET {line}"), vec![]),
        ("POST /order-lines".to_owned(), vec!["--table", "Order Lines"]),
        (format!("PATCH {line}"), vec!["--table", "public.Order Lines"]),
        (format!("DELETE {line}"), vec![]),
    ] {
        let said = new(&database, &config, &route, &more);
        said.expect_code(0);
        assert_eq!(said.err, "", "{route}");
    }
    crate::support::cluster().wait_for_replica().unwrap();
    database.run(&["check", "-c", config.to_str().unwrap()]).expect_code(0);
    let serve = ["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()];
    let mut command = database.command(&serve);
    // What is written is read at once.
    let mut serving = Serving::start(command.env_remove("REPLICA_URLS"));

    let one = serving.get("/order-lines/1/101");
    let expected = r#"{"Order No":1,"select":"101","sku":"s","secret":"x","aB":2,"mood":"glad","took":"1 day","tags":null,"data":null,"doubled":2,"version":1}"#;
    assert_eq!((one.status, one.text().as_str()), (200, expected));
    assert_eq!(one.field("cache-tag"), Some("order_line:1:101"));
    // Another spelling of the same row, and a change of that row finds it.
    assert_eq!(serving.get("/order-lines/+01/101").field("cache-tag"), Some("order_line:1:101"));
    let first = serving.json("/order-lines?limit=2");
    let next =
        serving.json(&format!("/order-lines?limit=2&cursor={}", first["nextCursor"].as_str().unwrap()));
    assert_eq!(next["items"][0]["select"], "103", "{next}");
    let back =
        serving.json(&format!("/order-lines?limit=2&before={}", next["previousCursor"].as_str().unwrap()));
    assert_eq!(back["items"], first["items"]);

    let mut client = rig::http::Client::connect(serving.address).unwrap();
    let json = [("content-type", "application/json")];
    let body = br#"{"orderNo": 7, "select": "x y", "sku": "t", "tags": ["a", "b"], "data": {"k": 1}}"#;
    let made = client.call("POST", "/order-lines", &json, body).unwrap();
    assert_eq!((made.status, made.field("location")), (201, Some("/order-lines/7/x%20y")), "{}", made.text());
    let missing = client.call("POST", "/order-lines", &json, br#"{"orderNo": 8}"#).unwrap();
    assert_eq!(missing.status, 422, "{}", missing.text());
    let etag = made.field("etag").unwrap().to_owned();
    let with_version = [("content-type", "application/json"), ("if-match", etag.as_str())];
    let target = "/order-lines/7/x%20y";
    let changed = client.call("PATCH", target, &with_version, br#"{"mood": "sad", "tags": null}"#).unwrap();
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert!(
        changed.text().contains(r#""mood":"sad""#)
            && changed.text().contains(r#""tags":null,"data":{"k": 1}"#)
    );
    assert_eq!(client.call("PATCH", target, &with_version, br#"{"sku": "u"}"#).unwrap().status, 412);
    assert_eq!(client.call("DELETE", target, &[], b"").unwrap().status, 204);
    assert_eq!(client.call("DELETE", target, &[], b"").unwrap().status, 404);
}

#[test]
fn a_table_without_a_key_a_view_and_a_key_that_is_not_named_are_refused_with_what_there_is() {
    let (_folder, config) = begun();
    let database = Database::empty();
    database.sql("CREATE TABLE pairs (a int, b int, note text, PRIMARY KEY (a, b))");
    database.sql("CREATE TABLE log_lines (at timestamptz NOT NULL, line text)");
    database.sql("CREATE VIEW recent AS SELECT * FROM log_lines");
    database.sql("CREATE TABLE maybe (code text UNIQUE)");
    database.sql("CREATE SCHEMA one");
    database.sql("CREATE SCHEMA two");
    database.sql("CREATE TABLE one.twins (id int PRIMARY KEY)");
    database.sql("CREATE TABLE two.twins (id int PRIMARY KEY)");
    for (route, expected) in [
        ("GET /log-lines", "`log_lines` has no primary key"),
        ("GET /log-lines/{at}", "`log_lines` has no primary key"),
        ("GET /maybe", "`maybe` has no primary key"),
        ("GET /recent", "`recent` has no key: it is not a table of its own"),
        ("DELETE /recent/{line}", "`recent` is not a table of its own"),
        (
            "GET /pairs/{a}",
            "`pairs` has more than one row for (a); its keys are (a, b): write for example `GET /pairs/{a}/{b}`",
        ),
        ("PATCH /pairs/{a}", "write for example `PATCH /pairs/{a}/{b}`"),
        ("GET /pairs/{c}", "`{c}` is no column of `pairs`; did you mean \"a\"?; its keys are (a, b)"),
        ("GET /pears/{a}", "no table is called like `pears`; near are `pairs`; --table names it"),
        ("GET /{a}", "the path has no word for a table; --table names it"),
        ("GET /twins", "it could be one.twins or two.twins; --table says which"),
        ("PUT /pairs/{a}/{b}", "files are begun for GET, POST, PATCH and DELETE, not for PUT"),
        ("POST /pairs/{a}", "POST makes a row of a list, whose path ends with a word: `POST /pairs`"),
        ("GET /there", "there.sql answers `GET /there` already"),
    ] {
        let said = new(&database, &config, route, &[]);
        assert!(said.expect_code(1).err.contains(expected), "{route}: {}", said.err);
    }
    let said = new(&database, &config, "GET /pairs/{a}/{b}", &["--table", "pair"]);
    assert!(said.expect_code(1).err.contains("there is no table `pair`; near are `pairs`"), "{said:?}");
    let said = new(&database, &config, "FETCH /pairs/{A}", &[]);
    let expected = "new endpoint:1:1: method \"FETCH\" is not GET, POST, PUT, PATCH or DELETE";
    assert!(said.expect_code(64).err.contains(expected), "{said:?}");
    let said = new(&database, &config, "GET /pairs/{A}", &[]);
    assert!(said.expect_code(64).err.contains("GET /pairs/{A}\n               ^"), "{}", said.err);
    new(&database, &config, "GET /twins", &["--table", "one.twins"]).expect_code(0);
    assert!(written(&config, "twins_page.sql").contains("FROM one.twins t\n"));
    crate::support::cluster().wait_for_replica().unwrap();
    database.run(&["check", "-c", config.to_str().unwrap()]).expect_code(0);
}

#[test]
fn nothing_is_overwritten_and_without_a_folder_it_is_printed() {
    let (folder, config) = begun();
    let database = Database::empty();
    database.sql("CREATE TABLE things (id int PRIMARY KEY)");
    let file = folder.write("queries/thing.sql", "-- route: GET /other\n-- rows: lots\n");
    let said = new(&database, &config, "GET /things/{id}", &[]);
    assert!(said.expect_code(1).err.contains("thing.sql is there already, and stays as it is"), "{said:?}");
    let said = new(&database, &config, "GET /things/{id}", &["-o", file.to_str().unwrap()]);
    assert!(said.expect_code(1).err.contains("stays as it is"), "{said:?}");
    assert_eq!(written(&config, "thing.sql"), "-- route: GET /other\n-- rows: lots\n");
    // A file with faults answers its route, too.
    let said = new(&database, &config, "GET /other", &[]);
    assert!(said.expect_code(1).err.contains("thing.sql answers `GET /other` already"), "{said:?}");

    let said = database.run(&["new", "endpoint", "GET /things/{id}"]);
    said.expect_code(0);
    let expected = "-- route: GET /things/{id}
-- summary: One thing
-- param id: path int4
-- rows: one
-- body: columns
-- read: replica; max_lag: 5s
-- tags: thing:{id}
-- table things: thing:{id}
-- cache: max-age=5, s-maxage=60
-- index: things_pkey

-- Every column is here: leave out what not everyone may see. Lifetimes and tags are for you to judge.
SELECT t.id
FROM things t
WHERE t.id = :id
";
    assert_eq!((said.out.as_str(), said.err.as_str()), (expected, ""));
}

#[test]
fn without_a_server_it_is_a_skeleton_that_loads() {
    let (_folder, config) = begun();
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let routes = [
        "GET /things/{id}",
        "GET /things",
        "GET /teams/{team_id}/things",
        "POST /things",
        "PATCH /things/{key}",
        "DELETE /things/{id}",
        "GET /orders/{order_id}/lines/{no}",
    ];
    for (index, route) in routes.iter().enumerate() {
        let mut command = origin(&["new", "endpoint", route, "-c", config.to_str().unwrap()]);
        if index > 0 {
            command.env("DATABASE_URL", format!("postgres://nobody@{nowhere}/none"));
        }
        let said = Said::of(&mut command);
        said.expect_code(0);
        assert!(said.err.contains("no server was asked, so that columns and types are guesses"), "{said:?}");
        // Nobody was there to be asked, or nobody was named.
        assert_eq!(said.err.contains(&format!("primary ({nowhere}/none): ")), index > 0, "{said:?}");
    }
    let said = Said::of(&mut origin(&["openapi", "-c", config.to_str().unwrap()]));
    let document: serde_json::Value = serde_json::from_str(&said.expect_code(0).out).unwrap();
    assert_eq!(document["paths"].as_object().unwrap().len(), 6, "{document:#}");
    assert!(
        written(&config, "thing.sql")
            .contains("-- No server was asked: table, columns and types are guesses.")
    );
}
