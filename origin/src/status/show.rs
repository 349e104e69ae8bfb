//! The figures as JSON and for Prometheus.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::pool::{Pool, Pools};
use super::{Figures, Source, Status};
use crate::alerts::{Kind, Reading};
use crate::database::LaneKind;
use crate::metrics::{Metrics, Text};

impl Status {
    /// `/-/status`. Names of endpoints and servers; no addresses, no statements.
    pub(crate) fn json(&self, metrics: &Metrics, pools: &Pools) -> Value {
        let state = self.state();
        let figures = state.figures(metrics, pools);
        let look = metrics.look();
        let (statements, requests, errors) = state.traffic_of(&look);
        let now = metrics.now();
        let endpoints = state.by_endpoint(&look);
        let endpoints = endpoints.iter().map(|(endpoint, counts)| {
            json!({
                "endpoint": endpoint.name,
                "statements": counts.count(),
                "avgQueryTime": rounded(counts.average_ms()),
                "p95QueryTime": rounded(counts.quantile_ms(0.95)),
            })
        });
        let (accepted, refused) = metrics.reloads.read();
        let servers = pools.servers().map(|pool| {
            json!({
                "server": &*pool.server,
                "isUp": pool.connections > 0,
                "lagSeconds": pool.lag.map(|lag| lag.as_secs_f64()),
            })
        });
        let queued = LaneKind::ALL.iter().zip(pools.queued).map(|(kind, queued)| (kind.name(), queued));
        let queued: BTreeMap<_, _> = queued.collect();
        let pools = pools.all.iter().map(|pool| {
            json!({
                "server": &*pool.server,
                "lane": pool.kind.name(),
                "connections": pool.connections,
                "inFlight": pool.in_flight,
                "limit": pool.limit,
                "utilization": rounded(pool.utilization()),
            })
        });
        let alerts = state.alerts.all().iter().map(|alert| {
            json!({
                "alert": alert.kind.name(),
                "severity": alert.kind.severity().name(),
                "value": rounded(figures.of(alert.kind).value()),
                "threshold": alert.limit,
                "isRaised": alert.raised_since().is_some(),
                "raisedForSeconds": alert.raised_since().map(|since| now.saturating_sub(since).as_secs()),
            })
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptimeSeconds": now.as_secs(),
            "generation": accepted + 1,
            "reloads": accepted,
            "reloadFailures": refused,
            "windowSeconds": self.window.as_secs_f64(),
            "metrics": {
                "avgQueryTime": rounded(figures.average_query_time.value()),
                "p95QueryTime": rounded(figures.p95_query_time.value()),
                "slowQueries": figures.slow_queries_per_hour.value(),
                "cacheHitRate": rounded(figures.cache_hit_rate.value()),
                "blockHitRate": rounded(figures.block_hit_rate.value()),
                "connectionPoolUtilization": rounded(figures.pool_utilization.value()),
                "indexUsageRate": rounded(figures.index_usage_rate.value()),
                "errorRate": rounded(figures.error_rate.value()),
            },
            "requests": requests,
            "errors": errors,
            "statements": statements.count(),
            "replicaLagMs": rounded(figures.replica_lag.value()),
            "serversDown": figures.servers_down.value(),
            "endpoints": endpoints.collect::<Vec<_>>(),
            "servers": servers.collect::<Vec<_>>(),
            "pools": pools.collect::<Vec<_>>(),
            "queued": queued,
            "alerts": alerts.collect::<Vec<_>>(),
        })
    }

