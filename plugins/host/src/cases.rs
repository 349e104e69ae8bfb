//! Recorded cases: what a request and a response look like, and what a policy has to decide about them.
//!
//! A case file is JSON (`docs/policies.md`). This reads it, puts its values to a loaded policy and says where the
//! decision differs from what is expected. It knows nothing of folders and terminals: `larder policy test` has those,
//! and `load.rs` runs the cases that a component carries with it.

use std::{collections::BTreeMap, fmt};

use http::{HeaderMap, Method};
use serde_json::Value;

use crate::{
    call::Instances,
    decision::{Inputs, RequestDecision, ResponseDecision},
    inputs::{RequestView, Values},
    policy::Policy,
};

mod difference;
mod file;

pub use difference::Difference;

/// A file of cases is written by hand or by `--bless`: far more is a mistake.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// Cases in one file.
const CASES_MAX: usize = 1_000;

/// One case. It has been read: its names are names, its values can stand in a field.
#[derive(Debug, Clone)]
pub struct Case {
    name: Option<String>,
    settings: Value,
    request: Given,
    response: Option<GivenResponse>,
    expected: Decided,
    /// As it stands in the file, to be written again with what was decided.
    file: file::Case,
}

#[derive(Debug, Clone)]
struct Given {
    method: Method,
    host: String,
    path: String,
    query: Option<String>,
    fields: HeaderMap,
    captures: BTreeMap<String, String>,
    time_s: u64,
    decided: &'static str,
}

#[derive(Debug, Clone)]
struct GivenResponse {
    status: u16,
    fields: HeaderMap,
    ttl_ms: Option<u64>,
}

/// What was decided, or is expected to be, as the JSON of a case file. `None`: the policy was not asked, or nothing
/// is expected.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decided {
    pub request: Option<Value>,
    pub response: Option<Value>,
}

/// The values that a case puts to a policy, in the order in which a call takes them.
#[derive(Debug)]
pub struct CaseValues<'c> {
    pub request: Values<'c>,
    /// The status and the values of the response, where the case has one.
    pub response: Option<(u16, Values<'c>)>,
}

