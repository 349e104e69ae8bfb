//! One component with one set of settings, compiled and ready to be instantiated on any thread.
//!
//! It is immutable and shared. What runs is an instance (`call.rs`); how it came to be: `load.rs`.

use std::sync::Arc;

use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};

use crate::{
    decision::Inputs,
    engine::{Shared, ticks},
    limits::Guarded,
    versions::Indices,
};

/// A loaded policy. Clones are cheap and the same policy.
#[derive(Clone)]
pub struct Policy {
    pub(crate) loaded: Arc<Loaded>,
}

pub(crate) struct Loaded {
    /// Tells the instances of this load from those of any other, of the same file too.
    pub(crate) id: u64,
    pub(crate) engine: Arc<Shared>,
    pub(crate) program: Arc<Program>,
    pub(crate) settings: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) label: Arc<str>,
    pub(crate) inputs: Inputs,
}

/// Compiled code with its imports, and where its exports are.
pub(crate) struct Program {
    pub(crate) pre: InstancePre<Guarded>,
    pub(crate) indices: Indices,
}

impl Policy {
    /// As the component describes itself.
    pub fn name(&self) -> &str {
        &self.loaded.name
    }

    pub fn version(&self) -> &str {
        &self.loaded.version
    }

    /// `name@version`, for log lines and metric labels.
    pub fn label(&self) -> &Arc<str> {
        &self.loaded.label
    }

    /// Which values each call takes, and in which order.
    pub fn inputs(&self) -> &Inputs {
        &self.loaded.inputs
    }

    /// The version of `larder:policy` that it is built for, as in `0.2`.
    pub fn contract_version(&self) -> &'static str {
        self.loaded.program.indices.version().short()
    }

    pub fn decides_requests(&self) -> bool {
        self.loaded.program.indices.decides_requests()
    }

    pub fn decides_responses(&self) -> bool {
        self.loaded.program.indices.decides_responses()
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Policy").field(&self.loaded.label).finish()
    }
}

impl Program {
    /// A fresh instance, not yet configured. Fails where the guest's start code traps, or the pool is full.
    pub(crate) fn instantiate(&self, store: &mut Store<Guarded>) -> wasmtime::Result<Instance> {
        store.set_epoch_deadline(ticks(store.data().deadline));
        self.pre.instantiate(&mut *store)
    }
}