    /// The same for `/-/metrics`, in seconds and ratios.
    pub(crate) fn text(&self, out: &mut Text, metrics: &Metrics, pools: &Pools, servers: &[&str]) {
        let state = self.state();
        let figures = state.figures(metrics, pools);
        out.gauge(
            "larder_origin_window_seconds",
            "What the figures without a name of a time are made of.",
            self.window.as_secs_f64(),
        );
        for (kind, name, help) in FIGURES {
            out.gauge(name, help, Prometheus(scaled(kind, &figures)));
        }
        out.family(
            "larder_origin_server_block_hit_ratio",
            "gauge",
            "Part of blocks that a server found in its own memory.",
        );
        let by_server =
            || servers.iter().zip(&state.servers).map(|(name, server)| (name, Source::window(server)));
        for (name, counts) in by_server() {
            let ratio = counts.and_then(|counts| ratio(counts.blocks_hit, counts.blocks_read));
            out.sample("larder_origin_server_block_hit_ratio", &[("server", name)], Prometheus(ratio));
        }
        out.family(
            "larder_origin_server_index_usage_ratio",
            "gauge",
            "Part of scans of big tables that use an index, by server.",
        );
        for (name, counts) in by_server() {
            let ratio = counts.and_then(|counts| ratio(counts.index_scans, counts.sequential_scans));
            out.sample("larder_origin_server_index_usage_ratio", &[("server", name)], Prometheus(ratio));
        }
        for (name, help, value) in POOLS {
            out.family(name, "gauge", help);
            for pool in &pools.all {
                out.sample(name, &[("server", &pool.server), ("lane", pool.kind.name())], value(pool));
            }
        }
        out.family(
            "larder_origin_pool_queued",
            "gauge",
            "Requests that wait for a connection, of whichever server will do.",
        );
        for (kind, queued) in LaneKind::ALL.iter().zip(pools.queued) {
            out.sample("larder_origin_pool_queued", &[("lane", kind.name())], queued);
        }
        out.family("larder_origin_alert_raised", "gauge", "Whether an alert is raised.");
        for alert in state.alerts.all() {
            let is_raised = u8::from(alert.raised_since().is_some());
            out.sample("larder_origin_alert_raised", &[("alert", alert.kind.name())], is_raised);
        }
        if let Some(counts) = &state.webhook {
            out.family("larder_origin_webhooks_total", "counter", "News of alerts, by what became of it.");
            for (outcome, count) in counts.all() {
                out.sample("larder_origin_webhooks_total", &[("outcome", outcome)], count);
            }
        }
    }
}

type OfPool = fn(&Pool) -> usize;

const POOLS: [(&str, &str, OfPool); 3] = [
    ("larder_origin_pool_connections", "Connections that serve.", |pool| pool.connections),
    ("larder_origin_pool_in_flight", "Statements sent and not yet answered.", |pool| pool.in_flight),
    ("larder_origin_pool_limit", "Statements that a pool takes at once.", |pool| pool.limit),
];

pub(super) const FIGURES: [(Kind, &str, &str); 8] = [
    (Kind::AverageQueryTime, "larder_origin_query_seconds_average", "Average time of a statement."),
    (Kind::P95QueryTime, "larder_origin_query_seconds_p95", "95th percentile of the times of statements."),
    (Kind::SlowQueries, "larder_origin_slow_queries_per_hour", "Slow queries of the last hour."),
    (
        Kind::CacheHitRate,
        "larder_origin_proxy_hit_ratio",
        "Part of its requests that the proxy answered from its cache, if its address is known.",
    ),
    (
        Kind::BlockHitRate,
        "larder_origin_block_hit_ratio",
        "Part of blocks that Postgres found in its own memory, of all servers.",
    ),
    (Kind::PoolUtilization, "larder_origin_pool_utilization_ratio", "Of the fullest pool, on average."),
    (
        Kind::IndexUsageRate,
        "larder_origin_index_usage_ratio",
        "Part of scans of big tables that use an index, of all servers.",
    ),
    (Kind::ErrorRate, "larder_origin_error_ratio", "Part of requests answered with 500 or above."),
];

fn scaled(kind: Kind, figures: &Figures) -> Option<f64> {
    let value = match figures.of(kind) {
        Reading::Value(value) => value,
        Reading::Idle | Reading::Unknown => return None,
    };
    Some(match kind {
        Kind::AverageQueryTime | Kind::P95QueryTime | Kind::ReplicaLag => value / 1000.0,
        Kind::SlowQueries | Kind::ServersDown => value,
        Kind::CacheHitRate
        | Kind::BlockHitRate
        | Kind::PoolUtilization
        | Kind::ErrorRate
        | Kind::IndexUsageRate => value / 100.0,
    })
}

fn ratio(part: u64, rest: u64) -> Option<f64> {
    let all = part + rest;
    (all > 0).then(|| part as f64 / all as f64)
}

/// What there is nothing to say about is `NaN`, which no comparison takes for high or low.
struct Prometheus(Option<f64>);

impl std::fmt::Display for Prometheus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value}"),
            None => f.write_str("NaN"),
        }
    }
}

fn rounded(value: Option<f64>) -> Option<f64> {
    value.map(|value| (value * 1000.0).round() / 1000.0)
}
