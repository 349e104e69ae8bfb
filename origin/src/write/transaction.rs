//! One write on one connection, and what is done when that fails.
//!
//! Without a key the statement is its own transaction: it and the question for its position are sent at once, one round trip.
//! With a key it is BEGIN, claim and statement at once, then answer, COMMIT and position at once: two.
//! The connection belongs to the write while it runs. It runs in a task of its own: a client that goes away must not end a
//! transaction half way.
//! Read next: `outcome.rs` for what a failure means.

use std::pin::pin;
use std::sync::Arc;

use futures_util::{StreamExt as _, future};
use hyper::Method;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_postgres::{Client, Row, SimpleQueryMessage};

use super::answer;
use super::idempotency::{self, Found, Kept, Key};
use super::outcome::{Failure, failure};
use crate::catalogue::prepare::{NotPrepared, Prepared};
use crate::catalogue::{Endpoint, Rows};
use crate::database::{Database, Turn};
use crate::error::{Error, chain};
use crate::live::Served;
use crate::params::{self, Bound, Given};

/// Where the log of the primary is after the commit: whoever has replayed that far sees the change. Asked for in a statement
/// of its own, since inside of the transaction its commit has no place yet.
const POSITION: &str = "SELECT pg_current_wal_insert_lsn()";
/// All connections may have been lost at once, and each is found out when it is used.
const MAX_ATTEMPTS: usize = 8;
/// Each may take as long as a statement may.
const MAX_UNKNOWN: usize = 3;

/// What is to be done.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) served: Served,
    /// One for each version that the request allows, else one.
    pub(super) alternatives: Vec<Given>,
    pub(super) key: Option<Key>,
}

impl Write {
    fn endpoint(&self) -> &Endpoint {
        &self.served.endpoint
    }

    /// The error of a write that may have happened.
    fn unknown(&self) -> Error {
        let is_idempotent = matches!(self.endpoint().route.method, Method::PUT | Method::DELETE);
        Error::Unknown { is_repeatable: is_idempotent || self.key.is_some() }
    }
}

/// What was done.
#[derive(Debug)]
pub(super) enum Done {
    Changed(Answered),
    /// An earlier request with the same key did it.
    Before(Answered),
    /// The statement found nothing to change.
    NoRow,
}

#[derive(Debug)]
pub(super) struct Answered {
    pub(super) kept: Kept,
    pub(super) server: Arc<str>,
    /// The value of `Larder-Commit`. `None` if the connection was lost right behind the commit.
    pub(super) commit: Option<String>,
}

/// Runs to its end, whatever happens to the one who waits for it.
pub(super) async fn run(database: Arc<Database>, write: Arc<Write>) -> Result<Done, Error> {
    let unknown = write.unknown();
    let running = tokio::spawn(async move { attempts(&database, &write).await });
    // Without a word from it nothing is known.
    running.await.unwrap_or(Err(unknown))
}

/// Whether there is a row that the request would change if it named no version.
pub(super) async fn is_there(
    database: Arc<Database>,
    write: Arc<Write>,
    given: Given,
) -> Result<bool, Error> {
    let looking = tokio::spawn(async move {
        let mut turn = database.write_turn().await?;
        match timeout(database.patience(), look(&mut turn, &write, &given)).await {
            Ok(Ok(is_there)) => Ok(is_there),
            Ok(Err(failure)) => Err(failure.into_error()),
            Err(_) => {
                turn.abandon("no answer in time");
                Err(Error::TooLong)
            }
        }
    });
    looking.await.unwrap_or(Err(Error::NoPrimary))
}

async fn attempts(database: &Database, write: &Write) -> Result<Done, Error> {
    // Set when an attempt with a key was cut off: only another attempt can tell how it ended.
    let mut is_open = false;
    let mut has_repeated = false;
    let mut unknown = 0;
    let mut last = Error::NoPrimary;
    // Only what the database says of the write itself tells that an earlier attempt has not happened: it comes behind the key.
    let known = |error: Error, is_open: bool| match is_open && !error.is_verdict() {
        true => write.unknown(),
        false => error,
    };
    for _ in 0..MAX_ATTEMPTS {
        let mut turn = database.write_turn().await.map_err(|error| known(error, is_open))?;
        database.count(&turn, &write.served);
        let failure = match timeout(database.patience(), once(&mut turn, write)).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Unknown("no answer in time".to_owned()),
        };
        last = match failure {
            Failure::Final(error) => return Err(known(error, is_open)),
            Failure::Again(error) if has_repeated => return Err(known(error, is_open)),
            Failure::Again(error) => {
                has_repeated = true;
                error
            }
            Failure::Outdated => Error::NoPrimary,
            Failure::Elsewhere(why) => {
                turn.abandon(&why);
                // Where one connection ended its neighbours may have, and not have heard of it: now they do.
                yield_now().await;
                Error::NoPrimary
            }
            Failure::ReadOnly => Error::NoPrimary,
            Failure::Unknown(why) => {
                turn.abandon(&why);
                unknown += 1;
                if write.key.is_none() || unknown == MAX_UNKNOWN {
                    return Err(write.unknown());
                }
                is_open = true;
                write.unknown()
            }
        };
    }
    Err(known(last, is_open))
}

