//! From the primary's WAL to the ring: one task for the process, which follows whichever server is the primary.
//!
//! Events are told in the order of the stream, each when its tags are complete. The order at the beginning is part of the proof
//! that nothing stale is stored: first the position from which on the slot tells everything, then a number that is above those of
//! all transactions before it. A temporary slot is gone with its connection, and the account with it; one that stays goes on
//! where it was. Heartbeats come while all is told that was in the WAL a moment ago: who hears none knows that something may be
//! untold.
//! Read next: `feed/transaction.rs`.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::Client;
use tracing::{debug, info, warn};

use super::Feed;
use super::changes;
use super::decode::{Frame, Long, Message, frame, long, message};
use super::parents::{self, Recent, Unchanged};
use super::position::{Position, widen};
use super::primary::{self, ForeignKeys, Identity, Look, PrimaryError};
use super::ring::Account;
use super::transaction::{Parent, Relations, Senseless, Tables, Transaction};
use super::wire::{Connection, Streamed, WireError};
use crate::catalogue::Mapping;
use crate::clock::{self, Stopwatch};
use crate::config::FeedSource;
use crate::database::{self, Target};
use crate::error::chain;

/// Between two heartbeats: listeners are promised one each 250 ms.
pub(super) const BEAT: Duration = Duration::from_millis(200);
/// After a commit was told it is looked whether it is shown, and again after so long until it is.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// Beyond these the next heartbeats will do.
const MAX_UNSHOWN: usize = 16_384;
/// While nobody listens: only what a look-up is proven with.
const IDLE_LOOK: Duration = Duration::from_secs(10);
/// Of what was in the WAL so long ago all has to be told, or no heartbeat is given.
const MAX_BEHIND: Duration = Duration::from_secs(1);
/// A walsender that says nothing for so long is given up. Each heartbeat asks it where it is.
const MAX_SILENCE: Duration = Duration::from_secs(60);
/// Ticks between two looks at the publication: what is taken out of it is told no more, without a word.
pub(super) const TICKS_PER_CHECK: u32 = 10;
/// A slot is made when all transactions that write have ended.
const SLOW_SLOT: Duration = Duration::from_secs(5);
/// A slot that stays keeps what listeners may not have yet when this process ends.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// For all look-ups of a transaction, and how long none is made after one that failed.
pub(super) const PATIENCE_OF_FINDS: Duration = Duration::from_millis(250);
const PAUSE_OF_FINDS: Duration = Duration::from_secs(1);
/// For what is asked now and then.
pub(super) const PATIENCE_OF_LOOKS: Duration = Duration::from_secs(10);
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// For what only an operator can change.
const SLOW: Duration = Duration::from_secs(5);
const SETUP: &str = "run `larder-origin feed setup`, which says what is missing";

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the replication connection to {server}")]
    Wire { server: Arc<str>, source: WireError },
    #[error("{server}: {source}")]
    Primary { server: Arc<str>, source: PrimaryError },
    #[error("{server} is not the primary any more")]
    NotPrimary { server: Arc<str> },
    #[error(transparent)]
    Senseless(#[from] Senseless),
    #[error("the slot {0} is another one's: {1}")]
    Slot(String, &'static str),
    #[error("the tables of the feed are others now")]
    Mapping,
}

impl Failure {
    /// How long nobody need try again, and what is to be done, where an operator has to do it.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Primary { source: PrimaryError::NotReady(_), .. } => Some(SETUP),
            Self::Wire { source, .. } => match source.code() {
                // No right to replicate, nothing of that name, too many slots or walsenders, wal_level.
                "42501" | "42704" | "53400" | "53300" | "55000" | "0A000" => Some(SETUP),
                "28000" | "28P01" => Some("see that pg_hba.conf lets this role in for replication"),
                _ => None,
            },
            Self::Slot(..) => Some("give this worker a slot of its own: slot = \"...\" under [feed]"),
            Self::Primary { .. } | Self::NotPrimary { .. } | Self::Senseless(_) | Self::Mapping => None,
        }
    }

    /// Whether what a slot that stays was told before may not be all.
    fn breaks_account(&self) -> bool {
        match self {
            Self::Wire { .. } | Self::NotPrimary { .. } => false,
            Self::Primary { source: PrimaryError::Database(_) | PrimaryError::Silent, .. } => false,
            Self::Primary { .. } | Self::Senseless(_) | Self::Slot(..) | Self::Mapping => true,
        }
    }
}

