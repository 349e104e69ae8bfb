//! Who hears of which tags: live updates for browsers and servers, from the change feed.
//!
//! A change is told when the primary has been seen to show it, not when the feed says it: whoever is told asks at once, and has to
//! find it. Who comes back with the id of the last event that reached it misses nothing, as far back as is remembered; beyond
//! that, and after every gap of the feed, it is told that anything may have changed (`reset`). Nobody waits for a slow
//! reader: one whose queue is full is cut off, and comes back with its id.
//!
//! Knows no request and no socket. Read next: `live_updates.rs` for what is sent, `feed.rs` for where changes come from.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use caching::version::{Position, Timeline};
use slab::Slab;
use tokio::sync::mpsc;

use crate::{
    feed::Source,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Changes that are remembered for those who come back, and what their tags may take.
const MAX_RECENT: usize = 8_192;
const MAX_RECENT_BYTES: usize = 4 << 20;
/// Changes that the primary has not been seen to show.
const MAX_HIDDEN: usize = 16_384;
/// Events that wait for one reader.
const QUEUE: usize = 64;
/// Of one subscriber.
pub const MAX_TAGS: usize = 64;
/// Of a tag that stands for all rows of a table: who depends on them is not known here.
const TABLE: &str = "table:";

/// A place in the history of the database, as `Last-Event-ID` has it: `1-16/B374D848`; in an account that is one worker's own,
/// `1-16/B374D848-7f3a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    pub timeline: Timeline,
    pub position: Position,
    /// [`crate::feed::Source::account`].
    pub account: u64,
}

impl EventId {
    pub fn parse(text: &str) -> Option<EventId> {
        let mut parts = text.splitn(3, '-');
        let (timeline, position) = (Timeline::parse(parts.next()?)?, Position::parse(parts.next()?)?);
        let account = match parts.next() {
            None => 0,
            Some(account) => Source::account_of(account)?,
        };
        Some(EventId { timeline, position, account })
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.timeline, self.position)?;
        if self.account == 0 { Ok(()) } else { write!(f, "-{:x}", self.account) }
    }
}

#[derive(Debug)]
struct Change {
    position: Position,
    tags: Arc<[Box<str>]>,
}

impl Change {
    fn size_bytes(&self) -> usize {
        self.tags.iter().map(|tag| tag.len() + size_of::<Box<str>>()).sum()
    }

    /// It says not which rows.
    fn is_wide(&self) -> bool {
        self.tags.iter().any(|tag| tag.starts_with(TABLE))
    }
}

#[derive(Debug)]
struct Subscriber {
    tags: Box<[Box<str>]>,
    queue: mpsc::Sender<Bytes>,
}

#[derive(Debug, Default)]
struct State {
    /// `None`: no feed was ever heard.
    timeline: Option<Timeline>,
    account: u64,
    /// What the feed has said and nobody is told yet, oldest first.
    hidden: VecDeque<Change>,
    /// What subscribers were told, oldest first.
    recent: VecDeque<Change>,
    recent_bytes: usize,
    /// All changes after it are in `recent`.
    remembered_from: Position,
    /// All up to here were told.
    told: Position,
    subscribers: Slab<Subscriber>,
    by_tag: HashMap<Box<str>, Vec<usize>>,
    cut_off: u64,
    /// The process comes to its end.
    is_ending: bool,
}

/// Shared by all workers and the feed's client.
#[derive(Debug, Default)]
pub struct Subscriptions {
    state: Mutex<State>,
}

/// Why somebody cannot subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    TooMany,
    NoTags,
    TooManyTags,
}

/// A subscriber's end. Ends when it is dropped, or when its queue was full.
#[derive(Debug)]
pub struct Subscription {
    table: Arc<Subscriptions>,
    key: usize,
    events: mpsc::Receiver<Bytes>,
}

/// For the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub subscribers: usize,
    /// Were too slow.
    pub cut_off: u64,
    pub hidden: usize,
}

