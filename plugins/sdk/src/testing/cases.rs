//! Case files, replayed without WebAssembly: the files that `larder policy test` puts to the component.
//!
//! What stands in them is said in `docs/policies.md`. The host has a reader of its own, which the proxy's rules for messages are a
//! part of; that the two agree is tested by replaying the same files both ways.

use std::{fs, path::Path};

use super::{Tester, case_file, case_file::Case};
use crate::{Json, Policy, RequestDecision, ResponseDecision, glue::Configured};

/// A policy with an [`export!`](crate::export!): which of its decisions its component has.
pub trait Exported: Policy {
    /// `None`: it does not decide requests.
    #[doc(hidden)]
    fn exported_on_request(_: &Exports<'_, Self>) -> Option<RequestDecision> {
        None
    }

    /// `None`: it does not decide responses.
    #[doc(hidden)]
    fn exported_on_response(_: &Exports<'_, Self>, _: u16) -> Option<ResponseDecision> {
        None
    }
}

/// A policy, and what is put to it.
#[doc(hidden)]
pub struct Exports<'a, P> {
    pub(super) configured: &'a Configured<P>,
    pub(super) request_values: Vec<Option<String>>,
    pub(super) response_values: Vec<Option<String>>,
}

/// Replays all cases of a folder, one of the package whose tests run: `check_cases::<PerCurrency>("cases")`.
///
/// # Panics
/// A decision is not the expected one, and where; or a file is no case file; or there is none.
#[track_caller]
pub fn check_cases<P: Exported>(folder: impl AsRef<Path>) {
    let folder = folder.as_ref();
    let mut files = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>(),
        Err(error) => panic!("read {}: {error}", folder.display()),
    };
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort_unstable();
    let mut failed = Vec::new();
    let mut count = 0;
    for path in &files {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let outcome = replay::<P>(&stem, &text).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
        count += outcome.count;
        failed.extend(outcome.failed);
    }
    assert!(count > 0, "{}: no cases", folder.display());
    assert!(failed.is_empty(), "{} of {count} cases failed\n\n{}\n", failed.len(), failed.join("\n\n"));
}

pub(crate) struct Outcome {
    pub(crate) count: usize,
    /// Each with its title, and where it parts.
    pub(crate) failed: Vec<String>,
}

/// Replays the cases of a file of this name. `Err`: it is no case file.
pub(crate) fn replay<P: Exported>(stem: &str, text: &str) -> Result<Outcome, String> {
    let cases = case_file::read(text)?;
    let is_one = cases.len() == 1;
    let mut failed = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        if let Err(why) = check::<P>(case) {
            let number = if is_one { String::new() } else { format!("[{}]", number + 1) };
            failed.push(format!("{stem}{number}: {}\n{why}", case.name));
        }
    }
    Ok(Outcome { count: cases.len(), failed })
}

/// `Err` has a line for each thing that is wrong, or three where two values part.
fn check<P: Exported>(case: &Case) -> Result<(), String> {
    let one_line = |fault: String| format!("        {fault}");
    let Tester { configured, inputs } = Tester::<P>::new(&case.settings).map_err(one_line)?;
    let mut exports = Exports {
        configured: &configured,
        request_values: super::request_values(&inputs, &case.request).map_err(one_line)?,
        response_values: Vec::new(),
    };
    let request = P::exported_on_request(&exports).map(|decision| case_file::request_json(&decision));
    let mut response = None;
    if let Some((status, given)) = &case.response {
        exports.response_values = super::response_values(&inputs, given);
        response =
            P::exported_on_response(&exports, *status).map(|decision| case_file::response_json(&decision));
    }
    let mut parts = Vec::new();
    if case.expected_request.is_none() && case.expected_response.is_none() {
        parts.push(part("expect", "something", &shown(request.as_ref().or(response.as_ref()))));
    }
    for (name, expected, got) in
        [("request", &case.expected_request, &request), ("response", &case.expected_response, &response)]
    {
        if expected.is_some() {
            compare(name, expected.as_ref(), got.as_ref(), &mut parts);
        }
    }
    if parts.is_empty() { Ok(()) } else { Err(parts.join("\n")) }
}

/// Where two values part, each by its place.
fn compare(place: &str, expected: Option<&Json>, got: Option<&Json>, parts: &mut Vec<String>) {
    match (expected, got) {
        (Some(Json::Object(one)), Some(Json::Object(two)))
            // Two decisions of other kinds are told as a whole: their members have nothing to do with each other.
            if one.is_empty() || two.is_empty() || one.iter().any(|(name, _)| two.iter().any(|(it, _)| it == name)) =>
        {
            let mut names: Vec<_> = one.iter().chain(two).map(|(name, _)| name).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let of = |value: Option<&Json>| value.and_then(|value| value.get(name)).cloned();
                compare(&format!("{place}.{name}"), of(expected).as_ref(), of(got).as_ref(), parts);
            }
        }
        (Some(Json::List(one)), Some(Json::List(two))) => {
            for index in 0..one.len().max(two.len()) {
                compare(&format!("{place}[{index}]"), one.get(index), two.get(index), parts);
            }
        }
        (expected, got) if expected == got => (),
        (expected, got) => parts.push(part(place, &shown(expected), &shown(got))),
    }
}

fn part(place: &str, expected: &str, got: &str) -> String {
    format!("        {place}\n          - expected {expected}\n          + got      {got}")
}

fn shown(value: Option<&Json>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Json::to_string)
}

#[cfg(test)]
mod tests;
