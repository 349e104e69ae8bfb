//! One call: a reused instance, a deadline, the answer checked, or a fault and the instance thrown away.
//!
//! It does not know what the values mean nor what becomes of a decision.

use std::sync::{Arc, Weak};

use wasmtime::Store;

use crate::{
    checks,
    decision::{RequestDecision, ResponseDecision, StoreDecision},
    engine::ticks,
    fault::{Fault, FaultKind, classify},
    limits::Guarded,
    policy::{Exports, Loaded, Policy},
};

/// The instances of one thread, at most one for each policy.
#[derive(Default)]
pub struct Instances {
    /// INVARIANT: sorted by `policy_id`. There are a few: a search in them is cheaper than a hash.
    sorted: Vec<Instance>,
}

struct Instance {
    policy_id: u64,
    store: Store<Guarded>,
    exports: Exports,
    calls_left: u32,
    deadline_ticks: u64,
    /// Whether anybody may still call it. Weak: a thread that is idle must not keep an old policy loaded.
    policy: Weak<Loaded>,
}

impl Instances {
    pub fn new() -> Self {
        Self::default()
    }

    /// `values`: one for each request input. A policy that does not decide requests changes nothing.
    pub fn on_request(&mut self, policy: &Policy, values: &[Option<&str>]) -> Result<RequestDecision, Fault> {
        debug_assert_eq!(values.len(), policy.inputs().request_values());
        let unchanged = || RequestDecision::LookUp { key_parts: Vec::new(), tags: Vec::new() };
        if !policy.decides_requests() {
            return Ok(unchanged());
        }
        self.call(policy, |exports, store| match &exports.request {
            Some(guest) => guest.call_on_request(store, values).map(checks::request_decision),
            None => Ok(Ok(unchanged())),
        })
    }

    /// `request_values` as for [`Self::on_request`], `response_values`: one for each response field. A policy
    /// that does not decide responses changes nothing.
    pub fn on_response(
        &mut self,
        policy: &Policy,
        status: u16,
        request_values: &[Option<&str>],
        response_values: &[Option<&str>],
    ) -> Result<ResponseDecision, Fault> {
        debug_assert_eq!(request_values.len(), policy.inputs().request_values());
        debug_assert_eq!(response_values.len(), policy.inputs().response_fields.len());
        let unchanged = || ResponseDecision::Store(StoreDecision::default());
        if !policy.decides_responses() {
            return Ok(unchanged());
        }
        self.call(policy, |exports, store| match &exports.response {
            Some(guest) => guest
                .call_on_response(store, status, request_values, response_values)
                .map(checks::response_decision),
            None => Ok(Ok(unchanged())),
        })
    }

    /// `call` gives wasmtime's error, or what the checks say of the answer.
    fn call<Decision>(
        &mut self,
        policy: &Policy,
        call: impl FnOnce(&Exports, &mut Store<Guarded>) -> wasmtime::Result<Result<Decision, String>>,
    ) -> Result<Decision, Fault> {
        let at = match self.position(policy.loaded.id) {
            Ok(at) => at,
            Err(_) => self.add(&policy.loaded)?,
        };
        let instance = &mut self.sorted[at];
        instance.store.data_mut().begin_call();
        instance.store.set_epoch_deadline(instance.deadline_ticks);
        let outcome = match call(&instance.exports, &mut instance.store) {
            Ok(Ok(decision)) => Ok(decision),
            Ok(Err(refusal)) => Err(policy.loaded.fault(FaultKind::Refused, refusal)),
            Err(error) => Err(policy.loaded.fault_of(&error, instance.store.data())),
        };
        instance.calls_left = instance.calls_left.saturating_sub(1);
        if outcome.is_err() || instance.calls_left == 0 {
            self.sorted.remove(at);
        }
        outcome
    }

    /// Where the instance of a policy is, or would be.
    fn position(&self, policy_id: u64) -> Result<usize, usize> {
        self.sorted.binary_search_by_key(&policy_id, |instance| instance.policy_id)
    }

    fn add(&mut self, policy: &Arc<Loaded>) -> Result<usize, Fault> {
        // The moment at which a reload shows here; the instances of what it replaced go.
        self.sorted.retain(|instance| instance.policy.strong_count() > 0);
        let fresh = Instance::new(policy)?;
        let at = self.position(policy.id).unwrap_or_else(|at| at);
        self.sorted.insert(at, fresh);
        Ok(at)
    }
}

impl Instance {
    fn new(loaded: &Arc<Loaded>) -> Result<Self, Fault> {
        let limits = &loaded.engine.limits;
        let mut store = loaded.engine.store(limits.deadline);
        let exports = loaded
            .program
            .instantiate(&mut store)
            .and_then(|instance| loaded.program.exports(&mut store, &instance))
            .map_err(|error| loaded.fault_of(&error, store.data()))?;
        let deadline_ticks = ticks(limits.deadline);
        store.set_epoch_deadline(deadline_ticks);
        match exports.setup.call_configure(&mut store, &loaded.settings) {
            // The same inputs as at load: the same code with the same settings and nothing else to go by.
            Ok(Ok(_)) => (),
            Ok(Err(refusal)) => {
                let detail = format!("it took these settings when it was loaded, and now says: {refusal}");
                return Err(loaded.fault(FaultKind::Refused, detail));
            }
            Err(error) => return Err(loaded.fault_of(&error, store.data())),
        }
        Ok(Self {
            policy_id: loaded.id,
            store,
            exports,
            calls_left: limits.calls_per_instance,
            deadline_ticks,
            policy: Arc::downgrade(loaded),
        })
    }
}

impl Loaded {
    fn fault(&self, kind: FaultKind, detail: String) -> Fault {
        Fault { policy: self.label.clone(), kind, detail }
    }

    fn fault_of(&self, error: &wasmtime::Error, guarded: &Guarded) -> Fault {
        let (kind, detail) = classify(error, guarded);
        self.fault(kind, detail)
    }
}
