//! What benchmarks of the change feed and soaks run on: a primary, a replica, a worker with a feed, and proxies in front of it;
//! each can be ended and comes back where it was.
//!
//! Read next: `bench/feed.rs` and `soak.rs`.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use rig::{
    postgres::{self, Cluster},
    process::{Process, ProcessError},
    programs::{Profile, Programs},
};

use crate::{
    Error,
    call::{self, Caller},
    stop,
};

pub(crate) const WORKER: &str = "larder-origin";

/// The first part of a proxy's configuration.
const HEAD: &str = r#"listen = ["LISTEN"]

[admin]
listen = "ADMIN"

[[upstream]]
name = "origin"
servers = ["http://ORIGIN"]

"#;

/// Until a proxy has heard of what there is.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Stack {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) origin: SocketAddr,
    /// As they were asked for.
    pub(crate) proxies: Vec<Proxy>,
    programs: Programs,
    folder: PathBuf,
}

/// Where a proxy is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// One row that is written and read: a resource, and who made it.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) resource: String,
    pub(crate) user: String,
}

impl Subject {
    pub(crate) fn target(&self) -> String {
        format!("/resources/{}", self.resource)
    }
}

/// To be sent to [`Subject::target`] with PATCH.
pub(crate) fn change(score: u64) -> String {
    format!("{{\"score\": {score}}}")
}

impl Stack {
    /// Everything from nothing, for the worker's configuration, and proxies by their names and what is particular to theirs. LISTEN,
    /// ADMIN and ORIGIN in these become addresses.
    pub(crate) fn start(
        profile: Profile,
        resources: u32,
        worker: &str,
        proxies: &[(&'static str, &str)],
    ) -> Result<Stack, Error> {
        let programs = Programs::build(profile)?;
        let cluster = Arc::new(Cluster::start()?);
        stop::running().cluster = Some(Arc::clone(&cluster));
        let folder = cluster.dir().join("stack");
        fs::create_dir_all(&folder)?;
        let mut free = Free::default();
        let mut stack = Stack { cluster, origin: free.address()?, proxies: Vec::new(), programs, folder };
        fs::write(stack.worker_toml(), worker)?;
        for (name, config) in proxies {
            let proxy = Proxy { name, address: free.address()?, admin: free.address()? };
            let config = format!("{HEAD}{config}");
            let addresses = [("LISTEN", proxy.address), ("ADMIN", proxy.admin), ("ORIGIN", stack.origin)];
            let config = addresses
                .iter()
                .fold(config, |config, (name, address)| config.replace(name, &address.to_string()));
            fs::write(stack.proxy_toml(name), config)?;
            stack.proxies.push(proxy);
        }
        drop(free);
        let resources = resources.to_string();
        for arguments in
            [&["migrate"][..], &["seed", "--resources", &resources], &["feed", "setup", "--apply"]]
        {
            let output = stack.worker(arguments).output()?;
            if !output.status.success() {
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said);
                return Err(format!(
                    "larder-origin {} ended with {}:\n{said}",
                    arguments.join(" "),
                    output.status
                )
                .into());
            }
        }
        stack.scores_to_zero()?;
        for name in std::iter::once(WORKER).chain(proxies.iter().map(|(name, _)| *name)) {
            stack.launch(name)?;
        }
        Ok(stack)
    }

    /// Resources that everyone may see.
    pub(crate) fn subjects(&self, count: usize) -> Result<Vec<Subject>, Error> {
        let sql = format!(
            "SELECT r.public_id, u.public_id FROM resources r JOIN users u ON u.id = r.created_by_id WHERE NOT r.is_deleted \
             AND NOT r.is_private AND r.has_complete_version AND NOT u.is_private ORDER BY r.id LIMIT {count}"
        );
        let rows = postgres::query(&self.cluster.primary_url(), &sql)?;
        let subject = |row: Vec<Option<String>>| {
            let mut columns = row.into_iter().flatten();
            Some(Subject { resource: columns.next()?, user: columns.next()? })
        };
        let subjects: Vec<Subject> = rows.into_iter().filter_map(subject).collect();
        if subjects.len() < count {
            return Err(
                format!("{count} resources to ask for are needed, there are {}", subjects.len()).into()
            );
        }
        Ok(subjects)
    }

    /// What is counted up begins here.
    pub(crate) fn scores_to_zero(&self) -> Result<(), Error> {
        postgres::query(&self.cluster.primary_url(), "UPDATE resources SET score = 0 WHERE score <> 0")?;
        Ok(self.cluster.wait_for_replica()?)
    }

    /// What the primary has.
    pub(crate) fn score(&self, resource: &str) -> Result<u64, Error> {
        let sql = format!("SELECT score FROM resources WHERE public_id = '{resource}'");
        Ok(postgres::value(&self.cluster.primary_url(), &sql)?.parse()?)
    }

    /// Until a proxy has heard of all that is committed now. How long it took.
    #[expect(clippy::disallowed_methods, reason = "asks again for a while")]
    pub(crate) fn wait_for_feed(&self, proxy: Proxy) -> Result<Duration, Error> {
        let began = Instant::now();
        let now = postgres::value(&self.cluster.primary_url(), "SELECT pg_current_wal_lsn()")?;
        let now = call::position(&now).ok_or("Postgres says no position")?;
        let mut admin = Caller::new(proxy.admin);
        loop {
            let heard = call::heard(&mut admin);
            if heard.is_some_and(|heard| heard >= now) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > PATIENCE {
                let said = heard.map_or("nothing".to_owned(), |heard| format!("all up to {heard:X}"));
                return Err(format!(
                    "{} has heard {said} after {PATIENCE:?}, and the WAL was at {now:X}\n{}",
                    proxy.name,
                    self.with(proxy.name, |process| Ok(process.log()))?
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Does something to a process by its name.
    pub(crate) fn with<T>(
        &self,
        name: &str,
        act: impl FnOnce(&mut Process) -> Result<T, ProcessError>,
    ) -> Result<T, Error> {
        let mut running = stop::running();
        let process = running.processes.iter_mut().find(|process| process.name() == name);
        Ok(act(process.ok_or("a process is not there")?)?)
    }

    /// Where it was. To be called when it does not run.
    pub(crate) fn launch(&self, name: &str) -> Result<(), Error> {
        let mut command = if name == WORKER {
            self.worker(&["serve", "--listen", &self.origin.to_string()])
        } else {
            let mut proxy = Command::new(&self.programs.larder);
            proxy.args(["serve", "-c"]).arg(self.proxy_toml(name));
            proxy
        };
        let mut process = Process::start(name, command.env("RUST_LOG", "info"))?;
        process.wait_for_address("serving")?;
        let mut running = stop::running();
        running.processes.retain(|process| process.name() != name);
        running.processes.push(process);
        Ok(())
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn end(&self, name: &str) -> Result<(), Error> {
        self.with(name, |process| process.stop().map(drop))?;
        stop::running().processes.retain(|process| process.name() != name);
        Ok(())
    }

    fn worker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.origin);
        command.args(arguments).arg("-c").arg(self.worker_toml());
        command
            .env("DATABASE_URL", self.cluster.primary_url())
            .env("REPLICA_URLS", self.cluster.replica_url());
        command
    }

    fn worker_toml(&self) -> PathBuf {
        self.folder.join("origin.toml")
    }

    fn proxy_toml(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }
}

/// Addresses that are free, held until all are known, so that no two are the same.
#[derive(Debug, Default)]
struct Free(Vec<TcpListener>);

impl Free {
    fn address(&mut self) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        self.0.push(listener);
        Ok(address)
    }
}
