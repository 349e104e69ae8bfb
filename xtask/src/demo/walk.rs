//! `cargo xtask demo --check`: what Larder promises, seen from outside, step by step over real sockets.
//!
//! Each step says what it did and what it saw. The first that sees something else ends the walk.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use rig::{
    http::{Client, Response, head},
    postgres,
};

use super::{
    document,
    system::{LarderToml, System},
};
use crate::Error;

/// How long the proxy may take to notice an edited file; it looks four times a second.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests at once for one cold key.
const CROWD: usize = 500;

type Seen = Result<String, Error>;
/// What is promised, and the step that shows it.
type Step = (&'static str, fn(&System) -> Seen);

/// Whether everything was as promised.
pub(crate) fn walk(system: &System, with_document: bool) -> Result<bool, Error> {
    let mut steps: Vec<Step> = vec![
        ("the first request is a miss, answered by the replica", first_is_a_miss),
        ("the second is a hit, with Age", second_is_a_hit),
        ("another tenant and another language have their own stored response", tenants_and_languages),
        ("one tenant's responses have the shorter TTL of its policy", short_ttl),
        ("a purge by tag makes the next request a miss", purge_by_tag),
        (
            "a row that anybody changes in Postgres ends the stored response, and subscribers hear of it",
            row_changed,
        ),
        ("a TTL lowered in larder.toml makes the stored response stale at once", lowered_ttl),
        ("a broken larder.toml is refused with line and column, and the old one serves", broken_config),
        ("a component that loops for ever is cut off, and the route still answers", looping_component),
        ("500 requests at once for one cold key reach Postgres once", crowd),
        ("pages follow each other, and a user has teams", other_endpoints),
        ("larder-origin doctor reads the statistics of both servers, statements too", doctor),
    ];
    if with_document {
        steps.extend([
            ("docs/policies.md, from an empty folder to this demo, in Rust", document::in_rust as _),
            ("docs/policies.md in JavaScript", document::in_javascript as _),
            ("docs/policies.md in Python", document::in_python as _),
        ]);
    }
    steps.push(("the replica is killed, and the primary answers", replica_killed));
    for (number, (promise, step)) in steps.iter().enumerate() {
        println!("{:2}. {promise}", number + 1);
        match step(system) {
            Ok(seen) => {
                for line in seen.lines() {
                    println!("      {line}");
                }
            }
            Err(error) => {
                println!("    NOT SO: {}", crate::chain(&*error));
                println!("walk: {number} of {} steps were right", steps.len());
                return Ok(false);
            }
        }
    }
    println!("walk: all {} steps were right", steps.len());
    Ok(true)
}

const RESOURCE: &str = "/resources/res-1";

fn first_is_a_miss(system: &System) -> Seen {
    let answer = system.get(RESOURCE, &[])?;
    expect_status(&answer, "fwd=uri-miss; fwd-status=200; stored")?;
    expect(&answer, "larder-served-by", |server| server.starts_with("replica"))?;
    let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
    if body["publicId"] != "res-1" {
        return Err(format!("the body is {body}").into());
    }
    Ok(show("GET", RESOURCE, &answer, &["larder-served-by", "etag", "cache-control"]))
}

fn second_is_a_hit(system: &System) -> Seen {
    let answer = system.get(RESOURCE, &[])?;
    expect_status(&answer, "hit; ttl=")?;
    expect(&answer, "age", |age| age.parse::<u64>().is_ok())?;
    Ok(show("GET", RESOURCE, &answer, &["age"]))
}

fn tenants_and_languages(system: &System) -> Seen {
    let cases: [(&str, &[(&str, &str)]); 2] = [
        ("tenant `other`", &[("X-Tenant", "other")]),
        ("language `de`", &[("Accept-Language", "de-CH, de;q=0.9")]),
    ];
    let mut seen = String::new();
    for (what, fields) in cases {
        for expected in ["fwd=uri-miss; fwd-status=200; stored", "hit; ttl="] {
            let answer = system.get(RESOURCE, fields)?;
            expect_status(&answer, expected)?;
            seen.push_str(&format!("{what}: {}\n", show("GET", RESOURCE, &answer, &[])));
        }
    }
    Ok(seen)
}

fn short_ttl(system: &System) -> Seen {
    let acme = [("X-Tenant", "acme")];
    system.get(RESOURCE, &acme)?;
    let answer = system.get(RESOURCE, &acme)?;
    let (short, usual) = (ttl_s(&answer)?, ttl_s(&system.get(RESOURCE, &[])?)?);
    if short > 5 || usual < 60 {
        return Err(format!("tenant `acme` has {short} s left, everybody else {usual} s").into());
    }
    Ok(format!("tenant `acme` has {short} s left, everybody else {usual} s"))
}

fn purge_by_tag(system: &System) -> Seen {
    let purged = system.larder(&["purge", "--admin", &system.admin_url(), "--tag", "resource:res-1"])?;
    if !purged.status.success() {
        return Err(String::from_utf8_lossy(&purged.stderr).into());
    }
    let mut seen = "larder purge --tag resource:res-1\n".to_owned();
    for expected in ["fwd=miss; fwd-status=200; stored", "hit; ttl="] {
        let answer = system.get(RESOURCE, &[])?;
        expect_status(&answer, expected)?;
        seen.push_str(&show("GET", RESOURCE, &answer, &[]));
        seen.push('\n');
    }
    Ok(seen)
}

/// Behind the back of proxy and worker.
#[expect(clippy::disallowed_methods, reason = "a person is told how long it took")]
fn row_changed(system: &System) -> Seen {
    const CHANGE: &str = "UPDATE resources SET score = score + 1 WHERE public_id = 'res-1'";
    let before = system.get(RESOURCE, &[])?;
    expect_status(&before, "hit; ttl=")?;
    let mut subscriber = Client::connect(([127, 0, 0, 1], system.ports.proxy).into())?;
    subscriber.send(&head("GET", "/live?tags=resource:res-1", "demo.example", &[], b""))?;
    subscriber.head()?;
    subscriber.chunk()?;
    postgres::query(&system.cluster.primary_url(), CHANGE)?;
    let began = Instant::now();
    let after = loop {
        let answer = system.get(RESOURCE, &[])?;
        if !status(&answer).contains("; hit") {
            break answer;
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("it is still served: {}", status(&answer)).into());
        }
    };
    let took_ms = began.elapsed().as_secs_f64() * 1e3;
    let score = |answer: &Response| -> Result<i64, Error> {
        let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
        body["score"].as_i64().ok_or_else(|| "a resource has no score".into())
    };
    if score(&after)? != score(&before)? + 1 {
        return Err(format!("the score was {}, and is {}", score(&before)?, score(&after)?).into());
    }
    let event = String::from_utf8_lossy(&subscriber.chunk()?.unwrap_or_default()).trim().replace('\n', ", ");
    if !event.starts_with("event: change") {
        return Err(format!("a subscriber was told: {event}").into());
    }
    Ok(format!(
        "{CHANGE}\n{}, {took_ms:.1} ms after the commit\nGET /live?tags=resource:res-1: {event}",
        show("GET", RESOURCE, &after, &[])
    ))
}

