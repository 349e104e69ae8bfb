//! Where in the WAL, and which transaction: numbers as Postgres writes them.

use std::fmt;
use std::str::FromStr;

/// A byte position in the WAL, `pg_lsn`: two hexadecimal halves, `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Position(pub(crate) u64);

impl Position {
    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Position {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHY: &str = "is not a position such as 16/B374D848";
        let (high, low) = text.split_once('/').ok_or(WHY)?;
        let half = |text: &str| {
            let is_hex = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten().ok_or(WHY)
        };
        Ok(Self(half(high)? << 32 | half(low)?))
    }
}

/// A transaction's number, as the WAL has it in 32 bits, in the 64 of which no two are the same: the one that is nearest to a
/// number of about the same time. Postgres itself lets no two that are in use be further apart than half of all.
pub(crate) fn widen(xid: u32, near: u64) -> u64 {
    const ROUND: u64 = 1 << 32;
    let same_round = near & !(ROUND - 1) | u64::from(xid);
    if same_round > near && same_round - near > ROUND / 2 {
        same_round.checked_sub(ROUND).unwrap_or(same_round)
    } else if same_round < near && near - same_round > ROUND / 2 {
        same_round + ROUND
    } else {
        same_round
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_two_halves() {
        assert_eq!("16/B374D848".parse(), Ok(Position(0x16_B374_D848)));
        assert_eq!(Position(0x16_0000_000A).to_string(), "16/A");
        for text in ["", "16", "16/", "/1", "16/B374D848A", "+1/1", "x/1", "1/1/1"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_transaction_is_of_the_round_that_is_nearest() {
        let round = 1_u64 << 32;
        for (xid, near, wide) in [
            (738, 740, 738),
            (740, 738, 740),
            (3, round - 2, round + 3),
            (u32::MAX, round + 1, round - 1),
            (u32::MAX, 5, u64::from(u32::MAX)),
            (7, 5 * round + 9, 5 * round + 7),
        ] {
            assert_eq!(widen(xid, near), wide, "{xid} near {near}");
        }
    }
}
