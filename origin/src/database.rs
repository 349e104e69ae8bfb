//! Which server answers, and what happens when it cannot.
//!
//! Each worker has connections of three kinds to each server (`LaneKind`). A read goes to the replica connection with the fewest
//! statements in flight; if that server is gone, the same request is answered by the primary at once, and without one by
//! whoever is left. Writes go to whichever server is the primary.
//! Knows nothing of HTTP. Read next: `database/lane.rs` for the life of one connection, `database/queue.rs` for those who wait,
//! `database/fleet.rs` for which server is what.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::{StreamExt as _, future};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_postgres::Row;

use crate::catalogue::prepare::{NotPrepared, Prepared};
use crate::catalogue::{Endpoint, Lag, Read};
use crate::clock::Stopwatch;
use crate::config::DatabaseConfig;
use crate::error::{Error, Meaning, chain, meaning};
use crate::live::{Live, Served};
use crate::params::{self, Given};

mod fleet;
mod lane;
mod min_version;
mod queue;
mod stamp;
mod stream;
mod target;
mod watch;

pub(crate) use crate::catalogue::LaneKind;
pub(crate) use fleet::Role;
pub(crate) use lane::{Lane, Session};
pub(crate) use min_version::MinVersion;
pub(crate) use queue::Turn;
pub(crate) use stream::Streaming;
pub(crate) use target::{Opened, POOLER_ADVICE, Target, not_connected, until_primary};
pub(crate) use watch::{timeline_of_primary, watch};

use lane::Place;
use queue::{NotWoken, Queue, ServerSet, Woken};

/// Above the statement's own timeout: those in front of it on the connection, and the network.
const PATIENCE: Duration = Duration::from_secs(5);
/// For servers to be connected before the first request is taken.
const START_PATIENCE: Duration = Duration::from_secs(3);
/// For a connection or a primary that was lost a moment ago, when a server has refused another one.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// How long ago a moment is, at most: where nobody was for longer, the client is told at once.
const NEWS: Duration = Duration::from_secs(2);
/// Of a read. When all connections are cut at once it meets several before the first is back.
const MAX_ATTEMPTS: usize = 8;
/// An answer is held as a whole: its ETag is made of all of it.
pub(crate) const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The servers as one worker sees them.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) servers: Vec<Server>,
    /// In the order of `LaneKind::ALL`.
    queues: [Arc<Queue>; LaneKind::ALL.len()],
    config: DatabaseConfig,
    /// So that connections with equally much to do take turns.
    rotation: AtomicUsize,
}

#[derive(Debug)]
pub(crate) struct Server {
    /// `primary`, `replica-1`, ...
    pub(crate) name: Arc<str>,
    pub(crate) target: Arc<Target>,
    /// In the order of `LaneKind::ALL`.
    lanes: [Vec<Arc<Lane>>; LaneKind::ALL.len()],
    /// How many were sent; without the stamps that go along.
    pub(crate) statements: AtomicU64,
}

/// What a statement gave, and where.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) rows: Vec<Row>,
    pub(crate) session: Arc<Session>,
    pub(crate) prepared: Arc<Prepared>,
    /// The value of `Larder-Version`.
    pub(crate) stamp: Arc<str>,
}

/// The connections of one kind to one server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pool {
    /// Connections that serve.
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    /// What they can have in flight together.
    pub(crate) limit: usize,
}

impl Server {
    pub(crate) fn lanes(&self, kind: LaneKind) -> &[Arc<Lane>] {
        &self.lanes[kind as usize]
    }

    pub(crate) fn pool(&self, kind: LaneKind) -> Pool {
        let mut pool = Pool::default();
        for session in self.lanes(kind).iter().filter_map(|lane| lane.session()) {
            pool.connections += 1;
            pool.in_flight += session.in_flight();
            pool.limit += session.limit;
        }
        pool
    }
}

enum Choice {
    Turn(Turn),
    /// These will do, and have no room.
    Full(ServerSet),
    Nobody,
}

