//! Clients that read and write all the time while something is done to the servers, each answer checked, and the book that is
//! held against the database afterwards.
//!
//! What is written says by itself whether it was written so: `proof`. Readers know rows that were there from the start; each
//! writer writes 1, 2, 3, ... and keeps in mind what it was told of each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use rig::http::{Client, Response};
use rig::postgres::query;
use serde_json::{Value, json};

use crate::support::{Serving, now};

/// Rows that are there from the start, of writer 0, which is nobody.
pub(crate) const BASE: i64 = 500;
const PAGE: i64 = 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// More would say the same.
const MAX_FAULTS: usize = 8;

pub(crate) const FILES: [(&str, &str); 6] = [
    (
        "entry.sql",
        "-- route: GET /entries/{writer}/{n}\n-- param writer: path int8\n-- param n: path int8\n-- rows: one\n\
         -- body: columns\n-- read: replica; max_lag: 5s\n\n\
         SELECT writer, n, proof FROM ledger WHERE writer = :writer AND n = :n",
    ),
    (
        "sure.sql",
        "-- route: GET /sure/{writer}/{n}\n-- param writer: path int8\n-- param n: path int8\n-- rows: one\n\
         -- body: columns\n-- read: primary\n\n\
         SELECT writer, n, proof FROM ledger WHERE writer = :writer AND n = :n",
    ),
    (
        "page.sql",
        "-- route: GET /page/{first}\n-- param first: path int8\n-- rows: many\n-- body: columns\n-- read: replica\n\n\
         SELECT writer, n, proof FROM ledger WHERE writer = 0 AND n >= :first AND n < :first + 20 ORDER BY n",
    ),
    (
        "all.sql",
        "-- route: GET /all\n-- rows: many\n-- lane: slow\n-- body: columns\n-- read: replica\n\n\
         SELECT l.writer, l.n, l.proof, repeat('x', 200) AS filling\n\
         FROM ledger l CROSS JOIN generate_series(1, 20) g WHERE l.writer = 0 ORDER BY g, l.n",
    ),
    (
        // Long enough to be in the way of replay.
        "busy.sql",
        "-- route: GET /busy\n-- rows: one\n-- body: columns\n-- read: replica\n\n\
         SELECT count(*), min(pg_sleep(0.02)::text) AS slept FROM ledger WHERE writer = 0 AND n <= 10",
    ),
    (
        "write.sql",
        "-- route: POST /entries\n-- param writer: body int8 required\n-- param n: body int8 required\n\
         -- param proof: body text required\n-- rows: one\n-- body: columns\n-- idempotency: optional\n\n\
         INSERT INTO ledger (writer, n, proof) VALUES (:writer, :n, :proof) RETURNING writer, n, proof",
    ),
];

fn proof(writer: i64, n: i64) -> String {
    format!("{writer}/{n}/{:x}", (writer * 1_000_003 + n).wrapping_mul(0x9e37_79b9) & 0xffff_ffff)
}

fn entry(writer: i64, n: i64) -> Value {
    json!({"writer": writer, "n": n, "proof": proof(writer, n)})
}

/// On a primary: the tables and what readers look for.
pub(crate) fn prepare(url: &str) {
    let mut sql = include_str!("../../schema/0003_writes.sql").to_owned();
    // No unique index: what is done twice shall be seen.
    sql.push_str(
        "; CREATE TABLE ledger (writer bigint NOT NULL, n bigint NOT NULL, proof text NOT NULL);\
         CREATE INDEX ON ledger (writer, n);",
    );
    let rows: Vec<String> = (1..=BASE).map(|n| format!("(0, {n}, '{}')", proof(0, n))).collect();
    sql.push_str(&format!("INSERT INTO ledger VALUES {}", rows.join(",")));
    query(url, &sql).unwrap();
}

/// What a client does, over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// One row, by whoever answers.
    Read,
    /// Several at once.
    Page,
    /// A long statement.
    Busy,
    /// One row, by the primary.
    Sure,
    /// Many, sent while they are read: cut answers are taken for what they are.
    Stream,
    /// With an idempotency key, which is used until it is answered.
    WriteKeyed,
    WriteOnce,
}

