//! Exactly one leader at a time, and nobody waits for ever.

use std::sync::atomic::{AtomicUsize, Ordering};

use interleaving::fills::{Begin, Ended, Fills};
use shuttle::{check_random, future, sync::Arc, thread};

use crate::RUNS;

const KEY: &[u8] = b"key";

/// How a leader ends.
#[derive(Clone, Copy)]
enum Way {
    Shares,
    NotShareable,
    Fails,
}

/// What came of one request.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Led,
    Followed(u64),
    Alone,
    Failed,
}

/// One request: leads in the way that it is told, or follows to the end.
fn request(fills: &Arc<Fills<u64>>, leading: &AtomicUsize, way: Way) -> Came {
    match fills.begin(KEY.into(), |_| false) {
        Begin::First(registered) => {
            assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "two lead at one time");
            thread::yield_now();
            match way {
                Way::Shares => registered.share(Arc::new(7)),
                Way::NotShareable => registered.not_shareable(),
                Way::Fails => (),
            }
            thread::yield_now();
            leading.fetch_sub(1, Ordering::SeqCst);
            drop(registered);
            Came::Led
        }
        // It returns at all: a thread that waits for ever is a failure of the run.
        Begin::Follow(mut followed) => match future::block_on(followed.end()) {
            Ended::Shared(shared) => Came::Followed(*shared),
            Ended::NotShareable => Came::Alone,
            Ended::Failed => Came::Failed,
        },
    }
}

fn run(ways: &'static [Way], check: impl Fn(Vec<Came>) + Send + Sync + 'static) {
    check_random(
        move || {
            let fills: Arc<Fills<u64>> = Arc::default();
            let leading = Arc::new(AtomicUsize::new(0));
            let requests: Vec<_> = ways
                .iter()
                .map(|way| {
                    let (fills, leading) = (Arc::clone(&fills), Arc::clone(&leading));
                    thread::spawn(move || request(&fills, &leading, *way))
                })
                .collect();
            let came = requests
                .into_iter()
                .map(|request| request.join().expect("no thread of a run has panicked"))
                .collect();
            assert_eq!((fills.under_way(), fills.waiting()), (0, 0));
            check(came);
        },
        RUNS,
    );
}

#[test]
fn one_leads_and_the_others_get_what_it_brought() {
    run(&[Way::Shares; 4], |came| {
        assert!(came.contains(&Came::Led));
        // Who comes after the end of one fetch may lead another; nobody fails, nobody is left alone.
        assert!(came.iter().all(|came| matches!(came, Came::Led | Came::Followed(7))), "{came:?}");
    });
}

#[test]
fn all_who_followed_a_leader_that_failed_are_told() {
    run(&[Way::Fails; 4], |came| {
        assert!(came.contains(&Came::Led));
        assert!(came.iter().all(|came| matches!(came, Came::Led | Came::Failed)), "{came:?}");
    });
}

#[test]
fn what_is_not_shareable_reaches_nobody() {
    run(&[Way::NotShareable; 4], |came| {
        assert!(came.iter().all(|came| matches!(came, Came::Led | Came::Alone)), "{came:?}");
    });
}

#[test]
fn leaders_of_all_kinds_take_turns() {
    run(&[Way::Fails, Way::Shares, Way::NotShareable, Way::Shares], |came| {
        assert!(came.contains(&Came::Led), "{came:?}");
    });
}

/// Whoever comes after a purge finds what was shared before it outdated, and there is one new fetch for all of them.
#[test]
fn nobody_follows_what_is_outdated() {
    check_random(
        || {
            let fills: Arc<Fills<u64>> = Arc::default();
            let Begin::First(old) = fills.begin(KEY.into(), |_| false) else {
                panic!("nobody else is there")
            };
            old.share(Arc::new(1));
            let leading = Arc::new(AtomicUsize::new(0));
            let requests: Vec<_> = (0..3)
                .map(|_| {
                    let (fills, leading) = (Arc::clone(&fills), Arc::clone(&leading));
                    thread::spawn(move || match fills.begin(KEY.into(), |shared| *shared == 1) {
                        Begin::First(new) => {
                            assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "two lead at one time");
                            new.share(Arc::new(2));
                            thread::yield_now();
                            leading.fetch_sub(1, Ordering::SeqCst);
                            drop(new);
                            2
                        }
                        Begin::Follow(mut followed) => match future::block_on(followed.end()) {
                            Ended::Shared(shared) => *shared,
                            Ended::NotShareable | Ended::Failed => panic!("every leader shares"),
                        },
                    })
                })
                .collect();
            thread::yield_now();
            drop(old);
            assert!(
                requests
                    .into_iter()
                    .all(|request| request.join().expect("no thread of a run has panicked") == 2)
            );
            assert_eq!(fills.under_way(), 0);
        },
        RUNS,
    );
}
