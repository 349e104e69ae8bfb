//! Reading the tree of a TOML file with everything that is wrong noted down on the way.
//!
//! A [`Section`] is a table that knows which keys it was asked for: what is left at the end is unknown. A reader that
//! finds a wrong value notes the fault and returns `None`, and reading goes on.
//! Knows nothing of what the keys mean. Read next: `config/file.rs`.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use http::HeaderName;
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::units::{self, quoted};
use super::{BadValue, Fault, Position};

/// More than a person mends in one go; finding the line of each costs a walk through the text.
const MAX_FAULTS: usize = 100;

/// Collects faults while the tree is read.
pub(super) struct Report<'t> {
    text: &'t str,
    faults: RefCell<Vec<Fault>>,
}

pub(super) struct Section<'t> {
    report: &'t Report<'t>,
    path: String,
    span: Range<usize>,
    table: &'t DeTable<'t>,
    asked: Vec<&'static str>,
}

pub(super) struct Value<'t> {
    report: &'t Report<'t>,
    path: String,
    value: &'t Spanned<DeValue<'t>>,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, faults: RefCell::new(Vec::new()) }
    }

    pub(super) fn fault(&self, offset: usize, path: &str, message: impl Into<String>) {
        let mut faults = self.faults.borrow_mut();
        match faults.len() {
            0..MAX_FAULTS => faults.push(Fault::at(self.position(offset), path, message)),
            MAX_FAULTS => {
                faults.push(Fault::of_file(format!("more than {MAX_FAULTS} faults; these are some of them")))
            }
            _ => (),
        }
    }

    /// What follows a fault on the same line is mostly its echo, and is left out.
    pub(super) fn syntax_fault(&self, offset: usize, message: &str) {
        if self.faults.borrow().len() > MAX_FAULTS {
            return;
        }
        let line = self.position(offset).line;
        let is_echo = |fault: &Fault| fault.position.is_some_and(|position| position.line == line);
        if !self.faults.borrow().last().is_some_and(is_echo) {
            self.fault(offset, "", format!("not TOML: {message}"));
        }
    }

    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults.into_inner()
    }

    fn position(&self, offset: usize) -> Position {
        Position::after(self.text.get(..offset).unwrap_or(self.text))
    }
}

impl<'t> Section<'t> {
    pub(super) fn root(report: &'t Report<'t>, table: &'t Spanned<DeTable<'t>>) -> Self {
        Self { report, path: String::new(), span: 0..0, table: table.get_ref(), asked: Vec::new() }
    }

    /// From now on faults speak of `path` instead of a number in a list.
    pub(super) fn rename(&mut self, path: String) {
        self.path = path;
    }

    /// The value of a key that may be absent.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.asked.push(key);
        let value = self.table.get(key)?;
        Some(Value { report: self.report, path: self.path_of(key), value })
    }

    /// The value of a key whose absence is a fault. `example` is a line to write.
    pub(super) fn require(&mut self, key: &'static str, example: &str) -> Option<Value<'t>> {
        let value = self.get(key);
        if value.is_none() {
            self.fault(key, format!("missing; write for example: {example}"));
        }
        value
    }

    /// Notes a fault of this section that has no value to point at.
    pub(super) fn fault(&self, key: &str, message: impl Into<String>) {
        self.report.fault(self.span.start, &self.path_of(key), message);
    }

    /// All keys of a table whose keys are not known beforehand, with their values, in the order of the file.
    pub(super) fn entries(self) -> Vec<(&'t str, Value<'t>)> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&'t Spanned<_>, &'t Spanned<_>)| {
            let key: &'t std::borrow::Cow<'t, str> = key.get_ref();
            (&**key, Value { report: self.report, path: self.path_of(key), value })
        };
        entries.into_iter().map(entry).collect()
    }

    /// Every key that nobody asked for is a fault.
    pub(super) fn finish(self) {
        for key in self.table.keys().filter(|key| !self.asked.contains(&&**key.get_ref())) {
            let suggestion = suggestion(key.get_ref(), self.asked.iter().copied());
            let message = match suggestion.as_str() {
                "" => format!("unknown key; known here are {}", self.asked.join(", ")),
                suggestion => format!("unknown key{suggestion}"),
            };
            self.report.fault(key.span().start, &self.path_of(key.get_ref()), message);
        }
    }

    fn path_of(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path if path.ends_with('"') => format!("{path}: {key}"),
            path => format!("{path}.{key}"),
        }
    }
}

impl<'t> Value<'t> {
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn position(&self) -> Position {
        self.report.position(self.value.span().start)
    }

    pub(super) fn raw(&self) -> &'t DeValue<'t> {
        self.value.get_ref()
    }

    pub(super) fn fault(&self, message: impl Into<String>) {
        self.report.fault(self.value.span().start, &self.path, message);
    }

    /// Notes the fault at its own place, if the text stands in the file as it is.
    pub(super) fn bad(&self, bad: &BadValue) {
        let span = self.value.span();
        let inner = span.start + 1..span.end.saturating_sub(1);
        let is_plain =
            self.raw().as_str().is_some_and(|text| self.report.text.get(inner.clone()) == Some(text));
        let offset = bad.offset().filter(|_| is_plain).map_or(span.start, |offset| inner.start + offset);
        self.report.fault(offset, &self.path, bad.to_string());
    }

