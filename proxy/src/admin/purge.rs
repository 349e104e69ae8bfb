//! Which purge is asked for, in Larder's own words or in those of Varnish and Fastly, and carrying it out.
//!
//! Everything is checked before anything is purged: one bad URL purges nothing. What a purge does is in
//! `invalidations.rs`.

use caching::tags::{CACHE_TAG, MAX_TAG_BYTES, SURROGATE_KEY, is_tag};
use http::{HeaderMap, HeaderName, Method, Uri, header::HOST};
use serde::{Deserialize, Serialize};

use crate::{
    invalidations::{Purge, Scope, Subject},
    live::Proxy,
    request::Target,
};

/// A purge as it is asked for.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PurgeRequest {
    pub tags: Vec<String>,
    /// As clients write them.
    pub urls: Vec<String>,
    /// URLs: all that begin with one of them.
    pub prefixes: Vec<String>,
    /// With the port if it is not 80.
    pub hosts: Vec<String>,
    pub all: bool,
    /// Stale from now on, in place of gone: what the stale windows of a response allow is still served.
    pub soft: bool,
}

/// Answered when no later request can see what was purged.
#[derive(Debug, Deserialize, Serialize)]
pub struct PurgeAnswer {
    /// The number of the last purge of this call, in the order of all purges.
    pub purge: u64,
    /// How many tags, URLs, prefixes and hosts were purged; all counts as one.
    pub count: usize,
}

pub(super) const PURGE: &str = "PURGE";
/// What Fastly calls a soft purge by.
const FASTLY_SOFT_PURGE: HeaderName = HeaderName::from_static("fastly-soft-purge");
/// Tags of the xkey module of Varnish.
const XKEY_PURGE: HeaderName = HeaderName::from_static("xkey-purge");
const XKEY_SOFT_PURGE: HeaderName = HeaderName::from_static("xkey-softpurge");

/// A purge in the words of Varnish or Fastly; `None`: it is none.
///
/// - `PURGE /path` with the `Host` of the URL: that URL. With `Surrogate-Key`, `Cache-Tag` or `xkey-purge`: those tags.
/// - `POST /service/{id}/purge/{key}`, `POST /service/{id}/purge` with `Surrogate-Key`: tags.
/// - `POST /service/{id}/purge_all`: everything.
///
/// `Fastly-Soft-Purge: 1` and `xkey-softpurge` make it a soft one.
pub(super) fn by_convention(
    method: &Method,
    uri: &Uri,
    fields: &HeaderMap,
) -> Option<Result<PurgeRequest, String>> {
    let text_of = |name: &HeaderName| fields.get(name).and_then(|value| value.to_str().ok());
    let mut wanted = PurgeRequest {
        soft: text_of(&FASTLY_SOFT_PURGE).is_some_and(|value| value.trim() == "1")
            || fields.contains_key(XKEY_SOFT_PURGE),
        tags: named_tags(fields),
        ..PurgeRequest::default()
    };
    if method.as_str() == PURGE {
        if !wanted.tags.is_empty() {
            return Some(Ok(wanted));
        }
        let Some(host) = uri.authority().map(|host| host.as_str()).or_else(|| text_of(&HOST)) else {
            return Some(Err("a PURGE needs the Host of its URL".to_owned()));
        };
        wanted
            .urls
            .push(format!("http://{host}{}", uri.path_and_query().map_or("/", |target| target.as_str())));
        return Some(Ok(wanted));
    }
    let mut segments = uri.path().strip_prefix("/service/")?.splitn(3, '/');
    let (_service, action, key) = (segments.next()?, segments.next()?, segments.next());
    match (action, key) {
        ("purge", Some(key)) => wanted.tags = vec![key.to_owned()],
        ("purge", None) if wanted.tags.is_empty() => {
            return Some(Err("name the tags in a Surrogate-Key field".to_owned()));
        }
        ("purge", None) => (),
        ("purge_all", None) => wanted = PurgeRequest { all: true, tags: Vec::new(), ..wanted },
        (_, _) => return None,
    }
    Some(Ok(wanted))
}

fn named_tags(fields: &HeaderMap) -> Vec<String> {
    let text = |name: HeaderName| fields.get_all(name).iter().filter_map(|line| line.to_str().ok());
    let spaced = [SURROGATE_KEY, XKEY_PURGE, XKEY_SOFT_PURGE].into_iter().flat_map(text);
    let spaced = spaced.flat_map(str::split_ascii_whitespace);
    let listed = text(CACHE_TAG).flat_map(|line| line.split(','));
    spaced.chain(listed).map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect()
}

