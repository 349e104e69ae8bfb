//! The section `[admin]`: where the admin listener is, and the token that guards it.

use std::path::Path;

use super::super::Secret;
use super::{ADMIN_LISTEN, Admin, Section, Value, address};

pub(super) fn admin(value: Option<Value<'_>>, file: &Path) -> Admin {
    let Some(mut section) = value.and_then(|value| value.section()) else {
        return Admin { listen: Some(ADMIN_LISTEN), token: None };
    };
    let mut listen = Some(ADMIN_LISTEN);
    let listen_value = section.get("listen");
    if let Some(value) = &listen_value {
        listen = if value.raw().as_str() == Some("off") { None } else { address(value, "127.0.0.1:9090") };
    }
    let (token, has_token) = token(&mut section, file);
    if let (Some(value), Some(address)) = (&listen_value, listen)
        && !address.ip().is_loopback()
        && !has_token
    {
        value.fault(format!(
            "{address} can be reached from other machines, so admin needs a token_file or token; \
             without one, listen on 127.0.0.1"
        ));
    }
    section.finish();
    Admin { listen, token }
}

/// Under `token`, or in the file that `token_file` names. The bool says whether there is any, good or not.
pub(super) fn token(section: &mut Section<'_>, file: &Path) -> (Option<Secret>, bool) {
    secret(section, "token", "token_file", file)
}

/// Under the first key, or in the file that the second one names.
pub(super) fn secret(
    section: &mut Section<'_>,
    key: &'static str,
    file_key: &'static str,
    file: &Path,
) -> (Option<Secret>, bool) {
    let token_value = section.get(key);
    let token_file = section.get(file_key);
    if let (Some(_), Some(value)) = (&token_value, &token_file) {
        value.fault(format!("{key:?} is there too; keep one of them"));
    }
    let has_token = token_value.is_some() || token_file.is_some();
    let token = match (&token_value, &token_file) {
        (Some(value), _) => value.parse("\"<output of: openssl rand -base64 32>\""),
        (None, Some(value)) => token_of_file(value, file),
        (None, None) => None,
    };
    (token, has_token)
}

fn token_of_file(value: &Value<'_>, file: &Path) -> Option<Secret> {
    let name = value.string("\"admin.token\"")?;
    let path = file.parent().unwrap_or(Path::new("")).join(name);
    Secret::load(&path).map_err(|e| value.fault(format!("{e}: {}", e.reason()))).ok()
}
