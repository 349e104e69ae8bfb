//! Declares one or more inputs of every kind, and hands back what it is passed as it is passed: on a request
//! as key parts, on a response as tags. Without the SDK, which would put each value in its place.

use larder_policy::bindings::{request, response, setup};

struct EchoInputs;

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn shown(values: Vec<Option<String>>) -> Vec<String> {
    values.into_iter().map(|value| value.unwrap_or_else(|| "<none>".to_owned())).collect()
}

impl setup::Guest for EchoInputs {
    fn describe() -> setup::Description {
        setup::Description {
            name: "echo-inputs".to_owned(),
            version: "1.0.0".to_owned(),
            settings_schema: "{}".to_owned(),
            self_test: Vec::new(),
        }
    }

    fn configure(_: String) -> Result<setup::Inputs, String> {
        Ok(setup::Inputs {
            request_fields: owned(&["X-One", "x-two"]),
            query_parameters: owned(&["page"]),
            cookies: owned(&["plan"]),
            captures: owned(&["id"]),
            method: true,
            host: true,
            path: true,
            query: true,
            time: true,
            decided: true,
            response_fields: owned(&["Content-Type", "x-kind"]),
            ttl: true,
        })
    }
}

impl request::Guest for EchoInputs {
    fn on_request(values: Vec<Option<String>>) -> request::RequestDecision {
        larder_policy::RequestDecision::from(larder_policy::LookUp {
            key_parts: shown(values),
            ..Default::default()
        })
        .into()
    }
}

impl response::Guest for EchoInputs {
    fn on_response(
        status: u16,
        request_values: Vec<Option<String>>,
        response_values: Vec<Option<String>>,
    ) -> response::ResponseDecision {
        let mut tags = vec![status.to_string()];
        tags.extend(shown(request_values));
        tags.extend(shown(response_values));
        larder_policy::ResponseDecision::from(larder_policy::Store { tags, ..Default::default() }).into()
    }
}

#[cfg(target_family = "wasm")]
setup::__export_setup!(EchoInputs with_types_in larder_policy::bindings::setup);
#[cfg(target_family = "wasm")]
request::__export_request!(EchoInputs with_types_in larder_policy::bindings::request);
#[cfg(target_family = "wasm")]
response::__export_response!(EchoInputs with_types_in larder_policy::bindings::response);
// Elsewhere it would count as never used.
#[cfg(not(target_family = "wasm"))]
const _: fn() -> setup::Description = <EchoInputs as setup::Guest>::describe;
