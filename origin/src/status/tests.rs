//! Figures over a hand-moved clock.

use super::*;
use crate::catalogue::Catalogue;
use hyper::StatusCode;

pub(super) struct Bench {
    pub(super) metrics: Metrics,
    endpoint: Arc<EndpointMetrics>,
    pub(super) status: Status,
}

impl Bench {
    pub(super) fn new(config: &Monitoring) -> Self {
        let Ok(catalogue) = Catalogue::shipped() else { panic!("what ships is good") };
        let metrics = Metrics::new(config);
        let endpoint = metrics.of(&catalogue).remove(0);
        let status = Status::new(config, &metrics, 2);
        Self { metrics, endpoint, status }
    }

    fn statement(&self, took_ms: u64) {
        self.metrics.statement(&self.endpoint, Duration::from_millis(took_ms));
    }

    fn tick(&self, second: u64) -> Vec<(Kind, bool)> {
        let news = self.status.tick(Duration::from_secs(second), &self.metrics, &Pools::default());
        news.into_iter().map(|change| (change.kind, change.is_raised)).collect()
    }

    fn figures(&self) -> Figures {
        self.status.state().figures(&self.metrics, &Pools::default())
    }
}

fn value(reading: Reading) -> f64 {
    match reading {
        Reading::Value(value) => value,
        Reading::Idle | Reading::Unknown => panic!("{reading:?}"),
    }
}

#[test]
fn figures_are_those_of_the_window() {
    let bench = Bench::new(&Monitoring::default());
    assert_eq!(bench.figures().average_query_time, Reading::Idle);
    assert_eq!(bench.figures().error_rate, Reading::Idle);
    for _ in 0..3 {
        bench.statement(100);
        bench.metrics.request(Some(&bench.endpoint), StatusCode::OK, Duration::ZERO);
    }
    bench.statement(1_100);
    bench.metrics.request(Some(&bench.endpoint), StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO);
    bench.tick(5);
    assert!((value(bench.figures().average_query_time) - 350.0).abs() < 0.001);
    assert!((value(bench.figures().error_rate) - 25.0).abs() < 0.001);
    assert!((value(bench.figures().slow_queries_per_hour) - 1.0).abs() < 0.001);
    let p95 = value(bench.figures().p95_query_time);
    assert!((1000.0..2000.0).contains(&p95), "{p95}");
    // Five minutes later it is over, but for the count of the hour.
    for second in (10..=310).step_by(5) {
        bench.tick(second);
    }
    assert_eq!(bench.figures().average_query_time, Reading::Idle);
    assert_eq!(bench.figures().error_rate, Reading::Idle);
    assert!((value(bench.figures().slow_queries_per_hour) - 1.0).abs() < 0.001);
    for second in (315..=3_700).step_by(5) {
        bench.tick(second);
    }
    assert!(value(bench.figures().slow_queries_per_hour).abs() < 0.001);
}

#[test]
fn an_alert_is_raised_and_cleared_as_time_goes_by() {
    let bench = Bench::new(&Monitoring::default());
    let mut news = Vec::new();
    for second in (5..=1_000).step_by(5) {
        // Slow for the first two minutes, then good.
        bench.statement(if second <= 120 { 600 } else { 1 });
        news.extend(bench.tick(second).into_iter().map(|(kind, is_raised)| (second, kind, is_raised)));
    }
    let of = |kind| news.iter().filter(move |(_, of, _)| *of == kind).map(|(at, _, raised)| (*at, *raised));
    // The average is back below 200 ms when a third of the window is slow; the percentile when nearly nothing is.
    let average: Vec<_> = of(Kind::AverageQueryTime).collect();
    let p95: Vec<_> = of(Kind::P95QueryTime).collect();
    assert_eq!((average.first(), p95.first()), (Some(&(65, true)), Some(&(65, true))));
    assert_eq!((average.len(), p95.len()), (2, 2), "{news:?}");
    assert!(average[1].0 < p95[1].0 && p95[1].0 > 120 + 300 && p95[1].0 <= 120 + 600 + 5, "{news:?}");
}

