//! How the worker and its servers do, in figures: the six of the performance guide and the error rate, over stretches of time
//! that move along. Shown as JSON on `/-/status` and as Prometheus gauges on `/-/metrics`; alerts are made of them.
//!
//! Fed by `monitor.rs`; between its ticks the figures are those of the moment that asks. Read next: `status/ring.rs`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::alerts::webhook::Counts as WebhookCounts;
use crate::alerts::{Alerts, Change, Kind, Reading};
use crate::config::Monitoring;
use crate::metrics::{Counts, EndpointMetrics, Look, Metrics};

pub(crate) mod pool;
pub(crate) mod ring;
mod show;
pub(crate) mod statistics;

use pool::Pools;
use ring::{PARTS, Ring};
use statistics::ServerCounts;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(crate) struct Status {
    window: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    traffic: Ring<Look>,
    slow_queries: Ring<u64>,
    utilization: Ring<Samples>,
    /// Of the fullest pool, at each tick so far.
    sampled: Samples,
    proxy: Source<ProxyCounts>,
    /// In the order of the configuration.
    servers: Vec<Source<ServerCounts>>,
    alerts: Alerts,
    webhook: Option<Arc<WebhookCounts>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Samples {
    sum: f64,
    count: u64,
}

/// Counters of someone else, who may be gone, or may begin anew.
#[derive(Debug)]
struct Source<T> {
    ring: Ring<T>,
    latest: Option<T>,
    /// When it was, since the start.
    read_at: Duration,
}

/// Requests that the proxy answered, and those of them from its cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProxyCounts {
    pub(crate) hits: u64,
    pub(crate) requests: u64,
}

/// Counters that only grow, until they begin anew.
trait Counters: Copy {
    fn since(self, earlier: Self) -> Option<Self>;
}

impl Counters for ProxyCounts {
    fn since(self, earlier: Self) -> Option<Self> {
        Some(Self {
            hits: self.hits.checked_sub(earlier.hits)?,
            requests: self.requests.checked_sub(earlier.requests)?,
        })
    }
}

impl Counters for ServerCounts {
    fn since(self, earlier: Self) -> Option<Self> {
        Self::since(self, earlier)
    }
}

/// All figures at one time. Times in milliseconds, rates in percent.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) average_query_time: Reading,
    pub(crate) p95_query_time: Reading,
    pub(crate) slow_queries_per_hour: Reading,
    pub(crate) cache_hit_rate: Reading,
    pub(crate) block_hit_rate: Reading,
    pub(crate) pool_utilization: Reading,
    pub(crate) error_rate: Reading,
    pub(crate) index_usage_rate: Reading,
    pub(crate) replica_lag: Reading,
    pub(crate) servers_down: Reading,
}

impl Figures {
    pub(crate) fn of(&self, kind: Kind) -> Reading {
        match kind {
            Kind::AverageQueryTime => self.average_query_time,
            Kind::P95QueryTime => self.p95_query_time,
            Kind::SlowQueries => self.slow_queries_per_hour,
            Kind::CacheHitRate => self.cache_hit_rate,
            Kind::BlockHitRate => self.block_hit_rate,
            Kind::PoolUtilization => self.pool_utilization,
            Kind::ErrorRate => self.error_rate,
            Kind::IndexUsageRate => self.index_usage_rate,
            Kind::ReplicaLag => self.replica_lag,
            Kind::ServersDown => self.servers_down,
        }
    }
}

impl<T: Counters> Source<T> {
    fn new(window: Duration) -> Self {
        Self { ring: Ring::new(window), latest: None, read_at: Duration::ZERO }
    }

    fn read(&mut self, now: Duration, counts: Option<T>) {
        self.latest = counts;
        let Some(counts) = counts else { return };
        self.read_at = now;
        // Counters that are less than they were began anew, and so does the window.
        if self.ring.beginning().is_some_and(|beginning| counts.since(*beginning).is_none()) {
            self.ring.clear();
        }
        self.ring.look(now, counts);
    }

    /// What happened in the window; `None` if the source is silent.
    fn window(&self) -> Option<T> {
        self.latest?.since(*self.ring.beginning()?)
    }
}

fn percent(part: u64, all: u64) -> Reading {
    Reading::of((all > 0).then(|| part as f64 * 100.0 / all as f64))
}

