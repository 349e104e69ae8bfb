//! What `larder-origin doctor` finds: each thing is done to a real server, and seen. On clusters of their own.

use std::collections::BTreeSet;

use rig::postgres::{Cluster, query, value};
use serde_json::Value;

use crate::support::{Folder, Said, Session, now, origin};

/// Never to be seen anywhere.
const SECRET: &str = "s3cret";
/// A name that a terminal would take for an order, and SQL for its own.
const WEIRD: &str = "weird \"\" \u{1b}[31m name";

const EACH_ROW: &str = "-- route: GET /by-colour\n-- param colour: query text required\n-- rows: many\n-- lane: slow\n\n\
                        SELECT json_build_object('id', id) AS body FROM scanned WHERE colour = :colour ORDER BY id LIMIT 10";

struct Bench {
    cluster: Cluster,
    folder: Folder,
}

impl Bench {
    fn new(settings: &[(&str, &str)]) -> Bench {
        Bench { cluster: Cluster::start_with(settings).unwrap(), folder: Folder::new() }
    }

    fn sql(&self, sql: &str) {
        query(&self.cluster.primary_url(), sql).unwrap();
    }

    fn said(&self, arguments: &[&str]) -> Said {
        let mut command = origin(&["doctor"]);
        command
            .env("DATABASE_URL", self.cluster.primary_url())
            .env("REPLICA_URLS", self.cluster.replica_url());
        Said::of(command.args(arguments))
    }

    fn report(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let said = self.said(&[&["--json"], arguments].concat());
        assert!(!said.out.contains(SECRET) && !said.err.contains(SECRET), "{}", said.out);
        let report = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"));
        (report, said.code)
    }

    /// Servers bring their counters up to date a moment after what is counted.
    fn until(&self, arguments: &[&str], wanted: &[&str]) -> Value {
        let deadline = now() + std::time::Duration::from_secs(60);
        loop {
            let (report, _) = self.report(arguments);
            let kinds = kinds(&report);
            let missing: Vec<_> = wanted.iter().filter(|kind| !kinds.contains(**kind)).collect();
            if missing.is_empty() {
                return report;
            }
            assert!(now() < deadline, "{missing:?} not in {report:#}");
        }
    }
}

fn kinds(report: &Value) -> BTreeSet<&str> {
    report["findings"].as_array().unwrap().iter().filter_map(|finding| finding["kind"].as_str()).collect()
}

fn of<'r>(report: &'r Value, kind: &str) -> Vec<&'r Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["kind"] == kind).collect()
}

/// The finding of a kind that speaks of something.
#[track_caller]
fn about<'r>(report: &'r Value, kind: &str, what: &str) -> &'r Value {
    let found = of(report, kind);
    let found = found.into_iter().find(|finding| finding["what"].as_str().unwrap().contains(what));
    found.unwrap_or_else(|| panic!("no {kind} about {what} in {report:#}"))
}

#[test]
fn a_healthy_database_has_nothing_found() {
    let bench = Bench::new(&[]);
    for arguments in [&["migrate"] as &[_], &["seed", "--resources", "20000"]] {
        Said::of(origin(arguments).env("DATABASE_URL", bench.cluster.primary_url())).expect_code(0);
    }
    bench.cluster.wait_for_replica().unwrap();
    for url in [bench.cluster.primary_url(), bench.cluster.replica_url()] {
        query(&url, "SELECT pg_stat_statements_reset()").unwrap();
    }
    let (report, code) = bench.report(&[]);
    assert_eq!((&report["findings"], code), (&Value::Array(Vec::new()), Some(0)), "{report:#}");
    assert_eq!(report["servers"][1]["role"], "replica");
    assert_eq!(report["servers"][0]["countsSince"].as_str().unwrap().len(), "2026-11-26T00:00:00Z".len());
    assert!(report["tables"].as_array().unwrap().iter().any(|table| table["table"] == "resources"));
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.starts_with("unused indexes are not judged: primary counts since 2"), "{note}");
    let said = bench.said(&[]);
    said.expect_code(0);
    assert!(said.out.contains("replica-1") && said.out.contains("BIG TABLE"), "{}", said.out);
}

