//! A run of segments that the link does not cut: TCP decides about it once, its headers are written once, and each
//! segment costs what differs.
//!
//! ```text
//!   run      | headers |  part  |      part      | part |
//!
//!            | seq        | mss     |
//!            | seq + mss  |     mss     |          IPv4 identification + 1, and its checksum
//!            | seq + 2mss |      mss       |
//!            | …          |        the rest, PSH FIN |
//! ```
//!
//! It is what a device does with a superframe, to the same bytes. What the link has no room for stays here, in order,
//! until it has.

use platform::{ChecksumOffload, Headers, Offload, Packet, Part, Parts};
use wire::checksum::Sum;
use wire::tcp::{Flags, Header};
use wire::{Checksum, HeaderLayout, Path, emit_tcp};

#[cfg(test)]
mod tests;

/// Segments on their way out: made by [`new`](Self::new), taken from [`next_packet`](Self::next_packet) until it
/// [`is_empty`](Self::is_empty). The frames of all parts are held until then.
#[derive(Debug)]
pub struct Train {
    /// The headers of the next segment, if it is a whole one that others follow; its checksum left to the link.
    headers: Headers,
    layout: HeaderLayout,
    /// Those of the last segment.
    path: Path,
    header: Header,
    parts: Parts,
    /// The part that the next segment begins in, and how much of it has left.
    part: usize,
    skip: u32,
    /// Payload that has not left.
    left: u32,
    mss: u16,
    /// The link sums.
    offload: bool,
}

impl Train {
    /// The segments of `parts`, each but the last of `mss` bytes. `header` is the first one's, but that flags which end
    /// something (PSH, FIN) are for the last one alone. `offload`: the link computes TCP checksums.
    ///
    /// # Panics
    /// `mss` is zero, or the parts are not a segment of IP's (see [`emit_tcp`]).
    #[must_use]
    pub fn new(path: Path, header: Header, mss: u16, parts: Parts, offload: bool) -> Self {
        assert!(mss > 0, "segments without payload");
        let left = parts.iter().map(|part| part.len).sum();
        let mut headers = Headers::new();
        let first = Header { flags: header.flags - (Flags::PSH | Flags::FIN), ..header };
        let layout = emit_tcp(headers.room_mut(), &path, &first, usize::from(mss), Checksum::Offload);
        headers.set_len(layout.len);
        Self { headers, layout, path, header, parts, part: 0, skip: 0, left, mss, offload }
    }

    /// Segments that have not left.
    #[must_use]
    pub fn segments_left(&self) -> u32 {
        self.left.div_ceil(u32::from(self.mss))
    }

    /// Nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next segment, complete but for what is left to the link. It is built where it is returned to: a packet is
    /// large to move.
    ///
    /// # Panics
    /// Nothing is left.
    pub fn next_packet(&mut self) -> Packet {
        assert!(self.left > 0, "the run has left");
        let payload_bytes = self.left.min(u32::from(self.mss));
        let is_last = payload_bytes == self.left;
        if is_last {
            let layout = emit_tcp(
                self.headers.room_mut(),
                &self.path,
                &self.header,
                payload_bytes as usize,
                Checksum::Offload,
            );
            debug_assert_eq!(layout, self.layout, "only numbers differ");
        }
        let checksum = ChecksumOffload { start: self.layout.l4, field: self.layout.checksum_field };
        let mut packet = Packet {
            headers: self.headers,
            parts: Parts::new(),
            offload: Offload { checksum: self.offload.then_some(checksum), segmentation: None },
        };
        self.take(payload_bytes, &mut packet.parts);
        if !self.offload {
            let payload = Sum::of_parts(packet.parts.iter().map(Part::bytes));
            self.layout.finish_checksum(packet.headers.room_mut(), payload);
        }
        self.left -= payload_bytes;
        if is_last {
            self.parts.clear();
        } else {
            self.layout.advance(self.headers.room_mut(), payload_bytes);
            self.header.seq += payload_bytes;
            self.path.identification = self.path.identification.wrapping_add(1);
        }
        packet
    }

    /// Moves the next `count` bytes on.
    fn take(&mut self, mut count: u32, into: &mut Parts) {
        while count > 0 {
            let part = &self.parts[self.part];
            let len = count.min(part.len - self.skip);
            into.push(Part { frame: part.frame.clone(), start: part.start + self.skip, len });
            count -= len;
            self.skip += len;
            if self.skip == part.len {
                self.part += 1;
                self.skip = 0;
            }
        }
    }
}
