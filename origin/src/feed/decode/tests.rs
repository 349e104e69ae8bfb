use super::*;

/// Messages as Postgres 15 sends them.
fn messages() -> Vec<(Vec<u8>, Message<'static>)> {
    let mut begin = vec![b'B'];
    begin.extend_from_slice(&0x16_B374_D848_u64.to_be_bytes());
    begin.extend_from_slice(&7_i64.to_be_bytes());
    begin.extend_from_slice(&738_u32.to_be_bytes());
    let mut commit = vec![b'C', 0];
    commit.extend_from_slice(&0x16_B374_D848_u64.to_be_bytes());
    commit.extend_from_slice(&0x16_B374_D900_u64.to_be_bytes());
    commit.extend_from_slice(&7_i64.to_be_bytes());
    let relation = b"R\0\0\x40\x01public\0teams\0d\0\x02\x01id\0\0\0\0\x14\xff\xff\xff\xff\0name\0\0\0\0\x19\xff\xff\xff\xff";
    let column = |name: &str, is_key, kind| Column { name: name.to_owned(), is_key, kind, modifier: -1 };
    let teams = Relation {
        oid: 0x4001,
        schema: "public".to_owned(),
        name: "teams".to_owned(),
        identity: b'd',
        columns: vec![column("id", true, 20), column("name", false, 25)],
    };
    let text = |text: &'static str| Value::Text(text.as_bytes());
    vec![
        (begin, Message::Begin { xid: 738, committed_at: 7 }),
        (commit, Message::Commit { end: Position(0x16_B374_D900) }),
        (relation.to_vec(), Message::Relation(teams)),
        (
            b"I\0\0\x40\x01N\0\x02t\0\0\0\x015n".to_vec(),
            Message::Insert { relation: 0x4001, new: vec![text("5"), Value::Null] },
        ),
        (
            b"U\0\0\x40\x01N\0\x02t\0\0\0\x015u".to_vec(),
            Message::Update { relation: 0x4001, old: None, new: vec![text("5"), Value::Unchanged] },
        ),
        (
            b"U\0\0\x40\x01K\0\x02t\0\0\0\x014nN\0\x02t\0\0\0\x015t\0\0\0\0".to_vec(),
            Message::Update {
                relation: 0x4001,
                old: Some((Old::Key, vec![text("4"), Value::Null])),
                new: vec![text("5"), text("")],
            },
        ),
        (
            b"D\0\0\x40\x01O\0\x02t\0\0\0\x015t\0\0\0\x02ab".to_vec(),
            Message::Delete { relation: 0x4001, old: (Old::Row, vec![text("5"), text("ab")]) },
        ),
        (
            b"T\0\0\0\x02\0\0\0\x40\x01\0\0\x40\x02".to_vec(),
            Message::Truncate { relations: vec![0x4001, 0x4002] },
        ),
        (
            b"M\x01\0\0\0\x16\xb3\x74\xd8\x48larder.ddl\0\0\0\0\x0516385".to_vec(),
            Message::Altered { relation: 16385 },
        ),
        (b"M\0\0\0\0\x16\xb3\x74\xd8\x48own\0\0\0\0\x0516385".to_vec(), Message::Other),
        (b"M\x01\0\0\0\x16\xb3\x74\xd8\x48larder.ddl\0\0\0\0\x02\xff\xff".to_vec(), Message::Other),
    ]
}

#[test]
fn each_message_is_what_it_says() {
    for (bytes, expected) in messages() {
        assert_eq!(message(&bytes), Some(expected));
    }
    for bytes in [&b"O\0\0\0\0\0\0\0\0name\0"[..], b"Y\0\0\0\x10public\0kind\0"] {
        assert_eq!(message(bytes), Some(Message::Other));
    }
}

#[test]
fn a_message_that_is_cut_or_has_more_is_none() {
    for (mut bytes, whole) in messages() {
        for end in 0..bytes.len() {
            assert_eq!(message(&bytes[..end]), None, "{whole:?} cut at {end}");
        }
        bytes.push(0);
        assert_eq!(message(&bytes), None, "{whole:?} and more");
    }
    for bytes in [&b""[..], b"?", b"I\0\0\0\x01O\0\0", b"D\0\0\0\x01N\0\0", b"I\0\0\0\x01N\xff\xff"] {
        assert_eq!(message(bytes), None, "{bytes:?}");
    }
}

#[test]
fn frames_are_told_apart() {
    let mut data = vec![b'w'];
    data.extend_from_slice(&[0; 24]);
    data.extend_from_slice(b"I\0\0\x40\x01N");
    assert_eq!(frame(&data), Some(Frame::Data(b"I\0\0\x40\x01N")));
    assert_eq!(long(&data), Some(Long::Row { relation: 0x4001 }));
    let mut keepalive = vec![b'k'];
    keepalive.extend_from_slice(&9_u64.to_be_bytes());
    keepalive.extend_from_slice(&[0; 8]);
    keepalive.push(1);
    assert_eq!(frame(&keepalive), Some(Frame::KeepAlive { position: Position(9), wants_reply: true }));
    for end in 0..keepalive.len() {
        assert_eq!(frame(&keepalive[..end]), None, "{end}");
    }
    for end in 0..25 {
        assert_eq!(frame(&data[..end]), None, "{end}");
    }
    // The beginning of a long one that is about no row.
    assert_eq!(long(&keepalive), None);
    let mut of_others = vec![b'w'];
    of_others.extend_from_slice(&[0; 24]);
    of_others.extend_from_slice(b"M\0");
    assert_eq!(long(&of_others), Some(Long::Other));
}

/// Bytes of no meaning, and messages of which some bytes were changed.
#[test]
fn no_bytes_make_it_panic() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    let samples = messages();
    for round in 0..200_000 {
        let mut bytes = if round % 2 == 0 {
            (0..random() % 64).map(|_| u8::try_from(random() % 256).unwrap()).collect()
        } else {
            samples[random() % samples.len()].0.clone()
        };
        for _ in 0..random() % 4 {
            if !bytes.is_empty() {
                let at = random() % bytes.len();
                bytes[at] = u8::try_from(random() % 256).unwrap();
            }
        }
        if let Some(kind) = bytes.first_mut().filter(|_| round % 4 == 0) {
            *kind = b"BCRIUDTOYMwk"[random() % 12];
        }
        let _ = (message(&bytes), frame(&bytes), long(&bytes));
    }
}
