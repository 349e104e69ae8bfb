//! The host against real components, most of which mean no good.
//!
//! One binary, because links are slow. `guests.rs` has a test for each file of `plugins/guests/examples`.

#[test]
fn smoke() {
    println!("{:?}", rig::policies::build().map_err(|e| panic!("{e}")));
}
