//! Brings cases that it passes, each under settings of its own.

use std::collections::BTreeMap;

use larder_policy::{Inputs, LookUp, Policy, Request, RequestDecision, RequestPolicy};

struct SelfTest {
    settings: BTreeMap<String, String>,
}

impl Policy for SelfTest {
    const NAME: &'static str = "self-test";
    const VERSION: &'static str = "1.0.0";
    const SELF_TEST: &'static [&'static str] = &[
        r#"{ "settings": { "x": "a" }, "expect": { "request": { "look_up": { "key_parts": ["a"] } } } }"#,
        r#"[{ "settings": { "x": "b" }, "expect": { "request": { "look_up": { "key_parts": ["b"] } } } }]"#,
    ];
    type Settings = BTreeMap<String, String>;

    fn configure(settings: Self::Settings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self { settings })
    }
}

impl RequestPolicy for SelfTest {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        self.settings.values().fold(LookUp::new(), |look_up, part| look_up.key_part(part.as_str())).into()
    }
}

larder_policy::export!(SelfTest: request);
