//! One component with one set of settings, compiled and ready to be instantiated on any thread.
//!
//! It is immutable and shared. What runs is an instance (`call.rs`); how it came to be: `load.rs`.

use std::sync::Arc;

use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};

use crate::{
    bindings::{request_policy, response_policy, setup},
    decision::Inputs,
    engine::{Shared, ticks},
    limits::Guarded,
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
    pub(crate) program: Program,
    pub(crate) settings: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) label: Arc<str>,
    pub(crate) inputs: Inputs,
}

/// Compiled code with its imports, and where its exports are.
pub(crate) struct Program {
    pub(crate) pre: InstancePre<Guarded>,
    pub(crate) setup: setup::GuestIndices,
    pub(crate) request: Option<request_policy::GuestIndices>,
    pub(crate) response: Option<response_policy::GuestIndices>,
}

/// The functions of one instance, looked up once.
pub(crate) struct Exports {
    pub(crate) setup: setup::Guest,
    pub(crate) request: Option<request_policy::Guest>,
    pub(crate) response: Option<response_policy::Guest>,
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

    pub fn decides_requests(&self) -> bool {
        self.loaded.program.request.is_some()
    }

    pub fn decides_responses(&self) -> bool {
        self.loaded.program.response.is_some()
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

    /// Fails where the types of the exports are not those of `wit/`.
    pub(crate) fn exports(
        &self,
        store: &mut Store<Guarded>,
        instance: &Instance,
    ) -> wasmtime::Result<Exports> {
        Ok(Exports {
            setup: self.setup.load(&mut *store, instance)?,
            request: self.request.as_ref().map(|it| it.load(&mut *store, instance)).transpose()?,
            response: self.response.as_ref().map(|it| it.load(&mut *store, instance)).transpose()?,
        })
    }
}
