//! The account that the change feed gives, as all workers share it: the ledger behind its lock, and beside it what each look-up
//! needs, to be read without one.
//!
//! One thread tells (`client.rs`), workers ask. An event is first noted with its tags, in `invalidations.rs`, then told to the
//! ledger, and then its mark is there for everybody to read: whoever has read it finds no response that lacks the event.
//!
//! Positions belong to one account: after a failover the next one may begin with smaller ones. A [`Mark`] is a position with
//! something added, so that each account lies behind all that was told before it, and what was once known to be changed stays
//! so. All locks are from `crate::sync`, so that the interleaving tests can take every order. Must not know sockets,
//! configuration or clocks. The rule itself is in `caching::ledger`.

use std::time::Duration;

use caching::{
    ledger::{Fill, Horizon, Ledger, Refusal},
    time::Timestamp,
    version::{Position, Snapshot, Stamp, Timeline, Version, Xid},
};

use crate::{
    invalidations::{Cell, Invalidations, Mark},
    sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError},
};

/// Of so many accounts it is remembered when they ended.
const REMEMBERED: usize = 64;

/// Shared by all workers.
#[derive(Debug)]
pub struct Account {
    invalidations: Arc<Invalidations>,
    told: Mutex<Told>,
    /// The account that goes on; 0: there is none.
    epoch: AtomicU64,
    /// All events up to here have been told, and noted with their tags.
    told_to: AtomicU64,
    /// When the feed was last heard, in milliseconds.
    heard_ms: AtomicU64,
    /// The newest account, whether it goes on or not.
    newest: AtomicU64,
    /// When accounts ended, in milliseconds, by their number; 0: it goes on.
    ended_ms: Box<[AtomicU64]>,
    pub counts: Counts,
}

#[derive(Debug)]
struct Told {
    ledger: Ledger,
    source: Option<Source>,
    /// Where the account began, and the mark of that place.
    origin: (Position, Mark),
    /// No mark that was ever given is beyond this one.
    furthest: Mark,
    max_silence: Duration,
}

/// Whose log the positions are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The system identifier of the cluster.
    pub system: Box<str>,
    pub timeline: Timeline,
    /// Of a worker that tells commits when it has seen them, at the latest position that they can have: only this worker knows what
    /// comes next, and a commit may be told behind one that is later in the log. 0: all workers tell the same, in the order of the log.
    pub account: u64,
}

impl Source {
    /// One that is a worker's own: up to 16 hexadecimal digits, of which not all are 0.
    pub fn account_of(text: &str) -> Option<u64> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = if is_hex { u64::from_str_radix(text, 16).ok() } else { None };
        number.filter(|number| *number != 0)
    }
}

/// What has been told and refused since the start.
#[derive(Debug, Default)]
pub struct Counts {
    pub events: AtomicU64,
    pub tags: AtomicU64,
    pub epochs: AtomicU64,
    refused: [AtomicU64; Unseen::ALL.len()],
}

/// What a stored response has of the feed: in which account, and up to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// 0: in none.
    pub epoch: u64,
    pub mark: Mark,
}

impl Sight {
    /// Of a response that is stored where nobody asks the feed. If somebody does later, nothing is known of it.
    pub const NONE: Sight = Sight { epoch: 0, mark: Mark::END };
}

/// How it is, for the operator.
#[derive(Debug, Clone)]
pub struct Report {
    /// How many accounts there were.
    pub epoch: u64,
    /// Whose log the last one is of.
    pub source: Option<Source>,
    pub position: Position,
    /// Commits of which it is not certain that everyone sees them.
    pub limbo: usize,
    pub heard: Option<Timestamp>,
}

/// Whether the account that a response belongs to is still being given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Heard,
    /// Not since then; it is not known since when if that is long ago, or if the response was stored without an account.
    Lost(Option<Timestamp>, Loss),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The feed says nothing.
    Silent,
    /// There is another account now: of what was between the two nothing is known.
    Gap,
    NoFeed,
}

/// Why a response is not stored although its fields allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// An event of one of its tags is not in it.
    Event,
    Refused(Refusal),
}

