//! Packets behind a virtio-net header on a nonblocking descriptor: what a TAP queue and an AF_PACKET socket
//! with `PACKET_VNET_HDR` have in common.
//!
//! ```text
//!   | virtio_net_hdr 10 | Ethernet | IP | TCP | part | part | part |       one write: one superframe, gathered
//!     ├ needs_csum: finish the checksum at csum_start + csum_offset
//!     └ gso_type, gso_size: cut it, and repeat hdr_len bytes of headers
//!
//!   stage ─▶ slots ──flush──▶ one io_uring_enter of up to 64 writes   (or 64 writev)   ──▶ reclaim
//!   receive ◀─ buffers ◀── one io_uring_enter of several reads         (or one read each)
//! ```
//!
//! The kernel copies within the call, so that a flush ends with nothing on its way: what was written is
//! reclaimed, and what the device had no room for (`EAGAIN`, `ENOBUFS`) stays staged, in order, for the next
//! flush. Reaping the results of a flush never looks at the receiving side.

#![deny(unsafe_code)]

mod header;
mod queue;
mod raw;
mod slot;
mod sys;

pub use header::{HEADER_BYTES, VnetHeader};
pub use queue::{ReceiveBuffers, Submission, VnetConfig, VnetCounters, VnetQueue};
pub use raw::{Arrival, RAW_BATCH_MAX, RawKind, RawQueue, Sent, VlanTag};

#[cfg(target_endian = "big")]
compile_error!("a virtio-net header is in the host's byte order, and this crate writes little-endian");

#[cfg(test)]
mod tests;
