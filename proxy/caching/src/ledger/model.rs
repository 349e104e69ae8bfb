//! A model of Postgres, its standbys, the feed and a proxy, in which everything happens in any order.
//!
//! Commits are durable in one order and become visible in another. A standby shows what it has replayed. Fills take their version,
//! read, and arrive as three steps, with anything in between. Each look-up that is answered from the store is held against the
//! history of the row: it must have every change that the feed had told by then. A shortest story is printed for what fails.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use proptest::{
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

use super::{Fill, Horizon, Ledger, Seen, Weakness};
use crate::{
    time::Timestamp,
    version::{Position, Snapshot, Version, Xid},
};

const ROWS: usize = 3;
const STANDBYS: usize = 2;
const SETTLE_MS: u64 = 40;

/// Weaknesses of those who ask the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Misuse {
    /// The standby's position is read when the rows have been.
    ReadsTheVersionLate,
    /// A primary's answers come with a position, not with a snapshot.
    SendsPositionsFromThePrimary,
    /// The tags are looked at when a response is stored, and not again.
    LooksOnce,
    /// Whoever waits gets what was refused, also if he came after the event.
    GivesRefusedToAll,
    /// An event is told before its tags have its position.
    AppliesFirst,
    /// Of looks: the position is from before the snapshot.
    TakesThePositionFirst,
    /// Of looks: of those that one shows only the newest is named.
    NamesTheNewest,
}

/// How the feed comes to know of commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// In the order of the WAL, visible or not.
    Wal,
    /// By looks: what a snapshot shows that the last one did not, as one event whose end is where the WAL is afterwards.
    Looks,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A transaction writes one row or two.
    Write {
        row: usize,
        other: Option<usize>,
    },
    Commit(usize),
    Abort(usize),
    /// A commit becomes visible.
    Show(usize),
    Replay {
        standby: usize,
        records: usize,
    },
    /// `from`: a standby, or the primary.
    Begin {
        rows: usize,
        from: Option<usize>,
        has_version: bool,
    },
    Join(usize),
    Read(usize),
    End(usize),
    /// The feed tells what comes next.
    Tell(usize),
    /// The tags of the next event get its position; the event itself is told later.
    Mark,
    /// The feed says where it is, and what the primary shows.
    Beat,
    /// What the feed had told is told again.
    Resume(usize),
    /// The feed begins anew where the WAL is now.
    Gap,
    /// The proxy begins anew.
    Restart,
    /// A standby becomes the primary.
    Promote(usize),
    Pass(u64),
}

/// What is asked for: one row, or a list of some.
fn rows() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0b001), 3 => Just(0b010), 1 => Just(0b111)]
}

fn step() -> impl Strategy<Value = Step> {
    let index = || 0..4_usize;
    prop_oneof![
        6 => (0..ROWS, proptest::option::weighted(0.3, 0..ROWS)).prop_map(|(row, other)| Step::Write { row, other }),
        6 => index().prop_map(Step::Commit),
        1 => index().prop_map(Step::Abort),
        5 => index().prop_map(Step::Show),
        5 => (0..STANDBYS, 1..3_usize).prop_map(|(standby, records)| Step::Replay { standby, records }),
        12 => (rows(), proptest::option::of(0..STANDBYS), any::<[bool; 3]>())
            .prop_map(|(rows, from, [a, b, c])| Step::Begin { rows, from, has_version: a || b || c }),
        2 => index().prop_map(Step::Join),
        12 => index().prop_map(Step::Read),
        12 => index().prop_map(Step::End),
        8 => (1..3_usize).prop_map(Step::Tell),
        2 => Just(Step::Mark),
        2 => Just(Step::Beat),
        2 => index().prop_map(Step::Resume),
        1 => Just(Step::Gap),
        1 => Just(Step::Restart),
        1 => (0..STANDBYS).prop_map(Step::Promote),
        3 => (1..50_u64).prop_map(Step::Pass),
    ]
}

/// One commit in the WAL.
#[derive(Debug, Clone)]
struct Record {
    xid: Xid,
    end: Position,
    rows: Vec<usize>,
    /// Since when it has been durable.
    at: Timestamp,
}

#[derive(Debug)]
struct Transaction {
    xid: Xid,
    rows: Vec<usize>,
    is_durable: bool,
}

/// What a reader sees in each row: who wrote it last.
type Rows = [Option<(u64, Xid)>; ROWS];

