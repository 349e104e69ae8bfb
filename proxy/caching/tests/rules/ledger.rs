//! What a response has seen, case by case; that no order of things breaks it is shown by the model beside the rule.

use std::time::Duration;

use caching::{
    ledger::{Horizon, Ledger, Refusal},
    time::Timestamp,
    version::{Position, Snapshot, Version, Xid},
};

const NOW: Timestamp = Timestamp::from_s(1_000);
const SETTLE: Duration = Duration::from_secs(1);

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(SETTLE);
    ledger.begin_epoch(Horizon { position: Position::new(100), xid: Xid::new(10) });
    ledger
}

fn version(text: &str) -> Version {
    Version::parse(text).expect(text)
}

/// The position up to which a response with this version has everything.
fn seen(ledger: &mut Ledger, of: &str) -> Result<u64, Refusal> {
    let fill = ledger.begin_fill(NOW);
    ledger.end_fill(fill, Some(&version(of))).map(|seen| seen.position.number())
}

#[test]
fn a_standby_has_what_it_had_replayed() {
    let mut ledger = ledger();
    ledger.apply([Xid::new(12)], Position::new(120), NOW);
    assert_eq!(seen(&mut ledger, "lsn=0/6E"), Ok(110));
    // The feed may be behind.
    assert_eq!(seen(&mut ledger, "lsn=0/C8"), Ok(200));
    assert_eq!(seen(&mut ledger, "lsn=0/63"), Err(Refusal::BeforeHorizon));
}

#[test]
fn a_primary_has_all_but_what_its_snapshot_does_not_see() {
    let mut ledger = ledger();
    ledger.apply([Xid::new(12)], Position::new(120), NOW);
    ledger.apply([Xid::new(11)], Position::new(130), NOW);
    ledger.apply([Xid::new(13)], Position::new(140), NOW);
    assert_eq!(seen(&mut ledger, "snapshot=11:15:11"), Ok(129));
    assert_eq!(seen(&mut ledger, "snapshot=12:15:12"), Ok(119));
    assert_eq!(seen(&mut ledger, "snapshot=13:13:"), Ok(139));
    assert_eq!(seen(&mut ledger, "snapshot=14:14:"), Ok(140));
    // Of one that began before the account nobody knows whether it ended before it, too.
    assert_eq!(seen(&mut ledger, "snapshot=9:15:9"), Err(Refusal::BeforeHorizon));
}

#[test]
fn what_a_snapshot_saw_is_forgotten_once_no_fill_is_older() {
    let mut ledger = ledger();
    ledger.apply([Xid::new(12)], Position::new(120), NOW);
    let old = ledger.begin_fill(NOW);
    assert_eq!(seen(&mut ledger, "snapshot=14:14:"), Ok(120));
    assert_eq!(ledger.limbo(), 1);
    let seen_by_old = ledger.end_fill(old, Some(&version("snapshot=12:13:12")));
    assert_eq!(seen_by_old.map(|seen| seen.position), Ok(Position::new(119)));
    assert_eq!(ledger.limbo(), 0);
}

#[test]
fn nothing_is_known_without_a_feed_and_across_a_gap() {
    let mut ledger = Ledger::new(SETTLE);
    assert_eq!(seen(&mut ledger, "lsn=0/C8"), Err(Refusal::NoFeed));
    let horizon = Horizon { position: Position::new(100), xid: Xid::new(10) };
    let before = ledger.begin_epoch(horizon);
    let fill = ledger.begin_fill(NOW);
    assert!(ledger.begin_epoch(horizon) > before);
    assert_eq!(ledger.end_fill(fill, Some(&version("lsn=0/C8"))).err(), Some(Refusal::Gap));
    ledger.lose_feed();
    assert_eq!(ledger.epoch(), None);
    assert_eq!(seen(&mut ledger, "lsn=0/C8"), Err(Refusal::NoFeed));
}

