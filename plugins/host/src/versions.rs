//! The functions of a component, whatever version of the contract it was built for.
//!
//! What an older version says is turned into the words of the newest, which alone the rest of the host knows. A component
//! has all its exports of one version.

use wasmtime::{
    Store,
    component::{Component, Instance, InstancePre},
};

use crate::{
    bindings::{
        v0_1,
        v0_2::{FieldChanges, request_policy, response_policy, setup},
    },
    limits::Guarded,
};

const PACKAGE: &str = "larder:policy/";

/// A version of `larder:policy` that this host speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V0_1,
    V0_2,
}

impl Version {
    /// The newest last.
    pub(crate) const ALL: [Version; 2] = [Version::V0_1, Version::V0_2];

    /// As it stands behind the `@` of an export.
    pub(crate) const fn full(self) -> &'static str {
        match self {
            Version::V0_1 => "0.1.0",
            Version::V0_2 => "0.2.0",
        }
    }

    pub(crate) const fn short(self) -> &'static str {
        match self {
            Version::V0_1 => "0.1",
            Version::V0_2 => "0.2",
        }
    }

    /// For messages.
    pub(crate) fn all_full() -> String {
        Version::ALL.map(|version| format!("larder:policy@{}", version.full())).join(", ")
    }

    /// The one that a component is built for. `Err` says what it exports instead.
    pub(crate) fn of(engine: &wasmtime::Engine, component: &Component) -> Result<Version, String> {
        let ty = component.component_type();
        let exports = ty.exports(engine).map(|(export, _)| export);
        let of_package: Vec<_> = exports.filter(|export| export.starts_with(PACKAGE)).collect();
        let Some(first) = of_package.first() else { return Err("nothing of larder:policy".to_owned()) };
        let behind = |export: &&str| export.rsplit('@').next().map(str::to_owned);
        let version = behind(first);
        let known = Version::ALL.into_iter().find(|known| version.as_deref() == Some(known.full()));
        match (known, of_package.iter().find(|export| behind(export) != version)) {
            (Some(known), None) => Ok(known),
            (Some(_), Some(other)) => Err(format!("{first} and {other}, which are two versions")),
            (None, _) => Err((*first).to_owned()),
        }
    }
}

/// Where the exports of a component are.
pub(crate) enum Indices {
    V0_1 {
        setup: v0_1::setup::GuestIndices,
        request: Option<v0_1::request_policy::GuestIndices>,
        response: Option<v0_1::response_policy::GuestIndices>,
    },
    V0_2 {
        setup: setup::GuestIndices,
        request: Option<request_policy::GuestIndices>,
        response: Option<response_policy::GuestIndices>,
    },
}

/// The functions of one instance, looked up once.
pub(crate) enum Exports {
    V0_1 {
        setup: v0_1::setup::Guest,
        request: Option<v0_1::request_policy::Guest>,
        response: Option<v0_1::response_policy::Guest>,
    },
    V0_2 {
        setup: setup::Guest,
        request: Option<request_policy::Guest>,
        response: Option<response_policy::Guest>,
    },
}

impl Indices {
    pub(crate) fn of(
        version: Version,
        component: &Component,
        pre: &InstancePre<Guarded>,
    ) -> wasmtime::Result<Indices> {
        let has = |interface: &str| {
            component.get_export_index(None, format!("{PACKAGE}{interface}@{}", version.full())).is_some()
        };
        let (has_request, has_response) = (has("request-policy"), has("response-policy"));
        Ok(match version {
            Version::V0_1 => Indices::V0_1 {
                setup: v0_1::setup::GuestIndices::new(pre)?,
                request: has_request.then(|| v0_1::request_policy::GuestIndices::new(pre)).transpose()?,
                response: has_response.then(|| v0_1::response_policy::GuestIndices::new(pre)).transpose()?,
            },
            Version::V0_2 => Indices::V0_2 {
                setup: setup::GuestIndices::new(pre)?,
                request: has_request.then(|| request_policy::GuestIndices::new(pre)).transpose()?,
                response: has_response.then(|| response_policy::GuestIndices::new(pre)).transpose()?,
            },
        })
    }

    pub(crate) fn version(&self) -> Version {
        match self {
            Indices::V0_1 { .. } => Version::V0_1,
            Indices::V0_2 { .. } => Version::V0_2,
        }
    }

    pub(crate) fn decides_requests(&self) -> bool {
        match self {
            Indices::V0_1 { request, .. } => request.is_some(),
            Indices::V0_2 { request, .. } => request.is_some(),
        }
    }

    pub(crate) fn decides_responses(&self) -> bool {
        match self {
            Indices::V0_1 { response, .. } => response.is_some(),
            Indices::V0_2 { response, .. } => response.is_some(),
        }
    }

