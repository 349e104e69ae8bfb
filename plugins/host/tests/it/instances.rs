//! How long an instance lives, what ends with it, and what threads share.

use plugin_host::{FaultKind, Instances, Limits};

use crate::support::{
    assert_fault, decided, engine, engine_with, limits, load_with, loaded, look_up, refused,
};

#[test]
fn an_instance_is_replaced_after_its_calls_and_takes_all_it_knew_with_it() {
    let engine = engine_with(Limits { calls_per_instance: 2, ..limits() });
    let policy = loaded(&engine, "remembers");
    let mut instances = Instances::new();
    for _ in 0..3 {
        assert_eq!(decided(instances.call_on_request(&policy, &[Some("a")])), look_up(&["a"], &[]));
        assert_eq!(decided(instances.call_on_request(&policy, &[Some("b")])), look_up(&["a", "b"], &[]));
    }
}

#[test]
fn what_is_given_up_leaves_its_room_to_others() {
    let engine = engine_with(Limits { instances: 1, ..limits() });
    let (one, other) = (loaded(&engine, "remembers"), loaded(&engine, "pass"));
    let mut instances = Instances::new();
    assert_eq!(decided(instances.call_on_request(&one, &[Some("a")])), look_up(&["a"], &[]));
    instances.keep_only([&one, &other].into_iter());
    assert_fault(instances.call_on_request(&other, &[]), FaultKind::Memory, "maximum");
    instances.keep_only(std::iter::once(&other));
    decided(instances.call_on_request(&other, &[]));
    instances.keep_only(std::iter::empty());
    // Who still goes by it is served, by one that knows nothing.
    assert_eq!(decided(instances.call_on_request(&one, &[Some("b")])), look_up(&["b"], &[]));
}

#[test]
fn what_was_decided_for_equal_inputs_is_not_asked_again() {
    let policy = loaded(engine(), "trap-on-third-call");
    let mut instances = Instances::new();
    for _ in 0..5 {
        assert_eq!(decided(instances.on_request(&policy, &[])), look_up(&["0"], &[]));
    }
    assert_eq!(instances.remembered_calls(), 4);
    // Another load of the same file is another policy.
    let other = loaded(engine(), "trap-on-third-call");
    assert_eq!(decided(instances.on_request(&other, &[])), look_up(&["0"], &[]));
    assert_eq!(instances.remembered_calls(), 4);
}

#[test]
fn other_inputs_are_asked_about() {
    let policy = loaded(engine(), "echo-key");
    let mut instances = Instances::new();
    for values in [[Some("a"), None, None], [None, Some("a"), None], [Some(""), None, None], [None; 3]] {
        let expected = decided(instances.call_on_request(&policy, &values));
        assert_eq!(decided(instances.on_request(&policy, &values)), expected);
        assert_eq!(decided(instances.on_request(&policy, &values)), expected);
    }
    assert_eq!(instances.remembered_calls(), 4);
}

#[test]
fn a_policy_that_reads_the_time_is_asked_each_time() {
    let policy = loaded(engine(), "echo-inputs");
    let mut values = [None; 11];
    values[9] = Some("12");
    let mut instances = Instances::new();
    for _ in 0..3 {
        decided(instances.on_request(&policy, &values));
        decided(instances.on_response(&policy, 200, &values, &[None; 3]));
    }
    assert_eq!(instances.remembered_calls(), 0);
}

#[test]
fn a_fault_is_not_remembered() {
    let policy = loaded(engine(), "trap");
    let mut instances = Instances::new();
    for _ in 0..3 {
        assert_fault(instances.on_request(&policy, &[]), FaultKind::Trap, "unreachable");
    }
    assert_eq!(instances.remembered_calls(), 0);
}

#[test]
fn a_call_for_each_instance_carries_nothing_over() {
    let engine = engine_with(Limits { calls_per_instance: 1, ..limits() });
    let policy = loaded(&engine, "remembers");
    let mut instances = Instances::new();
    for tenant in ["a", "b", "c", "a"] {
        assert_eq!(decided(instances.call_on_request(&policy, &[Some(tenant)])), look_up(&[tenant], &[]));
    }
}

#[test]
fn policies_of_one_thread_have_their_own_instances() {
    let (one, other) = (loaded(engine(), "remembers"), loaded(engine(), "remembers"));
    let mut instances = Instances::new();
    assert_eq!(decided(instances.call_on_request(&other, &[Some("a")])), look_up(&["a"], &[]));
    assert_eq!(decided(instances.call_on_request(&one, &[Some("b")])), look_up(&["b"], &[]));
    assert_eq!(decided(instances.call_on_request(&other, &[Some("c")])), look_up(&["a", "c"], &[]));
    assert_eq!(decided(instances.call_on_request(&one.clone(), &[Some("d")])), look_up(&["b", "d"], &[]));
}

#[test]
fn threads_share_a_policy_and_no_instance() {
    let policy = loaded(engine(), "remembers");
    std::thread::scope(|scope| {
        for tenant in ["a", "b", "c", "d"] {
            let policy = &policy;
            scope.spawn(move || {
                let mut instances = Instances::new();
                for count in 1..=3 {
                    let expected = vec![tenant; count];
                    let decision = decided(instances.call_on_request(policy, &[Some(tenant)]));
                    assert_eq!(decision, look_up(&expected, &[]));
                }
            });
        }
    });
}

#[test]
fn instances_of_policies_that_are_gone_make_room() {
    // One for the call, and one that a load needs for a moment.
    let engine = engine_with(Limits { instances: 2, ..limits() });
    let mut instances = Instances::new();
    for _ in 0..20 {
        let policy = loaded(&engine, "echo-key");
        let decision = decided(instances.call_on_request(&policy, &[None, None, None]));
        assert_eq!(decision, look_up(&["-", "-", "-"], &[]));
    }
}

#[test]
fn where_there_is_no_room_for_one_more_it_is_a_fault_until_there_is() {
    let engine = engine_with(Limits { instances: 1, ..limits() });
    let policy = loaded(&engine, "pass");
    let (mut first, mut second) = (Instances::new(), Instances::new());
    decided(first.call_on_request(&policy, &[]));
    assert_fault(second.call_on_request(&policy, &[]), FaultKind::Memory, "limit");
    let error = refused(load_with(&engine, "pass", "{}")).to_string();
    assert!(error.starts_with("pass.wasm: start: "), "{error}");
    drop(first);
    decided(second.call_on_request(&policy, &[]));
}

#[test]
fn a_fault_frees_its_room() {
    let engine = engine_with(Limits { instances: 1, ..limits() });
    let policy = loaded(&engine, "trap");
    let mut instances = Instances::new();
    for _ in 0..20 {
        assert_fault(instances.call_on_request(&policy, &[]), FaultKind::Trap, "unreachable");
    }
}

#[test]
fn a_ceiling_below_what_a_guest_begins_with_is_told_at_load() {
    let engine = engine_with(Limits { memory_bytes: 1 << 16, ..limits() });
    let error = refused(load_with(&engine, "pass", "{}")).to_string();
    assert!(
        error.starts_with("pass.wasm: compile: ") && error.contains("exceeds the limit of 0x10000 bytes"),
        "{error}"
    );
}
