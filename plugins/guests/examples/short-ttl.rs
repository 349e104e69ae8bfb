//! Keeps for five seconds, and errors not at all.

use std::time::Duration;

use larder_policy::{
    DoNotStore, FieldChanges, Inputs, NoSettings, Policy, Request, Response, ResponseDecision, ResponseInput,
    ResponsePolicy, Store,
};

struct ShortTtl {
    kind: ResponseInput,
}

impl Policy for ShortTtl {
    const NAME: &'static str = "short-ttl";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, inputs: &mut Inputs) -> Result<Self, String> {
        Ok(Self { kind: inputs.response_field("X-Kind") })
    }
}

impl ResponsePolicy for ShortTtl {
    fn on_response(&self, _: &Request<'_>, response: &Response<'_>) -> ResponseDecision {
        if response.status() >= 400 {
            return DoNotStore::because(format!("status {}", response.status())).into();
        }
        Store {
            ttl: Some(Duration::from_secs(5)),
            stale_if_error: Some(Duration::ZERO),
            tags: response.get(self.kind).map(|kind| format!("kind:{kind}")).into_iter().collect(),
            fields: FieldChanges {
                remove: vec!["Server".to_owned()],
                set: vec![("x-kept-for".to_owned(), "5".to_owned())],
            },
            ..Store::default()
        }
        .into()
    }
}

larder_policy::export!(ShortTtl: response);
