//! A TAP device as a link: our own TCP/IP on one side, the host's kernel on the other.
//!
//! ```text
//!    kernel: clients, routes, other NICs           us
//!    ┌──────────────┐  queue 0: descriptor  ┌────────────┐
//!    │  tap0        │◀─────────────────────▶│ worker 0   │
//!    │  its own MAC │  queue 1: descriptor  ├────────────┤    a flow stays on the queue
//!    │  its address │◀─────────────────────▶│ worker 1   │    that it was answered from
//!    └──────────────┘                       └────────────┘
//! ```
//!
//! With virtio-net headers the device takes superframes of 64 KB and unfinished checksums, and hands over
//! merged segments (`TUNSETOFFLOAD`). The kernel copies synchronously: a write that returned is done.
//!
//! The device exists as long as one of its queues is open. Nothing is left behind: its addresses, routes and
//! neighbour entries go with it.

#![deny(unsafe_code)]

mod device;
mod error;
mod sys;

pub use device::{TapDevice, TapLink, TapQueue, TapSetup};
pub use error::TapError;
