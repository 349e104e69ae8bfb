//! From the bytes of a file and the settings of a route to a [`Policy`], or to what is wrong with them.
//!
//! Compiling takes from milliseconds to seconds: call it where nobody waits for an answer.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde_json::Value;
use wasmtime::component::{Component, Linker};

use crate::{
    bindings::{request_policy, response_policy, setup},
    checks,
    decision::Inputs,
    engine::{Engine, ticks},
    fault::classify,
    limits::LOAD_DEADLINE,
    policy::{Loaded, Policy, Program},
    schema::Schema,
    wasi,
};

/// The version of `larder:policy` that this host speaks.
const SUPPORTED: &str = "0.1.0";
const PACKAGE: &str = "larder:policy/";

/// Why there is no policy. Each begins with the name that was given to [`Engine::load`].
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{component}: not WebAssembly: begins with {begins:02x?}, a component with [00, 61, 73, 6d]")]
    NotWasm { component: String, begins: Vec<u8> },
    #[error(
        "{component}: a WebAssembly module, and a policy is a component: build it for wasm32-wasip2, \
         or wrap it with `wasm-tools component new`"
    )]
    Module { component: String },
    #[error("{component}: compile: {detail}")]
    Compile { component: String, detail: String },
    #[error("{component}: exports {found}; supported: larder:policy@{SUPPORTED}")]
    Version { component: String, found: String },
    #[error("{component}: {detail}; see larder:policy@{SUPPORTED}")]
    Contract { component: String, detail: String },
    #[error("{component}: imports {import}; a policy is granted nothing but what it declares in `inputs`")]
    Import { component: String, import: String },
    /// Trapped, took too long, or described itself in a way that may not be.
    #[error("{component}: {call}: {detail}")]
    Setup { component: String, call: &'static str, detail: String },
    #[error("{component}: settings schema of {policy}: {detail}")]
    Schema { component: String, policy: String, detail: String },
    /// Against the schema, or in the policy's own words.
    #[error("{component}: settings for {policy}: {}", faults.join("; "))]
    Settings { component: String, policy: String, faults: Vec<String> },
}

impl Engine {
    /// Compiles `wasm`, asks it to describe itself, checks `settings` against its schema and lets it take
    /// them. `name` stands in front of every error, for instance the path of the file. Blocks.
    pub fn load(&self, name: &str, wasm: &[u8], settings: &Value) -> Result<Policy, LoadError> {
        let component = || name.to_owned();
        let program = self.compile(name, wasm)?;
        self.shared.ticker.begin();
        // A route without settings gives none of them.
        let settings = if settings.is_null() { &Value::Object(serde_json::Map::new()) } else { settings };
        let settings_text = settings.to_string();
        let (description, inputs) = self.set_up(name, &program, settings, &settings_text)?;
        if !inputs.response_fields.is_empty() && program.response.is_none() {
            let detail = "declares response fields and does not export response-policy".to_owned();
            return Err(LoadError::Contract { component: component(), detail });
        }
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Ok(Policy {
            loaded: Arc::new(Loaded {
                id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                engine: self.shared.clone(),
                program,
                settings: settings_text,
                label: format!("{}@{}", description.name, description.version).into(),
                name: description.name,
                version: description.version,
                inputs,
            }),
        })
    }

    fn compile(&self, name: &str, wasm: &[u8]) -> Result<Program, LoadError> {
        let engine = &self.shared.wasmtime;
        let component = || name.to_owned();
        let compile_error = |error: wasmtime::Error| LoadError::Compile {
            component: component(),
            detail: format!("{error:#}"),
        };
        check_preamble(name, wasm)?;
        let compiled = Component::from_binary(engine, wasm).map_err(compile_error)?;
        check_version(name, engine, &compiled)?;

        let mut linker = Linker::new(engine);
        wasi::link(&mut linker, engine, &compiled)
            .map_err(compile_error)?
            .map_err(|import| LoadError::Import { component: component(), import })?;
        let pre = linker.instantiate_pre(&compiled).map_err(compile_error)?;

        let contract_error = |error: wasmtime::Error| LoadError::Contract {
            component: component(),
            detail: format!("{error:#}"),
        };
        let setup = setup::GuestIndices::new(&pre).map_err(contract_error)?;
        let exports = |interface: &str| {
            compiled.get_export_index(None, format!("{PACKAGE}{interface}@{SUPPORTED}")).is_some()
        };
        let request = exports("request-policy")
            .then(|| request_policy::GuestIndices::new(&pre).map_err(contract_error))
            .transpose()?;
        let response = exports("response-policy")
            .then(|| response_policy::GuestIndices::new(&pre).map_err(contract_error))
            .transpose()?;
        if request.is_none() && response.is_none() {
            let detail = "exports neither request-policy nor response-policy".to_owned();
            return Err(LoadError::Contract { component: component(), detail });
        }
        Ok(Program { pre, setup, request, response })
    }

