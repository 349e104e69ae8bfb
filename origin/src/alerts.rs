//! What an operator is told of: a reading beyond its limit for long enough, and within it again for long enough. Values in,
//! values out: time is an argument.
//!
//! Read next: `monitor.rs` for who takes the readings, `alerts/webhook.rs` for where the news goes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::config::{Limits, Monitoring};

pub(crate) mod webhook;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    AverageQueryTime,
    P95QueryTime,
    SlowQueries,
    CacheHitRate,
    BlockHitRate,
    PoolUtilization,
    ErrorRate,
    IndexUsageRate,
    ReplicaLag,
    ServersDown,
}

/// What a figure is at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reading {
    Value(f64),
    /// Nothing happened that could be measured, so nothing is wrong with it.
    Idle,
    /// It could not be read: whatever was known goes on being so.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Warning,
    Critical,
}

/// One limit and what has become of it.
#[derive(Debug)]
pub(crate) struct Alert {
    pub(crate) kind: Kind,
    pub(crate) limit: f64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// `beyond`: since when the reading is beyond the limit, not yet for long enough.
    Quiet { beyond: Option<Duration> },
    /// `within`: since when it is within the limit again, not yet for long enough.
    Raised { since: Duration, within: Option<Duration> },
}

/// News of one alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) is_raised: bool,
    /// `None` if it was cleared for lack of anything to measure.
    pub(crate) value: Option<f64>,
    pub(crate) limit: f64,
}

#[derive(Debug)]
pub(crate) struct Alerts {
    raise_after: Duration,
    clear_after: Duration,
    all: Vec<Alert>,
}

impl Reading {
    pub(crate) fn of(value: Option<f64>) -> Self {
        value.map_or(Self::Idle, Self::Value)
    }

    pub(crate) fn value(self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(value),
            Self::Idle | Self::Unknown => None,
        }
    }
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::AverageQueryTime,
        Self::P95QueryTime,
        Self::SlowQueries,
        Self::CacheHitRate,
        Self::BlockHitRate,
        Self::PoolUtilization,
        Self::ErrorRate,
        Self::IndexUsageRate,
        Self::ReplicaLag,
        Self::ServersDown,
    ];

    /// As the guide writes them.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AverageQueryTime => "HIGH_AVG_QUERY_TIME",
            Self::P95QueryTime => "HIGH_P95_QUERY_TIME",
            Self::SlowQueries => "MANY_SLOW_QUERIES",
            Self::CacheHitRate => "LOW_CACHE_HIT_RATE",
            Self::BlockHitRate => "LOW_BLOCK_HIT_RATE",
            Self::PoolUtilization => "HIGH_POOL_UTILIZATION",
            Self::ErrorRate => "HIGH_ERROR_RATE",
            Self::IndexUsageRate => "LOW_INDEX_USAGE_RATE",
            Self::ReplicaLag => "HIGH_REPLICA_LAG",
            Self::ServersDown => "SERVERS_DOWN",
        }
    }

    pub(crate) fn limit(self, limits: &Limits) -> Option<f64> {
        match self {
            Self::AverageQueryTime => limits.average_query_time,
            Self::P95QueryTime => limits.p95_query_time,
            Self::SlowQueries => limits.slow_queries_per_hour,
            Self::CacheHitRate => limits.cache_hit_rate,
            Self::BlockHitRate => limits.block_hit_rate,
            Self::PoolUtilization => limits.pool_utilization,
            Self::ErrorRate => limits.error_rate,
            Self::IndexUsageRate => limits.index_usage_rate,
            Self::ReplicaLag => limits.replica_lag,
            Self::ServersDown => limits.servers_down,
        }
    }

    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::P95QueryTime | Self::ErrorRate | Self::ServersDown => Severity::Critical,
            Self::AverageQueryTime
            | Self::SlowQueries
            | Self::CacheHitRate
            | Self::BlockHitRate
            | Self::PoolUtilization
            | Self::IndexUsageRate
            | Self::ReplicaLag => Severity::Warning,
        }
    }

    /// Whether the limit is a least one.
    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Self::CacheHitRate | Self::BlockHitRate | Self::IndexUsageRate)
    }

    fn unit(self) -> &'static str {
        match self {
            Self::AverageQueryTime | Self::P95QueryTime | Self::ReplicaLag => " ms",
            Self::CacheHitRate
            | Self::BlockHitRate
            | Self::PoolUtilization
            | Self::ErrorRate
            | Self::IndexUsageRate => "%",
            Self::SlowQueries | Self::ServersDown => "",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::AverageQueryTime => "the average query time",
            Self::P95QueryTime => "the 95th percentile of query times",
            Self::SlowQueries => "the number of slow queries in the last hour",
            Self::CacheHitRate => "the cache hit rate of the proxy",
            Self::BlockHitRate => "the hit rate of Postgres' block cache",
            Self::PoolUtilization => "the utilization of the fullest connection pool",
            Self::ErrorRate => "the part of requests answered with an error of the server",
            Self::IndexUsageRate => "the part of scans of big tables that use an index",
            Self::ReplicaLag => "the lag of the replica furthest behind",
            Self::ServersDown => "the number of database servers that cannot be reached",
        }
    }
}

