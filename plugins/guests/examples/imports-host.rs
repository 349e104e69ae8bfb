//! Wants something of the host that is neither its contract nor WASI.

use larder_policy::{Inputs, NoSettings, Pass, Policy, Request, RequestDecision, RequestPolicy};

wit_bindgen::generate!({
    inline: "
        package other:host@1.0.0;
        interface secrets { read: func(name: string) -> string; }
        world wants { import secrets; }
    ",
});

struct ImportsHost;

impl Policy for ImportsHost {
    const NAME: &'static str = "imports-host";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for ImportsHost {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        Pass::because(other::host::secrets::read("admin")).into()
    }
}

larder_policy::export!(ImportsHost: request);
