//! Tags from JSON in a field of the response, for applications that say what an answer is made of in their own words.
//!
//! # Settings
//!
//! ```toml
//! [route.policy]
//! component = "policies/json-tags.wasm"
//!
//! [route.policy.settings]
//! header = "x-made-of"
//! tags = ["resource:{id}", "user:{owner.id}"]
//! remove = true              # this is the default: clients do not get the field
//! without = "do-not-store"   # this is the default: what cannot be purged is not kept
//! ```
//!
//! # Decisions
//!
//! | the response | tags |
//! |---|---|
//! | `x-made-of: {"id":7,"owner":{"id":3}}` | `resource:7`, `user:3` |
//! | `x-made-of: {"id":[7,8]}` | `resource:7`, `resource:8` |
//! | `x-made-of: {"id":7}` | `resource:7` |
//! | `x-made-of: {"id":"a b"}`, `x-made-of: 7`, no such field | not stored |
//!
//! Then `larder purge --tag user:3` reaches all that was made of user 3.

use larder_policy::{
    DoNotStore, FieldChanges, Inputs, Json, Policy, Request, Response, ResponseDecision, ResponseInput,
    ResponsePolicy, Setting, Store,
};

/// As many as a decision may have.
const TAGS_MAX: usize = 64;
/// As long as a tag may be.
const TAG_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 128;

pub struct JsonTags {
    field: ResponseInput,
    header: String,
    templates: Vec<Template>,
    remove: bool,
    without: Without,
}

/// `before`, the value at a path of members, `after`.
struct Template {
    before: String,
    path: Vec<String>,
    after: String,
}

#[derive(Debug, Setting)]
pub struct Settings {
    /// The response header field that holds JSON.
    header: String,
    /// Templates such as resource:{id} or user:{owner.id}; each place in braces is a path of member names.
    tags: Vec<String>,
    /// Whether clients do not get the field.
    #[setting(default = true)]
    remove: bool,
    /// What becomes of a response without the field, or with something else in it.
    #[setting(default = "do-not-store")]
    without: Without,
}

#[derive(Debug, Clone, Copy, Setting)]
enum Without {
    Store,
    DoNotStore,
}

impl Policy for JsonTags {
    const NAME: &'static str = "json-tags";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SELF_TEST: &'static [&'static str] = &[include_str!("../cases/made-of.json")];
    type Settings = Settings;

    fn configure(settings: Settings, inputs: &mut Inputs) -> Result<Self, String> {
        let Settings { header, tags, remove, without } = settings;
        let template = |text: &String| {
            Template::parse(text).ok_or_else(|| format!("tags: {text:?} is not as in \"resource:{{id}}\""))
        };
        let templates = tags.iter().map(template).collect::<Result<_, _>>()?;
        Ok(Self { field: inputs.response_field(&header), header, templates, remove, without })
    }
}

impl ResponsePolicy for JsonTags {
    fn on_response(&self, _: &Request<'_>, response: &Response<'_>) -> ResponseDecision {
        let remove = if self.remove { vec![self.header.clone()] } else { Vec::new() };
        let fields = FieldChanges { remove, ..FieldChanges::default() };
        match (self.tags(response.get(self.field)), self.without) {
            (Ok(tags), _) => Store { tags, fields, ..Store::default() }.into(),
            (Err(_), Without::Store) => Store { fields, ..Store::default() }.into(),
            (Err(why), Without::DoNotStore) => DoNotStore { fields, ..DoNotStore::because(why) }.into(),
        }
    }
}

impl JsonTags {
    fn tags(&self, text: Option<&str>) -> Result<Vec<String>, &'static str> {
        let text = text.ok_or("the field is not there")?;
        let value = Json::read(text).map_err(|_| "the field is not JSON")?;
        let mut tags = Vec::new();
        for template in &self.templates {
            template.render(&value, &mut tags)?;
        }
        match tags.len() {
            0 => Err("the field names nothing"),
            1..=TAGS_MAX => Ok(tags),
            _ => Err("the field names too many things"),
        }
    }
}

