//! Lifetimes by path, status and content type, whatever the upstream says.
//!
//! # Settings
//!
//! The first rule that fits decides; where none does, the upstream and the route do. A path that ends in `*` stands for all
//! that begin so, `/trendings` of `/trending*` too. These are the rules of an application
//! whose lists change often, whose entities seldom, and whose counts need not be exact:
//!
//! ```toml
//! [route.policy]
//! component = "policies/ttl-rules.wasm"
//!
//! [route.policy.settings]
//! rules = [
//!     { path = "/trending*", ttl = "1h", stale_while_revalidate = "5m", tags = ["trending"] },
//!     { path = "/counts*", ttl = "2h", tags = ["counts"] },
//!     { path = "/resources/*", ttl = "30m", stale_if_error = "1h" },
//!     { path = "/resources*", ttl = "5m" },
//!     { content_type = "text/event-stream", do_not_store = "10m" },
//!     { status = [404], ttl = "30s" },
//! ]
//! ```
//!
//! # Decisions
//!
//! | the response | decision |
//! |---|---|
//! | 200 of `/trending/week` | one hour, tag `trending` |
//! | 200 of `/resources/7` | thirty minutes |
//! | 200 of `/resources` | five minutes |
//! | 404 of `/resources/8` | thirty seconds |
//! | 500 | as without the policy |
//!
//! Larder keeps its veto: what is `private` or sets a cookie is not stored by any rule.

use larder_policy::{
    DoNotStore, Input, Inputs, Policy, Request, Response, ResponseDecision, ResponseInput, ResponsePolicy,
    Setting, Store, Ttl,
};

pub struct TtlRules {
    path: Input,
    content_type: ResponseInput,
    rules: Vec<Rule>,
}

#[derive(Debug, Setting)]
pub struct Settings {
    /// The first one that fits decides; where none does, the upstream and the route do.
    rules: Vec<Rule>,
}

#[derive(Debug, Setting)]
struct Rule {
    /// A path, or with a * at its end all that begin so.
    path: Option<String>,
    /// Statuses; all that are successful where it is left out.
    #[setting(minimum = 200, maximum = 599, default = [])]
    status: Vec<u16>,
    /// As in text/html or image/*.
    content_type: Option<String>,
    ttl: Option<Ttl>,
    stale_while_revalidate: Option<Ttl>,
    stale_if_error: Option<Ttl>,
    #[setting(default = [])]
    tags: Vec<String>,
    /// For this long nobody waits for another one's answer.
    do_not_store: Option<Ttl>,
}

