//! `larder-origin feed setup`: what the database needs for the feed, what of it is there, and the SQL for the rest. Changes nothing
//! unless it is told to; run again, it finds nothing to do.
//!
//! Two things must never happen here: that the application's own writes fail (a published table needs a replica identity for
//! UPDATE and DELETE, and a column list has to have all of it), and that a change is told too late because half of this is in
//! force. So the tables' identities and the publication change in one transaction. Read next: `feed/setup/plan.rs`, which
//! decides and asks nothing.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use self::plan::{Database, Found, Identity, Index, Item, Member, Published, Server, State};
use super::mapping::{qualified, union};
use super::transaction::Tables;
use super::{ddl, triggers};
use crate::catalogue::{Catalogue, Mapping};
use crate::config::{Config, FeedConfig, FeedSource};
use crate::migrate;
use crate::{Exit, print};

mod plan;

/// The application's statements do not wait behind us for longer.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '5s'";

/// Writers pay for them, and nobody removes what they note.
const TRIGGERS_OF_BEFORE: &str = "SELECT to_regclass('larder.changes') IS NOT NULL";
const SERVER: &str = "SELECT current_setting('server_version_num')::int4, current_setting('wal_level'), \
    current_setting('max_replication_slots')::int4 - (SELECT count(*) FROM pg_replication_slots)::int4, \
    current_setting('max_wal_senders')::int4 - (SELECT count(*) FROM pg_stat_replication)::int4, \
    current_user::text, \
    (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user) \
      OR coalesce((SELECT pg_has_role(current_user, oid, 'member') FROM pg_roles WHERE rolname = 'rds_replication'), false), \
    current_setting('max_slot_wal_keep_size')";
const TABLES: &str = "WITH RECURSIVE tree AS ( \
        SELECT u.n::int4 AS n, c.oid, true AS is_root FROM unnest($1::text[], $2::text[]) WITH ORDINALITY u(s, t, n) \
        JOIN pg_namespace ns ON ns.nspname = u.s JOIN pg_class c ON c.relnamespace = ns.oid AND c.relname = u.t \
      UNION \
        SELECT tree.n, i.inhrelid, false FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid) \
    SELECT tree.n, c.oid, tree.is_root, quote_ident(ns.nspname) || '.' || quote_ident(c.relname), \
           c.relkind::text, c.relpersistence::text, c.relispartition, c.relreplident::text, \
           ARRAY(SELECT attname::text FROM pg_attribute a \
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY attnum) \
    FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace ns ON ns.oid = c.relnamespace ORDER BY tree.n, c.oid";
/// Those that can be an identity: all rows, at once, without expressions, without NULL.
const INDEXES: &str = "SELECT i.indrelid, quote_ident(c.relname), i.indisprimary, i.indisreplident, \
        ARRAY(SELECT a.attname::text FROM unnest(i.indkey[0:i.indnkeyatts - 1]) k(attnum) \
              JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum) \
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
    WHERE i.indrelid = ANY($1) AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL \
      AND i.indexprs IS NULL \
      AND NOT EXISTS (SELECT FROM unnest(i.indkey[0:i.indnkeyatts - 1]) k(attnum) \
                      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
                      WHERE NOT a.attnotnull)";
const PUBLICATION: &str = "SELECT p.puballtables, p.pubviaroot, \
        p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate, \
        EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                WHERE n.nspname = 'pg_catalog' AND c.relname = 'pg_publication_namespace') \
    FROM pg_publication p WHERE p.pubname = $1";
/// A column that not all versions have is read through JSON.
const MEMBERS: &str = "SELECT r.prrelid, quote_ident(ns.nspname) || '.' || quote_ident(c.relname), \
        ARRAY(SELECT a.attname::text FROM jsonb_array_elements_text(nullif(to_jsonb(r) -> 'prattrs', 'null')) k(attnum) \
              JOIN pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = k.attnum::int2), \
        coalesce(to_jsonb(r) ->> 'prqual' IS NOT NULL, false) \
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid \
    JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace ns ON ns.oid = c.relnamespace \
    WHERE p.pubname = $1";
const FOREIGN_KEYS: &str = "SELECT con.conrelid, a.attname::text, \
        ARRAY(SELECT attname::text FROM pg_attribute o \
              WHERE o.attrelid = con.confrelid AND o.attnum > 0 AND NOT o.attisdropped) \
    FROM pg_constraint con JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = con.conkey[1] \
    WHERE con.contype = 'f' AND cardinality(con.conkey) = 1 AND con.conrelid = ANY($1)";

pub(crate) async fn run(config: &Config, catalogue: &Catalogue, applies: bool) -> Result<(), Exit> {
    let Some(feed) = &config.feed else {
        return Err(Exit::with_code(
            crate::EXIT_BAD_CONFIGURATION,
            "the configuration has no section [feed]",
        ));
    };
    let mapping = union(&catalogue.mapping(), &feed.tables);
    if mapping.is_empty() {
        let why = "no query file has a `table` line, and [feed.tables] is empty: there is nothing to tell";
        return Err(Exit::with_code(crate::EXIT_BAD_CONFIGURATION, why));
    }
    let (client, server) = migrate::connect(config).await?;
    let failed = |e: tokio_postgres::Error| Exit::of(&e);
    let mut items = items(&client, feed, &mapping).await?;
    let sql = plan::transaction(&items);
    let mut done = String::new();
    if applies && !sql.is_empty() {
        let all = format!("BEGIN; {LOCK_TIMEOUT}; {}; COMMIT", sql.join("; "));
        // What failed half way is rolled back with the connection.
        client.batch_execute(&all).await.map_err(failed)?;
        done = format!("done:\n{}\n", sql.iter().map(|sql| format!("  {sql};\n")).collect::<String>());
        items = self::items(&client, feed, &mapping).await?;
    }
    print(&format!("{server}\n{}{done}", plan::show(&items)))?;
    match items.iter().filter(|item| item.state == State::Missing).count() {
        0 => Ok(()),
        _ if applies => Err(Exit::failed("what is left has to be done by hand")),
        _ => Err(Exit::failed("something is missing; --apply does what is not to be done by hand")),
    }
}

