//! Times as they are written in settings.

use std::time::Duration;

use crate::{
    json::{Json, quoted},
    settings::{Fault, Range, Setting},
};

/// Seconds, or a number and a unit as in the rest of the configuration: `5` or `"5s"`; `ms`, `s`, `m`, `h`, `d`, `w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(pub Duration);

impl Setting for Ttl {
    fn schema(out: &mut String, _: Range) {
        out.push_str("\"type\":[\"integer\",\"string\"],\"minimum\":0,\"maximum\":4294967295");
    }

    fn read(value: &Json, range: Range) -> Result<Self, Fault> {
        let Json::Text(text) = value else {
            return u32::read(value, range).map(|seconds| Self(Duration::from_secs(seconds.into())));
        };
        let time = parse(text).map(Self);
        time.ok_or_else(|| Fault::new(quoted(text) + " is not a time such as \"5s\""))
    }
}

fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    // 32 bits of any unit are far from where Duration ends.
    let number = u64::from(number.parse::<u32>().ok()?);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        "h" => Some(Duration::from_secs(number * 3_600)),
        "d" => Some(Duration::from_secs(number * 86_400)),
        "w" => Some(Duration::from_secs(number * 604_800)),
        _ => None,
    }
}
