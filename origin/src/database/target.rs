//! One server of the configuration, and what the log says about it. All connections of all workers lose a server in the same
//! moment and find it again in the same moment: it is said once.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::{debug, info, warn};

use crate::config::{DatabaseConfig, ServerUrl};

/// Shared by everything that connects to a server.
#[derive(Debug)]
pub(crate) struct Target {
    /// `primary`, `replica-1`, ...
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) url: ServerUrl,
    /// Empty while all is well.
    trouble: Mutex<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    Replica,
}

impl Target {
    /// The servers of a configuration, the primary first.
    pub(crate) fn all(config: &DatabaseConfig) -> Vec<Arc<Target>> {
        let target = |name: &str, role, url: &ServerUrl| {
            Arc::new(Self { name: name.into(), role, url: url.clone(), trouble: Mutex::default() })
        };
        let primary = target("primary", Role::Primary, &config.primary);
        let replicas = config.replicas.iter().enumerate();
        let replicas =
            replicas.map(|(index, url)| target(&format!("replica-{}", index + 1), Role::Replica, url));
        std::iter::once(primary).chain(replicas).collect()
    }

    /// A connection was lost.
    pub(super) fn lost(&self, why: &str) {
        let Self { name, url, .. } = self;
        if self.note(str::is_empty, why) {
            warn!(server.name = %name, "lost {name} ({url}): {why}; connecting again until it works");
        } else {
            debug!(server.name = %name, "lost a connection to {name}: {why}");
        }
    }

    /// A connection could not be made.
    pub(super) fn failed(&self, why: &str) {
        if self.note(|trouble| trouble != why, why) {
            warn!(server.name = %self.name, "{why}; trying again until it works");
        }
    }

    /// A connection was made.
    pub(super) fn connected(&self) {
        let name = &self.name;
        if self.note(|trouble| !trouble.is_empty(), "") {
            info!(server.name = %name, "{name} is back");
        }
    }

    /// Replaces the trouble if that is news, and says whether it is.
    fn note(&self, is_news: impl Fn(&str) -> bool, trouble: &str) -> bool {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = is_news(&known);
        if is_news {
            trouble.clone_into(&mut known);
        }
        is_news
    }
}
