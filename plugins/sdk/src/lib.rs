//! What a Larder policy in Rust is written with.
//!
//! One type is the policy: [`Policy`] says who it is, what its settings are and what it reads;
//! [`RequestPolicy`] and [`ResponsePolicy`] decide; [`export!`] makes a component of it. Nothing but
//! [`export!`] knows WebAssembly, so unit tests run natively: see [`testing`].
//!
//! A whole policy: one stored response for each currency, and a short life for prices.
//!
//! ```
//! use std::time::Duration;
//!
//! use larder_policy::{
//!     Input, Inputs, LookUp, Pass, Policy, Request, RequestDecision, RequestPolicy, Response, ResponseDecision,
//!     ResponseInput, ResponsePolicy, Setting, Store,
//! };
//!
//! struct PerCurrency {
//!     currency: Input,
//!     kind: ResponseInput,
//!     settings: Settings,
//! }
//!
//! #[derive(Setting)]
//! struct Settings {
//!     /// The currency of who has chosen none.
//!     #[setting(default = "EUR")]
//!     fallback: String,
//! }
//!
//! impl Policy for PerCurrency {
//!     const NAME: &'static str = "per-currency";
//!     const VERSION: &'static str = "1.0.0";
//!     // Checked by the host, with the place of each fault, before `configure` is asked.
//!     type Settings = Settings;
//!
//!     fn configure(settings: Settings, inputs: &mut Inputs) -> Result<Self, String> {
//!         if !matches!(settings.fallback.as_str(), "EUR" | "USD") {
//!             return Err(format!("fallback: {:?} is not offered", settings.fallback));
//!         }
//!         // What is not asked for here is not passed.
//!         Ok(Self { currency: inputs.cookie("currency"), kind: inputs.response_field("x-kind"), settings })
//!     }
//! }
//!
//! impl RequestPolicy for PerCurrency {
//!     fn on_request(&self, request: &Request<'_>) -> RequestDecision {
//!         // From a closed set: what a client can make up must not fill the cache.
//!         match request.get(self.currency) {
//!             None => LookUp::new().key_part(self.settings.fallback.as_str()).into(),
//!             Some(known @ ("EUR" | "USD")) => LookUp::new().key_part(known).into(),
//!             Some(_) => Pass::because("a currency of the client's own").into(),
//!         }
//!     }
//! }
//!
//! impl ResponsePolicy for PerCurrency {
//!     fn on_response(&self, _: &Request<'_>, response: &Response<'_>) -> ResponseDecision {
//!         if response.get(self.kind) == Some("price") {
//!             return Store::new().ttl(Duration::from_secs(5)).tag("prices").into();
//!         }
//!         // Whatever the upstream and the route say.
//!         Store::default().into()
//!     }
//! }
//!
//! larder_policy::export!(PerCurrency: request, response);
//!
//! // Its unit tests:
//! use larder_policy::testing::{Given, Tester};
//!
//! # fn main() {
//! let policy = Tester::<PerCurrency>::new("{}").unwrap();
//! let decision = policy.on_request(&Given::new().cookie("currency", "USD"));
//! assert_eq!(decision, LookUp::new().key_part("USD").into());
//! assert_eq!(policy.on_request(&Given::new()), LookUp::new().key_part("EUR").into());
//! # let price = policy.on_response(200, &Given::new().response_field("X-Kind", "price"));
//! # assert!(matches!(price, ResponseDecision::Store(Store { ttl: Some(_), .. })));
//! # }
//! ```
//!
//! Its `Cargo.toml`; the profile makes it small, so that it compiles quickly where it is loaded:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! larder-policy = "0.1"
//!
//! [profile.release]
//! opt-level = 2
//! lto = true
//! codegen-units = 1
//! strip = true
//! panic = "abort"
//! ```
//!
//! `cargo build --release --target wasm32-wasip2` makes the component, `per_currency.wasm`; a route names it:
//!
//! ```toml
//! policy = { component = "policies/per_currency.wasm", settings = { fallback = "EUR" } }
//! ```
//!
//! # What a policy cannot do
//!
//! The clock, files and the network are not there: a call of them is a trap. Randomness is always zero. A
//! panic, a call that takes more than 10 ms, or a decision outside the bounds of `wit/plugin.wit` is a fault: the
//! route's `on_fault` decides what becomes of the request, and the next call gets a fresh instance. What is
//! written with `eprintln!` stands in the operator's log if the call fails. Statics outlive a call, for an unknown
//! number of calls, and must not change a decision. A `#[global_allocator]` of its own must not be there: what the host passes
//! comes from the C library's `malloc` on `wasm32-wasip2`, and Rust's allocator frees it.

mod inputs;
mod decision;
pub mod settings;
mod time;
mod json;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
#[doc(hidden)]
pub mod glue;
#[doc(hidden)]
pub mod bindings;
#[cfg(test)]
mod tests;

// What the macro writes names this crate, also in it.
extern crate self as larder_policy;

pub use decision::{
    Answer, DoNotStore, FieldChanges, Forward, LookUp, Pass, QueryChange, RequestDecision, ResponseDecision,
    Store,
};
pub use inputs::{Input, Inputs, Request, Response, ResponseInput, TtlInput};
pub use json::Json;
pub use larder_policy_derive::Setting;
pub use settings::{ReadSettings, Setting};
pub use time::Ttl;

/// Who a policy is and what it needs. Its values are shared and immutable: equal inputs give equal decisions.
pub trait Policy: Sized + Send + Sync + 'static {
    /// `[a-z0-9-]`, begins with a letter.
    const NAME: &'static str;
    const VERSION: &'static str;
    /// What stands in the configuration: mostly a struct that derives [`Setting`]. The host checks settings against its schema
    /// before it passes them on.
    type Settings: ReadSettings;
    /// Texts of case files (`docs/policies.md`) that the host puts to the policy before it is used.
    const SELF_TEST: &'static [&'static str] = &[];

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
#[derive(Debug, Clone, Copy, Setting)]
pub struct NoSettings {}

/// Makes the crate a component: `export!(Type: request)`, `export!(Type: response)` or
/// `export!(Type: request, response)`. Does nothing but check the traits where the target is not WebAssembly.
/// Once in a crate.
#[macro_export]
macro_rules! export {
    ($policy:ty: $($phase:ident),+) => {
        $crate::__export!($policy, $($phase),+);
    };
}
