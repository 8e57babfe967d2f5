//! The outbox of short packets that are complete as they are: ARP, NDP, echo replies, resets, cookies.
//!
//! A ring of buffers, allocated once. When it is full a reply is dropped and counted: whoever asked will ask again.

use alloc::boxed::Box;
use wire::checksum::Sum;
use wire::{Checksum, HEADERS_BYTES_MAX, Path, emit_tcp, tcp};

#[cfg(test)]
mod tests;

/// The longest packet that is kept, from its Ethernet header on, in bytes.
pub const REPLY_BYTES_MAX: usize = 2048;

const _: () = assert!(REPLY_BYTES_MAX >= HEADERS_BYTES_MAX, "every segment without payload fits");

/// How many packets the usual outbox holds.
pub const REPLIES_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Buffer {
    bytes: [u8; REPLY_BYTES_MAX],
    len: usize,
}

/// The outbox: first in, first out.
#[derive(Debug)]
pub struct Replies {
    buffers: Box<[Buffer]>,
    first: usize,
    len: usize,
    dropped: u64,
}

impl Replies {
    /// An outbox for [`REPLIES_MAX`] packets.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(REPLIES_MAX)
    }

    /// An outbox for `capacity` packets.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let buffer = Buffer { bytes: [0; REPLY_BYTES_MAX], len: 0 };
        Self { buffers: alloc::vec![buffer; capacity].into_boxed_slice(), first: 0, len: 0, dropped: 0 }
    }

    /// Adds a packet of `bytes` length that `emit` writes; `false` (and counted) when there is no room for it.
    ///
    /// `emit` gets exactly `bytes` bytes, which hold whatever an earlier packet left.
    pub fn push(&mut self, bytes: usize, emit: impl FnOnce(&mut [u8])) -> bool {
        if self.len == self.buffers.len() || bytes > REPLY_BYTES_MAX {
            self.dropped += 1;
            return false;
        }
        let at = (self.first + self.len) % self.buffers.len();
        let buffer = &mut self.buffers[at];
        emit(&mut buffer.bytes[..bytes]);
        buffer.len = bytes;
        self.len += 1;
        true
    }

    /// Adds a TCP segment without payload; `false` (and counted) when there is no room for it.
    pub fn push_tcp(&mut self, path: &Path, header: &tcp::Header) -> bool {
        self.push(path.len_before_tcp() + header.len(), |buffer| {
            emit_tcp(buffer, path, header, 0, Checksum::Software(Sum::ZERO));
        })
    }

    /// The packet that waited longest.
    #[must_use]
    pub fn front(&self) -> Option<&[u8]> {
        let Buffer { bytes, len } = self.buffers.get(self.first).filter(|_| self.len > 0)?;
        Some(&bytes[..*len])
    }

    /// Lets go of [`Replies::front`], which the link has taken.
    pub fn pop(&mut self) {
        if self.len > 0 {
            self.first = (self.first + 1) % self.buffers.len();
            self.len -= 1;
        }
    }

    /// How many packets wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// How many packets found no room since the beginning.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}
