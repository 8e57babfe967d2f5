//! The memory of one packet that is staged, and of one that was received.

use core::fmt;

use platform::{HEADERS_BYTES_MAX, Offload, Packet, Parts};

use crate::header::{HEADER_BYTES, VnetHeader};

/// A staged packet: its virtio-net header and its headers in one piece, then parts of frames.
pub(crate) struct Outgoing {
    head: Vec<u8>,
    /// How much of it is used.
    head_bytes: usize,
    parts: Parts,
    bytes: usize,
    /// How often the device had no room for it.
    pub(crate) refusals: u16,
}

impl Outgoing {
    /// Room for a packet without parts of `bytes_max`.
    pub(crate) fn with_room(bytes_max: usize) -> Self {
        let mut slot = Self { head: Vec::new(), head_bytes: 0, parts: Parts::new(), bytes: 0, refusals: 0 };
        slot.make_room(bytes_max);
        slot
    }

    /// A packet without parts may have `bytes_max` from now on.
    pub(crate) fn make_room(&mut self, bytes_max: usize) {
        let room = HEADER_BYTES + bytes_max.max(HEADERS_BYTES_MAX);
        if self.head.len() < room {
            self.head.resize(room, 0);
        }
    }

    /// Takes a copy of the packet's headers, and its parts.
    pub(crate) fn fill(&mut self, packet: &mut Packet) {
        let headers = packet.headers.bytes();
        let bytes = packet.bytes();
        self.room_mut()[..headers.len()].copy_from_slice(headers);
        self.set(headers.len(), packet.offload);
        self.bytes = bytes;
        self.parts.extend(packet.parts.drain(..));
    }

    /// Where a packet without parts is written.
    pub(crate) fn room_mut(&mut self) -> &mut [u8] {
        &mut self.head[HEADER_BYTES..]
    }

    /// The packet is the first `bytes` of [`room_mut`](Self::room_mut).
    ///
    /// # Panics
    /// There is no such room.
    pub(crate) fn set(&mut self, bytes: usize, offload: Offload) {
        assert!(HEADER_BYTES + bytes <= self.head.len(), "{bytes} bytes in a slot of {}", self.head.len());
        self.head[..HEADER_BYTES].copy_from_slice(&VnetHeader::of(offload, bytes).emit());
        self.head_bytes = HEADER_BYTES + bytes;
        self.bytes = bytes;
        self.refusals = 0;
    }

    /// Lets go of the frames.
    pub(crate) fn clear(&mut self) {
        self.parts.clear();
    }

    /// Everything to be written, in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        core::iter::once(&self.head[..self.head_bytes]).chain(self.parts.iter().map(platform::Part::bytes))
    }

    /// How long the packet is, without the virtio-net header.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("bytes", &self.bytes).field("parts", &self.parts.len()).finish()
    }
}

/// Room for one received packet and its virtio-net header.
pub(crate) struct Incoming {
    buffer: Box<[u8]>,
    /// How much of it the last read filled.
    len: usize,
}

impl Incoming {
    pub(crate) fn with_room(bytes_max: usize) -> Self {
        Self { buffer: vec![0; HEADER_BYTES + bytes_max].into(), len: 0 }
    }

    pub(crate) fn room_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        self.len = len.min(self.buffer.len());
    }

    /// What the device says, and the packet; `None` when it is shorter than the header.
    pub(crate) fn packet(&self) -> Option<(VnetHeader, &[u8])> {
        let (header, bytes) = self.buffer[..self.len].split_first_chunk()?;
        Some((VnetHeader::parse(header), bytes))
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("len", &self.len).finish_non_exhaustive()
    }
}
