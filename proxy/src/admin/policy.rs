//! Policies, as an operator sees them: which serve where and how they do, and how one is replaced.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use hyper::body::Incoming;
use serde::Serialize;
use tokio::sync::OwnedMutexGuard;

use super::{Refused, bad, collect};
use crate::{
    deploy::{self, DeployError, Deployed, Place},
    live::{MAX_COMPONENT_BYTES, Proxy},
    observe::metrics::{PolicyCounts, policy_counts},
    reload::Reloader,
};

/// For as many bytes as a component may have.
const COMPONENT_TIMEOUT: Duration = Duration::from_secs(60);

/// One policy in its place.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    route: String,
    /// `name@version`.
    policy: String,
    component: PathBuf,
    /// Another number for another component or other settings.
    generation: u64,
    /// The version of `larder:policy` that it was built for.
    contract: &'static str,
    on_fault: &'static str,
    /// `in`, or `out` for a while, since it keeps failing.
    state: &'static str,
    #[serde(flatten)]
    counts: PolicyCounts,
}

/// All of them, in the order in which they are asked.
pub(super) fn list(proxy: &Proxy) -> Vec<Listed> {
    let (live, workers, now_ms) = (proxy.live(), proxy.worker_metrics(), proxy.clock.now().as_ms());
    let mut listed = Vec::new();
    for (route, chain) in live.config.routes.iter().zip(&live.chains) {
        for link in &chain.links {
            let policy = &link.live.policy;
            listed.push(Listed {
                route: route.name.to_string(),
                policy: policy.label().to_string(),
                component: link.component.clone(),
                generation: link.live.generation,
                contract: policy.contract_version(),
                on_fault: link.on_fault.as_str(),
                state: if link.live.health.breaker.is_open(now_ms) { "out" } else { "in" },
                counts: policy_counts(&workers, route.name.as_str(), &link.marker),
            });
        }
    }
    listed
}

/// Route and name of each, and whether it is taken out.
pub(super) fn out(proxy: &Proxy) -> Vec<(Box<str>, Box<str>, bool)> {
    let (live, now_ms) = (proxy.live(), proxy.clock.now().as_ms());
    let mut all: Vec<(Box<str>, Box<str>, bool)> = Vec::new();
    for (route, chain) in live.config.routes.iter().zip(&live.chains) {
        for link in &chain.links {
            let (route, name) = (route.name.as_str(), &*link.marker);
            let is_out = link.live.health.breaker.is_open(now_ms);
            // One sample for each pair of labels, however often a policy is in a row.
            match all.iter_mut().find(|(known, of, _)| **known == *route && **of == *name) {
                Some((_, _, any)) => *any |= is_out,
                None => all.push((route.into(), name.into(), is_out)),
            }
        }
    }
    all
}

pub(super) async fn deploy(
    reloader: &Arc<Reloader>,
    query: Option<&str>,
    body: Incoming,
) -> Result<Deployed, Refused> {
    let wanted = Wanted::of(query)?;
    let Ok(one_at_a_time) = Arc::clone(&reloader.deploying).try_lock_owned() else {
        let why = "another component is being deployed; try again\n".to_owned();
        return Err((StatusCode::SERVICE_UNAVAILABLE, why));
    };
    let limit_bytes = usize::try_from(MAX_COMPONENT_BYTES).unwrap_or(usize::MAX);
    let wasm = collect(body, limit_bytes, COMPONENT_TIMEOUT).await?;
    put_to_use(reloader, one_at_a_time, wanted, wasm).await
}

async fn put_to_use(
    reloader: &Arc<Reloader>,
    one_at_a_time: OwnedMutexGuard<()>,
    wanted: Wanted,
    wasm: Bytes,
) -> Result<Deployed, Refused> {
    let replace = move |reloader: &Reloader| {
        // A client that goes away leaves this to its end, and the next one has to wait for it.
        let _one_at_a_time = one_at_a_time;
        deploy::deploy(reloader, wanted.place(), &wasm)
    };
    apart(reloader, replace).await
}

pub(super) async fn roll_back(reloader: &Arc<Reloader>, query: Option<&str>) -> Result<Deployed, Refused> {
    let wanted = Wanted::of(query)?;
    apart(reloader, move |reloader| deploy::roll_back(reloader, wanted.place())).await
}

/// Where it may take its time.
async fn apart(
    reloader: &Arc<Reloader>,
    replace: impl FnOnce(&Reloader) -> Result<Deployed, DeployError> + Send + 'static,
) -> Result<Deployed, Refused> {
    let reloader = Arc::clone(reloader);
    match tokio::task::spawn_blocking(move || replace(&reloader)).await {
        Ok(Ok(deployed)) => Ok(deployed),
        Ok(Err(why)) => {
            tracing::warn!("not deployed: {why}");
            Err((StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n")))
        }
        Err(_) => Err((StatusCode::INTERNAL_SERVER_ERROR, "it panicked\n".to_owned())),
    }
}

struct Wanted {
    route: String,
    name: Option<String>,
}

impl Wanted {
    /// Neither names of routes nor of policies need an encoding.
    fn of(query: Option<&str>) -> Result<Wanted, Refused> {
        let (mut route, mut name) = (None, None);
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("route", value)) => route = Some(value.to_owned()),
                Some(("name", value)) => name = Some(value.to_owned()),
                _ => return Err(bad(format!("{pair:?} is neither route=NAME nor name=NAME"))),
            }
        }
        match route {
            Some(route) => Ok(Wanted { route, name }),
            None => Err(bad("say which route, as in ?route=users".to_owned())),
        }
    }

    fn place(&self) -> Place<'_> {
        Place { route: &self.route, name: self.name.as_deref() }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;
    use crate::reload::tests::{Folder, reloader};

    #[tokio::test]
    async fn a_component_keeps_its_place_when_its_client_is_gone() {
        let folder = Folder::new();
        let reloader = Arc::new(reloader(&folder));
        // A reload is under way, so that this one cannot come to its end.
        let turn = reloader.turn();
        let place = Arc::clone(&reloader.deploying).try_lock_owned().unwrap();
        let wanted = Wanted::of(Some("route=all")).unwrap();
        let mut deploying = Box::pin(put_to_use(&reloader, place, wanted, Bytes::from_static(b"\0asm")));
        let is_over =
            std::future::poll_fn(|context| Poll::Ready(deploying.as_mut().poll(context).is_ready()));
        assert!(!is_over.await);
        drop(deploying);
        assert!(reloader.deploying.try_lock().is_err());
        drop(turn);
        let free = tokio::time::timeout(Duration::from_secs(30), reloader.deploying.lock()).await;
        assert!(free.is_ok());
    }
}
