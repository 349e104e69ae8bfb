//! Schemas of values: of parameters, by what their header says, and of members of rows, by what Postgres says.

use serde_json::{Map, Value, json};
use tokio_postgres::types::{Kind, Type};

use crate::catalogue::prepare::{Member, MemberValue};
use crate::catalogue::{Absent, In, Param};

/// By the name that Postgres has for a type.
fn of_type(name: &str) -> Value {
    match name {
        "int2" | "int4" => json!({ "type": "integer", "format": "int32" }),
        "int8" => json!({ "type": "integer", "format": "int64" }),
        "float4" | "float8" | "numeric" => json!({ "type": "number" }),
        "bool" => json!({ "type": "boolean" }),
        "text" | "varchar" => json!({ "type": "string" }),
        "timestamptz" => json!({ "type": "string", "format": "date-time" }),
        "date" => json!({ "type": "string", "format": "date" }),
        "uuid" => json!({ "type": "string", "format": "uuid" }),
        "json" | "jsonb" => json!({}),
        // Also a timestamp without time zone: a date-time of JSON Schema has one.
        other => json!({ "type": "string", "x-larder-type": other }),
    }
}

pub(super) fn of_param(param: &Param) -> Value {
    let mut element = of_type(&param.type_name);
    // In a body it is any JSON.
    if matches!(param.type_name.as_str(), "json" | "jsonb") && param.from == In::Query {
        element = json!({ "type": "string", "contentMediaType": "application/json" });
    }
    // A number of JSON where the schema is one of numbers: a text that stands for it would not be allowed by it.
    let kind = element["type"].as_str().map(str::to_owned);
    let value = |text: &str| match kind.as_deref() {
        Some("string") => Some(json!(text)),
        // Of what Postgres can read and JSON cannot write, such as NaN, nothing is said.
        Some(_) | None => serde_json::from_str::<Value>(text).ok(),
    };
    if !param.values.is_empty() {
        element["enum"] = param.values.iter().filter_map(|text| value(text)).collect();
    }
    let is_number = kind.as_deref() == Some("integer");
    let (low, high) = match (param.is_array, is_number) {
        (true, _) => ("minItems", "maxItems"),
        (false, true) => ("minimum", "maximum"),
        (false, false) => ("minLength", "maxLength"),
    };
    let mut schema = if param.is_array { json!({ "type": "array", "items": element }) } else { element };
    if let Some((from, to)) = param.range {
        schema[low] = json!(from);
        schema[high] = json!(to);
    }
    if let Absent::Default(text) = &param.absent
        && let Some(default) = value(text)
    {
        schema["default"] = default;
    }
    schema
}

/// An object. Whether a column can be NULL, Postgres does not say of a statement, so each can.
pub(super) fn of_members(members: &[Member]) -> Value {
    let of_member = |member: &Member| (member.name.clone(), of_value(&member.value));
    let properties: Map<String, Value> = members.iter().map(of_member).collect();
    json!({ "type": "object", "properties": properties })
}

fn of_value(value: &MemberValue) -> Value {
    match value {
        MemberValue::Column { kind, .. } => or_null(of_column(kind)),
        MemberValue::Object(members) => or_null(of_members(members)),
    }
}

fn of_column(kind: &Type) -> Value {
    if let Kind::Array(element) = kind.kind() {
        return json!({ "type": "array", "items": or_null(of_column(element)) });
    }
    if let Kind::Enum(values) = kind.kind() {
        return json!({ "type": "string", "enum": values });
    }
    of_type(kind.name())
}

fn or_null(mut schema: Value) -> Value {
    if let Some(kind) = schema.get("type").cloned() {
        schema["type"] = json!([kind, "null"]);
    }
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.push(Value::Null);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    fn of(declaration: &str) -> Value {
        let text = format!(
            "-- route: POST /x\n-- param it: {declaration}\n-- rows: one\n\nSELECT :it::text AS body"
        );
        let catalogue = Catalogue::parse(vec![("x.sql".into(), text)]).unwrap();
        of_param(&catalogue.endpoints[0].params[0])
    }

    #[test]
    fn defaults_and_values_are_of_the_type_that_the_schema_says() {
        assert_eq!(
            of("query int8 1..9 = 5"),
            json!({"type": "integer", "format": "int64", "minimum": 1, "maximum": 9, "default": 5})
        );
        assert_eq!(of("query int4 {1,2}"), json!({"type": "integer", "format": "int32", "enum": [1, 2]}));
        assert_eq!(of("query numeric = 1.50"), json!({"type": "number", "default": 1.5}));
        assert_eq!(of("query float8 = NaN"), json!({"type": "number"}));
        assert_eq!(of("query bool = false"), json!({"type": "boolean", "default": false}));
        assert_eq!(of("query text {1,2} = 1"), json!({"type": "string", "enum": ["1", "2"], "default": "1"}));
        assert_eq!(
            of("query date = 2026-01-01"),
            json!({"type": "string", "format": "date", "default": "2026-01-01"})
        );
        assert_eq!(of("body json = {\"a\": 1}"), json!({"default": {"a": 1}}));
        assert_eq!(
            of("query jsonb = {\"a\": 1}"),
            json!({"type": "string", "contentMediaType": "application/json", "default": "{\"a\": 1}"})
        );
        assert_eq!(
            of("query int8[] 1..9"),
            json!({"type": "array", "items": {"type": "integer", "format": "int64"}, "minItems": 1, "maxItems": 9})
        );
        assert_eq!(of("query timestamp"), json!({"type": "string", "x-larder-type": "timestamp"}));
    }

    #[test]
    fn every_value_of_a_row_can_be_null() {
        let column = |kind: Type| MemberValue::Column { column: 0, kind };
        assert_eq!(of_value(&column(Type::INT4)), json!({"type": ["integer", "null"], "format": "int32"}));
        assert_eq!(of_value(&column(Type::JSONB)), json!({}));
        assert_eq!(
            of_value(&column(Type::TEXT_ARRAY)),
            json!({"type": ["array", "null"], "items": {"type": ["string", "null"]}})
        );
        let mood = Type::new("mood".to_owned(), 1, Kind::Enum(vec!["sad".to_owned()]), "public".to_owned());
        assert_eq!(of_value(&column(mood)), json!({"type": ["string", "null"], "enum": ["sad", null]}));
    }
}