#[derive(Debug, Default)]
struct Postgres {
    timeline: u64,
    next_xid: u64,
    wal: Vec<Record>,
    /// Each of these holds its rows until it is visible, or has ended without a commit.
    running: Vec<Transaction>,
    /// How many records each standby has replayed.
    replayed: [usize; STANDBYS],
    /// On which timeline a commit was made.
    made_on: BTreeMap<Position, u64>,
}

impl Postgres {
    fn new() -> Postgres {
        Postgres { next_xid: 10, ..Postgres::default() }
    }

    fn snapshot(&self) -> Snapshot {
        let xmax = Xid::new(self.next_xid);
        let mut running: Vec<Xid> = self.running.iter().map(|transaction| transaction.xid).collect();
        running.sort();
        let xmin = running.first().copied().unwrap_or(xmax);
        Snapshot::new(xmin, xmax, running.into()).expect("a snapshot")
    }

    fn end(&self) -> Position {
        self.wal.last().map_or(Position::new(1), |record| record.end)
    }

    fn replayed_to(&self, standby: usize) -> Position {
        let records = self.replayed[standby];
        records.checked_sub(1).map_or(Position::new(1), |last| self.wal[last].end)
    }

    fn rows(&self, is_visible: impl Fn(usize, &Record) -> bool) -> Rows {
        let mut rows = Rows::default();
        for (index, record) in self.wal.iter().enumerate() {
            if is_visible(index, record) {
                for row in &record.rows {
                    rows[*row] = Some((self.made_on[&record.end], record.xid));
                }
            }
        }
        rows
    }

    fn rows_of(&self, from: Option<usize>) -> Rows {
        match from {
            Some(standby) => self.rows(|index, _| index < self.replayed[standby]),
            None => {
                let snapshot = self.snapshot();
                self.rows(|_, record| snapshot.sees(record.xid))
            }
        }
    }

    /// Who wrote a row, the oldest first.
    fn history(&self, row: usize) -> impl Iterator<Item = (Position, Option<(u64, Xid)>)> {
        let written = self.wal.iter().filter(move |record| record.rows.contains(&row));
        written.map(|record| (record.end, Some((self.made_on[&record.end], record.xid))))
    }
}

#[derive(Debug)]
struct Flight {
    fill: Fill,
    rows: usize,
    from: Option<usize>,
    timeline: u64,
    has_version: bool,
    version: Option<Version>,
    read: Option<Rows>,
    /// Where the feed was when others began to wait for it.
    joined: Vec<Position>,
    /// Of those of the proxy before a restart nobody is left.
    run: u64,
}

#[derive(Debug)]
struct Stored {
    seen: Seen,
    read: Rows,
}

struct World {
    postgres: Postgres,
    ledger: Ledger,
    /// Of each row, the position of its newest event.
    tags: [Position; ROWS],
    /// How many records the feed has told.
    told: usize,
    /// By what is asked for.
    store: BTreeMap<usize, Stored>,
    flights: Vec<Flight>,
    now_ms: u64,
    run: u64,
    misuse: Option<Misuse>,
    weakness: Option<Weakness>,
    /// Tags that have yet to get their position.
    owed: Vec<Record>,
    source: Source,
    /// A look whose position is still to be read.
    look: Option<(Snapshot, Position)>,
    /// What looks have told: the end of a commit, and the one that it was told with.
    told_as: BTreeMap<Position, Position>,
    /// What the last look showed.
    shown: Snapshot,
    hits: Cell<usize>,
}

fn of(rows: usize) -> impl Iterator<Item = usize> {
    (0..ROWS).filter(move |row| rows & 1 << row != 0)
}

