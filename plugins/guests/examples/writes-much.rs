//! Writes megabytes to standard error, then panics.

use std::io::Write;

use larder_policy::{Inputs, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct WritesMuch;

impl Policy for WritesMuch {
    const NAME: &'static str = "writes-much";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for WritesMuch {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        let mut error = std::io::stderr().lock();
        for _ in 0..16 {
            // Whether it is heard is not this guest's business.
            drop(error.write_all(&[b'\n'; 1 << 16]));
        }
        drop(error);
        panic!("the last words");
    }
}

larder_policy::export!(WritesMuch: request);
