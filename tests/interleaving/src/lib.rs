//! Coalescing, purges and the change feed under a scheduler that decides at each lock and each atomic which thread goes on.
//!
//! The files under test are those of the proxy, compiled here with the scheduler's locks in the place of `std`'s: see
//! `proxy/src/sync.rs`. A run that fails prints the schedule by which it can be repeated (`shuttle::replay`).

mod sync {
    pub(crate) use shuttle::sync::{
        Arc, Mutex, MutexGuard, RwLock,
        atomic::{AtomicU64, Ordering},
    };
    pub(crate) use std::sync::PoisonError;
}

#[path = "../../../proxy/src/coalesce/fills.rs"]
pub mod fills;
#[path = "../../../proxy/src/feed/account.rs"]
pub mod account;
#[path = "../../../proxy/src/invalidations.rs"]
pub mod invalidations;
