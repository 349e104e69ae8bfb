//! What servers say, as they say it: a row of JSON for each row of the SQL files beside this one.

use serde::{Deserialize, Serialize};

/// All that one server said.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) facts: Facts,
    pub(super) activity: Vec<Activity>,
    pub(super) slots: Vec<Slot>,
    /// `None`: not examined.
    pub(super) indexes: Option<Vec<Index>>,
    pub(super) tables: Vec<Table>,
    /// `None`: the extension is not there.
    pub(super) statements: Option<Vec<Statement>>,
    pub(super) scans: Vec<PlanScan>,
    /// Endpoints of which a statement has no plan here.
    pub(super) unplanned: Vec<String>,
    /// What it did not answer, and why.
    pub(super) not_examined: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Facts {
    pub(super) version: String,
    pub(super) version_number: i32,
    pub(super) is_replica: bool,
    pub(super) role: String,
    pub(super) sees_all: bool,
    pub(super) counts_since: Option<String>,
    pub(super) counts_seconds: Option<f64>,
    pub(super) connection_limit: i64,
    pub(super) position: Option<i64>,
    /// `None`: it has replayed all that it has.
    pub(super) lag_seconds: Option<f64>,
    pub(super) is_paused: bool,
    pub(super) receivers: i64,
    pub(super) transactions: i64,
    pub(super) multixacts: i64,
    pub(super) oldest_database: String,
    pub(super) freeze_max_age: i64,
    pub(super) multixact_freeze_max_age: i64,
    pub(super) statements_schema: Option<String>,
    pub(super) has_statements_library: bool,
    pub(super) preloaded: Option<String>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Activity {
    pub(super) state: String,
    pub(super) connections: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) is_active: bool,
    pub(super) wal_status: Option<String>,
    pub(super) kept_bytes: i64,
    pub(super) is_unlimited: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Index {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) name: String,
    pub(super) bytes: i64,
    pub(super) scans: i64,
    pub(super) is_unique: bool,
    pub(super) has_equal_nulls: bool,
    pub(super) has_constraint: bool,
    pub(super) is_identity: bool,
    pub(super) is_valid: bool,
    pub(super) is_being_built: bool,
    pub(super) is_partition: bool,
    pub(super) has_expression: bool,
    pub(super) foreign_key: Option<String>,
    pub(super) signature: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) rows: f64,
    pub(super) pages: i64,
    pub(super) block_bytes: i64,
    pub(super) sequential_scans: i64,
    pub(super) rows_scanned: i64,
    pub(super) index_scans: i64,
    pub(super) live: i64,
    pub(super) dead: i64,
    pub(super) vacuumed_at: Option<String>,
    pub(super) is_never_analyzed: bool,
    pub(super) vacuum_from: f64,
    pub(super) is_vacuumed: bool,
    pub(super) needed_pages: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Statement {
    pub(super) query: String,
    pub(super) calls: i64,
    pub(super) rows: i64,
    pub(super) mean_ms: f64,
    pub(super) max_ms: f64,
    pub(super) total_ms: f64,
    pub(super) hit_percent: Option<f64>,
}

/// A big table that the plan of an endpoint reads as a whole.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlanScan {
    pub(super) endpoint: String,
    pub(super) route: String,
    pub(super) table: String,
    pub(super) rows: f64,
    pub(super) filter: Option<String>,
}

impl Index {
    pub(super) fn is_called(&self, other: &Self) -> bool {
        self.name == other.name && self.schema == other.schema
    }
}

impl Table {
    /// In percent; `None` if nobody read it.
    pub(super) fn index_usage(&self) -> Option<f64> {
        let all = self.index_scans + self.sequential_scans;
        (all > 0).then(|| self.index_scans as f64 * 100.0 / all as f64)
    }
}
