//! Times as they are written in settings.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

/// Seconds, or a number and a unit as in the rest of the configuration: `5` or `"5s"`; `ms`, `s`, `m`, `h`, `d`, `w`.
/// In a schema: `{ "type": ["integer", "string"], "minimum": 0, "maximum": 4294967295 }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(pub Duration);

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Seconds(u32),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Seconds(seconds) => Ok(Self(Duration::from_secs(seconds.into()))),
            Written::Text(text) => parse(&text)
                .map(Self)
                .ok_or_else(|| D::Error::custom(format!("{text:?} is not a time such as \"5s\""))),
        }
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
