//! The settings as they are written in the configuration; `settings.schema.json` says the same to the host.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};

/// Every one of them may be left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The request header field with the tenant.
    #[serde(default = "header")]
    pub(crate) header: String,
    /// The languages the application answers in. None: the language does not matter.
    #[serde(default)]
    pub(crate) languages: Vec<String>,
    /// By tenant: how long its responses are kept.
    #[serde(default)]
    pub(crate) ttl: BTreeMap<String, Ttl>,
}

/// Seconds, or a number and a unit as in the rest of the configuration: `5` or `"5s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ttl(pub(crate) Duration);

fn header() -> String {
    "x-tenant".to_owned()
}

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
                .ok_or_else(|| D::Error::custom(format!("ttl: {text:?} is not a time such as \"5s\""))),
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
