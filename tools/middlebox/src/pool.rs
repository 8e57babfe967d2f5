//! Memory for packets that wait: buffers of a few sizes, recycled, and never more than a bound in sum.
//!
//! ```text
//!   512        acknowledgements        copied into one
//!   2,048      full-sized packets      copied into one
//!   20,480     short trains            copied into one
//!   66 Ki      superframes             the buffer it was received into is kept, and another takes its place
//! ```

use vnet::HEADER_BYTES;

/// The largest frame: 64 KiB of IP behind an Ethernet header with a VLAN tag, and its virtio-net header.
pub(crate) const ROOM_BYTES: usize = HEADER_BYTES + 18 + 65_536;

const SIZES: [usize; 4] = [512, 2_048, 20_480, ROOM_BYTES];
const LARGEST: usize = SIZES.len() - 1;

/// A frame that waits, or that is to be sent: its virtio-net header and its bytes. Give it back with
/// [`Middlebox::release`](crate::Middlebox::release).
#[derive(Debug)]
pub struct Frame {
    buffer: Box<[u8]>,
    len: usize,
    size: usize,
}

impl Frame {
    /// The virtio-net header and the Ethernet frame behind it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// The Ethernet frame.
    #[must_use]
    pub fn ethernet(&self) -> &[u8] {
        self.bytes().get(HEADER_BYTES..).unwrap_or_default()
    }
}

/// The buffers.
#[derive(Debug)]
pub(crate) struct Pool {
    free: [Vec<Box<[u8]>>; SIZES.len()],
    /// Bytes of all buffers, free ones included, and of those in use; the bound of the former.
    allocated: usize,
    used: usize,
    used_max: usize,
    bound: usize,
}

impl Pool {
    /// Bounds below this hold too little to be of use.
    pub(crate) const BYTES_MIN: usize = 4 * ROOM_BYTES;

    pub(crate) fn new(bound: usize) -> Self {
        Self { free: Default::default(), allocated: 0, used: 0, used_max: 0, bound }
    }

    /// Bytes in use, and the most that ever were.
    pub(crate) fn used(&self) -> (usize, usize) {
        (self.used, self.used_max)
    }

    /// A copy of a frame; `None` when memory is used up.
    pub(crate) fn copy(&mut self, header: &[u8; HEADER_BYTES], ethernet: &[u8]) -> Option<Frame> {
        let len = HEADER_BYTES + ethernet.len();
        let size = SIZES.iter().position(|size| len <= *size)?;
        let mut buffer = self.acquire(size)?;
        buffer[..HEADER_BYTES].copy_from_slice(header);
        buffer[HEADER_BYTES..len].copy_from_slice(ethernet);
        Some(Frame { buffer, len, size })
    }

    /// The frame that lies in `room`: a large one keeps its buffer, and `room` becomes another one.
    pub(crate) fn keep(&mut self, room: &mut Box<[u8]>, len: usize) -> Option<Frame> {
        if len > SIZES[LARGEST - 1] {
            let buffer = core::mem::replace(room, self.acquire(LARGEST)?);
            return Some(Frame { buffer, len, size: LARGEST });
        }
        let (header, ethernet) = room[..len].split_first_chunk()?;
        self.copy(header, ethernet)
    }

    /// Takes a frame's memory back.
    pub(crate) fn release(&mut self, frame: Frame) {
        let Frame { buffer, len: _, size } = frame;
        self.used -= SIZES[size];
        self.free[size].push(buffer);
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
        self.used_max = self.used_max.max(self.used);
        Some(buffer)
    }

    /// Lets go of free buffers of other sizes until one of `bytes` may be made.
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
