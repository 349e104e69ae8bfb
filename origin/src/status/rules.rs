//! `docs/larder-origin.rules.yml`, held against what is exported and against the defaults of `[monitoring.alerts]`.
//!
//! The file has one shape, of which every line is known here; any other line fails, so that none goes unread.

use super::show::FIGURES;
use super::tests::Bench;
use crate::alerts::Kind;
use crate::config::{Limits, Monitoring};
use crate::status::pool::Pools;

const FILE: &str = include_str!("../../../docs/larder-origin.rules.yml");

#[derive(Debug, Default)]
struct Rule {
    alert: &'static str,
    expr: &'static str,
    raise_after: &'static str,
    clear_after: &'static str,
    severity: &'static str,
    summary: &'static str,
}

fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let lines = FILE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (head, lines): (Vec<_>, Vec<_>) = lines.enumerate().partition(|(number, _)| *number < 3);
    let head: Vec<_> = head.into_iter().map(|(_, line)| line).collect();
    assert_eq!(head, ["groups:", "  - name: larder-origin", "    rules:"]);
    for (_, line) in lines {
        if let Some(alert) = line.strip_prefix("      - alert: ") {
            rules.push(Rule { alert, ..Rule::default() });
            continue;
        }
        let Some(rule) = rules.last_mut() else { panic!("before the first alert: {line}") };
        let places = [
            ("        expr: ", &mut rule.expr),
            ("        for: ", &mut rule.raise_after),
            ("        keep_firing_for: ", &mut rule.clear_after),
            ("          severity: ", &mut rule.severity),
            ("          summary: ", &mut rule.summary),
        ];
        match places.into_iter().find_map(|(key, place)| Some((line.strip_prefix(key)?, place))) {
            Some((value, place)) => {
                assert!(place.is_empty(), "twice: {line}");
                *place = value;
            }
            None => assert!(["        labels:", "        annotations:"].contains(&line), "unknown: {line}"),
        }
    }
    rules
}

/// What is exported, how it is compared, and how much of it is one of the configuration's.
fn expected(kind: Kind, limits: &Limits) -> Option<String> {
    let limit = kind.limit(limits)?;
    let metric = FIGURES.iter().find(|(of, _, _)| *of == kind).map(|(_, metric, _)| *metric);
    let scaled = match kind {
        Kind::AverageQueryTime | Kind::P95QueryTime | Kind::ReplicaLag => limit / 1000.0,
        Kind::SlowQueries | Kind::ServersDown => limit,
        Kind::CacheHitRate
        | Kind::BlockHitRate
        | Kind::PoolUtilization
        | Kind::ErrorRate
        | Kind::IndexUsageRate => limit / 100.0,
    };
    let metric = match kind {
        Kind::ReplicaLag => "larder_origin_server_lag_seconds",
        Kind::ServersDown => "count without (server) (larder_origin_server_up == 0)",
        Kind::AverageQueryTime
        | Kind::P95QueryTime
        | Kind::SlowQueries
        | Kind::CacheHitRate
        | Kind::BlockHitRate
        | Kind::PoolUtilization
        | Kind::ErrorRate
        | Kind::IndexUsageRate => metric.unwrap_or("not exported"),
    };
    Some(format!("{metric} {} {scaled}", if kind.is_floor() { "<" } else { ">" }))
}

#[test]
fn each_alert_that_is_on_has_its_rule_with_the_same_limit_and_times() {
    let config = Monitoring::default();
    let rules = rules();
    let on = Kind::ALL.into_iter().filter_map(|kind| Some((kind, expected(kind, &config.limits)?)));
    let on: Vec<_> = on.collect();
    assert_eq!(
        rules.iter().map(|rule| (rule.alert, rule.expr, rule.severity)).collect::<Vec<_>>(),
        on.iter()
            .map(|(kind, expr)| (kind.name(), expr.as_str(), kind.severity().name()))
            .collect::<Vec<_>>()
    );
    let minutes = |duration: std::time::Duration| format!("{}m", duration.as_secs() / 60);
    for rule in &rules {
        assert_eq!(
            (rule.raise_after, rule.clear_after),
            (&*minutes(config.raise_after), &*minutes(config.clear_after)),
            "{}",
            rule.alert
        );
        assert!(rule.summary.starts_with('\'') && rule.summary.ends_with('\''), "{}", rule.alert);
    }
}

#[test]
fn each_metric_that_a_rule_or_its_summary_names_is_exported() {
    let bench = Bench::new(&Monitoring::default());
    let mut text = bench.metrics.text(std::iter::empty());
    bench.status.text(&mut text, &bench.metrics, &Pools::default(), &[]);
    let mut named = 0;
    for word in FILE.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        if word.starts_with("larder_origin_") {
            named += 1;
            assert!(text.0.contains(&format!("# TYPE {word} gauge\n")), "{word}");
        }
    }
    assert!(named >= 9, "{named}");
}
