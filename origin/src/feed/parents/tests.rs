//! Parents are table 0 of a mapping, their children table 1. The account began when 100 was the next transaction.

use super::super::decode::{Column, Message, Relation, Value};
use super::super::transaction::Relations;
use super::*;
use crate::catalogue::{Mapping, RowTemplate};

fn look(snapshot: &str, position: u64) -> Look {
    Look {
        text: snapshot.into(),
        snapshot: Snapshot::parse(snapshot).unwrap(),
        position: Position(position),
        flushed: Position(position),
    }
}

/// A transaction that inserted into a table.
fn transaction(table: u32) -> Transaction {
    let template = || vec![RowTemplate::parse("{id}").unwrap()];
    let mut tables = Tables::of(&Mapping::from([("a".to_owned(), template()), ("b".to_owned(), template())]));
    tables.by_oid.extend([(0, 0), (1, 1)]);
    let mut transaction = Transaction::new(1, 0);
    let column = Column { name: "id".to_owned(), is_key: true, kind: 20, modifier: -1 };
    let name = if table == 0 { "a" } else { "b" }.to_owned();
    let relation =
        Relation { oid: table, schema: "public".to_owned(), name, identity: b'd', columns: vec![column] };
    let insert = Message::Insert { relation: table, new: vec![Value::Text(b"1")] };
    let mut relations = Relations::default();
    for message in [Message::Relation(relation), insert] {
        transaction.take(message, &tables, &mut relations, 10).unwrap();
    }
    transaction
}

/// Whether the version of a parent that a look-up found, with what it showed, is that of the commit that ended at a position.
fn is_proven(recent: &Recent, version: u32, now: &str, end: u64) -> bool {
    let told = recent.commits.iter().map(|(xid, _)| *xid).collect();
    let Some(before) = recent.before(Position(end)) else { return false };
    recent.is_of_before(version, before, &told) && recent.shows_all(0, &Snapshot::parse(now).unwrap())
}

#[test]
fn a_version_from_before_the_commit_is_that_of_the_commit() {
    let mut recent = Recent::new(100);
    recent.look(look("105:110:105,107", 50));
    recent.commit(111, &transaction(1));
    for (version, expected) in [(90, true), (104, true), (106, true), (109, true), (2, true)] {
        assert_eq!(is_proven(&recent, version, "112:112:", 60), expected, "{version}");
    }
    // These ran, or had not begun: they may have changed it after the commit.
    for version in [105, 107, 110, 112] {
        assert!(!is_proven(&recent, version, "120:120:", 60), "{version}");
    }
    // Unless the stream has told them before.
    recent.commit(107, &transaction(0));
    recent.commit(113, &transaction(1));
    assert!(is_proven(&recent, 107, "120:120:", 60));
    assert!(is_proven(&recent, 113, "120:120:", 60));
    // A number that has come round is one from long ago.
    assert!(is_proven(&recent, u32::MAX - 5, "120:120:", 60));
}

#[test]
fn a_look_from_after_the_commit_proves_nothing() {
    let mut recent = Recent::new(100);
    recent.look(look("110:110:", 50));
    recent.look(look("120:120:", 80));
    assert!(!is_proven(&recent, 115, "120:120:", 70));
    assert!(is_proven(&recent, 109, "120:120:", 70));
    assert!(is_proven(&recent, 115, "120:120:", 80));
    assert!(!is_proven(&recent, 109, "120:120:", 49));
}

#[test]
fn a_change_of_parents_that_was_told_has_to_be_visible() {
    let mut recent = Recent::new(100);
    recent.look(look("110:110:", 50));
    recent.commit(111, &transaction(0));
    // In the WAL, told, and not visible: what is seen is the version before.
    assert!(!is_proven(&recent, 90, "111:111:", 60));
    assert!(!is_proven(&recent, 90, "111:115:111", 60));
    assert!(is_proven(&recent, 90, "112:112:", 60));
    // Of their children nobody asks that.
    recent.commit(116, &transaction(1));
    assert!(is_proven(&recent, 90, "116:116:", 60));
}

#[test]
fn what_may_have_been_before_the_account_has_to_have_ended() {
    let mut recent = Recent::new(100);
    recent.look(look("99:105:99", 50));
    assert!(!is_proven(&recent, 90, "120:120:", 60));
    recent.look(look("100:105:", 55));
    assert!(is_proven(&recent, 90, "120:120:", 60));
}

#[test]
fn what_is_forgotten_proves_nothing() {
    let mut recent = Recent::new(100);
    recent.look(look("100:100:", 50));
    let parents = transaction(1);
    for xid in 0..=u64::try_from(MAX_RECENT).unwrap() {
        recent.commit(100 + xid, &parents);
    }
    assert_eq!(recent.commits.len(), MAX_RECENT);
    // 100 may have changed parents.
    assert!(!is_proven(&recent, 90, "900000:900000:", 60));
    recent.look(look("101:101:", 55));
    assert!(is_proven(&recent, 90, "900000:900000:", 60));
    // Looks that see all as ended let it go.
    for position in 0..10 {
        recent.look(look("900000:900000:", 100 + position));
    }
    assert!(recent.commits.is_empty());
}

#[test]
fn what_a_parent_has_is_known_until_its_table_changes() {
    let mut tables = Tables::of(&Mapping::new());
    tables.by_oid.extend([(10, 0), (11, 1)]);
    let key = |oid| ForeignKey {
        table: "public.a".to_owned(),
        oid,
        column: "id".to_owned(),
        kind: "bigint".to_owned(),
        columns: vec!["name".to_owned()],
    };
    // One leads to a table of the mapping, the other to one that nobody tells of.
    let keys =
        ForeignKeys::from([((1, "a".to_owned()), vec![key(10)]), ((1, "x".to_owned()), vec![key(12)])]);
    let parent = |column: &str, key: usize| Parent {
        table: 1,
        column: column.to_owned(),
        other: "name".to_owned(),
        key: key.to_string(),
    };
    let found = |column: &str, key: usize| HashMap::from([(parent(column, key), Some(key.to_string()))]);
    let mut unchanged = Unchanged::default();
    unchanged.keep(&found("a", 1), &keys, &tables);
    unchanged.keep(&HashMap::from([(parent("a", 2), None)]), &keys, &tables);
    unchanged.keep(&found("x", 1), &keys, &tables);
    assert_eq!(unchanged.get(&parent("a", 1)), Some(&Some("1".to_owned())));
    assert_eq!(unchanged.get(&parent("a", 2)), Some(&None));
    assert_eq!(unchanged.get(&parent("x", 1)), None);
    unchanged.forget([1].into_iter());
    assert!(unchanged.get(&parent("a", 1)).is_some());
    unchanged.forget([0].into_iter());
    assert!(unchanged.get(&parent("a", 1)).is_none() && unchanged.count == 0);
    for key in 0..=MAX_UNCHANGED {
        unchanged.keep(&found("a", key), &keys, &tables);
        unchanged.keep(&found("a", key), &keys, &tables);
        assert!(unchanged.count <= MAX_UNCHANGED);
    }
    assert!(unchanged.get(&parent("a", MAX_UNCHANGED)).is_some());
    assert!(unchanged.get(&parent("a", 0)).is_none());
}
