//! The sections of `larder.toml`: their keys, their defaults, and what is checked across them.
//!
//! Every default is a constant here, with its reason. A section is read to its end even if it has faults: a faulty
//! value is stood in for, and the faults decide at the very end.
//! Knows nothing of TOML's syntax. Read next: `config/section.rs` for the readers used here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use caching::targeted::default_targets;
use toml::de::DeTable;

use super::section::{Report, Section, Value, suggestion};
use super::units::quoted;
use super::{
    Admin, Cache, CacheRules, Config, ConfigFaults, Fault, KeyRules, Limits, Matcher, Route, RouteName,
    Server, Upstream, UpstreamName,
};

mod admin;
mod feed;
mod policy;
mod route;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// No timeout is zero (nothing would ever succeed), none is for ever.
const SOME_TIME: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;

/// Only this machine, on a port of its own.
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
/// Fits the smallest machine that one would put a cache on.
const CACHE_MEMORY_BYTES: u64 = 512 << 20;
/// Less than this does not even hold the index.
const LEAST_CACHE_MEMORY_BYTES: u64 = 1 << 20;
/// Larger ones are downloads: each would push thousands of small responses out.
const MAX_RESPONSE_BYTES: u64 = 32 << 20;
/// One response may not take more than this part of the memory, unless the file says so.
const MAX_RESPONSE_PART: u64 = 4;

const LIMITS: Limits = Limits {
    // Browsers keep connections for one to five minutes; this is long enough for the next click.
    idle_timeout: Duration::from_secs(60),
    // What process managers wait between asking and killing.
    drain_timeout: Duration::from_secs(30),
    max_head_bytes: 64 << 10,
    // What hyper itself takes without another allocation.
    max_fields: 100,
    // Bodies are streamed: this bounds time and traffic, not memory.
    max_request_body_bytes: 1 << 30,
    max_connections: 10_000,
    max_waiters: 10_000,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_IDLE: usize = 64;
/// Below the 60 seconds after which many servers close: who closes first does not lose a request to the race.
const UPSTREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(55);
/// More than an app server takes, fewer than there are local ports.
const UPSTREAM_MAX_CONNECTIONS: usize = 1024;

/// Each is tried in turn at every request.
const MAX_ROUTES: usize = 1000;
const MAX_UPSTREAMS: usize = 1000;
const MAX_SERVERS: usize = 256;
const MAX_LISTEN: usize = 64;
/// Each is looked for in every response.
const MAX_TARGETS: usize = 8;

pub(super) fn check(text: &str, path: &Path) -> Result<Config, Vec<Fault>> {
    let report = Report::new(text);
    let (tree, errors) = DeTable::parse_recoverable(text);
    let mut places: Vec<_> =
        errors.iter().map(|error| (error.span().map_or(0, |span| span.start), error.message())).collect();
    places.sort_unstable();
    for (offset, message) in places {
        report.syntax_fault(offset, message);
    }
    // What a broken file says elsewhere was perhaps not meant so.
    let config = errors.is_empty().then(|| root(Section::root(&report, &tree), path));
    let faults = report.into_faults();
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        Some(_) | None => Err(faults),
    }
}

pub(super) fn simple(listen: SocketAddr, server: Server) -> Result<Config, ConfigFaults> {
    if is_taken(listen, ADMIN_LISTEN) {
        return Err(ConfigFaults::new(
            Path::new("--listen"),
            vec![Fault::of_file(taken_by_admin(ADMIN_LISTEN))],
        ));
    }
    let upstream = Upstream { servers: vec![server], ..upstream_defaults(UpstreamName::default_name()) };
    Ok(Config {
        listen: vec![listen],
        workers: default_workers(),
        admin: Admin { listen: Some(ADMIN_LISTEN), token: None },
        cache: Cache {
            memory_bytes: CACHE_MEMORY_BYTES,
            max_response_bytes: MAX_RESPONSE_BYTES,
            targets: default_targets(),
        },
        limits: LIMITS,
        feed: None,
        upstreams: vec![upstream],
        routes: vec![route::default_route()],
        policies: Vec::new(),
        code_cache: None,
        access_log: false,
        warnings: Vec::new(),
    })
}