impl World {
    fn new(source: Source, misuse: Option<Misuse>, weakness: Option<Weakness>) -> World {
        let postgres = Postgres::new();
        let mut world = World {
            source,
            look: None,
            told_as: BTreeMap::new(),
            shown: postgres.snapshot(),
            postgres,
            ledger: Ledger::new(Duration::from_millis(SETTLE_MS)),
            tags: [Position::default(); ROWS],
            told: 0,
            store: BTreeMap::new(),
            flights: Vec::new(),
            now_ms: 1_000,
            run: 0,
            misuse,
            weakness,
            owed: Vec::new(),
            hits: Cell::default(),
        };
        world.begin();
        world
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.now_ms)
    }

    /// The feed begins where the WAL is now.
    fn begin(&mut self) {
        self.ledger.weakness = self.weakness;
        self.ledger.max_limbo = 2;
        self.told = self.postgres.wal.len();
        self.owed.clear();
        self.look = None;
        self.shown = self.postgres.snapshot();
        let visible = self.postgres.wal.iter().filter(|record| self.shown.sees(record.xid));
        self.told_as = visible.map(|record| (record.end, self.postgres.end())).collect();
        let horizon = Horizon { position: self.postgres.end(), xid: self.postgres.snapshot().xmax() };
        self.ledger.begin_epoch(horizon);
    }

    fn mark(&mut self, record: &Record) {
        for row in &record.rows {
            self.tags[*row] = self.tags[*row].max(record.end);
        }
    }

    fn tell(&mut self) {
        let Some(record) = self.postgres.wal.get(self.told).cloned() else { return };
        self.told += 1;
        if self.misuse == Some(Misuse::AppliesFirst) {
            self.owed.push(record.clone());
        } else {
            self.mark(&record);
        }
        self.ledger.apply([record.xid], record.end, Timestamp::from_ms(self.now_ms));
    }

    /// A look has a beginning and an end, and anything may happen between.
    fn look(&mut self) {
        let Some((mut snapshot, mut end)) = self.look.take() else {
            self.look = Some((self.postgres.snapshot(), self.postgres.end()));
            return;
        };
        if self.misuse == Some(Misuse::TakesThePositionFirst) {
            snapshot = self.postgres.snapshot();
        } else {
            end = self.postgres.end();
        }
        let wal = &self.postgres.wal;
        let is_new = |record: &&Record| snapshot.sees(record.xid) && !self.told_as.contains_key(&record.end);
        let records: Vec<Record> = wal.iter().filter(is_new).cloned().collect();
        let mut xids: Vec<Xid> = records.iter().map(|record| record.xid).collect();
        xids.sort();
        if self.misuse == Some(Misuse::NamesTheNewest) {
            xids.drain(..xids.len().saturating_sub(1));
        }
        if !records.is_empty() {
            let end = end.max(Position::new(self.ledger.position().number() + 1));
            for record in &records {
                self.told_as.insert(record.end, end);
                self.mark(&Record { end, ..record.clone() });
            }
            self.ledger.apply(xids, end, Timestamp::from_ms(self.now_ms));
        }
        self.ledger.reach(end, Timestamp::from_ms(self.now_ms));
        self.shown = snapshot;
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        let postgres = &mut self.postgres;
        match step {
            Step::Write { row, other } => {
                let mut rows = vec![row];
                rows.extend(other.filter(|other| *other != row));
                let is_free = |row| postgres.running.iter().all(|other| !other.rows.contains(row));
                if postgres.running.len() < 4 && rows.iter().all(is_free) {
                    let xid = Xid::new(postgres.next_xid);
                    postgres.next_xid += 1;
                    postgres.running.push(Transaction { xid, rows, is_durable: false });
                }
            }
            Step::Commit(nth) => {
                let end = Position::new(postgres.end().number() + 10);
                let now = Timestamp::from_ms(self.now_ms);
                if let Some(transaction) = postgres.running.iter_mut().filter(|one| !one.is_durable).nth(nth)
                {
                    transaction.is_durable = true;
                    let (xid, rows) = (transaction.xid, transaction.rows.clone());
                    postgres.wal.push(Record { xid, end, rows, at: now });
                    postgres.made_on.insert(end, postgres.timeline);
                }
            }
            Step::Abort(nth) => {
                if let Some(transaction) = postgres.running.get(nth).filter(|one| !one.is_durable) {
                    let xid = transaction.xid;
                    postgres.running.retain(|other| other.xid != xid);
                }
            }
            Step::Show(nth) => {
                let durable = postgres.running.iter().filter(|one| one.is_durable).nth(nth);
                if let Some(xid) = durable.map(|transaction| transaction.xid) {
                    postgres.running.retain(|other| other.xid != xid);
                }
            }
            Step::Replay { standby, records } => {
                postgres.replayed[standby] = (postgres.replayed[standby] + records).min(postgres.wal.len());
            }
            Step::Begin { rows, from, has_version } => {
                if self.flights.len() < 4 {
                    let fill = self.ledger.begin_fill(self.now());
                    // Read before the rows are.
                    let version = from.map(|standby| Version::Replayed(self.postgres.replayed_to(standby)));
                    self.flights.push(Flight {
                        fill,
                        rows,
                        from,
                        timeline: self.postgres.timeline,
                        has_version,
                        version,
                        read: None,
                        joined: Vec::new(),
                        run: self.run,
                    });
                }
            }
            Step::Join(nth) => {
                let position = self.ledger.position();
                if let Some(flight) = self.flights.get_mut(nth).filter(|flight| flight.joined.len() < 3) {
                    flight.joined.push(position);
                }
            }
            Step::Read(nth) => self.read(nth),
            Step::End(nth) => self.arrive(nth)?,
            Step::Tell(_) if self.source == Source::Looks => self.look(),
            Step::Tell(records) => (0..records).for_each(|_| self.tell()),
            Step::Mark if self.source == Source::Looks => (),
            Step::Mark => {
                let owed = std::mem::take(&mut self.owed);
                owed.iter().for_each(|record| self.mark(record));
                if let Some(next) = self.postgres.wal.get(self.told).cloned() {
                    self.mark(&next);
                }
            }
            Step::Beat if self.source == Source::Looks => self.ledger.primary_shows(&self.shown),
            Step::Beat => {
                // The feed has told all of the WAL before it says so.
                let snapshot = self.postgres.snapshot();
                if self.told == self.postgres.wal.len() {
                    self.ledger.reach(self.postgres.end(), Timestamp::from_ms(self.now_ms));
                }
                self.ledger.primary_shows(&snapshot);
            }
            Step::Resume(records) => self.told = self.told.saturating_sub(records),
            Step::Gap => self.begin(),
            Step::Restart => {
                self.ledger = Ledger::new(Duration::from_millis(SETTLE_MS));
                self.tags = [Position::default(); ROWS];
                self.store.clear();
                self.run += 1;
                self.flights.retain(|flight| flight.run == self.run);
                self.begin();
            }
            Step::Promote(standby) => {
                // What it had not replayed is lost, and its numbers are given again.
                let kept = postgres.replayed[standby];
                postgres.wal.truncate(kept);
                postgres.running.clear();
                postgres.timeline += 1;
                postgres.replayed.iter_mut().for_each(|records| *records = (*records).min(kept));
                let last = postgres.wal.iter().map(|record| record.xid.number()).max();
                postgres.next_xid = last.map_or(10, |xid| xid + 1);
                self.begin();
            }
            Step::Pass(ms) => {
                self.now_ms += ms;
                // To one who does not say what he saw, what is durable for so long is visible, and he reads nowhere else.
                self.settle();
                self.ledger.reach(self.ledger.position(), Timestamp::from_ms(self.now_ms));
            }
        }
        // Whoever asks, whenever he does.
        self.store.iter().try_for_each(|(rows, stored)| self.look_up(*rows, stored))
    }

    fn settle(&mut self) {
        let Postgres { wal, running, replayed, .. } = &mut self.postgres;
        let is_settled = |record: &Record| record.at.as_ms() + SETTLE_MS <= self.now_ms;
        running.retain(|one| !wal.iter().any(|record| record.xid == one.xid && is_settled(record)));
        let settled = wal.iter().filter(|record| is_settled(record)).count();
        replayed.iter_mut().for_each(|records| *records = (*records).max(settled));
    }

    fn read(&mut self, nth: usize) {
        let Some(flight) = self.flights.get_mut(nth).filter(|flight| flight.read.is_none()) else { return };
        // A connection ends with its server.
        if flight.timeline != self.postgres.timeline {
            let flight = self.flights.remove(nth);
            return self.ledger.drop_fill(flight.fill);
        }
        flight.read = Some(self.postgres.rows_of(flight.from));
        match flight.from {
            None if self.misuse == Some(Misuse::SendsPositionsFromThePrimary) => {
                flight.version = Some(Version::Replayed(self.postgres.end()));
            }
            None => flight.version = Some(Version::Snapshot(self.postgres.snapshot())),
            Some(_) => (),
        }
        if !flight.has_version {
            flight.version = None;
        }
    }

    fn arrive(&mut self, nth: usize) -> Result<(), TestCaseError> {
        if self.flights.get(nth).is_none_or(|flight| flight.read.is_none()) {
            return Ok(());
        }
        let Flight { fill, rows, from, mut version, read, joined, .. } = self.flights.remove(nth);
        if let (Some(standby), Some(_), Some(Misuse::ReadsTheVersionLate)) = (from, &version, self.misuse) {
            version = Some(Version::Replayed(self.postgres.replayed_to(standby)));
        }
        let read = read.unwrap_or_default();
        let verdict = self.ledger.end_fill(fill, version.as_ref());
        let newest = of(rows).map(|row| self.tags[row]).max().unwrap_or_default();
        let is_whole = verdict.is_ok_and(|seen| seen.has(newest));
        if let (true, Ok(seen)) = (is_whole, verdict) {
            self.store.insert(rows, Stored { seen, read });
        }
        for joined in joined {
            let may_have_it = is_whole || verdict.is_ok_and(|seen| seen.is_as_of(joined));
            if may_have_it || self.misuse == Some(Misuse::GivesRefusedToAll) {
                self.check(rows, &read, joined, "given to one who waited")?;
            }
        }
        Ok(())
    }

    fn look_up(&self, rows: usize, stored: &Stored) -> Result<(), TestCaseError> {
        let newest = of(rows).map(|row| self.tags[row]).max().unwrap_or_default();
        let has_all = stored.seen.has(newest) || self.misuse == Some(Misuse::LooksOnce);
        if !has_all || self.ledger.epoch() != Some(stored.seen.epoch) {
            return Ok(());
        }
        self.hits.set(self.hits.get() + 1);
        self.check(rows, &stored.read, self.ledger.position(), "served from the store")
    }

    /// Whether what was read has every change up to a position, and nothing that never was.
    fn check(&self, rows: usize, read: &Rows, position: Position, how: &str) -> Result<(), TestCaseError> {
        for row in of(rows) {
            let history: Vec<_> = self.postgres.history(row).collect();
            let is_told = |end: &Position| match self.source {
                Source::Wal => *end <= position,
                Source::Looks => self.told_as.get(end).is_some_and(|told| *told <= position),
            };
            let at_least = history.iter().take_while(|(end, _)| is_told(end)).count();
            let is_true = match read[row] {
                None => at_least == 0,
                value => history
                    .iter()
                    .rposition(|(_, known)| *known == value)
                    .is_some_and(|at| at + 1 >= at_least),
            };
            if !is_true {
                let said =
                    format!("{how} at {position}: row {row} as {:?}, its history is {history:?}", read[row]);
                return Err(TestCaseError::fail(said));
            }
        }
        Ok(())
    }
}