    /// Fails where the types of the exports are not those of the contract.
    pub(crate) fn load(&self, store: &mut Store<Guarded>, instance: &Instance) -> wasmtime::Result<Exports> {
        Ok(match self {
            Indices::V0_1 { setup, request, response } => Exports::V0_1 {
                setup: setup.load(&mut *store, instance)?,
                request: request.as_ref().map(|it| it.load(&mut *store, instance)).transpose()?,
                response: response.as_ref().map(|it| it.load(&mut *store, instance)).transpose()?,
            },
            Indices::V0_2 { setup, request, response } => Exports::V0_2 {
                setup: setup.load(&mut *store, instance)?,
                request: request.as_ref().map(|it| it.load(&mut *store, instance)).transpose()?,
                response: response.as_ref().map(|it| it.load(&mut *store, instance)).transpose()?,
            },
        })
    }
}

/// One value for each input.
type Values<'v> = &'v [Option<&'v str>];

impl Exports {
    pub(crate) fn describe(&self, store: &mut Store<Guarded>) -> wasmtime::Result<setup::Description> {
        match self {
            Exports::V0_1 { setup, .. } => setup.call_describe(store).map(Into::into),
            Exports::V0_2 { setup, .. } => setup.call_describe(store),
        }
    }

    pub(crate) fn configure(
        &self,
        store: &mut Store<Guarded>,
        settings: &str,
    ) -> wasmtime::Result<Result<setup::Inputs, String>> {
        match self {
            Exports::V0_1 { setup, .. } => Ok(setup.call_configure(store, settings)?.map(Into::into)),
            Exports::V0_2 { setup, .. } => setup.call_configure(store, settings),
        }
    }

    /// `None`: it decides no requests.
    pub(crate) fn on_request(
        &self,
        store: &mut Store<Guarded>,
        values: Values<'_>,
    ) -> Option<wasmtime::Result<request_policy::RequestDecision>> {
        match self {
            Exports::V0_1 { request, .. } => {
                request.as_ref().map(|guest| guest.call_on_request(store, values).map(Into::into))
            }
            Exports::V0_2 { request, .. } => {
                request.as_ref().map(|guest| guest.call_on_request(store, values))
            }
        }
    }

    /// `None`: it decides no responses.
    pub(crate) fn on_response(
        &self,
        store: &mut Store<Guarded>,
        status: u16,
        request_values: Values<'_>,
        response_values: Values<'_>,
    ) -> Option<wasmtime::Result<response_policy::ResponseDecision>> {
        match self {
            Exports::V0_1 { response, .. } => response.as_ref().map(|guest| {
                guest.call_on_response(store, status, request_values, response_values).map(Into::into)
            }),
            Exports::V0_2 { response, .. } => response
                .as_ref()
                .map(|guest| guest.call_on_response(store, status, request_values, response_values)),
        }
    }
}

impl From<v0_1::setup::Description> for setup::Description {
    fn from(said: v0_1::setup::Description) -> Self {
        let v0_1::setup::Description { name, version, settings_schema } = said;
        Self { name, version, settings_schema, self_test: Vec::new() }
    }
}

impl From<v0_1::setup::Inputs> for setup::Inputs {
    fn from(said: v0_1::setup::Inputs) -> Self {
        let v0_1::setup::Inputs {
            request_fields,
            query_parameters,
            cookies,
            captures,
            method,
            path,
            time,
            response_fields,
        } = said;
        Self {
            request_fields,
            query_parameters,
            cookies,
            captures,
            method,
            host: false,
            path,
            query: false,
            time,
            decided: false,
            response_fields,
            ttl: false,
        }
    }
}

fn unchanged() -> request_policy::Forward {
    request_policy::Forward {
        upstream: None,
        query: request_policy::QueryChange::Unchanged,
        fields: FieldChanges { remove: Vec::new(), set: Vec::new() },
    }
}

impl From<v0_1::request_policy::RequestDecision> for request_policy::RequestDecision {
    fn from(said: v0_1::request_policy::RequestDecision) -> Self {
        use v0_1::request_policy::{Answer, LookUp, RequestDecision as Said};
        match said {
            Said::LookUp(LookUp { key_parts, tags }) => {
                Self::LookUp(request_policy::LookUp { key_parts, tags, forward: unchanged() })
            }
            Said::Pass(reason) => Self::Pass(request_policy::Pass { reason, forward: unchanged() }),
            Said::Answer(Answer { status, fields, body }) => {
                Self::Answer(request_policy::Answer { status, fields, body })
            }
        }
    }
}

impl From<v0_1::response_policy::ResponseDecision> for response_policy::ResponseDecision {
    fn from(said: v0_1::response_policy::ResponseDecision) -> Self {
        use v0_1::response_policy::{ResponseDecision as Said, Store};
        match said {
            Said::DoNotStore(reason) => Self::DoNotStore(response_policy::DoNotStore {
                reason,
                hit_for_miss_ms: None,
                fields: FieldChanges { remove: Vec::new(), set: Vec::new() },
            }),
            Said::Store(Store {
                ttl_ms,
                stale_while_revalidate_ms,
                stale_if_error_ms,
                tags,
                set_fields,
                remove_fields,
            }) => Self::Store(response_policy::Store {
                ttl_ms,
                stale_while_revalidate_ms,
                stale_if_error_ms,
                tags,
                fields: FieldChanges { remove: remove_fields, set: set_fields },
            }),
        }
    }
}
