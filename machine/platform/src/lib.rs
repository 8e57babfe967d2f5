//! What an engine asks of a machine, in traits only.
//!
//! ```text
//!            stage ──▶ queue ──flush──▶ device ──▶ queue ──▶ complete / reclaim
//! ```
//!
//! [`Link`] and [`Disk`] share their verbs. *Stage* queues a thing, which from then on belongs to the queue; a full
//! queue hands it back as [`Full`]. *Flush* rings the doorbell once for everything staged. *Complete* (disk) and
//! *reclaim* (link) bring finished things back. Nothing here blocks.
//!
//! A packet is built where it leaves from: without payload in [`Link::room`], with payload of its own memory in
//! [`Link::slot`], else its headers in a [`Packet`] that the link copies them from, beside parts of frames.
//!
//! A [`Platform`] names the four types that an engine runs on. Production and simulation are two such lists.

#![forbid(unsafe_code)]

mod disk;
mod link;

pub use disk::{
    Close, Completion, Disk, DiskCapabilities, DiskError, FileId, FileMeta, Open, OpenError, Opened, Read,
    ReadDone, RootId, TARGETS_MAX, Target, Targets,
};
pub use link::{
    ChecksumOffload, HEADERS_BYTES_MAX, Headers, Link, LinkCapabilities, LinkCounters, Offload, PARTS_MAX,
    Packet, Part, Parts, ROOM_BYTES, Received, Segmentation,
};

use clock::Instant;
use core::time::Duration;

/// A queue had no room: here is the thing back.
#[derive(Debug)]
pub struct Full<T>(pub T);

/// Where time comes from. Read once per turn.
pub trait Clock {
    /// Now; never less than what it said before.
    fn now(&mut self) -> Instant;
    /// The time since 1970-01-01T00:00:00Z, for dates in responses and logs. May jump.
    fn unix_time(&mut self) -> Duration;
}

/// Where randomness comes from: initial sequence numbers, hash keys, cookies.
pub trait Entropy {
    /// Fills `bytes` with bytes that a peer cannot guess.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// The choices of one worker, made at compile time.
pub trait Platform {
    /// Packets.
    type Link: Link;
    /// Blocks.
    type Disk: Disk;
    /// Time.
    type Clock: Clock;
    /// Randomness.
    type Entropy: Entropy;
}