fn run(
    cases: u32,
    source: Source,
    misuse: Option<Misuse>,
    weakness: Option<Weakness>,
) -> (usize, Result<(), TestError<Vec<Step>>>) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let hits = Cell::new(0);
    let result =
        TestRunner::new_with_rng(config, rng).run(&proptest::collection::vec(step(), 0..160), |steps| {
            let mut world = World::new(source, misuse, weakness);
            let told = steps.into_iter().try_for_each(|step| world.take(step));
            hits.set(hits.get() + world.hits.get());
            told
        });
    (hits.get(), result)
}

#[test]
fn nothing_stale_is_served_in_any_order_of_things() {
    for source in [Source::Wal, Source::Looks] {
        let (hits, result) = run(20_000, source, None, None);
        if let Err(TestError::Fail(why, steps)) = result {
            panic!("{source:?}: {why}\n{steps:#?}");
        }
        // Or nothing was shown.
        assert!(hits > 100_000, "{source:?}: {hits} hits");
    }
}

#[test]
fn every_weaker_rule_serves_something_stale() {
    use Weakness::*;
    for weakness in
        [KeepsItsEpoch, OverlooksTheHorizon, ForgetsWhatOldFillsLack, ForgetsWhenFull, TakesDurableForVisible]
    {
        let (_, result) = run(100_000, Source::Wal, None, Some(weakness));
        assert!(matches!(result, Err(TestError::Fail(..))), "{weakness:?} was not found");
    }
}

#[test]
fn every_misuse_of_the_rule_serves_something_stale() {
    use Misuse::*;
    for misuse in
        [ReadsTheVersionLate, SendsPositionsFromThePrimary, LooksOnce, GivesRefusedToAll, AppliesFirst]
    {
        let (_, result) = run(100_000, Source::Wal, Some(misuse), None);
        assert!(matches!(result, Err(TestError::Fail(..))), "{misuse:?} was not found");
    }
    for misuse in [TakesThePositionFirst, NamesTheNewest] {
        let (_, result) = run(100_000, Source::Looks, Some(misuse), None);
        assert!(matches!(result, Err(TestError::Fail(..))), "{misuse:?} was not found");
    }
}
