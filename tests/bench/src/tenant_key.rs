//! The key logic of `plugins/tenant-key` as a native function: what the policy is measured beside, and what Envoy's filter
//! does.

#[path = "../../../plugins/tenant-key/src/language.rs"]
#[expect(dead_code, reason = "the policy checks its settings with it too, and here they are fixed")]
mod language;

/// In place of a language, and the longest name of a tenant: as in the policy.
const NO_LANGUAGE: &str = "*";
const TENANT_BYTES_MAX: usize = 128;

/// The tenant's part of the key and the language's; `None` for a name that is no tenant's.
pub(crate) fn key_parts<'a>(
    tenant: Option<&str>,
    accepted: Option<&str>,
    offered: &'a [String],
) -> Option<(String, &'a str)> {
    let tenant = match tenant.map(str::trim) {
        None | Some("") => "anonymous".to_owned(),
        Some(name) if is_tenant(name) => format!("tenant:{name}"),
        Some(_) => return None,
    };
    Some((tenant, language::preferred(accepted.unwrap_or_default(), offered).unwrap_or(NO_LANGUAGE)))
}

fn is_tenant(name: &str) -> bool {
    (1..=TENANT_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}
