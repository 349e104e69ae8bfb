//! The contract as Rust types, one module for each version that this host speaks. Nothing else: how answers of an older
//! version become those of the newest is in `versions.rs`, and what comes back is checked in `checks.rs`.
//!
//! Each interface has its own `GuestIndices`, so a component may lack one that the world has.

/// `wit/plugin.wit`.
pub(crate) mod v0_2 {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "policy",
        ownership: Borrowing { duplicate_if_necessary: true },
    });

    pub(crate) use exports::larder::policy::{request_policy, response_policy, setup};
    pub(crate) use larder::policy::types::FieldChanges;
}

/// `wit/since-0.1/plugin.wit`.
pub(crate) mod v0_1 {
    wasmtime::component::bindgen!({
        path: "../../wit/since-0.1",
        world: "policy",
        ownership: Borrowing { duplicate_if_necessary: true },
    });

    pub(crate) use exports::larder::policy::{request_policy, response_policy, setup};
}
