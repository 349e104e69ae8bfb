//! Which configuration the program runs on: `larder.toml` checked into plain data.
//!
//! The only way from the file to a [`Config`] is [`Config::parse`], which finds all faults before it returns, each
//! with its line, its column and its path in the file. What could be parsed into a type was: a route holds the
//! index of an upstream that exists, a tag template the index of a capture that its pattern has.
//!
//! Knows nothing of sockets, workers or the cache. Does not open policy components: who loads them reports what is
//! wrong with one through [`PolicyUse::fault`].
//! Read next: `config/file.rs` for the sections of the file and every default, `config/pattern.rs` for what a route
//! matches, `config/changes.rs` for what a reload tells the operator.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use caching::freshness::{Allowances, StatusPattern};
use caching::query::QueryRules;
use caching::vary::VaryRules;
use http::HeaderName;

mod file;
mod section;
mod names;
mod units;
mod server;
mod pattern;
mod tags;
mod upgrade;
mod faults;
mod changes;
#[cfg(test)]
mod tests;

pub use faults::{BadValue, ConfigFaults, Fault, Position};
pub use names::{RouteName, Secret, SecretFileError, UpstreamName};
pub use pattern::{Captures, HostPattern, MAX_CAPTURES, Matcher, PathPattern};
pub use server::Server;
pub use tags::{MAX_TAG_BYTES, TagTemplate};
pub use units::duration_text;
pub use upgrade::UpgradeProtocol;

/// No configuration that a person writes comes near this; it keeps a wrong file name from filling memory.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Everything a run is told, checked. Shared behind an `Arc` and replaced as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Never empty.
    pub listen: Vec<SocketAddr>,
    pub workers: NonZeroUsize,
    pub admin: Admin,
    pub cache: Cache,
    pub limits: Limits,
    /// Where it is told what changes in the database. `None`: nowhere, and responses live by their TTL and purges.
    pub feed: Option<Feed>,
    /// Never empty; names differ.
    pub upstreams: Vec<Upstream>,
    /// Never empty; names differ. The first one that matches takes the request.
    pub routes: Vec<Route>,
    /// Asked before a route's own, in this order.
    pub policies: Vec<PolicyUse>,
    /// Where compiled policies are kept over a restart.
    pub code_cache: Option<PathBuf>,
    pub access_log: bool,
    /// What is allowed but hardly meant, such as a route behind one that takes everything. For the log.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// `None` if the file says `"off"`.
    pub listen: Option<SocketAddr>,
    /// Always there if `listen` is not a loopback address.
    pub token: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    pub memory_bytes: u64,
    /// The largest response that is stored; at most `memory_bytes`.
    pub max_response_bytes: u64,
    /// The target list of RFC 9213: the first of these fields that a response has takes the place of `Cache-Control`.
    pub targets: Vec<HeaderName>,
}

/// Bounds on what clients can make the proxy hold or wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the end of one answer to the end of the next head, and between two pieces of a request body or of an
    /// answer that a client reads: what bounds idling, slow heads and stalled clients alike.
    pub idle_timeout: Duration,
    pub drain_timeout: Duration,
    pub max_head_bytes: usize,
    pub max_fields: usize,
    pub max_request_body_bytes: u64,
    /// Client connections of one worker.
    pub max_connections: usize,
    /// Requests that wait for one fetch.
    pub max_waiters: usize,
}

/// The change feed of the origin workers.
#[derive(Debug, Clone, PartialEq)]
pub struct Feed {
    /// Never empty; no two alike. Any of them tells the same.
    pub servers: Vec<Server>,
    pub token: Option<Secret>,
    /// Not heard for so long, it is lost.
    pub max_silence: Duration,
    pub on_loss: OnLoss,
    /// How long after it was told a commit may be invisible to an upstream that does not say what its answers were made from.
    pub settle: Duration,
    pub session: SessionRules,
    /// Which share of the answers from store is looked at again, beside their way.
    pub audit: f32,
}

/// What the client of a write is given, so that it sees what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRules {
    /// What tokens are signed with. `None`: made at the start, for this process alone.
    pub key: Option<Secret>,
    /// For how long what was written is asked for.
    pub max_age: Duration,
    /// How long a read waits for the feed before it goes past the cache.
    pub max_wait: Duration,
}

/// What becomes of stored responses that depend on a feed that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLoss {
    /// They are stale since then: served only within their stale windows.
    Stale,
    /// They are not used.
    Pass,
    /// They live by their TTL.
    Ttl,
}

impl OnLoss {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Pass => "pass",
            Self::Ttl => "ttl",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    pub name: UpstreamName,
    /// Never empty; no two alike.
    pub servers: Vec<Server>,
    pub connect_timeout: Duration,
    /// From the request sent to the head of the response.
    pub response_timeout: Duration,
    /// Between two pieces of a response body.
    pub read_timeout: Duration,
    /// Idle connections that one worker keeps.
    pub max_idle: usize,
    pub idle_timeout: Duration,
    /// Connections that one worker has open at once, idle ones included.
    pub max_connections: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub name: RouteName,
    pub matcher: Matcher,
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
    /// What a policy may choose in its place; indices as well.
    pub upstreams: Vec<usize>,
    pub cache: CacheRules,
    pub key: KeyRules,
    pub vary: VaryRules,
    pub tags: Vec<TagTemplate>,
    /// Its responses go by the change feed, if there is one.
    pub feed: bool,
    /// What a connection of a client may switch to; most routes have none.
    pub upgrade: Vec<UpgradeProtocol>,
    /// Answers with a stream of what changes, and asks no upstream.
    pub live: bool,
    /// Its own, in this order; those of [`Config::policies`] come before them.
    pub policies: Vec<PolicyUse>,
}

