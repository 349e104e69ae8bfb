//! One server of the configuration: where it is, what it is, and what the log says about it. All connections of all workers lose
//! a server in the same moment and find it again in the same moment: it is said once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::{DbError, SqlState};
use tracing::{debug, info, warn};

use super::fleet::{Change, Fleet, OnTimeline, Role, Seen};
use super::watch::look;
use crate::config::{DatabaseConfig, Driver, PLAN_CACHE_MODE, Purpose, ServerUrl};
use crate::error::chain;

/// Shared by everything that connects to a server.
#[derive(Debug)]
pub(crate) struct Target {
    /// `primary`, `replica-1`, ...: the name in the configuration, whatever it is now.
    pub(crate) name: Arc<str>,
    pub(crate) url: ServerUrl,
    index: usize,
    fleet: Arc<Fleet>,
    /// Of all servers of the fleet, for the log.
    names: Arc<[Arc<str>]>,
    is_pooled: AtomicBool,
    /// Empty while all is well.
    trouble: Mutex<String>,
}

/// A connection, before anything was asked of it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(super) driver: Driver,
    pub(crate) is_pooled: bool,
}

/// PgBouncer's words: since 1.20 it names the one setting, before it named `options`.
fn is_refused_setting(error: &tokio_postgres::Error) -> bool {
    let is_it = |refusal: &DbError| {
        *refusal.code() == SqlState::PROTOCOL_VIOLATION
            && refusal.message().contains("unsupported startup parameter")
    };
    error.as_db_error().is_some_and(is_it)
}

/// For commands whose settings have to last.
pub(crate) const POOLER_ADVICE: &str =
    "this is a pooler, which has no sessions of ours to set up: give the URL of the server itself";

/// For the same commands: why a server could not be asked, and what to do where a pooler is in the way.
pub(crate) fn not_connected(error: &tokio_postgres::Error) -> String {
    match is_refused_setting(error) {
        true => format!("{}; {POOLER_ADVICE}", chain(error)),
        false => chain(error),
    }
}

/// Returns when one of them is the primary. `None`: there are none.
pub(crate) async fn until_primary(targets: &[Arc<Target>]) -> Option<Arc<Target>> {
    let mut changes = targets.first()?.fleet.changes();
    loop {
        if let Some(target) = targets.iter().find(|target| target.role() == Some(Role::Primary)) {
            return Some(target.clone());
        }
        // The sender is that of the fleet.
        changes.changed().await.ok()?;
    }
}

impl Target {
    /// The servers of a configuration, in its order.
    pub(crate) fn all(config: &DatabaseConfig) -> Vec<Arc<Target>> {
        let servers = config.servers.iter();
        let named: Vec<(Arc<str>, _)> =
            servers.map(|server| (server.name.as_str().into(), &server.url)).collect();
        let fleet = Fleet::new(named.len());
        let names: Arc<[_]> = named.iter().map(|(name, _)| name.clone()).collect();
        let target = |(index, (name, url)): (usize, (Arc<str>, &ServerUrl))| {
            Arc::new(Self {
                name,
                url: url.clone(),
                index,
                fleet: fleet.clone(),
                names: names.clone(),
                is_pooled: AtomicBool::new(config.is_pooled),
                trouble: Mutex::default(),
            })
        };
        named.into_iter().enumerate().map(target).collect()
    }

    /// For commands that ask one server: the first that answers, in the order of the configuration.
    ///
    /// # Errors
    /// What is wrong with each; a pooler is not asked.
    pub(crate) async fn first(config: &DatabaseConfig) -> Result<Client, Vec<String>> {
        let mut unreachable = Vec::new();
        for target in Self::all(config) {
            let opened = target.open(Purpose::Reads(config.statement_timeout), config.connect_timeout).await;
            let why = match opened {
                Ok(Opened { client, is_pooled: false, .. }) => return Ok(client),
                Ok(Opened { .. }) => POOLER_ADVICE.to_owned(),
                Err(e) => not_connected(&e),
            };
            unreachable.push(format!("{} ({}): {why}", target.name, target.url));
        }
        Err(unreachable)
    }

    /// Connects. A pooler that shares sessions shows itself: it refuses our settings, or does not pass them on.
    pub(crate) async fn open(
        &self,
        purpose: Purpose,
        limit: Duration,
    ) -> Result<Opened, tokio_postgres::Error> {
        if !self.is_pooled.load(Ordering::Relaxed) {
            let found = match self.url.connect(purpose, limit).await {
                Ok((client, driver)) => {
                    let rows = client.query_typed("SELECT current_setting('plan_cache_mode')", &[]).await?;
                    let mode = rows.first().map(|row| row.try_get::<_, String>(0)).transpose()?;
                    if mode.as_deref() == Some(PLAN_CACHE_MODE) {
                        return Ok(Opened { client, driver, is_pooled: false });
                    }
                    "does not pass our settings on"
                }
                Err(e) if is_refused_setting(&e) => "takes no settings when a connection is made",
                Err(e) => return Err(e),
            };
            if !self.is_pooled.swap(true, Ordering::Relaxed) {
                info!(
                    server.name = %self.name,
                    "{} ({}) {found}: taken for a pooler, so that nothing stays prepared and each statement is a \
                     transaction with settings of its own; `pooler = \"transaction\"` under [database] says so from the \
                     start",
                    self.name,
                    self.url
                );
            }
        }
        let (client, driver) = self.url.connect_bare(limit).await?;
        Ok(Opened { client, driver, is_pooled: true })
    }

