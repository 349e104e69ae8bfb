//! `Cache-Control` of a request and of a response as typed values (RFC 9111 section 5.2).
//!
//! Parsing never fails: what cannot be read is ignored or, where ignoring it could make something fresh, taken
//! for zero. Where a spelling leaves a doubt, a restriction counts and a permission does not. This file must not
//! know what a directive leads to. Next: `storable.rs`, `freshness.rs`.

use std::time::Duration;

use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, PRAGMA},
};

/// Directives of a request that a shared cache looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    pub no_store: bool,
    pub only_if_cached: bool,
    pub no_cache: bool,
    pub max_age: Option<Duration>,
    pub max_stale: Option<MaxStale>,
    pub min_fresh: Option<Duration>,
}

/// How stale a response the client still takes (section 5.2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxStale {
    Any,
    Limit(Duration),
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
    pub immutable: bool,
    /// These come from a field that is meant for this cache (RFC 9213): `Expires` says nothing beside them.
    pub is_targeted: bool,
    pub max_age: Option<Duration>,
    pub s_maxage: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    pub fn of(fields: &HeaderMap) -> RequestDirectives {
        let mut directives = RequestDirectives::default();
        for (name, argument) in fields.get_all(CACHE_CONTROL).iter().flat_map(parts) {
            directives.take(name, argument);
        }
        //= https://www.rfc-editor.org/rfc/rfc7234#section-5.4
        //# When the Cache-Control header field is not present in a request,
        //# caches MUST consider the no-cache request pragma-directive as having
        //# the same effect as if "Cache-Control: no-cache" were present
        // RFC 9111 deprecates it in its own section 5.4, but browsers and tools still send it.
        if !fields.contains_key(CACHE_CONTROL) {
            directives.no_cache = has_pragma_no_cache(fields);
        }
        directives
    }

    fn take(&mut self, name: &[u8], argument: Argument<'_>) {
        let number = argument.delta_seconds();
        if name.eq_ignore_ascii_case(b"no-store") {
            self.no_store = true;
        } else if name.eq_ignore_ascii_case(b"only-if-cached") {
            self.only_if_cached = true;
        } else if name.eq_ignore_ascii_case(b"no-cache") {
            self.no_cache = true;
        } else if name.eq_ignore_ascii_case(b"max-age") {
            // Of two, the one that asks for more. What cannot be read asks for validation, as zero does.
            let max_age = number.unwrap_or(Duration::ZERO);
            self.max_age = Some(self.max_age.map_or(max_age, |other| other.min(max_age)));
        } else if name.eq_ignore_ascii_case(b"min-fresh") {
            self.min_fresh = self.min_fresh.max(number);
        } else if name.eq_ignore_ascii_case(b"max-stale") {
            // The only one that permits something: what cannot be read permits nothing, of two the lesser counts.
            let limit = match (argument, number) {
                (Argument::None, _) => Some(MaxStale::Any),
                (Argument::Value(_) | Argument::Malformed, limit) => limit.map(MaxStale::Limit),
            };
            self.max_stale = match (self.max_stale, limit) {
                (Some(MaxStale::Limit(one)), Some(MaxStale::Limit(other))) => {
                    Some(MaxStale::Limit(one.min(other)))
                }
                (Some(MaxStale::Any) | None, Some(limit)) => Some(limit),
                (known, Some(MaxStale::Any) | None) => known,
            };
        }
    }
}

impl ResponseDirectives {
    pub fn of(fields: &HeaderMap) -> ResponseDirectives {
        let mut directives = ResponseDirectives::default();
        for (name, argument) in fields.get_all(CACHE_CONTROL).iter().flat_map(parts) {
            directives.take(name, argument);
        }
        // In a response `Pragma` means nothing by the RFC (section 5.4). But an origin that sends it without any
        // `Cache-Control` is an old one, and what it wants is plain.
        if !fields.contains_key(CACHE_CONTROL) {
            directives.no_cache = has_pragma_no_cache(fields);
        }
        directives
    }

    fn take(&mut self, name: &[u8], argument: Argument<'_>) {
        // `private="x"` and `no-cache="x"` speak of single fields only. Taking them for the whole response
        // is what section 5.2.2.4 and 5.2.2.7 let a cache do, and it is the safe way.
        match name.to_ascii_lowercase().as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"private" => self.private = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            // These two permit something. With an argument, which they do not have, who knows what.
            b"public" => self.public |= argument == Argument::None,
            b"must-understand" => self.must_understand |= argument == Argument::None,
            //= https://www.rfc-editor.org/rfc/rfc8246#section-2
            //# The immutable extension takes no arguments.  If any arguments are
            //# present, they have no meaning
            b"immutable" => self.immutable = true,
            b"max-age" => restrict(&mut self.max_age, argument),
            b"s-maxage" => restrict(&mut self.s_maxage, argument),
            b"stale-while-revalidate" => restrict(&mut self.stale_while_revalidate, argument),
            b"stale-if-error" => restrict(&mut self.stale_if_error, argument),
            _ => (),
        }
    }
}

