//! `larder-origin check`, and the plans of what ships.

use crate::support::{Database, Folder};

#[test]
fn what_ships_is_good_on_both_servers_filled_and_empty() {
    let said = Database::seeded().run(&["check"]);
    assert!(said.expect_code(0).out.ends_with(" statements on 2 servers: good\n"), "{said:?}");
    let database = Database::empty();
    database.run(&["migrate"]).expect_code(0);
    crate::support::cluster().wait_for_replica().unwrap();
    database.run(&["check"]).expect_code(0);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let folder = Folder::new();
    let config = folder.config(
        "",
        &[
            (
                "columns.sql",
                "-- route: GET /columns/{id}\n-- param id: path int4\n-- rows: one\n-- tags: user:{idd} team:{created_at}\n\n\
                 SELECT to_jsonb(u) AS body, id, created_at, name\nFROM users u WHERE id = :id",
            ),
            (
                "number.sql",
                "-- route: GET /number\n-- param limit: query int8 1..10 = 5\n-- param page: query int8 1..9 = 1\n-- rows: page\n\
                 -- total: estimate\n-- body: columns\n\n\
                 SELECT id, id AS _spare, now() - created_at AS age, '' AS \"a.b\", '' AS a FROM users\n\
                 ORDER BY id OFFSET :offset LIMIT :limit",
            ),
            ("syntax.sql", "-- route: GET /syntax\n-- rows: many\n\nSELECT '{}'::json AS body\nFORM users"),
            ("name.sql", "-- route: GET /name\n-- rows: many\n\nSELECT '{}'::json AS body\nFROM users u\nWHERE u.nmae = 'x'"),
            (
                "scan.sql",
                "-- route: GET /scan\n-- param views: query int4 required\n-- rows: many\n-- index: resource_by_view resource_by_score\n\n\
                 SELECT row_to_json(r) AS body\nFROM resources r WHERE views = :views",
            ),
            (
                "sort.sql",
                "-- route: GET /sort\n-- rows: many\n\n\
                 SELECT row_to_json(r) AS body\nFROM resources r\nORDER BY views LIMIT 10",
            ),
            (
                "page.sql",
                "-- route: GET /page\n-- param limit: query int8 1..10 = 5\n-- rows: cursor\n-- index: resource_page\n\n\
                 SELECT row_to_json(r) AS body, score, created_at FROM resources r\nWHERE NOT is_deleted\n\
                 AND (created_at, views) < (:after_created_at, :after_views) -- when cursor\nORDER BY created_at, views LIMIT :limit",
            ),
        ],
    );
    let said = Database::seeded().run(&["check", "-c", config.to_str().unwrap()]);
    said.expect_code(64);
    // Between them the lines that they are about.
    let faults: Vec<&str> = said
        .err
        .trim_start_matches("larder-origin: ")
        .lines()
        .filter(|line| !line.starts_with("    "))
        .collect();
    let expected = [
        "columns.sql:1:11: column `body` is jsonb; make it json, for example with `::json`",
        "columns.sql:1:11: column `id` is neither `body` nor the value of a tag or the cursor",
        "columns.sql:1:11: column `name` is neither `body` nor the value of a tag or the cursor",
        "columns.sql:2:10: param `id` is declared int4, but Postgres takes it for int8",
        "columns.sql:4:10: `{idd}` is neither a parameter nor a column; did you mean \"id\"?",
        "columns.sql:4:21: `{created_at}` is timestamptz; a tag is made of text, whole numbers, UUIDs or booleans",
        "name.sql:6:7: column u.nmae does not exist",
        "number.sql:1:11: `rows: page` needs a column `_total`, the number of all rows",
        "number.sql:1:11: column `_spare` is not the value of a tag or the cursor",
        "number.sql:1:11: column `age` is interval, which `body: columns` cannot write; cast it to text",
        "number.sql:1:11: two columns are called `a`",
        "page.sql:1:11: `:after_views` needs a column `views` or `_views` in the result",
        "page.sql:1:11: column `score` is neither `body` nor the value of a tag or the cursor",
        "scan.sql:4:11: the database has no index `resource_by_view`; did you mean",
        "scan.sql:4:28: no plan of this file uses the index `resource_by_score`: they use none",
        "scan.sql:7:6: the plan reads all of `resources`, about 20000 rows; an index on what its condition compares would serve",
        "sort.sql:5:6: the plan reads all of `resources`",
        "sort.sql:6:1: the plan sorts about 20000 rows",
        "syntax.sql:5:1: syntax error at or near \"FORM\"",
    ];
    let folder_text = config.parent().unwrap().join("queries").display().to_string();
    assert_eq!(faults.len(), expected.len(), "{}", said.err);
    for (fault, expected) in faults.iter().zip(expected) {
        let fault = fault.strip_prefix(&folder_text).and_then(|rest| rest.strip_prefix('/')).unwrap();
        assert!(fault.starts_with(expected), "{fault}\nis not\n{expected}");
    }
}

