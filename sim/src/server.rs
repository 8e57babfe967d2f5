//! The server under test, as the world sees it.

use clock::Instant;
use core::fmt::Debug;

use crate::network::Frame;

mod lending;
mod production;

pub use lending::{Lending, Session};
pub use production::{Outage, Parts, Production, SimEngine, SimPlatform};

/// A machine with a link and a disk.
pub trait Server: Debug {
    /// A frame reached its link.
    fn on_frame(&mut self, frame: &[u8]);

    /// Turns until there is nothing to do now; appends what it sent, cut to the size of the wire.
    fn turn(&mut self, now: Instant, out: &mut Vec<Frame>);

    /// When to turn even if nothing arrives.
    fn deadline(&self) -> Instant;

    /// How it stands.
    fn vitals(&self) -> Vitals;

    /// From now on its disk is healthy.
    fn heal(&mut self, now: Instant);
}

/// How a server stands. What is not a state is counted since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Connections in the table.
    pub connections: u32,
    /// How many there may be.
    pub connections_max: u32,
    /// Files open.
    pub files_open: u32,
    /// How many there may be besides those being sent.
    pub files_max: u32,
    /// Large frames out of the pool.
    pub frames_large: u32,
    /// How many there are.
    pub frames_large_max: u32,
    /// Small frames out of the pool.
    pub frames_small: u32,
    /// How many there are.
    pub frames_small_max: u32,
    /// Packets that the link holds.
    pub link_packets: u32,
    /// Stream bytes sent for the first time.
    pub sent_bytes: u64,
    /// Stream bytes sent again.
    pub resent_bytes: u64,
    /// Plaintext bytes sealed.
    pub sealed_bytes: u64,
    /// Bytes read from the disk.
    pub read_bytes: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Of those, ended in order.
    pub finished: u64,
    /// Of those, ended otherwise.
    pub failed: u64,
    /// Of those, because a file changed between two sealings.
    pub tag_mismatches: u64,
    /// Of those, because the disk failed or a file shrank.
    pub disk_failures: u64,
}
