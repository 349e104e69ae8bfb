//! Against listeners that take, hang, refuse and break off. No test waits longer than it takes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// For what is expected to answer.
const PATIENCE: Duration = Duration::from_secs(20);
const BRIEF: Duration = Duration::from_millis(50);

async fn listener() -> (TcpListener, HttpUrl) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?key=s3cret", listener.local_addr().unwrap());
    (listener, url.parse().unwrap())
}

/// Takes one request, with its body, and answers it.
async fn answer(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"}") {
        let read = stream.read_buf(&mut text).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&text));
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8(text).unwrap()
}

const GOOD: &str = "HTTP/1.1 204 No Content\r\n\r\n";

async fn until(webhook: &Webhook, wanted: [(&'static str, u64); 3]) {
    let reached = async {
        while webhook.counts().all() != wanted {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{:?}", webhook.counts().all()));
}

#[tokio::test]
async fn news_is_posted_as_json() {
    let (listener, url) = listener().await;
    let webhook = Webhook::start(url, PATIENCE);
    webhook.send("{\"alert\":\"X\"}".to_owned());
    let request = answer(&listener, GOOD).await;
    assert!(request.starts_with("POST /hook?key=s3cret HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\ncontent-type: application/json\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"alert\":\"X\"}"), "{request}");
    until(&webhook, [("sent", 1), ("failed", 0), ("left_out", 0)]).await;
}

#[tokio::test]
async fn what_fails_for_the_moment_is_tried_three_times_and_what_is_refused_once() {
    let (listener, url) = listener().await;
    let webhook = Webhook::start_with(url, PATIENCE, Duration::ZERO);
    webhook.send("{}".to_owned());
    answer(&listener, "HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n").await;
    // Breaks off without a word.
    drop(listener.accept().await.unwrap());
    answer(&listener, GOOD).await;
    until(&webhook, [("sent", 1), ("failed", 0), ("left_out", 0)]).await;

    webhook.send("{}".to_owned());
    for _ in 0..ATTEMPTS {
        answer(&listener, "HTTP/1.1 429 Later\r\nContent-Length: 0\r\n\r\n").await;
    }
    until(&webhook, [("sent", 1), ("failed", 1), ("left_out", 0)]).await;

    webhook.send("{}".to_owned());
    answer(&listener, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    until(&webhook, [("sent", 1), ("failed", 2), ("left_out", 0)]).await;
    // Not even by a redirect does it go elsewhere.
    webhook.send("{}".to_owned());
    for _ in 0..ATTEMPTS {
        answer(&listener, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
            .await;
    }
    until(&webhook, [("sent", 1), ("failed", 3), ("left_out", 0)]).await;
}

#[tokio::test]
async fn one_that_hangs_costs_its_time_and_never_the_sender() {
    let (listener, url) = listener().await;
    let webhook = Webhook::start_with(url, BRIEF, Duration::ZERO);
    // Nobody accepts: the kernel takes the connection, and nothing comes.
    let all = u64::try_from(QUEUE).unwrap() + 10;
    for _ in 0..all {
        // Not awaited: it cannot wait.
        webhook.send("{}".to_owned());
    }
    assert_eq!(webhook.counts().all().iter().map(|(_, count)| count).sum::<u64>(), 10);
    assert_eq!(webhook.counts().all()[2], ("left_out", 10));
    until_failed(&webhook).await;
    drop(listener);
}

async fn until_failed(webhook: &Webhook) {
    let reached = async {
        while webhook.counts().all()[1].1 == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap();
}

#[tokio::test]
async fn one_that_is_not_there_is_a_failure_without_its_secret() {
    let (listener, url) = listener().await;
    drop(listener);
    let error = call(&url, Method::POST, Bytes::new(), PATIENCE).await.unwrap_err();
    assert!(matches!(error, SendError::Connect(_)), "{error:?}");
    assert!(!format!("{error:?} {} {url} {url:?}", chain(&error)).contains("s3cret"));
    let webhook = Webhook::start_with(url, PATIENCE, Duration::ZERO);
    webhook.send("{}".to_owned());
    until(&webhook, [("sent", 0), ("failed", 1), ("left_out", 0)]).await;
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let (listener, url) = listener().await;
    let endless = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut head).await.unwrap() > 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
    };
    let asked = call(&url, Method::GET, Bytes::new(), PATIENCE);
    let (error, ()) = tokio::join!(asked, endless);
    assert!(matches!(error, Err(SendError::Body)), "{error:?}");
}
