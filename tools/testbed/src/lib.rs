//! The ground on which a server and its load stand, for whoever measures or tests: benches, the lab, `cargo xtask`.
//!
//! ```text
//!   Privilege  unshare: network, mounts, processes that end with their first process, even when that is killed
//!    └─ Namespace  a named network within it (or on the machine), deleted when dropped
//!        └─ path      a veth pair between two of them; queues, buffers, congestion control, steering
//!   peers       programs to be measured beside, here and in a newer Debian
//!   cpu         who was busy, and where a thread may run
//! ```
//!
//! Whatever is made here ends with what made it.

#![forbid(unsafe_code)]

pub mod cpu;
mod error;
mod namespace;
pub mod path;
pub mod peers;
mod privilege;

pub use error::TestbedError;
pub use namespace::{Namespace, run};
pub use privilege::{Privilege, is_root};
