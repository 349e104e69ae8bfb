//! Says one thing, at a length of megabytes, wherever it can say something.

use larder_policy::{
    Answer, Input, Inputs, LookUp, NoSettings, Pass, Policy, Request, RequestDecision, RequestPolicy,
};

struct HugeString {
    place: Input,
}

impl Policy for HugeString {
    const NAME: &'static str = "huge-string";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, inputs: &mut Inputs) -> Result<Self, String> {
        Ok(Self { place: inputs.field("x-place") })
    }
}

impl RequestPolicy for HugeString {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        let huge = |mebibytes: usize| "x".repeat(mebibytes << 20);
        match request.get(self.place).unwrap_or_default() {
            "reason" => Pass::because(huge(1)).into(),
            "upstream" => LookUp::new().upstream(huge(1)).into(),
            "parameter" => LookUp::new().only_parameters([huge(1)]).into(),
            "field-name" => Answer::new(200).field(huge(1), "a").into(),
            // More than one call may hand over.
            _ => LookUp::new().key_part(huge(8)).into(),
        }
    }
}

larder_policy::export!(HugeString: request);
