//! From the table of changes to the ring, for databases without logical replication: what triggers noted (`feed/triggers.rs`) is
//! read again and again, each time what the last look did not show.
//!
//! What a look shows is in its snapshot, so a transaction that is in this snapshot and was not in the last one is told now: each
//! one once, whenever it was begun. In which order those of one look were committed nobody knows, so they are told as one event. Its
//! end is where the WAL was behind the look: no commit of it is later. An earlier position may still come, of a commit that is in
//! the WAL and not yet shown, at the end of a later look: so nobody else can go on from a position of this account, and having
//! been told all up to one says nothing of a commit that was there. What is told is visible already.
//!
//! Nothing is kept from one connection to the next: the account begins anew. NOTIFY would tell sooner, and takes a lock of the
//! whole cluster at each commit that uses it; looks are cheap. Read next: `feed/triggers.rs`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, SimpleQueryMessage};
use tracing::{debug, info, warn};

use super::Feed;
use super::decode::{Column, Message, Relation, Value};
use super::follow::{BEAT, Failure, PATIENCE_OF_FINDS, PATIENCE_OF_LOOKS, TICKS_PER_CHECK, random};
use super::parents::{self, Recent};
use super::primary::{self, ForeignKeys, Identity, Look, PrimaryError};
use super::ring::Account;
use super::transaction::{Relations, Senseless, Tables, Transaction};
use super::triggers::{self, Fault};
use crate::catalogue::Mapping;
use crate::clock::{self, Stopwatch};
use crate::database::Target;

/// Between two looks, while somebody listens and while nobody does.
const PERIOD: Duration = Duration::from_millis(10);
const IDLE_PERIOD: Duration = Duration::from_millis(500);
/// Changes are kept for those who look so seldom; who comes later begins anew.
const LONGEST_PERIOD: Duration = Duration::from_secs(30);
/// Twice that: how far back is all that is removed.
const KEPT_FOR: Duration = Duration::from_secs(60);
const REMOVED_EACH: Duration = Duration::from_secs(10);
/// Removed at once: looks wait for it.
const REMOVED_AT_ONCE: usize = 5_000;
/// Noted statements of one look. Of more only the tables are told.
const MAX_CHANGES: i64 = 4_000;
/// Transactions and tables of one look. Whoever has more to tell begins anew.
const MAX_TABLES: i64 = 20_000;
/// Of all values, beyond which tables are told.
const MAX_BYTES: i64 = 8 * 1024 * 1024;

/// What the last look did not show, and what no dump brought from elsewhere. An old transaction that still runs keeps nothing from
/// being found by the index.
const NEW: &str = "(c.xid = ANY(ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot))) \
        OR c.xid >= pg_snapshot_xmax($1::text::pg_snapshot)) \
    AND pg_visible_in_snapshot(c.xid, pg_current_snapshot())";
const ROWS: &str = "SELECT c.xid::text AS xid, c.relation, (extract(epoch FROM c.at) * 1000000)::int8 AS at, \
        CASE WHEN sum(octet_length(c.rows::text)) OVER (ROWS UNBOUNDED PRECEDING) <= $2 THEN c.rows::text END AS rows \
    FROM larder.changes c";
const TABLES: &str = "SELECT c.xid::text AS xid, c.relation, (extract(epoch FROM min(c.at)) * 1000000)::int8 AS at, \
        NULL::text AS rows \
    FROM larder.changes c";
/// A transaction that was prepared before a crash is still there, and what it noted is not.
const PREPARED: &str = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() LIMIT 1";

/// What a statement changed in one table.
struct Change {
    xid: u64,
    relation: u32,
    /// In microseconds since 2000.
    at: i64,
    /// `None`: anything of it.
    rows: Option<String>,
}

struct Session<'f> {
    feed: &'f Feed,
    target: Arc<Target>,
    client: Arc<Client>,
    identity: Identity,
    tables: Tables,
    keys: ForeignKeys,
    relations: HashMap<u32, (usize, Relation)>,
    /// Noted, and not of the mapping when that was last looked at.
    strangers: HashSet<u32>,
    recent: Recent,
    /// What it showed has been told.
    last: Look,
    looked: Time,
    beaten: Stopwatch,
    /// What these showed is not asked for any more when the time has come.
    ended: VecDeque<(Stopwatch, Look)>,
}

/// By a clock that nobody sets, and by one that goes on while the machine sleeps.
#[derive(Debug, Clone, Copy)]
struct Time {
    watch: Stopwatch,
    unix: Duration,
}

impl Time {
    fn now() -> Self {
        Self { watch: Stopwatch::start(), unix: clock::unix_time() }
    }

    fn elapsed(self) -> Duration {
        self.watch.elapsed().max(clock::unix_time().saturating_sub(self.unix))
    }
}

