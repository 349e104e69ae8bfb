//! Settings: one struct says what there is, of which type, in which range and by which default. From it come the schema that the
//! host checks settings against, and what reads them.
//!
//! The macro `Setting` (`derive/`) writes the two functions of the trait of that name; what they are made of is here.

use std::collections::BTreeMap;

use crate::json::{Json, quoted};

/// The settings of a policy as a whole. What derives [`Setting`] has this; another type may do it by hand, with a schema and a
/// reader of its own: with serde, say, by `serde_json::from_str(text).map_err(|error| error.to_string())`. A value that needs
/// rules of its own within settings has [`Setting`] by hand, as [`Ttl`](crate::Ttl) does.
pub trait ReadSettings: Sized {
    /// JSON Schema, in the part of it that `wit/plugin.wit` names.
    fn schema() -> String;

    /// `text` is JSON that fits the schema, as far as a schema can say it. `Err` says what does not, and where.
    fn read(text: &str) -> Result<Self, String>;
}

/// A value in settings, for [`derive@crate::Setting`].
///
/// ```
/// # use larder_policy::{ReadSettings, Setting};
/// #[derive(Debug, Setting)]
/// struct Settings {
///     /// Seconds between two.
///     #[setting(default = 60, minimum = 1)]
///     every: u32,
/// }
///
/// let fault = <Settings as ReadSettings>::read(r#"{ "every": 0 }"#).unwrap_err();
/// assert_eq!(fault, "every: 0 is below 1");
/// ```
///
/// What could mean nothing does not compile: a range of what is no number, and words that are not known.
///
/// ```compile_fail,E0080
/// # use larder_policy::Setting;
/// #[derive(Setting)]
/// struct Settings {
///     #[setting(minimum = 1)]
///     name: String,
/// }
/// ```
///
/// ```compile_fail
/// # use larder_policy::Setting;
/// #[derive(Setting)]
/// struct Settings {
///     #[setting(min = 1)]
///     every: u32,
/// }
/// ```
///
/// ```compile_fail
/// # use larder_policy::Setting;
/// #[derive(Setting)]
/// struct Settings {
///     #[setting(default = a + b)]
///     every: u32,
/// }
/// ```
pub trait Setting: Sized {
    /// Whether it may be left out, and is then [`Self::left_out`].
    const IS_OPTIONAL: bool = false;
    /// Whether a range means something for it, or for what it is made of.
    const HAS_RANGE: bool = false;

    /// Adds the keywords of its schema: members of a JSON object, without the braces, at least one.
    fn schema(out: &mut String, range: Range);

    fn read(value: &Json, range: Range) -> Result<Self, Fault>;

    fn left_out() -> Option<Self> {
        None
    }
}

/// What numbers may be, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub minimum: Option<i64>,
    pub maximum: Option<i64>,
}

impl Range {
    pub const ALL: Range = Range { minimum: None, maximum: None };

    /// What is in both.
    fn within(self, other: Range) -> Range {
        let both = |pick: fn(i64, i64) -> i64, one: Option<i64>, two: Option<i64>| match (one, two) {
            (Some(one), Some(two)) => Some(pick(one, two)),
            (one, two) => one.or(two),
        };
        Range {
            minimum: both(i64::max, self.minimum, other.minimum),
            maximum: both(i64::min, self.maximum, other.maximum),
        }
    }

    fn schema(self, out: &mut String) {
        for (keyword, bound) in [(",\"minimum\":", self.minimum), (",\"maximum\":", self.maximum)] {
            if let Some(bound) = bound {
                out.push_str(keyword);
                out.push_str(&bound.to_string());
            }
        }
    }

    fn check(self, number: i64) -> Result<(), Fault> {
        if let Some(minimum) = self.minimum.filter(|minimum| number < *minimum) {
            return Err(Fault::new([&number.to_string(), " is below ", &minimum.to_string()].concat()));
        }
        if let Some(maximum) = self.maximum.filter(|maximum| number > *maximum) {
            return Err(Fault::new([&number.to_string(), " is above ", &maximum.to_string()].concat()));
        }
        Ok(())
    }
}

/// What is wrong with settings, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// As in `rules[2].ttl`; empty: the whole.
    place: String,
    what: String,
}

impl Fault {
    pub fn new(what: impl Into<String>) -> Fault {
        Fault { place: String::new(), what: what.into() }
    }

    fn wanted(what: &str, found: &Json) -> Fault {
        Fault::new(["wanted ", what, ", found ", &found.to_string()].concat())
    }

    /// It is in a member of this name.
    #[must_use]
    pub fn in_member(mut self, name: &str) -> Fault {
        if !self.place.is_empty() && !self.place.starts_with('[') {
            self.place.insert(0, '.');
        }
        self.place.insert_str(0, name);
        self
    }

