//! What a row names by a foreign key, as it was when the transaction was committed: looked up on the primary, now, and believed
//! only where it is proven to be the same.
//!
//! Now is later. The parent may have changed since (the tag would be one that no answer of before has), or a change from before
//! may not be visible yet (the tag would be one of before). Either would leave an answer in a cache that lacks this event. A row
//! is what it was at a commit if
//! - whoever made this version of it had ended in a snapshot that was taken before the commit was in the WAL, or is a
//!   transaction that the stream has told up to here: nobody changed it since; and
//! - all transactions that the stream has told up to here, and that changed its table, are visible to the look-up: no version
//!   of before is taken for it.
//!
//! What is not proven is told by `table:NAME`. What is proven stays so until the stream tells of a change of the parent's table: so
//! a hot parent is looked up once, and not for each row that names it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::position::{Position, widen};
use super::primary::{ForeignKey, ForeignKeys, Look, PrimaryError};
use super::snapshot::Snapshot;
use super::transaction::{Parent, Tables, Transaction};

/// Looks at the primary that are remembered: the newest is often from after the commit.
const MAX_LOOKS: usize = 8;
/// Transactions that are remembered. A look comes several times a second.
const MAX_RECENT: usize = 16_384;
/// Parents that are not looked up again.
const MAX_UNCHANGED: usize = 16_384;
/// A version this far beyond all transactions is one from long before, with a number that came round.
const ANCIENT: u64 = 1 << 30;

/// What is known of transactions of late.
#[derive(Debug, Default)]
pub(super) struct Recent {
    looks: VecDeque<Look>,
    /// In the order of the WAL: the transaction, and the tables of the mapping that it changed.
    commits: VecDeque<(u64, Vec<usize>)>,
    /// The highest of those that are not remembered any more, or that were before the account.
    forgotten: u64,
}

impl Recent {
    /// Of an account, before which transactions have numbers below this one.
    pub(super) fn new(first: u64) -> Self {
        Self { forgotten: first, ..Self::default() }
    }

    pub(super) fn look(&mut self, look: Look) {
        // What every later look sees as ended need not be remembered.
        if let Some(oldest) = self.looks.front() {
            let xmin = oldest.snapshot.xmin;
            while self.commits.front().is_some_and(|(xid, _)| *xid < xmin) {
                self.commits.pop_front();
            }
        }
        if self.looks.len() == MAX_LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(look);
    }

    pub(super) fn commit(&mut self, xid: u64, transaction: &Transaction) {
        if self.commits.len() == MAX_RECENT
            && let Some((xid, _)) = self.commits.pop_front()
        {
            self.forgotten = self.forgotten.max(xid + 1);
        }
        self.commits.push_back((xid, transaction.touched().collect()));
    }

    /// The newest look from before a commit; all that could be forgotten has ended in it.
    fn before(&self, end: Position) -> Option<&Snapshot> {
        let look = self.looks.iter().rev().find(|look| look.position <= end)?;
        (look.snapshot.xmin >= self.forgotten).then_some(&look.snapshot)
    }

    /// Whether a version of a row, as a look-up sees it now, is from before a look, or from a commit that was told.
    fn is_of_before(&self, version: u32, before: &Snapshot, told: &HashSet<u64>) -> bool {
        let xid = widen(version, before.xmax);
        // 1 and 2 are those of the beginning.
        version < 3 || xid > before.xmax + ANCIENT || before.has_ended(xid) || told.contains(&xid)
    }

    /// Whether a look-up sees all that was told of a table of the mapping.
    fn shows_all(&self, table: usize, now: &Snapshot) -> bool {
        self.commits.iter().all(|(told, tables)| !tables.contains(&table) || now.has_ended(*told))
    }
}

/// What parents had at the last commit that asked for them, by their tables: nothing has changed there since. Of a table that is
/// not of the mapping that is not known, and nothing is kept.
#[derive(Debug, Default)]
pub(super) struct Unchanged {
    tables: HashMap<usize, HashMap<Parent, Option<String>>>,
    count: usize,
}

