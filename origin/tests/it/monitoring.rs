//! Figures, slow logs and alerts of a program that serves.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::Value;

use crate::support::{Database, Serving, now};

const SLOW: &str = "-- route: GET /slow\n-- param secret: query text\n-- rows: one\n-- read: primary\n\n\
                    SELECT '1'::json AS body FROM (SELECT pg_sleep(0.02), :secret) s";
const BROKEN: &str = "-- route: GET /broken\n-- rows: one\n-- read: primary\n\n\
                      SELECT NULL::json AS body";

/// Everything is slow that takes a millisecond; windows of six seconds, looked at every tenth of one.
fn monitoring(more: &str) -> String {
    format!(
        "workers = 1\n[monitoring]\nwindow = \"6s\"\nslow_request = \"1ms\"\nslow_statement = \"1ms\"\nslow_query = \"1ms\"\n{more}"
    )
}

#[test]
fn the_six_figures_and_the_error_rate_are_on_the_pages() {
    let database = Database::seeded();
    let mut serving = database.serve();
    for _ in 0..20 {
        assert_eq!(serving.get("/resources/res-1").status, 200);
    }
    // Postgres' own counters come a moment later.
    serving.until("/-/status", |response| {
        let status: Value = serde_json::from_slice(&response.body).unwrap();
        status["metrics"]["avgQueryTime"].is_number()
    });
    let status = serving.json("/api/status");
    for name in ["avgQueryTime", "p95QueryTime", "slowQueries", "connectionPoolUtilization", "errorRate"] {
        assert!(status["metrics"][name].is_number(), "{name}: {status:#}");
    }
    for name in ["cacheHitRate", "blockHitRate", "indexUsageRate"] {
        assert!(status["metrics"].get(name).is_some(), "{name}: {status:#}");
    }
    assert_eq!(status["metrics"]["errorRate"], 0.0);
    assert!(status["statements"].as_u64().unwrap() >= 20);
    let endpoints = status["endpoints"].as_array().unwrap();
    let summary = endpoints.iter().find(|endpoint| endpoint["endpoint"] == "resource_summary").unwrap();
    assert!(summary["statements"].as_u64().unwrap() >= 20 && summary["p95QueryTime"].is_number());
    let pools = status["pools"].as_array().unwrap();
    let names: Vec<_> = pools.iter().map(|pool| (&pool["server"], &pool["lane"])).collect();
    let (primary, replica) = (Value::from("primary"), Value::from("replica-1"));
    let (fast, slow, write) = (Value::from("fast"), Value::from("slow"), Value::from("write"));
    let wanted = [&primary, &replica].map(|server| [&fast, &slow, &write].map(|lane| (server, lane)));
    assert_eq!(names, wanted.concat());
    assert!(pools[0]["limit"].as_u64() > pools[1]["limit"].as_u64(), "{status:#}");
    assert_eq!((&status["queued"]["slow"], &status["servers"][1]["isUp"]), (&0.into(), &true.into()));
    let response = serving.get("/-/status");
    assert_eq!(response.field("content-type"), Some("application/json"));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    let text = serving.get("/-/metrics").text();
    assert_eq!(text.lines().count(), serving.get("/metrics").text().lines().count());
    for name in [
        "larder_origin_query_seconds_average ",
        "larder_origin_query_seconds_p95 ",
        "larder_origin_slow_queries_per_hour ",
        "larder_origin_proxy_hit_ratio ",
        "larder_origin_block_hit_ratio ",
        "larder_origin_pool_utilization_ratio ",
        "larder_origin_index_usage_ratio ",
        "larder_origin_error_ratio 0",
        "larder_origin_server_block_hit_ratio{server=\"replica-1\"} ",
        "larder_origin_pool_limit{server=\"primary\",lane=\"write\"} ",
        "larder_origin_pool_in_flight{server=\"replica-1\",lane=\"slow\"} 0",
        "larder_origin_pool_queued{lane=\"fast\"} 0",
        "larder_origin_server_up{server=\"replica-1\"} 1",
        "larder_origin_server_lag_seconds{server=\"replica-1\"} ",
        "larder_origin_alert_raised{alert=\"HIGH_P95_QUERY_TIME\"} 0",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}\n{text}");
    }
}

