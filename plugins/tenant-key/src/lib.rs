//! One stored response for each tenant and language, with a TTL of their own for the tenants that want one.
//!
//! What a tenant is called comes from the client, so it is checked here before it gets into a key or a tag.
//!
//! # Settings
//!
//! ```toml
//! [route.policy]
//! component = "policies/tenant-key.wasm"
//!
//! [route.policy.settings]
//! header = "x-tenant"                 # the request header field with the tenant; this is the default
//! languages = ["en", "de"]            # what the application answers in; without it the language does not matter
//! ttl = { acme = "5s", initech = 60 } # by tenant, in place of the upstream's; ms, s, m, h, d, w, or seconds
//! ```
//!
//! # Decisions
//!
//! | the request | key parts | tags | TTL |
//! |---|---|---|---|
//! | `x-tenant: acme`, `accept-language: de-AT, en;q=0.8` | `tenant:acme`, `de` | `tenant:acme` | 5 s |
//! | `x-tenant: other` | `tenant:other`, `*` | `tenant:other` | as without the policy |
//! | no tenant, `accept-language: fr` | `anonymous`, `*` | none | as without the policy |
//! | `x-tenant: a b` | goes past the cache, because it could not stand in a tag | | |
//!
//! So `larder purge --tag tenant:acme` removes all that is stored for one tenant.
//!
//! With `languages`, the application has to choose as this policy does: the offered primary subtag with the
//! highest weight, the first one named among equals. One that chooses by region, too, sends
//! `Vary: Accept-Language`, and then the setting brings nothing.

mod language;
mod settings;

use std::collections::BTreeMap;

use larder_policy::{
    Input, Inputs, LookUp, Pass, Policy, Request, RequestDecision, RequestPolicy, Response, ResponseDecision,
    ResponsePolicy, Store, Ttl,
};

pub use crate::settings::Settings;

/// In place of a language; no primary subtag looks like it.
const NO_LANGUAGE: &str = "*";
/// Longer names are no tenant's; together with `tenant:` it is well within what a tag may be.
const TENANT_BYTES_MAX: usize = 128;

pub struct TenantKey {
    tenant: Input,
    /// None: one stored response for all languages.
    language: Option<Language>,
    ttl: BTreeMap<String, Ttl>,
}

struct Language {
    accepted: Input,
    offered: Vec<String>,
}

impl Policy for TenantKey {
    const NAME: &'static str = "tenant-key";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Settings = Settings;

    fn configure(settings: Settings, inputs: &mut Inputs) -> Result<Self, String> {
        let languages = settings.languages.into_iter().map(|language| language.to_ascii_lowercase());
        let offered: Vec<_> = languages.collect();
        if let Some(odd) = offered.iter().find(|language| !language::is_primary_subtag(language)) {
            return Err(format!("languages: {odd:?} is not a primary subtag such as \"en\""));
        }
        if let Some(odd) = settings.ttl.keys().find(|tenant| !is_tenant(tenant)) {
            return Err(format!("ttl: {odd:?} is not a tenant this policy would take"));
        }
        Ok(Self {
            tenant: inputs.field(&settings.header),
            language: (!offered.is_empty())
                .then(|| Language { accepted: inputs.field("accept-language"), offered }),
            ttl: settings.ttl,
        })
    }
}

/// Who asks. Nobody and a tenant of that name are two.
enum Tenant<'a> {
    Anonymous,
    Named(&'a str),
    /// A name that could not stand in a tag. The application may still take it for somebody.
    Odd,
}

impl TenantKey {
    fn tenant<'a>(&self, request: &Request<'a>) -> Tenant<'a> {
        match request.get(self.tenant).map(str::trim_ascii) {
            None | Some("") => Tenant::Anonymous,
            Some(name) if is_tenant(name) => Tenant::Named(name),
            Some(_) => Tenant::Odd,
        }
    }
}

impl RequestPolicy for TenantKey {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        let mut look_up = match self.tenant(request) {
            Tenant::Anonymous => LookUp::new().key_part("anonymous"),
            Tenant::Named(name) => {
                let tag = ["tenant:", name].concat();
                LookUp::new().key_part(tag.clone()).tag(tag)
            }
            Tenant::Odd => return Pass::because("not a tenant's name").into(),
        };
        if let Some(Language { accepted, offered }) = &self.language {
            let accepted = request.get(*accepted).unwrap_or_default();
            // Every language that is not offered shares one response: whatever the application falls back to.
            look_up = look_up.key_part(language::preferred(accepted, offered).unwrap_or(NO_LANGUAGE));
        }
        look_up.into()
    }
}

impl ResponsePolicy for TenantKey {
    fn on_response(&self, request: &Request<'_>, _: &Response<'_>) -> ResponseDecision {
        let ttl = match self.tenant(request) {
            Tenant::Named(name) => self.ttl.get(name).map(|Ttl(ttl)| *ttl),
            Tenant::Anonymous | Tenant::Odd => None,
        };
        Store { ttl, ..Store::default() }.into()
    }
}

/// Visible ASCII without the comma that separates tags.
fn is_tenant(name: &str) -> bool {
    (1..=TENANT_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

larder_policy::export!(TenantKey: request, response);

#[cfg(test)]
mod tests;
