//! The settings as they are written in the configuration; `settings.schema.json` says the same to the host.

use std::collections::BTreeMap;

use larder_policy::Ttl;
use serde::Deserialize;

/// Every one of them may be left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The request header field with the tenant.
    #[serde(default = "header")]
    pub(crate) header: String,
    /// The languages the application answers in. None: the language does not matter.
    #[serde(default)]
    pub(crate) languages: Vec<String>,
    /// By tenant: how long its responses are kept.
    #[serde(default)]
    pub(crate) ttl: BTreeMap<String, Ttl>,
}

fn header() -> String {
    "x-tenant".to_owned()
}
