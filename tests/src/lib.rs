//! What flow tests are written with: a proxy in this process with a clock moved by hand, an upstream that does what
//! it is told and records what it was asked, and a client that sends exactly what it is given (`rig::http`).
//!
//! Nothing here waits for a time to pass: a test waits for an event, and each wait has a bound.

pub mod feed;
pub mod origin;
pub mod proxy;
pub mod wait;

pub use feed::{Feed, Telling};
pub use origin::{Answering, Gate, Origin, Seen};
pub use proxy::Proxy;
pub use rig::http::{Client, Response};
