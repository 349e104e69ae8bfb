//! `larder explain` without a running proxy.

use std::process::{Command, Output};

use crate::Folder;

fn larder(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_larder")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_configuration_explains_a_request_and_a_recorded_response() {
    let (folder, file) = Folder::with_config(
        "listen = [\"127.0.0.1:8080\"]\n[[upstream]]\nservers = [\"http://127.0.0.1:1\"]\n[[route]]\ncache = { default_ttl = \"5m\" }\n",
    );
    let file = file.to_str().unwrap();
    let recorded = folder.0.join("head.txt");
    std::fs::write(&recorded, "HTTP/1.1 200 OK\r\nserver: x\r\nvary: accept\r\n\r\n").unwrap();
    let head = recorded.to_str().unwrap();
    let said =
        larder(&["explain", "-c", file, "-H", "accept: a", "--response", head, "http://shop.example/a"]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    let out = text(&said.stdout);
    for line in ["stored       yes", "lifetime     5m: default_ttl of the route"] {
        assert!(out.lines().any(|found| found == line), "no line {line:?} in:\n{out}");
    }
    let given = larder(&["explain", "-c", file, "--status", "404", "-R", "age: 1", "http://shop.example/a"]);
    assert!(text(&given.stdout).contains("stored       no: no-freshness"), "{}", text(&given.stdout));
}

#[test]
fn what_cannot_be_explained_is_said() {
    let (_folder, file) = Folder::with_config("listen = []\n");
    let file = file.to_str().unwrap();
    for (arguments, code, why) in [
        (&["explain", "-c", file, "http://h/"][..], 64, "listen"),
        (&["explain", "-c", "no/such.toml", "http://h/"][..], 64, "cannot be opened"),
        (&["explain", "-c", file, "-H", "no colon", "http://h/"][..], 1, "is not a field"),
        (&["explain", "-c", file, "--response", "no/such.txt", "http://h/"][..], 1, "no/such.txt"),
        (&["explain"][..], 2, "<URL>"),
    ] {
        let said = larder(arguments);
        assert_eq!(said.status.code(), Some(code), "{arguments:?}: {}", text(&said.stderr));
        assert!(text(&said.stderr).contains(why), "{arguments:?}: {}", text(&said.stderr));
    }
}
