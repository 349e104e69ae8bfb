//! The policies that ship, as the components that ship, against the cases beside them.

use std::{fs, path::Path};

use plugin_host::{Instances, cases::Case};

use crate::support::{component, engine};

/// The SDK replays the same files natively, in the tests of each policy.
#[test]
fn every_policy_in_rust_decides_its_cases_as_they_say() {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut count = 0;
    for entry in plugins.read_dir().expect("the folder of the policies") {
        let folder = entry.expect("an entry of it").path();
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        // Those of `guests` are below, each in a folder of its name.
        if folder.join("Cargo.toml").is_file() && name != "guests" {
            count += replay(&name, &folder.join("cases"));
        }
    }
    assert!(count > 10, "{count} cases");
}

/// What a case puts to a policy and what it makes of a decision, all of it, as the SDK has it too.
#[test]
fn guests_decide_their_cases_as_they_say() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/cases");
    let mut count = 0;
    for entry in cases.read_dir().expect("the folder of their cases") {
        let folder = entry.expect("an entry of it").path();
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        count += replay(&name, &folder);
    }
    assert!(count > 5, "{count} cases");
}

/// How many cases a folder has.
fn replay(name: &str, folder: &Path) -> u32 {
    let Ok(files) = folder.read_dir() else { return 0 };
    let wasm = component(name);
    let mut count = 0;
    for file in files {
        let path = file.expect("an entry of it").path();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let cases = Case::read(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in cases {
            let policy = engine()
                .load(name, &wasm, case.settings())
                .unwrap_or_else(|error| panic!("{}: {case}: {error}", path.display()));
            if let Err(why) = case.check(&policy, &mut Instances::new()) {
                panic!("{}: {case}: {why}", path.display());
            }
            count += 1;
        }
    }
    count
}
