//! Decides requests, and never answers what becomes of a response.

use larder_policy::{
    Inputs, LookUp, NoSettings, Policy, Request, RequestDecision, RequestPolicy, Response, ResponseDecision,
    ResponsePolicy,
};

struct SpinInResponse;

impl Policy for SpinInResponse {
    const NAME: &'static str = "spin-in-response";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for SpinInResponse {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        LookUp::new().key_part("a").into()
    }
}

impl ResponsePolicy for SpinInResponse {
    fn on_response(&self, _: &Request<'_>, _: &Response<'_>) -> ResponseDecision {
        loop {
            std::hint::spin_loop();
        }
    }
}

larder_policy::export!(SpinInResponse: request, response);
