//! What requests and responses have in common when a policy is asked: whether it is asked at all, and what a fault means
//! to those who look after the proxy.

use std::sync::Arc;

use plugin_host::{Fault, Tripped};

use crate::{live::Link, route::Routed, worker::Worker};

/// Why there is no decision.
pub(super) enum Unasked {
    /// One of the values that it wants to see is no text, or cannot be told apart.
    NotText,
    /// It keeps failing, and is not asked for a while.
    Out,
    Fault(Arc<Fault>),
}

/// Whether a policy is taken out at this moment. If not, it has to be asked: it may be on trial.
pub(super) fn is_out(worker: &Worker, routed: &Routed, at: usize, link: &Link) -> bool {
    let breaker = &link.live.health.breaker;
    // As good as always it is in, and nobody needs to know what time it is.
    if worker.is_aside || !breaker.is_open(0) || breaker.allows(worker.proxy.clock.now().as_ms()) {
        return false;
    }
    routed.policy_metrics(at).left_out();
    true
}

/// Counts a fault, and says it: the first of each kind in full, and that a policy is taken out.
pub(super) fn faulted(worker: &Worker, routed: &Routed, at: usize, link: &Link, fault: Fault) -> Arc<Fault> {
    let fault = Arc::new(fault);
    // A question of an operator is not a request.
    if worker.is_aside {
        return fault;
    }
    routed.policy_metrics(at).faulted(fault.kind);
    let route = routed.route().name.as_str();
    let health = &link.live.health;
    if health.is_first(fault.kind) {
        tracing::error!(route.name = route, "{fault}; further faults of this kind are counted, not logged");
    } else {
        tracing::debug!(route.name = route, "{fault}");
    }
    if health.breaker.faulted(worker.proxy.clock.now().as_ms()) == Tripped::Now {
        tracing::error!(
            route.name = route,
            "policy {} keeps failing and is not asked for a while: its routes do what `on_fault` says",
            link.live.policy.label()
        );
    }
    fault
}
