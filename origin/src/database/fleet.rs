//! What all servers together are: which one is the primary, which are its replicas, and how far each is behind.
//!
//! A server is what it says it is, not what the configuration calls it, so that a failover is followed without a restart. When
//! more than one says that it is the primary, the one on the higher timeline is: a promotion starts a new one. The other one is
//! fenced, and so is whoever comes later with an older timeline than was ever seen: what it has is not the cluster's history any
//! more. Two on the same timeline cannot be told apart, and neither takes anything until one of them is gone.
//! A primary that was started anew was away, and may have been replaced: it is believed when every other server that answers
//! was looked at since.
//!
//! Time is an argument in all that decides. Read next: `database/watch.rs`, which brings the news.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Stopwatch;

/// Between two looks at a server, as they are usually; news that are older than two of them make it lag more with each second.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// As long as anybody may want to tolerate lag, more or less: beyond, it is known only that it is more.
const MAX_SAMPLES: usize = 600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    Replica,
    /// Follows a history that ended in a failover: asked only when nobody else is there.
    Forked,
    /// Says that it is the primary, and is not: nothing is asked of it.
    Fenced,
}

impl Role {
    const ALL: [Self; 4] = [Self::Primary, Self::Replica, Self::Forked, Self::Fenced];
}

/// What a server said about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) is_standby: bool,
    pub(super) timeline: Option<u32>,
    /// Written, or replayed, up to here.
    pub(super) position: Option<u64>,
    /// As a standby finds itself.
    pub(super) lag: Duration,
    /// When its process was started, in microseconds.
    pub(super) started: i64,
}

#[derive(Debug)]
pub(crate) struct Fleet {
    clock: Stopwatch,
    known: Mutex<Known>,
    /// What requests read, without the lock.
    servers: Vec<Published>,
    primary_position: AtomicU64,
    changes: watch::Sender<u64>,
    /// Whoever watches a server looks at it now.
    looks: watch::Sender<u64>,
}

/// One server as requests see it.
#[derive(Debug)]
struct Published {
    /// A place in `Role::ALL`; beyond it: never seen.
    role: AtomicU8,
    lag_ms: AtomicU64,
    position: AtomicU64,
    seen_at_ms: AtomicU64,
    /// 0: not known.
    timeline: AtomicU32,
    /// Of the process that the timeline is of.
    started: AtomicI64,
}

/// What the process of a server that was started at a moment is on, at least: a promotion is known only after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnTimeline {
    pub(crate) timeline: u32,
    pub(crate) started: i64,
}

/// In `Published::started`, while its timeline is written.
const BEING_WRITTEN: i64 = i64::MIN;

#[derive(Debug, Default)]
struct Known {
    servers: Vec<Option<State>>,
    highest_timeline: u32,
    /// When the primary was where, for each time it had moved; of one primary.
    samples: VecDeque<(Duration, u64)>,
    sampled: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    seen: Seen,
    seen_at: Duration,
    /// When it was found to be another process than before.
    restarted_at: Option<Duration>,
    /// Whether it answered the last time it was asked.
    is_answering: bool,
}

impl Fleet {
    pub(super) fn new(count: usize) -> Arc<Self> {
        let published = || Published {
            role: AtomicU8::new(u8::MAX),
            lag_ms: AtomicU64::new(0),
            position: AtomicU64::new(0),
            seen_at_ms: AtomicU64::new(0),
            timeline: AtomicU32::new(0),
            started: AtomicI64::new(BEING_WRITTEN),
        };
        Arc::new(Self {
            clock: Stopwatch::start(),
            known: Mutex::new(Known { servers: vec![None; count], ..Known::default() }),
            servers: (0..count).map(|_| published()).collect(),
            primary_position: AtomicU64::new(0),
            changes: watch::Sender::new(0),
            looks: watch::Sender::new(0),
        })
    }

