//! Where a Postgres server is and who we are to it. Shown without its password, always.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};

#[derive(Clone)]
pub(crate) struct ServerUrl {
    config: tokio_postgres::Config,
    /// `host:port/database`.
    shown: String,
}

impl ServerUrl {
    /// For a connection that reads for endpoints: whatever a statement says, it cannot write.
    pub(crate) fn for_reads(
        &self,
        statement_timeout: Duration,
        connect_timeout: Duration,
    ) -> tokio_postgres::Config {
        // One plan for all parameters, made once: half again as fast for short statements, and the plan that was checked is the
        // plan that runs. Compiling (jit) and starting parallel workers take longer than any statement here should.
        let options = format!(
            "-c statement_timeout={} -c default_transaction_read_only=on -c jit=off -c max_parallel_workers_per_gather=0 \
             -c plan_cache_mode=force_generic_plan -c idle_in_transaction_session_timeout=5s",
            statement_timeout.as_millis()
        );
        self.with_options(&options, connect_timeout)
    }

    /// For a connection that writes for endpoints. Whether writing is allowed is what the server says: an administrator who sets
    /// it to read only means it.
    pub(crate) fn for_endpoint_writes(
        &self,
        statement_timeout: Duration,
        connect_timeout: Duration,
    ) -> tokio_postgres::Config {
        let options = format!(
            "-c statement_timeout={} -c jit=off -c max_parallel_workers_per_gather=0 \
             -c plan_cache_mode=force_generic_plan -c idle_in_transaction_session_timeout=5s",
            statement_timeout.as_millis()
        );
        self.with_options(&options, connect_timeout)
    }

    /// For migrations and generated data: no timeout but that of the network.
    pub(crate) fn for_writes(&self, connect_timeout: Duration) -> tokio_postgres::Config {
        self.with_options("-c default_transaction_read_only=off", connect_timeout)
    }

    fn with_options(&self, options: &str, connect_timeout: Duration) -> tokio_postgres::Config {
        let mut config = self.config.clone();
        let options = match config.get_options() {
            Some(own) => format!("{options} {own}"),
            None => options.to_owned(),
        };
        config.options(options).connect_timeout(connect_timeout);
        // A server that vanished without a word is noticed.
        config.keepalives_idle(Duration::from_secs(10)).tcp_user_timeout(Duration::from_secs(10));
        if config.get_application_name().is_none() {
            config.application_name("larder-origin");
        }
        config
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    /// Never repeats the text: it has a password in it.
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err("not the URL of a Postgres server".to_owned());
        }
        let config: tokio_postgres::Config = text
            .parse()
            .map_err(|_| "not the URL of a Postgres server: malformed after `postgres://`".to_owned())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("the URL of the Postgres server has no host".to_owned());
        }
        if config.get_user().is_none() {
            return Err("the URL of the Postgres server has no user".to_owned());
        }
        if config.get_ssl_mode() == SslMode::Require {
            return Err("TLS to Postgres (`sslmode=require`) is not supported; reach it over a private network or a tunnel".to_owned());
        }
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
        Ok(Self { config, shown })
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
