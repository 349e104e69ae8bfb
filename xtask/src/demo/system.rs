//! What the demo runs: two Postgres servers, data, the origin worker and the proxy, wired together by files that are
//! there to be edited.

use std::{
    fmt, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use rig::{
    http::{Client, Response},
    postgres::Cluster,
    process::Process,
    programs::Programs,
};

use super::Step;
use crate::{Error, stop};

/// The configuration that ships for the endpoints that ship. The demo has ports of its own, and policies.
const SHIPPED: &str = include_str!("../../../origin/larder.toml");

/// For the change feed to be heard.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) proxy: u16,
    pub(crate) origin: u16,
    pub(crate) admin: u16,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports { proxy: 8080, origin: 8081, admin: 9090 }
    }
}

impl Ports {
    pub(crate) fn from_base(base: u16) -> Ports {
        Ports { proxy: base, origin: base + 1, admin: base + 2 }
    }

    /// The first of three neighbours that are free at this moment.
    pub(crate) fn free_base() -> std::io::Result<u16> {
        for _ in 0..100 {
            let base = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            if base < 65_000 && Ports::from_base(base).check_free().is_ok() {
                return Ok(base);
            }
        }
        Err(std::io::Error::other("no three free ports beside each other were found"))
    }

    pub(crate) fn check_free(self) -> Result<(), Error> {
        for (what, port) in
            [("proxy", self.proxy), ("origin worker", self.origin), ("admin listener", self.admin)]
        {
            if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                return Err(format!(
                    "port {port} for the {what} is not free ({error}); say for example `--port-base 18080` to move all three"
                )
                .into());
            }
        }
        Ok(())
    }
}

/// The running system. Its processes are kept in [`stop`].
pub(crate) struct System {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) ports: Ports,
    pub(crate) larder: PathBuf,
    pub(crate) worker: PathBuf,
    /// `larder.toml` and `policies/`.
    pub(crate) folder: PathBuf,
}

/// The proxy's configuration, with the parts that the walk changes.
pub(crate) struct LarderToml<'a> {
    pub(crate) ports: Ports,
    /// What stands in the route's `cache`.
    pub(crate) cache: &'a str,
    pub(crate) component: &'a str,
    pub(crate) settings: &'a str,
}

impl LarderToml<'_> {
    pub(crate) fn new(ports: Ports) -> Self {
        LarderToml {
            ports,
            cache: "{ max_ttl = \"1d\" }",
            component: "policies/tenant-key.wasm",
            settings: "{ languages = [\"en\", \"de\"], ttl = { acme = \"5s\" } }",
        }
    }
}

