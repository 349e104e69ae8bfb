//! What a Postgres server counts itself: blocks found in its memory, scans with and without an index. Each server has counters
//! of its own, replicas too.

use tokio_postgres::Client;

/// Tables with fewer rows are best read as a whole. By the planner's number, which replicas have, too.
const SQL: &str = "SELECT d.blks_hit, d.blks_read, t.idx_scan, t.seq_scan \
                   FROM pg_stat_database d, \
                        (SELECT coalesce(sum(s.idx_scan), 0)::int8 AS idx_scan, coalesce(sum(s.seq_scan), 0)::int8 AS seq_scan \
                         FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid WHERE c.reltuples >= 10000) t \
                   WHERE d.datname = current_database()";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerCounts {
    pub(crate) blocks_hit: u64,
    pub(crate) blocks_read: u64,
    pub(crate) index_scans: u64,
    pub(crate) sequential_scans: u64,
}

impl ServerCounts {
    /// Unnamed, so that a pooler between us and the server does not matter.
    pub(crate) async fn read(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let rows = client.query_typed(SQL, &[]).await?;
        let count = |index| {
            let count = rows.first().map(|row| row.try_get::<_, i64>(index)).transpose()?;
            Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(0))
        };
        Ok(Self {
            blocks_hit: count(0)?,
            blocks_read: count(1)?,
            index_scans: count(2)?,
            sequential_scans: count(3)?,
        })
    }

    /// `None` if one is less than it was: statistics were reset.
    pub(crate) fn since(self, earlier: Self) -> Option<Self> {
        Some(Self {
            blocks_hit: self.blocks_hit.checked_sub(earlier.blocks_hit)?,
            blocks_read: self.blocks_read.checked_sub(earlier.blocks_read)?,
            index_scans: self.index_scans.checked_sub(earlier.index_scans)?,
            sequential_scans: self.sequential_scans.checked_sub(earlier.sequential_scans)?,
        })
    }
}
