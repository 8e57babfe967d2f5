//! The free frames of an arena, newest on top.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::ptr::NonNull;
use std::rc::Rc;

use crate::region::{Region, RegionError};
use crate::{
    CHUNK_BYTES, Frame, HEADROOM_BYTES, LARGE_BYTES, PAYLOAD_ALIGN, PAYLOAD_BYTES, Pages, SMALL_BYTES,
    TAIL_BYTES,
};

/// From one large payload to the next: a tail shares its page with the next frame's headroom.
const LARGE_STRIDE: usize = PAYLOAD_BYTES + PAYLOAD_ALIGN;
const _: () = assert!(HEADROOM_BYTES + TAIL_BYTES <= PAYLOAD_ALIGN);

/// How many frames of each kind an arena holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLayout {
    /// Frames for one record each.
    pub large_count: u32,
    /// Frames for bytes that are kept until acknowledged.
    pub small_count: u32,
}

impl PoolLayout {
    /// The memory that such an arena occupies.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.small_offset() + self.small_count as usize * SMALL_BYTES
    }

    const fn small_offset(self) -> usize {
        (self.large_count as usize + 1) * LARGE_STRIDE
    }

    const fn chunk_offset(self) -> usize {
        self.bytes().next_multiple_of(CHUNK_BYTES)
    }
}

/// Frames that are not in the pool, now and at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FramesInUse {
    /// Large frames out now.
    pub large: u32,
    /// The most large frames that were ever out at once.
    pub large_max: u32,
    /// Small frames out now.
    pub small: u32,
    /// The most small frames that were ever out at once.
    pub small_max: u32,
}

/// A worker's frames. Clones name the same pool.
#[derive(Clone)]
pub struct Pool {
    shared: Rc<Shared>,
}

struct Shared {
    region: Region,
    layout: PoolLayout,
    chunk_count: u32,
    /// Free large frames; the last one returned is the first one reused.
    large: RefCell<Vec<u32>>,
    small: RefCell<Vec<u32>>,
    chunks: RefCell<Vec<u32>>,
    /// How many `SharedFrame`s name each frame.
    shares: Box<[Cell<u32>]>,
    in_use: Cell<FramesInUse>,
}

impl Pool {
    /// Maps an arena and cuts it.
    ///
    /// # Errors
    /// The machine has no memory for it.
    ///
    /// # Panics
    /// A layout of more than 2³² frames.
    pub fn new(layout: PoolLayout) -> Result<Self, RegionError> {
        Self::with_chunks(layout, 0)
    }

    /// Maps an arena and cuts it, with `chunk_count` chunks behind the frames: what a link receives into, and builds
    /// headers in, when it must lie in the arena too.
    ///
    /// # Errors
    /// The machine has no memory for it.
    ///
    /// # Panics
    /// A layout of more than 2³² frames.
    pub fn with_chunks(layout: PoolLayout, chunk_count: u32) -> Result<Self, RegionError> {
        let frames =
            layout.large_count.checked_add(layout.small_count).expect("frames are numbered in 32 bits");
        let count = frames.checked_add(chunk_count).expect("frames are numbered in 32 bits");
        let region = Region::map(layout.chunk_offset() + chunk_count as usize * CHUNK_BYTES)?;
        Ok(Self {
            shared: Rc::new(Shared {
                region,
                layout,
                chunk_count,
                large: RefCell::new((0..layout.large_count).rev().collect()),
                small: RefCell::new((layout.large_count..frames).rev().collect()),
                chunks: RefCell::new((frames..count).rev().collect()),
                shares: (0..count).map(|_| Cell::new(0)).collect(),
                in_use: Cell::default(),
            }),
        })
    }

    /// The large frame that came back last; `None` when all are out.
    #[must_use]
    pub fn acquire_large(&self) -> Option<Frame> {
        let index = self.shared.large.borrow_mut().pop()?;
        let mut in_use = self.shared.in_use.get();
        in_use.large += 1;
        in_use.large_max = in_use.large_max.max(in_use.large);
        self.shared.in_use.set(in_use);
        Some(Frame::new(self.clone(), index))
    }

    /// The small frame that came back last; `None` when all are out.
    #[must_use]
    pub fn acquire_small(&self) -> Option<Frame> {
        let index = self.shared.small.borrow_mut().pop()?;
        let mut in_use = self.shared.in_use.get();
        in_use.small += 1;
        in_use.small_max = in_use.small_max.max(in_use.small);
        self.shared.in_use.set(in_use);
        Some(Frame::new(self.clone(), index))
    }

