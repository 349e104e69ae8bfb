//! One request that changes something: the table of contents of a write.
//!
//! What it says is read and judged as a whole before the database hears of it; then it is one transaction on the primary, and
//! its answer says how far the log of the primary had come.
//! Read next: `write/transaction.rs`.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{IF_MATCH, IF_NONE_MATCH};
use hyper::http::request::Parts;
use hyper::{Method, Response};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::debug;

use crate::catalogue::{Condition, Endpoint, Idempotency, In};
use crate::clock::Stopwatch;
use crate::database::Database;
use crate::error::Error;
use crate::live::{Live, Served};
use crate::params::{self, Given};
use crate::serve::Worker;

mod body;
mod json;
mod members;
mod precondition;
mod idempotency;
mod transaction;
mod outcome;
mod answer;

pub(crate) use body::Room;
pub(crate) use members::MAX_ROWS;

use idempotency::{IDEMPOTENCY_KEY, Key};
use precondition::IfMatch;
use transaction::{Done, Write};

/// Between two looks for an endpoint that keeps answers: query files can be replaced.
const KEEPER_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) async fn respond<B>(
    worker: &Worker,
    served: &Served,
    captures: &[&str],
    head: &Parts,
    body: B,
) -> Result<Response<Full<Bytes>>, Error>
where
    B: Body<Data = Bytes>,
{
    let endpoint = &*served.endpoint;
    let query = head.uri.query().unwrap_or_default();
    let mut given = params::read(endpoint, captures, query, &worker.shared.cursor_key)?;
    let condition = condition(endpoint, head)?;
    // Held until the end: its room is taken for as long as its values are.
    let mut held = content(worker, endpoint, head, body, &mut given).await?;
    let key = key(endpoint, head, &held.bytes)?;
    held.bytes = Vec::new();

    let versions = match &condition {
        Some(IfMatch::Versions(versions)) => Some((versions, given.clone())),
        Some(IfMatch::Any) | None => None,
    };
    let alternatives = match &versions {
        Some((versions, given)) => versions.iter().map(|version| given.of_version(version)).collect(),
        None => vec![given],
    };
    let write = Arc::new(Write { served: served.clone(), alternatives, key });
    let watch = Stopwatch::start();
    let done = transaction::run(worker.database.clone(), write.clone()).await;
    worker.shared.metrics.statement(&served.metrics, watch.elapsed());
    match done? {
        Done::Changed(answered) => Ok(answer::response(answered, false)),
        Done::Before(answered) => Ok(answer::response(answered, true)),
        Done::NoRow => {
            let Some((_, given)) = versions else { return Err(Error::NoRow) };
            let is_there = transaction::is_there(worker.database.clone(), write, given).await?;
            Err(if is_there { Error::PreconditionFailed } else { Error::NoRow })
        }
    }
}

/// What the request says of the state it wants to change.
fn condition(endpoint: &Endpoint, head: &Parts) -> Result<Option<IfMatch>, Error> {
    if head.headers.contains_key(IF_NONE_MATCH) {
        return Err(Error::BadCondition("If-None-Match is for reading; a write takes If-Match"));
    }
    let condition = precondition::if_match(&head.headers)?;
    let has_versions = endpoint.conditions.contains(&Condition::IfMatch);
    match condition {
        Some(_) if !has_versions => {
            Err(Error::BadCondition("this endpoint has no versions that If-Match could name"))
        }
        None if endpoint.requires_version => Err(Error::PreconditionRequired),
        condition => Ok(condition),
    }
}

/// Reads the body, if the endpoint has one, into `given`.
async fn content<'w, B>(
    worker: &'w Worker,
    endpoint: &Endpoint,
    head: &Parts,
    body: B,
    given: &mut Given,
) -> Result<body::Held<'w>, Error>
where
    B: Body<Data = Bytes>,
{
    let takes = |from: In| endpoint.params.iter().any(|param| param.from == from);
    let most = match (takes(In::Rows), takes(In::Body)) {
        (true, _) => body::MAX_ROWS_BYTES,
        (false, true) => body::MAX_BODY_BYTES,
        (false, false) if body::is_empty(&body) => return Ok(body::Held::default()),
        (false, false) => return Err(Error::BadRequest("this endpoint takes no body")),
    };
    let held = body::read(&head.headers, body, most, &worker.bodies).await?;
    members::read(&held.bytes, &endpoint.params, &endpoint.row_members, given)?;
    Ok(held)
}

/// The key under which the answer is kept.
fn key(endpoint: &Endpoint, head: &Parts, body: &[u8]) -> Result<Option<Key>, Error> {
    let has_key = head.headers.contains_key(IDEMPOTENCY_KEY);
    match endpoint.idempotency {
        Idempotency::Required if !has_key => {
            return Err(Error::BadKey("this endpoint needs an Idempotency-Key; a UUID would do"));
        }
        // To repeat those changes nothing, by what they are.
        Idempotency::None if matches!(endpoint.route.method, Method::PUT | Method::DELETE) => {
            return Ok(None);
        }
        Idempotency::None if has_key => {
            return Err(Error::BadKey("this endpoint keeps no answers: leave Idempotency-Key out"));
        }
        Idempotency::None | Idempotency::Optional | Idempotency::Required => (),
    }
    let if_match = head.headers.get_all(IF_MATCH).iter().map(|value| value.as_bytes());
    let mut parts = vec![head.uri.path().as_bytes(), head.uri.query().unwrap_or_default().as_bytes(), body];
    parts.extend(if_match);
    Key::of(&head.headers, &endpoint.name, &parts)
}

/// Removes old keys, until the runtime ends; from the time on when there is an endpoint that keeps some.
pub(crate) async fn remove_old_keys(database: Arc<Database>, live: Arc<ArcSwap<Live>>) {
    while !live.load().catalogue.endpoints.iter().any(|endpoint| endpoint.keeps_keys()) {
        sleep(KEEPER_INTERVAL).await;
    }
    let mut ticks = interval(idempotency::REMOVAL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Without a primary there is nothing to be removed from; it is said elsewhere.
        let Ok(turn) = database.write_turn().await else { continue };
        if let Err(error) = idempotency::remove_old(&turn.client).await {
            debug!("old idempotency keys were not removed: {error}");
        }
    }
}
