//! One worker: what belongs to one thread and is therefore used without locks.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use plugin_host::Instances;

use crate::{
    live::{Link, Live, Proxy},
    observe::{PolicyMetrics, RouteMetrics, WorkerMetrics},
    upstream::{Pool, Upstream},
};

/// A worker's own things, and the way to the shared ones.
pub struct Worker {
    pub proxy: Arc<Proxy>,
    pub instances: RefCell<Instances>,
    pub metrics: Arc<WorkerMetrics>,
    /// Serves nobody: what policies do here is no reason to take one out.
    pub is_aside: bool,
    view: RefCell<Rc<View>>,
    /// Connections outlive a reload as long as the server is still named.
    pools: RefCell<HashMap<Box<str>, Rc<Pool>>>,
    spare_key: RefCell<Vec<u8>>,
    /// See `accept/stream.rs`.
    pub joined: Rc<RefCell<Vec<u8>>>,
}

/// The live configuration with this worker's own counters and connections beside each part of it.
pub struct View {
    pub live: Arc<Live>,
    /// One per route.
    pub routes: Vec<Arc<RouteMetrics>>,
    /// One per policy of each route.
    pub policies: Vec<Box<[Arc<PolicyMetrics>]>>,
    pub upstreams: Vec<Rc<Upstream>>,
}

impl Worker {
    pub fn new(proxy: Arc<Proxy>) -> Rc<Worker> {
        let metrics = proxy.register_worker();
        Worker::counted_by(proxy, metrics, false)
    }

    fn counted_by(proxy: Arc<Proxy>, metrics: Arc<WorkerMetrics>, is_aside: bool) -> Rc<Worker> {
        let pools = RefCell::default();
        let view = View::of(proxy.live(), &metrics, &pools);
        Rc::new(Worker {
            proxy,
            instances: RefCell::new(Instances::new()),
            metrics,
            is_aside,
            view: RefCell::new(Rc::new(view)),
            pools,
            spare_key: RefCell::default(),
            joined: Rc::default(),
        })
    }

    /// One that serves nobody and is counted nowhere: to ask the steps what they would do.
    pub fn aside(proxy: Arc<Proxy>) -> Rc<Worker> {
        Worker::counted_by(proxy, Arc::default(), true)
    }

    /// The configuration for a request that begins now. One atomic load while nothing changes.
    pub fn view(&self) -> Rc<View> {
        if self.view.borrow().live.generation != self.proxy.generation() {
            let view = View::of(self.proxy.live(), &self.metrics, &self.pools);
            // What it no longer has must not hold its memory until another policy comes.
            let links = view.live.chains.iter().flat_map(|chain| &chain.links);
            self.instances.borrow_mut().keep_only(links.map(|link| &link.live.policy));
            self.view.replace(Rc::new(view));
        }
        Rc::clone(&self.view.borrow())
    }

    /// A buffer for a cache key; give it back when done, so that the next request need not allocate.
    pub fn take_key_buffer(&self) -> Vec<u8> {
        self.spare_key.take()
    }

    pub fn give_back(&self, mut buffer: Vec<u8>) {
        const LARGEST_KEPT_BYTES: usize = 4096;
        if buffer.capacity() <= LARGEST_KEPT_BYTES {
            buffer.clear();
            self.spare_key.replace(buffer);
        }
    }
}

impl View {
    fn of(live: Arc<Live>, metrics: &WorkerMetrics, pools: &RefCell<HashMap<Box<str>, Rc<Pool>>>) -> View {
        let routes = live.config.routes.iter().map(|route| metrics.route(route.name.as_str())).collect();
        let policies = live.config.routes.iter().zip(&live.chains).map(|(route, chain)| {
            let counted = |link: &Link| metrics.policy(route.name.as_str(), &link.marker);
            chain.links.iter().map(counted).collect()
        });
        let policies = policies.collect();
        let mut pools = pools.borrow_mut();
        let mut used = HashMap::new();
        let upstreams = live
            .config
            .upstreams
            .iter()
            .map(|upstream| {
                let of_servers = upstream
                    .servers
                    .iter()
                    .map(|server| {
                        let pool = pools.entry(server.authority.clone()).or_default();
                        used.insert(server.authority.clone(), Rc::clone(pool));
                        Rc::clone(pool)
                    })
                    .collect();
                let counted = metrics.upstream(upstream.name.as_str());
                Rc::new(Upstream::new(upstream, of_servers, counted))
            })
            .collect();
        *pools = used;
        View { live, routes, policies, upstreams }
    }
}
