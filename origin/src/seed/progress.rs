//! How far it is: a bar on a terminal, else a line now and then.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Duration;

use crate::clock::Stopwatch;

const BAR_CELLS: u64 = 30;
const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Rows between two looks at the clock.
const LOOK_EVERY: u64 = 512;

#[derive(Debug)]
pub(super) struct Progress {
    is_terminal: bool,
    since_shown: Stopwatch,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_terminal: stderr().is_terminal(), since_shown: Stopwatch::start() }
    }

    pub(super) fn show(&mut self, table: &str, done: u64, of: u64) {
        let every = if self.is_terminal { BAR_EVERY } else { LINE_EVERY };
        if !done.is_multiple_of(LOOK_EVERY) || self.since_shown.elapsed() < every {
            return;
        }
        self.say(table, done, of);
    }

    /// Whenever the last time was.
    pub(super) fn say(&mut self, table: &str, done: u64, of: u64) {
        self.since_shown = Stopwatch::start();
        let percent = done * 100 / of.max(1);
        let text = if self.is_terminal {
            let cells = usize::try_from(done * BAR_CELLS / of.max(1)).unwrap_or(0);
            let empty = usize::try_from(BAR_CELLS).unwrap_or(0).saturating_sub(cells);
            format!("\r\x1b[K{table:<18}[{}{}] {percent:>3}%", "#".repeat(cells), ".".repeat(empty))
        } else {
            format!("{table}: {percent}%\n")
        };
        // Nobody may be reading; the rows count.
        let _ = stderr().write_all(text.as_bytes());
    }

    pub(super) fn clear(&mut self) {
        if self.is_terminal {
            let _ = stderr().write_all(b"\r\x1b[K");
        }
    }
}
