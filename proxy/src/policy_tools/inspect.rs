//! `larder policy inspect`: what a component is, without putting it to use.

use std::io::Write;

use plugin_host::{Inputs, Inspection};
use serde_json::{Value, json};

use super::{ToolError, engine, read_component, size};
use crate::cli::PolicyInspect;

/// Prints what the component says of itself, and what it imports and exports.
///
/// # Errors
/// It cannot be read, or is none that this program would load under any settings.
pub fn inspect(wanted: &PolicyInspect, out: &mut dyn Write) -> Result<(), ToolError> {
    let wasm = read_component(&wanted.file)?;
    let inspection = engine()?.inspect(&wanted.file.display().to_string(), &wasm)?;
    if wanted.json {
        writeln!(out, "{:#}", as_json(&inspection, wasm.len()))?;
        return Ok(());
    }
    let mut line = |name: &str, value: &str| writeln!(out, "{name:12} {value}");
    if let Some(described) = &inspection.described {
        line("policy", &format!("{} {}", described.name, described.version))?;
    }
    line("contract", &format!("larder:policy@{}", inspection.contract_version))?;
    line("size", &size(wasm.len()))?;
    line("decides", decides(&inspection))?;
    if let Some(described) = &inspection.described {
        match &described.inputs {
            Some(inputs) => line("reads", &reads(inputs))?,
            None => line("reads", "what its settings say; it does not work without")?,
        }
        line(
            "self-test",
            &match described.self_tests {
                0 => "none".to_owned(),
                1 => "1 file of cases".to_owned(),
                several => format!("{several} files of cases"),
            },
        )?;
        lines("settings", &settings_in_words(&described.settings_schema), &mut line)?;
    }
    lines("exports", &inspection.exports, &mut line)?;
    let (stubbed, refused): (Vec<_>, Vec<_>) =
        inspection.imports.iter().partition(|import| import.is_stubbed);
    let names = |imports: Vec<&plugin_host::Import>| {
        imports.iter().map(|import| import.name.clone()).collect::<Vec<_>>()
    };
    lines("imports", &names(stubbed), &mut line)?;
    if inspection.imports.iter().any(|import| import.is_stubbed) {
        line("", "(they are there and lead nowhere: no clock, no files, no network)")?;
    }
    if !refused.is_empty() {
        lines("refused", &names(refused), &mut line)?;
        line("", "(a component that imports these is not loaded)")?;
    }
    Ok(())
}

/// The first beside the name, the others below it.
fn lines(
    name: &str,
    values: &[String],
    line: &mut impl FnMut(&str, &str) -> std::io::Result<()>,
) -> std::io::Result<()> {
    if values.is_empty() {
        return line(name, "none");
    }
    values.iter().enumerate().try_for_each(|(number, value)| line(if number == 0 { name } else { "" }, value))
}

fn as_json(inspection: &Inspection, bytes: usize) -> Value {
    let imports = |stubbed: bool| {
        let of_kind = inspection.imports.iter().filter(|import| import.is_stubbed == stubbed);
        of_kind.map(|import| import.name.as_str()).collect::<Vec<_>>()
    };
    let described = inspection.described.as_ref();
    json!({
        "name": described.map(|described| &described.name),
        "version": described.map(|described| &described.version),
        "contract": inspection.contract_version,
        "bytes": bytes,
        "decides": { "requests": inspection.decides_requests, "responses": inspection.decides_responses },
        "inputs": described.and_then(|described| described.inputs.as_ref()).map(inputs_json),
        "self_tests": described.map(|described| described.self_tests),
        "settings_schema": described.map(|described| &described.settings_schema),
        "exports": inspection.exports,
        "imports": { "stubbed": imports(true), "refused": imports(false) },
    })
}

fn inputs_json(inputs: &Inputs) -> Value {
    let names =
        |fields: &[http::HeaderName]| fields.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    json!({
        "fields": names(&inputs.request_fields),
        "parameters": inputs.query_parameters,
        "cookies": inputs.cookies,
        "captures": inputs.captures,
        "method": inputs.method,
        "host": inputs.host,
        "path": inputs.path,
        "query": inputs.query,
        "time": inputs.time,
        "decided": inputs.decided,
        "response_fields": names(&inputs.response_fields),
        "ttl": inputs.ttl,
    })
}

