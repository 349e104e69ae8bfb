//! Which state of the database an answer was made from, at least: the value of `Larder-Version`.
//!
//! A connection answers in the order in which it was asked. So whatever is sent while a stamp is still on its way is run after
//! it, and may share it: under load one stamp serves many statements.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use tokio_postgres::{Client, Statement};

/// A commit can be in the WAL before it is visible on the primary, so there it is the snapshot; a standby does not know what is
/// in progress, so there it is the replay position (and each only in its place). Sent before the statement: too old is safe,
/// too new is not.
const SQL: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN 'lsn=' || pg_last_wal_replay_lsn()::text \
                   ELSE 'snapshot=' || pg_current_snapshot()::text END";

type Asked = Pin<Box<dyn Future<Output = Stamped> + Send>>;
type Stamped = Result<Arc<str>, Arc<tokio_postgres::Error>>;

/// The stamps of one connection.
pub(crate) struct Stamps {
    /// `None` behind a pooler, where nothing stays prepared and no two statements are known to run in one session.
    statement: Option<Statement>,
    /// The last one that was asked for, while somebody waits for it.
    last: Mutex<Option<WeakShared<Asked>>>,
}

impl Stamps {
    pub(super) async fn prepare(client: &Client, is_pooled: bool) -> Result<Self, tokio_postgres::Error> {
        let statement = if is_pooled { None } else { Some(client.prepare(SQL).await?) };
        Ok(Self { statement, last: Mutex::default() })
    }

    /// The stamp of a statement that is sent after this future was polled for the first time, and before anything else is
    /// awaited.
    pub(super) fn next(&self, client: &Arc<Client>) -> Shared<Asked> {
        let Some(statement) = &self.statement else {
            let client = client.clone();
            let ask = async move {
                let rows = client.query_typed(SQL, &[]).await.map_err(Arc::new)?;
                let stamp = rows.first().map_or(Ok(""), |row| row.try_get(0));
                stamp.map(Arc::from).map_err(Arc::new)
            };
            return ask.boxed().shared();
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let on_its_way = last.as_ref().and_then(WeakShared::upgrade);
        // Not yet answered, so the server will see what is sent now after it.
        if let Some(stamp) = on_its_way.filter(|stamp| stamp.peek().is_none()) {
            return stamp;
        }
        let (client, statement) = (client.clone(), statement.clone());
        let ask = async move {
            let row = client.query_one(&statement, &[]).await;
            row.and_then(|row| row.try_get::<_, &str>(0).map(Arc::from)).map_err(Arc::new)
        };
        let stamp = ask.boxed().shared();
        *last = stamp.downgrade();
        stamp
    }
}

impl fmt::Debug for Stamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stamps").finish_non_exhaustive()
    }
}
