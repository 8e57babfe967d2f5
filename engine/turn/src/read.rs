//! Send credit becomes disk reads.
//!
//! A read is issued when a connection's credit reaches min(10·MSS, max(MSS, window/2), what is left), and is then as
//! large as the credit allows, up to [`TARGETS_MAX`] records: on a virtual disk 16 KB reads cost a core where 128 KB
//! reads leave half of it idle. Record boundaries inside a range lie on 4,096-byte offsets of the object, so that only
//! the first and the last record of a range are odd, and one scattered read fills a frame per record.

use arrayvec::ArrayVec;
use clock::Instant;
use core::ops::Range;
use dma::{PAYLOAD_BYTES, Pool};
use platform::{Disk, Full, Read, TARGETS_MAX, Target, Targets};
use stack::FlowId;

use crate::counters::Counters;
use crate::files::FileRef;
use crate::slab::Slab;

/// Where record boundaries inside a range lie.
const BOUNDARY: u64 = 4_096;
#[expect(clippy::cast_possible_truncation, reason = "16,384")]
const FRAME: u32 = PAYLOAD_BYTES as u32;

/// One record (or plain piece) of a read, and what of it is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// Where it begins in the stream.
    pub(crate) start: u64,
    /// Where its plaintext begins in the frame's payload.
    pub(crate) skip: u32,
    /// How long its plaintext is.
    pub(crate) bytes: u32,
    /// The part of the stream to be sent once it is sealed.
    pub(crate) want: Range<u64>,
}

/// A read on its way, and why.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) flow: FlowId,
    /// Held until the read is done, so that the descriptor stays open.
    pub(crate) file: FileRef,
    pub(crate) pieces: ArrayVec<Piece, TARGETS_MAX>,
    /// Sent before: what is read now must be what was read then.
    pub(crate) again: bool,
    /// When it was handed to the disk.
    pub(crate) issued_at: Instant,
}

/// Reads on their way, by the number that travels with each.
#[derive(Debug)]
pub(crate) struct Fetches {
    slab: Slab<Fetch>,
    /// The frames that they fill: one a piece.
    frames: u32,
}

impl Fetches {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { slab: Slab::with_capacity(count), frames: 0 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "at most TARGETS_MAX")]
    fn insert(&mut self, fetch: Fetch) -> u32 {
        self.frames += fetch.pieces.len() as u32;
        self.slab.insert(fetch)
    }

    #[expect(clippy::cast_possible_truncation, reason = "at most TARGETS_MAX")]
    pub(crate) fn remove(&mut self, token: u32) -> Option<Fetch> {
        let fetch = self.slab.remove(token)?;
        self.frames -= fetch.pieces.len() as u32;
        Some(fetch)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// How many frames they fill.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }
}

/// How much plaintext the next record takes: `offset` into the object, `left` in the range, `room` in the window
/// (record overhead already taken off). Zero when not even a byte fits.
pub(crate) fn record_bytes(offset: u64, left: u64, room: u32) -> u32 {
    // A frame covers whole blocks, and the first one may be entered in its middle.
    let lead = (offset % BOUNDARY) as u32;
    let most = u64::from((FRAME - lead).min(room)).min(left);
    #[expect(clippy::cast_possible_truncation, reason = "at most a frame")]
    let most_bytes = most as u32;
    if most == left {
        return most_bytes;
    }
    let tail = ((offset + most) % BOUNDARY) as u32;
    // End on a boundary unless the window is too small to reach one.
    if tail < most_bytes { most_bytes - tail } else { most_bytes }
}

/// A piece was not taken: no frame is free, or the disk's queue is full. With the queue full, what was collected
/// before is lost as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starved {
    /// No frame is free.
    Frame,
    /// The disk's queue is full; where in the stream the pieces that were dropped begin.
    Disk(Option<u64>),
}

impl Starved {
    /// Where what was not read begins, when the refused piece itself begins at `piece`.
    pub(crate) fn left(self, piece: u64) -> u64 {
        match self {
            Self::Disk(Some(dropped)) => dropped.min(piece),
            Self::Disk(None) | Self::Frame => piece,
        }
    }

