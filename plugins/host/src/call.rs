//! One call: a remembered decision, or a reused instance, a deadline, the answer checked; or a fault and the instance thrown
//! away.
//!
//! It does not know what the values mean nor what becomes of a decision.

use std::{
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use wasmtime::Store;

use crate::{
    checks,
    decision::{LookUp, RequestDecision, ResponseDecision, StoreDecision},
    engine::ticks,
    fault::{Fault, FaultKind, classify},
    limits::{Guarded, LOAD_DEADLINE},
    load::one_line,
    policy::{Loaded, Policy},
    remembered::{Table, write_inputs},
    versions::Exports,
};

/// The instances of one thread, at most one for each policy, and what it remembers of their decisions.
pub struct Instances {
    /// INVARIANT: sorted by `policy_id`. There are a few: a search in them is cheaper than a hash.
    sorted: Vec<OfPolicy>,
    /// The inputs of a call as they are looked up.
    inputs: Vec<u8>,
    unchanged_request: Rc<RequestDecision>,
    unchanged_response: Rc<ResponseDecision>,
    remembered_calls: u64,
    /// In place of that of the limits.
    deadline: Option<Duration>,
}

struct OfPolicy {
    policy_id: u64,
    /// Whether anybody may still call it. Weak: a thread that is idle must not keep an old policy loaded.
    policy: Weak<Loaded>,
    /// None before the first call, after a fault, and when it was called often enough.
    instance: Option<Instance>,
    requests: Table<RequestDecision>,
    responses: Table<ResponseDecision>,
}

struct Instance {
    store: Store<Guarded>,
    exports: Exports,
    calls_left: u32,
    deadline_ticks: u64,
}

impl Default for Instances {
    fn default() -> Self {
        Self {
            sorted: Vec::new(),
            inputs: Vec::new(),
            unchanged_request: Rc::new(RequestDecision::LookUp(LookUp::default())),
            unchanged_response: Rc::new(ResponseDecision::Store(StoreDecision::default())),
            remembered_calls: 0,
            deadline: None,
        }
    }
}

impl Instances {
    pub fn new() -> Self {
        Self::default()
    }

    /// For calls that nobody's request waits for: a machine that is busy with other things does not make them fail.
    pub fn patient() -> Self {
        Self { deadline: Some(LOAD_DEADLINE), ..Self::default() }
    }

    /// How many decisions were remembered and not asked for.
    pub fn remembered_calls(&self) -> u64 {
        self.remembered_calls
    }

    /// The decision that is remembered for what `write` writes: see [`crate::Inputs::write_request`]. A request that is
    /// recalled has cost no allocation. `None`: nothing is remembered, or `write` says that there is nothing to look up.
    pub fn recall_request(
        &mut self,
        policy: &Policy,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> Option<Rc<RequestDecision>> {
        if policy.inputs().time || !write(&mut self.inputs) {
            return None;
        }
        let at = self.of(policy);
        let known = self.sorted[at].requests.get(&self.inputs)?;
        self.remembered_calls += 1;
        Some(Rc::clone(known))
    }

    /// `values`: one for each request input. A policy that does not decide requests changes nothing.
    pub fn on_request(
        &mut self,
        policy: &Policy,
        values: &[Option<&str>],
    ) -> Result<Rc<RequestDecision>, Fault> {
        debug_assert_eq!(values.len(), policy.inputs().request_values());
        if !policy.decides_requests() {
            return Ok(Rc::clone(&self.unchanged_request));
        }
        if policy.inputs().time {
            return self.call_on_request(policy, values);
        }
        write_inputs(&mut self.inputs, None, values.iter());
        let at = self.of(policy);
        if let Some(known) = self.sorted[at].requests.get(&self.inputs) {
            self.remembered_calls += 1;
            return Ok(Rc::clone(known));
        }
        let decision = self.call_on_request(policy, values)?;
        // A call may leave no place for a policy that is loaded no more, but this one is.
        let at = self.of(policy);
        self.sorted[at].requests.keep(&self.inputs, &decision);
        Ok(decision)
    }

    /// `request_values` as for [`Self::on_request`], `response_values`: one for each response input. A policy
    /// that does not decide responses changes nothing.
    pub fn on_response(
        &mut self,
        policy: &Policy,
        status: u16,
        request_values: &[Option<&str>],
        response_values: &[Option<&str>],
    ) -> Result<Rc<ResponseDecision>, Fault> {
        debug_assert_eq!(request_values.len(), policy.inputs().request_values());
        debug_assert_eq!(response_values.len(), policy.inputs().response_values());
        if !policy.decides_responses() {
            return Ok(Rc::clone(&self.unchanged_response));
        }
        if policy.inputs().time {
            return self.call_on_response(policy, status, request_values, response_values);
        }
        // How many there are of each is the policy's own, so that one list of them is enough.
        write_inputs(&mut self.inputs, Some(status), request_values.iter().chain(response_values));
        let at = self.of(policy);
        if let Some(known) = self.sorted[at].responses.get(&self.inputs) {
            self.remembered_calls += 1;
            return Ok(Rc::clone(known));
        }
        let decision = self.call_on_response(policy, status, request_values, response_values)?;
        let at = self.of(policy);
        self.sorted[at].responses.keep(&self.inputs, &decision);
        Ok(decision)
    }

    /// [`Self::on_request`], asking the policy whatever it decided before.
    pub fn call_on_request(
        &mut self,
        policy: &Policy,
        values: &[Option<&str>],
    ) -> Result<Rc<RequestDecision>, Fault> {
        let call = |exports: &Exports, store: &mut Store<Guarded>| {
            exports.on_request(store, values).map(|said| said.map(checks::request_decision))
        };
        let decided = self.call(policy, call)?;
        Ok(decided.map_or_else(|| Rc::clone(&self.unchanged_request), Rc::new))
    }

    /// [`Self::on_response`], asking the policy whatever it decided before.
    pub fn call_on_response(
        &mut self,
        policy: &Policy,
        status: u16,
        request_values: &[Option<&str>],
        response_values: &[Option<&str>],
    ) -> Result<Rc<ResponseDecision>, Fault> {
        let call = |exports: &Exports, store: &mut Store<Guarded>| {
            let said = exports.on_response(store, status, request_values, response_values);
            said.map(|said| said.map(checks::response_decision))
        };
        let decided = self.call(policy, call)?;
        Ok(decided.map_or_else(|| Rc::clone(&self.unchanged_response), Rc::new))
    }

    /// `call` gives wasmtime's error, or what the checks say of the answer; `None`: the component has no such function.
    fn call<Decision>(
        &mut self,
        policy: &Policy,
        call: impl FnOnce(&Exports, &mut Store<Guarded>) -> Option<wasmtime::Result<Result<Decision, String>>>,
    ) -> Result<Option<Decision>, Fault> {
        let at = self.of(policy);
        let place = &mut self.sorted[at].instance;
        let mut instance = match place.take() {
            Some(instance) => instance,
            None => Instance::new(&policy.loaded, self.deadline)?,
        };
        instance.store.data_mut().begin_call();
        instance.store.set_epoch_deadline(instance.deadline_ticks);
        let outcome = match call(&instance.exports, &mut instance.store).transpose() {
            Ok(said) => said.transpose().map_err(|refusal| policy.loaded.fault(FaultKind::Refused, refusal)),
            Err(error) => Err(policy.loaded.fault_of(&error, instance.store.data())),
        };
        instance.calls_left = instance.calls_left.saturating_sub(1);
        if outcome.is_ok() && instance.calls_left > 0 {
            *place = Some(instance);
        }
        outcome
    }

    /// Gives up what belongs to any other policy than these. One that is called all the same gets a new instance.
    pub fn keep_only<'p>(&mut self, policies: impl Iterator<Item = &'p Policy> + Clone) {
        let is_one =
            |of_policy: &OfPolicy| policies.clone().any(|policy| policy.loaded.id == of_policy.policy_id);
        self.sorted.retain(is_one);
    }

    /// Where what belongs to a policy is.
    fn of(&mut self, policy: &Policy) -> usize {
        let id = policy.loaded.id;
        let position =
            |sorted: &[OfPolicy]| sorted.binary_search_by_key(&id, |of_policy| of_policy.policy_id);
        if let Ok(at) = position(&self.sorted) {
            return at;
        }
        // The moment at which a reload shows here; what it replaced goes.
        self.sorted.retain(|of_policy| of_policy.policy.strong_count() > 0);
        let at = position(&self.sorted).unwrap_or_else(|at| at);
        let fresh = OfPolicy {
            policy_id: id,
            policy: Arc::downgrade(&policy.loaded),
            instance: None,
            requests: Table::new(),
            responses: Table::new(),
        };
        self.sorted.insert(at, fresh);
        at
    }
}

impl Instance {
    fn new(loaded: &Arc<Loaded>, deadline: Option<Duration>) -> Result<Self, Fault> {
        let limits = &loaded.engine.limits;
        let deadline = deadline.unwrap_or(limits.deadline);
        let mut store = loaded.engine.store(deadline);
        let exports = loaded
            .program
            .instantiate(&mut store)
            .and_then(|instance| loaded.program.indices.load(&mut store, &instance))
            .map_err(|error| loaded.fault_of(&error, store.data()))?;
        let deadline_ticks = ticks(deadline);
        store.set_epoch_deadline(deadline_ticks);
        match exports.configure(&mut store, &loaded.settings) {
            // The same inputs as at load: the same code with the same settings and nothing else to go by.
            Ok(Ok(_)) => (),
            Ok(Err(refusal)) => {
                let refusal = one_line(&refusal);
                let detail = format!("it took these settings when it was loaded, and now says: {refusal}");
                return Err(loaded.fault(FaultKind::Refused, detail));
            }
            Err(error) => return Err(loaded.fault_of(&error, store.data())),
        }
        Ok(Self { store, exports, calls_left: limits.calls_per_instance, deadline_ticks })
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