fn lowered_ttl(system: &System) -> Seen {
    let before = system.get(RESOURCE, &[])?;
    expect_status(&before, "hit; ttl=")?;
    let lowered = LarderToml { cache: "{ max_ttl = \"0s\" }", ..LarderToml::new(system.ports) };
    change_config(system, &lowered)?;
    let after = system.get(RESOURCE, &[])?;
    let left_s = ttl_s(&after);
    let is_stale = left_s.as_ref().is_ok_and(|left_s| *left_s <= 0) || status(&after).contains("fwd=stale");
    if !is_stale {
        return Err(format!("it is still fresh: {}", status(&after)).into());
    }
    change_config(system, &LarderToml::new(system.ports))?;
    Ok(format!(
        "before: {}\nlarder.toml: cache = {}\nafter:  {}",
        status(&before),
        lowered.cache,
        status(&after)
    ))
}

fn broken_config(system: &System) -> Seen {
    let broken = LarderToml { cache: "{ max_tll = \"1d\" }", ..LarderToml::new(system.ports) };
    let generation = generation(system)?;
    system.write_config(&broken.to_string())?;
    let config = system.larder_toml();
    let checked = system.larder(&["check", "-c", &config.display().to_string()])?;
    let refused = system.larder(&["reload", "--admin", &system.admin_url()])?;
    let said = String::from_utf8_lossy(&refused.stderr).trim().to_owned();
    let line = broken.to_string().lines().position(|line| line.contains("max_tll")).map_or(0, |at| at + 1);
    if refused.status.success()
        || checked.status.code() != Some(64)
        || !said.contains(&format!("larder.toml:{line}:"))
    {
        let codes = (checked.status.code(), refused.status.code());
        return Err(format!("check and reload ended with {codes:?}, and said: {said}").into());
    }
    let answer = system.get(RESOURCE, &[])?;
    expect_status(&answer, "hit")?;
    if self::generation(system)? != generation {
        return Err("another configuration serves".into());
    }
    system.write_config(&LarderToml::new(system.ports).to_string())?;
    let fault = said.replace(&system.folder.display().to_string(), "...");
    Ok(format!("{fault}\n{}", show("GET", RESOURCE, &answer, &[])))
}

