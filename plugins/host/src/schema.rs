//! The settings of a route against the schema of a policy: the part of JSON Schema that settings need.
//!
//! A keyword outside that part is refused when the schema is read, so that no rule is written down and then
//! not applied. Knows nothing of policies; the rules that follow are the whole of it.

use serde_json::{Map, Value};

/// A schema that has been read. All of its keywords are applied.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    /// Empty: any type.
    types: Vec<Type>,
    /// Of `enum` and `const`, or of forms that are nothing but values.
    allowed: Option<Vec<Value>>,
    any_of: Option<Vec<Schema>>,
    one_of: Option<Vec<Schema>>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    items: Option<Box<Schema>>,
    properties: Vec<(String, Schema)>,
    required: Vec<String>,
    others: Others,
}

/// Properties that are not named in the schema.
#[derive(Debug, Default)]
enum Others {
    #[default]
    Allowed,
    Refused,
    /// Each has to fit.
    Like(Box<Schema>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

impl Schema {
    /// Reads a schema, or says where it is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        Self::from_value(&value, "$")
    }

    fn from_value(value: &Value, at: &str) -> Result<Self, String> {
        let Value::Object(keywords) = value else {
            return Err(format!("{at}: not an object"));
        };
        let mut schema = Self::default();
        for (keyword, value) in keywords {
            let at = format!("{at}.{keyword}");
            match keyword.as_str() {
                "type" => schema.types = types(value, &at)?,
                "enum" => schema.allow(list(value, &at)?.clone()),
                "const" => schema.allow(vec![value.clone()]),
                "anyOf" => schema.any_of = Some(forms(value, &at)?),
                "oneOf" => schema.one_of = Some(forms(value, &at)?),
                "minimum" => schema.minimum = Some(number(value, &at)?),
                "maximum" => schema.maximum = Some(number(value, &at)?),
                "items" => schema.items = Some(Box::new(Self::from_value(value, &at)?)),
                "properties" => schema.properties = properties(value, &at)?,
                "required" => {
                    schema.required =
                        list(value, &at)?.iter().map(|it| text(it, &at)).collect::<Result<_, _>>()?;
                }
                "additionalProperties" => {
                    schema.others = match value {
                        Value::Bool(true) => Others::Allowed,
                        Value::Bool(false) => Others::Refused,
                        Value::Null
                        | Value::Number(_)
                        | Value::String(_)
                        | Value::Array(_)
                        | Value::Object(_) => Others::Like(Box::new(Self::from_value(value, &at)?)),
                    }
                }
                "$schema" | "$comment" | "title" | "description" | "default" | "examples" | "format" => (),
                _ => return Err(format!("{at}: a keyword that is not supported")),
            }
        }
        Ok(schema)
    }

    /// Only these values; of those alone that were allowed before.
    fn allow(&mut self, mut values: Vec<Value>) {
        if let Some(allowed) = &self.allowed {
            values.retain(|value| allowed.contains(value));
        }
        self.allowed = Some(values);
    }

    /// Everything that is wrong with the settings, each with its path; empty if they fit.
    pub(crate) fn faults(&self, settings: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(settings, "settings", &mut faults);
        faults
    }

    fn check(&self, value: &Value, at: &str, faults: &mut Vec<String>) {
        if !self.types.is_empty() && !self.types.iter().any(|wanted| wanted.holds(value)) {
            let wanted: Vec<_> = self.types.iter().map(|wanted| wanted.name()).collect();
            faults.push(format!("{at}: wanted {}, found {}", wanted.join(" or "), shown(value)));
            return;
        }
        if let Some(allowed) = &self.allowed
            && !allowed.contains(value)
        {
            let allowed: Vec<_> = allowed.iter().map(Value::to_string).collect();
            let wanted = if allowed.len() == 1 { "wanted" } else { "wanted one of" };
            faults.push(format!("{at}: {wanted} {}, found {}", allowed.join(", "), shown(value)));
        }
        if let Some(forms) = &self.any_of {
            check_forms(forms, value, at, faults);
        }
        if let Some(forms) = &self.one_of
            && check_forms(forms, value, at, faults) > 1
        {
            faults.push(format!("{at}: fits more than one of {} forms, found {}", forms.len(), shown(value)));
        }
        match value {
            Value::Number(number) => self.check_range(number.as_f64(), at, faults),
            Value::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    if let Some(items) = &self.items {
                        items.check(element, &format!("{at}[{index}]"), faults);
                    }
                }
            }
            Value::Object(members) => self.check_members(members, at, faults),
            Value::Null | Value::Bool(_) | Value::String(_) => (),
        }
    }

    fn check_range(&self, number: Option<f64>, at: &str, faults: &mut Vec<String>) {
        let Some(number) = number else { return };
        if let Some(minimum) = self.minimum.filter(|minimum| number < *minimum) {
            faults.push(format!("{at}: {number} is below {minimum}"));
        }
        if let Some(maximum) = self.maximum.filter(|maximum| number > *maximum) {
            faults.push(format!("{at}: {number} is above {maximum}"));
        }
    }

    fn check_members(&self, members: &Map<String, Value>, at: &str, faults: &mut Vec<String>) {
        for name in self.required.iter().filter(|name| !members.contains_key(*name)) {
            faults.push(format!("{at}.{name}: missing"));
        }
        for (name, member) in members {
            let named = self.properties.iter().find(|(known, _)| known == name);
            match (named, &self.others) {
                (Some((_, schema)), _) => schema.check(member, &format!("{at}.{name}"), faults),
                (None, Others::Like(schema)) => schema.check(member, &format!("{at}.{name}"), faults),
                (None, Others::Refused) => {
                    let known: Vec<_> = self.properties.iter().map(|(known, _)| known.as_str()).collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    faults.push(format!("{at}.{name}: unknown; there are: {known}"));
                }
                (None, Others::Allowed) => (),
            }
        }
    }
}

