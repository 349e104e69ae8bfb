//! Where a Postgres server is and who we are to it. Shown without its password, always.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::config::{Host, SslMode};

use super::socket::{self, Socket};
use super::tls::Tls;

#[derive(Clone)]
pub(crate) struct ServerUrl {
    config: tokio_postgres::Config,
    tls: Tls,
    /// `host:port/database`.
    shown: String,
}

/// What a connection is made for, which is what its statements may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// For endpoints, with a limit for each statement: whatever a statement says, it cannot write.
    Reads(Duration),
    /// For endpoints. Whether writing is allowed is what the server says: an administrator who sets it to read only means it.
    Writes(Duration),
    /// Migrations and generated data: no timeout but that of the network.
    Maintenance,
}

/// Ends with the connection.
pub(crate) type Driver = JoinHandle<Result<(), tokio_postgres::Error>>;

impl Purpose {
    /// One plan for all parameters, made once: half again as fast for short statements, and the plan that was checked is the
    /// plan that runs. Compiling (jit) and starting parallel workers take longer than any statement here should.
    fn settings(self) -> Vec<(&'static str, String)> {
        let limited = |timeout: Duration| {
            vec![
                ("statement_timeout", timeout.as_millis().to_string()),
                ("jit", "off".to_owned()),
                ("max_parallel_workers_per_gather", "0".to_owned()),
                ("plan_cache_mode", PLAN_CACHE_MODE.to_owned()),
                ("idle_in_transaction_session_timeout", "5000".to_owned()),
            ]
        };
        match self {
            Self::Reads(timeout) => {
                let mut settings = limited(timeout);
                settings.push(("default_transaction_read_only", "on".to_owned()));
                settings
            }
            Self::Writes(timeout) => {
                let mut settings = limited(timeout);
                // Who waits for a lock holds a connection that others wait for.
                settings.push(("lock_timeout", (timeout / LOCK_SHARE).as_millis().max(1).to_string()));
                settings
            }
            Self::Maintenance => vec![("default_transaction_read_only", "off".to_owned())],
        }
    }

    /// The beginning of a transaction in a session that belongs to others, too: nothing of it stays behind.
    pub(crate) fn begin(self) -> String {
        let mut begin = match self {
            Self::Reads(_) => "BEGIN READ ONLY".to_owned(),
            Self::Writes(_) | Self::Maintenance => "BEGIN".to_owned(),
        };
        let settings = self.settings();
        for (name, value) in settings.iter().filter(|(name, _)| *name != "default_transaction_read_only") {
            begin.push_str(&format!("; SET LOCAL {name} = {value}"));
        }
        begin
    }
}

/// A server that vanished without a word.
pub(super) const NOTICED_AFTER: Duration = Duration::from_secs(10);

/// Of a statement's time, the share that it may wait for any one lock.
const LOCK_SHARE: u32 = 3;

/// What tells whether a session has our settings: few choose it for themselves.
pub(crate) const PLAN_CACHE_MODE: &str = "force_generic_plan";

impl ServerUrl {
    /// With the settings of the purpose, for as long as the connection lasts.
    pub(crate) async fn connect(
        &self,
        purpose: Purpose,
        limit: Duration,
    ) -> Result<(Client, Driver), tokio_postgres::Error> {
        let settings = purpose.settings();
        let mut options: Vec<String> =
            settings.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
        options.extend(self.config.get_options().map(str::to_owned));
        let mut config = self.config.clone();
        config.options(options.join(" "));
        self.connect_with(config, limit).await
    }

    /// A connection on which nothing was said yet, inside TLS where this URL wants it: for what `tokio_postgres` has no words for.
    pub(crate) async fn dial(&self, limit: Duration) -> io::Result<Socket> {
        socket::dial(&self.config, &self.tls, limit).await
    }

    pub(crate) fn parameters(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// With the settings that the server, or whatever is in front of it, has for us.
    pub(crate) async fn connect_bare(
        &self,
        limit: Duration,
    ) -> Result<(Client, Driver), tokio_postgres::Error> {
        self.connect_with(self.config.clone(), limit).await
    }

    async fn connect_with(
        &self,
        mut config: tokio_postgres::Config,
        limit: Duration,
    ) -> Result<(Client, Driver), tokio_postgres::Error> {
        config.connect_timeout(limit);
        config.keepalives_idle(NOTICED_AFTER).tcp_user_timeout(NOTICED_AFTER);
        if config.get_application_name().is_none() {
            config.application_name("larder-origin");
        }
        let (client, connection) = config.connect(self.tls.clone()).await?;
        Ok((client, tokio::spawn(connection)))
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    /// Never repeats the text: it has a password in it.
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err("not the URL of a Postgres server".to_owned());
        }
        let (bare, query) = text.split_once('?').unwrap_or((text, ""));
        // Two that tokio-postgres knows less of, or nothing.
        let own = |pair: &&str| pair.starts_with("sslmode=") || pair.starts_with("sslrootcert=");
        let (own, others): (Vec<&str>, Vec<&str>) =
            query.split('&').filter(|pair| !pair.is_empty()).partition(own);
        let value = |name: &str| own.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let root = value("sslrootcert").map(|path| crate::params::decode(path, false));
        if root == Some(None) {
            return Err("sslrootcert is not UTF-8, percent-encoded".to_owned());
        }
        let root = root.flatten();
        let tls = Tls::new(value("sslmode"), root.as_deref())?;
        let bare = if others.is_empty() { bare.to_owned() } else { format!("{bare}?{}", others.join("&")) };
        let mut config: tokio_postgres::Config = bare
            .parse()
            .map_err(|_| "not the URL of a Postgres server: malformed after `postgres://`".to_owned())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("the URL of the Postgres server has no host".to_owned());
        }
        if config.get_user().is_none() {
            return Err("the URL of the Postgres server has no user".to_owned());
        }
        // As libpq has it: a socket of this machine needs none.
        let is_local = config.get_hosts().iter().all(|host| !matches!(host, Host::Tcp(_)));
        config.ssl_mode(if is_local && config.get_hostaddrs().is_empty() {
            SslMode::Disable
        } else {
            tls.mode
        });
        let hosts: Vec<String> = (config.get_hosts().iter().enumerate())
            .map(|(index, host)| {
                let port =
                    config.get_ports().get(index).or(config.get_ports().first()).copied().unwrap_or(5432);
                match host {
                    Host::Tcp(name) => format!("{name}:{port}"),
                    #[cfg(unix)]
                    Host::Unix(path) => format!("{}:{port}", path.display()),
                }
            })
            .collect();
        let shown = format!("{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default());
        Ok(Self { config, tls, shown })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
