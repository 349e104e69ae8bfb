//! What is wrong with a file that a person wrote, and where: configuration, query files, migrations.
//!
//! Readers collect faults and go on, so that one run shows all of them.
//! Knows nothing of what the files mean.

use std::fmt;
use std::path::{Path, PathBuf};

/// Characters of a line that are shown, and how many of them can be in front of the place.
const SHOWN: usize = 160;
const SHOWN_BEFORE: usize = 120;

/// A place in a text, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// One fault of one file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    pub(crate) file: PathBuf,
    /// `None` where no place in the file is to blame, as for a file that cannot be read.
    pub(crate) position: Option<Position>,
    pub(crate) message: String,
    /// The line of the file, to be shown with the place marked. `None` where it was not at hand.
    pub(crate) line: Option<String>,
}

/// All faults that were found, in the order of files and lines. Never empty when returned as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Position {
    /// The place of the byte at `offset`.
    #[must_use]
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        Self { line, column: last_line.chars().count() + 1 }
    }

    /// The place of the nth character, counted from 1 as Postgres does.
    pub(crate) fn of_character(text: &str, nth: u32) -> Self {
        let nth = usize::try_from(nth).unwrap_or(usize::MAX).saturating_sub(1);
        Self::of(text, text.char_indices().nth(nth).map_or(text.len(), |(offset, _)| offset))
    }
}

impl Faults {
    #[must_use]
    pub(crate) fn of_file(file: &Path, message: impl Into<String>) -> Self {
        let mut faults = Self::default();
        faults.push(file, None, message);
        faults
    }

    pub(crate) fn push(&mut self, file: &Path, position: Option<Position>, message: impl Into<String>) {
        self.add(Fault { file: file.to_owned(), position, message: message.into(), line: None });
    }

    fn add(&mut self, fault: Fault) {
        // Several connections and several variants of one statement find the same fault.
        let is_same = |known: &Fault| {
            (&known.file, known.position, &known.message) == (&fault.file, fault.position, &fault.message)
        };
        if !self.0.iter().any(is_same) {
            self.0.push(fault);
            self.0.sort();
        }
    }

    pub(crate) fn extend(&mut self, others: Self) {
        for fault in others.0 {
            self.add(fault);
        }
    }

    /// With the lines that the faults of a file are about.
    pub(crate) fn quote(&mut self, file: &Path, text: &str) {
        for fault in self.0.iter_mut().filter(|fault| fault.line.is_none() && fault.file == file) {
            let line = fault.position.and_then(|position| text.lines().nth(position.line - 1));
            fault.line = line.map(str::to_owned);
        }
    }

    /// Those of several servers; what only some of them say is said with their names.
    #[must_use]
    pub(crate) fn of_servers(found: &[(&str, Self)]) -> Self {
        let mut all = Self::default();
        for fault in found.iter().flat_map(|(_, own)| &own.0) {
            let has_it = found.iter().filter(|(_, own)| own.0.contains(fault));
            let names: Vec<&str> = has_it.map(|(name, _)| *name).collect();
            let only = match names.len() == found.len() {
                true => String::new(),
                false => format!(" (on {} only)", names.join(", ")),
            };
            all.add(Fault { message: format!("{}{only}", fault.message), ..fault.clone() });
        }
        all
    }

    /// In the order of files and lines.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `value`, if nothing was found.
    ///
    /// # Errors
    /// What was found.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    /// As compilers write them, so that editors find the place; under it the line, if it is known, and a caret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        let Some(Position { line, column }) = self.position else {
            return write!(f, ": {}", self.message);
        };
        write!(f, ":{line}:{column}: {}", self.message)?;
        let Some(text) = &self.line else { return Ok(()) };
        let characters: Vec<char> = text.chars().collect();
        // Of a long line what is around the place.
        let start = if column > SHOWN_BEFORE { column - 1 - SHOWN_BEFORE / 2 } else { 0 };
        let shown = characters.iter().skip(start).take(SHOWN);
        // A control character would move the caret, or the terminal's cursor.
        let plain = |c: &char| if c.is_control() { ' ' } else { *c };
        let shown: String = shown.map(plain).collect();
        let blanks = column.saturating_sub(1 + start);
        write!(f, "\n    {}\n    {:blanks$}^", shown.trim_end(), "")
    }
}

impl std::error::Error for Faults {}

/// `; did you mean "x"?`, or nothing if no candidate is close.
pub(crate) fn suggestion<'c>(wrong: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    // A third of the letters wrong is a slip; more is another word. Long texts are no slips, and cost.
    let at_most = (wrong.chars().take(64).count() / 3).max(1);
    let closest = candidates
        .filter(|_| wrong.len() <= 64)
        .map(|candidate| (strsim::damerau_levenshtein(wrong, candidate), candidate))
        .filter(|(distance, _)| *distance <= at_most)
        .min();
    closest.map(|(_, candidate)| format!("; did you mean {candidate:?}?")).unwrap_or_default()
}

/// Files that are wrong on purpose, `bad_*`, each beside what is said about it, `bad_*.err`.
#[cfg(test)]
pub(crate) mod ui {
    use std::fs;

    use super::*;

    #[track_caller]
    pub(crate) fn check(folder: &Path, extension: &str, read: impl Fn(&str, &str) -> Result<(), Faults>) {
        let is_blessing = std::env::var_os("LARDER_BLESS").is_some();
        let mut different = Vec::new();
        let mut seen = 0;
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|own| own != extension) {
                continue;
            }
            seen += 1;
            let name = path.file_name().unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let said = match read(name, &text) {
                Ok(()) => panic!("{name} is accepted"),
                Err(faults) => format!("{faults}\n"),
            };
            let golden = path.with_extension("err");
            if is_blessing {
                fs::write(golden, said).unwrap();
            } else if fs::read_to_string(golden).ok().as_ref() != Some(&said) {
                different.push(format!("{name}:\n{said}"));
            }
        }
        assert!(seen > 0, "no bad files in {}", folder.display());
        assert!(different.is_empty(), "not what the .err files say:\n{}", different.join("\n"));
    }
}
