//! A statement whose rows are read while they are sent on, so that memory stays flat whatever their number.
//!
//! Has a connection to itself until its last row: Postgres answers a connection in order, and a client that reads slowly would
//! hold up all others behind it.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{StreamExt as _, future};
use tokio::time::timeout;
use tokio_postgres::{Row, RowStream};

use super::{Attempts, Database, RunError, Session, Turn, no_stamp, of_statement, prove};
use crate::catalogue::prepare::Prepared;
use crate::error::Error;
use crate::live::Served;
use crate::params::{self, Given};

/// A statement that has given its first row, if it has any.
pub(crate) struct Streaming {
    pub(crate) prepared: Arc<Prepared>,
    /// The value of `Larder-Version`.
    pub(crate) stamp: Arc<str>,
    turn: Turn,
    first: Option<Row>,
    rows: Option<Pin<Box<RowStream>>>,
}

impl Database {
    /// Like `run`, for an endpoint whose rows are streamed. What goes wrong before the first row is an error like any other; what
    /// goes wrong later, and before anything is sent, can be told with `Attempts::cut_off`.
    pub(crate) async fn stream(
        &self,
        served: &Served,
        given: &Given,
        attempts: &mut Attempts,
    ) -> Result<Streaming, Error> {
        let mask = served.endpoint.mask(|condition| given.holds(condition));
        loop {
            let turn = attempts.turn(self, &served.endpoint).await?;
            let session = turn.session().clone();
            let streamed = self.stream_on(turn, served, mask, given).await;
            let proven = |streaming: Streaming| {
                prove(&session, attempts.min, &streaming.stamp)?;
                Ok(streaming)
            };
            match streamed.and_then(proven) {
                Ok(streaming) => return Ok(streaming),
                Err(error) => attempts.failed(&session, error).await?,
            }
        }
    }

    async fn stream_on(
        &self,
        turn: Turn,
        served: &Served,
        mask: usize,
        given: &Given,
    ) -> Result<Streaming, RunError> {
        let session = turn.session().clone();
        let mut attempt = 0;
        let (prepared, stamp, first, rows) = loop {
            let prepared = self.prepared(&session, &served.endpoint, mask).await?;
            match self.begin(&session, &prepared, served, mask, given).await {
                // What was prepared may be out of date: then it is prepared again, once.
                Err(RunError::Outdated) if attempt == 0 => {
                    session.forget(&served.endpoint, mask, &prepared);
                    attempt += 1;
                }
                Err(error) => return Err(error),
                Ok((stamp, first, rows)) => break (prepared, stamp, first, rows),
            }
        };
        // Without a first row there is nothing more to come.
        let rows = first.is_some().then_some(rows);
        Ok(Streaming { prepared, stamp, turn, first, rows })
    }

    async fn begin(
        &self,
        session: &Arc<Session>,
        prepared: &Arc<Prepared>,
        served: &Served,
        mask: usize,
        given: &Given,
    ) -> Result<(Arc<str>, Option<Row>, Pin<Box<RowStream>>), RunError> {
        let endpoint = &served.endpoint;
        let variant =
            endpoint.variants.get(mask).ok_or(RunError::Final(Error::Endpoint("no such variant")))?;
        let bound = params::bind(endpoint, variant, prepared, given).map_err(RunError::Final)?;
        self.count(session, served);
        let rows = async {
            let mut rows = Box::pin(session.send(prepared, &variant.sql, bound).await?);
            let first = rows.next().await.transpose()?;
            Ok((first, rows))
        };
        // Behind a pooler all is one transaction, so that it is one session.
        let begin = async {
            match session.is_pooled {
                true => session.client.batch_execute(&session.begin()).await,
                false => Ok(()),
            }
        };
        // The stamp first: the statement's snapshot is taken after what it says.
        let all = future::join3(begin, session.stamps.next(&session.client), rows);
        let Ok((begun, stamp, rows)) = timeout(self.limit(session), all).await else {
            session.abandon("no answer in time");
            return Err(RunError::Final(Error::TooLong));
        };
        if session.is_pooled {
            // Sent now, answered after the last row, when nobody asks any more.
            let _ = future::poll_immediate(session.client.batch_execute("COMMIT")).await;
        }
        begun.map_err(|e| of_statement(session, e))?;
        let stamp = stamp.map_err(|e| no_stamp(session, &e))?;
        let (first, rows) = rows.map_err(|e| of_statement(session, e))?;
        Ok((stamp, first, rows))
    }
}

impl Streaming {
    pub(crate) fn session(&self) -> &Arc<Session> {
        self.turn.session()
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Row>, Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(rows) = &mut self.rows else { return Ok(None) };
        let next = rows.next().await.transpose();
        if !matches!(next, Ok(Some(_))) {
            // The statement has ended, well or not: the connection is free.
            self.rows = None;
        }
        next.map_err(Error::of_statement)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        // What the server still has to say nobody wants. To read it to its end could take longer than to connect anew.
        if self.rows.is_some() {
            self.turn.session().abandon("its rows were not wanted to the end");
        }
    }
}
