//! The change feed against a real Postgres: what a commit is told as, what is not told, and what happens when connections,
//! slots and servers go.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use rig::http::{Client, head};
use rig::postgres::{Cluster, query};
use serde_json::Value;

use crate::support::{Database, Folder, Serving, origin};

/// Of its own: slots are made when all transactions of a server have ended, and those of other tests take their time.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start().unwrap())
}

const TABLES: &str = "CREATE TABLE teams (id bigint PRIMARY KEY, public_id text NOT NULL, note text); \
    CREATE TABLE members (id bigint PRIMARY KEY, team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE, \
                          is_admin boolean NOT NULL DEFAULT false); \
    ALTER TABLE teams REPLICA IDENTITY FULL; ALTER TABLE members REPLICA IDENTITY FULL; \
    CREATE PUBLICATION larder FOR TABLE teams, members WITH (publish_via_partition_root = true)";
const FEED: &str = "workers = 1\n[feed]\n[feed.tables]\n\
    teams = [\"team:{id}\", \"team:{public_id}\"]\n\
    members = [\"team:{team_id}\", \"team:{team_id.public_id}:members\", \"admins:{is_admin}\"]\n";

/// An endpoint that reads no table.
pub(crate) const ONE: (&str, &str) =
    ("one.sql", "-- route: GET /one\n-- rows: one\nSELECT json_build_object('one', 1) AS body\n");

