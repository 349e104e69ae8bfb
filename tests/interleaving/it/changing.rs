//! What the change feed has told is never served without it: not from a cell that is made while the event is told, not from what is
//! stored meanwhile, not when the feed begins anew with smaller positions.

use std::time::Duration;

use caching::{
    key::{KeyWriter, MethodClass},
    ledger::Horizon,
    time::Timestamp,
    version::{Position, Snapshot, Stamp, Timeline, Version, Xid},
};
use interleaving::{
    account::{Account, Sight, Source, Standing},
    invalidations::{Cell, Clearance, Invalidations, Sequence, Subject, Validity},
};
use shuttle::{
    check_random,
    sync::{Arc, Mutex},
    thread,
};

use crate::RUNS;

const TAG: &[u8] = b"user:1";
const NOW: Timestamp = Timestamp::from_s(100);
const PATIENCE: Duration = Duration::from_secs(10);

/// A stored response as far as the feed is concerned.
struct Stored {
    filled: Sequence,
    cells: Vec<Arc<Cell>>,
    seen: Sight,
    /// How many transactions had written the row that it was made from.
    version: u64,
}

/// A primary with one row, the account of its feed, and one place in the store.
struct World {
    /// Transactions that are visible. Each has the number and the position that come of its place.
    committed: Mutex<u64>,
    table: Arc<Invalidations>,
    account: Arc<Account>,
    stored: Mutex<Option<Arc<Stored>>>,
}

fn timeline(number: u32) -> Timeline {
    Timeline::new(number).expect("not zero")
}

fn xid(nth: u64) -> Xid {
    Xid::new(100 + nth)
}

fn end(nth: u64) -> Position {
    Position::new(1000 + 10 * nth)
}

impl World {
    fn new() -> Arc<World> {
        let table = Arc::new(Invalidations::with_slots(2));
        let account = Arc::new(Account::new(Arc::clone(&table)));
        account.configure(Duration::ZERO, PATIENCE);
        let world = World { committed: Mutex::new(0), table, account, stored: Mutex::new(None) };
        world.begin(1, end(0));
        Arc::new(world)
    }

    fn begin(&self, number: u32, position: Position) {
        let source = Source { system: "7".into(), timeline: timeline(number), account: 0 };
        self.account.begin(source, Horizon { position, xid: xid(1) }, false, NOW);
    }

    /// As `fetch.rs`, `store/judge.rs` and `memory.rs` do it.
    fn fetch(&self) {
        let mark = self.table.begin_fetch();
        let filling = self.account.begin_fill(NOW);
        let version = *self.committed.lock().expect("no thread of a run has panicked");
        let next = xid(version + 1);
        let snapshot = Snapshot::new(next, next, Box::default()).expect("nothing is running");
        let stamp = Stamp { timeline: timeline(1), version: Version::Snapshot(snapshot) };
        let sighting = filling.end(Some(&stamp));
        let cells = vec![self.table.cell(Subject::Tag(TAG))];
        if let (None, Ok(seen)) = (sighting.lacks(&cells), sighting.seen) {
            let stored = Stored { filled: mark.sequence(), cells, seen, version };
            *self.stored.lock().expect("no thread of a run has panicked") = Some(Arc::new(stored));
        }
    }

    /// What a request that begins now is answered with from memory, as `lookup.rs` does it.
    fn look_up(&self) -> Option<u64> {
        let stored = self.stored.lock().expect("no thread of a run has panicked").clone()?;
        let mut key = Vec::new();
        KeyWriter::begin(&mut key, MethodClass::Get, "a", "/1");
        let clearance = Clearance::default();
        let validity = self.table.validity(&key, &stored.cells, stored.filled, stored.seen.mark, &clearance);
        let is_heard = self.account.standing(stored.seen.epoch, PATIENCE, NOW) == Standing::Heard;
        (validity == Validity::Untouched && is_heard).then_some(stored.version)
    }

    /// A commit becomes visible, and then is told. From then on no look-up sees less.
    fn change(&self) {
        let nth = {
            let mut committed = self.committed.lock().expect("no thread of a run has panicked");
            *committed += 1;
            *committed
        };
        self.account.commit([xid(nth)], end(nth), [TAG], NOW);
        for _ in 0..2 {
            if let Some(seen) = self.look_up() {
                assert!(seen >= nth, "event {nth} was told, and version {seen} is served");
            }
        }
    }
}

impl World {
    /// Whoever has learnt how far the feed is finds nothing that lacks what it had told by then.
    fn watch(&self) {
        for _ in 0..3 {
            // The account began with the first mark.
            let told = (self.account.told_to().number() - 1) / 10;
            if let Some(seen) = self.look_up() {
                assert!(seen >= told, "event {told} was known to be told, and version {seen} is served");
            }
        }
    }
}

fn run(works: &'static [fn(&World)]) {
    check_random(
        move || {
            let world = World::new();
            let spawn = |work: &'static fn(&World)| {
                let world = Arc::clone(&world);
                thread::spawn(move || work(&world))
            };
            let threads: Vec<_> = works.iter().map(spawn).collect();
            threads.into_iter().for_each(|thread| thread.join().expect("no thread of a run has panicked"));
            let committed = *world.committed.lock().expect("no thread of a run has panicked");
            assert!(world.look_up().is_none_or(|seen| seen == committed), "stale at the end");
        },
        RUNS,
    );
}

#[test]
fn an_event_that_was_told_is_in_everything_that_is_served() {
    // One thread tells, as one connection does.
    let teller: fn(&World) = |world| (0..2).for_each(|_| world.change());
    const FETCH: fn(&World) = World::fetch;
    static WORKS: std::sync::OnceLock<Vec<fn(&World)>> = std::sync::OnceLock::new();
    run(WORKS.get_or_init(|| vec![teller, FETCH, FETCH, World::watch]));
}

/// The primary is gone, and a standby that had not replayed its last commit leads: what was read from it is of no account.
#[test]
fn what_was_read_before_a_failover_is_not_served_after_it() {
    static WORKS: std::sync::OnceLock<Vec<fn(&World)>> = std::sync::OnceLock::new();
    run(WORKS.get_or_init(|| {
        vec![
            |world| {
                world.change();
                world.begin(2, end(0));
                assert_eq!(world.look_up(), None, "all that there is was stamped by the old one");
            },
            World::fetch,
            World::fetch,
        ]
    }));
}
