//! Numbers that are the same in every run.

/// SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or(0)
    }

    /// One of so many, the first more often than the last: in six of ten cases of the first quarter.
    pub(crate) fn skewed(&mut self, count: usize) -> usize {
        let (one, other) = (self.below(count), self.below(count));
        // The product of two shares, as an index.
        usize::try_from(one as u64 * other as u64 / count.max(1) as u64).unwrap_or(0)
    }

    pub(crate) fn skewed_of<'v>(&mut self, values: &'v [String]) -> &'v str {
        values.get(self.skewed(values.len())).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_come_more_often_than_the_last_and_all_are_within() {
        let mut random = Random(1);
        let picked: Vec<usize> = (0..10_000).map(|_| random.skewed(100)).collect();
        assert!(picked.iter().all(|nth| *nth < 100));
        let of_first_quarter = picked.iter().filter(|nth| **nth < 25).count();
        assert!((5_500..6_500).contains(&of_first_quarter), "{of_first_quarter}");
        assert_eq!((random.skewed(0), random.below(0)), (0, 0));
    }
}
