//! Asks for a TTL of half a billion years.

use std::time::Duration;

use larder_policy::{Inputs, NoSettings, Policy, Request, Response, ResponseDecision, ResponsePolicy, Store};

struct BadTtl;

impl Policy for BadTtl {
    const NAME: &'static str = "bad-ttl";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl ResponsePolicy for BadTtl {
    fn on_response(&self, _: &Request<'_>, _: &Response<'_>) -> ResponseDecision {
        Store { ttl: Some(Duration::MAX), ..Store::default() }.into()
    }
}

larder_policy::export!(BadTtl: response);
