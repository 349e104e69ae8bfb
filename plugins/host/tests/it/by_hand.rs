//! Components that no compiler makes, written by hand.

use plugin_host::LoadError;
use serde_json::Value;

use crate::support::{engine, refused};

/// A component whose one core module is given. Its exports have the names of a policy's and the type of a
/// function without parameters and results, which is as far as most of these get.
fn around(core_module: &str) -> String {
    format!(
        r#"(component
            (core module $module {core_module} (func (export "f")))
            (core instance $instance (instantiate $module))
            {EXPORTS}
        )"#
    )
}

const EXPORTS: &str = r#"
    (func $f (canon lift (core func $instance "f")))
    (instance $setup (export "describe" (func $f)) (export "configure" (func $f)))
    (instance $request (export "on-request" (func $f)))
    (export "larder:policy/setup@0.1.0" (instance $setup))
    (export "larder:policy/request-policy@0.1.0" (instance $request))
"#;

#[track_caller]
fn refuse(text: &str) -> LoadError {
    let wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    refused(engine().load("file.wasm", &wasm, &Value::Null))
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let error = refuse(text).to_string();
    assert!(error.starts_with("file.wasm: ") && error.contains(expected), "{error}");
}

#[test]
fn functions_of_another_type_are_not_the_contract() {
    let error = refuse(&around(""));
    assert!(matches!(error, LoadError::Contract { .. }), "{error:?}");
    assert!(error.to_string().ends_with("; see larder:policy@0.1.0"), "{error}");
}

#[test]
fn an_interface_without_its_functions_is_not_the_contract() {
    check(
        r#"(component
            (instance $nothing)
            (export "larder:policy/setup@0.1.0" (instance $nothing))
            (export "larder:policy/request-policy@0.1.0" (instance $nothing))
        )"#,
        "`larder:policy/setup@0.1.0` does not have export `describe`",
    );
}

