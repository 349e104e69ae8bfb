//! Chance without chance: the same row always gets the same numbers. Times, too.

/// Three years.
pub(super) const SPAN_S: u64 = 1_096 * 86_400;

/// A time, to the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    pub(super) fn of(seconds: u64) -> Self {
        Self(seconds * 1_000_000)
    }

    pub(super) fn since_2000_us(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The `nth` of `count` that are spread over the years. Of every 24 in a row 8 have one and the same time, and one in fifty
    /// came with an import, all at one moment.
    pub(super) fn at(start_s: u64, nth: u64, count: u64, random: &mut Random) -> Self {
        let fraction_us = random.below(1_000_000);
        if random.is_one_in(50) {
            return Self::of(start_s + SPAN_S / 2);
        }
        let group = nth / 8;
        if group.is_multiple_of(3) {
            return Self::of(start_s + SPAN_S * (group * 8) / count);
        }
        Self(Self::of(start_s + SPAN_S * nth / count).0 + fraction_us)
    }

    pub(super) fn earlier(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds * 1_000_000))
    }

    /// Seconds from an earlier one.
    pub(super) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }

    pub(super) fn later(self, seconds: u64) -> Self {
        Self(self.0 + seconds * 1_000_000)
    }
}

/// Counts of rows and of what is in them stay far below.
pub(super) fn small(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// SplitMix64: each row has its own, so that no row depends on another.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn of(table: &str, row: u64) -> Self {
        let table = table.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut random = Self(table ^ row.wrapping_mul(0xd1b5_4a32_d192_ed03));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn is_one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Below `bound`; half of the time below an eighth of it.
    pub(super) fn skewed(&mut self, bound: u64) -> u64 {
        // A 24-bit fraction, cubed: all in whole numbers, so the same on every machine.
        let fraction = u128::from(self.next() >> 40);
        u64::try_from((fraction * fraction * fraction * u128::from(bound)) >> 72).unwrap_or(0)
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = self.below(from.len() as u64);
        from[usize::try_from(index).unwrap_or(0)]
    }
}
