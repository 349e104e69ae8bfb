//! Turns on connections: who may send now, who waits, and who has to be told that it takes too long.
//!
//! A request that finds no room waits in one line for its kind of connection, whichever of the servers that will do has room
//! first. Who leaves hands its room to the first in line that can use it, so nobody overtakes.
//! Knows nothing of servers but their number. Read next: `database/lane.rs`.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::lane::Session;
use crate::clock::Stopwatch;

/// For the end of a transaction that was left behind; a connection that takes longer is given up.
const ROLLBACK_PATIENCE: Duration = Duration::from_secs(1);

/// Some of the servers, by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ServerSet(u64);

impl ServerSet {
    pub(super) fn insert(&mut self, server: usize) {
        self.0 |= 1_u64.checked_shl(u32::try_from(server).unwrap_or(u32::MAX)).unwrap_or(0);
    }

    fn has(self, server: usize) -> bool {
        let mut one = Self::default();
        one.insert(server);
        self.0 & one.0 != 0
    }
}

/// Those who wait for one kind of connection, first come first.
#[derive(Debug)]
pub(crate) struct Queue {
    limit: usize,
    line: Mutex<VecDeque<Waiter>>,
    /// Of those in line; the line itself also has those who left.
    waiting: AtomicUsize,
    /// Requests that found no place in line.
    full: AtomicU64,
    /// Requests that no connection was free for in time.
    too_long: AtomicU64,
    /// Since something came, went, or changed.
    news: Mutex<Stopwatch>,
}

#[derive(Debug)]
struct Waiter {
    servers: ServerSet,
    woken: oneshot::Sender<Woken>,
}

#[derive(Debug)]
pub(super) enum Woken {
    Turn(Turn),
    /// Connections came or went, or servers changed their roles.
    LookAgain,
}

/// Why nobody was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotWoken {
    /// There are as many in line as may be.
    Full,
    TooLong,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            line: Mutex::default(),
            waiting: AtomicUsize::new(0),
            full: AtomicU64::new(0),
            too_long: AtomicU64::new(0),
            news: Mutex::new(Stopwatch::start()),
        })
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room on one of `servers`, or for news.
    pub(super) async fn wait(&self, servers: ServerSet, limit: Duration) -> Result<Woken, NotWoken> {
        let receiver = {
            let mut line = self.line();
            if self.waiting() >= self.limit {
                self.full.fetch_add(1, Ordering::Relaxed);
                return Err(NotWoken::Full);
            }
            // Those who gave up are not counted, and have to go some time.
            if line.len() >= 2 * self.limit.max(16) {
                line.retain(|waiter| !waiter.woken.is_closed());
            }
            let (woken, receiver) = oneshot::channel();
            line.push_back(Waiter { servers, woken });
            receiver
        };
        let _counted = Counted::new(&self.waiting);
        match timeout(limit, receiver).await {
            Ok(Ok(woken)) => Ok(woken),
            // The line is emptied only by waking.
            Ok(Err(_)) => Ok(Woken::LookAgain),
            Err(_) => {
                self.too_long.fetch_add(1, Ordering::Relaxed);
                Err(NotWoken::TooLong)
            }
        }
    }

    /// How many were refused: because the line was full, and because it took too long.
    pub(crate) fn refused(&self) -> [u64; 2] {
        [&self.full, &self.too_long].map(|count| count.load(Ordering::Relaxed))
    }

    /// Whether connections came or went, or servers changed their roles, not longer ago than this.
    pub(super) fn has_news(&self, since: Duration) -> bool {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < since
    }

    pub(super) fn wake_all(&self) {
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = Stopwatch::start();
        let all = std::mem::take(&mut *self.line());
        for waiter in all {
            // Who left does not mind.
            let _ = waiter.woken.send(Woken::LookAgain);
        }
    }

    /// Gives the room that a session has to those in line.
    pub(super) fn hand_over(self: &Arc<Self>, session: &Arc<Session>) {
        loop {
            // Looked for first: in an empty line, the usual one, nothing is taken that would have to be given back.
            let waiter = {
                let mut line = self.line();
                let next = line.iter().position(|waiter| waiter.servers.has(session.server_index));
                next.and_then(|next| line.remove(next))
            };
            let Some(waiter) = waiter else { return };
            let Some(turn) = Turn::take(session, self) else {
                // No room after all; the place in front was theirs.
                self.line().push_front(waiter);
                return;
            };
            match waiter.woken.send(Woken::Turn(turn)) {
                // One room, one turn.
                Ok(()) => return,
                // It left. The next one, with a room that is not handed over twice.
                Err(Woken::Turn(turn)) => turn.give_back(),
                Err(Woken::LookAgain) => (),
            }
        }
    }
}

struct Counted<'q>(&'q AtomicUsize);

impl<'q> Counted<'q> {
    fn new(count: &'q AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to send statements on a connection. Those of slow and write lanes have it to themselves.
#[derive(Debug)]
pub(crate) struct Turn {
    session: Arc<Session>,
    queue: Arc<Queue>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    InTransaction,
    GivenBack,
}

impl Turn {
    pub(super) fn take(session: &Arc<Session>, queue: &Arc<Queue>) -> Option<Self> {
        session.enter().then(|| Self { session: session.clone(), queue: queue.clone(), state: State::Idle })
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// From now on, a turn that is dropped leaves a transaction behind: it is rolled back before anyone else has the connection.
    pub(crate) fn begins(&mut self) {
        self.state = State::InTransaction;
    }

    /// The transaction has ended, one way or the other.
    pub(crate) fn ended(&mut self) {
        self.state = State::Idle;
    }

    /// Without telling those in line.
    fn give_back(mut self) {
        self.state = State::GivenBack;
        self.session.leave();
    }
}

impl Deref for Turn {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (session, queue) = (self.session.clone(), self.queue.clone());
        let next = move || {
            session.leave();
            queue.hand_over(&session);
        };
        match (self.state, Handle::try_current()) {
            (State::GivenBack, _) => (),
            (State::Idle, _) => next(),
            // The worker ends, and its connections with it.
            (State::InTransaction, Err(_)) => self.session.abandon("left in a transaction"),
            (State::InTransaction, Ok(runtime)) => {
                let session = self.session.clone();
                runtime.spawn(async move {
                    let rolled_back =
                        timeout(ROLLBACK_PATIENCE, session.client.batch_execute("ROLLBACK")).await;
                    if !matches!(rolled_back, Ok(Ok(()))) {
                        session.abandon("a transaction that was left behind could not be rolled back");
                    }
                    next();
                });
            }
        }
    }
}