fn decides(inspection: &Inspection) -> &'static str {
    match (inspection.decides_requests, inspection.decides_responses) {
        (true, true) => "requests and responses",
        (true, false) => "requests",
        (false, true) => "responses",
        (false, false) => "nothing",
    }
}

fn reads(inputs: &Inputs) -> String {
    let mut names: Vec<String> = Vec::new();
    names.extend(inputs.request_fields.iter().map(|name| format!("field {name}")));
    names.extend(inputs.query_parameters.iter().map(|name| format!("parameter {name}")));
    names.extend(inputs.cookies.iter().map(|name| format!("cookie {name}")));
    names.extend(inputs.captures.iter().map(|name| format!("capture {name}")));
    for (is_wanted, what) in [
        (inputs.method, "method"),
        (inputs.host, "host"),
        (inputs.path, "path"),
        (inputs.query, "query"),
        (inputs.time, "time (so that nothing is remembered)"),
        (inputs.decided, "what was decided before"),
    ] {
        names.extend(is_wanted.then(|| what.to_owned()));
    }
    names.extend(inputs.response_fields.iter().map(|name| format!("response field {name}")));
    names.extend(inputs.ttl.then(|| "lifetime so far".to_owned()));
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// A line for each setting: its name, what it may be, and what the schema says about it.
fn settings_in_words(schema: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    members("", schema, &mut lines);
    lines
}

fn members(prefix: &str, schema: &Value, lines: &mut Vec<String>) {
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        let mut line = format!("{path}: {}", kind(member));
        if required.contains(&name.as_str()) {
            line.push_str(", required");
        }
        if let Some(default) = member.get("default") {
            line.push_str(&format!(", default {default}"));
        }
        if let Some(text) = member["description"].as_str() {
            line.push_str(&format!(" - {}", text.replace('\n', " ")));
        }
        lines.push(line);
        members(&format!("{path}."), member, lines);
        members(&format!("{path}[]."), &member["items"], lines);
    }
    if schema["additionalProperties"].is_object() {
        lines.push(format!("{prefix}NAME: {}", kind(&schema["additionalProperties"])));
        members(&format!("{prefix}NAME."), &schema["additionalProperties"], lines);
    }
}

/// What a value may be, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(only) = schema.get("const") {
        return only.to_string();
    }
    if let Some(values) = schema["enum"].as_array() {
        return format!("one of {}", joined(values.iter().map(Value::to_string), ", "));
    }
    for several in ["anyOf", "oneOf"] {
        if let Some(schemas) = schema[several].as_array() {
            return joined(schemas.iter().map(kind), " or ");
        }
    }
    let one = |name: &Value| match name.as_str() {
        Some("array") if schema["items"].is_object() => format!("list of {}", kind(&schema["items"])),
        Some(name) => name.to_owned(),
        None => "anything".to_owned(),
    };
    let mut text = match schema["type"].as_array() {
        Some(types) => joined(types.iter().map(one), " or "),
        None => one(&schema["type"]),
    };
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(minimum), Some(maximum)) => text.push_str(&format!(" from {minimum} to {maximum}")),
        (Some(minimum), None) => text.push_str(&format!(" from {minimum}")),
        (None, Some(maximum)) => text.push_str(&format!(" up to {maximum}")),
        (None, None) => (),
    }
    text
}

fn joined(words: impl Iterator<Item = String>, between: &str) -> String {
    words.collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_said_in_words() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["header"],
            "properties": {
                "header": { "type": "string", "description": "who is\nasked" },
                "mode": { "enum": ["a", "b"], "default": "a" },
                "ttl": { "type": ["string", "integer"], "minimum": 1, "maximum": 60 },
                "rules": { "type": "array", "items": { "type": "object", "properties": {
                    "status": { "type": "integer", "minimum": 100 }, "to": { "anyOf": [{ "type": "null" }, { "const": "x" }] } } } },
                "by_tenant": { "type": "object", "additionalProperties": { "type": "string" } },
            }
        });
        let mut found = settings_in_words(&schema);
        // The order of members of an object is not said by the schema.
        found.sort();
        assert_eq!(
            found,
            [
                "by_tenant.NAME: string",
                "by_tenant: object",
                "header: string, required - who is asked",
                "mode: one of \"a\", \"b\", default \"a\"",
                "rules: list of object",
                "rules[].status: integer from 100",
                "rules[].to: null or \"x\"",
                "ttl: string or integer from 1 to 60",
            ]
        );
        assert!(settings_in_words(&json!({ "type": "object" })).is_empty());
    }
}