async fn once(turn: &mut Turn, write: &Write) -> Result<Done, Failure> {
    let Some(first) = write.alternatives.first() else { return Ok(Done::NoRow) };
    let mask = write.endpoint().mask(|condition| first.holds(condition));
    let prepared = prepared(turn, write, mask).await?;
    let done = match &write.key {
        None => alone(turn, write, mask, &prepared).await,
        Some(key) => with_key(turn, write, mask, &prepared, key).await,
    };
    if let Err(Failure::Outdated) = &done {
        turn.forget(write.endpoint(), mask, &prepared);
    }
    done
}

async fn prepared(turn: &Turn, write: &Write, mask: usize) -> Result<Arc<Prepared>, Failure> {
    turn.prepared(write.endpoint(), mask).await.map_err(|not| match not {
        NotPrepared::Connection(error) => failure(error, false),
        NotPrepared::Faults(faults) => Failure::Final(Error::NotPrepared(faults)),
        NotPrepared::NoSuch => Failure::Final(Error::Endpoint("the endpoint has no such statement")),
    })
}

/// The statement as its own transaction, committed when its end is told.
async fn alone(turn: &Turn, write: &Write, mask: usize, prepared: &Prepared) -> Result<Done, Failure> {
    for given in &write.alternatives {
        let statement = statement(turn, write, mask, prepared, given)?;
        let (ran, commit) = if turn.is_pooled {
            pooled(turn, statement).await
        } else {
            future::join(statement, commit_stamp(turn)).await
        };
        if let Some(ran) = found(write, ran.map_err(|error| failure(error, true))?) {
            let kept = answer::kept(write.endpoint(), &prepared.layout, given, ran.row.as_ref());
            let kept = kept.map_err(Failure::Final)?;
            return Ok(Done::Changed(Answered { kept, server: turn.server.clone(), commit }));
        }
    }
    Ok(Done::NoRow)
}

/// Behind a pooler the settings of the connection, such as the limit of its time, are those of the transaction. All is sent at once: if
/// the beginning fails, so does what comes behind it.
async fn pooled(
    turn: &Turn,
    statement: impl Future<Output = Result<Ran, tokio_postgres::Error>>,
) -> (Result<Ran, tokio_postgres::Error>, Option<String>) {
    let begin_sql = turn.begin();
    let (begin, commit) = (turn.client.batch_execute(&begin_sql), turn.client.batch_execute("COMMIT"));
    let (begun, ran, committed, position) = future::join4(begin, statement, commit, commit_stamp(turn)).await;
    // After a failure the COMMIT was none, and is no error.
    (begun.and(ran).and_then(|ran| committed.map(|()| ran)), position)
}

/// The statement and its answer in one transaction.
async fn with_key(
    turn: &mut Turn,
    write: &Write,
    mask: usize,
    prepared: &Prepared,
    key: &Key,
) -> Result<Done, Failure> {
    let not_sent = |error| failure(error, false);
    // A turn that is dropped in a transaction rolls it back.
    let begin_sql = turn.begin();
    turn.begins();
    let mut changed = None;
    for (nth, given) in write.alternatives.iter().enumerate() {
        let statement = statement(turn, write, mask, prepared, given)?;
        let ran = if nth == 0 {
            let begin = turn.client.batch_execute(&begin_sql);
            let claim = key.claim(&turn.client, &write.endpoint().name);
            let (begun, claimed, ran) = future::join3(begin, claim, statement).await;
            begun.map_err(not_sent)?;
            match claimed {
                Ok(()) => (),
                Err(error) if idempotency::is_used(&error) => return before(turn, key).await,
                Err(error) if idempotency::is_unknown(&error) => {
                    let why = "the table larder_idempotency is missing; `larder-origin migrate` makes it";
                    return Err(Failure::Final(Error::Endpoint(why)));
                }
                Err(error) => return Err(not_sent(error)),
            }
            ran
        } else {
            statement.await
        };
        if let Some(ran) = found(write, ran.map_err(not_sent)?) {
            changed = Some((ran, given));
            break;
        }
    }
    let Some((ran, given)) = changed else {
        rollback(turn).await?;
        return Ok(Done::NoRow);
    };
    let kept = answer::kept(write.endpoint(), &prepared.layout, given, ran.row.as_ref());
    let kept = kept.map_err(Failure::Final)?;
    let commit = turn.client.batch_execute("COMMIT");
    let (stored, committed, commit) =
        future::join3(key.keep(&turn.client, &kept), commit, commit_stamp(turn)).await;
    // If the answer could not be kept, the COMMIT behind it was none.
    stored.and(committed).map_err(|error| failure(error, true))?;
    turn.ended();
    Ok(Done::Changed(Answered { kept, server: turn.server.clone(), commit }))
}

