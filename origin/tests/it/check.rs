//! `larder-origin check`, and the plans of what ships.

use crate::support::{Database, Folder, Said, cluster};

/// A database with these tables on both servers.
fn database(sql: &[&str]) -> Database {
    let database = Database::empty();
    for sql in sql {
        database.sql(sql);
    }
    cluster().wait_for_replica().unwrap();
    database
}

fn check(database: &Database, files: &[(&str, &str)], more: &[&str]) -> Said {
    let folder = Folder::new();
    let config = folder.config("", files);
    let arguments: Vec<&str> =
        ["check", "-c", config.to_str().unwrap()].into_iter().chain(more.iter().copied()).collect();
    let mut said = database.run(&arguments);
    // Where the files are is of no account.
    let place = format!("{}/", config.parent().unwrap().join("queries").display());
    (said.out, said.err) = (said.out.replace(&place, ""), said.err.replace(&place, ""));
    said
}

/// What is said, one line each, without the lines that it is about.
fn lines(text: &str) -> Vec<&str> {
    let text = text.trim_start_matches("larder-origin: ");
    text.lines().filter(|line| !line.starts_with("    ") && line.contains(".sql:")).collect()
}

#[track_caller]
fn expect(said: &[&str], expected: &[&str]) {
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}\nis not\n{expected}");
    }
}

