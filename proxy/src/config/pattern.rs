//! What a route matches: hosts, a path pattern and methods.
//!
//! Patterns are compared with the path as it came, byte for byte and not decoded: whoever wants `%2F` and `/` to be
//! the same makes them the same before routing. Nothing here allocates after the configuration is read.
//! Read next: `config/tags.rs`, which uses the captures.

use std::fmt;
use std::str::FromStr;

use http::Method;

use super::BadValue;
use super::units::quoted;

/// Captures live in an array on the stack; no sensible path has more variables.
pub const MAX_CAPTURES: usize = 8;
const MAX_PATTERN_BYTES: usize = 2048;

/// Three conditions that all have to hold; one that is absent always does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matcher {
    /// Empty: every host.
    pub hosts: Vec<HostPattern>,
    pub path: Option<PathPattern>,
    /// Empty: every method. HEAD is not implied by GET.
    pub methods: Vec<Method>,
}

/// `api.example.com`, or `*.example.com` for all names below `example.com` at any depth, but not itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// In lower case.
    Exact(Box<str>),
    /// In lower case, with the dot in front.
    Below(Box<str>),
}

/// `/users/{id}` or `/files/{*rest}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: Box<str>,
    // INVARIANT: a capture is followed by a literal that begins with `/`, or by nothing; only the last piece is Rest.
    pieces: Box<[Piece]>,
    /// Of the captures, in the order of the pieces.
    names: Box<[Box<str>]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    /// One segment that is not empty.
    Segment,
    /// All that is left; may be empty.
    Rest,
}

/// What the variables of a pattern stand for in one path.
#[derive(Debug, Clone, Copy)]
pub struct Captures<'p> {
    names: &'p [Box<str>],
    values: [&'p str; MAX_CAPTURES],
}

impl Matcher {
    /// False: it matches whatever the host is.
    #[must_use]
    pub fn names_hosts(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// `host` is without its port, in any case; IPv6 in brackets.
    #[must_use]
    pub fn matches<'p>(&'p self, host: &str, path: &'p str, method: &Method) -> Option<Captures<'p>> {
        if !self.methods.is_empty() && !self.methods.contains(method) {
            return None;
        }
        if !self.hosts.is_empty() && !self.hosts.iter().any(|pattern| pattern.matches(host)) {
            return None;
        }
        match &self.path {
            Some(pattern) => pattern.captures(path),
            None => Some(Captures::none()),
        }
    }

    /// True if every request that `other` matches is matched here too. May miss a case, never claims a false one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || (!other.methods.is_empty()
                && other.methods.iter().all(|method| self.methods.contains(method)));
        let hosts = self.hosts.is_empty()
            || (!other.hosts.is_empty()
                && other.hosts.iter().all(|host| self.hosts.iter().any(|pattern| pattern.covers(host))));
        let path = match (&self.path, &other.path) {
            (None, _) => true,
            // `OPTIONS *` is the one request whose path no pattern takes.
            (Some(pattern), None) => pattern.takes_every_path(),
            (Some(pattern), Some(other)) => pattern.covers(other),
        };
        methods && hosts && path
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name.eq_ignore_ascii_case(host),
            Self::Below(suffix) => {
                let (host, suffix) = (host.as_bytes(), suffix.as_bytes());
                host.len() > suffix.len() && host[host.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
            }
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match other {
            Self::Exact(name) => self.matches(name),
            Self::Below(suffix) => matches!(self, Self::Below(own) if suffix.ends_with(&**own)),
        }
    }
}

