//! Read your writes: what a client is given with the answer to a write, and brings along when it reads.
//!
//! A token says which commits its bearer has made, as a position in the WAL, and until when that is worth asking for. It is signed,
//! so that nobody can make requests wait or go past the cache at will, and holds nothing that is secret or about a person.
//! All proxies with the same key take it. Knows no request and no feed. Next: `feed.rs`, which says how far this proxy is.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use caching::{
    time::Timestamp,
    version::{Position, Stamp, Timeline, Version},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

const FORMAT: u8 = 1;
const SIGNATURE_BYTES: usize = 16;
/// Format, timeline, position, seconds.
const CONTENT_BYTES: usize = 1 + 4 + 8 + 8;
const TOKEN_BYTES: usize = CONTENT_BYTES + SIGNATURE_BYTES;
/// In base64url without padding.
const TEXT_BYTES: usize = (TOKEN_BYTES * 4).div_ceil(3);

/// What tokens are signed with.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    pub fn new(secret: &[u8]) -> Key {
        // HMAC takes a key of any length.
        Key(Hmac::new_from_slice(secret).unwrap_or_else(|_| unreachable!()))
    }

    /// For this process alone.
    ///
    /// # Panics
    /// The system has no random bytes, and nothing that is to be kept secret should run there.
    pub fn random() -> Key {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the system gives random bytes");
        Key::new(&secret)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// How far whoever answers its bearer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub timeline: Timeline,
    pub position: Position,
    pub until: Timestamp,
}

impl Session {
    /// Of the answer to a write, by its `Larder-Commit`: `lsn=16/B374D848; timeline=1`.
    pub fn of_commit(value: &str, until: Timestamp) -> Option<Session> {
        let stamp = Stamp::parse(value)?;
        let Version::Replayed(position) = stamp.version else { return None };
        Some(Session { timeline: stamp.timeline, position, until })
    }

    /// With what the same client had before: a later history wins, then the later position.
    #[must_use]
    pub fn with(self, earlier: Option<Session>) -> Session {
        match earlier {
            Some(earlier) if (earlier.timeline, earlier.position) > (self.timeline, self.position) => {
                Session { until: self.until, ..earlier }
            }
            _ => self,
        }
    }

    /// As an upstream is asked for it, in `Larder-Min-Version`.
    pub fn stamp(self) -> Stamp {
        Stamp { timeline: self.timeline, version: Version::Replayed(self.position) }
    }

    /// As text that is at home in a cookie and in a field.
    pub fn token(self, key: &Key) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.timeline.number().to_be_bytes());
        bytes.extend_from_slice(&self.position.number().to_be_bytes());
        bytes.extend_from_slice(&self.until.as_ms().to_be_bytes());
        let signature = key.0.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend(signature.iter().take(SIGNATURE_BYTES));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None`: it is none of ours, or was cut, or its time is over.
    pub fn of_token(token: &[u8], key: &Key, now: Timestamp) -> Option<Session> {
        if token.len() != TEXT_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (content, signature) = bytes.split_at_checked(CONTENT_BYTES)?;
        if signature.len() != SIGNATURE_BYTES {
            return None;
        }
        key.0.clone().chain_update(content).verify_truncated_left(signature).ok()?;
        let (format, rest) = content.split_first()?;
        let (timeline, rest) = rest.split_first_chunk::<4>()?;
        let (position, until) = rest.split_first_chunk::<8>()?;
        let session = Session {
            timeline: Timeline::new(u32::from_be_bytes(*timeline))?,
            position: Position::new(u64::from_be_bytes(*position)),
            until: Timestamp::from_ms(u64::from_be_bytes(until.try_into().ok()?)),
        };
        (*format == FORMAT && now < session.until).then_some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(number: u32) -> Timeline {
        Timeline::new(number).unwrap()
    }

    fn session(position: u64) -> Session {
        Session { timeline: timeline(2), position: Position::new(position), until: Timestamp::from_s(100) }
    }

    #[test]
    fn a_token_says_what_it_was_made_of_until_its_time_is_over() {
        let key = Key::new(b"correct horse battery staple");
        let token = session(0x16_B374_D848).token(&key);
        let at = |s| Session::of_token(token.as_bytes(), &key, Timestamp::from_s(s));
        assert_eq!(at(99), Some(session(0x16_B374_D848)));
        assert_eq!(at(100), None);
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    }

    #[test]
    fn what_was_changed_cut_or_signed_by_others_is_none() {
        let (key, other) = (Key::new(b"one"), Key::new(b"other"));
        let token = session(7).token(&key);
        let is_taken = |token: &[u8]| Session::of_token(token, &key, Timestamp::from_s(1)).is_some();
        assert!(is_taken(token.as_bytes()));
        assert!(!is_taken(session(7).token(&other).as_bytes()));
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(!is_taken(&changed), "{at}");
            assert!(!is_taken(&token.as_bytes()[..at]), "{at}");
        }
        assert!(!is_taken(format!("{token}A").as_bytes()));
        assert!(!is_taken(b"\xff\xfe"));
    }

    #[test]
    fn a_later_write_does_not_take_back_what_an_earlier_one_needs() {
        assert_eq!(session(7).with(Some(session(9))), session(9));
        assert_eq!(session(7).with(None), session(7));
        let promoted = Session { timeline: timeline(3), ..session(1) };
        assert_eq!(promoted.with(Some(session(9))), promoted);
        assert_eq!(session(9).stamp().to_string(), "lsn=0/9; timeline=2");
        assert_eq!(Session::of_commit("lsn=0/9; timeline=2", Timestamp::from_s(100)), Some(session(9)));
        assert_eq!(Session::of_commit("snapshot=1:1:; timeline=2", Timestamp::from_s(100)), None);
    }
}
