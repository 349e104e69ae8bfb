//! The least that a policy of use does: two fields of the request as two parts of the key. What a call costs is measured with it
//! (`cargo xtask bench policy`).

use larder_policy::{Input, Inputs, LookUp, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct TwoFields {
    tenant: Input,
    plan: Input,
}

impl Policy for TwoFields {
    const NAME: &'static str = "two-fields";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, inputs: &mut Inputs) -> Result<Self, String> {
        Ok(Self { tenant: inputs.field("x-tenant"), plan: inputs.field("x-plan") })
    }
}

impl RequestPolicy for TwoFields {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        let tenant = request.get(self.tenant).unwrap_or("anonymous");
        let plan = request.get(self.plan).unwrap_or("free");
        LookUp::new().key_part(tenant).key_part(plan).into()
    }
}

larder_policy::export!(TwoFields: request);
