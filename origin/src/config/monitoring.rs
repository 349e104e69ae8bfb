//! `[monitoring]`: from when on something is slow, and what raises an alert. The defaults are the numbers of the performance
//! guide.
//!
//! ```toml
//! [monitoring]
//! window = "5m"                    # what averages, percentiles and rates are made of
//! slow_request = "1s"              # what takes longer is logged
//! slow_statement = "500ms"
//! slow_query = "1s"                # statements that count as slow queries of the hour
//! proxy = "http://127.0.0.1:9090"  # larder's admin listener, whose cache hit rate is shown too
//!
//! [monitoring.alerts]              # each limit can be "off"
//! average_query_time = "200ms"
//! p95_query_time = "500ms"
//! slow_queries_per_hour = 10
//! cache_hit_rate = 85              # percent, of the proxy
//! block_hit_rate = 85              # percent, of Postgres' own memory
//! pool_utilization = 80            # percent
//! error_rate = 1                   # percent
//! index_usage_rate = "off"         # percent
//! replica_lag = "30s"
//! servers_down = 0
//! raise_after = "1m"               # beyond the limit for so long
//! clear_after = "5m"               # within it for so long
//! webhook = "http://127.0.0.1:9000/alerts"
//! webhook_timeout = "5s"
//! ```
//! `LARDER_ALERT_WEBHOOK` stands in for `webhook`: such addresses often have a secret in them.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Environment;
use super::http_url::HttpUrl;
use super::section::{Report, Section, Value};

const DEFAULT_WINDOW: Duration = Duration::from_secs(5 * 60);
const DEFAULT_SLOW_REQUEST: Duration = Duration::from_secs(1);
const DEFAULT_SLOW_STATEMENT: Duration = Duration::from_millis(500);
/// The guide counts another time than it logs.
const DEFAULT_SLOW_QUERY: Duration = Duration::from_secs(1);
/// One reading of several that is too high is noise; a minute of them is not.
const DEFAULT_RAISE_AFTER: Duration = Duration::from_secs(60);
/// A whole window without trouble.
const DEFAULT_CLEAR_AFTER: Duration = Duration::from_secs(5 * 60);
const DEFAULT_WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);
const EXAMPLE: &str = "\"http://127.0.0.1:9000/alerts\"";

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Monitoring {
    pub(crate) window: Duration,
    pub(crate) slow_request: Duration,
    pub(crate) slow_statement: Duration,
    pub(crate) slow_query: Duration,
    pub(crate) proxy: Option<HttpUrl>,
    pub(crate) limits: Limits,
    pub(crate) raise_after: Duration,
    pub(crate) clear_after: Duration,
    pub(crate) webhook: Option<HttpUrl>,
    pub(crate) webhook_timeout: Duration,
}

/// What raises an alert; `None`: nothing does. Times in milliseconds, rates in percent, as they are shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limits {
    pub(crate) average_query_time: Option<f64>,
    pub(crate) p95_query_time: Option<f64>,
    pub(crate) slow_queries_per_hour: Option<f64>,
    pub(crate) cache_hit_rate: Option<f64>,
    pub(crate) block_hit_rate: Option<f64>,
    pub(crate) pool_utilization: Option<f64>,
    pub(crate) error_rate: Option<f64>,
    pub(crate) index_usage_rate: Option<f64>,
    pub(crate) replica_lag: Option<f64>,
    pub(crate) servers_down: Option<f64>,
}

impl Default for Limits {
    /// The guide's, where it has one.
    fn default() -> Self {
        Self {
            average_query_time: Some(200.0),
            p95_query_time: Some(500.0),
            slow_queries_per_hour: Some(10.0),
            cache_hit_rate: Some(85.0),
            block_hit_rate: Some(85.0),
            pool_utilization: Some(80.0),
            error_rate: Some(1.0),
            // Which part of scans should use an index depends on what is asked.
            index_usage_rate: None,
            replica_lag: Some(30_000.0),
            servers_down: Some(0.0),
        }
    }
}

impl Default for Monitoring {
    fn default() -> Self {
        Self {
            window: DEFAULT_WINDOW,
            slow_request: DEFAULT_SLOW_REQUEST,
            slow_statement: DEFAULT_SLOW_STATEMENT,
            slow_query: DEFAULT_SLOW_QUERY,
            proxy: None,
            limits: Limits::default(),
            raise_after: DEFAULT_RAISE_AFTER,
            clear_after: DEFAULT_CLEAR_AFTER,
            webhook: None,
            webhook_timeout: DEFAULT_WEBHOOK_TIMEOUT,
        }
    }
}

