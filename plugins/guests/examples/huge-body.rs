//! Answers with more bytes than it may hand over.

use larder_policy::{Answer, Input, Inputs, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct HugeBody {
    megabytes: Input,
}

impl Policy for HugeBody {
    const NAME: &'static str = "huge-body";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, inputs: &mut Inputs) -> Result<Self, String> {
        Ok(Self { megabytes: inputs.field("x-megabytes") })
    }
}

impl RequestPolicy for HugeBody {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        let megabytes: usize = request.get(self.megabytes).and_then(|text| text.parse().ok()).unwrap_or(8);
        Answer::new(200).body(vec![b'x'; megabytes << 20]).into()
    }
}

larder_policy::export!(HugeBody: request);
