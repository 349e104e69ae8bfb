//! What a reader may have been shown: the values of each row, and by when each of them was there.
//!
//! Values of one row only grow, and one writer makes them. A position is a place in the WAL or a time, one at which a commit had
//! certainly ended, so a judgement errs on the side of the accused: what is found is a fault. Knows no clock and no socket.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of the rows.
#[derive(Debug)]
pub(crate) struct History {
    rows: Vec<Mutex<Row>>,
}

#[derive(Debug, Default)]
struct Row {
    /// Value and position, both growing: it had been committed when the WAL was there.
    committed: Vec<(u64, u64)>,
    /// The newest that was ever sent to be written.
    attempted: u64,
}

/// What a value that was read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The newest that was acknowledged, or newer.
    Newest,
    /// Overwritten, by commits that the reader need not have seen.
    Allowed,
    /// Overwritten by a commit that the reader's position includes: this is the value it should at least have been.
    Stale { at_least: u64 },
    /// Nobody wrote it.
    Invented,
}

impl History {
    /// Rows that have the value 0, since ever.
    pub(crate) fn of_rows(count: usize) -> History {
        History { rows: (0..count).map(|_| Mutex::default()).collect() }
    }

    /// Before a value is sent.
    pub(crate) fn attempt(&self, row: usize, value: u64) {
        if let Some(mut row) = self.row(row) {
            row.attempted = row.attempted.max(value);
        }
    }

    /// It was acknowledged, with a position at which it had been committed.
    pub(crate) fn committed(&self, row: usize, value: u64, position: u64) {
        if let Some(mut row) = self.row(row) {
            row.committed.push((value, position));
        }
    }

    /// What was read by somebody who is entitled to all up to `position`.
    pub(crate) fn judge(&self, row: usize, value: u64, position: u64) -> Verdict {
        let Some(row) = self.row(row) else { return Verdict::Invented };
        if value > row.attempted {
            return Verdict::Invented;
        }
        let newest = row.committed.last().map_or(0, |(newest, _)| *newest);
        if value >= newest {
            return Verdict::Newest;
        }
        let within = row.committed.partition_point(|(_, end)| *end <= position);
        let at_least =
            within.checked_sub(1).and_then(|last| row.committed.get(last)).map_or(0, |(value, _)| *value);
        if value < at_least { Verdict::Stale { at_least } } else { Verdict::Allowed }
    }

    /// Where a value had certainly been overwritten; `None`: it may still be there.
    pub(crate) fn overwritten(&self, row: usize, value: u64) -> Option<u64> {
        let row = self.row(row)?;
        let newer = row.committed.partition_point(|(known, _)| *known <= value);
        row.committed.get(newer).map(|(_, position)| *position)
    }

    /// The newest value of a row that was acknowledged.
    pub(crate) fn acknowledged(&self, row: usize) -> u64 {
        self.row(row).and_then(|row| row.committed.last().copied()).map_or(0, |(value, _)| value)
    }

    pub(crate) fn writes(&self) -> usize {
        (0..self.rows.len()).filter_map(|row| self.row(row)).map(|row| row.committed.len()).sum()
    }

    fn row(&self, row: usize) -> Option<MutexGuard<'_, Row>> {
        Some(self.rows.get(row)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_stale_once_the_position_includes_what_overwrote_it() {
        let history = History::of_rows(1);
        for (value, position) in [(1, 100), (2, 200)] {
            history.attempt(0, value);
            history.committed(0, value, position);
        }
        assert_eq!(history.judge(0, 1, 199), Verdict::Allowed);
        assert_eq!(history.judge(0, 1, 200), Verdict::Stale { at_least: 2 });
        assert_eq!(history.judge(0, 0, 150), Verdict::Stale { at_least: 1 });
        assert_eq!(history.judge(0, 2, 900), Verdict::Newest);
        assert_eq!(history.judge(0, 3, 0), Verdict::Invented);
        assert_eq!([0, 1, 2].map(|value| history.overwritten(0, value)), [Some(100), Some(200), None]);
        history.attempt(0, 3);
        assert_eq!(history.judge(0, 3, 0), Verdict::Newest);
        assert_eq!((history.acknowledged(0), history.writes()), (2, 2));
    }
}
