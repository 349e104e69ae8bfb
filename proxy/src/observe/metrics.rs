//! Counters and histograms, and their Prometheus text.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use plugin_host::FaultKind;

use super::Outcome;
use crate::{
    feed::{Loss, Report},
    subscriptions::Numbers,
};

/// Upper bounds in microseconds: from a hit that takes a few to an upstream that takes seconds.
const BOUNDS_US: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000, 10_000_000,
];

/// Durations, counted by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    pub fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len());
        count(&self.buckets[bucket], 1);
        count(&self.sum_us, us);
    }
}

/// Adds to a counter that only the calling thread writes: a load and a store, without the locked cycle of a
/// read-modify-write.
fn count(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// What one worker counts for one route.
#[derive(Debug, Default)]
pub struct RouteMetrics {
    outcomes: [AtomicU64; Outcome::COUNT],
    duration: Histogram,
}

/// What one worker counts for one policy of one route.
#[derive(Debug, Default)]
pub struct PolicyMetrics {
    decisions: AtomicU64,
    remembered: AtomicU64,
    faults: [AtomicU64; FAULT_KINDS.len()],
    /// Requests and responses that were not put to it, since it is out.
    left_out: AtomicU64,
}

const FAULT_KINDS: [FaultKind; 4] =
    [FaultKind::Trap, FaultKind::Deadline, FaultKind::Memory, FaultKind::Refused];

impl PolicyMetrics {
    /// It was asked, or the decision for the same inputs was remembered.
    pub fn decided(&self, is_remembered: bool) {
        count(&self.decisions, 1);
        if is_remembered {
            count(&self.remembered, 1);
        }
    }

    pub fn faulted(&self, kind: FaultKind) {
        if let Some(at) = FAULT_KINDS.iter().position(|known| *known == kind) {
            count(&self.faults[at], 1);
        }
    }

    pub fn left_out(&self) {
        count(&self.left_out, 1);
    }
}

/// The sums of all workers for one policy of one route.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct PolicyCounts {
    pub decisions: u64,
    pub remembered: u64,
    pub faults: u64,
    pub left_out: u64,
}

pub fn policy_counts(workers: &[Arc<WorkerMetrics>], route: &str, policy: &str) -> PolicyCounts {
    let parts = all(workers, |worker| &worker.policies);
    let parts = parts.get(&(route.into(), policy.into())).map(Vec::as_slice).unwrap_or_default();
    PolicyCounts {
        decisions: sum(parts, |part| &part.decisions),
        remembered: sum(parts, |part| &part.remembered),
        faults: (0..FAULT_KINDS.len()).map(|at| sum(parts, |part| &part.faults[at])).sum(),
        left_out: sum(parts, |part| &part.left_out),
    }
}

impl RouteMetrics {
    pub fn finished(&self, outcome: Outcome, duration: Duration) {
        count(&self.outcomes[outcome.index()], 1);
        self.duration.record(duration);
    }
}

/// What one worker counts for one upstream.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    pub to_head: Histogram,
    pub failures: AtomicU64,
}

/// All counters of one worker, by names in the configuration. They outlive a reload.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    routes: Named<Box<str>, RouteMetrics>,
    upstreams: Named<Box<str>, UpstreamMetrics>,
    /// By the names of a route and of a policy.
    policies: Named<(Box<str>, Box<str>), PolicyMetrics>,
    pub connections: AtomicU64,
    /// Those of them that have switched to another protocol.
    pub tunnels: AtomicU64,
    /// Requests that were refused before they had a route.
    pub refused: AtomicU64,
}

type Named<N, T> = Mutex<BTreeMap<N, Arc<T>>>;

fn named<N: Ord, T: Default>(table: &Named<N, T>, name: impl Into<N>) -> Arc<T> {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(table.entry(name.into()).or_default())
}

fn all<N: Ord + Clone, T>(
    workers: &[Arc<WorkerMetrics>],
    table: impl Fn(&WorkerMetrics) -> &Named<N, T>,
) -> BTreeMap<N, Vec<Arc<T>>> {
    let mut by_name: BTreeMap<N, Vec<Arc<T>>> = BTreeMap::new();
    for worker in workers {
        for (name, counted) in table(worker).lock().unwrap_or_else(PoisonError::into_inner).iter() {
            by_name.entry(name.clone()).or_default().push(Arc::clone(counted));
        }
    }
    by_name
}

impl WorkerMetrics {
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        named(&self.routes, name)
    }

    pub fn policy(&self, route: &str, policy: &str) -> Arc<PolicyMetrics> {
        named(&self.policies, (route.into(), policy.into()))
    }

    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        named(&self.upstreams, name)
    }
}

/// Values that are not counted per worker.
#[derive(Debug, Clone)]
pub struct Gauges {
    pub cache_bytes: u64,
    pub cache_capacity_bytes: u64,
    pub cache_keys: usize,
    pub tag_cells: usize,
    pub configuration_generation: u64,
    pub reload_failures: u64,
    /// Route and name of each policy, and whether it is taken out.
    pub policies_out: Vec<(Box<str>, Box<str>, bool)>,
    /// `None` if no change feed is configured.
    pub feed: Option<FeedGauges>,
}

