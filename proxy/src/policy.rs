//! What the route and its policy make of a request: answer now, go past the cache, or a plan with a cache key.

mod asking;
pub mod response;
mod row;
pub mod trace;

use std::{rc::Rc, sync::Arc};

use caching::{
    directives::RequestDirectives,
    freshness::{Rules, StatusTtls},
    key::{KeyWriter, MethodClass},
    method::is_safe,
    no_vary_search::NoVarySearch,
    reuse::Demands,
};
use http::{
    HeaderName, Method,
    header::{IF_MATCH, IF_UNMODIFIED_SINCE, RANGE},
};
use plugin_host::{Answer, cookie, field};

use row::Asking;
pub use row::Row;
use trace::Trace;

use crate::{
    config, error::Error, live::Link, observe::Forward, request::Request, route::Routed, upstream::Upstream,
    worker::Worker,
};

/// What is to be done with a request.
pub enum Ruling {
    Answer(Answer),
    Proceed(Plan),
}

/// How a request is looked up, fetched and stored.
pub struct Plan {
    pub routed: Routed,
    pub key: Vec<u8>,
    /// Where in the key its target ends, and what else tells requests apart begins.
    target_end: usize,
    /// The rule for the query by which the key was written.
    pub search: Option<Arc<NoVarySearch>>,
    pub cache: CacheUse,
    /// Index into the upstreams of the configuration.
    upstream: usize,
    /// What the policies made of it.
    pub row: Row,
}

/// Whether the cache has a part in this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheUse {
    Use,
    /// A range: answered from what is stored. What it fetches is stored as a part.
    Part,
    /// HEAD: answered from what is stored. What it fetches may freshen that, and is not stored itself.
    Head,
    /// May be answered from what is stored, but what it fetches is not stored.
    LookUpOnly,
    No(Forward),
}

impl Plan {
    pub fn may_look_up(&self) -> bool {
        !matches!(self.cache, CacheUse::No(_))
    }

    pub fn rules(&self) -> Rules<'_> {
        let cache = &self.routed.route().cache;
        Rules {
            ttl: cache.ttl,
            default_ttl: cache.default_ttl,
            min_ttl: cache.min_ttl,
            max_ttl: cache.max_ttl,
            stale_while_revalidate: cache.stale_while_revalidate,
            stale_if_error: cache.stale_if_error,
            status_ttls: StatusTtls(&cache.status_ttls),
            allow: cache.allow,
            early_refresh: cache.early_refresh,
        }
    }

    /// Whether the key, or what a policy says, may depend on this field of a request.
    pub fn goes_by(&self, name: &HeaderName) -> bool {
        let is_read =
            |link: &Link| link.live.policy.inputs().request_fields.iter().any(|known| known == name);
        self.routed.route().key.fields.contains(name)
            || self.row.has_set(name)
            || self.routed.chain().links.iter().any(is_read)
    }

    pub fn upstream_index(&self) -> usize {
        self.upstream
    }

    pub fn upstream(&self) -> &Rc<Upstream> {
        self.routed.upstream(self.upstream)
    }

    /// The change feed, if responses of this route go by one.
    pub fn feed(&self) -> Option<&config::Feed> {
        let feed = self.routed.view.live.config.feed.as_ref()?;
        self.routed.route().feed.then_some(feed)
    }

    /// What the request asks of a stored response, if the route lets it.
    pub fn demands(&self, request: &Request) -> Demands {
        if self.routed.route().cache.honours_requests {
            // `Pragma` is one of them, where there is no `Cache-Control`.
            Demands::of(&RequestDirectives::of(&request.fields))
        } else {
            Demands::default()
        }
    }

    /// The key of the same request under another rule for its query.
    pub fn key_under(&self, request: &Request, search: Option<&NoVarySearch>) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.key.len());
        begin_key(&mut key, request, search);
        key.extend_from_slice(&self.key[self.target_end..]);
        key
    }
}

/// Asks the route's policies, if there are any, applies what they change of the request, and writes the cache key.
pub fn decide(worker: &Worker, request: &mut Request, routed: Routed) -> Result<Ruling, Error> {
    decide_and_tell(worker, request, routed, None)
}

