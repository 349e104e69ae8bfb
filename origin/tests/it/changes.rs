//! The change feed by triggers, for databases without logical replication, against a real Postgres.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::OnceLock;

use rig::postgres::{Cluster, query};
use serde_json::Value;

use crate::feed::{Listener, ONE, position, shows};
use crate::support::{Database, Folder, Said, Serving, Session, origin};

/// Of its own: nothing here needs `wal_level = logical`.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let settings = [("wal_level", "replica"), ("max_prepared_transactions", "4")];
    CLUSTER.get_or_init(|| Cluster::start_with(&settings).unwrap())
}

const TABLES: &str = "CREATE TABLE teams (id bigint PRIMARY KEY, public_id text NOT NULL, note text); \
    CREATE TABLE members (id bigint PRIMARY KEY, team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE, \
                          is_admin boolean NOT NULL DEFAULT false)";
const FEED: &str = "workers = 1\n[feed]\nsource = \"triggers\"\n[feed.tables]\n\
    teams = [\"team:{id}\", \"team:{public_id}\"]\n\
    members = [\"team:{team_id}\", \"team:{team_id.public_id}:members\", \"admins:{is_admin}\"]\n";

struct World {
    database: Database,
    config: PathBuf,
    _folder: Folder,
    serving: Serving,
}

