//! What the benchmarks of the origin worker stand on: a primary, a replica, data, and the worker in front of them.

use std::{net::SocketAddr, path::PathBuf, process::Command, sync::Arc};

use rig::{
    postgres::{self, Cluster},
    process::Process,
    programs::{self, Profile},
};

use crate::{Error, stop};

/// How much data, and which worker.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Data {
    /// How many resources there are; everything else is in proportion
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=20_000_000))]
    pub(super) resources: u32,
}

pub(super) struct System {
    pub(super) cluster: Arc<Cluster>,
    pub(super) origin: SocketAddr,
    /// Of the worker's process.
    program: PathBuf,
}

impl System {
    /// Everything from nothing. The worker is a release build.
    pub(super) fn start(data: &Data, settings: &[(&str, &str)]) -> Result<System, Error> {
        programs::build(Profile::Release, &["--package", "larder-origin", "--bins"])?;
        let program = programs::built(Profile::Release, "larder-origin");
        let cluster = Arc::new(Cluster::start_with(settings)?);
        stop::running().cluster = Some(Arc::clone(&cluster));
        let command = || {
            let mut command = Command::new(&program);
            command
                .env("DATABASE_URL", cluster.primary_url())
                .env("REPLICA_URLS", cluster.replica_url())
                // Slow statements are what is measured here.
                .env("RUST_LOG", "warn");
            command
        };
        for arguments in [&["migrate"][..], &["seed", "--resources", &data.resources.to_string()]] {
            let status = command().args(arguments).status()?;
            if !status.success() {
                return Err(format!("larder-origin {} ended with {status}", arguments.join(" ")).into());
            }
        }
        cluster.wait_for_replica()?;
        let bytes: f64 =
            postgres::value(&cluster.primary_url(), "SELECT pg_database_size('postgres')")?.parse()?;
        println!("database: {:.2} GB", bytes / 1e9);

        let mut serve = command();
        serve.args(["serve", "--listen", "127.0.0.1:0"]).env("RUST_LOG", "warn,larder_origin=info");
        let mut process = Process::start("larder-origin", &mut serve)?;
        let origin = process.wait_for_address("serving")?;
        stop::running().processes.push(process);
        Ok(System { cluster, origin, program: program.clone() })
    }

    /// The first column of what a query gives, on the replica.
    pub(super) fn column(&self, sql: &str) -> Result<Vec<String>, Error> {
        let rows = postgres::query(&self.cluster.replica_url(), sql)?;
        let values: Vec<String> =
            rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        if values.is_empty() {
            return Err(format!("nothing is there to ask for: {sql}").into());
        }
        Ok(values)
    }

    /// Everything checked: a benchmark of a plan that reads whole tables would say nothing.
    pub(super) fn check(&self) -> Result<bool, Error> {
        let mut check = Command::new(&self.program);
        check
            .arg("check")
            .env("DATABASE_URL", self.cluster.primary_url())
            .env("REPLICA_URLS", self.cluster.replica_url());
        Ok(check.status()?.success())
    }
}
