//! The memory of one packet that is staged, and of one that was received.

use core::fmt;

use platform::{HEADERS_BYTES_MAX, Packet, Parts};

use crate::header::{HEADER_BYTES, VnetHeader};

/// A staged packet: its virtio-net header and its headers in one piece, then parts of frames.
pub(crate) struct Outgoing {
    head: Vec<u8>,
    parts: Parts,
    bytes: usize,
    /// How often the device had no room for it.
    pub(crate) refusals: u16,
}

impl Outgoing {
    /// Room for a packet without parts of `bytes_max`.
    pub(crate) fn with_room(bytes_max: usize) -> Self {
        let room = HEADER_BYTES + bytes_max.max(HEADERS_BYTES_MAX);
        Self { head: Vec::with_capacity(room), parts: Parts::new(), bytes: 0, refusals: 0 }
    }

    /// Takes the packet over.
    pub(crate) fn fill(&mut self, packet: Packet) {
        let headers = packet.headers.bytes();
        self.bytes = packet.bytes();
        self.set_head(VnetHeader::of(packet.offload, headers.len()), headers);
        self.parts = packet.parts;
    }

    /// Takes a copy of a packet that is complete as it is.
    pub(crate) fn fill_bytes(&mut self, bytes: &[u8]) {
        self.bytes = bytes.len();
        self.set_head(VnetHeader::default(), bytes);
    }

    fn set_head(&mut self, header: VnetHeader, bytes: &[u8]) {
        self.refusals = 0;
        self.head.clear();
        self.head.extend_from_slice(&header.emit());
        self.head.extend_from_slice(bytes);
    }

    /// Lets go of the frames.
    pub(crate) fn clear(&mut self) {
        self.parts.clear();
    }

    /// Everything to be written, in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        core::iter::once(&self.head[..]).chain(self.parts.iter().map(platform::Part::bytes))
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
