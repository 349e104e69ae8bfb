//! A request as the steps see it: checked once, its target parsed once.
//!
//! Routing, the cache key and the upstream request all use the one [`Target`] made here, so that no trick with
//! its spelling can mean one thing to the one and another thing to the other. Nothing is decoded or collapsed.

use std::{cell::Cell, net::IpAddr, pin::Pin, rc::Rc};

use bytes::{Bytes, BytesMut};
use caching::{
    directives::RequestDirectives,
    fields::{has_hop_by_hop, remove_hop_by_hop},
    query::{QueryRules, normalised},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version,
    header::{CACHE_CONTROL, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, MAX_FORWARDS, TRANSFER_ENCODING},
    uri::{PathAndQuery, Scheme},
};
use http_body::{Body as _, Frame};
use hyper::{body::Incoming, upgrade::OnUpgrade};

use crate::{
    accept::{InterimSink, Link},
    config::Limits,
    error::Error,
    session::Session,
    trailers,
    upgrade::Wish,
};

/// One request of a client.
pub struct Request {
    pub method: Method,
    pub target: Target,
    /// The target as its client wrote it, if a policy has a say in the query: other queries may then have the same response.
    pub as_written: Option<Target>,
    /// Without what concerns the client's connection and what a client has no say in: policies, `Vary` and the
    /// upstream all see the same fields. A field that chose a stored response is one that its upstream saw.
    pub fields: HeaderMap,
    /// What is not named here is not among the fields. INVARIANT: a step may take fields away, and adds none of these.
    pub named: Named,
    pub client: IpAddr,
    pub has_body: bool,
    /// Where interim responses to this request go; to a client that does not know them, and for nobody, nowhere.
    pub interim: Option<InterimSink>,
    pub upgrade: Option<Wish>,
    /// The client takes trailer fields of the answer.
    pub takes_trailers: bool,
    /// Which ones come behind its own body.
    pub announced_trailers: Option<HeaderValue>,
    /// What its client has written before: see `read_your_writes.rs`.
    pub session: Option<Session>,
    /// The whole body, if it is a part of the key: see [`Request::read_content`].
    pub content: Option<Bytes>,
    body: Cell<Option<ReceivedBody>>,
}

/// A body that is still to be read, and what was read of it already.
pub struct ReceivedBody {
    pub ahead: Bytes,
    pub incoming: Option<Incoming>,
}

const QUERY: &str = "QUERY";
/// Content beyond this is not a key: the request is passed on.
pub const MAX_KEY_CONTENT_BYTES: usize = 64 * 1024;

/// Where a request goes: host and path with query, in the one form that all steps use.
#[derive(Debug, Clone)]
pub struct Target {
    /// Lower case, without the default port and without a final dot; visible ASCII.
    host: HeaderValue,
    /// How much of it comes before the port.
    name_bytes: usize,
    path_and_query: PathAndQuery,
}

/// Fields by which a client could make an app behave in a way that the key does not know. Removed, and where an app
/// needs them written anew in `fetch.rs`; there are no trusted peers yet.
const UNTRUSTED: [HeaderName; 18] = [
    // What an upstream has to show is for this cache to ask.
    HeaderName::from_static("larder-min-version"),
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-middleware-subrequest"),
    HeaderName::from_static("x-nextjs-data"),
    HeaderName::from_static("x-now-route-matches"),
];

