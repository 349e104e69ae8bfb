//! What requests and responses have in common when a policy is asked: whether it is asked at all, and what a fault means
//! to those who look after the proxy.

use std::sync::Arc;

use plugin_host::{Fault, Permission, Tripped};

use crate::{live::Link, route::Routed, worker::Worker};

/// Why there is no decision.
pub(super) enum Unasked {
    /// One of the values that it wants to see is no text, or cannot be told apart.
    NotText,
    /// It keeps failing, and is not asked for a while.
    Out,
    Fault(Arc<Fault>),
}

/// Whether a policy is there to be asked, as it is as good as always: nobody needs to know what time it is.
pub(super) fn is_in(worker: &Worker, link: &Link) -> bool {
    worker.is_aside || link.live.health.breaker.is_in()
}

/// Whether a policy that is taken out may be asked all the same at this moment.
pub(super) fn may_ask(worker: &Worker, routed: &Routed, at: usize, link: &Link) -> Permission {
    let permission = link.live.health.breaker.permission(worker.proxy.clock.now().as_ms());
    if permission == Permission::Refused {
        routed.policy_metrics(at).left_out();
    }
    permission
}

/// It decided. A question of an operator is not a request, and says nothing of how it does.
pub(super) fn succeeded(worker: &Worker, link: &Link, permission: Permission) {
    if !worker.is_aside {
        link.live.health.breaker.succeeded(permission);
    }
}

/// Counts a fault, and says it: the first of each kind in full, and that a policy is taken out.
pub(super) fn faulted(
    worker: &Worker,
    routed: &Routed,
    at: usize,
    link: &Link,
    permission: Permission,
    fault: Fault,
) -> Arc<Fault> {
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
    if health.breaker.faulted(permission, worker.proxy.clock.now().as_ms()) == Tripped::Now {
        tracing::error!(
            route.name = route,
            "policy {} keeps failing and is not asked for a while: its routes do what `on_fault` says",
            link.live.policy.label()
        );
    }
    fault
}
