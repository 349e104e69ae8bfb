//! What the follower asks the primary beside the stream, on a connection of its own: what it shows, who names whom, and whether
//! the publication still has all that it has to have.
//!
//! The two connections could lead to two servers (a name that moved, a pooler). So each answer says of which server and
//! timeline it is, and one of another is none. Read next: `feed/parents.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::mapping::qualified;
use super::position::Position;
use super::snapshot::Snapshot;
use super::transaction::Tables;
use crate::config::Purpose;
use crate::database::Target;
use crate::error::chain;

/// Of a question. The stream waits for the answer to some.
const PATIENCE: Duration = Duration::from_secs(2);

/// The snapshot is taken before the functions run: whatever has ended in it is in the WAL before the position. On a standby
/// this fails.
pub(super) const LOOK: &str = "SELECT (SELECT system_identifier FROM pg_control_system())::text, \
    ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4, \
    pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text, pg_current_wal_flush_lsn()::text";
/// Takes a number, so that every transaction that has one by now has a lower one. (The `xmax` of a snapshot would not do: the
/// transaction that is in the WAL and not yet visible can have that very number.)
const NEXT_XID: &str = "SELECT pg_current_xact_id()::text";

/// Which tables the names are, with their partitions and children, and whether the publication has them. A column that not all
/// versions have is read through JSON.
const RELATIONS: &str = "WITH RECURSIVE tree AS ( \
        SELECT u.n::int4 AS n, c.oid FROM unnest($1::text[], $2::text[]) WITH ORDINALITY u(s, t, n) \
        JOIN pg_namespace ns ON ns.nspname = u.s JOIN pg_class c ON c.relnamespace = ns.oid AND c.relname = u.t \
      UNION \
        SELECT tree.n, i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid) \
    SELECT tree.n, c.oid, c.relkind::text, c.relpersistence::text, c.relispartition, \
           quote_ident(ns.nspname) || '.' || quote_ident(c.relname), \
           p.tablename IS NOT NULL, to_jsonb(p) ->> 'rowfilter' IS NOT NULL, \
           c.relreplident::text \
    FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace ns ON ns.oid = c.relnamespace \
    LEFT JOIN pg_publication_tables p \
      ON p.pubname = $3 AND p.schemaname = ns.nspname AND p.tablename = c.relname";
const PUBLICATION: &str = "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot \
    FROM pg_publication WHERE pubname = $1";
/// Foreign keys of one column, what they lead to, and which columns are there.
const FOREIGN_KEYS: &str = "SELECT con.conrelid, a.attname::text, con.confrelid, \
        quote_ident(ns.nspname) || '.' || quote_ident(c.relname), quote_ident(k.attname), \
        format_type(k.atttypid, k.atttypmod), \
        ARRAY(SELECT attname::text FROM pg_attribute o \
              WHERE o.attrelid = c.oid AND o.attnum > 0 AND NOT o.attisdropped) \
    FROM pg_constraint con \
    JOIN pg_class c ON c.oid = con.confrelid JOIN pg_namespace ns ON ns.oid = c.relnamespace \
    JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = con.conkey[1] \
    JOIN pg_attribute k ON k.attrelid = con.confrelid AND k.attnum = con.confkey[1] \
    WHERE con.contype = 'f' AND cardinality(con.conkey) = 1 AND con.conrelid = ANY($1) \
    ORDER BY con.conname";

const RETAINED: &str = "SELECT coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::int8 \
    FROM pg_replication_slots WHERE slot_name = $1";

#[derive(Debug, thiserror::Error)]
pub(super) enum PrimaryError {
    #[error("{0}")]
    Database(String),
    #[error("no answer in time")]
    Silent,
    #[error("another server answers, or the same one in another life")]
    Another,
    /// What an operator has to do.
    #[error("{}", .0.join("; "))]
    NotReady(Vec<String>),
}

impl From<tokio_postgres::Error> for PrimaryError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(chain(&error))
    }
}

/// The server that the account is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) system: String,
    pub(super) timeline: u32,
}

