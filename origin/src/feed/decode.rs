//! What a walsender says: the frames of the replication protocol, and inside of them the messages of pgoutput (protocol
//! version 1).
//!
//! Everything comes from the network: what is cut short or says of itself what cannot be is `None`, never a panic, and nothing
//! is allocated for a length that is only claimed. Knows no tables and no tags. Read next: `feed/transaction.rs`.

use super::ddl;
use super::position::Position;

/// Postgres allows 1,664 columns of anything.
const MAX_COLUMNS: u16 = 1664;

/// One frame of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'b> {
    Data(&'b [u8]),
    /// All up to here was sent.
    KeepAlive {
        position: Position,
        wants_reply: bool,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'b> {
    Begin {
        xid: u32,
        /// When it was committed, in microseconds since 2000.
        committed_at: i64,
    },
    Commit {
        end: Position,
    },
    Relation(Relation),
    Insert {
        relation: u32,
        new: Tuple<'b>,
    },
    Update {
        relation: u32,
        old: Option<(Old, Tuple<'b>)>,
        new: Tuple<'b>,
    },
    Delete {
        relation: u32,
        old: (Old, Tuple<'b>),
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// The table itself was changed: `feed/ddl.rs`.
    Altered {
        relation: u32,
    },
    /// Origins, types, and what the application wrote into the WAL for others.
    Other,
}

/// How much there is of an old row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    /// The columns of the replica identity; all others are NULL, whatever they were.
    Key,
    Row,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// `d`, `n`, `f` or `i`.
    pub(super) identity: u8,
    pub(super) columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) is_key: bool,
    pub(super) kind: u32,
    pub(super) modifier: i32,
}

pub(super) type Tuple<'b> = Vec<Value<'b>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'b> {
    Null,
    /// Stored out of line and not changed, so it is not in the WAL.
    Unchanged,
    Text(&'b [u8]),
}

struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn word(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn position(&mut self) -> Option<Position> {
        self.array().map(u64::from_be_bytes).map(Position)
    }

    fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(end)?;
        self.byte()?;
        Some(std::str::from_utf8(text).ok()?.to_owned())
    }

    fn tuple(&mut self) -> Option<Tuple<'b>> {
        let count = self.word().filter(|count| *count <= MAX_COLUMNS)?;
        (0..count)
            .map(|_| match self.byte()? {
                b'n' => Some(Value::Null),
                b'u' => Some(Value::Unchanged),
                b't' => {
                    let length = usize::try_from(self.number()?).ok()?;
                    self.take(length).map(Value::Text)
                }
                _ => None,
            })
            .collect()
    }

    fn old_row(&mut self, kind: u8) -> Option<(Old, Tuple<'b>)> {
        let old = match kind {
            b'K' => Old::Key,
            b'O' => Old::Row,
            _ => return None,
        };
        Some((old, self.tuple()?))
    }

    fn new_row(&mut self) -> Option<Tuple<'b>> {
        (self.byte()? == b'N').then(|| self.tuple())?
    }

    fn relation(&mut self) -> Option<Relation> {
        let oid = self.number()?;
        let schema = self.text()?;
        let (name, identity) = (self.text()?, self.byte()?);
        let count = self.word().filter(|count| *count <= MAX_COLUMNS)?;
        let column = |_| {
            let is_key = self.byte()? & 1 == 1;
            let (name, kind) = (self.text()?, self.number()?);
            Some(Column { name, is_key, kind, modifier: self.array().map(i32::from_be_bytes)? })
        };
        let columns = (0..count).map(column).collect::<Option<_>>()?;
        // What is in `pg_catalog` has no name there.
        let schema = if schema.is_empty() { "pg_catalog".to_owned() } else { schema };
        Some(Relation { oid, schema, name, identity, columns })
    }

    /// Nothing may follow.
    fn finish(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// The content of a CopyData message.
pub(super) fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let mut bytes = Bytes(bytes);
    match bytes.byte()? {
        b'w' => {
            // Where it begins, how far the server is, and what time it is there.
            bytes.take(24)?;
            Some(Frame::Data(bytes.0))
        }
        b'k' => {
            let position = bytes.position()?;
            bytes.take(8)?;
            let wants_reply = bytes.byte()? == 1;
            bytes.finish()?;
            Some(Frame::KeepAlive { position, wants_reply })
        }
        _ => None,
    }
}

/// A whole message.
pub(super) fn message(bytes: &[u8]) -> Option<Message<'_>> {
    let mut bytes = Bytes(bytes);
    let message = match bytes.byte()? {
        b'B' => {
            bytes.take(8)?;
            let committed_at = bytes.array().map(i64::from_be_bytes)?;
            Message::Begin { xid: bytes.number()?, committed_at }
        }
        b'C' => {
            // Flags, and where the record begins.
            bytes.take(9)?;
            let end = bytes.position()?;
            bytes.take(8)?;
            Message::Commit { end }
        }
        b'R' => Message::Relation(bytes.relation()?),
        b'I' => Message::Insert { relation: bytes.number()?, new: bytes.new_row()? },
        b'U' => {
            let relation = bytes.number()?;
            let old = match bytes.0.first()? {
                b'N' => None,
                _ => {
                    let kind = bytes.byte()?;
                    Some(bytes.old_row(kind)?)
                }
            };
            Message::Update { relation, old, new: bytes.new_row()? }
        }
        b'D' => {
            let relation = bytes.number()?;
            let kind = bytes.byte()?;
            Message::Delete { relation, old: bytes.old_row(kind)? }
        }
        b'T' => {
            let count = usize::try_from(bytes.number()?).ok()?;
            bytes.byte()?;
            // As many as there are bytes for.
            let rest = bytes.take(count.checked_mul(4)?)?;
            let oid = |oid: &[u8]| oid.try_into().map_or(0, u32::from_be_bytes);
            Message::Truncate { relations: rest.chunks_exact(4).map(oid).collect() }
        }
        b'M' => {
            // Of a transaction or of none, and where it is in the WAL.
            bytes.take(9)?;
            let prefix = bytes.text()?;
            let length = usize::try_from(bytes.number()?).ok()?;
            let content = std::str::from_utf8(bytes.take(length)?).ok().and_then(|text| text.parse().ok());
            match content.filter(|_| prefix == ddl::PREFIX) {
                Some(relation) => Message::Altered { relation },
                None => Message::Other,
            }
        }
        b'O' | b'Y' => return Some(Message::Other),
        _ => return None,
    };
    bytes.finish()?;
    Some(message)
}

/// A message that was too long to be kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Long {
    Row {
        relation: u32,
    },
    /// Of the application, for others.
    Other,
}

/// `None` for what must not be that long.
pub(super) fn long(bytes: &[u8]) -> Option<Long> {
    let Frame::Data(data) = frame(bytes)? else { return None };
    let mut bytes = Bytes(data);
    match bytes.byte()? {
        b'I' | b'U' | b'D' => Some(Long::Row { relation: bytes.number()? }),
        b'M' => Some(Long::Other),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
