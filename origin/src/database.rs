//! Which server answers, and what happens when it cannot.
//!
//! Each worker has a few connections to each server; requests share them, pipelined. A read goes to the replica connection with the
//! fewest statements in flight; if that server is gone, the same request is answered by the primary at once.
//! Knows nothing of HTTP. Read next: `database/lane.rs` for the life of one connection.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, future};
use tokio::sync::{Notify, TryAcquireError};
use tokio::time::{sleep, timeout};
use tokio_postgres::Row;

use crate::catalogue::{Catalogue, Endpoint, Lag, Read};
use crate::config::DatabaseConfig;
use crate::error::{Error, Meaning, meaning};
use crate::params::{self, Given};

mod lane;
mod target;

pub(crate) use lane::{Lane, Session};
pub(crate) use target::{Role, Target};

/// How long a request waits for its turn when everything is in use.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Above the statement's own timeout: those in front of it on the connection, and the network.
const PATIENCE: Duration = Duration::from_secs(5);
/// For servers to be connected before the first request is taken.
const START_PATIENCE: Duration = Duration::from_secs(3);
/// For a connection that was lost under a request to be back. The first new attempt is made after a tenth of it.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// A replica, then the primary, then whatever else is there.
const MAX_ATTEMPTS: usize = 3;
/// An answer is held as a whole: its ETag is made of all of it.
pub(crate) const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The servers as one worker sees them.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) servers: Vec<Server>,
    statement_timeout: Duration,
    /// Whenever a connection is there.
    connected: Arc<Notify>,
}

#[derive(Debug)]
pub(crate) struct Server {
    /// `primary`, `replica-1`, ...
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) lanes: Vec<Arc<Lane>>,
    /// How many were sent, by endpoint; without the stamps that go along.
    pub(crate) statements: Vec<AtomicU64>,
}

/// What a statement gave, and where.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) rows: Vec<Row>,
    pub(crate) session: Arc<Session>,
    /// The value of `Larder-Version`.
    pub(crate) stamp: String,
}

impl Database {
    /// Starts to connect; waits until each connection was tried once, but not for long: one server that says nothing must not
    /// keep the others from answering.
    pub(crate) async fn start(
        targets: &[Arc<Target>],
        config: &DatabaseConfig,
        catalogue: &Arc<Catalogue>,
    ) -> Self {
        let connected = Arc::new(Notify::new());
        let mut tried = Vec::new();
        let mut all = Vec::new();
        for target in targets {
            let mut lanes = Vec::new();
            for _ in 0..config.connections {
                let (lane, first) = Lane::start(target, config, catalogue, &connected);
                lanes.push(lane);
                tried.push(first);
            }
            let statements = catalogue.endpoints.iter().map(|_| AtomicU64::new(0)).collect();
            all.push(Server { name: target.name.clone(), role: target.role, lanes, statements });
        }
        // Whoever is late is taken in when it answers.
        let _ = future::select(future::join_all(tried), pin!(sleep(START_PATIENCE))).await;
        Self { servers: all, statement_timeout: config.statement_timeout, connected }
    }

    /// Runs the endpoint's statement for what a request gives.
    pub(crate) async fn run(
        &self,
        endpoint: &Endpoint,
        index: usize,
        given: &Given,
    ) -> Result<Answered, Error> {
        let mask = endpoint.mask(|condition| given.holds(condition));
        let mut tried: Vec<Arc<Session>> = Vec::new();
        loop {
            let (server, session) = match self.choose(endpoint.read, &tried) {
                Some(chosen) => chosen,
                // None is there, and none was: the client is told at once.
                None if tried.is_empty() => return Err(Error::NoServer),
                // They were lost under this very request, all of them: as when a table was changed under prepared statements.
                // They come back in a moment.
                None => self.wait_for_one(endpoint.read, &tried).await.ok_or(Error::NoServer)?,
            };
            let error = match self.run_on(server, &session, endpoint, index, mask, given).await {
                Ok(answered) => return Ok(answered),
                Err(RunError::Final(error)) => return Err(error),
                Err(RunError::Elsewhere(error)) => error,
            };
            tried.push(session);
            if tried.len() >= MAX_ATTEMPTS {
                return Err(error);
            }
        }
    }

    async fn wait_for_one(&self, read: Read, tried: &[Arc<Session>]) -> Option<(&Server, Arc<Session>)> {
        let wait = async {
            loop {
                let mut connected = pin!(self.connected.notified());
                // Before looking, so that nothing happens between the look and the wait.
                connected.as_mut().enable();
                match self.choose(read, tried) {
                    Some(chosen) => return chosen,
                    None => connected.await,
                }
            }
        };
        timeout(RECONNECT_PATIENCE, wait).await.ok()
    }

