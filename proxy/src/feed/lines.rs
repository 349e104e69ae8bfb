//! What a line of the change feed says: one JSON object with one member, checked as a whole before anything of it is applied.
//!
//! Must not know where lines come from, nor what becomes of them: that is `client.rs`.

use std::borrow::Cow;

use caching::{
    ledger::Horizon,
    version::{Position, Snapshot, Timeline, Xid},
};
use serde::Deserialize;

use super::Source;

/// Longer ones are not read.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;
/// Of one event. Whoever tells of more names tables.
const MAX_TAGS: usize = 10_000;
/// A system identifier is a number of 64 bits.
const MAX_SYSTEM_DIGITS: usize = 20;
/// What somebody wants to be read in a log.
const MAX_WHY_BYTES: usize = 200;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'l> {
    Begin {
        source: Source,
        horizon: Horizon,
        is_resumed: bool,
    },
    /// Several transactions where nobody knows in which order they were committed.
    Commit {
        xids: Vec<Xid>,
        end: Position,
        tags: Vec<Cow<'l, str>>,
    },
    At {
        position: Position,
        shown: Option<Snapshot>,
    },
    Lost {
        why: String,
    },
}

/// Why a line says nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0} is malformed")]
    Value(&'static str),
    #[error("a transaction with more than {MAX_TAGS} tags")]
    TooManyTags,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Written<'l> {
    Begin {
        #[serde(borrow)]
        system: Cow<'l, str>,
        timeline: u32,
        position: Cow<'l, str>,
        xid: Cow<'l, str>,
        #[serde(default, borrow)]
        account: Option<Cow<'l, str>>,
        #[serde(default)]
        resumed: bool,
    },
    Commit {
        #[serde(borrow)]
        xid: Cow<'l, str>,
        #[serde(default)]
        also: Vec<Text<'l>>,
        end: Cow<'l, str>,
        tags: Vec<Text<'l>>,
    },
    At {
        #[serde(borrow)]
        position: Cow<'l, str>,
        #[serde(default)]
        snapshot: Option<Cow<'l, str>>,
    },
    Lost {
        #[serde(default, borrow)]
        why: Cow<'l, str>,
    },
}

/// Borrowed from the line, if it has no escapes.
#[derive(Deserialize)]
struct Text<'l>(#[serde(borrow)] Cow<'l, str>);

