//! The life of one connection: connect, prepare everything, serve, be lost, come back.
//!
//! Read next: `catalogue/prepare.rs` for what is prepared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::{Client, NoTls, Statement};

use super::target::{Role, Target};
use crate::catalogue::Catalogue;
use crate::catalogue::prepare::{self, NotPrepared, Prepared};
use crate::config::DatabaseConfig;
use crate::error::chain;
use crate::faults::Faults;

/// Beyond this a pipeline only gets longer, not faster.
const MAX_IN_FLIGHT: usize = 64;
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// Which state of the database the next statement on the connection sees at least. A commit can be in the WAL before it is
/// visible on the primary, so there it is the snapshot; a standby does not know what is in progress, so there it is the replay
/// position (and each only in its place). Sent before the statement: too old is safe, too new is not.
const STAMP: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN 'lsn=' || pg_last_wal_replay_lsn()::text \
                     ELSE 'snapshot=' || pg_current_snapshot()::text END";

/// Milliseconds behind. A standby that has replayed all it received is behind by nothing, as long as it does receive. After its
/// start it has replayed more than it received: the rest was there already.
const LAG: &str = "SELECT CASE \
                     WHEN NOT pg_is_in_recovery() THEN 0 \
                     WHEN pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() \
                          AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0 \
                     ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()) * 1000, 0) \
                   END::int8";

/// A place for a connection.
#[derive(Debug)]
pub(crate) struct Lane {
    session: Mutex<Option<Arc<Session>>>,
    /// Of all lanes: told whenever one has a session.
    connected: Arc<Notify>,
}

/// A connection with everything prepared.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) server: Arc<str>,
    pub(crate) client: Client,
    /// By endpoint and mask.
    pub(crate) prepared: Vec<Vec<Prepared>>,
    pub(crate) stamp: Statement,
    pub(crate) turns: Semaphore,
    lag: Statement,
    lag_ms: AtomicU64,
    lost: Notify,
    /// Why no new statement goes here, if that was our decision.
    given_up: OnceLock<String>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
enum NoSession {
    #[error("cannot connect to {server} ({url})")]
    Connect {
        server: Arc<str>,
        url: String,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("{server} ({url}) did not answer within {limit:?}")]
    Silent { server: Arc<str>, url: String, limit: Duration },
    #[error("{server} cannot prepare the endpoints:\n{faults}")]
    Faults { server: Arc<str>, faults: Faults },
}

/// Ends with the connection.
type Driver = JoinHandle<Result<(), tokio_postgres::Error>>;

/// Connects and prepares every endpoint.
async fn connect(
    target: &Target,
    config: &DatabaseConfig,
    catalogue: &Catalogue,
) -> Result<(Session, Driver), NoSession> {
    let Target { name: server, url, .. } = target;
    // Preparing is many round trips to a server that may be busy with its own start.
    let limit = config.connect_timeout * 2;
    let connected = timeout(limit, async {
        let fail = |source| NoSession::Connect { server: server.clone(), url: url.to_string(), source };
        let settings = url.for_reads(config.statement_timeout, config.connect_timeout);
        let (client, connection) = settings.connect(NoTls).await.map_err(fail)?;
        let driver = tokio::spawn(connection);
        let mut faults = Faults::default();
        let mut prepared = Vec::with_capacity(catalogue.endpoints.len());
        for endpoint in &catalogue.endpoints {
            match prepare::prepare(&client, endpoint).await {
                Ok(variants) => prepared.push(variants),
                Err(NotPrepared::Faults(others)) => faults.extend(others),
                Err(NotPrepared::Connection(e)) => return Err(fail(e)),
            }
        }
        if !faults.is_empty() {
            return Err(NoSession::Faults { server: server.clone(), faults });
        }
        let stamp = client.prepare(STAMP).await.map_err(fail)?;
        let lag = client.prepare(LAG).await.map_err(fail)?;
        let session = Session {
            server: server.clone(),
            client,
            prepared,
            stamp,
            turns: Semaphore::new(MAX_IN_FLIGHT),
            lag,
            lag_ms: AtomicU64::new(0),
            lost: Notify::new(),
            given_up: OnceLock::new(),
        };
        session.read_lag().await.map_err(fail)?;
        Ok((session, driver))
    });
    connected
        .await
        .unwrap_or_else(|_| Err(NoSession::Silent { server: server.clone(), url: url.to_string(), limit }))
}

