//! The program against a real Postgres: a primary and a streaming replica that this binary makes for itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends where it is")]

mod support;
mod cli;
mod migrate;
mod seed;
mod changes;
mod check;
mod new_endpoint;
mod queries_doc;
mod endpoints;
mod guide;
mod reads;
mod columns;
mod bad_params;
mod openapi;
mod pages;
mod streams;
mod tags;
mod servers;
mod load;
mod failover;
mod write_faults;
mod writes;
mod monitoring;
mod doctor;
mod tls;
mod pooler;
mod limits;
mod reload;
mod feed;