#[test]
fn servers_are_added_up_and_may_be_silent_or_begin_anew() {
    let bench = Bench::new(&Monitoring::default());
    let read = |second, index, counts: Option<(u64, u64)>| {
        let counts = counts.map(|(blocks_hit, blocks_read)| ServerCounts {
            blocks_hit,
            blocks_read,
            index_scans: blocks_hit,
            sequential_scans: 0,
        });
        bench.status.read_server(Duration::from_secs(second), index, counts);
    };
    assert_eq!(bench.figures().block_hit_rate, Reading::Unknown);
    read(5, 0, Some((1000, 1000)));
    read(5, 1, Some((0, 5000)));
    assert_eq!(bench.figures().block_hit_rate, Reading::Idle);
    read(10, 0, Some((1090, 1000)));
    read(10, 1, Some((0, 5010)));
    assert!((value(bench.figures().block_hit_rate) - 90.0).abs() < 0.001);
    assert!((value(bench.figures().index_usage_rate) - 100.0).abs() < 0.001);
    // One is gone, one was reset.
    read(15, 1, None);
    assert!((value(bench.figures().block_hit_rate) - 100.0).abs() < 0.001);
    read(20, 0, Some((3, 1)));
    assert_eq!(bench.figures().block_hit_rate, Reading::Idle);
    read(25, 0, Some((4, 2)));
    assert!((value(bench.figures().block_hit_rate) - 50.0).abs() < 0.001);
    read(30, 0, None);
    assert_eq!(bench.figures().block_hit_rate, Reading::Unknown);
}

#[test]
fn the_proxys_cache_is_the_proxys() {
    let bench = Bench::new(&Monitoring::default());
    let read = |second, hits, requests| {
        bench.status.read_proxy(Duration::from_secs(second), Some(ProxyCounts { hits, requests }));
    };
    assert_eq!(bench.figures().cache_hit_rate, Reading::Unknown);
    read(0, 10, 100);
    read(5, 19, 110);
    assert!((value(bench.figures().cache_hit_rate) - 90.0).abs() < 0.001);
    let json = bench.status.json(&bench.metrics, &Pools::default());
    assert_eq!(json["metrics"]["cacheHitRate"], 90.0);
    assert_eq!(json["metrics"]["avgQueryTime"], serde_json::Value::Null);
}

#[test]
fn endpoints_that_go_take_their_names_with_them_and_leave_their_counts() {
    let bench = Bench::new(&Monitoring::default());
    let catalogue = |names: &[&str]| {
        let file = |name: &&str| {
            let text = format!("-- route: GET /{name}\n-- rows: one\n\nSELECT '1'::json AS body");
            (format!("{name}.sql").into(), text)
        };
        Catalogue::parse(names.iter().map(file).collect()).unwrap()
    };
    let count = |metrics: &EndpointMetrics| {
        bench.metrics.request(Some(metrics), StatusCode::OK, Duration::ZERO);
        bench.metrics.statement(metrics, Duration::from_millis(1));
    };
    let endpoints = || {
        let json = bench.status.json(&bench.metrics, &Pools::default());
        let of = |endpoint: &serde_json::Value| {
            (endpoint["endpoint"].as_str().unwrap().to_owned(), endpoint["statements"].as_u64().unwrap())
        };
        let endpoints: Vec<_> = json["endpoints"].as_array().unwrap().iter().map(of).collect();
        (endpoints, json["requests"].as_u64().unwrap())
    };
    let all = |pairs: &[(&str, u64)]| {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>()
    };
    let first = bench.metrics.of(&catalogue(&["a", "b"]));
    first.iter().for_each(|metrics| count(metrics));
    bench.tick(5);
    assert_eq!(endpoints(), (all(&[("a", 1), ("b", 1)]), 2));
    // One stays, one goes, one comes.
    let second = bench.metrics.of(&catalogue(&["0", "b"]));
    assert!(Arc::ptr_eq(&first[1], &second[1]));
    second.iter().for_each(|metrics| count(metrics));
    // Of a request that is late.
    count(&first[0]);
    assert_eq!(endpoints(), (all(&[("0", 1), ("b", 2)]), 4));
    let text = bench.metrics.text(std::iter::empty()).0;
    assert!(text.contains("endpoint=\"b\"") && !text.contains("endpoint=\"a\""), "{text}");
    // When the window begins between the two, and the one that went is back, it has not been there.
    for second in (10..=400).step_by(5) {
        bench.tick(second);
    }
    let third = bench.metrics.of(&catalogue(&["a", "b"]));
    count(&third[0]);
    assert_eq!(endpoints(), (all(&[("a", 1), ("b", 0)]), 1));
    // However often: as many as there are.
    let lines = bench.metrics.text(std::iter::empty()).0.lines().count();
    for round in 0..1000 {
        bench.metrics.of(&catalogue(&["a", &format!("b{round}")])).iter().for_each(|metrics| count(metrics));
    }
    assert_eq!(bench.metrics.text(std::iter::empty()).0.lines().count(), lines);
    assert_eq!(endpoints().1, 2001);
}