impl Lane {
    /// The lane, and the end of its first attempt to connect.
    pub(super) fn start(
        target: &Arc<Target>,
        config: &DatabaseConfig,
        catalogue: &Arc<Catalogue>,
        connected: &Arc<Notify>,
    ) -> (Arc<Self>, oneshot::Receiver<()>) {
        let lane = Arc::new(Self { session: Mutex::default(), connected: connected.clone() });
        let (first, tried) = oneshot::channel();
        let (own, target, config, catalogue) =
            (lane.clone(), target.clone(), config.clone(), catalogue.clone());
        // Ends with the runtime of its worker.
        tokio::spawn(async move { own.keep(&target, &config, &catalogue, first).await });
        (lane, tried)
    }

    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        session.filter(|session| !session.client.is_closed() && !session.turns.is_closed())
    }

    fn set(&self, session: Option<Arc<Session>>) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }

    async fn keep(
        &self,
        target: &Target,
        config: &DatabaseConfig,
        catalogue: &Catalogue,
        first: oneshot::Sender<()>,
    ) {
        let mut first = Some(first);
        let mut pause = BACKOFF.0;
        loop {
            let connected = connect(target, config, catalogue).await;
            // Nobody waits for it after the start.
            let tried = first.take();
            match connected {
                Ok((session, driver)) => {
                    target.connected();
                    pause = BACKOFF.0;
                    let session = Arc::new(session);
                    self.set(Some(session.clone()));
                    self.connected.notify_waiters();
                    let _ = tried.map(|tried| tried.send(()));
                    let why = session.last(driver, target.role).await;
                    session.turns.close();
                    self.set(None);
                    target.lost(&why);
                }
                Err(failure) => {
                    let _ = tried.map(|tried| tried.send(()));
                    target.failed(&chain(&failure));
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }
}

impl Session {
    pub(crate) fn in_flight(&self) -> usize {
        MAX_IN_FLIGHT.saturating_sub(self.turns.available_permits())
    }

    pub(crate) fn lag(&self) -> Duration {
        Duration::from_millis(self.lag_ms.load(Ordering::Relaxed))
    }

    /// No new statement goes here; the lane connects again.
    pub(super) fn abandon(&self, why: &str) {
        if !self.turns.is_closed() {
            // The first reason is the one.
            let _ = self.given_up.set(why.to_owned());
            self.turns.close();
        }
        self.lost.notify_one();
    }

    /// Returns when the connection is no more, with the reason.
    async fn last(&self, mut driver: Driver, role: Role) -> String {
        let mut ticks = interval(LAG_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                end = &mut driver => return match end {
                    Ok(Ok(())) => "closed by the server".to_owned(),
                    Ok(Err(e)) => chain(&e),
                    Err(e) => chain(&e),
                },
                () = self.lost.notified() => {
                    driver.abort();
                    return self.given_up.get().cloned().unwrap_or_default();
                }
                _ = ticks.tick() => {
                    // A failure is one of the connection, and ends the driver; a long statement in front is none.
                    if role == Role::Replica && timeout(LAG_INTERVAL, self.read_lag()).await.is_err() {
                        self.lag_ms.fetch_add(1000, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    async fn read_lag(&self) -> Result<(), tokio_postgres::Error> {
        let lag_ms = self.client.query_one(&self.lag, &[]).await?.try_get::<_, i64>(0)?;
        self.lag_ms.store(u64::try_from(lag_ms).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }
}
