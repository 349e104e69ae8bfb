//! Where the engine itself meets its bounds.

use std::process::Command;

use plugin_host::{FaultKind, Instances, Limits};

use crate::support::{check_fault, decided, engine_with, limits, loaded, look_up};

/// Enough for the process and a few instances, far from the terabytes that the pool would reserve.
const ADDRESS_SPACE_KIB: u64 = 8 << 20;

#[test]
fn policies_run_where_addresses_are_scarce() {
    // Built here, where the compiler has all the addresses it wants.
    rig::policies::build().unwrap_or_else(|error| panic!("{error}"));
    let this = std::env::current_exe().expect("the program that runs this test");
    let script =
        format!("ulimit -v {ADDRESS_SPACE_KIB} && exec \"$0\" --exact {INNER} --ignored --nocapture");
    let output = Command::new("sh").arg("-c").arg(script).arg(this).output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

const INNER: &str = "engine::with_few_addresses";

#[test]
#[ignore = "the test above runs it, with few addresses"]
fn with_few_addresses() {
    let engine = engine_with(Limits { instances: 512, ..limits() });
    let policy = loaded(&engine, "echo-key");
    let mut instances = Instances::new();
    let decision = decided(instances.call_on_request(&policy, &[Some("a"), Some("b"), Some("c")]));
    assert_eq!(decision, look_up(&["c", "a", "b"], &[]));
    check_fault(&engine, "grow-memory", &[], FaultKind::Memory, "wanted more than 67108864 bytes");
    check_fault(&engine, "trap", &[], FaultKind::Trap, "the tenant table is empty");
}