/// What outlives a connection, if the slot does.
struct Kept {
    identity: Identity,
    mapping: Arc<Mapping>,
    relations: Relations,
    recent: Recent,
}

/// Never returns; ends with whoever polls it.
pub(crate) async fn run(feed: Arc<Feed>, targets: Vec<Arc<Target>>, limit: Duration) {
    let mut mapping = feed.mapping();
    let mut kept = None;
    let mut pause = BACKOFF.0;
    let mut said = String::new();
    loop {
        let Some(target) = database::until_primary(&targets).await else { return };
        let has_begun = || {
            pause = BACKOFF.0;
            if !std::mem::take(&mut said).is_empty() {
                info!(server.name = %target.name, "the feed is told again, from {}", target.name);
            }
        };
        let following = async {
            match feed.config.source {
                FeedSource::Replication => {
                    stream(&feed, &target, limit, &mut mapping, &mut kept, has_begun).await
                }
                FeedSource::Triggers => changes::follow(&feed, &target, limit, &mut mapping, has_begun).await,
            }
        };
        let failure = tokio::select! {
            failure = following => failure,
            () = target.until_no_primary() => Failure::NotPrimary { server: target.name.clone() },
        };
        feed.counts.is_current.store(false, Ordering::Relaxed);
        feed.ring.fall_behind();
        if kept.is_none() || failure.breaks_account() {
            kept = None;
            feed.ring.lose(&chain(&failure));
        }
        let text = match failure.advice() {
            Some(advice) => format!("{}; {advice}", chain(&failure)),
            None => chain(&failure),
        };
        if matches!(failure, Failure::Mapping) {
            continue;
        }
        if text == said {
            debug!(server.name = %target.name, "no feed: {text}");
        } else {
            warn!(server.name = %target.name, "no feed: {text}; trying again until there is one");
        }
        said = text;
        if failure.advice().is_some() {
            sleep(SLOW).await;
            continue;
        }
        sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// By logical replication, until it fails.
async fn stream(
    feed: &Feed,
    target: &Arc<Target>,
    limit: Duration,
    mapping: &mut watch::Receiver<Arc<Mapping>>,
    kept: &mut Option<Kept>,
    has_begun: impl FnOnce(),
) -> Failure {
    let mut session = match Session::open(feed, target, limit, mapping, kept).await {
        Ok(session) => session,
        Err(failure) => return failure,
    };
    has_begun();
    let failure = match session.follow(mapping).await {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    if feed.config.slot.is_some() && !failure.breaks_account() {
        *kept = Some(session.keep());
    }
    failure
}

type Looking = Pin<Box<dyn Future<Output = Result<Looked, PrimaryError>> + Send>>;

/// What was asked on the other connection.
struct Looked {
    client: Arc<Client>,
    look: Look,
    /// If it was their turn.
    tables: Option<Tables>,
    retained: Option<u64>,
}

/// One connection to one primary.
struct Session<'f> {
    feed: &'f Feed,
    target: Arc<Target>,
    limit: Duration,
    stream: Connection,
    client: Option<Arc<Client>>,
    identity: Identity,
    mapping: Arc<Mapping>,
    tables: Tables,
    keys: ForeignKeys,
    keys_are_old: bool,
    find_failed: Option<Stopwatch>,
    relations: Relations,
    recent: Recent,
    unchanged: Unchanged,
    /// A transaction of about now.
    near: u64,
    /// Were told, and the primary was not yet seen to show them.
    unshown: Vec<u64>,
    transaction: Option<Transaction>,
    /// Where the WAL was at the beginning of the connection, until all of that is told.
    begins_at: Option<Position>,
    /// The oldest position that the WAL was seen to have and that is not told yet.
    behind: Option<(Position, Stopwatch)>,
    heard: Stopwatch,
    /// What the slot was told that we have, and what it will be told next time.
    confirmed: (Position, Position, Stopwatch),
}

impl<'f> Session<'f> {
    async fn open(
        feed: &'f Feed,
        target: &Arc<Target>,
        limit: Duration,
        mapping: &mut watch::Receiver<Arc<Mapping>>,
        kept: &mut Option<Kept>,
    ) -> Result<Self, Failure> {
        let of_wire = |source| Failure::Wire { server: target.name.clone(), source };
        let of_primary = |source| Failure::Primary { server: target.name.clone(), source };
        let mapping = mapping.borrow_and_update().clone();
        let mut stream = Connection::open(&target.url, limit).await.map_err(of_wire)?;
        let identity = identify(&mut stream).await.map_err(of_wire)?;
        let client = primary::connect(target, limit).await.map_err(of_primary)?;
        let mut tables = Tables::of(&mapping);
        let publication = &feed.config.publication;
        primary::find_tables(&client, publication, &mut tables).await.map_err(of_primary)?;
        let keys = primary::foreign_keys(&client, &tables).await.map_err(of_primary)?;

        let (slot, position) = match &feed.config.slot {
            None => {
                let name = format!("larder_{:016x}", random());
                let position =
                    create_slot(&mut stream, target, &name, "TEMPORARY ").await.map_err(of_wire)?;
                (name, position)
            }
            Some(name) => (name.clone(), lasting_slot(&mut stream, target, name).await?),
        };
        let is_same = |kept: &Kept| kept.identity == identity && kept.mapping == mapping;
        let is_continued = kept.as_ref().is_some_and(|kept| is_same(kept) && position <= feed.ring.told());
        // After the position.
        let xid = primary::next_xid(&client).await.map_err(of_primary)?;
        let look = primary::look(&client, &identity).await.map_err(of_primary)?;
        let messages =
            if primary::has_messages(&client).await.map_err(of_primary)? { ", messages 'true'" } else { "" };
        let start = format!(
            "START_REPLICATION SLOT {} LOGICAL {position} (proto_version '1', publication_names {}{messages})",
            quoted(&slot, '"'),
            quoted(&quoted(publication, '"'), '\'')
        );
        stream.copy_both(&start).await.map_err(of_wire)?;

        // Not before all has worked: what was the slot's own connection may still have it for a moment.
        let continued = kept.take().filter(|_| is_continued);
        let Kept { relations, mut recent, .. } = continued.unwrap_or_else(|| Kept {
            identity: identity.clone(),
            mapping: mapping.clone(),
            relations: Relations::default(),
            recent: Recent::new(xid),
        });
        let begins_at = Some(look.flushed).filter(|flushed| *flushed > position);
        recent.look(look);
        if !is_continued {
            feed.counts.accounts.fetch_add(1, Ordering::Relaxed);
            let Identity { system, timeline } = identity.clone();
            feed.ring.begin(Account { system, timeline, position, xid, name: None });
        }
        info!(
            server.name = %target.name,
            "the feed {} at {position} of {}, on timeline {}",
            if is_continued { "goes on" } else { "begins" },
            target.name,
            identity.timeline
        );
        Ok(Self {
            feed,
            target: target.clone(),
            limit,
            stream,
            client: Some(client),
            identity,
            mapping,
            tables,
            keys,
            keys_are_old: false,
            find_failed: None,
            relations,
            recent,
            unchanged: Unchanged::default(),
            near: xid,
            unshown: Vec::new(),
            transaction: None,
            begins_at,
            behind: None,
            heard: Stopwatch::start(),
            confirmed: (position, position, Stopwatch::start()),
        })
    }

    fn keep(self) -> Kept {
        let Self { identity, mapping, relations, recent, .. } = self;
        Kept { identity, mapping, relations, recent }
    }

    async fn follow(&mut self, mapping: &mut watch::Receiver<Arc<Mapping>>) -> Result<Infallible, Failure> {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut soon = Box::pin(sleep(Duration::ZERO));
        let mut looking: Option<Looking> = None;
        let mut looked = Stopwatch::start();
        let mut checks_in = 0_u32;
        loop {
            tokio::select! {
                streamed = self.stream.next() => {
                    let streamed = streamed.map_err(|source| self.of_wire(source))?;
                    self.heard = Stopwatch::start();
                    self.take(streamed).await?;
                }
                answer = async { looking.as_mut()?.await.into() }, if looking.is_some() => {
                    looking = None;
                    let answer: Option<Result<Looked, PrimaryError>> = answer;
                    if let Some(answer) = answer {
                        self.seen(answer)?;
                    }
                }
                _ = ticks.tick() => {
                    if self.heard.elapsed() > MAX_SILENCE {
                        return Err(self.of_wire(WireError::Silent));
                    }
                    self.confirm().await?;
                    let is_idle = self.feed.listeners() == 0 && looked.elapsed() < IDLE_LOOK;
                    if looking.is_some() || is_idle {
                        self.beat(None);
                    } else {
                        looked = Stopwatch::start();
                        let checks = checks_in == 0;
                        checks_in = if checks { TICKS_PER_CHECK } else { checks_in - 1 };
                        looking = Some(self.look(checks));
                    }
                }
                // Who hears of a change by live updates does so when it is shown.
                () = &mut soon, if !self.unshown.is_empty() && looking.is_none() && self.feed.listeners() > 0 => {
                    soon.as_mut().reset(Instant::now() + BETWEEN_LOOKS);
                    looked = Stopwatch::start();
                    looking = Some(self.look(false));
                }
                changed = mapping.changed() => match changed {
                    Ok(()) if **mapping.borrow() == *self.mapping => (),
                    Ok(()) => return Err(Failure::Mapping),
                    // Nobody is left who could change it.
                    Err(_) => std::future::pending().await,
                },
            }
        }
    }

    fn of_wire(&self, source: WireError) -> Failure {
        Failure::Wire { server: self.target.name.clone(), source }
    }

    async fn take(&mut self, streamed: Streamed) -> Result<(), Failure> {
        let Streamed::Copy { bytes, is_cut } = streamed else {
            return Err(self.of_wire(WireError::Closed));
        };
        if is_cut {
            return match long(&bytes).ok_or(Senseless("a message that is too long"))? {
                Long::Row { relation } => {
                    let transaction = self.transaction.as_mut();
                    let transaction = transaction.ok_or(Senseless("a row without a transaction"))?;
                    Ok(transaction.take_long(relation, &self.relations)?)
                }
                Long::Other => Ok(()),
            };
        }
        match frame(&bytes).ok_or(Senseless("a frame that is none"))? {
            Frame::KeepAlive { position, wants_reply } => {
                // Inside of a transaction it is where the server reads, and not what it has said.
                if self.transaction.is_none() {
                    self.reach(position);
                }
                if wants_reply {
                    self.confirm().await?;
                }
                Ok(())
            }
            Frame::Data(bytes) => {
                let message = message(bytes).ok_or(Senseless("a message that is none"))?;
                self.message(message).await
            }
        }
    }

    async fn message(&mut self, message: Message<'_>) -> Result<(), Failure> {
        match message {
            Message::Begin { xid, committed_at } => match &self.transaction {
                Some(_) => Err(Senseless("a transaction in another one").into()),
                None => {
                    self.transaction = Some(Transaction::new(xid, committed_at));
                    Ok(())
                }
            },
            Message::Commit { end } => {
                let transaction = self.transaction.take().ok_or(Senseless("an end without a beginning"))?;
                self.commit(transaction, end).await;
                Ok(())
            }
            Message::Relation(relation) => {
                self.keys_are_old = true;
                self.unchanged = Unchanged::default();
                // A partition or a child that was made since.
                if !self.tables.by_oid.contains_key(&relation.oid) && !self.relations.knows(&relation) {
                    self.find_tables().await?;
                }
                self.change(Message::Relation(relation))
            }
            change @ (Message::Insert { .. }
            | Message::Update { .. }
            | Message::Delete { .. }
            | Message::Truncate { .. }
            | Message::Altered { .. }) => self.change(change),
            Message::Other => Ok(()),
        }
    }

    fn change(&mut self, change: Message<'_>) -> Result<(), Failure> {
        let transaction = self.transaction.as_mut().ok_or(Senseless("a change without a transaction"))?;
        let max_rows = self.feed.config.max_rows;
        Ok(transaction.take(change, &self.tables, &mut self.relations, max_rows)?)
    }

    async fn commit(&mut self, transaction: Transaction, end: Position) {
        let xid = widen(transaction.xid, self.near);
        self.near = self.near.max(xid);
        // After a new connection to a slot that stays, what was not confirmed comes again.
        if end <= self.feed.ring.told() {
            return;
        }
        self.recent.commit(xid, &transaction);
        self.unchanged.forget(transaction.touched());
        let parents = transaction.parents();
        let found = if parents.is_empty() { HashMap::new() } else { self.find(parents, end).await };
        let committed_at = transaction.committed_at;
        let tags = transaction.tags(&found, &self.tables);
        if tags.is_empty() {
            self.reach(end);
            return;
        }
        let counts = &self.feed.counts;
        counts.events.fetch_add(1, Ordering::Relaxed);
        counts.tags.fetch_add(u64::try_from(tags.len()).unwrap_or(0), Ordering::Relaxed);
        counts.delay_us.store(clock::since(committed_at), Ordering::Relaxed);
        self.feed.ring.tell(&[xid], end, &tags);
        if self.unshown.len() < MAX_UNSHOWN {
            self.unshown.push(xid);
        }
        self.reach(end);
    }

    /// What parents have. Where a look-up fails, or waits (for a lock on the table, say), the stream does not wait for the next one:
    /// for a while all tables are told whole.
    async fn find(&mut self, mut wanted: BTreeSet<Parent>, end: Position) -> HashMap<Parent, Option<String>> {
        let mut known = HashMap::new();
        wanted.retain(|parent| match self.unchanged.get(parent) {
            Some(value) => {
                known.insert(parent.clone(), value.clone());
                false
            }
            None => true,
        });
        if !wanted.is_empty() {
            let found = self.look_up(wanted, end).await;
            self.unchanged.keep(&found, &self.keys, &self.tables);
            known.extend(found);
        }
        known
    }

    async fn look_up(&mut self, wanted: BTreeSet<Parent>, end: Position) -> HashMap<Parent, Option<String>> {
        if self.find_failed.is_some_and(|since| since.elapsed() < PAUSE_OF_FINDS) {
            return HashMap::new();
        }
        self.find_failed = None;
        let Some(client) = self.client.clone().filter(|client| !client.is_closed()) else {
            return HashMap::new();
        };
        let finding = async {
            if self.keys_are_old {
                self.keys = primary::foreign_keys(&client, &self.tables).await?;
                self.keys_are_old = false;
                self.unchanged = Unchanged::default();
            }
            parents::find(&client, wanted, &self.keys, &self.tables, &self.recent, end).await
        };
        match timeout(PATIENCE_OF_FINDS, finding).await.unwrap_or(Err(PrimaryError::Silent)) {
            Ok(found) => found,
            Err(e) => {
                debug!(server.name = %self.target.name, "rows that others name: {e}");
                self.keys_are_old = true;
                self.find_failed = Some(Stopwatch::start());
                // What waits there would have everything behind it wait.
                self.client = None;
                HashMap::new()
            }
        }
    }

    fn reach(&mut self, position: Position) {
        self.feed.ring.reach(position);
        if self.begins_at.is_some_and(|begins_at| begins_at <= self.feed.ring.told()) {
            self.begins_at = None;
        }
        if self.behind.is_some_and(|(behind, _)| behind <= self.feed.ring.told()) {
            self.behind = None;
        }
    }

    /// A sign of life, if all that was in the WAL a moment ago is told.
    fn beat(&self, snapshot: Option<&str>) {
        let is_behind = self.behind.is_some_and(|(_, since)| since.elapsed() > MAX_BEHIND);
        let is_current = self.begins_at.is_none() && !is_behind && self.heard.elapsed() <= MAX_BEHIND;
        self.feed.counts.is_current.store(is_current, Ordering::Relaxed);
        if is_current {
            self.feed.ring.beat(snapshot);
        } else {
            self.feed.ring.fall_behind();
        }
    }

    async fn confirm(&mut self) -> Result<(), Failure> {
        let told = self.feed.ring.told();
        let (confirmed, next, since) = &mut self.confirmed;
        if self.feed.config.slot.is_none() {
            *confirmed = told;
        } else if since.elapsed() > KEPT_FOR {
            (*confirmed, *next, *since) = (*next, told, Stopwatch::start());
        }
        let position = *confirmed;
        self.stream.confirm(position, true).await.map_err(|source| self.of_wire(source))
    }

    fn look(&self, checks: bool) -> Looking {
        let client = self.client.clone().filter(|client| !client.is_closed());
        let (target, limit, identity) = (self.target.clone(), self.limit, self.identity.clone());
        let tables = checks.then(|| (Tables::of(&self.mapping), self.feed.config.publication.clone()));
        let slot = self.feed.config.slot.clone().filter(|_| checks);
        let asking = async move {
            let client = match client {
                Some(client) => client,
                None => primary::connect(&target, limit).await?,
            };
            let look = primary::look(&client, &identity).await?;
            let tables = match tables {
                Some((mut tables, publication)) => {
                    primary::find_tables(&client, &publication, &mut tables).await?;
                    Some(tables)
                }
                None => None,
            };
            let retained = match slot {
                Some(slot) => Some(primary::retained(&client, &slot).await?),
                None => None,
            };
            Ok(Looked { client, look, tables, retained })
        };
        Box::pin(async { timeout(PATIENCE_OF_LOOKS, asking).await.unwrap_or(Err(PrimaryError::Silent)) })
    }

    fn seen(&mut self, answer: Result<Looked, PrimaryError>) -> Result<(), Failure> {
        match answer {
            Ok(Looked { client, look, tables, retained }) => {
                self.client = Some(client);
                if let Some(retained) = retained {
                    self.feed.counts.retained.store(retained, Ordering::Relaxed);
                }
                if let Some(tables) = tables {
                    self.tables.has_all_of(&tables)?;
                    self.tables = tables;
                    self.unchanged = Unchanged::default();
                }
                self.near = self.near.max(look.snapshot.xmax.saturating_sub(1));
                if self.behind.is_none() && look.flushed > self.feed.ring.told() {
                    self.behind = Some((look.flushed, Stopwatch::start()));
                }
                self.unshown.retain(|xid| !look.snapshot.has_ended(*xid));
                self.beat(Some(&look.text));
                self.recent.look(look);
                Ok(())
            }
            Err(source @ (PrimaryError::Another | PrimaryError::NotReady(_))) => {
                Err(Failure::Primary { server: self.target.name.clone(), source })
            }
            // The stream may well go on.
            Err(e @ (PrimaryError::Database(_) | PrimaryError::Silent)) => {
                debug!("asking {}: {e}", self.target.name);
                self.client = None;
                self.beat(None);
                Ok(())
            }
        }
    }

    async fn find_tables(&mut self) -> Result<(), Failure> {
        let of_primary = |source| Failure::Primary { server: self.target.name.clone(), source };
        let mut tables = Tables::of(&self.mapping);
        let client = match &self.client {
            Some(client) => client.clone(),
            None => primary::connect(&self.target, self.limit).await.map_err(of_primary)?,
        };
        primary::find_tables(&client, &self.feed.config.publication, &mut tables)
            .await
            .map_err(of_primary)?;
        self.tables = tables;
        Ok(())
    }
}

async fn identify(stream: &mut Connection) -> Result<Identity, WireError> {
    let rows = stream.query("IDENTIFY_SYSTEM").await?;
    let row = rows.first().map(Vec::as_slice);
    let Some([Some(system), Some(timeline), ..]) = row else {
        return Err(WireError::Protocol("no answer to IDENTIFY_SYSTEM"));
    };
    let timeline = timeline.parse().map_err(|_| WireError::Protocol("no timeline"))?;
    Ok(Identity { system: system.clone(), timeline })
}

/// Gives the position from which on it tells everything.
async fn create_slot(
    stream: &mut Connection,
    target: &Target,
    name: &str,
    temporary: &str,
) -> Result<Position, WireError> {
    let sql = format!(
        "CREATE_REPLICATION_SLOT {} {temporary}LOGICAL pgoutput NOEXPORT_SNAPSHOT",
        quoted(name, '"')
    );
    let creating = stream.query(&sql);
    tokio::pin!(creating);
    let rows = tokio::select! {
        rows = &mut creating => rows?,
        () = sleep(SLOW_SLOT) => {
            warn!(
                server.name = %target.name,
                "the feed waits for transactions that write, and run for long: a slot is made when they have ended"
            );
            creating.await?
        }
    };
    let point = rows.first().and_then(|row| row.get(1)?.as_deref());
    let point = point.ok_or(WireError::Protocol("a slot without a position"))?;
    point.parse().map_err(|_| WireError::Protocol("a slot without a position"))
}

/// The slot that stays: as it is, or made, or made anew where it can tell nothing any more. Gives the position that it goes on
/// from.
async fn lasting_slot(stream: &mut Connection, target: &Target, name: &str) -> Result<Position, Failure> {
    let of_wire = |source| Failure::Wire { server: target.name.clone(), source };
    let sql = format!(
        "SELECT plugin, database = current_database(), wal_status, confirmed_flush_lsn, temporary \
         FROM pg_replication_slots WHERE slot_name = {}",
        quoted(name, '\'')
    );
    let rows = stream.query(&sql).await.map_err(of_wire)?;
    if let Some(row) = rows.first() {
        let text = |index: usize| row.get(index).and_then(Option::as_deref).unwrap_or_default();
        if text(0) != "pgoutput" || text(1) != "t" || text(4) == "t" {
            return Err(Failure::Slot(
                name.to_owned(),
                "it is not of pgoutput in this database, or is temporary",
            ));
        }
        match text(3).parse() {
            Ok(position) if text(2) != "lost" => return Ok(position),
            _ => {
                warn!(server.name = %target.name, "the slot {name} was lost: it is dropped and made anew");
                let drop = format!("DROP_REPLICATION_SLOT {}", quoted(name, '"'));
                stream.query(&drop).await.map_err(of_wire)?;
            }
        }
    }
    create_slot(stream, target, name, "").await.map_err(of_wire)
}

fn quoted(text: &str, quote: char) -> String {
    let double: String = [quote, quote].iter().collect();
    format!("{quote}{}{quote}", text.replace(quote, &double))
}

/// So that no two make a slot of the same name.
pub(super) fn random() -> u64 {
    // Without randomness the process has no key for cursors either, and does not start.
    getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()))
}