/// Until it fails.
pub(super) async fn follow(
    feed: &Feed,
    target: &Arc<Target>,
    limit: Duration,
    mapping: &mut watch::Receiver<Arc<Mapping>>,
    has_begun: impl FnOnce(),
) -> Failure {
    let told = mapping.borrow_and_update().clone();
    let mut session = match Session::open(feed, target, limit, &told).await {
        Ok(session) => session,
        Err(failure) => return failure,
    };
    has_begun();
    tokio::select! {
        failure = session.tell() => match failure {
            Ok(never) => match never {},
            Err(failure) => failure,
        },
        () = other(mapping, &told) => Failure::Mapping,
    }
}

async fn other(mapping: &mut watch::Receiver<Arc<Mapping>>, told: &Arc<Mapping>) {
    while mapping.changed().await.is_ok() {
        if **mapping.borrow_and_update() != **told {
            return;
        }
    }
    // Nobody is left who could change it.
    std::future::pending().await
}

impl<'f> Session<'f> {
    async fn open(
        feed: &'f Feed,
        target: &Arc<Target>,
        limit: Duration,
        mapping: &Mapping,
    ) -> Result<Self, Failure> {
        let of_primary = |source| Failure::Primary { server: target.name.clone(), source };
        let opening = async {
            let client = primary::connect(target, limit).await?;
            let identity = primary::identity(&client).await?;
            let (tables, relations) = find_tables(&client, mapping).await?;
            let keys = primary::foreign_keys(&client, &tables).await?;
            let last = primary::look(&client, &identity).await?;
            // After the look: whatever it shows was made by transactions before this one.
            let xid = primary::next_xid(&client).await?;
            if let Some(prepared) = client.query_typed(PREPARED, &[]).await?.first() {
                let gid: &str = prepared.try_get(0)?;
                let why =
                    format!("{gid:?} is a prepared transaction, of which nobody knows what it has changed");
                return Err(PrimaryError::NotReady(vec![why]));
            }
            Ok((client, identity, tables, relations, keys, last, xid))
        };
        let (client, identity, tables, relations, keys, last, xid) = opening.await.map_err(of_primary)?;
        feed.counts.accounts.fetch_add(1, Ordering::Relaxed);
        let Identity { system, timeline } = identity.clone();
        let name = Some(format!("{:x}", random().max(1)));
        feed.ring.begin(Account { system, timeline, position: last.position, xid, name });
        info!(
            server.name = %target.name,
            "the feed begins at {} of {}, on timeline {}, by triggers",
            last.position, target.name, identity.timeline
        );
        Ok(Self {
            feed,
            target: target.clone(),
            client,
            identity,
            tables,
            keys,
            relations,
            strangers: HashSet::new(),
            recent: Recent::new(xid),
            last,
            looked: Time::now(),
            beaten: Stopwatch::start(),
            ended: VecDeque::new(),
        })
    }

    async fn tell(&mut self) -> Result<Infallible, Failure> {
        let (mut checked, mut removed) = (Stopwatch::start(), Stopwatch::start());
        self.beat();
        loop {
            sleep(if self.feed.listeners() == 0 { IDLE_PERIOD } else { PERIOD }).await;
            self.look().await?;
            if checked.elapsed() > BEAT * TICKS_PER_CHECK {
                checked = Stopwatch::start();
                self.check().await?;
            }
            if removed.elapsed() > REMOVED_EACH && self.remove().await {
                removed = Stopwatch::start();
            }
        }
    }

    fn of_primary(&self, source: PrimaryError) -> Failure {
        Failure::Primary { server: self.target.name.clone(), source }
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let asked = Time::now();
        let asking = changes(&self.client, &self.identity, &self.last);
        let asked_for = timeout(PATIENCE_OF_LOOKS, asking).await.unwrap_or(Err(PrimaryError::Silent));
        let (look, changes) = asked_for.map_err(|source| self.of_primary(source))?;
        if self.looked.elapsed() > LONGEST_PERIOD {
            return Err(Senseless("it was not looked at for so long that some of it may be removed").into());
        }
        if is_at_least(changes.len(), MAX_TABLES) {
            return Err(Senseless("more transactions at once than can be told").into());
        }
        self.looked = asked;
        let has_changes = !changes.is_empty();
        if has_changes {
            self.event(&look, &changes).await?;
        }
        self.feed.ring.reach(look.position);
        self.recent.look(look.clone());
        self.last = look;
        if has_changes || self.beaten.elapsed() > BEAT {
            self.beat();
        }
        Ok(())
    }