    pub(super) fn highest_timeline(&self) -> u32 {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).highest_timeline
    }

    /// Told when a look is wanted before its time.
    pub(super) fn looks(&self) -> watch::Receiver<u64> {
        self.looks.subscribe()
    }

    /// Told whenever a role changes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn role(&self, server: usize) -> Option<Role> {
        let role = self.servers.get(server)?.role.load(Ordering::Relaxed);
        Role::ALL.get(usize::from(role)).copied()
    }

    /// `None` where that is not known.
    pub(super) fn timeline(&self, server: usize) -> Option<OnTimeline> {
        let published = self.servers.get(server)?;
        let started = || published.started.load(Ordering::SeqCst);
        let read = || {
            let (before, timeline) = (started(), published.timeline.load(Ordering::SeqCst));
            (before != BEING_WRITTEN && before == started()).then_some((before, timeline))
        };
        let (started, timeline) = read().or_else(|| {
            // Whoever writes it down has the lock. An answer without a version would be taken for one of any age.
            let _written = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            read()
        })?;
        (timeline > 0).then_some(OnTimeline { timeline, started })
    }

    /// How far the server had come when it was last looked at, or answered.
    pub(super) fn position(&self, server: usize) -> u64 {
        self.servers.get(server).map_or(0, |server| server.position.load(Ordering::Relaxed))
    }

    /// A standby was found to have come so far, between two looks.
    pub(super) fn has_replayed(&self, server: usize, position: u64) {
        if let Some(published) = self.servers.get(server)
            && published.position.load(Ordering::Relaxed) < position
        {
            published.position.fetch_max(position, Ordering::Relaxed);
        }
    }

    /// Time since the server showed all that the primary had.
    pub(super) fn lag(&self, server: usize) -> Duration {
        let Some(published) = self.servers.get(server) else { return Duration::ZERO };
        if self.role(server) == Some(Role::Primary) {
            return Duration::ZERO;
        }
        let seen_at = Duration::from_millis(published.seen_at_ms.load(Ordering::Relaxed));
        let silent = self.clock.elapsed().saturating_sub(seen_at);
        let unknown = if silent > 2 * LOOK_INTERVAL { silent } else { Duration::ZERO };
        Duration::from_millis(published.lag_ms.load(Ordering::Relaxed)) + unknown
    }

    /// WAL that the primary has written and the server does not show.
    pub(super) fn lag_bytes(&self, server: usize) -> u64 {
        match self.role(server) {
            Some(Role::Primary) => 0,
            _ => self.primary_position.load(Ordering::Relaxed).saturating_sub(self.position(server)),
        }
    }

    /// Takes in what a server said. Returns the roles that changed: server, before, after.
    pub(super) fn seen(&self, server: usize, seen: Seen) -> Vec<Change> {
        self.update(|known, now| known.seen(server, seen, now))
    }

    pub(super) fn not_seen(&self, server: usize) -> Vec<Change> {
        self.update(|known, _| {
            if let Some(Some(state)) = known.servers.get_mut(server) {
                state.is_answering = false;
            }
            None
        })
    }

    fn update(
        &self,
        take: impl FnOnce(&mut Known, Duration) -> Option<(usize, Seen, Duration)>,
    ) -> Vec<Change> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.elapsed();
        let news = take(&mut known, now);
        if let Some((server, seen, lag)) = news
            && let Some(published) = self.servers.get(server)
        {
            published.lag_ms.store(ms(lag), Ordering::Relaxed);
            published.position.store(seen.position.unwrap_or(0), Ordering::Relaxed);
            published.seen_at_ms.store(ms(now), Ordering::Relaxed);
            published.started.store(BEING_WRITTEN, Ordering::SeqCst);
            published.timeline.store(seen.timeline.unwrap_or(0), Ordering::SeqCst);
            published.started.store(seen.started, Ordering::SeqCst);
        }
        let mut changes = Vec::new();
        for (server, (role, published)) in known.roles().into_iter().zip(&self.servers).enumerate() {
            let before = self.role(server);
            if role != before {
                let place = Role::ALL.iter().position(|other| Some(*other) == role);
                let place = place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX);
                published.role.store(place, Ordering::Relaxed);
                changes.push(Change { server, before, after: role });
            }
        }
        if let Some((_, position)) = known.samples.back() {
            self.primary_position.store(*position, Ordering::Relaxed);
        }
        // Once: its own watcher is told, too.
        let is_doubted = news
            .is_some_and(|(server, ..)| known.is_doubted(server) && known.restarted_at(server) == Some(now));
        drop(known);
        if is_doubted {
            self.looks.send_modify(|count| *count = count.wrapping_add(1));
        }
        if !changes.is_empty() {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
        changes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) server: usize,
    pub(super) before: Option<Role>,
    pub(super) after: Option<Role>,
}