    fn in_element(self, index: usize) -> Fault {
        self.in_member(&["[", &index.to_string(), "]"].concat())
    }
}

impl From<Fault> for String {
    fn from(Fault { place, what }: Fault) -> String {
        if place.is_empty() { what } else { [place, what].join(": ") }
    }
}

impl<T: Setting> ReadSettings for T {
    fn schema() -> String {
        let mut out = "{".to_owned();
        <T as Setting>::schema(&mut out, Range::ALL);
        out.push('}');
        out
    }

    fn read(text: &str) -> Result<T, String> {
        Ok(<T as Setting>::read(&Json::read(text)?, Range::ALL)?)
    }
}

#[doc(hidden)]
/// A field of a struct, for the macro.
pub struct Member {
    pub name: &'static str,
    /// In quotes, with all that has to be escaped.
    pub description: &'static str,
    /// As JSON.
    pub default: Option<&'static str>,
    pub range: Range,
    pub is_optional: bool,
    pub schema: fn(&mut String, Range),
}

#[doc(hidden)]
/// The schema of a struct with these fields.
pub fn struct_schema(out: &mut String, members: &[Member]) {
    out.push_str("\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    for (number, member) in members.iter().enumerate() {
        out.push_str(if number == 0 { "\"" } else { ",\"" });
        out.push_str(member.name);
        out.push_str("\":{");
        (member.schema)(out, member.range);
        for (keyword, value) in [
            (",\"description\":", Some(member.description).filter(|text| !text.is_empty())),
            (",\"default\":", member.default),
        ] {
            if let Some(value) = value {
                out.push_str(keyword);
                out.push_str(value);
            }
        }
        out.push('}');
    }
    out.push('}');
    let required = members.iter().filter(|member| !member.is_optional && member.default.is_none());
    let required: Vec<_> = required.map(|member| ["\"", member.name, "\""].concat()).collect();
    if !required.is_empty() {
        out.push_str(",\"required\":[");
        out.push_str(&required.join(","));
        out.push(']');
    }
}

#[doc(hidden)]
/// The members of an object, if it has no others than these.
pub fn members<'v>(value: &'v Json, names: &[&str]) -> Result<&'v Json, Fault> {
    let Json::Object(members) = value else { return Err(Fault::wanted("object", value)) };
    match members.iter().find(|(name, _)| !names.contains(&name.as_str())) {
        Some((odd, _)) => {
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Err(Fault::new(["unknown; there are: ", &known].concat()).in_member(odd))
        }
        None => Ok(value),
    }
}

#[doc(hidden)]
/// A member of an object, or what it is where it is left out.
pub fn member<T: Setting>(
    object: &Json,
    name: &str,
    default: Option<&str>,
    range: Range,
) -> Result<T, Fault> {
    let read = match (object.get(name), default) {
        (Some(value), _) => T::read(value, range),
        (None, Some(default)) => {
            Json::read(default).map_err(Fault::new).and_then(|value| T::read(&value, range))
        }
        (None, None) => T::left_out().ok_or_else(|| Fault::new("missing")),
    };
    read.map_err(|fault| fault.in_member(name))
}

#[doc(hidden)]
/// The schema of an enum with these words.
pub fn enum_schema(out: &mut String, words: &[&str]) {
    out.push_str("\"enum\":[\"");
    out.push_str(&words.join("\",\""));
    out.push_str("\"]");
}

#[doc(hidden)]
/// Which of the words it is.
pub fn one_of(value: &Json, words: &[&str]) -> Result<usize, Fault> {
    let said = if let Json::Text(said) = value { said.as_str() } else { "" };
    words.iter().position(|word| *word == said).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        Fault::wanted(&["one of ", &words.join(", ")].concat(), value)
    })
}

/// Anything, to be read by whoever has it.
impl Setting for Json {
    fn schema(out: &mut String, _: Range) {
        out.push_str("\"$comment\":\"of any kind\"");
    }

    fn read(value: &Json, _: Range) -> Result<Json, Fault> {
        Ok(value.clone())
    }
}

impl Setting for bool {
    fn schema(out: &mut String, _: Range) {
        out.push_str("\"type\":\"boolean\"");
    }

    fn read(value: &Json, _: Range) -> Result<bool, Fault> {
        if let Json::Bool(is_true) = value { Ok(*is_true) } else { Err(Fault::wanted("boolean", value)) }
    }
}

impl Setting for String {
    fn schema(out: &mut String, _: Range) {
        out.push_str("\"type\":\"string\"");
    }

    fn read(value: &Json, _: Range) -> Result<String, Fault> {
        if let Json::Text(text) = value { Ok(text.clone()) } else { Err(Fault::wanted("string", value)) }
    }
}

