//! The program `larder-origin`: arguments, configuration, run until a signal. Exit code 64 for a bad configuration or bad
//! query files, 1 for what failed for another reason; `doctor` has codes of its own.
//!
//! The way of a request: `listen.rs`, `serve.rs`, `params.rs`, `database.rs`, `answer.rs`. What it is answered with:
//! `catalogue.rs`, from query files (`docs/queries.md`). Commands beside `serve`: `check.rs`, `doctor.rs`, `migrate.rs`,
//! `seed.rs`, `new_endpoint.rs`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

mod cli;
mod config;
mod faults;
mod catalogue;
mod listen;
mod serve;
mod live;
mod reload;
mod params;
mod cursor;
mod database;
mod answer;
mod write;
mod feed;
mod error;
mod metrics;
mod slow;
mod status;
mod alerts;
mod monitor;
mod openapi;
mod clock;
mod plan;
mod check;
mod doctor;
mod migrate;
mod seed;
mod new_endpoint;

use catalogue::Catalogue;
use cli::{Cli, Command, ConfigFile, New};
use config::{Config, Environment};
use error::chain;
use faults::Faults;
use openapi::Described;

const EXIT_BAD_CONFIGURATION: u8 = 64;

/// Ends the program with a code and a text.
pub(crate) struct Exit {
    code: u8,
    text: String,
}

impl Exit {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    pub(crate) fn with_code(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        Self::failed(chain(error))
    }
}

impl From<Faults> for Exit {
    fn from(faults: Faults) -> Self {
        Self { code: EXIT_BAD_CONFIGURATION, text: faults.to_string() }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log();
    let done = match cli.command {
        Command::Serve(wanted) => serve(&wanted),
        Command::Check(wanted) => load(&wanted.file).and_then(|config| {
            let catalogue = query_files(&config);
            runtime()?.block_on(check::run(&config, catalogue, wanted.json))
        }),
        Command::Openapi(wanted) => describe(&wanted),
        Command::Doctor(wanted) => load(&wanted.file).and_then(|config| {
            let catalogue = catalogue(&config)?;
            runtime()?.block_on(doctor::run(&config, &catalogue, &wanted))
        }),
        Command::Migrate(wanted) => load(&wanted.file).and_then(|config| {
            let migrations = migrate::Migrations::of(&config)?;
            runtime()?.block_on(migrate::run(&config, &migrations, wanted.plan))
        }),
        Command::New(New::Endpoint(wanted)) => {
            with_or_without_server(&wanted.file).and_then(|(config, has_server)| {
                runtime()?.block_on(new_endpoint::run(&config, has_server, &wanted))
            })
        }
        Command::Feed(cli::Feed::Setup(wanted)) => load(&wanted.file).and_then(|config| {
            let catalogue = catalogue(&config)?;
            runtime()?.block_on(feed::setup::run(&config, &catalogue, wanted.apply))
        }),
        Command::Seed(wanted) => {
            load(&wanted.file).and_then(|config| runtime()?.block_on(seed::run(&config, &wanted)))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Exit { code, text }) => {
            eprintln!("larder-origin: {}", text.trim_end());
            ExitCode::from(code)
        }
    }
}

/// To standard error: standard output is for answers to commands.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .init();
}

fn load(file: &ConfigFile) -> Result<Config, Exit> {
    Ok(Config::load(file.config.as_deref(), &Environment::of_process())?)
}

fn catalogue(config: &Config) -> Result<Catalogue, Exit> {
    Ok(query_files(config)?)
}

fn query_files(config: &Config) -> Result<Catalogue, Faults> {
    match &config.queries {
        Some(directory) => Catalogue::load(directory),
        None => Catalogue::shipped(),
    }
}