#[test]
fn each_thing_that_is_wrong_is_found() {
    let bench = Bench::new(&[("max_connections", "30")]);
    let cluster = &bench.cluster;
    let config = bench.folder.config("", &[("by_colour.sql", EACH_ROW)]);
    let arguments = ["--unused-days", "0", "-c", config.to_str().unwrap()];

    // Indexes; of three that the primary never uses, one is used by the replica.
    bench.sql(
        "CREATE TABLE indexed (id int PRIMARY KEY, a int, b int, c int UNIQUE) WITH (autovacuum_enabled = off);
         INSERT INTO indexed SELECT n, n, n / 2, n FROM generate_series(1, 5000) n;
         CREATE INDEX nobody_uses ON indexed (a);
         CREATE INDEX the_replica_uses ON indexed (b, a);
         CREATE INDEX same_as_key ON indexed (id);
         CREATE INDEX other_order ON indexed (id DESC);
         CREATE INDEX some_of_them ON indexed (id) WHERE a > 7;
         ANALYZE indexed",
    );
    let failed = query(&cluster.primary_url(), "CREATE UNIQUE INDEX CONCURRENTLY left_over ON indexed (b)");
    failed.unwrap_err();

    // Tables.
    bench.sql(
        "CREATE TABLE scanned (id int PRIMARY KEY, colour text);
         INSERT INTO scanned SELECT n, 'red' || n FROM generate_series(1, 20000) n;
         ANALYZE scanned;
         CREATE TABLE unknown (id int) WITH (autovacuum_enabled = off);
         INSERT INTO unknown SELECT generate_series(1, 20000);
         CREATE TABLE dying (id int) WITH (autovacuum_enabled = off);
         INSERT INTO dying SELECT generate_series(1, 20000);
         ANALYZE dying",
    );
    bench.sql("DELETE FROM dying WHERE id % 4 < 3");
    bench.sql(&"SELECT count(*) FROM scanned WHERE colour = 'blue';".repeat(60));
    bench.sql(
        "CREATE TABLE empty_room (id int, filler text) WITH (autovacuum_enabled = off);
         INSERT INTO empty_room SELECT n, repeat('x', 1000) FROM generate_series(1, 40000) n",
    );
    bench.sql("DELETE FROM empty_room WHERE id < 39900");
    bench.sql("VACUUM ANALYZE empty_room");
    bench.sql(&format!("CREATE TABLE \"{}\" (id int)", WEIRD.replace('"', "\"\"")));
    bench.sql(&format!("CREATE INDEX ON \"{}\" (id)", WEIRD.replace('"', "\"\"")));

    // Statements: a query that is slow every time, one with a constant that is not one, and a command with a password.
    for _ in 0..2 {
        bench.sql(&format!("SELECT pg_sleep(0.15), /* {SECRET} */ '{SECRET}'"));
    }
    bench.sql(&format!(
        "CREATE ROLE plain LOGIN;
         DO $$ BEGIN PERFORM pg_sleep(0.15); EXECUTE 'ALTER ROLE plain PASSWORD ''{SECRET}'''; END $$"
    ));
    bench.sql("SELECT pg_create_physical_replication_slot('forgotten', true)");
    cluster.wait_for_replica().unwrap();
    query(&cluster.replica_url(), "SET enable_seqscan = off; SELECT count(*) FROM indexed WHERE b = 7")
        .unwrap();

    let report = bench.until(
        &arguments,
        &[
            "unused_index",
            "duplicate_index",
            "invalid_index",
            "sequential_scans",
            "sequential_scan_in_plan",
            "dead_rows",
            "never_analyzed",
            "table_bloat",
            "slow_statement",
            "slot_retention",
        ],
    );

    let unused = about(&report, "unused_index", "public.nobody_uses");
    assert_eq!(unused["sql"][0], "DROP INDEX CONCURRENTLY \"public\".\"nobody_uses\";");
    assert_eq!(unused["servers"], serde_json::json!(["primary", "replica-1"]));
    let unused: Vec<_> = of(&report, "unused_index");
    let is_said = |name: &str| unused.iter().any(|finding| finding["what"].as_str().unwrap().contains(name));
    for used in ["the_replica_uses", "indexed_pkey", "indexed_c_key", "left_over", "same_as_key"] {
        assert!(!is_said(used), "{used}: {report:#}");
    }
    assert!(is_said("other_order") && is_said("some_of_them"), "{report:#}");

    let duplicates = of(&report, "duplicate_index");
    assert_eq!(duplicates.len(), 1, "{duplicates:?}");
    assert_eq!(duplicates[0]["sql"][0], "DROP INDEX CONCURRENTLY \"public\".\"same_as_key\";");
    let invalid = about(&report, "invalid_index", "public.left_over");
    assert_eq!(invalid["sql"][0], "REINDEX INDEX CONCURRENTLY \"public\".\"left_over\";");

    let scans = about(&report, "sequential_scans", "public.scanned");
    assert_eq!(scans["servers"], serde_json::json!(["primary"]));
    let plan = about(&report, "sequential_scan_in_plan", "`by_colour` (GET /by-colour) reads all of scanned");
    assert_eq!(plan["servers"], serde_json::json!(["primary", "replica-1"]));
    assert_eq!(plan["sql"][0], "CREATE INDEX CONCURRENTLY ON \"scanned\" (\"colour\");");
    let dead = about(&report, "dead_rows", "public.dying has 15000 dead rows beside 5000 live ones");
    assert_eq!(dead["sql"][1], "ALTER TABLE \"public\".\"dying\" RESET (autovacuum_enabled);");
    let never = about(&report, "never_analyzed", "public.unknown");
    assert_eq!(never["sql"][0], "ANALYZE \"public\".\"unknown\";");
    let bloat = about(&report, "table_bloat", "public.empty_room");
    assert_eq!(bloat["sql"][1], "VACUUM (FULL, ANALYZE) \"public\".\"empty_room\";");
    assert!(bloat["what"].as_str().unwrap().contains("about 100 % is empty"), "{bloat:#}");

    let slow = about(&report, "slow_statement", "SELECT pg_sleep($1), $2");
    assert_eq!((&slow["severity"], &slow["servers"][0]), (&"warning".into(), &"primary".into()));
    let notes = report["notes"].as_array().unwrap();
    assert!(
        notes.iter().any(|note| note.as_str().unwrap().contains("their texts are not shown")),
        "{report:#}"
    );
    let slot = about(&report, "slot_retention", "`forgotten`");
    assert_eq!(slot["sql"][0], "SELECT pg_drop_replication_slot('forgotten');");
    assert_eq!(slot["severity"], "warning");

    // Everything as tables, with nothing in it that a terminal obeys.
    let said = bench.said(&arguments);
    said.expect_code(1);
    assert!(said.err.contains("warnings"), "{}", said.err);
    assert!(!said.out.contains(['\u{1b}', '\r']) && !said.out.contains(SECRET), "{}", said.out);
    let weird = r#"DROP INDEX CONCURRENTLY "public".U&"weird """" \+00001b[31m name_id_idx";"#;
    assert!(said.out.contains(weird), "{}", said.out);
    // The suggestion is what it says it is.
    bench.sql(weird);
    for word in ["duplicate index [primary]", "DROP INDEX CONCURRENTLY", "from  pg_stat_user_tables"] {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }

    // A replica that does not show what it has, and is far behind.
    cluster.pause_replay().unwrap();
    bench.sql("INSERT INTO empty_room SELECT n, repeat('y', 1000) FROM generate_series(1, 80000) n");
    let report = bench.until(&arguments, &["replay_paused", "replica_lag"]);
    assert_eq!(about(&report, "replica_lag", "replica-1 is ")["servers"][0], "replica-1");
    assert!(report["servers"][1]["lagBytes"].as_i64().unwrap() > 64 << 20, "{report:#}");
    cluster.resume_replay().unwrap();

    // As many connections as may be, nearly.
    let sessions: Vec<_> = (0..22).map(|_| Session::new(&cluster.primary_url())).collect();
    let report = bench.until(&arguments, &["connections"]);
    let connections = about(&report, "connections", "connections are taken");
    assert_eq!(connections["servers"], serde_json::json!(["primary"]), "{connections:#}");
    drop(sessions);
}

