//! The text format of Prometheus.

use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::BOUNDS_US;
use super::{CLASSES, EndpointMetrics, Metrics};
use crate::database::{Database, LaneKind};

/// A text that grows by samples. Label values are names of files and servers: plain ones.
#[derive(Debug, Default)]
pub(crate) struct Text(pub(crate) String);

impl Text {
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail, here and below.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { "{" } else { "," });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A family with one sample.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }
}

impl Metrics {
    pub(crate) fn text<'d>(&self, databases: impl Iterator<Item = &'d Database> + Clone) -> Text {
        let mut out = Text::default();
        let serving = self.serving();
        self.requests(&mut out, &serving);
        statements(&mut out, &serving);
        servers(&mut out, databases);
        self.reloads(&mut out);
        out
    }

    fn reloads(&self, out: &mut Text) {
        let (accepted, refused) = self.reloads.read();
        out.gauge(
            "larder_origin_configuration_generation",
            "Which of the sets of query files that this process has read serves; the first is 1.",
            accepted + 1,
        );
        out.family(
            "larder_origin_reloads_total",
            "counter",
            "Sets of query files that took the place of others.",
        );
        out.sample("larder_origin_reloads_total", &[], accepted);
        out.family(
            "larder_origin_reload_failures_total",
            "counter",
            "Sets of query files that were refused.",
        );
        out.sample("larder_origin_reload_failures_total", &[], refused);
    }

    fn requests(&self, out: &mut Text, serving: &[Arc<EndpointMetrics>]) {
        let all = || serving.iter().map(|metrics| &**metrics).chain([&self.nowhere]);
        out.family(
            "larder_origin_requests_total",
            "counter",
            "Requests by endpoint and class of status; no endpoint: the path has none.",
        );
        for metrics in all() {
            for (class, count) in CLASSES.iter().zip(&metrics.requests) {
                out.sample(
                    "larder_origin_requests_total",
                    &[("endpoint", &metrics.name), ("status", class)],
                    load(count),
                );
            }
        }
        out.family("larder_origin_slow_requests_total", "counter", "Requests that took too long.");
        for metrics in all() {
            out.sample(
                "larder_origin_slow_requests_total",
                &[("endpoint", &metrics.name)],
                metrics.slow_requests.count(),
            );
        }
    }
}

fn statements(out: &mut Text, serving: &[Arc<EndpointMetrics>]) {
    out.family(
        "larder_origin_statement_seconds",
        "histogram",
        "How long an endpoint's statement took, with its wait for a connection and with second attempts.",
    );
    for metrics in serving {
        let metric = "larder_origin_statement_seconds";
        let counts = metrics.statements.counts();
        let bucket = format!("{metric}_bucket");
        let mut so_far = 0;
        for (bound, count) in BOUNDS_US.iter().zip(&counts.buckets) {
            so_far += count;
            out.sample(&bucket, &[("endpoint", &metrics.name), ("le", &seconds(*bound))], so_far);
        }
        out.sample(&bucket, &[("endpoint", &metrics.name), ("le", "+Inf")], counts.count());
        out.sample(&format!("{metric}_sum"), &[("endpoint", &metrics.name)], seconds(counts.sum_us));
        out.sample(&format!("{metric}_count"), &[("endpoint", &metrics.name)], counts.count());
    }
    out.family("larder_origin_slow_statements_total", "counter", "Statements that took too long.");
    for metrics in serving {
        out.sample(
            "larder_origin_slow_statements_total",
            &[("endpoint", &metrics.name)],
            metrics.slow_statements.count(),
        );
    }
    out.family(
        "larder_origin_slow_queries_total",
        "counter",
        "Statements that count as slow queries of the hour.",
    );
    for metrics in serving {
        out.sample(
            "larder_origin_slow_queries_total",
            &[("endpoint", &metrics.name)],
            load(&metrics.slow_queries),
        );
    }
    out.family("larder_origin_statements_total", "counter", "Statements sent to a server.");
    for metrics in serving {
        out.sample("larder_origin_statements_total", &[("endpoint", &metrics.name)], load(&metrics.sent));
    }
}

fn servers<'d>(out: &mut Text, databases: impl Iterator<Item = &'d Database> + Clone) {
    let servers = |index: usize| databases.clone().filter_map(move |database| database.servers.get(index));
    let names =
        databases.clone().next().map(|database| database.servers.iter().map(|server| server.name.clone()));
    let names: Vec<_> = names.into_iter().flatten().collect();
    let sessions = |index: usize| {
        servers(index)
            .flat_map(|server| server.lanes(LaneKind::Fast).iter().filter_map(|lane| lane.session()))
    };
    out.family("larder_origin_statements_by_server_total", "counter", "The same, by server.");
    for (index, name) in names.iter().enumerate() {
        let count: u64 = servers(index).map(|server| load(&server.statements)).sum();
        out.sample("larder_origin_statements_by_server_total", &[("server", name)], count);
    }
    out.family("larder_origin_server_connections", "gauge", "Connections that serve.");
    for (index, name) in names.iter().enumerate() {
        out.sample("larder_origin_server_connections", &[("server", name)], sessions(index).count());
    }
    out.family("larder_origin_server_up", "gauge", "Whether there is such a connection.");
    for (index, name) in names.iter().enumerate() {
        let is_up = u8::from(sessions(index).next().is_some());
        out.sample("larder_origin_server_up", &[("server", name)], is_up);
    }
    out.family("larder_origin_statements_in_flight", "gauge", "Statements sent and not yet answered.");
    for (index, name) in names.iter().enumerate() {
        let in_flight: usize = sessions(index).map(|session| session.in_flight()).sum();
        out.sample("larder_origin_statements_in_flight", &[("server", name)], in_flight);
    }
    let queues = |kind: LaneKind| databases.clone().map(move |database| database.queue(kind));
    out.family(
        "larder_origin_pool_refused_total",
        "counter",
        "Requests that got no connection: the queue was full, or they waited for max_wait.",
    );
    for kind in LaneKind::ALL {
        for (index, reason) in ["full", "max_wait"].into_iter().enumerate() {
            let count: u64 = queues(kind).filter_map(|queue| queue.refused().get(index).copied()).sum();
            let labels = [("lane", kind.name()), ("reason", reason)];
            out.sample("larder_origin_pool_refused_total", &labels, count);
        }
    }
    out.family(
        "larder_origin_server_lag_seconds",
        "gauge",
        "How far a replica is behind, as it says itself.",
    );
    for (index, name) in names.iter().enumerate() {
        let lag = servers(index).map(|server| server.target.lag()).max().unwrap_or_default();
        out.sample("larder_origin_server_lag_seconds", &[("server", name)], lag.as_secs_f64());
    }
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Exact, unlike a float.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}
