//! From what a database has to what it lacks: values in, items with SQL out.
//!
//! The replica identity is the least one that has the columns of the templates: the primary key, else a unique index, else the
//! whole row, which makes each UPDATE and DELETE write the old row into the WAL. What a table has already is left alone if it
//! will do. Column lists have what is needed and the identity, and nothing else, so that a change of any other column is a few
//! bytes for us.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::ddl;
use super::triggers::Fault;
use crate::catalogue::{Mapping, RowTemplate};
use crate::config::{FeedConfig, FeedSource};

/// Which knows numbers of transactions that do not come again.
const OLDEST: i32 = 130_000;
/// From which on a publication can have column lists.
const COLUMN_LISTS: i32 = 150_000;

#[derive(Debug, Clone)]
pub(super) struct Database {
    pub(super) server: Server,
    pub(super) tables: Vec<Found>,
    pub(super) publication: Option<Published>,
}

#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) version: i32,
    pub(super) wal_level: String,
    pub(super) free_slots: i32,
    pub(super) free_senders: i32,
    pub(super) role: String,
    pub(super) may_replicate: bool,
    pub(super) max_slot_wal_keep_size: String,
}

/// A table of the mapping, or a partition or child of one.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Of the mapping.
    pub(super) index: usize,
    pub(super) oid: u32,
    pub(super) is_root: bool,
    /// Quoted, with its schema.
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) is_logged: bool,
    pub(super) is_partition: bool,
    pub(super) identity: Identity,
    pub(super) columns: Vec<String>,
    /// Those that can be an identity.
    pub(super) indexes: Vec<Index>,
    /// By column with a foreign key: the columns of where it leads.
    pub(super) parents: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    Default,
    Index(String),
    Full,
    Nothing,
}

#[derive(Debug, Clone)]
pub(super) struct Index {
    pub(super) name: String,
    pub(super) is_primary: bool,
    pub(super) columns: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Published {
    /// Of all tables, or of schemas: not a list that could be compared.
    pub(super) is_open: bool,
    pub(super) is_via_root: bool,
    pub(super) has_all_kinds: bool,
    pub(super) members: Vec<Member>,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) oid: u32,
    pub(super) name: String,
    /// `None`: all.
    pub(super) columns: Option<BTreeSet<String>>,
    pub(super) has_filter: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Good,
    /// It works without, not as well.
    Advice,
    Missing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) state: State,
    pub(super) what: String,
    pub(super) sql: Vec<String>,
    /// Needs a restart, or rights that ours is no role to have.
    pub(super) is_by_hand: bool,
}

impl Item {
    fn good(what: impl Into<String>) -> Self {
        Self { state: State::Good, what: what.into(), sql: Vec::new(), is_by_hand: true }
    }

    fn by_hand(state: State, what: impl Into<String>, sql: &[&str]) -> Self {
        let sql = sql.iter().map(|sql| (*sql).to_owned()).collect();
        Self { state, what: what.into(), sql, is_by_hand: true }
    }

    fn missing(what: impl Into<String>, sql: String) -> Self {
        Self { state: State::Missing, what: what.into(), sql: vec![sql], is_by_hand: false }
    }
}

pub(super) fn items(database: &Database, feed: &FeedConfig, mapping: &Mapping) -> Vec<Item> {
    let mut items = server(&database.server, feed);
    let mut lists = Vec::new();
    for (index, (name, templates)) in mapping.iter().enumerate() {
        let of_table: Vec<&Found> = database.tables.iter().filter(|table| table.index == index).collect();
        let Some(root) = of_table.iter().find(|table| table.is_root) else {
            items.push(Item::by_hand(State::Missing, format!("there is no table {name}"), &[]));
            continue;
        };
        if !matches!(root.kind.as_str(), "r" | "p") {
            let why = format!(
                "{name} is no table, so that no change of it is ever told; name the tables behind it"
            );
            items.push(Item::by_hand(State::Missing, why, &[]));
            continue;
        }
        if let Some(table) = of_table.iter().find(|table| !table.is_logged) {
            let why =
                format!("{} is UNLOGGED or TEMPORARY, so that no change of it is ever told", table.name);
            items.push(Item::by_hand(State::Missing, why, &[]));
            continue;
        }
        for column in templates
            .iter()
            .flat_map(RowTemplate::columns)
            .filter(|column| !root.columns.iter().any(|known| known == column))
        {
            let why = format!("{name} has no column {column}");
            items.push(Item::by_hand(State::Missing, why, &[]));
        }
        for (column, other) in templates.iter().flat_map(RowTemplate::throughs) {
            if !root.parents.get(column).is_some_and(|known| known.contains(other)) {
                let why = format!(
                    "{{{column}.{other}}}: {name}.{column} has no foreign key to a table with a column {other}, so that each \
                     change of {name} is told by table:{name} alone"
                );
                items.push(Item::by_hand(State::Advice, why, &[]));
            }
        }
        let needed: BTreeSet<&str> = templates.iter().flat_map(RowTemplate::columns).collect();
        let mut list: Option<BTreeSet<String>> =
            Some(needed.iter().map(|column| (*column).to_owned()).collect());
        for table in of_table.iter().filter(|table| table.kind == "r") {
            let (item, identity) = identity(table, &needed);
            items.push(item);
            // What is in the identity has to be in the list, or the application's writes fail.
            list = match (list, identity) {
                (Some(mut list), Some(identity)) => {
                    list.extend(identity);
                    Some(list)
                }
                _ => None,
            };
        }
        let list = list.filter(|list| {
            database.server.version >= COLUMN_LISTS && list.iter().all(|column| root.columns.contains(column))
        });
        // A list of all columns is none.
        let list = list.filter(|list| !list.is_empty() && list.len() < root.columns.len());
        // Children that are no partitions are published by themselves.
        for table in of_table.iter().filter(|table| table.is_root || !table.is_partition) {
            lists.push((table.oid, table.name.clone(), list.clone()));
        }
    }
    items.push(publication(database, feed, &lists));
    items
}

