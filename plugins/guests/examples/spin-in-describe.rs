//! Never says who it is. The SDK's `describe` is a constant, so this one does without the SDK's.

use larder_policy::bindings::{request, setup};

struct SpinInDescribe;

impl setup::Guest for SpinInDescribe {
    fn describe() -> setup::Description {
        loop {
            std::hint::spin_loop();
        }
    }

    fn configure(_: String) -> Result<setup::Inputs, String> {
        Err("never described".to_owned())
    }
}

impl request::Guest for SpinInDescribe {
    fn on_request(_: Vec<Option<String>>) -> request::RequestDecision {
        larder_policy::RequestDecision::from(larder_policy::Pass::because("never configured")).into()
    }
}

#[cfg(target_family = "wasm")]
setup::__export_setup!(SpinInDescribe with_types_in larder_policy::bindings::setup);
#[cfg(target_family = "wasm")]
request::__export_request!(SpinInDescribe with_types_in larder_policy::bindings::request);
// Elsewhere it would count as never used.
#[cfg(not(target_family = "wasm"))]
const _: fn() -> setup::Description = <SpinInDescribe as setup::Guest>::describe;
