//! The cache key (RFC 9111 section 2): host, method class, target and further parts, each with its length.
//!
//! Lengths in front make the encoding injective: no choice of host, target and parts can meet another one.
//! Two hosts never share a key. Selecting header fields are not part of it: see `vary.rs`.

/// Which methods may answer for each other. GET also answers HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodClass {
    Get,
}

/// Writes a cache key into a buffer that the caller keeps, so that a look-up allocates nothing.
#[derive(Debug)]
pub struct KeyWriter<'a> {
    buffer: &'a mut Vec<u8>,
}

impl<'a> KeyWriter<'a> {
    /// `host` and `target` are to be normalised before: the same form is routed, keyed and sent on.
    pub fn begin(buffer: &'a mut Vec<u8>, method: MethodClass, host: &str, target: &str) -> KeyWriter<'a> {
        buffer.clear();
        buffer.push(match method {
            MethodClass::Get => b'G',
        });
        let mut writer = KeyWriter { buffer };
        writer.part(host.as_bytes());
        writer.part(target.as_bytes());
        writer
    }

    /// Adds a part that tells requests for the same target apart.
    pub fn part(&mut self, part: &[u8]) {
        // INVARIANT: no part is as long as 4 GiB; a request head is bounded far below.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(part);
    }
}

/// Host and target of a key that [`KeyWriter`] wrote; `None` for anything else.
pub fn host_and_target(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (host, rest) = first_part(key.get(1..)?)?;
    let (target, _) = first_part(rest)?;
    Some((host, target))
}

fn first_part(parts: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = parts.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}
