//! `docs/guide.md`, held against the tree.

use std::{fs, path::Path};

#[test]
fn every_file_test_and_index_that_is_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/guide.md")).unwrap();
    let schema = ["0001_tables.sql", "0002_indexes.sql"]
        .map(|name| fs::read_to_string(root.join("origin/schema").join(name)).unwrap())
        .concat();
    let words: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let mut missing = Vec::new();
    let (mut files, mut tests) = (0, 0);
    for word in words {
        let is_file = word.contains('/') && !word.contains(' ') && word.contains('.');
        if let Some((module, name)) = word.split_once("::") {
            tests += 1;
            let text = fs::read_to_string(root.join("origin/tests/it").join(format!("{module}.rs")));
            if !text.is_ok_and(|text| text.contains(&format!("fn {name}("))) {
                missing.push(word);
            }
        } else if is_file {
            files += 1;
            if !root.join(word).exists() {
                missing.push(word);
            }
        }
    }
    // The second column of the tables says what the index is called here.
    let mut indexes = 0;
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let here = line.split(" | ").nth(1).unwrap_or_default();
        for index in here.split('`').skip(1).step_by(2).filter(|word| word.contains('_')) {
            indexes += 1;
            let is_there = |kind: &str| schema.contains(&format!("{kind} {index} "));
            if !is_there("INDEX") && !is_there("CONSTRAINT") && !is_there("CREATE TABLE") {
                missing.push(index);
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert!(files > 20 && tests > 20 && indexes > 35, "{files} files, {tests} tests, {indexes} indexes");

    // One heading for each block of the guide.
    for block in 1..=25 {
        let is_headed = page.contains(&format!("### {block}. ")) || page.contains(&format!(" and {block}. "));
        assert!(is_headed, "block {block}");
    }
}
