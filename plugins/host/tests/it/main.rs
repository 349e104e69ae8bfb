//! The host against real components, most of which mean no good.
//!
//! One binary, because links are slow. A guest of `plugins/guests/examples` has its test in `guests.rs`; what no
//! compiler makes is written by hand, in `by_hand.rs`.

mod guests;
mod hostile;
mod by_hand;
mod loading;
mod shipped;
mod instances;
mod engine;
mod tenant_key;
mod support;
