//! The life of one connection: connect, prepare, serve, be lost, come back.
//!
//! Read next: `catalogue/prepare.rs` for what is prepared.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, RowStream};

use super::fleet::Role;
use super::queue::Queue;
use super::stamp::Stamps;
use super::target::{Opened, Target};
use crate::catalogue::prepare::{self, BodyColumns, NotPrepared, Prepared};
use crate::catalogue::{Body, Catalogue, Endpoint, EndpointId, LaneKind};
use crate::config::{DatabaseConfig, Driver, Purpose};
use crate::error::chain;
use crate::faults::Faults;
use crate::live::Live;
use crate::openapi::Described;
use crate::params::Bound;

const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

impl LaneKind {
    pub(crate) const ALL: [Self; 3] = [Self::Fast, Self::Slow, Self::Write];

    /// As metrics, messages and the configuration have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
            Self::Write => "write",
        }
    }
}

impl fmt::Display for LaneKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A place for a connection.
#[derive(Debug)]
pub(crate) struct Lane {
    session: Mutex<Option<Arc<Session>>>,
    /// It was lost, and nothing says yet that it will not be back in a moment.
    is_expected: AtomicBool,
    queue: Arc<Queue>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) server: Arc<str>,
    /// Among the servers of the configuration.
    pub(super) server_index: usize,
    pub(crate) client: Arc<Client>,
    pub(crate) kind: LaneKind,
    /// Whether statements run in a session that others share, each transaction in another one.
    pub(crate) is_pooled: bool,
    /// How many may be in flight.
    pub(crate) limit: usize,
    pub(super) stamps: Stamps,
    purpose: Purpose,
    target: Arc<Target>,
    live: Arc<ArcSwap<Live>>,
    /// By endpoint and mask. Not there where nobody asked yet, or where it went out of date.
    // INVARIANT: of endpoints that serve, but for the moment between a swap and `forget_gone`.
    prepared: Mutex<HashMap<(EndpointId, usize), Arc<Prepared>>>,
    in_flight: AtomicUsize,
    is_open: AtomicBool,
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

/// What a lane connects with.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) target: Arc<Target>,
    pub(super) server_index: usize,
    pub(super) kind: LaneKind,
    pub(super) config: DatabaseConfig,
    pub(super) live: Arc<ArcSwap<Live>>,
    pub(super) queue: Arc<Queue>,
}

impl Place {
    async fn connect(&self) -> Result<(Session, Driver), NoSession> {
        let Target { name: server, url, .. } = &*self.target;
        // Preparing is many round trips to a server that may be busy with its own start.
        let limit = self.config.connect_timeout * 2;
        let silent = || NoSession::Silent { server: server.clone(), url: url.to_string(), limit };
        timeout(limit, self.connect_and_prepare()).await.unwrap_or_else(|_| Err(silent()))
    }

    async fn connect_and_prepare(&self) -> Result<(Session, Driver), NoSession> {
        let Target { name: server, url, .. } = &*self.target;
        let fail = |source| NoSession::Connect { server: server.clone(), url: url.to_string(), source };
        let lane = self.config.lane(self.kind);
        let purpose = match self.kind {
            LaneKind::Fast | LaneKind::Slow => Purpose::Reads(lane.statement_timeout),
            LaneKind::Write => Purpose::Writes(lane.statement_timeout),
        };
        let opened = self.target.open(purpose, self.config.connect_timeout).await.map_err(fail)?;
        let Opened { client, driver, is_pooled } = opened;
        let started = self.target.ask_role(&client).await.map_err(fail)?;
        let stamps = Stamps::prepare(&client, &self.target, started, is_pooled).await.map_err(fail)?;
        let session = Session {
            server: server.clone(),
            server_index: self.server_index,
            client: Arc::new(client),
            kind: self.kind,
            is_pooled,
            limit: lane.pipeline,
            stamps,
            purpose,
            target: self.target.clone(),
            live: self.live.clone(),
            prepared: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            is_open: AtomicBool::new(true),
            lost: Notify::new(),
            given_up: OnceLock::new(),
        };
        // The others have too many connections, and too few requests, for everything to be prepared on each.
        if self.kind == LaneKind::Fast {
            let faults = session.prepare_all().await.map_err(fail)?;
            if !faults.is_empty() {
                return Err(NoSession::Faults { server: server.clone(), faults });
            }
        }
        Ok((session, driver))
    }
}

