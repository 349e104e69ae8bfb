//! From the members of a JSON object to what is bound to a statement, each checked against its declaration.
//!
//! All faults of a body are found, each with a pointer to its member. Values are bound as text, as those of a query are.
//! Read next: `params.rs`, which does the same for path and query.

use std::borrow::Cow;

use super::json::{self, Document, Kind, Value};
use crate::catalogue::{Absent, In, Param};
use crate::error::{Error, MemberFault};
use crate::faults::suggestion;
use crate::params::{self, Given, camel_case};

/// More than that is not read by the one who made the mistake.
const MAX_FAULTS: usize = 20;
/// Of a bulk endpoint, whatever its file says.
pub(crate) const MAX_ROWS: usize = 5000;

/// Fills in what comes from the body. `of_rows` are the members of a row, if the body is rows and they were declared.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn read(
    body: &[u8],
    declared: &[Param],
    of_rows: &[Param],
    given: &mut Given,
) -> Result<(), Error> {
    let text = std::str::from_utf8(body)
        .map_err(|e| Error::BadJson { offset: e.valid_up_to(), why: "not UTF-8".to_owned() })?;
    let document =
        json::document(text, MAX_ROWS).map_err(|json::Bad { offset, why }| Error::BadJson { offset, why })?;
    let rows = declared.iter().enumerate().find(|(_, param)| param.from == In::Rows);
    let mut faults = Faults::default();
    match (rows, document) {
        (Some((index, param)), Document::Array(items)) => {
            faults.rows(&items, param, of_rows);
            given.set(index, Some(text.trim_ascii().to_owned()));
        }
        (Some(_), _) => faults.push("#", "has to be an array of objects, one for each row"),
        (None, Document::Object(members)) => {
            faults.object("#", &members, declared, |index, value| match value {
                Read::Given(value) => given.set(index, value),
                Read::Default(value) => {
                    if let Some(slot) = given.values.get_mut(index) {
                        *slot = Some(value.to_owned());
                    }
                }
            });
        }
        (None, _) => faults.push("#", "has to be an object"),
    }
    if faults.0.is_empty() { Ok(()) } else { Err(Error::BadMembers(faults.0)) }
}

/// The value of a parameter.
enum Read<'p> {
    /// `None` for null.
    Given(Option<String>),
    Default(&'p str),
}

#[derive(Default)]
struct Faults(Vec<MemberFault>);

impl Faults {
    fn push(&mut self, pointer: impl Into<String>, why: impl Into<String>) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(MemberFault { pointer: pointer.into(), why: why.into() });
        }
    }

    fn is_full(&self) -> bool {
        self.0.len() >= MAX_FAULTS
    }

    fn rows(&mut self, items: &[Value<'_>], param: &Param, of_rows: &[Param]) {
        let (low, high) = param.range.unwrap_or((1, i64::MAX));
        let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
        if items.len() > MAX_ROWS || count > high {
            let most = high.min(i64::try_from(MAX_ROWS).unwrap_or(i64::MAX));
            return self.push("#", format!("has more than {most} rows; send them in several requests"));
        }
        if count < low {
            return self.push("#", format!("has {count} rows, not {low} or more"));
        }
        for (index, item) in items.iter().enumerate() {
            match item.members() {
                None => self.push(format!("#/{index}"), "is not an object"),
                Some(_) if of_rows.is_empty() => (),
                Some(members) => self.object(&format!("#/{index}"), &members, of_rows, |_, _| ()),
            }
            if self.is_full() {
                return;
            }
        }
    }

    fn object<'p>(
        &mut self,
        place: &str,
        members: &[(Cow<'_, str>, Value<'_>)],
        declared: &'p [Param],
        mut each: impl FnMut(usize, Read<'p>),
    ) {
        let from_body = || declared.iter().enumerate().filter(|(_, param)| param.from == In::Body);
        let mut seen = vec![false; declared.len()];
        for (name, value) in members {
            let Some((index, param)) = from_body().find(|(_, param)| is_named(name, &param.name)) else {
                self.unknown(place, name, from_body().map(|(_, param)| camel_case(&param.name)).collect());
                continue;
            };
            if let Some(seen) = seen.get_mut(index) {
                *seen = true;
            }
            match bound(*value, param) {
                Ok(None) if param.absent == Absent::Refused => self.push(pointer(place, name), "is null"),
                Ok(value) => each(index, Read::Given(value)),
                Err(why) => self.push(pointer(place, name), why),
            }
            if self.is_full() {
                return;
            }
        }
        for (index, param) in from_body().filter(|(index, _)| seen.get(*index) == Some(&false)) {
            match &param.absent {
                Absent::Null => (),
                Absent::Default(default) => each(index, Read::Default(default)),
                Absent::Refused => self.push(pointer(place, &camel_case(&param.name)), "is missing"),
            }
        }
    }

    fn unknown(&mut self, place: &str, name: &str, known: Vec<String>) {
        let shown = json::shown(name);
        let why = match suggestion(&shown, known.iter().map(String::as_str)).as_str() {
            "" => format!("is unknown; known are {}", known.join(", ")),
            suggestion => format!("is unknown{suggestion}"),
        };
        self.push(pointer(place, &shown), why);
    }
}

