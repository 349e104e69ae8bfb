//! Answers, as a header field tells it, with one thing or another that may not be.

use larder_policy::{
    Answer, Input, Inputs, LookUp, NoSettings, Pass, Policy, Request, RequestDecision, RequestPolicy,
};

struct BadOutput {
    what: Input,
}

impl Policy for BadOutput {
    const NAME: &'static str = "bad-output";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, inputs: &mut Inputs) -> Result<Self, String> {
        Ok(Self { what: inputs.field("x-what") })
    }
}

impl RequestPolicy for BadOutput {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        let long = || "x".repeat(10_000);
        let field = |name: &str, value: &str| Answer::new(200).field(name, value).into();
        match request.get(self.what).unwrap_or_default() {
            "cr-lf" => field("x-split", "a\r\nset-cookie: id=1"),
            "nul" => field("x-split", "a\0b"),
            "field-name" => field("x split", "a"),
            "framing" => field("Content-Length", "5"),
            "long-value" => field("x-long", &long()),
            "many-fields" => (0..100).fold(Answer::new(200), |answer, _| answer.field("x-field", "a")).into(),
            "status-101" => Answer::new(101).into(),
            "status-600" => Answer::new(600).into(),
            "body-with-304" => Answer::new(304).body("x").into(),
            "reason" => Pass::because(long()).into(),
            "reason-line" => Pass::because("a\nb").into(),
            "empty-tag" => LookUp::new().tag("").into(),
            "comma-tag" => LookUp::new().tag("a,b").into(),
            "long-tag" => LookUp::new().tag(long()).into(),
            "long-part" => LookUp::new().key_part(long()).into(),
            "many-parts" => (0..100).fold(LookUp::new(), |look_up, _| look_up.key_part("a")).into(),
            _ => LookUp::new().into(),
        }
    }
}

larder_policy::export!(BadOutput: request);
