//! Never uses the cache.

use larder_policy::{Inputs, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct Pass;

impl Policy for Pass {
    const NAME: &'static str = "pass";
    const VERSION: &'static str = "1.0.0";
    const SETTINGS_SCHEMA: &'static str = "{}";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for Pass {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        RequestDecision::Pass("as it always does".to_owned())
    }
}

larder_policy::export!(Pass: request);