/// As RFC 6901 writes it in a fragment, but for what only a URL would need escaped.
fn pointer(place: &str, name: &str) -> String {
    format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Whether a member is the one for a parameter, without writing that out: it is asked for each member of each row.
fn is_named(member: &str, name: &str) -> bool {
    member == name && !name.contains('_') || name.contains('_') && member == camel_case(name)
}

/// The text of a value as Postgres reads it; `None` for null.
fn bound(value: Value<'_>, param: &Param) -> Result<Option<String>, String> {
    if value.kind == Kind::Null {
        return Ok(None);
    }
    if param.is_array {
        return array(value, param).map(Some);
    }
    scalar(value, &param.type_name, |text| params::check(param, text)).map(|text| Some(text.into_owned()))
}

fn scalar<'t>(
    value: Value<'t>,
    type_name: &str,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<Cow<'t, str>, String> {
    let is_a = |kind: Kind, what: &str| {
        if value.kind == kind { Ok(()) } else { Err(format!("is not {what}")) }
    };
    match type_name {
        "json" | "jsonb" => Ok(value.text.into()),
        "bool" => is_a(Kind::Bool, "`true` or `false`").map(|()| value.text.into()),
        "int2" | "int4" | "int8" => {
            // What is no number is told the same as one that is out of range.
            let text = if value.kind == Kind::Number { value.text } else { "" };
            check(text).map(|()| text.into())
        }
        "float4" | "float8" | "numeric" => is_a(Kind::Number, "a number").map(|()| value.text.into()),
        _ => {
            let text = value.string().ok_or("is not a string")?;
            check(&text)?;
            Ok(text)
        }
    }
}