/// The same, with a record of who said what.
pub fn decide_and_tell(
    worker: &Worker,
    request: &mut Request,
    routed: Routed,
    trace: Option<&Trace>,
) -> Result<Ruling, Error> {
    let row = match row::ask(worker, request, &routed, trace)? {
        Asking::Answer(answer) => return Ok(Ruling::Answer(answer)),
        Asking::GoOn(row) => row,
    };
    let request = &*request;
    let mut cache = cache_use(request, &routed);
    let mut buffer = worker.take_key_buffer();
    let search = worker.proxy.searches.rule(&request.target);
    begin_key(&mut buffer, request, search.as_deref());
    let target_end = buffer.len();
    let mut key = KeyWriter::append_to(&mut buffer);
    if !write_configured_parts(&mut key, request, &routed) {
        cache = CacheUse::No(Forward::Bypass);
    }
    row.write_parts(request, &routed, &mut key);
    if row.passes() {
        cache = CacheUse::No(Forward::Bypass);
    }
    let upstream = row.upstream().unwrap_or(routed.route().upstream);
    Ok(Ruling::Proceed(Plan { routed, key: buffer, target_end, search, cache, upstream, row }))
}

/// Whether the content of this request is a part of its key, and has to be read before it is looked up.
pub fn content_is_key(request: &Request, routed: &Routed) -> bool {
    let cache = &routed.route().cache;
    // A QUERY without content is one whose content is empty.
    let is_read =
        request.is_query() || (request.has_body && request.method == Method::GET && cache.allow.request_body);
    cache.enabled && is_read
}

fn begin_key(buffer: &mut Vec<u8>, request: &Request, search: Option<&NoVarySearch>) {
    let target = &request.target;
    let class = match (&request.content, search) {
        (Some(_), _) if request.is_query() => MethodClass::Query,
        (Some(_), _) => MethodClass::GetWithContent,
        (None, Some(_)) => MethodClass::GetBySearch,
        (None, None) => MethodClass::Get,
    };
    let mut key = match search.filter(|_| class == MethodClass::GetBySearch) {
        Some(rule) => {
            let mut key = KeyWriter::begin(buffer, class, target.host_bytes(), target.path());
            key.part_by(|part| rule.append_rule(part));
            key.part_by(|part| rule.append_canonical(target.query(), part));
            key
        }
        None => KeyWriter::begin(buffer, class, target.host_bytes(), target.path_and_query().as_str()),
    };
    if let Some(content) = &request.content {
        key.content(&request.fields, content);
    }
}

/// Cookies and fields that the route names, each with its name, so that another choice of them is another key. False: one
/// of them is not text, and what cannot be told apart must not share a key.
fn write_configured_parts(key: &mut KeyWriter<'_>, request: &Request, routed: &Routed) -> bool {
    let rules = &routed.route().key;
    let mut write = |name: &str, value: Option<Option<&[u8]>>| {
        let Some(value) = value else { return false };
        key.part(name.as_bytes());
        match value {
            Some(value) => key.part(value),
            // A length alone, which no value with its own length is equal to.
            None => key.absent_part(),
        }
        true
    };
    for name in &rules.cookies {
        if !write(name, cookie(&request.fields, name).map(|value| value.map(str::as_bytes))) {
            return false;
        }
    }
    for name in &rules.fields {
        let value = field(&request.fields, name);
        if !write(name.as_str(), value.as_ref().map(|value| value.as_deref().map(str::as_bytes))) {
            return false;
        }
    }
    true
}

fn cache_use(request: &Request, routed: &Routed) -> CacheUse {
    let no = || CacheUse::No(if is_safe(&request.method) { Forward::Bypass } else { Forward::Method });
    // A body that is not in the key tells nobody apart.
    if !routed.route().cache.enabled || (request.has_body && request.content.is_none()) {
        return no();
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.2
    //# In summary, the If-Match and If-Unmodified-
    //# Since conditional header fields are not applicable to a cache, and
    //# If-None-Match takes precedence over If-Modified-Since.
    if request.named.upstreams_conditions
        && (request.fields.contains_key(IF_MATCH) || request.fields.contains_key(IF_UNMODIFIED_SINCE))
    {
        return no();
    }
    if request.method == Method::HEAD {
        return CacheUse::Head;
    }
    if request.method != Method::GET && !request.is_query() {
        return CacheUse::No(Forward::Method);
    }
    // What a client wants nobody to store is fetched for that client alone.
    if request.directives().no_store {
        return CacheUse::LookUpOnly;
    }
    let is_range = request.named.range && request.fields.contains_key(RANGE);
    match (is_range, request.method == Method::GET) {
        (false, _) => CacheUse::Use,
        (true, true) => CacheUse::Part,
        (true, false) => CacheUse::LookUpOnly,
    }
}