impl Subscriptions {
    /// The account of the feed begins, or begins anew: what came between is not known.
    pub fn begin(&self, at: EventId) {
        let mut state = self.lock();
        state.timeline = Some(at.timeline);
        state.account = at.account;
        state.hidden.clear();
        state.recent.clear();
        state.recent_bytes = 0;
        state.remembered_from = at.position;
        state.told = at.position;
        let reset = event("reset", state.now(), &[]);
        let everyone: Vec<usize> = state.subscribers.iter().map(|(key, _)| key).collect();
        for key in everyone {
            state.send(key, reset.clone());
        }
    }

    /// What the feed says. To be told when it is known to be visible.
    pub fn changed(&self, position: Position, tags: &Arc<[Box<str>]>) {
        let mut state = self.lock();
        // What is told again after a resumption was told before.
        let last = state.hidden.back().map_or(state.told, |change| change.position);
        if state.timeline.is_none() || position <= last {
            return;
        }
        if state.hidden.len() == MAX_HIDDEN {
            let at = state.now();
            drop(state);
            return self.begin(EventId { position, ..at });
        }
        state.hidden.push_back(Change { position, tags: Arc::clone(tags) });
    }

    /// All up to here is visible to everyone who asks the primary.
    pub fn shown(&self, up_to: Position) {
        let mut state = self.lock();
        while state.hidden.front().is_some_and(|change| change.position <= up_to) {
            if let Some(change) = state.hidden.pop_front() {
                state.tell(change);
            }
        }
        if state.hidden.is_empty() {
            state.told = state.told.max(up_to);
        }
    }

    /// At most so many at a time. First it is told where it begins (`ready`), or what changed since `last` (`change`), or that
    /// nobody knows that any more (`reset`).
    pub fn subscribe(
        self: &Arc<Self>,
        tags: impl IntoIterator<Item = Box<str>>,
        last: Option<EventId>,
        max: usize,
    ) -> Result<Subscription, Refused> {
        let tags: BTreeSet<Box<str>> =
            tags.into_iter().filter(|tag| !tag.is_empty()).take(MAX_TAGS + 1).collect();
        match tags.len() {
            0 => return Err(Refused::NoTags),
            1..=MAX_TAGS => (),
            _ => return Err(Refused::TooManyTags),
        }
        let tags: Box<[Box<str>]> = tags.into_iter().collect();
        let mut state = self.lock();
        if state.subscribers.len() >= max || state.is_ending {
            return Err(Refused::TooMany);
        }
        let (queue, events) = mpsc::channel(QUEUE);
        let first = state.first(&tags, last);
        let key = state.subscribers.insert(Subscriber { tags: tags.clone(), queue });
        for tag in tags {
            state.by_tag.entry(tag).or_default().push(key);
        }
        if let Some(first) = first {
            state.send(key, first);
        }
        Ok(Subscription { table: Arc::clone(self), key, events })
    }

    pub fn numbers(&self) -> Numbers {
        let state = self.lock();
        Numbers { subscribers: state.subscribers.len(), cut_off: state.cut_off, hidden: state.hidden.len() }
    }

    /// For an end of the process: all streams come to their end.
    pub fn end_all(&self) {
        let mut state = self.lock();
        state.is_ending = true;
        state.subscribers.clear();
        state.by_tag.clear();
    }