impl Known {
    /// Returns what is to be published.
    fn seen(&mut self, server: usize, mut seen: Seen, now: Duration) -> Option<(usize, Seen, Duration)> {
        let state = self.servers.get_mut(server)?;
        if let Some(before) = state.filter(|before| before.seen.started == seen.started) {
            // A process never goes back: what says so was seen earlier and told later, or is a standby that receives nothing now.
            seen.timeline = seen.timeline.max(before.seen.timeline);
        }
        let restarted_at = match state {
            Some(before) if before.seen.started != seen.started => Some(now),
            Some(before) => before.restarted_at,
            None => None,
        };
        *state = Some(State { seen, seen_at: now, restarted_at, is_answering: true });
        if !seen.is_standby {
            self.highest_timeline = self.highest_timeline.max(seen.timeline.unwrap_or(0));
        }
        if self.primary() == Some(server) {
            if self.sampled != Some(server) {
                self.samples.clear();
                self.sampled = Some(server);
            }
            self.sample(seen.position, now);
            return Some((server, seen, Duration::ZERO));
        }
        let lag = self.lag_by_position(seen.position, now).max(seen.lag);
        Some((server, seen, lag))
    }

    fn sample(&mut self, position: Option<u64>, now: Duration) {
        let Some(position) = position else { return };
        if self.samples.back().is_some_and(|(_, last)| *last >= position) {
            return;
        }
        if self.samples.len() >= MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now, position));
    }

    /// How long ago the primary was first seen at a position that this one has not reached. A standby knows only what it was
    /// sent; one that is sent nothing finds itself up to date.
    fn lag_by_position(&self, position: Option<u64>, now: Duration) -> Duration {
        let Some(position) = position else { return Duration::ZERO };
        let first = self.samples.iter().find(|(_, written)| *written > position);
        first.map_or(Duration::ZERO, |(at, _)| now.saturating_sub(*at))
    }

    fn restarted_at(&self, server: usize) -> Option<Duration> {
        self.servers.get(server).copied().flatten()?.restarted_at
    }

    /// Whether it says that it is the primary, and others have to be looked at before that is believed.
    fn is_doubted(&self, server: usize) -> bool {
        let state = self.servers.get(server).copied().flatten().filter(|state| !state.seen.is_standby);
        let Some(restarted_at) = state.and_then(|state| state.restarted_at) else { return false };
        let is_older = |(other, state): (usize, &Option<State>)| {
            other != server && state.is_some_and(|state| state.is_answering && state.seen_at <= restarted_at)
        };
        self.servers.iter().enumerate().any(is_older)
    }

    /// The one server that may take writes.
    fn primary(&self) -> Option<usize> {
        let claims = || {
            self.servers.iter().enumerate().filter_map(|(server, state)| {
                let state = state.filter(|state| !state.seen.is_standby)?;
                let is_newest = state.seen.timeline.unwrap_or(0) >= self.highest_timeline;
                (is_newest && !self.is_doubted(server)).then_some((server, state))
            })
        };
        let answering: Vec<usize> =
            claims().filter(|(_, state)| state.is_answering).map(|(server, _)| server).collect();
        match *answering {
            [one] => Some(one),
            // Nobody knows better than that it was this one.
            [] => {
                let mut claims = claims();
                claims.next().filter(|_| claims.next().is_none()).map(|(server, _)| server)
            }
            [..] => None,
        }
    }

    fn roles(&self) -> Vec<Option<Role>> {
        let primary = self.primary();
        let role = |(server, state): (usize, &Option<State>)| {
            let seen = (*state)?.seen;
            let is_of_the_past = seen.timeline.is_some_and(|timeline| timeline < self.highest_timeline);
            Some(match (seen.is_standby, is_of_the_past) {
                (true, false) => Role::Replica,
                (true, true) => Role::Forked,
                (false, _) if primary == Some(server) => Role::Primary,
                (false, false) if self.is_doubted(server) => return None,
                (false, _) => Role::Fenced,
            })
        };
        self.servers.iter().enumerate().map(role).collect()
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn primary(timeline: u32, position: u64) -> Seen {
        Seen { timeline: Some(timeline), position: Some(position), ..Seen::default() }
    }

    fn standby(timeline: u32, position: u64) -> Seen {
        Seen { is_standby: true, ..primary(timeline, position) }
    }

    fn known(servers: &[Seen]) -> Known {
        let mut known = Known { servers: vec![None; servers.len()], ..Known::default() };
        for (server, seen) in servers.iter().enumerate() {
            known.seen(server, *seen, seconds(0));
        }
        known
    }

    fn roles(known: &Known) -> Vec<Role> {
        known.roles().into_iter().flatten().collect()
    }

    #[test]
    fn the_primary_is_who_says_so() {
        use Role::{Primary, Replica};
        assert_eq!(
            roles(&known(&[standby(1, 5), primary(1, 5), standby(1, 5)])),
            [Replica, Primary, Replica]
        );
    }

    #[test]
    fn of_two_primaries_the_higher_timeline_counts_even_after_it_is_gone() {
        use Role::{Fenced, Forked, Primary, Replica};
        let mut known = known(&[primary(1, 9), standby(1, 5), standby(1, 5)]);
        // Promoted while nobody could see the first one.
        known.servers[0].as_mut().unwrap().is_answering = false;
        known.seen(1, primary(2, 6), seconds(1));
        assert_eq!(roles(&known), [Fenced, Primary, Forked]);
        known.seen(0, primary(1, 12), seconds(2));
        known.seen(2, standby(2, 6), seconds(2));
        assert_eq!(roles(&known), [Fenced, Primary, Replica]);
        known.servers[1].as_mut().unwrap().is_answering = false;
        assert_eq!(roles(&known), [Fenced, Primary, Replica]);
        assert_eq!(known.primary(), Some(1));
    }

    #[test]
    fn a_primary_that_was_started_anew_is_believed_when_the_others_were_looked_at() {
        use Role::{Fenced, Primary, Replica};
        let mut known = known(&[primary(1, 9), standby(1, 5), standby(1, 5)]);
        known.servers[0].as_mut().unwrap().is_answering = false;
        known.servers[2].as_mut().unwrap().is_answering = false;
        let again = Seen { started: 7, ..primary(1, 9) };
        known.seen(0, again, seconds(2));
        // Nothing is asked of it, and its name is not blackened.
        assert_eq!(known.roles(), [None, Some(Replica), Some(Replica)]);
        let mut promoted = Known { servers: known.servers.clone(), ..Known::default() };
        known.seen(1, standby(1, 5), seconds(3));
        assert_eq!(roles(&known), [Primary, Replica, Replica]);
        // Not again, as long as it lives.
        known.seen(0, again, seconds(4));
        assert_eq!(roles(&known), [Primary, Replica, Replica]);

        promoted.seen(1, primary(2, 6), seconds(3));
        assert_eq!(roles(&promoted)[..2], [Fenced, Primary]);
    }

    #[test]
    fn two_primaries_on_one_timeline_take_nothing_until_one_is_gone() {
        use Role::{Fenced, Primary};
        let mut known = known(&[primary(3, 9), primary(3, 5)]);
        assert_eq!(roles(&known), [Fenced, Fenced]);
        known.servers[0].as_mut().unwrap().is_answering = false;
        assert_eq!(roles(&known), [Fenced, Primary]);
    }

    #[test]
    fn a_timeline_that_was_known_is_known_while_it_is_written_again() {
        let fleet = Fleet::new(1);
        fleet.seen(0, standby(1, 5));
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for position in 0..50_000 {
                    fleet.seen(0, standby(1, position));
                }
                is_over.store(true, Ordering::Relaxed);
            });
            while !is_over.load(Ordering::Relaxed) {
                assert!(fleet.timeline(0).is_some());
            }
        });
    }

    #[test]
    fn a_timeline_is_of_a_process_and_never_of_the_past() {
        let fleet = Fleet::new(1);
        assert_eq!(fleet.timeline(0), None);
        let told = |timeline: Option<u32>, started: i64| {
            fleet.seen(0, Seen { timeline, started, ..standby(1, 5) });
            fleet.timeline(0).map(|known| (known.timeline, known.started))
        };
        assert_eq!(told(None, 7), None);
        assert_eq!(told(Some(1), 7), Some((1, 7)));
        assert_eq!(told(Some(2), 7), Some((2, 7)));
        assert_eq!(told(Some(1), 7), Some((2, 7)));
        assert_eq!(told(Some(1), 9), Some((1, 9)));
        fleet.has_replayed(0, 9);
        fleet.has_replayed(0, 8);
        assert_eq!(fleet.position(0), 9);
        assert_eq!(told(Some(1), 9), Some((1, 9)));
        assert_eq!(fleet.position(0), 5);
    }

    #[test]
    fn lag_is_since_the_primary_was_where_the_replica_is_not_yet() {
        let mut known = known(&[primary(1, 100), standby(1, 100)]);
        known.seen(0, primary(1, 100), seconds(60));
        assert_eq!(known.lag_by_position(Some(100), seconds(60)), seconds(0));
        known.seen(0, primary(1, 200), seconds(61));
        known.seen(0, primary(1, 300), seconds(62));
        assert_eq!(known.lag_by_position(Some(150), seconds(65)), seconds(4));
        assert_eq!(known.lag_by_position(Some(200), seconds(65)), seconds(3));
        assert_eq!(known.lag_by_position(Some(300), seconds(65)), seconds(0));
        // The standby's own word counts if it is worse.
        let own = Seen { lag: seconds(9), ..standby(1, 300) };
        assert_eq!(known.seen(1, own, seconds(65)).unwrap().2, seconds(9));
    }
}
