//! See `src/lib.rs`.

mod changing;
mod coalescing;
mod purging;

/// Orders tried by each test. Faults that were put in on purpose are found within the first hundreds; this takes seconds.
const RUNS: usize = 3000;