impl Database {
    /// Starts to connect; waits until each connection was tried once, but not for long: one server that says nothing must not
    /// keep the others from answering.
    pub(crate) async fn start(
        targets: &[Arc<Target>],
        config: &DatabaseConfig,
        live: &Arc<ArcSwap<Live>>,
        workers: usize,
    ) -> Self {
        let queues = LaneKind::ALL.map(|kind| Queue::new(config.lane(kind).queue));
        let mut tried = Vec::new();
        let mut servers = Vec::new();
        for (server_index, target) in targets.iter().enumerate() {
            let lanes = LaneKind::ALL.map(|kind| {
                let place = Place {
                    target: target.clone(),
                    server_index,
                    kind,
                    config: config.clone(),
                    live: live.clone(),
                    queue: queues[kind as usize].clone(),
                };
                let started = (0..config.lane(kind).of_worker(workers)).map(|_| {
                    let (lane, first) = Lane::start(place.clone());
                    tried.push(first);
                    lane
                });
                started.collect()
            });
            servers.push(Server {
                name: target.name.clone(),
                target: target.clone(),
                lanes,
                statements: AtomicU64::new(0),
            });
        }
        if let Some(target) = targets.first() {
            let (mut changes, queues) = (target.fleet().changes(), queues.clone());
            // Ends with the runtime of its worker, or with the servers.
            tokio::spawn(async move {
                while changes.changed().await.is_ok() {
                    queues.iter().for_each(|queue| queue.wake_all());
                }
            });
        }
        // Whoever is late is taken in when it answers.
        let _ = future::select(future::join_all(tried), pin!(sleep(START_PATIENCE))).await;
        Self { servers, queues, config: config.clone(), rotation: AtomicUsize::new(0) }
    }

    /// Those who wait for connections of a kind.
    pub(crate) fn queue(&self, kind: LaneKind) -> &Queue {
        &self.queues[kind as usize]
    }