/// With triggers there is nothing to weigh: all has to be as it is made here.
pub(super) fn by_triggers(faults: &[Fault], mapping: &Mapping) -> Vec<Item> {
    if faults.is_empty() {
        let tables: Vec<&str> = mapping.keys().map(String::as_str).collect();
        return vec![Item::good(format!("triggers note the changes of {}", tables.join(", ")))];
    }
    let item = |fault: &Fault| Item {
        state: State::Missing,
        what: fault.what.clone(),
        is_by_hand: fault.sql.is_empty(),
        sql: fault.sql.clone(),
    };
    faults.iter().map(item).collect()
}

/// It works without: then such a change is told with the next row that is written.
pub(super) fn of_tables_themselves(found: &ddl::Found, source: FeedSource) -> Item {
    if found.is_there(source) {
        return Item::good("event trigger larder_ddl tells of ALTER TABLE");
    }
    let what = "no event trigger tells of ALTER TABLE: until the next row is written, answers are as they were before it";
    let who = if found.may_be_made() { "" } else { " (it takes a superuser)" };
    Item {
        state: State::Advice,
        what: format!("{what}{who}"),
        sql: found.statements(source),
        is_by_hand: !found.may_be_made(),
    }
}

pub(super) fn triggers_of_before() -> Item {
    let why = "there are triggers of source = \"triggers\": writers pay for them, and nobody removes what they note";
    Item::by_hand(State::Advice, why, &["DROP SCHEMA larder CASCADE"])
}

fn server(server: &Server, feed: &FeedConfig) -> Vec<Item> {
    let mut items = Vec::new();
    if server.version < OLDEST {
        items.push(Item::by_hand(State::Missing, "the feed needs Postgres 13 or later", &[]));
    }
    items.push(if server.wal_level == "logical" {
        Item::good("wal_level is logical")
    } else {
        Item::by_hand(
            State::Missing,
            format!(
                "wal_level is {}: set it, and restart the server (where that cannot be: source = \"triggers\" under [feed])",
                server.wal_level
            ),
            &["ALTER SYSTEM SET wal_level = 'logical'"],
        )
    });
    // Ours may be one of those that are taken.
    for (count, name) in
        [(server.free_slots, "max_replication_slots"), (server.free_senders, "max_wal_senders")]
    {
        items.push(if count > 0 {
            Item::good(format!("{name}: {count} are free"))
        } else {
            Item::by_hand(
                State::Advice,
                format!(
                    "{name}: none is free, unless the feed has one already; a higher one needs a restart"
                ),
                &[],
            )
        });
    }
    items.push(if server.may_replicate {
        Item::good(format!("role {} may replicate", server.role))
    } else {
        let sql = format!("ALTER ROLE {} REPLICATION", quoted(&server.role));
        let what = format!("role {} may not replicate (Amazon RDS: GRANT rds_replication)", server.role);
        Item::by_hand(State::Missing, what, &[&sql])
    });
    if let Some(slot) = &feed.slot {
        items.push(if server.max_slot_wal_keep_size == "-1" {
            Item::by_hand(
                State::Advice,
                format!("nothing bounds the WAL that slot {slot} keeps while its worker is away: it can fill the disk"),
                &["ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'", "SELECT pg_reload_conf()"],
            )
        } else {
            Item::good(format!("slot {slot} keeps at most {} of WAL", server.max_slot_wal_keep_size))
        });
    }
    items
}

