//! What is counted while requests are answered: atomics, and nothing that waits. Labels are names of endpoints and servers,
//! never of requests.
//!
//! Read next: `metrics/text.rs` for how Prometheus is told, `status.rs` for what is made of the counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;

use crate::catalogue::Catalogue;
use crate::clock::Stopwatch;
use crate::config::Monitoring;
use crate::slow::SlowLog;

mod histogram;
mod text;

pub(crate) use histogram::Counts;
use histogram::Histogram;
pub(crate) use text::Text;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const SERVER_ERRORS: usize = 4;

#[derive(Debug)]
pub(crate) struct Metrics {
    started: Stopwatch,
    slow_request: Duration,
    slow_statement: Duration,
    slow_query: Duration,
    /// Of the endpoints, and nothing for requests that met none.
    names: Vec<String>,
    /// In the same order.
    endpoints: Vec<EndpointMetrics>,
}

#[derive(Debug, Default)]
struct EndpointMetrics {
    requests: [AtomicU64; CLASSES.len()],
    statements: Histogram,
    /// Statements that count as slow queries of the hour.
    slow_queries: AtomicU64,
    slow_requests: SlowLog,
    slow_statements: SlowLog,
}

/// All counts at one time.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// By endpoint.
    pub(crate) statements: Vec<Counts>,
    pub(crate) requests: u64,
    /// Answers of 500 and above.
    pub(crate) errors: u64,
    pub(crate) slow_queries: u64,
}

impl Metrics {
    pub(crate) fn new(catalogue: &Catalogue, config: &Monitoring) -> Self {
        let names = catalogue.endpoints.iter().map(|endpoint| endpoint.name.clone());
        let names: Vec<String> = names.chain([String::new()]).collect();
        Self {
            started: Stopwatch::start(),
            slow_request: config.slow_request,
            slow_statement: config.slow_statement,
            slow_query: config.slow_query,
            endpoints: names.iter().map(|_| EndpointMetrics::default()).collect(),
            names,
        }
    }

    /// Since the start: what everything here is timed by.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The names of the endpoints, as [`Look::statements`] has them.
    pub(crate) fn endpoint_names(&self) -> &[String] {
        self.names.split_last().map_or(&[], |(_, names)| names)
    }

    /// Called when the answer's head is there.
    pub(crate) fn request(&self, endpoint: Option<usize>, status: StatusCode, took: Duration) {
        let index = endpoint.unwrap_or(self.names.len() - 1);
        let (Some(name), Some(metrics)) = (self.names.get(index), self.endpoints.get(index)) else { return };
        if let Some(count) = metrics.requests.get(usize::from(status.as_u16() / 100).saturating_sub(1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if took > self.slow_request {
            metrics.slow_requests.request(self.now(), name, status, took);
        }
    }

    /// The wait for a connection's turn is part of it.
    pub(crate) fn statement(&self, endpoint: usize, took: Duration) {
        let (Some(name), Some(metrics)) = (self.names.get(endpoint), self.endpoints.get(endpoint)) else {
            return;
        };
        metrics.statements.record(took);
        if took > self.slow_query {
            metrics.slow_queries.fetch_add(1, Ordering::Relaxed);
        }
        if took > self.slow_statement {
            metrics.slow_statements.statement(self.now(), name, took);
        }
    }

    pub(crate) fn look(&self) -> Look {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut look = Look::default();
        for metrics in &self.endpoints {
            look.requests += metrics.requests.iter().map(load).sum::<u64>();
            look.errors += metrics.requests.get(SERVER_ERRORS).map_or(0, load);
            look.slow_queries += load(&metrics.slow_queries);
        }
        let endpoints = self.endpoints.split_last().map_or(&[] as &[_], |(_, endpoints)| endpoints);
        look.statements = endpoints.iter().map(|metrics| metrics.statements.counts()).collect();
        look
    }
}
