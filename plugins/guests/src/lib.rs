//! One guest in each file of `examples/`: hostile ones and tiny ones, for the tests of `plugins/host`.
//!
//! They are examples because each is a program of its own and a package has only one library. Each has a
//! test of its name there; a guest without one fails the tests.
