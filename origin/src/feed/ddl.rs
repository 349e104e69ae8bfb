//! Changes of tables themselves, which write no row: an event trigger says which table was altered, and all that depends on it ends.
//! Only a superuser can make one; without it such a change is told with the next row that is written.
//!
//! It runs inside of the application's own ALTER TABLE, so there is nothing in it that could fail. Read next: `feed/setup.rs`.

use tokio_postgres::Client;

use super::triggers::IS_THERE;
use crate::config::FeedSource;

/// Of the message in the WAL.
pub(super) const PREFIX: &str = "larder.ddl";

const LOOK: &str = "SELECT (SELECT f.prosrc FROM pg_event_trigger t JOIN pg_proc f ON f.oid = t.evtfoid \
        WHERE t.evtname = 'larder_ddl' AND t.evtenabled IN ('O', 'A')), \
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), \
    quote_ident(coalesce((SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass('larder.changes')), \
                         current_user))";

pub(super) struct Found {
    body: Option<String>,
    is_superuser: bool,
    /// Of the table that triggers write to, or who would make it; quoted.
    owner: String,
}

pub(super) async fn look(client: &Client) -> Result<Found, tokio_postgres::Error> {
    let row = client.query_one(LOOK, &[]).await?;
    let is_superuser = row.try_get::<_, Option<bool>>(1)? == Some(true);
    Ok(Found { body: row.try_get(0)?, is_superuser, owner: row.try_get(2)? })
}

impl Found {
    pub(super) fn is_there(&self, source: FeedSource) -> bool {
        self.body.as_deref() == Some(body(source).as_str())
    }

    pub(super) fn may_be_made(&self) -> bool {
        self.is_superuser
    }

    /// With the rights of whoever alters a table, where that does; else of the owner of the table that is written to, who may have
    /// triggers on it, and never of a superuser for another one's table.
    pub(super) fn statements(&self, source: FeedSource) -> Vec<String> {
        let function = "larder.note_ddl()";
        let (rights, owner) = match source {
            FeedSource::Replication => ("INVOKER", None),
            FeedSource::Triggers => ("DEFINER", Some(&self.owner)),
        };
        let mut statements = vec![
            "CREATE SCHEMA IF NOT EXISTS larder".to_owned(),
            format!(
                "CREATE OR REPLACE FUNCTION {function} RETURNS event_trigger LANGUAGE plpgsql SECURITY {rights} \
                 SET search_path = pg_catalog, pg_temp AS $larder${}$larder$",
                body(source)
            ),
        ];
        statements.extend(owner.map(|owner| format!("ALTER FUNCTION {function} OWNER TO {owner}")));
        statements.push("DROP EVENT TRIGGER IF EXISTS larder_ddl".to_owned());
        statements.push(format!(
            "CREATE EVENT TRIGGER larder_ddl ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION {function}"
        ));
        statements
    }
}

fn body(source: FeedSource) -> String {
    let tell = match source {
        FeedSource::Replication => {
            format!("PERFORM pg_logical_emit_message(true, '{PREFIX}', altered::text);")
        }
        FeedSource::Triggers => {
            format!("IF {IS_THERE} THEN INSERT INTO larder.changes (relation) VALUES (altered); END IF;")
        }
    };
    format!(
        "\nDECLARE\n    altered oid;\nBEGIN\n    \
         FOR altered IN SELECT DISTINCT objid FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_class'::regclass LOOP\n        \
         {tell}\n    END LOOP;\nEND\n"
    )
}