    /// The best connection that was not tried. A server that failed this request is not asked again while another one is there.
    fn choose(&self, read: Read, tried: &[Arc<Session>]) -> Option<(&Server, Arc<Session>)> {
        let has_failed = |server: &Server| tried.iter().any(|session| session.server == server.name);
        let max_lag = match read {
            Read::Primary => None,
            Read::Replica { max_lag } => Some(max_lag),
        };
        let is_fresh = |session: &Session| match max_lag.flatten() {
            Some(Lag::Time(most)) => session.lag() <= most,
            // Bytes are not measured yet.
            Some(Lag::Bytes(_)) | None => true,
        };
        let best = |is_wanted: &dyn Fn(&Server, &Session) -> bool| {
            let servers = self.servers.iter();
            let sessions = servers.flat_map(|server| {
                server.lanes.iter().filter_map(move |lane| Some((server, lane.session()?)))
            });
            sessions
                .filter(|(server, session)| {
                    is_wanted(server, session) && !tried.iter().any(|other| Arc::ptr_eq(other, session))
                })
                .min_by_key(|(_, session)| session.in_flight())
        };
        let primary = || best(&|server, _| server.role == Role::Primary);
        if max_lag.is_none() {
            return primary();
        }
        best(&|server, session| {
            server.role == Role::Replica && !has_failed(server) && tried.is_empty() && is_fresh(session)
        })
        .or_else(primary)
        // The lag is a preference between servers. With the primary gone, an old answer is better than none.
        .or_else(|| best(&|server, _| server.role == Role::Replica && !has_failed(server)))
    }

    async fn run_on(
        &self,
        server: &Server,
        session: &Arc<Session>,
        endpoint: &Endpoint,
        index: usize,
        mask: usize,
        given: &Given,
    ) -> Result<Answered, RunError> {
        let _turn = match session.turns.try_acquire() {
            Ok(turn) => turn,
            Err(TryAcquireError::Closed) => return Err(RunError::Elsewhere(Error::NoServer)),
            Err(TryAcquireError::NoPermits) => match timeout(MAX_WAIT, session.turns.acquire()).await {
                Ok(Ok(turn)) => turn,
                Ok(Err(_)) => return Err(RunError::Elsewhere(Error::NoServer)),
                Err(_) => return Err(RunError::Final(Error::Busy)),
            },
        };
        let prepared = session.prepared.get(index).and_then(|variants| variants.get(mask));
        let prepared =
            prepared.ok_or(RunError::Final(Error::Endpoint("the endpoint has no such statement")))?;
        let variant =
            endpoint.variants.get(mask).ok_or(RunError::Final(Error::Endpoint("no such variant")))?;

        let bound = params::bind(endpoint, variant, prepared, given).map_err(RunError::Final)?;

        if let Some(count) = server.statements.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        // Both are sent at once, the stamp first: the statement's snapshot is taken after what the stamp says.
        let rows = async {
            let stream = session.client.query_raw(&prepared.statement, bound).await?;
            let mut stream = pin!(stream);
            let (mut rows, mut bytes) = (Vec::new(), 0);
            while let Some(row) = stream.next().await {
                let row = row?;
                bytes += row.raw_size_bytes();
                if bytes > MAX_ANSWER_BYTES {
                    return Ok(None);
                }
                rows.push(row);
            }
            Ok(Some(rows))
        };
        let both = future::join(session.client.query_one(&session.stamp, &[]), rows);
        let Ok((stamp, rows)) = timeout(self.statement_timeout + PATIENCE, both).await else {
            session.abandon("no answer in time");
            // The last resort was asked: another of its connections would take as long.
            let is_last = &*session.server == "primary";
            return Err(if is_last { RunError::Final } else { RunError::Elsewhere }(Error::TooLong));
        };
        let stamp = stamp
            .and_then(|row| row.try_get::<_, String>(0))
            .map_err(|e| of_statement(server, session, e))?;
        match rows.map_err(|e| of_statement(server, session, e))? {
            Some(rows) => Ok(Answered { rows, session: session.clone(), stamp }),
            None => Err(RunError::Final(Error::TooLarge(MAX_ANSWER_BYTES))),
        }
    }
}

enum RunError {
    /// Another server can answer; the error is for when there is none.
    Elsewhere(Error),
    Final(Error),
}

fn of_statement(server: &Server, session: &Session, error: tokio_postgres::Error) -> RunError {
    match meaning(&error) {
        Meaning::Gone => {
            session.abandon(&crate::error::chain(&error));
            RunError::Elsewhere(Error::NoServer)
        }
        Meaning::Outdated => {
            // Its other connections are no better: a request that goes from one to the next would run out of them.
            for session in server.lanes.iter().filter_map(|lane| lane.session()) {
                session.abandon(&crate::error::chain(&error));
            }
            RunError::Elsewhere(Error::NoServer)
        }
        Meaning::NotHere => RunError::Elsewhere(Error::NoServer),
        Meaning::BadValue | Meaning::TooLong | Meaning::Overloaded | Meaning::Failed => {
            RunError::Final(Error::of_statement(error))
        }
    }
}
