//! What operators see (`ui/bad_*.toml` beside what is said about each), and what good files become.

use std::fs;
use std::path::Path;

use caching::vary::VaryMode;
use http::Method;

use super::*;

const SMALLEST: &str = "listen = [\"127.0.0.1:8080\"]\n[[upstream]]\nservers = [\"http://127.0.0.1:3000\"]\n";

#[track_caller]
fn good(text: &str) -> Config {
    match Config::parse(text, Path::new("etc/larder.toml")) {
        Ok(config) => config,
        Err(faults) => panic!("{faults}"),
    }
}

#[track_caller]
fn faults(text: &str) -> String {
    Config::parse(text, Path::new("larder.toml")).unwrap_err().to_string()
}

/// `LARDER_BLESS=1` writes down what is said now; the difference is for a person to read.
#[test]
fn every_bad_file_is_refused_in_these_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/ui");
    let is_blessing = std::env::var_os("LARDER_BLESS").is_some();
    let mut different = Vec::new();
    let mut seen = 0;
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.starts_with("bad_") || !name.ends_with(".toml") {
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(&path).unwrap();
        let said = match Config::parse(&text, Path::new(name)) {
            Ok(_) => panic!("{name} is accepted"),
            Err(faults) => format!("{faults}\n"),
        };
        let golden = path.with_extension("err");
        if is_blessing {
            fs::write(golden, said).unwrap();
        } else if fs::read_to_string(golden).ok().as_ref() != Some(&said) {
            different.push(format!("{name}:\n{said}"));
        }
    }
    assert!(seen > 0, "no bad files in {}", folder.display());
    assert!(different.is_empty(), "not what the .err files say:\n{}", different.join("\n"));
}

#[test]
fn three_lines_are_a_whole_configuration() {
    let config = good(SMALLEST);
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.admin, Admin { listen: Some("127.0.0.1:9090".parse().unwrap()), token: None });
    assert_eq!(config.upstreams[0].name.as_str(), "default");
    assert_eq!(config.routes[0].name.as_str(), "default");
    assert_eq!(config.routes[0].cache, CacheRules::UPSTREAM_DECIDES);
    assert_eq!(config.routes[0].matcher.to_string(), "everything");
    assert!(config.feed.is_none() && config.routes[0].feed);
    assert!(config.warnings.is_empty());
}

#[test]
fn a_feed_needs_no_more_than_its_servers() {
    let mut text = format!("{SMALLEST}[feed]\nservers = [\"http://127.0.0.1:8081\"]\n");
    let feed = good(&text).feed.unwrap();
    let schema = schema();
    let published = schema.pointer("/properties/feed/properties").unwrap().as_object().unwrap();
    for (key, default) in published.iter().filter_map(|(key, property)| Some((key, property.get("default")?)))
    {
        text.push_str(&format!("{key} = {default}\n"));
    }
    assert_eq!(Some(&feed), good(&text).feed.as_ref(), "{text}");
    assert_eq!((feed.on_loss, feed.token), (OnLoss::Stale, None));
    assert_eq!((feed.max_silence, feed.settle), (Duration::from_secs(2), Duration::from_secs(1)));
}

#[test]
fn a_configuration_without_a_file_is_that_of_three_lines() {
    let simple = Config::simple("127.0.0.1:8080".parse().unwrap(), "http://127.0.0.1:3000").unwrap();
    assert_eq!(simple, good(SMALLEST));
    let faults = Config::simple("127.0.0.1:8080".parse().unwrap(), "https://app").unwrap_err();
    assert!(faults.to_string().starts_with("--to: \"https://app\": TLS"), "{faults}");
}

