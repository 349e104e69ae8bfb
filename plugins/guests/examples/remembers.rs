//! Remembers every tenant it saw, tells them all, and writes each to standard error: what a careless policy
//! may carry from one client to the next, and how far.

use std::sync::{Mutex, PoisonError};

use larder_policy::{Input, Inputs, LookUp, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct Remembers {
    tenant: Input,
    seen: Mutex<Vec<String>>,
}

impl Policy for Remembers {
    const NAME: &'static str = "remembers";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, inputs: &mut Inputs) -> Result<Self, String> {
        Ok(Self { tenant: inputs.field("x-tenant"), seen: Mutex::default() })
    }
}

impl RequestPolicy for Remembers {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        let tenant = request.get(self.tenant).unwrap_or("nobody");
        eprintln!("asked for {tenant}");
        if tenant == "panic" {
            panic!("told to");
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(tenant.to_owned());
        LookUp { key_parts: seen.clone(), ..LookUp::default() }.into()
    }
}

larder_policy::export!(Remembers: request);