impl Unchanged {
    /// To be called with what a transaction changed, before it is asked what its parents have.
    pub(super) fn forget(&mut self, changed: impl Iterator<Item = usize>) {
        for table in changed {
            self.count -= self.tables.remove(&table).map_or(0, |parents| parents.len());
        }
    }

    pub(super) fn get(&self, parent: &Parent) -> Option<&Option<String>> {
        self.tables.values().find_map(|parents| parents.get(parent))
    }

    pub(super) fn keep(
        &mut self,
        found: &HashMap<Parent, Option<String>>,
        keys: &ForeignKeys,
        tables: &Tables,
    ) {
        for (parent, value) in found {
            let key = keys.get(&(parent.table, parent.column.clone()));
            let key = key.and_then(|all| all.iter().find(|key| key.has(&parent.other)));
            let Some(table) = key.and_then(|key| tables.by_oid.get(&key.oid)) else { continue };
            if self.count >= MAX_UNCHANGED {
                *self = Self::default();
            }
            let of_table = self.tables.entry(*table).or_default();
            self.count += usize::from(of_table.insert(parent.clone(), value.clone()).is_none());
        }
    }
}

/// Looks all of a transaction's parents up, a statement for each table and column. What is not in the answer was not found, or
/// is not proven.
pub(super) async fn find(
    client: &Client,
    wanted: BTreeSet<Parent>,
    keys: &ForeignKeys,
    tables: &Tables,
    recent: &Recent,
    end: Position,
) -> Result<HashMap<Parent, Option<String>>, PrimaryError> {
    let mut found = HashMap::new();
    let Some(before) = recent.before(end) else { return Ok(found) };
    let mut groups: BTreeMap<(usize, String, String), Vec<Parent>> = BTreeMap::new();
    for parent in wanted {
        let group = (parent.table, parent.column.clone(), parent.other.clone());
        groups.entry(group).or_default().push(parent);
    }
    let told: HashSet<u64> = recent.commits.iter().map(|(xid, _)| *xid).collect();
    for ((table, column, other), parents) in groups {
        let Some(all) = keys.get(&(table, column)) else { continue };
        let Some(key) = all.iter().find(|key| key.has(&other)) else { continue };
        let values: Vec<&str> = parents.iter().map(|parent| parent.key.as_str()).collect();
        let sql = statement(key, &other);
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&values, Type::TEXT_ARRAY)];
        let rows = client.query_typed(&sql, &parameters).await?;
        let Some(row) = rows.first() else { continue };
        // The same in all rows.
        let Some(now) = Snapshot::parse(row.try_get(3)?) else { continue };
        // Of a table that is not of the mapping nobody wants to know when it changes.
        if tables.by_oid.get(&key.oid).is_some_and(|table| !recent.shows_all(*table, &now)) {
            continue;
        }
        for row in &rows {
            let number = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0);
            let Some(parent) = number.checked_sub(1).and_then(|index| parents.get(index)) else { continue };
            let value: Option<&str> = row.try_get(1)?;
            let version = row.try_get::<_, &str>(2)?.parse();
            if version.is_ok_and(|version| recent.is_of_before(version, before, &told)) {
                found.insert(parent.clone(), value.map(str::to_owned));
            }
        }
    }
    Ok(found)
}

fn statement(key: &ForeignKey, other: &str) -> String {
    let ForeignKey { table, column, kind, .. } = key;
    // Names of columns in templates need no quotes, but may be words of SQL.
    format!(
        "SELECT u.n, p.\"{other}\"::text, p.xmin::text, pg_current_snapshot()::text \
         FROM unnest($1::text[]) WITH ORDINALITY u(v, n) JOIN {table} p ON p.{column} = u.v::{kind}"
    )
}

#[cfg(test)]
mod tests;
