//! What a component gets for the WASI imports that every toolchain adds, used or not: nothing of the world.
//!
//! Standard output and error are heard, because a panic says there what went wrong. The environment is empty and
//! random numbers are zero, because standard libraries and interpreters ask for them on their own. All else traps
//! with its name.

use wasmtime::{
    AsContextMut, StoreContextMut,
    component::{
        Component, Linker, LinkerInstance, Resource, ResourceAny, ResourceType, Val,
        types::{ComponentInstance, ComponentItem},
    },
};

use crate::limits::Guarded;

/// A guest called an import that is there only to satisfy its linker.
#[derive(Debug, thiserror::Error)]
#[error("called {0}, which policies are not granted")]
pub(crate) struct Denied(String);

/// All output streams and all other resources look the same: none of them leads anywhere.
struct Nowhere;

/// Defines every `wasi:` import of the component; gives the name of the first import that is none.
pub(crate) fn link(
    linker: &mut Linker<Guarded>,
    engine: &wasmtime::Engine,
    component: &Component,
) -> wasmtime::Result<Result<(), String>> {
    for (name, import) in component.component_type().imports(engine) {
        match import.ty {
            ComponentItem::ComponentInstance(ref interface) if is_stubbed(name, &import.ty) => {
                link_interface(&mut linker.instance(name)?, engine, name, interface)?;
            }
            // Types alone, as every `use` of a WIT file adds them, carry no power.
            ComponentItem::ComponentInstance(interface) if only_types(engine, &interface) => (),
            ComponentItem::Type(_) => (),
            ComponentItem::ComponentInstance(_)
            | ComponentItem::ComponentFunc(_)
            | ComponentItem::CoreFunc(_)
            | ComponentItem::Module(_)
            | ComponentItem::Component(_)
            | ComponentItem::Resource(_) => return Ok(Err(name.to_owned())),
        }
    }
    Ok(Ok(()))
}

/// Whether an import is one that [`link`] defines.
pub(crate) fn is_stubbed(name: &str, item: &ComponentItem) -> bool {
    matches!(item, ComponentItem::ComponentInstance(_)) && name.starts_with("wasi:")
}

pub(crate) fn only_types(engine: &wasmtime::Engine, interface: &ComponentInstance) -> bool {
    interface.exports(engine).all(|(_, export)| matches!(export.ty, ComponentItem::Type(_)))
}

fn link_interface(
    linker: &mut LinkerInstance<'_, Guarded>,
    engine: &wasmtime::Engine,
    interface_name: &str,
    interface: &ComponentInstance,
) -> wasmtime::Result<()> {
    let unversioned = interface_name.split('@').next().unwrap_or(interface_name);
    for (name, export) in interface.exports(engine) {
        match export.ty {
            ComponentItem::ComponentFunc(_) => {
                let answer = stand_in(unversioned, name);
                let full_name = format!("{interface_name}#{name}");
                linker.func_new(name, move |mut store, _, arguments, results| {
                    let Some(answer) = answer else { return Err(Denied(full_name.clone()).into()) };
                    answer(store.as_context_mut(), arguments, results)?;
                    give_back(store, arguments)
                })?;
            }
            ComponentItem::Resource(_) => {
                linker.resource(name, ResourceType::host::<Nowhere>(), |_, _| Ok(()))?;
            }
            // Types need no definition, and WASI has none of the others.
            ComponentItem::Type(_)
            | ComponentItem::CoreFunc(_)
            | ComponentItem::Module(_)
            | ComponentItem::Component(_)
            | ComponentItem::ComponentInstance(_) => (),
        }
    }
    Ok(())
}

/// What a function was lent has to be given back before it returns.
fn give_back(mut store: StoreContextMut<'_, Guarded>, arguments: &[Val]) -> wasmtime::Result<()> {
    for argument in arguments {
        if let Val::Resource(lent) = argument {
            lent.resource_drop(&mut store)?;
        }
    }
    Ok(())
}

