//! The policies that ship in languages other than Rust, built and put to their cases with the toolchains that are here.
//!
//! A language whose toolchain cannot be had on this machine is not tested, which is said loudly; whatever fails after its
//! toolchain is there is a failure. `docs/policies.md` itself is walked by `cargo xtask demo --check`.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::Command,
};

use rig::{
    programs::workspace,
    toolchains::{JAVASCRIPT, Language, PYTHON, empty_folder, said, with_caches},
};

#[test]
fn the_policy_that_ships_in_javascript_passes_its_cases() {
    build_and_test(&JAVASCRIPT, "redirects");
}

#[test]
fn the_policy_that_ships_in_python_passes_its_cases() {
    build_and_test(&PYTHON, "crawlers");
}

fn build_and_test(language: &Language, name: &str) {
    if let Some(why) = language.missing() {
        // Past the capture of the test harness: whoever reads the log is to see it.
        let text = format!("\nNOT TESTED: policies in {}: {why}\n\n", language.name);
        return io::stderr().write_all(text.as_bytes()).unwrap();
    }
    // A copy of what the build reads, in its places: nothing is put beside the sources.
    let folder = empty_folder(&format!("ships-{name}")).unwrap();
    let plugins = workspace().join("plugins");
    copy(&workspace().join("wit"), &folder.join("wit"));
    copy(&plugins.join("templates"), &folder.join("plugins/templates"));
    copy(&plugins.join(name), &folder.join("plugins").join(name));
    let here = folder.join("plugins").join(name);
    for arguments in
        [&["policy", "build"][..], &["policy", "test", &format!("{name}.wasm"), "--cases", "cases"]]
    {
        let mut larder = Command::new(env!("CARGO_BIN_EXE_larder"));
        let output = with_caches(larder.args(arguments)).current_dir(&here).output().unwrap();
        assert!(output.status.success(), "larder {}:\n{}", arguments.join(" "), said(&output));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_file() {
            fs::copy(&path, to.join(name)).unwrap();
        } else if !["node_modules", ".venv"].contains(&name.to_str().unwrap()) {
            copy(&path, &to.join(name));
        }
    }
}
