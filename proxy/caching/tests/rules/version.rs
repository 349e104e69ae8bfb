//! `Larder-Version`, as Postgres writes what is in it.

use caching::version::{Position, Snapshot, Stamp, Timeline, Version, Xid};

#[test]
fn a_position_is_two_hexadecimal_halves() {
    for (text, number) in [("0/0", 0), ("16/B374D848", 0x16_B374_D848), ("FFFFFFFF/ffffffff", u64::MAX)] {
        assert_eq!(Position::parse(text), Some(Position::new(number)), "{text}");
    }
    assert_eq!(Position::new(0x16_0000_00A8).to_string(), "16/A8");
    for text in
        ["", "/", "1", "1/", "/1", "1/2/3", "+1/2", "1/-2", "1/ 2", "g/0", "100000000/0", "0/100000000"]
    {
        assert_eq!(Position::parse(text), None, "{text}");
    }
}

#[test]
fn a_snapshot_sees_what_had_ended_when_it_was_taken() {
    let snapshot = Snapshot::parse("10:20:10,14,15").unwrap();
    let seen: Vec<u64> = (8..22).filter(|xid| snapshot.sees(Xid::new(*xid))).collect();
    assert_eq!(seen, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
    assert_eq!((snapshot.xmin(), snapshot.xmax()), (Xid::new(10), Xid::new(20)));

    let idle = Snapshot::parse("738:738:").unwrap();
    assert!(idle.sees(Xid::new(737)) && !idle.sees(Xid::new(738)));
}

#[test]
fn what_is_no_snapshot_is_none() {
    for text in [
        "",
        ":",
        "::",
        "1:2",
        "1:2:3:4",
        "2:1:",
        "0:5:",
        "10:20:9",
        "10:20:20",
        "10:20:15,14",
        "10:20:14,14",
        "10:20:14,",
        "10:20:,14",
        "10:20:x",
        "+10:20:",
        "-1:20:",
        " 10:20:",
        "10:20:14, 15",
        "010:20:",
        "99999999999999999999:99999999999999999999:",
    ] {
        assert_eq!(Snapshot::parse(text), None, "{text}");
    }
}

#[test]
fn a_version_says_which_of_the_two_it_is() {
    let snapshot = Snapshot::parse("738:741:738,739").unwrap();
    assert_eq!(Version::parse("snapshot=738:741:738,739"), Some(Version::Snapshot(snapshot)));
    assert_eq!(Version::parse("lsn=16/B374D848"), Some(Version::Replayed(Position::new(0x16_B374_D848))));
    for text in [
        "",
        "lsn",
        "lsn=",
        "16/B374D848",
        "LSN=0/0",
        "lsn=0/0,",
        "snapshot=",
        "snapshot=0/0",
        "lsn=1:1:",
        "xid=1",
    ] {
        assert_eq!(Version::parse(text), None, "{text}");
    }
}

#[test]
fn a_stamp_is_a_version_with_its_timeline() {
    for (text, timeline) in [
        ("snapshot=738:741:738,739; timeline=1", 1),
        ("snapshot=738:738:; timeline=20", 20),
        ("lsn=16/B374D848; timeline=4294967295", u32::MAX),
    ] {
        let stamp = Stamp::parse(text).unwrap();
        assert_eq!(Some(stamp.timeline), Timeline::new(timeline), "{text}");
        assert_eq!(Version::parse(text.split_once(';').unwrap().0), Some(stamp.version.clone()), "{text}");
        assert_eq!(stamp.to_string(), text);
    }
    assert_eq!(Stamp::parse("lsn=0/1;timeline=2").unwrap().to_string(), "lsn=0/1; timeline=2");
}

#[test]
fn a_version_without_a_timeline_is_no_stamp() {
    for text in [
        "",
        "lsn=0/1",
        "lsn=0/1;",
        "lsn=0/1; timeline",
        "lsn=0/1; timeline=",
        "lsn=0/1; timeline=0",
        "lsn=0/1; timeline=01",
        "lsn=0/1; timeline=+1",
        "lsn=0/1; timeline=-1",
        "lsn=0/1; timeline= 1",
        "lsn=0/1; timeline=1 ",
        "lsn=0/1; timeline=4294967296",
        "lsn=0/1; timeline=1; timeline=1",
        "lsn=0/1 ; timeline=1",
        "timeline=1; lsn=0/1",
        "; timeline=1",
        "lsn=1:1:; timeline=1",
    ] {
        assert_eq!(Stamp::parse(text), None, "{text}");
    }
    assert!(Timeline::new(2) > Timeline::new(1) && Timeline::new(0).is_none());
    assert_eq!(Timeline::FIRST.number(), 1);
}