impl Request {
    /// Refuses what hyper lets through and a cache must not.
    pub fn checked(
        request: http::Request<Incoming>,
        client: IpAddr,
        link: &Rc<Link>,
    ) -> Result<Request, (Method, Error)> {
        let (parts, body) = request.into_parts();
        let named = Named::of(&parts.headers);
        let target = match check_head(&parts.method, &parts.uri, parts.version, &parts.headers, named) {
            Ok(target) => target,
            Err(error) => return Err((parts.method, error)),
        };
        let mut fields = parts.headers;
        let has_body = !body.is_end_stream();
        // hyper has looked for the field already; this is cheaper than to look again.
        let upgrade = match parts.extensions.get::<OnUpgrade>() {
            Some(_) => Wish::of(&parts.method, has_body, &fields, link),
            None => None,
        };
        // Few requests have a field of their connection, and a look at each name is cheaper than looking for each of these.
        let (mut takes_trailers, mut announced_trailers) = (false, None);
        if has_hop_by_hop(&fields) {
            takes_trailers = trailers::are_taken(&fields);
            announced_trailers = trailers::announced(&fields);
            remove_hop_by_hop(&mut fields);
        }
        remove_untrusted(&mut fields);
        Ok(Request {
            method: parts.method,
            target,
            as_written: None,
            fields,
            named,
            client,
            has_body,
            //= https://www.rfc-editor.org/rfc/rfc9110#section-15.2
            //# Since HTTP/1.0 did not define any 1xx status codes, a server MUST NOT
            //# send a 1xx response to an HTTP/1.0 client.
            interim: (parts.version == Version::HTTP_11).then(|| link.interim_sink()),
            upgrade,
            takes_trailers,
            announced_trailers,
            session: None,
            content: None,
            body: Cell::new(Some(ReceivedBody { ahead: Bytes::new(), incoming: Some(body) })),
        })
    }

    /// A QUERY (RFC 10008): safe, with content that is a part of its key.
    pub fn is_query(&self) -> bool {
        self.method.as_str() == QUERY
    }

    /// A request that nobody sent, in the form that one has when the steps see it.
    pub fn made_up(
        method: Method,
        url: &str,
        mut fields: HeaderMap,
        content: Bytes,
    ) -> Result<Request, &'static str> {
        let target = Target::of_url(url)?;
        remove_hop_by_hop(&mut fields);
        remove_untrusted(&mut fields);
        let has_body = !content.is_empty();
        let is_key = content.len() <= MAX_KEY_CONTENT_BYTES && (has_body || method.as_str() == QUERY);
        Ok(Request {
            method,
            target,
            as_written: None,
            named: Named::of(&fields),
            fields,
            client: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            has_body,
            interim: None,
            upgrade: None,
            takes_trailers: false,
            announced_trailers: None,
            session: None,
            content: is_key.then_some(content),
            body: Cell::new(None),
        })
    }

    /// Puts another query in the place of its own; with `None` it stays. From now on it is known that one may be put there.
    pub fn change_query(&mut self, query: Option<&str>) {
        if self.as_written.is_none() {
            self.as_written = Some(self.target.clone());
        }
        if let Some(query) = query {
            self.target.set_query(query);
        }
    }

    /// The body: once, or as often as it is needed if all of it was read.
    pub fn take_body(&self) -> Option<ReceivedBody> {
        match &self.content {
            Some(content) => Some(ReceivedBody { ahead: content.clone(), incoming: None }),
            None => self.body.take(),
        }
    }

    /// Reads the content, so that it can be a part of the key. More than [`MAX_KEY_CONTENT_BYTES`], or trailers, and there
    /// is no `content`: the body is as before to be passed on.
    pub async fn read_content(&mut self, limits: &Limits) -> Result<(), Error> {
        let Some(ReceivedBody { incoming: Some(mut incoming), .. }) = self.body.take() else { return Ok(()) };
        let mut content = BytesMut::new();
        let mut is_key = true;
        while is_key && !incoming.is_end_stream() {
            let next = std::future::poll_fn(|context| Pin::new(&mut incoming).poll_frame(context));
            let Ok(frame) = tokio::time::timeout(limits.idle_timeout, next).await else {
                return Err(Error::RequestBodyTimeout { after_ms: limits.idle_timeout.as_millis() });
            };
            match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => content.extend_from_slice(&data),
                Some(Err(_trailers)) => (),
                None => break,
            }
            is_key = content.len() <= MAX_KEY_CONTENT_BYTES;
        }
        let content = content.freeze();
        if is_key {
            self.content = Some(content);
        } else {
            self.body.set(Some(ReceivedBody { ahead: content, incoming: Some(incoming) }));
        }
        Ok(())
    }

    /// How many more servers an OPTIONS may be sent on to, if it says so.
    pub fn max_forwards(&self) -> Option<u64> {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-7.6.2
        //# Each intermediary that receives a TRACE or OPTIONS request containing
        //# a Max-Forwards header field MUST check and update its value prior to
        //# forwarding the request.
        // TRACE is not served here. A recipient may ignore the field of all other methods.
        if self.method != Method::OPTIONS {
            return None;
        }
        self.fields.get(MAX_FORWARDS)?.to_str().ok()?.parse().ok()
    }

    /// What its client says in `Cache-Control`; most say nothing.
    pub fn directives(&self) -> RequestDirectives {
        if self.named.cache_control && self.fields.contains_key(CACHE_CONTROL) {
            RequestDirectives::of(&self.fields)
        } else {
            RequestDirectives::default()
        }
    }

    /// The request that brings what can be stored for everybody: a GET without the client's body, or the same QUERY.
    pub fn for_everybody(&self) -> Request {
        let is_query = self.is_query();
        let content = self.content.clone();
        Request {
            method: if is_query { self.method.clone() } else { Method::GET },
            target: self.target.clone(),
            as_written: self.as_written.clone(),
            fields: self.fields.clone(),
            named: self.named,
            client: self.client,
            has_body: content.as_ref().is_some_and(|content| !content.is_empty()),
            interim: None,
            upgrade: None,
            // What is stored has none, but those who read it while it arrives do.
            takes_trailers: self.takes_trailers,
            announced_trailers: None,
            session: self.session,
            content,
            body: Cell::new(None),
        }
    }
}

