//! Brings as many cases as fit into the bytes of a self-test: a list of them is one text.

use larder_policy::bindings::{request, setup};

struct ManySelfTests;

impl setup::Guest for ManySelfTests {
    fn describe() -> setup::Description {
        let case = r#"{ "expect": { "request": { "look_up": {} } } }"#;
        setup::Description {
            name: "many-self-tests".to_owned(),
            version: "1.0.0".to_owned(),
            settings_schema: "{}".to_owned(),
            self_test: vec![format!("[{}]", vec![case; 900].join(","))],
        }
    }

    fn configure(_: String) -> Result<setup::Inputs, String> {
        Ok(larder_policy::Inputs::default().into())
    }
}

impl request::Guest for ManySelfTests {
    fn on_request(_: Vec<Option<String>>) -> request::RequestDecision {
        larder_policy::RequestDecision::from(larder_policy::LookUp::new()).into()
    }
}

#[cfg(target_family = "wasm")]
setup::__export_setup!(ManySelfTests with_types_in larder_policy::bindings::setup);
#[cfg(target_family = "wasm")]
request::__export_request!(ManySelfTests with_types_in larder_policy::bindings::request);
// Elsewhere it would count as never used.
#[cfg(not(target_family = "wasm"))]
const _: fn() -> setup::Description = <ManySelfTests as setup::Guest>::describe;
