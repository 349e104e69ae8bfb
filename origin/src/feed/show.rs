//! The feed in figures, for `/-/metrics` and `/-/status`. No label comes from data.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::Feed;
use crate::config::FeedSource;
use crate::metrics::Text;

impl Feed {
    pub(crate) fn text(&self, out: &mut Text) {
        let look = self.ring.look();
        let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let mut counter = |name: &str, help: &str, value: u64| {
            out.family(name, "counter", help);
            out.sample(name, &[], value);
        };
        counter("larder_origin_feed_events_total", "Commits that were told.", load(&self.counts.events));
        counter("larder_origin_feed_tags_total", "Their tags.", load(&self.counts.tags));
        counter(
            "larder_origin_feed_accounts_total",
            "Accounts that were begun; all but the first after a gap, a failover, or with other tables.",
            load(&self.counts.accounts),
        );
        counter(
            "larder_origin_feed_too_slow_total",
            "Listeners that were ended because they did not read in time.",
            load(&self.counts.too_slow),
        );
        out.gauge(
            "larder_origin_feed_up",
            "Whether changes are told now.",
            u8::from(look.account.is_some() && self.is_current()),
        );
        out.gauge(
            "larder_origin_feed_position_bytes",
            "All up to this position of the WAL was told.",
            look.told.0,
        );
        out.gauge(
            "larder_origin_feed_delay_seconds",
            "From the last commit that was told to its event.",
            self.delay().as_secs_f64(),
        );
        out.gauge("larder_origin_feed_listeners", "Who listens now.", self.listeners());
        out.gauge("larder_origin_feed_ring_events", "Events kept for those who come back.", look.events);
        out.gauge("larder_origin_feed_ring_bytes", "Their size.", look.bytes);
        out.gauge(
            "larder_origin_feed_slot_retained_bytes",
            "WAL that a slot that stays keeps on the primary.",
            load(&self.counts.retained),
        );
    }

    pub(crate) fn json(&self) -> Value {
        let look = self.ring.look();
        let account = look.account.as_ref();
        let source = match self.config.source {
            FeedSource::Replication => "replication",
            FeedSource::Triggers => "triggers",
        };
        json!({
            "isTold": account.is_some() && self.is_current(),
            "why": account.is_none().then_some(&look.why),
            "system": account.map(|account| &account.system),
            "timeline": account.map(|account| account.timeline),
            "begin": account.map(|account| account.position.to_string()),
            "position": look.told.to_string(),
            "delaySeconds": self.delay().as_secs_f64(),
            "source": source,
            "slot": (self.config.source == FeedSource::Replication)
                .then(|| self.config.slot.as_deref().unwrap_or("temporary")),
            "slotRetainedBytes": self.counts.retained.load(Ordering::Relaxed),
            "listeners": self.listeners(),
            "ring": { "from": look.floor.to_string(), "events": look.events, "bytes": look.bytes },
        })
    }

    fn delay(&self) -> Duration {
        Duration::from_micros(self.counts.delay_us.load(Ordering::Relaxed))
    }

    /// Whether heartbeats are given.
    fn is_current(&self) -> bool {
        self.counts.is_current.load(Ordering::Relaxed)
    }
}
