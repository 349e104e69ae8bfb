//! One transaction from its rows to its tags.
//!
//! What cannot be told row by row is told by `table:NAME`: too many rows, TRUNCATE, another shape of the table than before, a
//! value that the WAL does not have. A tag that needs a look-up is kept half made. Everything has a bound, and reaching it tells
//! too much, never too little. Knows no connection. Read next: `feed/parents.rs` for the look-ups.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::decode::{Message, Old, Relation, Value};
use crate::catalogue::tags::{MAX_TAG_BYTES, push_escaped};
use crate::catalogue::{Mapping, RowPiece, RowTemplate, table_name, table_tag};

/// Of a commit, beyond which only tables are told.
pub(super) const MAX_TAGS: usize = 10_000;
/// Together, so that a line is not longer than a listener takes.
const MAX_TAGS_BYTES: usize = 400 * 1024;
/// Partitions and children of all tables of a mapping.
const MAX_RELATIONS: usize = 100_000;
/// The type whose text form is not that of an answer's tags.
const BOOL: u32 = 16;

/// The tables of a mapping as the database has them.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) all: Vec<Table>,
    /// Themselves, their partitions and children.
    pub(super) by_oid: HashMap<u32, usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Table {
    /// As it is declared.
    pub(super) name: String,
    pub(super) templates: Vec<RowTemplate>,
}

impl Tables {
    pub(super) fn of(mapping: &Mapping) -> Self {
        let all = mapping
            .iter()
            .map(|(name, templates)| Table { name: name.clone(), templates: templates.clone() });
        Self { all: all.collect(), by_oid: HashMap::new() }
    }
}

impl Tables {
    /// # Errors
    /// A part was dropped, or taken away, and its rows with it: nobody has told of them.
    pub(super) fn has_all_of(&self, now: &Tables) -> Result<(), Senseless> {
        match self.by_oid.keys().all(|oid| now.by_oid.contains_key(oid)) {
            true => Ok(()),
            false => Err(Senseless("a table lost a partition or child")),
        }
    }
}

/// The shapes of tables as the stream has told them.
#[derive(Debug, Default)]
pub(super) struct Relations(HashMap<u32, Known>);

#[derive(Debug)]
struct Known {
    relation: Relation,
    /// Among those of the mapping; `None`: it is not of it.
    table: Option<usize>,
}

/// A transaction under way.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) xid: u32,
    pub(super) committed_at: i64,
    /// By their place in the mapping.
    tables: BTreeMap<usize, Touched>,
    tags: usize,
    bytes: usize,
}

/// What it did to one table.
#[derive(Debug, Default)]
struct Touched {
    rows: usize,
    /// Nothing but the table is told.
    is_whole: bool,
    tags: BTreeSet<Tag>,
}

/// A tag, whole or with values that are still to be looked up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tag {
    Whole(String),
    Half(Vec<Part>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Text(String),
    Parent(Parent),
}

/// A value of a row that another one names by its foreign key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Parent {
    pub(super) table: usize,
    pub(super) column: String,
    pub(super) other: String,
    /// What the column has.
    pub(super) key: String,
}

/// The stream does not make sense: whoever reads on would miss something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream does not make sense: {0}")]
pub(super) struct Senseless(pub(super) &'static str);

/// One side of a change, old or new.
#[derive(Clone, Copy)]
struct Row<'r, 'b> {
    relation: &'r Relation,
    values: &'r [Value<'b>],
    /// Whether only the columns of the identity are there.
    is_key: bool,
    /// Where a value is that did not change.
    unchanged: Option<&'r [Value<'b>]>,
}

/// The WAL does not have a value.
struct Missing;

impl Transaction {
    pub(super) fn new(xid: u32, committed_at: i64) -> Self {
        Self { xid, committed_at, tables: BTreeMap::new(), tags: 0, bytes: 0 }
    }

    /// Takes in one message between its beginning and its end.
    pub(super) fn take(
        &mut self,
        message: Message<'_>,
        tables: &Tables,
        relations: &mut Relations,
        max_rows: usize,
    ) -> Result<(), Senseless> {
        match message {
            Message::Relation(relation) => {
                if let Some(table) = relations.learn(relation, tables)? {
                    self.whole(table);
                }
            }
            Message::Insert { relation, new } => {
                let known = relations.get(relation)?;
                self.change(known, None, Some(&new), tables, max_rows);
            }
            Message::Update { relation, old, new } => {
                let known = relations.get(relation)?;
                let old = old.as_ref().map(|(kind, values)| (*kind, values.as_slice()));
                // Without an old row those of the identity are as they were, and nobody knows of the others.
                let old = old.unwrap_or((Old::Key, &new));
                self.change(known, Some(old), Some(&new), tables, max_rows);
            }
            Message::Delete { relation, old: (kind, values) } => {
                let known = relations.get(relation)?;
                self.change(known, Some((kind, &values)), None, tables, max_rows);
            }
            Message::Truncate { relations: all } => {
                for relation in all {
                    relations.table(relation, tables).into_iter().for_each(|table| self.whole(table));
                }
            }
            Message::Altered { relation } => {
                relations.table(relation, tables).into_iter().for_each(|table| self.whole(table));
            }
            Message::Other => (),
            Message::Begin { .. } | Message::Commit { .. } => {
                return Err(Senseless("a transaction in another one"));
            }
        }
        Ok(())
    }