impl PathPattern {
    /// Names of the captures, in the order in which they stand.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    fn captures<'p>(&'p self, path: &'p str) -> Option<Captures<'p>> {
        let mut captures = Captures { names: &self.names, ..Captures::none() };
        let mut values = captures.values.iter_mut();
        let mut rest = path;
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => rest = rest.strip_prefix(&**literal)?,
                Piece::Segment => {
                    let (segment, after) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                    if segment.is_empty() {
                        return None;
                    }
                    *values.next()? = segment;
                    rest = after;
                }
                Piece::Rest => {
                    *values.next()? = rest;
                    rest = "";
                }
            }
        }
        rest.is_empty().then_some(captures)
    }

    fn takes_every_path(&self) -> bool {
        matches!(&*self.pieces, [Piece::Literal(slash), Piece::Rest] if &**slash == "/")
    }

    /// Tries the other's least special paths: a segment that no literal can equal, and both a long and an empty rest.
    fn covers(&self, other: &Self) -> bool {
        let sample = |rest: &str| {
            let mut path = String::new();
            for piece in &other.pieces {
                path.push_str(match piece {
                    Piece::Literal(literal) => literal,
                    Piece::Segment => "\u{1}",
                    Piece::Rest => rest,
                });
            }
            path
        };
        ["", "\u{1}/\u{1}"].iter().all(|rest| self.captures(&sample(rest)).is_some())
    }
}

impl<'p> Captures<'p> {
    pub(super) const fn none() -> Self {
        Self { names: &[], values: [""; MAX_CAPTURES] }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'p str> {
        self.iter().find_map(|(own, value)| (own == name).then_some(value))
    }

    /// In the order in which they stand in the pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&'p str, &'p str)> + use<'p> {
        self.names.iter().map(|name| &**name).zip(self.values)
    }

    pub(super) fn at(&self, index: usize) -> &'p str {
        self.values.get(index).copied().unwrap_or_default()
    }
}

impl FromStr for HostPattern {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let (is_below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let bad = |why: &str| Err(BadValue::new(format!("{} is not a host pattern: {why}", quoted(text))));
        let is_address = name.starts_with('[') && name.ends_with(']');
        if name.is_empty() {
            return bad("it is empty; leave \"hosts\" out to match every host");
        }
        if name.contains("://") || name.contains('/') {
            return bad("write the name alone, without scheme and path");
        }
        if !is_address && name.contains(':') {
            return bad("a host is matched without its port; IPv6 addresses stand in brackets");
        }
        if name.contains('*') {
            return bad("\"*.\" stands at the beginning only, as in \"*.example.com\"");
        }
        if !name.is_ascii() {
            return bad("write it as it travels, \"xn--...\"");
        }
        let is_name = name.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
        if is_address && is_below || !is_address && !is_name {
            return bad("write for example \"api.example.com\" or \"*.example.com\"");
        }
        let name = name.to_ascii_lowercase();
        Ok(if is_below { Self::Below(format!(".{name}").into()) } else { Self::Exact(name.into()) })
    }
}

impl FromStr for PathPattern {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if !text.starts_with('/') {
            return Err(BadValue::at(
                0,
                format!("{} is not a path pattern: it does not begin with \"/\"", quoted(text)),
            ));
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(BadValue::new(format!("a path pattern has at most {MAX_PATTERN_BYTES} bytes")));
        }
        let mut pieces = Vec::new();
        let mut names: Vec<Box<str>> = Vec::new();
        let mut literal = String::new();
        let mut offset = 0;
        let mut segments = text.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            offset += 1; // The slash.
            let bad =
                |why: &str| BadValue::at(offset, format!("{} is not a path pattern: {why}", quoted(text)));
            let is_last = segments.peek().is_none();
            literal.push('/');
            match segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
                Some(inner) => {
                    let (piece, name) = match inner.strip_prefix('*') {
                        Some(name) => (Piece::Rest, name),
                        None => (Piece::Segment, inner),
                    };
                    if !is_capture_name(name) {
                        return Err(bad(&format!(
                            "{segment:?} needs a name of letters, digits and \"_\", as in \"{{id}}\" or \"{{*rest}}\""
                        )));
                    }
                    if piece == Piece::Rest && !is_last {
                        return Err(bad(&format!(
                            "{segment:?} takes all that is left, so nothing can follow it"
                        )));
                    }
                    if names.iter().any(|other| **other == *name) {
                        return Err(bad(&format!("the name {name:?} stands twice")));
                    }
                    if names.len() == MAX_CAPTURES {
                        return Err(bad(&format!("it has more than {MAX_CAPTURES} variables")));
                    }
                    names.push(name.into());
                    pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                    pieces.push(piece);
                }
                None => {
                    literal_segment(segment, is_last).map_err(|why| bad(&why))?;
                    literal.push_str(segment);
                }
            }
            offset += segment.len();
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Ok(Self { text: text.into(), pieces: pieces.into(), names: names.into() })
    }
}