/// A database with two tables and their publication.
fn database() -> Database {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let name = format!("feed_{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    query(&cluster().primary_url(), &format!("CREATE DATABASE {name}")).unwrap();
    let database = Database::of(cluster(), &name);
    database.sql(TABLES);
    database
}

fn serve(urls: &[&str], config: &str) -> Serving {
    let folder = Folder::new();
    let list: Vec<String> = urls.iter().map(|url| format!("{url:?}")).collect();
    let config = folder.config(&format!("{config}\n[database]\nservers = [{}]", list.join(", ")), &[ONE]);
    Serving::start(&mut origin(&["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()]))
}

/// One who listens.
pub(crate) struct Listener {
    client: Client,
    rest: Vec<u8>,
}

impl Listener {
    pub(crate) fn new(serving: &Serving, query: &str) -> Listener {
        let mut client = Client::connect(serving.address).unwrap();
        client.send(&head("GET", &format!("/feed{query}"), "localhost", &[], b"")).unwrap();
        let response = client.head().unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.field("content-type"), Some("application/x-ndjson"));
        assert_eq!(response.field("cache-control"), Some("no-store"));
        Listener { client, rest: Vec::new() }
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            self.rest.extend(self.client.chunk().unwrap()?);
        }
    }

    /// The next line that is no heartbeat: its one member.
    #[track_caller]
    pub(crate) fn next(&mut self) -> (String, Value) {
        loop {
            let line = self.line().expect("the feed ended");
            let (name, value) = line.as_object().unwrap().iter().next().unwrap();
            if name != "at" {
                return (name.clone(), value.clone());
            }
        }
    }

    /// The next heartbeat, past whatever comes before.
    #[track_caller]
    pub(crate) fn at(&mut self) -> Value {
        loop {
            let line = self.line().expect("the feed ended");
            if let Some(at) = line.get("at") {
                return at.clone();
            }
        }
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, name: &str) -> Value {
        let (found, value) = self.next();
        assert_eq!(found, name, "{value}");
        value
    }

    /// The tags of the next commit.
    #[track_caller]
    pub(crate) fn tags(&mut self) -> BTreeSet<String> {
        let commit = self.expect("commit");
        commit["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    pub(crate) fn expect_tags(&mut self, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(|tag| (*tag).to_owned()).collect();
        assert_eq!(self.tags(), expected);
    }
}

#[test]
fn a_commit_is_told_by_the_tags_of_its_rows() {
    let database = database();
    let serving = serve(&[&database.primary], FEED);
    let mut listener = Listener::new(&serving, "");
    let begin = listener.expect("begin");
    assert_eq!(begin["resumed"], false);
    assert_eq!(begin["timeline"], 1);
    let system = database.value("SELECT system_identifier FROM pg_control_system()");
    assert_eq!(begin["system"], system);

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
    // Rolled back, the whole and a part: nothing, and the number is that of the whole transaction.
    database.sql("BEGIN; UPDATE teams SET note = 'x'; ROLLBACK");
    let xid = database.sql(
        "BEGIN; SAVEPOINT a; UPDATE teams SET note = 'y' WHERE id = 1; ROLLBACK TO a; \
         SAVEPOINT b; UPDATE teams SET note = 'z' WHERE id = 2; RELEASE b; SELECT pg_current_xact_id(); COMMIT",
    );
    let commit = listener.expect("commit");
    assert_eq!(commit["tags"], serde_json::json!(["team:2", "team:green"]));
    assert_eq!(commit["xid"].as_str(), xid[0][0].as_deref());
    // Rows that a foreign key takes along.
    database.sql("DELETE FROM teams WHERE id = 2");
    let tags = listener.tags();
    assert!(tags.contains("team:2") && tags.contains("team:green"), "{tags:?}");
    // Its parent is gone, so nobody can say whose members they were.
    assert!(tags.contains("table:members"), "{tags:?}");
    database.sql("TRUNCATE teams, members");
    listener.expect_tags(&["table:members", "table:teams"]);
}

pub(crate) fn position(text: &Value) -> u64 {
    let (high, low) = text.as_str().unwrap().split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

/// Whether a snapshot, `xmin:xmax:xip,...`, shows a transaction.
pub(crate) fn shows(snapshot: &str, xid: u64) -> bool {
    let parts: Vec<&str> = snapshot.split(':').collect();
    let running = parts[2].split(',').any(|running| running.parse() == Ok(xid));
    xid < parts[1].parse().unwrap() && !running
}

fn go_on(begin: &Value, position: &Value) -> String {
    let (timeline, system) = (&begin["timeline"], begin["system"].as_str().unwrap());
    format!("?from={}&timeline={timeline}&system={system}", position.as_str().unwrap())
}

#[test]
fn what_cannot_be_told_row_by_row_is_told_by_its_table() {
    let database = database();
    database.sql(
        "CREATE TABLE docs (id bigint PRIMARY KEY, title text, body text); \
         CREATE TABLE pages (id bigint PRIMARY KEY, title text, body text); \
         ALTER TABLE docs ALTER title SET STORAGE EXTERNAL; ALTER TABLE pages ALTER title SET STORAGE EXTERNAL; \
         ALTER TABLE pages REPLICA IDENTITY FULL; ALTER PUBLICATION larder ADD TABLE docs, pages",
    );
    let more = "docs = [\"doc:{title}\"]\npages = [\"page:{id}\", \"page:{title}\"]\n";
    let serving = serve(
        &[&database.primary],
        &format!("{}{more}", FEED.replace("[feed]\n", "[feed]\nmax_rows = 10\n")),
    );
    let mut listener = Listener::new(&serving, "");
    listener.expect("begin");

    let rows = |count: u32| format!("INSERT INTO teams SELECT n, 'red' FROM generate_series(1, {count}) n");
    database.sql(&rows(10));
    assert_eq!(listener.tags().len(), 11);
    database.sql(&rows(21).replace("1, 21", "11, 21"));
    listener.expect_tags(&["table:teams"]);
    // A value that is stored out of line, and did not change, is not in the WAL: neither the new one nor, by the key, the old one.
    database.sql(
        "INSERT INTO docs VALUES (1, repeat('y', 9000)); INSERT INTO pages VALUES (1, repeat('y', 9000))",
    );
    // As tags these would be too long for any answer.
    listener.expect_tags(&["page:1"]);
    database.sql("UPDATE docs SET body = 'b'");
    listener.expect_tags(&["table:docs"]);
    // Where the old row is there whole, its value is that of the new one.
    database.sql("UPDATE pages SET title = repeat('x', 900), body = repeat('b', 900)");
    let tags = listener.tags();
    assert!(tags.contains("page:1") && tags.len() == 2, "{tags:?}");
    database.sql("ALTER TABLE pages SET (toast_tuple_target = 128); UPDATE pages SET title = title || ''");
    assert_eq!(listener.tags(), tags);
    assert_ne!(
        database.value("SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'pages'"),
        "0"
    );
    database.sql("UPDATE pages SET body = 'c'");
    assert_eq!(listener.tags(), tags);
    // Another shape: once.
    database.sql("ALTER TABLE pages ADD COLUMN more int; UPDATE pages SET more = 1");
    listener.expect_tags(&["table:pages"]);
    database.sql("UPDATE pages SET more = 2");
    assert_eq!(listener.tags(), tags);
    // A row that is longer than anyone wants to read.
    database.sql("UPDATE teams SET note = repeat('z', 20000000) WHERE id = 1");
    listener.expect_tags(&["table:teams"]);
    database.sql("UPDATE teams SET note = NULL WHERE id = 2");
    listener.expect_tags(&["team:2", "team:red"]);
}

/// `ALTER TABLE` may change every row and write none.
#[test]
fn a_table_that_is_altered_is_told_at_once_where_an_event_trigger_says_so() {
    let database = database();
    let folder = Folder::new();
    let config = format!("{FEED}\n[database]\nprimary = {:?}", database.primary);
    let config = folder.config(&config, &[ONE]);
    let config = config.to_str().unwrap();
    let setup = |more: &[&str]| {
        let arguments = [&["feed", "setup", "-c", config][..], more].concat();
        crate::support::Said::of(&mut origin(&arguments))
    };
    assert!(setup(&[]).expect_code(0).out.contains("advice   no event trigger tells of ALTER TABLE"));
    assert!(setup(&["--apply"]).expect_code(0).out.contains("ok       event trigger larder_ddl"));
    let serving = Serving::start(&mut origin(&["serve", "--listen", "127.0.0.1:0", "-c", config]));
    let mut listener = Listener::new(&serving, "");
    listener.expect("begin");
    database.sql("INSERT INTO teams VALUES (1, 'red', '1')");
    listener.expect_tags(&["team:1", "team:red"]);
    database.sql("ALTER TABLE teams ALTER COLUMN note TYPE text USING note || '00'");
    listener.expect_tags(&["table:teams"]);
    // Of tables that nobody asks for, and what others write into the WAL.
    database.sql("CREATE TABLE other (id int); ALTER TABLE other ADD COLUMN more int");
    database.sql(
        "SELECT pg_logical_emit_message(true, 'own', 'x'), pg_logical_emit_message(false, 'larder.ddl', 'x')",
    );
    database
        .sql("BEGIN; ALTER TABLE members ADD COLUMN more int; INSERT INTO teams VALUES (2, 'blue'); COMMIT");
    listener.expect_tags(&["table:members", "team:2", "team:blue"]);
}

#[test]
fn a_partition_is_told_as_its_table_also_one_that_comes_later() {
    let database = database();
    database.sql(
        "CREATE TABLE logs (day int NOT NULL, id int NOT NULL, PRIMARY KEY (day, id)) PARTITION BY LIST (day); \
         CREATE TABLE logs_1 PARTITION OF logs FOR VALUES IN (1); ALTER PUBLICATION larder ADD TABLE logs",
    );
    let serving = serve(&[&database.primary], &format!("{FEED}logs = [\"log:{{id}}\"]\n"));
    let mut listener = Listener::new(&serving, "");
    listener.expect("begin");
    database.sql("INSERT INTO logs VALUES (1, 1)");
    listener.expect_tags(&["log:1"]);
    database.sql("CREATE TABLE logs_2 PARTITION OF logs FOR VALUES IN (2); INSERT INTO logs VALUES (2, 2)");
    listener.expect_tags(&["log:2"]);
    database.sql("TRUNCATE logs");
    listener.expect_tags(&["table:logs"]);
}

#[test]
fn a_commit_that_is_told_before_it_is_visible_is_in_no_snapshot() {
    let cluster = Cluster::start().unwrap();
    let database = Database::of(&cluster, "postgres");
    database.sql(TABLES);
    let serving = serve(&[&database.primary], FEED);
    let mut listener = Listener::new(&serving, "");
    listener.expect("begin");
    database.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    database.sql("SELECT pg_reload_conf()");
    database.until(&database.primary, "SHOW synchronous_standby_names", |row| row[0] == "nobody");
    std::thread::scope(|scope| {
        let url = database.primary.clone();
        let writer = scope.spawn(move || query(&url, "INSERT INTO teams VALUES (1, 'red')").unwrap());
        let commit = listener.expect("commit");
        let xid = commit["xid"].as_str().unwrap().parse().unwrap();
        // It is durable and told, and nobody sees it. Some that were taken since.
        for _ in 0..5 {
            let at = listener.at();
            assert!(position(&at["position"]) >= position(&commit["end"]));
            let snapshot = at["snapshot"].as_str().unwrap();
            assert!(!shows(snapshot, xid), "{snapshot} shows {xid}");
        }
        assert_eq!(database.value("SELECT count(*) FROM teams"), "0");
        database.sql("ALTER SYSTEM RESET synchronous_standby_names");
        database.sql("SELECT pg_reload_conf()");
        writer.join().unwrap();
        while !shows(listener.at()["snapshot"].as_str().unwrap(), xid) {}
    });
}

#[test]
fn heartbeats_go_on_and_so_does_the_position_when_nothing_is_told() {
    let database = database();
    database.sql("CREATE TABLE others (id int)");
    let serving = serve(&[&database.primary], FEED);
    let mut listener = Listener::new(&serving, "");
    let mut last = position(&listener.expect("begin")["position"]);
    // Where a record ends at the end of a page or of a file, positions are written in more than one way.
    for sql in [
        "INSERT INTO others VALUES (1)",
        "SELECT pg_switch_wal()",
        "INSERT INTO others VALUES (2)",
        "SELECT pg_switch_wal()",
    ] {
        database.sql(sql);
        let wanted = database.value("SELECT pg_current_wal_flush_lsn()");
        let wanted = position(&Value::String(wanted)) & !0x1fff;
        while last < wanted {
            let now = position(&listener.at()["position"]);
            assert!(now >= last);
            last = now;
        }
    }
    // Longer than anything may be behind.
    for _ in 0..10 {
        listener.at();
    }
}

#[test]
fn who_comes_back_misses_nothing_that_is_still_there() {
    let database = database();
    let config = FEED.replace("[feed]\n", "[feed]\nring_events = 3\n");
    let serving = serve(&[&database.primary], &config);
    let mut listener = Listener::new(&serving, "");
    let begin = listener.expect("begin");
    let insert = |id: u32| drop(database.sql(&format!("INSERT INTO teams VALUES ({id}, 'red')")));
    insert(1);
    let first = listener.expect("commit");
    drop(listener);
    // Another one sees that they were told.
    let mut other = Listener::new(&serving, "");
    other.expect("begin");
    for id in 2..=4 {
        insert(id);
        other.expect("commit");
    }
    let mut listener = Listener::new(&serving, &go_on(&begin, &first["end"]));
    let again = listener.expect("begin");
    assert_eq!(again["resumed"], true);
    assert_eq!(again["position"], first["end"]);
    for id in 2..=4 {
        listener.expect_tags(&[&format!("team:{id}"), "team:red"]);
    }
    // One more, and the ring does not reach back.
    insert(5);
    listener.expect("commit");
    let again = Listener::new(&serving, &go_on(&begin, &first["end"])).expect("begin");
    assert_eq!(again["resumed"], false);
    let of_another =
        go_on(&serde_json::json!({ "timeline": 7, "system": begin["system"] }), &again["position"]);
    assert_eq!(Listener::new(&serving, &of_another).expect("begin")["resumed"], false);
}

fn end_walsender(database: &Database) {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE backend_type = 'walsender' AND datname = current_database()";
    assert_eq!(database.sql(sql), [[Some("t".to_owned())]]);
}

#[test]
fn a_temporary_slot_ends_with_its_connection_and_the_account_with_it() {
    let database = database();
    let serving = serve(&[&database.primary], FEED);
    let mut listener = Listener::new(&serving, "");
    let begin = listener.expect("begin");
    end_walsender(&database);
    let lost = listener.expect("lost");
    assert!(lost["why"].as_str().unwrap().contains("57P01"), "{lost}");
    let again = listener.expect("begin");
    assert_eq!(again["resumed"], false);
    assert!(position(&again["position"]) >= position(&begin["position"]));
    database.sql("INSERT INTO teams VALUES (1, 'red')");
    listener.expect_tags(&["team:1", "team:red"]);
}

#[test]
fn a_slot_that_stays_goes_on_where_it_was() {
    let database = database();
    let slot = format!("stays_{}", database.value("SELECT current_database()"));
    let config = FEED.replace("[feed]\n", &format!("[feed]\nslot = \"{slot}\"\n"));
    let mut serving = serve(&[&database.primary], &config);
    let mut listener = Listener::new(&serving, "");
    let begin = listener.expect("begin");
    for id in 1..=3 {
        end_walsender(&database);
        database.sql(&format!("INSERT INTO teams VALUES ({id}, 'red')"));
        // No `lost`, no `begin`, and nothing twice.
        listener.expect_tags(&[&format!("team:{id}"), "team:red"]);
    }
    // The process goes, and something happens while nobody looks.
    serving.process.stop().unwrap();
    database.sql("INSERT INTO teams VALUES (4, 'red')");
    let serving = serve(&[&database.primary], &config);
    let mut listener = Listener::new(&serving, &go_on(&begin, &begin["position"]));
    assert_eq!(listener.expect("begin")["resumed"], true);
    // All again, from where it wants to go on.
    for id in 1..=4 {
        listener.expect_tags(&[&format!("team:{id}"), "team:red"]);
    }

    // Someone else uses it: one of them waits.
    let mut second = serve(&[&database.primary], &config);
    second.process.wait_for_line("55006").unwrap();
    drop(serving);
    Listener::new(&second, "").expect("begin");

    // Someone drops it.
    let mut listener = Listener::new(&second, "");
    listener.expect("begin");
    let drop_slot = format!(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{slot}' AND active; \
         SELECT pg_drop_replication_slot('{slot}')"
    );
    while query(&database.primary, &drop_slot).is_err() {}
    // What it had confirmed last is a while ago: it tells that again to who began there.
    while listener.next().0 == "commit" {}
    // The one that was not a commit was `lost`.
    assert_eq!(listener.expect("begin")["resumed"], false);
    database.sql("INSERT INTO teams VALUES (5, 'red')");
    listener.expect_tags(&["team:5", "team:red"]);
}

#[test]
fn a_slot_that_lost_its_wal_is_made_anew() {
    let cluster = Cluster::start_with(&[("wal_keep_size", "0"), ("max_slot_wal_keep_size", "1MB")]).unwrap();
    let database = Database::of(&cluster, "postgres");
    database.sql(TABLES);
    let config = FEED.replace("[feed]\n", "[feed]\nslot = \"stays\"\n");
    let serving = serve(&[&database.primary], &config);
    Listener::new(&serving, "").expect("begin");
    drop(serving);
    while database.value("SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'stays'") != "lost" {
        database
            .sql("SELECT pg_logical_emit_message(true, 'x', repeat('x', 100000)); SELECT pg_switch_wal()");
        database.sql("CHECKPOINT");
    }
    let mut serving = serve(&[&database.primary], &config);
    serving.process.wait_for_line("was lost: it is dropped and made anew").unwrap();
    let mut listener = Listener::new(&serving, "");
    listener.expect("begin");
    database.sql("INSERT INTO teams VALUES (1, 'red')");
    listener.expect_tags(&["team:1", "team:red"]);
}

#[test]
fn the_feed_follows_a_failover_to_the_new_timeline() {
    let cluster = Cluster::start().unwrap();
    query(&cluster.primary_url(), TABLES).unwrap();
    cluster.wait_for_replica().unwrap();
    let (old, new) = (cluster.node(0), cluster.node(1));
    let serving = serve(&[&old.url(), &new.url()], FEED);
    let mut listener = Listener::new(&serving, "");
    let begin = listener.expect("begin");
    assert_eq!(begin["timeline"], 1);
    query(&old.url(), "INSERT INTO teams VALUES (1, 'red')").unwrap();
    let commit = listener.expect("commit");
    cluster.wait_for_replica().unwrap();
    old.kill().unwrap();
    listener.expect("lost");
    new.promote().unwrap();
    let again = listener.expect("begin");
    assert_eq!((&again["timeline"], &again["system"]), (&serde_json::json!(2), &begin["system"]));
    assert_eq!(again["resumed"], false);
    query(&new.url(), "INSERT INTO teams VALUES (2, 'blue')").unwrap();
    listener.expect_tags(&["team:2", "team:blue"]);
    // Nobody goes on from before.
    let mut late = Listener::new(&serving, &go_on(&begin, &commit["end"]));
    assert_eq!(late.expect("begin")["resumed"], false);
}

#[test]
fn who_listens_has_the_token_or_is_on_this_machine() {
    let database = database();
    let token = "correct-horse-battery";
    let config = FEED.replace("[feed]\n", &format!("[feed]\ntoken = \"{token}\"\n"));
    let mut serving = serve(&[&database.primary], &config);
    let refused = serving.get("/feed");
    assert_eq!((refused.status, refused.field("www-authenticate")), (401, Some("Bearer")));
    let wrong = serving.get_with("/feed", &[("Authorization", "Bearer correct-horse-batterx")]);
    assert_eq!(wrong.status, 401);
    let mut client = Client::connect(serving.address).unwrap();
    let authorization = format!("Bearer {token}");
    client.send(&head("GET", "/feed", "example.com", &[("Authorization", &authorization)], b"")).unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    let first = client.chunk().unwrap().unwrap();
    assert!(first.starts_with(b"{\"begin\":"), "{:?}", String::from_utf8_lossy(&first));
    assert_eq!(serving.call("POST", "/feed", &[("Authorization", &authorization)]).status, 405);
    assert_eq!(serving.get_with("/feed?from=1/1", &[("Authorization", &authorization)]).status, 400);

    let mut open = serve(&[&database.primary], FEED);
    assert_eq!(open.get_with("/feed", &[("Host", "rebound.example.com")]).status, 403);
    assert_eq!(open.get_with("/feed", &[("Origin", "http://127.0.0.1")]).status, 403);
    let mut without = serve(&[&database.primary], "workers = 1");
    assert_eq!(without.get("/feed").status, 404);

    let folder = Folder::new();
    let config = folder.config(&format!("{FEED}\n[database]\nprimary = {:?}", database.primary), &[]);
    let said = crate::support::Said::of(&mut origin(&[
        "serve",
        "--listen",
        "0.0.0.0:0",
        "-c",
        config.to_str().unwrap(),
    ]));
    assert!(said.expect_code(64).err.contains("token"), "{}", said.err);
}

#[test]
fn the_stream_ends_when_the_worker_is_told_to() {
    let database = database();
    let mut serving = serve(&[&database.primary], FEED);
    let mut listener = Listener::new(&serving, "");
    listener.expect("begin");
    serving.process.signal("TERM").unwrap();
    while listener.line().is_some() {}
    assert!(serving.process.wait().unwrap().success());
    // And the slot goes with it.
    let sql = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()";
    database.until(&database.primary, sql, |row| row[0] == "0");
}

#[test]
fn what_the_database_lacks_is_said_and_done_by_setup() {
    let database = database();
    database.sql(
        "DROP PUBLICATION larder; ALTER TABLE teams REPLICA IDENTITY DEFAULT; ALTER TABLE members REPLICA IDENTITY DEFAULT; \
         CREATE TABLE notes (number int NOT NULL, team_id int NOT NULL, text text); CREATE UNIQUE INDEX ON notes (number, team_id)",
    );
    let folder = Folder::new();
    let more = "notes = [\"team:{team_id}:notes\"]\n";
    let config = format!(
        "{FEED}{more}
[database]
primary = {:?}",
        database.primary
    );
    let config = folder.config(&config, &[ONE]);
    let config = config.to_str().unwrap();
    let mut serving = Serving::start(&mut origin(&["serve", "--listen", "127.0.0.1:0", "-c", config]));
    serving.process.wait_for_line("there is no publication larder; run `larder-origin feed setup`").unwrap();
    let mut listener = Listener::new(&serving, "");

    let setup = |more: &[&str]| {
        let mut arguments = vec!["feed", "setup", "-c", config];
        arguments.extend(more);
        crate::support::Said::of(&mut origin(&arguments))
    };
    let said = setup(&[]);
    said.expect_code(1);
    for expected in [
        "ok       wal_level is logical",
        "ALTER TABLE public.teams REPLICA IDENTITY FULL;",
        "ALTER TABLE public.members REPLICA IDENTITY FULL;",
        "ALTER TABLE public.notes REPLICA IDENTITY USING INDEX notes_number_team_id_idx;",
        "CREATE PUBLICATION \"larder\" FOR TABLE public.members, public.notes (\"number\", \"team_id\"), public.teams \
         WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);",
    ] {
        assert!(said.out.contains(expected), "{expected} is not in\n{}", said.out);
    }
    // Nothing was done.
    assert_eq!(database.value("SELECT count(*) FROM pg_publication"), "0");
    let said = setup(&["--apply"]);
    said.expect_code(0);
    assert!(!said.out.contains("missing"), "{}", said.out);
    let said = setup(&["--apply"]);
    assert!(!said.expect_code(0).out.contains("done"), "{}", said.out);

    // The worker finds it, and the application's writes go on.
    listener.expect("begin");
    database.sql("INSERT INTO teams VALUES (1, 'red'); INSERT INTO notes VALUES (1, 1, 'a')");
    listener.expect_tags(&["team:1", "team:red", "team:1:notes"]);
    database.sql("UPDATE notes SET text = 'b'");
    listener.expect_tags(&["team:1:notes"]);
    database.sql("UPDATE notes SET team_id = 2");
    listener.expect_tags(&["team:1:notes", "team:2:notes"]);

    // What is taken out of it is not told without a word.
    database.sql("ALTER PUBLICATION larder DROP TABLE notes");
    let lost = listener.expect("lost");
    assert!(
        lost["why"].as_str().unwrap().contains("publication larder does not have public.notes"),
        "{lost}"
    );
    setup(&["--apply"]).expect_code(0);
    listener.expect("begin");
}

#[test]
fn metrics_and_status_say_how_the_feed_does() {
    let database = database();
    let mut serving = serve(&[&database.primary], FEED);
    let mut listener = Listener::new(&serving, "");
    listener.expect("begin");
    database.sql("INSERT INTO teams VALUES (1, 'red')");
    let commit = listener.expect("commit");
    while listener.at()["snapshot"].is_null() {}
    for (name, expected) in [
        ("events_total", 1),
        ("tags_total", 2),
        ("accounts_total", 1),
        ("listeners", 1),
        ("ring_events", 1),
        ("up", 1),
    ] {
        assert_eq!(serving.metric(&format!("larder_origin_feed_{name}")), expected, "{name}");
    }
    assert!(serving.metric("larder_origin_feed_position_bytes") >= position(&commit["end"]));
    let status = serving.json("/-/status");
    let feed = &status["feed"];
    assert_eq!((&feed["isTold"], &feed["timeline"]), (&Value::Bool(true), &serde_json::json!(1)));
    assert_eq!(feed["ring"]["events"], 1);
    assert!(feed["delaySeconds"].as_f64().unwrap() < 60.0);
}

#[test]
fn other_tables_after_a_reload_are_another_account() {
    let database = database();
    let folder = Folder::new();
    let file = |tables: &str| {
        format!(
            "-- route: GET /teams/{{id}}\n-- param id: path bigint\n-- rows: one\n-- cache: max-age=60\n-- tags: team:{{id}}\n\
             {tables}SELECT id, json_build_object('id', id) AS body FROM teams WHERE id = :id\n"
        )
    };
    let config = format!("workers = 1\n[feed]\n[database]\nservers = [{:?}]", database.primary);
    let config = folder.config(&config, &[("one.sql", &file("-- table teams: team:{id}\n"))]);
    let serve = ["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()];
    let mut serving = Serving::start(&mut origin(&serve));
    let mut listener = Listener::new(&serving, "");
    listener.expect("begin");
    database.sql("INSERT INTO teams VALUES (1, 'red')");
    listener.expect_tags(&["team:1"]);

    // The same tables, otherwise another file.
    folder.write("queries/one.sql", &file("-- summary: A team\n-- table teams: team:{id}\n"));
    serving.process.signal("HUP").unwrap();
    serving.process.wait_for_line("query files reloaded").unwrap();
    database.sql("INSERT INTO teams VALUES (2, 'blue')");
    listener.expect_tags(&["team:2"]);

    folder.write("queries/one.sql", &file("-- table teams: team:{id} team:{public_id}\n"));
    serving.process.signal("HUP").unwrap();
    listener.expect("lost");
    assert_eq!(listener.expect("begin")["resumed"], false);
    database.sql("INSERT INTO teams VALUES (3, 'green')");
    listener.expect_tags(&["team:3", "team:green"]);

    // Who began with the file of before may still answer by it: both are told until it has.
    let mut session = crate::support::Session::new(&database.primary);
    session.run("BEGIN; LOCK TABLE teams IN ACCESS EXCLUSIVE MODE");
    let mut slow = Client::connect(serving.address).unwrap();
    slow.send(&head("GET", "/teams/1", "localhost", &[], b"")).unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock' AND query LIKE 'SELECT id, json%'";
    database.until(&database.primary, waiting, |row| row[0] == "1");
    folder.write(
        "queries/one.sql",
        "-- route: GET /one\n-- rows: one\nSELECT json_build_object('one', 1) AS body\n",
    );
    serving.process.signal("HUP").unwrap();
    serving.until("/one", |response| response.status == 200);
    session.run("INSERT INTO teams VALUES (4, 'brown'); COMMIT");
    listener.expect_tags(&["team:4", "team:brown"]);
    assert_eq!(slow.response("GET").unwrap().status, 200);
    listener.expect("lost");
    listener.expect("begin");
    database.sql("INSERT INTO teams VALUES (5, 'black')");
    folder.write("queries/one.sql", &file("-- table teams: team:{id}\n"));
    serving.process.signal("HUP").unwrap();
    listener.expect("lost");
    listener.expect("begin");
    database.sql("INSERT INTO teams VALUES (6, 'grey')");
    listener.expect_tags(&["team:6"]);
}

/// Members join while their team gets one name after the other. What is told of a member is the name that the team had when it
/// was committed, in the order of the WAL; or the whole table, where nobody can say.
#[test]
fn a_parent_is_told_as_it_was_at_the_commit_or_not_at_all() {
    const WRITERS: u64 = 3;
    const EACH: u64 = 60;
    let database = database();
    database.sql("INSERT INTO teams VALUES (1, 'name-0')");
    let serving = serve(&[&database.primary], FEED);
    let mut listener = Listener::new(&serving, "");
    listener.expect("begin");
    // Looked at before anything is committed.
    listener.at();
    std::thread::scope(|scope| {
        for writer in 0..=WRITERS {
            let url = database.primary.as_str();
            scope.spawn(move || {
                let mut session = crate::support::Session::new(url);
                for n in 1..=EACH {
                    session.run(&match writer {
                        WRITERS => format!("UPDATE teams SET public_id = 'name-{n}'"),
                        writer => format!("INSERT INTO members VALUES ({}, 1)", writer * EACH + n),
                    });
                }
            });
        }
        let (mut members, mut end, mut name) = (0, 0, 0);
        while members < WRITERS * EACH || name < EACH {
            let commit = listener.expect("commit");
            let ended = position(&commit["end"]);
            assert!(ended > end);
            end = ended;
            let tags: BTreeSet<&str> =
                commit["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
            let renamed = format!("team:name-{}", name + 1);
            if tags.contains(&*renamed) {
                assert!(tags.contains(&*format!("team:name-{name}")), "{tags:?}");
                name += 1;
                continue;
            }
            members += 1;
            let exact = BTreeSet::from(["team:1", "admins:false"]);
            let of_team = format!("team:name-{name}:members");
            let is_exact =
                exact.iter().all(|tag| tags.contains(tag)) && tags.contains(&*of_team) && tags.len() == 3;
            assert!(is_exact || tags == BTreeSet::from(["table:members"]), "{tags:?} where {of_team} was");
        }
    });
    // When nobody is in the way, it is exact.
    database.sql("INSERT INTO members VALUES (1000, 1)");
    listener.expect_tags(&["team:1", "admins:false", &format!("team:name-{EACH}:members")]);
    // What is known of a parent holds until it changes, also in the transaction that asks.
    database.sql("INSERT INTO members VALUES (1001, 1)");
    listener.expect_tags(&["team:1", "admins:false", &format!("team:name-{EACH}:members")]);
    database.sql("UPDATE teams SET public_id = 'other'");
    listener.expect_tags(&["team:1", &format!("team:name-{EACH}"), "team:other"]);
    database.sql("INSERT INTO members VALUES (1002, 1)");
    listener.expect_tags(&["team:1", "admins:false", "team:other:members"]);
    database.sql("BEGIN; UPDATE teams SET public_id = 'own'; INSERT INTO members VALUES (1003, 1); COMMIT");
    listener.expect_tags(&["team:1", "team:other", "team:own", "admins:false", "team:own:members"]);
    database.sql("INSERT INTO members VALUES (1004, 1)");
    listener.expect_tags(&["team:1", "admins:false", "team:own:members"]);
}

#[test]
fn what_ships_can_be_set_up_and_told() {
    let database = database();
    database.sql("DROP TABLE members, teams");
    let run = |arguments: &[&str]| database.run(arguments);
    run(&["migrate"]).expect_code(0);
    run(&["seed", "--resources", "10"]).expect_code(0);
    let folder = Folder::new();
    let config = folder.config("workers = 1\n[feed]", &[]);
    let config = config.to_str().unwrap();
    let said = run(&["feed", "setup", "-c", config, "--apply"]);
    said.expect_code(0);
    assert!(!said.out.contains("advice"), "{}", said.out);
    // The columns of its tags are those of a key that there is.
    let members = "SELECT relreplident FROM pg_class WHERE relname = 'members'";
    assert_eq!(database.value(members), "i", "{}", said.out);

    let mut serving =
        Serving::start(&mut database.command(&["serve", "--listen", "127.0.0.1:0", "-c", config]));
    let mut listener = Listener::new(&serving, "");
    listener.expect("begin");
    listener.at();
    let answer = serving.get("/teams/team-1/admins");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let tags: BTreeSet<String> =
        answer.field("cache-tag").unwrap().split(',').map(|tag| tag.trim().to_owned()).collect();
    // Of the answer by what was asked, of the row by its foreign key.
    let members = "team:team-1:members";
    assert!(tags.contains(members), "{tags:?}");
    database.sql(
        "UPDATE members SET is_admin = NOT is_admin WHERE id = (SELECT min(id) FROM members WHERE team_id = \
         (SELECT id FROM teams WHERE public_id = 'team-1'))",
    );
    let told = listener.tags();
    assert!(told.contains(members), "{members} of {tags:?} is not in {told:?}");
    assert!(!told.contains("table:members"), "{told:?}");
}
