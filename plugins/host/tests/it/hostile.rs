//! What a hostile guest leaves behind: nothing, wherever it failed. And files changed after they were made.

use std::time::Duration;

use plugin_host::{FaultKind, Instances, Limits};
use serde_json::Value;

use crate::support::{
    assert_fault, component, decided, engine, engine_with, limits, load_with, loaded, look_up,
};

#[test]
fn after_each_of_them_there_is_as_much_room_as_before() {
    // One for the hostile guest and one for the good one: the first that kept its place would show.
    let engine = engine_with(Limits { instances: 2, deadline: Duration::from_millis(500), ..limits() });
    let good = loaded(&engine, "pass");
    let mut instances = Instances::new();
    let mut is_well = || decided(instances.call_on_request(&good, &[]));
    let before = is_well();
    for (name, value) in [
        ("trap", None),
        ("recurse", None),
        ("grow-memory", None),
        ("many-tags", None),
        ("opens-socket", None),
        ("reads-clock", None),
        ("writes-much", None),
        ("huge-string", Some("key-part")),
        ("huge-body", Some("8")),
        ("bad-output", Some("cr-lf")),
        ("spin-forever", None),
    ] {
        let hostile = loaded(&engine, name);
        let values: Vec<_> = value.map(Some).into_iter().collect();
        let mut its_own = Instances::new();
        // A deadline takes its time.
        for _ in 0..if name == "spin-forever" { 1 } else { 3 } {
            assert!(its_own.call_on_request(&hostile, &values).is_err(), "{name}");
            assert_eq!(is_well(), before, "{name}");
        }
    }
    let hostile = loaded(&engine, "spin-in-response");
    assert!(Instances::new().on_response(&hostile, 200, &[], &[]).is_err());
    assert_eq!(is_well(), before);
    for name in
        ["spin-in-describe", "spin-in-configure", "failing-self-test", "many-self-tests", "imports-host"]
    {
        assert!(load_with(&engine, name, "{}").is_err(), "{name}");
        assert_eq!(is_well(), before, "{name}");
    }
}

/// The guest's file with one text of its data in place of another of the same length.
fn with_other_bytes(name: &str, text: &[u8], other: &[u8]) -> Vec<u8> {
    assert_eq!(text.len(), other.len());
    let mut wasm = component(name);
    let places: Vec<_> = (0..wasm.len())
        .filter(|at| wasm.get(*at..at + text.len()).is_some_and(|found| found == text))
        .collect();
    assert_eq!(places.len(), 1, "{name}: {places:?}");
    wasm[places[0]..places[0] + other.len()].copy_from_slice(other);
    wasm
}

#[test]
fn text_that_is_no_text_is_a_fault() {
    let wasm = with_other_bytes("pass", b"as it always does", b"as it \xff\xfeways does");
    let policy = engine().load("file.wasm", &wasm, &Value::Null).unwrap_or_else(|error| panic!("{error}"));
    let mut instances = Instances::new();
    for _ in 0..2 {
        assert_fault(instances.on_request(&policy, &[]), FaultKind::Refused, "invalid utf-8");
    }
}

#[test]
fn compiled_code_is_kept_and_does_without_its_folder() {
    let folder = std::env::temp_dir().join(format!("larder-host-{}", std::process::id()));
    let files = |suffix: &str| {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|it| it == suffix))
            .collect()
    };
    let engine = || engine_with(limits()).with_code_cache(&folder).unwrap_or_else(|error| panic!("{error}"));
    let (first, second) = (engine(), engine());
    loaded(&first, "echo-key");
    let kept: Vec<_> = files("cwasm");
    assert_eq!((kept.len(), files("new").len()), (1, 0));
    // Another process's engine takes it from there, and runs it.
    let policy = loaded(&second, "echo-key");
    let decision = decided(Instances::new().on_request(&policy, &[Some("a"), None, None]));
    assert_eq!(decision, look_up(&["-", "a", "-"], &[]));
    // Half a file is compiled anew and replaced.
    let whole = std::fs::read(&kept[0]).expect("the file");
    std::fs::write(&kept[0], &whole[..whole.len() / 2]).expect("half of it");
    loaded(&second, "echo-key");
    assert!(std::fs::metadata(&kept[0]).is_ok_and(|again| again.len() == whole.len() as u64));
    // A disk that is gone costs time alone.
    std::fs::remove_dir_all(&folder).expect("ours");
    loaded(&second, "pass");
    assert!(!folder.exists());
}