/// What the account has to say of a response that has come.
#[derive(Debug, Clone, Copy)]
pub struct Sighting {
    pub seen: Result<Sight, Refusal>,
    /// How far the feed was when the request was sent.
    pub began: Mark,
    /// Where the account begins: what came before it counts as told.
    horizon: Mark,
    /// It came with a stamp: from who sends one, a better answer can be asked for.
    is_stamped: bool,
}

impl Account {
    /// Nothing is told yet. Before it is, the account has to be told what is configured.
    pub fn new(invalidations: Arc<Invalidations>) -> Account {
        Account {
            invalidations,
            told: Mutex::new(Told {
                ledger: Ledger::new(Duration::ZERO),
                source: None,
                origin: (Position::default(), Mark::default()),
                furthest: Mark::default(),
                max_silence: Duration::MAX,
            }),
            epoch: AtomicU64::new(0),
            told_to: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            newest: AtomicU64::new(0),
            ended_ms: std::iter::repeat_with(|| AtomicU64::new(0)).take(REMEMBERED).collect(),
            counts: Counts::default(),
        }
    }

    /// What the configuration says of the feed now.
    pub fn configure(&self, settle: Duration, max_silence: Duration) {
        let mut told = self.lock();
        told.ledger.set_settle(settle);
        told.max_silence = max_silence;
    }

    // Told by the one who listens to the feed.

    /// An account begins. If it goes on from the one that there is, without a gap, nothing has changed.
    /// Says whether it is another one.
    pub fn begin(&self, source: Source, horizon: Horizon, is_resumed: bool, now: Timestamp) -> bool {
        let mut told = self.lock();
        let goes_on = is_resumed
            && told.ledger.epoch().is_some()
            && told.source.as_ref() == Some(&source)
            && horizon.position <= told.ledger.position();
        if !goes_on {
            self.end(&mut told, now);
            let epoch = told.ledger.begin_epoch(horizon).number();
            told.source = Some(source);
            told.furthest = Mark::new(told.furthest.number().saturating_add(1));
            told.origin = (horizon.position, told.furthest);
            self.told_to.store(told.furthest.number(), Ordering::SeqCst);
            self.ended(epoch).store(0, Ordering::SeqCst);
            self.newest.store(epoch, Ordering::SeqCst);
            // Before the epoch: it was heard, whoever looks.
            self.heard_ms.store(now.as_ms(), Ordering::SeqCst);
            self.epoch.store(epoch, Ordering::SeqCst);
            self.counts.epochs.fetch_add(1, Ordering::SeqCst);
        }
        self.heard_ms.store(now.as_ms(), Ordering::SeqCst);
        !goes_on
    }

