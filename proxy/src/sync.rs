//! The locks and counters that the fetches under way, the purges and the account of the change feed are made of, by one name each.
//!
//! `tests/interleaving` compiles the files that use this module with the ones of a scheduler in the place of these, and runs
//! them in every order that it can think of.

pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};
