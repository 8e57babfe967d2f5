//! AF_XDP as a link: packets between the NIC and a worker's own arena, past the kernel's stack.
//!
//! ```text
//!   stage ──┬─ short, or the driver takes no pieces ──▶ one chunk:   | metadata | headers, payload copied |
//!           └─ else ──▶ | metadata | headers | ──▶ | part | ──▶ | part |      a chunk, and the frames where they lie
//!   receive ◀── a chunk, or several gathered ◀── RX ring
//! ```
//!
//! There is no segmentation by the device: every packet is one of the wire's. The checksum is the device's where the
//! driver takes TX metadata, the kernel's or its device's in copy mode, and the engine's own otherwise.
//!
//! A packet that was received says nothing of its checksum. One that the host itself sent over a veth pair has none
//! unless its sender's offload is off.
//!
//! [`AfxdpQueue`] is made where privileges are, and opened by the worker in its own thread.

#![forbid(unsafe_code)]

mod error;
mod interface;
mod link;
mod plan;

pub use error::AfxdpError;
pub use interface::Interface;
pub use link::{AfxdpConfig, AfxdpFacts, AfxdpLink, AfxdpQueue, Summer};
