//! A new configuration: by call, by a change of the file, and refused if it is wrong.

use flow_tests::{Origin, Proxy, proxy::config, wait};

use crate::{HIT, assert_status};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[test]
fn a_wrong_file_changes_nothing_and_says_where() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get("/a");
    proxy.write_config("[[upstream]]\nservres = [\"http://127.0.0.1:1\"]");
    let refused = proxy.admin("POST", "/api/reload", "");
    assert_eq!(refused.status, 422);
    let text = refused.text();
    assert!(text.contains("larder.toml:5:1: ") && text.contains("did you mean"), "{text}");
    assert_status(&proxy.get("/a"), HIT);
    let status: serde_json::Value =
        serde_json::from_slice(&proxy.admin("GET", "/api/status", "").body).unwrap();
    assert_eq!(status["generation"], 1);
    assert!(status["last_reload_failure"].as_str().unwrap().contains("servres"));
}

#[test]
fn a_new_configuration_holds_for_the_next_request_and_what_is_stored_stays() {
    let (one, two) = (Origin::fixed(200, FRESH, "one"), Origin::fixed(200, FRESH, "two"));
    let proxy = Proxy::with_config(&config(&one, ""));
    let mut kept = proxy.client();
    assert_eq!(kept.get("/a", &[("host", "h")]).unwrap().text(), "one");
    proxy.write_config(&config(&two, ""));
    let answer = proxy.admin("POST", "/api/reload", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("servers"), "{}", answer.text());
    assert_eq!(kept.get("/b", &[("host", "h")]).unwrap().text(), "two");
    assert_eq!(kept.get("/a", &[("host", "h")]).unwrap().text(), "one");
}

#[test]
fn a_changed_file_is_read_by_itself() {
    let (one, two) = (Origin::fixed(200, &[], "one"), Origin::fixed(200, &[], "two"));
    let proxy = Proxy::with_config(&config(&one, ""));
    proxy.write_config(&config(&two, ""));
    wait::until("the new upstream to answer", || proxy.get("/a").text() == "two");
}

#[test]
fn reloads_under_load_drop_nothing() {
    let origin = Origin::start(|seen, answering| answering.reply(200, FRESH, &seen.target));
    let with = |ttl: usize| {
        config(&origin, &format!("[[route]]\nname = \"all\"\ncache = {{ max_ttl = \"{ttl}s\" }}"))
    };
    let proxy = Proxy::with_config(&with(1));
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|number| {
                let (proxy, is_over) = (&proxy, &is_over);
                scope.spawn(move || {
                    let mut client = proxy.client();
                    let mut count = 0;
                    while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                        let target = format!("/{number}/{}", count % 10);
                        let answer = client.get(&target, &[]).expect("no request is dropped");
                        assert_eq!((answer.status, answer.text()), (200, target));
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for ttl in 1..100 {
            proxy.reload(&with(ttl));
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        for client in clients {
            assert!(client.join().unwrap() > 0);
        }
    });
}

#[test]
fn a_component_that_appears_later_is_noticed() {
    let origin = Origin::fixed(200, FRESH, "x");
    let built = rig::policies::build().unwrap_or_else(|error| panic!("{error}"));
    let late = std::env::temp_dir().join(format!("larder-late-{}.wasm", std::process::id()));
    let with = |route: &str| config(&origin, &format!("[[route]]\nname = \"all\"\n{route}"));
    let proxy = Proxy::with_config(&with(""));
    proxy.write_config(&with(&format!("policy = {{ component = \"{}\" }}", late.display())));
    assert_eq!(proxy.admin("POST", "/api/reload", "").status, 422);
    std::fs::copy(built.join("answer.wasm"), &late).unwrap();
    wait::until("the policy to answer", || {
        proxy.get("/a").field("cache-status") == Some("larder; detail=policy")
    });
    std::fs::remove_file(late).unwrap();
}

#[test]
fn what_is_no_file_is_no_component() {
    let origin = Origin::fixed(200, FRESH, "x");
    let proxy = Proxy::in_front_of(&origin, "");
    for path in ["/dev/zero", "/tmp"] {
        proxy.write_config(&config(
            &origin,
            &format!("[[route]]\nname = \"all\"\npolicy = {{ component = \"{path}\" }}"),
        ));
        let refused = proxy.admin("POST", "/api/reload", "");
        assert_eq!(refused.status, 422);
        assert!(refused.text().contains("is not a regular file"), "{}", refused.text());
    }
}
