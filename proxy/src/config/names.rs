//! Small parsed types: the names of routes and upstreams, and a secret that does not print itself.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::BadValue;

/// Long enough for any name a person picks, short enough for a metric label.
const MAX_NAME_BYTES: usize = 64;
/// 16 characters of base64 are 96 random bits: not to be guessed over a network.
const MIN_SECRET_BYTES: usize = 16;
const MAX_SECRET_BYTES: usize = 1024;
/// A secret and white space around it.
const MAX_SECRET_FILE_BYTES: u64 = 4096;

/// Name of a route: a log field and a metric label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteName(Box<str>);

/// Name of an upstream: a log field and a metric label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamName(Box<str>);

/// A bearer token. Neither `Debug` nor anything else in this crate prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

/// Why there is no secret in a file.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    #[error("read the token file {}", file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("token file {}", file.display())]
    Malformed { file: PathBuf, source: BadValue },
}

impl RouteName {
    /// Of a route that has the file to itself.
    pub(super) fn default_name() -> Self {
        Self("default".into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl UpstreamName {
    /// Of an upstream that has the file to itself.
    pub(super) fn default_name() -> Self {
        Self("default".into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Secret {
    /// True if `offered` is the secret. The time it takes tells how long the secret is, and nothing more.
    #[must_use]
    pub fn matches(&self, offered: &[u8]) -> bool {
        let secret = self.0.as_bytes();
        let difference = secret.iter().zip(offered).fold(0, |sum, (a, b)| sum | (a ^ b));
        secret.len() == offered.len() && std::hint::black_box(difference) == 0
    }

    /// Reads a file that holds the secret and nothing else.
    ///
    /// # Errors
    /// The file cannot be read, or what is in it is no secret.
    pub fn load(file: &Path) -> Result<Self, SecretFileError> {
        let mut text = String::new();
        File::open(file)
            .and_then(|opened| opened.take(MAX_SECRET_FILE_BYTES).read_to_string(&mut text))
            .map_err(|source| SecretFileError::Unreadable { file: file.to_owned(), source })?;
        text.parse().map_err(|source| SecretFileError::Malformed { file: file.to_owned(), source })
    }

    /// For the one who has to send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl SecretFileError {
    /// The cause, for a report that has one line for all.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Unreadable { source, .. } => source.to_string(),
            Self::Malformed { source, .. } => source.to_string(),
        }
    }
}

/// Letters, digits, `-`, `_` and `.`: safe in a log line, a label and a URL without quoting.
fn name(text: &str) -> Result<Box<str>, BadValue> {
    if text.is_empty() {
        return Err(BadValue::new("a name cannot be empty"));
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(BadValue::new(format!(
            "a name has at most {MAX_NAME_BYTES} characters, this has {}",
            text.len()
        )));
    }
    match text.char_indices().find(|(_, c)| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        Some((offset, c)) => Err(BadValue::at(
            offset,
            format!(
                "{text:?} is not a name: {c:?} is not allowed, only letters, digits, \"-\", \"_\" and \".\""
            ),
        )),
        None => Ok(text.into()),
    }
}

impl FromStr for RouteName {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        name(text).map(Self)
    }
}

impl FromStr for UpstreamName {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        name(text).map(Self)
    }
}

impl FromStr for Secret {
    type Err = BadValue;

    /// White space around it is cut off: files end with a line break.
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let text = text.trim();
        if text.len() < MIN_SECRET_BYTES || text.len() > MAX_SECRET_BYTES {
            return Err(BadValue::new(format!(
                "a token has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} characters, this has {}; \
                 make one with: openssl rand -base64 32",
                text.len()
            )));
        }
        // Does not repeat the text: faults end in logs.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadValue::new("a token has visible ASCII characters only, no spaces"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_never_prints_itself() {
        let secret: Secret = "correct-horse-battery\n".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert!(!"short-horse".parse::<Secret>().unwrap_err().to_string().contains("horse"));
        assert!(!"correct horse battery staple".parse::<Secret>().unwrap_err().to_string().contains("horse"));
    }

    #[test]
    fn secret_matches_itself_alone() {
        let secret: Secret = "correct-horse-battery".parse().unwrap();
        assert!(secret.matches(b"correct-horse-battery"));
        for other in ["", "correct-horse-batterx", "correct-horse", "correct-horse-battery-staple"] {
            assert!(!secret.matches(other.as_bytes()), "{other:?}");
        }
    }
}
