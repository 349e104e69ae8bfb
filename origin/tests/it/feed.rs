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
    let file = ("one.sql", "-- route: GET /one\n-- rows: one\nSELECT json_build_object('one', 1) AS body\n");
    let config = folder.config(&format!("{config}\n[database]\nservers = [{}]", list.join(", ")), &[file]);
    Serving::start(&mut origin(&["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()]))
}

/// One who listens.
struct Listener {
    client: Client,
    rest: Vec<u8>,
}

impl Listener {
    fn new(serving: &Serving, query: &str) -> Listener {
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
    fn next(&mut self) -> (String, Value) {
        loop {
            let line = self.line().expect("the feed ended");
            let (name, value) = line.as_object().unwrap().iter().next().unwrap();
            if name != "at" {
                return (name.clone(), value.clone());
            }
        }
    }

    #[track_caller]
    fn expect(&mut self, name: &str) -> Value {
        let (found, value) = self.next();
        assert_eq!(found, name, "{value}");
        value
    }

    /// The tags of the next commit.
    #[track_caller]
    fn tags(&mut self) -> BTreeSet<String> {
        let commit = self.expect("commit");
        commit["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    fn expect_tags(&mut self, expected: &[&str]) {
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
