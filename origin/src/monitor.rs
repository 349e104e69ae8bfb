//! Takes the readings that `status.rs` makes figures of, and hands on the news of alerts. Beside the workers, on the runtime of
//! `main.rs`: requests do not know of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::Client;
use tracing::{debug, error, info, warn};

use crate::alerts::webhook::{self, Webhook};
use crate::alerts::{Change, Severity};
use crate::clock;
use crate::config::{Config, HttpUrl, Purpose};
use crate::database::Target;
use crate::error::chain;
use crate::serve::Shared;
use crate::status::ProxyCounts;
use crate::status::statistics::ServerCounts;

/// Servers and the proxy are asked at every third tick: their counters are not worth more.
const TICKS_PER_QUESTION: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(5);

/// Never returns; ends with whoever polls it.
pub(crate) async fn run(config: Config, shared: Arc<Shared>) {
    let webhook =
        config.monitoring.webhook.clone().map(|url| Webhook::start(url, config.monitoring.webhook_timeout));
    if let Some(webhook) = &webhook {
        shared.status.set_webhook(webhook.counts().clone());
    }
    let pause = shared.status.interval() * TICKS_PER_QUESTION;
    for (index, target) in shared.targets.iter().enumerate() {
        tokio::spawn(watch_server(index, target.clone(), config.clone(), shared.clone(), pause));
    }
    if let Some(url) = config.monitoring.proxy.clone() {
        tokio::spawn(watch_proxy(url.with_path("/api/status"), shared.clone(), pause));
    }
    let mut ticks = interval(shared.status.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let pools = shared.pools();
        for change in shared.status.tick(shared.metrics.now(), &shared.metrics, &pools) {
            say(&change);
            if let Some(webhook) = &webhook {
                webhook.send(change.document(clock::unix_time()).to_string());
            }
        }
    }
}

fn say(change: &Change) {
    let (alert, message) = (change.kind.name(), change.message());
    match (change.is_raised, change.kind.severity()) {
        (false, _) => info!(alert, "alert cleared: {message}"),
        (true, Severity::Warning) => warn!(alert, "alert raised: {message}"),
        (true, Severity::Critical) => error!(alert, "alert raised: {message}"),
    }
}

async fn watch_server(
    index: usize,
    target: Arc<Target>,
    config: Config,
    shared: Arc<Shared>,
    pause: Duration,
) {
    let mut connected: Option<Client> = None;
    loop {
        let read = async {
            let client = match connected.take() {
                Some(client) => client,
                // Ends with the client.
                None => target.open(Purpose::Reads(PATIENCE), config.database.connect_timeout).await?.client,
            };
            let counts = ServerCounts::read(&client).await?;
            Ok::<_, tokio_postgres::Error>((counts, client))
        };
        let counts = match timeout(PATIENCE, read).await {
            Ok(Ok((counts, still))) => {
                connected = Some(still);
                Some(counts)
            }
            // That a server is gone is said by those who serve from it.
            Ok(Err(e)) => {
                debug!(server.name = %target.name, "no statistics of {}: {}", target.name, chain(&e));
                None
            }
            Err(_) => None,
        };
        shared.status.read_server(shared.metrics.now(), index, counts);
        sleep(pause).await;
    }
}

async fn watch_proxy(url: HttpUrl, shared: Arc<Shared>, pause: Duration) {
    let mut has_said = false;
    loop {
        let counts = match webhook::call(&url, Method::GET, Bytes::new(), PATIENCE).await {
            Ok(body) => proxy_counts(&body).ok_or_else(|| "answers something else".to_owned()),
            Err(e) => Err(chain(&e)),
        };
        if let Err(why) = &counts {
            // Once: without it one figure is missing, and nothing else.
            if !has_said {
                has_said = true;
                warn!(
                    "the proxy's status at {url} cannot be read, so its cache hit rate is not known: {why}"
                );
            }
        }
        shared.status.read_proxy(shared.metrics.now(), counts.ok());
        sleep(pause).await;
    }
}

fn proxy_counts(body: &[u8]) -> Option<ProxyCounts> {
    let status: Value = serde_json::from_slice(body).ok()?;
    Some(ProxyCounts { hits: status["hits"].as_u64()?, requests: status["requests"].as_u64()? })
}