/// For what can do without a server, and whether one is named.
fn with_or_without_server(file: &ConfigFile) -> Result<(Config, bool), Exit> {
    let mut environment = Environment::of_process();
    match Config::load(file.config.as_deref(), &environment) {
        Ok(config) => Ok((config, true)),
        Err(faults) if environment.database_url.is_some() => Err(faults.into()),
        Err(_) => {
            environment.database_url = Some("postgres://nobody@127.0.0.1/".to_owned());
            Ok((Config::load(file.config.as_deref(), &environment)?, false))
        }
    }
}

fn describe(wanted: &cli::Openapi) -> Result<(), Exit> {
    let (config, has_server) = with_or_without_server(&wanted.file)?;
    let catalogue = catalogue(&config)?;
    let described = match (wanted.columns, has_server) {
        (true, true) => runtime()?.block_on(openapi::describe(&config, &catalogue))?,
        (true, false) => {
            return Err(Exit::failed(
                "--columns asks a server: set DATABASE_URL, or name one in the configuration",
            ));
        }
        (false, _) => Described::default(),
    };
    print(&format!("{:#}\n", openapi::document(&catalogue, &described)))
}

/// The answer to a command. Whoever reads it may have enough before its end.
fn print(text: &str) -> Result<(), Exit> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Exit::of(&e)),
        _ => Ok(()),
    }
}

fn runtime() -> Result<Runtime, Exit> {
    Builder::new_current_thread().enable_all().build().map_err(|e| Exit::of(&e))
}

fn serve(wanted: &cli::Serve) -> Result<(), Exit> {
    let mut config = load(&wanted.file)?;
    if let Some(listen) = wanted.listen {
        config.listen = listen;
    }
    if config.feed.as_ref().is_some_and(|feed| feed.token.is_none()) && !config.listen.ip().is_loopback() {
        let why = "[feed] needs token or token_file: others than this machine can reach";
        return Err(Exit::with_code(EXIT_BAD_CONFIGURATION, format!("{why} {}", config.listen)));
    }
    let catalogue = Arc::new(catalogue(&config)?);
    runtime()?.block_on(run(config, catalogue))
}

/// Serves until SIGTERM or SIGINT, then drains; a second one ends at once. SIGHUP reads the query files again.
async fn run(config: Config, catalogue: Arc<Catalogue>) -> Result<(), Exit> {
    let mut stop = Stop::new().map_err(|e| Exit::of(&e))?;
    // From here on it does not end the program: one that comes early is kept.
    let hangup = signal(SignalKind::hangup()).map_err(|e| Exit::of(&e))?;
    info!("{config}; {} endpoints", catalogue.endpoints.len());
    if config.cursor_key.is_none() {
        info!(
            "cursors hold until this process ends, and for it alone: for pages that outlive it, as those in a cache do, set cursors.key"
        );
    }
    let starting = {
        let config = config.clone();
        tokio::task::spawn_blocking(move || listen::start(&config, catalogue))
    };
    let started = tokio::select! {
        started = starting => started.map_err(|e| Exit::of(&e))?,
        // Nothing runs yet that could be cut off.
        () = stop.asked() => std::process::exit(0),
    };
    let running = started.map_err(|e| Exit::failed(format!("cannot listen on {}: {e}", config.listen)))?;
    info!(address = %running.address, "serving");
    let monitoring = tokio::spawn(monitor::run(config.clone(), running.shared.clone()));
    let following = running.shared.feed.clone().map(|feed| {
        let (targets, limit) = (running.shared.targets.clone(), config.database.connect_timeout);
        tokio::spawn(feed::run(feed, targets, limit))
    });
    let reloading = tokio::spawn(reload::run(config, running.shared.clone(), hangup));
    stop.asked().await;
    reloading.abort();
    monitoring.abort();
    following.iter().for_each(|following| following.abort());
    info!("stopping: requests that are running may finish");
    let draining = tokio::task::spawn_blocking(move || running.stop());
    tokio::select! {
        _ = draining => info!("stopped"),
        () = stop.asked() => std::process::exit(1),
    }
    Ok(())
}

/// The signals that ask for the end.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}