impl fmt::Display for LarderToml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ports { proxy, origin, admin } = self.ports;
        let LarderToml { cache, component, settings, .. } = self;
        let mut text = SHIPPED.to_owned();
        for (shipped, here) in [
            (r#""127.0.0.1:8080""#, format!(r#""127.0.0.1:{proxy}""#)),
            (r#""127.0.0.1:9090""#, format!(r#""127.0.0.1:{admin}""#)),
            (r#""http://127.0.0.1:8081""#, format!(r#""http://127.0.0.1:{origin}""#)),
            (
                "tags = [\"resource:{id}\"]\ncache = { max_ttl = \"1d\" }\n",
                format!(
                    "tags = [\"resource:{{id}}\"]\ncache = {cache}\npolicy = {{ component = \"{component}\", settings = {settings} }}\n"
                ),
            ),
            (
                "tags = [\"user:{id}\", \"user:{id}:teams\"]\n",
                "# For a policy of your own: docs/policies.md.\ntags = [\"user:{id}\", \"user:{id}:teams\"]\n\
                 policy = { component = \"policies/mine.wasm\" }\n"
                    .to_owned(),
            ),
        ] {
            assert_eq!(text.matches(shipped).count(), 1, "origin/larder.toml has once: {shipped}");
            text = text.replacen(shipped, &here, 1);
        }
        // First of the routes: one of those that ship takes everything.
        let feed = format!(
            "[feed]\n# What changes in Postgres ends what is stored: docs/consistency.md.\nservers = [\"http://127.0.0.1:{origin}\"]\n\n\
             [[route]]\n# Who wants to hear of changes: docs/live.md.\nname = \"live\"\nmatch = {{ path = \"/live\" }}\n\
             live = true\n\n[[route]]\n"
        );
        text = text.replacen("[[route]]\n", &feed, 1);
        f.write_str(&text)
    }
}

impl System {
    pub(crate) fn start(
        programs: &Programs,
        components: &Path,
        ports: Ports,
        resources: u64,
    ) -> Result<System, Error> {
        let step = Step::begin("postgres", "starting a primary and a streaming replica");
        let cluster = Arc::new(Cluster::start()?);
        stop::running().cluster = Some(Arc::clone(&cluster));
        let (primary, replica) = (cluster.primary_url(), cluster.replica_url());
        step.done(&format!("primary {primary}, replica {replica}"));

        let origin = || {
            let mut command = Command::new(&programs.origin);
            command.env("DATABASE_URL", &primary).env("REPLICA_URLS", &replica);
            command
        };
        let step = Step::begin("schema", "running migrations");
        let migrated = output(origin().arg("migrate"))?;
        step.done(last_line(&migrated.stdout).unwrap_or("done"));
        let step = Step::begin("feed", "making what the change feed needs");
        let folder = cluster.dir().join("demo");
        fs::create_dir_all(folder.join("policies"))?;
        let origin_toml = folder.join("origin.toml");
        // A section without keys is a feed with all its defaults.
        fs::write(&origin_toml, "[feed]\n")?;
        let prepared = output(origin().args(["feed", "setup", "--apply", "-c"]).arg(&origin_toml))?;
        step.done(last_line(&prepared.stdout).unwrap_or("done"));
        let step = Step::begin("data", "generating data");
        let status = origin().args(["seed", "--resources", &resources.to_string()]).status()?;
        if !status.success() {
            return Err(format!("larder-origin seed ended with {status}").into());
        }
        cluster.wait_for_replica()?;
        step.done(&format!("{resources} resources with their users, teams, versions and runs"));

        let policies = folder.join("policies");
        for component in ["tenant-key.wasm", "spin-forever.wasm"] {
            fs::copy(components.join(component), policies.join(component))?;
        }
        // To be replaced with `larder policy deploy`.
        fs::copy(components.join("tenant-key.wasm"), policies.join("mine.wasm"))?;
        let larder_toml = folder.join("larder.toml");
        fs::write(&larder_toml, LarderToml::new(ports).to_string())?;

        let step = Step::begin("origin", "starting the origin worker");
        let listen = format!("127.0.0.1:{}", ports.origin);
        start("larder-origin", origin().args(["serve", "--listen", &listen, "-c"]).arg(&origin_toml))?;
        step.done(&format!("http://{listen}"));
        let step = Step::begin("proxy", "starting the proxy");
        start("larder", Command::new(&programs.larder).args(["serve", "-c"]).arg(&larder_toml))?;
        step.done(&format!("http://127.0.0.1:{}, admin http://127.0.0.1:{}", ports.proxy, ports.admin));
        let system = System {
            cluster,
            ports,
            larder: programs.larder.clone(),
            worker: programs.origin.clone(),
            folder,
        };
        system.wait_for_feed()?;
        Ok(system)
    }

    /// Nothing is kept before the proxy hears what changes.
    #[expect(clippy::disallowed_methods, reason = "a bound on how long is waited")]
    fn wait_for_feed(&self) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let status: serde_json::Value = serde_json::from_slice(&self.admin("/api/status")?.body)?;
            if status["feed"]["state"] == "heard" {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("the proxy hears no change feed: {}", status["feed"]).into());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    pub(crate) fn larder_toml(&self) -> PathBuf {
        self.folder.join("larder.toml")
    }

    pub(crate) fn write_config(&self, config: &str) -> std::io::Result<()> {
        // Whole or not at all: the proxy watches this file.
        let partial = self.folder.join(".larder.toml.new");
        fs::write(&partial, config)?;
        fs::rename(partial, self.larder_toml())
    }

    /// One GET through the proxy.
    pub(crate) fn get(&self, target: &str, fields: &[(&str, &str)]) -> std::io::Result<Response> {
        get(self.ports.proxy, target, fields)
    }

    pub(crate) fn admin(&self, target: &str) -> std::io::Result<Response> {
        get(self.ports.admin, target, &[])
    }

    pub(crate) fn origin(&self, target: &str) -> std::io::Result<Response> {
        get(self.ports.origin, target, &[])
    }

    /// Runs `larder` as an operator would, against the running proxy where the command speaks to one.
    pub(crate) fn larder(&self, arguments: &[&str]) -> std::io::Result<Output> {
        Command::new(&self.larder).args(arguments).output()
    }

    /// Runs `larder-origin` as an operator would, against the same servers.
    pub(crate) fn worker(&self, arguments: &[&str]) -> std::io::Result<Output> {
        let mut command = Command::new(&self.worker);
        command
            .env("DATABASE_URL", self.cluster.primary_url())
            .env("REPLICA_URLS", self.cluster.replica_url());
        command.args(arguments).output()
    }

    pub(crate) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.admin)
    }

    /// The servers live as long as this is held.
    pub(crate) fn keep_alive(&self) {
        let _ = &self.cluster;
    }

    pub(crate) fn print_what_to_try(&self) {
        let Ports { proxy, origin, admin } = self.ports;
        let (larder, config) = (self.larder.display(), self.larder_toml());
        let worker = self.worker.display();
        let (primary, replica) = (self.cluster.primary_url(), self.cluster.replica_url());
        println!(
            "
Try, in another terminal:
  curl -i http://127.0.0.1:{proxy}/resources/res-1                      a miss, then hits: see Cache-Status and Age
  curl -i -H 'X-Tenant: acme' http://127.0.0.1:{proxy}/resources/res-1  another tenant, a stored response of its own
  curl -i 'http://127.0.0.1:{proxy}/resources?limit=3'                  a page; follow it with ?cursor=
  curl -i http://127.0.0.1:{proxy}/users/usr-1/teams                    a user with teams and member counts
  {larder} purge --admin http://127.0.0.1:{admin} --tag resource:res-1
  curl -N 'http://127.0.0.1:{proxy}/live?tags=resource:res-1'             changes as they are made: change a score, with psql or by
  curl -X PATCH -H 'content-type: application/json' -d '{{\"score\": 7}}' http://127.0.0.1:{proxy}/resources/res-1
  {larder} status --admin http://127.0.0.1:{admin}
  {larder} policy deploy --admin http://127.0.0.1:{admin} --route teams FILE.wasm   a policy of your own: docs/policies.md
  curl http://127.0.0.1:{admin}/metrics                                 what operators count
  curl http://127.0.0.1:{origin}/-/metrics                              what the origin worker counts
  DATABASE_URL={primary} REPLICA_URLS={replica} {worker} doctor
                                                                        what Postgres counts: slow statements, indexes, ...
  edit {}   and save: it is read again at once

Ctrl-C stops all of it and leaves nothing behind.",
            config.display()
        );
    }
}

fn get(port: u16, target: &str, fields: &[(&str, &str)]) -> std::io::Result<Response> {
    Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?.get(target, fields)
}

fn start(name: &str, command: &mut Command) -> Result<(), Error> {
    let mut process = Process::start(name, command)?;
    process.wait_for_address("serving")?;
    stop::running().processes.push(process);
    Ok(())
}

fn output(command: &mut Command) -> Result<Output, Error> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{command:?} ended with {}:\n{}", output.status, String::from_utf8_lossy(&said)).into())
}

fn last_line(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok()?.lines().rfind(|line| !line.trim().is_empty())
}
