//! Takes memory until there is none.

use larder_policy::{Inputs, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct GrowMemory;

impl Policy for GrowMemory {
    const NAME: &'static str = "grow-memory";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for GrowMemory {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        let mut hoard = Vec::new();
        loop {
            hoard.push(vec![1_u8; 1 << 20]);
            std::hint::black_box(&hoard);
        }
    }
}

larder_policy::export!(GrowMemory: request);
