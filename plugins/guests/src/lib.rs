//! One guest in each file of `examples/`: hostile ones and tiny ones, for the tests of `plugins/host`.
//!
//! They are examples because each is a program of its own and a package has only one library. Each has a
//! test of its name there; a guest without one fails the tests.

/// A version of `larder:policy` that no host knows. Here and not in the guest, because what the macro expands
/// to is unsafe and this workspace forbids that, except where the macro is another crate's.
pub mod other_version {
    wit_bindgen::generate!({
        inline: "
            package larder:policy@7.0.0;
            interface setup { describe: func() -> string; }
            world other { export setup; }
        ",
        pub_export_macro: true,
        export_macro_name: "__export_other_version",
    });

    pub use exports::larder::policy::setup::Guest;
}

/// The first version, as a policy that was built for it has it.
pub mod since_0_1 {
    wit_bindgen::generate!({
        path: "../../wit/since-0.1",
        world: "policy",
        pub_export_macro: true,
        export_macro_name: "__export_since_0_1",
    });

    pub use exports::larder::policy::{request_policy, response_policy, setup};
}