fn literal_segment(segment: &str, is_last: bool) -> Result<(), String> {
    if segment.is_empty() && !is_last {
        return Err("\"//\" has an empty segment".to_owned());
    }
    if matches!(segment, "." | "..") {
        return Err(format!("{segment:?} is resolved by clients and never arrives"));
    }
    match segment.chars().find(|c| !c.is_ascii_graphic() || "{}*?#\"<>\\^`|".contains(*c)) {
        None => Ok(()),
        Some('{' | '}') => Err(format!(
            "a variable is a whole segment, as in \"/users/{{id}}/posts\", not a part of one as in {segment:?}"
        )),
        Some('*') => {
            Err("\"*\" has no meaning here; \"{*rest}\" at the end takes all that is left".to_owned())
        }
        Some('?' | '#') => Err("routes do not look at the query; leave it out".to_owned()),
        Some(c) => {
            Err(format!("{c:?} does not occur in a path; write it percent-encoded, as clients send it"))
        }
    }
}

pub(super) fn is_capture_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

impl fmt::Display for Matcher {
    /// `GET HEAD api.example.com /users/{id}`, or `everything`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = self.methods.iter().map(ToString::to_string);
        let hosts = self.hosts.iter().map(ToString::to_string);
        let parts: Vec<String> =
            methods.chain(hosts).chain(self.path.iter().map(ToString::to_string)).collect();
        f.write_str(if parts.is_empty() { "everything" } else { "" })?;
        f.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected` is `-` for no match, else the captures as `name=value`, separated by spaces.
    #[track_caller]
    fn check(pattern: &str, path: &str, expected: &str) {
        let pattern: PathPattern = pattern.parse().unwrap();
        let found = match pattern.captures(path) {
            Some(captures) => {
                captures.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            }
            None => "-".to_owned(),
        };
        assert_eq!(found, expected, "{pattern} on {path}");
    }

    #[test]
    fn literals_match_whole_paths() {
        check("/", "/", "");
        check("/", "/a", "-");
        check("/users", "/users", "");
        check("/users", "/users/", "-");
        check("/users", "/users2", "-");
        check("/users/", "/users/", "");
        check("/users/", "/users", "-");
    }

    #[test]
    fn a_variable_takes_one_segment_that_is_not_empty() {
        check("/users/{id}", "/users/42", "id=42");
        check("/users/{id}", "/users/", "-");
        check("/users/{id}", "/users/42/", "-");
        check("/users/{id}", "/users/42/posts", "-");
        check("/{a}/{b}/x", "/1/2/x", "a=1 b=2");
        check("/{a}/{b}/x", "/1//x", "-");
        check("/{a}/", "/1/", "a=1");
        check("/{1}".replace('1', "_a").as_str(), "/é", "_a=é");
    }

    #[test]
    fn rest_takes_everything_even_nothing() {
        check("/files/{*rest}", "/files/a/b//c", "rest=a/b//c");
        check("/files/{*rest}", "/files/", "rest=");
        check("/files/{*rest}", "/files", "-");
        check("/{*rest}", "/", "rest=");
        check("/{a}/{*rest}", "/x/y", "a=x rest=y");
    }

    #[test]
    fn paths_are_compared_undecoded() {
        check("/users/{id}", "/users/a%2Fb", "id=a%2Fb");
        check("/a%2Fb", "/a%2fb", "-");
        check("/users/{id}", "/Users/1", "-");
    }

    #[test]
    fn eight_variables_are_enough() {
        check("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}", "/1/2/3/4/5/6/7/8", "a=1 b=2 c=3 d=4 e=5 f=6 g=7 h=8");
        let nine = "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}".parse::<PathPattern>().unwrap_err();
        assert_eq!(nine.offset(), Some(33));
    }

    #[test]
    fn what_is_no_pattern_is_refused_at_its_place() {
        for (text, offset, part) in [
            ("", 0, "begin"),
            ("users", 0, "begin"),
            ("/a/{}", 3, "name"),
            ("/a/{*}", 3, "name"),
            ("/a/{1st}", 3, "name"),
            ("/a/{b c}", 3, "name"),
            ("/a/{id}.json", 3, "whole segment"),
            ("/a/{id", 3, "whole segment"),
            ("/{*rest}/x", 1, "follow"),
            ("/{id}/{id}", 6, "twice"),
            ("/a//b", 3, "empty"),
            ("/a/../b", 3, "never arrives"),
            ("/files/*", 7, "{*rest}"),
            ("/a?x=1", 1, "query"),
            ("/a b", 1, "percent"),
            ("/ä", 1, "percent"),
        ] {
            let bad = text.parse::<PathPattern>().unwrap_err();
            assert!(bad.to_string().contains(part), "{text}: {bad}");
            assert_eq!(bad.offset(), Some(offset), "{text}");
        }
    }

    #[test]
    fn hosts_match_in_any_case() {
        let below: HostPattern = "*.Example.com".parse().unwrap();
        assert!(below.matches("api.example.COM"));
        assert!(below.matches("a.b.example.com"));
        for other in ["example.com", ".example.com", "badexample.com", "api.example.com.evil", ""] {
            assert!(!below.matches(other), "{other}");
        }
        let exact: HostPattern = "api.example.com".parse().unwrap();
        assert!(exact.matches("API.example.com"));
        assert!(!exact.matches("x.api.example.com"));
    }

    #[test]
    fn a_suffix_inside_a_character_is_no_match() {
        let below: HostPattern = "*.b".parse().unwrap();
        assert!(!below.matches("\u{1F980}"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in
            ["", "*", "*.", "a.*.b", "http://a", "a/b", "a:80", "ä.de", "a..b", "a b", "*.[::1]", ".a"]
        {
            assert!(text.parse::<HostPattern>().is_err(), "{text:?}");
        }
        assert!("[::1]".parse::<HostPattern>().is_ok());
    }

    #[test]
    fn all_three_conditions_have_to_hold() {
        let matcher = Matcher {
            hosts: vec!["a.example".parse().unwrap()],
            path: Some("/u/{id}".parse().unwrap()),
            methods: vec![Method::GET],
        };
        let id =
            |host, path, method| matcher.matches(host, path, method).and_then(|captures| captures.get("id"));
        assert_eq!(id("a.example", "/u/1", &Method::GET), Some("1"));
        assert_eq!(id("b.example", "/u/1", &Method::GET), None);
        assert_eq!(id("a.example", "/u", &Method::GET), None);
        assert_eq!(id("a.example", "/u/1", &Method::HEAD), None);
        assert!(Matcher::default().matches("", "*", &Method::OPTIONS).is_some());
    }

    #[test]
    fn a_wider_pattern_covers_a_narrower_one() {
        let covers =
            |wide: &str, narrow: &str| wide.parse::<PathPattern>().unwrap().covers(&narrow.parse().unwrap());
        assert!(covers("/{*rest}", "/a/{id}"));
        assert!(covers("/{a}", "/b"));
        assert!(covers("/{a}", "/{b}"));
        assert!(covers("/f/{*rest}", "/f/x/{*more}"));
        assert!(!covers("/b", "/{a}"));
        assert!(!covers("/{a}", "/{*rest}"));
        assert!(!covers("/f/{x}/{*rest}", "/f/{*rest}"));
        assert!(!covers("/f/{x}", "/g/{x}"));
    }
}