/// Which of the fields that the steps ask for a request came with. Most came with none of them, and one look at each name
/// that is there costs less than to look for each of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Named {
    pub cache_control: bool,
    /// Conditions that a cache evaluates.
    pub own_conditions: bool,
    /// Conditions that are the upstream's to evaluate.
    pub upstreams_conditions: bool,
    pub range: bool,
    pub cookie: bool,
    pub session: bool,
    framing: bool,
}

impl Named {
    fn of(fields: &HeaderMap) -> Named {
        let mut named = Named::default();
        for name in fields.keys() {
            match name.as_str() {
                "cache-control" => named.cache_control = true,
                "if-none-match" | "if-modified-since" => named.own_conditions = true,
                "if-match" | "if-unmodified-since" => named.upstreams_conditions = true,
                "range" => named.range = true,
                "cookie" => named.cookie = true,
                "larder-session" => named.session = true,
                "transfer-encoding" | "expect" => named.framing = true,
                _ => (),
            }
        }
        named
    }
}

/// Takes away what a client has no say in.
fn remove_untrusted(fields: &mut HeaderMap) {
    // Few requests have one of them, and a look at each name is cheaper than looking for each of these.
    if fields.keys().any(|name| {
        name == FORWARDED || name.as_str().starts_with("x-") || name.as_str().starts_with("larder-")
    }) {
        for name in &UNTRUSTED {
            fields.remove(name);
        }
    }
}

fn check_head(
    method: &Method,
    uri: &Uri,
    version: Version,
    fields: &HeaderMap,
    named: Named,
) -> Result<Target, Error> {
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(Error::MethodRefused(method.clone()));
    }
    if named.framing {
        check_framing(version, fields)?;
    }
    Target::of(method, uri, fields)
}

/// How the body is framed, and what is expected.
fn check_framing(version: Version, fields: &HeaderMap) -> Result<(), Error> {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !is_chunked || codings.next().is_some() || version == Version::HTTP_10 {
            return Err(Error::HttpRequestError("Transfer-Encoding must be `chunked`, once, in HTTP/1.1"));
        }
        if fields.contains_key(CONTENT_LENGTH) {
            return Err(Error::HttpRequestError("both Transfer-Encoding and Content-Length"));
        }
    }
    //= https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
    //# A server that receives an Expect field value containing a member other
    //# than 100-continue MAY respond with a 417 (Expectation Failed) status
    //# code to indicate that the unexpected expectation cannot be met.
    let unmet =
        fields.get_all(EXPECT).iter().find(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if let Some(value) = unmet {
        return Err(Error::ExpectationFailed(value.clone()));
    }
    Ok(())
}

