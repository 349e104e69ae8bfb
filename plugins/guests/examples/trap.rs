//! Panics on every call, with words that are for the operator alone.

use larder_policy::{Inputs, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct Panics;

impl Policy for Panics {
    const NAME: &'static str = "trap";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for Panics {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        panic!("the tenant table is empty");
    }
}

larder_policy::export!(Panics: request);
