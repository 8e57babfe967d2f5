//! A disk in memory: for tests, the simulator, and benches that must not pay for a device.
//!
//! ```text
//!   stage ─▶ staged ─flush─▶ on their way, each with the instant it ends ─advance─▶ complete
//!                            (latency, error and stall drawn from the seed)
//! ```
//!
//! Time enters through [`MemoryDisk::advance`] only; with no latency configured everything ends at the flush.
//! The bytes of a read are produced when it *completes*, so that what was changed while it was on its way is
//! what it brings. An [`Object`] holds real bytes, or a function of its number and the offset, or nothing at
//! all ([`Object::untouched`]: the read completes and the frame keeps what was in it).
//!
//! # The faults it knows
//! Reads that fail with an errno, by probability or by script; reads and the whole disk stalling; reads
//! ending in another order than they began; files that shrink, change in place, are replaced or vanish. It
//! never delivers fewer bytes than asked for before the end of a file, because [`Disk`](platform::Disk)
//! promises that.

#![forbid(unsafe_code)]

mod disk;
mod faults;
mod object;
mod random;

pub use disk::{DiskCounters, MemoryDisk, MemoryDiskConfig};
pub use faults::{Faults, Latency};
pub use object::{Object, pattern};

#[cfg(test)]
mod tests;