impl World {
    /// Set up, and serving.
    fn new(tables: &str, feed: &str) -> World {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let name = format!("changes_{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        query(&cluster().primary_url(), &format!("CREATE DATABASE {name}")).unwrap();
        let database = Database::of(cluster(), &name);
        database.sql(tables);
        let folder = Folder::new();
        let config = format!("{feed}\n[database]\nprimary = {:?}", database.primary);
        let config = folder.config(&config, &[ONE]);
        let path = config.to_str().unwrap();
        Said::of(&mut origin(&["feed", "setup", "--apply", "-c", path])).expect_code(0);
        let serving = Serving::start(&mut origin(&["serve", "--listen", "127.0.0.1:0", "-c", path]));
        World { database, config, _folder: folder, serving }
    }

    fn setup(&self, more: &[&str]) -> Said {
        let mut arguments = vec!["feed", "setup", "-c", self.config.to_str().unwrap()];
        arguments.extend(more);
        Said::of(&mut origin(&arguments))
    }
}

#[test]
fn a_commit_is_told_by_the_tags_of_its_rows() {
    let world = World::new(TABLES, FEED);
    let database = &world.database;
    let mut listener = Listener::new(&world.serving, "");
    let begin = listener.expect("begin");
    assert_eq!(begin["resumed"], false);
    assert!(begin["account"].is_string(), "{begin}");
    assert_eq!(begin["system"], database.value("SELECT system_identifier FROM pg_control_system()"));
    listener.at();

    database.sql("INSERT INTO teams VALUES (1, 'red', NULL), (2, 'blue', NULL)");
    listener.expect_tags(&["team:1", "team:red", "team:2", "team:blue"]);
    database.sql("UPDATE teams SET public_id = 'green' WHERE id = 2");
    listener.expect_tags(&["team:2", "team:blue", "team:green"]);
    database.sql("INSERT INTO members VALUES (1, 1)");
    listener.expect_tags(&["team:1", "team:red:members", "admins:false"]);
    database.sql("UPDATE members SET team_id = 2, is_admin = true");
    listener.expect_tags(&[
        "team:1",
        "team:2",
        "team:red:members",
        "team:green:members",
        "admins:false",
        "admins:true",
    ]);
    database.sql("INSERT INTO teams VALUES (1, 'red') ON CONFLICT (id) DO UPDATE SET note = 'seen'");
    listener.expect_tags(&["team:1", "team:red"]);
    // Nothing that is nothing: no row, or rolled back, the whole and a part.
    database.sql("UPDATE teams SET note = 'x' WHERE id = 77");
    database.sql("BEGIN; UPDATE teams SET note = 'x'; ROLLBACK");
    database.sql(
        "BEGIN; SAVEPOINT s; UPDATE teams SET note = 'y' WHERE id = 1; ROLLBACK TO s; \
         UPDATE teams SET note = 'z' WHERE id = 2; COMMIT",
    );
    listener.expect_tags(&["team:2", "team:green"]);
    // What a foreign key deletes.
    database.sql("DELETE FROM teams WHERE id = 2");
    listener.expect_tags(&["team:2", "team:green", "table:members"]);
    database.sql("COPY teams FROM PROGRAM 'printf \"5\\tpink\\t\\\\N\\n\"'");
    listener.expect_tags(&["team:5", "team:pink"]);
}

#[test]
fn what_cannot_be_told_row_by_row_is_told_by_its_table() {
    let world = World::new(
        "CREATE TABLE teams (id bigint PRIMARY KEY, public_id text NOT NULL, note text); \
         CREATE TABLE days (day timestamptz PRIMARY KEY, told text, number int)",
        "workers = 1\n[feed]\nsource = \"triggers\"\n[feed.tables]\n\
         teams = [\"team:{id}\", \"team:{public_id}\"]\ndays = [\"day:{day}\"]\n",
    );
    let database = &world.database;
    let mut listener = Listener::new(&world.serving, "");
    listener.expect("begin");
    database.sql("INSERT INTO teams SELECT n, 'a' || n FROM generate_series(1, 1001) n");
    listener.expect_tags(&["table:teams"]);
    database.sql("TRUNCATE teams");
    listener.expect_tags(&["table:teams"]);
    // How a session writes a time is its own affair.
    database.sql("INSERT INTO days VALUES (now())");
    listener.expect_tags(&["table:days"]);
    database.sql("ALTER TABLE teams ALTER COLUMN note TYPE text USING note || '00'");
    listener.expect_tags(&["table:teams"]);
    // The application may do with its table what it wants: its writes go on, and the feed says that it cannot.
    database.sql("ALTER TABLE teams DROP COLUMN public_id");
    database.sql("INSERT INTO teams VALUES (1)");
    let told = loop {
        match listener.next() {
            (name, told) if name == "commit" => assert_eq!(told["tags"], serde_json::json!(["table:teams"])),
            (name, told) if name == "lost" => break told,
            (name, told) => panic!("{name} {told}"),
        }
    };
    assert!(told["why"].as_str().unwrap().contains("teams"), "{told}");
}

/// Names of columns that the function has for its own.
#[test]
fn columns_may_have_any_name() {
    let world = World::new(
        "CREATE TABLE \"Od'd\" (told int PRIMARY KEY, number int, \"a \"\"b\"\"\" text); \
         CREATE TABLE empty (told int)",
        "workers = 1\n[feed]\nsource = \"triggers\"\n[feed.tables]\n\
         \"Od'd\" = [\"one:{told}\", \"two:{number}\"]\nempty = [\"all\"]\n",
    );
    let mut listener = Listener::new(&world.serving, "");
    listener.expect("begin");
    world.database.sql("INSERT INTO \"Od'd\" VALUES (1, 2, 'x')");
    listener.expect_tags(&["one:1", "two:2"]);
    world.database.sql("UPDATE \"Od'd\" SET number = NULL");
    listener.expect_tags(&["one:1", "two:2"]);
    world.database.sql("INSERT INTO empty VALUES (1)");
    assert!(listener.tags().contains("table:empty"));
}

/// Values that are equal may be text that is not.
#[test]
fn both_texts_of_values_that_are_equal_are_told() {
    let world = World::new(
        "CREATE TABLE prices (id int PRIMARY KEY, price numeric)",
        "workers = 1\n[feed]\nsource = \"triggers\"\n[feed.tables]\nprices = [\"price:{price}\"]\n",
    );
    let mut listener = Listener::new(&world.serving, "");
    listener.expect("begin");
    world.database.sql("INSERT INTO prices VALUES (1, 1.0)");
    listener.expect_tags(&["price:1.0"]);
    world.database.sql("UPDATE prices SET price = 1.00");
    listener.expect_tags(&["price:1.0", "price:1.00"]);
    // Another type than the function was made for: nothing fails, and nothing of the type is called.
    world.database.sql("ALTER TABLE prices ALTER price TYPE json USING to_json(price)");
    world.database.sql("UPDATE prices SET price = '2'");
    assert!(listener.tags().contains("table:prices"));
}

#[test]
fn of_more_statements_than_can_be_told_the_tables_are() {
    let world = World::new(TABLES, FEED);
    let mut listener = Listener::new(&world.serving, "");
    listener.expect("begin");
    world
        .database
        .sql("DO $$BEGIN FOR n IN 1..4001 LOOP INSERT INTO teams VALUES (n, 'name-' || n); END LOOP; END$$");
    listener.expect_tags(&["table:teams"]);
    world.database.sql("INSERT INTO teams VALUES (5000, 'red')");
    listener.expect_tags(&["team:5000", "team:red"]);
}

/// After a crash what it had noted is gone, and it is not.
#[test]
fn nothing_is_told_while_a_prepared_transaction_may_have_changed_something() {
    let world = World::new(TABLES, FEED);
    drop(world.serving);
    world.database.sql("BEGIN; INSERT INTO teams VALUES (1, 'red'); PREPARE TRANSACTION 'one'");
    let config = world.config.to_str().unwrap();
    let mut serving = Serving::start(&mut origin(&["serve", "--listen", "127.0.0.1:0", "-c", config]));
    serving.process.wait_for_line("\"one\" is a prepared transaction").unwrap();
    let mut listener = Listener::new(&serving, "");
    world.database.sql("COMMIT PREPARED 'one'");
    listener.expect("begin");
    world.database.sql("UPDATE teams SET note = 'x'");
    listener.expect_tags(&["team:1", "team:red"]);
}

/// The functions have the rights of who made them.
#[test]
fn nobody_else_can_have_a_function_read_what_is_his() {
    let world = World::new(TABLES, FEED);
    let table = world.database.value("SELECT 'teams'::regclass::oid");
    world.database.sql("CREATE ROLE other_of_changes; GRANT USAGE ON SCHEMA larder TO other_of_changes");
    let sql = format!(
        "SET ROLE other_of_changes; CREATE TEMP TABLE own (id int, public_id text); \
         CREATE TRIGGER t AFTER INSERT ON own REFERENCING NEW TABLE AS new_rows \
         FOR EACH STATEMENT EXECUTE FUNCTION larder.note_{table}()"
    );
    let refused = query(&world.database.primary, &sql).unwrap_err().to_string();
    assert!(refused.contains("permission denied for function"), "{refused}");
    // What would run with the rights of the owner belongs to the owner.
    world.database.sql("CREATE ROLE third_of_changes; ALTER SCHEMA larder OWNER TO third_of_changes");
    let said = world.setup(&["--apply"]);
    assert!(said.expect_code(1).out.contains("schema larder belongs to third_of_changes"), "{}", said.out);
}

#[test]
fn a_partition_is_told_as_its_table_whichever_is_named() {
    let world = World::new(
        "CREATE TABLE events (id bigint, at date) PARTITION BY RANGE (at); \
         CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01'); \
         CREATE TABLE events_2 (at date, id bigint); \
         ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
        "workers = 1\n[feed]\nsource = \"triggers\"\n[feed.tables]\nevents = [\"event:{id}\"]\n",
    );
    let database = &world.database;
    let mut listener = Listener::new(&world.serving, "");
    listener.expect("begin");
    database.sql("INSERT INTO events VALUES (1, '2026-01-05'), (2, '2026-02-05')");
    listener.expect_tags(&["event:1", "event:2"]);
    database.sql("UPDATE events_2 SET id = 3");
    listener.expect_tags(&["event:2", "event:3"]);
    database.sql("UPDATE events SET at = '2026-01-06' WHERE id = 3");
    listener.expect_tags(&["event:3"]);
    // One that comes later has no triggers, and a statement that names it would be told by nobody.
    database
        .sql("CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')");
    let lost = listener.expect("lost");
    assert!(lost["why"].as_str().unwrap().contains("public.events_3"), "{lost}");
    world.setup(&["--apply"]).expect_code(0);
    listener.expect("begin");
    database.sql("INSERT INTO events_3 VALUES (4, '2026-03-05')");
    listener.expect_tags(&["event:4"]);
    // One that has its triggers before anybody has looked whether it has.
    database
        .sql("CREATE TABLE events_4 PARTITION OF events FOR VALUES FROM ('2026-04-01') TO ('2026-05-01')");
    world.setup(&["--apply"]).expect_code(0);
    database.sql("INSERT INTO events_4 VALUES (5, '2026-04-05')");
    match listener.next() {
        (name, told) if name == "commit" => assert_eq!(told["tags"], serde_json::json!(["event:5"])),
        (name, told) => {
            assert_eq!(name, "lost", "{told}");
            listener.expect("begin");
        }
    }
    // Its rows go with it, and nobody says which they were.
    database.sql("DROP TABLE events_3");
    let lost = listener.expect("lost");
    assert!(lost["why"].as_str().unwrap().contains("lost a partition"), "{lost}");
    listener.expect("begin");
}

/// Many transactions, begun in one order and committed in another, some of them long before the look that shows them: each is
/// told once, under its own number, not before it is visible, and positions only grow.
#[test]
fn each_transaction_is_told_once_and_when_it_is_visible() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 100;
    let world = World::new(TABLES, FEED);
    let url = world.database.primary.as_str();
    let mut listener = Listener::new(&world.serving, "");
    listener.expect("begin");
    let mut long = Session::new(url);
    let long_xid: u64 = {
        long.run("BEGIN; INSERT INTO teams VALUES (1000000, 'long')");
        world.database.value("SELECT max(backend_xid::text::bigint) FROM pg_stat_activity").parse().unwrap()
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let mut session = Session::new(url);
                for n in 1..=EACH {
                    let id = writer * EACH + n;
                    session.run(&format!(
                        "BEGIN; INSERT INTO teams VALUES ({id}, 'name-{id}'); UPDATE teams SET note = 'x' WHERE id = {id}; COMMIT"
                    ));
                }
            });
        }
        let (mut seen, mut xids) = (BTreeSet::new(), BTreeSet::new());
        let mut last = 0;
        while seen.len() < usize::try_from(WRITERS * EACH).unwrap() {
            let commit = listener.expect("commit");
            let end = position(&commit["end"]);
            assert!(end > last, "{commit}");
            last = end;
            let also = commit["also"].as_array().cloned().unwrap_or_default();
            for xid in also.iter().chain([&commit["xid"]]) {
                let xid: u64 = xid.as_str().unwrap().parse().unwrap();
                assert!(xids.insert(xid) && xid != long_xid, "{xid} is told again, or too soon: {commit}");
            }
            for tag in commit["tags"].as_array().unwrap() {
                if let Some(id) = tag.as_str().unwrap().strip_prefix("team:name-") {
                    assert!(seen.insert(id.to_owned()), "{id} is told twice");
                }
            }
            let snapshot = listener.at()["snapshot"].as_str().unwrap().to_owned();
            assert!(xids.iter().all(|xid| shows(&snapshot, *xid)), "{snapshot}");
        }
    });
    long.run("COMMIT");
    let commit = listener.expect("commit");
    assert_eq!(commit["xid"], long_xid.to_string());
    assert_eq!(commit["tags"], serde_json::json!(["team:1000000", "team:long"]));
}