impl Severity {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Alerts {
    /// All that have a limit.
    pub(crate) fn new(config: &Monitoring) -> Self {
        let alert = |kind: Kind| {
            Some(Alert { kind, limit: kind.limit(&config.limits)?, state: State::Quiet { beyond: None } })
        };
        Self {
            raise_after: config.raise_after,
            clear_after: config.clear_after,
            all: Kind::ALL.into_iter().filter_map(alert).collect(),
        }
    }

    pub(crate) fn all(&self) -> &[Alert] {
        &self.all
    }

    /// Takes readings in and gives what is news.
    pub(crate) fn observe(&mut self, now: Duration, reading: impl Fn(Kind) -> Reading) -> Vec<Change> {
        let (raise_after, clear_after) = (self.raise_after, self.clear_after);
        let news = self.all.iter_mut().filter_map(|alert| {
            let reading = reading(alert.kind);
            let is_raised = alert.observe(now, reading, raise_after, clear_after)?;
            Some(Change { kind: alert.kind, is_raised, value: reading.value(), limit: alert.limit })
        });
        news.collect()
    }
}

impl Alert {
    /// Since when it is raised.
    pub(crate) fn raised_since(&self) -> Option<Duration> {
        match self.state {
            State::Raised { since, .. } => Some(since),
            State::Quiet { .. } => None,
        }
    }

    /// Whether it is raised now, if that is news.
    fn observe(
        &mut self,
        now: Duration,
        reading: Reading,
        raise_after: Duration,
        clear_after: Duration,
    ) -> Option<bool> {
        let is_beyond = match reading {
            Reading::Value(value) if self.kind.is_floor() => value < self.limit,
            Reading::Value(value) => value > self.limit,
            Reading::Idle => false,
            Reading::Unknown => return None,
        };
        let (state, news) = match (self.state, is_beyond) {
            (State::Quiet { .. }, false) => (State::Quiet { beyond: None }, None),
            (State::Quiet { beyond }, true) => {
                let beyond = beyond.unwrap_or(now);
                if now.saturating_sub(beyond) >= raise_after {
                    (State::Raised { since: now, within: None }, Some(true))
                } else {
                    (State::Quiet { beyond: Some(beyond) }, None)
                }
            }
            (State::Raised { since, .. }, true) => (State::Raised { since, within: None }, None),
            (State::Raised { since, within }, false) => {
                let within = within.unwrap_or(now);
                if now.saturating_sub(within) >= clear_after {
                    (State::Quiet { beyond: None }, Some(false))
                } else {
                    (State::Raised { since, within: Some(within) }, None)
                }
            }
        };
        self.state = state;
        news
    }
}

impl Change {
    /// For people.
    pub(crate) fn message(&self) -> String {
        let (what, unit) = (self.kind.says(), self.kind.unit());
        let value =
            self.value.map_or("nothing to measure".to_owned(), |value| format!("{}{unit}", shown(value)));
        let side = match (self.is_raised, self.kind.is_floor()) {
            (true, true) | (false, false) => "below",
            (true, false) | (false, true) => "above",
        };
        let is = if self.is_raised { "is" } else { "is again" };
        let limit = shown(self.limit);
        match (self.is_raised, self.value) {
            (false, None) => format!("{what}: {value}"),
            (true, _) => format!("{what} {is} {value}, {side} the limit of {limit}{unit}"),
            (false, Some(_)) => format!("{what} {is} {value}; the limit is {limit}{unit}"),
        }
    }

