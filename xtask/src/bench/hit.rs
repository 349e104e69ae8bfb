//! `cargo xtask bench hit`: what a hit costs. Larder, a bare hyper server that sends the very bytes Larder sends, and nginx
//! with `proxy_cache`, plain and tuned, each with one worker on the same core; wrk on the other core. And Larder again with what a
//! change feed adds to a hit: four tags that are compared with what the feed has told.

use std::{net::SocketAddr, process::ExitCode, thread, time::Duration};

use rig::programs::{self, Profile};

use super::{
    load::ensure,
    quiet_feed,
    rounds::{Peer, Rounds, measure},
    servers::{BODY_BYTES, Folder, Nginx, start_bare_hyper, start_larder, start_nginx, start_upstream, warm},
};
use crate::Error;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    rounds: Rounds,
}

const SECONDS: u32 = 4;
const TAGGED: &str = r#"[feed]
servers = ["http://FEED"]

[[route]]
name = "all"
upstream = "bench"
tags = ["one", "two", "three", "four"]
"#;

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    ensure("wrk", "wrk")?;
    programs::build(Profile::Release, &["--package", "larder", "--package", "bench_peers", "--bins"])?;
    let (folder, memory) = (Folder::create()?, Folder::in_memory()?);

    let upstream = start_upstream()?;
    let larder = start_larder(&folder.0, "larder", upstream, "")?;
    let hit = warm(larder, &[])?;
    let status = hit.field("cache-status").unwrap_or_default();
    if !status.starts_with("larder; hit") || hit.body.len() != BODY_BYTES {
        return Err(format!("Larder answers with `{status}` and {} bytes", hit.body.len()).into());
    }
    // The bare server sends what Larder sends, field by field; hyper itself adds length and date to both.
    let fields: Vec<_> =
        hit.fields.into_iter().filter(|(name, _)| name != "content-length" && name != "date").collect();
    let bare = start_bare_hyper("bare hyper", &fields, true)?;
    warm(bare, &[])?;
    let feed = quiet_feed::start()?;
    let tagged =
        start_larder(&folder.0, "larder 4 tags", upstream, &TAGGED.replace("FEED", &feed.to_string()))?;
    until_hit(tagged)?;
    let mut peers =
        vec![Peer::new("larder", larder), Peer::new("bare hyper", bare), Peer::new("larder 4 tags", tagged)];
    for (name, tuned) in [("nginx", None), ("nginx tuned", Some(memory.0.as_path()))] {
        match start_nginx(&folder.0, Nginx { name, tuned, ..Nginx::default() }, upstream) {
            Ok(nginx) => {
                let hit = warm(nginx, &[])?;
                if hit.field("x-cache") != Some("HIT") {
                    return Err(format!("nginx does not answer from its cache: {:?}", hit.fields).into());
                }
                peers.push(Peer::new(name, nginx));
            }
            Err(error) => println!("without {name}: {error}"),
        }
    }

    measure(&mut peers, &options.rounds, SECONDS, &[])?;
    print_table(&peers);
    Ok(ExitCode::SUCCESS)
}

/// Nothing is stored before the feed has been told for the settle time.
#[expect(clippy::disallowed_methods, reason = "asks again for a while")]
fn until_hit(larder: SocketAddr) -> Result<(), Error> {
    for _ in 0..100 {
        let answer = warm(larder, &[])?;
        if answer.field("cache-status").is_some_and(|status| status.starts_with("larder; hit")) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err("nothing is stored with tags".into())
}

fn print_table(peers: &[Peer]) {
    let Some(larder) = peers.first() else { return };
    println!("\n{:14} {:>12} {:>10}   larder / it (median of rounds)", "", "requests/s", "p99 us");
    for peer in peers {
        println!(
            "{:14} {:>12.0} {:>10.0}   {:.2}",
            peer.name,
            peer.requests_per_s(),
            peer.p99_us(),
            larder.ratio_to(peer)
        );
    }
}