    /// A transaction, or several of which nobody knows the order, changed what has these tags.
    pub fn commit<'t>(
        &self,
        xids: impl IntoIterator<Item = Xid>,
        end: Position,
        tags: impl IntoIterator<Item = &'t [u8]>,
        now: Timestamp,
    ) {
        // First the tags, then the ledger, then the mark: see the head of `caching::ledger`. Nobody else tells, so the account
        // is the same all the way.
        let event = self.lock().mark(end);
        for tag in tags {
            self.invalidations.changed(tag, event);
            self.counts.tags.fetch_add(1, Ordering::Relaxed);
        }
        let mut told = self.lock();
        told.ledger.apply(xids, end, now);
        self.reached(&mut told);
        self.counts.events.fetch_add(1, Ordering::SeqCst);
    }

    /// All events up to here were told; the primary has been seen to show this.
    pub fn at(&self, position: Position, shown: Option<&Snapshot>, now: Timestamp) {
        let mut told = self.lock();
        told.ledger.reach(position, now);
        if let Some(snapshot) = shown {
            told.ledger.primary_shows(snapshot);
        }
        self.reached(&mut told);
        self.heard_ms.store(now.as_ms(), Ordering::SeqCst);
    }

    /// The account broke off.
    pub fn lose(&self, now: Timestamp) {
        self.end(&mut self.lock(), now);
    }

    /// Nothing was heard for too long, by a clock that nobody sets.
    pub fn fall_silent(&self, now: Timestamp) {
        let told = self.lock();
        let latest = Timestamp::from_ms(now.as_ms().saturating_sub(ms(told.max_silence).saturating_add(1)));
        self.heard_ms.fetch_min(latest.as_ms(), Ordering::SeqCst);
    }

    /// From where it is to go on; `None`: there is no account.
    pub fn resumes_from(&self) -> Option<(Source, Position)> {
        let told = self.lock();
        told.ledger.epoch()?;
        Some((told.source.clone()?, told.ledger.position()))
    }

    /// Up to where everything has been told; `None`: there is no account.
    pub fn position(&self) -> Option<Position> {
        let told = self.lock();
        told.ledger.epoch().map(|_| told.ledger.position())
    }

    /// A commit is no sign of life: it may be of long ago. Heartbeats are given only by who is where the primary is.
    fn reached(&self, told: &mut Told) {
        let told_to = told.mark(told.ledger.position());
        self.told_to.store(told_to.number(), Ordering::SeqCst);
    }

    /// The account ends now, or ended when it had been silent for too long.
    fn end(&self, told: &mut Told, now: Timestamp) {
        if let Some(epoch) = told.ledger.epoch() {
            let silent_at = self.silent_at(told.max_silence);
            self.ended(epoch.number()).store(now.min(silent_at).as_ms().max(1), Ordering::SeqCst);
        }
        self.epoch.store(0, Ordering::SeqCst);
        told.ledger.lose_feed();
    }

    fn ended(&self, epoch: u64) -> &AtomicU64 {
        &self.ended_ms[usize::try_from(epoch).unwrap_or_default() % REMEMBERED]
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        // Whole after each statement, so a panic of another thread does not spoil it.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Asked by workers.

    /// How far the feed has told: whoever comes now is owed all events up to there.
    pub fn told_to(&self) -> Mark {
        Mark::new(self.told_to.load(Ordering::Acquire))
    }

    /// Whether the account of this number goes on. Cost while it does: two loads.
    pub fn standing(&self, epoch: u64, max_silence: Duration, now: Timestamp) -> Standing {
        let current = self.epoch.load(Ordering::Acquire);
        if current != epoch || current == 0 {
            return self.ended_standing(epoch, current);
        }
        let silent_at = self.silent_at(max_silence);
        if now <= silent_at { Standing::Heard } else { Standing::Lost(Some(silent_at), Loss::Silent) }
    }

    #[cold]
    fn ended_standing(&self, epoch: u64, current: u64) -> Standing {
        let newest = self.newest.load(Ordering::SeqCst);
        let is_remembered = epoch > 0 && newest.saturating_sub(epoch) < REMEMBERED as u64;
        let ended_ms = if is_remembered { self.ended(epoch).load(Ordering::SeqCst) } else { 0 };
        let since = (ended_ms > 0).then(|| Timestamp::from_ms(ended_ms));
        Standing::Lost(since, if current == 0 { Loss::NoFeed } else { Loss::Gap })
    }

    fn silent_at(&self, max_silence: Duration) -> Timestamp {
        Timestamp::from_ms(self.heard_ms.load(Ordering::Acquire)) + max_silence
    }

    /// How it is at this moment.
    pub fn now(&self, max_silence: Duration, now: Timestamp) -> Result<(), Loss> {
        match self.epoch.load(Ordering::SeqCst) {
            0 => Err(Loss::NoFeed),
            _ if now > self.silent_at(max_silence) => Err(Loss::Silent),
            _ => Ok(()),
        }
    }

    /// What a server must have replayed to show an event: the value of `Larder-Min-Version`. All that an earlier account has told
    /// was there when this one began. `None`: there is no account.
    pub fn min_version(&self, event: Mark) -> Option<Stamp> {
        let told = self.lock();
        told.ledger.epoch()?;
        let (began, mark) = told.origin;
        let behind = event.number().saturating_sub(mark.number());
        let position = Position::new(began.number().saturating_add(behind));
        Some(Stamp { timeline: told.source.as_ref()?.timeline, version: Version::Replayed(position) })
    }

    /// Whether it has told everything up to here. Of a history that has ended nothing more is told: what of it holds is a part of the
    /// one that goes on.
    pub fn has_told(&self, timeline: Timeline, position: Position) -> bool {
        let told = self.lock();
        let (Some(_), Some(source)) = (told.ledger.epoch(), &told.source) else { return false };
        let is_reached =
            source.timeline == timeline && source.account == 0 && told.ledger.position() >= position;
        source.timeline > timeline || is_reached
    }

    /// Whether there is a position at which everything before it has been told.
    pub fn is_in_order_of_log(&self) -> bool {
        self.lock().source.as_ref().is_none_or(|source| source.account == 0)
    }

    /// Everything up to here has been seen to be visible on the primary.
    pub fn shown(&self) -> Position {
        self.lock().ledger.shown()
    }

    /// For the operator.
    pub fn report(&self) -> Report {
        let told = self.lock();
        let heard = Some(self.heard_ms.load(Ordering::SeqCst)).filter(|ms| *ms > 0);
        Report {
            epoch: self.newest.load(Ordering::SeqCst),
            source: told.source.clone(),
            position: told.ledger.position(),
            limbo: told.ledger.limbo(),
            heard: heard.map(Timestamp::from_ms),
        }
    }

    /// Up to which position a response of the account that goes on has everything; `None`: it is of another one.
    pub fn position_of(&self, seen: Sight) -> Option<Position> {
        let told = self.lock();
        let epoch = told.ledger.epoch()?.number();
        let (began, mark) = told.origin;
        let behind = seen.mark.number().checked_sub(mark.number()).filter(|_| seen.epoch == epoch)?;
        Some(Position::new(began.number().saturating_add(behind)))
    }

    /// To be called before a request is sent whose answer may be stored.
    pub fn begin_fill(self: &Arc<Self>, now: Timestamp) -> Filling {
        let began = self.told_to();
        let fill = self.lock().ledger.begin_fill(now);
        Filling { account: Arc::clone(self), fill: Some(fill), began }
    }

    /// Notes that a response was not stored, and why.
    pub fn refused(&self, why: Unseen) {
        self.counts.refused[why.index()].fetch_add(1, Ordering::Relaxed);
    }
}