/// What tells stored responses of a route apart, besides host and target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRules {
    /// What is done to the query, also before it is sent on. `None`: nothing.
    pub query: Option<QueryRules>,
    pub cookies: Vec<Box<str>>,
    pub fields: Vec<HeaderName>,
}

/// How long responses of a route are served. `min_ttl` is never above `max_ttl`; `ttl` excludes the other three.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheRules {
    pub enabled: bool,
    /// Takes the place of whatever the upstream says.
    pub ttl: Option<Duration>,
    /// Where the upstream says nothing.
    pub default_ttl: Option<Duration>,
    pub min_ttl: Option<Duration>,
    pub max_ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// Statuses that may be stored for so long although their origin says nothing of it.
    pub status_ttls: Vec<(StatusPattern, Duration)>,
    /// How long it is remembered that a key brought nothing to share.
    pub hit_for_miss: Duration,
    /// How eagerly a response is refreshed before it goes stale; `None`: not at all.
    pub early_refresh: Option<f32>,
    /// Whether `no-cache`, `max-age`, `min-fresh` and `max-stale` of a request count.
    pub honours_requests: bool,
    /// What is stored although it is not safe for everybody.
    pub allow: Allowances,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PolicyUse {
    /// Relative paths in the file are relative to the file's folder.
    pub component: PathBuf,
    /// Always an object.
    pub settings: serde_json::Value,
    pub on_fault: OnFault,
    /// Where the file names the component.
    pub position: Position,
    path_in_file: String,
}

/// What becomes of a request whose policy trapped, ran too long or answered nonsense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFault {
    /// It goes to the upstream and is not stored.
    Pass,
    /// It is answered with an error.
    Fail,
    /// It goes on as if this policy were not there.
    Default,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// All faults of the file; a file that cannot be read is one of them.
    pub fn load(path: &Path) -> Result<Self, ConfigFaults> {
        let unreadable = |what: String| ConfigFaults::new(path, vec![Fault::of_file(what)]);
        let file = File::open(path).map_err(|e| unreadable(format!("cannot be opened: {e}")))?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| unreadable(format!("cannot be read: {e}")))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
            return Err(unreadable(format!(
                "is larger than {}, too large for a configuration",
                units::size_text(MAX_FILE_BYTES)
            )));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&text, path),
            Err(e) => {
                let valid = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
                let position = Position::after(&String::from_utf8_lossy(valid));
                let message = "is not UTF-8 from here on; save the file as UTF-8";
                Err(ConfigFaults::new(path, vec![Fault::at(position, "", message)]))
            }
        }
    }

    /// Checks the text of a file. `path` is for messages and for the folder that relative paths start from.
    ///
    /// # Errors
    /// All faults of the text, in the order of their lines.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigFaults> {
        file::check(text, path).map_err(|faults| ConfigFaults::new(path, faults))
    }

    /// All policies that a route's requests are put to, in their order.
    pub fn policies_of<'c>(&'c self, route: &'c Route) -> impl Iterator<Item = &'c PolicyUse> {
        self.policies.iter().chain(&route.policies)
    }

    /// What `larder serve --listen ADDR --to URL` runs on: one upstream, one route, every default.
    ///
    /// # Errors
    /// `to` is not the URL of a server, or `listen` is where the admin listener is.
    pub fn simple(listen: SocketAddr, to: &str) -> Result<Self, ConfigFaults> {
        match to.parse() {
            Ok(server) => file::simple(listen, server),
            Err(bad) => Err(ConfigFaults::new(Path::new("--to"), vec![Fault::of_file(bad.to_string())])),
        }
    }
}

/// The floor of what is safe, whole.
const NO_ALLOWANCES: Allowances = Allowances {
    set_cookie: false,
    private: false,
    no_store: false,
    authorization: false,
    request_body: false,
};
/// Long enough to be worth it, short enough for an app that begins to send what can be stored.
const HIT_FOR_MISS: Duration = Duration::from_secs(120);

impl CacheRules {
    /// The upstream alone decides, as RFC 9111 has it.
    pub const UPSTREAM_DECIDES: Self = Self {
        enabled: true,
        ttl: None,
        default_ttl: None,
        min_ttl: None,
        max_ttl: None,
        stale_while_revalidate: None,
        stale_if_error: None,
        status_ttls: Vec::new(),
        hit_for_miss: HIT_FOR_MISS,
        early_refresh: None,
        honours_requests: false,
        allow: NO_ALLOWANCES,
    };

    /// `cache = false`: nothing is stored, nothing is looked up.
    pub fn disabled() -> Self {
        Self { enabled: false, ..Self::UPSTREAM_DECIDES }
    }
}

impl PolicyUse {
    /// A fault of the component itself (missing, does not compile, refuses its settings), at its place in the file.
    #[must_use]
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::at(self.position, &self.path_in_file, message)
    }
}

impl OnFault {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for OnFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
