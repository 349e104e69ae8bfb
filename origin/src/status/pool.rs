//! How full the connections to each server are, by their kind: a full lane of a few connections does not show among many others.

use std::sync::Arc;
use std::time::Duration;

use crate::database::{Database, LaneKind, Role};

/// The connections of one kind to one server, of all workers.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) server: Arc<str>,
    pub(crate) kind: LaneKind,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    /// Statements that all its connections together take at once.
    pub(crate) limit: usize,
    /// Of a replica.
    pub(crate) lag: Option<Duration>,
}

/// All pools, and who waits for them.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    /// In the order of the servers.
    pub(crate) all: Vec<Pool>,
    /// By kind: whoever waits takes the first server that has room.
    pub(crate) queued: [usize; LaneKind::ALL.len()],
}

impl Pools {
    /// Of the databases of all workers.
    pub(crate) fn of<'d>(databases: impl Iterator<Item = &'d Database> + Clone) -> Self {
        let mut pools = Self::default();
        let servers = databases.clone().next().map(|first| first.servers.iter().enumerate());
        for (index, server) in servers.into_iter().flatten() {
            for kind in LaneKind::ALL {
                let mut pool = Pool {
                    server: server.name.clone(),
                    kind,
                    connections: 0,
                    in_flight: 0,
                    limit: 0,
                    lag: (server.target.role() == Some(Role::Replica)).then(|| server.target.lag()),
                };
                for server in databases.clone().filter_map(|database| database.servers.get(index)) {
                    let own = server.pool(kind);
                    pool.connections += own.connections;
                    pool.in_flight += own.in_flight;
                    pool.limit += own.limit;
                }
                pools.all.push(pool);
            }
        }
        pools.queued =
            LaneKind::ALL.map(|kind| databases.clone().map(|database| database.queue(kind).waiting()).sum());
        pools
    }

    /// Of the replica furthest behind.
    pub(super) fn lag(&self) -> Option<Duration> {
        self.all.iter().filter_map(|pool| pool.lag).max()
    }

    /// In percent, of the fullest one; `None` without a connection.
    pub(super) fn utilization(&self) -> Option<f64> {
        self.all.iter().filter_map(Pool::utilization).reduce(f64::max)
    }

    pub(super) fn servers_down(&self) -> usize {
        self.servers().filter(|pool| pool.connections == 0).count()
    }

    /// One pool of each server: the one that it is up by.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Pool> {
        self.all.iter().filter(|pool| pool.kind == LaneKind::Fast)
    }
}

impl Pool {
    /// In percent; `None` without a connection.
    pub(super) fn utilization(&self) -> Option<f64> {
        (self.limit > 0).then(|| self.in_flight as f64 * 100.0 / self.limit as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(server: &str, kind: LaneKind, in_flight: usize, limit: usize) -> Pool {
        Pool { server: server.into(), kind, connections: limit.min(2), in_flight, limit, lag: None }
    }

    #[test]
    fn the_fullest_lane_counts_and_a_server_is_down_without_a_fast_one() {
        let all = vec![
            pool("primary", LaneKind::Fast, 10, 100),
            pool("primary", LaneKind::Slow, 3, 4),
            pool("primary", LaneKind::Write, 0, 4),
            pool("replica-1", LaneKind::Fast, 0, 0),
            pool("replica-1", LaneKind::Slow, 0, 4),
            pool("replica-1", LaneKind::Write, 0, 0),
        ];
        let pools = Pools { all, queued: [0; 3] };
        assert_eq!(pools.utilization(), Some(75.0));
        assert_eq!(pools.servers_down(), 1);
        assert_eq!(Pools::default().utilization(), None);
    }
}
