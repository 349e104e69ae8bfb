//! `Cache-Control` of a request and of a response as typed values (RFC 9111 section 5.2).
//!
//! Parsing never fails: what cannot be read is ignored or, where ignoring it could make something fresh, taken
//! for zero. This file must not know what a directive leads to. Next: `storable.rs`, `freshness.rs`.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header::CACHE_CONTROL};

/// Directives of a request that a shared cache looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    pub no_store: bool,
    pub only_if_cached: bool,
}

/// Directives of a response that a shared cache looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub max_age: Option<Duration>,
    pub s_maxage: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    pub fn of(fields: &HeaderMap) -> RequestDirectives {
        let mut directives = RequestDirectives::default();
        for (name, _) in fields.get_all(CACHE_CONTROL).iter().flat_map(parts) {
            if name.eq_ignore_ascii_case(b"no-store") {
                directives.no_store = true;
            } else if name.eq_ignore_ascii_case(b"only-if-cached") {
                directives.only_if_cached = true;
            }
        }
        directives
    }
}

impl ResponseDirectives {
    pub fn of(fields: &HeaderMap) -> ResponseDirectives {
        let mut directives = ResponseDirectives::default();
        for (name, argument) in fields.get_all(CACHE_CONTROL).iter().flat_map(parts) {
            directives.take(name, argument);
        }
        directives
    }

    fn take(&mut self, name: &[u8], argument: Option<&[u8]>) {
        // `private="x"` and `no-cache="x"` speak of single fields only. Taking them for the whole response
        // is what section 5.2.2.4 and 5.2.2.7 let a cache do, and it is the safe way.
        match name.to_ascii_lowercase().as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"max-age" => restrict(&mut self.max_age, argument),
            b"s-maxage" => restrict(&mut self.s_maxage, argument),
            b"stale-while-revalidate" => restrict(&mut self.stale_while_revalidate, argument),
            b"stale-if-error" => restrict(&mut self.stale_if_error, argument),
            _ => (),
        }
    }
}

/// Takes a delta-seconds argument into `slot`.
fn restrict(slot: &mut Option<Duration>, argument: Option<&[u8]>) {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
    //# When there is more than one value present for a given directive
    //# (e.g., two Expires header field lines or multiple Cache-Control: max-age
    //# directives), either the first occurrence should be used or the
    //# response should be considered stale.
    //
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
    //# Caches are encouraged to consider responses that have invalid
    //# freshness information (e.g., a max-age directive with non-integer
    //# content) to be stale.
    let value = argument.and_then(delta_seconds).unwrap_or(Duration::ZERO);
    *slot = match *slot {
        Some(first) if first != value => Some(Duration::ZERO),
        _ => Some(value),
    };
}

/// Delta-seconds (RFC 9111 section 1.2.2): digits alone; what is too large to count is very long.
pub(crate) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-1.2.2
    //# If a cache receives a delta-seconds value greater than the greatest
    //# integer it can represent, or if any of its subsequent calculations
    //# overflows, the cache MUST consider the value to be 2147483648 (2^31)
    //# or the greatest positive integer it can conveniently represent.
    const LONGEST_S: u64 = 1 << 31;
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text.iter().fold(0u64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(LONGEST_S)
    });
    Some(Duration::from_secs(seconds))
}

/// The directives of one field line: name, and argument without its quotes.
fn parts(value: &HeaderValue) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    list_members(value.as_bytes()).map(|member| match member.iter().position(|&byte| byte == b'=') {
        Some(at) => {
            let argument = member[at + 1..].trim_ascii();
            let unquoted =
                argument.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(argument);
            (member[..at].trim_ascii(), Some(unquoted))
        }
        None => (member, None),
    })
}

/// Members of a comma-separated list, trimmed, empty ones left out; a comma within a quoted string does not
/// end a member (RFC 9110 section 5.6.1 and 5.6.4).
pub(crate) fn list_members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let end = member_end(rest);
            let member = rest[..end].trim_ascii();
            rest = rest.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                return Some(member);
            }
        }
    })
}

fn member_end(list: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, &byte) in list.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => (),
        }
    }
    list.len()
}
