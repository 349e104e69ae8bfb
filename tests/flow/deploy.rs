//! Another component in the place of one that serves: checked first, swapped between two requests, and back.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use flow_tests::{Origin, Proxy, proxy::config, wait};

use crate::{HIT, STORED, assert_status, status_of};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

fn built(name: &str) -> Vec<u8> {
    let folder = rig::policies::build().unwrap_or_else(|error| panic!("{error}"));
    fs::read(folder.join(format!("{name}.wasm"))).expect("it was built")
}

/// The same component with another name for it in a section that nobody reads: other bytes, other code, same behaviour.
fn edition(component: &[u8], number: u8) -> Vec<u8> {
    // A custom section: id 0, its length, then a name with its length.
    [component, &[0, 4, 3, b'n', b'o', number]].concat()
}

/// A folder with a component that a route may have; gone with its owner.
struct Folder(PathBuf);

impl Folder {
    fn with(component: &[u8]) -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("larder-deploy-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        fs::write(folder.join("policy.wasm"), component).expect("the temporary folder can be written");
        Folder(folder)
    }

    fn component(&self) -> PathBuf {
        self.0.join("policy.wasm")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn with(origin: &Origin, component: &Path) -> String {
    config(
        origin,
        &format!("[[route]]\nname = \"all\"\npolicy = {{ component = \"{}\" }}", component.display()),
    )
}

fn call(proxy: &Proxy, what: &str, body: &[u8]) -> (u16, String) {
    let mut client = rig::http::Client::connect(proxy.admin).expect("the admin listener takes connections");
    let answer =
        client.call("POST", &format!("/api/policy/{what}"), &[], body).expect("the admin listener answers");
    (answer.status, answer.text())
}

#[test]
fn a_component_is_deployed_and_taken_back() {
    let (pass, answer) = (built("pass"), built("answer"));
    let origin = Origin::fixed(200, FRESH, "x");
    let folder = Folder::with(&pass);
    let proxy = Proxy::with_config(&with(&origin, &folder.component()));
    let previous = folder.0.join("policy.wasm.previous");
    assert_status(&proxy.get("/a"), "larder; fwd=bypass; fwd-status=200");

    let (status, text) = call(&proxy, "deploy?route=all", &answer);
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("\"policy\": \"answer@") && text.contains("policy.wasm.previous"), "{text}");
    assert_status(&proxy.get("/a"), "larder; detail=policy");
    assert!(fs::read(folder.component()).unwrap() == answer && fs::read(&previous).unwrap() == pass);

    for (now, before, expected) in
        [(&pass, &answer, "larder; fwd=bypass; fwd-status=200"), (&answer, &pass, "larder; detail=policy")]
    {
        let (status, text) = call(&proxy, "rollback?route=all", b"");
        assert_eq!(status, 200, "{text}");
        assert_status(&proxy.get("/a"), expected);
        assert!(fs::read(folder.component()).unwrap() == *now && fs::read(&previous).unwrap() == *before);
    }
    // Once more the same: what was there before it is still what one goes back to.
    assert_eq!(call(&proxy, "deploy?route=all", &answer).0, 200);
    assert!(fs::read(&previous).unwrap() == pass);
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn what_cannot_serve_changes_neither_file_nor_proxy() {
    let pass = built("pass");
    let origin = Origin::fixed(200, FRESH, "x");
    let folder = Folder::with(&pass);
    let proxy = Proxy::with_config(&with(&origin, &folder.component()));
    let generation = proxy.shared.generation();
    for (what, body, expected) in [
        ("deploy?route=all", b"not wasm".as_slice(), "policy.wasm"),
        ("deploy?route=all", built("spin-in-describe").as_slice(), "policy.wasm"),
        ("deploy?route=all", &built("tenant-key")[..1000], "policy.wasm"),
        ("deploy?route=other", &pass, "there is no route \"other\"; there are all"),
        ("deploy?route=all&name=x", &pass, "has no policy \"x\"; it has pass"),
        ("deploy", &pass, "say which route"),
        ("deploy?root=all", &pass, "is neither route=NAME"),
        ("rollback?route=all", b"", "nothing to go back to"),
    ] {
        let (status, text) = call(&proxy, what, body);
        assert!(status == 422 || status == 400, "{what}: {status} {text}");
        assert!(text.contains(expected), "{what}: {text}");
    }
    assert_eq!(proxy.shared.generation(), generation);
    assert!(fs::read(folder.component()).unwrap() == pass);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    assert_status(&proxy.get("/a"), "larder; fwd=bypass; fwd-status=200");
}

#[test]
fn of_several_one_is_named() {
    let origin = Origin::fixed(200, FRESH, "x");
    let (one, two) = (Folder::with(&built("short-ttl")), Folder::with(&built("pass")));
    let list = [&one, &two].map(|folder| format!("{{ component = \"{}\" }}", folder.component().display()));
    let text = format!("[[route]]\nname = \"all\"\npolicies = [{}]", list.join(", "));
    let proxy = Proxy::with_config(&config(&origin, &text));
    let (status, text) = call(&proxy, "deploy?route=all", &built("answer"));
    assert!(status == 422 && text.contains("say which one with --name: short-ttl, pass"), "{text}");
    let (status, text) = call(&proxy, "deploy?route=all&name=pass", &built("answer"));
    assert_eq!(status, 200, "{text}");
    assert_status(&proxy.get("/a"), "larder; detail=policy");
    assert!(fs::read(one.component()).unwrap() == built("short-ttl"));
}

#[test]
fn many_swaps_drop_no_request_and_what_is_stored_stays() {
    const SWAPS: u8 = 50;
    let component = built("short-ttl");
    let origin = Origin::start(|seen, answering| answering.reply(200, FRESH, &seen.target));
    let folder = Folder::with(&component);
    let proxy = Proxy::with_config(&with(&origin, &folder.component()));
    assert_status(&proxy.get_with("/0/0", &[("host", "h")]), STORED);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|number| {
                let (proxy, is_over) = (&proxy, &is_over);
                scope.spawn(move || {
                    let mut client = proxy.client();
                    let mut count = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        let target = format!("/{number}/{}", count % 10);
                        let answer = client.get(&target, &[("host", "h")]).expect("no request is dropped");
                        assert_eq!((answer.status, answer.text()), (200, target));
                        assert!(!status_of(&answer).contains("miss;") || count < 10, "{answer:?}");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let over = wait::OverAtEnd(&is_over);
        for number in 0..SWAPS {
            let (status, text) = call(&proxy, "deploy?route=all", &edition(&component, number));
            assert_eq!(status, 200, "{text}");
        }
        drop(over);
        for client in clients {
            assert!(client.join().unwrap() > 0);
        }
    });
    assert_status(&proxy.get_with("/0/0", &[("host", "h")]), HIT);
    assert!(origin.count() <= 21, "{} fetches", origin.count());
}

#[test]
fn an_edit_of_the_configuration_is_not_lost_over_a_deploy_that_is_refused() {
    let origin = Origin::fixed(200, FRESH, "x");
    let folder = Folder::with(&built("pass"));
    let text = with(&origin, &folder.component());
    let proxy = Proxy::with_config(&text);
    let generation = proxy.shared.generation();
    proxy.write_config(&format!("{text}\n[[route]]\nname = \"more\""));
    let (status, answer) = call(&proxy, "deploy?route=all", b"not wasm");
    assert_eq!(status, 422, "{answer}");
    wait::until("the edit to hold", || proxy.shared.generation() > generation);
    assert_eq!(proxy.shared.live().config.routes.len(), 2);
}

#[test]
fn a_deploy_makes_up_for_a_reload_that_failed() {
    let origin = Origin::fixed(200, FRESH, "x");
    let folder = Folder::with(&built("pass"));
    let text = with(&origin, &folder.component());
    let proxy = Proxy::with_config(&text);
    proxy.write_config("nonsense");
    assert_eq!(proxy.admin("POST", "/api/reload", "").status, 422);
    assert_eq!(call(&proxy, "deploy?route=all", &built("answer")).0, 422);
    proxy.write_config(&text);
    let (status, answer) = call(&proxy, "deploy?route=all", &built("answer"));
    assert_eq!(status, 200, "{answer}");
    let status = proxy.admin("GET", "/api/status", "").text();
    assert!(status.contains("\"last_reload_failure\": null"), "{status}");
}

#[test]
fn where_nothing_can_be_written_nothing_changes() {
    let (pass, answer) = (built("pass"), built("answer"));
    let origin = Origin::fixed(200, FRESH, "x");
    let folder = Folder::with(&pass);
    let proxy = Proxy::with_config(&with(&origin, &folder.component()));
    // Whoever runs this may write wherever modes forbid it, but nobody can put a file in the place of a folder.
    let in_the_way = folder.0.join("policy.wasm.previous");
    fs::create_dir_all(in_the_way.join("full")).unwrap();
    let (status, text) = call(&proxy, "deploy?route=all", &answer);
    assert_eq!(status, 422, "{text}");
    assert!(text.contains("nothing was changed"), "{text}");
    assert_status(&proxy.get("/a"), "larder; fwd=bypass; fwd-status=200");
    assert!(fs::read(folder.component()).unwrap() == pass);
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    // As a deploy leaves it that is cut off between its two steps.
    fs::remove_dir_all(&in_the_way).unwrap();
    fs::copy(folder.component(), &in_the_way).unwrap();
    let (status, text) = call(&proxy, "rollback?route=all", b"");
    assert!(status == 422 && text.contains("nothing else to go back to"), "{status}: {text}");
    // And it goes on where it can.
    assert_eq!(call(&proxy, "deploy?route=all", &answer).0, 200);
    // What was deployed is what serves after a restart.
    let proxy = Proxy::with_config(&with(&origin, &folder.component()));
    assert_status(&proxy.get("/a"), "larder; detail=policy");
    assert_eq!(call(&proxy, "rollback?route=all", b"").0, 200);
    assert_status(&proxy.get("/a"), "larder; fwd=bypass; fwd-status=200");
}

#[test]
fn many_deploys_and_reloads_at_once_end_with_one_that_was_asked_for() {
    let (pass, answer) = (built("pass"), built("answer"));
    let origin = Origin::fixed(200, FRESH, "x");
    let (one, two) = (Folder::with(&pass), Folder::with(&pass));
    let text = format!(
        "[[route]]\nname = \"one\"\nmatch = {{ path = \"/one\" }}\npolicy = {{ component = \"{}\" }}\n\
         [[route]]\nname = \"two\"\npolicy = {{ component = \"{}\" }}",
        one.component().display(),
        two.component().display()
    );
    let proxy = Proxy::with_config(&config(&origin, &text));
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (proxy, answer) = (&proxy, &answer);
            let route = if number % 2 == 0 { "one" } else { "two" };
            scope.spawn(move || {
                for edition_number in 0..2 {
                    let component = edition(answer, number * 2 + edition_number);
                    let (status, text) = call(proxy, &format!("deploy?route={route}"), &component);
                    // One at a time: who comes second is told to come again.
                    assert!(status == 200 || status == 503, "{status}: {text}");
                    let (status, text) = call(proxy, &format!("rollback?route={route}"), b"");
                    assert!(status == 200 || text.contains("to go back to"), "{status}: {text}");
                    assert_eq!(proxy.admin("POST", "/api/reload", "").status, 200);
                }
            });
        }
    });
    for (folder, target) in [(&one, "/one"), (&two, "/two")] {
        // What is on the disk is what serves.
        let on_disk = fs::read(folder.component()).unwrap();
        let expected =
            if on_disk == pass { "larder; fwd=bypass; fwd-status=200" } else { "larder; detail=policy" };
        assert_status(&proxy.get(target), expected);
        for file in fs::read_dir(&folder.0).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            assert!(["policy.wasm", "policy.wasm.previous"].contains(&&*name), "{name}");
        }
    }
}

#[test]
fn one_component_is_received_at_a_time() {
    let origin = Origin::fixed(200, FRESH, "x");
    let folder = Folder::with(&built("pass"));
    let proxy = Proxy::with_config(&with(&origin, &folder.component()));
    let mut slow = rig::http::Client::connect(proxy.admin).expect("the admin listener takes connections");
    let head = "POST /api/policy/deploy?route=all HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
                content-length: 67108864\r\n\r\n";
    slow.send(head.as_bytes()).unwrap();
    // It is being read.
    assert_eq!(slow.head().unwrap().status, 100);
    let mut client = rig::http::Client::connect(proxy.admin).unwrap();
    let refused = client.call("POST", "/api/policy/deploy?route=all", &[], &built("answer")).unwrap();
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")), "{}", refused.text());
    assert_eq!(proxy.admin("GET", "/healthz", "").status, 200);
    drop(slow);
    wait::until("the place to be free", || call(&proxy, "deploy?route=all", &built("answer")).0 == 200);
}
