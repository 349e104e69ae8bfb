//! Counts words in a hash table, whose seed standard libraries ask the host for: a plain policy, not a hostile
//! one.

use std::collections::HashMap;

use larder_policy::{Input, Inputs, LookUp, NoSettings, Policy, Request, RequestDecision, RequestPolicy};

struct CountsWords {
    words: Input,
}

impl Policy for CountsWords {
    const NAME: &'static str = "hash-map";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, inputs: &mut Inputs) -> Result<Self, String> {
        Ok(Self { words: inputs.query_parameter("words") })
    }
}

impl RequestPolicy for CountsWords {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        let mut counts = HashMap::<&str, u32>::new();
        for word in request.get(self.words).unwrap_or_default().split('+') {
            *counts.entry(word).or_default() += 1;
        }
        // In the order of the table: with a seed from outside it would be another one each time.
        let parts = counts.iter().map(|(word, count)| format!("{word}={count}"));
        LookUp { key_parts: parts.collect(), ..LookUp::default() }.into()
    }
}

larder_policy::export!(CountsWords: request);