impl Type {
    const ALL: [Self; 7] =
        [Self::Null, Self::Boolean, Self::Integer, Self::Number, Self::String, Self::Array, Self::Object];

    fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Boolean => value.is_boolean(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::String => value.is_string(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

/// How many of the forms a value fits. If none, that is a fault: the faults of the one form of its type, or else one
/// that says why none of them fits.
fn check_forms(forms: &[Schema], value: &Value, at: &str, faults: &mut Vec<String>) -> usize {
    let outcomes: Vec<_> = forms
        .iter()
        .map(|form| {
            let mut faults = Vec::new();
            form.check(value, at, &mut faults);
            (form, faults)
        })
        .collect();
    let fitting = outcomes.iter().filter(|(_, faults)| faults.is_empty()).count();
    if fitting > 0 {
        return fitting;
    }
    if forms.iter().all(|form| form.allowed.is_some()) {
        let allowed = forms.iter().flat_map(|form| form.allowed.iter().flatten());
        let allowed: Vec<_> = allowed.map(Value::to_string).collect();
        faults.push(format!("{at}: wanted one of {}, found {}", allowed.join(", "), shown(value)));
        return 0;
    }
    let is_of_type = |form: &Schema| form.types.iter().any(|wanted| wanted.holds(value));
    let of_type: Vec<_> = outcomes.iter().filter(|(form, _)| is_of_type(form)).collect();
    if let [(_, of_one)] = of_type.as_slice() {
        faults.extend(of_one.iter().cloned());
        return 0;
    }
    let each: Vec<_> = outcomes.iter().map(|(_, faults)| faults.join("; ")).collect();
    faults.push(format!("{at}: fits none of {} forms: {}", forms.len(), each.join(", or ")));
    0
}

fn types(value: &Value, at: &str) -> Result<Vec<Type>, String> {
    let one = |name: &Value| {
        let known = Type::ALL.into_iter().find(|known| name.as_str() == Some(known.name()));
        known.ok_or_else(|| format!("{at}: {name} is not a type"))
    };
    match value {
        Value::Array(names) => names.iter().map(one).collect(),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            one(value).map(|only| vec![only])
        }
    }
}

fn forms(value: &Value, at: &str) -> Result<Vec<Schema>, String> {
    let forms = list(value, at)?;
    if forms.is_empty() {
        return Err(format!("{at}: empty, so that nothing would fit"));
    }
    let form = |(index, form)| Schema::from_value(form, &format!("{at}[{index}]"));
    forms.iter().enumerate().map(form).collect()
}

fn properties(value: &Value, at: &str) -> Result<Vec<(String, Schema)>, String> {
    let Value::Object(members) = value else {
        return Err(format!("{at}: not an object"));
    };
    let property = |(name, schema): (&String, &Value)| {
        Ok((name.clone(), Schema::from_value(schema, &format!("{at}.{name}"))?))
    };
    members.iter().map(property).collect()
}

fn list<'a>(value: &'a Value, at: &str) -> Result<&'a Vec<Value>, String> {
    value.as_array().ok_or_else(|| format!("{at}: not a list"))
}

fn number(value: &Value, at: &str) -> Result<f64, String> {
    value.as_f64().ok_or_else(|| format!("{at}: not a number"))
}

fn text(value: &Value, at: &str) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("{at}: {value} is not a string"))
}

