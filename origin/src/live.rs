//! What serves at this moment: the endpoints, what they say of themselves, and what is counted of each.
//!
//! A set of query files becomes a [`Live`] as a whole or not at all, and is put in the place of the last one between two
//! requests. A request ends with the one it began with. Read next: `reload.rs`, which makes them, and `serve.rs`.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::answer;
use crate::catalogue::{Catalogue, Endpoint, EndpointId};
use crate::database::Session;
use crate::metrics::{EndpointMetrics, Metrics};
use crate::openapi::{self, Described};

#[derive(Debug)]
pub(crate) struct Live {
    /// The first is 1.
    pub(crate) generation: u64,
    pub(crate) catalogue: Arc<Catalogue>,
    /// In the order of the catalogue.
    pub(crate) served: Vec<Served>,
    /// From the files alone.
    documents: Arc<Documents>,
    /// With what servers say of their rows, once one was asked.
    described: OnceLock<Arc<Documents>>,
    ids: HashSet<EndpointId>,
}

/// An endpoint, and what is counted of it.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) metrics: Arc<EndpointMetrics>,
}

/// What the catalogue says of itself.
#[derive(Debug)]
pub(crate) struct Documents {
    pub(crate) openapi: Document,
    pub(crate) page: Document,
}

#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) text: Bytes,
    pub(crate) etag: String,
}

impl Documents {
    fn new(catalogue: &Catalogue, described: &Described) -> Arc<Self> {
        let document = openapi::document(catalogue, described);
        Arc::new(Self {
            openapi: Document::new(format!("{document:#}\n")),
            page: Document::new(openapi::page(&document)),
        })
    }
}

impl Document {
    fn new(text: String) -> Self {
        Self { etag: answer::etag(None, text.as_bytes()), text: text.into() }
    }
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
        let endpoints = catalogue.endpoints.iter().cloned();
        Self {
            generation,
            served: endpoints
                .zip(metrics.of(&catalogue))
                .map(|(endpoint, metrics)| Served { endpoint, metrics })
                .collect(),
            documents: Documents::new(&catalogue, &Described::default()),
            described: OnceLock::new(),
            ids: catalogue.endpoints.iter().map(|endpoint| endpoint.id).collect(),
            catalogue,
        }
    }

    /// With the members of rows as soon as one of the sessions has prepared every statement, which those of fast lanes do.
    pub(crate) fn documents(&self, mut sessions: impl Iterator<Item = Arc<Session>>) -> Arc<Documents> {
        if let Some(described) = self.described.get() {
            return described.clone();
        }
        match sessions.find_map(|session| session.describe(&self.catalogue)) {
            Some(described) => {
                self.described.get_or_init(|| Documents::new(&self.catalogue, &described)).clone()
            }
            None => self.documents.clone(),
        }
    }

    /// Whether an endpoint serves.
    pub(crate) fn has(&self, endpoint: EndpointId) -> bool {
        self.ids.contains(&endpoint)
    }
}
