//! Never takes its settings.

use larder_policy::{Inputs, LookUp, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct SpinInConfigure;

impl Policy for SpinInConfigure {
    const NAME: &'static str = "spin-in-configure";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        loop {
            std::hint::spin_loop();
        }
    }
}

impl RequestPolicy for SpinInConfigure {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        LookUp::new().into()
    }
}

larder_policy::export!(SpinInConfigure: request);
