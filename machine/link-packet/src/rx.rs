//! The receiving half where there is no AF_XDP: a ring that the kernel copies packets into.
//!
//! A packet that is larger than a frame, because the host's stack merged some, lies whole in the socket's queue, and its
//! frame says so: packets so keep their order.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use platform::{LinkCounters, Received};
use rustix::net::RecvFlags;
use vnet::{HEADER_BYTES, VnetHeader};

use crate::sys;
use crate::sys::ring::RxFrames;

/// The largest packet that the host's stack merges, and its virtio-net header.
const QUEUED_BYTES_MAX: usize = HEADER_BYTES + (64 << 10) + 64;

/// An RX ring.
#[derive(Debug)]
pub(crate) struct RxRing {
    frames: RxFrames,
    fd: OwnedFd,
    /// The frame to look at next; the one before it is lent while `lent`.
    next: u32,
    lent: bool,
    /// A packet from the socket's queue.
    queued: Box<[u8]>,
}

/// Where the packet lies that is to be lent.
enum Place {
    Frame(u32, sys::ring::Arrived),
    Queue(usize),
}

impl RxRing {
    pub(crate) fn new(frames: RxFrames, fd: OwnedFd) -> Self {
        Self { frames, fd, next: 0, lent: false, queued: vec![0; QUEUED_BYTES_MAX].into() }
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes the socket's error, if it has one: the interface went down, or is gone.
    pub(crate) fn take_error(&self) -> bool {
        !matches!(rustix::net::sockopt::socket_error(&self.fd), Ok(Ok(())))
    }

    /// Gives the frame that was looked at last back to the kernel.
    fn release(&mut self) {
        if core::mem::take(&mut self.lent) {
            self.frames.release(self.next);
            self.next = (self.next + 1) & (self.frames.count() - 1);
        }
    }

    /// The next packet.
    pub(crate) fn receive(&mut self, counters: &mut LinkCounters) -> Option<Received<'_>> {
        let (place, vouched) = loop {
            self.release();
            let arrived = self.frames.arrived(self.next)?;
            self.lent = true;
            if arrived.losing {
                // Says how many, and begins to count anew.
                counters.receive_errors += u64::from(sys::dropped(self.fd.as_fd()).unwrap_or(1));
            }
            let place = if arrived.queued {
                match self.take_queued() {
                    Ok(len) => Place::Queue(len),
                    Err(_) => {
                        counters.receive_errors += 1;
                        continue;
                    }
                }
            } else if arrived.here < arrived.len {
                counters.receive_errors += 1;
                continue;
            } else {
                Place::Frame(self.next, arrived)
            };
            // The kernel took a tag off: what belongs to a VLAN is for an interface of that VLAN.
            if arrived.vlan.is_none_or(|id| id == 0) {
                break (place, arrived.verified);
            }
        };
        let (header, bytes) = match place {
            Place::Frame(frame, arrived) => self.frames.packet(frame, &arrived),
            Place::Queue(len) => self.queued[..len].split_at(HEADER_BYTES),
        };
        let header = header.try_into().map(VnetHeader::parse).unwrap_or_default();
        counters.received += 1;
        counters.received_bytes += bytes.len() as u64;
        Some(Received { bytes, verified: vouched || header.verified() })
    }

    /// Takes a whole packet from the socket's queue; how long it is with its header.
    fn take_queued(&mut self) -> io::Result<usize> {
        let (_, len) =
            rustix::net::recv(&self.fd, &mut self.queued[..], RecvFlags::DONTWAIT | RecvFlags::TRUNC)?;
        if len < HEADER_BYTES || len > self.queued.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(len)
    }
}
