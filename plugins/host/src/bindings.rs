//! `wit/plugin.wit` as Rust types. Nothing else: what comes back is checked in `checks.rs`.
//!
//! Each interface has its own `GuestIndices`, so a component may lack one that the world has.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "policy",
    ownership: Borrowing { duplicate_if_necessary: true },
});

pub(crate) use exports::larder::policy::{request_policy, response_policy, setup};
