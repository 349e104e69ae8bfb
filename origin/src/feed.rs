//! The change feed: every committed transaction as the tags of what it changed, in the order of the WAL, for proxies that keep
//! answers made from the database.
//!
//! One follower reads the primary's WAL (`feed/follow.rs`: `feed/wire.rs`, `feed/decode.rs`), makes tags of rows
//! (`feed/mapping.rs`, `feed/transaction.rs`, `feed/parents.rs`) and tells them to a ring (`feed/ring.rs`), from which every
//! listener is told (`feed/listen.rs`). What is shown of it:
//! `feed/show.rs`; what the database needs for it: `feed/setup.rs`. `docs/origin.md` is what operators read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::catalogue::Mapping;
use crate::config::FeedConfig;

pub(crate) mod mapping;
pub(crate) mod position;
mod wire;
mod decode;
mod transaction;
mod snapshot;
mod primary;
mod parents;
mod follow;
mod ddl;
mod triggers;
mod changes;
mod ring;
mod listen;
mod show;
pub(crate) mod setup;

pub(crate) use follow::run;
pub(crate) use listen::answer;

use mapping::{contains, union};
use ring::Ring;

/// What follower, listeners and watchers share.
#[derive(Debug)]
pub(crate) struct Feed {
    config: FeedConfig,
    mapping: watch::Sender<Arc<Mapping>>,
    ring: Arc<Ring>,
    listeners: AtomicUsize,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    accounts: AtomicU64,
    events: AtomicU64,
    tags: AtomicU64,
    /// From commit to event, of the last one.
    delay_us: AtomicU64,
    too_slow: AtomicU64,
    /// Bytes of WAL.
    retained: AtomicU64,
    /// All is told that was in the WAL a moment ago.
    is_current: AtomicBool,
}

impl Feed {
    /// `declared`: what the query files say of tables.
    pub(crate) fn new(config: &FeedConfig, declared: &Mapping) -> Arc<Self> {
        let mapping = Arc::new(union(declared, &config.tables));
        Arc::new(Self {
            mapping: watch::Sender::new(mapping),
            ring: Arc::new(Ring::new(config.ring_events, config.ring_bytes)),
            config: config.clone(),
            listeners: AtomicUsize::new(0),
            counts: Counts::default(),
        })
    }

    /// The query files are others now, and requests that began with the old ones may still be answered by these: if the new ones say
    /// more of tables, the account begins anew, by both. To be called when the new ones serve.
    pub(crate) fn tell_also(&self, declared: &Mapping) {
        let told = self.mapping.borrow().clone();
        if !contains(&told, declared) {
            self.tell(union(&told, declared));
        }
    }

    /// The old ones are of the past. What they made may be stored: if more was told for them, the account begins anew without it.
    pub(crate) fn tell_only(&self, declared: &Mapping) {
        let mapping = union(declared, &self.config.tables);
        let told = self.mapping.borrow().clone();
        if !contains(&mapping, &told) {
            self.tell(mapping);
        }
    }

    fn tell(&self, mapping: Mapping) {
        // At once, and not when the follower comes to it.
        self.ring.lose("the tables of the feed are others now");
        self.mapping.send_replace(Arc::new(mapping));
    }

    /// Ends all who listen.
    pub(crate) fn stop(&self) {
        self.ring.stop();
    }

    fn mapping(&self) -> watch::Receiver<Arc<Mapping>> {
        self.mapping.subscribe()
    }

    fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }
}
