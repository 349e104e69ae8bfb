//! A primary, a replica, a worker with a change feed, and proxies that listen to it through a wire that can be held and cut. Each
//! test has all of it to itself.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use rig::{
    http::{Client, Response},
    postgres::{Cluster, query, value},
    process::Process,
    programs::{Profile, Programs},
    relay::Relay,
};
use serde_json::Value;

/// Far beyond what anything here takes; met only by a test that has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a feed that says nothing.
pub const MAX_SILENCE: Duration = Duration::from_secs(1);

const TABLES: &str = "CREATE TABLE things (id bigint PRIMARY KEY, name text NOT NULL); \
                      INSERT INTO things SELECT n, 'old' FROM generate_series(1, 100) n; \
                      CREATE PUBLICATION larder FOR TABLE things WITH (publish_via_partition_root = true)";
const FILES: [(&str, &str); 4] = [
    (
        "thing.sql",
        "-- route: GET /things/{id}\n-- param id: path int8\n-- rows: one\n-- read: replica; max_lag: 1h\n\
         -- tags: thing:{id}\n-- table things: thing:{id}\n-- cache: max-age=0, s-maxage=3600\n\
         SELECT json_build_object('name', name) AS body FROM things WHERE id = :id\n",
    ),
    (
        "primary_thing.sql",
        "-- route: GET /primary/{id}\n-- param id: path int8\n-- rows: one\n-- read: primary\n\
         -- tags: thing:{id}\n-- table things: thing:{id}\n-- cache: max-age=0, s-maxage=3600\n\
         SELECT json_build_object('name', name) AS body FROM things WHERE id = :id\n",
    ),
    (
        // Its snapshot is taken, then it waits.
        "waiting_thing.sql",
        "-- route: GET /waiting/{id}\n-- param id: path int8\n-- rows: one\n-- read: primary\n\
         -- tags: thing:{id}\n-- table things: thing:{id}\n-- cache: max-age=0, s-maxage=3600\n\
         SELECT json_build_object('name', name, 'waited', pg_advisory_xact_lock_shared(42) IS NULL) AS body\n\
         FROM things WHERE id = :id\n",
    ),
    (
        "thing_update.sql",
        "-- route: PATCH /things/{id}\n-- param id: path int8\n-- param name: body text\n-- rows: one\n\
         UPDATE things SET name = :name WHERE id = :id RETURNING json_build_object('name', name) AS body\n",
    ),
];

fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| Programs::build(Profile::Dev).unwrap_or_else(|error| panic!("{error}")))
}

/// Everything, running.
pub struct World {
    // Dropped in this order.
    pub proxies: Vec<Proxy>,
    worker: Process,
    pub cluster: Cluster,
    pub origin: SocketAddr,
    folder: PathBuf,
}

pub struct Proxy {
    pub address: SocketAddr,
    admin: SocketAddr,
    /// Between it and its feed.
    pub wire: Relay,
    process: Process,
}

impl World {
    /// So many proxies. `feed`: what the worker's section `[feed]` has; `more`: what the proxies' configuration has besides.
    ///
    /// # Panics
    /// Something does not start.
    #[track_caller]
    pub fn start(proxies: usize, feed: &str, more: &str) -> World {
        let cluster = Cluster::start().unwrap_or_else(|error| panic!("{error}"));
        let folder = cluster.dir().join("stale");
        let queries = folder.join("queries");
        fs::create_dir_all(&queries).expect("the folder can be written");
        for (name, text) in FILES {
            fs::write(queries.join(name), text).expect("the folder can be written");
        }
        let worker_toml = format!(
            "workers = 1\n[queries]\ndirectory = \"queries\"\n[database]\nservers = [{:?}, {:?}]\n[feed]\n{feed}\n",
            cluster.primary_url(),
            cluster.replica_url()
        );
        fs::write(folder.join("origin.toml"), worker_toml).expect("the folder can be written");
        query(&cluster.primary_url(), TABLES).unwrap_or_else(|error| panic!("{error}"));
        if feed.contains("triggers") {
            let set_up = worker_command(&folder, &["feed", "setup", "--apply"]).output();
            assert!(set_up.as_ref().is_ok_and(|output| output.status.success()), "{set_up:?}");
        }
        cluster.wait_for_replica().unwrap_or_else(|error| panic!("{error}"));
        let mut worker = Process::start(
            "larder-origin",
            &mut worker_command(&folder, &["serve", "--listen", "127.0.0.1:0"]),
        )
        .unwrap_or_else(|error| panic!("{error}"));
        let origin = worker.wait_for_address("serving").unwrap_or_else(|error| panic!("{error}"));
        let mut world = World { proxies: Vec::new(), worker, cluster, origin, folder };
        for nth in 0..proxies {
            let proxy = Proxy::start(&world, nth, more);
            world.proxies.push(proxy);
        }
        for proxy in &world.proxies {
            proxy.wait_for_feed();
        }
        world
    }

    /// The first one.
    pub fn proxy(&self) -> &Proxy {
        &self.proxies[0]
    }

