//! Which state of the database an answer was made from, at least: the value of `Larder-Version`.
//!
//! A connection answers in the order in which it was asked. So whatever is sent while a stamp is still on its way is run after
//! it, and may share it: under load one stamp serves many statements.
//! A position or a transaction number means something else after a promotion, so a stamp says on which timeline it is: what the
//! server was last known to be on before it was asked. That can only be too low, and then an answer counts for less than it could.
//! Read next: `database/min_version.rs`, which holds stamps against what a request wants.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use tokio_postgres::{Client, Statement};

use super::min_version::parse_position;
use super::target::Target;

/// A commit can be in the WAL before it is visible on the primary, so there it is the snapshot; a standby does not know what is
/// in progress, so there it is the replay position (and each only in its place). Sent before the statement: too old is safe,
/// too new is not.
const SQL: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN 'lsn=' || pg_last_wal_replay_lsn()::text \
                   ELSE 'snapshot=' || pg_current_snapshot()::text END";
/// The same with the process that says it: a pooler keeps our connection when the server behind it is another one.
const POOLED_SQL: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN 'lsn=' || pg_last_wal_replay_lsn()::text \
                          ELSE 'snapshot=' || pg_current_snapshot()::text END, \
                          (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8";

type Asked = Pin<Box<dyn Future<Output = Stamped> + Send>>;
/// Empty if the timeline is not known.
type Stamped = Result<Arc<str>, Arc<tokio_postgres::Error>>;

/// The stamps of one connection.
pub(crate) struct Stamps {
    target: Arc<Target>,
    source: Source,
    /// The last one that was asked for, while somebody waits for it.
    last: Mutex<Option<WeakShared<Asked>>>,
}

enum Source {
    Session {
        statement: Statement,
        /// When the server's process was started, to tell what is known of it from what is known of another one.
        started: i64,
    },
    /// Where nothing stays prepared and no two statements are known to run in one session.
    Pooler,
}

impl Stamps {
    /// `started` is when the server's process was.
    pub(super) async fn prepare(
        client: &Client,
        target: &Arc<Target>,
        started: i64,
        is_pooled: bool,
    ) -> Result<Self, tokio_postgres::Error> {
        let source = match is_pooled {
            true => Source::Pooler,
            false => Source::Session { statement: client.prepare(SQL).await?, started },
        };
        Ok(Self { target: target.clone(), source, last: Mutex::default() })
    }

    /// What the server is on, at least, if that is known.
    pub(super) fn timeline(&self) -> Option<u32> {
        let known = self.target.timeline()?;
        let is_of_it = match self.source {
            Source::Session { started, .. } => started == known.started,
            Source::Pooler => true,
        };
        is_of_it.then_some(known.timeline)
    }

    /// The stamp of a statement that is sent after this future was polled for the first time, and before anything else is
    /// awaited.
    pub(super) fn next(&self, client: &Arc<Client>) -> Shared<Asked> {
        let (client, target) = (client.clone(), self.target.clone());
        let Source::Session { statement, .. } = &self.source else {
            // Known before it is asked.
            let known = target.timeline();
            let ask = async move {
                let rows = client.query_typed(POOLED_SQL, &[]).await.map_err(Arc::new)?;
                let Some(row) = rows.first() else { return Ok(Arc::from("")) };
                let started: i64 = row.try_get(1).map_err(Arc::new)?;
                let timeline = known.filter(|known| known.started == started).map(|known| known.timeline);
                Ok(stamp(row.try_get(0).map_err(Arc::new)?, timeline))
            };
            return ask.boxed().shared();
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let on_its_way = last.as_ref().and_then(WeakShared::upgrade);
        // Not yet answered, so the server will see what is sent now after it.
        if let Some(stamp) = on_its_way.filter(|stamp| stamp.peek().is_none()) {
            return stamp;
        }
        let (timeline, statement) = (self.timeline(), statement.clone());
        let ask = async move {
            let row = client.query_one(&statement, &[]).await.map_err(Arc::new)?;
            let version: &str = row.try_get(0).map_err(Arc::new)?;
            if let Some(position) = version.strip_prefix("lsn=").and_then(parse_position) {
                target.has_replayed(position);
            }
            Ok(stamp(version, timeline))
        };
        let stamp = ask.boxed().shared();
        *last = stamp.downgrade();
        stamp
    }
}

fn stamp(version: &str, timeline: Option<u32>) -> Arc<str> {
    match timeline {
        Some(timeline) => format!("{version}; timeline={timeline}").into(),
        None => Arc::from(""),
    }
}

impl fmt::Debug for Stamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stamps").finish_non_exhaustive()
    }
}