#[test]
fn what_postgres_refuses_is_shown_where_the_file_says_it() {
    let folder = Folder::new();
    let statement = "-- route: GET /shifted/{public_id}\n-- param public_id: path text\n-- param kind: query text\n-- rows: many\n\n\
                     SELECT '{}'::json AS body FROM users u\nWHERE u.handle <> 'é :no'\n\
                     AND u.name = :kind -- when kind\n  AND u.public_id = :public_id AND u.nmae = :public_id";
    let untyped = "-- route: GET /untyped\n-- param any: query text\n-- rows: many\n\n\
                   SELECT '{}'::json AS body WHERE\n:any IS NULL";
    let config = folder.config("", &[("shifted.sql", statement), ("untyped.sql", untyped)]);
    let said = Database::seeded().run(&["check", "-c", config.to_str().unwrap()]);
    said.expect_code(64);
    let shifted = "shifted.sql:9:36: column u.nmae does not exist (Perhaps you meant to reference the column \"u.name\".) \
                   [SQLSTATE 42703]\n      AND u.public_id = :public_id AND u.nmae = :public_id\n                                       ^\n";
    assert!(said.err.contains(shifted), "{}", said.err);
    let untyped = "untyped.sql:6:1: could not determine data type of parameter :any [SQLSTATE 42P18]; say which, as in \
                   `:name::text`\n    :any IS NULL\n    ^";
    assert!(said.err.contains(untyped), "{}", said.err);
}

#[test]
fn reads_that_write_and_stored_answers_that_would_differ_are_said_and_nothing_is_executed() {
    let folder = Folder::new();
    let head = |route: &str| format!("-- route: {route}\n-- rows: one\n-- cache: max-age=60\n\n");
    let file = |route: &str, sql: &str| format!("{}{sql}", head(route));
    let files = [
        ("dice.sql", file("GET /dice", "SELECT json_build_object('n', random()) AS body")),
        ("fresh.sql", "-- route: GET /fresh\n-- rows: one\n\nSELECT to_json(random()) AS body".to_owned()),
        ("lock.sql", file("GET /lock", "SELECT to_json(n) AS body FROM things FOR UPDATE")),
        ("own.sql", file("GET /own", "SELECT to_json(pick(n)) AS body\nFROM things")),
        ("put.sql", file("GET /put", "INSERT INTO things VALUES (2) RETURNING to_json(n) AS body")),
        ("view.sql", file("GET /view", "SELECT to_json(at) AS body FROM clock")),
        ("time.sql", file("GET /time", "SELECT to_json(now()) AS body")),
        ("write.sql", "-- route: POST /things\n-- rows: one\n\nINSERT INTO things VALUES (3) RETURNING to_json(n) AS body".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let config = folder.config("", &files);
    let database = Database::empty();
    database.sql("CREATE TABLE things (n int)");
    database.sql("INSERT INTO things VALUES (1)");
    database.sql("CREATE VIEW clock AS SELECT clock_timestamp() AS at");
    database.sql("CREATE FUNCTION pick(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN n; END'");
    crate::support::cluster().wait_for_replica().unwrap();
    // On the replica alone, which nothing could change.
    let mut command = database.command(&["check", "-c", config.to_str().unwrap()]);
    let said =
        crate::support::Said::of(command.env("DATABASE_URL", &database.replica).env_remove("REPLICA_URLS"));
    let faults: Vec<&str> = said.expect_code(64).err.lines().filter(|line| line.contains(".sql:")).collect();
    let expected = [
        "dice.sql:5:31: `random` is volatile",
        "lock.sql:1:11: the plan changes or locks rows, and GET only reads",
        "own.sql:5:16: `pick` is volatile",
        "put.sql:1:11: the plan changes or locks rows",
        "view.sql:1:11: `clock_timestamp` is volatile",
    ];
    assert_eq!(faults.len(), expected.len(), "{}", said.err);
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.contains(expected), "{fault}\nis not\n{expected}");
    }
    database.run(&["check", "-c", config.to_str().unwrap()]).expect_code(64);
    assert_eq!(database.value("SELECT count(*) FROM things"), "1");
}

#[test]
fn a_page_planned_for_a_tenth_of_the_table_is_said() {
    let folder = Folder::new();
    // A tenth of this is more than any page.
    let file = "-- route: GET /page\n-- param limit: query int8 1..10 = 5\n-- rows: cursor\n\n\
                SELECT '{}'::json AS body, n FROM generate_series(1, 500000) n WHERE true\n\
                AND n > :after_n -- when cursor\nORDER BY n LIMIT :limit";
    let config = folder.config("", &[("page.sql", file)]);
    let said = Database::seeded().run(&["check", "-c", config.to_str().unwrap()]);
    assert!(
        said.expect_code(64).err.contains("page.sql:7:12: the plan is made for about 50000 rows"),
        "{said:?}"
    );
}

#[test]
fn a_server_that_cannot_be_reached_is_named() {
    let database = Database::seeded();
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = database.command(&["check"]);
    let replicas = format!("{},postgres://nobody@{nowhere}/none", database.replica);
    let said = crate::support::Said::of(command.env("REPLICA_URLS", replicas));
    assert!(said.expect_code(1).err.contains(&format!("replica-2 ({nowhere}/none): ")), "{said:?}");
}

#[test]
fn bad_plans_are_warnings_while_serving() {
    let file = "-- route: GET /scan\n-- param views: query int4 required\n-- rows: many\n\n\
                SELECT row_to_json(r) AS body\nFROM resources r WHERE views = :views";
    let mut serving = Database::seeded().serve_with("", &[("scan.sql", file)]);
    serving.process.wait_for_line("scan.sql:6:6: the plan reads all of `resources`").unwrap();
    assert_eq!(serving.get("/scan?views=-1").text(), "[]");
}
