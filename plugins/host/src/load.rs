//! From the bytes of a file and the settings of a route to a [`Policy`], or to what is wrong with them.
//!
//! Compiling takes from milliseconds to seconds: call it where nobody waits for an answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use serde_json::Value;
use wasmtime::{
    Store,
    component::{Component, Linker},
};

use crate::{
    bindings::v0_2::setup,
    call::Instances,
    cases::Case,
    checks,
    decision::Inputs,
    engine::{Engine, ticks},
    fault::classify,
    limits::{Guarded, LOAD_DEADLINE, SELF_TEST_TIME, SELF_TESTS_MAX},
    memories,
    policy::{Loaded, Policy, Program},
    schema::Schema,
    versions::{Exports, Indices, Version},
    wasi,
};

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
    #[error("{component}: exports {found}; supported: {}", Version::all_full())]
    Version { component: String, found: String },
    #[error("{component}: {detail}; see larder:policy@{version}")]
    Contract { component: String, detail: String, version: &'static str },
    #[error("{component}: imports {import}; a policy is granted nothing but what it declares in `inputs`")]
    Import { component: String, import: String },
    /// Trapped, took too long, or described itself in a way that may not be.
    #[error("{component}: {call}: {detail}")]
    Setup { component: String, call: &'static str, detail: String },
    #[error("{component}: settings schema of {policy}: {detail}")]
    Schema { component: String, policy: String, detail: String },
    /// A case that it brings itself comes out otherwise.
    #[error("{component}: self-test of {policy}: {detail}")]
    SelfTest { component: String, policy: String, detail: String },
    /// Against the schema, or in the policy's own words.
    #[error("{component}: settings for {policy}: {}", faults.join("; "))]
    Settings { component: String, policy: String, faults: Vec<String> },
}

impl Engine {
    /// Compiles `wasm`, asks it to describe itself, checks `settings` against its schema, lets it take them, and puts to it
    /// the cases that it brings as its self-test. `name` stands in front of every error, for instance the path of the
    /// file. Blocks.
    pub fn load(&self, name: &str, wasm: &[u8], settings: &Value) -> Result<Policy, LoadError> {
        let program = Arc::new(self.compile(name, wasm)?);
        self.shared.ticker.begin();
        self.tested(name, &program, settings)
    }

    /// The component of a policy under other settings, without compiling it again.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub fn load_again(&self, name: &str, compiled: &Policy, settings: &Value) -> Result<Policy, LoadError> {
        self.tested(name, &compiled.loaded.program, settings)
    }

    fn tested(&self, name: &str, program: &Arc<Program>, settings: &Value) -> Result<Policy, LoadError> {
        let (policy, self_test) = self.configured(name, program, settings)?;
        self.replay(name, &policy, &self_test).map_err(|detail| LoadError::SelfTest {
            component: name.to_owned(),
            policy: policy.name().to_owned(),
            detail: one_line(&detail),
        })?;
        Ok(policy)
    }

    /// The policy under these settings, and the cases that it brings.
    fn configured(
        &self,
        name: &str,
        program: &Arc<Program>,
        settings: &Value,
    ) -> Result<(Policy, Vec<String>), LoadError> {
        // A route without settings gives none of them.
        let settings = if settings.is_null() { &Value::Object(serde_json::Map::new()) } else { settings };
        let settings_text = settings.to_string();
        let (description, inputs) = self.set_up(name, program, settings, &settings_text)?;
        if inputs.response_values() > 0 && !program.indices.decides_responses() {
            let detail = "declares what it reads of responses and does not export response-policy".to_owned();
            let version = program.indices.version().full();
            return Err(LoadError::Contract { component: name.to_owned(), detail, version });
        }
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let loaded = Loaded {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            engine: self.shared.clone(),
            program: Arc::clone(program),
            settings: settings_text,
            label: format!("{}@{}", description.name, description.version).into(),
            name: description.name,
            version: description.version,
            inputs,
        };
        Ok((Policy { loaded: Arc::new(loaded) }, description.self_test))
    }

    /// Puts cases to a policy, each under the settings that it names. How many there are and how long they take is the
    /// guest's to say, so both are bounded here.
    fn replay(&self, name: &str, policy: &Policy, texts: &[String]) -> Result<(), String> {
        if texts.is_empty() {
            return Ok(());
        }
        let mut cases = Vec::new();
        for text in texts {
            cases.extend(Case::read(text)?);
            // One text may hold a list of them.
            if cases.len() > SELF_TESTS_MAX {
                return Err(format!("more than {SELF_TESTS_MAX} cases"));
            }
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "how long a guest is waited for, which no decision rests on"
        )]
        let began = Instant::now();
        for case in cases {
            if began.elapsed() > SELF_TEST_TIME {
                return Err(format!("{case}: not reached within {SELF_TEST_TIME:?}"));
            }
            let (policy, _) = self
                .configured(name, &policy.loaded.program, case.settings())
                .map_err(|error| format!("{case}: {error}"))?;
            case.check(&policy, &mut Instances::patient()).map_err(|why| format!("{case}: {why}"))?;
        }
        Ok(())
    }

    fn compile(&self, name: &str, wasm: &[u8]) -> Result<Program, LoadError> {
        let (compiled, version) = self.compile_only(name, wasm)?;
        self.link(name, &compiled, version)
    }

    /// Compiles it, and says which version of the contract it is built for.
    pub(crate) fn compile_only(&self, name: &str, wasm: &[u8]) -> Result<(Component, Version), LoadError> {
        check_preamble(name, wasm)?;
        let compiled = self.compiled(name, wasm).map_err(|error| compile_error(name, &error))?;
        let version = Version::of(&self.shared.wasmtime, &compiled)
            .map_err(|found| LoadError::Version { component: name.to_owned(), found })?;
        Ok((compiled, version))
    }

    /// Gives it what it imports, and finds what it exports.
    pub(crate) fn link(
        &self,
        name: &str,
        compiled: &Component,
        version: Version,
    ) -> Result<Program, LoadError> {
        let engine = &self.shared.wasmtime;
        let mut linker = Linker::new(engine);
        wasi::link(&mut linker, engine, compiled)
            .map_err(|error| compile_error(name, &error))?
            .map_err(|import| LoadError::Import { component: name.to_owned(), import })?;
        let pre = linker.instantiate_pre(compiled).map_err(|error| compile_error(name, &error))?;

        let contract_error =
            |detail| LoadError::Contract { component: name.to_owned(), detail, version: version.full() };
        let indices =
            Indices::of(version, compiled, &pre).map_err(|error| contract_error(format!("{error:#}")))?;
        if !indices.decides_requests() && !indices.decides_responses() {
            return Err(contract_error("exports neither request-policy nor response-policy".to_owned()));
        }
        Ok(Program { pre, indices })
    }

    /// What a throw-away instance says about itself.
    pub(crate) fn describe(&self, name: &str, program: &Program) -> Result<setup::Description, LoadError> {
        let mut store = self.shared.store(LOAD_DEADLINE);
        let exports = started(name, program, &mut store)?;
        described(name, &exports, &mut store)
    }

    /// What a throw-away instance says about itself and these settings.
    pub(crate) fn set_up(
        &self,
        name: &str,
        program: &Program,
        settings: &Value,
        settings_text: &str,
    ) -> Result<(setup::Description, Inputs), LoadError> {
        let component = || name.to_owned();
        let mut store = self.shared.store(LOAD_DEADLINE);
        let exports = started(name, program, &mut store)?;
        let description = described(name, &exports, &mut store)?;

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
            .configure(&mut store, settings_text)
            .map_err(|error| setup_error(name, "configure", classify(&error, store.data()).1))?
            .map_err(|refusal| refused(vec![one_line(&refusal)]))?;
        let inputs = checks::inputs(inputs).map_err(|detail| setup_error(name, "configure", detail))?;
        Ok((description, inputs))
    }
}

