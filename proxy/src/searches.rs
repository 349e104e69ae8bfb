//! Which parts of a query matter for a path, as its last response said (`No-Vary-Search`).
//!
//! A rule is needed before anything is looked up, so it cannot be kept with the responses that it concerns. A response
//! is stored under a key that holds the rule that it came with: where rules have changed, or two paths share one by
//! chance, what is found under the key is right all the same, or nothing is found.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use caching::no_vary_search::NoVarySearch;

use crate::request::Target;

/// Paths whose rule is remembered. One that is forgotten costs fetches, nothing else.
const MOST_RULES: usize = 16 * 1024;

/// The rules of all paths that have one. Shared by all workers.
#[derive(Debug)]
pub struct Searches {
    /// Whether there was ever a rule: most upstreams send none, and their requests need not look for one.
    is_used: AtomicBool,
    rules: quick_cache::sync::Cache<u64, Arc<NoVarySearch>>,
    hasher: RandomState,
}

impl Default for Searches {
    fn default() -> Searches {
        Searches {
            is_used: AtomicBool::new(false),
            rules: quick_cache::sync::Cache::new(MOST_RULES),
            hasher: RandomState::new(),
        }
    }
}

impl Searches {
    pub fn rule(&self, target: &Target) -> Option<Arc<NoVarySearch>> {
        // Before its host and path are looked at.
        if !self.is_used.load(Ordering::Relaxed) {
            return None;
        }
        self.rule_of(target.host(), target.path())
    }

    /// The same for a host and a path in their normal form.
    pub fn rule_of(&self, host: &str, path: &str) -> Option<Arc<NoVarySearch>> {
        if !self.is_used.load(Ordering::Relaxed) {
            return None;
        }
        self.rules.get(&self.place(host, path))
    }

    /// Takes over what a response to this target said.
    pub fn learn(&self, target: &Target, rule: Option<&NoVarySearch>) {
        match rule {
            Some(rule) => {
                self.is_used.store(true, Ordering::Relaxed);
                let is_known = self.rule(target).is_some_and(|known| *known == *rule);
                if !is_known {
                    self.rules.insert(self.place(target.host(), target.path()), Arc::new(rule.clone()));
                }
            }
            None if self.is_used.load(Ordering::Relaxed) => {
                drop(self.rules.remove(&self.place(target.host(), target.path())))
            }
            None => (),
        }
    }

    fn place(&self, host: &str, path: &str) -> u64 {
        self.hasher.hash_one((host, path))
    }
}