fn looping_component(system: &System) -> Seen {
    let faults = "larder_policy_faults_total{route=\"resource\",policy=\"spin-forever\",kind=\"deadline\"}";
    let looping = LarderToml {
        component: "policies/spin-forever.wasm",
        settings: "{}",
        ..LarderToml::new(system.ports)
    };
    change_config(system, &looping)?;
    // Not there before its first request.
    let before = metric(&system.admin("/metrics")?, faults).unwrap_or_default();
    let answer = system.get(RESOURCE, &[])?;
    expect_status(&answer, "fwd=bypass; fwd-status=200")?;
    let after = metric(&system.admin("/metrics")?, faults)?;
    if after <= before {
        return Err(format!("{faults} was {before} and is {after}").into());
    }
    change_config(system, &LarderToml::new(system.ports))?;
    Ok(format!("{}\n{faults}: {before}, then {after}", show("GET", RESOURCE, &answer, &[])))
}

fn crowd(system: &System) -> Seen {
    const COLD: &str = "/resources/res-2";
    let statements = |system: &System| {
        metric(&system.origin("/-/metrics")?, "larder_origin_statements_total{endpoint=\"resource_summary\"}")
    };
    let before = statements(system)?;
    let request = head("GET", COLD, "demo.example", &[("Connection", "close")], b"");
    // All connections are there before the first request is sent.
    let address = ([127, 0, 0, 1], system.ports.proxy).into();
    let mut clients = (0..CROWD).map(|_| Client::connect(address)).collect::<Result<Vec<_>, _>>()?;
    for client in &mut clients {
        client.send(&request)?;
    }
    let answers = clients.iter_mut().map(|client| client.response("GET")).collect::<Result<Vec<_>, _>>()?;
    let asked = statements(system)? - before;
    if let Some(bad) = answers.iter().find(|answer| answer.status != 200) {
        return Err(format!("one answer was {}: {}", bad.status, bad.text()).into());
    }
    let bodies: HashSet<_> = answers.iter().map(|answer| &answer.body).collect();
    if asked != 1.0 || bodies.len() != 1 {
        return Err(format!("{asked} statements, {} different bodies", bodies.len()).into());
    }
    let count = |what: &str| answers.iter().filter(|answer| status(answer).contains(what)).count();
    Ok(format!(
        "{CROWD} answers from {asked} statement: {} fetched, {} collapsed into that fetch, {} hits after it",
        count("stored"),
        count("collapsed"),
        count("hit")
    ))
}

fn other_endpoints(system: &System) -> Seen {
    let mut target = "/resources?limit=3".to_owned();
    let mut seen = String::new();
    let mut ids = HashSet::new();
    for _ in 0..2 {
        let answer = system.get(&target, &[])?;
        let page: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let items = page["items"].as_array().ok_or("a page has no items")?;
        let new = items.iter().filter(|item| ids.insert(item["publicId"].to_string())).count();
        if items.len() != 3 || new != 3 {
            return Err(format!("a page of 3 has {} items, {new} of them new", items.len()).into());
        }
        seen.push_str(&format!("{}\n", show("GET", "/resources?limit=3", &answer, &[])));
        let cursor = page["nextCursor"].as_str().ok_or("the page has no next one")?;
        target = format!("/resources?limit=3&cursor={cursor}");
    }
    let answer = system.get("/users/usr-1/teams", &[])?;
    let user: serde_json::Value = serde_json::from_slice(&answer.body)?;
    let members = user["teams"][0]["memberCount"].as_u64().unwrap_or(0);
    if members == 0 {
        return Err(format!("no team with members in {user}").into());
    }
    seen.push_str(&show("GET", "/users/usr-1/teams", &answer, &[]));
    seen.push_str(&format!(", the newest of its teams has {members} members"));
    Ok(seen)
}

