//! How long things took, and what to say of many.

use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Times {
    took_us: Vec<u64>,
}

impl Times {
    pub(super) fn add(&mut self, took: Duration) {
        self.took_us.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn extend(&mut self, others: Times) {
        self.took_us.extend(others.took_us);
    }

    pub(super) fn count(&self) -> usize {
        self.took_us.len()
    }

    /// Needed before [`Times::percentile_ms`], once all are there.
    pub(super) fn sort(&mut self) {
        self.took_us.sort_unstable();
    }

    /// In milliseconds; `share` is 0.95 for the 95th percentile, 1.0 for the longest.
    pub(super) fn percentile_ms(&self, share: f64) -> f64 {
        let last = self.took_us.len().saturating_sub(1);
        // Sorted, and the rank is within.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank in a list")]
        let rank = (last as f64 * share).ceil() as usize;
        self.took_us.get(rank).map_or(f64::NAN, |took_us| *took_us as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_seen() {
        let mut times = Times::default();
        for ms in (1..=100).rev() {
            times.add(Duration::from_millis(ms));
        }
        times.sort();
        assert_eq!(times.percentile_ms(0.95), 96.0);
        assert_eq!(times.percentile_ms(1.0), 100.0);
        assert!(Times::default().percentile_ms(0.95).is_nan());
    }
}
