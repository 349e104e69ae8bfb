use serde_json::Value;

use super::*;

fn account(position: u64) -> Account {
    Account { system: "7301".to_owned(), timeline: 1, position: Position(position), xid: 100, name: None }
}

fn from(position: u64) -> Option<From> {
    Some(From { system: "7301".to_owned(), timeline: 1, position: Position(position), account: None })
}

fn ring() -> Arc<Ring> {
    Arc::new(Ring::new(4, 1_000_000))
}

/// With its first heartbeat.
fn begin(ring: &Ring, account: Account) {
    ring.begin(account);
    ring.beat(None);
}

fn tell(ring: &Ring, end: u64) {
    ring.tell(&[100 + end], Position(end), &[format!("at:{end}")]);
}

/// All lines until there are no more, and whether it was ended.
fn lines(listener: &mut Listener) -> Vec<Value> {
    let mut all = Vec::new();
    while let Next::Lines(lines) = listener.next(false) {
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        all.extend(lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()));
    }
    all
}

fn ends(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["commit"]["end"].as_str()).collect()
}

#[test]
fn a_listener_waits_for_an_account_and_is_told_what_comes_after() {
    let ring = ring();
    let mut listener = Listener::new(&ring, None);
    assert_eq!(listener.next(false), Next::Nothing);
    begin(&ring, account(10));
    tell(&ring, 11);
    let begun = lines(&mut listener);
    // It has none of what was told before: it begins behind that.
    assert_eq!(begun.len(), 1);
    assert_eq!(begun[0]["begin"]["position"], "0/B");
    assert_eq!(begun[0]["begin"]["resumed"], false);
    // Above all transactions before.
    assert_eq!(begun[0]["begin"]["xid"], "112");
    tell(&ring, 12);
    assert_eq!(ends(&lines(&mut listener)), ["0/C"]);
}

#[test]
fn who_comes_back_is_told_what_it_missed_as_long_as_it_is_there() {
    let ring = ring();
    begin(&ring, account(10));
    (11..=14).for_each(|end| tell(&ring, end));
    for (position, resumed, missed) in [
        (10, true, &["0/B", "0/C", "0/D", "0/E"][..]),
        (12, true, &["0/D", "0/E"]),
        (14, true, &[]),
        (9, false, &[]),
    ] {
        let mut listener = Listener::new(&ring, from(position));
        let lines = lines(&mut listener);
        assert_eq!(lines[0]["begin"]["resumed"], resumed, "{position}");
        assert_eq!(ends(&lines), missed, "{position}");
        let expected = if resumed { position } else { 14 };
        assert_eq!(lines[0]["begin"]["position"], Position(expected).to_string());
    }
    // One more than there is room for.
    tell(&ring, 15);
    assert_eq!(lines(&mut Listener::new(&ring, from(10)))[0]["begin"]["resumed"], false);
    assert_eq!(lines(&mut Listener::new(&ring, from(11)))[0]["begin"]["resumed"], true);
}

#[test]
fn nobody_goes_on_in_another_account() {
    let ring = ring();
    begin(&ring, Account { timeline: 2, ..account(10) });
    for from in [
        from(10),
        Some(From { system: "other".to_owned(), timeline: 2, position: Position(10), account: None }),
    ] {
        assert_eq!(lines(&mut Listener::new(&ring, from))[0]["begin"]["resumed"], false);
    }
}