    /// Counts it.
    pub(crate) fn count(self, counters: &mut Counters) {
        match self {
            Self::Frame => counters.frame_waits += 1,
            Self::Disk(_) => counters.disk_waits += 1,
        }
    }
}

/// Collects pieces that lie one behind the other into one read.
pub(crate) struct Reader<'a, D: Disk> {
    pub(crate) disk: &'a mut D,
    pub(crate) pool: &'a Pool,
    pub(crate) fetches: &'a mut Fetches,
    pub(crate) flow: FlowId,
    pub(crate) again: bool,
    now: Instant,
    /// Frames that must be left in the pool: what is lost goes before what is new.
    pub(crate) spare: usize,
    pending: Option<Pending>,
    /// Reads issued so far.
    pub(crate) issued: u32,
}

struct Pending {
    fetch: Fetch,
    offset: u64,
    end: u64,
    targets: Targets,
}

impl<'a, D: Disk> Reader<'a, D> {
    pub(crate) fn new(
        disk: &'a mut D,
        pool: &'a Pool,
        fetches: &'a mut Fetches,
        (flow, now): (FlowId, Instant),
        again: bool,
        spare: usize,
    ) -> Self {
        Self { disk, pool, fetches, flow, again, now, spare, pending: None, issued: 0 }
    }

    /// A frame can be had for one more piece.
    pub(crate) fn has_frame(&self) -> bool {
        self.pool.large_free() > self.spare
    }

    /// Adds `bytes` of `file` from `offset` on, which are `want` of the record at `start`. Begins a new read when the
    /// piece does not follow the last one.
    pub(crate) fn add(
        &mut self,
        file: &FileRef,
        offset: u64,
        bytes: u32,
        start: u64,
        want: Range<u64>,
    ) -> Result<(), Starved> {
        let align = u64::from(file.meta().align.max(1));
        let follows = self.pending.as_ref().is_some_and(|pending| {
            pending.end == offset
                && offset.is_multiple_of(align)
                && pending.fetch.file.is(file)
                && pending.targets.len() < usize::from(self.disk.capabilities().targets_max).min(TARGETS_MAX)
        });
        if !follows {
            self.issue()?;
        }
        if !self.has_frame() {
            return Err(Starved::Frame);
        }
        let Some(frame) = self.pool.acquire_large() else { return Err(Starved::Frame) };
        let from = offset - offset % align;
        let to = (offset + u64::from(bytes)).next_multiple_of(align);
        #[expect(clippy::cast_possible_truncation, reason = "a piece and its blocks fit a frame")]
        let (skip, cover) = ((offset - from) as u32, (to - from) as u32);
        debug_assert!(cover <= FRAME);
        let pending = self.pending.get_or_insert_with(|| Pending {
            fetch: Fetch {
                flow: self.flow,
                file: file.clone(),
                pieces: ArrayVec::new(),
                again: self.again,
                issued_at: self.now,
            },
            offset: from,
            end: from,
            targets: Targets::new(),
        });
        pending.targets.push(Target { frame, bytes: cover });
        pending.fetch.pieces.push(Piece { start, skip, bytes, want });
        pending.end = offset + u64::from(bytes);
        Ok(())
    }

    /// Hands the read collected so far to the disk.
    pub(crate) fn issue(&mut self) -> Result<(), Starved> {
        let Some(Pending { fetch, offset, end: _, targets }) = self.pending.take() else { return Ok(()) };
        let file = fetch.file.id();
        let token = self.fetches.insert(fetch);
        match self.disk.stage_read(Read { token: u64::from(token), file, offset, targets }) {
            Ok(()) => {
                self.issued += 1;
                Ok(())
            }
            Err(Full(_read)) => {
                let dropped =
                    self.fetches.remove(token).and_then(|fetch| Some(fetch.pieces.first()?.want.start));
                Err(Starved::Disk(dropped))
            }
        }
    }
}

#[cfg(test)]
mod tests;