impl Status {
    pub(crate) fn new(config: &Monitoring, metrics: &Metrics, servers: usize) -> Self {
        let window = config.window;
        let mut state = State {
            traffic: Ring::new(window),
            slow_queries: Ring::new(HOUR),
            utilization: Ring::new(window),
            sampled: Samples::default(),
            proxy: Source::new(window),
            servers: (0..servers).map(|_| Source::new(window)).collect(),
            alerts: Alerts::new(config),
            webhook: None,
        };
        // Before the first request.
        state.traffic.look(Duration::ZERO, metrics.look());
        state.slow_queries.look(Duration::ZERO, 0);
        state.utilization.look(Duration::ZERO, Samples::default());
        Self { window, state: Mutex::new(state) }
    }

    /// How often to [`Self::tick`].
    pub(crate) fn interval(&self) -> Duration {
        self.window / PARTS
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_webhook(&self, counts: Arc<WebhookCounts>) {
        self.state().webhook = Some(counts);
    }

    pub(crate) fn read_server(&self, now: Duration, index: usize, counts: Option<ServerCounts>) {
        if let Some(server) = self.state().servers.get_mut(index) {
            server.read(now, counts);
        }
    }

    pub(crate) fn read_proxy(&self, now: Duration, counts: Option<ProxyCounts>) {
        self.state().proxy.read(now, counts);
    }

    /// Moves the windows along, and gives the news of alerts.
    pub(crate) fn tick(&self, now: Duration, metrics: &Metrics, pools: &Pools) -> Vec<Change> {
        let mut state = self.state();
        if let Some(percent) = pools.utilization() {
            state.sampled.sum += percent;
            state.sampled.count += 1;
        }
        let (look, sampled) = (metrics.look(), state.sampled);
        state.slow_queries.look(now, look.totals.slow_queries);
        state.traffic.look(now, look);
        state.utilization.look(now, sampled);
        let figures = state.figures(metrics, pools);
        state.alerts.observe(now, |kind| figures.of(kind))
    }
}

impl State {
    fn figures(&self, metrics: &Metrics, pools: &Pools) -> Figures {
        let look = metrics.look();
        let (statements, requests, errors) = self.traffic_of(&look);
        let slow_queries = look.totals.slow_queries - self.slow_queries.beginning().copied().unwrap_or(0);
        let begun = self.utilization.beginning().copied().unwrap_or_default();
        let samples = self.sampled.count - begun.count;
        let servers = || self.servers.iter().filter_map(Source::window);
        let is_known = servers().next().is_some();
        let known = |reading| if is_known { reading } else { Reading::Unknown };
        let sum = |of: fn(ServerCounts) -> u64| servers().map(of).sum::<u64>();
        Figures {
            average_query_time: Reading::of(statements.average_ms()),
            p95_query_time: Reading::of(statements.quantile_ms(0.95)),
            slow_queries_per_hour: Reading::Value(slow_queries as f64),
            cache_hit_rate: match self.proxy.window() {
                Some(counts) => percent(counts.hits, counts.requests),
                None => Reading::Unknown,
            },
            block_hit_rate: known(percent(
                sum(|counts| counts.blocks_hit),
                sum(|counts| counts.blocks_hit + counts.blocks_read),
            )),
            pool_utilization: Reading::of(
                (samples > 0).then(|| (self.sampled.sum - begun.sum) / samples as f64),
            ),
            error_rate: percent(errors, requests),
            index_usage_rate: known(percent(
                sum(|counts| counts.index_scans),
                sum(|counts| counts.index_scans + counts.sequential_scans),
            )),
            replica_lag: pools
                .lag()
                .map_or(Reading::Unknown, |lag| Reading::Value(lag.as_secs_f64() * 1000.0)),
            servers_down: Reading::Value(pools.servers_down() as f64),
        }
    }

    /// Statements, requests and errors of the window.
    fn traffic_of(&self, look: &Look) -> (Counts, u64, u64) {
        let mut statements = Counts::default();
        for (_, counts) in self.by_endpoint(look) {
            statements.add(&counts);
        }
        let begun = self.traffic.beginning().map(|begun| begun.totals).unwrap_or_default();
        (statements, look.totals.requests - begun.requests, look.totals.errors - begun.errors)
    }

    /// Statements of the window, by endpoint.
    fn by_endpoint<'l>(&self, look: &'l Look) -> Vec<(&'l EndpointMetrics, Counts)> {
        let begun = self.traffic.beginning();
        let none = Counts::default();
        (look.statements.iter())
            .map(|(metrics, counts)| {
                let before = begun.and_then(|look| look.of(metrics)).unwrap_or(&none);
                (&**metrics, counts.since(before))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod rules;
