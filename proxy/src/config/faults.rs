//! What is wrong with a configuration, and where: for the terminal, the log and the admin answer.
//!
//! Knows nothing of what a configuration contains.
//! Read next: `config/section.rs`, which makes nearly all of these.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// All faults of one file, in the order of their lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigFaults {
    pub file: PathBuf,
    pub faults: Vec<Fault>,
}

/// One fault. Serialized, `line` and `column` stand beside the other fields, or are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Such as `route "users": cache.default_ttl`; empty for the file as a whole and for its syntax.
    pub path_in_file: String,
    /// `None` where no place in the file is to blame, as for a file that cannot be read.
    #[serde(flatten)]
    pub position: Option<Position>,
    pub message: String,
}

/// A place in a text, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// Why a text is not the value it should be, in words for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    message: String,
    /// Byte offset of the culprit, where one place in the text is.
    offset: Option<usize>,
}

impl ConfigFaults {
    /// `faults` is not empty: a configuration without faults is a [`super::Config`].
    #[must_use]
    pub fn new(file: &Path, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.position);
        Self { file: file.to_owned(), faults }
    }
}

impl Fault {
    pub(super) fn at(position: Position, path_in_file: &str, message: impl Into<String>) -> Self {
        Self { path_in_file: path_in_file.to_owned(), position: Some(position), message: message.into() }
    }

    pub(super) fn of_file(message: impl Into<String>) -> Self {
        Self { path_in_file: String::new(), position: None, message: message.into() }
    }
}

impl Position {
    /// The place where a text that begins with `before` goes on.
    pub(super) fn after(before: &str) -> Self {
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        Self { line, column: last_line.chars().count() + 1 }
    }
}

impl BadValue {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), offset: None }
    }

    pub(super) fn at(offset: usize, message: impl Into<String>) -> Self {
        Self { message: message.into(), offset: Some(offset) }
    }

    pub(super) fn offset(&self) -> Option<usize> {
        self.offset
    }
}

impl fmt::Display for ConfigFaults {
    /// One line for each fault, as compilers write them, so that editors find the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", self.file.display())?;
            if let Some(Position { line, column }) = fault.position {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": {fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    /// Without the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path_in_file.is_empty() {
            write!(f, "{}: ", self.path_in_file)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigFaults {}
impl std::error::Error for BadValue {}
