//! How long things took, counted by length; and what can be said of a stretch of time from two looks at such counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds, in microseconds. The limits of the performance guide are among them, so that whether a percentile is beyond
/// one of these is exact.
pub(crate) const BOUNDS_US: [u64; 18] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 200_000, 350_000, 500_000, 750_000,
    1_000_000, 2_000_000, 5_000_000, 10_000_000, 30_000_000,
];
/// One more for what is longer than all of them.
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Written by all workers.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// One look at a histogram, or the difference of two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) sum_us: u64,
}

impl Histogram {
    pub(crate) fn record(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < took_us);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts { sum_us: self.sum_us.load(Ordering::Relaxed), ..Counts::default() };
        for (count, bucket) in counts.buckets.iter_mut().zip(&self.buckets) {
            *count = bucket.load(Ordering::Relaxed);
        }
        counts
    }
}

impl Counts {
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
        for (count, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
        }
    }

    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut difference = Self { sum_us: self.sum_us.saturating_sub(earlier.sum_us), ..Self::default() };
        for (index, count) in difference.buckets.iter_mut().enumerate() {
            let of = |counts: &Self| counts.buckets.get(index).copied().unwrap_or(0);
            *count = of(self).saturating_sub(of(earlier));
        }
        difference
    }

    /// In milliseconds; `None` if there was nothing.
    pub(crate) fn average_ms(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum_us as f64 / count as f64 / 1000.0)
    }

    /// In milliseconds, as Prometheus' `histogram_quantile` has it: even within a bucket, and no more than the last bound.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = quantile * count as f64;
        let (mut below, mut lower_us) = (0, 0);
        for (bound_us, in_bucket) in BOUNDS_US.iter().zip(&self.buckets) {
            if *in_bucket > 0 && (below + in_bucket) as f64 >= rank {
                let part = (rank - below as f64) / *in_bucket as f64;
                return Some((lower_us as f64 + (bound_us - lower_us) as f64 * part) / 1000.0);
            }
            below += in_bucket;
            lower_us = *bound_us;
        }
        Some(lower_us as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(took_ms: &[u64]) -> Counts {
        let histogram = Histogram::default();
        for took_ms in took_ms {
            histogram.record(Duration::from_millis(*took_ms));
        }
        histogram.counts()
    }

    #[test]
    fn averages_and_percentiles_are_those_of_what_was_recorded() {
        assert_eq!((recorded(&[]).average_ms(), recorded(&[]).quantile_ms(0.95)), (None, None));
        let counts = recorded(&[100; 10]);
        assert_eq!(counts.average_ms(), Some(100.0));
        // Somewhere in the bucket that ends at 100 ms.
        assert_eq!(counts.quantile_ms(1.0), Some(100.0));
        assert_eq!(counts.quantile_ms(0.5), Some(75.0));
        // Longer than the last bound: at least that.
        assert_eq!(recorded(&[3_600_000]).quantile_ms(0.95), Some(30_000.0));
    }

    #[test]
    fn a_percentile_is_beyond_a_bound_exactly_if_too_many_are() {
        let mut took = vec![1; 95];
        took.extend([501; 5]);
        assert!(recorded(&took).quantile_ms(0.95).unwrap() <= 500.0);
        took.push(501);
        assert!(recorded(&took).quantile_ms(0.95).unwrap() > 500.0);
    }

    #[test]
    fn the_difference_of_two_looks_is_what_happened_between_them() {
        let earlier = recorded(&[1, 2]);
        let mut later = recorded(&[700]);
        later.add(&earlier);
        assert_eq!(later.since(&earlier), recorded(&[700]));
    }
}
