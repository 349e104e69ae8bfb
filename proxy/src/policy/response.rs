//! Asks the policies of a route about a response, each about what those before it have left of it.
//!
//! Must not know what is safe to store: that is `store/judge.rs`, which has the last word.

use std::{rc::Rc, time::Duration};

use caching::freshness::{Facts, PolicyLifetimes};
use http::{HeaderMap, StatusCode};
use plugin_host::{FieldChanges, Permission, ResponseDecision, Values};

use super::{
    Plan,
    asking::{Unasked, faulted, is_in, may_ask, succeeded},
    trace::{Asked, Came, Trace},
};
use crate::{config::OnFault, error::Error, live::Link, request::Request, worker::Worker};

/// What the policies say of a response.
#[derive(Debug, Default)]
pub struct Said {
    pub lifetimes: PolicyLifetimes,
    pub tags: Vec<Box<str>>,
    /// The fields, if one of them has changed any.
    pub changed: Option<HeaderMap>,
    /// Whether one of them has put a field there.
    pub sets_fields: bool,
    /// One of them failed, and would have said more.
    pub is_provisional: bool,
    pub refusal: Option<Refusal>,
}

/// Why they do not want it stored.
#[derive(Debug)]
pub struct Refusal {
    /// The `detail` of `Cache-Status`.
    pub reason: &'static str,
    /// A policy failed: it says nothing of the response.
    pub is_fault: bool,
    /// The next request may well bring something to store.
    pub lies_in_the_request: bool,
    /// How long it is remembered; `None`: as the route says.
    pub hit_for_miss: Option<Duration>,
}

const BY_POLICY: &str = "policy";
const FAULT: &str = "policy-fault";
/// The request or the response has a value that is no text.
const BAD_INPUT: &str = "input";

/// `fields` are the upstream's own, and `facts` what they say.
///
/// # Errors
/// A policy failed, and its route has it that the request fails then.
pub fn ask(
    worker: &Worker,
    request: &Request,
    plan: &Plan,
    status: StatusCode,
    fields: &HeaderMap,
    facts: &Facts,
    trace: Option<&Trace>,
) -> Result<Said, Error> {
    let mut said = Said::default();
    let chain = plan.routed.chain();
    if !chain.decides_responses {
        return Ok(said);
    }
    for (at, link) in chain.links.iter().enumerate() {
        if !link.live.policy.decides_responses() {
            continue;
        }
        let came = said.decision(worker, request, plan, status, fields, facts, at, link);
        if let Some(trace) = trace {
            let now = said.changed.as_ref().unwrap_or(fields);
            plan.row.with_values(request, &plan.routed, at, link, |values| {
                let ttl_ms = said.ttl_ms(plan, facts);
                let came = Came::of_response(&came, link);
                trace.borrow_mut().push(Asked::about_response(link, status, values, now, ttl_ms, came));
            });
        }
        match came {
            Ok(decision) => said.apply(&decision, fields, link),
            Err(_) if link.on_fault == OnFault::Fail => {
                return Err(Error::PolicyFailed(link.live.policy.label().clone()));
            }
            Err(Unasked::NotText) => said.refuse(BAD_INPUT, true),
            Err(Unasked::Out | Unasked::Fault(_)) => {
                said.is_provisional = true;
                if link.on_fault == OnFault::Pass {
                    said.refuse(FAULT, false);
                }
            }
        }
    }
    Ok(said)
}

impl Said {
    #[expect(clippy::too_many_arguments, reason = "all that a policy may see of an exchange")]
    fn decision(
        &self,
        worker: &Worker,
        request: &Request,
        plan: &Plan,
        status: StatusCode,
        fields: &HeaderMap,
        facts: &Facts,
        at: usize,
        link: &Link,
    ) -> Result<Rc<ResponseDecision>, Unasked> {
        let (routed, policy) = (&plan.routed, &link.live.policy);
        let ttl_ms = if policy.inputs().ttl { self.ttl_ms(plan, facts) } else { None };
        let now = self.changed.as_ref().unwrap_or(fields);
        let response = Values::of_response(policy.inputs(), now, ttl_ms).ok_or(Unasked::NotText)?;
        plan.row.with_values(request, routed, at, link, |values| {
            let values = values.ok_or(Unasked::NotText)?;
            let permission = match is_in(worker, link) {
                true => Permission::Granted,
                false => may_ask(worker, routed, at, link),
            };
            if permission == Permission::Refused {
                return Err(Unasked::Out);
            }
            let mut instances = worker.instances.borrow_mut();
            let before = instances.remembered_calls();
            let (status, response) = (status.as_u16(), response.as_slices());
            let decided = match permission {
                Permission::Trial => instances.call_on_response(policy, status, values, &response),
                Permission::Granted | Permission::Refused => {
                    instances.on_response(policy, status, values, &response)
                }
            };
            routed.policy_metrics(at).decided(instances.remembered_calls() > before);
            drop(instances);
            match decided {
                Ok(decision) => {
                    succeeded(worker, link, permission);
                    Ok(decision)
                }
                Err(fault) => Err(Unasked::Fault(faulted(worker, routed, at, link, permission, fault))),
            }
        })
    }

    /// The lifetime by its own fields, the route and those who were asked so far.
    fn ttl_ms(&self, plan: &Plan, facts: &Facts) -> Option<u64> {
        let lifetime = Facts { policy: self.lifetimes, ..*facts }.freshness_lifetime(&plan.rules())?;
        Some(u64::try_from(lifetime.as_duration().as_millis()).unwrap_or(u64::MAX))
    }

    fn apply(&mut self, decision: &ResponseDecision, fields: &HeaderMap, link: &Link) {
        match decision {
            ResponseDecision::Store(store) => {
                let PolicyLifetimes { ttl, stale_while_revalidate, stale_if_error } = self.lifetimes;
                self.lifetimes = PolicyLifetimes {
                    ttl: store.ttl.or(ttl),
                    stale_while_revalidate: store.stale_while_revalidate.or(stale_while_revalidate),
                    stale_if_error: store.stale_if_error.or(stale_if_error),
                };
                self.tags.extend(store.tags.iter().cloned());
                self.change(&store.fields, fields);
            }
            ResponseDecision::DoNotStore(refused) => {
                tracing::debug!(policy.name = &**link.live.policy.label(), "not stored: {}", refused.reason);
                self.refuse(BY_POLICY, false);
                if let Some(refusal) = &mut self.refusal {
                    refusal.hit_for_miss = refused.hit_for_miss.or(refusal.hit_for_miss);
                }
                self.change(&refused.fields, fields);
            }
        }
    }

    /// The first reason stands.
    fn refuse(&mut self, reason: &'static str, lies_in_the_request: bool) {
        let is_fault = reason == FAULT;
        self.refusal.get_or_insert(Refusal { reason, is_fault, lies_in_the_request, hit_for_miss: None });
    }

    fn change(&mut self, changes: &FieldChanges, fields: &HeaderMap) {
        if changes.is_empty() {
            return;
        }
        let fields = self.changed.get_or_insert_with(|| fields.clone());
        for name in &changes.remove {
            fields.remove(name);
        }
        for (name, value) in &changes.set {
            fields.insert(name.clone(), value.clone());
            self.sets_fields = true;
        }
    }
}
