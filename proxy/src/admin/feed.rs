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
        refused: Unseen::ALL.into_iter().map(|why| (why.as_str(), counts.refused(why))).collect(),
        report,
    })
}

pub(super) fn status(proxy: &Proxy) -> Option<FeedStatus> {
    let on_loss = proxy.live().config.feed.as_ref()?.on_loss.as_str();
    let FeedGauges { loss, silence_ms, report, events, tags, refused } = gauges(proxy)?;
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
        refused: refused.into_iter().collect(),
    })
}
