//! Which parameters of a query tell responses apart: what is left out of a target before it is keyed.
//!
//! By default all of them, in the order in which they are written. An operator who knows what the application reads
//! can have some dropped, and the order of the others made one. Must not know what the rest of the target is; the
//! caller removes a `?` that nothing follows. The result is what is keyed, and what is sent on as well: if the upstream
//! saw what the key does not hold, one link with `utm_source=<script>` could fill a page for everybody (web cache
//! poisoning by unkeyed input). Next: `key.rs`.

use std::fmt;

/// What is done to the query of a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryRules {
    /// Parameters are put in the order of their names; several of one name stay in theirs. Right only for an
    /// application to which parameters of different names are independent, and `a[]` and `a[0]` are different names.
    pub sort: bool,
    pub drop: Box<[ParameterPattern]>,
}

/// The name of a parameter, or how names begin: `gclid`, `utm_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterPattern {
    start: Box<str>,
    is_prefix: bool,
}

/// Why a text is no [`ParameterPattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MalformedPattern {
    /// Nothing, or a star alone: that would drop every parameter, and all pages of a path would be one.
    Empty,
    /// A star that is not the last character.
    StarInside,
    /// A character that separates or encodes parameters: names are written as they are after decoding.
    NotOfAName(char),
}

impl fmt::Display for MalformedPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MalformedPattern::Empty => f.write_str("no name"),
            MalformedPattern::StarInside => f.write_str("a star can only be the last character"),
            MalformedPattern::NotOfAName(found) => {
                write!(f, "`{}` cannot be part of a name", found.escape_default())
            }
        }
    }
}

impl std::error::Error for MalformedPattern {}

impl std::str::FromStr for ParameterPattern {
    type Err = MalformedPattern;

    fn from_str(text: &str) -> Result<ParameterPattern, MalformedPattern> {
        let (start, is_prefix) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        if start.is_empty() {
            return Err(MalformedPattern::Empty);
        }
        if start.contains('*') {
            return Err(MalformedPattern::StarInside);
        }
        let is_of_a_name = |c: &char| c.is_ascii_graphic() && !"&=#%+;".contains(*c);
        match start.chars().find(|c| !is_of_a_name(c)) {
            Some(found) => Err(MalformedPattern::NotOfAName(found)),
            None => Ok(ParameterPattern { start: start.into(), is_prefix }),
        }
    }
}

impl ParameterPattern {
    fn matches(&self, part: &str) -> bool {
        // Some servers take the semicolon for a separator. To those, a part that is dropped could hold a second
        // parameter, and whoever sends it would choose what is stored for everybody else (parameter cloaking).
        if part.contains(';') {
            return false;
        }
        let mut name = decoded_name(part);
        self.start.bytes().all(|byte| name.next() == Some(byte)) && (self.is_prefix || name.next().is_none())
    }
}

/// Parameters that say where a visitor came from and that scripts in the browser read, not servers. Each is put into
/// links by somebody else than the site, so without dropping them every link makes a stored response of its own.
pub const TRACKING: &[&str] = &[
    // Google: campaigns (support.google.com/analytics/answer/10917952), clicks on ads and in the shop
    // (support.google.com/google-ads/answer/9744275), from one domain to the next
    // (support.google.com/analytics/answer/10071811).
    "utm_*",
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "gad_source",
    "gad_campaignid",
    "srsltid",
    "_ga",
    "_gl",
    // Clicks on ads or links at Meta, Microsoft, X, TikTok, LinkedIn, Yandex, Pinterest, Reddit, Snapchat.
    "fbclid",
    "igshid",
    "msclkid",
    "twclid",
    "ttclid",
    "li_fat_id",
    "yclid",
    "ysclid",
    "_openstat",
    "epik",
    "rdt_cid",
    "ScCid",
    // Who got which mail: Mailchimp, HubSpot, Marketo, Vero, Drip, Omeda. These name a person, so that their place in
    // a key is a leak as well. Firefox removes most of them from links (`privacy.query_stripping.strip_list`).
    "mc_cid",
    "mc_eid",
    "_hsenc",
    "_hsmi",
    "__hssc",
    "__hstc",
    "__hsfp",
    "hsCtaTracking",
    "mkt_tok",
    "vero_id",
    "vero_conv",
    "__s",
    "oly_anon_id",
    "oly_enc_id",
    // Campaigns and clicks of Matomo, Wicked Reports, Branch.
    "mtm_*",
    "wickedid",
    "_branch_match_id",
];

/// The query without what is dropped, in order if it is to be sorted; `None` if that changes nothing, which costs no
/// allocation. Every part that stays is as it was written.
///
/// `&` alone separates. Names are compared after decoding, so that none hides behind its spelling. A part with a
/// semicolon is never dropped. Empty parts are left out where the query is sorted.
pub fn normalised(query: &str, rules: &QueryRules) -> Option<String> {
    if query.is_empty() || (!rules.sort && rules.drop.is_empty()) {
        return None;
    }
    let is_dropped = |part: &str| {
        (rules.sort && part.is_empty()) || rules.drop.iter().any(|pattern| pattern.matches(part))
    };
    let is_complete = !query.split('&').any(is_dropped);
    let is_sorted = !rules.sort || query.split('&').is_sorted_by(|a, b| decoded_name(a).le(decoded_name(b)));
    if is_complete && is_sorted {
        return None;
    }
    let mut parts: Vec<&str> = query.split('&').filter(|part| !is_dropped(part)).collect();
    if rules.sort {
        parts.sort_by(|a, b| decoded_name(a).cmp(decoded_name(b)));
    }
    Some(parts.join("&"))
}

/// Which parameters of a query stay, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those that are named.
    Named,
    /// All others.
    Others,
}

/// The query without what does not stay; `None` if all of it does. `names` are written as they are in queries; one that
/// ends in a star stands for all that begin so. Every part that stays is as it was written.
///
/// Names are compared after decoding, so that none hides behind its spelling. A part with a semicolon is never left out
/// by its name: see [`normalised`].
pub fn selected(query: &str, keep: Keep, names: &[impl AsRef<str>]) -> Option<String> {
    let is_named = |part: &str| names.iter().any(|name| is_called(part, name.as_ref()));
    let stays = |part: &str| match keep {
        Keep::Named => is_named(part),
        Keep::Others => part.contains(';') || !is_named(part),
    };
    if query.is_empty() || query.split('&').all(stays) {
        return None;
    }
    Some(query.split('&').filter(|part| stays(part)).collect::<Vec<_>>().join("&"))
}

fn is_called(part: &str, name: &str) -> bool {
    let mut found = decoded_name(part);
    match name.strip_suffix('*') {
        Some(start) => decoded_name(start).all(|byte| found.next() == Some(byte)),
        None => decoded_name(name).eq(found),
    }
}

/// The name of a parameter as an application reads it. A plus is a blank: `a+b` and `a%20b` are one name to those who
/// read forms, and must not change places.
fn decoded_name(part: &str) -> impl Iterator<Item = u8> {
    let mut rest = part.split('=').next().unwrap_or_default().as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = match *rest {
            [b'%', high, low, ref after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(high) * 16 + hex(low), after)
            }
            [b'+', ref after @ ..] => (b' ', after),
            [byte, ref after @ ..] => (byte, after),
            [] => return None,
        };
        rest = after;
        Some(byte)
    })
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}
