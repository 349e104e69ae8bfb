//! Reading the tree of a TOML file with everything that is wrong noted down on the way.
//!
//! A [`Section`] is a table that knows which keys it was asked for: what is left at the end is unknown.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use crate::faults::{Faults, Position, suggestion};

pub(super) struct Report<'t> {
    path: &'t Path,
    text: &'t str,
    faults: RefCell<Faults>,
}

pub(super) struct Section<'t> {
    report: &'t Report<'t>,
    name: String,
    table: Option<&'t DeTable<'t>>,
    asked: Vec<&'static str>,
}

pub(super) struct Value<'t> {
    report: &'t Report<'t>,
    name: String,
    value: &'t Spanned<DeValue<'t>>,
}

impl<'t> Report<'t> {
    pub(super) fn new(path: &'t Path, text: &'t str) -> Self {
        Self { path, text, faults: RefCell::default() }
    }

    pub(super) fn fault_of_file(&self, message: String) {
        self.faults.borrow_mut().push(self.path, None, message);
    }

    pub(super) fn into_faults(self) -> Faults {
        self.faults.into_inner()
    }

    fn fault(&self, offset: usize, name: &str, message: impl Display) {
        let position = Position::of(self.text, offset);
        self.faults.borrow_mut().push(self.path, Some(position), format!("{name}: {message}"));
    }
}

impl<'t> Section<'t> {
    pub(super) fn root(report: &'t Report<'t>, table: &'t DeTable<'t>) -> Self {
        Self { report, name: String::new(), table: Some(table), asked: Vec::new() }
    }

    /// A table that the file does not have.
    pub(super) fn empty(report: &'t Report<'t>, name: &str) -> Self {
        Self { report, name: name.to_owned(), table: None, asked: Vec::new() }
    }

    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.asked.push(key);
        let value = self.table?.get(key)?;
        Some(Value { report: self.report, name: self.name_of(key), value })
    }

    /// All keys and their values, of a table whose keys are names of the writer's own.
    pub(super) fn entries(&self) -> Vec<(&'t str, Value<'t>)> {
        let entries = self.table.into_iter().flat_map(|table| table.iter());
        let entry = |(key, value): (&'t Spanned<std::borrow::Cow<'t, str>>, _)| {
            let key: &'t str = key.get_ref();
            (key, Value { report: self.report, name: self.name_of(key), value })
        };
        entries.map(entry).collect()
    }

    /// Every key that nobody asked for is a fault.
    pub(super) fn finish(self) {
        let keys = self.table.into_iter().flat_map(|table| table.keys());
        for key in keys.filter(|key| !self.asked.contains(&&**key.get_ref())) {
            let message = match suggestion(key.get_ref(), self.asked.iter().copied()).as_str() {
                "" => format!("unknown key; known here are {}", self.asked.join(", ")),
                suggestion => format!("unknown key{suggestion}"),
            };
            self.report.fault(key.span().start, &self.name_of(key.get_ref()), message);
        }
    }

    fn name_of(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

impl<'t> Value<'t> {
    fn raw(&self) -> &'t DeValue<'t> {
        self.value.get_ref()
    }

    pub(super) fn fault(&self, message: impl Display) {
        self.report.fault(self.value.span().start, &self.name, message);
    }

    pub(super) fn string(&self, example: &str) -> Option<&'t str> {
        let text = self.raw().as_str();
        if text.is_none() {
            self.fault(format!("expected a string, found {}; write for example {example}", kind(self.raw())));
        }
        text
    }

    pub(super) fn parse<T: FromStr<Err: Display>>(&self, example: &str) -> Option<T> {
        let parsed = self.string(example)?.parse();
        parsed.map_err(|why| self.fault(format!("{why}; write for example {example}"))).ok()
    }

    pub(super) fn count(&self, range: RangeInclusive<usize>) -> Option<usize> {
        let number = match self.raw() {
            DeValue::Integer(number) => usize::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.fault(format!("expected a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// For what can be switched off: the word `off`.
    pub(super) fn is_off(&self) -> bool {
        self.raw().as_str() == Some("off")
    }

    /// From 0 to 100, with decimals or without.
    pub(super) fn percent(&self) -> Option<f64> {
        let number = match self.raw() {
            DeValue::Integer(number) => number.as_str().parse().ok(),
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        let number = number.filter(|number| (0.0..=100.0).contains(number));
        if number.is_none() {
            self.fault("expected a percentage from 0 to 100, or \"off\"");
        }
        number
    }

    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let duration = super::duration(self.string("\"30s\"")?).map_err(|why| self.fault(why)).ok()?;
        if !range.contains(&duration) {
            self.fault(format!("out of range: from {:?} to {:?}", range.start(), range.end()));
            return None;
        }
        Some(duration)
    }

    pub(super) fn list(&self) -> Option<Vec<Value<'t>>> {
        let DeValue::Array(items) = self.raw() else {
            self.fault(format!("expected a list, found {}; write it in brackets: [...]", kind(self.raw())));
            return None;
        };
        let item =
            |(index, value)| Value { report: self.report, name: format!("{}[{index}]", self.name), value };
        Some(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn section(&self) -> Option<Section<'t>> {
        let DeValue::Table(table) = self.raw() else {
            self.fault(format!("expected a table, found {}; write [{}]", kind(self.raw()), self.name));
            return None;
        };
        Some(Section { report: self.report, name: self.name.clone(), table: Some(table), asked: Vec::new() })
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
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
