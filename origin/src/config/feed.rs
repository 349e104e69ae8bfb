//! `[feed]`: the change feed, which tells proxies what was changed. Without the section there is none.
//!
//! ```toml
//! [feed]
//! source = "replication"           # or "triggers", where there is no logical replication
//! publication = "larder"           # made by `larder-origin feed setup`
//! slot = "temporary"               # or the name of one that stays: it keeps WAL while nobody reads it
//! token_file = "feed.token"        # who may listen; needed unless `listen` is for this machine alone
//! max_rows = 1000                  # of one table in one transaction; beyond, the table is told
//! ring_events = 65536              # what those who come back may have missed
//! ring_mib = 64
//!
//! [feed.tables]                    # beside what the query files say
//! orders = ["order:{id}", "customer:{customer_id.public_id}:orders"]
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::section::{Section, Value};
use crate::catalogue::{Mapping, RowTemplate, is_table};

const DEFAULT_PUBLICATION: &str = "larder";
const TEMPORARY: &str = "temporary";
const DEFAULT_MAX_ROWS: usize = 1_000;
/// A commit has ten thousand tags at most.
const MOST_ROWS: usize = 10_000;
const DEFAULT_RING_EVENTS: usize = 65_536;
const DEFAULT_RING_MIB: usize = 64;
const MAX_TABLES: usize = 1_000;
/// As the proxy has it for its own.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=1024;

#[derive(Debug, Clone)]
pub(crate) struct FeedConfig {
    pub(crate) source: FeedSource,
    pub(crate) publication: String,
    /// `None`: one that ends with its connection.
    pub(crate) slot: Option<String>,
    pub(crate) token: Option<Token>,
    pub(crate) max_rows: usize,
    pub(crate) ring_events: usize,
    pub(crate) ring_bytes: usize,
    pub(crate) tables: Mapping,
}

/// What tells of changes in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FeedSource {
    Replication,
    Triggers,
}

impl FromStr for FeedSource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "replication" => Ok(Self::Replication),
            "triggers" => Ok(Self::Triggers),
            _ => Err("is \"replication\" or \"triggers\""),
        }
    }
}

/// Who has it may listen. No log shows it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Box<str>);

impl Token {
    /// The time that it takes tells how long the token is, and nothing more.
    pub(crate) fn matches(&self, offered: &[u8]) -> bool {
        let token = self.0.as_bytes();
        let difference = token.iter().zip(offered).fold(0, |sum, (one, other)| sum | (one ^ other));
        token.len() == offered.len() && std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl FromStr for Token {
    type Err = String;

    /// White space around it is cut off: files end with a line break. Never repeats the text.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !TOKEN_BYTES.contains(&text.len()) {
            return Err(format!(
                "a token has {} to {} characters, this has {}; make one with: openssl rand -base64 32",
                TOKEN_BYTES.start(),
                TOKEN_BYTES.end(),
                text.len()
            ));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token has visible ASCII characters only, no spaces".to_owned());
        }
        Ok(Self(text.into()))
    }
}

pub(super) fn read(mut section: Section<'_>, path: &Path) -> Option<FeedConfig> {
    let source = match section.get("source") {
        None => Some(FeedSource::Replication),
        Some(value) => value.parse("\"replication\" or \"triggers\""),
    };
    let is_by_triggers = source == Some(FeedSource::Triggers);
    let publication = match section.get("publication") {
        Some(value) if is_by_triggers => {
            value.fault("is of no use with triggers: take it out");
            None
        }
        None => Some(DEFAULT_PUBLICATION.to_owned()),
        Some(value) => value.string("\"larder\"").and_then(|name| {
            let is_good = (1..=63).contains(&name.len()) && !name.contains(char::is_control);
            if !is_good {
                value.fault("the name of a publication has 1 to 63 bytes");
            }
            is_good.then(|| name.to_owned())
        }),
    };
    let slot = match section.get("slot") {
        Some(value) if is_by_triggers => {
            value.fault("is of no use with triggers: take it out");
            None
        }
        None => Some(None),
        Some(value) => value.string("\"temporary\", or a name such as \"larder_1\"").and_then(|name| {
            let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if name == TEMPORARY {
                Some(None)
            } else if (1..=63).contains(&name.len()) && name.bytes().all(is_good) {
                Some(Some(name.to_owned()))
            } else {
                value.fault("is \"temporary\", or a name of lower case letters, digits and underscores");
                None
            }
        }),
    };
    let token = token(&mut section, path);
    let mut count = |key: &'static str, default: usize, range| {
        section.get(key).map_or(Some(default), |value| value.count(range))
    };
    let max_rows = count("max_rows", DEFAULT_MAX_ROWS, 1..=MOST_ROWS);
    let ring_events = count("ring_events", DEFAULT_RING_EVENTS, 1..=10_000_000);
    let ring_mib = count("ring_mib", DEFAULT_RING_MIB, 1..=65_536);
    let tables = match section.get("tables") {
        None => Some(Mapping::new()),
        Some(value) => value.section().and_then(tables),
    };
    section.finish();
    Some(FeedConfig {
        source: source?,
        publication: publication?,
        slot: slot?,
        token: token?,
        max_rows: max_rows?,
        ring_events: ring_events?,
        ring_bytes: ring_mib? * 1024 * 1024,
        tables: tables?,
    })
}

fn token(section: &mut Section<'_>, path: &Path) -> Option<Option<Token>> {
    let (token, file) = (section.get("token"), section.get("token_file"));
    match (token, file) {
        (Some(_), Some(file)) => {
            file.fault("there is a token already");
            None
        }
        (Some(token), None) => token.parse("what `openssl rand -base64 32` says").map(Some),
        (None, Some(file)) => {
            let name = path.parent().unwrap_or(Path::new("")).join(file.string("\"feed.token\"")?);
            let read = read_token(&name).map_err(|why| file.fault(format!("{}: {why}", name.display())));
            read.ok().map(Some)
        }
        (None, None) => Some(None),
    }
}

fn read_token(file: &PathBuf) -> Result<Token, String> {
    let length = std::fs::metadata(file).map_err(|e| e.to_string())?.len();
    // With room for white space.
    if length > 2 * 1024 {
        return Err(format!("has {length} bytes, too many for a token"));
    }
    std::fs::read_to_string(file).map_err(|e| e.to_string())?.parse()
}

/// Each key is a table.
fn tables(section: Section<'_>) -> Option<Mapping> {
    let mut tables = Mapping::new();
    let mut is_good = true;
    let all = section.entries();
    if let Some((_, value)) = all.get(MAX_TABLES) {
        value.fault(format!("more than {MAX_TABLES} tables"));
        return None;
    }
    for (name, value) in all {
        if !is_table(name) {
            value.fault("is no name of a table, such as teams or audit.log");
            is_good = false;
            continue;
        }
        let templates = value.list().map(|list| {
            let template = |item: &Value<'_>| {
                let parsed = RowTemplate::parse(item.string("\"order:{id}\"")?);
                parsed.map_err(|(_, why)| item.fault(why)).ok()
            };
            let parsed: Vec<Option<RowTemplate>> = list.iter().map(template).collect();
            parsed.into_iter().collect::<Option<Vec<_>>>()
        });
        match templates.flatten() {
            Some(templates) => drop(tables.insert(name.to_owned(), templates)),
            None => is_good = false,
        }
    }
    is_good.then_some(tables)
}
