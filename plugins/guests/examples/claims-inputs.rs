//! Says that it reads all that it may, and looks at nothing. With the setting `true` it also claims to read responses,
//! which it does not decide.

use larder_policy::{Inputs, LookUp, Policy, Request, RequestDecision, RequestPolicy};

struct ClaimsInputs;

impl Policy for ClaimsInputs {
    const NAME: &'static str = "claims-inputs";
    const VERSION: &'static str = "1.0.0";
    type Settings = bool;

    fn configure(claims_responses: bool, inputs: &mut Inputs) -> Result<Self, String> {
        for number in 0..63 {
            inputs.field(&format!("x-{number}"));
        }
        inputs.method();
        inputs.host();
        inputs.path();
        inputs.query();
        inputs.time();
        inputs.decided();
        if claims_responses {
            inputs.response_field("x-kind");
        }
        Ok(Self)
    }
}

impl RequestPolicy for ClaimsInputs {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        LookUp::new().into()
    }
}

larder_policy::export!(ClaimsInputs: request);
