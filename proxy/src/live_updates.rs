//! Live updates: a route with `live = true` answers a GET with a stream of server-sent events, one for each change of the
//! tags that the client names (`?tags=chat:abc,user:7`), as a browser's `EventSource` and any server read it.
//!
//! The policies of the route are asked as for any request, and may refuse. What is told and when: `subscriptions.rs`.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use caching::tags::is_tag;
use http::{
    HeaderName, HeaderValue, Method, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::{
    body::Body,
    deliver::Delivery,
    error::Error,
    request::Request,
    subscriptions::{EventId, MAX_TAGS, Refused, Subscription},
    worker::Worker,
};

/// At a time, of all workers together.
const MAX_SUBSCRIBERS: usize = 10_000;
/// Between two signs of life, below what proxies and phone networks take for an end.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a subscriber reads, for as long as it does.
#[derive(Debug)]
pub struct EventStream {
    subscription: Subscription,
    signs_of_life: Interval,
}

impl EventStream {
    /// Ends when its reader was too slow.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        // Events first: they are a sign of life as well.
        if let Poll::Ready(event) = self.subscription.poll_next(context) {
            self.signs_of_life.reset();
            return Poll::Ready(event);
        }
        Pin::new(&mut self.signs_of_life).poll_tick(context).map(|_| Some(Bytes::from_static(b":\n\n")))
    }
}

/// Begins a stream. The policies have had their say.
pub fn open(worker: &Worker, request: &Request) -> Result<Delivery, Error> {
    if request.method != Method::GET {
        return Err(Error::MethodRefused(request.method.clone()));
    }
    if request.has_body {
        return Err(Error::BadSubscription("a request for live updates has no body"));
    }
    if worker.proxy.live().config.feed.is_none() {
        return Err(Error::NoFeed);
    }
    let query = request.target.path_and_query().query().unwrap_or_default();
    let (mut tags, mut last) = (Vec::new(), None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "tags" => {
                let named = value.split(',').map(str::trim).filter(|tag| !tag.is_empty());
                // One more than there may be is enough to be told so.
                tags.extend(named.map(Box::<str>::from).take(MAX_TAGS + 1));
            }
            // A page that was loaded anew has no other way to say it.
            "last_event_id" => last = Some(event_id(&value)?),
            _ => (),
        }
    }
    if !tags.iter().all(|tag| is_tag(tag.as_bytes())) {
        return Err(Error::BadSubscription(
            "a tag is visible ASCII without commas, of at most 256 characters",
        ));
    }
    if let Some(value) = request.fields.get(LAST_EVENT_ID) {
        let text = value.to_str().ok();
        last = Some(event_id(text.ok_or(Error::BadSubscription(BAD_ID))?)?);
    }
    let subscribed = worker.proxy.subscriptions.subscribe(tags, last, MAX_SUBSCRIBERS);
    let subscription = subscribed.map_err(|refused| match refused {
        Refused::NoTags => Error::BadSubscription("name the tags to hear of: ?tags=chat:abc,user:7"),
        Refused::TooManyTags => Error::BadSubscription("more than 64 tags in one subscription"),
        Refused::TooMany => Error::TooManySubscribers { limit: MAX_SUBSCRIBERS },
    })?;
    let mut signs_of_life = interval_at(tokio::time::Instant::now() + SIGN_OF_LIFE, SIGN_OF_LIFE);
    signs_of_life.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Ok(Delivery::Live(Box::new(EventStream { subscription, signs_of_life })))
}

const BAD_ID: &str = "the id of the last event is not one of ours: 1-16/B374D848";

fn event_id(text: &str) -> Result<EventId, Error> {
    EventId::parse(text).ok_or(Error::BadSubscription(BAD_ID))
}

/// The answer that carries a stream.
pub fn response(stream: Box<EventStream>) -> Response<Body> {
    let mut response = Response::new(Body::Events(stream));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(crate::deliver::CACHE_STATUS, HeaderValue::from_static("larder; fwd=bypass; detail=live"));
    response
}
