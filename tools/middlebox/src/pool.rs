//! Memory for packets that wait: never more than a bound in sum.
//!
//! ```text
//!   ≤ 124      acknowledgements        copied into the wheel itself, beside those that leave with them
//!   512        short packets           copied into a buffer
//!   2,048      full-sized packets      copied into one
//!   20,480     short trains            copied into one
//!   65,600     superframes             the buffer it was received into is kept, and another takes its place
//!   × 2, 4, 8  superframes of BIG TCP  likewise
//! ```
//!
//! Buffers are recycled last-in first-out: the one that was just sent from is still in the cache.

use vnet::{HEADER_BYTES, VlanTag};

/// What a room holds at first: 64 KiB of IP behind an Ethernet header with tags, and the virtio-net header.
const SUPERFRAME_BYTES: usize = 65_536 + 64;

/// The largest frame there is: the kernel merges no further than 524,280 bytes.
pub const FRAME_BYTES_MAX: usize = 8 * SUPERFRAME_BYTES - VlanTag::BYTES;

/// The largest frame that needs no buffer: an acknowledgement over IPv6 with all its options, and its virtio-net header.
pub(crate) const SMALL_BYTES: usize = 124;

const SIZES: [usize; 7] =
    [512, 2_048, 20_480, SUPERFRAME_BYTES, 2 * SUPERFRAME_BYTES, 4 * SUPERFRAME_BYTES, 8 * SUPERFRAME_BYTES];
const SUPERFRAME: usize = 3;

/// A frame that waits, or that is to be sent: its virtio-net header and its bytes. Give it back with
/// [`Middlebox::release`](crate::Middlebox::release).
#[derive(Debug)]
pub struct Frame(Memory);

#[derive(Debug)]
enum Memory {
    Here { len: u8, bytes: [u8; SMALL_BYTES] },
    Buffer { buffer: Box<[u8]>, start: u8, len: u32, size: u8 },
}

// Two cache lines, with a place for "none".
const _: () = assert!(size_of::<Option<Frame>>() == 128);

impl Frame {
    /// The virtio-net header and the Ethernet frame behind it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Memory::Here { len, bytes } => &bytes[..usize::from(*len)],
            Memory::Buffer { buffer, start, len, size: _ } => &buffer[usize::from(*start)..][..*len as usize],
        }
    }

    /// The Ethernet frame.
    #[must_use]
    pub fn ethernet(&self) -> &[u8] {
        self.bytes().get(HEADER_BYTES..).unwrap_or_default()
    }

    fn small(header: &[u8], ethernet: &[u8]) -> Self {
        let (mut bytes, len) = ([0; SMALL_BYTES], header.len() + ethernet.len());
        bytes[..header.len()].copy_from_slice(header);
        bytes[header.len()..len].copy_from_slice(ethernet);
        Self(Memory::Here { len: u8::try_from(len).expect("a small frame"), bytes })
    }

    fn large(buffer: Box<[u8]>, start: usize, len: usize, size: usize) -> Self {
        let start = u8::try_from(start).expect("room for a tag");
        let (len, size) = (u32::try_from(len).expect("a frame"), u8::try_from(size).expect("few sizes"));
        Self(Memory::Buffer { buffer, start, len, size })
    }
}

/// Where a frame is received.
///
/// ```text
///   | 4 | virtio-net header 10 | Ethernet …              the first four bytes are for a VLAN tag that comes beside it
/// ```
#[derive(Debug)]
pub struct Room {
    buffer: Box<[u8]>,
    size: usize,
    start: usize,
    len: usize,
}