impl<'l> Line<'l> {
    pub(super) fn parse(line: &'l [u8]) -> Result<Line<'l>, Malformed> {
        let position = |text: &str| Position::parse(text).ok_or(Malformed::Value("a position"));
        Ok(match serde_json::from_slice(line)? {
            Written::Begin { system, timeline, position: at, xid, account, resumed } => {
                let is_system = (1..=MAX_SYSTEM_DIGITS).contains(&system.len()) && is_digits(&system);
                if !is_system {
                    return Err(Malformed::Value("the system identifier"));
                }
                let timeline = Timeline::new(timeline).ok_or(Malformed::Value("the timeline"))?;
                let account = account.map_or(Some(0), |name| Source::account_of(&name));
                let account = account.ok_or(Malformed::Value("the account"))?;
                Line::Begin {
                    source: Source { system: system.into(), timeline, account },
                    horizon: Horizon { position: position(&at)?, xid: self::xid(&xid)? },
                    is_resumed: resumed,
                }
            }
            Written::Commit { xid, also, end, tags } => {
                if tags.len() > MAX_TAGS {
                    return Err(Malformed::TooManyTags);
                }
                let xids = [&xid].into_iter().chain(also.iter().map(|Text(xid)| xid));
                let xids = xids.map(|xid| self::xid(xid)).collect::<Result<_, _>>()?;
                let tags = tags.into_iter().map(|Text(tag)| tag).collect();
                Line::Commit { xids, end: position(&end)?, tags }
            }
            Written::At { position: at, snapshot } => {
                let shown = |text: Cow<'_, str>| Snapshot::parse(&text).ok_or(Malformed::Value("a snapshot"));
                Line::At { position: position(&at)?, shown: snapshot.map(shown).transpose()? }
            }
            Written::Lost { why } => Line::Lost { why: readable(&why) },
        })
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn xid(text: &str) -> Result<Xid, Malformed> {
    let number = if is_digits(text) { text.parse().ok() } else { None };
    number.map(Xid::new).ok_or(Malformed::Value("a transaction number"))
}

fn readable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_WHY_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(number: u64) -> Position {
        Position::new(number)
    }

    #[test]
    fn lines_are_read() {
        let begin =
            br#"{"begin":{"system":"7301","timeline":2,"position":"0/10","xid":"738","resumed":true}}"#;
        let timeline = Timeline::new(2).expect("two is a timeline");
        let source = Source { system: "7301".into(), timeline, account: 0 };
        let horizon = Horizon { position: position(16), xid: Xid::new(738) };
        let read = Line::Begin { source: source.clone(), horizon, is_resumed: true };
        assert_eq!(Line::parse(begin).unwrap(), read);
        let begin =
            br#"{"begin":{"system":"7301","timeline":2,"position":"0/10","xid":"738","account":"1f"}}"#;
        let source = Source { account: 31, ..source };
        assert_eq!(Line::parse(begin).unwrap(), Line::Begin { source, horizon, is_resumed: false });
        let commit = br#"{"commit":{"xid":"738","end":"0/20","tags":["a:5","t\u0061ble:a"]}}"#;
        let tags = vec!["a:5".into(), "table:a".into()];
        assert_eq!(
            Line::parse(commit).unwrap(),
            Line::Commit { xids: vec![Xid::new(738)], end: position(32), tags }
        );
        let several = br#"{"commit":{"xid":"738","also":["736","737"],"end":"0/20","tags":[]}}"#;
        let xids = [738, 736, 737].map(Xid::new).to_vec();
        assert_eq!(Line::parse(several).unwrap(), Line::Commit { xids, end: position(32), tags: vec![] });
        let at = br#"{"at":{"position":"1/0","snapshot":"738:741:738"}}"#;
        let shown = Snapshot::parse("738:741:738");
        assert_eq!(Line::parse(at).unwrap(), Line::At { position: position(1 << 32), shown });
        assert!(matches!(Line::parse(br#"{"at":{"position":"1/0"}}"#), Ok(Line::At { shown: None, .. })));
        let why = Line::Lost { why: "slot gone".to_owned() };
        assert_eq!(Line::parse(b"{\"lost\":{\"why\":\"slot\\n gone\"}}").unwrap(), why);
    }

    #[test]
    fn what_is_no_line_says_nothing() {
        for line in [
            "",
            "{}",
            "null",
            "{\"at\":{}}",
            "{\"at\":{\"position\":\"1\"}}",
            "{\"at\":{\"position\":\"0/1\",\"snapshot\":\"2:1:\"}}",
            "{\"at\":{\"position\":\"0/1\"},\"lost\":{}}",
            "{\"at\":{\"position\":\"0/1\"}} {}",
            "{\"new\":{}}",
            "{\"commit\":{\"xid\":\"1\",\"end\":\"0/1\"}}",
            "{\"commit\":{\"xid\":\"+1\",\"end\":\"0/1\",\"tags\":[]}}",
            "{\"commit\":{\"xid\":\"99999999999999999999\",\"end\":\"0/1\",\"tags\":[]}}",
            "{\"commit\":{\"xid\":\"1\",\"end\":\"0/1\",\"tags\":[1]}}",
            "{\"commit\":{\"xid\":\"1\",\"also\":[\"x\"],\"end\":\"0/1\",\"tags\":[]}}",
            "{\"begin\":{\"system\":\"x\",\"timeline\":1,\"position\":\"0/1\",\"xid\":\"1\"}}",
            "{\"begin\":{\"system\":\"1\",\"timeline\":1,\"position\":\"0/1\",\"xid\":\"1\",\"account\":\"0\"}}",
            "{\"begin\":{\"system\":\"1\",\"timeline\":1,\"position\":\"0/1\",\"xid\":\"1\",\"account\":\"+1\"}}",
            "{\"begin\":{\"system\":\"1\",\"timeline\":0,\"position\":\"0/1\",\"xid\":\"1\"}}",
            "{\"begin\":{\"system\":\"1\",\"timeline\":-1,\"position\":\"0/1\",\"xid\":\"1\"}}",
        ] {
            assert!(Line::parse(line.as_bytes()).is_err(), "{line}");
        }
        let tags = vec!["\"t\""; MAX_TAGS + 1].join(",");
        let line = format!("{{\"commit\":{{\"xid\":\"1\",\"end\":\"0/1\",\"tags\":[{tags}]}}}}");
        assert!(matches!(Line::parse(line.as_bytes()), Err(Malformed::TooManyTags)));
    }
}