impl Lane {
    /// The lane, and the end of its first attempt to connect.
    pub(super) fn start(place: Place) -> (Arc<Self>, oneshot::Receiver<()>) {
        let lane = Arc::new(Self {
            session: Mutex::default(),
            is_expected: AtomicBool::new(false),
            queue: place.queue.clone(),
        });
        let (first, tried) = oneshot::channel();
        let own = lane.clone();
        // Ends with the runtime of its worker.
        tokio::spawn(async move { own.keep(&place, first).await });
        (lane, tried)
    }

    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        session.filter(|session| session.is_open())
    }

    pub(super) fn is_expected(&self) -> bool {
        self.is_expected.load(Ordering::Relaxed)
    }

    fn set(&self, session: Option<Arc<Session>>) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
        self.queue.wake_all();
    }

    async fn keep(&self, place: &Place, first: oneshot::Sender<()>) {
        let mut first = Some(first);
        let mut pause = BACKOFF.0;
        let target = &place.target;
        loop {
            // Only the primary takes writes; who becomes it is asked for a connection then.
            if place.kind == LaneKind::Write && target.role() != Some(Role::Primary) {
                let _ = first.take().map(|first| first.send(()));
                target.until_primary().await;
            }
            let connected = place.connect().await;
            // Nobody waits for it after the start.
            let tried = first.take();
            match connected {
                Ok((session, driver)) => {
                    target.connected();
                    pause = BACKOFF.0;
                    let session = Arc::new(session);
                    self.is_expected.store(false, Ordering::Relaxed);
                    self.set(Some(session.clone()));
                    // Query files may have been replaced while it was made; from here on whoever replaces them finds it.
                    session.forget_gone();
                    let _ = tried.map(|tried| tried.send(()));
                    let why = session.last(driver).await;
                    session.is_open.store(false, Ordering::Relaxed);
                    self.is_expected.store(true, Ordering::Relaxed);
                    self.set(None);
                    target.lost(&why);
                }
                Err(failure) => {
                    let _ = tried.map(|tried| tried.send(()));
                    if self.is_expected.swap(false, Ordering::Relaxed) {
                        self.queue.wake_all();
                    }
                    target.failed(&chain(&failure));
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }
}

impl Session {
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed) && !self.client.is_closed()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn role(&self) -> Option<Role> {
        self.target.role()
    }

    /// Which timeline its server is on, at least.
    pub(crate) fn timeline(&self) -> Option<u32> {
        self.stamps.timeline()
    }

    /// Takes room for one more; a worker's connections are used by its own thread only, so that nothing comes in between.
    pub(super) fn enter(&self) -> bool {
        let has_room = self.is_open() && self.in_flight() < self.limit;
        if has_room {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// No new statement goes here; the lane connects again.
    pub(crate) fn abandon(&self, why: &str) {
        if self.is_open.swap(false, Ordering::Relaxed) {
            // The first reason is the one.
            let _ = self.given_up.set(why.to_owned());
        }
        self.lost.notify_one();
    }

    /// An endpoint's statement, made ready at its first use.
    pub(crate) async fn prepared(
        &self,
        endpoint: &Endpoint,
        mask: usize,
    ) -> Result<Arc<Prepared>, NotPrepared> {
        let known = self.known().get(&(endpoint.id, mask)).cloned();
        if let Some(prepared) = known {
            return Ok(prepared);
        }
        // Two that come at once do it twice, which costs less than to wait for each other.
        let prepared = Arc::new(prepare::variant(&self.client, endpoint, mask, self.is_pooled).await?);
        let mut known = self.known();
        // Read while the lock is held: whoever replaces the endpoints comes to `forget_gone` after that. A request that began with
        // one that is gone is the last to ask for it.
        if self.live.load().has(endpoint.id) {
            known.insert((endpoint.id, mask), prepared.clone());
        }
        Ok(prepared)
    }

    /// Closes the statements of endpoints that do not serve any more; those that run go on.
    pub(crate) fn forget_gone(&self) {
        let live = self.live.load();
        let gone: Vec<_> = self.known().extract_if(|(endpoint, _), _| !live.has(*endpoint)).collect();
        // Each is a message to the server: not while requests would wait for the lock.
        drop(gone);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(EndpointId, usize), Arc<Prepared>>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a transaction begins on this connection; several statements at once.
    pub(crate) fn begin(&self) -> String {
        if self.is_pooled {
            return self.purpose.begin();
        }
        match self.kind {
            LaneKind::Fast | LaneKind::Slow => "BEGIN READ ONLY".to_owned(),
            LaneKind::Write => "BEGIN".to_owned(),
        }
    }

    /// Sends an endpoint's statement, at the first poll. `sql` is the text that it was prepared from.
    pub(crate) async fn send(
        &self,
        prepared: &Prepared,
        sql: &str,
        bound: Vec<Bound<'_>>,
    ) -> Result<RowStream, tokio_postgres::Error> {
        if self.is_pooled {
            let types = prepared.statement.params().iter().cloned();
            return self.client.query_typed_raw(sql, bound.into_iter().zip(types)).await;
        }
        self.client.query_raw(&prepared.statement, bound).await
    }

    /// After a statement was refused because its tables, or the server's memory of it, are not what they were: whoever asks next
    /// has it prepared anew.
    pub(crate) fn forget(&self, endpoint: &Endpoint, mask: usize, outdated: &Arc<Prepared>) {
        let (mut known, place) = (self.known(), (endpoint.id, mask));
        // Another request may have done it already.
        if known.get(&place).is_some_and(|known| Arc::ptr_eq(known, outdated)) {
            known.remove(&place);
        }
    }

    /// What the rows of `body: columns` are made of, if all of these statements are prepared here.
    pub(crate) fn describe(&self, catalogue: &Catalogue) -> Option<Described> {
        let prepared = self.known();
        let mut described = Described::new();
        for endpoint in catalogue.endpoints.iter().filter(|endpoint| endpoint.body == Body::Columns) {
            // All variants have the same columns.
            match &prepared.get(&(endpoint.id, 0))?.layout.body {
                BodyColumns::Columns(members) => drop(described.insert(endpoint.id, members.clone())),
                BodyColumns::Json(_) | BodyColumns::Nothing => (),
            }
        }
        Some(described)
    }

    async fn prepare_all(&self) -> Result<Faults, tokio_postgres::Error> {
        let mut faults = Faults::default();
        let live = self.live.load_full();
        for endpoint in &live.catalogue.endpoints {
            for mask in 0..endpoint.variants.len() {
                match self.prepared(endpoint, mask).await {
                    Ok(_) | Err(NotPrepared::NoSuch) => (),
                    Err(NotPrepared::Faults(others)) => faults.extend(others),
                    Err(NotPrepared::Connection(e)) => return Err(e),
                }
            }
        }
        Ok(faults)
    }

    /// Returns when the connection is no more, with the reason.
    async fn last(&self, mut driver: Driver) -> String {
        tokio::select! {
            end = &mut driver => match end {
                Ok(Ok(())) => "closed by the server".to_owned(),
                Ok(Err(e)) => chain(&e),
                Err(e) => chain(&e),
            },
            () = self.lost.notified() => {
                driver.abort();
                self.given_up.get().cloned().unwrap_or_default()
            }
            // A write that waits there, perhaps for a standby that has left it, shall not wait to its timeout: what it does is
            // not of the cluster's history any more.
            () = self.target.until_fenced(), if self.kind == LaneKind::Write => {
                driver.abort();
                "another server is the primary".to_owned()
            }
        }
    }
}
