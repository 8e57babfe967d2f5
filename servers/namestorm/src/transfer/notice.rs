//! The word of a primary that a zone has changed, on its way from a worker to whoever fetches zones.

use control::Wake;
use core::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Words that may wait. What finds no room is lost, as a datagram is: the primary says it again, or the timer asks.
const WAITING: usize = 256;

/// Somebody who may has said that a zone has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The zone, folded, on the wire.
    pub apex: Box<[u8]>,
    /// Who said so.
    pub source: IpAddr,
    /// The serial that the zone has there, if that was said too (RFC 1996 §3.7).
    pub serial: Option<u32>,
}

/// Where a worker leaves them.
#[derive(Clone, Debug)]
pub struct Notices {
    sender: SyncSender<Notice>,
    bell: Wake,
}

impl Notices {
    /// Where they are left and where they are found. `bell` wakes whoever looks there.
    #[must_use]
    pub fn new(bell: Wake) -> (Self, Receiver<Notice>) {
        let (sender, receiver) = sync_channel(WAITING);
        (Self { sender, bell }, receiver)
    }

    /// Leaves one. Never waits; says whether there was room.
    pub fn leave(&self, notice: Notice) -> bool {
        let left = self.sender.try_send(notice).is_ok();
        self.bell.ring();
        left
    }
}