impl Room {
    /// Room for a superframe.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: vec![0; SUPERFRAME_BYTES].into(), size: SUPERFRAME, start: VlanTag::BYTES, len: 0 }
    }

    /// Where the device is to write, beginning with the virtio-net header.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.buffer[VlanTag::BYTES..]
    }

    /// The device wrote `len` bytes; what [`space`](Self::space) was too small for lies in `spill`. The room grows, so
    /// that the next of this length finds room. A tag that came beside the frame is put back into it.
    pub fn fill(&mut self, len: usize, spill: &[u8], tag: Option<VlanTag>) {
        let fits = self.buffer.len() - VlanTag::BYTES;
        if len > fits {
            let spill = &spill[..(len - fits).min(spill.len())];
            let whole = self.buffer.len() + spill.len();
            self.size = SIZES.iter().position(|size| whole <= *size).expect("no frame is longer");
            let mut larger = vec![0; SIZES[self.size]];
            larger[..self.buffer.len()].copy_from_slice(&self.buffer);
            larger[self.buffer.len()..whole].copy_from_slice(spill);
            self.buffer = larger.into();
        }
        (self.start, self.len) = (VlanTag::BYTES, len);
        if let Some(tag) = tag.filter(|_| len > HEADER_BYTES + ADDRESSES_BYTES) {
            tag.insert(&mut self.buffer);
            (self.start, self.len) = (0, len + VlanTag::BYTES);
        }
    }

    /// The frame, with its virtio-net header.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..][..self.len]
    }

    pub(crate) fn split(&self) -> Option<(&[u8; HEADER_BYTES], &[u8])> {
        self.bytes().split_first_chunk().filter(|(_, ethernet)| !ethernet.is_empty())
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

/// What an Ethernet header has before a tag.
const ADDRESSES_BYTES: usize = 12;

/// The buffers.
#[derive(Debug)]
pub(crate) struct Pool {
    free: [Vec<Box<[u8]>>; SIZES.len()],
    /// Bytes of all buffers, free ones included, and of what [`lend`](Self::lend) gave; the bound of the former.
    allocated: usize,
    used: usize,
    bound: usize,
}

impl Pool {
    /// Bounds below this hold too little to be of use.
    pub(crate) const BYTES_MIN: usize = 4 * SUPERFRAME_BYTES;

    pub(crate) fn new(bound: usize) -> Self {
        Self { free: Default::default(), allocated: 0, used: 0, bound }
    }

    /// Bytes of buffers in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// A copy of a frame; `None` when memory is used up.
    pub(crate) fn copy(&mut self, header: &[u8; HEADER_BYTES], ethernet: &[u8]) -> Option<Frame> {
        let len = HEADER_BYTES + ethernet.len();
        if len <= SMALL_BYTES {
            return Some(Frame::small(header, ethernet));
        }
        let size = SIZES.iter().position(|size| len <= *size)?;
        let mut buffer = self.acquire(size)?;
        buffer[..HEADER_BYTES].copy_from_slice(header);
        buffer[HEADER_BYTES..len].copy_from_slice(ethernet);
        Some(Frame::large(buffer, 0, len, size))
    }

    /// The frame that lies in `room`: one that fills a good part of it keeps its buffer, and the room gets another one.
    pub(crate) fn keep(&mut self, room: &mut Room) -> Option<Frame> {
        let (header, ethernet) = room.split()?;
        let fits = SIZES.iter().position(|size| room.len <= *size)?;
        if room.len <= SMALL_BYTES || fits < room.size && room.len < SIZES[room.size] / 4 {
            return self.copy(header, ethernet);
        }
        let buffer = core::mem::replace(&mut room.buffer, self.acquire(room.size)?);
        Some(Frame::large(buffer, room.start, room.len, room.size))
    }

    /// Takes a frame's memory back.
    pub(crate) fn release(&mut self, frame: Frame) {
        if let Memory::Buffer { buffer, start: _, len: _, size } = frame.0 {
            let size = usize::from(size);
            self.used -= SIZES[size];
            self.free[size].push(buffer);
        }
    }

    /// Takes some of the bound for memory that lies elsewhere. Returns whether there was as much.
    pub(crate) fn lend(&mut self, bytes: usize) -> bool {
        let has = self.make_room(bytes).is_some();
        self.allocated += if has { bytes } else { 0 };
        has
    }

    /// What was lent comes back.
    pub(crate) fn redeem(&mut self, bytes: usize) {
        self.allocated -= bytes;
    }

    fn acquire(&mut self, size: usize) -> Option<Box<[u8]>> {
        let bytes = SIZES[size];
        let buffer = match self.free[size].pop() {
            Some(buffer) => buffer,
            None => {
                self.make_room(bytes)?;
                self.allocated += bytes;
                vec![0; bytes].into()
            }
        };
        self.used += bytes;
        Some(buffer)
    }

    /// Lets go of free buffers until `bytes` more may be had.
    fn make_room(&mut self, bytes: usize) -> Option<()> {
        for (size, free) in self.free.iter_mut().enumerate().rev() {
            while self.allocated + bytes > self.bound && free.pop().is_some() {
                self.allocated -= SIZES[size];
            }
        }
        (self.allocated + bytes <= self.bound).then_some(())
    }
}

#[cfg(test)]
mod tests;