/// A Postgres array as text.
fn array(value: Value<'_>, param: &Param) -> Result<String, String> {
    let items = value.items().ok_or("is not an array")?;
    let (low, high) = param.range.unwrap_or((0, 1000));
    if !i64::try_from(items.len()).is_ok_and(|count| (low..=high).contains(&count)) {
        return Err(format!("has {} items, not {low} to {high}", items.len()));
    }
    let mut all = String::from("{");
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            all.push(',');
        }
        if item.kind == Kind::Null {
            all.push_str("NULL");
            continue;
        }
        let text = scalar(item, &param.type_name, |text| params::check_element(param, text))
            .map_err(|why| format!("has an item, number {index}, that {why}"))?;
        all.push('"');
        for letter in text.chars() {
            if matches!(letter, '"' | '\\') {
                all.push('\\');
            }
            all.push(letter);
        }
        all.push('"');
    }
    all.push('}');
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Position;

    fn param(name: &str, type_name: &str, absent: Absent) -> Param {
        Param {
            name: name.to_owned(),
            from: In::Body,
            type_name: type_name.trim_end_matches("[]").to_owned(),
            is_array: type_name.ends_with("[]"),
            range: None,
            values: Vec::new(),
            absent,
            position: Position { line: 1, column: 1 },
        }
    }

    fn declared() -> Vec<Param> {
        let mut all = vec![
            param("resource_type", "text", Absent::Refused),
            param("score", "int4", Absent::Default("7".to_owned())),
            param("is_private", "bool", Absent::Null),
            param("config", "jsonb", Absent::Null),
            param("tags", "text[]", Absent::Null),
            param("ratio", "float8", Absent::Null),
            param("started_at", "timestamptz", Absent::Null),
        ];
        all[4].range = Some((0, 2));
        all
    }

    fn given(count: usize) -> Given {
        Given { values: vec![None; count], has: vec![false; count], ..Given::default() }
    }

    fn read_object(body: &str) -> Result<Given, Vec<(String, String)>> {
        let declared = declared();
        let mut given = given(declared.len());
        read(body.as_bytes(), &declared, &[], &mut given).map(|()| given).map_err(faults)
    }

    fn faults(error: Error) -> Vec<(String, String)> {
        let Error::BadMembers(faults) = error else { return vec![("?".to_owned(), error.to_string())] };
        faults.into_iter().map(|fault| (fault.pointer, fault.why)).collect()
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn values_are_what_postgres_reads() {
        let given = read_object(r#"{"resourceType": "a\"\u00e4", "score": 12 , "isPrivate": true}"#).unwrap();
        assert_eq!(given.values, [text("a\"ä"), text("12"), text("true"), None, None, None, None]);
        assert_eq!(given.has, [true, true, true, false, false, false, false]);
        let given = read_object(
            r#"{"resourceType":"","config":{"a": [1.50]},"tags":["a,\"b\\",null],"ratio":-1e3,"startedAt":"2026-01-01"}"#,
        )
        .unwrap();
        let expected = [
            text(""),
            text("7"),
            None,
            text(r#"{"a": [1.50]}"#),
            text(r#"{"a,\"b\\",NULL}"#),
            text("-1e3"),
            text("2026-01-01"),
        ];
        assert_eq!(given.values, expected);
        let given = read_object(r#"{"resourceType":"x","score":null,"config":null}"#).unwrap();
        assert_eq!(given.values[1..4], [None, None, None]);
        assert_eq!(given.has[..4], [true, true, false, true]);
    }

    #[test]
    fn each_fault_has_its_place() {
        let faults = read_object(
            r#"{"resourceTyp": "x", "score": "1", "isPrivate": 0, "tags": ["a", "b", "c"], "ratio": "1", "startedAt": 5, "a/~": 1}"#,
        )
        .unwrap_err();
        let expected = [
            ("#/resourceTyp", "is unknown; did you mean \"resourceType\"?"),
            ("#/score", "is not a whole number from -2147483648 to 2147483647"),
            ("#/isPrivate", "is not `true` or `false`"),
            ("#/tags", "has 3 items, not 0 to 2"),
            ("#/ratio", "is not a number"),
            ("#/startedAt", "is not a string"),
            (
                "#/a~1~0",
                "is unknown; known are resourceType, score, isPrivate, config, tags, ratio, startedAt",
            ),
            ("#/resourceType", "is missing"),
        ];
        assert_eq!(faults, expected.map(|(pointer, why)| (pointer.to_owned(), why.to_owned())));
        assert_eq!(read_object(r#"{"resourceType":null}"#).unwrap_err()[0].1, "is null");
        assert_eq!(read_object(r#"{"resourceType":"x","score":1.0}"#).unwrap_err()[0].0, "#/score");
        assert_eq!(read_object(r#"{"resourceType":"x","score":2147483648}"#).unwrap_err()[0].0, "#/score");
        assert_eq!(read_object("[]").unwrap_err()[0], ("#".to_owned(), "has to be an object".to_owned()));
        assert!(read_object("{\"resourceType\":").unwrap_err()[0].1.contains("ends"));
        let many: Vec<String> = (0..1000).map(|nth| format!("\"x{nth}\":0")).collect();
        assert_eq!(read_object(&format!("{{{}}}", many.join(","))).unwrap_err().len(), MAX_FAULTS);
    }

    #[test]
    fn rows_are_counted_and_passed_on_as_they_are() {
        let mut rows = param("rows", "rows", Absent::Refused);
        (rows.from, rows.range) = (In::Rows, Some((1, 5000)));
        let read = |body: &str, of_rows: &[Param]| {
            let mut given = given(1);
            read(body.as_bytes(), std::slice::from_ref(&rows), of_rows, &mut given)
                .map(|()| given.values.remove(0).unwrap())
                .map_err(faults)
        };
        assert_eq!(read(" [{\"a\": 1},{}]\n", &[]).unwrap(), "[{\"a\": 1},{}]");
        for (bad, place) in [("[]", "#"), ("{}", "#"), ("[1]", "#/0"), ("[{},[]]", "#/1"), ("null", "#")] {
            assert_eq!(read(bad, &[]).unwrap_err()[0].0, place, "{bad}");
        }
        let many = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
        assert!(read(&many(MAX_ROWS), &[]).is_ok());
        assert!(read(&many(MAX_ROWS + 1), &[]).unwrap_err()[0].1.contains("more than 5000 rows"));
        assert!(read("[{\"a\":1,\"a\":2}]", &[]).unwrap_err()[0].1.contains("twice"));

        let of_rows = declared();
        assert!(read(r#"[{"resourceType": "x"}, {"resourceType": "y", "score": 1}]"#, &of_rows).is_ok());
        let faults = read(r#"[{"resourceType": "x"}, {"scor": 1}]"#, &of_rows).unwrap_err();
        let expected =
            [("#/1/scor", "is unknown; did you mean \"score\"?"), ("#/1/resourceType", "is missing")];
        assert_eq!(faults, expected.map(|(pointer, why)| (pointer.to_owned(), why.to_owned())));
    }
}
