//! `wit/plugin.wit` as Rust types, and the conversions from the SDK's own.
//!
//! A component must have all exports of its world, and a policy may leave one out: so each interface has a
//! world of its own here, and the component's linker makes the union of those that are exported.

pub mod setup {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package larder:sdk-setup; world setup { export larder:policy/setup@0.2.0; }",
        world: "larder:sdk-setup/setup",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "__export_setup",
    });

    use crate::{Policy, ReadSettings};
    pub use exports::larder::policy::setup::{Description, Guest, Inputs};

    pub fn description<P: Policy>() -> Description {
        Description {
            name: P::NAME.to_owned(),
            version: P::VERSION.to_owned(),
            settings_schema: <P::Settings as ReadSettings>::schema(),
            self_test: P::SELF_TEST.iter().map(|&case| case.to_owned()).collect(),
        }
    }

    impl From<crate::Inputs> for Inputs {
        fn from(inputs: crate::Inputs) -> Self {
            Self {
                request_fields: inputs.request_fields,
                query_parameters: inputs.query_parameters,
                cookies: inputs.cookies,
                captures: inputs.captures,
                method: inputs.method,
                host: inputs.host,
                path: inputs.path,
                query: inputs.query,
                time: inputs.time,
                decided: inputs.decided,
                response_fields: inputs.response_fields,
                ttl: inputs.ttl,
            }
        }
    }
}

pub mod request {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package larder:sdk-request; world request { export larder:policy/request-policy@0.2.0; }",
        world: "larder:sdk-request/request",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "__export_request",
    });

    use exports::larder::policy::request_policy;
    use larder::policy::types::FieldChanges;
    pub use request_policy::{Guest, RequestDecision};

    impl From<crate::RequestDecision> for RequestDecision {
        fn from(decision: crate::RequestDecision) -> Self {
            match decision {
                crate::RequestDecision::LookUp(crate::LookUp { key_parts, tags, forward }) => {
                    Self::LookUp(request_policy::LookUp { key_parts, tags, forward: forward.into() })
                }
                crate::RequestDecision::Pass(crate::Pass { reason, forward }) => {
                    Self::Pass(request_policy::Pass { reason, forward: forward.into() })
                }
                crate::RequestDecision::Answer(crate::Answer { status, fields, body }) => {
                    Self::Answer(request_policy::Answer { status, fields, body })
                }
            }
        }
    }

    impl From<crate::Forward> for request_policy::Forward {
        fn from(forward: crate::Forward) -> Self {
            let crate::Forward { upstream, query, fields: crate::FieldChanges { remove, set } } = forward;
            let query = match query {
                crate::QueryChange::Unchanged => request_policy::QueryChange::Unchanged,
                crate::QueryChange::Only(names) => request_policy::QueryChange::Only(names),
                crate::QueryChange::Without(names) => request_policy::QueryChange::Without(names),
            };
            Self { upstream, query, fields: FieldChanges { remove, set } }
        }
    }
}

pub mod response {
    use std::time::Duration;

    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package larder:sdk-response; world response { export larder:policy/response-policy@0.2.0; }",
        world: "larder:sdk-response/response",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "__export_response",
    });

    use exports::larder::policy::response_policy;
    use larder::policy::types::FieldChanges;
    pub use response_policy::{Guest, ResponseDecision};

    impl From<crate::ResponseDecision> for ResponseDecision {
        fn from(decision: crate::ResponseDecision) -> Self {
            match decision {
                crate::ResponseDecision::DoNotStore(crate::DoNotStore { reason, hit_for_miss, fields }) => {
                    Self::DoNotStore(response_policy::DoNotStore {
                        reason,
                        hit_for_miss_ms: hit_for_miss.map(milliseconds),
                        fields: changes(fields),
                    })
                }
                crate::ResponseDecision::Store(store) => Self::Store(response_policy::Store {
                    ttl_ms: store.ttl.map(milliseconds),
                    stale_while_revalidate_ms: store.stale_while_revalidate.map(milliseconds),
                    stale_if_error_ms: store.stale_if_error.map(milliseconds),
                    tags: store.tags,
                    fields: changes(store.fields),
                }),
            }
        }
    }

    fn changes(crate::FieldChanges { remove, set }: crate::FieldChanges) -> FieldChanges {
        FieldChanges { remove, set }
    }

    fn milliseconds(duration: Duration) -> u64 {
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The body of [`export!`](crate::export!).
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($policy:ty, $($phase:ident),+) => {
        const _: () = {
            static SLOT: $crate::glue::Slot<$policy> = $crate::glue::Slot::new();

            struct Component;

            impl $crate::bindings::setup::Guest for Component {
                fn describe() -> $crate::bindings::setup::Description {
                    $crate::bindings::setup::description::<$policy>()
                }

                fn configure(settings: String) -> Result<$crate::bindings::setup::Inputs, String> {
                    SLOT.configure(&settings).map(Into::into)
                }
            }

            // The names of the exports mean something to a component's linker alone.
            #[cfg(target_family = "wasm")]
            $crate::bindings::setup::__export_setup!(Component with_types_in $crate::bindings::setup);
            // Elsewhere the policy would count as never used.
            #[cfg(not(target_family = "wasm"))]
            const _: fn(String) -> Result<$crate::bindings::setup::Inputs, String> =
                <Component as $crate::bindings::setup::Guest>::configure;

            $($crate::__export! { @$phase })+

            #[cfg(not(target_family = "wasm"))]
            impl $crate::testing::Exported for $policy {
                $($crate::__export! { @tested $phase })+
            }
        };
    };
    (@tested request) => {
        fn exported_on_request(
            exports: &$crate::testing::Exports<'_, Self>,
        ) -> Option<$crate::RequestDecision> {
            Some(exports.on_request())
        }
    };
    (@tested response) => {
        fn exported_on_response(
            exports: &$crate::testing::Exports<'_, Self>,
            status: u16,
        ) -> Option<$crate::ResponseDecision> {
            Some(exports.on_response(status))
        }
    };
    (@request) => {
        impl $crate::bindings::request::Guest for Component {
            fn on_request(values: Vec<Option<String>>) -> $crate::bindings::request::RequestDecision {
                SLOT.on_request(&values).into()
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::bindings::request::__export_request!(Component with_types_in $crate::bindings::request);
    };
    (@response) => {
        impl $crate::bindings::response::Guest for Component {
            fn on_response(
                status: u16,
                request_values: Vec<Option<String>>,
                response_values: Vec<Option<String>>,
            ) -> $crate::bindings::response::ResponseDecision {
                SLOT.on_response(status, &request_values, &response_values).into()
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::bindings::response::__export_response!(Component with_types_in $crate::bindings::response);
    };
}