/// Why a case came to no decision.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The proxy would not ask the policy about such a message either.
    #[error("the {0} is not put to the policy: a cookie is there twice, or a value is not text")]
    NotAsked(&'static str),
    #[error(transparent)]
    Fault(#[from] crate::Fault),
}

impl Case {
    /// Reads a file, or the text of a self-test: one case or a list of them. The error names what is unknown or wrong,
    /// and where.
    pub fn read(text: &str) -> Result<Vec<Case>, String> {
        if text.len() > FILE_BYTES_MAX {
            return Err(format!("{} bytes: at most {FILE_BYTES_MAX} are taken", text.len()));
        }
        let files: Vec<file::Case> = if text.trim_start().starts_with('[') {
            serde_json::from_str(text).map_err(|error| error.to_string())?
        } else {
            vec![serde_json::from_str(text).map_err(|error| error.to_string())?]
        };
        if files.len() > CASES_MAX {
            return Err(format!("{} cases: at most {CASES_MAX} are taken", files.len()));
        }
        let is_one = files.len() == 1;
        let read = |(number, file): (usize, file::Case)| {
            let place = if is_one { String::new() } else { format!("case {}: ", number + 1) };
            file.check().map_err(|fault| format!("{place}{fault}"))
        };
        files.into_iter().enumerate().map(read).collect()
    }

    /// The text of a file with these cases: one of them as it is, several as a list.
    pub fn write(cases: &[Case]) -> String {
        let mut text = match cases {
            [one] => serde_json::to_string_pretty(&one.file),
            several => {
                serde_json::to_string_pretty(&several.iter().map(|case| &case.file).collect::<Vec<_>>())
            }
        }
        // Maps with texts as keys, numbers and texts: none of these cannot be written.
        .unwrap_or_default();
        text.push('\n');
        text
    }

    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What the policy has to be loaded with.
    pub fn settings(&self) -> &Value {
        &self.settings
    }

    /// Whether a response is given, and so the response policy asked.
    pub fn has_response(&self) -> bool {
        self.response.is_some()
    }

    /// The same case, expecting this.
    pub fn expecting(mut self, decided: &Decided) -> Case {
        self.file.expect = file::Expect::of(decided);
        self.expected = decided.clone();
        self
    }

    /// What is put to a policy with these inputs.
    pub fn values(&self, inputs: &Inputs) -> Result<CaseValues<'_>, CaseError> {
        let Given { method, host, path, query, fields, captures, time_s, decided } = &self.request;
        let view =
            RequestView { method, host, path, query: query.as_deref(), fields, time_s: *time_s, decided };
        let capture = |name: &str| captures.get(name).map(String::as_str);
        let request = Values::of_request(inputs, &view, capture).ok_or(CaseError::NotAsked("request"))?;
        let response = match &self.response {
            None => None,
            Some(GivenResponse { status, fields, ttl_ms }) => {
                let values = Values::of_response(inputs, fields, *ttl_ms);
                Some((*status, values.ok_or(CaseError::NotAsked("response"))?))
            }
        };
        Ok(CaseValues { request, response })
    }

    /// What the policy decides. It has to be loaded with the settings of this case.
    pub fn decide(&self, policy: &Policy, instances: &mut Instances) -> Result<Decided, CaseError> {
        let values = self.values(policy.inputs())?;
        let request_values = values.request.as_slices();
        let mut decided = Decided::default();
        if policy.decides_requests() {
            decided.request = Some(request_decision_json(&*instances.on_request(policy, &request_values)?));
        }
        if let Some((status, response)) = &values.response
            && policy.decides_responses()
        {
            let decision = instances.on_response(policy, *status, &request_values, &response.as_slices())?;
            decided.response = Some(response_decision_json(&decision));
        }
        Ok(decided)
    }

    /// Where a decision is not the expected one; empty: it is. What the case says nothing about is not compared, but a
    /// case that expects nothing at all differs from everything.
    pub fn differences(&self, decided: &Decided) -> Vec<Difference> {
        let mut differences = Vec::new();
        if self.expected == Decided::default() {
            difference::add("expect", None, whole(decided).as_ref(), &mut differences);
        }
        for (name, expected, got) in [
            ("request", &self.expected.request, &decided.request),
            ("response", &self.expected.response, &decided.response),
        ] {
            if let Some(expected) = expected {
                difference::add(name, Some(expected), got.as_ref(), &mut differences);
            }
        }
        differences
    }

    /// Decides and compares: `Err` says in one line why the case failed. For self-tests.
    pub fn check(&self, policy: &Policy, instances: &mut Instances) -> Result<(), String> {
        let decided = self.decide(policy, instances).map_err(|error| error.to_string())?;
        let differences: Vec<_> = self.differences(&decided).iter().map(Difference::to_string).collect();
        if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
    }
}

fn whole(decided: &Decided) -> Option<Value> {
    serde_json::to_value(file::Expect::of(decided)).ok()
}

impl fmt::Display for Case {
    /// Its name, or else what it asks.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => out.write_str(name),
            None => {
                let Given { method, host, path, query, .. } = &self.request;
                write!(out, "{method} http://{host}{path}")?;
                query.iter().try_for_each(|query| write!(out, "?{query}"))
            }
        }
    }
}

/// As it stands in a case file.
pub fn request_decision_json(decision: &RequestDecision) -> Value {
    // Nothing in it cannot be written.
    serde_json::to_value(file::RequestDecision::from(decision)).unwrap_or_default()
}

/// As it stands in a case file.
pub fn response_decision_json(decision: &ResponseDecision) -> Value {
    serde_json::to_value(file::ResponseDecision::from(decision)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
