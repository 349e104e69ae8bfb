//! `cargo xtask bench hit`: what a hit costs. Larder, a bare hyper server that sends the very bytes Larder sends, and nginx
//! with `proxy_cache`, plain and tuned, each with one worker on the same core; wrk on the other core.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use rig::{
    http::{Client, Response},
    process::Process,
    programs::{self, Profile},
};

use super::load::{Measured, SERVER_CORE, ensure, median, wrk};
use crate::{Error, stop};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Rounds of each server; they alternate
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of one round
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Connections of the load, each with one request at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
}

const TARGET: &str = "/bench/1k";
const BODY_BYTES: usize = 1024;

struct Peer {
    name: &'static str,
    address: SocketAddr,
    rounds: Vec<Measured>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    ensure("wrk", "wrk")?;
    programs::build(Profile::Release, &["--package", "larder", "--package", "bench_peers", "--bins"])?;
    let (folder, memory) = (Folder::create()?, Folder::in_memory()?);

    let upstream =
        start_peer("upstream", &[("cache-control".to_owned(), "max-age=86400".to_owned())], false)?;
    let larder = start_larder(&folder.0, upstream)?;
    let hit = warm(larder)?;
    let status = hit.field("cache-status").unwrap_or_default();
    if !status.starts_with("larder; hit") || hit.body.len() != BODY_BYTES {
        return Err(format!("Larder answers with `{status}` and {} bytes", hit.body.len()).into());
    }
    // The bare server sends what Larder sends, field by field; hyper itself adds length and date to both.
    let fields: Vec<_> =
        hit.fields.into_iter().filter(|(name, _)| name != "content-length" && name != "date").collect();
    let bare = start_peer("bare hyper", &fields, true)?;
    warm(bare)?;
    let mut peers = vec![
        Peer { name: "larder", address: larder, rounds: Vec::new() },
        Peer { name: "bare hyper", address: bare, rounds: Vec::new() },
    ];
    for (name, tuning) in [("nginx", None), ("nginx tuned", Some(memory.0.as_path()))] {
        match start_nginx(&folder.0, tuning, upstream) {
            Ok(nginx) => {
                let hit = warm(nginx)?;
                if hit.field("x-cache") != Some("HIT") {
                    return Err(format!("nginx does not answer from its cache: {:?}", hit.fields).into());
                }
                peers.push(Peer { name, address: nginx, rounds: Vec::new() });
            }
            Err(error) => println!("without {name}: {error}"),
        }
    }

    // One that is not counted: caches of the processor, branch predictors, the kernel's own tables.
    for peer in &peers {
        wrk(&url(peer.address), options.connections, 1)?;
    }
    for round in 0..options.rounds {
        let count = peers.len();
        for turn in 0..count {
            // Each round begins with another one.
            let peer = &mut peers[(turn + round as usize) % count];
            let measured = wrk(&url(peer.address), options.connections, options.seconds)?;
            println!(
                "round {:2}  {:12} {:>9.0} requests/s   p99 {:>7.0} us",
                round + 1,
                peer.name,
                measured.requests_per_s,
                measured.p99_us
            );
            peer.rounds.push(measured);
        }
    }
    print_table(&peers);
    Ok(ExitCode::SUCCESS)
}

fn print_table(peers: &[Peer]) {
    let Some(larder) = peers.first() else { return };
    println!("\n{:12} {:>14} {:>10}   larder / it (median of rounds)", "", "requests/s", "p99 us");
    for peer in peers {
        let ratios =
            larder.rounds.iter().zip(&peer.rounds).map(|(own, its)| own.requests_per_s / its.requests_per_s);
        println!(
            "{:12} {:>14.0} {:>10.0}   {:.2}",
            peer.name,
            median(peer.rounds.iter().map(|round| round.requests_per_s).collect()),
            median(peer.rounds.iter().map(|round| round.p99_us).collect()),
            median(ratios.collect())
        );
    }
}

/// Two requests, and the answer to the second.
fn warm(address: SocketAddr) -> Result<Response, Error> {
    let mut client = Client::connect(address)?;
    client.get(TARGET, &[])?;
    Ok(client.get(TARGET, &[])?)
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}{TARGET}")
}

fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE]).arg(program);
    command
}

fn start(name: &str, command: &mut Command) -> Result<SocketAddr, Error> {
    let mut process = Process::start(name, command)?;
    let address = process.wait_for_address("serving")?;
    stop::running().processes.push(process);
    Ok(address)
}

pub(super) fn start_peer(
    name: &str,
    fields: &[(String, String)],
    is_pinned: bool,
) -> Result<SocketAddr, Error> {
    let program = programs::built(Profile::Release, "bare_hyper");
    let mut command = if is_pinned { pinned(&program) } else { Command::new(&program) };
    command.arg(BODY_BYTES.to_string());
    for (field, value) in fields {
        command.arg(format!("{field}: {value}"));
    }
    start(name, &mut command)
}

fn start_larder(folder: &Path, upstream: SocketAddr) -> Result<SocketAddr, Error> {
    let config = folder.join("larder.toml");
    fs::write(
        &config,
        format!(
            "listen = [\"127.0.0.1:0\"]\nworkers = 1\naccess_log = false\n[admin]\nlisten = \"off\"\n\
             [[upstream]]\nname = \"bench\"\nservers = [\"http://{upstream}\"]\n"
        ),
    )?;
    let program = programs::built(Profile::Release, "larder");
    start("larder", pinned(&program).args(["serve", "-c"]).arg(config))
}

/// One worker with `proxy_cache`, as its documentation shows it, without a log. Tuned: the cache on a file system in
/// memory, and its files kept open.
fn start_nginx(folder: &Path, tuned: Option<&Path>, upstream: SocketAddr) -> Result<SocketAddr, Error> {
    let program = ensure("nginx", "nginx")?;
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let folder = folder.join(if tuned.is_some() { "nginx-tuned" } else { "nginx" });
    fs::create_dir_all(&folder)?;
    let at = folder.display();
    let user = if is_root() { "user root;" } else { "" };
    let keep_open = match tuned {
        Some(_) => "open_file_cache max=10000 inactive=300s; open_file_cache_valid 300s;",
        None => "",
    };
    let cache = tuned.unwrap_or(&folder).join("cache");
    let conf = folder.join("nginx.conf");
    fs::write(
        &conf,
        format!(
            "{user} daemon off; worker_processes 1; pid {at}/nginx.pid; error_log stderr notice;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 300s;
  {keep_open}
  client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
  proxy_cache_path {cache} keys_zone=bench:16m use_temp_path=off;
  server {{
    listen {address};
    location / {{ proxy_pass http://{upstream}; proxy_cache bench; add_header X-Cache $upstream_cache_status; }}
  }}
}}
",
            cache = cache.display()
        ),
    )?;
    let mut command = pinned(&program);
    command.arg("-e").arg("stderr").arg("-p").arg(&folder).arg("-c").arg(&conf);
    let mut process = Process::start("nginx", &mut command)?;
    process.wait_for_line("start worker processes")?;
    stop::running().processes.push(process);
    Ok(address)
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// A folder that goes with its owner.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn create() -> std::io::Result<Folder> {
        Folder::below(&std::env::temp_dir())
    }

    fn in_memory() -> std::io::Result<Folder> {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Folder::below(memory) } else { Folder::create() }
    }

    fn below(parent: &Path) -> std::io::Result<Folder> {
        let path = parent.join(format!("larder-bench-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over in a temporary folder does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