    async fn event(&mut self, look: &Look, changes: &[Change]) -> Result<(), Failure> {
        let is_known = |oid: &u32| self.relations.contains_key(oid) || self.strangers.contains(oid);
        if !changes.iter().all(|change| is_known(&change.relation)) {
            // A partition or a child that was made since.
            self.check().await?;
            let relations = changes.iter().map(|change| change.relation);
            self.strangers.extend(relations.filter(|oid| !self.relations.contains_key(oid)));
        }
        let mut xids: Vec<u64> = changes.iter().map(|change| change.xid).collect();
        xids.sort_unstable();
        xids.dedup();
        let oldest = changes.iter().map(|change| change.at).min().unwrap_or_default();
        // Only what is said of several counts here.
        let mut transaction = Transaction::new(0, oldest);
        let mut known = Relations::default();
        for (_, relation) in self.relations.values() {
            transaction.take(
                Message::Relation(relation.clone()),
                &self.tables,
                &mut known,
                self.feed.config.max_rows,
            )?;
        }
        for change in changes {
            self.take(change, &mut transaction, &mut known)?;
        }
        // Of several nobody knows which was first, so none is taken for one that another one's parents are from.
        let is_one = xids.len() == 1;
        if is_one {
            xids.iter().for_each(|xid| self.recent.commit(*xid, &transaction));
        }
        // Those of one look may have the position of the last one, if they were in the WAL then.
        let end = look.position.max(self.feed.ring.told().next());
        let wanted = transaction.parents();
        let found = if wanted.is_empty() {
            HashMap::new()
        } else {
            let finding = parents::find(&self.client, wanted, &self.keys, &self.tables, &self.recent, end);
            match timeout(PATIENCE_OF_FINDS, finding).await.unwrap_or(Err(PrimaryError::Silent)) {
                Ok(found) => found,
                Err(e) => {
                    debug!(server.name = %self.target.name, "rows that others name: {e}");
                    HashMap::new()
                }
            }
        };
        if !is_one {
            xids.iter().for_each(|xid| self.recent.commit(*xid, &transaction));
        }
        let tags = transaction.tags(&found, &self.tables);
        if tags.is_empty() {
            return Ok(());
        }
        let counts = &self.feed.counts;
        counts.events.fetch_add(1, Ordering::Relaxed);
        counts.tags.fetch_add(u64::try_from(tags.len()).unwrap_or(0), Ordering::Relaxed);
        counts.delay_us.store(clock::since(oldest), Ordering::Relaxed);
        self.feed.ring.tell(&xids, end, &tags);
        Ok(())
    }

    fn take(
        &self,
        change: &Change,
        transaction: &mut Transaction,
        known: &mut Relations,
    ) -> Result<(), Failure> {
        // Of triggers for which nobody asks any more, or ALTER of any other table.
        let Some((table, relation)) = self.relations.get(&change.relation) else { return Ok(()) };
        let rows = change.rows.as_deref().and_then(|rows| serde_json::from_str::<Vec<Noted>>(rows).ok());
        let Some(rows) = rows else {
            transaction.whole(*table);
            return Ok(());
        };
        for row in rows {
            let value = |column: &Column| {
                let text = row.get(&column.name)?.as_ref();
                Some(text.map_or(Value::Null, |text| Value::Text(text.as_bytes())))
            };
            // By a function of before, or of later.
            let Some(new) = relation.columns.iter().map(value).collect() else {
                transaction.whole(*table);
                return Ok(());
            };
            let message = Message::Insert { relation: change.relation, new };
            transaction.take(message, &self.tables, known, self.feed.config.max_rows)?;
        }
        Ok(())
    }

    fn beat(&mut self) {
        self.beaten = Stopwatch::start();
        self.feed.counts.is_current.store(true, Ordering::Relaxed);
        self.feed.ring.beat(Some(&self.last.text));
    }

    /// Whether everything is still there: what is taken away is told no more, without a word.
    async fn check(&mut self) -> Result<(), Failure> {
        let mapping = self.feed.mapping.borrow().clone();
        let checking = async {
            let found = find_tables(&self.client, &mapping).await?;
            let keys = primary::foreign_keys(&self.client, &found.0).await?;
            Ok((found, keys))
        };
        let checked = timeout(PATIENCE_OF_LOOKS, checking).await.unwrap_or(Err(PrimaryError::Silent));
        let ((tables, relations), keys) = checked.map_err(|source| self.of_primary(source))?;
        self.tables.has_all_of(&tables)?;
        (self.tables, self.relations, self.keys) = (tables, relations, keys);
        self.strangers.clear();
        Ok(())
    }

