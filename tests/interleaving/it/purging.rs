//! A purge that is acknowledged is never undone: not by a fetch that began before it, however late that ends.

use caching::{
    key::{KeyWriter, MethodClass},
    time::Timestamp,
};
use interleaving::invalidations::{
    Cell, Clearance, Invalidations, Mark, Purge, Scope, Sequence, Subject, Validity,
};
use shuttle::{
    check_random,
    sync::{Arc, Mutex},
    thread,
};

use crate::RUNS;

const TAG: Subject<'static> = Subject::Tag(b"user:1");
const URL: Subject<'static> = Subject::Url { host: "a", target: "/1" };

/// A stored response as far as purges are concerned.
struct Stored {
    filled: Sequence,
    cells: Vec<Arc<Cell>>,
    clearance: Clearance,
    /// The version of the data that the upstream gave.
    version: u64,
}

/// The upstream's data, the table, and what is stored: one place, as under one key.
struct World {
    version: Mutex<u64>,
    table: Arc<Invalidations>,
    stored: Mutex<Option<Arc<Stored>>>,
}

impl Default for World {
    fn default() -> World {
        World {
            version: Mutex::default(),
            table: Arc::new(Invalidations::with_slots(1)),
            stored: Mutex::default(),
        }
    }
}

fn key() -> Vec<u8> {
    let mut key = Vec::new();
    KeyWriter::begin(&mut key, MethodClass::Get, "a", "/1");
    key
}

impl World {
    fn validity(&self, stored: &Stored) -> Validity {
        self.table.validity(&key(), &stored.cells, stored.filled, Mark::END, &stored.clearance)
    }

    /// A fetch, as `coalesce.rs`, `store.rs` and `memory.rs` do it: note the moment, ask, find the cells, look, store.
    fn fetch(&self) {
        let mark = self.table.begin_fetch();
        let version = *self.version.lock().expect("no thread of a run has panicked");
        let cells = vec![self.table.cell(URL), self.table.cell(TAG)];
        let stored = Stored { filled: mark.sequence(), cells, clearance: Clearance::default(), version };
        let mut place = self.stored.lock().expect("no thread of a run has panicked");
        let is_older = place.as_ref().is_some_and(|known| known.filled > stored.filled);
        if self.validity(&stored) != Validity::Purged && !is_older {
            *place = Some(Arc::new(stored));
        }
    }

    /// What a request that begins now is answered with from memory, if it is fresh.
    fn look_up(&self) -> Option<u64> {
        let stored = self.stored.lock().expect("no thread of a run has panicked").clone()?;
        (self.validity(&stored) == Validity::Untouched).then_some(stored.version)
    }

    /// The data changes, then it is purged, then every look-up has to see the change.
    fn change(&self, purge: impl Fn(&Invalidations)) {
        let version = {
            let mut version = self.version.lock().expect("no thread of a run has panicked");
            *version += 1;
            *version
        };
        purge(&self.table);
        // Acknowledged. Whatever is answered from now on is no older.
        for _ in 0..2 {
            if let Some(seen) = self.look_up() {
                assert!(seen >= version, "a purge of version {version} was undone by version {seen}");
            }
        }
    }
}

fn run(purge: fn(&Invalidations)) {
    check_random(
        move || {
            let world = Arc::new(World::default());
            let spawn = |work: fn(&World, fn(&Invalidations))| {
                let world = Arc::clone(&world);
                thread::spawn(move || work(&world, purge))
            };
            let threads = [
                spawn(|world, _| world.fetch()),
                spawn(|world, _| world.fetch()),
                spawn(|world, purge| world.change(purge)),
                spawn(|world, purge| world.change(purge)),
                spawn(|world, _| _ = world.look_up()),
            ];
            threads.into_iter().for_each(|thread| thread.join().expect("no thread of a run has panicked"));
            let version = *world.version.lock().expect("no thread of a run has panicked");
            assert!(world.look_up().is_none_or(|seen| seen == version), "stale at the end");
        },
        RUNS,
    );
}

#[test]
fn a_purge_by_tag_is_never_undone() {
    run(|table| _ = table.purge(TAG, Purge::Hard));
}

#[test]
fn a_purge_by_url_is_never_undone() {
    run(|table| _ = table.purge(URL, Purge::Hard));
}

#[test]
fn a_soft_purge_is_never_undone() {
    run(|table| _ = table.purge(TAG, Purge::Soft(Timestamp::from_s(1))));
}

#[test]
fn a_wide_purge_is_never_undone() {
    run(|table| {
        let scope = Scope::Prefix { host: "a".into(), prefix: "/".into() };
        table.purge_scope(scope, Purge::Hard);
    });
    run(|table| _ = table.purge_scope(Scope::All, Purge::Hard));
    run(|table| _ = table.purge_scope(Scope::All, Purge::Soft(Timestamp::from_s(1))));
}

/// The answer to a POST that is stored for its target: newer than its own purge, older than any other.
#[test]
fn the_answer_to_an_unsafe_request_survives_its_own_purge_and_no_other() {
    check_random(
        || {
            let table = Arc::new(Invalidations::with_slots(1));
            let posting = {
                let table = Arc::clone(&table);
                thread::spawn(move || {
                    let mark = table.begin_fetch();
                    let cells = vec![table.cell(URL), table.cell(TAG)];
                    let filled = table.purge_own(URL, &key(), &cells, mark.sequence(), Mark::END);
                    filled.map(|filled| (mark.sequence(), filled, cells))
                })
            };
            let other = table.purge(TAG, Purge::Hard);
            if let Some((began, filled, cells)) = posting.join().expect("no thread of a run has panicked") {
                let validity = table.validity(&key(), &cells, filled, Mark::END, &Clearance::default());
                assert!(validity == Validity::Purged || other <= began, "{other:?} {began:?} {filled:?}");
            }
        },
        RUNS,
    );
}
