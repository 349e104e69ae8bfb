use super::super::decode::Column;
use super::*;

const TEAMS: u32 = 1;
const TEXT: u32 = 25;

fn tables(templates: &[&str]) -> Tables {
    let templates = templates.iter().map(|text| RowTemplate::parse(text).unwrap()).collect();
    let mut tables = Tables::of(&Mapping::from([("teams".to_owned(), templates)]));
    tables.by_oid.insert(TEAMS, 0);
    tables
}

/// `id` is the key.
fn relation(identity: u8) -> Relation {
    let column = |name: &str, is_key, kind| Column { name: name.to_owned(), is_key, kind, modifier: -1 };
    let is_full = identity == b'f';
    let columns =
        vec![column("id", true, 20), column("public_id", is_full, TEXT), column("is_open", is_full, BOOL)];
    Relation { oid: TEAMS, schema: "public".to_owned(), name: "teams".to_owned(), identity, columns }
}

fn values(texts: [&'static str; 3]) -> Vec<Value<'static>> {
    let value = |text: &'static str| match text {
        "NULL" => Value::Null,
        "same" => Value::Unchanged,
        text => Value::Text(text.as_bytes()),
    };
    texts.map(value).to_vec()
}

const ALL: [&str; 3] = ["team:{id}", "team:{public_id}", "open:{is_open}"];

/// The tags of some messages.
#[track_caller]
fn told(identity: u8, templates: &[&str], messages: Vec<Message<'_>>) -> Vec<String> {
    let (tables, mut relations) = (tables(templates), Relations::default());
    let mut transaction = Transaction::new(1, 0);
    for message in std::iter::once(Message::Relation(relation(identity))).chain(messages) {
        transaction.take(message, &tables, &mut relations, 3).unwrap();
    }
    transaction.tags(&HashMap::new(), &tables)
}

fn insert(texts: [&'static str; 3]) -> Message<'static> {
    Message::Insert { relation: TEAMS, new: values(texts) }
}

fn update(old: Option<(Old, [&'static str; 3])>, new: [&'static str; 3]) -> Message<'static> {
    let old = old.map(|(kind, texts)| (kind, values(texts)));
    Message::Update { relation: TEAMS, old, new: values(new) }
}

fn delete(kind: Old, texts: [&'static str; 3]) -> Message<'static> {
    Message::Delete { relation: TEAMS, old: (kind, values(texts)) }
}

#[test]
fn old_and_new_values_are_told() {
    let old = Some((Old::Row, ["1", "red", "t"]));
    assert_eq!(
        told(b'f', &ALL, vec![update(old, ["1", "a b", "f"])]),
        ["open:false", "open:true", "team:1", "team:a%20b", "team:red"]
    );
    assert_eq!(told(b'd', &["team:{id}"], vec![update(None, ["1", "red", "t"])]), ["team:1"]);
    let old = Some((Old::Key, ["1", "NULL", "NULL"]));
    assert_eq!(told(b'd', &["team:{id}"], vec![update(old, ["2", "x", "t"])]), ["team:1", "team:2"]);
    assert_eq!(told(b'd', &["team:{id}"], vec![delete(Old::Key, ["1", "NULL", "NULL"])]), ["team:1"]);
    assert_eq!(told(b'd', &["teams"], vec![insert(["1", "x", "t"])]), ["teams"]);
}

#[test]
fn a_value_that_the_wal_does_not_have_is_told_by_its_table() {
    // NULL stands for whatever it was.
    for messages in [
        vec![update(None, ["1", "red", "t"])],
        vec![update(Some((Old::Key, ["1", "NULL", "NULL"])), ["2", "red", "t"])],
        vec![delete(Old::Key, ["1", "NULL", "NULL"])],
        vec![insert(["1", "same", "t"])],
    ] {
        assert_eq!(told(b'd', &ALL, messages), ["table:teams"]);
    }
    // An unchanged one is that of the old row.
    let old = Some((Old::Row, ["1", "red", "t"]));
    assert_eq!(told(b'f', &ALL[..2], vec![update(old, ["1", "same", "t"])]), ["team:1", "team:red"]);
    // Where whole rows are promised, none is no key.
    assert_eq!(told(b'f', &["team:{id}"], vec![update(None, ["1", "red", "t"])]), ["table:teams"]);
    // A column that is not published, or not there.
    assert_eq!(told(b'f', &["team:{slug}"], vec![insert(["1", "red", "t"])]), ["table:teams"]);
}

#[test]
fn a_tag_without_its_value_is_of_no_answer() {
    assert_eq!(told(b'f', &ALL, vec![insert(["1", "NULL", "NULL"])]), ["team:1"]);
}

#[test]
fn too_many_rows_truncate_and_another_shape_are_told_by_their_table() {
    let rows = |count: usize| (0..count).map(|_| insert(["1", "red", "t"])).collect::<Vec<_>>();
    assert_eq!(told(b'f', &["team:{id}"], rows(3)), ["team:1"]);
    assert_eq!(told(b'f', &["team:{id}"], rows(4)), ["table:teams"]);
    let truncate = Message::Truncate { relations: vec![7, TEAMS] };
    assert_eq!(told(b'f', &ALL, vec![insert(["1", "red", "t"]), truncate]), ["table:teams"]);
    // The same shape is said again now and then.
    let again = Message::Relation(relation(b'f'));
    assert_eq!(told(b'f', &["team:{id}"], vec![again, insert(["1", "red", "t"])]), ["team:1"]);
    let mut other = relation(b'f');
    other.columns[1].kind = 1043;
    assert_eq!(
        told(b'f', &["team:{id}"], vec![Message::Relation(other), insert(["1", "red", "t"])]),
        ["table:teams"]
    );
}

#[test]
fn a_row_of_an_unknown_table_makes_no_sense() {
    let (tables, mut relations) = (tables(&ALL), Relations::default());
    let mut transaction = Transaction::new(1, 0);
    assert!(transaction.take(insert(["1", "red", "t"]), &tables, &mut relations, 3).is_err());
    assert!(
        transaction
            .take(Message::Commit { end: super::super::position::Position(1) }, &tables, &mut relations, 3)
            .is_err()
    );
    assert!(transaction.take_long(TEAMS, &relations).is_err());
    // One that is not of the mapping is nobody's business.
    let other = Relation { oid: 9, name: "others".to_owned(), ..relation(b'f') };
    transaction.take(Message::Relation(other), &tables, &mut relations, 3).unwrap();
    let new = values(["1", "red", "t"]);
    transaction.take(Message::Insert { relation: 9, new }, &tables, &mut relations, 3).unwrap();
    transaction.take_long(9, &relations).unwrap();
    assert!(transaction.tags(&HashMap::new(), &tables).is_empty());
}

#[test]
fn tags_have_a_bound_in_number_and_size() {
    let (tables, mut relations) = (tables(&["team:{public_id}"]), Relations::default());
    for (rows, length) in [(MAX_TAGS + 1, 10), (500, 1000)] {
        let mut transaction = Transaction::new(1, 0);
        transaction.take(Message::Relation(relation(b'f')), &tables, &mut relations, usize::MAX).unwrap();
        for row in 0..rows {
            let text = format!("{row:0length$}");
            let new = vec![Value::Text(b"1"), Value::Text(text.as_bytes()), Value::Null];
            let message = Message::Insert { relation: TEAMS, new };
            transaction.take(message, &tables, &mut relations, usize::MAX).unwrap();
        }
        assert_eq!(transaction.tags(&HashMap::new(), &tables), ["table:teams"]);
    }
    // No answer has a tag of that length.
    let long = "x".repeat(MAX_TAG_BYTES);
    let mut transaction = Transaction::new(1, 0);
    let new = vec![Value::Text(b"1"), Value::Text(long.as_bytes()), Value::Null];
    transaction.take(Message::Insert { relation: TEAMS, new }, &tables, &mut relations, 3).unwrap();
    assert!(transaction.tags(&HashMap::new(), &tables).is_empty());
}

#[test]
fn what_a_row_names_is_put_in_when_it_is_found() {
    let (tables, mut relations) = (tables(&["a:{id}:{public_id.name}"]), Relations::default());
    let told = |found: Option<Option<&str>>, relations: &mut Relations| {
        let mut transaction = Transaction::new(1, 0);
        transaction.take(Message::Relation(relation(b'f')), &tables, relations, 3).unwrap();
        transaction.take(insert(["1", "red", "t"]), &tables, relations, 3).unwrap();
        let parents: Vec<Parent> = transaction.parents().into_iter().collect();
        let [parent] = parents.as_slice() else { panic!("{parents:?}") };
        assert_eq!(
            (parent.column.as_str(), parent.other.as_str(), parent.key.as_str()),
            ("public_id", "name", "red")
        );
        let found = found.map(|value| (parent.clone(), value.map(str::to_owned)));
        transaction.tags(&found.into_iter().collect(), &tables)
    };
    assert_eq!(told(Some(Some("x,y")), &mut relations), ["a:1:x%2Cy"]);
    assert!(told(Some(None), &mut relations).is_empty());
    assert_eq!(told(None, &mut relations), ["table:teams"]);
}