    /// What a throw-away instance says about itself and these settings.
    fn set_up(
        &self,
        name: &str,
        program: &Program,
        settings: &Value,
        settings_text: &str,
    ) -> Result<(setup::Description, Inputs), LoadError> {
        let component = || name.to_owned();
        let setup_error = |call, detail| LoadError::Setup { component: component(), call, detail };
        let mut store = self.shared.store(LOAD_DEADLINE);

        let instance = program
            .instantiate(&mut store)
            .map_err(|error| setup_error("start", classify(&error, store.data()).1))?;
        let exports = program
            .exports(&mut store, &instance)
            .map_err(|error| LoadError::Contract { component: component(), detail: format!("{error:#}") })?;

        store.set_epoch_deadline(ticks(LOAD_DEADLINE));
        let description = exports
            .setup
            .call_describe(&mut store)
            .map_err(|error| setup_error("describe", classify(&error, store.data()).1))?;
        checks::description(&description).map_err(|detail| setup_error("describe", detail))?;

        let policy = || description.name.clone();
        let refused = |faults| LoadError::Settings { component: component(), policy: policy(), faults };
        let schema = Schema::parse(&description.settings_schema).map_err(|detail| LoadError::Schema {
            component: component(),
            policy: policy(),
            detail,
        })?;
        let faults = schema.faults(settings);
        if !faults.is_empty() {
            return Err(refused(faults));
        }

        store.set_epoch_deadline(ticks(LOAD_DEADLINE));
        let inputs = exports
            .setup
            .call_configure(&mut store, settings_text)
            .map_err(|error| setup_error("configure", classify(&error, store.data()).1))?
            .map_err(|refusal| refused(vec![one_line(&refusal)]))?;
        let inputs = checks::inputs(inputs).map_err(|detail| setup_error("configure", detail))?;
        Ok((description, inputs))
    }
}

/// Says what a file is that can not be a component, before the compiler says it in its own words.
fn check_preamble(name: &str, wasm: &[u8]) -> Result<(), LoadError> {
    // Magic, then version and layer; the layer tells a component (1) from a core module (0).
    let Some(rest) = wasm.strip_prefix(b"\0asm") else {
        let begins = wasm.iter().take(4).copied().collect();
        return Err(LoadError::NotWasm { component: name.to_owned(), begins });
    };
    if rest.starts_with(&[1, 0, 0, 0]) {
        return Err(LoadError::Module { component: name.to_owned() });
    }
    Ok(())
}

/// A policy for another version has its exports under other names; say that, not that they are missing.
fn check_version(name: &str, engine: &wasmtime::Engine, compiled: &Component) -> Result<(), LoadError> {
    let ty = compiled.component_type();
    let of_package: Vec<_> =
        ty.exports(engine).map(|(export, _)| export).filter(|export| export.starts_with(PACKAGE)).collect();
    let other = of_package.iter().find(|export| export.rsplit('@').next() != Some(SUPPORTED));
    let found = match other {
        Some(other) => (*other).to_owned(),
        None if of_package.is_empty() => "nothing of larder:policy".to_owned(),
        None => return Ok(()),
    };
    Err(LoadError::Version { component: name.to_owned(), found })
}

/// A guest's own words, short and without control characters.
fn one_line(text: &str) -> String {
    text.chars().take(500).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