impl Target {
    fn of(method: &Method, uri: &Uri, fields: &HeaderMap) -> Result<Target, Error> {
        //= https://www.rfc-editor.org/rfc/rfc9112#section-3.2
        //# A server MUST respond with a 400 (Bad Request) status code to any
        //# HTTP/1.1 request message that lacks a Host header field and to any
        //# request message that contains more than one Host header field line or
        //# a Host header field with an invalid field value.
        let mut hosts = fields.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Error::HttpRequestError("exactly one Host field is needed"));
        };
        if uri.authority().is_some()
            && !uri.scheme().is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)
        {
            return Err(Error::HttpRequestError("the request target is neither a path nor an http URL"));
        }
        let host = match uri.authority() {
            //= https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
            //# When an origin server receives a request with an absolute-form of
            //# request-target, the origin server MUST ignore the received Host header
            //# field (if any) and instead use the host information of the request-target.
            Some(authority) => &HeaderValue::from_str(authority.as_str())
                .map_err(|_| Error::HttpRequestError("invalid authority in the request target"))?,
            None => host,
        };
        let path_and_query = match uri.path_and_query() {
            Some(target) if target.as_str() == "*" && method != Method::OPTIONS => {
                return Err(Error::HttpRequestError("the target `*` is for OPTIONS only"));
            }
            // `http://host` without a path means `/` (RFC 9112 section 3.2.1).
            Some(target) if !target.as_str().starts_with(['/', '*']) => target
                .to_string() // Which puts the `/` in front that `as_str` does not have.
                .parse()
                .map_err(|_| Error::HttpRequestError("the request target holds a forbidden character"))?,
            Some(target) => target.clone(),
            None => PathAndQuery::from_static("/"),
        };
        if !path_and_query.as_str().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(Error::HttpRequestError("the request target holds a forbidden character"));
        }
        let (host, name_bytes) = normalised_host(host)?;
        Ok(Target { host, name_bytes, path_and_query })
    }

    pub fn host(&self) -> &str {
        // Visible ASCII: checked by `normalised_host`.
        self.host.to_str().unwrap_or_default()
    }

    /// For those who only compare bytes.
    pub fn host_bytes(&self) -> &[u8] {
        self.host.as_bytes()
    }

    pub fn host_field(&self) -> &HeaderValue {
        &self.host
    }

    /// The host without a port.
    pub fn host_name(&self) -> &str {
        self.host().get(..self.name_bytes).unwrap_or_default()
    }

    pub fn path(&self) -> &str {
        self.path_and_query.path()
    }

    pub fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }

    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.path_and_query
    }

    /// Brings the query into the form in which it is looked up and sent on.
    pub fn normalise_query(&mut self, rules: &QueryRules) {
        if let Some(normal) = self.query().and_then(|query| normalised(query, rules)) {
            self.set_query(&normal);
        }
    }

    fn set_query(&mut self, query: &str) {
        let path = self.path();
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        // Parts of what was valid before, in another order.
        if let Ok(target) = target.parse() {
            self.path_and_query = target;
        }
    }

    /// The same normal form for a URL that an operator wrote, so that a purge meets what was stored.
    pub fn of_url(url: &str) -> Result<Target, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "not a URL")?;
        let authority =
            uri.authority().ok_or("a URL with a host is needed, as in http://example.com/path")?;
        let mut fields = HeaderMap::new();
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| "invalid host")?;
        fields.insert(HOST, host);
        Target::of(&Method::GET, &uri, &fields).map_err(|_| "not a URL that a request could have")
    }
}