/// What it shows, and a position that all is before which has ended in it.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) text: Arc<str>,
    pub(super) snapshot: Snapshot,
    pub(super) position: Position,
    /// All of the WAL up to here can be told.
    pub(super) flushed: Position,
}

/// Where a column's foreign key leads.
#[derive(Debug, Clone)]
pub(super) struct ForeignKey {
    /// Quoted, with its schema.
    pub(super) table: String,
    pub(super) oid: u32,
    pub(super) column: String,
    pub(super) kind: String,
    pub(super) columns: Vec<String>,
}

/// By table of the mapping and column.
pub(super) type ForeignKeys = HashMap<(usize, String), Vec<ForeignKey>>;

impl ForeignKey {
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known == column)
    }
}

pub(super) async fn connect(target: &Target, limit: Duration) -> Result<Arc<Client>, PrimaryError> {
    let opening = target.open(Purpose::Reads(PATIENCE), limit);
    let opened = timeout(limit * 2, opening).await.map_err(|_| PrimaryError::Silent)??;
    Ok(Arc::new(opened.client))
}

pub(super) async fn look(client: &Client, identity: &Identity) -> Result<Look, PrimaryError> {
    read_look(&row_of_look(client).await?, identity)
}

/// Where no stream says it.
pub(super) async fn identity(client: &Client) -> Result<Identity, PrimaryError> {
    read_identity(&row_of_look(client).await?)
}

async fn row_of_look(client: &Client) -> Result<Row, PrimaryError> {
    let rows = timeout(PATIENCE, client.query_typed(LOOK, &[])).await.map_err(|_| PrimaryError::Silent)??;
    rows.into_iter().next().ok_or(PrimaryError::Another)
}

fn read_identity(row: &Row) -> Result<Identity, PrimaryError> {
    let timeline = u32::try_from(row.try_get::<_, i32>(1)?).unwrap_or(0);
    Ok(Identity { system: row.try_get(0)?, timeline })
}

/// The columns of [`LOOK`], which may be followed by others.
pub(super) fn read_look(row: &Row, identity: &Identity) -> Result<Look, PrimaryError> {
    if read_identity(row)? != *identity {
        return Err(PrimaryError::Another);
    }
    let text: &str = row.try_get(2)?;
    let unreadable = || PrimaryError::Database(format!("{text:?} is no snapshot"));
    let snapshot = Snapshot::parse(text).ok_or_else(unreadable)?;
    let position = |index: usize| {
        let text: &str = row.try_get(index)?;
        text.parse().map_err(|why| PrimaryError::Database(format!("{text:?} {why}")))
    };
    Ok(Look { text: text.into(), snapshot, position: position(3)?, flushed: end_of_record(position(4)?) })
}

/// A position at the beginning of a page can be behind the head of the page, where no record ends.
fn end_of_record(position: Position) -> Position {
    const PAGE: u64 = 8192;
    const LONGEST_HEAD: u64 = 40;
    let in_page = position.0 % PAGE;
    if in_page <= LONGEST_HEAD { Position(position.0 - in_page) } else { position }
}

pub(super) async fn next_xid(client: &Client) -> Result<u64, PrimaryError> {
    let rows =
        timeout(PATIENCE, client.query_typed(NEXT_XID, &[])).await.map_err(|_| PrimaryError::Silent)??;
    let text: &str = rows.first().ok_or(PrimaryError::Another)?.try_get(0)?;
    text.parse().map_err(|_| PrimaryError::Database(format!("{text:?} is no transaction")))
}

/// Whether pgoutput passes on what was written into the WAL for others.
pub(super) async fn has_messages(client: &Client) -> Result<bool, PrimaryError> {
    let sql = "SELECT current_setting('server_version_num')::int4 >= 140000";
    let rows = timeout(PATIENCE, client.query_typed(sql, &[])).await.map_err(|_| PrimaryError::Silent)??;
    Ok(rows.first().ok_or(PrimaryError::Another)?.try_get(0)?)
}

/// Bytes of WAL that a slot keeps.
pub(super) async fn retained(client: &Client, slot: &str) -> Result<u64, PrimaryError> {
    let rows = client.query_typed(RETAINED, &[(&slot, Type::TEXT)]).await?;
    let bytes = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose()?;
    Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
}