    /// `None`: it was never reached.
    pub(crate) fn role(&self) -> Option<Role> {
        self.fleet.role(self.index)
    }

    pub(crate) fn lag(&self) -> Duration {
        self.fleet.lag(self.index)
    }

    pub(crate) fn lag_bytes(&self) -> u64 {
        self.fleet.lag_bytes(self.index)
    }

    pub(super) fn timeline(&self) -> Option<OnTimeline> {
        self.fleet.timeline(self.index)
    }

    pub(super) fn position(&self) -> u64 {
        self.fleet.position(self.index)
    }

    pub(super) fn has_replayed(&self, position: u64) {
        self.fleet.has_replayed(self.index, position);
    }

    pub(super) fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    pub(super) async fn until_primary(&self) {
        let mut changes = self.fleet.changes();
        while self.role() != Some(Role::Primary) {
            // The sender is ours.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// It is the primary no more, or nobody knows.
    pub(crate) async fn until_no_primary(&self) {
        let mut changes = self.fleet.changes();
        while self.role() == Some(Role::Primary) {
            // As above.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Says that it is the primary, and is not any more.
    pub(super) async fn until_fenced(&self) {
        let mut changes = self.fleet.changes();
        while self.role() != Some(Role::Fenced) {
            // As above; nothing would change.
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Gives when the server's process was started, as long as which it stays on its timeline or goes to a later one.
    pub(super) async fn ask_role(&self, client: &Client) -> Result<i64, tokio_postgres::Error> {
        let seen = look(client).await?;
        self.seen(seen);
        Ok(seen.started)
    }

    pub(super) fn seen(&self, seen: Seen) {
        self.tell(self.fleet.seen(self.index, seen));
    }

    /// It did not answer, or cannot be reached.
    pub(super) fn not_seen(&self) {
        self.tell(self.fleet.not_seen(self.index));
    }

    fn tell(&self, changes: Vec<Change>) {
        for Change { server, before, after } in changes {
            let name = self.names.get(server).map_or("", |name| &**name);
            let Some(role) = after else { continue };
            let timeline = self.fleet.highest_timeline();
            match (before, role) {
                // As the configuration has it.
                (None, Role::Primary) if server == 0 => debug!(server.name = name, "{name} is the primary"),
                (None, Role::Replica) if server != 0 => debug!(server.name = name, "{name} is a replica"),
                (_, Role::Primary) => {
                    info!(server.name = name, "{name} is the primary now, on timeline {timeline}");
                }
                (_, Role::Replica) => info!(server.name = name, "{name} is a replica now"),
                (_, Role::Forked) => warn!(
                    server.name = name,
                    "{name} follows a history that ended before timeline {timeline}: it is asked only when no one else is \
                     there; it comes back by itself when it follows the new primary"
                ),
                (_, Role::Fenced) => warn!(
                    server.name = name,
                    "{name} says it is the primary, and is not the only one, or its timeline is older than {timeline}: \
                     nothing is asked of it; stop it, or make it a replica (pg_rewind)"
                ),
            }
        }
    }

    /// A connection was lost.
    pub(super) fn lost(&self, why: &str) {
        let Self { name, url, .. } = self;
        if self.note(str::is_empty, why) {
            warn!(server.name = %name, "lost {name} ({url}): {why}; connecting again until it works");
        } else {
            debug!(server.name = %name, "lost a connection to {name}: {why}");
        }
    }

    /// A connection could not be made.
    pub(super) fn failed(&self, why: &str) {
        if self.note(|trouble| trouble != why, why) {
            warn!(server.name = %self.name, "{why}; trying again until it works");
        }
    }

    /// A connection was made.
    pub(super) fn connected(&self) {
        let name = &self.name;
        if self.note(|trouble| !trouble.is_empty(), "") {
            info!(server.name = %name, "{name} is back");
        }
    }

    /// Replaces the trouble if that is news, and says whether it is.
    fn note(&self, is_news: impl Fn(&str) -> bool, trouble: &str) -> bool {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = is_news(&known);
        if is_news {
            trouble.clone_into(&mut known);
        }
        is_news
    }
}
