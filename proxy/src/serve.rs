//! One request from head to answer: the table of contents of the whole program.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Response};
use hyper::body::Incoming;

use crate::{
    accept::Link,
    audit,
    body::Body,
    clock::Stopwatch,
    coalesce::{self, Turn},
    config,
    deliver::{self, Delivery},
    error::{Error, Side},
    live_updates,
    lookup::{self, Found},
    memory::Stored,
    observe::{Forward, Outcome},
    policy::{self, CacheUse, Plan, Ruling},
    read_your_writes,
    request::Request,
    respond,
    route::{self, Routed},
    session::Session,
    store, upgrade,
    worker::{View, Worker},
};

/// An answer that is there, or on its way. Never fails: what goes wrong becomes an answer.
pub enum Serving {
    /// Until it is handed over.
    Answered(Option<Response<Body>>),
    UnderWay(Pin<Box<dyn Future<Output = Response<Body>>>>),
}

/// How far a request has come.
enum Step {
    Delivered(Delivery),
    /// What is done to it depends on its content, which is to be read first.
    ReadContent(Routed),
    Switch(Plan, HeaderValue),
    /// Its client has written something that this cache may not have heard of.
    Await(Plan, Session),
    Forward {
        plan: Plan,
        why: Forward,
        stale: Option<Arc<Stored>>,
    },
}

/// Serves one request. What is stored is answered at once: hyper looks for the end of the client's stream while an answer is
/// made, and finds no buffer to use again while there is a request that lies in it.
pub fn serve(
    worker: &Rc<Worker>,
    request: http::Request<Incoming>,
    client: IpAddr,
    link: &Rc<Link>,
) -> Serving {
    let serving = begin(worker, request, client, link);
    if matches!(serving, Serving::Answered(_)) {
        link.end_turn();
    }
    serving
}

fn begin(worker: &Rc<Worker>, request: http::Request<Incoming>, client: IpAddr, link: &Rc<Link>) -> Serving {
    let watch = Stopwatch::start();
    let mut request = match Request::checked(request, client, link) {
        Ok(request) => request,
        Err((method, error)) => return Serving::Answered(Some(refused(worker, &error, &method))),
    };
    //= https://www.rfc-editor.org/rfc/rfc9110#section-7.6.2
    //# If the received value is zero (0), the
    //# intermediary MUST NOT forward the request; instead, the intermediary
    //# MUST respond as the final recipient.
    if request.max_forwards() == Some(0) {
        return Serving::Answered(Some(respond::to_options()));
    }
    let routed = match route::find(worker, &request) {
        Ok(routed) => routed,
        Err(error) => return Serving::Answered(Some(refused(worker, &error, &request.method))),
    };
    if let Some(rules) = &routed.route().key.query {
        request.target.normalise_query(rules);
    }
    if let Some(feed) = &routed.view.live.config.feed
        && (request.named.session || request.named.cookie)
    {
        read_your_writes::take(&worker.proxy, feed, &mut request);
    }
    let account = Account { view: Rc::clone(&routed.view), route: routed.index(), watch };
    // What is done to a QUERY depends on its content, and so does the key.
    let step = if policy::content_is_key(&request, &routed) {
        Ok(Step::ReadContent(routed))
    } else {
        decide(worker, &mut request, routed)
    };
    match step {
        Ok(Step::Delivered(delivery)) => Serving::Answered(Some(account.close(&request, Ok(delivery)))),
        Err(error) => Serving::Answered(Some(account.close(&request, Err(error)))),
        Ok(step) => {
            let (worker, link) = (Rc::clone(worker), Rc::clone(link));
            Serving::UnderWay(Box::pin(async move {
                let delivery = answer(&worker, &mut request, step).await;
                let mut response = account.close(&request, delivery);
                if let Some(feed) = account.feed() {
                    read_your_writes::grant(&worker.proxy, feed, &request, &mut response);
                }
                link.end_turn();
                response
            }))
        }
    }
}

