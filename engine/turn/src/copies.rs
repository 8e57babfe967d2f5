//! Three ways of memory into a packet.
//!
//! ```text
//!   gather    | headers |   | head |   | part of the memory | part |        as many pieces as there are
//!   mem       | headers, head, copy of the memory           |               one fresh frame
//!   pre       | headers, head, the same bytes as last time  |               one frame that the memory keeps for this
//! ```
//!
//! A copy lies complete in one frame, its checksum included: sums of memory cost nothing, so that the link is left none.
//! Whatever cannot be copied (no frame is free, no replica can be had) is gathered.

use arrayvec::ArrayVec;
use dma::{Frame, HEADROOM_BYTES, PAYLOAD_BYTES, Pool, SMALL_BYTES};
use platform::{Headers, LinkCapabilities, PARTS_MAX, Part, Parts};
use wire::checksum::Sum;

use crate::counters::Counters;
use crate::memory::copy_to;
use crate::train::{Load, Loads};

/// How memory gets into packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryVariant {
    /// Packets name the frames that the memory lies in.
    #[default]
    Gather,
    /// Each packet is a copy.
    Mem,
    /// Each packet is a replica that the memory [keeps](crate::Memory::replica), where it has one.
    Pre,
}

impl MemoryVariant {
    /// What it comes to on such a link. A link with slots gets copies whatever is asked for; where superframes leave there
    /// are no segments to keep replicas of, and `Pre` is `Gather`.
    #[must_use]
    pub fn on(self, link: &LinkCapabilities) -> Self {
        match self {
            _ if link.slots => Self::Mem,
            Self::Pre if link.superframe_bytes_max > 0 => Self::Gather,
            other => other,
        }
    }
}

/// Where copies come from.
pub(crate) struct Copies<'a> {
    pub(crate) variant: MemoryVariant,
    pub(crate) pool: &'a Pool,
    pub(crate) counters: &'a mut Counters,
}

impl Copies<'_> {
    /// Fills `parts` with the payload of a segment whose headers are complete: one copy of it behind a copy of them, or
    /// what is gathered of it.
    pub(crate) fn fill(&mut self, headers: &mut Headers, loads: &Loads, parts: &mut Parts) {
        let whole = match self.variant {
            MemoryVariant::Gather => None,
            MemoryVariant::Mem => self.copy(headers, loads),
            MemoryVariant::Pre => self.replica(headers, loads),
        };
        match whole {
            Some(part) => {
                parts.push(part);
                headers.set_before_parts();
            }
            None => loads.iter().for_each(|load| load.gather(parts)),
        }
    }

    /// The headers and the loads, one behind the other in a fresh frame. The part is the loads.
    fn copy(&mut self, headers: &Headers, loads: &Loads) -> Option<Part> {
        let headers = headers.bytes();
        let len: u32 = loads.iter().map(Load::len).sum();
        let bytes = headers.len() + len as usize;
        let small = || if bytes <= SMALL_BYTES { self.pool.acquire_small() } else { None };
        let mut frame = small().or_else(|| {
            if bytes <= HEADROOM_BYTES + PAYLOAD_BYTES { self.pool.acquire_large() } else { None }
        })?;
        let room = frame.bytes_mut();
        room[..headers.len()].copy_from_slice(headers);
        let mut at = headers.len();
        for load in loads {
            let room = &mut room[at..at + load.len() as usize];
            match load {
                Load::Part(part) => room.copy_from_slice(part.bytes()),
                Load::Memory { memory, start, len } => {
                    copy_to(&**memory, *start..*start + u64::from(*len), room);
                }
            }
            at += load.len() as usize;
        }
        self.counters.copied_packets += 1;
        #[expect(clippy::cast_possible_truncation, reason = "at most 128")]
        let start = headers.len() as u32;
        Some(Part { frame: frame.share(), start, len })
    }

    /// What the memory keeps for this segment, with the headers and the bytes before it written anew. The part is the loads.
    fn replica(&mut self, headers: &Headers, loads: &Loads) -> Option<Part> {
        let (Load::Memory { memory, start, len }, before) = loads.split_last()? else { return None };
        let mut heads = ArrayVec::<&[u8], { PARTS_MAX + 1 }>::new();
        heads.push(headers.bytes());
        for load in before {
            let Load::Part(part) = load else { return None };
            heads.push(part.bytes());
        }
        let Part { frame, start, len } = memory.replica(*start..start + u64::from(*len), &heads)?;
        self.counters.replica_packets += 1;
        #[expect(clippy::cast_possible_truncation, reason = "at most 128")]
        let skip = headers.bytes().len() as u32;
        Some(Part { frame, start: start + skip, len: len - skip })
    }

    /// A superframe's payload, copied into as few frames as it takes; `None` when there are not as many.
    pub(crate) fn copy_superframe(&mut self, gathered: &Parts) -> Option<Parts> {
        let mut copies = Parts::new();
        let mut filling: Option<(Frame, usize)> = None;
        let into_part = |(frame, len): (Frame, usize)| {
            let start = frame.payload_start();
            let [start, len] = [start, len].map(|count| u32::try_from(count).expect("within a frame"));
            Part { frame: frame.share(), start, len }
        };
        for part in gathered {
            let mut bytes = part.bytes();
            while !bytes.is_empty() {
                let (mut frame, len) = match filling.take() {
                    Some(filling) => filling,
                    None => (self.pool.acquire_large()?, 0),
                };
                let (here, behind) = bytes.split_at(bytes.len().min(PAYLOAD_BYTES - len));
                let start = frame.payload_start() + len;
                frame.bytes_mut()[start..start + here.len()].copy_from_slice(here);
                bytes = behind;
                let filled = (frame, len + here.len());
                if filled.1 == PAYLOAD_BYTES {
                    copies.try_push(into_part(filled)).ok()?;
                } else {
                    filling = Some(filled);
                }
            }
        }
        if let Some(filling) = filling {
            copies.try_push(into_part(filling)).ok()?;
        }
        self.counters.copied_packets += 1;
        Some(copies)
    }
}

/// The sum of loads; of memory it is known.
pub(crate) fn sum_of(loads: &Loads) -> Sum {
    loads.iter().fold(Sum::ZERO, |sum, load| load.then(sum))
}
