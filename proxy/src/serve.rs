//! One request from head to answer: the table of contents of the whole program.

use std::{
    net::IpAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use http::Response;
use hyper::body::Incoming;

use crate::{
    accept::Link,
    body::Body,
    clock::Stopwatch,
    coalesce::{self, Turn},
    deliver::{self, Delivery},
    error::{Error, Side},
    lookup::{self, Found},
    observe::Outcome,
    policy::{self, Ruling},
    request::Request,
    respond, route, store, upgrade,
    worker::Worker,
};

/// Serves one request. Never fails: what goes wrong becomes an answer.
pub async fn serve(
    worker: &Rc<Worker>,
    request: http::Request<Incoming>,
    client: IpAddr,
    link: &Rc<Link>,
) -> Response<Body> {
    let watch = Stopwatch::start();
    let mut request = match Request::checked(request, client, link) {
        Ok(request) => request,
        Err((method, error)) => return refused(worker, &error, &method),
    };
    //= https://www.rfc-editor.org/rfc/rfc9110#section-7.6.2
    //# If the received value is zero (0), the
    //# intermediary MUST NOT forward the request; instead, the intermediary
    //# MUST respond as the final recipient.
    if request.max_forwards() == Some(0) {
        return respond::to_options();
    }
    let routed = match route::find(worker, &request) {
        Ok(routed) => routed,
        Err(error) => return refused(worker, &error, &request.method),
    };
    if let Some(rules) = &routed.route().key.query {
        request.target.normalise_query(rules);
    }
    let view = Rc::clone(&routed.view);
    let (metrics, route) = (routed.metrics_handle(), routed.index());
    let (outcome, response) = match answer(worker, &mut request, routed).await {
        Ok(delivery) => {
            let outcome = delivery.outcome();
            match deliver::response(&request, delivery) {
                Ok(response) => (outcome, response),
                Err(error) => (Outcome::Error, failed(&error, &request)),
            }
        }
        Err(error) => (Outcome::Error, failed(&error, &request)),
    };
    let duration = watch.elapsed();
    metrics.finished(outcome, duration);
    if view.live.config.access_log {
        let route_name = view.live.config.routes[route].name.as_str();
        log_access(&request, &response, route_name, outcome, duration);
    }
    response
}

async fn answer(
    worker: &Rc<Worker>,
    request: &mut Request,
    routed: route::Routed,
) -> Result<Delivery, Error> {
    // What is done to a QUERY depends on its content, and so does the key.
    if policy::content_is_key(request, &routed) {
        Box::pin(request.read_content(&routed.view.live.config.limits)).await?;
    }
    let request = &*request;
    let plan = match policy::decide(worker, request, routed)? {
        Ruling::Answer(made) => return Ok(Delivery::Made(made)),
        Ruling::Proceed(plan) => plan,
    };
    if let Some(protocols) = upgrade::granted(request, plan.routed.route()) {
        return Box::pin(upgrade::ask(worker, request, &plan, protocols)).await;
    }
    let mut waits = 0;
    let permit = loop {
        let (why, stale) = match lookup::stored(worker, request, &plan) {
            Found::Reusable(reusable) => {
                if reusable.wants_refresh {
                    store::refresh_in_background(worker, request, plan, Arc::clone(&reusable.stored));
                } else {
                    worker.give_back(plan.key);
                }
                return Ok(Delivery::Reused(reusable));
            }
            Found::Forward { why, stale } => (why, stale),
        };
        if plan.may_look_up() && request.directives().only_if_cached {
            return Err(Error::OnlyIfCached);
        }
        // Boxed, so that a hit does not carry the room for all that a miss waits for.
        match Box::pin(coalesce::join(worker, request, &plan, why, stale, waits)).await? {
            Turn::Fetch(permit) => break permit,
            Turn::Follow(reusable) => return Ok(Delivery::Reused(reusable)),
            Turn::LookAgain => waits += 1,
        }
    };
    Box::pin(store::fetch_and_keep(worker, request, plan, permit)).await
}

/// A request that has no route yet, or none at all.
fn refused(worker: &Worker, error: &Error, method: &http::Method) -> Response<Body> {
    worker.metrics.refused.fetch_add(1, Ordering::Relaxed);
    tracing::debug!("{error}");
    respond::to_error(error, method)
}

fn failed(error: &Error, request: &Request) -> Response<Body> {
    match error.side() {
        Side::Client => tracing::debug!("{error}"),
        Side::Upstream => tracing::warn!("{error}"),
        Side::Us => tracing::error!("{error}"),
    }
    respond::to_error(error, &request.method)
}

/// One line per request with the whole decision. Neither query nor any field value: they may be secrets.
fn log_access(
    request: &Request,
    response: &Response<Body>,
    route: &str,
    outcome: Outcome,
    duration: std::time::Duration,
) {
    tracing::info!(
        target: "larder::access",
        client = %request.client,
        method = request.method.as_str(),
        host = request.target.host(),
        path = request.target.path(),
        status = response.status().as_u16(),
        route.name = route,
        cache.outcome = outcome.as_str(),
        duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        "request"
    );
}
