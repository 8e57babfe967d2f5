//! The laws of the engine, on a real link, disk, TCP and TLS, all in memory and on seeded time.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

extern crate alloc;

mod again;
mod bytes;
mod carrier;
mod credit;
mod endings;
mod keys;
mod memory;
mod requests;
mod scarcity;
mod strangers;
mod tickets;
mod visible;
mod world;

/// How many slots the link has: none, packets keep their parts. The same laws with slots are in `../slots`.
pub(crate) const SLOTS: u8 = 0;
