//! What a soak runs on: a primary, a replica, a worker with a change feed, and two proxies that listen to it; each can be killed
//! and comes back where it was.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use rig::{
    postgres::{self, Cluster},
    process::Process,
    programs::{Profile, Programs},
};

use super::load::{Proxy, Subject};
use crate::{Error, stop};

pub(super) const WORKER: &str = "larder-origin";
pub(super) const PROXIES: [&str; 2] = ["proxy-a", "proxy-b"];
const RESOURCES: &str = "2000";

pub(super) struct System {
    pub(super) cluster: Arc<Cluster>,
    pub(super) origin: SocketAddr,
    programs: Programs,
    folder: PathBuf,
}

impl System {
    /// Everything from nothing.
    pub(super) fn start(profile: Profile) -> Result<(System, Vec<Proxy>), Error> {
        let programs = Programs::build(profile)?;
        let cluster = Arc::new(Cluster::start()?);
        stop::running().cluster = Some(Arc::clone(&cluster));
        let folder = cluster.dir().join("soak");
        fs::create_dir_all(&folder)?;
        let mut free = Vec::new();
        for _ in 0..5 {
            // Held until all are known, so that no two are the same.
            free.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
        }
        let ports: Vec<SocketAddr> = free.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        drop(free);
        let [origin, a, admin_of_a, b, admin_of_b] = ports[..] else { return Err("no ports".into()) };
        let system = System { cluster, origin, programs, folder };
        fs::write(system.worker_toml(), "[feed]\n")?;
        for arguments in
            [&["migrate"][..], &["seed", "--resources", RESOURCES], &["feed", "setup", "--apply"]]
        {
            let output = system.worker().args(arguments).output()?;
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
        // Values begin at 0.
        postgres::query(&system.cluster.primary_url(), "UPDATE resources SET score = 0")?;
        system.cluster.wait_for_replica()?;
        let mut proxies = Vec::new();
        for (name, address, admin) in [(PROXIES[0], a, admin_of_a), (PROXIES[1], b, admin_of_b)] {
            let config = format!(
                "listen = [\"{address}\"]\n\n[admin]\nlisten = \"{admin}\"\n\n[[upstream]]\nname = \"origin\"\n\
                 servers = [\"http://{origin}\"]\n\n[feed]\nservers = [\"http://{origin}\"]\nmax_silence = \"1s\"\n\
                 on_loss = \"pass\"\n\n[[route]]\nname = \"all\"\nupstream = \"origin\"\n"
            );
            fs::write(system.folder.join(format!("{name}.toml")), config)?;
            proxies.push(Proxy::new(name, address, admin));
        }
        for name in std::iter::once(WORKER).chain(PROXIES) {
            let process = system.launch(name)?;
            stop::running().processes.push(process);
        }
        Ok((system, proxies))
    }

    /// What everyone may see, each with who made it.
    pub(super) fn subjects(&self, count: usize) -> Result<Vec<Subject>, Error> {
        let sql = format!(
            "SELECT r.public_id, u.public_id FROM resources r JOIN users u ON u.id = r.created_by_id WHERE NOT r.is_deleted \
             AND NOT r.is_private AND r.has_complete_version AND NOT u.is_private ORDER BY r.id LIMIT {count}"
        );
        let rows = postgres::query(&self.cluster.primary_url(), &sql)?;
        let subject = |row: Vec<Option<String>>| {
            let mut columns = row.into_iter().flatten();
            Some(Subject { resource: columns.next()?, user: columns.next()? })
        };
        Ok(rows.into_iter().filter_map(subject).collect())
    }

    /// What the primary has.
    pub(super) fn score(&self, resource: &str) -> Result<u64, Error> {
        let sql = format!("SELECT score FROM resources WHERE public_id = '{resource}'");
        Ok(postgres::value(&self.cluster.primary_url(), &sql)?.parse()?)
    }

    /// Does something to a process by its name.
    pub(super) fn with<T>(
        &self,
        name: &str,
        act: impl FnOnce(&mut Process) -> Result<T, rig::process::ProcessError>,
    ) -> Result<T, Error> {
        let mut running = stop::running();
        let process = running.processes.iter_mut().find(|process| process.name() == name);
        Ok(act(process.ok_or("a process is not there")?)?)
    }

    /// Starts it anew, where it was. To be called when it has ended.
    pub(super) fn start_again(&self, name: &str) -> Result<(), Error> {
        let process = self.launch(name)?;
        let mut running = stop::running();
        running.processes.retain(|process| process.name() != name);
        running.processes.push(process);
        Ok(())
    }

    fn launch(&self, name: &str) -> Result<Process, Error> {
        let mut command = if name == WORKER {
            let mut worker = self.worker();
            worker.args(["serve", "--listen", &self.origin.to_string()]);
            worker
        } else {
            let mut proxy = Command::new(&self.programs.larder);
            proxy.args(["serve", "-c"]).arg(self.folder.join(format!("{name}.toml")));
            proxy
        };
        let mut process = Process::start(name, command.env("RUST_LOG", "info"))?;
        process.wait_for_address("serving")?;
        Ok(process)
    }

    fn worker(&self) -> Command {
        let mut command = Command::new(&self.programs.origin);
        command.arg("-c").arg(self.worker_toml());
        command
            .env("DATABASE_URL", self.cluster.primary_url())
            .env("REPLICA_URLS", self.cluster.replica_url());
        command
    }

    fn worker_toml(&self) -> PathBuf {
        self.folder.join("origin.toml")
    }
}