impl Template {
    fn parse(text: &str) -> Option<Template> {
        let (before, rest) = text.split_once('{')?;
        let (path, after) = rest.split_once('}')?;
        let path: Vec<_> = path.split('.').map(str::to_owned).collect();
        let is_plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b",{}".contains(&byte));
        // With the longest value it is still a tag.
        let is_short = before.len() + after.len() <= TAG_BYTES_MAX - VALUE_BYTES_MAX;
        let fits =
            is_short && is_plain(before) && is_plain(after) && path.iter().all(|name| !name.is_empty());
        fits.then(|| Template { before: before.to_owned(), path, after: after.to_owned() })
    }

    /// Adds the tags that a value gives; a list gives one for each of its elements, and what is not there none.
    fn render(&self, value: &Json, tags: &mut Vec<String>) -> Result<(), &'static str> {
        let Some(value) = self.path.iter().try_fold(value, |value, name| value.get(name)) else {
            return Ok(());
        };
        let elements = if let Json::List(elements) = value { elements } else { std::slice::from_ref(value) };
        for element in elements {
            let text = match element {
                Json::Text(text) | Json::Number(text) => text,
                Json::Null | Json::Bool(_) | Json::List(_) | Json::Object(_) => {
                    return Err("the field names something that is no text and no number");
                }
            };
            // Visible ASCII without the comma that separates tags, and of a length that a tag may have.
            let is_fit = (1..=VALUE_BYTES_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
            if !is_fit {
                return Err("the field names something that cannot stand in a tag");
            }
            tags.push(format!("{}{text}{}", self.before, self.after));
        }
        Ok(())
    }
}

larder_policy::export!(JsonTags: response);

#[cfg(test)]
mod tests {
    use larder_policy::testing::{Given, Tester};

    use super::*;

    const SETTINGS: &str = r#"{ "header": "X-Made-Of", "tags": ["resource:{id}", "user:{owner.id}"] }"#;

    fn decided(settings: &str, json: &str) -> ResponseDecision {
        let policy = Tester::<JsonTags>::new(settings).unwrap();
        policy.on_response(200, &Given::new().response_field("x-made-of", json))
    }

    #[track_caller]
    fn check(json: &str, tags: &[&str]) {
        let store = Store { tags: tags.iter().map(|&tag| tag.to_owned()).collect(), ..Store::default() };
        assert_eq!(decided(SETTINGS, json), store.remove_field("X-Made-Of").into(), "{json}");
    }

    #[test]
    fn what_is_named_is_a_tag() {
        check(r#"{ "id": 7, "owner": { "id": "u3" } }"#, &["resource:7", "user:u3"]);
        check(r#"{ "id": [7, 8], "owner": null }"#, &["resource:7", "resource:8"]);
        check(r#"{ "id": 7, "owner": {} }"#, &["resource:7"]);
    }

    #[test]
    fn what_cannot_be_purged_is_not_kept_unless_that_is_wanted() {
        let many = format!(r#"{{ "id": [{}] }}"#, vec!["1"; 65].join(","));
        for json in
            ["", "7", "{", "{}", r#"{ "id": "a b" }"#, r#"{ "id": "a,b" }"#, r#"{ "id": true }"#, &many]
        {
            let decision = decided(SETTINGS, json);
            assert!(
                matches!(&decision, ResponseDecision::DoNotStore(why) if !why.reason.is_empty()),
                "{json}"
            );
            let wanted =
                r#"{ "header": "x-made-of", "tags": ["r:{id}"], "without": "store", "remove": false }"#;
            assert_eq!(decided(wanted, json), Store::new().into(), "{json}");
        }
    }

    #[test]
    fn templates_that_name_nothing_are_refused() {
        for template in
            ["resource", "resource:{}", "resource:{a..b}", "a,b:{id}", "a b:{id}", "{id}{x}", "{id"]
        {
            let settings = format!(r#"{{ "header": "x", "tags": ["{template}"] }}"#);
            assert!(Tester::<JsonTags>::new(&settings).is_err(), "{template}");
        }
    }

    #[test]
    fn the_cases_are_decided_as_they_say() {
        larder_policy::testing::check_cases::<JsonTags>("cases");
    }
}
