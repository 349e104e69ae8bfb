//! How full the connections to each server are.

use std::sync::Arc;
use std::time::Duration;

use crate::database::{Database, LaneKind, Role};

/// The connections to one server, of all workers and kinds.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) server: Arc<str>,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    /// Statements that all its connections together take at once.
    pub(crate) limit: usize,
    /// Of a replica.
    pub(crate) lag: Option<Duration>,
}

impl Pool {
    /// All of a worker's databases, in the order of their servers.
    pub(crate) fn all<'d>(databases: impl Iterator<Item = &'d Database> + Clone) -> Vec<Self> {
        let Some(first) = databases.clone().next() else { return Vec::new() };
        let servers = first.servers.iter().enumerate();
        let pool = |(index, server): (usize, &crate::database::Server)| {
            let mut pool =
                Self { server: server.name.clone(), connections: 0, in_flight: 0, limit: 0, lag: None };
            for server in databases.clone().filter_map(|database| database.servers.get(index)) {
                for kind in LaneKind::ALL {
                    let own = server.pool(kind);
                    pool.connections += own.connections;
                    pool.in_flight += own.in_flight;
                    pool.limit += own.limit;
                }
                if server.target.role() == Some(Role::Replica) {
                    pool.lag = pool.lag.max(Some(server.target.lag()));
                }
            }
            pool
        };
        servers.map(pool).collect()
    }

    /// In percent; `None` without a connection.
    pub(crate) fn utilization(&self) -> Option<f64> {
        (self.limit > 0).then(|| self.in_flight as f64 * 100.0 / self.limit as f64)
    }
}

/// Of the replica furthest behind.
pub(crate) fn lag(pools: &[Pool]) -> Option<Duration> {
    pools.iter().filter_map(|pool| pool.lag).max()
}

pub(crate) fn servers_down(pools: &[Pool]) -> usize {
    let is_down =
        |name: &str| pools.iter().filter(|pool| &*pool.server == name).all(|pool| pool.connections == 0);
    let mut names: Vec<&str> = pools.iter().map(|pool| &*pool.server).collect();
    names.dedup();
    names.into_iter().filter(|name| is_down(name)).count()
}
