//! What the database needs so that triggers tell the feed: a table of changes, a function for each table of the mapping, and
//! triggers on it, its partitions and children. Values in, SQL and what is amiss out; what asks is `look`.
//!
//! A trigger runs inside of the application's own statements, so it must not fail where the application has done nothing wrong:
//! columns are looked for before they are read, with their types, and where one is gone the whole table is told. Once for each
//! statement it writes the distinct values that tags are made of, of old rows and new ones, as text: values that are equal may have
//! different tags.
//!
//! The functions run with the rights of who owns them, so the application's roles need none. Nothing that another role could have
//! made is called there: the search path is their own, types are built-in ones, and schema, table and functions belong to one role.
//! The table is not logged: after a crash it is empty, and the account begins anew all the same. Read next: `feed/changes.rs`.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::decode::{Column, Relation};
use super::mapping::qualified;
use super::primary::PrimaryError;
use super::transaction::Tables;
use crate::catalogue::RowTemplate;
use crate::catalogue::tags::MAX_TAG_BYTES;

/// Of one statement. Beyond, the table is told.
const MAX_ROWS: usize = 1_000;
/// A function has a hundred arguments at most.
const MAX_COLUMNS: usize = 50;
/// Those whose text form is the one that tags have, whatever a session has set.
const PLAIN: [Type; 8] =
    [Type::BOOL, Type::INT2, Type::INT4, Type::INT8, Type::NUMERIC, Type::TEXT, Type::VARCHAR, Type::UUID];
/// With the number of the function's table behind the name.
const TRIGGERS: [(&str, &str); 4] = [
    ("larder_insert", "INSERT ON %T REFERENCING NEW TABLE AS new_rows"),
    ("larder_update", "UPDATE ON %T REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"),
    ("larder_delete", "DELETE ON %T REFERENCING OLD TABLE AS old_rows"),
    ("larder_truncate", "TRUNCATE ON %T"),
];

/// Whoever drops the table alone has writes go on.
pub(super) const IS_THERE: &str = "to_regclass('larder.changes') IS NOT NULL";
const CHANGES: &str = "CREATE UNLOGGED TABLE larder.changes ( \
        xid xid8 NOT NULL DEFAULT pg_current_xact_id(), at timestamptz NOT NULL DEFAULT clock_timestamp(), \
        relation oid NOT NULL, rows jsonb) \
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)";
const INDEX: &str = "CREATE INDEX changes_xid ON larder.changes (xid)";

const HAS_TABLE: &str = "SELECT coalesce(has_schema_privilege(to_regnamespace('larder'), 'USAGE') \
        AND has_table_privilege(to_regclass('larder.changes'), 'SELECT') \
        AND has_table_privilege(to_regclass('larder.changes'), 'DELETE'), false), current_user::text, \
    (SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE oid = to_regnamespace('larder')), \
    (SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = to_regclass('larder.changes'))";
const RELATIONS: &str = "WITH RECURSIVE tree AS ( \
        SELECT u.n::int4 AS n, c.oid, c.oid AS root FROM unnest($1::text[], $2::text[]) WITH ORDINALITY u(s, t, n) \
        JOIN pg_namespace ns ON ns.nspname = u.s JOIN pg_class c ON c.relnamespace = ns.oid AND c.relname = u.t \
      UNION \
        SELECT tree.n, i.inhrelid, tree.root FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid) \
    SELECT tree.n, c.oid, tree.root, quote_ident(ns.nspname) || '.' || quote_ident(c.relname), \
           ns.nspname::text, c.relname::text, c.relkind::text, \
           ARRAY(SELECT attname::text FROM pg_attribute a \
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY attnum), \
           ARRAY(SELECT atttypid FROM pg_attribute a \
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY attnum), \
           f.prosrc, pg_get_userbyid(f.proowner)::text, \
           ARRAY(SELECT t.tgname::text FROM pg_trigger t \
                 WHERE t.tgrelid = c.oid AND t.tgfoid = f.oid AND t.tgenabled IN ('O', 'A')) \
    FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace ns ON ns.oid = c.relnamespace \
    LEFT JOIN pg_proc f ON f.pronamespace = to_regnamespace('larder') AND f.proname = 'note_' || tree.root \
    ORDER BY tree.n, c.oid = tree.root DESC, c.oid";

/// What a database has.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    may_use_table: bool,
    role: String,
    owner_of_schema: Option<String>,
    owner_of_table: Option<String>,
    tables: Vec<Found>,
}

/// A table of the mapping, or a partition or child of one; those follow theirs.
#[derive(Debug, Clone)]
struct Found {
    /// Of the mapping.
    index: usize,
    oid: u32,
    root: u32,
    /// Quoted, with its schema.
    quoted: String,
    schema: String,
    name: String,
    kind: String,
    columns: Vec<(String, u32)>,
    /// Of its function.
    body: Option<String>,
    owner: Option<String>,
    triggers: BTreeSet<String>,
}

