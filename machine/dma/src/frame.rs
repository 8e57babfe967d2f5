//! A frame while it is written, and while it is read.

use core::fmt;

use crate::{CHUNK_BYTES, HEADROOM_BYTES, LARGE_BYTES, PAYLOAD_BYTES, Pool, SMALL_BYTES};

/// The only name of a frame's bytes. Dropping it puts the frame back on top of the pool.
pub struct Frame {
    pool: Pool,
    index: u32,
}

impl Frame {
    pub(crate) fn new(pool: Pool, index: u32) -> Self {
        Self { pool, index }
    }

    /// The frame's number in its arena.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// All of the frame: headroom, payload and tail of a large one; the payload of a small one or of a chunk.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let (start, bytes) = self.pool.span(self.index);
        // SAFETY: the span is mapped, initialised (mmap zeroes), and this frame is its only name: no `SharedFrame`
        // exists and no device writes while the frame is borrowed, because a device holds it by value.
        unsafe { core::slice::from_raw_parts(start.as_ptr(), bytes) }
    }

    /// All of the frame, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, bytes) = self.pool.span(self.index);
        // SAFETY: as in `bytes`, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), bytes) }
    }

    /// Where the payload begins in [`bytes`](Self::bytes).
    #[must_use]
    pub fn payload_start(&self) -> usize {
        if self.pool.is_large(self.index) { HEADROOM_BYTES } else { 0 }
    }

    /// How much payload the frame takes.
    #[must_use]
    pub fn payload_bytes_max(&self) -> usize {
        if self.pool.is_large(self.index) {
            PAYLOAD_BYTES
        } else if self.pool.is_chunk(self.index) {
            CHUNK_BYTES
        } else {
            SMALL_BYTES
        }
    }

    /// The payload's address, for a device that will write it. Valid while the frame lives.
    #[must_use]
    pub fn payload_ptr(&self) -> *mut u8 {
        let (start, _) = self.pool.span(self.index);
        // SAFETY: the payload begins inside the frame.
        unsafe { start.add(self.payload_start()) }.as_ptr()
    }

    /// Freezes the frame: from now on it is only read, by as many holders as need it.
    #[must_use]
    pub fn share(self) -> SharedFrame {
        let frame = core::mem::ManuallyDrop::new(self);
        // SAFETY: `frame` is never used or dropped again, so the pool's handle moves out exactly once.
        let pool = unsafe { core::ptr::read(&raw const frame.pool) };
        pool.shares(frame.index).set(1);
        SharedFrame { pool, index: frame.index }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.pool.release(self.index);
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("index", &self.index).finish()
    }
}

/// One of the names of a frozen frame. The last one dropped puts the frame back on top of the pool.
pub struct SharedFrame {
    pool: Pool,
    index: u32,
}

impl SharedFrame {
    /// The frame's number in its arena.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// All of the frame, as [`Frame::bytes`].
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let (start, bytes) = self.pool.span(self.index);
        // SAFETY: the span is mapped and initialised, and a frozen frame is written by nobody.
        unsafe { core::slice::from_raw_parts(start.as_ptr(), bytes) }
    }

    /// The frame, to be written again, if this is its only name.
    ///
    /// # Errors
    /// There are others: it stays frozen.
    pub fn thaw(self) -> Result<Frame, Self> {
        if self.shares() != 1 {
            return Err(self);
        }
        let shared = core::mem::ManuallyDrop::new(self);
        // SAFETY: `shared` is never used or dropped again, so the pool's handle moves out exactly once.
        let pool = unsafe { core::ptr::read(&raw const shared.pool) };
        Ok(Frame { pool, index: shared.index })
    }

    /// How many names the frame has.
    #[must_use]
    pub fn shares(&self) -> u32 {
        self.pool.shares(self.index).get()
    }
}

impl Clone for SharedFrame {
    fn clone(&self) -> Self {
        let shares = self.pool.shares(self.index);
        shares.set(shares.get() + 1);
        Self { pool: self.pool.clone(), index: self.index }
    }
}

impl Drop for SharedFrame {
    fn drop(&mut self) {
        let shares = self.pool.shares(self.index);
        shares.set(shares.get() - 1);
        if shares.get() == 0 {
            self.pool.release(self.index);
        }
    }
}

impl fmt::Debug for SharedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedFrame").field("index", &self.index).field("shares", &self.shares()).finish()
    }
}

const _: () = assert!(size_of::<Frame>() == 16 && size_of::<SharedFrame>() == 16);
const _: () = assert!(LARGE_BYTES > PAYLOAD_BYTES);
