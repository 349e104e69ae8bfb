//! Asks for more tags than a stored response may carry.

use larder_policy::{Inputs, LookUp, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct ManyTags;

impl Policy for ManyTags {
    const NAME: &'static str = "many-tags";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for ManyTags {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        (0..100_000).fold(LookUp::new(), |look_up, number| look_up.tag(format!("tag-{number}"))).into()
    }
}

larder_policy::export!(ManyTags: request);