/// What is not as it has to be. Without SQL it has to be done by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) sql: Vec<String>,
}

pub(super) async fn look(client: &Client, tables: &Tables) -> Result<Setup, PrimaryError> {
    let rows = client.query_typed(HAS_TABLE, &[]).await?;
    let row = rows.first().ok_or(PrimaryError::Another)?;
    let mut setup = Setup {
        may_use_table: row.try_get(0)?,
        role: row.try_get(1)?,
        owner_of_schema: row.try_get(2)?,
        owner_of_table: row.try_get(3)?,
        tables: Vec::new(),
    };
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        tables.all.iter().map(|table| qualified(&table.name)).unzip();
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    for row in client.query_typed(RELATIONS, &parameters).await? {
        let number = usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or(0);
        let Some(index) = number.checked_sub(1).filter(|index| *index < tables.all.len()) else { continue };
        let (names, kinds): (Vec<String>, Vec<u32>) = (row.try_get(7)?, row.try_get(8)?);
        setup.tables.push(Found {
            index,
            oid: row.try_get(1)?,
            root: row.try_get(2)?,
            quoted: row.try_get(3)?,
            schema: row.try_get(4)?,
            name: row.try_get(5)?,
            kind: row.try_get(6)?,
            columns: names.into_iter().zip(kinds).collect(),
            body: row.try_get(9)?,
            owner: row.try_get(10)?,
            triggers: row.try_get::<_, Vec<String>>(11)?.into_iter().collect(),
        });
    }
    Ok(setup)
}

impl Setup {
    /// Everything for which changes could be missed without a word, in the order in which it can be mended.
    pub(super) fn faults(&self, tables: &Tables) -> Vec<Fault> {
        let mut faults = Vec::new();
        let by_hand = |what: String| Fault { what, sql: Vec::new() };
        let owner = self.owner_of_table.as_ref().unwrap_or(&self.role);
        if let Some(other) = self.owner_of_schema.as_ref().filter(|other| *other != owner) {
            faults.push(by_hand(format!(
                "schema larder belongs to {other}, and what is in it has to belong to {owner}: what {other} makes there would run \
                 with the rights of {owner}"
            )));
            return faults;
        }
        if self.owner_of_table.is_none() {
            faults.push(Fault {
                what: "there is no table larder.changes".to_owned(),
                sql: ["CREATE SCHEMA IF NOT EXISTS larder", CHANGES, INDEX].map(str::to_owned).to_vec(),
            });
        } else if !self.may_use_table {
            let role = quoted(&self.role);
            faults.push(by_hand(format!(
                "role {} may not use larder.changes: GRANT USAGE ON SCHEMA larder TO {role}; \
                 GRANT SELECT, DELETE ON larder.changes TO {role}",
                self.role
            )));
        }
        for (index, table) in tables.all.iter().enumerate() {
            let of_table: Vec<&Found> = self.tables.iter().filter(|found| found.index == index).collect();
            let Some(root) = of_table.first() else {
                faults.push(by_hand(format!("there is no table {}", table.name)));
                continue;
            };
            if !matches!(root.kind.as_str(), "r" | "p") {
                faults.push(by_hand(format!(
                    "{} is no table, so that no change of it is ever told: name the tables behind it",
                    root.quoted
                )));
                continue;
            }
            if let Some(foreign) = of_table.iter().find(|found| !matches!(found.kind.as_str(), "r" | "p")) {
                faults.push(by_hand(format!(
                    "{} is part of {} and is no table of this database: no trigger can note its changes, and with triggers writes \
                     to it would fail",
                    foreign.quoted, root.quoted
                )));
                continue;
            }
            let is_of_another = |found: &&&Found| {
                self.tables.iter().any(|other| other.oid == found.oid && other.index != found.index)
            };
            if let Some(found) = of_table.iter().find(is_of_another) {
                faults.push(by_hand(format!(
                    "{} is, or is part of, more than one of the tables that are told: name one of them",
                    found.quoted
                )));
                continue;
            }
            let body = body(&told(root, &table.templates));
            let function = format!("larder.note_{}()", root.root);
            if root.body.as_deref() != Some(body.as_str()) || root.owner.as_ref() != Some(owner) {
                faults.push(Fault {
                    what: format!("{}: there is no function that notes its changes", root.quoted),
                    sql: vec![
                        format!(
                            "CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
                             SET search_path = pg_catalog, pg_temp AS $larder${body}$larder$"
                        ),
                        format!("ALTER FUNCTION {function} OWNER TO {}", quoted(owner)),
                        format!("REVOKE ALL ON FUNCTION {function} FROM PUBLIC"),
                    ],
                });
            }
            for found in &of_table {
                let named = TRIGGERS.map(|(name, event)| (format!("{name}_{}", root.root), event));
                let missing = named.iter().filter(|(name, _)| !found.triggers.contains(name));
                let sql: Vec<String> = missing
                    .flat_map(|(name, event)| {
                        let event = event.replace("%T", &found.quoted);
                        [
                            format!("DROP TRIGGER IF EXISTS {name} ON {}", found.quoted),
                            format!(
                                "CREATE TRIGGER {name} AFTER {event} FOR EACH STATEMENT EXECUTE FUNCTION {function}"
                            ),
                        ]
                    })
                    .collect();
                if !sql.is_empty() {
                    let what = format!("{}: not all of its triggers are there", found.quoted);
                    faults.push(Fault { what, sql });
                }
            }
        }
        faults
    }

