//! Takes a body in, for those who read it as it arrives, and stores the response when it is whole.
//!
//! Must not know why the response may be stored. Next: `arriving.rs`, `memory.rs`.

use std::{sync::Arc, time::Duration};

use caching::partial::{combined_fields, may_combine, union};
use http::StatusCode;
use http_body::Body as _;

use super::judge::with_internal;
use crate::{
    arriving::{Arriving, FailOnDrop, NobodyReads},
    clock::Stopwatch,
    coalesce::FetchPermit,
    feed::LARDER_VERSION,
    memory::{Stored, StoredBody},
    pieces::{PIECE_OVERHEAD_BYTES, Pieces},
    policy::Plan,
    upstream::UpstreamBody,
    worker::Worker,
};

/// From the first byte to the last.
pub(super) async fn receive(
    worker: &Worker,
    plan: &Plan,
    permit: FetchPermit,
    key: &[u8],
    stored: Arc<Stored>,
    arriving: Arc<Arriving>,
    mut body: UpstreamBody,
) {
    let upstream = plan.upstream();
    let (memory, limit_bytes) = (&worker.proxy.memory, worker.max_response_bytes(plan));
    let broken_if_dropped = FailOnDrop(Arc::clone(&arriving));
    let mut permit = Some(permit);
    let mut kept = memory.keep_arriving();
    // What was stored of it already, if it is completed.
    kept.add(arriving.bytes() as u64);
    let watch = Stopwatch::start();
    // A body that is empty has ended before its first piece.
    while !body.is_end_stream() {
        match tokio::time::timeout(upstream.read_timeout(), arriving.room()).await {
            Ok(Ok(())) => (),
            Ok(Err(NobodyReads)) => return,
            // One client that has stopped reading must not stop the others.
            Err(_) => {
                arriving.leave_the_slowest_behind();
                continue;
            }
        }
        if !arriving.has_readers() && watch.elapsed() > upstream.longest_wait() {
            tracing::warn!(
                route.name = plan.routed.route().name.as_str(),
                "gave up a response without end that nobody reads"
            );
            return;
        }
        match body.data().await {
            Some(Ok(chunk)) => {
                let has_room = permit.is_none() || kept.add((chunk.len() + PIECE_OVERHEAD_BYTES) as u64);
                let is_too_large = arriving.push(chunk) as u64 > limit_bytes;
                if (is_too_large || !has_room) && permit.take().is_some() {
                    if is_too_large {
                        worker.remember_unshareable(plan, None);
                    }
                    arriving.stop_keeping();
                    kept = memory.keep_arriving();
                }
            }
            Some(Err(error)) => {
                tracing::warn!(upstream.cause = %error, "a response ended early and is not stored");
                return;
            }
            None => break,
        }
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3.1
    //# Caches MAY either store trailer fields separate from header fields or
    //# discard them.  Caches MUST NOT combine trailer fields with header
    //# fields.
    let whole = arriving.finish(body.take_trailers());
    drop(broken_if_dropped);
    if let (Some(bytes), Some(permit)) = (whole, permit) {
        if let Some(stored) = permit.is_kept.then(|| with_bytes(worker, plan, key, &stored, bytes)).flatten()
        {
            memory.insert(key, Arc::new(stored), &worker.proxy.invalidations);
        }
        // Only now: until it is in memory, those who come find it with the permit.
        drop(permit);
    }
}

/// The response with its body; `None`: the body is not what the head announced.
fn with_bytes(worker: &Worker, plan: &Plan, key: &[u8], stored: &Stored, bytes: Pieces) -> Option<Stored> {
    let StoredBody::Part(part, _) = &stored.body else {
        return Some(stored.with_body(StoredBody::Whole(bytes)));
    };
    if part.length() != bytes.len() as u64 {
        return None;
    }
    if part.is_whole() {
        let whole = stored.with_body(StoredBody::Whole(bytes));
        return Some(Stored { status: StatusCode::OK, ..whole });
    }
    let part = stored.with_body(StoredBody::Part(*part, bytes));
    // By a rule for queries what is there may be of another URL.
    let variants = worker.proxy.memory.variants(key).filter(|_| plan.search.is_none());
    let known = variants.iter().flat_map(|all| all.iter()).find(|known| known.selecting == part.selecting);
    Some(known.and_then(|known| united(worker, key, known, &part)).unwrap_or(part))
}

/// Two parts of the same representation as one, or as the whole (RFC 9111 section 3.4).
fn united(worker: &Worker, key: &[u8], old: &Stored, new: &Stored) -> Option<Stored> {
    let (StoredBody::Part(old_part, old_bytes), StoredBody::Part(new_part, new_bytes)) =
        (&old.body, &new.body)
    else {
        return None;
    };
    // What the upstream said to this cache alone of the one may not hold for the other: tags, and how long.
    if !old.is_valid(&worker.proxy.invalidations, key)
        || (old.judged_by, old.is_provisional) != (new.judged_by, new.is_provisional)
        || old.seen.is_some() != new.seen.is_some()
        || !is_same_to_cache(old, new)
        || !may_combine(old.own_fields(), new.own_fields())
    {
        return None;
    }
    let union = union(old_part, new_part)?;
    let (before, after) = (old_bytes.slice(union.before), old_bytes.slice(union.after));
    let bytes = Pieces::of(before.iter().chain(new_bytes.iter()).chain(&after));
    let body =
        if union.part.is_whole() { StoredBody::Whole(bytes) } else { StoredBody::Part(union.part, bytes) };
    let fields = combined_fields(&old.fields, &new.fields);
    let is_changed = old.own.is_some() || new.own.is_some();
    let own = is_changed.then(|| Arc::new(combined_fields(&with_internal(old), &with_internal(new))));
    let cells = old.merged_cells(&new.cells);
    Some(Stored { fields, own, cells, status: StatusCode::OK, ..new.with_body(body) })
}

/// Whether the upstream said the same to this cache of both. What each was made from is another thing each time; that the newer
/// one is of the same representation means that all of it is as of then.
fn is_same_to_cache(old: &Stored, new: &Stored) -> bool {
    let said = |stored: &Stored| {
        let mut said = stored.internal.as_deref().cloned().unwrap_or_default();
        said.remove(LARDER_VERSION);
        said
    };
    said(old) == said(new)
}

impl Worker {
    pub(super) fn max_response_bytes(&self, plan: &Plan) -> u64 {
        plan.routed.view.live.config.cache.max_response_bytes
    }

    /// Requests for this key need not wait for each other for a while.
    pub(super) fn remember_unshareable(&self, plan: &Plan, hit_for_miss: Option<Duration>) {
        let ttl = hit_for_miss.unwrap_or(plan.routed.route().cache.hit_for_miss);
        self.proxy.unshareable.remember(&plan.key, self.proxy.clock.now() + ttl);
    }
}
