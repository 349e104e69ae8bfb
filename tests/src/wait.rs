//! Waiting for something that another thread does.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Far beyond what anything here takes; met only by a test that has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Says at its end that something is over, also where that end is a failed test: who goes on until then would go on for ever.
pub struct OverAtEnd<'f>(pub &'f AtomicBool);

impl Drop for OverAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Returns when `holds` does.
///
/// # Panics
/// It does not within [`PATIENCE`].
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !holds() {
        assert!(now() < deadline, "waited in vain for: {what}");
        std::thread::yield_now();
    }
}

#[expect(clippy::disallowed_methods, reason = "only bounds a wait")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
