//! Runs policy components. The only crate that knows wasmtime.
//!
//! An [`Engine`] is made once per process, a [`Policy`] once per component and settings, and each worker
//! thread keeps its own [`Instances`]. The caller passes the values of the declared [`Inputs`], flat and in
//! order, and gets a decision whose every part has been checked, or a [`Fault`].
//!
//! The contract with the guests is `wit/plugin.wit`.

mod decision;
mod fault;
mod breaker;
mod limits;
mod code_cache;
mod engine;
mod memories;
mod load;
mod schema;
mod wasi;
mod policy;
mod inspect;
mod call;
mod remembered;
mod inputs;
pub mod cases;
mod checks;
mod versions;
mod bindings;

pub use breaker::{Breaker, Permission, Tripped};
pub use call::Instances;
pub use code_cache::CodeCacheError;
pub use decision::{
    Answer, DoNotStore, FieldChanges, Forward, Inputs, LookUp, Pass, QueryChange, RequestDecision,
    ResponseDecision, StoreDecision,
};
pub use engine::{Engine, EngineError};
pub use fault::{Fault, FaultKind};
pub use inputs::{RequestView, Values, cookie, field};
pub use inspect::{Described, Import, Inspection};
pub use limits::Limits;
pub use load::LoadError;
pub use policy::Policy;
