//! The program `larder`: arguments, configuration, run until a signal. Exit code 64 for a bad configuration, 1
//! for a failed start or a refused wish.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser as _;
use http::Method;
use larder::{
    accept::Workers,
    admin::{self, AdminService, PurgeRequest, client},
    cli::{Admin, Cli, Command, Explain, PolicyCommand, PolicyPlace, Purge, PurgeTargets, Serve},
    clock::Clock,
    config::Config,
    explain::{self, Answer, Question},
    feed,
    live::{self, Proxy},
    policy_tools,
    reload::{Reloader, lines},
};
use plugin_host::{Engine, Limits};
use tokio::signal::unix::{SignalKind, signal};

const EXIT_BAD_CONFIGURATION: u8 = 64;

/// Ends the program with a code and a text.
struct Exit(u8, String);

impl Exit {
    fn failed(error: &dyn std::error::Error) -> Exit {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let more = error.to_string();
            // Some name their cause in their own text.
            if !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            cause = error.source();
        }
        Exit(1, text)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Serve(wanted) => serve(&wanted),
        Command::Check(wanted) => check(&wanted.config),
        Command::Purge(wanted) => purge(&wanted),
        Command::Explain(wanted) => explain(&wanted),
        Command::Reload(admin) => call(&admin, Method::POST, "/api/reload", Vec::new()),
        Command::Status(admin) => call(&admin, Method::GET, "/api/status", Vec::new()),
        Command::Policy { command } => policy(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Exit(code, text)) => {
            eprintln!("larder: {}", text.trim_end());
            ExitCode::from(code)
        }
    }
}

fn load(wanted: &Serve) -> Result<(Config, Option<PathBuf>), Exit> {
    let loaded = match (wanted.listen, &wanted.to) {
        (Some(listen), Some(to)) => Config::simple(listen, to).map(|c| (c, None)),
        _ => Config::load(&wanted.file.config).map(|config| (config, Some(wanted.file.config.clone()))),
    };
    loaded.map_err(|faults| Exit(EXIT_BAD_CONFIGURATION, faults.to_string()))
}

/// `code_cache`: where compiled policies are kept.
fn engine(config: &Config, code_cache: Option<&Path>) -> Result<Engine, Exit> {
    let limits = Limits::for_threads(config.workers.get());
    let engine = Engine::new(limits).map_err(|error| Exit::failed(&error))?;
    match code_cache {
        Some(folder) => engine.with_code_cache(folder).map_err(|error| Exit::failed(&error)),
        None => Ok(engine),
    }
}

#[expect(clippy::print_stdout, reason = "the answer to the command")]
fn check(file: &Path) -> Result<(), Exit> {
    let config = Config::load(file).map_err(|faults| Exit(EXIT_BAD_CONFIGURATION, faults.to_string()))?;
    live::check(&config, file, &engine(&config, None)?)
        .map_err(|faults| Exit(EXIT_BAD_CONFIGURATION, lines(&faults)))?;
    for warning in &config.warnings {
        println!("warning: {warning}");
    }
    println!(
        "{}: good, {} routes, {} upstreams",
        file.display(),
        config.routes.len(),
        config.upstreams.len()
    );
    Ok(())
}

fn serve(wanted: &Serve) -> Result<(), Exit> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        .with_writer(std::io::stderr)
        .init();
    let (config, file) = load(wanted)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let name = file.clone().unwrap_or_else(|| PathBuf::from("(command line)"));
    let engine = engine(&config, config.code_cache.as_deref())?;
    let proxy = Proxy::new(config, &name, Clock::System, engine)
        .map_err(|faults| Exit(EXIT_BAD_CONFIGURATION, lines(&faults)))?;
    let proxy = Arc::new(proxy);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::failed(&error))?;
    let done = runtime.block_on(run(proxy, file));
    // A reload that hangs on a file must not hold up the end.
    runtime.shutdown_background();
    done
}

/// Serves until SIGTERM or SIGINT, then drains; a second one ends at once.
async fn run(proxy: Arc<Proxy>, file: Option<PathBuf>) -> Result<(), Exit> {
    let failed = |error: std::io::Error| Exit::failed(&error);
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let config = proxy.live().config.admin.clone();
    let admin = match config.listen {
        None => None,
        Some(address) => {
            let bound = tokio::net::TcpListener::bind(address).await;
            Some(bound.map_err(|error| Exit(1, format!("admin: listen on {address}: {error}")))?)
        }
    };
    let workers = Workers::start(&proxy).map_err(|error| Exit::failed(&error))?;
    let _listening = feed::client::start(Arc::clone(&proxy)).map_err(failed)?;
    for address in &workers.addresses {
        tracing::info!(%address, "serving");
    }
    let reloader = Arc::new(Reloader::new(Arc::clone(&proxy), file));
    tokio::spawn(Arc::clone(&reloader).watch());
    if let Some(listener) = admin {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "admin");
        }
        let addresses = workers.addresses.clone();
        let service = AdminService { proxy, reloader: Arc::clone(&reloader), config, addresses };
        tokio::spawn(admin::serve(Arc::new(service), listener));
    }
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                let reloader = Arc::clone(&reloader);
                // Its result is logged, and kept for the status; signals go on being heard meanwhile.
                drop(tokio::task::spawn_blocking(move || reloader.reload().is_ok()));
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping: requests under way may finish");
    let draining = tokio::task::spawn_blocking(move || workers.drain());
    tokio::select! {
        _ = draining => tracing::info!("stopped"),
        _ = terminate.recv() => std::process::exit(1),
        _ = interrupt.recv() => std::process::exit(1),
    }
    Ok(())
}