#[test]
fn only_the_same_worker_can_go_on() {
    let world = World::new(TABLES, FEED);
    let mut listener = Listener::new(&world.serving, "");
    let begin = listener.expect("begin");
    world.database.sql("INSERT INTO teams VALUES (1, 'red', NULL)");
    let commit = listener.expect("commit");
    let go_on = |position: &Value, account: &str| {
        let (timeline, system) = (&begin["timeline"], begin["system"].as_str().unwrap());
        let position = position.as_str().unwrap();
        let mut listener = Listener::new(
            &world.serving,
            &format!("?from={position}&timeline={timeline}&system={system}{account}"),
        );
        (listener.expect("begin"), listener)
    };
    let own = format!("&account={}", begin["account"].as_str().unwrap());
    let (resumed, mut from_begin) = go_on(&begin["position"], &own);
    assert_eq!(resumed["resumed"], true);
    from_begin.expect_tags(&["team:1", "team:red"]);
    let (resumed, _) = go_on(&commit["end"], &own);
    assert_eq!(resumed["resumed"], true);
    for other in ["", "&account=1"] {
        assert_eq!(go_on(&commit["end"], other).0["resumed"], false);
    }
}

#[test]
fn setup_says_what_is_missing_does_it_and_finds_nothing_to_do() {
    let world = World::new(TABLES, FEED);
    let said = world.setup(&[]);
    assert!(said.expect_code(0).out.contains("triggers note the changes of members, teams"), "{}", said.out);
    let oid = |table: &str| world.database.value(&format!("SELECT '{table}'::regclass::oid"));
    let (update, delete) =
        (format!("larder_update_{}", oid("teams")), format!("larder_delete_{}", oid("members")));
    let sql = format!("DROP TRIGGER {update} ON teams; ALTER TABLE members DISABLE TRIGGER {delete}");
    world.database.sql(&sql);
    let said = world.setup(&[]);
    said.expect_code(1);
    for expected in [
        format!("CREATE TRIGGER {update} AFTER UPDATE ON public.teams"),
        format!("{delete} ON public.members"),
    ] {
        assert!(said.out.contains(&expected), "{expected} is not in\n{}", said.out);
    }
    world.setup(&["--apply"]).expect_code(0);
    // An application without any right of its own to what is noted.
    world.database.sql(
        "CREATE ROLE app_of_changes; GRANT SELECT, INSERT, UPDATE, DELETE ON teams TO app_of_changes; \
         SET ROLE app_of_changes; INSERT INTO teams VALUES (9, 'app', NULL)",
    );
    let noted = "SELECT relation::regclass || ' ' || rows FROM larder.changes WHERE rows IS NOT NULL";
    assert_eq!(world.database.value(noted), r#"teams [{"id": "9", "public_id": "app"}]"#);
}

#[test]
fn after_a_failover_the_feed_begins_anew() {
    let cluster = Cluster::start_with(&[("wal_level", "replica")]).unwrap();
    query(&cluster.primary_url(), TABLES).unwrap();
    let folder = Folder::new();
    let config =
        format!("{FEED}\n[database]\nservers = [{:?}, {:?}]", cluster.primary_url(), cluster.replica_url());
    let config = folder.config(&config, &[ONE]);
    let config = config.to_str().unwrap();
    Said::of(&mut origin(&["feed", "setup", "--apply", "-c", config])).expect_code(0);
    cluster.wait_for_replica().unwrap();
    let serving = Serving::start(&mut origin(&["serve", "--listen", "127.0.0.1:0", "-c", config]));
    let mut listener = Listener::new(&serving, "");
    let begin = listener.expect("begin");
    query(&cluster.primary_url(), "INSERT INTO teams VALUES (1, 'red', NULL)").unwrap();
    listener.expect_tags(&["team:1", "team:red"]);
    cluster.wait_for_replica().unwrap();
    cluster.node(0).kill().unwrap();
    listener.expect("lost");
    cluster.node(1).promote().unwrap();
    let again = listener.expect("begin");
    assert_eq!(again["timeline"], begin["timeline"].as_u64().unwrap() + 1);
    query(&cluster.node(1).url(), "UPDATE teams SET note = 'x'").unwrap();
    listener.expect_tags(&["team:1", "team:red"]);
}
