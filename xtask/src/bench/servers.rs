//! The servers of a comparison, each with one worker on the same core, and what they are checked by before they are measured.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use rig::{
    http::{Client, Response},
    process::Process,
    programs::{self, Profile},
};

use super::load::{SERVER_CORE, ensure};
use crate::{Error, stop};

/// What is asked for, and how long it is.
pub(super) const TARGET: &str = "/bench/1k";
pub(super) const BODY_BYTES: usize = 1024;

/// On the core of the servers.
pub(super) fn pinned(program: &Path) -> Command {
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

/// Answers everything alike, with these fields; on the servers' core if it is measured.
pub(super) fn start_bare_hyper(
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

/// What the others have in their caches. Runs on any core: it is idle while they are measured.
pub(super) fn start_upstream() -> Result<SocketAddr, Error> {
    start_bare_hyper("upstream", &[("cache-control".to_owned(), "max-age=86400".to_owned())], false)
}

/// `routes` is what its configuration has besides the upstream `bench`.
pub(super) fn start_larder(
    folder: &Path,
    name: &str,
    upstream: SocketAddr,
    routes: &str,
) -> Result<SocketAddr, Error> {
    let config = folder.join(file_name(name)).with_extension("toml");
    fs::write(
        &config,
        format!(
            "listen = [\"127.0.0.1:0\"]\nworkers = 1\naccess_log = false\n[admin]\nlisten = \"off\"\n\
             [[upstream]]\nname = \"bench\"\nservers = [\"http://{upstream}\"]\n{routes}"
        ),
    )?;
    let program = programs::built(Profile::Release, "larder");
    start("larder", pinned(&program).args(["serve", "-c"]).arg(config))
}

/// What differs between two nginx. Empty: nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Nginx<'a> {
    pub(super) name: &'a str,
    /// A folder on a file system in memory: the cache is there, and its files are kept open.
    pub(super) tuned: Option<&'a Path>,
    /// Directives of the file, of `http`, and of the `location`.
    pub(super) main: &'a str,
    pub(super) http: &'a str,
    pub(super) location: &'a str,
}

/// One worker with `proxy_cache`, as its documentation shows it, without a log.
pub(super) fn start_nginx(
    folder: &Path,
    nginx: Nginx<'_>,
    upstream: SocketAddr,
) -> Result<SocketAddr, Error> {
    let program = ensure("nginx", "nginx")?;
    let address = free_address()?;
    let Nginx { name, tuned, main, http, location } = nginx;
    let folder = folder.join(file_name(name));
    fs::create_dir_all(&folder)?;
    let at = folder.display();
    let user = if is_root() { "user root;" } else { "" };
    let keep_open = match tuned {
        Some(_) => "open_file_cache max=10000 inactive=300s; open_file_cache_valid 300s;",
        None => "",
    };
    let cache = match tuned {
        Some(memory) => memory.join(file_name(name)),
        None => folder.join("cache"),
    };
    let conf = folder.join("nginx.conf");
    fs::write(
        &conf,
        format!(
            "{user} daemon off; worker_processes 1; pid {at}/nginx.pid; error_log stderr notice; {main}
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 300s;
  {keep_open}
  client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
  proxy_cache_path {cache} keys_zone=bench:16m use_temp_path=off;
  {http}
  server {{
    listen {address};
    location / {{ proxy_pass http://{upstream}; proxy_cache bench; add_header X-Cache $upstream_cache_status; {location} }}
  }}
}}
",
            cache = cache.display()
        ),
    )?;
    let mut command = pinned(&program);
    command.arg("-e").arg("stderr").arg("-p").arg(&folder).arg("-c").arg(&conf);
    let mut process = Process::start(name, &mut command)?;
    process.wait_for_line("start worker processes")?;
    stop::running().processes.push(process);
    Ok(address)
}

/// A name without what would have to be quoted in a configuration.
pub(super) fn file_name(name: &str) -> String {
    name.split(|odd: char| !odd.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// For servers that cannot say which port they were given.
pub(super) fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Two requests, and the answer to the second.
pub(super) fn warm(address: SocketAddr, fields: &[(&str, &str)]) -> Result<Response, Error> {
    let mut client = Client::connect(address)?;
    client.get(TARGET, fields)?;
    Ok(client.get(TARGET, fields)?)
}

/// A folder that goes with its owner.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn create() -> std::io::Result<Folder> {
        Folder::below(&std::env::temp_dir())
    }

    pub(super) fn in_memory() -> std::io::Result<Folder> {
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
