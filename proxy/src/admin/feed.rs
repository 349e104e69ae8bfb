//! How the change feed is, for `/api/status` and `/metrics`.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use serde::Serialize;

use crate::{
    feed::{Loss, Unseen},
    live::Proxy,
    observe::metrics::FeedGauges,
};

#[derive(Debug, Serialize)]
pub(super) struct FeedStatus {
    /// `heard`, `silent` or `none`.
    state: &'static str,
    /// What becomes of stored responses that depend on it while it is not heard.
    on_loss: &'static str,
    /// How many accounts it has given. Each new one is a gap.
    epoch: u64,
    system: Option<String>,
    timeline: Option<u32>,
    position: String,
    /// For how long it has said nothing.
    silence_ms: Option<u64>,
    /// Commits of which it is not certain that everyone sees them.
    limbo: usize,
    events: u64,
    tags: u64,
    /// Of answers from store that were looked at again: what came of it. `mismatches` is to be 0.
    audit: BTreeMap<&'static str, u64>,
    /// Who hears of changes by live updates, and how many were cut off for being slow.
    subscribers: usize,
    subscribers_cut_off: u64,
    /// Responses that were not stored, by what they lacked.
    refused: BTreeMap<&'static str, u64>,
}

/// `None`: none is configured.
pub(super) fn gauges(proxy: &Proxy) -> Option<FeedGauges> {
    let max_silence = proxy.live().config.feed.as_ref()?.max_silence;
    let (report, now, counts) = (proxy.feed.report(), proxy.clock.now(), &proxy.feed.counts);
    Some(FeedGauges {
        loss: proxy.feed.now(max_silence, now).err(),
        silence_ms: report.heard.map(|heard| now.as_ms().saturating_sub(heard.as_ms())),
        events: counts.events.load(Ordering::Relaxed),
        tags: counts.tags.load(Ordering::Relaxed),
        audit: audit(proxy),
        subscribers: proxy.subscriptions.numbers(),
        refused: Unseen::ALL.into_iter().map(|why| (why.as_str(), counts.refused(why))).collect(),
        report,
    })
}

fn audit(proxy: &Proxy) -> [(&'static str, u64); 3] {
    let audit = &proxy.audit;
    let counts = [("same", &audit.same), ("mismatch", &audit.mismatches), ("undecided", &audit.undecided)];
    counts.map(|(result, count)| (result, count.load(Ordering::Relaxed)))
}

pub(super) fn status(proxy: &Proxy) -> Option<FeedStatus> {
    let on_loss = proxy.live().config.feed.as_ref()?.on_loss.as_str();
    let FeedGauges { loss, silence_ms, report, events, tags, audit, subscribers, refused } = gauges(proxy)?;
    Some(FeedStatus {
        state: match loss {
            None => "heard",
            Some(Loss::Silent) => "silent",
            Some(Loss::NoFeed | Loss::Gap) => "none",
        },
        on_loss,
        epoch: report.epoch,
        system: report.source.as_ref().map(|source| source.system.to_string()),
        timeline: report.source.as_ref().map(|source| source.timeline.number()),
        position: report.position.to_string(),
        silence_ms,
        limbo: report.limbo,
        events,
        tags,
        audit: audit.into_iter().collect(),
        subscribers: subscribers.subscribers,
        subscribers_cut_off: subscribers.cut_off,
        refused: refused.into_iter().collect(),
    })
}