    /// What a webhook is sent. No names of hosts, no queries, no secrets.
    pub(crate) fn document(&self, unix_time: Duration) -> Value {
        json!({
            "source": "larder-origin",
            "alert": self.kind.name(),
            "state": if self.is_raised { "raised" } else { "cleared" },
            "severity": self.kind.severity().name(),
            "message": self.message(),
            "value": self.value,
            "threshold": self.limit,
            "unit": self.kind.unit().trim(),
            "unixTime": unix_time.as_secs(),
        })
    }
}

/// Two decimals are more than anyone reads.
fn shown(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Raised after 60 s, cleared after 300 s.
    fn alerts(limits: Limits) -> Alerts {
        Alerts::new(&Monitoring { limits, ..Monitoring::default() })
    }

    fn only(set: impl Fn(&mut Limits)) -> Alerts {
        let mut limits = Limits {
            average_query_time: None,
            p95_query_time: None,
            slow_queries_per_hour: None,
            cache_hit_rate: None,
            block_hit_rate: None,
            pool_utilization: None,
            error_rate: None,
            index_usage_rate: None,
            replica_lag: None,
            servers_down: None,
        };
        set(&mut limits);
        alerts(limits)
    }

    /// Moves a hand-moved clock over readings, each at its second, and gives the news.
    fn run(alerts: &mut Alerts, readings: &[(u64, Reading)]) -> Vec<(u64, bool)> {
        let mut news = Vec::new();
        for (second, reading) in readings {
            for change in alerts.observe(Duration::from_secs(*second), |_| *reading) {
                news.push((*second, change.is_raised));
            }
        }
        news
    }

    const HIGH: Reading = Reading::Value(501.0);
    const LOW: Reading = Reading::Value(500.0);

    #[test]
    fn raised_after_being_above_for_long_enough_and_cleared_after_being_below_for_long_enough() {
        let mut alerts = only(|limits| limits.p95_query_time = Some(500.0));
        let readings = [
            (0, LOW),
            (5, HIGH),
            (64, HIGH),
            (65, HIGH),
            (70, HIGH),
            (80, LOW),
            (379, LOW),
            (380, LOW),
            (385, LOW),
        ];
        assert_eq!(run(&mut alerts, &readings), [(65, true), (380, false)]);
    }

    #[test]
    fn what_goes_up_and_down_is_said_neither_often_nor_at_all() {
        let mut alerts = only(|limits| limits.p95_query_time = Some(500.0));
        // Never above for a whole minute.
        let flapping: Vec<_> = (0..1000).map(|at| (at, if at % 50 == 49 { LOW } else { HIGH })).collect();
        assert_eq!(run(&mut alerts, &flapping), []);
        // Raised, and then never below for five.
        let steady: Vec<_> = (1000..1100).map(|at| (at, HIGH)).collect();
        assert_eq!(run(&mut alerts, &steady).len(), 1);
        let flapping: Vec<_> = (1100..3000).map(|at| (at, if at % 200 == 0 { HIGH } else { LOW })).collect();
        assert_eq!(run(&mut alerts, &flapping), []);
    }

    #[test]
    fn what_cannot_be_read_changes_nothing_and_what_is_idle_is_fine() {
        let mut alerts = only(|limits| limits.block_hit_rate = Some(85.0));
        let (bad, good) = (Reading::Value(84.9), Reading::Value(85.0));
        let readings = [
            (0, good),
            (10, bad),
            (50, Reading::Unknown),
            (70, bad),
            (71, Reading::Unknown),
            (1000, Reading::Unknown),
            (1001, Reading::Idle),
            (1301, Reading::Idle),
        ];
        assert_eq!(run(&mut alerts, &readings), [(70, true), (1301, false)]);
    }

    #[test]
    fn the_guides_limits_are_the_limits() {
        let limits: Vec<_> =
            alerts(Limits::default()).all().iter().map(|alert| (alert.kind.name(), alert.limit)).collect();
        let expected = [
            ("HIGH_AVG_QUERY_TIME", 200.0),
            ("HIGH_P95_QUERY_TIME", 500.0),
            ("MANY_SLOW_QUERIES", 10.0),
            ("LOW_CACHE_HIT_RATE", 85.0),
            ("LOW_BLOCK_HIT_RATE", 85.0),
            ("HIGH_POOL_UTILIZATION", 80.0),
            ("HIGH_ERROR_RATE", 1.0),
            ("HIGH_REPLICA_LAG", 30_000.0),
            ("SERVERS_DOWN", 0.0),
        ];
        assert_eq!(limits, expected);
    }

    #[test]
    fn news_is_said_in_words_and_as_a_document() {
        let mut change = Change { kind: Kind::ErrorRate, is_raised: true, value: Some(2.345), limit: 1.0 };
        assert_eq!(
            change.message(),
            "the part of requests answered with an error of the server is 2.35%, above the limit of 1%"
        );
        let document = change.document(Duration::from_secs(1_800_000_000));
        assert_eq!(
            (&document["alert"], &document["state"], &document["severity"], &document["unixTime"]),
            (&json!("HIGH_ERROR_RATE"), &json!("raised"), &json!("critical"), &json!(1_800_000_000))
        );
        change = Change { kind: Kind::BlockHitRate, is_raised: false, value: Some(99.0), limit: 85.0 };
        assert_eq!(change.message(), "the hit rate of Postgres' block cache is again 99%; the limit is 85%");
        change.is_raised = true;
        change.value = Some(50.0);
        assert_eq!(change.message(), "the hit rate of Postgres' block cache is 50%, below the limit of 85%");
        change = Change { kind: Kind::P95QueryTime, is_raised: false, value: None, limit: 500.0 };
        assert_eq!(change.message(), "the 95th percentile of query times: nothing to measure");
    }
}