/// What there is to say, and the columns of the identity afterwards; `None`: the whole row.
fn identity(table: &Found, needed: &BTreeSet<&str>) -> (Item, Option<Vec<String>>) {
    let has = |columns: &[String]| needed.iter().all(|column| columns.iter().any(|known| known == column));
    let primary = table.indexes.iter().find(|index| index.is_primary);
    let name = &table.name;
    let now = match &table.identity {
        Identity::Default => primary.map(|index| &index.columns),
        Identity::Index(name) => {
            table.indexes.iter().find(|index| index.name == *name).map(|index| &index.columns)
        }
        Identity::Full => {
            return (Item::good(format!("{name}: its replica identity is the whole row")), None);
        }
        Identity::Nothing => None,
    };
    if let Some(columns) = now.filter(|columns| has(columns)) {
        let what = format!("{name}: its replica identity is ({})", columns.join(", "));
        return (Item::good(what), Some(columns.clone()));
    }
    let why = match now {
        Some(columns) => format!("({}), and tags need ({})", columns.join(", "), list(needed)),
        None => "none, so that its UPDATE and DELETE would fail once it is published".to_owned(),
    };
    let missing = |identity: &str, cost: &str| {
        let sql = format!("ALTER TABLE {name} REPLICA IDENTITY {identity}");
        Item::missing(format!("{name}: its replica identity is {why}{cost}"), sql)
    };
    if let Some(primary) = primary.filter(|index| has(&index.columns)) {
        return (missing("DEFAULT", ""), Some(primary.columns.clone()));
    }
    let fewest =
        table.indexes.iter().filter(|index| has(&index.columns)).min_by_key(|index| index.columns.len());
    if let Some(index) = fewest {
        return (missing(&format!("USING INDEX {}", index.name), ""), Some(index.columns.clone()));
    }
    let cost = format!(
        "; with FULL each UPDATE and DELETE writes the old row into the WAL (where that is too much: first a unique index of NOT \
         NULL columns, with {} among them)",
        list(needed)
    );
    (missing("FULL", &cost), None)
}

/// Tables, by number and name, and their column lists.
fn publication(
    database: &Database,
    feed: &FeedConfig,
    lists: &[(u32, String, Option<BTreeSet<String>>)],
) -> Item {
    let name = quoted(&feed.publication);
    let tables: Vec<String> = lists
        .iter()
        .map(|(_, table, list)| match list {
            Some(list) => {
                let list: Vec<String> = list.iter().map(|column| quoted(column)).collect();
                format!("{table} ({})", list.join(", "))
            }
            None => table.clone(),
        })
        .collect();
    let tables = tables.join(", ");
    const OPTIONS: &str = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";
    let Some(published) = &database.publication else {
        let what = format!("there is no publication {}", feed.publication);
        if tables.is_empty() {
            return Item::by_hand(State::Missing, what, &[]);
        }
        return Item::missing(what, format!("CREATE PUBLICATION {name} FOR TABLE {tables} WITH ({OPTIONS})"));
    };
    if published.is_open {
        let what = format!(
            "publication {} is of all tables, or of schemas: tables without a replica identity cannot be updated any more; \
             name another one under [feed]",
            feed.publication
        );
        return Item::by_hand(State::Missing, what, &[]);
    }
    let mut faults = Vec::new();
    if !published.is_via_root || !published.has_all_kinds {
        faults.push("it leaves out some changes".to_owned());
    }
    for (oid, table, list) in lists {
        match published.members.iter().find(|member| member.oid == *oid) {
            None => faults.push(format!("it does not have {table}")),
            Some(member) if member.has_filter => faults.push(format!("it leaves out rows of {table}")),
            Some(member) if member.columns != *list => {
                faults.push(format!("it has other columns of {table}"))
            }
            Some(_) => (),
        }
    }
    for member in published.members.iter().filter(|member| !lists.iter().any(|(oid, ..)| *oid == member.oid))
    {
        faults.push(format!("it has {}, which nobody asks for", member.name));
    }
    if faults.is_empty() {
        return Item::good(format!(
            "publication {} has the tables and columns that are needed",
            feed.publication
        ));
    }
    if tables.is_empty() {
        return Item::by_hand(
            State::Missing,
            format!("publication {}: {}", feed.publication, faults.join("; ")),
            &[],
        );
    }
    Item {
        sql: vec![
            format!("ALTER PUBLICATION {name} SET TABLE {tables}"),
            format!("ALTER PUBLICATION {name} SET ({OPTIONS})"),
        ],
        ..Item::missing(format!("publication {}: {}", feed.publication, faults.join("; ")), String::new())
    }
}

/// What can be done at once, in order.
pub(super) fn transaction(items: &[Item]) -> Vec<String> {
    let ours = items.iter().filter(|item| !item.is_by_hand);
    ours.flat_map(|item| item.sql.iter().cloned()).collect()
}

pub(super) fn show(items: &[Item]) -> String {
    let mut text = String::new();
    for item in items {
        let state = match item.state {
            State::Good => "ok",
            State::Advice => "advice",
            State::Missing => "missing",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {state:<8} {}", item.what);
        for sql in &item.sql {
            let _ = writeln!(text, "           {sql};{}", if item.is_by_hand { "  -- by hand" } else { "" });
        }
    }
    text
}

fn list(columns: &BTreeSet<&str>) -> String {
    columns.iter().copied().collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
