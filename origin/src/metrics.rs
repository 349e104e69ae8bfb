//! What operators count, in the text format of Prometheus. Labels are names of endpoints and servers, never of requests.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;

use crate::catalogue::Catalogue;
use crate::database::{Database, LaneKind};

/// Upper bounds of the histogram, in microseconds.
const BUCKETS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Debug)]
pub(crate) struct Metrics {
    /// One for each endpoint, and one for requests that met none.
    endpoints: Vec<EndpointMetrics>,
}

#[derive(Debug, Default)]
struct EndpointMetrics {
    requests: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; BUCKETS_US.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl Metrics {
    pub(crate) fn new(catalogue: &Catalogue) -> Self {
        Self { endpoints: (0..=catalogue.endpoints.len()).map(|_| EndpointMetrics::default()).collect() }
    }

    pub(crate) fn request(&self, endpoint: Option<usize>, status: StatusCode) {
        let Some(metrics) = self.endpoints.get(endpoint.unwrap_or(self.endpoints.len() - 1)) else { return };
        if let Some(count) = metrics.requests.get(usize::from(status.as_u16() / 100).saturating_sub(1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The wait for a connection's turn is part of it.
    pub(crate) fn statement(&self, endpoint: usize, took: Duration) {
        let Some(metrics) = self.endpoints.get(endpoint) else { return };
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) =
            BUCKETS_US.iter().position(|bound| took_us <= *bound).and_then(|at| metrics.buckets.get(at))
        {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        metrics.count.fetch_add(1, Ordering::Relaxed);
        metrics.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    pub(crate) fn text<'d>(
        &self,
        catalogue: &Catalogue,
        databases: impl Iterator<Item = &'d Database> + Clone,
    ) -> String {
        let mut out = String::new();
        let names: Vec<&str> =
            (catalogue.endpoints.iter().map(|endpoint| endpoint.name.as_str())).chain([""]).collect();
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // Writing to a String cannot fail.
        head(
            &mut out,
            "larder_origin_requests_total",
            "counter",
            "Requests by endpoint and class of status; no endpoint: the path has none.",
        );
        for (name, metrics) in names.iter().zip(&self.endpoints) {
            for (class, count) in CLASSES.iter().zip(&metrics.requests) {
                let _ = writeln!(
                    out,
                    "larder_origin_requests_total{{endpoint=\"{name}\",status=\"{class}\"}} {}",
                    load(count)
                );
            }
        }
        head(
            &mut out,
            "larder_origin_statement_seconds",
            "histogram",
            "How long an endpoint's statement took, with its wait for a connection and with second attempts.",
        );
        for (endpoint, metrics) in catalogue.endpoints.iter().zip(&self.endpoints) {
            let metric = "larder_origin_statement_seconds";
            let label = format!("endpoint=\"{}\"", endpoint.name);
            let mut so_far = 0;
            for (bound, count) in BUCKETS_US.iter().zip(&metrics.buckets) {
                so_far += load(count);
                let _ = writeln!(out, "{metric}_bucket{{{label},le=\"{}\"}} {so_far}", seconds(*bound));
            }
            let _ = writeln!(out, "{metric}_bucket{{{label},le=\"+Inf\"}} {}", load(&metrics.count));
            let _ = writeln!(out, "{metric}_sum{{{label}}} {}", seconds(load(&metrics.sum_us)));
            let _ = writeln!(out, "{metric}_count{{{label}}} {}", load(&metrics.count));
        }
        let servers =
            |index: usize| databases.clone().filter_map(move |database| database.servers.get(index));
        let names = databases
            .clone()
            .next()
            .map(|database| database.servers.iter().map(|server| server.name.clone()));
        let names: Vec<_> = names.into_iter().flatten().collect();
        let sessions = |index: usize| {
            servers(index)
                .flat_map(|server| server.lanes(LaneKind::Fast).iter().filter_map(|lane| lane.session()))
        };
        let sent = |index: usize, endpoint: usize| {
            servers(index).filter_map(|server| server.statements.get(endpoint)).map(load).sum::<u64>()
        };
        head(&mut out, "larder_origin_statements_total", "counter", "Statements sent to a server.");
        for (index, endpoint) in catalogue.endpoints.iter().enumerate() {
            let count: u64 = (0..names.len()).map(|server| sent(server, index)).sum();
            let _ = writeln!(out, "larder_origin_statements_total{{endpoint=\"{}\"}} {count}", endpoint.name);
        }
        head(&mut out, "larder_origin_statements_by_server_total", "counter", "The same, by server.");
        for (index, name) in names.iter().enumerate() {
            let count: u64 = (0..catalogue.endpoints.len()).map(|endpoint| sent(index, endpoint)).sum();
            let _ = writeln!(out, "larder_origin_statements_by_server_total{{server=\"{name}\"}} {count}");
        }
        head(&mut out, "larder_origin_server_connections", "gauge", "Connections that serve.");
        for (index, name) in names.iter().enumerate() {
            let _ = writeln!(
                out,
                "larder_origin_server_connections{{server=\"{name}\"}} {}",
                sessions(index).count()
            );
        }
        head(&mut out, "larder_origin_server_up", "gauge", "Whether there is such a connection.");
        for (index, name) in names.iter().enumerate() {
            let is_up = u8::from(sessions(index).next().is_some());
            let _ = writeln!(out, "larder_origin_server_up{{server=\"{name}\"}} {is_up}");
        }
        head(
            &mut out,
            "larder_origin_statements_in_flight",
            "gauge",
            "Statements sent and not yet answered.",
        );
        for (index, name) in names.iter().enumerate() {
            let in_flight: usize = sessions(index).map(|session| session.in_flight()).sum();
            let _ = writeln!(out, "larder_origin_statements_in_flight{{server=\"{name}\"}} {in_flight}");
        }
        head(
            &mut out,
            "larder_origin_server_lag_seconds",
            "gauge",
            "How far a replica is behind, as it says itself.",
        );
        for (index, name) in names.iter().enumerate() {
            let lag = servers(index).map(|server| server.target.lag()).max().unwrap_or_default();
            let _ =
                writeln!(out, "larder_origin_server_lag_seconds{{server=\"{name}\"}} {}", lag.as_secs_f64());
        }
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// Exact, unlike a float.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}
