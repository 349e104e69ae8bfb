//! Host, path and method to a named route. The first route in the order of the file that matches wins.

use std::rc::Rc;

use crate::{
    config::{Captures, Route},
    error::Error,
    live::Chain,
    observe::{PolicyMetrics, RouteMetrics},
    request::Request,
    upstream::Upstream,
    worker::{View, Worker},
};

/// A request's place in the configuration it began with.
pub struct Routed {
    pub view: Rc<View>,
    index: usize,
}

pub fn find(worker: &Worker, request: &Request) -> Result<Routed, Error> {
    let view = worker.view();
    let index = view.live.config.routes.iter().position(|route| captures(route, request).is_some());
    match index {
        Some(index) => Ok(Routed { view, index }),
        None => Err(Error::NoRoute),
    }
}

fn captures<'r>(route: &'r Route, request: &'r Request) -> Option<Captures<'r>> {
    // Only where it is compared is it made a text.
    let host = if route.matcher.names_hosts() { request.target.host_name() } else { "" };
    route.matcher.matches(host, request.target.path(), &request.method)
}

impl Routed {
    pub fn route(&self) -> &Route {
        &self.view.live.config.routes[self.index]
    }

    pub fn chain(&self) -> &Chain {
        &self.view.live.chains[self.index]
    }

    /// The number of the row of policies that judges here; 0 without one.
    pub fn policy_generation(&self) -> u64 {
        self.chain().generation
    }

    /// What is counted of each of them.
    pub fn policy_metrics(&self, at: usize) -> &PolicyMetrics {
        &self.view.policies[self.index][at]
    }

    pub fn metrics(&self) -> &RouteMetrics {
        &self.view.routes[self.index]
    }

    pub fn index(&self) -> usize {
        self.index
    }

    /// The upstream of this index in the configuration.
    pub fn upstream(&self, index: usize) -> &Rc<Upstream> {
        &self.view.upstreams[index]
    }

    /// The upstream of a name, if policies may choose it here.
    pub fn offered_upstream(&self, name: &str) -> Option<usize> {
        let route = self.route();
        let is_it = |index: &usize| self.view.live.config.upstreams[*index].name.as_str() == name;
        std::iter::once(route.upstream).chain(route.upstreams.iter().copied()).find(is_it)
    }

    pub fn captures<'r>(&'r self, request: &'r Request) -> Option<Captures<'r>> {
        captures(self.route(), request)
    }
}
