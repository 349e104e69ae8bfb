//! Built for `larder:policy@0.1.0`, and decides as it did then.

use guests::since_0_1::{request_policy, response_policy, setup};

struct Since01;

impl setup::Guest for Since01 {
    fn describe() -> setup::Description {
        setup::Description {
            name: "since-0-1".to_owned(),
            version: "1.0.0".to_owned(),
            settings_schema: "{}".to_owned(),
        }
    }

    fn configure(_: String) -> Result<setup::Inputs, String> {
        Ok(setup::Inputs {
            request_fields: vec!["x-tenant".to_owned()],
            query_parameters: Vec::new(),
            cookies: Vec::new(),
            captures: Vec::new(),
            method: false,
            path: true,
            time: false,
            response_fields: vec!["x-kind".to_owned()],
        })
    }
}

impl request_policy::Guest for Since01 {
    fn on_request(values: Vec<Option<String>>) -> request_policy::RequestDecision {
        match values.into_iter().next().flatten() {
            Some(tenant) => request_policy::RequestDecision::LookUp(request_policy::LookUp {
                key_parts: vec![tenant],
                tags: Vec::new(),
            }),
            None => request_policy::RequestDecision::Pass("nobody".to_owned()),
        }
    }
}

impl response_policy::Guest for Since01 {
    fn on_response(
        status: u16,
        _: Vec<Option<String>>,
        response_values: Vec<Option<String>>,
    ) -> response_policy::ResponseDecision {
        if status >= 500 {
            return response_policy::ResponseDecision::DoNotStore("an error".to_owned());
        }
        response_policy::ResponseDecision::Store(response_policy::Store {
            ttl_ms: Some(5_000),
            stale_while_revalidate_ms: None,
            stale_if_error_ms: None,
            tags: response_values.into_iter().flatten().collect(),
            set_fields: vec![("x-kept".to_owned(), "1".to_owned())],
            remove_fields: vec!["server".to_owned()],
        })
    }
}

// The names of the exports mean something to a component's linker alone.
#[cfg(target_family = "wasm")]
guests::since_0_1::__export_since_0_1!(Since01 with_types_in guests::since_0_1);
// Elsewhere it would count as never used.
#[cfg(not(target_family = "wasm"))]
const _: fn() -> setup::Description = <Since01 as setup::Guest>::describe;
