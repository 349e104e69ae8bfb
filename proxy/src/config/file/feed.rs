//! The section `[feed]`: where the proxy is told what changes in the database, and what holds while nobody tells.

use std::path::Path;
use std::time::Duration;

use super::super::{Feed, OnLoss, SessionRules};
use super::{SECOND, SOME_TIME, Value, admin, duration, servers};

/// Eight heartbeats: a pause of the network is not taken for a loss, and few people look at a page for shorter.
const MAX_SILENCE: Duration = Duration::from_secs(2);
/// Far beyond the milliseconds that a commit takes to become visible on a primary. An upstream that reads from replicas needs what these lag.
const SETTLE: Duration = SECOND;
/// Any feed has told by then what was written, or is lost.
const SESSION_MAX_AGE: Duration = Duration::from_secs(60);
/// Ten times what a commit takes to be told; less than a person notices.
const SESSION_MAX_WAIT: Duration = Duration::from_millis(50);

/// One in a thousand, and no more than one each second.
const AUDIT: f32 = 0.001;

pub(super) fn feed(value: &Value<'_>, file: &Path) -> Option<Feed> {
    const SERVERS_EXAMPLE: &str = r#"servers = ["http://127.0.0.1:8081"]"#;
    let mut section = value.section()?;
    let mut feed = Feed {
        servers: Vec::new(),
        token: None,
        max_silence: MAX_SILENCE,
        on_loss: OnLoss::Stale,
        settle: SETTLE,
        audit: AUDIT,
        session: SessionRules { key: None, max_age: SESSION_MAX_AGE, max_wait: SESSION_MAX_WAIT },
    };
    if let Some(value) = section.require("servers", SERVERS_EXAMPLE) {
        servers(&value, &mut feed.servers);
    }
    (feed.token, _) = admin::token(&mut section, file);
    duration(
        &mut section,
        "max_silence",
        Duration::from_millis(500)..=*SOME_TIME.end(),
        &mut feed.max_silence,
    );
    duration(&mut section, "settle", Duration::ZERO..=*SOME_TIME.end(), &mut feed.settle);
    (feed.session.key, _) = admin::secret(&mut section, "session_key", "session_key_file", file);
    duration(&mut section, "session_max_age", SECOND..=Duration::from_secs(3600), &mut feed.session.max_age);
    duration(
        &mut section,
        "session_max_wait",
        Duration::ZERO..=Duration::from_secs(10),
        &mut feed.session.max_wait,
    );
    const WORDS: [(&str, OnLoss); 3] =
        [("stale", OnLoss::Stale), ("pass", OnLoss::Pass), ("ttl", OnLoss::Ttl)];
    if let Some(on_loss) = section.get("on_loss").and_then(|value| value.word(&WORDS)) {
        feed.on_loss = on_loss;
    }
    if let Some(share) = section.get("audit").and_then(|value| value.factor(1.0)) {
        feed.audit = share;
    }
    section.finish();
    Some(feed)
}
