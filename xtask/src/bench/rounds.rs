//! Rounds that alternate between the servers of a comparison, and the ratios of what they measured.

use std::net::SocketAddr;

use super::{
    load::{Measured, median, wrk},
    servers::TARGET,
};
use crate::Error;

/// How long, and how much.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Rounds {
    /// Rounds of each server; they alternate
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) rounds: u32,
    /// Length of one round; what a benchmark needs unless it is said
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: Option<u32>,
    /// Connections of the load, each with one request at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
}

/// A server and its rounds.
pub(super) struct Peer {
    pub(super) name: &'static str,
    address: SocketAddr,
    rounds: Vec<Measured>,
}

impl Peer {
    pub(super) fn new(name: &'static str, address: SocketAddr) -> Peer {
        Peer { name, address, rounds: Vec::new() }
    }

    pub(super) fn requests_per_s(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.requests_per_s).collect())
    }

    pub(super) fn p99_us(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.p99_us).collect())
    }

    /// Requests of this one for one of the other: the median of the rounds.
    pub(super) fn ratio_to(&self, other: &Peer) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median(pairs.map(|(own, its)| own.requests_per_s / its.requests_per_s).collect())
    }
}

/// All rounds of all peers, of `seconds` unless they are said; the load sends these fields.
pub(super) fn measure(
    peers: &mut [Peer],
    rounds: &Rounds,
    seconds: u32,
    fields: &[(&str, &str)],
) -> Result<(), Error> {
    let seconds = rounds.seconds.unwrap_or(seconds);
    let load = |peer: &Peer, seconds| {
        wrk(&format!("http://{}{TARGET}", peer.address), fields, rounds.connections, seconds)
    };
    // One that is not counted: caches of the processor, branch predictors, the kernel's own tables.
    for peer in &*peers {
        load(peer, 1)?;
    }
    let width = peers.iter().map(|peer| peer.name.len()).max().unwrap_or_default();
    let count = peers.len();
    for round in 0..rounds.rounds {
        for turn in 0..count {
            // Each round begins with another one.
            let peer = &mut peers[(turn + round as usize) % count];
            let measured = load(peer, seconds)?;
            println!(
                "round {:2}  {:width$} {:>9.0} requests/s   p99 {:>7.0} us",
                round + 1,
                peer.name,
                measured.requests_per_s,
                measured.p99_us
            );
            peer.rounds.push(measured);
        }
    }
    Ok(())
}