#[test]
fn what_is_slow_is_logged_once_in_a_while_and_without_its_parameters() {
    let database = Database::seeded();
    let mut serving = database.serve_with(&monitoring(""), &[("slow.sql", SLOW)]);
    for _ in 0..10 {
        assert_eq!(serving.get("/slow?secret=s3cret").status, 200);
    }
    let log = serving.process.wait_for_line("slow request").unwrap();
    assert!(log.contains("endpoint.name=\"slow\"") && log.contains("status=200"), "{log}");
    let log = serving.process.log();
    assert_eq!((log.matches("slow request").count(), log.matches("slow statement").count()), (1, 1), "{log}");
    assert!(!log.contains("s3cret"), "{log}");
    let text = serving.get("/-/metrics").text();
    for counter in ["slow_requests", "slow_statements", "slow_queries"] {
        let line = format!("larder_origin_{counter}_total{{endpoint=\"slow\"}} 10\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    assert_eq!(serving.json("/-/status")["metrics"]["slowQueries"], 10.0);
}

#[test]
fn a_lane_that_is_full_shows_who_waits_for_it() {
    const HELD: &str = "-- route: GET /held\n-- rows: one\n-- read: primary\n-- lane: slow\n\n\
                        SELECT '1'::json AS body FROM (SELECT pg_advisory_xact_lock_shared(42)) s";
    let database = Database::seeded_copy();
    let mut session = crate::support::Session::new(&database.primary);
    session.run("SELECT pg_advisory_lock(42)");
    let config = "workers = 1\n[database.slow]\nconnections = 1\n";
    let mut serving = database.serve_with(config, &[("held.sql", HELD)]);
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..3)
            .map(|_| {
                let address = serving.address;
                scope.spawn(move || {
                    rig::http::Client::connect(address).unwrap().get("/held", &[]).unwrap().status
                })
            })
            .collect();
        serving.until("/-/status", |response| {
            let status: Value = serde_json::from_slice(&response.body).unwrap();
            let slow = &status["pools"][1];
            let full = (slow["lane"] == "slow", slow["inFlight"] == 1, slow["utilization"] == 100.0);
            full == (true, true, true) && status["queued"]["slow"] == 2
        });
        let text = serving.get("/-/metrics").text();
        for line in [
            "larder_origin_pool_in_flight{server=\"primary\",lane=\"slow\"} 1\n",
            "larder_origin_pool_limit{server=\"primary\",lane=\"slow\"} 1\n",
            "larder_origin_pool_queued{lane=\"slow\"} 2\n",
            "larder_origin_pool_queued{lane=\"fast\"} 0\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        session.run("SELECT pg_advisory_unlock(42)");
        for asked in asked {
            assert_eq!(asked.join().unwrap(), 200);
        }
    });
}

/// The documents that a webhook is sent, one at a time.
struct Receiver(TcpListener);

impl Receiver {
    fn new() -> Receiver {
        Receiver(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}/s3cret", self.0.local_addr().unwrap())
    }

    fn next(&self) -> Value {
        let (mut stream, _) = self.0.accept().unwrap();
        let mut text = Vec::new();
        loop {
            let body = text.windows(4).position(|end| end == b"\r\n\r\n").map(|at| &text[at + 4..]);
            if let Some(Ok(document)) = body.map(serde_json::from_slice) {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
                return document;
            }
            let mut part = [0; 4096];
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&part[..read]);
        }
    }

    fn until(&self, alert: &str) -> Value {
        loop {
            let document = self.next();
            if document["alert"] == alert {
                return document;
            }
        }
    }
}

fn error_alert(webhook: &str) -> String {
    monitoring(&format!(
        "[monitoring.alerts]\nraise_after = \"0s\"\nclear_after = \"0s\"\nwebhook = \"{webhook}\"\n"
    ))
}

#[test]
fn an_alert_is_raised_and_cleared_in_the_log_on_the_pages_and_by_webhook() {
    let receiver = Receiver::new();
    let database = Database::seeded();
    let mut serving =
        database.serve_with(&error_alert(&receiver.url()), &[("broken.sql", BROKEN), ("slow.sql", SLOW)]);
    assert_eq!(serving.get("/broken").status, 500);
    let raised = receiver.until("HIGH_ERROR_RATE");
    assert_eq!((&raised["state"], &raised["severity"]), (&"raised".into(), &"critical".into()), "{raised}");
    assert_eq!(
        (raised["value"].as_f64(), raised["threshold"].as_f64()),
        (Some(100.0), Some(1.0)),
        "{raised}"
    );
    assert!(raised["unixTime"].as_u64().unwrap() > 1_700_000_000);
    let metric = "larder_origin_alert_raised{alert=\"HIGH_ERROR_RATE\"} 1\n";
    serving.until("/-/metrics", |response| response.text().contains(metric));
    // When the window has nothing but good answers in it.
    let cleared = receiver.until("HIGH_ERROR_RATE");
    assert_eq!(cleared["state"], "cleared", "{cleared}");
    serving.process.wait_for_line("alert cleared: the part of requests").unwrap();
    let log = serving.process.log();
    assert!(log.contains("alert raised: the part of requests") && !log.contains("s3cret"), "{log}");
}

#[test]
fn a_webhook_that_hangs_or_refuses_holds_up_nothing() {
    // Accepted by the kernel, and then silence.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), refused] {
        let database = Database::seeded();
        let mut serving =
            database.serve_with(&error_alert(&format!("http://{address}/s3cret")), &[("broken.sql", BROKEN)]);
        let asked = now();
        assert_eq!(serving.get("/broken").status, 500);
        serving.process.wait_for_line("alert raised: the part of requests").unwrap();
        assert_eq!(serving.get("/-/healthz").status, 200);
        assert!(asked.elapsed().as_secs() < 5);
        assert!(!serving.process.log().contains("s3cret"));
    }
    drop(silent);
}

#[test]
fn the_hit_rate_of_the_proxy_is_read_where_it_is() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("proxy = \"http://{}\"\n", proxy.local_addr().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (hits, requests) in [(10, 100), (100, 200)] {
                let (mut stream, _): (TcpStream, _) = proxy.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut part = [0; 1024];
                    let read = stream.read(&mut part).unwrap();
                    assert!(read > 0);
                    head.extend_from_slice(&part[..read]);
                }
                assert!(head.starts_with(b"GET /api/status HTTP/1.1\r\n"));
                let body = format!("{{\"hits\":{hits},\"requests\":{requests}}}");
                let length = body.len();
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
            }
        });
        let mut serving: Serving = Database::seeded().serve_with(&monitoring(&more), &[("slow.sql", SLOW)]);
        let is_known = |status: &Value| status["metrics"]["cacheHitRate"] == 90.0;
        serving.until("/-/status", |response| is_known(&serde_json::from_slice(&response.body).unwrap()));
    });
}