async fn answer(worker: &Rc<Worker>, request: &mut Request, mut step: Step) -> Result<Delivery, Error> {
    let mut waits = 0;
    loop {
        step = match step {
            Step::Delivered(delivery) => return Ok(delivery),
            Step::ReadContent(routed) => {
                request.read_content(&routed.view.live.config.limits).await?;
                decide(worker, request, routed)?
            }
            Step::Switch(plan, protocols) => {
                return Box::pin(upgrade::ask(worker, request, &plan, protocols)).await;
            }
            Step::Await(mut plan, session) => {
                let max_wait = plan.feed().map_or(Duration::ZERO, |feed| feed.session.max_wait);
                if read_your_writes::is_reached(&worker.proxy, session, max_wait).await {
                    looked_up(worker, request, plan)
                } else {
                    // A server that has it is asked, for this client alone.
                    plan.cache = CacheUse::No(Forward::Request);
                    Step::Forward { plan, why: Forward::Request, stale: None }
                }
            }
            Step::Forward { plan, .. } if plan.may_look_up() && request.directives().only_if_cached => {
                return Err(Error::OnlyIfCached);
            }
            Step::Forward { plan, why, stale } => {
                match Box::pin(coalesce::join(worker, request, &plan, why, stale, waits)).await? {
                    Turn::Fetch(permit) => {
                        return Box::pin(store::fetch_and_keep(worker, request, plan, permit)).await;
                    }
                    Turn::Follow(reusable) => return Ok(Delivery::Reused(reusable)),
                    Turn::LookAgain => {
                        waits += 1;
                        look_up(worker, request, plan)
                    }
                }
            }
        };
    }
}

fn decide(worker: &Rc<Worker>, request: &mut Request, routed: Routed) -> Result<Step, Error> {
    let plan = match policy::decide(worker, request, routed)? {
        Ruling::Answer(made) => return Ok(Step::Delivered(Delivery::Made(made))),
        Ruling::Proceed(plan) => plan,
    };
    if plan.routed.route().live {
        return live_updates::open(worker, request).map(Step::Delivered);
    }
    if let Some(protocols) = upgrade::granted(request, plan.routed.route()) {
        return Ok(Step::Switch(plan, protocols));
    }
    Ok(look_up(worker, request, plan))
}

fn look_up(worker: &Rc<Worker>, request: &Request, plan: Plan) -> Step {
    let session = request.session.filter(|_| plan.feed().is_some() && plan.may_look_up());
    match session {
        Some(session) if !worker.proxy.feed.has_told(session.timeline, session.position) => {
            Step::Await(plan, session)
        }
        Some(_) | None => looked_up(worker, request, plan),
    }
}

fn looked_up(worker: &Rc<Worker>, request: &Request, plan: Plan) -> Step {
    match lookup::stored(worker, request, &plan) {
        Found::Reusable(reusable) => {
            if reusable.wants_refresh {
                store::refresh_in_background(worker, request, plan, Arc::clone(&reusable.stored));
            } else if audit::is_sampled(worker, request, &plan, &reusable) {
                audit::begin(worker, request, plan, Arc::clone(&reusable.stored));
            } else {
                worker.give_back(plan.key);
            }
            Step::Delivered(Delivery::Reused(reusable))
        }
        Found::Forward { why, stale } => Step::Forward { plan, why, stale },
    }
}

impl Future for Serving {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Serving::Answered(response) => Poll::Ready(Ok(response.take().expect("polled once it was over"))),
            Serving::UnderWay(answer) => answer.as_mut().poll(context).map(Ok),
        }
    }
}

/// What is counted and logged of a request when it is answered.
struct Account {
    view: Rc<View>,
    route: usize,
    watch: Stopwatch,
}

impl Account {
    /// The feed that the route goes by.
    fn feed(&self) -> Option<&config::Feed> {
        let config = &self.view.live.config;
        config.feed.as_ref().filter(|_| config.routes[self.route].feed)
    }

    fn close(&self, request: &Request, delivery: Result<Delivery, Error>) -> Response<Body> {
        let (outcome, response) = match delivery {
            Ok(delivery) => {
                let outcome = delivery.outcome();
                match deliver::response(request, delivery) {
                    Ok(response) => (outcome, response),
                    Err(error) => (Outcome::Error, failed(&error, request)),
                }
            }
            Err(error) => (Outcome::Error, failed(&error, request)),
        };
        let duration = self.watch.elapsed();
        self.view.routes[self.route].finished(outcome, duration);
        let config = &self.view.live.config;
        if config.access_log {
            log_access(request, &response, config.routes[self.route].name.as_str(), outcome, duration);
        }
        response
    }
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
        // Once for each kind, where it came up.
        Side::Policy => tracing::debug!("{error}"),
    }
    respond::to_error(error, &request.method)
}

/// One line per request with the whole decision. Neither query nor any field value: they may be secrets.
fn log_access(
    request: &Request,
    response: &Response<Body>,
    route: &str,
    outcome: Outcome,
    duration: Duration,
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
