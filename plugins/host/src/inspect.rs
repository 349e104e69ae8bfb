//! What a component is, told without putting it to use.

use serde_json::Value;
use wasmtime::component::types::ComponentItem;

use crate::{decision::Inputs, engine::Engine, load::LoadError, policy::Program, wasi};

/// What a component says of itself, and what it wants of the world.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// As in `0.2`.
    pub contract_version: &'static str,
    pub decides_requests: bool,
    pub decides_responses: bool,
    pub exports: Vec<String>,
    pub imports: Vec<Import>,
    /// `None`: it cannot be started, because it imports what is refused.
    pub described: Option<Described>,
}

/// An interface that a component wants.
#[derive(Debug, Clone)]
pub struct Import {
    pub name: String,
    /// It is there and leads nowhere. Otherwise the component is not loaded.
    pub is_stubbed: bool,
}

/// What a component says of itself.
#[derive(Debug, Clone)]
pub struct Described {
    pub name: String,
    pub version: String,
    /// JSON Schema.
    pub settings_schema: Value,
    /// How many texts of cases it brings.
    pub self_tests: usize,
    /// What it reads without settings, if it works without.
    pub inputs: Option<Inputs>,
}

impl Engine {
    /// Compiles a component, and asks it who it is if it can be started.
    ///
    /// # Errors
    /// It is none, or for no known version of the contract, or does not describe itself.
    pub fn inspect(&self, name: &str, wasm: &[u8]) -> Result<Inspection, LoadError> {
        let engine = &self.shared.wasmtime;
        let (component, version) = self.compile_only(name, wasm)?;
        let ty = component.component_type();
        let exports: Vec<_> = ty.exports(engine).map(|(export, _)| export.to_owned()).collect();
        let imports: Vec<_> = ty
            .imports(engine)
            .filter(|(_, import)| !is_only_types(engine, &import.ty))
            .map(|(import, item)| Import {
                name: import.to_owned(),
                is_stubbed: wasi::is_stubbed(import, &item.ty),
            })
            .collect();
        let has = |interface: &str| exports.iter().any(|export| export.contains(interface));
        let described = if imports.iter().all(|import| import.is_stubbed) {
            Some(self.described(name, &self.link(name, &component, version)?)?)
        } else {
            None
        };
        Ok(Inspection {
            contract_version: version.short(),
            decides_requests: has("/request-policy@"),
            decides_responses: has("/response-policy@"),
            exports,
            imports,
            described,
        })
    }

    fn described(&self, name: &str, program: &Program) -> Result<Described, LoadError> {
        self.shared.ticker.begin();
        let said = self.describe(name, program)?;
        let settings_schema =
            serde_json::from_str(&said.settings_schema).map_err(|error| LoadError::Schema {
                component: name.to_owned(),
                policy: said.name.clone(),
                detail: format!("not JSON: {error}"),
            })?;
        let without_settings = Value::Object(serde_json::Map::new());
        let taken = self.set_up(name, program, &without_settings, "{}");
        let inputs = taken.ok().map(|(_, inputs)| inputs);
        Ok(Described {
            name: said.name,
            version: said.version,
            settings_schema,
            self_tests: said.self_test.len(),
            inputs,
        })
    }
}

/// Types carry no power, and are nothing to tell.
fn is_only_types(engine: &wasmtime::Engine, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::Type(_) => true,
        ComponentItem::ComponentInstance(interface) => wasi::only_types(engine, interface),
        ComponentItem::ComponentFunc(_)
        | ComponentItem::CoreFunc(_)
        | ComponentItem::Module(_)
        | ComponentItem::Component(_)
        | ComponentItem::Resource(_) => false,
    }
}
