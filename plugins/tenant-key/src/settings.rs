//! The settings as they are written in the configuration; `settings.schema.json` says the same to the host.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The request header field with the tenant.
    #[serde(default = "header")]
    pub(crate) header: String,
    /// The languages the application answers in. None: the language does not matter.
    #[serde(default)]
    pub(crate) languages: Vec<String>,
    #[serde(default)]
    pub(crate) short_ttl_tenants: Vec<String>,
    #[serde(default)]
    pub(crate) short_ttl: ShortTtl,
}

/// `5` or `"5s"`; also `ms`, `m`, `h`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ShortTtl(pub(crate) Duration);

/// Long enough to take a burst, short enough that nobody waits for a change.
const SHORT_TTL: Duration = Duration::from_secs(5);

fn header() -> String {
    "x-tenant".to_owned()
}

impl Default for ShortTtl {
    fn default() -> Self {
        Self(SHORT_TTL)
    }
}

impl<'de> Deserialize<'de> for ShortTtl {
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
                .ok_or_else(|| D::Error::custom(format!("short_ttl: {text:?} is not a time such as \"5s\""))),
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
        _ => None,
    }
}
