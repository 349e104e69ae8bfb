//! What stands between a policy and the functions of its component. For [`export!`](crate::export!) alone.
//!
//! It works on the SDK's own types; the generated ones are met in `bindings.rs`.

use std::sync::OnceLock;

use crate::{
    Inputs, Policy, ReadSettings, Request, RequestDecision, RequestPolicy, Response, ResponseDecision,
    ResponsePolicy, inputs::Offsets,
};

/// The policy of this instance, once it is configured.
pub struct Slot<P>(OnceLock<Configured<P>>);

pub(crate) struct Configured<P> {
    pub(crate) policy: P,
    pub(crate) offsets: Offsets,
}

/// Reads the settings and asks the policy what it reads under them.
pub(crate) fn configure<P: Policy>(settings: &str) -> Result<(Configured<P>, Inputs), String> {
    let settings = <P::Settings as ReadSettings>::read(settings)?;
    let mut inputs = Inputs::default();
    let policy = P::configure(settings, &mut inputs)?;
    Ok((Configured { policy, offsets: inputs.offsets() }, inputs))
}

impl<P: Policy> Slot<P> {
    #[expect(clippy::new_without_default, reason = "only ever the value of a static")]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    pub fn configure(&self, settings: &str) -> Result<Inputs, String> {
        let (configured, inputs) = configure(settings)?;
        self.0.set(configured).map_err(|_| "configured twice".to_owned())?;
        Ok(inputs)
    }

    /// The host configures each instance before it asks it for a decision.
    fn configured(&self) -> &Configured<P> {
        self.0.get().unwrap_or_else(|| panic!("asked for a decision before `configure`"))
    }
}

impl<P: RequestPolicy> Slot<P> {
    pub fn on_request(&self, values: &[Option<String>]) -> RequestDecision {
        self.configured().on_request(values)
    }
}

impl<P: ResponsePolicy> Slot<P> {
    pub fn on_response(
        &self,
        status: u16,
        request_values: &[Option<String>],
        response_values: &[Option<String>],
    ) -> ResponseDecision {
        self.configured().on_response(status, request_values, response_values)
    }
}

impl<P: RequestPolicy> Configured<P> {
    pub(crate) fn on_request(&self, values: &[Option<String>]) -> RequestDecision {
        self.policy.on_request(&Request { values, offsets: self.offsets })
    }
}

impl<P: ResponsePolicy> Configured<P> {
    pub(crate) fn on_response(
        &self,
        status: u16,
        request_values: &[Option<String>],
        response_values: &[Option<String>],
    ) -> ResponseDecision {
        let request = Request { values: request_values, offsets: self.offsets };
        self.policy.on_response(&request, &Response { status, values: response_values })
    }
}