#[test]
fn who_knows_more_than_was_told_waits_for_it() {
    let ring = ring();
    begin(&ring, account(10));
    let mut listener = Listener::new(&ring, from(12));
    assert_eq!(listener.next(true), Next::Waits);
    tell(&ring, 11);
    assert_eq!(listener.next(true), Next::Waits);
    tell(&ring, 13);
    let lines = lines(&mut listener);
    assert_eq!(lines[0]["begin"]["resumed"], true);
    assert_eq!(ends(&lines), ["0/D"]);
    // Not for ever.
    let mut listener = Listener::new(&ring, from(99));
    let Next::Lines(begin) = listener.next(false) else { panic!() };
    assert!(begin.starts_with(br#"{"begin":{"position":"0/D","resumed":false"#), "{begin:?}");
}

#[test]
fn a_lost_account_is_said_once_and_its_events_no_more() {
    let ring = ring();
    begin(&ring, account(10));
    let mut listener = Listener::new(&ring, None);
    lines(&mut listener);
    tell(&ring, 11);
    ring.lose("cut");
    let lost = lines(&mut listener);
    assert_eq!(lost, [serde_json::json!({ "lost": { "why": "cut" } })]);
    begin(&ring, account(20));
    ring.lose("again");
    begin(&ring, account(30));
    // The one between was never begun for it.
    let begun = lines(&mut listener);
    assert_eq!(begun.len(), 1);
    assert_eq!(begun[0]["begin"]["position"], "0/1E");
    // Two changes at once.
    ring.lose("third");
    begin(&ring, account(40));
    let both = lines(&mut listener);
    assert_eq!(both[0]["lost"]["why"], "third");
    assert_eq!(both[1]["begin"]["position"], "0/28");
}

#[test]
fn who_does_not_read_is_ended() {
    let ring = ring();
    begin(&ring, account(10));
    let mut listener = Listener::new(&ring, None);
    lines(&mut listener);
    (11..=14).for_each(|end| tell(&ring, end));
    assert_eq!(ends(&lines(&mut listener)).len(), 4);
    (15..=19).for_each(|end| tell(&ring, end));
    assert_eq!(listener.next(false), Next::End { is_whole: false });
    // By bytes as well.
    let ring = Arc::new(Ring::new(1000, 150));
    begin(&ring, account(10));
    let mut listener = Listener::new(&ring, None);
    lines(&mut listener);
    (11..=14).for_each(|end| tell(&ring, end));
    assert!(ring.look().bytes <= 150);
    assert_eq!(listener.next(false), Next::End { is_whole: false });
}

#[test]
fn a_heartbeat_says_what_this_listener_was_told() {
    let ring = ring();
    begin(&ring, account(10));
    let mut listener = Listener::new(&ring, None);
    lines(&mut listener);
    ring.reach(Position(15));
    assert_eq!(listener.next(false), Next::Nothing);
    ring.beat(Some("5:5:"));
    let expected = serde_json::json!({ "at": { "position": "0/F", "snapshot": "5:5:" } });
    assert_eq!(lines(&mut listener), [expected]);
    tell(&ring, 16);
    ring.reach(Position(17));
    ring.beat(None);
    let said = lines(&mut listener);
    assert_eq!(said[0]["commit"]["end"], "0/10");
    assert_eq!(said[1]["at"]["position"], "0/11");
    ring.stop();
    assert_eq!(listener.next(false), Next::End { is_whole: true });
}

#[test]
fn an_account_that_is_behind_begins_for_nobody() {
    let ring = ring();
    ring.begin(account(10));
    tell(&ring, 11);
    let (mut new, mut back) = (Listener::new(&ring, None), Listener::new(&ring, from(10)));
    for listener in [&mut new, &mut back] {
        assert_eq!(listener.next(false), Next::Nothing);
    }
    ring.beat(None);
    assert_eq!(ends(&lines(&mut new)).len(), 0);
    assert_eq!(ends(&lines(&mut back)), ["0/B"]);
    ring.fall_behind();
    tell(&ring, 12);
    // Who is told goes on to be.
    assert_eq!(ends(&lines(&mut back)), ["0/C"]);
    assert_eq!(Listener::new(&ring, from(10)).next(false), Next::Nothing);
    ring.beat(None);
    assert_eq!(ends(&lines(&mut Listener::new(&ring, from(10)))), ["0/B", "0/C"]);
}
