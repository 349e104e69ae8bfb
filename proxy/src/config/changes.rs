//! What a reload changed, in words: for `larder reload` and the log.
//!
//! Each part of a configuration is put into words as facts, a key and a value, and the facts of old and new are
//! compared: a key that is added to a part is named here once, in its list of facts.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use super::units::{duration_text, size_text};
use super::{Admin, Cache, Config, Feed, Limits, PolicyUse, Route, Upstream};

type Facts = Vec<(&'static str, String)>;

impl Config {
    /// A line for each difference; empty if `new` says the same.
    #[must_use]
    pub fn describe_changes(&self, new: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        compare("", &self.own_facts(), &new.own_facts(), &mut lines);
        compare("admin.", &self.admin.facts(), &new.admin.facts(), &mut lines);
        if self.admin.token != new.admin.token {
            lines.push("admin.token: changed".to_owned());
        }
        compare("cache.", &self.cache.facts(), &new.cache.facts(), &mut lines);
        compare("limits.", &self.limits.facts(), &new.limits.facts(), &mut lines);
        match (&self.feed, &new.feed) {
            (Some(old), Some(new)) => {
                compare("feed.", &old.facts(), &new.facts(), &mut lines);
                if old.token != new.token {
                    lines.push("feed.token: changed".to_owned());
                }
                if old.session.key != new.session.key {
                    lines.push("feed.session_key: changed".to_owned());
                }
            }
            (None, Some(_)) => lines.push("feed: added".to_owned()),
            (Some(_), None) => lines.push("feed: removed".to_owned()),
            (None, None) => (),
        }
        let upstreams = |config: &Self| -> Vec<(String, Facts)> {
            config.upstreams.iter().map(|upstream| (upstream.name.to_string(), upstream.facts())).collect()
        };
        compare_named("upstream", &upstreams(self), &upstreams(new), &mut lines);
        let routes = |config: &Self| -> Vec<(String, Facts)> {
            config.routes.iter().map(|route| (route.name.to_string(), route.facts(config))).collect()
        };
        compare_named("route", &routes(self), &routes(new), &mut lines);
        lines.extend(self.new_settings(new));
        if order(self, new) != order(new, self) {
            lines.push(format!("routes: now in the order {}", order(new, self).join(", ")));
        }
        lines
    }

    /// A line for each difference that only a new process can follow: sockets, threads and memory are made once, and what
    /// bounds connections is handed to them where they begin.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        compare("", &self.fixed_facts(), &new.fixed_facts(), &mut lines);
        if self.admin.token != new.admin.token {
            lines.push("admin.token: changed".to_owned());
        }
        lines
    }

    /// That they are others, not what they are: a key to check signatures with may be among them.
    fn new_settings(&self, new: &Self) -> Vec<String> {
        let differ = |old: &[PolicyUse], new: &[PolicyUse]| {
            old.len() == new.len() && old.iter().zip(new).any(|(old, new)| old.settings != new.settings)
        };
        let of_all = differ(&self.policies, &new.policies).then(|| "policy.settings: changed".to_owned());
        let of_routes = new.routes.iter().filter_map(|route| {
            let old = self.routes.iter().find(|old| old.name == route.name)?;
            differ(&old.policies, &route.policies)
                .then(|| format!("route {:?}: policy.settings: changed", route.name.as_str()))
        });
        of_all.into_iter().chain(of_routes).collect()
    }

    fn own_facts(&self) -> Facts {
        vec![
            ("listen", listed(&self.listen)),
            ("workers", self.workers.to_string()),
            ("access_log", self.access_log.to_string()),
            ("policies.code_cache", self.code_cache_text()),
            ("policy.component", components(&self.policies)),
            ("policy.on_fault", some_listed(&self.policies, |policy| policy.on_fault.to_string())),
        ]
    }

    fn code_cache_text(&self) -> String {
        self.code_cache.as_ref().map_or_else(unset, |folder| folder.display().to_string())
    }

    fn fixed_facts(&self) -> Facts {
        vec![
            ("listen", listed(&self.listen)),
            ("workers", self.workers.to_string()),
            ("admin.listen", self.admin.listen_text()),
            ("cache.memory", size_text(self.cache.memory_bytes)),
            ("limits.idle_timeout", duration_text(self.limits.idle_timeout)),
            ("limits.drain_timeout", duration_text(self.limits.drain_timeout)),
            ("limits.max_head", size_text(u64::try_from(self.limits.max_head_bytes).unwrap_or(u64::MAX))),
            ("limits.max_fields", self.limits.max_fields.to_string()),
            ("limits.max_connections", self.limits.max_connections.to_string()),
            ("policies.code_cache", self.code_cache_text()),
        ]
    }
}

impl Admin {
    fn facts(&self) -> Facts {
        vec![("listen", self.listen_text())]
    }

    fn listen_text(&self) -> String {
        self.listen.map_or_else(|| "off".to_owned(), |address| address.to_string())
    }
}

impl Cache {
    fn facts(&self) -> Facts {
        vec![
            ("memory", size_text(self.memory_bytes)),
            ("max_response", size_text(self.max_response_bytes)),
            ("targets", listed(&self.targets)),
        ]
    }
}

impl Limits {
    fn facts(&self) -> Facts {
        let Self {
            idle_timeout,
            drain_timeout,
            max_head_bytes,
            max_fields,
            max_request_body_bytes,
            max_connections,
            max_waiters,
        } = self;
        vec![
            ("idle_timeout", duration_text(*idle_timeout)),
            ("drain_timeout", duration_text(*drain_timeout)),
            ("max_head", size_text(u64::try_from(*max_head_bytes).unwrap_or(u64::MAX))),
            ("max_fields", max_fields.to_string()),
            ("max_request_body", size_text(*max_request_body_bytes)),
            ("max_connections", max_connections.to_string()),
            ("max_waiters", max_waiters.to_string()),
        ]
    }
}