impl Policy for TtlRules {
    const NAME: &'static str = "ttl-rules";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SELF_TEST: &'static [&'static str] = &[include_str!("../cases/guide.json")];
    type Settings = Settings;

    fn configure(Settings { rules }: Settings, inputs: &mut Inputs) -> Result<Self, String> {
        for (number, rule) in rules.iter().enumerate() {
            let says = |what: String| Err(format!("rules[{number}]: {what}"));
            if rule.path.as_ref().is_some_and(|path| !path.starts_with('/')) {
                return says(format!("path: {:?} does not begin with /", rule.path));
            }
            // Visible ASCII without the comma that separates tags, as long as a tag may be.
            let is_tag = |tag: &String| {
                (1..=256).contains(&tag.len())
                    && tag.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
            };
            if let Some(odd) = rule.tags.iter().find(|tag| !is_tag(tag)) {
                return says(format!("tags: {odd:?} is not a tag"));
            }
            let is_kept = rule.ttl.is_some()
                || rule.stale_while_revalidate.is_some()
                || rule.stale_if_error.is_some()
                || !rule.tags.is_empty();
            if is_kept == rule.do_not_store.is_some() {
                return says("wants either do_not_store, or a ttl, a stale window or tags".to_owned());
            }
        }
        Ok(Self { path: inputs.path(), content_type: inputs.response_field("content-type"), rules })
    }
}

impl ResponsePolicy for TtlRules {
    fn on_response(&self, request: &Request<'_>, response: &Response<'_>) -> ResponseDecision {
        let path = request.get(self.path).unwrap_or_default();
        let content_type = response.get(self.content_type).unwrap_or_default();
        let Some(rule) = self.rules.iter().find(|rule| rule.fits(path, response.status(), content_type))
        else {
            return Store::new().into();
        };
        if let Some(Ttl(time)) = rule.do_not_store {
            return DoNotStore::because("a rule says so").hit_for_miss(time).into();
        }
        let of = |ttl: Option<Ttl>| ttl.map(|Ttl(time)| time);
        Store {
            ttl: of(rule.ttl),
            stale_while_revalidate: of(rule.stale_while_revalidate),
            stale_if_error: of(rule.stale_if_error),
            tags: rule.tags.clone(),
            ..Store::default()
        }
        .into()
    }
}

impl Rule {
    fn fits(&self, path: &str, status: u16, content_type: &str) -> bool {
        let of_path = |wanted: &String| match wanted.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => path == wanted,
        };
        // What comes behind `;` says how it is written, not what it is.
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let of_type = |wanted: &String| match wanted.strip_suffix('*') {
            Some(beginning) => {
                media_type.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
            }
            None => media_type.eq_ignore_ascii_case(wanted),
        };
        let of_status =
            if self.status.is_empty() { (200..300).contains(&status) } else { self.status.contains(&status) };
        of_status && self.path.as_ref().is_none_or(of_path) && self.content_type.as_ref().is_none_or(of_type)
    }
}

larder_policy::export!(TtlRules: response);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use larder_policy::testing::{Given, Tester};

    use super::*;

    const SETTINGS: &str = r#"{ "rules": [
        { "path": "/trending*", "ttl": "1h", "tags": ["trending"] },
        { "path": "/resources/*", "ttl": 1800, "stale_if_error": "1h" },
        { "path": "/resources", "ttl": "5m" },
        { "content_type": "Image/*", "ttl": "1d" },
        { "content_type": "text/event-stream", "do_not_store": "10m" },
        { "status": [404, 410], "ttl": "30s" }
    ] }"#;

    #[track_caller]
    fn check(path: &str, status: u16, content_type: &str, expected: impl Into<ResponseDecision>) {
        let policy = Tester::<TtlRules>::new(SETTINGS).unwrap();
        let given = Given::new().path(path).response_field("content-type", content_type);
        assert_eq!(policy.on_response(status, &given), expected.into(), "{path} {status} {content_type}");
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let seconds = Duration::from_secs;
        check("/trending/week", 200, "", Store::new().ttl(seconds(3_600)).tag("trending"));
        check("/resources/7", 200, "", Store::new().ttl(seconds(1_800)).stale_if_error(seconds(3_600)));
        check("/resources", 200, "", Store::new().ttl(seconds(300)));
        check("/a", 200, "Image/PNG; x=y", Store::new().ttl(seconds(86_400)));
        check(
            "/a",
            200,
            "text/event-stream",
            DoNotStore::because("a rule says so").hit_for_miss(seconds(600)),
        );
        check("/resources/8", 404, "", Store::new().ttl(seconds(30)));
        check("/trending", 500, "", Store::new());
        check("/other", 200, "text/html", Store::new());
    }

    #[test]
    fn rules_that_say_nothing_or_two_things_are_refused() {
        for settings in [
            r#"{ "rules": [{}] }"#,
            r#"{ "rules": [{ "ttl": 1, "do_not_store": 1 }] }"#,
            r#"{ "rules": [{ "path": "trending", "ttl": 1 }] }"#,
            r#"{ "rules": [{ "ttl": "soon" }] }"#,
            r#"{ "rules": [{ "tags": ["a,b"] }] }"#,
        ] {
            assert!(Tester::<TtlRules>::new(settings).is_err(), "{settings}");
        }
    }

    #[test]
    fn the_cases_are_decided_as_they_say() {
        larder_policy::testing::check_cases::<TtlRules>("cases");
    }
}
