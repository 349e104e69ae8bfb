//! What serves at this moment: the endpoints, what they say of themselves, and what is counted of each.
//!
//! A set of query files becomes a [`Live`] as a whole or not at all, and is put in the place of the last one between two
//! requests. A request ends with the one it began with. Read next: `reload.rs`, which makes them, and `serve.rs`.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::catalogue::{Catalogue, Endpoint, EndpointId};
use crate::metrics::{EndpointMetrics, Metrics};
use crate::openapi;

#[derive(Debug)]
pub(crate) struct Live {
    /// The first is 1.
    pub(crate) generation: u64,
    pub(crate) catalogue: Arc<Catalogue>,
    /// In the order of the catalogue.
    pub(crate) served: Vec<Served>,
    pub(crate) documents: Documents,
    ids: HashSet<EndpointId>,
}

/// An endpoint, and what is counted of it.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) metrics: Arc<EndpointMetrics>,
}

/// What the catalogue says of itself, made once.
#[derive(Debug)]
pub(crate) struct Documents {
    pub(crate) openapi: Bytes,
    pub(crate) page: Bytes,
}

impl Live {
    /// At the start.
    pub(crate) fn first(catalogue: Arc<Catalogue>, metrics: &Metrics) -> Self {
        Self::new(1, catalogue, metrics)
    }

    /// What takes the place of this one at once: its endpoints are those that are counted.
    pub(crate) fn next(&self, catalogue: Arc<Catalogue>, metrics: &Metrics) -> Self {
        Self::new(self.generation + 1, catalogue, metrics)
    }

    fn new(generation: u64, catalogue: Arc<Catalogue>, metrics: &Metrics) -> Self {
        let document = openapi::document(&catalogue);
        let endpoints = catalogue.endpoints.iter().cloned();
        Self {
            generation,
            served: endpoints
                .zip(metrics.of(&catalogue))
                .map(|(endpoint, metrics)| Served { endpoint, metrics })
                .collect(),
            documents: Documents {
                openapi: format!("{document:#}\n").into(),
                page: openapi::page(&document).into(),
            },
            ids: catalogue.endpoints.iter().map(|endpoint| endpoint.id).collect(),
            catalogue,
        }
    }

    /// Whether an endpoint serves.
    pub(crate) fn has(&self, endpoint: EndpointId) -> bool {
        self.ids.contains(&endpoint)
    }
}
