//! What policies a route or all routes have: `policy`, `policies`, `[[policy]]`, and `[policies]` for all of them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Number};
use toml::de::{DeTable, DeValue};

use super::super::section::kind;
use super::super::{OnFault, PolicyUse};
use super::{Section, Value};

/// Settings are parameters of a policy, not data.
const MAX_SETTINGS_BYTES: usize = 64 << 10;
/// In one list. Each is asked at every request.
const MAX_POLICIES: usize = 16;
const ON_FAULT: [(&str, OnFault); 3] =
    [("pass", OnFault::Pass), ("fail", OnFault::Fail), ("default", OnFault::Default)];

/// A list of them, in their order.
pub(super) fn policies(value: &Value<'_>, file: &Path) -> Vec<PolicyUse> {
    let items = value.list(MAX_POLICIES).unwrap_or_default();
    items.iter().filter_map(|item| policy(item.section()?, file)).collect()
}

/// The section `[policies]`.
pub(super) fn code_cache(mut section: Section<'_>, file: &Path) -> Option<PathBuf> {
    const EXAMPLE: &str = "\"/var/cache/larder\"";
    let value = section.get("code_cache");
    section.finish();
    let value = value?;
    let name = value.string(EXAMPLE)?;
    if name.is_empty() {
        value.fault(format!("is empty; write for example {EXAMPLE}"));
    }
    Some(file.parent().unwrap_or(Path::new("")).join(name))
}

pub(super) fn policy(mut section: Section<'_>, file: &Path) -> Option<PolicyUse> {
    const COMPONENT_EXAMPLE: &str = "\"policies/tenant.wasm\"";
    let component = section.require("component", &format!("component = {COMPONENT_EXAMPLE}"));
    let settings = section.get("settings").and_then(|value| settings(&value));
    let on_fault = section.get("on_fault").and_then(|value| value.word(&ON_FAULT));
    section.finish();
    let component = component?;
    let name = component.string(COMPONENT_EXAMPLE)?;
    if name.is_empty() {
        component.fault(format!("is empty; write for example {COMPONENT_EXAMPLE}"));
    }
    Some(PolicyUse {
        component: file.parent().unwrap_or(Path::new("")).join(name),
        settings: settings.unwrap_or_else(|| serde_json::Value::Object(Map::new())),
        on_fault: on_fault.unwrap_or(OnFault::Pass),
        position: component.position(),
        path_in_file: component.path().to_owned(),
    })
}

fn settings(value: &Value<'_>) -> Option<serde_json::Value> {
    let DeValue::Table(table) = value.raw() else {
        value.fault(format!("expected a table, found {}", kind(value.raw())));
        return None;
    };
    let json = json_object(table).map_err(|why| value.fault(why)).ok()?;
    let size_bytes = json.to_string().len();
    if size_bytes > MAX_SETTINGS_BYTES {
        value.fault(format!(
            "settings have at most {MAX_SETTINGS_BYTES} bytes as JSON, these have {size_bytes}"
        ));
    }
    Some(json)
}

fn json_object(table: &DeTable<'_>) -> Result<serde_json::Value, String> {
    let pair = |(key, value): (&serde_spanned::Spanned<_>, &serde_spanned::Spanned<_>)| {
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        Ok((key.to_string(), json(value.get_ref()).map_err(|why| format!("{key}: {why}"))?))
    };
    table.iter().map(pair).collect::<Result<Map<_, _>, String>>().map(serde_json::Value::Object)
}

/// The parser bounds how deep values nest, so this may recurse.
fn json(value: &DeValue<'_>) -> Result<serde_json::Value, String> {
    match value {
        DeValue::String(text) => Ok(text.as_ref().into()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Into::into)
            .map_err(|_| format!("{number} does not fit into 64 bits")),
        DeValue::Float(number) => {
            let float = number.as_str().parse().ok().and_then(Number::from_f64);
            float.map(serde_json::Value::Number).ok_or_else(|| format!("{number} cannot be written in JSON"))
        }
        DeValue::Boolean(value) => Ok((*value).into()),
        // JSON has no dates; policies read them as text.
        DeValue::Datetime(date) => Ok(date.to_string().into()),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect::<Result<_, _>>(),
        DeValue::Table(table) => json_object(table),
    }
}