fn purge(wanted: &Purge) -> Result<(), Exit> {
    let PurgeTargets { tags, urls, prefixes, hosts, all } = wanted.what.clone();
    let request = PurgeRequest { tags, urls, prefixes, hosts, all, soft: wanted.soft };
    let body = serde_json::to_vec(&request).map_err(|error| Exit::failed(&error))?;
    call(&wanted.admin, Method::POST, "/api/purge", body)
}

#[expect(clippy::print_stdout, reason = "the answer to the command")]
fn explain(wanted: &Explain) -> Result<(), Exit> {
    let failed = |why: String| Exit(1, why);
    let fields = |lines: &[String]| {
        lines.iter().map(|line| explain::field_line(line)).collect::<Result<Vec<_>, _>>().map_err(failed)
    };
    let response = match (&wanted.response, wanted.status) {
        (Some(file), _) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Exit(1, format!("{}: {error}", file.display())))?;
            Some(Answer::recorded(&text).map_err(failed)?)
        }
        (None, None) if wanted.response_fields.is_empty() => None,
        (None, status) => {
            Some(Answer { status: status.unwrap_or(200), fields: fields(&wanted.response_fields)? })
        }
    };
    let question = Question {
        method: wanted.method.clone(),
        url: wanted.url.clone(),
        fields: fields(&wanted.fields)?,
        content: wanted.data.clone(),
        response,
    };
    if wanted.running {
        let body = serde_json::to_vec(&question).map_err(|error| Exit::failed(&error))?;
        return call(&wanted.admin, Method::POST, "/api/explain", body);
    }
    let path = &wanted.file.config;
    let config = Config::load(path).map_err(|faults| Exit(EXIT_BAD_CONFIGURATION, faults.to_string()))?;
    let engine = engine(&config, None)?;
    let proxy = Proxy::new(config, path, Clock::System, engine)
        .map_err(|faults| Exit(EXIT_BAD_CONFIGURATION, lines(&faults)))?;
    print!("{}", explain::explain(&Arc::new(proxy), &question).map_err(failed)?);
    Ok(())
}

fn policy(wanted: &PolicyCommand) -> Result<(), Exit> {
    let out = &mut std::io::stdout();
    let done = match wanted {
        PolicyCommand::New(wanted) => policy_tools::new(wanted, out),
        PolicyCommand::Build(wanted) => policy_tools::build(wanted, out),
        PolicyCommand::Inspect(wanted) => policy_tools::inspect(wanted, out),
        PolicyCommand::Bench(wanted) => policy_tools::bench(wanted, out),
        PolicyCommand::Test(wanted) => match policy_tools::test(wanted, out) {
            Ok(true) => Ok(()),
            Ok(false) => return Err(Exit(1, format!("{}: not as expected", wanted.file.display()))),
            Err(error) => Err(error),
        },
        PolicyCommand::Deploy(wanted) => {
            let wasm = live::read_component(&wanted.component)
                .map_err(|error| Exit(1, format!("{}: {error}", wanted.component.display())))?;
            return call(&wanted.place.admin, Method::POST, &at(admin::DEPLOY, &wanted.place), wasm);
        }
        PolicyCommand::Rollback(place) => {
            return call(&place.admin, Method::POST, &at(admin::ROLL_BACK, place), Vec::new());
        }
        PolicyCommand::List(admin) => return call(admin, Method::GET, "/api/policies", Vec::new()),
    };
    done.map_err(|error| Exit::failed(&error))
}

/// The path of a call about the policy in this place.
fn at(path: &str, place: &PolicyPlace) -> String {
    let name = place.name.as_ref().map(|name| format!("&name={}", name.as_str())).unwrap_or_default();
    format!("{path}?route={}{name}", place.route.as_str())
}

/// Asks a running proxy, and prints what it says.
#[expect(clippy::print_stdout, reason = "the answer to the command")]
fn call(admin: &Admin, method: Method, path: &str, body: Vec<u8>) -> Result<(), Exit> {
    let token = admin.token().map_err(|error| Exit::failed(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::failed(&error))?;
    let (status, answer) = runtime
        .block_on(client::call(&admin.server, token.as_ref(), method, path, body))
        .map_err(|error| Exit::failed(&error))?;
    let answer = String::from_utf8_lossy(&answer);
    if status.is_success() {
        print!("{answer}");
        return Ok(());
    }
    Err(Exit(1, format!("{status}: {answer}")))
}
