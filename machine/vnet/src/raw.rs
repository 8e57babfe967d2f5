//! Frames as they are, many per system call: for who forwards what it did not build, and builds nothing.
//!
//! ```text
//!   room    | virtio_net_hdr 10 | Ethernet …                       |
//!   spill                                  … what the room was too small for |
//!
//!   packet socket   recvmmsg, sendmmsg; a VLAN tag comes beside the frame and leaves within it
//!   TAP             io_uring, or one call per frame; a VLAN tag is within the frame both ways
//! ```
//!
//! Frames leave in the order in which they were given. What the device has no room for stays with the caller.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use arrayvec::ArrayVec;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::header::HEADER_BYTES;
use crate::sys::{BATCH_MAX, BatchRing};

mod sys;

use sys::MessageBatch;

/// The most frames in one call of [`RawQueue::receive`] or [`RawQueue::send`].
pub const RAW_BATCH_MAX: usize = BATCH_MAX;

/// What kind of descriptor it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawKind {
    /// A packet socket with `PACKET_VNET_HDR`.
    Socket,
    /// A queue of a TAP device.
    Tap,
}

/// A VLAN tag that the kernel took out of a frame (IEEE 802.1Q).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// The tag's protocol: 0x8100, or 0x88a8 for a provider's.
    pub tpid: u16,
    /// Priority and number.
    pub tci: u16,
}

impl VlanTag {
    /// How long a tag is within a frame.
    pub const BYTES: usize = 4;

    /// Puts the tag back behind the hardware addresses. `room` begins with [`VlanTag::BYTES`] unused bytes, then a
    /// virtio-net header and a frame without the tag; afterwards it begins with the header.
    ///
    /// # Panics
    /// A room too short for a header and two addresses.
    pub fn insert(self, room: &mut [u8]) {
        const ADDRESSES: usize = 12;
        room.copy_within(Self::BYTES..Self::BYTES + HEADER_BYTES + ADDRESSES, 0);
        let tag = HEADER_BYTES + ADDRESSES;
        room[tag..tag + 2].copy_from_slice(&self.tpid.to_be_bytes());
        room[tag + 2..tag + 4].copy_from_slice(&self.tci.to_be_bytes());
        // hdr_len and csum_start count from the frame's first byte; zero is no place but "none".
        for (at, is_used) in [(2, room[2] | room[3] != 0), (6, room[0] & 1 != 0)] {
            if is_used {
                let moved = u16::from_le_bytes([room[at], room[at + 1]]).saturating_add(4);
                room[at..at + 2].copy_from_slice(&moved.to_le_bytes());
            }
        }
    }
}

/// A frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which of the rooms it lies in, counted from 0.
    pub room: usize,
    /// Its length, virtio-net header included.
    pub len: usize,
    /// Its VLAN tag, if the kernel took it out.
    pub tag: Option<VlanTag>,
    /// Room and spill were too small, and its end is lost.
    pub truncated: bool,
}

/// What became of a batch that was to be sent.
#[derive(Debug, Default)]
pub struct Sent {
    /// So many of the first frames are dealt with.
    pub done: usize,
    /// So many of those the device refused for good, and why it refused the last.
    pub refused: usize,
    /// Why the last of those was refused.
    pub refusal: Option<Errno>,
}

/// One queue of one device, frames as they are.
#[derive(Debug)]
pub struct RawQueue {
    calls: Calls,
    fd: OwnedFd,
}

#[derive(Debug)]
enum Calls {
    Messages(MessageBatch),
    Ring {
        ring: Box<BatchRing>,
        /// How many reads the next batch tries.
        width: usize,
    },
    Single,
}

impl RawQueue {
    /// Takes over `fd`, which expects ten-byte virtio-net headers. The queue belongs to the calling thread.
    ///
    /// # Errors
    /// The descriptor cannot be made nonblocking, or is no packet socket though it was said to be one.
    pub fn open(fd: OwnedFd, kind: RawKind) -> io::Result<Self> {
        fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
        let calls = match kind {
            RawKind::Socket => Calls::Messages(MessageBatch::open(fd.as_fd())?),
            // Where the kernel forbids io_uring, one call per frame does the same.
            RawKind::Tap => BatchRing::open(fd.as_fd())
                .map_or(Calls::Single, |ring| Calls::Ring { ring: Box::new(ring), width: 1 }),
        };
        Ok(Self { calls, fd })
    }

