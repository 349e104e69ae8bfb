//! `larder`, the program in front. The modules stand in the order in which a request meets them:
//!
//! - [`accept`]: listeners, connections, drain
//! - [`serve`]: one request from head to answer, by these steps:
//!   [`route`], [`policy`], [`lookup`], [`coalesce`], [`fetch`], [`store`], [`deliver`]
//!
//! What the steps use: [`request`], [`body`], [`arriving`] bodies and their [`pieces`], [`trailers`], [`upgrade`], [`memory`], [`searches`], [`invalidations`], [`feed`], [`upstream`],
//! [`worker`] (one thread's things), [`live`] (what all threads share). Around them: [`config`], [`reload`], [`deploy`],
//! [`admin`], [`explain`], [`observe`], [`error`] and [`respond`], [`clock`], [`cli`], [`policy_tools`]. The rules of HTTP caching are in the
//! crate `caching`, the policies' sandbox in the crate `plugin_host`.

pub mod accept;
pub mod serve;
pub mod route;
pub mod policy;
pub mod lookup;
pub mod coalesce;
pub mod fetch;
pub mod store;
pub mod deliver;

pub mod request;
pub mod body;
pub mod arriving;
pub mod pieces;
pub mod trailers;
pub mod upgrade;
pub mod memory;
pub mod searches;
pub mod invalidations;
pub mod feed;
pub mod session;
pub mod read_your_writes;
pub mod audit;
pub mod subscriptions;
pub mod live_updates;
pub mod upstream;
pub mod worker;
pub mod live;

pub mod config;
pub mod reload;
pub mod deploy;
pub mod admin;
pub mod explain;
pub mod observe;
pub mod error;
pub mod respond;
pub mod clock;
mod sync;
pub mod cli;
pub mod policy_tools;