impl PurgeRequest {
    /// Checks all of it, then purges.
    pub(super) fn carry_out(&self, proxy: &Proxy) -> Result<PurgeAnswer, String> {
        if (PurgeRequest { soft: false, ..self.clone() }) == PurgeRequest::default() {
            return Err("nothing to purge: name tags, urls, prefixes or hosts, or say all".to_owned());
        }
        if let Some(tag) = self.tags.iter().find(|tag| !is_tag(tag.as_bytes())) {
            let shown: String = tag.chars().take(64).collect();
            return Err(format!(
                "{shown:?} is not a tag: 1 to {MAX_TAG_BYTES} bytes of visible ASCII without commas"
            ));
        }
        let targets = |urls: &[String]| {
            let parsed = urls.iter().map(|url| Target::of_url(url).map_err(|why| format!("{url:?}: {why}")));
            parsed.collect::<Result<Vec<_>, _>>()
        };
        let (urls, prefixes) = (targets(&self.urls)?, targets(&self.prefixes)?);
        let hosts = self.hosts.iter().map(|host| {
            let target = Target::of_url(&format!("http://{host}/")).ok();
            let target = target.filter(|target| target.path_and_query().as_str() == "/");
            target.ok_or_else(|| format!("{host:?} is not a host, as in shop.example or shop.example:8080"))
        });
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;

        let purge = if self.soft { Purge::Soft(proxy.clock.now()) } else { Purge::Hard };
        let of_tags =
            self.tags.iter().map(|tag| proxy.invalidations.purge(Subject::Tag(tag.as_bytes()), purge));
        let of_urls =
            urls.iter().map(|url| proxy.purge_url(url.host(), url.path_and_query().as_str(), purge));
        let of_prefix = prefixes.iter().map(|url| (url.host(), url.path_and_query().as_str()));
        let of_host = hosts.iter().map(|host| (host.host(), ""));
        let scopes = of_prefix
            .chain(of_host)
            .map(|(host, prefix)| Scope::Prefix { host: host.into(), prefix: prefix.into() })
            .chain(self.all.then_some(Scope::All));
        let purged =
            of_tags.chain(of_urls).chain(scopes.map(|scope| proxy.invalidations.purge_scope(scope, purge)));
        let (count, last) =
            purged.fold((0, 0), |(count, last), sequence| (count + 1, sequence.number().max(last)));
        tracing::info!(
            purge = last,
            tags = self.tags.len(),
            urls = urls.len(),
            prefixes = prefixes.len(),
            hosts = hosts.len(),
            all = self.all,
            soft = self.soft,
            "purged"
        );
        Ok(PurgeAnswer { purge: last, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, uri: &str, lines: &[(&'static str, &str)], expected: Option<PurgeRequest>) {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, value.parse().unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let read = by_convention(&method, &uri.parse().unwrap(), &fields).map(Result::unwrap);
        assert_eq!(read, expected, "{method} {uri} {lines:?}");
    }

    fn tags(tags: &[&str], soft: bool) -> Option<PurgeRequest> {
        let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        Some(PurgeRequest { tags, soft, ..PurgeRequest::default() })
    }

    fn url(url: &str, soft: bool) -> Option<PurgeRequest> {
        Some(PurgeRequest { urls: vec![url.to_owned()], soft, ..PurgeRequest::default() })
    }

    #[test]
    fn purges_of_varnish_and_fastly_are_understood() {
        check("PURGE", "/a?b", &[("host", "x.example")], url("http://x.example/a?b", false));
        check("PURGE", "http://y.example/a", &[("host", "x.example")], url("http://y.example/a", false));
        let soft = ("fastly-soft-purge", "1");
        check("PURGE", "/", &[("host", "x.example:81"), soft], url("http://x.example:81/", true));
        check("PURGE", "/", &[("host", "x"), ("fastly-soft-purge", "0")], url("http://x/", false));
        check("PURGE", "/", &[("host", "x"), ("surrogate-key", "a b")], tags(&["a", "b"], false));
        check("PURGE", "/", &[("host", "x"), ("cache-tag", "a, b"), soft], tags(&["a", "b"], true));
        check("PURGE", "/", &[("host", "x"), ("xkey-softpurge", "a")], tags(&["a"], true));
        check("POST", "/service/s1/purge/user:4", &[("host", "x")], tags(&["user:4"], false));
        check("POST", "/service/s1/purge", &[("surrogate-key", "a b"), soft], tags(&["a", "b"], true));
        let all = PurgeRequest { all: true, ..PurgeRequest::default() };
        check("POST", "/service/s1/purge_all", &[("surrogate-key", "a")], Some(all));
        check("POST", "/service/s1/other", &[], None);
        check("POST", "/service/s1", &[], None);
        check("GET", "/a", &[("surrogate-key", "a")], None);
    }
}