#[test]
fn what_is_told_again_changes_nothing() {
    let mut ledger = ledger();
    ledger.apply([Xid::new(12)], Position::new(120), NOW);
    assert_eq!(seen(&mut ledger, "snapshot=14:14:"), Ok(120));
    ledger.apply([Xid::new(12)], Position::new(120), NOW);
    assert_eq!((ledger.position(), ledger.limbo()), (Position::new(120), 0));
}

#[test]
fn one_that_says_nothing_has_what_was_told_a_settle_time_before_it() {
    let mut ledger = ledger();
    let at = |ms| Timestamp::from_ms(NOW.as_ms() + ms);
    let unstamped = |ledger: &mut Ledger, ms| {
        let fill = ledger.begin_fill(at(ms));
        ledger.end_fill(fill, None).map(|seen| seen.position.number())
    };
    assert_eq!(unstamped(&mut ledger, 0), Err(Refusal::NotSettled));
    ledger.reach(Position::new(110), at(0));
    ledger.apply([Xid::new(12)], Position::new(120), at(500));
    assert_eq!(unstamped(&mut ledger, 999), Err(Refusal::NotSettled));
    assert_eq!(unstamped(&mut ledger, 1_000), Ok(110));
    assert_eq!(unstamped(&mut ledger, 1_500), Ok(120));
    // As of then, however long the feed has been silent since: whether that is too long, its reader decides.
    assert_eq!(unstamped(&mut ledger, 60_000), Ok(120));
}

#[test]
fn a_full_limbo_gives_up_the_slowest_fill_and_then_refuses_what_it_forgot() {
    const MANY: u64 = 20_000;
    // Everyone sees them, but one fill is older.
    let mut ledger = ledger();
    let slow = ledger.begin_fill(NOW);
    for nth in 0..MANY {
        ledger.apply([Xid::new(11 + nth)], Position::new(101 + nth), NOW);
        ledger.primary_shows(&Snapshot::new(Xid::new(12 + nth), Xid::new(12 + nth), Box::default()).unwrap());
    }
    assert!(ledger.limbo() < 20_000, "{} in limbo", ledger.limbo());
    assert_eq!(ledger.end_fill(slow, Some(&version("snapshot=11:11:"))).err(), Some(Refusal::TooSlow));
    let all = version(&format!("snapshot={0}:{0}:", 11 + MANY));
    let fill = ledger.begin_fill(NOW);
    assert_eq!(ledger.end_fill(fill, Some(&all)).map(|seen| seen.position), Ok(Position::new(100 + MANY)));

    // Nobody has seen them.
    let mut ledger = self::ledger();
    for nth in 0..MANY {
        ledger.apply([Xid::new(11 + nth)], Position::new(101 + nth), NOW);
    }
    assert!(ledger.limbo() < 20_000, "{} in limbo", ledger.limbo());
    assert_eq!(seen(&mut ledger, "snapshot=11:11:"), Err(Refusal::BeforeHorizon));
    let fill = ledger.begin_fill(NOW);
    assert_eq!(ledger.end_fill(fill, Some(&all)).map(|seen| seen.position), Ok(Position::new(100 + MANY)));
}

#[test]
fn an_event_is_shown_once_a_snapshot_of_the_primary_sees_it() {
    let mut ledger = ledger();
    for (xid, end) in [(12, 120), (11, 130), (13, 140)] {
        ledger.apply([Xid::new(xid)], Position::new(end), NOW);
    }
    let mut shown_by = |snapshot| {
        ledger.primary_shows(&Snapshot::parse(snapshot).expect(snapshot));
        ledger.shown().number()
    };
    assert_eq!(shown_by("11:11:"), 119);
    assert_eq!(shown_by("11:13:11"), 129);
    // A fill that may not see them is still under way or not: it makes no difference.
    assert_eq!(shown_by("13:14:13"), 139);
    assert_eq!(shown_by("14:14:"), 140);
    ledger.reach(Position::new(150), NOW);
    assert_eq!(ledger.shown(), Position::new(150));
}
