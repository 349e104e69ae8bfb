//! What the demo, the tests and the benchmarks stand on: private Postgres clusters, policies built to
//! components, the two programs built, child processes that end with their parent.
//!
//! It knows nothing of HTTP caching and nothing of what the programs do; it only makes them run.

pub mod postgres;
pub mod policies;
pub mod toolchains;
pub mod programs;
pub mod process;
pub mod http;
pub mod relay;
