//! Never answers.

use larder_policy::{Inputs, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct SpinForever;

impl Policy for SpinForever {
    const NAME: &'static str = "spin-forever";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for SpinForever {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        loop {
            std::hint::spin_loop();
        }
    }
}

larder_policy::export!(SpinForever: request);