macro_rules! integers {
    ($($integer:ty: $minimum:expr, $maximum:expr;)+) => {$(
        impl Setting for $integer {
            const HAS_RANGE: bool = true;

            fn schema(out: &mut String, range: Range) {
                out.push_str("\"type\":\"integer\"");
                range.within(Range { minimum: $minimum, maximum: $maximum }).schema(out);
            }

            fn read(value: &Json, range: Range) -> Result<$integer, Fault> {
                let number = integer(value, range.within(Range { minimum: $minimum, maximum: $maximum }))?;
                <$integer>::try_from(number).map_err(|_| Fault::wanted("integer", value))
            }
        }
    )+};
}

integers! {
    u8: Some(0), Some(0xff);
    u16: Some(0), Some(0xffff);
    u32: Some(0), Some(0xffff_ffff);
    u64: Some(0), Some(i64::MAX);
    i32: Some(-0x8000_0000), Some(0x7fff_ffff);
    i64: None, None;
}

/// Settings end where integers of 64 bits do.
fn integer(value: &Json, range: Range) -> Result<i64, Fault> {
    let Json::Number(written) = value else { return Err(Fault::wanted("integer", value)) };
    let number = written.parse().map_err(|_| Fault::wanted("integer", value))?;
    range.check(number)?;
    Ok(number)
}

impl Setting for f64 {
    const HAS_RANGE: bool = true;

    fn schema(out: &mut String, range: Range) {
        out.push_str("\"type\":\"number\"");
        range.schema(out);
    }

    fn read(value: &Json, range: Range) -> Result<f64, Fault> {
        let Json::Number(written) = value else { return Err(Fault::wanted("number", value)) };
        let number: f64 = written.parse().map_err(|_| Fault::wanted("number", value))?;
        #[expect(clippy::cast_precision_loss, reason = "ends of ranges are far from where that begins")]
        let is_beyond = (
            range.minimum.is_some_and(|minimum| number < minimum as f64),
            range.maximum.is_some_and(|maximum| number > maximum as f64),
        );
        match is_beyond {
            (true, _) => return Err(Fault::new([written, " is below the minimum"].concat())),
            (_, true) => return Err(Fault::new([written, " is above the maximum"].concat())),
            (false, false) => (),
        }
        Ok(number)
    }
}

impl<T: Setting> Setting for Option<T> {
    const IS_OPTIONAL: bool = true;
    const HAS_RANGE: bool = T::HAS_RANGE;

    fn schema(out: &mut String, range: Range) {
        T::schema(out, range);
    }

    fn read(value: &Json, range: Range) -> Result<Self, Fault> {
        T::read(value, range).map(Some)
    }

    fn left_out() -> Option<Self> {
        Some(None)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const HAS_RANGE: bool = T::HAS_RANGE;

    fn schema(out: &mut String, range: Range) {
        out.push_str("\"type\":\"array\",\"items\":{");
        T::schema(out, range);
        out.push('}');
    }

    fn read(value: &Json, range: Range) -> Result<Self, Fault> {
        let Json::List(elements) = value else { return Err(Fault::wanted("array", value)) };
        let read = |(index, element)| T::read(element, range).map_err(|fault| fault.in_element(index));
        elements.iter().enumerate().map(read).collect()
    }
}

/// By name, each with a value of the same kind.
impl<T: Setting> Setting for BTreeMap<String, T> {
    const HAS_RANGE: bool = T::HAS_RANGE;

    fn schema(out: &mut String, range: Range) {
        out.push_str("\"type\":\"object\",\"additionalProperties\":{");
        T::schema(out, range);
        out.push('}');
    }

    fn read(value: &Json, range: Range) -> Result<Self, Fault> {
        let Json::Object(members) = value else { return Err(Fault::wanted("object", value)) };
        // One by one: what collects them brings the code of a sort.
        let mut map = BTreeMap::new();
        for (name, member) in members {
            let value = T::read(member, range).map_err(|fault| fault.in_member(name))?;
            map.insert(name.clone(), value);
        }
        Ok(map)
    }
}

/// Name and value, in the order in which they are written: a list of lists of two texts.
impl Setting for (String, String) {
    fn schema(out: &mut String, range: Range) {
        <Vec<String> as Setting>::schema(out, range);
    }

    fn read(value: &Json, range: Range) -> Result<Self, Fault> {
        match <[String; 2]>::try_from(<Vec<String> as Setting>::read(value, range)?) {
            Ok([name, value]) => Ok((name, value)),
            Err(_) => Err(Fault::wanted("two texts", value)),
        }
    }
}

#[cfg(test)]
mod tests;