    /// The shape in which each table's values are noted.
    pub(super) fn relations(&self, tables: &Tables) -> HashMap<u32, (usize, Relation)> {
        let mut all = HashMap::new();
        let mut of_root = Vec::new();
        for found in &self.tables {
            let Some(table) = tables.all.get(found.index) else { continue };
            if found.oid == found.root {
                of_root = told(found, &table.templates);
            }
            let column = |(name, kind): &(String, u32)| Column {
                name: name.clone(),
                is_key: true,
                kind: *kind,
                modifier: -1,
            };
            let relation = Relation {
                oid: found.oid,
                schema: found.schema.clone(),
                name: found.name.clone(),
                identity: b'i',
                columns: of_root.iter().map(column).collect(),
            };
            all.insert(found.oid, (found.index, relation));
        }
        all
    }
}

/// Columns that tags need and whose values can be noted. Of the others it is not known how they were: the table is told.
fn told(root: &Found, templates: &[RowTemplate]) -> Vec<(String, u32)> {
    let needed: BTreeSet<&str> = templates.iter().flat_map(RowTemplate::columns).collect();
    let is_plain = |kind: u32| PLAIN.iter().any(|plain| plain.oid() == kind);
    let columns =
        root.columns.iter().filter(|(name, kind)| needed.contains(name.as_str()) && is_plain(*kind));
    columns.cloned().collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Of the function.
fn body(columns: &[(String, u32)]) -> String {
    if columns.is_empty() || columns.len() > MAX_COLUMNS {
        // Nothing is known of a row but that it changed.
        return format!(
            "\nBEGIN\n    IF {IS_THERE} THEN\n        INSERT INTO larder.changes (relation) VALUES (TG_RELID);\n    END IF;\n    \
             RETURN NULL;\nEND\n"
        );
    }
    let list = columns.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(", ");
    let kinds: Vec<String> =
        columns.iter().map(|(name, kind)| format!("({}::name, {kind}::oid)", literal(name))).collect();
    // One that is too long for a tag still is.
    let longest = MAX_TAG_BYTES + 1;
    let texts: Vec<String> = (columns.iter().enumerate())
        .map(|(nth, (name, _))| format!("left({}::text, {longest}) COLLATE \"C\" AS c{nth}", quoted(name)))
        .collect();
    let pairs: Vec<String> =
        columns.iter().enumerate().map(|(nth, (name, _))| format!("{}, c{nth}", literal(name))).collect();
    let mut text = format!(
        "\n#variable_conflict use_column\nDECLARE\n    told jsonb;\n    number bigint := 1;\nBEGIN\n    \
         IF TG_OP <> 'TRUNCATE' AND (SELECT count(*) FROM pg_attribute WHERE attrelid = TG_RELID AND NOT attisdropped \
         AND (attname, atttypid) IN ({})) = {} THEN\n",
        kinds.join(", "),
        columns.len()
    );
    for (nth, (operation, rows)) in [
        ("INSERT", format!("SELECT {list} FROM new_rows")),
        ("DELETE", format!("SELECT {list} FROM old_rows")),
        ("UPDATE", format!("SELECT {list} FROM old_rows UNION ALL SELECT {list} FROM new_rows")),
    ]
    .into_iter()
    .enumerate()
    {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "        {} TG_OP = '{operation}' THEN\n            \
             SELECT count(*), CASE WHEN count(*) <= {MAX_ROWS} THEN jsonb_agg(jsonb_build_object({})) END INTO number, told\n            \
             FROM (SELECT DISTINCT {} FROM ({rows}) b LIMIT {}) a;\n",
            if nth == 0 { "IF" } else { "ELSIF" },
            pairs.join(", "),
            texts.join(", "),
            MAX_ROWS + 1
        );
    }
    let _ = write!(
        text,
        "        END IF;\n    END IF;\n    IF number > 0 AND {IS_THERE} THEN\n        \
         INSERT INTO larder.changes (relation, rows) VALUES (TG_RELID, told);\n    END IF;\n    RETURN NULL;\nEND\n"
    );
    text
}