fn compile_error(name: &str, error: &wasmtime::Error) -> LoadError {
    LoadError::Compile { component: name.to_owned(), detail: format!("{error:#}") }
}

fn setup_error(name: &str, call: &'static str, detail: String) -> LoadError {
    LoadError::Setup { component: name.to_owned(), call, detail }
}

fn started(name: &str, program: &Program, store: &mut Store<Guarded>) -> Result<Exports, LoadError> {
    let instance = program
        .instantiate(store)
        .map_err(|error| setup_error(name, "start", classify(&error, store.data()).1))?;
    program.indices.load(store, &instance).map_err(|error| LoadError::Contract {
        component: name.to_owned(),
        detail: format!("{error:#}"),
        version: program.indices.version().full(),
    })
}

fn described(
    name: &str,
    exports: &Exports,
    store: &mut Store<Guarded>,
) -> Result<setup::Description, LoadError> {
    store.set_epoch_deadline(ticks(LOAD_DEADLINE));
    let description = exports
        .describe(store)
        .map_err(|error| setup_error(name, "describe", classify(&error, store.data()).1))?;
    checks::description(&description).map_err(|detail| setup_error(name, "describe", detail))?;
    Ok(description)
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
    memories::check(wasm).map_err(|detail| LoadError::Compile { component: name.to_owned(), detail })
}

/// A guest's own words, short and without control characters.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().take(500).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
