//! A test for each guest, of its name.

use std::{path::Path, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode};
use plugin_host::{
    Answer, DoNotStore, FaultKind, FieldChanges, Instances, LoadError, LookUp, Pass, RequestDecision,
    ResponseDecision, StoreDecision,
};

use crate::support::{
    assert_fault, check_fault, decided, engine, good, impatient_engine, load_with, loaded, look_up, refused,
};

#[test]
fn every_guest_has_a_test_of_its_name() {
    let here = include_str!("guests.rs");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/examples");
    let mut count = 0;
    for entry in examples.read_dir().expect("the folder of the guests") {
        let file = entry.expect("an entry of it").file_name();
        let name = Path::new(&file).file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let test = format!("#[test]\nfn {}() {{\n", name.replace('-', "_"));
        assert!(here.contains(&test), "the guest {name} has no test");
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn answer() {
    let mut instances = Instances::new();
    let decision = decided(instances.call_on_request(&loaded(engine(), "answer"), &[]));
    let fields = vec![
        (HeaderName::from_static("content-type"), HeaderValue::from_static("text/plain")),
        (HeaderName::from_static("x-denied-by"), HeaderValue::from_static("answer")),
    ];
    let body = "not for you\n".into();
    assert_eq!(decision, RequestDecision::Answer(Answer { status: StatusCode::FORBIDDEN, fields, body }));
}

#[test]
fn bad_output() {
    let policy = loaded(engine(), "bad-output");
    for (what, detail) in [
        ("cr-lf", "value of field x-split: holds a control character"),
        ("nul", "value of field x-split: holds a control character"),
        ("field-name", "field \"x split\": not a field name"),
        ("framing", "field content-length: not a policy's to set or remove"),
        ("long-value", "10000 bytes in a field value: at most 8192 are taken"),
        ("many-fields", "100 fields: at most 64 are taken"),
        ("status-101", "status 101: not from 200 to 599"),
        ("status-600", "status 600: not from 200 to 599"),
        ("body-with-304", "a body with status 304"),
        ("reason", "10000 bytes of reason: at most 256 are taken"),
        ("reason-line", "reason \"a\\nb\": holds a control character"),
        ("empty-tag", "tag \"\": not of visible ASCII"),
        ("comma-tag", "tag \"a,b\": not of visible ASCII"),
        ("long-tag", "10000 bytes in a tag: at most 256 are taken"),
        ("long-part", "10000 bytes in a key part: at most 1024 are taken"),
        ("many-parts", "100 key parts: at most 16 are taken"),
    ] {
        let mut instances = Instances::new();
        assert_fault(instances.call_on_request(&policy, &[Some(what)]), FaultKind::Refused, detail);
        assert_eq!(decided(instances.call_on_request(&policy, &[None])), look_up(&[], &[]), "{what}");
    }
}

#[test]
fn bad_ttl() {
    let policy = loaded(engine(), "bad-ttl");
    let fault = Instances::new().call_on_response(&policy, 200, &[], &[]).expect_err("half a billion years");
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.detail.contains("ttl of 18446744073709551615 ms: more than 2147483648000"), "{fault}");
}

#[test]
fn claims_inputs() {
    let policy = load_with(engine(), "claims-inputs", "false").unwrap_or_else(|error| panic!("{error}"));
    let values = vec![Some("a"); policy.inputs().request_values()];
    assert_eq!(values.len(), 63 + 6);
    let mut instances = Instances::new();
    assert_eq!(decided(instances.on_request(&policy, &values)), look_up(&[], &[]));
    // It reads the time, it said.
    assert_eq!(decided(instances.on_request(&policy, &values)), look_up(&[], &[]));
    assert_eq!(instances.remembered_calls(), 0);
    // What it could not be passed is refused, and so are settings of another kind.
    let error = refused(load_with(engine(), "claims-inputs", "true"));
    assert!(matches!(error, LoadError::Contract { .. }), "{error:?}");
    assert!(error.to_string().contains("declares what it reads of responses and does not export"), "{error}");
    let error = refused(load_with(engine(), "claims-inputs", "null")).to_string();
    assert_eq!(error, "claims-inputs.wasm: settings for claims-inputs: settings: wanted boolean, found {}");
}

#[test]
fn echo_inputs() {
    let policy = loaded(engine(), "echo-inputs");
    assert!(policy.decides_requests() && policy.decides_responses());
    let inputs = policy.inputs();
    assert_eq!((inputs.request_values(), inputs.response_values()), (11, 3));
    assert_eq!(inputs.request_fields, ["x-one", "x-two"]);
    assert_eq!(inputs.response_fields, ["content-type", "x-kind"]);
    assert!(inputs.method && inputs.host && inputs.path && inputs.query && inputs.time && inputs.decided);

    // One of each kind, in the order of `wit/plugin.wit`.
    let request = [
        Some("1"),
        None,
        Some("p"),
        Some(""),
        Some("7"),
        Some("GET"),
        Some("h"),
        Some("/a"),
        Some("page=p"),
        Some("12"),
        Some("look-up"),
    ];
    let shown = ["1", "<none>", "p", "", "7", "GET", "h", "/a", "page=p", "12", "look-up"];
    let mut instances = Instances::new();
    assert_eq!(decided(instances.call_on_request(&policy, &request)), look_up(&shown, &[]));

    let request = request.map(|value| if value == Some("") { None } else { value });
    let decision =
        instances.call_on_response(&policy, 404, &request, &[Some("text/html"), None, Some("5000")]);
    let tags = [
        "404",
        "1",
        "<none>",
        "p",
        "<none>",
        "7",
        "GET",
        "h",
        "/a",
        "page=p",
        "12",
        "look-up",
        "text/html",
        "<none>",
        "5000",
    ];
    let tags = tags.map(Box::from).to_vec();
    assert_eq!(
        decided(decision),
        ResponseDecision::Store(StoreDecision { tags, ..StoreDecision::default() })
    );
}

#[test]
fn echo_key() {
    let policy = loaded(engine(), "echo-key");
    assert!(policy.decides_requests() && !policy.decides_responses());
    assert_eq!(policy.inputs().request_fields, ["x-tenant", "accept-language"]);
    assert_eq!(policy.inputs().cookies, ["plan"]);
    let mut instances = Instances::new();
    let decision = decided(instances.call_on_request(&policy, &[Some("acme"), Some("\u{e4}\0"), None]));
    assert_eq!(decision, look_up(&["-", "acme", "\u{e4}\0"], &[]));
    // Nothing of the call before.
    assert_eq!(
        decided(instances.call_on_request(&policy, &[None, None, None])),
        look_up(&["-", "-", "-"], &[])
    );
    // What it does not decide stays as it is.
    let store = instances.call_on_response(&policy, 200, &[None, None, None], &[]).expect("no call");
    assert_eq!(*store, ResponseDecision::Store(StoreDecision::default()));
}

#[test]
fn failing_self_test() {
    let error = refused(load_with(engine(), "failing-self-test", "{}"));
    assert!(matches!(error, LoadError::SelfTest { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.starts_with("failing-self-test.wasm: self-test of failing-self-test: all alike: "),
        "{text}"
    );
    assert!(text.contains("\"b\"") && text.contains("\"a\""), "{text}");
}

#[test]
fn grow_memory() {
    check_fault(engine(), "grow-memory", &[], FaultKind::Memory, "wanted more than 67108864 bytes of memory");
}

#[test]
fn hash_map() {
    let policy = loaded(engine(), "hash-map");
    let words = [Some("to+be+or+not+to+be")];
    let first = decided(Instances::new().call_on_request(&policy, &words));
    // Another instance, the same order: the seed is not from the world outside.
    assert_eq!(decided(Instances::new().call_on_request(&policy, &words)), first);
    let RequestDecision::LookUp(LookUp { mut key_parts, .. }) = first else { panic!("{first:?}") };
    key_parts.sort_unstable();
    assert_eq!(key_parts, ["be=2", "not=1", "or=1", "to=2"].map(Box::from));
}

#[test]
fn huge_body() {
    // More than may be handed over at all, and more than an answer may have.
    let fuel = "fuel allocated for hostcalls has been exhausted";
    check_fault(engine(), "huge-body", &[Some("8")], FaultKind::Refused, fuel);
    check_fault(engine(), "huge-body", &[Some("2")], FaultKind::Refused, "2097152 bytes of body: at most");
    let body = decided(Instances::new().call_on_request(&loaded(engine(), "huge-body"), &[Some("1")]));
    assert!(matches!(body, RequestDecision::Answer(Answer { body, .. }) if body.len() == 1 << 20));
}

#[test]
fn huge_string() {
    let too_long = FaultKind::Refused;
    for (place, detail) in [
        ("reason", "1048576 bytes of reason: at most 256"),
        ("upstream", "1048576 bytes in the name of an upstream: at most 64"),
        ("parameter", "1048576 bytes in the name of a query parameter: at most 256"),
        ("field-name", "\": not a field name"),
        ("key-part", "fuel allocated for hostcalls has been exhausted"),
    ] {
        check_fault(engine(), "huge-string", &[Some(place)], too_long, detail);
        let fault = Instances::new().on_request(&loaded(engine(), "huge-string"), &[Some(place)]);
        // No message repeats what is so long.
        assert!(fault.is_err_and(|fault| fault.detail.len() < 1_000), "{place}");
    }
}

#[test]
fn imports_host() {
    let error = refused(load_with(engine(), "imports-host", "{}"));
    assert!(matches!(error, LoadError::Import { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "imports-host.wasm: imports other:host/secrets@1.0.0; a policy is granted nothing but what it \
         declares in `inputs`"
    );
}

#[test]
fn many_self_tests() {
    let error = refused(load_with(engine(), "many-self-tests", "{}"));
    assert_eq!(error.to_string(), "many-self-tests.wasm: self-test of many-self-tests: more than 64 cases");
}

#[test]
fn many_tags() {
    check_fault(engine(), "many-tags", &[], FaultKind::Refused, "100000 tags: at most 64 are taken");
}

#[test]
fn opens_socket() {
    check_fault(engine(), "opens-socket", &[], FaultKind::Trap, "which policies are not granted");
}

#[test]
fn other_version() {
    let error = refused(load_with(engine(), "other-version", "{}"));
    assert!(matches!(error, LoadError::Version { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "other-version.wasm: exports larder:policy/setup@7.0.0; supported: larder:policy@0.1.0, larder:policy@0.2.0"
    );
}

#[test]
fn pass() {
    let decision = decided(Instances::new().call_on_request(&loaded(engine(), "pass"), &[]));
    assert_eq!(
        decision,
        RequestDecision::Pass(Pass { reason: "as it always does".into(), ..Pass::default() })
    );
}

#[test]
fn reads_clock() {
    check_fault(engine(), "reads-clock", &[], FaultKind::Trap, "called wasi:clocks/wall-clock@0.2.");
}

#[test]
fn recurse() {
    check_fault(engine(), "recurse", &[], FaultKind::Trap, "call stack exhausted");
    // A backtrace of thousands of frames is not told.
    let fault = Instances::new().on_request(&loaded(engine(), "recurse"), &[]).expect_err("no end");
    assert!(fault.detail.contains(" more") && fault.detail.len() < 1_000, "{fault}");
}

#[test]
fn remembers() {
    // What an instance itself remembers lasts as long as it does: `instances.rs` shows how long that is. What
    // the host remembers is nothing: a fault tells of its own call alone.
    let policy = loaded(engine(), "remembers");
    let mut instances = Instances::new();
    assert_eq!(decided(instances.call_on_request(&policy, &[Some("acme")])), look_up(&["acme"], &[]));
    assert_eq!(
        decided(instances.call_on_request(&policy, &[Some("other")])),
        look_up(&["acme", "other"], &[])
    );
    let fault = instances.call_on_request(&policy, &[Some("panic")]).expect_err("told to");
    assert!(fault.detail.contains("asked for panic") && fault.detail.contains("told to"), "{fault}");
    assert!(!fault.detail.contains("acme") && !fault.detail.contains("other"), "{fault}");
    assert_eq!(decided(instances.call_on_request(&policy, &[None])), look_up(&["nobody"], &[]));
}

#[test]
fn self_test() {
    let policy =
        load_with(engine(), "self-test", r#"{ "x": "c" }"#).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(decided(Instances::new().on_request(&policy, &[])), look_up(&["c"], &[]));
}

#[test]
fn short_ttl() {
    let policy = loaded(engine(), "short-ttl");
    assert!(!policy.decides_requests() && policy.decides_responses());
    let mut instances = Instances::new();
    let kept = decided(instances.call_on_response(&policy, 200, &[], &[Some("list")]));
    let expected = StoreDecision {
        ttl: Some(Duration::from_secs(5)),
        stale_while_revalidate: None,
        stale_if_error: Some(Duration::ZERO),
        tags: vec!["kind:list".into()],
        fields: FieldChanges {
            remove: vec![HeaderName::from_static("server")],
            set: vec![(HeaderName::from_static("x-kept-for"), HeaderValue::from_static("5"))],
        },
    };
    assert_eq!(kept, ResponseDecision::Store(expected));
    let failed = decided(instances.call_on_response(&policy, 503, &[], &[None]));
    assert_eq!(
        failed,
        ResponseDecision::DoNotStore(DoNotStore { reason: "status 503".into(), ..DoNotStore::default() })
    );
    // What it does not decide stays as it is.
    assert_eq!(decided(instances.call_on_request(&policy, &[])), look_up(&[], &[]));
}

#[test]
fn since_0_1() {
    let policy = loaded(engine(), "since-0-1");
    assert_eq!(policy.contract_version(), "0.1");
    assert_eq!((policy.inputs().request_values(), policy.inputs().response_values()), (2, 1));
    let mut instances = Instances::new();
    let looked_up = decided(instances.call_on_request(&policy, &[Some("acme"), Some("/a")]));
    assert_eq!(looked_up, look_up(&["acme"], &[]));
    let passed = decided(instances.call_on_request(&policy, &[None, Some("/a")]));
    assert_eq!(passed, RequestDecision::Pass(Pass { reason: "nobody".into(), ..Pass::default() }));
    let kept = decided(instances.call_on_response(&policy, 200, &[None, Some("/a")], &[Some("list")]));
    let ResponseDecision::Store(kept) = kept else { panic!("{kept:?}") };
    assert_eq!((kept.ttl, kept.tags), (Some(Duration::from_secs(5)), vec!["list".into()]));
    assert_eq!((kept.fields.remove.len(), kept.fields.set.len()), (1, 1));
}

#[test]
fn spin_forever() {
    check_fault(impatient_engine(), "spin-forever", &[], FaultKind::Deadline, "no answer within 5ms");
}

#[test]
fn spin_in_configure() {
    let error = refused(load_with(engine(), "spin-in-configure", "{}"));
    let expected = "spin-in-configure.wasm: configure: no answer within 1s; in ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn spin_in_describe() {
    let error = refused(load_with(engine(), "spin-in-describe", "{}"));
    let expected = "spin-in-describe.wasm: describe: no answer within 1s; in ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn spin_in_response() {
    let policy = loaded(impatient_engine(), "spin-in-response");
    let mut instances = Instances::new();
    for _ in 0..2 {
        let fault = instances.on_response(&policy, 200, &[], &[]).expect_err("it never answers");
        assert_eq!(fault.kind, FaultKind::Deadline, "{fault}");
        assert!(fault.detail.starts_with("no answer within 5ms; in "), "{fault}");
        let decision = decided(instances.call_on_request(good(), &[Some("acme"), None, Some("gold")]));
        assert_eq!(decision, look_up(&["gold", "acme", "-"], &[]));
    }
}

#[test]
fn trap() {
    check_fault(engine(), "trap", &[], FaultKind::Trap, "wasm `unreachable` instruction executed");
    // The operator is told in the guest's own words.
    check_fault(engine(), "trap", &[], FaultKind::Trap, "the tenant table is empty");
    // And where it was.
    let fault = Instances::new().on_request(&loaded(engine(), "trap"), &[]).expect_err("it panics");
    let (_, place) = fault.detail.rsplit_once("; in ").expect("a backtrace");
    assert!(place.contains(" < ") && !place.contains('\n') && place.len() < 1_000, "{fault}");
}

#[test]
fn trap_on_third_call() {
    let policy = loaded(engine(), "trap-on-third-call");
    let mut instances = Instances::new();
    for _ in 0..3 {
        assert_eq!(decided(instances.call_on_request(&policy, &[])), look_up(&["0"], &[]));
        assert_eq!(decided(instances.call_on_request(&policy, &[])), look_up(&["1"], &[]));
        assert_fault(instances.call_on_request(&policy, &[]), FaultKind::Trap, "the third call");
    }
}

#[test]
fn two_fields() {
    let policy = loaded(engine(), "two-fields");
    assert_eq!(policy.inputs().request_fields, ["x-tenant", "x-plan"]);
    let mut instances = Instances::new();
    for (values, expected) in
        [([Some("acme"), Some("gold")], ["acme", "gold"]), ([None, None], ["anonymous", "free"])]
    {
        assert_eq!(decided(instances.call_on_request(&policy, &values)), look_up(&expected, &[]));
    }
}

#[test]
fn writes_much() {
    let fault = Instances::new()
        .call_on_request(&loaded(engine(), "writes-much"), &[])
        .expect_err("panics in the end");
    assert_eq!(fault.kind, FaultKind::Trap);
    // The end of it is kept, on one line.
    assert!(fault.detail.contains("the last words"), "{fault}");
    assert!(fault.detail.len() < 3_000 && !fault.detail.contains('\n'), "{fault}");
}

#[test]
fn scripted() {
    let settings = r#"{ "reads": { "fields": ["x-a"] }, "request": [
        { "if": { "0": "no" }, "then": "trap" },
        { "then": { "look_up": { "key_parts": ["a {0}"], "tags": ["t"] } } } ] }"#;
    let policy = match load_with(engine(), "scripted", settings) {
        Ok(policy) => policy,
        Err(error) => panic!("{error}"),
    };
    let mut instances = Instances::new();
    let mut ask = |value| instances.on_request(&policy, &[value]);
    assert_eq!(decided(ask(Some("b"))), look_up(&["a b"], &["t"]));
    assert_eq!(decided(ask(None)), look_up(&["a none"], &["t"]));
    assert_fault(ask(Some("no")), FaultKind::Trap, "secret words");
}
