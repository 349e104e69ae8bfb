//! What operators read holds nothing of what clients and settings keep secret, however much is logged.

use std::{fs, process::Command};

use rig::process::Process;

use crate::{
    Folder,
    hostile::{call, upstream},
};

fn configuration(folder: &Folder, secret: &str) -> String {
    // Credentials for the upstream, put in the place of those of the client; and a fault on demand.
    format!(
        "listen = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[upstream]]\nservers = [\"http://{}\"]\n[[route]]\nname = \"all\"\n\
         policy = {{ component = \"scripted.wasm\", settings = {{ reads = {{ fields = [\"x-trap\", \"authorization\"], \
         cookies = [\"session\"] }}, request = [ {{ if = {{ 0 = \"yes\" }}, then = \"trap\" }}, {{ then = {{ look_up = {{ forward = \
         {{ fields = {{ set = [[\"authorization\", \"{secret}\"]], remove = [\"cookie\"] }} }} }} }} }} ] }} }}\n",
        fs::read_to_string(folder.0.join("upstream")).unwrap()
    )
}

#[test]
fn neither_log_nor_admin_listener_tells_secrets() {
    let (folder, file) = Folder::with_config("");
    fs::write(folder.0.join("upstream"), upstream().to_string()).unwrap();
    fs::copy(rig::policies::build().unwrap().join("scripted.wasm"), folder.0.join("scripted.wasm")).unwrap();
    fs::write(&file, configuration(&folder, "hush-ours")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["serve", "-c"]).arg(&file).env("RUST_LOG", "debug");
    let mut larder = Process::start("larder", &mut command).unwrap();
    let address = larder.wait_for_address("serving").unwrap();
    let admin = larder.wait_for_address("admin").unwrap();
    for trap in ["no", "yes", "no"] {
        for target in ["/a?token=hush-query", "/b"] {
            let theirs = [
                ("x-trap", trap),
                ("authorization", "Bearer hush-theirs"),
                ("cookie", "session=hush-cookie"),
            ];
            assert_eq!(call(address, "GET", target, &theirs).status, 200);
        }
    }
    // Not text, which is refused or passed and told to nobody.
    assert_eq!(call(address, "GET", "/c", &[("cookie", "session=hush-one; session=hush-two")]).status, 200);
    fs::write(&file, configuration(&folder, "hush-others")).unwrap();
    assert_eq!(call(admin, "POST", "/api/reload", &[]).status, 200);
    assert_eq!(call(address, "GET", "/d", &[("authorization", "Bearer hush-theirs")]).status, 200);
    let question = "{\"url\": \"http://h/a\", \"fields\": [[\"authorization\", \"Bearer hush-asked\"], [\"cookie\", \"session=hush-asked\"]]}";
    let explained = rig::http::Client::connect(admin)
        .unwrap()
        .call("POST", "/api/explain", &[], question.as_bytes())
        .unwrap()
        .text();
    assert!(explained.contains("field authorization: (17 bytes)"), "{explained}");
    let answers =
        ["/api/status", "/api/policies", "/metrics"].map(|target| call(admin, "GET", target, &[]).text());
    let log = larder.log();
    assert!(log.contains("secret words") && log.contains("settings: changed"), "{log}");
    for told in answers.iter().chain([&explained, &log]) {
        assert!(!told.contains("hush"), "{told}");
    }
}