    /// The chunk that came back last; `None` when all are out.
    #[must_use]
    pub fn acquire_chunk(&self) -> Option<Frame> {
        let index = self.shared.chunks.borrow_mut().pop()?;
        Some(Frame::new(self.clone(), index))
    }

    /// Chunks that can be acquired now.
    #[must_use]
    pub fn chunks_free(&self) -> usize {
        self.shared.chunks.borrow().len()
    }

    /// How many chunks the arena has.
    #[must_use]
    pub fn chunk_count(&self) -> u32 {
        self.shared.chunk_count
    }

    /// Which of the arena's chunks `frame` is, counted from 0; `None` when it is no chunk.
    #[must_use]
    pub fn chunk_number(&self, frame: &Frame) -> Option<u32> {
        frame.index().checked_sub(self.frame_count())
    }

    /// Which chunk the arena's byte `offset` lies in; `None` when it lies in none.
    #[must_use]
    pub fn chunk_at(&self, offset: u64) -> Option<u32> {
        let within = usize::try_from(offset).ok()?.checked_sub(self.shared.layout.chunk_offset())?;
        u32::try_from(within / CHUNK_BYTES).ok().filter(|number| *number < self.shared.chunk_count)
    }

    /// How far into the arena `bytes` begin; `None` when they are not all the arena's.
    #[must_use]
    pub fn offset_of(&self, bytes: &[u8]) -> Option<u64> {
        let offset = bytes.as_ptr().addr().checked_sub(self.shared.region.base().as_ptr().addr())?;
        let end = offset.checked_add(bytes.len())?;
        if end > self.shared.region.bytes() {
            return None;
        }
        u64::try_from(offset).ok()
    }

    /// Large frames that can be acquired now.
    #[must_use]
    pub fn large_free(&self) -> usize {
        self.shared.large.borrow().len()
    }

    /// Small frames that can be acquired now.
    #[must_use]
    pub fn small_free(&self) -> usize {
        self.shared.small.borrow().len()
    }

    /// Frames that are out, now and at most.
    #[must_use]
    pub fn in_use(&self) -> FramesInUse {
        self.shared.in_use.get()
    }

    /// How the arena is cut.
    #[must_use]
    pub fn layout(&self) -> PoolLayout {
        self.shared.layout
    }

    /// The pages under the arena.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.shared.region.pages()
    }

    /// The whole arena, for registration with a link or a disk: first byte and length.
    #[must_use]
    pub fn region(&self) -> (NonNull<u8>, usize) {
        (self.shared.region.base(), self.shared.region.bytes())
    }

    pub(crate) fn is_large(&self, index: u32) -> bool {
        index < self.shared.layout.large_count
    }

    pub(crate) fn is_chunk(&self, index: u32) -> bool {
        index >= self.frame_count()
    }

    /// Large and small frames together: their numbers come before the chunks'.
    fn frame_count(&self) -> u32 {
        self.shared.layout.large_count + self.shared.layout.small_count
    }

    /// Where frame `index` begins, and how long it is.
    pub(crate) fn span(&self, index: u32) -> (NonNull<u8>, usize) {
        let layout = self.shared.layout;
        let (offset, bytes) = if self.is_large(index) {
            (index as usize * LARGE_STRIDE + PAYLOAD_ALIGN - HEADROOM_BYTES, LARGE_BYTES)
        } else if self.is_chunk(index) {
            let number = (index - self.frame_count()) as usize;
            (layout.chunk_offset() + number * CHUNK_BYTES, CHUNK_BYTES)
        } else {
            (layout.small_offset() + (index - layout.large_count) as usize * SMALL_BYTES, SMALL_BYTES)
        };
        debug_assert!(offset + bytes <= self.shared.region.bytes());
        // SAFETY: every index below the layout's count lies inside the mapping, which was made as long
        // as the layout and the chunks need.
        (unsafe { self.shared.region.base().add(offset) }, bytes)
    }

    pub(crate) fn shares(&self, index: u32) -> &Cell<u32> {
        &self.shared.shares[index as usize]
    }

    pub(crate) fn release(&self, index: u32) {
        if self.is_chunk(index) {
            self.shared.chunks.borrow_mut().push(index);
            return;
        }
        let mut in_use = self.shared.in_use.get();
        if self.is_large(index) {
            in_use.large -= 1;
            self.shared.large.borrow_mut().push(index);
        } else {
            in_use.small -= 1;
            self.shared.small.borrow_mut().push(index);
        }
        self.shared.in_use.set(in_use);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("layout", &self.shared.layout).field("in_use", &self.in_use()).finish()
    }
}