    /// A row of which only the table is known.
    pub(super) fn take_long(&mut self, relation: u32, relations: &Relations) -> Result<(), Senseless> {
        let table = relations.get(relation)?.table;
        table.into_iter().for_each(|table| self.whole(table));
        Ok(())
    }

    /// The table is told, and nothing else of it.
    pub(super) fn whole(&mut self, table: usize) {
        let touched = self.tables.entry(table).or_default();
        touched.is_whole = true;
        for tag in std::mem::take(&mut touched.tags) {
            self.tags -= 1;
            self.bytes -= tag.size();
        }
    }

    fn change(
        &mut self,
        known: &Known,
        old: Option<(Old, &[Value<'_>])>,
        new: Option<&[Value<'_>]>,
        tables: &Tables,
        max_rows: usize,
    ) {
        let Some(index) = known.table else { return };
        let Some(table) = tables.all.get(index) else { return };
        let touched = self.tables.entry(index).or_default();
        touched.rows += 1;
        if touched.is_whole {
            return;
        }
        if touched.rows > max_rows {
            return self.whole(index);
        }
        let relation = &known.relation;
        let of_old =
            old.map(|(kind, values)| Row { relation, values, is_key: kind == Old::Key, unchanged: None });
        let old_row = old.filter(|(kind, _)| *kind == Old::Row).map(|(_, values)| values);
        let of_new = new.map(|values| Row { relation, values, is_key: false, unchanged: old_row });
        for row in of_old.into_iter().chain(of_new) {
            for template in &table.templates {
                match tag(template, index, row) {
                    Ok(Some(tag)) => self.add(index, tag),
                    // An answer without the value does not have the tag either.
                    Ok(None) => (),
                    Err(Missing) => return self.whole(index),
                }
            }
        }
    }

    fn add(&mut self, table: usize, tag: Tag) {
        let size = tag.size();
        let touched = self.tables.entry(table).or_default();
        if touched.is_whole || !touched.tags.insert(tag) {
            return;
        }
        self.tags += 1;
        self.bytes += size;
        if self.tags > MAX_TAGS || self.bytes > MAX_TAGS_BYTES {
            let all: Vec<usize> = self.tables.keys().copied().collect();
            all.into_iter().for_each(|table| self.whole(table));
        }
    }

    /// The tables of the mapping that it changed.
    pub(super) fn touched(&self) -> impl Iterator<Item = usize> {
        self.tables.keys().copied()
    }

    /// All that has to be looked up.
    pub(super) fn parents(&self) -> BTreeSet<Parent> {
        let tags = self.tables.values().flat_map(|touched| &touched.tags);
        let parts = tags.filter_map(|tag| match tag {
            Tag::Whole(_) => None,
            Tag::Half(parts) => Some(parts),
        });
        let parent = |part: &Part| match part {
            Part::Text(_) => None,
            Part::Parent(parent) => Some(parent.clone()),
        };
        parts.flatten().filter_map(parent).collect()
    }

    /// Its tags. `found`: what a parent has, with `None` for NULL; what is not in it could not be found.
    pub(super) fn tags(mut self, found: &HashMap<Parent, Option<String>>, tables: &Tables) -> Vec<String> {
        let indexes: Vec<usize> = self.tables.keys().copied().collect();
        for index in indexes {
            let Some(touched) = self.tables.get_mut(&index) else { continue };
            let halves: Vec<Tag> =
                touched.tags.iter().filter(|tag| matches!(tag, Tag::Half(_))).cloned().collect();
            for half in halves {
                let Tag::Half(parts) = &half else { continue };
                let made = make(parts, found);
                if let Some(touched) = self.tables.get_mut(&index)
                    && touched.tags.remove(&half)
                {
                    self.tags -= 1;
                    self.bytes -= half.size();
                }
                match made {
                    Ok(Some(tag)) => self.add(index, Tag::Whole(tag)),
                    Ok(None) => (),
                    Err(Missing) => self.whole(index),
                }
            }
        }
        let mut all = BTreeSet::new();
        for (index, touched) in self.tables {
            if touched.is_whole {
                all.extend(tables.all.get(index).map(|table| table_tag(&table.name)));
            }
            let whole = |tag| match tag {
                Tag::Whole(tag) => Some(tag),
                Tag::Half(_) => None,
            };
            all.extend(touched.tags.into_iter().filter_map(whole));
        }
        all.into_iter().collect()
    }
}

impl Relations {
    fn get(&self, oid: u32) -> Result<&Known, Senseless> {
        self.0.get(&oid).ok_or(Senseless("a row of a table of which nothing was said"))
    }

    /// It may be the first that is heard of it.
    fn table(&self, oid: u32, tables: &Tables) -> Option<usize> {
        match self.0.get(&oid) {
            Some(known) => known.table,
            None => tables.by_oid.get(&oid).copied(),
        }
    }

    pub(super) fn knows(&self, relation: &Relation) -> bool {
        self.0.contains_key(&relation.oid)
    }

    /// Gives the table if it had another shape before.
    fn learn(&mut self, relation: Relation, tables: &Tables) -> Result<Option<usize>, Senseless> {
        let by_name = || {
            let name = table_name(&relation.schema, &relation.name);
            tables.all.iter().position(|table| table.name == name)
        };
        let table = tables.by_oid.get(&relation.oid).copied().or_else(by_name);
        let before = self.0.get(&relation.oid);
        let has_changed = before.is_some_and(|before| before.relation != relation);
        if before.is_none() && self.0.len() >= MAX_RELATIONS {
            return Err(Senseless("more tables than anyone has"));
        }
        self.0.insert(relation.oid, Known { relation, table });
        Ok(table.filter(|_| has_changed))
    }
}

impl Tag {
    /// In a line of JSON, at most; a half one may become as long as a tag can be.
    fn size(&self) -> usize {
        match self {
            Self::Whole(tag) => {
                tag.len() + tag.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count() + 3
            }
            Self::Half(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.len(),
                    Part::Parent(parent) => parent.column.len() + parent.other.len() + parent.key.len(),
                })
                .sum(),
        }
    }
}

impl<'b> Row<'_, 'b> {
    fn value(&self, name: &str) -> Result<Option<(&'b str, u32)>, Missing> {
        let position = self.relation.columns.iter().position(|column| column.name == name).ok_or(Missing)?;
        let column = self.relation.columns.get(position).ok_or(Missing)?;
        // Where the identity is the whole row, the whole row comes.
        if self.is_key && (!column.is_key || self.relation.identity == b'f') {
            return Err(Missing);
        }
        let value = match self.values.get(position).ok_or(Missing)? {
            Value::Unchanged => self.unchanged.and_then(|old| old.get(position)).ok_or(Missing)?,
            value @ (Value::Null | Value::Text(_)) => value,
        };
        match value {
            Value::Null => Ok(None),
            Value::Unchanged => Err(Missing),
            Value::Text(text) => Ok(Some((std::str::from_utf8(text).map_err(|_| Missing)?, column.kind))),
        }
    }
}

/// `None` where a value is NULL, or where no answer can have the tag because it is too long.
fn tag(template: &RowTemplate, table: usize, row: Row<'_, '_>) -> Result<Option<Tag>, Missing> {
    let mut parts = Vec::new();
    let mut text = String::new();
    for piece in &template.pieces {
        match piece {
            RowPiece::Literal(literal) => text.push_str(literal),
            RowPiece::Column(name) => {
                let Some((value, kind)) = row.value(name)? else { return Ok(None) };
                push_escaped(as_in_answers(value, kind), &mut text);
            }
            RowPiece::Through { column, other } => {
                let Some((key, _)) = row.value(column)? else { return Ok(None) };
                if key.len() > MAX_TAG_BYTES {
                    return Err(Missing);
                }
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                let (column, other) = (column.clone(), other.clone());
                parts.push(Part::Parent(Parent { table, column, other, key: key.to_owned() }));
            }
        }
    }
    if parts.is_empty() {
        return Ok((text.len() <= MAX_TAG_BYTES).then_some(Tag::Whole(text)));
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    let length = |part: &Part| match part {
        Part::Text(text) => text.len(),
        Part::Parent(_) => 0,
    };
    Ok((parts.iter().map(length).sum::<usize>() <= MAX_TAG_BYTES).then_some(Tag::Half(parts)))
}

fn make(parts: &[Part], found: &HashMap<Parent, Option<String>>) -> Result<Option<String>, Missing> {
    let mut tag = String::new();
    for part in parts {
        match part {
            Part::Text(text) => tag.push_str(text),
            Part::Parent(parent) => match found.get(parent).ok_or(Missing)? {
                Some(value) => push_escaped(value, &mut tag),
                None => return Ok(None),
            },
        }
    }
    Ok((tag.len() <= MAX_TAG_BYTES).then_some(tag))
}

/// Tags of answers are made from binary values: there a bool is a word.
pub(super) fn as_in_answers(value: &str, kind: u32) -> &str {
    match (kind, value) {
        (BOOL, "t") => "true",
        (BOOL, "f") => "false",
        _ => value,
    }
}

#[cfg(test)]
mod tests;