/// A value as it is shown in a fault: whole if it is short.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        text
    } else {
        format!("{}...", text.chars().take(57).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::Schema;

    const TENANTS: &str = r#"{
        "type": "object", "additionalProperties": false, "required": ["header"],
        "properties": {
            "header": { "type": "string" },
            "mode": { "enum": ["strict", "loose"] },
            "ttl": { "type": ["string", "integer"], "minimum": 1, "maximum": 60 },
            "tenants": { "type": "array", "items": { "type": "string" } },
            "ports": { "type": "object", "additionalProperties": { "type": "integer" } }
        }
    }"#;

    #[track_caller]
    fn check(settings: &str, expected: &[&str]) {
        let schema = Schema::parse(TENANTS).expect("the schema above");
        assert_eq!(schema.faults(&serde_json::from_str(settings).expect("settings")), expected);
    }

    #[track_caller]
    fn refuse(schema: &str, expected: &str) {
        let error = Schema::parse(schema).expect_err(schema);
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn fitting_settings_have_no_faults() {
        check(r#"{ "header": "x" }"#, &[]);
        check(r#"{ "header": "x", "mode": "loose", "ttl": "5s", "tenants": ["a", "b"] }"#, &[]);
        check(r#"{ "header": "x", "ttl": 60, "ports": { "a": 1, "b": 2 } }"#, &[]);
    }

    #[test]
    fn every_fault_is_told_with_its_path() {
        check("[]", &["settings: wanted object, found []"]);
        check(
            r#"{ "heder": 1, "mode": "lose", "tenants": ["a", 2] }"#,
            &[
                "settings.header: missing",
                "settings.heder: unknown; there are: header, mode, ports, tenants, ttl",
                r#"settings.mode: wanted one of "strict", "loose", found "lose""#,
                "settings.tenants[1]: wanted string, found 2",
            ],
        );
        check(
            r#"{ "header": "x", "ports": { "a": "b" } }"#,
            &[r#"settings.ports.a: wanted integer, found "b""#],
        );
        check(r#"{ "header": "x", "ttl": 0 }"#, &["settings.ttl: 0 is below 1"]);
        check(r#"{ "header": "x", "ttl": 61 }"#, &["settings.ttl: 61 is above 60"]);
        check(r#"{ "header": "x", "ttl": 1.5 }"#, &["settings.ttl: wanted string or integer, found 1.5"]);
    }

    #[test]
    fn a_value_has_to_fit_any_or_exactly_one_of_several_forms() {
        const FORMS: &str = r#"{ "properties": {
            "ttl": { "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "string", "format": "duration" }] },
            "mode": { "oneOf": [{ "type": "string", "const": "strict" }, { "enum": ["loose", "off"] }] },
            "kind": { "const": "jwt" },
            "pick": { "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] }
        } }"#;
        let schema = Schema::parse(FORMS).expect("the schema above");
        let faults = |settings: &str| schema.faults(&serde_json::from_str(settings).expect("settings"));
        for fitting in [
            r#"{ "ttl": 1, "mode": "strict", "kind": "jwt", "pick": { "a": 1 } }"#,
            r#"{ "ttl": "5s", "mode": "off", "pick": { "b": 1 } }"#,
        ] {
            assert_eq!(faults(fitting), Vec::<String>::new(), "{fitting}");
        }
        for (settings, expected) in [
            (r#"{ "ttl": 0 }"#, "settings.ttl: 0 is below 1"),
            (
                r#"{ "ttl": true }"#,
                "settings.ttl: fits none of 2 forms: settings.ttl: wanted integer, found true, or settings.ttl: wanted \
                 string, found true",
            ),
            (
                r#"{ "mode": "lose" }"#,
                r#"settings.mode: wanted one of "strict", "loose", "off", found "lose""#,
            ),
            (r#"{ "kind": "url" }"#, r#"settings.kind: wanted "jwt", found "url""#),
            (
                r#"{ "pick": {} }"#,
                "settings.pick: fits none of 2 forms: settings.pick.a: missing, or settings.pick.b: missing",
            ),
            (
                r#"{ "pick": { "a": 1, "b": 1 } }"#,
                r#"settings.pick: fits more than one of 2 forms, found {"a":1,"b":1}"#,
            ),
        ] {
            assert_eq!(faults(settings), [expected], "{settings}");
        }
    }

    #[test]
    fn a_value_that_is_said_twice_is_one_of_both() {
        let schema = Schema::parse(r#"{ "enum": [1, 2], "const": 2 }"#).expect("a schema");
        assert_eq!(schema.faults(&2.into()), Vec::<String>::new());
        assert_eq!(schema.faults(&1.into()), ["settings: wanted 2, found 1"]);
    }

    #[test]
    fn a_schema_that_could_not_be_applied_whole_is_refused() {
        refuse("{", "not JSON");
        refuse("[]", "$: not an object");
        refuse(r#"{ "type": "text" }"#, r#"$.type: "text" is not a type"#);
        refuse(r#"{ "properties": { "a": { "pattern": "^x" } } }"#, "$.properties.a.pattern: a keyword");
        refuse(r#"{ "additionalProperties": 1 }"#, "$.additionalProperties: not an object");
        refuse(r#"{ "additionalProperties": { "not": {} } }"#, "$.additionalProperties.not: a keyword");
        refuse(r#"{ "required": [1] }"#, "$.required: 1 is not a string");
        refuse(r#"{ "minimum": "1" }"#, "$.minimum: not a number");
        refuse(r#"{ "enum": 1 }"#, "$.enum: not a list");
        refuse(r#"{ "anyOf": {} }"#, "$.anyOf: not a list");
        refuse(r#"{ "oneOf": [] }"#, "$.oneOf: empty");
        refuse(r#"{ "anyOf": [{}, { "pattern": "x" }] }"#, "$.anyOf[1].pattern: a keyword");
    }
}