async fn items(client: &Client, feed: &FeedConfig, mapping: &Mapping) -> Result<Vec<Item>, Exit> {
    let failed = |e: tokio_postgres::Error| Exit::of(&e);
    let mut items = match feed.source {
        FeedSource::Replication => {
            let mut items = plan::items(&look(client, feed, mapping).await.map_err(failed)?, feed, mapping);
            let rows = client.query_typed(TRIGGERS_OF_BEFORE, &[]).await.map_err(failed)?;
            let has_triggers = rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false));
            items.extend(has_triggers.then(plan::triggers_of_before));
            items
        }
        FeedSource::Triggers => {
            let tables = Tables::of(mapping);
            let found = triggers::look(client, &tables).await;
            let setup = found.map_err(|e| Exit::failed(format!("asking the database: {e}")))?;
            plan::by_triggers(&setup.faults(&tables), mapping)
        }
    };
    items.push(plan::of_tables_themselves(&ddl::look(client).await.map_err(failed)?, feed.source));
    Ok(items)
}

async fn look(
    client: &Client,
    feed: &FeedConfig,
    mapping: &Mapping,
) -> Result<Database, tokio_postgres::Error> {
    let row = client.query_one(SERVER, &[]).await?;
    let server = Server {
        version: row.try_get(0)?,
        wal_level: row.try_get(1)?,
        free_slots: row.try_get(2)?,
        free_senders: row.try_get(3)?,
        role: row.try_get(4)?,
        may_replicate: row.try_get(5)?,
        max_slot_wal_keep_size: row.try_get(6)?,
    };
    let (schemas, names): (Vec<&str>, Vec<&str>) = mapping.keys().map(|name| qualified(name)).unzip();
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let mut tables = Vec::new();
    for row in client.query_typed(TABLES, &parameters).await? {
        let number = usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or(0);
        tables.push(Found {
            index: number.saturating_sub(1),
            oid: row.try_get(1)?,
            is_root: row.try_get(2)?,
            name: row.try_get(3)?,
            kind: row.try_get(4)?,
            is_logged: row.try_get::<_, &str>(5)? == "p",
            is_partition: row.try_get(6)?,
            identity: match row.try_get::<_, &str>(7)? {
                "d" => Identity::Default,
                "i" => Identity::Index(String::new()),
                "f" => Identity::Full,
                _ => Identity::Nothing,
            },
            columns: row.try_get(8)?,
            indexes: Vec::new(),
            parents: BTreeMap::new(),
        });
    }
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    for row in client.query_typed(INDEXES, &[(&oids, Type::OID_ARRAY)]).await? {
        let oid: u32 = row.try_get(0)?;
        let (name, is_identity): (String, bool) = (row.try_get(1)?, row.try_get(3)?);
        for table in tables.iter_mut().filter(|table| table.oid == oid) {
            if is_identity && matches!(table.identity, Identity::Index(_)) {
                table.identity = Identity::Index(name.clone());
            }
            let columns: Vec<String> = row.try_get(4)?;
            table.indexes.push(Index { name: name.clone(), is_primary: row.try_get(2)?, columns });
        }
    }
    for row in client.query_typed(FOREIGN_KEYS, &[(&oids, Type::OID_ARRAY)]).await? {
        let oid: u32 = row.try_get(0)?;
        let columns: Vec<String> = row.try_get(2)?;
        for table in tables.iter_mut().filter(|table| table.oid == oid) {
            let known: &mut BTreeSet<String> = table.parents.entry(row.try_get(1)?).or_default();
            known.extend(columns.iter().cloned());
        }
    }
    let name: (&(dyn ToSql + Sync), Type) = (&feed.publication, Type::TEXT);
    let rows = client.query_typed(PUBLICATION, std::slice::from_ref(&name)).await?;
    let mut publication = None;
    if let Some(row) = rows.first() {
        let mut members = Vec::new();
        for row in client.query_typed(MEMBERS, std::slice::from_ref(&name)).await? {
            let columns: Vec<String> = row.try_get(2)?;
            members.push(Member {
                oid: row.try_get(0)?,
                name: row.try_get(1)?,
                columns: (!columns.is_empty()).then(|| columns.into_iter().collect()),
                has_filter: row.try_get(3)?,
            });
        }
        let mut has_schemas = false;
        if row.try_get::<_, bool>(3)? {
            let sql = "SELECT EXISTS (SELECT FROM pg_publication_namespace n JOIN pg_publication p ON p.oid = n.pnpubid \
                       WHERE p.pubname = $1)";
            let rows = client.query_typed(sql, std::slice::from_ref(&name)).await?;
            has_schemas = rows.first().map_or(Ok(false), |row| row.try_get(0))?;
        }
        publication = Some(Published {
            is_open: row.try_get::<_, bool>(0)? || has_schemas,
            is_via_root: row.try_get(1)?,
            has_all_kinds: row.try_get(2)?,
            members,
        });
    }
    Ok(Database { server, tables, publication })
}
