//! Switching protocols (RFC 9110 section 7.8): a client asks, its route allows it, the upstream agrees, and from then
//! on bytes are passed both ways, unread.
//!
//! Until the upstream has agreed, nothing of the client but its request head is sent on: what follows the head of a
//! client that was refused is its next request (CVE-2026-2833). A switch has no part in the cache.
//! Read next: `accept.rs`, in whose connection the joined streams live.

use std::{cell::Cell, io, rc::Rc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use caching::fields::{remove_hop_by_hop, remove_internal};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONNECTION, UPGRADE},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};

use crate::{
    accept::Link,
    body::Body,
    clock::Stopwatch,
    config::{Route, UpgradeProtocol},
    deliver::{Conditions, Delivery, Forwarded},
    error::Error,
    fetch::{self, Purpose},
    observe::Forward,
    policy::Plan,
    request::Request,
    store,
    upstream::Tunnel,
    worker::Worker,
};

/// For each direction of a tunnel. As large as a frame that is worth a system call, small enough for ten thousand.
const BUFFER_BYTES: usize = 16 * 1024;

/// What a client would like to switch to; kept apart from the fields, where it concerns one connection alone.
pub struct Wish {
    protocols: Vec<HeaderValue>,
    link: Rc<Link>,
}

impl Wish {
    /// Of a request for which hyper can switch: HTTP/1.1, with an `Upgrade` field.
    pub fn of(method: &Method, has_body: bool, fields: &HeaderMap, link: &Rc<Link>) -> Option<Wish> {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
        //# A sender of Upgrade MUST also send an "Upgrade" connection option in
        //# the Connection header field (Section 7.6.1) to inform intermediaries
        //# not to forward this field.
        let is_option = |option: &[u8]| option.eq_ignore_ascii_case(b"upgrade");
        let is_named = fields.get_all(CONNECTION).iter().flat_map(members).any(is_option);
        // With a body it would not be clear which bytes are still the request's.
        (is_named && *method == Method::GET && !has_body).then(|| Wish {
            protocols: fields.get_all(UPGRADE).iter().cloned().collect(),
            link: Rc::clone(link),
        })
    }

    /// What of it the route allows, as the upstream is to be asked.
    fn granted(&self, allowed: &[UpgradeProtocol]) -> Option<HeaderValue> {
        let is_allowed = |protocol: &&[u8]| allowed.iter().any(|known| known.is_named(protocol));
        let granted: Vec<&[u8]> = self.protocols.iter().flat_map(members).filter(is_allowed).collect();
        HeaderValue::from_bytes(&granted.join(b", ".as_slice())).ok().filter(|value| !value.is_empty())
    }
}

/// Members of a comma-separated field value; none of those that are asked for here can hold a quoted comma.
fn members(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// The protocols that a client asks for and may have. On other routes its wish has no effect.
pub fn granted(request: &Request, route: &Route) -> Option<HeaderValue> {
    request.upgrade.as_ref()?.granted(&route.upgrade)
}

/// Whether an upstream switches to what it was asked for, and to nothing else.
pub fn is_fitting(asked: &HeaderValue, fields: &HeaderMap) -> bool {
    let mut answered = fields.get_all(UPGRADE).iter().flat_map(members).peekable();
    //= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
    //# A server MUST NOT switch to a protocol that was not indicated by the
    //# client in the corresponding request's Upgrade header field.
    answered.peek().is_some()
        && answered.all(|protocol| members(asked).any(|asked| asked.eq_ignore_ascii_case(protocol)))
}

/// Asks the upstream. If it agrees, the client's connection becomes a tunnel once the answer is written; any other
/// answer is one as to every request.
pub async fn ask(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    protocols: HeaderValue,
) -> Result<Delivery, Error> {
    let tunnels = worker.metrics.tunnels.load(Ordering::Relaxed);
    plan.upstream().admit_one_more_tunnel(tunnels)?;
    let began = worker.proxy.invalidations.begin_fetch().sequence();
    let mut fetched = fetch::send(worker, request, plan, Purpose::ToSwitch(protocols), None).await?;
    let switched_to: Vec<HeaderValue> = fetched.fields.get_all(UPGRADE).iter().cloned().collect();
    if fetched.status != StatusCode::SWITCHING_PROTOCOLS {
        // To ask for a switch must not be a way round the policies.
        fetched = store::as_policies_have_it(worker, request, plan, began, fetched)?;
    }
    remove_hop_by_hop(&mut fetched.fields);
    remove_internal(&mut fetched.fields);
    let body = match (fetched.body.take_tunnel(), &request.upgrade) {
        (Some(tunnel), Some(wish)) => {
            fetched.fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            for protocol in switched_to {
                fetched.fields.append(UPGRADE, protocol);
            }
            wish.link.switch(tunnel);
            Body::empty()
        }
        (_, _) => Body::Upstream(Box::new(fetched.body)),
    };
    debug_assert_eq!(fetched.status == StatusCode::SWITCHING_PROTOCOLS, matches!(body, Body::Whole(_)));
    Ok(Delivery::Forwarded(Forwarded {
        status: fetched.status,
        fields: fetched.fields,
        body,
        fwd_status: fetched.status,
        why: Forward::Bypass,
        is_stored: false,
        conditions: Conditions::Upstreams,
        detail: None,
    }))
}

/// Passes bytes both ways until both sides have ended, one of them breaks, or none has said anything for `patience`.
/// `early` is what the client had sent before it was answered.
pub async fn join(
    client: impl AsyncRead + AsyncWrite,
    early: Bytes,
    tunnel: Tunnel,
    patience: Duration,
) -> io::Result<()> {
    let Tunnel { upgraded, open: _open } = tunnel;
    let (from_client, to_client) = tokio::io::split(client);
    let (from_upstream, to_upstream) = tokio::io::split(TokioIo::new(upgraded));
    let last = Cell::new(Stopwatch::start());
    let both_ways = async {
        tokio::try_join!(
            pass(early, from_client, to_upstream, &last),
            pass(Bytes::new(), from_upstream, to_client, &last),
        )
    };
    tokio::select! {
        ended = both_ways => ended.map(|_| ()),
        () = silence(&last, patience) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn pass(
    early: Bytes,
    mut from: ReadHalf<impl AsyncRead>,
    mut to: WriteHalf<impl AsyncWrite>,
    last: &Cell<Stopwatch>,
) -> io::Result<()> {
    to.write_all(&early).await?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        last.set(Stopwatch::start());
        if count == 0 {
            // The other direction may go on for a while.
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        last.set(Stopwatch::start());
    }
}

/// Ends when nothing has passed for so long.
async fn silence(last: &Cell<Stopwatch>, patience: Duration) {
    while let Some(left) = patience.checked_sub(last.get().elapsed()).filter(|left| !left.is_zero()) {
        tokio::time::sleep(left).await;
    }
}
