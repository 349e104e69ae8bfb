//! The audit: of some answers from store it is looked whether the upstream, asked for everything the change feed has told, gives the
//! same. It must; a difference that no event explains means that tags do not cover what they should, or that the rule is broken.
//!
//! Beside the way of a request: its client has its answer. At most one begins each second. An answer that differs may have changed a
//! moment ago, and the feed has still to say so: it is given some seconds for that. Next: `feed.rs`.

use std::{pin::Pin, rc::Rc, sync::Arc, time::Duration};

use http::Method;
use http_body::Body as _;

use crate::{
    feed::{self, Usable},
    fetch::{self, Fetched, Purpose},
    lookup::Reusable,
    memory::{Stored, StoredBody},
    observe::Outcome,
    pieces::Pieces,
    policy::Plan,
    request::Request,
    sync::{AtomicU64, Ordering},
    worker::Worker,
};

/// Between the beginnings of two, of all workers together.
const PAUSE_MS: u64 = 1_000;
/// How often, and in what steps, it is looked whether an event explains a difference.
const LOOKS: usize = 5;
const STEP: Duration = Duration::from_secs(1);

/// What came of it so far, of all workers together.
#[derive(Debug, Default)]
pub struct Audit {
    /// No other one before then.
    next_ms: AtomicU64,
    pub same: AtomicU64,
    pub mismatches: AtomicU64,
    /// The upstream gave no answer, or an event has ended the stored one since.
    pub undecided: AtomicU64,
}

impl Audit {
    /// Whether one may begin now; then no other may for a while.
    fn is_due(&self, now_ms: u64) -> bool {
        let next = self.next_ms.load(Ordering::Relaxed);
        next <= now_ms
            && self
                .next_ms
                .compare_exchange(next, now_ms.saturating_add(PAUSE_MS), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

enum Comparison {
    Same,
    Different,
    Unanswered,
}

/// Whether an answer from store is to be looked at. While nothing is to be: a random number, if the configuration asks for it.
pub fn is_sampled(worker: &Worker, request: &Request, plan: &Plan, reusable: &Reusable) -> bool {
    let Some(feed) = plan.feed() else { return false };
    feed.audit > 0.0
        && fastrand::f32() < feed.audit
        && reusable.outcome == Outcome::Hit
        && request.method == Method::GET
        && !worker.is_aside
        && reusable.stored.seen.is_some()
        && matches!(reusable.stored.body, StoredBody::Whole(_))
        && worker.proxy.audit.is_due(worker.proxy.clock.now().as_ms())
}

/// Looks, in a task of its own.
pub fn begin(worker: &Rc<Worker>, request: &Request, plan: Plan, stored: Arc<Stored>) {
    let (worker, request) = (Rc::clone(worker), request.for_everybody());
    tokio::task::spawn_local(async move {
        let audit = &worker.proxy.audit;
        let count = match compare(&worker, &request, &plan, &stored).await {
            Comparison::Same => &audit.same,
            Comparison::Unanswered => &audit.undecided,
            Comparison::Different if is_explained(&worker, &plan, &stored).await => &audit.undecided,
            Comparison::Different => {
                report(&worker, &request, &plan, &stored);
                &audit.mismatches
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
    });
}

async fn compare(worker: &Worker, request: &Request, plan: &Plan, stored: &Stored) -> Comparison {
    let feed = &worker.proxy.feed;
    let told = feed.min_version(feed.told_to());
    let fetched = fetch::send(worker, request, plan, Purpose::ForStore, told.as_ref()).await;
    match (fetched, &stored.body) {
        (Ok(fetched), StoredBody::Whole(body)) => match is_same(fetched, stored, body).await {
            Some(true) => Comparison::Same,
            Some(false) => Comparison::Different,
            None => Comparison::Unanswered,
        },
        (Ok(_), StoredBody::Part(..) | StoredBody::Arriving(_)) | (Err(_), _) => Comparison::Unanswered,
    }
}

/// `None`: it is no answer, or did not come to its end.
async fn is_same(mut fetched: Fetched, stored: &Stored, body: &Pieces) -> Option<bool> {
    if fetched.status.is_server_error() {
        return None;
    }
    if fetched.status != stored.status {
        return Some(false);
    }
    let mut pieces = body.iter().map(|piece| &piece[..]);
    // What of the stored body is still to be met.
    let mut rest = pieces.next().unwrap_or_default();
    loop {
        let next = std::future::poll_fn(|context| Pin::new(&mut fetched.body).poll_frame(context)).await;
        let Some(frame) = next.transpose().ok()? else { break };
        let Ok(data) = frame.into_data() else { continue };
        let mut data = &data[..];
        while !data.is_empty() {
            if rest.is_empty() {
                let Some(piece) = pieces.next() else { return Some(false) };
                rest = piece;
                continue;
            }
            let common = rest.len().min(data.len());
            let ((met, left), (come, more)) = (rest.split_at(common), data.split_at(common));
            if met != come {
                return Some(false);
            }
            (rest, data) = (left, more);
        }
    }
    Some(rest.is_empty() && pieces.all(<[u8]>::is_empty))
}

/// Whether the stored response has been ended meanwhile, by an event or a purge, or nobody hears what could end it.
async fn is_explained(worker: &Worker, plan: &Plan, stored: &Stored) -> bool {
    for _ in 0..LOOKS {
        if feed::usable(worker, plan, stored, worker.proxy.clock.now()) != Usable::AsItIs {
            return true;
        }
        tokio::time::sleep(STEP).await;
    }
    feed::usable(worker, plan, stored, worker.proxy.clock.now()) != Usable::AsItIs
}

/// Everything that it takes to find out why. Neither query nor content: they may be secrets.
fn report(worker: &Worker, request: &Request, plan: &Plan, stored: &Stored) {
    let said = |name: &str| {
        let fields = stored.internal.as_deref();
        fields
            .and_then(|fields| fields.get(name))
            .and_then(|value| value.to_str().ok())
            .unwrap_or("-")
            .to_owned()
    };
    let seen = stored.seen.and_then(|seen| worker.proxy.feed.position_of(seen));
    let told = worker.proxy.feed.report();
    tracing::error!(
        route.name = plan.routed.route().name.as_str(),
        path = request.target.path(),
        tags = said("cache-tag"),
        version = said("larder-version"),
        seen = seen.map_or_else(|| "-".to_owned(), |position| position.to_string()),
        told = %told.position,
        events = worker.proxy.feed.counts.events.load(Ordering::Relaxed),
        "audit: what is stored is not what the upstream gives, and no event explains it; do the tags cover all that it shows?"
    );
}
