//! Waiting for something that another thread does.

use std::time::{Duration, Instant};

/// Far beyond what anything here takes; met only by a test that has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

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