/// The normal form of a host, and how much of it comes before the port. The usual host is normal already, and is taken
/// without a copy.
fn normalised_host(host: &HeaderValue) -> Result<(HeaderValue, usize), Error> {
    const INVALID: Error = Error::HttpRequestError("invalid Host");
    let bytes = host.as_bytes();
    let (mut last_colon, mut has_upper) = (None, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'[' | b']' => (),
            b'A'..=b'Z' => has_upper = true,
            b':' => last_colon = Some(at),
            _ => return Err(INVALID),
        }
    }
    let colon = last_colon.filter(|_| !bytes.ends_with(b"]"));
    let (name, port) = colon.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 1..]));
    if port.len() > 5 || !port.iter().all(u8::is_ascii_digit) {
        return Err(INVALID);
    }
    if !port.is_empty() && port != b"80" {
        let normal = if has_upper { lower_case(bytes)? } else { host.clone() };
        return Ok((normal, name.len()));
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.is_empty() {
        return Err(INVALID);
    }
    let normal = if name.len() == bytes.len() && !has_upper { host.clone() } else { lower_case(name)? };
    // Where a default port is gone, there may be another one before it.
    Ok((normal, if last_colon.is_none() { name.len() } else { name_bytes(name) }))
}

fn name_bytes(host: &[u8]) -> usize {
    match host.iter().rposition(|byte| *byte == b':') {
        Some(at) if !host.ends_with(b"]") => at,
        Some(_) | None => host.len(),
    }
}

fn lower_case(host: &[u8]) -> Result<HeaderValue, Error> {
    HeaderValue::from_bytes(&host.to_ascii_lowercase()).map_err(|_| Error::HttpRequestError("invalid Host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_host(written: &str, expected: Option<&str>) {
        let host = HeaderValue::from_str(written).unwrap();
        let normal = normalised_host(&host).ok();
        assert_eq!(normal.as_ref().map(|(host, _)| host.to_str().unwrap()), expected, "{written}");
        if let Some((host, bytes)) = normal {
            assert_eq!(bytes, name_bytes(host.as_bytes()), "{written}");
        }
    }

    #[test]
    fn what_the_steps_ask_for_is_named() {
        let named = |name: &str| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            Named::of(&HeaderMap::from_iter([(name, HeaderValue::from_static(""))]))
        };
        let none = Named::default();
        assert_eq!(named("Cache-Control"), Named { cache_control: true, ..none });
        assert_eq!(named("If-None-Match"), Named { own_conditions: true, ..none });
        assert_eq!(named("If-Modified-Since"), Named { own_conditions: true, ..none });
        assert_eq!(named("If-Match"), Named { upstreams_conditions: true, ..none });
        assert_eq!(named("If-Unmodified-Since"), Named { upstreams_conditions: true, ..none });
        assert_eq!(named("Range"), Named { range: true, ..none });
        assert_eq!(named("Transfer-Encoding"), Named { framing: true, ..none });
        assert_eq!(named("Expect"), Named { framing: true, ..none });
        assert_eq!(named("If-Range"), none);
    }

    #[test]
    fn a_host_has_one_form() {
        check_host("example.com", Some("example.com"));
        check_host("Example.COM", Some("example.com"));
        check_host("example.com:80", Some("example.com"));
        check_host("example.com:", Some("example.com"));
        check_host("example.com.", Some("example.com"));
        check_host("example.com:8080", Some("example.com:8080"));
        check_host("[::1]:8080", Some("[::1]:8080"));
        check_host("[::1]", Some("[::1]"));
        check_host("[::1]:80", Some("[::1]"));
        check_host("Example.com.:8080", Some("example.com.:8080"));
        check_host("example.com:8080:80", Some("example.com:8080"));
        check_host("example.com:123456", None);
        check_host("example.com:80x", None);
        check_host("user@example.com", None);
        check_host("a/b", None);
        check_host("", None);
        check_host(".", None);
    }

    #[test]
    fn an_operators_url_has_the_form_of_a_request() {
        let target = Target::of_url("http://Example.com:80/a%2fb?c=d").unwrap();
        assert_eq!((target.host(), target.path_and_query().as_str()), ("example.com", "/a%2fb?c=d"));
        assert_eq!(Target::of_url("http://h").unwrap().path(), "/");
        assert!(Target::of_url("/path").is_err());
    }
}
