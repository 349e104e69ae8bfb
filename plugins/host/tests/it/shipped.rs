//! The policies that ship, as the components that ship, against the cases beside them.

use std::{fs, path::Path};

use plugin_host::{Instances, cases::Case};

use crate::support::{component, engine};

#[test]
fn every_policy_in_rust_decides_its_cases_as_they_say() {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut count = 0;
    for entry in plugins.read_dir().expect("the folder of the policies") {
        let folder = entry.expect("an entry of it").path();
        let Ok(files) = folder.join("cases").read_dir() else { continue };
        if !folder.join("Cargo.toml").is_file() {
            continue;
        }
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let wasm = component(&name);
        for file in files {
            let path = file.expect("an entry of it").path();
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let cases = Case::read(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            for case in cases {
                let policy = engine()
                    .load(&name, &wasm, case.settings())
                    .unwrap_or_else(|error| panic!("{}: {case}: {error}", path.display()));
                if let Err(why) = case.check(&policy, &mut Instances::new()) {
                    panic!("{}: {case}: {why}", path.display());
                }
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count} cases");
}
