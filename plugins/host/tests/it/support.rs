//! What the tests are written with: built components, one engine for most of them, and checks of faults.

use std::{rc::Rc, sync::OnceLock, time::Duration};

use plugin_host::{Engine, Fault, FaultKind, Instances, Limits, LoadError, LookUp, Policy, RequestDecision};

/// Far longer than any guest that answers at all, however busy the machine.
const PATIENT: Duration = Duration::from_secs(10);
/// For guests that never answer.
const SHORT: Duration = Duration::from_millis(5);

pub(crate) fn limits() -> Limits {
    Limits { deadline: PATIENT, instances: 16, ..Limits::default() }
}

/// Shared by all tests that need no limits of their own.
pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| engine_with(Limits { instances: 256, ..limits() }))
}

/// As [`engine`], for guests that never answer.
pub(crate) fn impatient_engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| engine_with(Limits { deadline: SHORT, ..limits() }))
}

pub(crate) fn engine_with(limits: Limits) -> Engine {
    Engine::new(limits).unwrap_or_else(|error| panic!("{error}"))
}

/// The bytes of a guest or of a policy that ships.
pub(crate) fn component(name: &str) -> Vec<u8> {
    let folder = rig::policies::build().unwrap_or_else(|error| panic!("{error}"));
    let path = folder.join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

pub(crate) fn load_with(engine: &Engine, name: &str, settings: &str) -> Result<Policy, LoadError> {
    let settings = serde_json::from_str(settings).unwrap_or_else(|error| panic!("{settings}: {error}"));
    engine.load(&format!("{name}.wasm"), &component(name), &settings)
}

#[track_caller]
pub(crate) fn loaded(engine: &Engine, name: &str) -> Policy {
    match load_with(engine, name, "{}") {
        Ok(policy) => policy,
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
pub(crate) fn refused(result: Result<Policy, LoadError>) -> LoadError {
    match result {
        Ok(policy) => panic!("took {policy:?}"),
        Err(error) => error,
    }
}

pub(crate) fn look_up(key_parts: &[&str], tags: &[&str]) -> RequestDecision {
    let boxed = |texts: &[&str]| texts.iter().map(|&text| text.into()).collect();
    RequestDecision::LookUp(LookUp { key_parts: boxed(key_parts), tags: boxed(tags), ..LookUp::default() })
}

#[track_caller]
pub(crate) fn decided<D: Clone>(result: Result<Rc<D>, Fault>) -> D {
    match result {
        Ok(decision) => D::clone(&decision),
        Err(fault) => panic!("{fault}"),
    }
}

#[track_caller]
pub(crate) fn assert_fault(result: Result<Rc<RequestDecision>, Fault>, kind: FaultKind, detail: &str) {
    match result {
        Ok(decision) => panic!("decided {decision:?}"),
        Err(fault) => {
            assert_eq!(fault.kind, kind, "{fault}");
            assert!(fault.detail.contains(detail), "{fault}");
        }
    }
}

/// A policy that does nothing wrong.
pub(crate) fn good() -> &'static Policy {
    static GOOD: OnceLock<Policy> = OnceLock::new();
    GOOD.get_or_init(|| loaded(engine(), "echo-key"))
}

/// The guest faults on these values; then it does so again in the same words, so it was a fresh instance (a
/// broken one cannot be entered), and another policy of the same thread decides as ever.
#[track_caller]
pub(crate) fn check_fault(
    engine: &Engine,
    name: &str,
    values: &[Option<&str>],
    kind: FaultKind,
    detail: &str,
) {
    let mut instances = Instances::new();
    let hostile = loaded(engine, name);
    for _ in 0..2 {
        let outcome = instances.call_on_request(&hostile, values);
        if let Err(fault) = &outcome {
            assert!(fault.to_string().starts_with(&format!("policy {name}@1.0.0: {kind}: ")), "{fault}");
        }
        assert_fault(outcome, kind, detail);
        let decision = decided(instances.call_on_request(good(), &[Some("acme"), None, Some("gold")]));
        assert_eq!(decision, look_up(&["gold", "acme", "-"], &[]));
    }
}