/// A response that is being fetched. Dropped, it has brought nothing.
#[derive(Debug)]
pub struct Filling {
    account: Arc<Account>,
    fill: Option<Fill>,
    began: Mark,
}

impl Filling {
    /// Its head is there. `stamp`: what it says that it was made from.
    pub fn end(mut self, stamp: Option<&Stamp>) -> Sighting {
        let fill = self.fill.take();
        let mut told = self.account.lock();
        let as_it_began = Sighting {
            seen: Err(Refusal::NoFeed),
            began: self.began,
            horizon: told.origin.1,
            is_stamped: stamp.is_some(),
        };
        let Some(fill) = fill else { return as_it_began };
        let of_feed = told.source.as_ref().map(|source| source.timeline);
        if let (Some(stamp), Some(of_feed)) = (stamp, of_feed)
            && stamp.timeline != of_feed
        {
            // Of a server that has other transactions under the same numbers, or of which the feed does not know yet that it leads.
            told.ledger.drop_fill(fill);
            return Sighting { seen: Err(Refusal::BeforeHorizon), ..as_it_began };
        }
        let seen = told.ledger.end_fill(fill, stamp.map(|stamp| &stamp.version));
        let seen = seen.map(|seen| Sight { epoch: seen.epoch.number(), mark: told.mark(seen.position) });
        Sighting { seen, ..as_it_began }
    }
}

impl Told {
    /// The mark of a position of the account.
    fn mark(&mut self, position: Position) -> Mark {
        let (began, mark) = self.origin;
        let behind = position.number().saturating_sub(began.number());
        let mark = Mark::new(mark.number().saturating_add(behind));
        self.furthest = self.furthest.max(mark);
        mark
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Some(fill) = self.fill.take() {
            self.account.lock().ledger.drop_fill(fill);
        }
    }
}

