//! One stored response for each tenant and language, with a shorter TTL for the tenants that ask for it.
//!
//! What a tenant is called comes from the client, so it is checked here before it gets into a key or a tag.
//! How the settings are written: `README.md` in this folder.

mod language;
mod settings;

use std::time::Duration;

use larder_policy::{
    Input, Inputs, LookUp, Policy, Request, RequestDecision, RequestPolicy, Response, ResponseDecision,
    ResponsePolicy, Store,
};

pub use crate::settings::Settings;

/// Longer names are no tenant's; together with `tenant:` it is well within what a tag may be.
const TENANT_BYTES_MAX: usize = 128;

pub struct TenantKey {
    tenant: Input,
    /// None: one stored response for all languages.
    language: Option<Language>,
    short_ttl: Duration,
    short_ttl_tenants: Vec<String>,
}

struct Language {
    accepted: Input,
    offered: Vec<String>,
}

impl Policy for TenantKey {
    const NAME: &'static str = "tenant-key";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SETTINGS_SCHEMA: &'static str = include_str!("settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings, inputs: &mut Inputs) -> Result<Self, String> {
        let languages = settings.languages.into_iter().map(|language| language.to_ascii_lowercase());
        let offered: Vec<_> = languages.collect();
        if let Some(odd) = offered.iter().find(|language| !language::is_primary_subtag(language)) {
            return Err(format!("languages: {odd:?} is not a primary subtag such as \"en\""));
        }
        if let Some(odd) = settings.short_ttl_tenants.iter().find(|tenant| !is_tenant(tenant)) {
            return Err(format!("short_ttl_tenants: {odd:?} is not a tenant this policy would take"));
        }
        Ok(Self {
            tenant: inputs.field(&settings.header),
            language: (!offered.is_empty())
                .then(|| Language { accepted: inputs.field("accept-language"), offered }),
            short_ttl: settings.short_ttl.0,
            short_ttl_tenants: settings.short_ttl_tenants,
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
        match request.get(self.tenant).map(str::trim) {
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
                let tag = format!("tenant:{name}");
                LookUp::new().key_part(tag.clone()).tag(tag)
            }
            Tenant::Odd => return RequestDecision::Pass("not a tenant's name".to_owned()),
        };
        if let Some(Language { accepted, offered }) = &self.language {
            let accepted = request.get(*accepted).unwrap_or_default();
            // Every language that is not offered shares one response: whatever the application falls back to.
            look_up = look_up.key_part(language::preferred(accepted, offered).unwrap_or("other"));
        }
        look_up.into()
    }
}

impl ResponsePolicy for TenantKey {
    fn on_response(&self, request: &Request<'_>, _: &Response<'_>) -> ResponseDecision {
        let short = match self.tenant(request) {
            Tenant::Named(name) => self.short_ttl_tenants.iter().any(|tenant| tenant == name),
            Tenant::Anonymous | Tenant::Odd => false,
        };
        Store { ttl: short.then_some(self.short_ttl), ..Store::default() }.into()
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
