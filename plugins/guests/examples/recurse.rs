//! Calls itself until the stack ends.

use larder_policy::{Inputs, LookUp, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct Recurses;

impl Policy for Recurses {
    const NAME: &'static str = "recurse";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for Recurses {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        LookUp::new().key_part(depth(0).to_string()).into()
    }
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn depth(above: u64) -> u64 {
    std::hint::black_box(depth(std::hint::black_box(above) + 1)) + 1
}

larder_policy::export!(Recurses: request);
