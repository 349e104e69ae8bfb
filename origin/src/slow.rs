//! What took too long, said in the log: which endpoint and how long, never with what parameters. A slow endpoint that is asked
//! a thousand times a second is said a few times a minute, with the count of what was not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use tracing::warn;

/// Between two lines about one endpoint.
const PAUSE: Duration = Duration::from_secs(10);

/// One endpoint's lines of one kind.
#[derive(Debug, Default)]
pub(crate) struct SlowLog {
    /// Milliseconds since the start.
    next_ms: AtomicU64,
    held_back: AtomicU64,
    /// How many there were, said or not.
    count: AtomicU64,
}

impl SlowLog {
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts one, and says how many were held back before it if it may be said.
    fn note(&self, now: Duration) -> Option<u64> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (now_ms, next_ms) = (ms(now), self.next_ms.load(Ordering::Relaxed));
        let wanted = now_ms.saturating_add(ms(PAUSE));
        let is_ours = now_ms >= next_ms
            && self.next_ms.compare_exchange(next_ms, wanted, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !is_ours {
            self.held_back.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.held_back.swap(0, Ordering::Relaxed))
    }

    pub(crate) fn request(&self, now: Duration, endpoint: &str, status: StatusCode, took: Duration) {
        if let Some(held_back) = self.note(now) {
            warn!(
                endpoint.name = endpoint,
                status = status.as_u16(),
                took_ms = took.as_millis(),
                held_back,
                "slow request"
            );
        }
    }

    pub(crate) fn statement(&self, now: Duration, endpoint: &str, took: Duration) {
        if let Some(held_back) = self.note(now) {
            warn!(endpoint.name = endpoint, took_ms = took.as_millis(), held_back, "slow statement");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_a_minute_and_the_count_of_the_rest() {
        let log = SlowLog::default();
        let at = |seconds| log.note(Duration::from_secs(seconds));
        assert_eq!((at(0), at(0), at(9)), (Some(0), None, None));
        assert_eq!((at(10), at(11)), (Some(2), None));
        assert_eq!((at(100), at(111)), (Some(1), Some(0)));
        assert_eq!(log.count(), 7);
    }
}