fn root(mut section: Section<'_>, file: &Path) -> Config {
    const LISTEN_EXAMPLE: &str = r#"listen = ["0.0.0.0:8080"]"#;
    let mut warnings = Vec::new();
    let listen_value = section.require("listen", LISTEN_EXAMPLE);
    let listen = listen_value.as_ref().map(listen).unwrap_or_default();
    let workers = section.get("workers").and_then(|value| value.count(1..=1024)).and_then(NonZeroUsize::new);
    let access_log = section.get("access_log").and_then(|value| value.bool()).unwrap_or(false);
    let admin = admin::admin(section.get("admin"), file);
    if let (Some(value), Some(address)) = (listen_value, admin.listen)
        && listen.iter().any(|public| is_taken(*public, address))
    {
        value.fault(taken_by_admin(address));
    }
    let cache = cache(section.get("cache").and_then(|value| value.section()));
    let limits = section.get("limits").and_then(|value| value.section()).map_or(LIMITS, limits);
    let feed = section.get("feed").and_then(|value| feed::feed(&value, file));
    let upstreams =
        section.require("upstream", r#"[[upstream]] and below it servers = ["http://127.0.0.1:3000"]"#);
    let upstreams = upstreams.map(|value| upstreams_of(&value)).unwrap_or_default();
    let routes = match section.get("route") {
        Some(value) => route::routes(&value, &upstreams, file, &mut warnings),
        None => vec![route::default_route()],
    };
    let policies = section.get("policy").map(|value| policy::policies(&value, file)).unwrap_or_default();
    let code_cache = section.get("policies").and_then(|value| value.section());
    let code_cache = code_cache.and_then(|section| policy::code_cache(section, file));
    section.finish();
    for route in routes.iter().filter(|route| route.live && feed.is_none()) {
        warnings.push(format!("route {:?}: has nothing to tell without [feed]", route.name.as_str()));
    }
    let upstreams: Vec<Upstream> = upstreams.into_iter().map(|named| named.upstream).collect();
    for (index, upstream) in upstreams.iter().enumerate() {
        if !routes.iter().any(|route| route.upstream == index || route.upstreams.contains(&index)) {
            warnings.push(format!("upstream {:?}: no route uses it", upstream.name.as_str()));
        }
    }
    let workers = workers.unwrap_or_else(default_workers);
    Config {
        listen,
        workers,
        admin,
        cache,
        limits,
        feed,
        upstreams,
        routes,
        policies,
        code_cache,
        access_log,
        warnings,
    }
}

/// True if two programs could not listen on both: an unspecified address is every address of its family.
fn is_taken(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    let overlap = one.ip() == other.ip() || (is_any && one.is_ipv4() == other.is_ipv4());
    // Port 0 is another port each time.
    one.port() != 0 && one.port() == other.port() && overlap
}

fn taken_by_admin(admin: SocketAddr) -> String {
    format!("{admin} is where the admin listener is; take another port here or in admin.listen")
}

fn default_workers() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn listen(value: &Value<'_>) -> Vec<SocketAddr> {
    let items = value.list(MAX_LISTEN);
    if items.as_ref().is_some_and(Vec::is_empty) {
        value.fault("lists no address; write for example [\"0.0.0.0:8080\"]");
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for item in items.unwrap_or_default() {
        let Some(address) = address(&item, "0.0.0.0:8080") else { continue };
        // Port 0 is another port each time.
        if address.port() != 0 && addresses.contains(&address) {
            item.fault(format!("{address} is listed twice"));
        }
        addresses.push(address);
    }
    addresses
}

fn address(value: &Value<'_>, example: &str) -> Option<SocketAddr> {
    let text = value.string(&format!("{example:?}"))?;
    let address = text.parse().ok();
    if address.is_none() {
        let is_ip = text.parse::<IpAddr>();
        let hint = match text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
            Ok(port) => format!("0.0.0.0:{port}"),
            Err(_) if is_ip.as_ref().is_ok_and(IpAddr::is_ipv6) => format!("[{text}]:8080"),
            Err(_) if is_ip.is_ok() => format!("{text}:8080"),
            Err(_) => match text.strip_prefix("localhost:") {
                Some(port) => format!("127.0.0.1:{port}"),
                None => example.to_owned(),
            },
        };
        value.fault(format!("{} is not an address with a port; write for example {hint:?}", quoted(text)));
    }
    address
}

fn cache(section: Option<Section<'_>>) -> Cache {
    let default_max = |memory_bytes: u64| MAX_RESPONSE_BYTES.min(memory_bytes / MAX_RESPONSE_PART);
    let Some(mut section) = section else {
        return Cache {
            memory_bytes: CACHE_MEMORY_BYTES,
            max_response_bytes: default_max(CACHE_MEMORY_BYTES),
            targets: default_targets(),
        };
    };
    let memory_bytes = section
        .get("memory")
        .and_then(|value| value.size(LEAST_CACHE_MEMORY_BYTES..=u64::MAX))
        .unwrap_or(CACHE_MEMORY_BYTES);
    let max_response_bytes = section
        .get("max_response")
        .and_then(|value| value.size(1..=memory_bytes))
        .unwrap_or_else(|| default_max(memory_bytes));
    let targets = section
        .get("targets")
        .and_then(|value| value.list(MAX_TARGETS))
        .map_or_else(default_targets, |items| {
            items.iter().filter_map(|item| item.field_name("\"cdn-cache-control\"")).collect()
        });
    section.finish();
    Cache { memory_bytes, max_response_bytes, targets }
}

fn limits(mut section: Section<'_>) -> Limits {
    let mut limits = LIMITS;
    duration(&mut section, "idle_timeout", SOME_TIME, &mut limits.idle_timeout);
    duration(&mut section, "drain_timeout", Duration::ZERO..=DAY, &mut limits.drain_timeout);
    if let Some(bytes) = section.get("max_head").and_then(|value| value.size(1 << 10..=16 << 20)) {
        limits.max_head_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    count(&mut section, "max_fields", 10..=10_000, &mut limits.max_fields);
    if let Some(bytes) = section.get("max_request_body").and_then(|value| value.size(0..=u64::MAX)) {
        limits.max_request_body_bytes = bytes;
    }
    count(&mut section, "max_connections", 1..=1_000_000, &mut limits.max_connections);
    count(&mut section, "max_waiters", 0..=1_000_000, &mut limits.max_waiters);
    section.finish();
    limits
}

struct Named {
    /// `None` if it has a fault, so that no route finds the name that stands in for it.
    name: Option<UpstreamName>,
    upstream: Upstream,
}

fn upstreams_of(value: &Value<'_>) -> Vec<Named> {
    let Some(items) = value.list(MAX_UPSTREAMS) else { return Vec::new() };
    if items.is_empty() {
        value.fault("lists no upstream");
    }
    let is_only = items.len() == 1;
    let mut upstreams: Vec<Named> = Vec::new();
    for item in &items {
        let Some(mut section) = item.section() else { continue };
        let name = match section.get("name") {
            Some(value) => value.parse::<UpstreamName>("\"app\"").inspect(|name| {
                if upstreams.iter().any(|other| other.name.as_ref() == Some(name)) {
                    value.fault(format!("there are two upstreams {:?}", name.as_str()));
                }
                section.rename(format!("upstream {:?}", name.as_str()));
            }),
            None if is_only => Some(UpstreamName::default_name()),
            None => {
                section.fault("name", "missing; with more than one upstream each needs a name");
                None
            }
        };
        let upstream = upstream(section, name.clone());
        upstreams.push(Named { name, upstream });
    }
    upstreams
}

fn upstream(mut section: Section<'_>, name: Option<UpstreamName>) -> Upstream {
    const SERVERS_EXAMPLE: &str = r#"servers = ["http://127.0.0.1:3000"]"#;
    let mut upstream = upstream_defaults(name.unwrap_or_else(UpstreamName::default_name));
    if let Some(value) = section.require("servers", SERVERS_EXAMPLE) {
        servers(&value, &mut upstream.servers);
    }
    duration(&mut section, "connect_timeout", SOME_TIME, &mut upstream.connect_timeout);
    duration(&mut section, "response_timeout", SOME_TIME, &mut upstream.response_timeout);
    duration(&mut section, "read_timeout", SOME_TIME, &mut upstream.read_timeout);
    duration(&mut section, "idle_timeout", SECOND..=HOUR, &mut upstream.idle_timeout);
    count(&mut section, "max_idle", 0..=65_535, &mut upstream.max_idle);
    count(&mut section, "max_connections", 1..=65_535, &mut upstream.max_connections);
    section.finish();
    upstream
}

fn upstream_defaults(name: UpstreamName) -> Upstream {
    Upstream {
        name,
        servers: Vec::new(),
        connect_timeout: CONNECT_TIMEOUT,
        response_timeout: RESPONSE_TIMEOUT,
        read_timeout: READ_TIMEOUT,
        max_idle: MAX_IDLE,
        idle_timeout: UPSTREAM_IDLE_TIMEOUT,
        max_connections: UPSTREAM_MAX_CONNECTIONS,
    }
}

fn servers(value: &Value<'_>, servers: &mut Vec<Server>) {
    let Some(items) = value.list(MAX_SERVERS) else { return };
    if items.is_empty() {
        value.fault("lists no server; write for example [\"http://127.0.0.1:3000\"]");
    }
    for item in items {
        let Some(server) = item.parse::<Server>("\"http://127.0.0.1:3000\"") else { continue };
        if servers.contains(&server) {
            item.fault(format!("{server} is listed twice"));
        }
        servers.push(server);
    }
}

/// Sets `to` if the key is there and right.
fn duration(
    section: &mut Section<'_>,
    key: &'static str,
    range: std::ops::RangeInclusive<Duration>,
    to: &mut Duration,
) {
    if let Some(duration) = section.get(key).and_then(|value| value.duration(range)) {
        *to = duration;
    }
}

/// Sets `to` if the key is there and right.
fn count(
    section: &mut Section<'_>,
    key: &'static str,
    range: std::ops::RangeInclusive<usize>,
    to: &mut usize,
) {
    if let Some(count) = section.get(key).and_then(|value| value.count(range)) {
        *to = count;
    }
}