    /// The state is whole after every statement, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now(&self) -> EventId {
        let timeline = self.timeline.unwrap_or(Timeline::FIRST);
        EventId { timeline, position: self.told, account: self.account }
    }

    fn tell(&mut self, change: Change) {
        self.told = self.told.max(change.position);
        let id = self.now();
        let mut concerned: HashMap<usize, Vec<&str>> = HashMap::new();
        if change.is_wide() {
            let everyone = self.subscribers.iter();
            concerned = everyone
                .map(|(key, subscriber)| (key, subscriber.tags.iter().map(|tag| &**tag).collect()))
                .collect();
        } else {
            for tag in &*change.tags {
                for key in self.by_tag.get(tag).into_iter().flatten() {
                    concerned.entry(*key).or_default().push(tag);
                }
            }
        }
        // Mostly many wait for the same.
        let mut written: HashMap<Vec<&str>, Bytes> = HashMap::new();
        let mut sent = Vec::with_capacity(concerned.len());
        for (key, tags) in concerned {
            let event = match written.get(&tags) {
                Some(event) => event.clone(),
                None => {
                    let event = event("change", id, &tags);
                    written.insert(tags, event.clone());
                    event
                }
            };
            sent.push((key, event));
        }
        for (key, event) in sent {
            self.send(key, event);
        }
        self.remember(change);
    }

    fn remember(&mut self, change: Change) {
        self.recent_bytes += change.size_bytes();
        self.recent.push_back(change);
        while self.recent.len() > MAX_RECENT || self.recent_bytes > MAX_RECENT_BYTES {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= oldest.size_bytes();
            self.remembered_from = oldest.position;
        }
    }

    /// What somebody is told who begins now. `None`: there is no place in history yet; the feed's beginning brings one.
    fn first(&self, tags: &[Box<str>], last: Option<EventId>) -> Option<Bytes> {
        let timeline = self.timeline?;
        let now = self.now();
        let Some(last) = last else { return Some(event("ready", now, &[])) };
        // From the future of another proxy: this one has still to come there, and tells all on its way.
        let is_same = last.timeline == timeline && last.account == self.account;
        let is_known = is_same && last.position >= self.remembered_from;
        if !is_known {
            return Some(event("reset", now, &[]));
        }
        let missed = self.recent.partition_point(|change| change.position <= last.position);
        let mut changed = BTreeSet::new();
        for change in self.recent.range(missed..) {
            if change.is_wide() {
                return Some(event("reset", now, &[]));
            }
            changed.extend(tags.iter().filter(|tag| change.tags.contains(tag)).map(|tag| &**tag));
        }
        let changed: Vec<&str> = changed.into_iter().collect();
        Some(if changed.is_empty() { event("ready", now, &[]) } else { event("change", now, &changed) })
    }

    fn send(&mut self, key: usize, event: Bytes) {
        let Some(subscriber) = self.subscribers.get(key) else { return };
        if subscriber.queue.try_send(event).is_err() {
            self.cut_off += 1;
            self.remove(key);
        }
    }

    fn remove(&mut self, key: usize) {
        let Some(subscriber) = self.subscribers.try_remove(key) else { return };
        for tag in &subscriber.tags {
            if let Some(keys) = self.by_tag.get_mut(tag) {
                keys.retain(|known| *known != key);
                if keys.is_empty() {
                    self.by_tag.remove(tag);
                }
            }
        }
    }
}

