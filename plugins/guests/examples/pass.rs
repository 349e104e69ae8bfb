//! Never uses the cache.

use larder_policy::{Inputs, NoSettings, Pass, Policy, Request, RequestDecision, RequestPolicy};

struct AlwaysPasses;

impl Policy for AlwaysPasses {
    const NAME: &'static str = "pass";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for AlwaysPasses {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        Pass::because("as it always does").into()
    }
}

larder_policy::export!(AlwaysPasses: request);
