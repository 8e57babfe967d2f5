//! The same laws on a link with a few slots: records are sealed as they leave, out of place, into memory of the link's.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

extern crate alloc;

#[path = "../laws/again.rs"]
mod again;
#[path = "../laws/bytes.rs"]
mod bytes;
#[path = "../laws/carrier.rs"]
mod carrier;
#[path = "../laws/credit.rs"]
mod credit;
#[path = "../laws/endings.rs"]
mod endings;
#[path = "../laws/keys.rs"]
mod keys;
#[path = "../laws/memory.rs"]
mod memory;
#[path = "../laws/requests.rs"]
mod requests;
#[path = "../laws/scarcity.rs"]
mod scarcity;
#[path = "../laws/strangers.rs"]
mod strangers;
#[path = "../laws/tickets.rs"]
mod tickets;
#[path = "../laws/visible.rs"]
mod visible;
#[path = "../laws/world/mod.rs"]
mod world;

mod late;

/// How many slots the link has: fewer than a turn has packets.
pub(crate) const SLOTS: u8 = 5;