pub(super) fn read(
    report: &Report<'_>,
    section: Option<Section<'_>>,
    environment: &Environment,
) -> Option<Monitoring> {
    let mut section = section.unwrap_or_else(|| Section::empty(report, "monitoring"));
    let mut read = Monitoring::default();
    let mut is_good = true;
    let mut take = |value: Option<Value<'_>>, range: RangeInclusive<Duration>, place: &mut Duration| {
        if let Some(value) = value {
            match value.duration(range) {
                Some(duration) => *place = duration,
                None => is_good = false,
            }
        }
    };
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
    take(section.get("window"), Duration::from_secs(6)..=hour, &mut read.window);
    let slow = Duration::from_millis(1)..=hour;
    take(section.get("slow_request"), slow.clone(), &mut read.slow_request);
    take(section.get("slow_statement"), slow.clone(), &mut read.slow_statement);
    take(section.get("slow_query"), slow, &mut read.slow_query);
    let proxy = section.get("proxy");
    let alerts = section.get("alerts").map(|value| value.section());
    let is_table = alerts.as_ref().is_none_or(Option::is_some);
    let mut alerts = alerts.flatten().unwrap_or_else(|| Section::empty(report, "monitoring.alerts"));
    take(alerts.get("raise_after"), Duration::ZERO..=day, &mut read.raise_after);
    take(alerts.get("clear_after"), Duration::ZERO..=day, &mut read.clear_after);
    let timeout = Duration::from_millis(10)..=Duration::from_secs(60);
    take(alerts.get("webhook_timeout"), timeout, &mut read.webhook_timeout);

    let mut limit = |value: Option<Value<'_>>, kind: Kind, place: &mut Option<f64>| {
        if let Some(value) = value {
            match kind.read(&value) {
                Some(limit) => *place = limit,
                None => is_good = false,
            }
        }
    };
    let limits = &mut read.limits;
    limit(alerts.get("average_query_time"), Kind::Time, &mut limits.average_query_time);
    limit(alerts.get("p95_query_time"), Kind::Time, &mut limits.p95_query_time);
    limit(alerts.get("slow_queries_per_hour"), Kind::Count, &mut limits.slow_queries_per_hour);
    limit(alerts.get("cache_hit_rate"), Kind::Percent, &mut limits.cache_hit_rate);
    limit(alerts.get("block_hit_rate"), Kind::Percent, &mut limits.block_hit_rate);
    limit(alerts.get("pool_utilization"), Kind::Percent, &mut limits.pool_utilization);
    limit(alerts.get("error_rate"), Kind::Percent, &mut limits.error_rate);
    limit(alerts.get("index_usage_rate"), Kind::Percent, &mut limits.index_usage_rate);
    limit(alerts.get("replica_lag"), Kind::Time, &mut limits.replica_lag);
    limit(alerts.get("servers_down"), Kind::Count, &mut limits.servers_down);

    let mut url = |value: Option<Value<'_>>, place: &mut Option<HttpUrl>| {
        if let Some(value) = value {
            *place = value.parse(EXAMPLE);
            is_good &= place.is_some();
        }
    };
    url(proxy, &mut read.proxy);
    let webhook = alerts.get("webhook");
    match &environment.alert_webhook {
        Some(text) if webhook.is_none() => match text.parse() {
            Ok(parsed) => read.webhook = Some(parsed),
            Err(why) => report.fault_of_file(format!("LARDER_ALERT_WEBHOOK: {why}")),
        },
        Some(_) | None => url(webhook, &mut read.webhook),
    }
    alerts.finish();
    section.finish();
    (is_good && is_table).then_some(read)
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Time,
    Percent,
    Count,
}

impl Kind {
    /// `Some(None)`: switched off.
    fn read(self, value: &Value<'_>) -> Option<Option<f64>> {
        if value.is_off() {
            return Some(None);
        }
        Some(Some(match self {
            Self::Time => {
                let longest = Duration::from_secs(24 * 3600);
                value.duration(Duration::from_millis(1)..=longest)?.as_secs_f64() * 1000.0
            }
            Self::Percent => value.percent()?,
            Self::Count => f64::from(u32::try_from(value.count(0..=1_000_000)?).ok()?),
        }))
    }
}