#[test]
fn a_policy_decides_something() {
    let text = around("").replace(r#"(export "larder:policy/request-policy@0.1.0" (instance $request))"#, "");
    check(&text, "exports neither request-policy nor response-policy");
}

#[test]
fn a_policy_describes_itself() {
    let text = around("").replace(r#"(export "larder:policy/setup@0.1.0" (instance $setup))"#, "");
    check(&text, "no exported instance named `larder:policy/setup@0.1.0`");
}

#[test]
fn a_start_function_that_never_ends_is_cut_off() {
    check(&around("(func $spin (loop (br 0))) (start $spin)"), "start: no answer within 1s");
}

#[test]
fn a_start_function_that_traps_is_told() {
    check(&around("(func $trap unreachable) (start $trap)"), "start: wasm trap: wasm `unreachable`");
}

#[test]
fn a_table_has_a_ceiling() {
    check(&around("(table 1000000 funcref)"), "compile: ");
    check(
        &around(
            "(table $table 1 funcref)
             (func $grow
                (if (i32.eq (i32.const -1) (table.grow $table (ref.null func) (i32.const 1000000)))
                    (then unreachable)))
             (start $grow)",
        ),
        "start: wanted more than 100000 elements in a table",
    );
}

#[test]
fn a_memory_has_a_ceiling() {
    check(&around("(memory 2000)"), "compile: ");
    check(
        &around(
            "(memory $memory 1)
             (func $grow
                (if (i32.eq (i32.const -1) (memory.grow $memory (i32.const 2000))) (then unreachable)))
             (start $grow)",
        ),
        "start: wanted more than 67108864 bytes of memory",
    );
}

#[test]
fn a_component_is_made_of_few_instances() {
    let many = "(core instance (instantiate $more))".repeat(100);
    let text =
        around("").replace(EXPORTS, &format!(r#"(core module $more (func (export "g"))) {many} {EXPORTS}"#));
    check(&text, "101 core module instances");
}

#[test]
fn a_component_has_few_memories() {
    let more = "(core instance (instantiate $more))".repeat(3);
    let text = around("").replace(EXPORTS, &format!("(core module $more (memory 1)) {more} {EXPORTS}"));
    check(&text, "memories");
}

#[test]
fn proposals_that_policies_do_not_need_are_off() {
    for (module, expected) in [
        ("(memory i64 1)", "memory64"),
        ("(memory 1) (memory 1)", "multi"),
        ("(memory 1 1 shared)", "threads"),
        ("(func (return_call 0))", "tail call"),
        ("(type (struct (field i32)))", "gc"),
        ("(type $f (func)) (func (param (ref null $f)))", "function references"),
        ("(func (result v128) (i32x4.relaxed_trunc_f32x4_s (v128.const i64x2 0 0)))", "relaxed SIMD"),
        ("(tag)", "exceptions"),
    ] {
        let error = refuse(&around(module));
        assert!(matches!(error, LoadError::Compile { .. }), "{module}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(expected), "{module}: {text}");
    }
}

#[test]
fn a_component_function_may_not_be_asynchronous() {
    let text = around("").replace("(canon lift", "async (canon lift");
    check(&text, "component model async");
}

#[test]
fn a_function_that_is_imported_is_not_granted() {
    let import = r#"(component (import "environment" (func)) "#;
    let text = around("").replacen("(component", import, 1);
    check(&text, "imports environment; a policy is granted nothing");
}

/// A component that calls one function of WASI when it starts, and traps if anything but 0 comes back.
fn asking(interface: &str, function: &str) -> String {
    format!(
        r#"(component
            (import "{interface}" (instance $wasi (export "{function}" (func (result u64)))))
            (core func $asked (canon lower (func $wasi "{function}")))
            (core module $module
                (import "wasi" "asked" (func $asked (result i64)))
                (func $start (if (i64.ne (i64.const 0) (call $asked)) (then unreachable)))
                (start $start)
                (func (export "f")))
            (core instance $imports (export "asked" (func $asked)))
            (core instance $instance (instantiate $module (with "wasi" (instance $imports))))
            {EXPORTS}
        )"#
    )
}

#[test]
fn randomness_is_the_same_for_everybody() {
    for (interface, function) in [
        ("wasi:random/random@0.2.0", "get-random-u64"),
        ("wasi:random/insecure@0.2.12", "get-insecure-random-u64"),
    ] {
        // It starts, and is no policy.
        let error = refuse(&asking(interface, function));
        assert!(matches!(error, LoadError::Contract { .. }), "{error:?}");
    }
}

#[test]
fn a_clock_and_what_nobody_knows_are_not_granted() {
    for (interface, function) in
        [("wasi:clocks/monotonic-clock@0.2.6", "now"), ("wasi:of-another/year@1.0.0", "secret")]
    {
        check(
            &asking(interface, function),
            &format!("start: called {interface}#{function}, which policies are not granted"),
        );
    }
}

/// As toolchains put together what they make of an interpreter and a stub. Wasmtime copies between the memories of the two with
/// an adapter of its own, which panics where several memories are turned off.
#[test]
fn parts_of_a_component_may_call_each_other() {
    check(
        r#"(component
            (component $called
                (core module $module
                    (memory (export "memory") 1)
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16))
                    (func (export "f") (param i32 i32)))
                (core instance $i (instantiate $module))
                (func (export "f") (param "text" string)
                    (canon lift (core func $i "f") (memory $i "memory") (realloc (func $i "realloc")))))
            (component $calling
                (import "f" (func $f (param "text" string)))
                (core module $memory (memory (export "memory") 1))
                (core instance $memory (instantiate $memory))
                (core func $lowered (canon lower (func $f) (memory $memory "memory")))
                (core module $module (import "" "f" (func (param i32 i32))))
                (core instance (instantiate $module (with "" (instance (export "f" (func $lowered)))))))
            (instance $a (instantiate $called))
            (instance (instantiate $calling (with "f" (func $a "f"))))
        )"#,
        "exports nothing of larder:policy",
    );
}
