//! Answers every request by itself.

use larder_policy::{Answer, Inputs, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct Refuses;

impl Policy for Refuses {
    const NAME: &'static str = "answer";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for Refuses {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        Answer::new(403)
            .field("content-type", "text/plain")
            .field("x-denied-by", "answer")
            .body("not for you\n")
            .into()
    }
}

larder_policy::export!(Refuses: request);
