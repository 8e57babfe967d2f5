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

use alloc::rc::Rc;
use arrayvec::ArrayVec;
use platform::{ChecksumOffload, Headers, Offload, PARTS_MAX, Packet, Part, Parts};
use wire::checksum::Sum;
use wire::tcp::{Flags, Header};
use wire::{Checksum, HeaderLayout, Path, emit_tcp};

use crate::copies::{Copies, sum_of};
use crate::memory::Memory;

#[cfg(test)]
mod tests;

/// What a run carries: bytes where they lie, or memory that is looked up segment by segment.
#[derive(Debug)]
pub(crate) enum Load {
    Part(Part),
    /// `len` bytes from `start` on.
    Memory {
        memory: Rc<dyn Memory>,
        start: u64,
        len: u32,
    },
}

impl Load {
    pub(crate) fn len(&self) -> u32 {
        match self {
            Self::Part(part) => part.len,
            Self::Memory { len, .. } => *len,
        }
    }

    /// `len` bytes of it, from `skip` on.
    fn some(&self, skip: u32, len: u32) -> Self {
        match self {
            Self::Part(part) => Self::Part(Part { frame: part.frame.clone(), start: part.start + skip, len }),
            Self::Memory { memory, start, .. } => {
                Self::Memory { memory: Rc::clone(memory), start: start + u64::from(skip), len }
            }
        }
    }

    /// The sum with these bytes standing behind it; of memory they are not looked at.
    pub(crate) fn then(&self, sum: Sum) -> Sum {
        match self {
            Self::Part(part) => sum.then(part.bytes()),
            Self::Memory { memory, start, len } => sum.combine(memory.sum(*start..start + u64::from(*len))),
        }
    }

    /// The parts that it is, where they lie.
    pub(crate) fn gather(&self, parts: &mut Parts) {
        match self {
            Self::Part(part) => parts.push(part.clone()),
            Self::Memory { memory, start, len } => {
                memory.parts(*start..start + u64::from(*len), &mut |part| parts.push(part));
            }
        }
    }
}

/// In order; no more of them than a packet has parts.
pub(crate) type Loads = ArrayVec<Load, PARTS_MAX>;

/// Segments on their way out: made by [`new`](Self::new), taken from [`next_into`](Self::next_into) until it
/// [`is_empty`](Self::is_empty). The frames of all parts are held until then.
#[derive(Debug)]
pub struct Train {
    /// The headers of the next segment, if it is a whole one that others follow; its checksum left to the link.
    headers: Headers,
    layout: HeaderLayout,
    /// Those of the last segment.
    path: Path,
    header: Header,
    loads: Loads,
    /// The load that the next segment begins in, and how much of it has left.
    load: usize,
    skip: u32,
    /// Payload that has not left.
    left: u32,
    mss: u16,
    /// The link sums.
    offload: bool,
    /// Segments are copied: their headers are complete.
    copies: bool,
}

impl Train {
    /// The segments of `parts`, each but the last of `mss` bytes. `header` is the first one's, but that flags which end
    /// something (PSH, FIN) are for the last one alone. `offload`: the link computes TCP checksums.
    ///
    /// # Panics
    /// `mss` is zero, or the parts are not a segment of IP's (see [`emit_tcp`]).
    #[must_use]
    pub fn new(path: Path, header: Header, mss: u16, parts: Parts, offload: bool) -> Self {
        Self::of(path, header, mss, parts.into_iter().map(Load::Part).collect(), offload, false)
    }

    /// The same of loads. `copies`: each segment is one.
    pub(crate) fn of(
        path: Path,
        header: Header,
        mss: u16,
        loads: Loads,
        offload: bool,
        copies: bool,
    ) -> Self {
        assert!(mss > 0, "segments without payload");
        let left = loads.iter().map(Load::len).sum();
        let mut headers = Headers::new();
        let first = Header { flags: header.flags - (Flags::PSH | Flags::FIN), ..header };
        let layout = emit_tcp(headers.room_mut(), &path, &first, usize::from(mss), Checksum::Offload);
        headers.set_len(layout.len);
        Self {
            headers,
            layout,
            path,
            header,
            loads,
            load: 0,
            skip: 0,
            left,
            mss,
            offload: offload && !copies,
            copies,
        }
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

    /// Builds the next segment, complete but for what is left to the link, in a packet without parts.
    ///
    /// # Panics
    /// Nothing is left.
    pub fn next_into(&mut self, packet: &mut Packet) {
        self.next(packet, None);
    }

    /// The same, copied if it is to be.
    pub(crate) fn next_by(&mut self, copies: &mut Copies<'_>, packet: &mut Packet) {
        self.next(packet, Some(copies));
    }

    fn next(&mut self, packet: &mut Packet, copies: Option<&mut Copies<'_>>) {
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
        packet.headers.set(self.headers.bytes());
        packet.offload = Offload { checksum: self.offload.then_some(checksum), segmentation: None };
        if let Some(copies) = copies.filter(|_| self.copies) {
            let mut loads = Loads::new();
            self.take(payload_bytes, |load| loads.push(load));
            self.layout.finish_checksum(packet.headers.room_mut(), sum_of(&loads));
            copies.fill(&mut packet.headers, &loads, &mut packet.parts);
        } else {
            let (sums, mut payload) = (!self.offload, Sum::ZERO);
            let parts = &mut packet.parts;
            self.take(payload_bytes, |load| {
                if sums {
                    payload = load.then(payload);
                }
                load.gather(parts);
            });
            if sums {
                self.layout.finish_checksum(packet.headers.room_mut(), payload);
            }
        }
        self.left -= payload_bytes;
        if is_last {
            self.loads.clear();
        } else {
            self.layout.advance(self.headers.room_mut(), payload_bytes);
            self.header.seq += payload_bytes;
            self.path.identification = self.path.identification.wrapping_add(1);
        }
    }

    /// Moves the next `count` bytes on.
    fn take(&mut self, mut count: u32, mut into: impl FnMut(Load)) {
        while count > 0 {
            let load = &self.loads[self.load];
            let len = count.min(load.len() - self.skip);
            into(load.some(self.skip, len));
            count -= len;
            self.skip += len;
            if self.skip == load.len() {
                self.load += 1;
                self.skip = 0;
            }
        }
    }
}