impl Subscription {
    /// The next event; `None`: it was cut off.
    pub fn poll_next(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Option<Bytes>> {
        self.events.poll_recv(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.table.lock();
        // The key of one that was cut off may be another one's by now.
        let is_own = state.subscribers.get(self.key).is_some_and(|subscriber| {
            // A channel that is open is ours only if it ends when we close our end.
            self.events.close();
            subscriber.queue.is_closed()
        });
        if is_own {
            state.remove(self.key);
        }
    }
}

/// As `EventSource` reads it. Tags are visible ASCII, and may hold what JSON escapes.
fn event(kind: &str, id: EventId, tags: &[&str]) -> Bytes {
    let tags = serde_json::Value::from(tags);
    format!("event: {kind}\nid: {id}\ndata: {{\"tags\":{tags}}}\n\n").into()
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    const AT: EventId = EventId { timeline: Timeline::FIRST, position: Position::new(100), account: 0 };
    const MAX: usize = 10;

    fn begun() -> Arc<Subscriptions> {
        let table = Arc::new(Subscriptions::default());
        table.begin(AT);
        table
    }

    fn change(table: &Subscriptions, position: u64, tags: &[&str]) {
        table.changed(Position::new(position), &tags.iter().map(|tag| Box::from(*tag)).collect());
    }

    fn subscribe(table: &Arc<Subscriptions>, tags: &[&str], last: Option<u64>) -> Subscription {
        let last = last.map(|position| EventId { position: Position::new(position), ..AT });
        table.subscribe(tags.iter().map(|tag| Box::from(*tag)), last, MAX).unwrap()
    }

    /// What waits, each as `event id tags`.
    fn events(subscription: &mut Subscription) -> Vec<String> {
        let mut context = Context::from_waker(Waker::noop());
        let mut events = Vec::new();
        while let Poll::Ready(event) = subscription.poll_next(&mut context) {
            let Some(event) = event else {
                events.push("end".to_owned());
                break;
            };
            let text = String::from_utf8(event.to_vec()).unwrap();
            let value =
                |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
            events.push(format!("{} {} {}", value("event: "), value("id: "), value("data: ")));
        }
        events
    }

    #[test]
    fn a_change_is_told_to_those_it_concerns_when_it_is_visible() {
        let table = begun();
        let (mut one, mut other) = (subscribe(&table, &["a", "b"], None), subscribe(&table, &["c"], None));
        assert_eq!(events(&mut one), [r#"ready 1-0/64 {"tags":[]}"#]);
        change(&table, 110, &["a", "x"]);
        change(&table, 120, &["c"]);
        assert_eq!(events(&mut one), [""; 0]);
        table.shown(Position::new(115));
        assert_eq!(events(&mut one), [r#"change 1-0/6E {"tags":["a"]}"#]);
        assert_eq!(events(&mut other), [r#"ready 1-0/64 {"tags":[]}"#]);
        table.shown(Position::new(120));
        assert_eq!(events(&mut other), [r#"change 1-0/78 {"tags":["c"]}"#]);
        assert_eq!(events(&mut one), [""; 0]);
    }

    #[test]
    fn who_comes_back_hears_what_it_missed_once() {
        let table = begun();
        for (position, tag) in [(110, "a"), (120, "b"), (130, "a"), (140, "c")] {
            change(&table, position, &[tag]);
        }
        table.shown(Position::new(140));
        assert_eq!(
            events(&mut subscribe(&table, &["a", "b"], Some(110))),
            [r#"change 1-0/8C {"tags":["a","b"]}"#]
        );
        assert_eq!(events(&mut subscribe(&table, &["a"], Some(130))), [r#"ready 1-0/8C {"tags":[]}"#]);
        assert_eq!(events(&mut subscribe(&table, &["a"], Some(99))), [r#"reset 1-0/8C {"tags":[]}"#]);
        let other = Some(EventId { timeline: Timeline::new(2).unwrap(), ..AT });
        let mut other = table.subscribe([Box::from("a")], other, MAX).unwrap();
        assert_eq!(events(&mut other), [r#"reset 1-0/8C {"tags":[]}"#]);
    }

    #[test]
    fn places_in_an_account_of_one_worker_are_known_in_that_account_alone() {
        let table = begun();
        let at = EventId { account: 31, ..AT };
        table.begin(at);
        change(&table, 110, &["a"]);
        table.shown(Position::new(110));
        let first = |last| events(&mut table.subscribe([Box::from("a")], Some(last), MAX).unwrap());
        assert_eq!(first(at), [r#"change 1-0/6E-1f {"tags":["a"]}"#]);
        for other in [AT, EventId { account: 32, ..AT }] {
            assert_eq!(first(other), [r#"reset 1-0/6E-1f {"tags":[]}"#]);
        }
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for text in ["1-16/B374D848", "2-0/0", "2-0/1-7f3a"] {
            assert_eq!(EventId::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "1", "1-", "0-0/1", "1-0/1-", "1-0/1-0", "1-0/1-x", "1-0/1-+1", "1-0/1-1-1"] {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_forgotten_is_never_passed_over() {
        let table = begun();
        let count = u64::try_from(MAX_RECENT).unwrap() + 10;
        for nth in 1..=count {
            change(&table, 100 + nth, &["a"]);
            table.shown(Position::new(100 + nth));
        }
        let newest = format!("1-{}", Position::new(100 + count));
        let first = |last| events(&mut subscribe(&table, &["b"], Some(last))).remove(0);
        assert_eq!(first(109), format!(r#"reset {newest} {{"tags":[]}}"#));
        assert_eq!(first(110), format!(r#"ready {newest} {{"tags":[]}}"#));
    }

    #[test]
    fn after_a_gap_and_after_a_change_of_a_whole_table_anything_may_have_changed() {
        let table = begun();
        let mut one = subscribe(&table, &["a", "b"], None);
        events(&mut one);
        change(&table, 110, &["table:things"]);
        table.shown(Position::new(110));
        assert_eq!(events(&mut one), [r#"change 1-0/6E {"tags":["a","b"]}"#]);
        assert_eq!(events(&mut subscribe(&table, &["a"], Some(100))), [r#"reset 1-0/6E {"tags":[]}"#]);
        change(&table, 120, &["a"]);
        table.begin(EventId {
            timeline: Timeline::new(2).unwrap(),
            position: Position::new(200),
            account: 0,
        });
        assert_eq!(events(&mut one), [r#"reset 2-0/C8 {"tags":[]}"#]);
        table.shown(Position::new(200));
        assert_eq!(events(&mut one), [""; 0]);
    }

    #[test]
    fn a_slow_reader_is_cut_off_and_nobody_else() {
        let table = begun();
        let (mut slow, mut quick) = (subscribe(&table, &["a"], None), subscribe(&table, &["a"], None));
        for nth in 1..=2 * QUEUE as u64 {
            change(&table, 100 + nth, &["a"]);
            table.shown(Position::new(100 + nth));
            assert_ne!(events(&mut quick).last().map(String::as_str), Some("end"));
        }
        let seen = events(&mut slow);
        assert_eq!((seen.len(), seen.last().map(String::as_str)), (QUEUE + 1, Some("end")));
        let numbers = table.numbers();
        assert_eq!((numbers.subscribers, numbers.cut_off), (1, 1));
        // Its place may be somebody else's.
        let mut next = subscribe(&table, &["a"], None);
        drop(slow);
        change(&table, 1_000, &["a"]);
        table.shown(Position::new(1_000));
        assert_eq!(events(&mut next).len(), 2);
        drop(next);
        drop(quick);
        assert_eq!(table.numbers().subscribers, 0);
        assert!(table.lock().by_tag.is_empty());
    }

    #[test]
    fn what_is_told_again_after_a_resumption_is_not_told_twice() {
        let table = begun();
        let mut one = subscribe(&table, &["a"], None);
        for _ in 0..2 {
            change(&table, 110, &["a"]);
            table.shown(Position::new(110));
        }
        assert_eq!(events(&mut one).len(), 2);
    }

    #[test]
    fn everything_has_a_bound() {
        let table = begun();
        let many = (0..=MAX_TAGS).map(|nth| nth.to_string().into());
        assert_eq!(table.subscribe(many, None, MAX).unwrap_err(), Refused::TooManyTags);
        assert_eq!(table.subscribe([Box::from("")], None, MAX).unwrap_err(), Refused::NoTags);
        let all: Vec<_> = (0..MAX).map(|_| subscribe(&table, &["a"], None)).collect();
        assert_eq!(table.subscribe([Box::from("a")], None, MAX).unwrap_err(), Refused::TooMany);
        drop(all);
        assert_eq!(EventId::parse("1-16/B374D848").unwrap().to_string(), "1-16/B374D848");
        assert_eq!(EventId::parse("16/B374D848"), None);
    }
}
