//! The name of a protocol that clients of a route may switch to.

use std::fmt;
use std::str::FromStr;

use super::BadValue;

/// No registered name comes near this.
const MAX_PROTOCOL_BYTES: usize = 64;

/// In lower case, without a version: `websocket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeProtocol(Box<str>);

impl UpgradeProtocol {
    /// Whether a protocol of an `Upgrade` field is this one, in any version.
    #[must_use]
    pub fn is_named(&self, protocol: &[u8]) -> bool {
        let name = protocol.split(|byte| *byte == b'/').next().unwrap_or(protocol);
        //= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
        //# Although protocol names are registered with a preferred case,
        //# recipients SHOULD use case-insensitive comparison when matching each
        //# protocol-name to supported protocols.
        name.eq_ignore_ascii_case(self.0.as_bytes())
    }
}

impl FromStr for UpgradeProtocol {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let name = text.to_ascii_lowercase();
        if name.is_empty() || name.len() > MAX_PROTOCOL_BYTES {
            let of = name.len();
            let most = MAX_PROTOCOL_BYTES;
            return Err(BadValue::new(format!("a protocol has 1 to {most} characters, this has {of}")));
        }
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        if let Some((offset, c)) = text.char_indices().find(|(_, c)| !is_allowed(*c)) {
            let hint = if c == '/' { "; a name stands for all its versions" } else { "" };
            return Err(BadValue::at(
                offset,
                format!("{text:?} is not a protocol: {c:?} is not allowed{hint}"),
            ));
        }
        // What speaks HTTP inside would be a way past everything that is decided here, request by request.
        if matches!(&*name, "h2c" | "h2" | "http") {
            return Err(BadValue::new(format!(
                "{text:?} cannot be switched to: the requests inside would pass by routes, policies and the cache \
                 (h2c smuggling)"
            )));
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for UpgradeProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