impl Sighting {
    /// What a response with these cells does not have, if that is known of it or cannot be known.
    pub fn lacks(&self, cells: &[Arc<Cell>]) -> Option<Unseen> {
        match self.seen {
            Ok(seen) if newest(cells) <= seen.mark => None,
            Ok(_) => Some(Unseen::Event),
            Err(refusal) => Some(Unseen::Refused(refusal)),
        }
    }

    /// Whoever asked when the feed was no further may have it, also if it is not stored: he is owed nothing that it lacks. Of what
    /// nobody can tell what it has, that is so for those to whom nothing has been told since the request was sent.
    pub fn as_of(&self, cells: &[Arc<Cell>]) -> Mark {
        match self.seen {
            Ok(seen) if self.is_stamped => seen.mark,
            Err(_) if self.better(cells).is_some() => Mark::default(),
            Ok(_) | Err(_) => self.began,
        }
    }

    /// Whether it is worth asking what it lacks, for one who came when the feed was at `joined`.
    pub fn may_lack_what_was_told(&self, joined: Mark) -> bool {
        self.is_stamped && !self.seen.is_ok_and(|seen| seen.mark >= joined)
    }

    /// What it lacks, or may lack, and a server can be asked for: the newest event, or all that came before the account.
    pub fn better(&self, cells: &[Arc<Cell>]) -> Option<Mark> {
        let newest = newest(cells);
        let lacking = match self.seen {
            Ok(seen) => (newest > seen.mark).then_some(newest),
            Err(Refusal::BeforeHorizon | Refusal::Gap | Refusal::TooSlow) => Some(newest.max(self.horizon)),
            // Nothing is told by anybody, or it does not say what it was made from.
            Err(Refusal::NoFeed | Refusal::NotSettled) => None,
        };
        lacking.filter(|_| self.is_stamped)
    }
}

fn newest(cells: &[Arc<Cell>]) -> Mark {
    cells.iter().map(|cell| cell.changed()).max().unwrap_or_default()
}

impl Loss {
    /// The `detail` of `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Loss::Silent => "feed-silent",
            Loss::Gap => "feed-gap",
            Loss::NoFeed => "no-feed",
        }
    }
}

impl Unseen {
    pub const ALL: [Unseen; 6] = [
        Unseen::Event,
        Unseen::Refused(Refusal::NoFeed),
        Unseen::Refused(Refusal::Gap),
        Unseen::Refused(Refusal::BeforeHorizon),
        Unseen::Refused(Refusal::TooSlow),
        Unseen::Refused(Refusal::NotSettled),
    ];

    /// The `detail` of `Cache-Status`.
    pub const fn detail(self) -> &'static str {
        match self {
            Unseen::Event | Unseen::Refused(Refusal::TooSlow) => "stale-fill",
            Unseen::Refused(Refusal::NoFeed) => "no-feed",
            Unseen::Refused(Refusal::Gap | Refusal::BeforeHorizon) => "feed-gap",
            Unseen::Refused(Refusal::NotSettled) => "not-settled",
        }
    }

    /// The label of its counter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unseen::Event => "event",
            Unseen::Refused(Refusal::NoFeed) => "no-feed",
            Unseen::Refused(Refusal::Gap) => "gap",
            Unseen::Refused(Refusal::BeforeHorizon) => "before-horizon",
            Unseen::Refused(Refusal::TooSlow) => "too-slow",
            Unseen::Refused(Refusal::NotSettled) => "not-settled",
        }
    }

    /// Its place in [`Unseen::ALL`].
    const fn index(self) -> usize {
        match self {
            Unseen::Event => 0,
            Unseen::Refused(Refusal::NoFeed) => 1,
            Unseen::Refused(Refusal::Gap) => 2,
            Unseen::Refused(Refusal::BeforeHorizon) => 3,
            Unseen::Refused(Refusal::TooSlow) => 4,
            Unseen::Refused(Refusal::NotSettled) => 5,
        }
    }
}

impl Counts {
    pub fn refused(&self, why: Unseen) -> u64 {
        self.refused[why.index()].load(Ordering::Relaxed)
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