#[test]
fn what_ships_is_good_on_both_servers_filled_and_empty() {
    let said = Database::seeded().run(&["check"]);
    assert!(said.expect_code(0).out.ends_with(" statements on 2 servers: good\n"), "{said:?}");
    let database = Database::empty();
    database.run(&["migrate"]).expect_code(0);
    cluster().wait_for_replica().unwrap();
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
    cluster().wait_for_replica().unwrap();
    // On the replica alone, which nothing could change.
    let mut command = database.command(&["check", "-c", config.to_str().unwrap()]);
    let said = Said::of(command.env("DATABASE_URL", &database.replica).env_remove("REPLICA_URLS"));
    let faults: Vec<&str> = said.expect_code(64).err.lines().filter(|line| line.contains(".sql:")).collect();
    let expected = [
        "dice.sql:5:31: `random` is volatile",
        "lock.sql:1:11: the plan changes or locks rows, and GET only reads",
        "lock.sql:5:32: the answer is stored and depends on `things`",
        "own.sql:5:16: `pick` is volatile",
        "own.sql:6:6: the answer is stored and depends on `things`",
        "put.sql:1:11: the plan changes or locks rows",
        "put.sql:5:13: the answer is stored and depends on `things`",
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
    let said = Said::of(command.env("REPLICA_URLS", replicas));
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

const SHOP: [&str; 5] = [
    "CREATE TABLE shops (id bigint PRIMARY KEY, code text, made_at timestamptz)",
    "CREATE TABLE items (id bigint PRIMARY KEY, shop_id bigint REFERENCES shops, name text, kind text)",
    "CREATE VIEW seen AS SELECT i.id, i.name, s.code FROM items i JOIN shops s ON s.id = i.shop_id",
    "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM items",
    "CREATE UNLOGGED TABLE visits (id bigint PRIMARY KEY)",
];

fn file(tags: &str, tables: &[&str], sql: &str) -> String {
    let tables: String = tables.iter().map(|table| format!("-- table {table}\n")).collect();
    let route = sql.len() + tables.len() + tags.len();
    format!(
        "-- route: GET /{route}/{{id}}\n-- param id: path int8\n-- rows: many\n-- body: columns\n-- tags: {tags}\n{tables}\
         -- cache: max-age=5\n\n{sql}"
    )
}

#[test]
fn each_table_that_a_stored_answer_depends_on_is_named_and_each_that_is_named_is_read() {
    let database = database(&SHOP);
    // Of views the tables, in lines that only some requests have too, and whatever the plan leaves out.
    let view = file("item:{id} shop:{code}", &[], "SELECT name, code AS _code FROM seen WHERE id = :id");
    let sometimes = file("shop:{id}", &["shops: shop:{id}"], "SELECT s.code FROM shops s\nWHERE s.id = :id")
        .replace("-- rows", "-- param kind: query text\n-- rows")
        + "\nAND EXISTS (SELECT FROM items i WHERE i.shop_id = s.id AND i.kind = :kind) -- when kind";
    let never = file(
        "item:{id}",
        &["items: item:{id}"],
        "SELECT i.name FROM items i\nLEFT JOIN shops s ON s.id = i.shop_id\nWHERE i.id = :id",
    );
    let nothing = file(
        "item:{id}",
        &["items: item:{id}", "shops: ttl", "itmes: ttl"],
        "SELECT name FROM items WHERE id = :id",
    );
    let good = file(
        "item:{id} shop:{code}",
        &["items: item:{id}", "shops: shop:{code}"],
        "SELECT name, code AS _code FROM seen WHERE id = :id AND name > ''",
    );
    let not_stored =
        "-- route: GET /not-stored\n-- rows: many\n-- body: columns\n\nSELECT name FROM items WHERE id = 1";
    let said = check(
        &database,
        &[
            ("good.sql", &good),
            ("never.sql", &never),
            ("not_stored.sql", not_stored),
            ("nothing.sql", &nothing),
            ("sometimes.sql", &sometimes),
            ("view.sql", &view),
        ],
        &[],
    );
    said.expect_code(64);
    expect(
        &lines(&said.err),
        &[
            "never.sql:10:11: the answer is stored and depends on `shops`, and nothing says what a change there does; add the line",
            "nothing.sql:7:10: no statement of this file reads `shops`: they read items",
            "nothing.sql:8:10: the database has no table `itmes`; did you mean \"items\"?",
            "sometimes.sql:12:25: the answer is stored and depends on `items`",
            "view.sql:1:11: the answer is stored and depends on `items`",
            "view.sql:1:11: the answer is stored and depends on `shops`",
        ],
    );
    for line in
        ["    -- table items: item:{id}\n", "    -- table shops: shop:{code}\n", "    -- table shops: ttl\n"]
    {
        assert!(said.err.contains(line), "{line}: {}", said.err);
    }
}

#[test]
fn tags_of_rows_are_made_of_columns_that_are_there_and_of_tables_whose_changes_are_told() {
    let database = database(&SHOP);
    let said = check(
        &database,
        &[
            (
                "columns.sql",
                &file(
                    "shop:{id}",
                    &[
                        "items: shop:{shop_id.code} shop:{shop_id.cod} shop:{kind.code} shop:{shopid}",
                        "shops: shop:{made_at}",
                    ],
                    "SELECT i.name FROM items i JOIN shops s ON s.id = i.shop_id WHERE s.id = :id",
                ),
            ),
            (
                "silent.sql",
                &file(
                    "all",
                    &["counted: all", "visits: all", "seen: all", "items: ttl"],
                    "SELECT c.n FROM counted c JOIN visits v ON v.id = :id JOIN seen ON true",
                ),
            ),
        ],
        &[],
    );
    // On the replica an unlogged table cannot be read at all.
    let faults: Vec<&str> = lines(&said.expect_code(64).err);
    let faults: Vec<&str> = faults.into_iter().filter(|line| !line.contains("during recovery")).collect();
    expect(
        &faults,
        &[
            "columns.sql:6:37: `shop_id` leads to table `shops`, which has no column `cod`; did you mean \"code\"?",
            "columns.sql:6:56: `{kind.code}` follows a foreign key, and `kind` of `items` has none of its own",
            "columns.sql:6:73: table `items` has no column `shopid`; did you mean \"shop_id\"?",
            "columns.sql:7:17: `made_at` is timestamp with time zone; a tag is made of",
            "silent.sql:1:11: the answer is stored and depends on `shops`",
            "silent.sql:6:19: `counted` is a materialized view, whose changes are told to nobody",
            "silent.sql:7:18: `visits` is unlogged, whose changes",
            "silent.sql:8:10: no statement of this file reads `seen`: they read counted, items, shops, visits",
        ],
    );
    assert!(said.out.is_empty() || !said.out.contains("columns.sql"), "{}", said.out);
}

#[test]
fn partitions_are_their_root_and_children_their_parent() {
    let database = database(&[
        "CREATE TABLE days (id bigint, day date NOT NULL, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        "CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
        "CREATE TABLE old (id bigint PRIMARY KEY)",
        "CREATE TABLE older () INHERITS (old)",
        "CREATE SCHEMA other",
        "CREATE TABLE other.\"Names\" (id bigint PRIMARY KEY)",
    ]);
    let root = file("day:{id}", &["days: day:{id}"], "SELECT day FROM days WHERE id = :id");
    let leaf = file("day:{id}", &["days: day:{id}"], "SELECT day FROM days_2 WHERE id = :id");
    let parent = file("old:{id}", &["public.old: old:{id}"], "SELECT id FROM old WHERE id = :id");
    let elsewhere =
        file("n:{id}", &["other.Names: n:{id}"], "SELECT id FROM other.\"Names\" WHERE id = :id AND id > 0");
    let said = check(
        &database,
        &[("elsewhere.sql", &elsewhere), ("leaf.sql", &leaf), ("parent.sql", &parent), ("root.sql", &root)],
        &[],
    );
    said.expect_code(0);
    let bare = elsewhere.replace("other.Names: n", "Names: n");
    let said = check(&database, &[("elsewhere.sql", &bare)], &[]);
    expect(
        &lines(&said.expect_code(64).err),
        &[
            "elsewhere.sql:6:10: the database has no table `Names`",
            "elsewhere.sql:9:23: the answer is stored and depends on `other.Names`",
        ],
    );
}

#[test]
fn what_a_function_reads_is_not_seen_and_that_is_said() {
    let database = database(&[
        "CREATE TABLE items (id bigint PRIMARY KEY, name text)",
        "CREATE FUNCTION inlined(i bigint) RETURNS SETOF items LANGUAGE sql STABLE AS 'SELECT * FROM items WHERE id = i'",
        "CREATE FUNCTION opaque(i bigint) RETURNS text LANGUAGE plpgsql STABLE AS \
         'BEGIN RETURN (SELECT name FROM items WHERE id = i); END'",
    ]);
    let inlined = file("item:{id}", &[], "SELECT name FROM inlined(:id)");
    let opaque = file("item:{id}", &["items: item:{id}"], "SELECT opaque(:id) AS name");
    let said = check(&database, &[("inlined.sql", &inlined), ("opaque.sql", &opaque)], &[]);
    expect(
        &lines(&said.expect_code(64).err),
        &["inlined.sql:1:11: the answer is stored and depends on `items`"],
    );
    expect(
        &lines(&said.out),
        &["opaque.sql:9:8: note: `opaque` is not of SQL that the planner can look into"],
    );
}

#[test]
fn what_may_well_be_meant_is_a_note_and_no_fault() {
    let database = database(&SHOP);
    let time = |name: &str, cache: &str| {
        format!(
            "-- route: GET /{name}\n-- rows: one\n-- tags: shops\n-- table shops: shops\n-- cache: {cache}\n\n\
             SELECT json_build_object('n', count(*),\n'at', CURRENT_TIMESTAMP, 'on', now()) AS body FROM shops"
        )
    };
    let of_shop = file(
        "shop:{id}",
        &["items: shop:{shop_id.code} shop:{kind}", "shops: shop:{id}"],
        "SELECT i.name FROM items i JOIN shops s ON s.id = i.shop_id WHERE s.id = :id",
    );
    let files = [
        ("long.sql", time("long", "max-age=5, s-maxage=61")),
        ("of_shop.sql", of_shop),
        ("short.sql", time("short", "max-age=60")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let said = check(&database, &files, &[]);
    said.expect_code(0);
    expect(
        &lines(&said.out),
        &[
            "long.sql:8:7: note: `CURRENT_TIMESTAMP` is the moment at which the answer was made, and one that is stored repeats it for up to 61 s",
            "long.sql:8:32: note: `now` is the moment",
        ],
    );
    let note = "note: of rows that are changed or deleted the log does not say what columns were that tags are made of: items \
                (kind, shop_id). ";
    assert!(said.out.contains(note), "{}", said.out);
    // A table that writes down all of its rows.
    database.sql("ALTER TABLE items REPLICA IDENTITY FULL");
    cluster().wait_for_replica().unwrap();
    let said = check(&database, &files, &[]);
    assert!(!said.expect_code(0).out.contains("the log does not say"), "{}", said.out);
}

/// `LARDER_BLESS=1` writes down what is said now; the difference is for a person to read.
#[track_caller]
fn golden(name: &str, said: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("LARDER_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, said).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(said, expected, "not what {} says", path.display());
}

#[test]
fn the_report_is_a_table_for_people_and_a_document_for_programs() {
    let database = database(&SHOP);
    database.sql("CREATE INDEX item_by_shop ON items (shop_id)");
    database.sql("INSERT INTO items SELECT n, NULL, 'x', 'y' FROM generate_series(1, 20000) n");
    database.sql("ANALYZE");
    cluster().wait_for_replica().unwrap();
    let items = "-- route: GET /shops/{id}/items\n-- summary: What a shop has\n-- param id: path int8\n-- param kind: query text\n\
                 -- rows: many\n-- body: columns\n-- tags: shop:{id}:items item:{item_id}\n-- table items: shop:{shop_id}:items\n\
                 -- cache: max-age=5\n-- index: item_by_shop\n\n\
                 SELECT i.name, i.id AS _item_id\nFROM items i\nWHERE i.shop_id = :id\n  AND i.kind = :kind -- when kind";
    let create = "-- route: POST /shops\n-- rows: one\n-- param code: body text\n\n\
                  INSERT INTO shops (id, code) VALUES (1, :code) RETURNING json_build_object('code', code) AS body";
    let files = [("items.sql", items), ("shop_create.sql", create)];
    let said = check(&database, &files, &[]);
    golden("check.txt", &said.expect_code(0).out);

    let document = |said: &Said| {
        let mut document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        for server in document["servers"].as_array_mut().unwrap() {
            assert!(server["address"].as_str().unwrap().contains('/'));
            server["address"] = "".into();
        }
        format!("{document:#}\n")
    };
    let said = check(&database, &files, &["--json"]);
    assert!(said.expect_code(0).err.is_empty(), "{}", said.err);
    golden("check.json", &document(&said));

    // With faults the document is the answer too.
    let said = check(
        &database,
        &[("items.sql", &items.replace("-- table items: shop:{shop_id}:items\n", ""))],
        &["--json"],
    );
    assert_eq!(said.expect_code(64).err, "larder-origin: 1 fault, in the document\n");
    let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let fault = &found["faults"][0];
    assert_eq!(
        (&found["isGood"], &fault["line"], &fault["column"]),
        (&false.into(), &12.into(), &6.into()),
        "{fault}"
    );
    let said = check(&database, &[("items.sql", "-- rows: many")], &["--json"]);
    let found: serde_json::Value = serde_json::from_str(&said.expect_code(64).out).unwrap();
    assert_eq!(found["faults"].as_array().unwrap().len(), 2, "{found}");
}

#[test]
fn a_right_that_is_missing_is_said_and_not_that_the_server_is_gone() {
    let database = database(&SHOP);
    database.sql("CREATE SCHEMA hidden");
    database.sql("CREATE TABLE hidden.things (id bigint PRIMARY KEY)");
    database.sql("DO $$ BEGIN CREATE ROLE without_rights LOGIN; EXCEPTION WHEN duplicate_object THEN END $$");
    cluster().wait_for_replica().unwrap();
    let read = file("item:{id}", &["items: item:{id}"], "SELECT name FROM items WHERE id = :id");
    let hidden = file("thing:{id}", &[], "SELECT id FROM hidden.things WHERE id = :id");
    let write = "-- route: POST /shops\n-- rows: exec\n\nINSERT INTO shops (id) VALUES (1)";
    let folder = Folder::new();
    let config = folder.config("", &[("hidden.sql", &hidden), ("read.sql", &read), ("write.sql", write)]);
    let mut command = database.command(&["check", "-c", config.to_str().unwrap()]);
    let role = |url: &str| url.replacen("postgres://postgres@", "postgres://without_rights@", 1);
    assert_ne!(role(&database.primary), database.primary);
    let said = Said::of(
        command.env("DATABASE_URL", role(&database.primary)).env("REPLICA_URLS", role(&database.replica)),
    );
    let faults = lines(&said.expect_code(64).err);
    let expected = [
        "permission denied for schema hidden [SQLSTATE 42501]; the role of the connection lacks a right: GRANT USAGE ON SCHEMA hidden",
        "permission denied for table items [SQLSTATE 42501]; the role of the connection lacks a right: GRANT SELECT ON items TO it",
        "permission denied for table shops [SQLSTATE 42501]; the role of the connection lacks a right: GRANT SELECT, INSERT, UPDATE, DELETE ON shops",
    ];
    assert_eq!(faults.len(), expected.len(), "{}", said.err);
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.contains(expected), "{fault}");
    }
}
