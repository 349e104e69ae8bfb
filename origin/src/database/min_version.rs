//! `Larder-Min-Version` of a request that reads: what its answer has to have seen, such as the change that its client made before.
//!
//! A commit is a position in the WAL of a timeline. A standby that has replayed further shows it; the primary shows all of its
//! timeline. On a later timeline the position is either of the history that it shares, or the commit was lost.

use hyper::header::{HeaderMap, HeaderName};

use crate::error::Error;

pub(crate) const MIN_VERSION: HeaderName = HeaderName::from_static("larder-min-version");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MinVersion {
    pub(super) timeline: u32,
    pub(super) position: u64,
}

impl MinVersion {
    /// # Errors
    /// A field that is none, or several.
    pub(crate) fn of(fields: &HeaderMap) -> Result<Option<Self>, Error> {
        let mut given = fields.get_all(MIN_VERSION).iter();
        let Some(field) = given.next() else { return Ok(None) };
        let version = field.to_str().ok().filter(|_| given.next().is_none()).and_then(Self::parse);
        let why =
            "Larder-Min-Version is not as a write says it in Larder-Commit: `lsn=16/B374D848; timeline=1`";
        version.map(Some).ok_or(Error::BadCondition(why))
    }

    fn parse(text: &str) -> Option<Self> {
        let (position, timeline) = split(text)?;
        Some(Self { timeline, position: parse_position(position.strip_prefix("lsn=")?)? })
    }

    /// Whether a server that is known to be there shows it.
    pub(super) fn is_reached(self, timeline: u32, position: u64) -> bool {
        timeline >= self.timeline && position >= self.position
    }

    /// Whether what was made after a stamp shows it.
    pub(super) fn is_shown_by(self, stamp: &str) -> bool {
        let Some((version, timeline)) = split(stamp) else { return false };
        match version.strip_prefix("lsn=") {
            Some(position) => {
                parse_position(position).is_some_and(|position| self.is_reached(timeline, position))
            }
            None => version.starts_with("snapshot=") && timeline >= self.timeline,
        }
    }
}

fn split(stamp: &str) -> Option<(&str, u32)> {
    let (version, timeline) = stamp.split_once(';')?;
    let timeline = timeline.trim_start_matches([' ', '\t']).strip_prefix("timeline=")?;
    let is_number = timeline.bytes().all(|byte| byte.is_ascii_digit()) && !timeline.starts_with('0');
    Some((version, timeline.parse().ok().filter(|_| is_number)?))
}

/// As Postgres writes it: `16/B374D848`.
pub(super) fn parse_position(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |text: &str| {
        let is_hex = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten()
    };
    Some(half(high)? << 32 | half(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_write_says_is_understood_and_nothing_else() {
        let expected = MinVersion { timeline: 3, position: 0x16_B374_D848 };
        for text in ["lsn=16/B374D848; timeline=3", "lsn=16/b374d848;timeline=3"] {
            assert_eq!(MinVersion::parse(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "lsn=16/B374D848",
            "16/B374D848; timeline=3",
            "lsn=16/B374D848; timeline=0",
            "lsn=16/B374D848; timeline=03",
            "lsn=16/B374D848; timeline=+3",
            "lsn=16/B374D848; timeline=4294967296",
            "lsn=16/; timeline=3",
            "lsn=+16/1; timeline=3",
            "lsn=100000000/1; timeline=3",
            "lsn=16; timeline=3",
            "snapshot=1:1:; timeline=3",
        ] {
            assert_eq!(MinVersion::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_position_shows_what_is_before_it_and_a_primary_all_of_its_timeline() {
        let wanted = MinVersion { timeline: 2, position: 0x100 };
        for (stamp, is_shown) in [
            ("lsn=0/100; timeline=2", true),
            ("lsn=0/FF; timeline=2", false),
            ("lsn=1/0; timeline=1", false),
            ("lsn=0/100; timeline=3", true),
            ("snapshot=5:5:; timeline=2", true),
            ("snapshot=5:5:; timeline=1", false),
            ("snapshot=5:5:", false),
            ("", false),
        ] {
            assert_eq!(wanted.is_shown_by(stamp), is_shown, "{stamp}");
        }
    }
}