impl Feed {
    fn facts(&self) -> Facts {
        let Self { servers, token: _, max_silence, on_loss, settle, session, audit } = self;
        vec![
            ("servers", listed(servers)),
            ("max_silence", duration_text(*max_silence)),
            ("on_loss", on_loss.as_str().to_owned()),
            ("settle", duration_text(*settle)),
            ("audit", audit.to_string()),
            ("session_max_age", duration_text(session.max_age)),
            ("session_max_wait", duration_text(session.max_wait)),
        ]
    }
}

impl Upstream {
    fn facts(&self) -> Facts {
        let Self {
            name: _,
            servers,
            connect_timeout,
            response_timeout,
            read_timeout,
            max_idle,
            idle_timeout,
            max_connections,
        } = self;
        vec![
            ("servers", listed(servers)),
            ("connect_timeout", duration_text(*connect_timeout)),
            ("response_timeout", duration_text(*response_timeout)),
            ("read_timeout", duration_text(*read_timeout)),
            ("max_idle", max_idle.to_string()),
            ("idle_timeout", duration_text(*idle_timeout)),
            ("max_connections", max_connections.to_string()),
        ]
    }
}

impl Route {
    fn facts(&self, config: &Config) -> Facts {
        let Self {
            name: _,
            matcher,
            upstream,
            upstreams,
            cache,
            key,
            vary,
            tags,
            feed,
            upgrade,
            live,
            policies,
        } = self;
        let named = |index: &usize| {
            config.upstreams.get(*index).map_or_else(String::new, |upstream| upstream.name.to_string())
        };
        let ttl = |ttl: Option<Duration>| ttl.map_or_else(unset, duration_text);
        vec![
            ("match", matcher.to_string()),
            ("upstream", named(upstream)),
            ("upstreams", some_listed(upstreams, named)),
            ("cache", if cache.enabled { "on" } else { "off" }.to_owned()),
            ("cache.ttl", ttl(cache.ttl)),
            ("cache.default_ttl", ttl(cache.default_ttl)),
            ("cache.min_ttl", ttl(cache.min_ttl)),
            ("cache.max_ttl", ttl(cache.max_ttl)),
            ("cache.stale_while_revalidate", ttl(cache.stale_while_revalidate)),
            ("cache.stale_if_error", ttl(cache.stale_if_error)),
            (
                "cache.status_ttl",
                some_listed(&cache.status_ttls, |(status, ttl)| format!("{status} {}", duration_text(*ttl))),
            ),
            ("cache.hit_for_miss", duration_text(cache.hit_for_miss)),
            ("cache.early_refresh", cache.early_refresh.map_or_else(unset, |factor| factor.to_string())),
            ("cache.request_directives", if cache.honours_requests { "honor" } else { "ignore" }.to_owned()),
            ("cache.allow", format!("{:?}", cache.allow)),
            ("key.query", key.query.as_ref().map_or_else(unset, |query| format!("{query:?}"))),
            ("key.cookies", some_listed(&key.cookies, |name| name.to_string())),
            ("key.fields", some_listed(&key.fields, |name| name.to_string())),
            ("vary", format!("{vary:?}")),
            ("tags", if tags.is_empty() { unset() } else { listed(tags) }),
            ("feed", if *feed { "on" } else { "off" }.to_owned()),
            ("upgrade", if upgrade.is_empty() { unset() } else { listed(upgrade) }),
            ("live", live.to_string()),
            ("policy.component", components(policies)),
            ("policy.on_fault", some_listed(policies, |policy| policy.on_fault.to_string())),
        ]
    }
}

fn components(policies: &[PolicyUse]) -> String {
    some_listed(policies, |policy| policy.component.display().to_string())
}

fn compare(path: &str, old: &Facts, new: &Facts, lines: &mut Vec<String>) {
    for ((key, before), (_, after)) in old.iter().zip(new).filter(|(old, new)| old != new) {
        lines.push(format!("{path}{key}: {before} -> {after}"));
    }
}

fn compare_named(kind: &str, old: &[(String, Facts)], new: &[(String, Facts)], lines: &mut Vec<String>) {
    let find = |list: &[(String, Facts)], name: &str| list.iter().position(|(other, _)| other == name);
    for (name, _) in old.iter().filter(|(name, _)| find(new, name).is_none()) {
        lines.push(format!("{kind} {name:?}: removed"));
    }
    for (name, after) in new {
        match find(old, name).and_then(|index| old.get(index)) {
            Some((_, before)) => compare(&format!("{kind} {name:?}: "), before, after, lines),
            None => lines.push(format!("{kind} {name:?}: added")),
        }
    }
}

/// Names of the routes that both have, in the order of `of`.
fn order<'c>(of: &'c Config, other: &Config) -> Vec<&'c str> {
    let is_in_both = |route: &&Route| other.routes.iter().any(|also| also.name == route.name);
    of.routes.iter().filter(is_in_both).map(|route| route.name.as_str()).collect()
}

fn some_listed<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    if items.is_empty() { unset() } else { listed(&items.iter().map(text).collect::<Vec<_>>()) }
}

fn unset() -> String {
    "not set".to_owned()
}

fn listed(items: &[impl Display]) -> String {
    let mut text = String::new();
    for item in items {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}{item}", if text.is_empty() { "" } else { " " });
    }
    text
}
