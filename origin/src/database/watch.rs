//! What a server is and how far it has come: asked each second, on a connection of its own that no statement is in front of.
//!
//! One for each server, shared by all workers. Read next: `database/target.rs` for what becomes of the answers.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::Client;

use super::fleet::{LOOK_INTERVAL, Seen};
use super::target::Target;
use crate::config::{DatabaseConfig, Purpose};
use crate::error::chain;

/// A server that does not answer this in time is no better than one that is gone.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);

/// Role, timeline, position, lag in milliseconds, and when the server was started.
///
/// The timeline of a primary is that of the WAL it writes now: its control file lags behind a promotion. That of a standby is
/// the newest that it is known to follow. A standby that has replayed all it received is behind by nothing, as long as it does
/// receive. After its start it has replayed more than it received: the rest was there already.
const LOOK: &str = "SELECT r.is_standby, \
    CASE WHEN r.is_standby THEN greatest(\
            (SELECT max(received_tli) FROM pg_stat_wal_receiver), \
            (SELECT timeline_id FROM pg_control_checkpoint()), \
            (SELECT min_recovery_end_timeline FROM pg_control_recovery())) \
         ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4 END, \
    (CASE WHEN r.is_standby THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn)::int8, \
    CASE WHEN NOT r.is_standby THEN 0 \
         WHEN pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() \
              AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0 \
         ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()) * 1000, 0) END::int8, \
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 \
    FROM (SELECT pg_is_in_recovery() AS is_standby) r";

/// Asks one server until the runtime ends.
pub(crate) async fn watch(target: Arc<Target>, config: DatabaseConfig) {
    loop {
        if let Err(why) = follow(&target, &config).await {
            tracing::debug!(server.name = %target.name, "watch of {}: {why}", target.name);
        }
        target.not_seen();
        sleep(PAUSE).await;
    }
}

async fn follow(target: &Target, config: &DatabaseConfig) -> Result<(), String> {
    let opening = target.open(Purpose::Reads(PATIENCE), config.connect_timeout);
    let opened = timeout(config.connect_timeout * 2, opening).await;
    // The connection ends with the client.
    let client = opened.map_err(|_| "no connection in time")?.map_err(|e| chain(&e))?.client;
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = target.fleet().looks();
    loop {
        // The sender is the target's own.
        let _ = future::select(pin!(ticks.tick()), pin!(looks.changed())).await;
        let seen = timeout(PATIENCE, look(&client)).await.map_err(|_| "no answer in time")?;
        target.seen(seen.map_err(|e| chain(&e))?);
    }
}

/// Unnamed, so that a pooler between us and the server does not matter.
pub(super) async fn look(client: &Client) -> Result<Seen, tokio_postgres::Error> {
    let rows = client.query_typed(LOOK, &[]).await?;
    let mut seen = Seen::default();
    if let Some(row) = rows.first() {
        seen.is_standby = row.try_get(0)?;
        seen.timeline = row.try_get::<_, Option<i32>>(1)?.and_then(|timeline| u32::try_from(timeline).ok());
        seen.position = row.try_get::<_, Option<i64>>(2)?.and_then(|position| u64::try_from(position).ok());
        seen.lag = Duration::from_millis(row.try_get::<_, i64>(3)?.try_into().unwrap_or(0));
        seen.started = row.try_get(4)?;
    }
    Ok(seen)
}

/// For who needs the primary and keeps no watch. `None`: it is a standby.
pub(crate) async fn timeline_of_primary(client: &Client) -> Result<Option<u32>, tokio_postgres::Error> {
    let seen = look(client).await?;
    Ok((!seen.is_standby).then_some(seen.timeline.unwrap_or(0)))
}
