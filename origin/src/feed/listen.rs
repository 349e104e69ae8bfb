//! `GET /feed`: who may listen, from where on, and the stream of lines.
//!
//! Read next: `feed/ring.rs`, which makes the lines.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::Feed;
use super::ring::{From, Listener, Next};
use crate::answer::AnswerBody;
use crate::answer::stream::{Chunk, ChunkSender, chunks};
use crate::clock::Stopwatch;

pub(super) const MAX_LISTENERS: usize = 64;
/// For a listener to take what it was sent.
const PATIENCE: Duration = Duration::from_secs(30);
/// For one who comes from a worker that was ahead of this one.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Counted as long as it lives.
struct Place(Arc<Feed>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn answer(feed: &Arc<Feed>, head: &Parts) -> Response<AnswerBody> {
    match begin(feed, head) {
        Ok(response) => response,
        Err((status, why)) => {
            let mut response = Response::new(Either::Left(Full::new(Bytes::from(format!("{why}\n")))));
            *response.status_mut() = status;
            let fields = response.headers_mut();
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            let more = match status {
                StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
                StatusCode::METHOD_NOT_ALLOWED => Some((ALLOW, "GET")),
                StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "1")),
                _ => None,
            };
            if let Some((name, value)) = more {
                fields.insert(name, HeaderValue::from_static(value));
            }
            response
        }
    }
}

type Refusal = (StatusCode, &'static str);

fn begin(feed: &Arc<Feed>, head: &Parts) -> Result<Response<AnswerBody>, Refusal> {
    admit(feed, &head.headers)?;
    if head.method != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "the feed is for GET"));
    }
    let from = from(head.uri.query().unwrap_or_default()).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    let enter = |count: usize| (count < MAX_LISTENERS).then_some(count + 1);
    if feed.listeners.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).is_err() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "too many listen already"));
    }
    let place = Place(feed.clone());
    let listener = Listener::new(&feed.ring, from);
    let (sender, chunks) = chunks();
    // Ends when the listener goes, or when the feed does.
    tokio::spawn(tell(listener, sender, place));
    let mut response = Response::new(Either::Right(chunks));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// As the proxy's admin listener has it: a token where there is one, else only who speaks to this machine by its own name, which
/// a page in a browser does not (DNS rebinding).
fn admit(feed: &Feed, fields: &HeaderMap) -> Result<(), Refusal> {
    if let Some(token) = &feed.config.token {
        let offered = fields.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        if !offered.is_some_and(|offered| token.matches(offered)) {
            return Err((StatusCode::UNAUTHORIZED, "a bearer token is needed"));
        }
    } else {
        let mut hosts = fields.get_all(HOST).iter().map(HeaderValue::to_str);
        let (Some(Ok(host)), None) = (hosts.next(), hosts.next()) else {
            return Err((StatusCode::BAD_REQUEST, "the request needs exactly one Host"));
        };
        if !is_loopback(host) {
            return Err((
                StatusCode::FORBIDDEN,
                "without a token the feed is spoken to as localhost or 127.0.0.1",
            ));
        }
    }
    if fields.contains_key(ORIGIN) || fields.get("sec-fetch-site").is_some_and(|site| site != "none") {
        return Err((StatusCode::FORBIDDEN, "not from a page in a browser"));
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    // The port does not matter.
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, _)) => inner,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `from=16/B374D848&timeline=1&system=7301...`: all of them or none.
fn from(query: &str) -> Result<Option<From>, &'static str> {
    const WHY: &str =
        "from, timeline and system belong together, as a `begin` and the last position said them";
    let (mut position, mut timeline, mut system, mut account) = (None, None, None, None);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let value = crate::params::decode(value, true).ok_or(WHY)?;
        match name {
            "from" => position = Some(value.parse().map_err(|_| WHY)?),
            "timeline" => timeline = Some(value.parse().map_err(|_| WHY)?),
            "system" => system = Some(value),
            "account" => account = Some(value),
            _ => (),
        }
    }
    match (position, timeline, system) {
        (Some(position), Some(timeline), Some(system)) => {
            Ok(Some(From { system, timeline, position, account }))
        }
        (None, None, None) => Ok(None),
        _ => Err(WHY),
    }
}

async fn tell(mut listener: Listener, sender: ChunkSender, place: Place) {
    let mut waits_since: Option<Stopwatch> = None;
    loop {
        let left = waits_since.map_or(CATCH_UP, |since| CATCH_UP.saturating_sub(since.elapsed()));
        match listener.next(!left.is_zero()) {
            Next::Lines(lines) => match timeout(PATIENCE, sender.send(Chunk::Bytes(lines))).await {
                Ok(Ok(())) => (),
                // It has gone, or does not read.
                Ok(Err(_)) | Err(_) => break,
            },
            Next::Nothing => tokio::select! {
                () = listener.changed() => (),
                () = sender.closed() => break,
            },
            Next::Waits => {
                waits_since.get_or_insert_with(Stopwatch::start);
                tokio::select! {
                    () = listener.changed() => (),
                    () = sender.closed() => break,
                    () = sleep(left) => (),
                }
            }
            Next::End { is_whole: true } => {
                // Where there is no room, it is cut off.
                let _ = timeout(PATIENCE, sender.send(Chunk::End)).await;
                break;
            }
            Next::End { is_whole: false } => {
                place.0.counts.too_slow.fetch_add(1, Ordering::Relaxed);
                debug!("a listener of the feed was too slow");
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::position::Position;

    #[test]
    fn where_to_go_on_is_said_whole_or_not_at_all() {
        assert_eq!(from(""), Ok(None));
        assert_eq!(
            from("from=16%2FB374D848&timeline=2&system=7301"),
            Ok(Some(From {
                system: "7301".to_owned(),
                timeline: 2,
                position: Position(0x16_B374_D848),
                account: None
            }))
        );
        for query in ["from=1/1", "from=1/1&timeline=1", "timeline=1&system=7", "from=x&timeline=1&system=7"]
        {
            assert!(from(query).is_err(), "{query}");
        }
    }

    #[test]
    fn this_machine_has_some_names() {
        for host in ["localhost", "LOCALHOST:8081", "127.0.0.1:8081", "127.9.9.9", "[::1]:8081"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", "example.com", "localhost.example.com", "10.0.0.1:8081", "[::2]", "127.0.0.1.example.com"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
