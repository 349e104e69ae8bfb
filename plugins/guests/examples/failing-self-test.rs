//! Brings a case that it does not pass.

use larder_policy::{Inputs, LookUp, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct FailingSelfTest;

impl Policy for FailingSelfTest {
    const NAME: &'static str = "failing-self-test";
    const VERSION: &'static str = "1.0.0";
    const SELF_TEST: &'static [&'static str] =
        &[r#"{ "name": "all alike", "expect": { "request": { "look_up": { "key_parts": ["b"] } } } }"#];
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for FailingSelfTest {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        LookUp::new().key_part("a").into()
    }
}

larder_policy::export!(FailingSelfTest: request);