    pub(super) fn string(&self, example: &str) -> Option<&'t str> {
        let text = self.raw().as_str();
        if text.is_none() {
            self.fault(format!("expected a string, found {}; write for example {example}", kind(self.raw())));
        }
        text
    }

    pub(super) fn parse<T: FromStr<Err = BadValue>>(&self, example: &str) -> Option<T> {
        self.string(example)?.parse().map_err(|bad| self.bad(&bad)).ok()
    }

    pub(super) fn field_name(&self, example: &str) -> Option<HeaderName> {
        let text = self.string(example)?;
        let name = HeaderName::from_bytes(text.as_bytes()).ok();
        if name.is_none() {
            self.fault(format!("{} is not the name of a field; write for example {example}", quoted(text)));
        }
        name
    }

    pub(super) fn bool(&self) -> Option<bool> {
        let value = self.raw().as_bool();
        if value.is_none() {
            self.fault(format!("expected true or false, found {}", kind(self.raw())));
        }
        value
    }

    /// A number that is at least zero, whole or not.
    pub(super) fn factor(&self, at_most: f32) -> Option<f32> {
        let written = match self.raw() {
            DeValue::Float(number) => number.as_str().parse::<f32>().ok(),
            DeValue::Integer(number) => number.as_str().parse::<f32>().ok(),
            DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        let factor = written.filter(|number| (0.0..=at_most).contains(number));
        if factor.is_none() {
            self.fault(format!("expected a number from 0 to {at_most}, found {}", kind(self.raw())));
        }
        factor
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(&format!("{:?}", words.first().map_or("", |(word, _)| word)))?;
        let known = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if known.is_none() {
            let all: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            let suggestion = suggestion(text, words.iter().map(|(word, _)| *word));
            self.fault(format!("{} is none of {}{suggestion}", quoted(text), all.join(", ")));
        }
        known
    }

    pub(super) fn count(&self, range: RangeInclusive<usize>) -> Option<usize> {
        let Some(number) = self.raw().as_integer() else {
            self.fault(format!("expected a whole number, found {}", kind(self.raw())));
            return None;
        };
        let count = usize::from_str_radix(number.as_str(), number.radix()).ok();
        let count = count.filter(|count| range.contains(count));
        if count.is_none() {
            let (least, most) = (range.start(), range.end());
            self.fault(format!("expected a whole number from {least} to {most}, found {number}"));
        }
        count
    }

    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        if let Some(number) = self.raw().as_integer() {
            self.fault(format!("{number} has no unit; write \"{number}s\" for seconds"));
            return None;
        }
        let text = self.string(units::DURATION_EXAMPLES)?;
        let duration = units::duration(text).map_err(|bad| self.bad(&bad)).ok()?;
        if !range.contains(&duration) {
            let (least, most) = (units::duration_text(*range.start()), units::duration_text(*range.end()));
            self.fault(format!("{} is out of range: from \"{least}\" to \"{most}\"", quoted(text)));
            return None;
        }
        Some(duration)
    }

    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        if let Some(number) = self.raw().as_integer() {
            let examples = units::SIZE_EXAMPLES;
            self.fault(format!(
                "{number} has no unit; write \"{number}B\" for bytes, or for example {examples}"
            ));
            return None;
        }
        let text = self.string(units::SIZE_EXAMPLES)?;
        let bytes = units::size(text).map_err(|bad| self.bad(&bad)).ok()?;
        if !range.contains(&bytes) {
            let (least, most) = (units::size_text(*range.start()), units::size_text(*range.end()));
            self.fault(format!("{} is out of range: from \"{least}\" to \"{most}\"", quoted(text)));
            return None;
        }
        Some(bytes)
    }

    /// The values of a list; those after `at_most` are left out. Of a lone value where a list should be, the fault says how to write it.
    pub(super) fn list(&self, at_most: usize) -> Option<Vec<Value<'t>>> {
        let DeValue::Array(items) = self.raw() else {
            let span = self.value.span();
            let written = self.report.text.get(span).filter(|text| text.len() < 80 && !text.contains('\n'));
            self.fault(match (self.raw(), written) {
                (DeValue::Table(_), _) => {
                    // `route "a": policies` is written `route.policies`.
                    let heading = self.path.split_once(" \"").zip(self.path.rsplit_once("\": "));
                    let heading = heading.map(|((section, _), (_, key))| format!("{section}.{key}"));
                    let heading = heading.as_deref().unwrap_or(&self.path);
                    format!("expected a list; write [[{heading}]] in double brackets")
                }
                (_, Some(written)) => format!("expected a list; write [{written}]"),
                (other, None) => format!("expected a list, found {}", kind(other)),
            });
            return None;
        };
        let item =
            |(index, value)| Value { report: self.report, path: format!("{}[{index}]", self.path), value };
        if items.len() > at_most {
            self.fault(format!("has {} parts; at most {at_most} are allowed", items.len()));
        }
        Some(items.iter().enumerate().take(at_most).map(item).collect())
    }

    pub(super) fn section(&self) -> Option<Section<'t>> {
        let DeValue::Table(table) = self.raw() else {
            self.fault(format!("expected a table, found {}", kind(self.raw())));
            return None;
        };
        let (path, span) = (self.path.clone(), self.value.span());
        Some(Section { report: self.report, path, span, table, asked: Vec::new() })
    }
}

/// `; did you mean "x"?`, or nothing if no candidate is close.
pub(super) fn suggestion<'c>(wrong: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    // A third of the letters wrong is a slip; more is another word. Long texts are no slips, and cost.
    let at_most = (wrong.chars().take(64).count() / 3).max(1);
    let closest = candidates
        .filter(|_| wrong.len() <= 64)
        .map(|candidate| (strsim::damerau_levenshtein(wrong, candidate), candidate))
        .filter(|(distance, _)| *distance <= at_most)
        .min();
    closest.map(|(_, candidate)| format!("; did you mean {candidate:?}?")).unwrap_or_default()
}

pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
