//! What is for nobody in particular is cached; the signed-in go past the cache.
//!
//! An application that personalises its pages for those with a session answers everybody else with the same page. This tells
//! the two apart by cookies and fields, and takes the other cookies away from requests whose answer is shared, so that it
//! cannot depend on them.
//!
//! # Settings
//!
//! ```toml
//! [route.policy]
//! component = "policies/sessions.wasm"
//!
//! [route.policy.settings]
//! cookies = ["session", "remember_me"] # cookies that only the signed-in have
//! fields = ["authorization"]           # fields that only the signed-in send; this is the default
//! keep_cookies = false                 # this is the default
//! ```
//!
//! # Decisions
//!
//! | the request | decision |
//! |---|---|
//! | `cookie: session=4711` | goes past the cache as it is |
//! | `authorization: Bearer x` | goes past the cache as it is |
//! | `cookie: session=` | looked up; forwarded without `Cookie` |
//! | `cookie: theme=dark` | looked up; forwarded without `Cookie` |
//! | `cookie: session=1; session=2` | not put to the policy, and not cached: who asks cannot be told |

use larder_policy::{Input, Inputs, LookUp, Pass, Policy, Request, RequestDecision, RequestPolicy, Setting};

pub struct Sessions {
    /// Cookies and fields.
    marks: Vec<Input>,
    keep_cookies: bool,
}

#[derive(Debug, Setting)]
pub struct Settings {
    /// Cookies that only the signed-in have.
    cookies: Vec<String>,
    /// Request header fields that only the signed-in send.
    #[setting(default = ["authorization"])]
    fields: Vec<String>,
    /// Whether the application gets the other cookies of those who are not signed in. Then its answers may depend on them, and
    /// nothing but its own Vary keeps them apart.
    #[setting(default = false)]
    keep_cookies: bool,
}

impl Policy for Sessions {
    const NAME: &'static str = "sessions";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SELF_TEST: &'static [&'static str] = &[include_str!("../cases/who.json")];
    type Settings = Settings;

    fn configure(settings: Settings, inputs: &mut Inputs) -> Result<Self, String> {
        if settings.cookies.is_empty() && settings.fields.is_empty() {
            return Err(
                "neither cookies nor fields: then everybody would share, the signed-in too".to_owned()
            );
        }
        let mut marks: Vec<_> = settings.cookies.iter().map(|name| inputs.cookie(name)).collect();
        marks.extend(settings.fields.iter().map(|name| inputs.field(name)));
        Ok(Self { marks, keep_cookies: settings.keep_cookies })
    }
}

impl RequestPolicy for Sessions {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        if self.marks.iter().any(|mark| request.get(*mark).is_some_and(|value| !value.is_empty())) {
            return Pass::because("signed in").into();
        }
        let look_up = LookUp::new();
        if self.keep_cookies { look_up.into() } else { look_up.remove_field("cookie").into() }
    }
}

larder_policy::export!(Sessions: request);

#[cfg(test)]
mod tests {
    use larder_policy::testing::{Given, Tester};

    use super::*;

    #[test]
    fn the_signed_in_pass_and_all_others_share() {
        let policy = Tester::<Sessions>::new(r#"{ "cookies": ["session"] }"#).unwrap();
        let passed = RequestDecision::from(Pass::because("signed in"));
        assert_eq!(policy.on_request(&Given::new().cookie("session", "1")), passed);
        assert_eq!(policy.on_request(&Given::new().field("Authorization", "Bearer x")), passed);
        let shared = RequestDecision::from(LookUp::new().remove_field("cookie"));
        assert_eq!(policy.on_request(&Given::new()), shared);
        assert_eq!(policy.on_request(&Given::new().cookie("session", "")), shared);
        assert_eq!(policy.on_request(&Given::new().cookie("theme", "dark")), shared);
    }

    #[test]
    fn other_cookies_are_kept_where_that_is_wanted() {
        let policy = Tester::<Sessions>::new(r#"{ "cookies": ["s"], "keep_cookies": true }"#).unwrap();
        assert_eq!(policy.on_request(&Given::new()), LookUp::new().into());
    }

    #[test]
    fn settings_that_tell_nobody_apart_are_refused() {
        assert!(Tester::<Sessions>::new(r#"{ "cookies": [], "fields": [] }"#).is_err());
    }

    #[test]
    fn the_cases_are_decided_as_they_say() {
        larder_policy::testing::check_cases::<Sessions>("cases");
    }
}