/// The key was used: its transaction is over, and what it answered is there.
async fn before(turn: &mut Turn, key: &Key) -> Result<Done, Failure> {
    rollback(turn).await?;
    let (found, commit) = future::join(key.find(&turn.client), commit_stamp(turn)).await;
    match found.map_err(|error| failure(error, false))? {
        Found::Kept(kept) => Ok(Done::Before(Answered { kept, server: turn.server.clone(), commit })),
        Found::OfAnotherRequest => Err(Failure::Final(Error::KeyReused)),
        // Removed just now, for its age.
        Found::Nothing => Err(Failure::Again(Error::Contention)),
    }
}

async fn rollback(turn: &mut Turn) -> Result<(), Failure> {
    turn.client.batch_execute("ROLLBACK").await.map_err(|error| failure(error, false))?;
    turn.ended();
    Ok(())
}

/// Does it, looks whether that found something, and takes it back.
async fn look(turn: &mut Turn, write: &Write, given: &Given) -> Result<bool, Failure> {
    let mask = write.endpoint().mask(|condition| given.holds(condition));
    let prepared = prepared(turn, write, mask).await?;
    let begin_sql = turn.begin();
    turn.begins();
    let begin = turn.client.batch_execute(&begin_sql);
    let statement = statement(turn, write, mask, &prepared, given)?;
    let (begun, ran, ended) = future::join3(begin, statement, turn.client.batch_execute("ROLLBACK")).await;
    begun.and(ended).map_err(|error| failure(error, false))?;
    turn.ended();
    match ran.map_err(|error| failure(error, false)) {
        Ok(ran) => Ok(found(write, ran).is_some()),
        // It would change something, and the database would not have it.
        Err(Failure::Final(error)) if error.is_verdict() => Ok(true),
        Err(failure) => Err(failure),
    }
}

/// What a statement did.
#[derive(Debug)]
struct Ran {
    row: Option<Row>,
    count: u64,
}

/// Sent when it is first polled.
fn statement<'w>(
    turn: &'w Turn,
    write: &'w Write,
    mask: usize,
    prepared: &'w Prepared,
    given: &'w Given,
) -> Result<impl Future<Output = Result<Ran, tokio_postgres::Error>> + 'w, Failure> {
    let variant = write.endpoint().variants.get(mask);
    let variant = variant.ok_or(Failure::Final(Error::Endpoint("no such variant")))?;
    let bound = params::bind(write.endpoint(), variant, prepared, given).map_err(Failure::Final)?;
    Ok(run_to_end(turn, prepared, &variant.sql, bound))
}

/// The first row, and how many there were: of a write no more are wanted, and it has happened however many there are.
async fn run_to_end(
    turn: &Turn,
    prepared: &Prepared,
    sql: &str,
    bound: Vec<Bound<'_>>,
) -> Result<Ran, tokio_postgres::Error> {
    let mut stream = pin!(turn.send(prepared, sql, bound).await?);
    let mut first = None;
    while let Some(row) = stream.next().await {
        let row = row?;
        first.get_or_insert(row);
    }
    Ok(Ran { row: first, count: stream.rows_affected().unwrap_or(0) })
}

/// What was run, if it found something.
fn found(write: &Write, ran: Ran) -> Option<Ran> {
    let has_found = match write.endpoint().rows {
        Rows::Exec => ran.count > 0,
        Rows::One | Rows::Many | Rows::Cursor { .. } | Rows::Page { .. } => ran.row.is_some(),
    };
    has_found.then_some(ran)
}

/// `lsn=16/B374D848; timeline=1`. Sent when it is first polled.
async fn commit_stamp(turn: &Turn) -> Option<String> {
    // A primary stays on its timeline as long as its process lives.
    let timeline = turn.timeline();
    let position = position(&turn.client).await?;
    timeline.map(|timeline| format!("lsn={position}; timeline={timeline}"))
}

async fn position(client: &Client) -> Option<String> {
    match client.simple_query(POSITION).await {
        Ok(messages) => messages.iter().find_map(|message| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            row.get(0).map(str::to_owned)
        }),
        Err(error) => {
            tracing::debug!("no position after a write: {}", chain(&error));
            None
        }
    }
}