    /// All connections that serve, of whatever kind.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = Arc<Session>> {
        let lanes = self.servers.iter().flat_map(|server| server.lanes.iter().flatten());
        lanes.filter_map(|lane| lane.session())
    }

    /// A statement of an endpoint is sent.
    pub(crate) fn count(&self, session: &Session, served: &Served) {
        served.metrics.sent();
        if let Some(server) = self.servers.get(session.server_index) {
            server.statements.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long the statements of one request may take: longer than the server lets them.
    pub(crate) fn patience(&self) -> Duration {
        self.config.lane(LaneKind::Write).statement_timeout + PATIENCE
    }

    /// A connection to the primary that nobody else uses until the turn is dropped. Not in a transaction: see `Turn::begins`.
    ///
    /// # Errors
    /// `NoPrimary` if there is none, `Busy` if the connections are in use for too long or too many wait for one.
    pub(crate) async fn write_turn(&self) -> Result<Turn, Error> {
        self.turn(LaneKind::Write, Read::Primary, &[], None).await
    }

    /// A connection for a read. A server that is tried already failed this very request, and is not asked again while another one
    /// is there. Whether one that is known to show `min` does is for its stamp to prove.
    pub(crate) async fn turn(
        &self,
        kind: LaneKind,
        read: Read,
        tried: &[Arc<Session>],
        min: Option<MinVersion>,
    ) -> Result<Turn, Error> {
        let watch = Stopwatch::start();
        let queue = &self.queues[kind as usize];
        loop {
            let (servers, most, error) = match self.choose(kind, read, tried, min) {
                Choice::Turn(turn) => return Ok(turn),
                Choice::Full(servers) => (servers, self.config.lane(kind).max_wait, Error::Busy),
                Choice::Nobody => {
                    let error = match (read, min) {
                        (Read::Primary, _) => Error::NoPrimary,
                        (Read::Replica { .. }, Some(_)) => Error::NotYet,
                        (Read::Replica { .. }, None) => Error::NoServer,
                    };
                    let is_news = !tried.is_empty() || queue.has_news(NEWS);
                    let most = if self.expects(kind, read) {
                        self.config.lane(kind).max_wait
                    } else if is_news {
                        RECONNECT_PATIENCE
                    } else {
                        Duration::ZERO
                    };
                    (ServerSet::default(), most, error)
                }
            };
            let left = most.saturating_sub(watch.elapsed());
            if left.is_zero() {
                return Err(error);
            }
            match queue.wait(servers, left).await {
                Ok(Woken::Turn(turn)) if turn.is_open() => return Ok(turn),
                Ok(Woken::Turn(_) | Woken::LookAgain) => (),
                Err(NotWoken::Full) => return Err(Error::Busy),
                Err(NotWoken::TooLong) => return Err(error),
            }
        }
    }

    /// Whether a connection that would do was lost, and may be back in a moment: its server has not refused another one. A busy
    /// machine can take seconds for all that were cut at once.
    fn expects(&self, kind: LaneKind, read: Read) -> bool {
        let will_do = |server: &&Server| match (read, server.target.role()) {
            (_, Some(Role::Primary)) | (Read::Replica { .. }, Some(Role::Replica | Role::Forked)) => true,
            (Read::Primary, Some(Role::Replica | Role::Forked)) | (_, Some(Role::Fenced) | None) => false,
        };
        let servers = self.servers.iter().filter(will_do);
        servers.flat_map(|server| server.lanes(kind)).any(|lane| lane.is_expected())
    }

    /// The best connection that was not tried.
    fn choose(&self, kind: LaneKind, read: Read, tried: &[Arc<Session>], min: Option<MinVersion>) -> Choice {
        let is_reached = |server: &Server, position: u64| {
            let timeline = || server.target.timeline().map_or(0, |known| known.timeline);
            min.is_none_or(|min| min.is_reached(timeline(), position))
        };
        let primary = || {
            self.best(kind, tried, |server| {
                server.target.role() == Some(Role::Primary) && is_reached(server, u64::MAX)
            })
        };
        let shows_min = |server: &Server| is_reached(server, server.target.position());
        let Read::Replica { max_lag } = read else { return primary() };
        let has_failed = |server: &Server| tried.iter().any(|session| session.server == server.name);
        let is_fresh = |server: &Server| {
            let lag = server.target.lag();
            lag <= self.config.max_lag
                && match max_lag {
                    Some(Lag::Time(most)) => lag <= most,
                    Some(Lag::Bytes(most)) => server.target.lag_bytes() <= most,
                    None => true,
                }
        };
        let fresh = self.best(kind, tried, |server| {
            let is_replica = server.target.role() == Some(Role::Replica);
            tried.is_empty() && is_replica && is_fresh(server) && shows_min(server)
        });
        let Choice::Nobody = fresh else { return fresh };
        let primary = primary();
        let Choice::Nobody = primary else { return primary };
        // The lag is a preference between servers. With the primary gone, an old answer is better than none, and a server that
        // ended one session, or was in the way of replay for one moment, is better than none. What the request has to see is no
        // preference.
        let reads = |server: &Server| match server.target.role() {
            Some(Role::Replica) => shows_min(server),
            Some(Role::Forked) => min.is_none(),
            Some(Role::Primary | Role::Fenced) | None => false,
        };
        let elsewhere = self.best(kind, tried, |server| reads(server) && !has_failed(server));
        let Choice::Nobody = elsewhere else { return elsewhere };
        let another = self.best(kind, tried, reads);
        let Choice::Nobody = another else { return another };
        self.best(kind, &[], reads)
    }

    /// The connection with the least to do.
    fn best(&self, kind: LaneKind, tried: &[Arc<Session>], will_do: impl Fn(&Server) -> bool) -> Choice {
        let mut servers = ServerSet::default();
        let mut best: Option<(usize, Arc<Session>)> = None;
        let mut are_there = false;
        let start = self.rotation.load(Ordering::Relaxed);
        for index in 0..self.servers.len() {
            let index = (index + start) % self.servers.len();
            let Some(server) = self.servers.get(index).filter(|server| will_do(server)) else { continue };
            let lanes = server.lanes(kind);
            for lane in 0..lanes.len() {
                let lane = lanes.get((lane + start) % lanes.len());
                let Some(session) = lane.and_then(|lane| lane.session()) else { continue };
                if tried.iter().any(|other| Arc::ptr_eq(other, &session)) {
                    continue;
                }
                are_there = true;
                servers.insert(index);
                let in_flight = session.in_flight();
                if in_flight < session.limit && best.as_ref().is_none_or(|(least, _)| in_flight < *least) {
                    best = Some((in_flight, session));
                }
            }
        }
        match best.and_then(|(_, session)| Turn::take(&session, &self.queues[kind as usize])) {
            Some(turn) => {
                self.rotation.store(start.wrapping_add(1), Ordering::Relaxed);
                Choice::Turn(turn)
            }
            None if are_there => Choice::Full(servers),
            None => Choice::Nobody,
        }
    }

    /// Runs the endpoint's statement for what a request gives.
    pub(crate) async fn run(
        &self,
        served: &Served,
        given: &Given,
        min: Option<MinVersion>,
    ) -> Result<Answered, Error> {
        let mask = served.endpoint.mask(|condition| given.holds(condition));
        let mut attempts = Attempts::new(min);
        loop {
            let turn = attempts.turn(self, &served.endpoint).await?;
            let ran = self.run_on(&turn, served, mask, given).await;
            let proven = |answered: Answered| {
                prove(turn.session(), min, &answered.stamp)?;
                Ok(answered)
            };
            match ran.and_then(proven) {
                Ok(answered) => return Ok(answered),
                Err(error) => attempts.failed(turn.session(), error).await?,
            }
        }
    }

    /// What is prepared may be out of date: then it is prepared again, once.
    async fn run_on(
        &self,
        turn: &Turn,
        served: &Served,
        mask: usize,
        given: &Given,
    ) -> Result<Answered, RunError> {
        let (session, endpoint) = (turn.session(), &served.endpoint);
        for _ in 0..2 {
            let prepared = self.prepared(session, endpoint, mask).await?;
            match self.run_prepared(session, &prepared, served, mask, given).await {
                Err(RunError::Outdated) => session.forget(endpoint, mask, &prepared),
                done => return done,
            }
        }
        Err(RunError::Elsewhere(Error::NoServer))
    }

    /// Statements are prepared on the way where the connection has not done it: most often endpoints that came while it was there.
    async fn prepared(
        &self,
        session: &Arc<Session>,
        endpoint: &Endpoint,
        mask: usize,
    ) -> Result<Arc<Prepared>, RunError> {
        let prepared = timeout(self.limit(session), session.prepared(endpoint, mask)).await;
        prepared.map_err(|_| no_answer(session))?.map_err(|e| not_prepared(session, e))
    }

    /// How long a connection may say nothing: longer than the server lets a statement run.
    fn limit(&self, session: &Session) -> Duration {
        self.config.lane(session.kind).statement_timeout + PATIENCE
    }

    async fn run_prepared(
        &self,
        session: &Arc<Session>,
        prepared: &Arc<Prepared>,
        served: &Served,
        mask: usize,
        given: &Given,
    ) -> Result<Answered, RunError> {
        let endpoint = &served.endpoint;
        let variant =
            endpoint.variants.get(mask).ok_or(RunError::Final(Error::Endpoint("no such variant")))?;

        let bound = params::bind(endpoint, variant, prepared, given).map_err(RunError::Final)?;

        self.count(session, served);
        // Both are sent at once, the stamp first: the statement's snapshot is taken after what the stamp says.
        let rows = async {
            let stream = session.send(prepared, &variant.sql, bound).await?;
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
        // Behind a pooler all is one transaction, so that it is one session; elsewhere a statement needs none.
        let around = |sql: Option<String>| async move {
            match sql {
                Some(sql) => session.client.batch_execute(&sql).await,
                None => Ok(()),
            }
        };
        let begin = around(session.is_pooled.then(|| session.begin()));
        let end = around(session.is_pooled.then(|| "COMMIT".to_owned()));
        let all = future::join4(begin, session.stamps.next(&session.client), rows, end);
        let (begun, stamp, rows, ended) =
            timeout(self.limit(session), all).await.map_err(|_| no_answer(session))?;
        begun.map_err(|e| of_statement(session, e))?;
        if rows.is_ok() {
            ended.map_err(|e| of_statement(session, e))?;
        }
        let rows = rows.map_err(|e| of_statement(session, e))?;
        let stamp = stamp.map_err(|e| no_stamp(session, &e))?;
        match rows {
            Some(rows) => Ok(Answered { rows, session: session.clone(), prepared: prepared.clone(), stamp }),
            None => Err(RunError::Final(Error::TooLarge(MAX_ANSWER_BYTES))),
        }
    }
}

/// The attempts of one read: at one server after the other, until one of them answers or what it says is final.
#[derive(Debug)]
pub(crate) struct Attempts {
    /// What the answer has to have seen.
    min: Option<MinVersion>,
    tried: Vec<Arc<Session>>,
    last: Option<Error>,
}

impl Attempts {
    pub(crate) fn new(min: Option<MinVersion>) -> Self {
        Self { min, tried: Vec::new(), last: None }
    }

    async fn turn(&mut self, database: &Database, endpoint: &Endpoint) -> Result<Turn, Error> {
        let turn = database.turn(endpoint.lane, endpoint.read, &self.tried, self.min).await;
        // What the servers said is more to the point than that there is no other one.
        turn.map_err(|error| self.last.take().unwrap_or(error))
    }

    /// `Err`: there is no point in another attempt.
    async fn failed(&mut self, session: &Arc<Session>, error: RunError) -> Result<(), Error> {
        let error = match error {
            RunError::Final(error) => return Err(error),
            RunError::Elsewhere(error) => error,
            RunError::Outdated => Error::NoServer,
        };
        self.tried.push(session.clone());
        if self.tried.len() >= MAX_ATTEMPTS {
            return Err(error);
        }
        self.last = Some(error);
        // Where one connection ended its neighbours may have, and not have heard of it: now they do.
        yield_now().await;
        Ok(())
    }

    /// An answer was cut off, and none of it was sent.
    pub(crate) async fn cut_off(&mut self, session: &Arc<Session>) -> Result<(), Error> {
        self.failed(session, RunError::Elsewhere(Error::NoServer)).await
    }
}

enum RunError {
    /// Another server can answer; the error is for when there is none.
    Elsewhere(Error),
    /// The statement has to be prepared again.
    Outdated,
    Final(Error),
}

fn not_prepared(session: &Session, error: NotPrepared) -> RunError {
    match error {
        NotPrepared::Connection(e) => of_statement(session, e),
        // Perhaps of this server only: its tables can be older than those of the others.
        NotPrepared::Faults(faults) => RunError::Elsewhere(Error::NotPrepared(faults)),
        NotPrepared::NoSuch => RunError::Final(Error::Endpoint("the endpoint has no such statement")),
    }
}

fn no_answer(session: &Session) -> RunError {
    session.abandon("no answer in time");
    // The last resort was asked: another of its connections would take as long.
    let is_last = session.role() == Some(Role::Primary);
    if is_last { RunError::Final(Error::TooLong) } else { RunError::Elsewhere(Error::TooLong) }
}

/// What was known of the server may be of another moment, or of another server: the stamp is the proof.
fn prove(session: &Session, min: Option<MinVersion>, stamp: &str) -> Result<(), RunError> {
    if min.is_none_or(|min| min.is_shown_by(stamp)) {
        return Ok(());
    }
    // Of the primary nobody knows better.
    let is_last = session.role() == Some(Role::Primary);
    Err(if is_last { RunError::Final } else { RunError::Elsewhere }(Error::NotYet))
}

fn no_stamp(session: &Session, error: &tokio_postgres::Error) -> RunError {
    session.abandon(&chain(error));
    RunError::Elsewhere(Error::NoServer)
}

fn of_statement(session: &Session, error: tokio_postgres::Error) -> RunError {
    match meaning(&error) {
        Meaning::Gone => {
            session.abandon(&chain(&error));
            RunError::Elsewhere(Error::NoServer)
        }
        Meaning::Outdated => RunError::Outdated,
        Meaning::NotHere => RunError::Elsewhere(Error::NoServer),
        Meaning::BadValue | Meaning::TooLong | Meaning::Overloaded | Meaning::Failed => {
            RunError::Final(Error::of_statement(error))
        }
    }
}
