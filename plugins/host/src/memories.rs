//! How many memories the modules of a component have. It looks at their sections and compiles nothing.

use wasmparser::{Parser, Payload, TypeRef};

/// Wasmtime writes adapters between the parts of a component, which use two memories at once, so that the proposal
/// cannot be turned off; but a module of the guest's own needs no more than one.
pub(crate) fn check(wasm: &[u8]) -> Result<(), String> {
    // One count for each module that is open.
    let mut memories = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| error.to_string())?;
        if let Payload::Version { .. } = payload {
            memories.push(0_u32);
        } else if let Payload::End(_) = payload {
            memories.pop();
        } else if let Payload::MemorySection(section) = payload {
            add(&mut memories, section.count());
        } else if let Payload::ImportSection(section) = payload {
            for import in section.into_imports() {
                if let TypeRef::Memory(_) = import.map_err(|error| error.to_string())?.ty {
                    add(&mut memories, 1);
                }
            }
        }
        if memories.last().is_some_and(|count| *count > 1) {
            return Err("a module with multiple memories".to_owned());
        }
    }
    Ok(())
}

fn add(memories: &mut [u32], count: u32) {
    if let Some(last) = memories.last_mut() {
        *last = last.saturating_add(count);
    }
}