#[test]
fn an_ordinary_role_sees_less_and_is_told_what_to_do() {
    let bench = Bench::new(&[]);
    bench.sql("CREATE ROLE \"plain role\" LOGIN");
    bench.sql("DROP EXTENSION IF EXISTS pg_stat_statements");
    let url = bench.cluster.primary_url().replace("postgres@", "plain%20role@");
    let mut command = origin(&["doctor", "--json"]);
    let said = Said::of(command.env("DATABASE_URL", url));
    // Nothing is wrong; and there is no table for any endpoint.
    said.expect_code(0);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let hidden = about(&report, "hidden_statistics", "`plain role`");
    assert_eq!(hidden["sql"][0], "GRANT pg_monitor TO \"plain role\";");
    let none = of(&report, "no_statement_statistics");
    let create = none[0]["sql"].as_array().unwrap().last().unwrap();
    assert_eq!(create, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements;");
    about(&report, "unplanned_statements", "resource_summary");
}

#[test]
fn a_server_that_is_down_keeps_nobody_from_being_examined() {
    let bench = Bench::new(&[]);
    bench.sql("CREATE TABLE t (id int PRIMARY KEY); CREATE INDEX again ON t (id)");
    bench.cluster.wait_for_replica().unwrap();
    bench.cluster.kill_primary().unwrap();
    let report = bench.until(&[], &["not_streaming"]);
    let (_, code) = bench.report(&[]);
    assert_eq!(code, Some(2));
    assert_eq!(report["servers"][0]["isExamined"], false, "{report:#}");
    // What is the same everywhere is read where it can be.
    assert_eq!(about(&report, "duplicate_index", "public.again")["servers"][0], "replica-1");
    let said = bench.said(&[]);
    assert!(said.out.contains("NOT EXAMINED: "), "{}", said.out);
    assert!(said.err.contains("not examined, or not all of it: primary"), "{}", said.err);
}

#[test]
fn nothing_is_changed_and_a_lock_does_not_stop_it() {
    let bench = Bench::new(&[("autovacuum", "off")]);
    bench
        .sql("CREATE TABLE locked (id int PRIMARY KEY, a int); CREATE INDEX ON locked ((a + 1)) WHERE a > 3");
    let mut session = Session::new(&bench.cluster.primary_url());
    session.run("BEGIN; LOCK TABLE locked");
    let position = || {
        let sql = "SELECT txid_snapshot_xmax(txid_current_snapshot())";
        value(&bench.cluster.primary_url(), sql).unwrap()
    };
    let before = position();
    let (report, code) = bench.report(&[]);
    assert!(matches!(code, Some(0 | 2)), "{report:#}");
    assert_eq!(before, position(), "a transaction number was taken, so something was written");
    assert_eq!(
        value(&bench.cluster.primary_url(), "SELECT count(*) FROM pg_prepared_statements").unwrap(),
        "0"
    );
}
