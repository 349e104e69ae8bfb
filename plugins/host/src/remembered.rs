//! Decisions for inputs that were put to a policy before: equal inputs give equal decisions, so there is no need to ask twice.
//!
//! One table for each policy and thread, bounded in bytes. Inputs are compared whole: a hash that two of them share
//! does not make them equal. Where a policy reads the time nothing is remembered.

use std::rc::Rc;

use http::{HeaderName, HeaderValue};
use quick_cache::{Weighter, unsync::Cache};

use crate::decision::{
    Answer, DoNotStore, FieldChanges, Forward, LookUp, Pass, QueryChange, RequestDecision, ResponseDecision,
    StoreDecision,
};

/// Of inputs and decisions of one kind, for one policy on one thread.
const TABLE_BYTES_MAX: u64 = 256 << 10;
/// Inputs that are longer than this are a client's invention more often than not.
const INPUTS_BYTES_MAX: usize = 1 << 10;
/// A decision that is larger, such as an answer with a long body, leaves no room for others.
const DECISION_BYTES_MAX: usize = 4 << 10;
/// What an entry takes besides its bytes.
const ENTRY_BYTES: usize = 160;
/// For the first allocation of a table.
const TYPICAL_ENTRIES: usize = 256;

/// The decisions of one kind.
pub(crate) struct Table<Decision>(Cache<Box<[u8]>, Rc<Decision>, Bytewise>);

#[derive(Clone)]
struct Bytewise;

impl<Decision: Weigh> Weighter<Box<[u8]>, Rc<Decision>> for Bytewise {
    fn weight(&self, inputs: &Box<[u8]>, decision: &Rc<Decision>) -> u64 {
        (ENTRY_BYTES + inputs.len() + decision.bytes()) as u64
    }
}

impl<Decision: Weigh> Table<Decision> {
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(TYPICAL_ENTRIES, TABLE_BYTES_MAX, Bytewise))
    }

    /// `inputs` as [`write_inputs`] wrote them.
    pub(crate) fn get(&self, inputs: &[u8]) -> Option<&Rc<Decision>> {
        self.0.get(inputs)
    }

    pub(crate) fn keep(&mut self, inputs: &[u8], decision: &Rc<Decision>) {
        if inputs.len() <= INPUTS_BYTES_MAX && decision.bytes() <= DECISION_BYTES_MAX {
            self.0.insert(inputs.into(), Rc::clone(decision));
        }
    }

    #[cfg(test)]
    fn weight(&self) -> u64 {
        self.0.weight()
    }
}

/// Writes inputs so that different ones are different bytes: each value has its length in front.
pub(crate) struct InputWriter<'b>(&'b mut Vec<u8>);

impl<'b> InputWriter<'b> {
    pub(crate) fn begin(buffer: &'b mut Vec<u8>, status: Option<u16>) -> InputWriter<'b> {
        buffer.clear();
        buffer.extend_from_slice(&status.unwrap_or_default().to_le_bytes());
        InputWriter(buffer)
    }

    pub(crate) fn value(&mut self, value: Option<&[u8]>) {
        /// In the place of a length, and none that a value has.
        const ABSENT: u32 = u32::MAX;
        let length = value.map_or(ABSENT, |value| u32::try_from(value.len()).unwrap_or(ABSENT - 1));
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(value.unwrap_or_default());
    }
}

/// Values as [`InputWriter`] writes them.
pub(crate) fn write_inputs<'v>(
    buffer: &mut Vec<u8>,
    status: Option<u16>,
    values: impl Iterator<Item = &'v Option<&'v str>>,
) {
    let mut writer = InputWriter::begin(buffer, status);
    values.for_each(|value| writer.value(value.map(str::as_bytes)));
}

/// How much memory a decision takes, about.
pub(crate) trait Weigh {
    fn bytes(&self) -> usize;
}

impl Weigh for RequestDecision {
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::LookUp(LookUp { key_parts, tags, forward }) => {
                    texts(key_parts) + texts(tags) + of_forward(forward)
                }
                Self::Pass(Pass { reason, forward }) => reason.len() + of_forward(forward),
                Self::Answer(Answer { status: _, fields, body }) => of_fields(fields) + body.len(),
            }
    }
}

impl Weigh for ResponseDecision {
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Store(StoreDecision { tags, fields, .. }) => texts(tags) + of_changes(fields),
                Self::DoNotStore(DoNotStore { reason, fields, .. }) => reason.len() + of_changes(fields),
            }
    }
}

fn texts(texts: &[Box<str>]) -> usize {
    texts.iter().map(|text| size_of::<Box<str>>() + text.len()).sum()
}

fn of_forward(Forward { upstream, query, fields }: &Forward) -> usize {
    let query = match query {
        QueryChange::Unchanged => 0,
        QueryChange::Only(names) | QueryChange::Without(names) => texts(names),
    };
    upstream.as_ref().map_or(0, |name| name.len()) + query + of_changes(fields)
}

fn of_changes(FieldChanges { remove, set }: &FieldChanges) -> usize {
    let removed: usize = remove.iter().map(|name| size_of::<HeaderName>() + name.as_str().len()).sum();
    removed + of_fields(set)
}

fn of_fields(fields: &[(HeaderName, HeaderValue)]) -> usize {
    let of_one = |(name, value): &(HeaderName, HeaderValue)| {
        size_of::<(HeaderName, HeaderValue)>() + name.as_str().len() + value.len()
    };
    fields.iter().map(of_one).sum()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;

    fn written(status: Option<u16>, values: &[Option<&str>]) -> Vec<u8> {
        let mut buffer = Vec::new();
        write_inputs(&mut buffer, status, values.iter());
        buffer
    }

    #[test]
    fn different_inputs_are_different_bytes() {
        let all = [
            written(None, &[]),
            written(None, &[None]),
            written(None, &[Some("")]),
            written(None, &[Some("a"), Some("b")]),
            written(None, &[Some("ab"), Some("")]),
            written(None, &[Some("ab"), None]),
            written(Some(200), &[Some("ab"), None]),
            written(Some(404), &[Some("ab"), None]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one), "{one:?}");
        }
    }

    #[test]
    fn a_table_keeps_to_its_bytes_and_leaves_large_things_out() {
        let mut table = Table::new();
        let decision = |body: usize| {
            let body = Bytes::from(vec![0; body]);
            Rc::new(RequestDecision::Answer(Answer { status: StatusCode::OK, fields: Vec::new(), body }))
        };
        table.keep(b"large", &decision(DECISION_BYTES_MAX));
        assert!(table.get(b"large").is_none());
        table.keep(&[0; INPUTS_BYTES_MAX + 1], &decision(1));
        assert_eq!(table.weight(), 0);
        for number in 0..10_000_u32 {
            table.keep(&number.to_le_bytes(), &decision(100));
            assert!(table.weight() <= TABLE_BYTES_MAX);
        }
        assert!(table.get(&9_999_u32.to_le_bytes()).is_some());
    }
}
