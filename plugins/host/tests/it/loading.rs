//! Files that are no policy, and what is said of them. Nothing that is in a file may panic the host.

use plugin_host::LoadError;
use serde_json::Value;

use crate::support::{component, engine, refused};

#[track_caller]
fn refuse(wasm: &[u8]) -> LoadError {
    refused(engine().load("file.wasm", wasm, &Value::Null))
}

#[test]
fn what_is_no_webassembly_is_called_that() {
    for (bytes, begins) in [
        (&b""[..], "[]"),
        (b"\0as", "[00, 61, 73]"),
        (b"\x7fELF and so on", "[7f, 45, 4c, 46]"),
        (b"(component)", "[28, 63, 6f, 6d]"),
    ] {
        let error = refuse(bytes);
        assert!(matches!(error, LoadError::NotWasm { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("file.wasm: not WebAssembly: begins with {begins}, a component with [00, 61, 73, 6d]")
        );
    }
}

#[test]
fn a_core_module_is_told_how_to_become_a_component() {
    let error = refuse(b"\0asm\x01\0\0\0");
    assert!(matches!(error, LoadError::Module { .. }), "{error:?}");
    assert!(error.to_string().contains("build it for wasm32-wasip2, or wrap it with"), "{error}");
}

#[test]
fn an_unknown_encoding_is_refused() {
    for preamble in
        [&b"\0asm"[..], b"\0asm\x0d\0\x01", b"\0asm\x0d\0\x02\0", b"\0asm\xff\0\x01\0", b"\0asm\x02\0\0\0"]
    {
        let error = refuse(preamble);
        assert!(matches!(error, LoadError::Compile { .. }), "{error:?}");
    }
}

#[test]
fn an_empty_component_exports_no_policy() {
    let error = refuse(b"\0asm\x0d\0\x01\0");
    assert_eq!(
        error.to_string(),
        "file.wasm: exports nothing of larder:policy; supported: larder:policy@0.1.0, larder:policy@0.2.0"
    );
}

#[test]
fn a_truncated_component_is_refused_wherever_it_ends() {
    let whole = component("spin-in-describe");
    // A prime step, so that it ends in headers, in sections and between them.
    for end in (8..whole.len()).step_by(1_009) {
        let error = refuse(&whole[..end]);
        let refused = matches!(error, LoadError::Compile { .. } | LoadError::Version { .. });
        assert!(refused, "{end} of {} bytes: {error:?}", whole.len());
    }
}

#[test]
fn a_component_with_other_bytes_in_it_does_not_panic_the_host() {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    // The first is read and compiled, and refused at the latest for its version; the second may get as far as
    // to be a policy.
    for (name, count) in [("other-version", 60), ("pass", 20)] {
        let whole = component(name);
        for _ in 0..count {
            let mut changed = whole.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(changed.len());
                changed[at] = random.below(256).to_le_bytes()[0];
            }
            drop(engine().load("file.wasm", &changed, &Value::Null));
        }
    }
}

/// Marsaglia's generator: the same bytes on every run.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("less than a usize")
    }
}