/// What a writer was told of what it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Made,
    /// It may be there, or not.
    Unknown,
}

#[derive(Debug, Default)]
struct State {
    /// How often each client was answered as it wished.
    good: Vec<usize>,
    /// How often each was not, as it may happen now.
    refused: Vec<usize>,
    cut: usize,
    faults: Vec<String>,
    book: BTreeMap<(i64, i64), Told>,
}

pub(crate) struct Load {
    address: std::net::SocketAddr,
    tasks: Vec<Task>,
    is_over: AtomicBool,
    /// Whether there may be no primary, so that what needs it may be refused.
    may_refuse: AtomicBool,
    /// Whether connections are cut, so that the end of a write may be unknown.
    may_cut: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

/// What happened to all clients together.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) made: usize,
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
    pub(crate) cut: usize,
}

/// Ends the clients, however a test ends.
pub(crate) struct Running<'l>(&'l Load);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

impl Load {
    pub(crate) fn new(serving: &Serving, tasks: &[Task]) -> Load {
        let zeros = vec![0; tasks.len()];
        Load {
            address: serving.address,
            tasks: tasks.to_vec(),
            is_over: AtomicBool::new(false),
            may_refuse: AtomicBool::new(false),
            may_cut: AtomicBool::new(false),
            state: Mutex::new(State { good: zeros.clone(), refused: zeros, ..State::default() }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn start<'scope, 'env>(&'env self, scope: &'scope Scope<'scope, 'env>) -> Running<'env> {
        for (client, task) in self.tasks.iter().enumerate() {
            scope.spawn(move || self.work(client, *task));
        }
        Running(self)
    }

    /// From now on what needs the primary may be refused, or not any more.
    pub(crate) fn may_refuse(&self, may: bool) {
        self.may_refuse.store(may, Ordering::SeqCst);
    }

    pub(crate) fn may_cut(&self, may: bool) {
        self.may_cut.store(may, Ordering::SeqCst);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until each client was answered so many times more.
    #[track_caller]
    pub(crate) fn until_good(&self, count: usize) {
        let before = self.state().good.clone();
        self.until(|state| state.good.iter().zip(&before).all(|(now, before)| *now >= before + count));
    }

    /// What happened by now: answers that were cut, and writes whose end is not known.
    pub(crate) fn cut_and_unknown(&self) -> (usize, usize) {
        let state = self.state();
        (state.cut, state.book.values().filter(|told| **told == Told::Unknown).count())
    }

    /// Waits until each writer was refused so many times more.
    #[track_caller]
    pub(crate) fn until_refused(&self, count: usize) {
        let before = self.state().refused.clone();
        self.until(|state| {
            let mut all = state.refused.iter().zip(&before).zip(&self.tasks);
            all.all(|((now, before), task)| !task.writes() || *now >= before + count)
        });
    }

    #[track_caller]
    fn until(&self, is_done: impl Fn(&State) -> bool) {
        let deadline = now() + PATIENCE;
        let mut state = self.state();
        while !is_done(&state) {
            let left = deadline.saturating_duration_since(now());
            assert!(state.faults.is_empty(), "{:#?}", state.faults);
            assert!(!left.is_zero(), "clients wait: {:?} good, {:?} refused", state.good, state.refused);
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        assert!(state.faults.is_empty(), "{:#?}", state.faults);
    }

    fn fault(&self, task: Task, what: impl fmt::Debug) {
        let mut state = self.state();
        if state.faults.len() < MAX_FAULTS {
            state.faults.push(format!("{task:?}: {what:?}"));
        }
        drop(state);
        self.changed.notify_all();
    }

    fn note(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn work(&self, client: usize, task: Task) {
        let mut connection = None;
        // Number 0 has written what was there before.
        let writer = i64::try_from(client).unwrap() + 1;
        let mut n = 1;
        while !self.is_over.load(Ordering::SeqCst) {
            let http = connection.get_or_insert_with(|| Client::connect(self.address).unwrap());
            let was_allowed = [&self.may_refuse, &self.may_cut].map(|may| may.load(Ordering::SeqCst));
            // A request that began in a bad moment, or ended in one.
            let may = |which: usize| {
                was_allowed[which] || [&self.may_refuse, &self.may_cut][which].load(Ordering::SeqCst)
            };
            let result = match task {
                Task::Read | Task::Page | Task::Busy | Task::Sure => self.read(http, task, n),
                Task::Stream => self.stream(http),
                Task::WriteKeyed | Task::WriteOnce => self.write(http, task, writer, n),
            };
            match result {
                Answer::Good => {
                    n += 1;
                    self.note(|state| state.good[client] += 1);
                }
                Answer::Refused if may(0) => self.note(|state| state.refused[client] += 1),
                // Of a write that has no key nobody will ever know; the other one is repeated as it is.
                Answer::Unknown if may(0) || may(1) => {
                    n += i64::from(task == Task::WriteOnce);
                    self.note(|state| state.refused[client] += 1);
                }
                Answer::Cut if may(0) || may(1) => {
                    connection = None;
                    self.note(|state| state.cut += 1);
                }
                other @ (Answer::Refused | Answer::Unknown | Answer::Cut | Answer::Wrong(_)) => {
                    return self.fault(task, other);
                }
            }
        }
    }

    fn read(&self, http: &mut Client, task: Task, n: i64) -> Answer {
        let n = n * 37 % (BASE - PAGE) + 1;
        let (target, expected) = match task {
            Task::Sure => (format!("/sure/0/{n}"), entry(0, n)),
            Task::Busy => ("/busy".to_owned(), json!({"count": 10, "slept": ""})),
            Task::Page => (format!("/page/{n}"), (n..n + PAGE).map(|n| entry(0, n)).collect()),
            Task::Read | Task::Stream | Task::WriteKeyed | Task::WriteOnce => {
                (format!("/entries/0/{n}"), entry(0, n))
            }
        };
        let response = match http.get(&target, &[]) {
            Ok(response) => response,
            Err(error) => return Answer::Wrong(error.to_string()),
        };
        match response.status {
            200 => Answer::good_if(parsed(&response) == expected && has_version(&response), &response),
            // Only one that insists on the primary may have to wait for it.
            503 if task == Task::Sure => Answer::refusal(&response),
            _ => Answer::wrong(&response),
        }
    }

    fn stream(&self, http: &mut Client) -> Answer {
        let sent = http.send(&rig::http::head("GET", "/all", "x", &[], b""));
        let mut response = match sent.and_then(|()| http.head()) {
            Ok(response) => response,
            Err(error) => return Answer::Wrong(error.to_string()),
        };
        match http.body("GET", &response) {
            Ok(body) => response.body = body,
            Err(_) => return Answer::Cut,
        }
        let rows = parsed(&response);
        let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        let is_right = |(nth, row): (usize, &Value)| {
            let n = i64::try_from(nth).unwrap() % BASE + 1;
            row["n"] == n && row["proof"] == proof(0, n)
        };
        let is_whole = rows.len() == usize::try_from(BASE * 20).unwrap();
        Answer::good_if(
            response.status == 200 && is_whole && rows.iter().enumerate().all(is_right),
            &response,
        )
    }

    fn write(&self, http: &mut Client, task: Task, writer: i64, n: i64) -> Answer {
        let key = format!("{writer}-{n}");
        let mut fields = vec![("Content-Type", "application/json")];
        if task == Task::WriteKeyed {
            fields.push(("Idempotency-Key", key.as_str()));
        }
        let response = match http.call("POST", "/entries", &fields, entry(writer, n).to_string().as_bytes()) {
            Ok(response) => response,
            Err(error) => return Answer::Wrong(error.to_string()),
        };
        match response.status {
            200 | 201 => {
                let is_right = parsed(&response) == entry(writer, n)
                    && (response.field("larder-commit").is_some() || self.may_cut.load(Ordering::SeqCst));
                self.note(|state| _ = state.book.insert((writer, n), Told::Made));
                // What was made is there for whoever asks the primary.
                match http.get(&format!("/sure/{writer}/{n}"), &[]) {
                    Ok(seen) if seen.status == 200 => {
                        Answer::good_if(is_right && parsed(&seen) == entry(writer, n), &seen)
                    }
                    Ok(seen) if seen.status == 503 && seen.field("retry-after").is_some() => {
                        Answer::good_if(is_right && self.may_refuse.load(Ordering::SeqCst), &seen)
                    }
                    Ok(seen) => Answer::wrong(&seen),
                    Err(error) => Answer::Wrong(error.to_string()),
                }
            }
            503 if parsed(&response)["outcome"] == "unknown" => {
                self.note(|state| _ = state.book.insert((writer, n), Told::Unknown));
                // Who has a key may repeat it, and is told so; who has none must not.
                let is_right = response.field("retry-after").is_some() == (task == Task::WriteKeyed);
                if is_right { Answer::Unknown } else { Answer::wrong(&response) }
            }
            503 => Answer::refusal(&response),
            _ => Answer::wrong(&response),
        }
    }

    /// Holds what the clients were told against what is there.
    #[track_caller]
    pub(crate) fn verify(&self, primary: &str) -> Summary {
        let state = self.state();
        assert!(state.faults.is_empty(), "{:#?}", state.faults);
        let rows = query(primary, "SELECT writer, n, proof FROM ledger WHERE writer > 0").unwrap();
        let mut found: BTreeMap<(i64, i64), usize> = BTreeMap::new();
        for row in rows {
            let [writer, n, said]: [String; 3] =
                row.into_iter().map(Option::unwrap).collect::<Vec<_>>().try_into().unwrap();
            let (writer, n) = (writer.parse().unwrap(), n.parse().unwrap());
            assert_eq!(said, proof(writer, n));
            *found.entry((writer, n)).or_default() += 1;
        }
        for ((writer, n), count) in &found {
            assert!(*count == 1, "writer {writer} has made {n} {count} times");
            // What a client never heard of is what it was doing at the end.
            let told = state.book.get(&(*writer, *n));
            let is_last = !state.book.contains_key(&(*writer, n + 1));
            assert!(told.is_some() || is_last, "writer {writer} has made {n}, and was told that it was not");
        }
        let mut made = 0;
        for (place, told) in &state.book {
            if *told == Told::Made {
                made += 1;
                assert!(found.contains_key(place), "{place:?} was acknowledged, and is not there");
            }
        }
        let unknown = state.book.len() - made;
        Summary { made, unknown, refused: state.refused.iter().sum(), cut: state.cut }
    }
}

impl Task {
    fn writes(self) -> bool {
        matches!(self, Self::WriteKeyed | Self::WriteOnce)
    }
}

/// How a request ended.
#[derive(Debug)]
enum Answer {
    Good,
    /// Nothing was done, and it may be asked for again.
    Refused,
    Unknown,
    /// It ended before its end, and one could see that.
    Cut,
    Wrong(#[expect(dead_code, reason = "to be shown")] String),
}

impl Answer {
    fn wrong(response: &Response) -> Answer {
        Answer::Wrong(format!("{} {:?} {}", response.status, response.fields, response.text()))
    }

    fn good_if(is_good: bool, response: &Response) -> Answer {
        if is_good { Answer::Good } else { Answer::wrong(response) }
    }

    fn refusal(response: &Response) -> Answer {
        let is_problem = response.field("content-type") == Some("application/problem+json");
        let is_right = is_problem && response.field("retry-after") == Some("1");
        if is_right { Answer::Refused } else { Answer::wrong(response) }
    }
}

fn has_version(response: &Response) -> bool {
    response.field("larder-version").is_some()
}

fn parsed(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_default()
}