/// How the change feed is.
#[derive(Debug, Clone)]
pub struct FeedGauges {
    /// `None`: it is heard.
    pub loss: Option<Loss>,
    pub silence_ms: Option<u64>,
    pub report: Report,
    pub events: u64,
    pub tags: u64,
    /// Of answers that were looked at again, by what came of it.
    pub audit: [(&'static str, u64); 3],
    pub subscribers: Numbers,
    /// By what they lacked.
    pub refused: Vec<(&'static str, u64)>,
}

/// Requests of all routes: those that the cache answered, and all.
pub fn hits_and_requests(workers: &[Arc<WorkerMetrics>]) -> (u64, u64) {
    let routes = all(workers, |worker| &worker.routes);
    let counted = |of: fn(Outcome) -> bool| -> u64 {
        Outcome::ALL
            .into_iter()
            .filter(|outcome| of(*outcome))
            .flat_map(|outcome| routes.values().flatten().map(move |route| &route.outcomes[outcome.index()]))
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    };
    (counted(Outcome::is_hit), counted(|_| true))
}

/// The Prometheus text format 0.0.4.
pub fn prometheus(workers: &[Arc<WorkerMetrics>], gauges: &Gauges) -> String {
    let mut text = Text(String::with_capacity(8 * 1024));
    let routes = all(workers, |worker| &worker.routes);
    text.family("larder_requests_total", "counter", "Requests by route and by how they ended.");
    for (route, parts) in &routes {
        for outcome in Outcome::ALL {
            let count = sum(parts, |part| &part.outcomes[outcome.index()]);
            text.sample(
                "larder_requests_total",
                &[("route", route), ("outcome", outcome.as_str())],
                count as f64,
            );
        }
    }
    let refused: u64 = workers.iter().map(|worker| worker.refused.load(Ordering::Relaxed)).sum();
    text.family("larder_refused_requests_total", "counter", "Requests that were malformed or met no route.");
    text.sample("larder_refused_requests_total", &[], refused as f64);
    let (hits, requests) = hits_and_requests(workers);
    text.family("larder_hit_ratio", "gauge", "Part of all requests that the cache answered.");
    text.sample("larder_hit_ratio", &[], if requests == 0 { 0.0 } else { hits as f64 / requests as f64 });
    text.family(
        "larder_request_duration_seconds",
        "histogram",
        "Time from the request head to the response head.",
    );
    for (route, parts) in &routes {
        let durations: Vec<&Histogram> = parts.iter().map(|part| &part.duration).collect();
        text.histogram("larder_request_duration_seconds", ("route", route), &durations);
    }
    text.policies(workers, gauges);
    let upstreams = all(workers, |worker| &worker.upstreams);
    text.family(
        "larder_upstream_duration_seconds",
        "histogram",
        "Time from the forwarded request to the upstream's response head.",
    );
    for (upstream, parts) in &upstreams {
        let durations: Vec<&Histogram> = parts.iter().map(|part| &part.to_head).collect();
        text.histogram("larder_upstream_duration_seconds", ("upstream", upstream), &durations);
    }
    text.family("larder_upstream_failures_total", "counter", "Requests that an upstream did not answer.");
    for (upstream, parts) in &upstreams {
        let count = sum(parts, |part| &part.failures);
        text.sample("larder_upstream_failures_total", &[("upstream", upstream)], count as f64);
    }
    let connections: u64 = workers.iter().map(|w| w.connections.load(Ordering::Relaxed)).sum();
    text.gauge("larder_client_connections", "Open connections of clients.", connections as f64);
    let tunnels: u64 = workers.iter().map(|w| w.tunnels.load(Ordering::Relaxed)).sum();
    text.gauge("larder_client_tunnels", "Connections of clients that switched protocols.", tunnels as f64);
    text.gauge("larder_cache_bytes", "Bytes of all stored responses.", gauges.cache_bytes as f64);
    text.gauge("larder_cache_capacity_bytes", "The memory budget.", gauges.cache_capacity_bytes as f64);
    text.gauge("larder_cache_keys", "Stored cache keys.", gauges.cache_keys as f64);
    text.gauge("larder_tag_cells", "Known tags and URLs.", gauges.tag_cells as f64);
    text.gauge(
        "larder_configuration_generation",
        "Number of the configuration that serves.",
        gauges.configuration_generation as f64,
    );
    if let Some(feed) = &gauges.feed {
        text.feed(feed);
    }
    text.family("larder_reload_failures_total", "counter", "Configurations that were refused.");
    text.sample("larder_reload_failures_total", &[], gauges.reload_failures as f64);
    text.0
}

fn sum<T>(parts: &[Arc<T>], counter: impl Fn(&T) -> &AtomicU64) -> u64 {
    parts.iter().map(|part| counter(part).load(Ordering::Relaxed)).sum()
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn policies(&mut self, workers: &[Arc<WorkerMetrics>], gauges: &Gauges) {
        type Counter = fn(&PolicyMetrics) -> &AtomicU64;
        let policies = all(workers, |worker| &worker.policies);
        let families: [(&str, &str, Counter); 3] = [
            ("larder_policy_decisions_total", "Decisions of policies.", |part| &part.decisions),
            ("larder_policy_remembered_total", "Decisions that needed no call.", |part| &part.remembered),
            (
                "larder_policy_left_out_total",
                "Requests and responses that a policy was not asked about, as it is taken out.",
                |part| &part.left_out,
            ),
        ];
        for (name, help, counter) in families {
            self.family(name, "counter", help);
            for ((route, policy), parts) in &policies {
                self.sample(name, &[("route", route), ("policy", policy)], sum(parts, counter) as f64);
            }
        }
        let name = "larder_policy_faults_total";
        self.family(name, "counter", "Calls of policies that gave no decision.");
        for ((route, policy), parts) in &policies {
            for (at, kind) in FAULT_KINDS.into_iter().enumerate() {
                let labels = [("route", &**route), ("policy", policy), ("kind", kind.as_str())];
                self.sample(name, &labels, sum(parts, |part| &part.faults[at]) as f64);
            }
        }
        self.family("larder_policy_out", "gauge", "1 while a policy is taken out, since it keeps failing.");
        for (route, policy, is_out) in &gauges.policies_out {
            let labels = [("route", &**route), ("policy", policy)];
            self.sample("larder_policy_out", &labels, f64::from(u8::from(*is_out)));
        }
    }

    fn feed(&mut self, feed: &FeedGauges) {
        let is_heard = f64::from(u8::from(feed.loss.is_none()));
        self.gauge("larder_feed_heard", "1 while the change feed is heard.", is_heard);
        if let Some(ms) = feed.silence_ms {
            self.gauge(
                "larder_feed_silence_seconds",
                "Since the change feed last said anything.",
                ms as f64 / 1e3,
            );
        }
        let help = "Position in the log of the database up to which everything was told, in bytes.";
        self.gauge("larder_feed_position_bytes", help, feed.report.position.number() as f64);
        let help = "Commits that were told and that somebody may not see yet.";
        self.gauge("larder_feed_limbo", help, feed.report.limbo as f64);
        for (name, help, count) in [
            (
                "larder_feed_accounts_total",
                "Accounts of the change feed; each new one is a gap.",
                feed.report.epoch,
            ),
            ("larder_feed_events_total", "Transactions that the change feed has told.", feed.events),
            ("larder_feed_tags_total", "Tags that these have changed.", feed.tags),
        ] {
            self.family(name, "counter", help);
            self.sample(name, &[], count as f64);
        }
        let name = "larder_audit_total";
        self.family(name, "counter", "Answers from store that were asked for again, by what came of it.");
        for (result, count) in &feed.audit {
            self.sample(name, &[("result", result)], *count as f64);
        }
        let name = "larder_audit_mismatch_total";
        self.family(
            name,
            "counter",
            "Answers from store that were not what the upstream gave; none is expected.",
        );
        let mismatches =
            feed.audit.iter().filter(|(result, _)| *result == "mismatch").map(|(_, count)| count);
        self.sample(name, &[], mismatches.sum::<u64>() as f64);
        self.gauge("larder_live_subscribers", "Who hears of changes.", feed.subscribers.subscribers as f64);
        let name = "larder_live_cut_off_total";
        self.family(name, "counter", "Subscribers that were too slow.");
        self.sample(name, &[], feed.subscribers.cut_off as f64);
        let name = "larder_refused_fills_total";
        self.family(name, "counter", "Responses that were not stored, by what they lack of the change feed.");
        for (reason, count) in &feed.refused {
            self.sample(name, &[("reason", reason)], *count as f64);
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            // Names in the configuration hold no quote and no backslash: see `config/names.rs`.
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn histogram(&mut self, name: &str, label: (&str, &str), parts: &[&Histogram]) {
        let mut cumulative = 0;
        for (at, bound) in BOUNDS_US.iter().map(Some).chain([None]).enumerate() {
            cumulative += parts.iter().map(|p| p.buckets[at].load(Ordering::Relaxed)).sum::<u64>();
            let le = bound.map_or_else(|| "+Inf".to_owned(), |us| (*us as f64 / 1e6).to_string());
            self.sample(&format!("{name}_bucket"), &[label, ("le", &le)], cumulative as f64);
        }
        let sum_us: u64 = parts.iter().map(|part| part.sum_us.load(Ordering::Relaxed)).sum();
        self.sample(&format!("{name}_sum"), &[label], sum_us as f64 / 1e6);
        self.sample(&format!("{name}_count"), &[label], cumulative as f64);
    }
}
