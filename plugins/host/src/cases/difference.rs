//! Where two JSON values differ, member by member.

use std::fmt;

use serde_json::Value;

/// One place where what was decided is not what was expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// As in `request.look_up.key_parts[1]`.
    pub path: String,
    /// `None`: nothing was expected there.
    pub expected: Option<Value>,
    pub got: Option<Value>,
}

/// Longer values are cut in the one-line form.
const SHOWN_CHARACTERS_MAX: usize = 200;

impl Difference {
    pub fn expected_text(&self) -> String {
        shown(self.expected.as_ref())
    }

    pub fn got_text(&self) -> String {
        shown(self.got.as_ref())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: expected {}, got {}", self.path, self.expected_text(), self.got_text())
    }
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

pub(super) fn add(
    path: &str,
    expected: Option<&Value>,
    got: Option<&Value>,
    differences: &mut Vec<Difference>,
) {
    match (expected, got) {
        (Some(Value::Object(expected)), Some(Value::Object(got)))
            // Two decisions of other kinds are told as a whole: their members have nothing to do with each other.
            if expected.is_empty() || got.is_empty() || expected.keys().any(|name| got.contains_key(name)) =>
        {
            let mut names: Vec<_> = expected.keys().chain(got.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                add(&format!("{path}.{name}"), expected.get(name), got.get(name), differences);
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(got))) => {
            for index in 0..expected.len().max(got.len()) {
                add(&format!("{path}[{index}]"), expected.get(index), got.get(index), differences);
            }
        }
        (expected, got) => {
            if expected != got {
                let (expected, got) = (expected.cloned(), got.cloned());
                differences.push(Difference { path: path.to_owned(), expected, got });
            }
        }
    }
}
