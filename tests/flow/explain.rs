//! Why a request is answered as it is, as an operator asks a running proxy.

use std::time::Duration;

use flow_tests::{Origin, Proxy};

#[track_caller]
fn explained(proxy: &Proxy, question: &str) -> String {
    let answer = proxy.admin("POST", "/api/explain", question);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// Each line is there, whatever stands around it.
#[track_caller]
fn check(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "no line {line:?} in:\n{text}");
    }
}

#[test]
fn a_response_is_judged_line_by_line() {
    let origin = Origin::fixed(200, &[], "x");
    let route = "match = { path = \"/users/{id}\" }\ntags = [\"user:{id}\"]\nkey = { query = { sort = true, drop = true }, cookies = [\"theme\"] }\ncache = { max_ttl = \"30s\", stale_if_error = \"1h\" }";
    let proxy = Proxy::in_front_of(&origin, route);
    let text = explained(
        &proxy,
        r#"{"url": "http://Shop.example/users/42?b=1&utm_x=2&a=3",
            "fields": [["cookie", "theme=dark"]],
            "response": {"status": 200, "fields": [["cache-control", "max-age=60"], ["cache-tag", "team:7"]]}}"#,
    );
    check(
        &text,
        &[
            "request      GET http://shop.example/users/42?a=3&b=1",
            "policy       none",
            "verdict      looked up, and what is fetched may be stored",
            "key          \"shop.example\"",
            "             \"/users/42?a=3&b=1\"",
            "             \"theme\"",
            "             \"dark\"",
            "response     200 OK, as if it came now",
            "stored       yes",
            "tags         team:7 user:42",
            "lifetime     1m: the upstream (s-maxage, max-age or Expires)",
            "             30s: max_ttl, ttl or policy lowers it",
            "             then 1h of stale-if-error",
            "in memory    nothing under this key",
        ],
    );
    assert_eq!(origin.count(), 0, "nobody is asked");
    // Nor does what is asked about change what holds for requests.
    let searching = r#"{"url": "http://h/users/1?a", "response":
        {"status": 200, "fields": [["cache-control", "max-age=60"], ["no-vary-search", "params"]]}}"#;
    check(&explained(&proxy, searching), &["stored       yes"]);
    assert!(!explained(&proxy, r#"{"url": "http://h/users/1?a"}"#).contains("params"));
    let private = explained(
        &proxy,
        r#"{"url": "http://h/users/1", "response": {"status": 200, "fields": [["cache-control", "private"]]}}"#,
    );
    check(&private, &["stored       no: private"]);
    check(&explained(&proxy, r#"{"url": "http://h/other"}"#), &["route        none takes this request: 404"]);
}

#[test]
fn what_is_stored_is_said_with_its_standing() {
    let origin = Origin::fixed(200, &[("cache-control", "max-age=60"), ("vary", "accept")], "body");
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get_with("/a", &[("host", "h"), ("accept", "b")]);
    proxy.clock.advance(Duration::from_secs(20));
    let question = r#"{"url": "http://h/a", "fields": [["accept", "b"]]}"#;
    check(
        &explained(&proxy, question),
        &[
            "in memory    200 OK, 4 bytes, selected",
            "             varies on accept: \"b\"",
            "             age 20 s, ttl 40 s: fresh",
            "now          hit",
        ],
    );
    let other = explained(&proxy, r#"{"url": "http://h/a"}"#);
    check(&other, &["in memory    200 OK, 4 bytes", "now          forwarded: vary-miss"]);
    proxy.admin("POST", "/api/purge", r#"{"urls": ["http://h/a"], "soft": true}"#);
    check(
        &explained(&proxy, question),
        &["             soft-purged 0s ago", "now          forwarded: stale"],
    );
    proxy.admin("POST", "/api/purge", r#"{"all": true}"#);
    check(
        &explained(&proxy, question),
        &["             purged: never used again", "now          forwarded: miss"],
    );
    assert_eq!(origin.count(), 1, "nobody is asked");
    let requests = proxy.admin("GET", "/api/status", "");
    assert!(requests.text().contains("\"requests\": 1"), "a question is not a request: {}", requests.text());
}

#[test]
fn a_question_that_cannot_be_answered_is_told_so() {
    let proxy = Proxy::in_front_of(&Origin::fixed(200, &[], "x"), "");
    for (question, why) in [
        ("{", "EOF"),
        (r#"{"uri": "x"}"#, "unknown field `uri`"),
        (r#"{"url": "/a"}"#, "a URL with a host is needed"),
        (r#"{"url": "http://h/", "method": "GET IT"}"#, "is not a method"),
        (r#"{"url": "http://h/", "fields": [["a b", "c"]]}"#, "is not a field"),
        (r#"{"url": "http://h/", "response": {"status": 99, "fields": []}}"#, "99 is not a final status"),
    ] {
        let answer = proxy.admin("POST", "/api/explain", question);
        assert_eq!(answer.status, 400, "{question}");
        assert!(answer.text().contains(why), "{question}: {}", answer.text());
    }
}

#[test]
fn what_a_variant_is_for_is_not_told_where_it_is_somebodys() {
    let origin =
        Origin::fixed(200, &[("cache-control", "public, max-age=60"), ("vary", "cookie, accept")], "x");
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get_with("/a", &[("host", "h"), ("cookie", "session=secret"), ("accept", "b")]);
    let text = explained(&proxy, r#"{"url": "http://h/a"}"#);
    check(&text, &["             varies on accept: \"b\", cookie: present"]);
    assert!(!text.contains("secret"));
}
