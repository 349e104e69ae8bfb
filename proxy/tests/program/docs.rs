//! What the documents promise is there.

use std::path::Path;

/// `docs/http.md` names tests as `module::name`, `flow/module::name` and so on: each of them exists.
#[test]
fn every_test_that_the_table_of_http_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = std::fs::read_to_string(root.join("docs/http.md")).unwrap();
    let named: Vec<&str> = table.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect();
    assert!(named.len() > 100, "only {} tests are named", named.len());
    let missing: Vec<&&str> = named
        .iter()
        .filter(|word| {
            let (place, name) = word.split_once("::").unwrap();
            let (folder, module) = match place.split_once('/') {
                Some(("flow", module)) => ("tests/flow", module),
                Some(("interleaving", module)) => ("tests/interleaving/it", module),
                Some(("program", module)) => ("proxy/tests/program", module),
                _ => ("proxy/caching/tests/rules", place),
            };
            let text = std::fs::read_to_string(root.join(folder).join(format!("{module}.rs")));
            !text.is_ok_and(|text| text.contains(&format!("fn {name}(")))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