/// Takes a delta-seconds argument into `slot`.
fn restrict(slot: &mut Option<Duration>, argument: Argument<'_>) {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
    //# When there is more than one value present for a given directive
    //# (e.g., two Expires header field lines or multiple Cache-Control: max-
    //# age directives), either the first occurrence should be used or the
    //# response should be considered stale.
    //
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
    //# Caches are encouraged to consider
    //# responses that have invalid freshness information (e.g., a max-age
    //# directive with non-integer content) to be stale.
    let value = argument.delta_seconds().unwrap_or(Duration::ZERO);
    *slot = match *slot {
        Some(first) if first != value => Some(Duration::ZERO),
        _ => Some(value),
    };
}

/// `Pragma: no-cache`, which counts where there is no `Cache-Control`.
fn has_pragma_no_cache(fields: &HeaderMap) -> bool {
    let mut members = fields.get_all(PRAGMA).iter().flat_map(|line| list_members(line.as_bytes()));
    members.any(|member| member.eq_ignore_ascii_case(b"no-cache"))
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-1.2.2
//# If a cache receives a delta-seconds value greater than the greatest
//# integer it can represent, or if any of its subsequent calculations
//# overflows, the cache MUST consider the value to be 2147483648 (2^31)
//# or the greatest positive integer it can conveniently represent.
pub(crate) const LONGEST_S: u64 = 1 << 31;

/// Delta-seconds (RFC 9111 section 1.2.2): digits alone; what is too large to count is very long.
pub(crate) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text.iter().fold(0u64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(LONGEST_S)
    });
    Some(Duration::from_secs(seconds))
}

/// What stands behind the name of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument<'v> {
    None,
    /// Without its quotes.
    Value(&'v [u8]),
    /// Something is there that the grammar does not have, such as a blank beside the equals sign.
    Malformed,
}

impl Argument<'_> {
    /// The number it is; `None` if it is none.
    fn delta_seconds(self) -> Option<Duration> {
        match self {
            Argument::Value(text) => delta_seconds(text),
            Argument::None | Argument::Malformed => None,
        }
    }
}

/// The directives of one field line.
fn parts(value: &HeaderValue) -> impl Iterator<Item = (&[u8], Argument<'_>)> {
    let mut members = list_members(value.as_bytes());
    std::iter::from_fn(move || {
        let member = members.next()?;
        let Some(at) = member.iter().position(|&byte| byte == b'=') else {
            let argument = if members.has_open_quote { Argument::Malformed } else { Argument::None };
            return Some((member, argument));
        };
        let (name, written) = (&member[..at], &member[at + 1..]);
        let is_tight = name.trim_ascii_end() == name && written.trim_ascii_start() == written;
        let unquoted =
            written.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(written);
        let is_readable = is_tight && !members.has_open_quote;
        let argument = if is_readable { Argument::Value(unquoted) } else { Argument::Malformed };
        Some((name.trim_ascii_end(), argument))
    })
}

/// Members of a comma-separated list, trimmed, empty ones left out; a comma within a quoted string does not
/// end a member (RFC 9110 section 5.6.1 and 5.6.4).
pub(crate) fn list_members(list: &[u8]) -> ListMembers<'_> {
    ListMembers { rest: list, has_open_quote: false }
}

pub(crate) struct ListMembers<'l> {
    rest: &'l [u8],
    /// A quote that does not close is no quoted string: if it were taken for one, `x="y, no-store` would hide a
    /// directive from us that others see. From there on every comma ends a member. That also keeps the cost linear.
    has_open_quote: bool,
}

impl<'l> Iterator for ListMembers<'l> {
    type Item = &'l [u8];

    fn next(&mut self) -> Option<&'l [u8]> {
        while !self.rest.is_empty() {
            let end = self.member_end();
            let member = self.rest[..end].trim_ascii();
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}

impl ListMembers<'_> {
    fn member_end(&mut self) -> usize {
        let mut quoted = false;
        let mut escaped = false;
        for (at, &byte) in self.rest.iter().enumerate() {
            match byte {
                b',' if !quoted => return at,
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' if !self.has_open_quote => quoted = !quoted,
                _ => (),
            }
        }
        self.has_open_quote |= quoted;
        let is_comma = |byte: &u8| *byte == b',';
        self.rest.iter().position(is_comma).filter(|_| quoted).unwrap_or(self.rest.len())
    }
}
