//! Reads two fields and a cookie, and puts what it got into the key.

use larder_policy::{Input, Inputs, LookUp, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct EchoKey {
    read: [Input; 3],
}

impl Policy for EchoKey {
    const NAME: &'static str = "echo-key";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, inputs: &mut Inputs) -> Result<Self, String> {
        // Not in the order in which values are passed: the handles must find their own.
        Ok(Self { read: [inputs.cookie("plan"), inputs.field("X-Tenant"), inputs.field("accept-language")] })
    }
}

impl RequestPolicy for EchoKey {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        self.read
            .iter()
            .fold(LookUp::new(), |look_up, input| look_up.key_part(request.get(*input).unwrap_or("-")))
            .into()
    }
}

larder_policy::export!(EchoKey: request);
