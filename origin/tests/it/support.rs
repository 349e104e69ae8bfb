//! What tests stand on: one cluster for all that do not break it, databases of their own, the program as a child.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rig::{
    http::{Client, Response},
    postgres::{Cluster, query, value},
    process::Process,
};

/// More than `check` takes for a small table, so that plans count.
pub(crate) const RESOURCES: &str = "20000";
const PATIENCE: Duration = Duration::from_secs(60);

/// Its watchdog ends it when this process ends: nobody drops a static.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start().unwrap())
}

/// A database on both servers.
pub(crate) struct Database {
    pub(crate) primary: String,
    pub(crate) replica: String,
}

impl Database {
    pub(crate) fn of(cluster: &Cluster, name: &str) -> Database {
        Database { primary: cluster.primary_url_of(name), replica: cluster.replica_url_of(name) }
    }

    /// With nothing in it.
    pub(crate) fn empty() -> Database {
        let (cluster, name) = (cluster(), fresh_name());
        query(&cluster.primary_url(), &format!("CREATE DATABASE {name}")).unwrap();
        cluster.wait_for_replica().unwrap();
        Database::of(cluster, &name)
    }

    /// With the schema and data of everyone: to be read, not written.
    pub(crate) fn seeded() -> Database {
        static SEEDED: OnceLock<()> = OnceLock::new();
        let cluster = cluster();
        let database = Database::of(cluster, "seeded");
        SEEDED.get_or_init(|| {
            query(&cluster.primary_url(), "CREATE DATABASE seeded").unwrap();
            fill(&database);
            cluster.wait_for_replica().unwrap();
        });
        database
    }

    /// With a copy of the same.
    pub(crate) fn seeded_copy() -> Database {
        let (cluster, name) = (cluster(), fresh_name());
        // Copying needs one that nobody is connected to.
        static ORIGINAL: OnceLock<()> = OnceLock::new();
        ORIGINAL.get_or_init(|| {
            query(&cluster.primary_url(), "CREATE DATABASE original").unwrap();
            fill(&Database::of(cluster, "original"));
        });
        query(&cluster.primary_url(), &format!("CREATE DATABASE {name} TEMPLATE original")).unwrap();
        cluster.wait_for_replica().unwrap();
        Database::of(cluster, &name)
    }

    pub(crate) fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        query(&self.primary, sql).unwrap()
    }

    pub(crate) fn value(&self, sql: &str) -> String {
        value(&self.primary, sql).unwrap()
    }

    /// Asks again and again until the first row is as wanted.
    #[track_caller]
    pub(crate) fn until(&self, url: &str, sql: &str, is_wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = now() + PATIENCE;
        loop {
            let rows = query(url, sql).unwrap();
            let row: Vec<String> = rows
                .into_iter()
                .next()
                .unwrap_or_default()
                .into_iter()
                .map(Option::unwrap_or_default)
                .collect();
            if is_wanted(&row) {
                return row;
            }
            assert!(now() < deadline, "{sql} still gives {row:?}");
            std::thread::yield_now();
        }
    }

    /// Waits until so many connections to this database wait for something of a kind; gives the process of one of them.
    #[track_caller]
    pub(crate) fn until_waiting(&self, kind: &str, count: usize) -> String {
        let sql = format!(
            "SELECT count(*), max(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = '{kind}' AND state = 'active'"
        );
        self.until(&self.primary, &sql, |row| row[0] == count.to_string()).remove(1)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = origin(arguments);
        command.env("DATABASE_URL", &self.primary).env("REPLICA_URLS", &self.replica);
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        Said::of(&mut self.command(arguments))
    }

    pub(crate) fn serve(&self) -> Serving {
        Serving::start(&mut self.command(&["serve", "--listen", "127.0.0.1:0"]))
    }

    /// With a configuration: `files` are put into its folder of query files; `more` is TOML.
    pub(crate) fn serve_with(&self, more: &str, files: &[(&str, &str)]) -> Serving {
        let folder = Folder::new();
        let config = folder.config(more, files);
        let serve = ["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()];
        // The files were read when it serves.
        Serving::start(&mut self.command(&serve))
    }
}

fn fill(database: &Database) {
    database.run(&["migrate"]).expect_code(0);
    database.run(&["seed", "--resources", RESOURCES]).expect_code(0);
}

/// The program, told nothing by our own environment.
pub(crate) fn origin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder-origin"));
    command.args(arguments);
    for name in ["DATABASE_URL", "REPLICA_URLS", "LARDER_CURSOR_KEY", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(command: &mut Command) -> Said {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Said {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }
}

/// A running program, ended when dropped.
pub(crate) struct Serving {
    pub(crate) process: Process,
    client: Client,
    pub(crate) address: std::net::SocketAddr,
}

impl Serving {
    pub(crate) fn start(command: &mut Command) -> Serving {
        let mut process = Process::start("larder-origin", command).unwrap();
        let address = process.wait_for_address("serving").unwrap();
        Serving { process, client: Client::connect(address).unwrap(), address }
    }

    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.get_with(target, &[])
    }

    pub(crate) fn get_with(&mut self, target: &str, fields: &[(&str, &str)]) -> Response {
        self.call("GET", target, fields)
    }

    pub(crate) fn call(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
        self.client.call(method, target, fields, b"").unwrap()
    }

    /// The body of a 200, read as JSON.
    #[track_caller]
    pub(crate) fn json(&mut self, target: &str) -> serde_json::Value {
        let response = self.get(target);
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Asks again and again until the answer is as wanted.
    #[track_caller]
    pub(crate) fn until(&mut self, target: &str, is_wanted: impl Fn(&Response) -> bool) -> Response {
        let deadline = now() + PATIENCE;
        loop {
            let response = self.get(target);
            if is_wanted(&response) {
                return response;
            }
            assert!(now() < deadline, "{target} is still {response:?}\n{}", self.process.log());
            std::thread::yield_now();
        }
    }

    #[track_caller]
    pub(crate) fn metric(&mut self, name: &str) -> u64 {
        let text = self.get("/-/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name} in\n{text}")).parse().unwrap()
    }
}

/// A connection that stays, for transactions that others have to wait for.
pub(crate) struct Session {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl Session {
    pub(crate) fn new(url: &str) -> Session {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (client, connection) =
            runtime.block_on(tokio_postgres::connect(url, tokio_postgres::NoTls)).unwrap();
        runtime.spawn(connection);
        Session { runtime, client }
    }

    #[track_caller]
    pub(crate) fn run(&mut self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap();
    }
}

/// A folder for one test, removed with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("origin-{}", fresh_name()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// An `origin.toml` whose folder of query files has these; none means those that ship.
    pub(crate) fn config(&self, more: &str, files: &[(&str, &str)]) -> PathBuf {
        for (name, text) in files {
            self.write(&format!("queries/{name}"), text);
        }
        let queries = if files.is_empty() { "" } else { "[queries]\ndirectory = \"queries\"\n" };
        self.write("origin.toml", &format!("{more}\n{queries}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

#[expect(clippy::disallowed_methods, reason = "only bounds how long is waited for other processes")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
