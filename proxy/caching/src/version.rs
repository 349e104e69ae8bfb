//! Which state of a database a response was made from: `Larder-Version`, as Postgres says it, and on which timeline.
//!
//! On a primary it is the snapshot of the statement. A position in the WAL would not do there: a commit is in the WAL, and can be
//! decoded, before it leaves the list of running transactions and becomes visible. On a standby it is the position up to which
//! it had replayed before the statement began. A snapshot would not do there: a standby does not know what is running.
//! Next: `ledger.rs`, which holds versions against the change feed.

use std::fmt;
use std::num::NonZeroU32;

/// A byte position in the WAL, `pg_lsn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

impl Position {
    pub const fn new(lsn: u64) -> Position {
        Position(lsn)
    }

    pub const fn number(self) -> u64 {
        self.0
    }

    /// As Postgres writes it: two hexadecimal halves, `16/B374D848`.
    pub fn parse(text: &str) -> Option<Position> {
        let (high, low) = text.split_once('/')?;
        let half = |text: &str| {
            let is_hex = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
            is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten()
        };
        Some(Position(half(high)? << 32 | half(low)?))
    }

    /// The greatest position at which what ends here has not ended yet.
    pub(crate) const fn before(self) -> Position {
        Position(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// The number of a transaction, `xid8`: of 64 bits, so it never comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Xid(u64);

impl Xid {
    pub const fn new(number: u64) -> Xid {
        Xid(number)
    }

    pub const fn number(self) -> u64 {
        self.0
    }

    pub(crate) const fn next(self) -> Xid {
        Xid(self.0.saturating_add(1))
    }
}

/// What a statement saw, `pg_snapshot`. Of transactions, not of subtransactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    xmin: Xid,
    xmax: Xid,
    /// In ascending order.
    in_progress: Box<[Xid]>,
}

/// A server runs at most this many at a time (`max_connections`).
const MAX_IN_PROGRESS: usize = 262_143;

impl Snapshot {
    /// `None` if these are no bounds, or what is in progress does not lie within them, each once and in ascending order.
    pub fn new(xmin: Xid, xmax: Xid, in_progress: Box<[Xid]>) -> Option<Snapshot> {
        let is_ascending = in_progress.is_sorted_by(|a, b| a < b);
        let is_within = in_progress.iter().all(|xid| (xmin..xmax).contains(xid));
        let is_one = xmin <= xmax && xmin > Xid(0) && in_progress.len() <= MAX_IN_PROGRESS;
        (is_one && is_ascending && is_within).then_some(Snapshot { xmin, xmax, in_progress })
    }

    /// As Postgres writes it: `xmin:xmax:xip,...`.
    pub fn parse(text: &str) -> Option<Snapshot> {
        let mut parts = text.split(':');
        let (xmin, xmax, list) = (xid(parts.next()?)?, xid(parts.next()?)?, parts.next()?);
        let is_all = parts.next().is_none();
        let in_progress: Option<Box<[Xid]>> =
            if list.is_empty() { Some(Box::default()) } else { list.split(',').map(xid).collect() };
        is_all.then(|| Snapshot::new(xmin, xmax, in_progress?)).flatten()
    }

    /// All transactions before this one had ended.
    pub fn xmin(&self) -> Xid {
        self.xmin
    }

    /// No transaction from this one on had ended.
    pub fn xmax(&self) -> Xid {
        self.xmax
    }

    /// Whether a transaction, if it committed, is visible.
    pub fn sees(&self, xid: Xid) -> bool {
        xid < self.xmin || (xid < self.xmax && self.in_progress.binary_search(&xid).is_err())
    }
}

/// A number without sign, space or leading zero.
fn xid(text: &str) -> Option<Xid> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
    is_number.then(|| text.parse().ok().map(Xid)).flatten()
}

/// The state that a response was made from, at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// Of a primary.
    Snapshot(Snapshot),
    /// Of a standby: all up to here had been replayed.
    Replayed(Position),
}

impl Version {
    /// `snapshot=738:741:738,739` or `lsn=16/B374D848`. `None` for anything else.
    pub fn parse(value: &str) -> Option<Version> {
        match value.split_once('=')? {
            ("snapshot", snapshot) => Snapshot::parse(snapshot).map(Version::Snapshot),
            ("lsn", position) => Position::parse(position).map(Version::Replayed),
            _ => None,
        }
    }
}

impl Version {
    /// The position that a standby had replayed.
    pub fn replayed(&self) -> Option<Position> {
        match self {
            Version::Replayed(position) => Some(*position),
            Version::Snapshot(_) => None,
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin.0, self.xmax.0)?;
        for (index, xid) in self.in_progress.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", xid.0)?;
        }
        Ok(())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::Snapshot(snapshot) => write!(f, "snapshot={snapshot}"),
            Version::Replayed(position) => write!(f, "lsn={position}"),
        }
    }
}

/// Which history of a cluster a version is one of: each promotion begins a new one, in which positions and transactions of the
/// old one that came after it mean something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeline(NonZeroU32);

impl Timeline {
    pub const FIRST: Timeline = Timeline(NonZeroU32::MIN);

    /// `None` for 0, which is none.
    pub const fn new(number: u32) -> Option<Timeline> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Timeline(number)),
            None => None,
        }
    }

    pub const fn number(self) -> u32 {
        self.0.get()
    }

    /// A number without sign, space or leading zero.
    pub fn parse(text: &str) -> Option<Timeline> {
        let is_number = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        is_number.then(|| text.parse().ok().map(Timeline)).flatten()
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The value of `Larder-Version`, `Larder-Commit` and `Larder-Min-Version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// What the server was last known to be on before the statement: never newer than what it was on.
    pub timeline: Timeline,
    pub version: Version,
}

impl Stamp {
    /// `snapshot=738:741:738,739; timeline=1` or `lsn=16/B374D848; timeline=1`. `None` for anything else: a version of which the
    /// timeline is not known says nothing.
    pub fn parse(value: &str) -> Option<Stamp> {
        let (version, timeline) = value.split_once(';')?;
        let timeline = timeline.trim_start_matches([' ', '\t']).strip_prefix("timeline=")?;
        Some(Stamp { timeline: Timeline::parse(timeline)?, version: Version::parse(version)? })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; timeline={}", self.version, self.timeline)
    }
}