    /// On the primary.
    ///
    /// # Panics
    /// Postgres refuses it.
    #[track_caller]
    pub fn sql(&self, sql: &str) {
        query(&self.cluster.primary_url(), sql).unwrap_or_else(|error| panic!("{error}"));
    }

    #[track_caller]
    pub fn rename(&self, id: u32, name: &str) {
        self.sql(&format!("UPDATE things SET name = '{name}' WHERE id = {id}"));
    }

    /// Where the primary's log ends now.
    pub fn position(&self) -> u64 {
        let text = value(&self.cluster.primary_url(), "SELECT pg_current_wal_insert_lsn()");
        position_of(&text.unwrap_or_else(|error| panic!("{error}"))).expect("a position")
    }

    /// Ends the worker without a word; the end of it all, as far as its upstream goes.
    pub fn kill_worker(&mut self) {
        self.worker.kill().unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Proxy {
    fn start(world: &World, nth: usize, more: &str) -> Proxy {
        let wire = Relay::start(world.origin).expect("loopback has free ports");
        let (address, admin) = (free(), free());
        let config = format!(
            "listen = [\"{address}\"]\nworkers = 1\n[admin]\nlisten = \"{admin}\"\n[[upstream]]\nname = \"origin\"\n\
             servers = [\"http://{}\"]\n[feed]\nservers = [\"http://{}\"]\nmax_silence = \"{}s\"\n{more}\n",
            world.origin,
            wire.address(),
            MAX_SILENCE.as_secs()
        );
        let file = world.folder.join(format!("larder-{nth}.toml"));
        fs::write(&file, config).expect("the folder can be written");
        let mut command = Command::new(&programs().larder);
        let mut process = Process::start("larder", command.args(["serve", "-c"]).arg(&file))
            .unwrap_or_else(|error| panic!("{error}"));
        process.wait_for_address("serving").unwrap_or_else(|error| panic!("{error}"));
        Proxy { address, admin, wire, process }
    }

    #[track_caller]
    pub fn get(&self, target: &str) -> Answer {
        self.get_with(target, &[])
    }

    #[track_caller]
    pub fn get_with(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.call("GET", target, fields, "")
    }

    /// # Panics
    /// The proxy does not answer.
    #[track_caller]
    pub fn call(&self, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let mut client = Client::connect(self.address).expect("the proxy takes connections");
        let answer = client.call(method, target, fields, body.as_bytes());
        Answer(answer.unwrap_or_else(|error| panic!("{error}\n{}", self.process.log())))
    }

    /// What the operator sees of its feed.
    ///
    /// # Panics
    /// The admin listener does not answer.
    pub fn feed(&self) -> Value {
        let mut client = Client::connect(self.admin).expect("the admin listener takes connections");
        let answer = client.get("/api/status", &[]).expect("the admin listener answers");
        let status: Value = serde_json::from_slice(&answer.body).expect("a status is JSON");
        status["feed"].clone()
    }

    pub fn epoch(&self) -> u64 {
        self.feed()["epoch"].as_u64().unwrap_or(0)
    }

    /// How far it has heard.
    pub fn reached(&self) -> u64 {
        self.feed()["position"].as_str().and_then(position_of).unwrap_or(0)
    }

    pub fn events(&self) -> u64 {
        self.feed()["events"].as_u64().unwrap_or(0)
    }

    #[track_caller]
    pub fn wait_for_feed(&self) {
        until("the feed to be heard", || self.feed()["state"] == "heard");
    }

    /// Until the feed has said all that the primary has written by now.
    #[track_caller]
    pub fn catch_up(&self, world: &World) {
        let position = world.position();
        until("the feed to come to where the primary is", || self.reached() >= position);
    }

    /// Puts an answer in store.
    #[track_caller]
    pub fn warm(&self, target: &str, name: &str) {
        until("an answer to be stored", || {
            let answer = self.get(target);
            assert_eq!(answer.name(), name, "{answer:?}");
            answer.is_hit()
        });
    }
}

#[derive(Debug)]
pub struct Answer(pub Response);

impl Answer {
    #[track_caller]
    pub fn name(&self) -> String {
        assert_eq!(self.0.status, 200, "{:?} {}", self.0, self.0.text());
        let body: Value = serde_json::from_slice(&self.0.body).expect("a thing is JSON");
        body["name"].as_str().unwrap_or_default().to_owned()
    }

    pub fn status(&self) -> &str {
        self.0.field("cache-status").unwrap_or_default()
    }

    pub fn is_hit(&self) -> bool {
        self.status().contains("; hit")
    }

    pub fn is_stored(&self) -> bool {
        self.status().contains("; stored")
    }
}

fn worker_command(folder: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(&programs().origin);
    command.args(arguments).arg("-c").arg(folder.join("origin.toml"));
    command
}

/// A port that nobody has at this moment.
fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address")
}

pub fn position_of(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |text| u64::from_str_radix(text, 16).ok();
    Some(half(high)? << 32 | half(low)?)
}

/// Returns when `holds` does.
///
/// # Panics
/// It does not within a minute.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !holds() {
        assert!(now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

#[expect(clippy::disallowed_methods, reason = "only bounds a wait")]
fn now() -> Instant {
    Instant::now()
}
