//! One stored response for each class of device: `mobile`, `tablet`, `desktop` or `bot`.
//!
//! There are as many `User-Agent`s as there are browsers, and `Vary: User-Agent` has a stored response for each. An application
//! that only tells phones from desktops needs four. It is told the class in a field, and nothing else tells its answers
//! apart.
//!
//! # Settings
//!
//! ```toml
//! policy = { component = "policies/device-class.wasm", settings = { header = "x-device-class", bots = true } }
//! ```
//!
//! # Decisions
//!
//! | the request | class |
//! |---|---|
//! | `sec-ch-ua-mobile: ?1` | `mobile` |
//! | `user-agent: ... (iPhone; ...) ... Mobile/15E148` | `mobile` |
//! | `user-agent: ... (iPad; ...)`, `... (Linux; Android 14; ...)` without `Mobile` | `tablet` |
//! | `user-agent: ... Googlebot/2.1 ...` | `bot` |
//! | anything else, or no `User-Agent` | `desktop` |
//!
//! The application must not send `Vary: User-Agent`; a route can be told to pass over it (`vary` in `docs/configuration.md`).

use larder_policy::{Input, Inputs, LookUp, Policy, Request, RequestDecision, RequestPolicy, Setting};

pub struct DeviceClass {
    user_agent: Input,
    /// A client hint, which says it in one word.
    is_mobile: Input,
    header: String,
    bots: bool,
}

#[derive(Debug, Setting)]
pub struct Settings {
    /// The request header field in which the application is told the class.
    #[setting(default = "x-device-class")]
    header: String,
    /// Whether bots are a class of their own; otherwise they are taken for what they say they are.
    #[setting(default = true)]
    bots: bool,
}

impl Policy for DeviceClass {
    const NAME: &'static str = "device-class";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SELF_TEST: &'static [&'static str] = &[include_str!("../cases/classes.json")];
    type Settings = Settings;

    fn configure(Settings { header, bots }: Settings, inputs: &mut Inputs) -> Result<Self, String> {
        Ok(Self {
            user_agent: inputs.field("user-agent"),
            is_mobile: inputs.field("sec-ch-ua-mobile"),
            header,
            bots,
        })
    }
}

impl RequestPolicy for DeviceClass {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        let user_agent = request.get(self.user_agent).unwrap_or_default().to_ascii_lowercase();
        let class = class(&user_agent, request.get(self.is_mobile), self.bots);
        LookUp::new().key_part(class).set_field(self.header.as_str(), class).into()
    }
}

/// From a closed set: what a client can make up must not fill the cache.
fn class(user_agent: &str, is_mobile: Option<&str>, bots: bool) -> &'static str {
    const BOTS: [&str; 5] = ["bot/", "bot;", "crawler", "spider", "slurp"];
    let says = |words: &[&str]| words.iter().any(|word| user_agent.contains(word));
    if bots && says(&BOTS) {
        "bot"
    } else if is_mobile == Some("?1") {
        "mobile"
    } else if says(&["ipad", "tablet", "kindle"]) || (says(&["android"]) && !says(&["mobile"])) {
        "tablet"
    } else if says(&["mobile", "iphone", "ipod"]) {
        "mobile"
    } else {
        "desktop"
    }
}

larder_policy::export!(DeviceClass: request);

#[cfg(test)]
mod tests {
    use larder_policy::testing::{Given, Tester};

    use super::*;

    #[track_caller]
    fn check(settings: &str, given: &Given, class: &str) {
        let policy = Tester::<DeviceClass>::new(settings).unwrap();
        let expected = LookUp::new().key_part(class).set_field("x-device-class", class);
        assert_eq!(policy.on_request(given), expected.into());
    }

    #[test]
    fn devices_are_told_apart_by_what_they_say() {
        let says = |user_agent| Given::new().field("user-agent", user_agent);
        check(
            "{}",
            &says("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0 Safari/537.36"),
            "desktop",
        );
        check("{}", &says("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148"), "mobile");
        check(
            "{}",
            &says("Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/131.0 Mobile Safari/537.36"),
            "mobile",
        );
        check("{}", &says("Mozilla/5.0 (Linux; Android 14; SM-X910) Chrome/131.0 Safari/537.36"), "tablet");
        check("{}", &says("Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X)"), "tablet");
        check("{}", &says("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"), "bot");
        check("{}", &Given::new(), "desktop");
    }

    #[test]
    fn a_hint_is_better_than_a_guess_and_bots_need_not_count() {
        check("{}", &Given::new().field("sec-ch-ua-mobile", "?1"), "mobile");
        let bot = Given::new().field("user-agent", "Googlebot/2.1 Mobile");
        check(r#"{ "bots": false }"#, &bot, "mobile");
    }

    #[test]
    fn the_cases_are_decided_as_they_say() {
        larder_policy::testing::check_cases::<DeviceClass>("cases");
    }
}
