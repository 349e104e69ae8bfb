//! Host, path and method to a named route. The first route in the order of the file that matches wins.

use std::rc::Rc;

use crate::{
    config::{Captures, Route},
    error::Error,
    live::LivePolicy,
    observe::RouteMetrics,
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

    pub fn policy(&self) -> Option<&LivePolicy> {
        self.view.live.policies[self.index].as_ref()
    }

    /// The number of the policy that judges here; 0 without one.
    pub fn policy_generation(&self) -> u64 {
        self.policy().map_or(0, |live| live.generation)
    }

    pub fn metrics(&self) -> &RouteMetrics {
        &self.view.routes[self.index]
    }

    pub fn index(&self) -> usize {
        self.index
    }

    pub fn upstream(&self) -> &Rc<Upstream> {
        &self.view.upstreams[self.route().upstream]
    }

    pub fn captures<'r>(&'r self, request: &'r Request) -> Option<Captures<'r>> {
        captures(self.route(), request)
    }
}