    /// What everyone has seen who looks often enough, some of it at a time. Whether that was all; that it cannot be done ends nothing.
    async fn remove(&mut self) -> bool {
        if self.ended.back().is_none_or(|(at, _)| at.elapsed() > REMOVED_EACH) {
            self.ended.push_back((Stopwatch::start(), self.last.clone()));
        }
        while self.ended.get(1).is_some_and(|(at, _)| at.elapsed() > KEPT_FOR) {
            self.ended.pop_front();
        }
        let Some((_, shown)) = self.ended.front().filter(|(at, _)| at.elapsed() > KEPT_FOR) else {
            return true;
        };
        // What a dump brought from another cluster is in the future.
        let sql = format!(
            "BEGIN READ WRITE; DELETE FROM larder.changes WHERE ctid = ANY(ARRAY(SELECT ctid FROM larder.changes \
             WHERE xid < '{}'::xid8 AND pg_visible_in_snapshot(xid, '{}') \
             OR xid >= pg_snapshot_xmax(pg_current_snapshot()) LIMIT {REMOVED_AT_ONCE})); COMMIT",
            shown.snapshot.xmax, shown.text
        );
        let removing = timeout(PATIENCE_OF_LOOKS, self.client.simple_query(&sql)).await;
        let removed = removing.map_or(Err(PrimaryError::Silent), |done| done.map_err(PrimaryError::from));
        match removed {
            Ok(said) => {
                let count = |message: &SimpleQueryMessage| {
                    if let SimpleQueryMessage::CommandComplete(count) = message { Some(*count) } else { None }
                };
                let most = u64::try_from(REMOVED_AT_ONCE).unwrap_or(u64::MAX);
                said.iter().filter_map(count).max().unwrap_or(0) < most
            }
            Err(e) => {
                warn!(server.name = %self.target.name, "larder.changes keeps what was told already: {e}");
                // What was begun is not left open.
                let _ = timeout(PATIENCE_OF_LOOKS, self.client.batch_execute("ROLLBACK")).await;
                true
            }
        }
    }
}

/// A row as its function noted it: columns and their text.
type Noted = HashMap<String, Option<String>>;

fn is_at_least(count: usize, most: i64) -> bool {
    i64::try_from(count).is_ok_and(|count| count >= most)
}

/// What the primary shows now, and what of the changes the last look did not show.
async fn changes(
    client: &Client,
    identity: &Identity,
    last: &Look,
) -> Result<(Look, Vec<Change>), PrimaryError> {
    let (look, changes) = asked(client, identity, last, ROWS, "", MAX_CHANGES).await?;
    if !is_at_least(changes.len(), MAX_CHANGES) {
        return Ok((look, changes));
    }
    // What this one shows is a later moment, and all since the last one again.
    asked(client, identity, last, TABLES, "GROUP BY c.xid, c.relation", MAX_TABLES).await
}

/// One snapshot for all of it; the functions of the WAL run after it was taken.
async fn asked(
    client: &Client,
    identity: &Identity,
    last: &Look,
    what: &str,
    groups: &str,
    most: i64,
) -> Result<(Look, Vec<Change>), PrimaryError> {
    let sql = format!(
        "WITH l AS MATERIALIZED ({}) SELECT * FROM l LEFT JOIN ({what} WHERE {NEW} {groups} LIMIT $3) c ON true",
        primary::LOOK
    );
    let snapshot = &*last.text;
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&snapshot, Type::TEXT), (&MAX_BYTES, Type::INT8), (&most, Type::INT8)];
    let rows = client.query_typed(&sql, &parameters).await?;
    let look = primary::read_look(rows.first().ok_or(PrimaryError::Another)?, identity)?;
    let changes = rows.iter().filter_map(|row| change(row).transpose()).collect::<Result<_, _>>()?;
    Ok((look, changes))
}

fn change(row: &Row) -> Result<Option<Change>, PrimaryError> {
    let Some(xid) = row.try_get::<_, Option<&str>>(5)? else { return Ok(None) };
    let xid = xid.parse().map_err(|_| PrimaryError::Database(format!("{xid:?} is no transaction")))?;
    let at = row.try_get::<_, i64>(7)?.saturating_sub(clock::MICROS_TO_2000);
    Ok(Some(Change { xid, relation: row.try_get(6)?, at, rows: row.try_get(8)? }))
}

/// # Errors
/// Everything for which changes could be missed without a word.
async fn find_tables(
    client: &Client,
    mapping: &Mapping,
) -> Result<(Tables, HashMap<u32, (usize, Relation)>), PrimaryError> {
    let mut tables = Tables::of(mapping);
    let setup = triggers::look(client, &tables).await?;
    let faults = setup.faults(&tables);
    if !faults.is_empty() {
        return Err(PrimaryError::NotReady(faults.into_iter().map(|Fault { what, .. }| what).collect()));
    }
    let relations = setup.relations(&tables);
    tables.by_oid = relations.iter().map(|(oid, (table, _))| (*oid, *table)).collect();
    Ok((tables, relations))
}
