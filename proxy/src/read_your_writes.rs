//! Whoever wrote sees it: the session that the answer to a write carries, and what a request with one may be answered with.
//!
//! A request with a session is answered from what is stored if the change feed has told everything up to its position: then what
//! the write has changed is known to have changed. If not, it waits a moment, and then goes past the cache, to a server that
//! has the position. What is sent on for it asks for the position in any case (`fetch.rs`). Next: `session.rs` for the token.

use std::{pin::pin, time::Duration};

use caching::{method::is_safe, version::Stamp};
use http::{
    HeaderName, HeaderValue, Response,
    header::{COOKIE, SET_COOKIE},
};

use crate::{
    body::Body,
    config,
    live::Proxy,
    request::Request,
    session::{Key, Session},
};

/// As clients that keep no cookies have it, in both directions.
pub const LARDER_SESSION: HeaderName = HeaderName::from_static("larder-session");
const LARDER_COMMIT: HeaderName = HeaderName::from_static("larder-commit");
const NAME: &str = "larder-session";
/// Of one request: each costs the time of a signature. A client has one, two while its path changes.
const MAX_TOKENS: usize = 8;

fn key(proxy: &Proxy, feed: &config::Feed) -> Key {
    match &feed.session.key {
        Some(secret) => Key::new(secret.reveal().as_bytes()),
        None => proxy.session_key.clone(),
    }
}

/// Takes the session out of a request that has one: neither its upstream, nor its key, nor a policy has anything to do with it.
pub fn take(proxy: &Proxy, feed: &config::Feed, request: &mut Request) {
    let mut tokens: Vec<Vec<u8>> = Vec::new();
    if request.named.session {
        tokens.extend(request.fields.get_all(LARDER_SESSION).iter().map(|value| value.as_bytes().to_vec()));
        request.fields.remove(LARDER_SESSION);
    }
    if request.named.cookie {
        take_cookies(request, &mut tokens);
    }
    let (key, now) = (key(proxy, feed), proxy.clock.now());
    // Of several the one that asks for most.
    let sessions = tokens.iter().take(MAX_TOKENS).filter_map(|token| Session::of_token(token, &key, now));
    request.session = sessions.max_by_key(|session| (session.timeline, session.position));
}

fn take_cookies(request: &mut Request, tokens: &mut Vec<Vec<u8>>) {
    let token_of =
        |pair: &[u8]| pair.trim_ascii().strip_prefix(NAME.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec);
    let pairs = |line: &HeaderValue| {
        line.as_bytes().split(|byte| *byte == b';').map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let lines: Vec<Vec<Vec<u8>>> = request.fields.get_all(COOKIE).iter().map(pairs).collect();
    let found: Vec<_> = lines.iter().flatten().filter_map(|pair| token_of(pair)).collect();
    if found.is_empty() {
        return;
    }
    tokens.extend(found);
    request.fields.remove(COOKIE);
    for line in lines {
        let others: Vec<Vec<u8>> = line.into_iter().filter(|pair| token_of(pair).is_none()).collect();
        let line = others.join(b";".as_slice());
        if let Ok(value) = HeaderValue::from_bytes(line.trim_ascii())
            && !value.is_empty()
        {
            request.fields.append(COOKIE, value);
        }
    }
}

/// Whether the feed has told everything up to a session's position, now or within so long.
pub async fn is_reached(proxy: &Proxy, session: Session, max_wait: Duration) -> bool {
    if !proxy.feed.is_in_order_of_log() {
        return false;
    }
    let reaching = async {
        loop {
            let mut heard = pin!(proxy.heard.notified());
            // What is told from now on is not missed.
            heard.as_mut().enable();
            if proxy.feed.has_told(session.timeline, session.position) {
                return;
            }
            heard.await;
        }
    };
    tokio::time::timeout(max_wait, reaching).await.is_ok()
}

/// What a server has to show that answers a session, or that is to show an event besides.
pub fn min_version(session: Option<Session>, event: Option<&Stamp>) -> Option<Stamp> {
    let session = session.map(Session::stamp);
    let place = |stamp: &Stamp| (stamp.timeline, stamp.version.replayed());
    session.into_iter().chain(event.cloned()).max_by_key(place)
}

/// Gives the client of a write its session, if the upstream says where that was committed.
pub fn grant(proxy: &Proxy, feed: &config::Feed, request: &Request, response: &mut Response<Body>) {
    if is_safe(&request.method) {
        return;
    }
    let now = proxy.clock.now();
    let commit = response.headers().get(LARDER_COMMIT).and_then(|value| value.to_str().ok());
    let Some(session) = commit.and_then(|commit| Session::of_commit(commit, now + feed.session.max_age))
    else {
        return;
    };
    let token = session.with(request.session).token(&key(proxy, feed));
    let cookie =
        format!("{NAME}={token}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax", feed.session.max_age.as_secs());
    // Both are made of visible ASCII.
    if let (Ok(cookie), Ok(token)) = (HeaderValue::from_str(&cookie), HeaderValue::from_str(&token)) {
        response.headers_mut().append(SET_COOKIE, cookie);
        response.headers_mut().insert(LARDER_SESSION, token);
    }
}
