//! What a Larder policy in Rust is written with.
//!
//! One type is the policy: [`Policy`] says who it is, what its settings are and what it reads;
//! [`RequestPolicy`] and [`ResponsePolicy`] decide; [`export!`] makes a component of it. Nothing but
//! [`export!`] knows WebAssembly, so unit tests run natively: see [`testing`].
//!
//! ```
//! use larder_policy::{Input, Inputs, LookUp, Policy, Request, RequestDecision, RequestPolicy};
//!
//! /// One stored response for each currency.
//! struct PerCurrency {
//!     currency: Input,
//! }
//!
//! impl Policy for PerCurrency {
//!     const NAME: &'static str = "per-currency";
//!     const VERSION: &'static str = "1.0.0";
//!     const SETTINGS_SCHEMA: &'static str = r#"{ "type": "object", "additionalProperties": false }"#;
//!     type Settings = larder_policy::NoSettings;
//!
//!     fn configure(_: Self::Settings, inputs: &mut Inputs) -> Result<Self, String> {
//!         Ok(Self { currency: inputs.cookie("currency") })
//!     }
//! }
//!
//! impl RequestPolicy for PerCurrency {
//!     fn on_request(&self, request: &Request<'_>) -> RequestDecision {
//!         LookUp::new().key_part(request.get(self.currency).unwrap_or("EUR")).into()
//!     }
//! }
//!
//! larder_policy::export!(PerCurrency: request);
//! # fn main() {}
//! ```
//!
//! Built with `cargo build --target wasm32-wasip2` as a `cdylib`.

mod inputs;
mod decision;
pub mod testing;
#[doc(hidden)]
pub mod glue;
#[doc(hidden)]
pub mod bindings;

pub use decision::{Answer, LookUp, RequestDecision, ResponseDecision, Store};
pub use inputs::{Input, Inputs, Request, Response, ResponseInput};

use serde::{Deserialize, de::DeserializeOwned};

/// Who a policy is and what it needs. Its values are shared and immutable: equal inputs give equal decisions.
pub trait Policy: Sized + Send + Sync + 'static {
    /// `[a-z0-9-]`, begins with a letter.
    const NAME: &'static str;
    const VERSION: &'static str;
    /// JSON Schema, in the part of it that `wit/plugin.wit` names. The host checks settings before it passes
    /// them on.
    const SETTINGS_SCHEMA: &'static str;
    type Settings: DeserializeOwned;

    /// The policy under these settings. What it reads is asked for here, by name, and the handle kept.
    /// `Err` says why it cannot work with the settings.
    fn configure(settings: Self::Settings, inputs: &mut Inputs) -> Result<Self, String>;
}

/// Decides before the look-up.
pub trait RequestPolicy: Policy {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision;
}

/// Decides before a response is stored.
pub trait ResponsePolicy: Policy {
    fn on_response(&self, request: &Request<'_>, response: &Response<'_>) -> ResponseDecision;
}

/// For policies without settings.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// Makes the crate a component: `export!(Type: request)`, `export!(Type: response)` or
/// `export!(Type: request, response)`. Does nothing but check the traits where the target is not WebAssembly.
#[macro_export]
macro_rules! export {
    ($policy:ty: $($phase:ident),+) => {
        $crate::__export!($policy, $($phase),+);
    };
}