    /// Receives a frame into each of the rooms, with its spill behind it, until there are no more of either. Returns
    /// what arrived, in its order; nothing when nothing has.
    ///
    /// # Errors
    /// The device is gone or down. A frame that the kernel cannot describe is skipped.
    pub fn receive<'a>(
        &mut self,
        rooms: impl Iterator<Item = [&'a mut [u8]; 2]>,
    ) -> io::Result<ArrayVec<Arrival, RAW_BATCH_MAX>> {
        let mut arrivals = ArrayVec::new();
        let rooms = rooms.take(RAW_BATCH_MAX);
        match &mut self.calls {
            Calls::Messages(batch) => batch.receive(self.fd.as_fd(), rooms, &mut arrivals)?,
            Calls::Ring { ring, width } => {
                let mut capacities = ArrayVec::<usize, RAW_BATCH_MAX>::new();
                let ends = ring.readv(rooms.take(*width).inspect(|room| capacities.push(capacity(room))))?;
                if ends.contains(&-libc::EOPNOTSUPP) {
                    // An old driver that cannot say "not now": none of these was read.
                    self.calls = Calls::Single;
                    return Ok(arrivals);
                }
                for (room, (end, capacity)) in ends.iter().zip(capacities).enumerate() {
                    // One behind it may have found what came meanwhile.
                    let Some(len) = length(*end)? else { continue };
                    arrivals.push(Arrival { room, len, tag: None, truncated: len >= capacity });
                }
                // Twice as many when there was no end to it, else as many as came and one to see the end.
                let is_end = arrivals.len() < ends.len();
                *width = if is_end { arrivals.len() + 1 } else { ends.len() * 2 }.clamp(1, RAW_BATCH_MAX);
            }
            Calls::Single => {
                for (index, mut room) in rooms.enumerate() {
                    let capacity = capacity(&room);
                    let [room, spill] = &mut room;
                    let mut pieces = [io::IoSliceMut::new(room), io::IoSliceMut::new(spill)];
                    let end = match rustix::io::readv(&self.fd, &mut pieces) {
                        Ok(len) => i32::try_from(len).unwrap_or(i32::MAX),
                        Err(error) => -error.raw_os_error(),
                    };
                    let Some(len) = length(end)? else { break };
                    arrivals.push(Arrival { room: index, len, tag: None, truncated: len >= capacity });
                }
            }
        }
        Ok(arrivals)
    }

    /// Sends frames with their virtio-net headers, the first ones first, until the device has no more room. A frame
    /// that it will never take counts as done and refused.
    pub fn send<'a>(&mut self, frames: impl Iterator<Item = &'a [u8]>) -> Sent {
        let mut sent = Sent::default();
        match &mut self.calls {
            Calls::Messages(batch) => batch.send(self.fd.as_fd(), frames.take(RAW_BATCH_MAX), &mut sent),
            Calls::Ring { ring, width: _ } => {
                let pieces = frames.take(RAW_BATCH_MAX).map(core::iter::once);
                match ring.writev(pieces) {
                    // None of these was written, and the next call will do without the ring.
                    Ok(ends) if ends.contains(&-libc::EOPNOTSUPP) => self.calls = Calls::Single,
                    // One behind it may have left already: to offer it again would put it out of order.
                    Ok(ends) => {
                        let taken = ends.iter().rposition(|end| !is_full(*end)).map_or(0, |last| last + 1);
                        ends[..taken].iter().for_each(|end| sent.count(*end));
                    }
                    Err(_) => self.calls = Calls::Single,
                }
            }
            Calls::Single => {
                for frame in frames.take(RAW_BATCH_MAX) {
                    let end = match rustix::io::write(&self.fd, frame) {
                        Ok(_) => 0,
                        Err(error) => -error.raw_os_error(),
                    };
                    if is_full(end) {
                        break;
                    }
                    sent.count(end);
                }
            }
        }
        sent
    }

    /// Frames that arrived since the last call and were dropped by the kernel, because we did not receive quickly enough:
    /// as far as a descriptor can tell, which that of a TAP queue cannot.
    pub fn missed(&mut self) -> u64 {
        match &self.calls {
            Calls::Messages(_) => sys::missed(self.fd.as_fd()).unwrap_or(0),
            Calls::Ring { .. } | Calls::Single => 0,
        }
    }

    /// Readable when a frame has arrived, writable when there is room for one.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Sent {
    fn count(&mut self, end: i32) {
        self.done += 1;
        if end < 0 {
            self.refused += 1;
            self.refusal = Some(Errno::from_raw_os_error(-end));
        }
    }
}

fn capacity([room, spill]: &[&mut [u8]; 2]) -> usize {
    room.len() + spill.len()
}

/// How much a read brought; `None` when there was nothing.
fn length(end: i32) -> io::Result<Option<usize>> {
    match usize::try_from(end) {
        Ok(len) => Ok(Some(len)),
        Err(_) if is_full(end) || end == -libc::EINTR => Ok(None),
        Err(_) => Err(io::Error::from_raw_os_error(-end)),
    }
}

/// The device has no room, or nothing to read.
fn is_full(end: i32) -> bool {
    end == -libc::EAGAIN || end == -libc::ENOBUFS
}

#[cfg(test)]
mod tests;