fn doctor(system: &System) -> Seen {
    let output = system.worker(&["doctor", "--json"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    // 1: it found something, which is for those who look at it.
    if !matches!(output.status.code(), Some(0 | 1)) {
        return Err(format!("doctor ended with {}: {said}", output.status).into());
    }
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let findings = report["findings"].as_array().ok_or("no findings in the report")?;
    let count = |kind: &str| findings.iter().filter(|finding| finding["kind"] == kind).count();
    if count("no_statement_statistics") > 0 {
        return Err("pg_stat_statements is not there".into());
    }
    let servers = report["servers"].as_array().ok_or("no servers in the report")?;
    Ok(format!(
        "{} servers examined, {} findings, {} of them slow statements",
        servers.iter().filter(|server| server["isExamined"] == true).count(),
        findings.len(),
        count("slow_statement")
    ))
}

fn replica_killed(system: &System) -> Seen {
    system.cluster.kill_replica()?;
    let mut seen = String::new();
    for number in 3..6 {
        let target = format!("/resources/res-{number}");
        let answer = system.get(&target, &[])?;
        // Some of the generated resources are private or deleted: for everybody that is 404.
        if answer.status != 200 && answer.status != 404 {
            return Err(format!("GET {target}: {} {}", answer.status, answer.text()).into());
        }
    }
    let answer = system.get("/resources?limit=7", &[])?;
    expect_status(&answer, "fwd=uri-miss; fwd-status=200; stored")?;
    expect(&answer, "larder-served-by", |server| server == "primary")?;
    seen.push_str(&show("GET", "/resources?limit=7", &answer, &["larder-served-by"]));
    Ok(seen)
}

pub(super) fn status(answer: &Response) -> &str {
    answer.field("cache-status").unwrap_or("no Cache-Status")
}

fn expect_status(answer: &Response, expected: &str) -> Result<(), Error> {
    let status = status(answer);
    if answer.status == 200
        && status.strip_prefix("larder; ").is_some_and(|status| status.starts_with(expected))
    {
        return Ok(());
    }
    Err(format!(
        "expected 200 and `larder; {expected}...`, got {} and `{status}`: {}",
        answer.status,
        answer.text()
    )
    .into())
}

fn expect(answer: &Response, field: &str, is_right: impl Fn(&str) -> bool) -> Result<(), Error> {
    match answer.field(field) {
        Some(value) if is_right(value) => Ok(()),
        Some(value) => Err(format!("{field} is `{value}`").into()),
        None => Err(format!("there is no {field}").into()),
    }
}

/// The time left that `Cache-Status` tells.
fn ttl_s(answer: &Response) -> Result<i64, Error> {
    let status = status(answer);
    let ttl = status.split("; ").find_map(|part| part.strip_prefix("ttl="));
    ttl.and_then(|ttl| ttl.parse().ok()).ok_or_else(|| format!("no TTL in `{status}`").into())
}

fn show(method: &str, target: &str, answer: &Response, fields: &[&str]) -> String {
    let mut line = format!("{method} {target}: {}, {}", answer.status, status(answer));
    for name in fields {
        if let Some(value) = answer.field(name) {
            line.push_str(&format!(", {name}: {value}"));
        }
    }
    line
}

/// Edits `larder.toml`, and waits until the proxy has noticed by itself.
#[expect(clippy::disallowed_methods, reason = "a bound on how long is waited")]
fn change_config(system: &System, config: &LarderToml<'_>) -> Result<(), Error> {
    let before = generation(system)?;
    system.write_config(&config.to_string())?;
    let began = Instant::now();
    while generation(system)? == before {
        if began.elapsed() > PATIENCE {
            return Err("the proxy did not notice that larder.toml has changed".into());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

fn generation(system: &System) -> Result<u64, Error> {
    let status: serde_json::Value = serde_json::from_slice(&system.admin("/api/status")?.body)?;
    status["generation"].as_u64().ok_or_else(|| format!("no generation in {status}").into())
}

fn metric(metrics: &Response, name: &str) -> Result<f64, Error> {
    let text = metrics.text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.ok_or_else(|| format!("no {name} in the metrics").into())
}
