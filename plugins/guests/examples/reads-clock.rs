//! Tries to read the clock.

use std::time::SystemTime;

use larder_policy::{Inputs, LookUp, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct ReadsClock;

impl Policy for ReadsClock {
    const NAME: &'static str = "reads-clock";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for ReadsClock {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        #[expect(clippy::disallowed_methods, reason = "that it gets no answer is what the host's test shows")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        LookUp::new().key_part(now.as_secs().to_string()).into()
    }
}

larder_policy::export!(ReadsClock: request);