/// Finds the tables of a mapping.
///
/// # Errors
/// Everything for which changes could be missed without a word.
pub(super) async fn find_tables(
    client: &Client,
    publication: &str,
    tables: &mut Tables,
) -> Result<(), PrimaryError> {
    let mut faults = Vec::new();
    let rows = client.query_typed(PUBLICATION, &[(&publication, Type::TEXT)]).await?;
    let Some(row) = rows.first() else {
        return Err(PrimaryError::NotReady(vec![format!("there is no publication {publication}")]));
    };
    if !row.try_get::<_, bool>(0)? {
        faults.push(format!("publication {publication} leaves out some of insert, update, delete, truncate"));
    }
    let is_via_root: bool = row.try_get(1)?;
    let names = || tables.all.iter().map(|table| qualified(&table.name));
    let (schemas, relations): (Vec<&str>, Vec<&str>) = names().unzip();
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&schemas, Type::TEXT_ARRAY), (&relations, Type::TEXT_ARRAY), (&publication, Type::TEXT)];
    let rows = client.query_typed(RELATIONS, &parameters).await?;
    let mut by_oid = HashMap::new();
    let mut is_there = vec![false; tables.all.len()];
    for row in &rows {
        let number = usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or(0);
        let Some(index) = number.checked_sub(1).filter(|index| *index < tables.all.len()) else { continue };
        if let Some(is_there) = is_there.get_mut(index) {
            *is_there = true;
        }
        let (kind, persistence): (&str, &str) = (row.try_get(2)?, row.try_get(3)?);
        let (is_partition, name): (bool, &str) = (row.try_get(4)?, row.try_get(5)?);
        by_oid.insert(row.try_get::<_, u32>(1)?, index);
        match (kind, persistence) {
            ("r" | "p", "p") => (),
            ("r" | "p", _) => {
                faults.push(format!("{name} is not logged, so that no change of it is ever told"))
            }
            _ => faults.push(format!(
                "{name} is no table, so that no change of it is ever told: name the tables behind it"
            )),
        }
        if kind == "p" && !is_via_root {
            faults.push(format!(
                "publication {publication} lacks publish_via_partition_root, which {name} needs"
            ));
        }
        // A partition is told as its root.
        if !is_partition && !row.try_get::<_, bool>(6)? && matches!(kind, "r" | "p") {
            faults.push(format!("publication {publication} does not have {name}"));
        }
        if row.try_get::<_, bool>(7)? {
            faults.push(format!("publication {publication} leaves out rows of {name}"));
        }
    }
    for (table, _) in tables.all.iter().zip(&is_there).filter(|(_, is_there)| !**is_there) {
        faults.push(format!("there is no table {}", table.name));
    }
    tables.by_oid = by_oid;
    if faults.is_empty() { Ok(()) } else { Err(PrimaryError::NotReady(faults)) }
}

pub(super) async fn foreign_keys(client: &Client, tables: &Tables) -> Result<ForeignKeys, PrimaryError> {
    let needs = |index: &usize| {
        let table = tables.all.get(*index);
        table.is_some_and(|table| table.templates.iter().any(|template| template.throughs().next().is_some()))
    };
    let oids: Vec<u32> =
        tables.by_oid.iter().filter(|(_, index)| needs(index)).map(|(oid, _)| *oid).collect();
    let mut found = ForeignKeys::new();
    if oids.is_empty() {
        return Ok(found);
    }
    for row in client.query_typed(FOREIGN_KEYS, &[(&oids, Type::OID_ARRAY)]).await? {
        let Some(index) = tables.by_oid.get(&row.try_get::<_, u32>(0)?) else { continue };
        let key = ForeignKey {
            oid: row.try_get(2)?,
            table: row.try_get(3)?,
            column: row.try_get(4)?,
            kind: row.try_get(5)?,
            columns: row.try_get(6)?,
        };
        found.entry((*index, row.try_get(1)?)).or_default().push(key);
    }
    Ok(found)
}
