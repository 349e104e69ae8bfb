//! The operator's listener: what it tells, and whom it lets speak.

use flow_tests::{Client, Origin, Proxy};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[test]
fn metrics_count_requests_by_route_and_outcome() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    for _ in 0..4 {
        proxy.get("/a");
    }
    proxy.client().call("TRACE", "/a", &[], b"").unwrap();
    let metrics = proxy.admin("GET", "/metrics", "");
    assert_eq!(metrics.field("content-type"), Some("text/plain; version=0.0.4"));
    let text = metrics.text();
    for line in [
        "larder_requests_total{route=\"all\",outcome=\"hit\"} 3",
        "larder_requests_total{route=\"all\",outcome=\"uri-miss\"} 1",
        "larder_refused_requests_total 1",
        "larder_hit_ratio 0.75",
        "larder_request_duration_seconds_count{route=\"all\"} 4",
        "larder_upstream_duration_seconds_count{upstream=\"app\"} 1",
        "larder_cache_keys 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let bytes = text.lines().find_map(|line| line.strip_prefix("larder_cache_bytes "));
    assert!(bytes.and_then(|bytes| bytes.parse::<u64>().ok()).is_some_and(|bytes| bytes > 0), "{text}");
}

#[test]
fn health_and_status_answer() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    assert_eq!(proxy.admin("GET", "/healthz", "").status, 200);
    assert_eq!(proxy.admin("GET", "/readyz", "").status, 200);
    let status: serde_json::Value =
        serde_json::from_slice(&proxy.admin("GET", "/api/status", "").body).unwrap();
    assert_eq!(status["routes"][0]["name"], "all");
    assert_eq!(proxy.admin("GET", "/nothing", "").status, 404);
    assert_eq!(proxy.admin("GET", "/api/purge", "").status, 405);
}

#[test]
fn a_bad_purge_purges_nothing_and_says_why() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60"), ("cache-tag", "t")], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    for body in [
        "",
        "{}",
        "{\"tags\": []}",
        "{\"tag\": [\"t\"]}",
        "{\"tags\": [\"t\", \"\"]}",
        "{\"tags\": [\"t\"], \"urls\": [\"/a\"]}",
        "{\"tags\": [\"t\"], \"urls\": [\"http://h/ \"]}",
    ] {
        let answer = proxy.admin("POST", "/api/purge", body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    crate::assert_status(&proxy.get("/a"), crate::HIT);
}

#[test]
fn a_page_in_a_browser_cannot_speak_to_it() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    let cases: [(&[(&str, &str)], u16); 4] = [
        (&[("host", "rebound.example")], 403),
        (&[("origin", "http://evil.example")], 403),
        (&[("host", "localhost:1"), ("origin", "null")], 403),
        (&[("host", "localhost:1")], 200),
    ];
    for (fields, expected) in cases {
        let mut client = Client::connect(proxy.admin).unwrap();
        let body = b"{\"tags\": [\"t\"]}";
        assert_eq!(client.call("POST", "/api/purge", fields, body).unwrap().status, expected, "{fields:?}");
    }
}
