//! What the change feed decides about a response: whether it may be used now, and whether it may be stored.
//!
//! A response that says what it was made from, or has a tag, depends on the feed, if there is one and its route does not say
//! `feed = false`. What it has of the feed is found while it is fetched (`fetch.rs`) and kept with it; each look-up compares that
//! with what the feed has told since. Next: `feed/account.rs` for what is told, `feed/client.rs` for how it comes,
//! `caching::ledger` for why nothing stale is served.

use std::sync::Arc;

use caching::{ledger::Refusal, time::Timestamp, version::Stamp};
use http::{HeaderMap, HeaderName};

mod account;
pub mod client;
mod lines;

pub use account::{Account, Counts, Filling, Loss, Report, Sight, Sighting, Source, Standing, Unseen};

use crate::{
    config::OnLoss,
    invalidations::{Cell, Mark, Validity},
    memory::Stored,
    policy::Plan,
    worker::Worker,
};

pub const LARDER_VERSION: HeaderName = HeaderName::from_static("larder-version");
pub const LARDER_MIN_VERSION: HeaderName = HeaderName::from_static("larder-min-version");

/// What purges and the feed leave of a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usable {
    AsItIs,
    /// Stale since then, however fresh it would be; because the feed is lost, if it says so.
    StaleSince(Timestamp, Option<Loss>),
    No(Option<Loss>),
}

/// What a response to be stored has of the feed, and what that is worth.
#[derive(Debug, Clone, Copy)]
pub struct Sighted {
    /// `None`: it does not depend on a feed.
    pub seen: Option<Sight>,
    /// It must not be stored.
    pub lacks: Option<Unseen>,
    /// Who asked when the feed was no further may have it in any case; `None`: the feed does not matter.
    pub as_of: Option<Mark>,
    /// An event that it lacks, and that an upstream can be asked for.
    pub better: Option<Mark>,
}

/// Holds a response that has just come against the feed. `depends`: it says what it was made from, or has a tag.
pub fn sighted(plan: &Plan, sighting: Option<Sighting>, depends: bool, cells: &[Arc<Cell>]) -> Sighted {
    let unfed = Sighted { seen: depends.then_some(Sight::NONE), lacks: None, as_of: None, better: None };
    let (true, Some(rules), Some(sighting)) = (depends, plan.feed(), sighting) else { return unfed };
    // Of no account, and ended by what is told later all the same.
    let of_none = Sight { epoch: 0, mark: sighting.began };
    let lives_by_ttl = rules.on_loss == OnLoss::Ttl;
    let lacks = match sighting.lacks(cells) {
        Some(Unseen::Refused(Refusal::NoFeed | Refusal::Gap)) if lives_by_ttl => None,
        lacks => lacks,
    };
    Sighted {
        seen: Some(sighting.seen.unwrap_or(of_none)),
        lacks,
        as_of: Some(sighting.as_of(cells)),
        better: sighting.better(cells),
    }
}

/// Judges a stored response by the configuration of now. While nothing happens it takes no lock: three loads for each of its cells
/// and four more.
pub fn usable(worker: &Worker, plan: &Plan, stored: &Stored, now: Timestamp) -> Usable {
    let proxy = &worker.proxy;
    let Some((rules, seen)) = plan.feed().zip(stored.seen) else {
        return of_purges(stored.purged(&proxy.invalidations, &plan.key));
    };
    let of_purges = of_purges(stored.validity(&proxy.invalidations, &plan.key));
    match proxy.feed.standing(seen.epoch, rules.max_silence, now) {
        Standing::Heard => of_purges,
        Standing::Lost(since, loss) => unheard(of_purges, since, loss, rules.on_loss),
    }
}

#[cold]
fn unheard(of_purges: Usable, since: Option<Timestamp>, loss: Loss, on_loss: OnLoss) -> Usable {
    match (on_loss, since) {
        (OnLoss::Ttl, _) => of_purges,
        (OnLoss::Pass, _) | (OnLoss::Stale, None) => Usable::No(Some(loss)),
        (OnLoss::Stale, Some(since)) => match of_purges {
            Usable::AsItIs => Usable::StaleSince(since, Some(loss)),
            Usable::StaleSince(purged, _) => Usable::StaleSince(since.min(purged), Some(loss)),
            Usable::No(_) => of_purges,
        },
    }
}

fn of_purges(validity: Validity) -> Usable {
    match validity {
        Validity::Untouched => Usable::AsItIs,
        Validity::SoftPurged(since) => Usable::StaleSince(since, None),
        Validity::Changed | Validity::Purged => Usable::No(None),
    }
}

/// Why a response that depends on the feed is of less use than its fields say, at this moment.
pub fn loss(worker: &Worker, plan: &Plan, stored: &Stored) -> Option<Loss> {
    let (rules, _) = plan.feed().zip(stored.seen)?;
    worker.proxy.feed.now(rules.max_silence, worker.proxy.clock.now()).err()
}

/// What a response says that it was made from. One that nobody can read says nothing.
pub fn stamp(fields: &HeaderMap) -> Option<Stamp> {
    let mut lines = fields.get_all(LARDER_VERSION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    Stamp::parse(line.to_str().ok()?)
}
