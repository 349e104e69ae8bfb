//! Whether a text is a value of a type, for the types that are common. Of others Postgres says so.
//!
//! Knows nothing of where a text comes from.

use serde::de::IgnoredAny;

use crate::catalogue::Param;

/// Keys are short; longer texts only make the database work.
const MAX_VALUE_BYTES: usize = 2048;

/// Whether a text is a value of a parameter that is no array. Types that are not known here pass: Postgres reads them.
pub(crate) fn check(param: &Param, text: &str) -> Result<(), String> {
    check_value(&param.type_name, param.range, &param.values, text)
}

/// The same for an element of an array.
pub(crate) fn check_element(param: &Param, text: &str) -> Result<(), String> {
    check_value(&param.type_name, None, &param.values, text)
}

fn check_value(
    type_name: &str,
    range: Option<(i64, i64)>,
    values: &[String],
    text: &str,
) -> Result<(), String> {
    if !values.is_empty() && !values.iter().any(|value| value == text) {
        return Err(format!("is not {}", values.join(" or ")));
    }
    if text.contains('\0') {
        return Err("has a zero byte, which no text in Postgres can have".to_owned());
    }
    let (least, most) = match type_name {
        "int2" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "int4" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        "int8" => (i64::MIN, i64::MAX),
        "bool" if !matches!(text, "true" | "false") => return Err("is not `true` or `false`".to_owned()),
        "uuid" if !is_uuid(text) => return Err("is not a UUID".to_owned()),
        "json" | "jsonb" if serde_json::from_str::<IgnoredAny>(text).is_err() => {
            return Err("is not JSON".to_owned());
        }
        "text" | "varchar" => return check_characters(range, text),
        _ => return Ok(()),
    };
    let (least, most) = range.map_or((least, most), |(low, high)| (least.max(low), most.min(high)));
    let is_in_range = text.parse::<i64>().is_ok_and(|number| (least..=most).contains(&number));
    if is_in_range { Ok(()) } else { Err(format!("is not a whole number from {least} to {most}")) }
}

pub(super) fn check_length(text: &str) -> Result<(), String> {
    if text.len() > MAX_VALUE_BYTES {
        return Err(format!("has {} bytes, more than {MAX_VALUE_BYTES}", text.len()));
    }
    Ok(())
}

fn check_characters(range: Option<(i64, i64)>, text: &str) -> Result<(), String> {
    let Some((low, high)) = range else { return Ok(()) };
    let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if (low..=high).contains(&count) {
        return Ok(());
    }
    Err(format!("has {count} characters; it takes {low} to {high}"))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The name that Postgres uses for a type, for the names that people use.
pub(crate) fn type_name(written: &str) -> &str {
    match written {
        "smallint" => "int2",
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "boolean" => "bool",
        "real" => "float4",
        "double" => "float8",
        "decimal" => "numeric",
        other => other,
    }
}

pub(crate) fn has_range(type_name: &str) -> bool {
    matches!(type_name, "int2" | "int4" | "int8" | "text" | "varchar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_common_types_are_told_from_others() {
        for (type_name, text, is_one) in [
            ("int2", "-32768", true),
            ("int2", "32768", false),
            ("int4", "2147483648", false),
            ("int8", "9223372036854775807", true),
            ("int8", "9223372036854775808", false),
            ("int8", "", false),
            ("int8", " 1", false),
            ("int8", "1; drop table users", false),
            ("bool", "true", true),
            ("bool", "t", false),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", true),
            ("uuid", "123e4567e89b12d3a456426614174000", false),
            ("text", "' or 1=1 --", true),
            ("text", "a\0b", false),
        ] {
            assert_eq!(check_value(type_name, None, &[], text).is_ok(), is_one, "{type_name} {text:?}");
        }
        let check = |type_name, range, text| check_value(type_name, range, &[], text);
        assert_eq!(check("int8", Some((1, 100)), "0"), Err("is not a whole number from 1 to 100".to_owned()));
        assert!(check_length(&"x".repeat(MAX_VALUE_BYTES + 1)).is_err());
        assert!(check("text", Some((1, 2)), "é€").is_ok());
        assert!(check("text", Some((1, 2)), "").is_err());
        assert!(check("jsonb", None, "{\"a\": [1]}").is_ok());
        assert!(check("json", None, "{a: 1}").is_err());
        let values = ["new".to_owned(), "old".to_owned()];
        assert!(check_value("text", None, &values, "old").is_ok());
        assert_eq!(check_value("text", None, &values, "Old"), Err("is not new or old".to_owned()));
    }
}
