//! What is counted while requests are answered: atomics, and nothing that waits. Labels are names of endpoints and servers,
//! never of requests.
//!
//! Read next: `metrics/text.rs` for how Prometheus is told, `status.rs` for what is made of the counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// Of requests that met no endpoint.
    nowhere: EndpointMetrics,
    /// Held for moments, and not by requests.
    endpoints: Mutex<Endpoints>,
    pub(crate) reloads: Reloads,
}

#[derive(Debug, Default)]
struct Endpoints {
    /// Those that serve, by name.
    serving: Vec<Arc<EndpointMetrics>>,
    /// What those had counted that do not serve any more. Their names are not kept: however often query files are replaced, there
    /// are as many as there are endpoints.
    gone: Totals,
}

/// What is counted of one endpoint. Goes on when its file is another one.
#[derive(Debug, Default)]
pub(crate) struct EndpointMetrics {
    pub(crate) name: String,
    /// Statements, to whichever server; without the stamps that go along.
    sent: AtomicU64,
    requests: [AtomicU64; CLASSES.len()],
    statements: Histogram,
    /// Statements that count as slow queries of the hour.
    slow_queries: AtomicU64,
    slow_requests: SlowLog,
    slow_statements: SlowLog,
}

/// How often query files were read again.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    accepted: AtomicU64,
    refused: AtomicU64,
}

/// All counts at one time.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Of the endpoints that serve, by name.
    pub(crate) statements: Vec<(Arc<EndpointMetrics>, Counts)>,
    pub(crate) totals: Totals,
}

/// Over all endpoints, those that are gone among them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    /// Answers of 500 and above.
    pub(crate) errors: u64,
    pub(crate) slow_queries: u64,
}

impl Metrics {
    pub(crate) fn new(config: &Monitoring) -> Self {
        Self {
            started: Stopwatch::start(),
            slow_request: config.slow_request,
            slow_statement: config.slow_statement,
            slow_query: config.slow_query,
            nowhere: EndpointMetrics::default(),
            endpoints: Mutex::default(),
            reloads: Reloads::default(),
        }
    }

    /// Since the start: what everything here is timed by.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn endpoints(&self) -> MutexGuard<'_, Endpoints> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By name.
    fn serving(&self) -> Vec<Arc<EndpointMetrics>> {
        self.endpoints().serving.clone()
    }

    /// These serve from now on, and no others: the metrics of each, in the same order. What requests of the others still count is
    /// lost.
    pub(crate) fn of(&self, catalogue: &Catalogue) -> Vec<Arc<EndpointMetrics>> {
        let mut endpoints = self.endpoints();
        let find = |name: &str| {
            let known = endpoints.serving.binary_search_by(|metrics| metrics.name.as_str().cmp(name)).ok();
            known.and_then(|index| endpoints.serving.get(index)).cloned()
        };
        let new =
            |name: &str| Arc::new(EndpointMetrics { name: name.to_owned(), ..EndpointMetrics::default() });
        let names = catalogue.endpoints.iter().map(|endpoint| endpoint.name.as_str());
        let wanted: Vec<_> = names.map(|name| find(name).unwrap_or_else(|| new(name))).collect();
        let mut serving = wanted.clone();
        serving.sort_by(|one, other| one.name.cmp(&other.name));
        let old = std::mem::replace(&mut endpoints.serving, serving);
        for metrics in old {
            if !wanted.iter().any(|wanted| Arc::ptr_eq(wanted, &metrics)) {
                endpoints.gone.add(metrics.totals());
            }
        }
        wanted
    }

    /// Called when the answer's head is there.
    pub(crate) fn request(&self, endpoint: Option<&EndpointMetrics>, status: StatusCode, took: Duration) {
        let metrics = endpoint.unwrap_or(&self.nowhere);
        if let Some(count) = metrics.requests.get(usize::from(status.as_u16() / 100).saturating_sub(1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if took > self.slow_request {
            metrics.slow_requests.request(self.now(), &metrics.name, status, took);
        }
    }

    /// The wait for a connection's turn is part of it.
    pub(crate) fn statement(&self, metrics: &EndpointMetrics, took: Duration) {
        metrics.statements.record(took);
        if took > self.slow_query {
            metrics.slow_queries.fetch_add(1, Ordering::Relaxed);
        }
        if took > self.slow_statement {
            metrics.slow_statements.statement(self.now(), &metrics.name, took);
        }
    }

    pub(crate) fn look(&self) -> Look {
        let endpoints = self.endpoints();
        let mut totals = endpoints.gone;
        totals.add(self.nowhere.totals());
        for metrics in &endpoints.serving {
            totals.add(metrics.totals());
        }
        let statements =
            endpoints.serving.iter().map(|metrics| (metrics.clone(), metrics.statements.counts())).collect();
        Look { statements, totals }
    }
}

impl Look {
    /// What had been counted of an endpoint, if it served then.
    pub(crate) fn of(&self, metrics: &Arc<EndpointMetrics>) -> Option<&Counts> {
        let index = self.statements.binary_search_by(|(known, _)| known.name.cmp(&metrics.name)).ok()?;
        // One that went and came back began anew.
        self.statements.get(index).filter(|(known, _)| Arc::ptr_eq(known, metrics)).map(|(_, counts)| counts)
    }
}

impl EndpointMetrics {
    /// A statement is sent to a server.
    pub(crate) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    fn totals(&self) -> Totals {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals {
            requests: self.requests.iter().map(load).sum(),
            errors: self.requests.get(SERVER_ERRORS).map_or(0, load),
            slow_queries: load(&self.slow_queries),
        }
    }
}

impl Reloads {
    /// Called when they serve.
    pub(crate) fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Those that were accepted, and those that were refused.
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.accepted.load(Ordering::Acquire), self.refused.load(Ordering::Relaxed))
    }
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.slow_queries += other.slow_queries;
    }
}
