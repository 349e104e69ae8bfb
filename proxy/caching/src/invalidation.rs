//! What the answer to an unsafe request makes invalid (RFC 9111 section 4.4).

use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri,
    header::{CONTENT_LOCATION, LOCATION},
};

use crate::method::is_safe;

/// Whether the stored responses of the target must not be used after this exchange.
pub fn invalidates_target(method: &Method, status: StatusCode) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.4
    //# A cache MUST invalidate the target URI (Section 7.1 of [HTTP]) when it
    //# receives a non-error status code in response to an unsafe request
    //# method (including methods whose safety is unknown).
    !is_safe(method) && (status.is_success() || status.is_redirection())
}

/// Calls `each` with the further targets (path and query) of the same host that the answer to an unsafe request makes
/// invalid: what it says was made or changed. `host` is in the normal form of the cache key, `path` that of the request.
///
/// Anything of another host is passed over.
pub fn further_targets(fields: &HeaderMap, host: &str, path: &str, mut each: impl FnMut(&str)) {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.4
    //# A cache MAY invalidate other URIs when it receives a non-error status
    //# code in response to an unsafe request method (including methods whose
    //# safety is unknown).  In particular, the URI(s) in the Location and
    //# Content-Location response header fields (if present) are candidates
    //# for invalidation
    for line in [LOCATION, CONTENT_LOCATION].iter().flat_map(|name| fields.get_all(name)) {
        on_own_host(line, host, path, &mut each);
    }
}

/// Whether a `Content-Location` names the target of its own request: then the response to a POST is a representation of
/// that target (RFC 9110 section 8.7). `host` and `target` are in the normal form of the cache key.
pub fn is_own_location(value: &HeaderValue, host: &str, target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let mut is_own = false;
    on_own_host(value, host, path, &mut |named| is_own = named == target);
    is_own
}

/// Calls `each` with the target that a reference names, if it is on this host.
fn on_own_host(line: &HeaderValue, host: &str, path: &str, each: &mut impl FnMut(&str)) {
    let Some(reference) = line.to_str().ok().map(|text| text.split('#').next().unwrap_or_default().trim())
    else {
        return;
    };
    // A scheme comes before anything else; `://` further behind is part of a query.
    let before_path = reference.split(['/', '?']).next().unwrap_or_default();
    if before_path.contains(':') || reference.starts_with("//") {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.4
        //# However, a cache MUST NOT trigger an
        //# invalidation under these conditions if the origin (Section 4.3.1 of
        //# [HTTP]) of the URI to be invalidated differs from that of the target
        //# URI (Section 7.1 of [HTTP]).
        let absolute =
            if reference.starts_with("//") { format!("http:{reference}") } else { reference.to_owned() };
        let Ok(uri) = absolute.parse::<Uri>() else { return };
        // TLS may end in front of us, so both schemes are this origin's.
        let default_port = match uri.scheme_str() {
            Some("http") => ":80",
            Some("https") => ":443",
            _ => return,
        };
        if uri.authority().is_some_and(|authority| is_host(authority.as_str(), default_port, host)) {
            each(uri.path_and_query().map_or("/", |target| target.as_str()));
        }
    } else if !reference.is_empty() {
        each(&resolved(reference, path));
    }
}

fn is_host(authority: &str, default_port: &str, host: &str) -> bool {
    let name = authority.strip_suffix(default_port).unwrap_or(authority);
    name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(host)
}

/// A relative reference against the path of a request (RFC 3986 section 5.2).
fn resolved(reference: &str, path: &str) -> String {
    if reference.starts_with('?') {
        return format!("{path}{reference}");
    }
    let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
    let merged =
        if reference.starts_with('/') { reference.to_owned() } else { format!("{folder}{reference}") };
    let (path, query) =
        merged.split_once('?').map_or((merged.as_str(), None), |(path, query)| (path, Some(query)));
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => (),
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let ends_in_folder = path.ends_with("/.") || path.ends_with("/..");
    let mut target = format!("/{}", segments.join("/"));
    if ends_in_folder && !target.ends_with('/') {
        target.push('/');
    }
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}
