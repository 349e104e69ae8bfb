//! The settings as they are written in the configuration.

use std::collections::BTreeMap;

use larder_policy::{Setting, Ttl};

/// Every one of them may be left out.
#[derive(Debug, Setting)]
pub struct Settings {
    /// The request header field with the tenant.
    #[setting(default = "x-tenant")]
    pub(crate) header: String,
    /// Primary subtags of the languages the application answers in. Without it the language does not matter.
    #[setting(default = [])]
    pub(crate) languages: Vec<String>,
    /// By tenant: how long its responses are kept, in seconds or as a time such as "5s".
    #[setting(default = {})]
    pub(crate) ttl: BTreeMap<String, Ttl>,
}
