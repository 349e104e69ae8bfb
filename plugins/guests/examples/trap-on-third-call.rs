//! Answers twice, then panics: what an instance remembers, and what ends with it.

use std::sync::atomic::{AtomicU32, Ordering};

use larder_policy::{Inputs, LookUp, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct PanicsOnThirdCall {
    calls: AtomicU32,
}

impl Policy for PanicsOnThirdCall {
    const NAME: &'static str = "trap-on-third-call";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self { calls: AtomicU32::new(0) })
    }
}

impl RequestPolicy for PanicsOnThirdCall {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        match self.calls.fetch_add(1, Ordering::Relaxed) {
            2 => panic!("the third call"),
            call => LookUp::new().key_part(call.to_string()).into(),
        }
    }
}

larder_policy::export!(PanicsOnThirdCall: request);