#[test]
fn the_whole_file_is_read() {
    let config = good(include_str!("ui/good_everything.toml"));
    assert_eq!(config.workers.get(), 3);
    assert!(config.access_log);
    assert_eq!(config.admin.listen.unwrap().to_string(), "0.0.0.0:9091");
    assert!(config.admin.token.as_ref().unwrap().matches(b"not-a-secret-as-it-is-in-git"));
    let targets = ["shop-cache-control", "cdn-cache-control"].map(HeaderName::from_static);
    let expected = Cache { memory_bytes: 1 << 30, max_response_bytes: 8 << 20, targets: targets.into() };
    assert_eq!(config.cache, expected);
    let expected = Limits {
        idle_timeout: Duration::from_secs(90),
        drain_timeout: Duration::ZERO,
        max_head_bytes: 32 << 10,
        max_fields: 60,
        max_request_body_bytes: 10_000_000,
        max_connections: 2000,
        max_waiters: 100,
    };
    assert_eq!(config.limits, expected);
    let feed = config.feed.as_ref().unwrap();
    assert_eq!((feed.servers.len(), feed.servers[1].port, feed.on_loss), (2, 8081, OnLoss::Ttl));
    assert_eq!((feed.max_silence, feed.settle), (Duration::from_secs(5), Duration::ZERO));
    assert!(feed.token.as_ref().unwrap().matches(b"not-a-secret-as-it-is-in-git"));
    assert_eq!((feed.session.max_age.as_secs(), feed.session.max_wait.as_millis()), (120, 100));
    assert_eq!(feed.session.key, feed.token);
    let app = &config.upstreams[1];
    assert_eq!((app.name.as_str(), app.servers.len(), app.servers[1].port), ("app", 2, 3001));
    assert_eq!(app.response_timeout, Duration::from_millis(1500));
    assert_eq!((app.max_idle, app.max_connections), (8, 32));

    let [assets, users, rest] = &*config.routes else { panic!("{:?}", config.routes) };
    assert_eq!(assets.upstream, 0);
    assert_eq!(assets.cache.ttl, Some(Duration::from_secs(7 * 86_400)));
    let of_status = |text: &str, ms| (text.parse().unwrap(), Duration::from_millis(ms));
    assert_eq!(assets.cache.status_ttls, [of_status("404", 10_000), of_status("5xx", 500)]);
    assert_eq!(assets.cache.hit_for_miss, Duration::from_secs(30));
    assert_eq!((assets.cache.early_refresh, assets.cache.honours_requests), (Some(1.5), true));
    let all = Allowances {
        set_cookie: true,
        private: true,
        no_store: true,
        authorization: true,
        request_body: true,
    };
    assert_eq!(assets.cache.allow, all);
    assert_eq!(users.upstream, 1);
    let query = users.key.query.as_ref().unwrap();
    assert_eq!((query.sort, query.drop.len()), (true, 2));
    assert_eq!(
        (&*users.key.cookies, &*users.key.fields),
        (&["theme".into()][..], &[HeaderName::from_static("x-device")][..])
    );
    let mode = |name: &'static str| users.vary.mode(&HeaderName::from_static(name));
    assert_eq!((mode("accept-language"), mode("accept-encoding")), (VaryMode::Negotiate, VaryMode::Exact));
    assert_eq!((mode("user-agent"), mode("accept")), (VaryMode::Bypass, VaryMode::Normalize));
    assert_eq!(users.cache.default_ttl, Some(Duration::from_secs(1800)));
    assert_eq!(users.cache.stale_if_error, Some(Duration::from_secs(3600)));
    assert_eq!(users.matcher.methods, [Method::GET, Method::HEAD]);
    let [policy] = &*users.policies else { panic!("{:?}", users.policies) };
    assert_eq!(policy.component, Path::new("etc/policies/tenant.wasm"));
    assert_eq!(
        policy.settings,
        serde_json::json!({"header": "x-tenant", "weights": [1, 2.5], "since": "2026-01-01"})
    );
    assert_eq!(policy.on_fault, OnFault::Fail);
    let components: Vec<_> = config.policies_of(rest).map(|policy| policy.component.as_path()).collect();
    let expected = ["etc/policies/allow-list.wasm", "etc/policies/one.wasm", "etc/policies/two.wasm"];
    assert_eq!(components, expected.map(Path::new));
    assert_eq!(rest.policies[1].on_fault, OnFault::Default);
    assert_eq!((rest.upstream, &*rest.upstreams), (1, &[0][..]));
    assert_eq!(config.code_cache.as_deref(), Some(Path::new("/var/cache/larder")));
    assert!(!rest.cache.enabled);
    assert!(rest.upgrade[0].is_named(b"WebSocket/13") && !rest.upgrade[0].is_named(b"websockets"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn the_first_route_that_matches_has_its_captures() {
    let config = good(include_str!("ui/good_everything.toml"));
    let find = |host: &str, path: &'static str| {
        let mut found = config.routes.iter().filter_map(|route| {
            let captures = route.matcher.matches(host, path, &Method::GET)?;
            let mut tag = String::new();
            assert!(route.tags.iter().all(|template| template.render(&captures, &mut tag)));
            Some(format!("{} {tag}", route.name))
        });
        found.next().unwrap()
    };
    assert_eq!(find("static.example.com", "/a/b"), "assets ");
    assert_eq!(find("api.example.com", "/users/42"), "users user:42users");
    assert_eq!(find("api.example.com", "/users"), "rest ");
}

#[test]
fn what_is_hardly_meant_is_a_warning() {
    let text = format!(
        "{SMALLEST}name = \"a\"\n[[upstream]]\nname = \"b\"\nservers = [\"http://b\"]\n\
         [[route]]\nname = \"all\"\nupstream = \"a\"\n\
         [[route]]\nname = \"late\"\nupstream = \"a\"\nmatch = {{ path = \"/x\", methods = [\"GTE\"] }}\n"
    );
    let warnings = good(&text).warnings;
    assert_eq!(
        warnings,
        [
            "route \"late\": \"GTE\" is no standard method; did you mean \"GET\"?",
            "route \"late\": never reached, route \"all\" before it takes everything that it matches",
            "upstream \"b\": no route uses it",
        ]
    );
}

#[test]
fn a_small_cache_stores_small_responses() {
    let config = good(&format!("{SMALLEST}[cache]\nmemory = \"8MiB\"\n"));
    assert_eq!(config.cache.max_response_bytes, 2 << 20);
}

#[test]
fn admin_can_be_off() {
    assert_eq!(good(&format!("{SMALLEST}[admin]\nlisten = \"off\"\n")).admin.listen, None);
}

#[test]
fn a_missing_file_is_a_fault() {
    let faults = Config::load(Path::new("no/such/larder.toml")).unwrap_err();
    assert_eq!(faults.faults.len(), 1);
    assert!(faults.to_string().starts_with("no/such/larder.toml: cannot be opened: "), "{faults}");
}

#[test]
fn a_folder_is_no_file() {
    assert!(Config::load(Path::new(env!("CARGO_MANIFEST_DIR"))).is_err());
}

#[test]
fn files_are_bounded_and_in_utf8() {
    let folder = std::env::temp_dir().join(format!("larder-config-test-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("larder.toml");
    fs::write(&path, b"listen = []\nworkers = \"\xff\"\n").unwrap();
    let not_utf8 = Config::load(&path).unwrap_err();
    fs::write(&path, "#".repeat(5 << 20)).unwrap();
    let too_large = Config::load(&path).unwrap_err();
    fs::write(&path, SMALLEST).unwrap();
    let fine = Config::load(&path);
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(not_utf8.faults[0].position, Some(Position { line: 2, column: 12 }));
    assert!(
        too_large.to_string().ends_with("is larger than 4MiB, too large for a configuration"),
        "{too_large}"
    );
    assert!(fine.is_ok());
}

#[test]
fn a_wholly_wrong_file_does_not_flood_the_terminal() {
    let lines: String = (0..5000).map(|number| format!("key_{number} = 1\n")).collect();
    let said = faults(&lines);
    assert!(said.starts_with("larder.toml: more than 100 faults; these are some of them\n"), "{said}");
    assert_eq!(said.lines().count(), 101);
    assert!(faults(&"x = = 1\n".repeat(5000)).lines().count() <= 101);
}

#[test]
fn admin_has_a_port_of_its_own_without_a_file_too() {
    let faults = Config::simple("0.0.0.0:9090".parse().unwrap(), "http://127.0.0.1:3000").unwrap_err();
    assert!(
        faults.to_string().starts_with("--listen: 127.0.0.1:9090 is where the admin listener is"),
        "{faults}"
    );
}

#[test]
fn a_token_can_stand_in_a_file_beside_the_configuration() {
    let folder = std::env::temp_dir().join(format!("larder-token-test-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("admin.token"), "correct-horse-battery\n").unwrap();
    fs::write(folder.join("short.token"), "horse\n").unwrap();
    let read = |name: &str| {
        let text = format!("{SMALLEST}[admin]\nlisten = \"0.0.0.0:9090\"\ntoken_file = {name:?}\n");
        Config::parse(&text, &folder.join("larder.toml"))
    };
    let (good, short) = (read("admin.token"), read("short.token"));
    fs::remove_dir_all(&folder).unwrap();
    assert!(good.unwrap().admin.token.unwrap().matches(b"correct-horse-battery"));
    let short = short.unwrap_err().to_string();
    assert!(short.contains("short.token: a token has 16 to 1024 characters, this has 5"), "{short}");
    assert!(!short.contains("horse"), "{short}");
}

#[test]
fn faults_are_json_for_the_admin_answer() {
    let faults = Config::parse("listen = 1\n", Path::new("larder.toml")).unwrap_err();
    let json = serde_json::to_value(&faults).unwrap();
    assert_eq!(json["file"], "larder.toml");
    assert_eq!(json["faults"][0]["path_in_file"], "upstream");
    assert_eq!(json["faults"][1]["line"], 1);
    assert_eq!(json["faults"][1]["column"], 10);
    let unreadable = serde_json::to_value(Config::load(Path::new("no/such.toml")).unwrap_err()).unwrap();
    assert!(unreadable["faults"][0].get("line").is_none());
}

#[test]
fn faults_of_a_component_point_at_it() {
    let text = format!("{SMALLEST}[[route]]\nname = \"r\"\npolicy = {{ component = \"x.wasm\" }}\n");
    let config = good(&text);
    let fault = config.routes[0].policies[0].fault("does not compile");
    let faults = ConfigFaults::new(Path::new("larder.toml"), vec![fault]);
    assert_eq!(faults.to_string(), "larder.toml:6:24: route \"r\": policy.component: does not compile");
}

#[test]
fn no_text_makes_the_reader_panic() {
    let whole = include_str!("ui/good_everything.toml");
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
        let _ = Config::parse(&whole[..end], Path::new("larder.toml"));
        let _ = Config::parse(&whole[end..], Path::new("larder.toml"));
    }
    for odd in [
        "",
        "\u{feff}",
        "\0",
        "[[[[",
        "[route]",
        "a.b.c=1",
        "listen.x=1",
        "upstream=[[]]",
        "é=é",
        "route=[1]",
    ] {
        let _ = faults(odd);
    }
    let _ = faults(&"[".repeat(100_000));
    let _ = faults(&format!("x = {}", "[".repeat(100_000)));
}

#[test]
fn changes_are_told_in_words() {
    let old = good(include_str!("ui/good_everything.toml"));
    assert!(old.describe_changes(&old).is_empty());
    let text = include_str!("ui/good_everything.toml")
        .replace("default_ttl = \"30m\"", "default_ttl = \"5s\"")
        .replace("name = \"assets\"\nmatch", "name = \"files\"\nmatch")
        .replace("\"http://127.0.0.1:3001\"", "\"http://127.0.0.1:3002\"")
        .replace("not-a-secret", "another-one")
        .replace("keep = [\"page\"]", "keep = []")
        .replace("weights = [1, 2.5]", "weights = [1]")
        .replace("memory = \"1GiB\"", "memory = \"64MiB\"")
        .replace("on_loss = \"ttl\"", "on_loss = \"pass\"")
        .replace("name = \"rest\"\nfeed = false", "name = \"rest\"\nfeed = true")
        .replace("workers = 3", "workers = 4");
    let new = good(&text);
    assert_eq!(
        old.describe_changes(&new),
        [
            "workers: 3 -> 4",
            "admin.token: changed",
            "cache.memory: 1GiB -> 64MiB",
            "feed.on_loss: ttl -> pass",
            "feed.token: changed",
            "feed.session_key: changed",
            "upstream \"app\": servers: http://127.0.0.1:3000 http://127.0.0.1:3001 -> \
             http://127.0.0.1:3000 http://127.0.0.1:3002",
            "route \"assets\": removed",
            "route \"files\": added",
            "route \"users\": cache.default_ttl: 30m -> 5s",
            "route \"rest\": feed: off -> on",
            "policy.settings: changed",
            "route \"users\": policy.settings: changed",
        ]
    );
    assert_eq!(
        old.needs_restart(&new),
        ["workers: 3 -> 4", "cache.memory: 1GiB -> 64MiB", "admin.token: changed"]
    );
    let mut fixed = old.clone();
    fixed.cache.memory_bytes = 2 << 20;
    fixed.limits.max_connections = 5;
    fixed.admin.token = Some("another-secret-of-some-length".parse().unwrap());
    assert_eq!(
        old.needs_restart(&fixed),
        ["cache.memory: 1GiB -> 2MiB", "limits.max_connections: 2000 -> 5", "admin.token: changed"]
    );
    let mut unfed = old.clone();
    unfed.feed = None;
    assert_eq!(old.describe_changes(&unfed), ["feed: removed"]);
    assert_eq!(unfed.describe_changes(&old), ["feed: added"]);
    assert!(old.needs_restart(&unfed).is_empty());
    let mut turned = old.clone();
    turned.routes.reverse();
    assert_eq!(old.describe_changes(&turned), ["routes: now in the order rest, users, assets"]);
}

/// The published schema and what is read cannot drift apart: the list of keys is taken from what the reader itself
/// says when it meets one that it does not know.
#[test]
fn schema_has_the_keys_that_are_read() {
    let schema = schema();
    for (pointer, text) in [
        ("", "KEY = 1"),
        ("/properties/admin", "[admin]\nKEY = 1"),
        ("/properties/cache", "[cache]\nKEY = 1"),
        ("/properties/limits", "[limits]\nKEY = 1"),
        ("/properties/feed", "[feed]\nKEY = 1"),
        ("/properties/upstream/items", "[[upstream]]\nKEY = 1"),
        ("/properties/route/items", "[[route]]\nKEY = 1"),
        ("/properties/route/items/properties/match", "[[route]]\nmatch.KEY = 1"),
        ("/properties/route/items/properties/cache/oneOf/1", "[[route]]\ncache.KEY = 1"),
        ("/properties/route/items/properties/key", "[[route]]\nkey.KEY = 1"),
        ("/properties/route/items/properties/key/properties/query", "[[route]]\nkey.query.KEY = 1"),
        ("/$defs/policy", "[[route]]\npolicy.KEY = 1"),
        ("/$defs/policy", "[[route]]\n[[route.policies]]\nKEY = 1"),
        ("/$defs/policy", "[[policy]]\nKEY = 1"),
        ("/properties/policies", "[policies]\nKEY = 1"),
    ] {
        let faults =
            Config::parse(&text.replace("KEY", "nothing-like-it"), Path::new("larder.toml")).unwrap_err();
        let mut unknown =
            faults.faults.iter().filter_map(|fault| fault.message.split_once("known here are "));
        let mut read: Vec<&str> = unknown.next().unwrap().1.split(", ").collect();
        read.sort_unstable();
        let published = schema.pointer(pointer).unwrap()["properties"].as_object().unwrap();
        let mut published: Vec<&str> = published.keys().map(String::as_str).collect();
        published.sort_unstable();
        assert_eq!(published, read, "in the schema at {pointer:?}, and read");
    }
}

#[test]
fn schema_has_the_defaults_that_are_used() {
    let schema = schema();
    let mut text = SMALLEST.to_owned();
    let mut seen = 0;
    for (heading, pointer) in [
        // The last line of SMALLEST is in an upstream.
        ("", "/properties/upstream/items/properties"),
        ("[admin]\n", "/properties/admin/properties"),
        ("[cache]\n", "/properties/cache/properties"),
        ("[limits]\n", "/properties/limits/properties"),
        ("[[route]]\n[route.cache]\n", "/properties/route/items/properties/cache/oneOf/1/properties"),
        ("[route.key.query]\n", "/properties/route/items/properties/key/properties/query/properties"),
    ] {
        text.push_str(heading);
        for (key, property) in schema.pointer(pointer).unwrap().as_object().unwrap() {
            if let Some(default) = property.get("default") {
                text.push_str(&format!("{key} = {default}\n"));
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "only {seen} defaults in the schema");
    let mut read = good(&text);
    // An empty table is not quite none, and does the same.
    assert_eq!(read.routes[0].key.query.take(), Some(QueryRules::default()));
    assert_eq!(read, good(SMALLEST), "\n{text}");
}

fn schema() -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/larder.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