type StandIn = fn(StoreContextMut<'_, Guarded>, &[Val], &mut [Val]) -> wasmtime::Result<()>;

/// The functions that answer instead of trapping.
fn stand_in(interface: &str, function: &str) -> Option<StandIn> {
    Some(match (interface, function) {
        ("wasi:cli/environment", "get-environment" | "get-arguments")
        | ("wasi:filesystem/preopens", "get-directories") => {
            |_, _, results| answer(results, Val::List(Vec::new()))
        }
        ("wasi:cli/environment", "initial-cwd" | "get-initial-cwd")
        | ("wasi:cli/terminal-stdin", "get-terminal-stdin")
        | ("wasi:cli/terminal-stdout", "get-terminal-stdout")
        | ("wasi:cli/terminal-stderr", "get-terminal-stderr") => {
            |_, _, results| answer(results, Val::Option(None))
        }
        ("wasi:cli/stdout", "get-stdout")
        | ("wasi:cli/stderr", "get-stderr")
        | ("wasi:io/streams", "[method]output-stream.subscribe") => |store, _, results| {
            let nowhere = ResourceAny::try_from_resource(Resource::<Nowhere>::new_own(0), store)?;
            answer(results, Val::Resource(nowhere))
        },
        // There is nothing to wait for but output streams, which are always ready.
        ("wasi:io/poll", "[method]pollable.block") => |_, _, _| Ok(()),
        ("wasi:io/poll", "[method]pollable.ready") => |_, _, results| answer(results, Val::Bool(true)),
        ("wasi:io/streams", "[method]output-stream.check-write") => {
            |_, _, results| answer(results, Val::Result(Ok(Some(Box::new(Val::U64(WRITE_BYTES_MAX))))))
        }
        (
            "wasi:io/streams",
            "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush",
        ) => |mut store, arguments, results| {
            if let [_, Val::List(bytes)] = arguments {
                let bytes = bytes
                    .iter()
                    .filter_map(|value| if let Val::U8(byte) = value { Some(*byte) } else { None });
                store.data_mut().hear(bytes);
            }
            answer(results, Val::Result(Ok(None)))
        },
        ("wasi:io/streams", "[method]output-stream.flush" | "[method]output-stream.blocking-flush") => {
            |_, _, results| answer(results, Val::Result(Ok(None)))
        }
        // Interpreters seed their hash tables with these when they start, and equal inputs have to give equal
        // decisions: so it is the same for all of them.
        ("wasi:random/insecure-seed", "insecure-seed" | "get-insecure-seed") => {
            |_, _, results| answer(results, Val::Tuple(vec![Val::U64(0), Val::U64(0)]))
        }
        ("wasi:random/random", "get-random-bytes")
        | ("wasi:random/insecure", "get-insecure-random-bytes") => |_, arguments, results| match arguments {
            [Val::U64(count @ 0..=RANDOM_BYTES_MAX)] => {
                answer(results, Val::List((0..*count).map(|_| Val::U8(0)).collect()))
            }
            _ => Err(Denied(format!("for more than {RANDOM_BYTES_MAX} random bytes at once")).into()),
        },
        ("wasi:random/random", "get-random-u64") | ("wasi:random/insecure", "get-insecure-random-u64") => {
            |_, _, results| answer(results, Val::U64(0))
        }
        _ => return None,
    })
}

/// Far more than a seed; each takes 24 bytes of the host's memory on its way.
const RANDOM_BYTES_MAX: u64 = 4_096;
/// What a stream says it takes at once; WASI guarantees that 4,096 always fit.
const WRITE_BYTES_MAX: u64 = 4_096;

/// WASI's functions have one result or none.
fn answer(results: &mut [Val], value: Val) -> wasmtime::Result<()> {
    if let Some(result) = results.first_mut() {
        *result = value;
    }
    Ok(())
}
